//! Writes of an object: in one request, or as parts of a multipart upload that any rank sends.
//!
//! Nothing is visible before it is complete: the object appears with its single request, or when
//! the owner of the file completes the upload. So no staging name and no rename are needed.

use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::complete_multipart_upload::CompleteMultipartUploadOutput;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};

use crate::client::capabilities::Check;
use crate::client::fault::is_refusal;
use crate::read::head::Head;
use crate::read::object::{Bucket, some_etag};
use crate::write::assembled::Assembled;
use crate::write::blocks::Block;
use crate::write::fields::{NewObject, as_headers, has_xattrs, with_headers};
use crate::write::put::{Content, Sent};
use store::{ObjectAddress, Receipt, Remains, Sender, SourceFile, StagedCapabilities, StagedFile};
use types::content::chunk::Extent;
use types::content::crc64::Crc64;
use types::content::parts::{PART_BYTES_MAX, Parts};
use types::entry::{Attributes, Preserved, Proof};
use types::error::{Cause, Op, Result};
use types::limits::BUFFER_BYTES;
use types::service::ServiceFault;

/// An object being written, or the part of one that this writer sends.
pub(crate) struct ObjectStaged {
    bucket: Bucket,
    new: NewObject,
    way: Way,
    state: Mutex<State>,
}

/// The way in which an object is written.
enum Way {
    /// One request.
    Whole,
    /// Parts of a multipart upload.
    Parts(Upload),
}

/// A multipart upload, as its ticket describes it to all ranks.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Upload {
    id: String,
    part_bytes: u64,
    /// The check that the upload was initiated with.
    check: Check,
    /// True if the service has confirmed that it verifies the check.
    is_confirmed: bool,
    origin: Origin,
}

/// The origin of the content of an upload's parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PartsFrom<'b> {
    /// The ranks send the parts; an interrupted job may have begun the upload that has this ticket.
    Here(Option<&'b [u8]>),
    /// The service copies the parts from other objects.
    TheService,
}

/// The job that initiated an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// The current job.
    Here,
    /// An interrupted job, so that some parts may already be there.
    Before,
}

/// The part that this writer sends.
#[derive(Default)]
struct State {
    /// The offset in the object at which the buffer begins.
    offset: u64,
    block: Option<Block>,
    /// The object that the service is to copy itself.
    copy_of: Option<ObjectAddress>,
    receipt: Option<Receipt>,
    /// True if the object was copied without its tags.
    is_untagged: bool,
}

impl Origin {
    fn word(self) -> &'static str {
        match self {
            Self::Here => "here",
            Self::Before => "before",
        }
    }

    fn of_word(word: &str) -> Option<Self> {
        [Self::Here, Self::Before].into_iter().find(|origin| origin.word() == word)
    }
}

impl Upload {
    /// Encodes the upload for other ranks and for the journal. The identifier comes last because
    /// the service chooses it, so it may contain the separator.
    fn ticket(&self) -> Vec<u8> {
        let Self { id, part_bytes, check, is_confirmed, origin } = self;
        let confirmed = u8::from(*is_confirmed);
        format!("{part_bytes}:{}:{confirmed}:{}:{id}", check.word(), origin.word()).into_bytes()
    }

    fn of_ticket(ticket: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(ticket).ok()?;
        let (part_bytes, rest) = text.split_once(':')?;
        let (check, rest) = rest.split_once(':')?;
        let (confirmed, rest) = rest.split_once(':')?;
        let is_confirmed = confirmed == "1";
        let (origin, id) = rest.split_once(':')?;
        let part_bytes = part_bytes.parse().ok().filter(|bytes| *bytes > 0)?;
        let (check, origin) = (Check::of_word(check)?, Origin::of_word(origin)?);
        Some(Self { id: id.to_owned(), part_bytes, check, is_confirmed, origin })
    }

    /// Returns the number of the part at an offset, counted from 1.
    fn part_number(&self, offset: u64) -> i32 {
        (offset / self.part_bytes + 1) as i32
    }
}

impl ObjectStaged {
    /// Begins an object that this writer sends alone, in one request.
    pub fn whole(bucket: Bucket, new: NewObject) -> Self {
        Self { bucket, new, way: Way::Whole, state: Mutex::default() }
    }

    /// Begins an object in parts, or resumes the upload that an interrupted job has left.
    pub fn in_parts(
        bucket: Bucket,
        new: NewObject,
        part_bytes: u64,
        parts_from: PartsFrom<'_>,
    ) -> Result<Self> {
        let left = match parts_from {
            PartsFrom::Here(begun) => {
                let begun = begun.and_then(upload_of);
                bucket.find_upload(&new, part_bytes, begun.as_deref())
            }
            PartsFrom::TheService => None,
        };
        let left = left.map(|(id, check)| Upload {
            id,
            part_bytes,
            check,
            is_confirmed: false,
            origin: Origin::Before,
        });
        let upload = left.map_or_else(|| begin(&bucket, &new, part_bytes, parts_from), Ok)?;
        Ok(Self { bucket, new, way: Way::Parts(upload), state: Mutex::default() })
    }

    /// Joins the upload of an object that another rank has begun.
    pub fn join(bucket: Bucket, new: NewObject, ticket: &[u8]) -> Result<Self> {
        let upload = Upload::of_ticket(ticket).ok_or(Op::Open.errno(libc::EINVAL))?;
        if upload.is_confirmed {
            bucket.service.capabilities.has(upload.check);
        }
        Ok(Self { bucket, new, way: Way::Parts(upload), state: Mutex::default() })
    }

    /// Lets the service copy all of an object, with the attributes of `new`, in as few parts as it
    /// accepts, one after the other.
    pub fn copy_all(bucket: &Bucket, new: NewObject, from: &ObjectAddress) -> Result<Preserved> {
        let cutoff_bytes = bucket.service.settings.copy_cutoff_bytes.unwrap_or(PART_BYTES_MAX);
        if new.size_bytes <= cutoff_bytes {
            let is_untagged = bucket.copy_with_tags(&new, from)?;
            let properties_lost = new.preserved.properties_lost || is_untagged;
            return Ok(Preserved { properties_lost, ..new.preserved });
        }
        let new = bucket.with_tags_of(new, from)?;
        let preserved = new.preserved;
        let parts = Parts::of(new.size_bytes, cutoff_bytes);
        let parts = parts.map_err(|_| Op::Copy.errno(libc::EFBIG))?;
        let upload = begin(bucket, &new, parts.part_bytes, PartsFrom::TheService)?;
        let (bucket, way) = (bucket.clone(), Way::Parts(upload.clone()));
        let copy = Self { bucket, new, way, state: Mutex::default() };
        let copied =
            (0..parts.count()).map(|index| copy.copy_part(&upload, from, parts.extent(index)));
        let completed = copied.collect::<Result<_>>().and_then(|all| copy.complete(&upload, all));
        if completed.is_err() {
            // The first error is reported, not that of the cleanup.
            let _ = copy.abort();
        }
        completed.map(|_| preserved)
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

    /// Sends the buffer as a part, unless an interrupted job has already sent the same content.
    fn send_part(&self, upload: &Upload, offset: u64, block: Block) -> Result<Receipt> {
        let crc64 = Crc64::of(block.bytes());
        let extent = Extent { offset, length: block.bytes().len() as u64 };
        // The lock only holds back other threads until it is known whether the service verifies the
        // check.
        let _first = self.bucket.service.capabilities.first_alone(upload.check);
        let content = Content::new(block.freeze(), self.check_of_part(upload), crc64);
        let number = upload.part_number(offset);
        let (key, id) = (&self.new.key, &upload.id);
        let found = match upload.origin {
            Origin::Here => None,
            Origin::Before => self.bucket.find_part(key, id, number, &content),
        };
        let by = if found.is_some() { Sender::Before } else { Sender::Here };
        let sent = found.map_or_else(|| self.bucket.put_part(key, id, number, &content), Ok)?;
        Ok(Receipt::sent(extent, Some(crc64), sent.tag(), by))
    }

    /// Returns the check that the upload was initiated with; or, if the service has proved to
    /// ignore that, one that every service verifies.
    fn check_of_part(&self, upload: &Upload) -> Check {
        let is_ignored = upload.check < self.bucket.service.capabilities.check();
        if is_ignored { upload.check.max(Check::Md5) } else { upload.check }
    }

    /// Lets the service copy a part.
    fn copy_part(&self, upload: &Upload, from: &ObjectAddress, extent: Extent) -> Result<Receipt> {
        let number = upload.part_number(extent.offset);
        self.bucket.copy_part(&self.new.key, &upload.id, number, from, extent)
    }

    /// Fills a buffer from a source. Returns `None` if reading fails: then the caller reads again
    /// and gets the error.
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

    /// Verifies content from another service against that service's checksum. An object of a single
    /// request has no receipts from which the checksum could be verified later.
    fn check_whole(&self, source: &dyn SourceFile, block: &Block) -> Result<()> {
        let bytes = block.bytes();
        if bytes.len() as u64 != self.new.size_bytes {
            return Ok(());
        }
        match source.crc64() {
            Some(expected) if expected != Crc64::of(bytes) => Err(Op::Read.failed(Cause::Corrupt)),
            _ => Ok(()),
        }
    }

    /// Completes the upload. Returns the evidence that all content arrived: each part was
    /// acknowledged, by its ETag at least.
    fn complete(&self, upload: &Upload, mut receipts: Vec<Receipt>) -> Result<Proof> {
        // S3 takes the parts in ascending order of their numbers only.
        receipts.sort_by_key(|receipt| receipt.extent.offset);
        let whole = Assembled::of(&receipts);
        let crc64 = whole.crc64.filter(|_| upload.check == Check::Crc64);
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
        // A service that repeats the checksum of the whole has verified it. Otherwise the evidence
        // is the acknowledgement of each part.
        let is_confirmed = match self.send_list(upload, crc64, &parts) {
            Ok(answer) => match upload.check {
                Check::Crc64 => answer.checksum_crc64_nvme().is_some(),
                Check::Crc32c => answer.checksum_crc32_c().is_some(),
                Check::Md5 | Check::None => true,
            },
            Err(error) => self.find_assembled(upload, &whole).ok_or(error)?,
        };
        if upload.origin == Origin::Before {
            self.renew_attributes()?;
        }
        Ok(if is_confirmed { upload.check.proof() } else { Proof::Md5 })
    }

    /// Requests that the parts become the object. An answer without an ETag means that there is no
    /// object.
    fn send_list(
        &self,
        upload: &Upload,
        crc64: Option<Crc64>,
        parts: &CompletedMultipartUpload,
    ) -> Result<CompleteMultipartUploadOutput> {
        let request = |client: Client| {
            client
                .complete_multipart_upload()
                .bucket(&self.bucket.name)
                .key(&self.new.key)
                .upload_id(&upload.id)
                .set_checksum_crc64_nvme(crc64.map(Crc64::to_base64))
                .set_checksum_type(crc64.map(|_| ChecksumType::FullObject))
                .set_request_payer(self.bucket.payer())
                .multipart_upload(parts.clone())
                .send()
        };
        self.bucket.service.call_proven(Op::Write, request, |answer| {
            some_etag(answer.e_tag())?;
            Ok(answer)
        })
    }

    /// Looks for the object after a failed completion, which the service may have carried out
    /// although its answer was lost. Returns whether the object's checksum confirms the content, or
    /// `None` if the object is not the one that was to be completed.
    fn find_assembled(&self, upload: &Upload, whole: &Assembled) -> Option<bool> {
        let head = self.bucket.head(&self.new.key).ok()?;
        // An older object of the same content would have other attributes, which a resumed upload
        // sets anew and a new one does not.
        let is_ours = upload.origin == Origin::Before || self.has_attributes(&head);
        (is_ours && whole.is(&head)).then(|| head.crc64.is_some() && whole.crc64.is_some())
    }

    /// Returns whether an object has the attributes that this one is to have.
    fn has_attributes(&self, head: &Head) -> bool {
        let user = as_headers(head.headers.user.clone());
        user == self.new.user && head.headers.content_type.as_ref() == Some(&self.new.content_type)
    }

    /// Sets the attributes of the object of a resumed upload, if they have changed since the upload
    /// was initiated.
    fn renew_attributes(&self) -> Result<()> {
        let stored = self.bucket.head(&self.new.key)?;
        if self.has_attributes(&stored) {
            return Ok(());
        }
        let from = ObjectAddress {
            service: self.bucket.service.id,
            bucket: self.bucket.name.clone(),
            key: self.new.key.clone(),
            etag: stored.etag,
        };
        Self::copy_all(&self.bucket, self.new.clone(), &from).map(|_| ())
    }

    /// Stores the object with one request, or lets the service copy it.
    fn put_whole(&self) -> Result<Proof> {
        let mut state = self.lock();
        if let Some(from) = state.copy_of.take() {
            state.is_untagged = self.bucket.copy_with_tags(&self.new, &from)?;
            return Ok(Proof::ServiceCopy);
        }
        let block = state.block.take().unwrap_or_else(|| self.bucket.service.blocks.take(0));
        drop(state);
        self.bucket.put_whole(&self.new, &block.freeze())
    }

    /// Aborts the upload if this job has initiated it. An upload of another job is left, because
    /// that job may still be running.
    fn abort(&self) -> Result<()> {
        match &self.way {
            Way::Parts(upload) if upload.origin == Origin::Here => {
                self.bucket.give_up_upload(&self.new.key, &upload.id)
            }
            _ => Ok(()),
        }
    }
}

/// Returns the service's identifier of the upload in a ticket.
pub(crate) fn upload_of(ticket: &[u8]) -> Option<String> {
    Upload::of_ticket(ticket).map(|upload| upload.id)
}

/// Initiates an upload with the best check that the service implements. The service need not
/// compute checksums of parts that it copies itself, and some services cannot; parts that are sent
/// nevertheless have a check with each request.
fn begin(
    bucket: &Bucket,
    new: &NewObject,
    part_bytes: u64,
    parts_from: PartsFrom<'_>,
) -> Result<Upload> {
    let capabilities = &bucket.service.capabilities;
    loop {
        let check = match parts_from {
            PartsFrom::Here(_) => capabilities.check(),
            PartsFrom::TheService => capabilities.check().max(Check::Md5),
        };
        match create(bucket, new, check) {
            // Some services implement no checksum at all.
            Err(error) if is_refusal(error.cause) && capabilities.lacks(check) => {}
            Err(error) => return Err(error),
            Ok((id, is_confirmed)) => {
                if is_confirmed {
                    capabilities.has(check);
                }
                return Ok(Upload { id, part_bytes, check, is_confirmed, origin: Origin::Here });
            }
        }
    }
}

/// Initiates an upload. Returns its identifier, and whether the service confirms that it verifies
/// the check.
fn create(bucket: &Bucket, new: &NewObject, check: Check) -> Result<(String, bool)> {
    let (algorithm, kind) = match check {
        Check::Crc64 => (Some(ChecksumAlgorithm::Crc64Nvme), Some(ChecksumType::FullObject)),
        Check::Crc32c => (Some(ChecksumAlgorithm::Crc32C), Some(ChecksumType::Composite)),
        Check::Md5 | Check::None => (None, None),
    };
    let options = &bucket.service.settings.object;
    let (sse, sse_kms_key_id) = new.encryption(options);
    let request = |client: Client| {
        with_headers!(client.create_multipart_upload(), new)
            .bucket(&bucket.name)
            .key(&new.key)
            .set_checksum_algorithm(algorithm.clone())
            .set_checksum_type(kind.clone())
            .set_acl(options.acl.as_deref().map(Into::into))
            .set_grant_full_control(new.grants.full_control.clone())
            .set_grant_read(new.grants.read.clone())
            .set_grant_read_acp(new.grants.read_acp.clone())
            .set_grant_write_acp(new.grants.write_acp.clone())
            .set_tagging(new.tags.header())
            .set_storage_class(new.storage_class(options))
            .set_server_side_encryption(sse.clone())
            .set_ssekms_key_id(sse_kms_key_id.clone())
            .set_request_payer(bucket.payer())
            .send()
    };
    bucket.service.call_proven(Op::Create, request, |answer| {
        let id = answer.upload_id().filter(|id| !id.is_empty());
        let is_confirmed = algorithm.is_some() && answer.checksum_algorithm() == algorithm.as_ref();
        id.map(|id| (id.to_owned(), is_confirmed)).ok_or(ServiceFault::Protocol)
    })
}

impl StagedFile for ObjectStaged {
    fn ticket(&self) -> Vec<u8> {
        match &self.way {
            Way::Whole => Vec::new(),
            Way::Parts(upload) => upload.ticket(),
        }
    }

    fn capabilities(&self) -> StagedCapabilities {
        let remains = match self.way {
            Way::Whole => Remains::Nothing,
            Way::Parts(_) => Remains::Upload,
        };
        StagedCapabilities { remains, ..StagedCapabilities::default() }
    }

    /// Appends bytes to the buffer of this writer's part. They must follow each other without gaps.
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

    /// Completes the object. Its attributes were sent when it was begun, because an object's
    /// metadata cannot be set later.
    fn commit(
        self: Box<Self>,
        attributes: &Attributes,
        receipts: Vec<Receipt>,
    ) -> Result<Preserved> {
        let proof = match &self.way {
            Way::Whole => self.put_whole()?,
            Way::Parts(upload) => {
                let is_copy = receipts.iter().all(|receipt| receipt.by == Sender::Service);
                let completed = self.complete(upload, receipts);
                if completed.is_err() {
                    // The first error is reported, not that of the cleanup.
                    let _ = self.abort();
                }
                if is_copy { completed.map(|_| Proof::ServiceCopy)? } else { completed? }
            }
        };
        // The object in the other form goes only when this one is there, so the entry exists
        // throughout.
        if let Some(old) = &self.new.replaces {
            self.bucket.remove(old)?;
        }
        let preserved = self.new.preserved;
        let xattrs_lost = preserved.xattrs_lost || has_xattrs(attributes);
        let properties_lost = preserved.properties_lost || self.lock().is_untagged;
        Ok(Preserved { xattrs_lost, properties_lost, proof: Some(proof), ..preserved })
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
        for origin in [Origin::Here, Origin::Before] {
            let (id, part_bytes) = ("a:b/c==".to_owned(), 5 << 20);
            let (check, is_confirmed) = (Check::Crc32c, origin == Origin::Here);
            let upload = Upload { id, part_bytes, check, is_confirmed, origin };
            assert_eq!(Upload::of_ticket(&upload.ticket()), Some(upload));
        }
        for torn in [
            &b""[..],
            b"5",
            b"x:crc64:1:here:i",
            b"0:crc64:1:here:i",
            b"5:none",
            b"5:what:1:here:i",
            b"5:none:1:there:i",
            b"\xff",
        ] {
            assert_eq!(Upload::of_ticket(torn), None);
        }
    }
}
