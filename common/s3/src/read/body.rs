//! Reads of an object's content: one request for each extent, whose body is read as it arrives. A
//! body that breaks off is continued after its last byte, if the object is still the same.

use std::sync::{Mutex, PoisonError};
use std::thread::ThreadId;

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::RequestPayer;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use bytes::Bytes;
use http::Method;

use crate::client::fast_path::Request;
use crate::client::runtime::wait_for;
use crate::client::service::{Proven, is_unproven};
use crate::read::head::Head;
use crate::read::object::{BODY_WAIT, Bucket, condition, opaque, some_etag};
use host::transfers::LargeTransfer;
use store::{Checksums, ObjectAddress, SourceFile};
use types::content::chunk::Extent;
use types::content::etag::PartedEtag;
use types::entry::{Listed, Metadata};
use types::error::{Cause, Op, Result};
use types::limits::{S3_ATTEMPTS_MAX, S3_UNPROVEN_ATTEMPTS_MAX};
use types::object::headers::ObjectHeaders;
use types::service::ServiceFault;

/// The header that requests the checksum of the whole object. The client would only send it in
/// order to verify the checksum itself.
const CHECKSUM_MODE: (&str, Option<&str>) = ("x-amz-checksum-mode", Some("ENABLED"));

/// An object opened for reading.
pub(crate) struct ObjectFile {
    bucket: Bucket,
    key: String,
    head: Head,
    /// The offset in bytes at which reading is expected to end.
    end: u64,
    body: Mutex<Option<Body>>,
}

/// The content of an answer, and its position in the object.
struct Body {
    stream: ByteStream,
    at: u64,
    /// The offset in the object at which the answer should end.
    end: u64,
    /// True if the answer has a Content-Length, so that the connection verifies the length.
    is_measured: bool,
    /// The bytes that have arrived and are not yet consumed.
    rest: Bytes,
    /// The thread that opened the body: only that one drives its connection.
    thread: ThreadId,
    _transfer: Option<LargeTransfer>,
}

impl ObjectFile {
    /// Opens an object of known head, to be read up to `end`. Sends no request.
    pub fn new(bucket: Bucket, key: String, head: Head, end: u64) -> Self {
        Self { bucket, key, head, end, body: Mutex::new(None) }
    }

    /// Requests the whole object at once, without a HEAD before. Its size is that of the listing,
    /// unless the object was replaced since.
    ///
    /// # Errors
    /// Returns `Changed` if the object was replaced, and otherwise the error of the request.
    pub fn whole(bucket: Bucket, key: String, listed: Listed) -> Result<Self> {
        let transfer = LargeTransfer::begin(listed.size_bytes);
        let (head, body) = bucket.get_checked(&key, listed.size_bytes)?;
        let body = Body { _transfer: transfer, ..body };
        let end = head.metadata.size_bytes;
        Ok(Self { bucket, key, head, end, body: Mutex::new(Some(body)) })
    }

    fn part_bytes(&self, number: u64) -> Result<Option<u64>> {
        self.bucket.part_bytes(&self.key, &self.head, number)
    }

    /// Returns the body at a position: the present one if it is there and belongs to this thread,
    /// otherwise that of a new request.
    fn body_at<'b>(&self, slot: &'b mut Option<Body>, at: u64) -> Result<&'b mut Body> {
        let here = std::thread::current().id();
        if !slot.as_ref().is_some_and(|body| body.at == at && body.thread == here) {
            *slot = None;
        }
        match slot {
            Some(body) => Ok(body),
            None => Ok(slot.insert(self.open_body(at)?)),
        }
    }

    /// Requests the content from an offset on.
    fn open_body(&self, at: u64) -> Result<Body> {
        // A read beyond the expected end still gets what it asks for: the rest of the object.
        let end = if at < self.end { self.end } else { self.head.metadata.size_bytes };
        let asked = Extent::between(at, end);
        let transfer = LargeTransfer::begin(asked.length);
        let request = |client: Client| {
            client
                .get_object()
                .bucket(&self.bucket.name)
                .key(&self.key)
                .range(format!("bytes={at}-{}", end - 1))
                .set_if_match(condition(&self.head.etag))
                .set_request_payer(self.bucket.payer())
                .send()
        };
        // Some services ignore the condition or the range, so the answer must show that it has
        // both.
        let read = |answer: GetObjectOutput| {
            if opaque(some_etag(answer.e_tag())?) != opaque(&self.head.etag) {
                return Ok(None);
            }
            let sent = sent_of(&answer, asked, self.head.metadata.size_bytes)?;
            Ok(Some((sent, answer.content_length().is_some(), answer.body)))
        };
        let answer = self.bucket.service.call_proven(Op::Read, request, read)?;
        let (sent, is_measured, stream) = answer.ok_or(Op::Read.failed(Cause::Changed))?;
        Ok(Body { _transfer: transfer, ..Body::new(stream, sent, is_measured) })
    }
}

/// Returns the extent of the object that an answer holds: the requested one, or the whole object
/// where the requested one begins at 0, since ignoring a range is permitted (RFC 9110, section
/// 14.2).
fn sent_of(answer: &GetObjectOutput, asked: Extent, size_bytes: u64) -> Proven<Extent> {
    let sent = match answer.content_range() {
        Some(text) if is_range(text, asked, size_bytes) => asked,
        None if asked.offset == 0 => Extent::between(0, size_bytes),
        _ => return Err(ServiceFault::WrongRange),
    };
    let is_as_long = answer.content_length().is_none_or(|length| length as u64 == sent.length);
    if is_as_long { Ok(sent) } else { Err(ServiceFault::WrongLength) }
}

/// Returns whether a Content-Range denotes that extent of an object of that size (RFC 9110, section
/// 14.4).
fn is_range(text: &str, extent: Extent, size_bytes: u64) -> bool {
    let (first, last) = (extent.offset, extent.end() - 1);
    let total = text.strip_prefix(&format!("bytes {first}-{last}/"));
    total.is_some_and(|total| total == "*" || total == size_bytes.to_string())
}

/// The head of an object, the Content-Length, and the content, of one answer.
type Answer = (Head, Option<u64>, ByteStream);

impl Bucket {
    /// Requests an object with its content. An answer whose size differs from the listing is
    /// accepted if the object itself has that size now; otherwise it is requested again.
    fn get_checked(&self, key: &str, listed_bytes: u64) -> Result<(Head, Body)> {
        let mut tries = 0;
        loop {
            let (head, length, stream) = self.get_whole(key, listed_bytes)?;
            let whole = Extent::between(0, head.metadata.size_bytes);
            let body = Body::new(stream, whole, length.is_some());
            match self.check_size(key, &head, listed_bytes, body) {
                Ok(body) => return Ok((head, body)),
                Err(error) => {
                    tries += 1;
                    if !is_unproven(error.cause) || tries >= S3_UNPROVEN_ATTEMPTS_MAX {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Verifies that the answer has the listed size, or is that of an object that has changed.
    fn check_size(
        &self,
        key: &str,
        head: &Head,
        listed_bytes: u64,
        mut body: Body,
    ) -> Result<Body> {
        if head.metadata.size_bytes != listed_bytes {
            self.confirm(key, head, listed_bytes)?;
        }
        // An empty object is never read, so nothing else would notice content that follows.
        if head.metadata.size_bytes == 0 {
            body.check_end().map_err(|fault| Op::Read.failed(Cause::Service(fault)))?;
        }
        Ok(body)
    }

    /// Requests an object, and waits for the head of the answer.
    fn get_whole(&self, key: &str, listed_bytes: u64) -> Result<Answer> {
        let payer = self.payer();
        let headers =
            [CHECKSUM_MODE, ("x-amz-request-payer", payer.as_ref().map(RequestPayer::as_str))];
        let request = self
            .route()
            .and_then(|route| Request::new(&route, (Method::GET, key), headers, Bytes::new()));
        let read = |answer: HttpResponse| {
            let (head, length) = self.head_of_answer(key, &answer, listed_bytes)?;
            Ok((head, length, ByteStream::new(answer.into_body())))
        };
        self.service.call_shortly(request, read, || self.get_whole_by_client(key, listed_bytes))
    }

    fn get_whole_by_client(&self, key: &str, listed_bytes: u64) -> Result<Answer> {
        let request = |client: Client| {
            client
                .get_object()
                .bucket(&self.name)
                .key(key)
                .set_request_payer(self.payer())
                .customize()
                .mutate_request(|request| {
                    let (name, value) = CHECKSUM_MODE;
                    request.headers_mut().insert(name, value.unwrap_or_default());
                })
                .send()
        };
        self.service.call_proven(Op::Open, request, |answer| {
            let (head, length) = self.head_of_get(key, &answer, listed_bytes)?;
            Ok((head, length, answer.body))
        })
    }

    /// Decides about an object that arrived with another size than listed: the object was replaced
    /// meanwhile, or the answer is not the object.
    fn confirm(&self, key: &str, came: &Head, listed_bytes: u64) -> Result<()> {
        let now = self.head(key)?;
        let size_bytes = now.metadata.size_bytes;
        // The service confirms the answer, so the object has changed between listing and request,
        // and the answer is the whole new object.
        if opaque(&now.etag) == opaque(&came.etag) && size_bytes == came.metadata.size_bytes {
            return Ok(());
        }
        let is_listed = size_bytes == listed_bytes;
        let wrong = Cause::Service(ServiceFault::WrongLength);
        Err(Op::Read.failed(if is_listed { wrong } else { Cause::Changed }))
    }
}

impl Body {
    fn new(stream: ByteStream, extent: Extent, is_measured: bool) -> Self {
        Self {
            stream,
            at: extent.offset,
            end: extent.end(),
            is_measured,
            rest: Bytes::new(),
            thread: std::thread::current().id(),
            _transfer: None,
        }
    }

    /// Waits for the next bytes, and returns false at the end of the body.
    fn advance(&mut self) -> Proven<bool> {
        let stream = &mut self.stream;
        let next = wait_for(async { tokio::time::timeout(BODY_WAIT, stream.next()).await });
        match next {
            Err(_) => Err(ServiceFault::TimedOut),
            Ok(Some(Err(error))) => {
                tracing::debug!(?error, "body broke off");
                Err(ServiceFault::Unreachable)
            }
            Ok(Some(Ok(bytes))) => {
                self.rest = bytes;
                Ok(true)
            }
            Ok(None) => Ok(false),
        }
    }

    /// Reads the next bytes, or none at the end of the extent.
    fn read(&mut self, buffer: &mut [u8]) -> Proven<usize> {
        while self.rest.is_empty() && self.at < self.end {
            if !self.advance()? {
                // Without a Content-Length, an early end looks like a regular one to the
                // connection.
                let is_short = !self.is_measured;
                return Err(if is_short {
                    ServiceFault::WrongLength
                } else {
                    ServiceFault::Unreachable
                });
            }
        }
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let count = self.rest.len().min(buffer.len()).min(left);
        buffer[..count].copy_from_slice(&self.rest.split_to(count));
        self.at += count as u64;
        if self.at == self.end {
            self.check_end()?;
        }
        Ok(count)
    }

    /// Verifies that nothing follows the promised length.
    fn check_end(&mut self) -> Proven<()> {
        while self.rest.is_empty() && !self.is_measured && self.advance()? {}
        if self.rest.is_empty() { Ok(()) } else { Err(ServiceFault::WrongLength) }
    }

    /// Returns whether the body may be continued by another request. A body without a
    /// Content-Length may not be the object's own bytes, for example if a proxy has decompressed
    /// it; then the object's bytes at the same offset do not continue it.
    fn can_go_on(&self) -> bool {
        self.is_measured && self.at < self.end
    }
}

impl SourceFile for ObjectFile {
    fn metadata(&self) -> Result<Metadata> {
        Ok(self.head.metadata)
    }

    fn checksums(&self) -> Checksums {
        let Head { crc64, sha256, md5: etag, .. } = self.head;
        Checksums { crc64, sha256, etag }
    }

    fn parted_etag(&self) -> Result<Option<PartedEtag>> {
        let Some(etag) = self.head.md5 else { return Ok(None) };
        let first_bytes = if etag.is_of_parts() { self.part_bytes(1)? } else { None };
        Ok(etag.parted(self.head.metadata.size_bytes, first_bytes))
    }

    fn has_equal_parts(&self, etag: &PartedEtag) -> Result<bool> {
        for number in 2..etag.parts() {
            if self.part_bytes(number)?.is_some_and(|bytes| bytes != etag.part_bytes) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn headers(&self) -> Option<&ObjectHeaders> {
        Some(&self.head.headers)
    }

    fn address(&self) -> Option<ObjectAddress> {
        Some(ObjectAddress {
            service: self.bucket.service.id,
            bucket: self.bucket.name.clone(),
            key: self.key.clone(),
            etag: self.head.etag.clone(),
        })
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        let left = self.head.metadata.size_bytes.saturating_sub(offset);
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let mut slot = self.body.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut filled, mut tries) = (0, 0);
        while filled < wanted {
            let body = self.body_at(&mut slot, offset + filled as u64)?;
            match body.read(&mut buffer[filled..wanted]) {
                // The extent has been read, and the caller wants more than was expected.
                Ok(0) => *slot = None,
                Ok(count) => filled += count,
                Err(fault) => {
                    tries += 1;
                    // The next body is requested by the same ETag, so it never continues with
                    // another version of the object.
                    if !body.can_go_on() || tries >= S3_ATTEMPTS_MAX {
                        *slot = None;
                        return Err(Op::Read.failed(Cause::Service(fault)));
                    }
                    *slot = None;
                }
            }
        }
        Ok(filled)
    }
}

/// Opens an extent of an object that must still have the content that it had when it was first
/// opened.
///
/// # Errors
/// Returns `Changed` if the object has other content now.
pub(crate) fn open_extent(
    bucket: &Bucket,
    key: String,
    expected_inode: u64,
    extent: Extent,
) -> Result<ObjectFile> {
    // A remembered head needs no check by HEAD: each ranged request has the ETag as its condition.
    let head = match bucket.listing_cache.recall(&key, expected_inode) {
        Some(head) => head,
        None => bucket.head(&key)?,
    };
    if head.metadata.inode != expected_inode {
        return Err(Op::Read.failed(Cause::Changed));
    }
    bucket.listing_cache.keep(&key, &head);
    Ok(ObjectFile::new(bucket.clone(), key, head, extent.offset + extent.length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_the_one_that_was_asked_for() {
        let asked = Extent::between(10, 20);
        assert!(is_range("bytes 10-19/100", asked, 100));
        assert!(is_range("bytes 10-19/*", asked, 100));
        for other in
            ["bytes 10-19/99", "bytes 0-9/100", "bytes 10-18/100", "bytes 10-19", "10-19/100", ""]
        {
            assert!(!is_range(other, asked, 100), "{other}");
        }
    }

    fn answer(range: Option<&str>, length: Option<i64>) -> GetObjectOutput {
        let answer = GetObjectOutput::builder().set_content_range(range.map(str::to_owned));
        answer.set_content_length(length).build()
    }

    /// Verifies that the whole object is accepted where its beginning was requested, and that
    /// nothing else is accepted but the range.
    #[test]
    fn an_answer_has_what_was_asked_for() {
        let (first, second) = (Extent::between(0, 10), Extent::between(10, 20));
        let of = |range, length, asked| sent_of(&answer(range, length), asked, 20);
        assert_eq!(of(Some("bytes 10-19/20"), Some(10), second), Ok(second));
        assert_eq!(of(Some("bytes 10-19/20"), None, second), Ok(second));
        assert_eq!(of(None, Some(20), first), Ok(Extent::between(0, 20)));
        assert_eq!(of(None, Some(10), first), Err(ServiceFault::WrongLength));
        assert_eq!(of(None, Some(20), second), Err(ServiceFault::WrongRange));
        assert_eq!(of(Some("bytes 0-9/20"), Some(10), second), Err(ServiceFault::WrongRange));
        let short = of(Some("bytes 10-19/20"), Some(9), second);
        assert_eq!(short, Err(ServiceFault::WrongLength));
    }
}
