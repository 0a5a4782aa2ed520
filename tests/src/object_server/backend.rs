//! Requests of S3 that the server answers, on buckets in memory.
//!
//! Other requests are answered with 501 by the protocol. Answers and errors follow the Amazon S3
//! API Reference, and the behaviour of Amazon's service where that is silent.

#[allow(clippy::needless_pass_by_value, clippy::unnecessary_wraps)] // all answers have one form
mod lists;
mod objects;
pub(super) use objects::{assembled, planted};
mod uploads;
pub(super) use uploads::left;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use s3s::dto::{self, ETag, ETagCondition};
use s3s::{S3, S3Error, S3Request, S3Response, S3Result, s3_error};

use super::behaviour::{Behaviour, Quirk};
use super::objects::{Bucket, Object};

/// Largest size of the names and values of metadata together in bytes, as S3 limits it.
const MOST_METADATA_BYTES: usize = 2048;

/// All buckets, with the behaviour of the server.
#[derive(Debug, Default)]
pub struct Backend {
    buckets: Mutex<BTreeMap<String, Bucket>>,
    behaviour: RwLock<Arc<Behaviour>>,
    uploads_begun: AtomicU64,
}

/// Copies the checksum fields that many types of the protocol have.
macro_rules! sums {
    (of $input:expr) => {
        Checksum {
            checksum_crc32: $input.checksum_crc32.clone(),
            checksum_crc32c: $input.checksum_crc32c.clone(),
            checksum_crc64nvme: $input.checksum_crc64nvme.clone(),
            checksum_sha1: $input.checksum_sha1.clone(),
            checksum_sha256: $input.checksum_sha256.clone(),
            checksum_type: None,
        }
    };
    ($sums:expr => $output:expr) => {{
        $output.checksum_crc32.clone_from(&$sums.checksum_crc32);
        $output.checksum_crc32c.clone_from(&$sums.checksum_crc32c);
        $output.checksum_crc64nvme.clone_from(&$sums.checksum_crc64nvme);
        $output.checksum_sha1.clone_from(&$sums.checksum_sha1);
        $output.checksum_sha256.clone_from(&$sums.checksum_sha256);
    }};
}
pub(super) use sums;

impl Backend {
    /// Starts without buckets.
    pub fn new(behaviour: Behaviour) -> Self {
        Self { behaviour: RwLock::new(Arc::new(behaviour)), ..Self::default() }
    }

    /// Returns the present behaviour.
    pub fn behaviour(&self) -> Arc<Behaviour> {
        self.behaviour.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the behaviour.
    pub fn behave(&self, behaviour: Behaviour) {
        *self.behaviour.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(behaviour);
    }

    /// Returns all buckets by name.
    pub fn buckets(&self) -> MutexGuard<'_, BTreeMap<String, Bucket>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn on<T>(&self, bucket: &str, act: impl FnOnce(&mut Bucket) -> S3Result<T>) -> S3Result<T> {
        act(self.buckets().get_mut(bucket).ok_or_else(|| s3_error!(NoSuchBucket))?)
    }

    fn object(&self, bucket: &str, key: &str) -> S3Result<Arc<Object>> {
        self.on(bucket, |bucket| {
            bucket.objects.get(key).cloned().ok_or_else(|| s3_error!(NoSuchKey))
        })
    }

    fn new_upload_id(&self) -> String {
        format!("upload-{:08}", self.uploads_begun.fetch_add(1, Ordering::Relaxed))
    }

    fn has(&self, quirk: Quirk) -> bool {
        self.behaviour().has(quirk)
    }
}

/// Checks If-Match and If-None-Match of a write.
///
/// # Errors
/// `PreconditionFailed`; `NoSuchKey` where If-Match names an object that is not there.
fn check_write(
    old: Option<&Arc<Object>>,
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
) -> S3Result<()> {
    if let Some(condition) = if_match {
        let old = old.ok_or_else(|| s3_error!(NoSuchKey))?;
        check_match(&old.etag, Some(condition))?;
    }
    if old.is_some_and(|old| if_none_match.is_some_and(|condition| fits(condition, &old.etag))) {
        return Err(s3_error!(PreconditionFailed));
    }
    Ok(())
}

fn check_match(etag: &str, condition: Option<&ETagCondition>) -> S3Result<()> {
    match condition {
        Some(condition) if !fits(condition, etag) => Err(s3_error!(PreconditionFailed)),
        _ => Ok(()),
    }
}

fn fits(condition: &ETagCondition, etag: &str) -> bool {
    // A weak ETag is never strongly equal to any (RFC 9110, 8.8.3.2).
    let is_it = |given: &ETag| matches!(given, ETag::Strong(value) if value == etag);
    condition.as_etag().is_none_or(is_it)
}

fn check_metadata(metadata: Option<&dto::Metadata>) -> S3Result<()> {
    let size = |(name, value): (&String, &String)| name.len() + value.len();
    let size_bytes: usize = metadata.into_iter().flatten().map(size).sum();
    if size_bytes > MOST_METADATA_BYTES {
        return Err(s3_error!(MetadataTooLarge));
    }
    Ok(())
}

/// Returns the bucket and key of x-amz-copy-source.
fn place(source: &dto::CopySource) -> S3Result<(&str, &str)> {
    match source {
        dto::CopySource::Bucket { bucket, key, .. } => Ok((bucket, key)),
        _ => Err(S3Error::new(s3s::S3ErrorCode::NotImplemented)),
    }
}

/// Passes requests on to the functions that answer them.
macro_rules! answers {
    ($($name:ident: $input:ident => $output:ident $(, $wait:tt)?;)*) => {
        #[async_trait::async_trait]
        impl S3 for Shared {
            $(async fn $name(
                &self,
                request: S3Request<dto::$input>,
            ) -> S3Result<S3Response<dto::$output>> {
                self.0.$name(request)$(.$wait)?.map(S3Response::new)
            })*
        }
    };
}

/// Backend in the form that the protocol requires.
#[derive(Debug, Clone)]
pub struct Shared(pub Arc<Backend>);

answers! {
    abort_multipart_upload: AbortMultipartUploadInput => AbortMultipartUploadOutput;
    complete_multipart_upload: CompleteMultipartUploadInput => CompleteMultipartUploadOutput;
    copy_object: CopyObjectInput => CopyObjectOutput;
    create_bucket: CreateBucketInput => CreateBucketOutput;
    create_multipart_upload: CreateMultipartUploadInput => CreateMultipartUploadOutput;
    delete_bucket: DeleteBucketInput => DeleteBucketOutput;
    delete_object: DeleteObjectInput => DeleteObjectOutput;
    delete_objects: DeleteObjectsInput => DeleteObjectsOutput;
    get_object: GetObjectInput => GetObjectOutput;
    get_object_acl: GetObjectAclInput => GetObjectAclOutput;
    get_object_tagging: GetObjectTaggingInput => GetObjectTaggingOutput;
    head_bucket: HeadBucketInput => HeadBucketOutput;
    head_object: HeadObjectInput => HeadObjectOutput;
    list_buckets: ListBucketsInput => ListBucketsOutput;
    list_multipart_uploads: ListMultipartUploadsInput => ListMultipartUploadsOutput;
    list_objects: ListObjectsInput => ListObjectsOutput;
    list_objects_v2: ListObjectsV2Input => ListObjectsV2Output;
    list_parts: ListPartsInput => ListPartsOutput;
    put_object: PutObjectInput => PutObjectOutput, await;
    upload_part: UploadPartInput => UploadPartOutput, await;
    upload_part_copy: UploadPartCopyInput => UploadPartCopyOutput;
}
