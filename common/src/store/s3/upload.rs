//! Writing an object: in one request, or as parts of a multipart upload that any rank sends.
//!
//! Nothing is visible before it is complete: an object appears with its one request, or when the file's
//! owner completes its upload.

use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};

use super::abilities::Check;
use super::blocks::Block;
use super::fields::{NewObject, kept_of};
use super::object::Bucket;
use super::put::{Content, Sent};
use crate::base::crc64::Crc64;
use crate::base::error::{Cause, Op, Result};
use crate::base::limits::BUFFER_BYTES;
use crate::model::chunk::Extent;
use crate::model::entry::{Attributes, Kept};
use crate::store::{ObjectAddress, Receipt, SourceFile, StagedFile};

/// An object on its way, or one part of it.
pub(super) struct ObjectStaged {
    bucket: Bucket,
    new: NewObject,
    way: Way,
    state: Mutex<State>,
}

/// How it gets there.
enum Way {
    /// In one request.
    Whole,
    /// As parts.
    Parts(Upload),
}

/// A multipart upload, as its ticket tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Upload {
    id: String,
    part_bytes: u64,
    /// The check that its parts were announced with.
    check: Check,
}

#[derive(Default)]
struct State {
    /// Where the block begins in the object.
    offset: u64,
    block: Option<Block>,
    /// The object that the service is to copy itself.
    copy_of: Option<ObjectAddress>,
    receipt: Option<Receipt>,
}

impl Upload {
    fn ticket(&self) -> Vec<u8> {
        format!("{}:{}:{}", self.part_bytes, self.check.word(), self.id).into_bytes()
    }

    fn of_ticket(ticket: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(ticket).ok()?;
        let (part_bytes, rest) = text.split_once(':')?;
        let (check, id) = rest.split_once(':')?;
        let part_bytes = part_bytes.parse().ok().filter(|bytes| *bytes > 0)?;
        Some(Self { id: id.to_owned(), part_bytes, check: Check::of_word(check)? })
    }

    /// Parts are counted from 1.
    fn part_number(&self, offset: u64) -> i32 {
        (offset / self.part_bytes + 1) as i32
    }
}

impl ObjectStaged {
    /// Begins an object that this writer sends alone.
    pub fn whole(bucket: Bucket, new: NewObject) -> Self {
        Self { bucket, new, way: Way::Whole, state: Mutex::default() }
    }

    /// Begins an object of parts that come with that check, or with one that the service knows.
    pub fn in_parts(bucket: Bucket, new: NewObject, part_bytes: u64, check: Check) -> Result<Self> {
        let upload = match create(&bucket, &new, check) {
            // Some services know no checksum at all.
            Err(error) if is_refusal(error.cause) && bucket.service.abilities.lacks(check) => {
                let check = bucket.service.abilities.check();
                return Self::in_parts(bucket, new, part_bytes, check);
            }
            id => Upload { id: id?, part_bytes, check },
        };
        Ok(Self { bucket, new, way: Way::Parts(upload), state: Mutex::default() })
    }

    /// Joins in sending the parts of an object that another rank has begun.
    pub fn join(bucket: Bucket, new: NewObject, ticket: &[u8]) -> Result<Self> {
        let upload = Upload::of_ticket(ticket).ok_or(Op::Open.errno(libc::EINVAL))?;
        Ok(Self { bucket, new, way: Way::Parts(upload), state: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn part_bytes(&self) -> u64 {
        match &self.way {
            Way::Whole => self.new.size_bytes,
            Way::Parts(upload) => upload.part_bytes,
        }
    }

    /// Sends what was written so far as a part.
    fn send_part(&self, upload: &Upload, offset: u64, block: Block) -> Result<Receipt> {
        let crc64 = Crc64::of(block.bytes());
        let extent = Extent { offset, length: block.bytes().len() as u64 };
        let content = Content::new(block.freeze(), upload.check, crc64);
        let number = upload.part_number(offset);
        let sent = self.bucket.put_part(&self.new.key, &upload.id, number, &content)?;
        Ok(Receipt { extent, crc64: Some(crc64), tag: sent.tag() })
    }

    /// Lets the service copy a part itself.
    fn copy_part(&self, upload: &Upload, from: &ObjectAddress, extent: Extent) -> Result<Receipt> {
        let number = upload.part_number(extent.offset);
        let tag = self.bucket.copy_part(&self.new.key, &upload.id, number, from, extent)?;
        Ok(Receipt { extent, crc64: None, tag })
    }

    /// Fills a block from a source. `None` where reading failed: then the caller reads, and sees why.
    fn fill(&self, source: &dyn SourceFile, offset: u64, length: u64) -> Option<Block> {
        let mut block = self.bucket.service.blocks.take(length);
        let bytes = block.bytes_mut();
        bytes.resize(length as usize, 0);
        let mut filled = 0;
        while filled < bytes.len() {
            let end = bytes.len().min(filled + BUFFER_BYTES as usize);
            match source.read_at(&mut bytes[filled..end], offset + filled as u64) {
                Ok(0) | Err(_) => return None,
                Ok(count) => filled += count,
            }
        }
        Some(block)
    }

    /// No receipt will tell what has arrived here from another service.
    fn check_whole(&self, source: &dyn SourceFile, block: &Block) -> Result<()> {
        let is_all = block.bytes().len() as u64 == self.new.size_bytes;
        match source.crc64() {
            Some(expected) if is_all && expected != Crc64::of(block.bytes()) => {
                Err(Op::Read.failed(Cause::Corrupt))
            }
            _ => Ok(()),
        }
    }

    fn complete(&self, upload: &Upload, mut receipts: Vec<Receipt>) -> Result<()> {
        receipts.sort_by_key(|receipt| receipt.extent.offset);
        let size_bytes = receipts.iter().map(|receipt| receipt.extent.length).sum();
        let crc64 = match upload.check {
            Check::Crc64 => Receipt::crc64_of(&receipts, size_bytes),
            _ => None,
        };
        let parts = receipts.iter().map(|receipt| {
            let sent = Sent::of_tag(&receipt.tag);
            let crc64 = receipt.crc64.filter(|_| crc64.is_some()).map(Crc64::to_base64);
            CompletedPart::builder()
                .part_number(upload.part_number(receipt.extent.offset))
                .e_tag(sent.etag)
                .set_checksum_crc64_nvme(crc64)
                .set_checksum_crc32_c(sent.crc32c)
                .build()
        });
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.collect())).build();
        self.bucket.service.call(Op::Write, |client| {
            client
                .complete_multipart_upload()
                .bucket(&self.bucket.name)
                .key(&self.new.key)
                .upload_id(&upload.id)
                .set_checksum_crc64_nvme(crc64.map(Crc64::to_base64))
                .set_checksum_type(crc64.map(|_| ChecksumType::FullObject))
                .set_request_payer(self.bucket.payer())
                .multipart_upload(parts)
                .send()
        })?;
        Ok(())
    }

    fn put_whole(&self) -> Result<()> {
        let mut state = self.lock();
        if let Some(from) = state.copy_of.take() {
            return self.bucket.copy_whole(&self.new, &from);
        }
        let block = state.block.take().unwrap_or_else(|| self.bucket.service.blocks.take(0));
        drop(state);
        self.bucket.put_whole(&self.new, &block.freeze())
    }

    fn abort(&self) -> Result<()> {
        let Way::Parts(upload) = &self.way else { return Ok(()) };
        self.bucket.service.call(Op::Remove, |client| {
            client
                .abort_multipart_upload()
                .bucket(&self.bucket.name)
                .key(&self.new.key)
                .upload_id(&upload.id)
                .set_request_payer(self.bucket.payer())
                .send()
        })?;
        Ok(())
    }
}

/// Asks for an upload; its id.
fn create(bucket: &Bucket, new: &NewObject, check: Check) -> Result<String> {
    let (algorithm, kind) = match check {
        Check::Crc64 => (Some(ChecksumAlgorithm::Crc64Nvme), Some(ChecksumType::FullObject)),
        Check::Crc32c => (Some(ChecksumAlgorithm::Crc32C), Some(ChecksumType::Composite)),
        Check::Md5 | Check::None => (None, None),
    };
    let options = &bucket.service.settings.object;
    let answer = bucket.service.call(Op::Create, |client| {
        client
            .create_multipart_upload()
            .bucket(&bucket.name)
            .key(&new.key)
            .set_metadata(Some(new.user.clone()))
            .content_type(new.content_type)
            .set_checksum_algorithm(algorithm)
            .set_checksum_type(kind)
            .set_acl(options.acl.as_deref().map(Into::into))
            .set_storage_class(options.storage_class.as_deref().map(Into::into))
            .set_server_side_encryption(options.sse.as_deref().map(Into::into))
            .set_ssekms_key_id(options.sse_kms_key_id.clone())
            .set_request_payer(bucket.payer())
            .send()
    })?;
    let id = answer.upload_id().filter(|id| !id.is_empty());
    id.map(str::to_owned).ok_or(Op::Create.errno(libc::EPROTO))
}

/// An answer that may mean that the service does not know a checksum.
pub(super) fn is_refusal(cause: Cause) -> bool {
    use crate::base::service::ServiceFault::Status;
    matches!(cause, Cause::Service(Status(400 | 405 | 411 | 415)) | Cause::System(libc::EOPNOTSUPP))
}

impl StagedFile for ObjectStaged {
    fn ticket(&self) -> Vec<u8> {
        match &self.way {
            Way::Whole => Vec::new(),
            Way::Parts(upload) => upload.ticket(),
        }
    }

    /// Bytes come one after the other, within one part.
    fn write_at(&self, data: &[u8], offset: u64) -> Result<()> {
        let mut state = self.lock();
        let capacity_bytes = self.part_bytes();
        if state.block.is_none() {
            state.offset = offset;
            state.block = Some(self.bucket.service.blocks.take(capacity_bytes));
        }
        let begin = state.offset;
        let block = state.block.as_mut().expect("it was just put there").bytes_mut();
        if begin + block.len() as u64 != offset {
            return Err(Op::Write.errno(libc::ESPIPE));
        }
        block.extend_from_slice(data);
        Ok(())
    }

    fn copy_from(&self, source: &dyn SourceFile, offset: u64, length: u64) -> Result<Option<u64>> {
        let mut state = self.lock();
        if state.block.is_some() || state.receipt.is_some() {
            return Ok(None);
        }
        let address = source.address().filter(|from| from.service == self.bucket.service.id);
        match (&self.way, address) {
            (Way::Whole, Some(from)) if offset == 0 && length == self.new.size_bytes => {
                state.copy_of = Some(from);
            }
            (Way::Parts(upload), Some(from)) => {
                let extent = Extent { offset, length };
                state.receipt = Some(self.copy_part(upload, &from, extent)?);
            }
            (way, _) => {
                drop(state);
                let Some(block) = self.fill(source, offset, length) else { return Ok(None) };
                let receipt = match way {
                    Way::Parts(upload) => Some(self.send_part(upload, offset, block)?),
                    Way::Whole => {
                        self.check_whole(source, &block)?;
                        self.lock().block = Some(block);
                        None
                    }
                };
                self.lock().receipt = receipt;
            }
        }
        Ok(Some(length))
    }

    fn close(self: Box<Self>) -> Result<Option<Receipt>> {
        let State { offset, block, receipt, .. } = std::mem::take(&mut *self.lock());
        match (&self.way, block) {
            (Way::Parts(upload), Some(block)) => self.send_part(upload, offset, block).map(Some),
            _ => Ok(receipt),
        }
    }

    fn size_bytes(&self, receipts: &[Receipt]) -> Result<u64> {
        let in_block = self.lock().block.as_ref().map_or(0, |block| block.bytes().len() as u64);
        Ok(in_block + receipts.iter().map(|receipt| receipt.extent.length).sum::<u64>())
    }

    /// The attributes came with the beginning: objects have theirs from the start.
    fn commit(self: Box<Self>, attributes: &Attributes, receipts: Vec<Receipt>) -> Result<Kept> {
        match &self.way {
            Way::Whole => self.put_whole()?,
            Way::Parts(upload) => {
                if let Err(error) = self.complete(upload, receipts) {
                    // The first error is the one to report.
                    let _ = self.abort();
                    return Err(error);
                }
            }
        }
        if let Some(old) = &self.new.replaces {
            self.bucket.remove(old)?;
        }
        Ok(kept_of(attributes))
    }

    fn abandon(self: Box<Self>) -> Result<()> {
        self.abort()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_come_back_and_torn_ones_do_not() {
        let upload = Upload { id: "a:b/c==".into(), part_bytes: 5 << 20, check: Check::Crc32c };
        assert_eq!(Upload::of_ticket(&upload.ticket()), Some(upload));
        for torn in [&b""[..], b"5", b"x:crc64:i", b"0:crc64:i", b"5:none", b"5:what:i", b"\xff"] {
            assert_eq!(Upload::of_ticket(torn), None);
        }
    }
}
