//! Counts of requests, by which tests judge how sparing a client is.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use hyper::Method;

/// Operations of S3, as far as the server distinguishes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)] // the names are S3's
pub enum Operation {
    AbortMultipartUpload,
    CompleteMultipartUpload,
    CopyObject,
    CreateBucket,
    CreateMultipartUpload,
    DeleteBucket,
    DeleteObject,
    DeleteObjects,
    GetObject,
    GetObjectAcl,
    GetObjectTagging,
    HeadBucket,
    HeadObject,
    /// HeadObject of one of an object's parts.
    HeadPart,
    ListBuckets,
    ListMultipartUploads,
    ListObjects,
    ListObjectsV2,
    ListParts,
    PutObject,
    UploadPart,
    UploadPartCopy,
    Other,
}

impl Operation {
    /// Determines the operation from the request's line and headers; see "Actions" in the Amazon S3
    /// API Reference.
    pub fn of<B>(request: &hyper::Request<B>) -> Self {
        let query = Query(request.uri().query().unwrap_or_default());
        let path = request.uri().path().trim_start_matches('/');
        let is_copy = request.headers().contains_key("x-amz-copy-source");
        match path.split_once('/') {
            None if path.is_empty() => Self::ListBuckets,
            None | Some((_, "")) => Self::of_bucket(request.method(), query),
            Some(_) => Self::of_object(request.method(), query, is_copy),
        }
    }

    /// Returns true for an operation that lists names.
    pub fn lists(self) -> bool {
        matches!(
            self,
            Self::ListBuckets
                | Self::ListMultipartUploads
                | Self::ListObjects
                | Self::ListObjectsV2
                | Self::ListParts
        )
    }

    /// Returns true for an operation whose body becomes content.
    pub fn stores_content(self) -> bool {
        matches!(self, Self::PutObject | Self::UploadPart)
    }

    /// Returns true for an operation whose answer has an XML document as its body.
    pub fn has_document(self) -> bool {
        matches!(
            self,
            Self::CompleteMultipartUpload
                | Self::CopyObject
                | Self::CreateMultipartUpload
                | Self::DeleteObjects
                | Self::GetObjectAcl
                | Self::GetObjectTagging
                | Self::ListBuckets
                | Self::ListMultipartUploads
                | Self::ListObjects
                | Self::ListObjectsV2
                | Self::ListParts
                | Self::UploadPartCopy
        )
    }

    fn of_bucket(method: &Method, query: Query<'_>) -> Self {
        match *method {
            Method::GET if query.has("uploads") => Self::ListMultipartUploads,
            Method::GET if query.has("list-type") => Self::ListObjectsV2,
            Method::GET if query.has("max-keys") => Self::ListObjects,
            Method::HEAD => Self::HeadBucket,
            Method::PUT if query.0.is_empty() => Self::CreateBucket,
            Method::POST if query.has("delete") => Self::DeleteObjects,
            Method::DELETE if query.0.is_empty() => Self::DeleteBucket,
            _ => Self::Other,
        }
    }

    fn of_object(method: &Method, query: Query<'_>, is_copy: bool) -> Self {
        let is_part = query.has("uploadId");
        match *method {
            Method::GET if is_part => Self::ListParts,
            Method::GET if query.has("tagging") => Self::GetObjectTagging,
            Method::GET if query.has("acl") => Self::GetObjectAcl,
            Method::GET => Self::GetObject,
            Method::HEAD if query.has("partNumber") => Self::HeadPart,
            Method::HEAD => Self::HeadObject,
            Method::PUT if is_part && is_copy => Self::UploadPartCopy,
            Method::PUT if is_part => Self::UploadPart,
            Method::PUT if is_copy => Self::CopyObject,
            Method::PUT => Self::PutObject,
            Method::POST if is_part => Self::CompleteMultipartUpload,
            Method::POST if query.has("uploads") => Self::CreateMultipartUpload,
            Method::DELETE if is_part => Self::AbortMultipartUpload,
            Method::DELETE => Self::DeleteObject,
            _ => Self::Other,
        }
    }
}

#[derive(Clone, Copy)]
struct Query<'a>(&'a str);

impl Query<'_> {
    fn has(self, name: &str) -> bool {
        self.0.split('&').any(|pair| pair.split('=').next() == Some(name))
    }
}

/// Number of requests in progress.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AtOnce {
    now: u64,
    /// Largest number at the same time.
    pub most: u64,
}

impl AtOnce {
    /// Counts a request that begins.
    pub fn begin(&mut self) {
        self.now += 1;
        self.most = self.most.max(self.now);
    }

    /// Counts a request that ends, which may have begun before counting did.
    pub fn end(&mut self) {
        self.now = self.now.saturating_sub(1);
    }
}

/// Counts of requests so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Number of requests by operation, refused ones included.
    pub requests: BTreeMap<Operation, u64>,
    /// Number of requests that were answered with 503.
    pub refused: u64,
    /// Lists of objects in progress, by their prefix as it is encoded in requests.
    pub lists_at_once: BTreeMap<String, AtOnce>,
    /// Number of requests that were held because of their key.
    pub held: u64,
    /// Number of bodies that were cut.
    pub cut: u64,
    /// Number of bodies that were changed.
    pub spoilt: u64,
    /// Number of answers that were torn, by operation.
    pub torn: BTreeMap<Operation, u64>,
}

impl Counts {
    /// Returns the number of requests of an operation.
    pub fn of(&self, operation: Operation) -> u64 {
        self.requests.get(&operation).copied().unwrap_or_default()
    }

    /// Returns the number of requests that change objects.
    pub fn writes(&self) -> u64 {
        let reads = [
            Operation::GetObject,
            Operation::GetObjectAcl,
            Operation::GetObjectTagging,
            Operation::HeadBucket,
            Operation::HeadObject,
            Operation::HeadPart,
            Operation::ListBuckets,
            Operation::ListMultipartUploads,
            Operation::ListObjects,
            Operation::ListObjectsV2,
            Operation::ListParts,
        ];
        self.total() - reads.iter().map(|read| self.of(*read)).sum::<u64>()
    }

    /// Returns the largest number of lists of a prefix that were in progress at the same time.
    pub fn lists_at_once(&self, prefix: &str) -> u64 {
        let encoded = prefix.replace('/', "%2F");
        self.lists_at_once.get(&encoded).copied().unwrap_or_default().most
    }

    /// Returns the number of answers that were torn.
    pub fn torn(&self) -> u64 {
        self.torn.values().sum()
    }

    /// Returns the number of requests.
    pub fn total(&self) -> u64 {
        self.requests.values().sum()
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (operation, count) in &self.requests {
            writeln!(f, "{operation:?} {count}")?;
        }
        write!(f, "refused {}\ncut {}\nspoilt {}\n", self.refused, self.cut, self.spoilt)?;
        write!(f, "torn {}", self.torn())
    }
}

/// Counts that all connections share.
#[derive(Debug, Default)]
pub struct Counter(Mutex<Counts>);

impl Counter {
    /// Changes the counts, or reads them.
    pub fn with<T>(&self, change: impl FnOnce(&mut Counts) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_operation(method: Method, uri: &str, expected: Operation) {
        let request = hyper::Request::builder().method(method).uri(uri).body(()).unwrap();
        assert_eq!(Operation::of(&request), expected);
    }

    #[test]
    fn operations_are_told_apart() {
        assert_operation(Method::GET, "/", Operation::ListBuckets);
        assert_operation(Method::PUT, "/bucket", Operation::CreateBucket);
        assert_operation(Method::HEAD, "/bucket/", Operation::HeadBucket);
        assert_operation(
            Method::GET,
            "/bucket?list-type=2&prefix=uploads",
            Operation::ListObjectsV2,
        );
        assert_operation(Method::GET, "/bucket/?uploads", Operation::ListMultipartUploads);
        assert_operation(Method::GET, "/bucket//", Operation::GetObject);
        assert_operation(Method::GET, "/bucket/k?tagging", Operation::GetObjectTagging);
        assert_operation(Method::HEAD, "/bucket/k?partNumber=2", Operation::HeadPart);
        assert_operation(Method::POST, "/bucket/k?uploads=", Operation::CreateMultipartUpload);
        assert_operation(Method::PUT, "/bucket/k?partNumber=1&uploadId=x", Operation::UploadPart);
    }
}
