//! Data of a server, in memory: buckets, objects, multipart uploads.
//!
//! Keys are just strings in byte order, so every key that S3 allows is possible, and none is in the
//! way of another. Content is shared, never copied: an object that was put together from parts is a
//! list of them.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::ops::{Bound, Range};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use s3s::dto;

use super::listing::Keys;

/// Content in pieces.
#[derive(Debug, Clone, Default)]
pub struct Content {
    pieces: Arc<[Bytes]>,
    size_bytes: u64,
}

impl Content {
    /// Creates content of these pieces, in this order.
    pub fn of(pieces: impl IntoIterator<Item = Bytes>) -> Self {
        let pieces: Arc<[Bytes]> = pieces.into_iter().collect();
        let size_bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self { pieces, size_bytes }
    }

    /// Returns the size of the whole content.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Returns the pieces in order.
    pub fn pieces(&self) -> impl Iterator<Item = &Bytes> {
        self.pieces.iter()
    }

    /// Returns a part of the content, which must be inside.
    pub fn slice(&self, range: Range<u64>) -> Self {
        let mut start = 0;
        Self::of(self.pieces.iter().filter_map(|piece| {
            let end = start + piece.len() as u64;
            let (from, to) = (range.start.max(start), range.end.min(end));
            let inside =
                (from < to).then(|| piece.slice((from - start) as usize..(to - start) as usize));
            start = end;
            inside
        }))
    }

    /// Returns all bytes in one piece.
    pub fn to_bytes(&self) -> Bytes {
        match &*self.pieces {
            [piece] => piece.clone(),
            pieces => pieces.concat().into(),
        }
    }

    /// Returns the body of an answer.
    pub fn to_body(&self) -> s3s::Body {
        s3s::Body::http_body(Pieces {
            left_bytes: self.size_bytes,
            pieces: self.pieces.iter().cloned().collect(),
        })
    }
}

struct Pieces {
    pieces: VecDeque<Bytes>,
    left_bytes: u64,
}

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let piece = self.pieces.pop_front();
        self.left_bytes -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left_bytes == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left_bytes)
    }
}

/// Headers and metadata that S3 stores with the content and returns with it.
#[derive(Debug, Clone, Default)]
pub struct Attributes {
    /// Cache-Control.
    pub cache_control: Option<String>,
    /// Content-Disposition.
    pub content_disposition: Option<String>,
    /// Content-Encoding.
    pub content_encoding: Option<String>,
    /// Content-Language.
    pub content_language: Option<String>,
    /// Content-Type.
    pub content_type: Option<String>,
    /// Expires.
    pub expires: Option<dto::Timestamp>,
    /// x-amz-meta-…
    pub metadata: Option<dto::Metadata>,
    /// x-amz-storage-class.
    pub storage_class: Option<dto::StorageClass>,
    /// x-amz-tagging, as it came.
    pub tagging: Option<dto::TaggingHeader>,
    /// x-amz-server-side-encryption.
    pub encryption: Option<dto::ServerSideEncryption>,
    /// x-amz-grant-read, as it came: the group that may read it, too.
    pub grant_read: Option<String>,
}

/// An object.
#[derive(Debug, Clone)]
pub struct Object {
    /// Content of the object.
    pub content: Content,
    /// ETag without the quotation marks.
    pub etag: String,
    /// Time at which the object was stored, in whole seconds, as in HTTP's headers.
    pub modified: SystemTime,
    /// Headers and metadata.
    pub attributes: Attributes,
    /// Checksums with their type: of the whole object, or of its parts' checksums.
    pub sums: dto::Checksum,
    /// Sizes of the parts in which the object was uploaded; empty for one piece.
    pub parts_bytes: Vec<u64>,
}

/// A part of an upload.
#[derive(Debug, Clone)]
pub struct Part {
    /// Content of the part.
    pub content: Content,
    /// MD5 of the content, in hexadecimal.
    pub etag: String,
    /// Time at which the part was stored.
    pub modified: SystemTime,
    /// Checksums of the request, and the one that the upload has declared.
    pub sums: dto::Checksum,
}

/// An upload that was neither completed nor aborted.
#[derive(Debug)]
pub struct Upload {
    /// Key that the object will have.
    pub key: String,
    /// Headers and metadata that the object will have.
    pub attributes: Attributes,
    /// Checksum algorithm that the upload has declared.
    pub checksum_algorithm: Option<dto::ChecksumAlgorithm>,
    /// Checksum type that the upload has declared, or the algorithm's only one.
    pub checksum_type: Option<dto::ChecksumType>,
    /// Time at which the upload was begun.
    pub initiated: SystemTime,
    /// Parts by number.
    pub parts: BTreeMap<i32, Part>,
}

/// A bucket.
#[derive(Debug)]
pub struct Bucket {
    /// Time at which the bucket was created.
    pub created: SystemTime,
    /// Objects by key.
    pub objects: BTreeMap<String, Arc<Object>>,
    /// Uploads by upload ID.
    pub uploads: BTreeMap<String, Upload>,
}

impl Bucket {
    /// Creates an empty bucket.
    pub fn new() -> Self {
        Self { created: now(), objects: BTreeMap::new(), uploads: BTreeMap::new() }
    }
}

impl Default for Bucket {
    fn default() -> Self {
        Self::new()
    }
}

impl Keys for BTreeMap<String, Arc<Object>> {
    fn from(&self, bound: Bound<&str>) -> impl Iterator<Item = Cow<'_, str>> {
        self.range::<str, _>((bound, Bound::Unbounded)).map(|(key, _)| Cow::Borrowed(key.as_str()))
    }
}

/// Returns the time, in whole seconds.
pub fn now() -> SystemTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_cross_pieces() {
        let content = Content::of(["ab", "", "cde", "f"].map(Bytes::from));
        assert_eq!(content.size_bytes(), 6);
        for start in 0..=6 {
            for end in start..=6 {
                let slice = content.slice(start..end);
                assert_eq!(slice.to_bytes(), "abcdef"[start as usize..end as usize]);
                assert_eq!(slice.size_bytes(), end - start);
            }
        }
    }
}
