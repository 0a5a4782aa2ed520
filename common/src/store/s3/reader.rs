//! Reading an object: one request for each extent, whose body is read as it comes. A body that breaks off
//! goes on from its last byte, if the object is still the same.

use std::sync::{Mutex, PoisonError};
use std::thread::ThreadId;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::RequestPayer;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use bytes::Bytes;
use http::Method;

use super::client::wait_for;
use super::object::{BODY_WAIT, Bucket, Head};
use super::shortcut::Request;
use crate::base::crc64::Crc64;
use crate::base::error::{Cause, Op, Result};
use crate::base::limits::S3_ATTEMPTS_MAX;
use crate::base::service::ServiceFault;
use crate::base::transfers::LargeTransfer;
use crate::model::chunk::Extent;
use crate::model::entry::{Metadata, Xattrs};
use crate::model::object_headers::ObjectHeaders;
use crate::store::{ObjectAddress, SourceFile};

/// Asks for the whole's checksum, for us: the client would do so only to check it itself.
const CHECKSUM_MODE: (&str, Option<&str>) = ("x-amz-checksum-mode", Some("ENABLED"));

/// An object open for reading.
pub(super) struct ObjectFile {
    bucket: Bucket,
    key: String,
    head: Head,
    /// Where reading will end, as far as it is known.
    end: u64,
    body: Mutex<Option<Body>>,
}

/// An answer's content, from its place in the object on.
struct Body {
    stream: ByteStream,
    at: u64,
    /// What has come and was not taken yet.
    rest: Bytes,
    /// Only the thread that opened it drives its connection.
    thread: ThreadId,
    _transfer: Option<LargeTransfer>,
}

impl ObjectFile {
    /// An object that was looked at, to be read up to `end`.
    pub fn new(bucket: Bucket, key: String, head: Head, end: u64) -> Self {
        Self { bucket, key, head, end, body: Mutex::new(None) }
    }

    /// Asks for the whole object at once, without looking at it first.
    pub fn whole(bucket: Bucket, key: String) -> Result<Self> {
        let (head, stream) = bucket.get_whole(&key)?;
        let size_bytes = head.metadata.size_bytes;
        let thread = std::thread::current().id();
        let transfer = LargeTransfer::begin(size_bytes);
        let body = Body { stream, at: 0, rest: Bytes::new(), thread, _transfer: transfer };
        Ok(Self { bucket, key, head, end: size_bytes, body: Mutex::new(Some(body)) })
    }

    /// Asks for the content from an offset on.
    fn open_body(&self, at: u64) -> Result<Body> {
        let end = if at < self.end { self.end } else { self.head.metadata.size_bytes };
        let transfer = LargeTransfer::begin(end - at);
        let answer = self.bucket.service.call(Op::Read, |client| {
            client
                .get_object()
                .bucket(&self.bucket.name)
                .key(&self.key)
                .range(format!("bytes={at}-{}", end - 1))
                .if_match(&self.head.etag)
                .set_request_payer(self.bucket.payer())
                .send()
        })?;
        // Some services do not look at the condition, or at the range.
        let is_same = answer.e_tag().unwrap_or_default() == self.head.etag;
        let is_range = answer.content_length() == Some((end - at) as i64);
        if !is_same || !is_range {
            return Err(Op::Read.failed(Cause::Changed));
        }
        let thread = std::thread::current().id();
        Ok(Body { stream: answer.body, at, rest: Bytes::new(), thread, _transfer: transfer })
    }
}

impl Bucket {
    /// Asks for an object, and waits until its content begins to come.
    fn get_whole(&self, key: &str) -> Result<(Head, ByteStream)> {
        let payer = self.payer();
        let headers =
            [CHECKSUM_MODE, ("x-amz-request-payer", payer.as_ref().map(RequestPayer::as_str))];
        let request = Request::new(self, (Method::GET, key), headers, Bytes::new());
        let read = |answer: HttpResponse| {
            let head = self.head_of_answer(key, &answer);
            (head, ByteStream::new(answer.into_body()))
        };
        self.service.call_shortly(request, read, || self.get_whole_by_client(key))
    }

    fn get_whole_by_client(&self, key: &str) -> Result<(Head, ByteStream)> {
        let answer = self.service.call(Op::Open, |client| {
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
        })?;
        let size_bytes = answer.content_length().unwrap_or(0).max(0) as u64;
        Ok((self.head_of_get(key, &answer, size_bytes), answer.body))
    }
}

impl Body {
    /// Waits for the next bytes; false at the end.
    fn advance(&mut self) -> std::result::Result<bool, ServiceFault> {
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

    fn take(&mut self, buffer: &mut [u8]) -> usize {
        let count = self.rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.rest.split_to(count));
        self.at += count as u64;
        count
    }
}

impl SourceFile for ObjectFile {
    fn metadata(&self) -> Result<Metadata> {
        Ok(self.head.metadata)
    }

    fn xattrs(&self) -> Result<Option<Xattrs>> {
        Ok(None)
    }

    fn crc64(&self) -> Option<Crc64> {
        self.head.crc64
    }

    /// An ETag of a single request is the content's MD5 almost everywhere, but for some ways of encryption
    /// (Amazon S3 API Reference, "Object").
    fn md5(&self) -> Option<u128> {
        let name = self.head.etag.trim_matches('"');
        let is_md5 = name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_md5.then(|| u128::from_str_radix(name, 16).ok()).flatten()
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
        if offset >= self.head.metadata.size_bytes || buffer.is_empty() {
            return Ok(0);
        }
        let mut slot = self.body.lock().unwrap_or_else(PoisonError::into_inner);
        let here = std::thread::current().id();
        let (mut filled, mut tries) = (0, 0);
        while filled < buffer.len() {
            let at = offset + filled as u64;
            if at >= self.head.metadata.size_bytes {
                break;
            }
            let fits = slot.as_ref().is_some_and(|body| body.at == at && body.thread == here);
            if !fits {
                *slot = None;
            }
            let body = match &mut *slot {
                Some(body) => body,
                None => slot.insert(self.open_body(at)?),
            };
            if !body.rest.is_empty() {
                filled += body.take(&mut buffer[filled..]);
                continue;
            }
            let ended = match body.advance() {
                Ok(true) => continue,
                // The extent is read; or the service has sent less than it promised.
                Ok(false) => ServiceFault::Unreachable,
                Err(fault) => fault,
            };
            *slot = None;
            tries += u32::from(at < self.end);
            if tries >= S3_ATTEMPTS_MAX {
                return Err(Op::Read.failed(Cause::Service(ended)));
            }
        }
        Ok(filled)
    }
}

/// An extent of an object that must still be the one it was.
pub(super) fn open_extent(
    bucket: &Bucket,
    key: String,
    expected_inode: u64,
    extent: Extent,
) -> Result<ObjectFile> {
    // The service itself says whether it is still that content, with each range.
    let head = match bucket.memory.recall(&key, expected_inode) {
        Some(head) => head,
        None => bucket.head(&key)?,
    };
    if head.metadata.inode != expected_inode {
        return Err(Op::Read.failed(Cause::Changed));
    }
    bucket.memory.keep(&key, &head);
    Ok(ObjectFile::new(bucket.clone(), key, head, extent.offset + extent.length))
}
