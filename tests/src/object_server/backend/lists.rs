//! Buckets, and lists of the objects in them.

use std::borrow::Cow;
use std::ops::Bound;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use s3s::dto::{self, ETag};
use s3s::{S3Request, S3Result, s3_error};

use super::Backend;
use crate::object_server::behaviour::{Behaviour, Order, Quirk};
use crate::object_server::listing::{Ask, Entry, Keys, MAX_KEYS, page_in_order};
use crate::object_server::objects::{Bucket, Object, Upload};

impl Backend {
    pub(super) fn create_bucket(
        &self,
        request: S3Request<dto::CreateBucketInput>,
    ) -> S3Result<dto::CreateBucketOutput> {
        let name = request.input.bucket;
        let location = Some(format!("/{name}"));
        if self.buckets().contains_key(&name) {
            return Err(s3_error!(BucketAlreadyOwnedByYou));
        }
        self.buckets().insert(name, Bucket::new());
        Ok(dto::CreateBucketOutput { location })
    }

    pub(super) fn delete_bucket(
        &self,
        request: S3Request<dto::DeleteBucketInput>,
    ) -> S3Result<dto::DeleteBucketOutput> {
        let name = &request.input.bucket;
        self.on(name, |bucket| {
            if bucket.objects.is_empty() { Ok(()) } else { Err(s3_error!(BucketNotEmpty)) }
        })?;
        self.buckets().remove(name);
        Ok(dto::DeleteBucketOutput {})
    }

    pub(super) fn head_bucket(
        &self,
        request: S3Request<dto::HeadBucketInput>,
    ) -> S3Result<dto::HeadBucketOutput> {
        self.on(&request.input.bucket, |_| Ok(dto::HeadBucketOutput::default()))
    }

    pub(super) fn list_buckets(
        &self,
        _: S3Request<dto::ListBucketsInput>,
    ) -> S3Result<dto::ListBucketsOutput> {
        let buckets = self.buckets();
        let described = buckets.iter().map(|(name, bucket)| dto::Bucket {
            name: Some(name.clone()),
            creation_date: Some(bucket.created.into()),
            ..Default::default()
        });
        Ok(dto::ListBucketsOutput { buckets: Some(described.collect()), ..Default::default() })
    }

    /// Answers the first version of lists, which continues after a name.
    pub(super) fn list_objects(
        &self,
        request: S3Request<dto::ListObjectsInput>,
    ) -> S3Result<dto::ListObjectsOutput> {
        let input = request.input;
        let behaviour = self.behaviour();
        let ask = Ask {
            prefix: input.prefix.as_deref().unwrap_or_default(),
            delimiter: input.delimiter.as_deref().unwrap_or_default(),
            after: input.marker.as_deref().unwrap_or_default(),
            limit: limit_of(input.max_keys)?.min(behaviour.page_keys_max()),
        };
        let encode = encoder(input.encoding_type.as_ref());
        self.on(&input.bucket, |bucket| {
            let page = page_of(bucket, ask, None, &behaviour);
            let is_told = page.is_truncated && input.delimiter.is_some();
            let last = page.entries.last().filter(|_| is_told);
            let mut output = dto::ListObjectsOutput {
                prefix: Some(encode(ask.prefix)),
                encoding_type: input.encoding_type.clone(),
                is_truncated: Some(page.is_truncated),
                next_marker: last.map(|entry| encode(entry.text())),
                ..Default::default()
            };
            let (contents, prefixes) = entries_of(bucket, page.entries, encode, encode);
            (output.contents, output.common_prefixes) = (Some(contents), Some(prefixes));
            Ok(output)
        })
    }

    pub(super) fn list_objects_v2(
        &self,
        request: S3Request<dto::ListObjectsV2Input>,
    ) -> S3Result<dto::ListObjectsV2Output> {
        let input = request.input;
        let behaviour = self.behaviour();
        let start_after = input.start_after.as_deref().filter(|start| !start.is_empty());
        if start_after.is_some() && behaviour.order == Order::Unordered {
            return Err(s3_error!(NotImplemented, "An unordered list begins nowhere"));
        }
        let is_old = behaviour.has(Quirk::ListsByMarker);
        let start_after = start_after.filter(|_| !is_old);
        let token = input.continuation_token.as_deref().filter(|_| !is_old);
        let token = token.map(from_token).transpose()?;
        let is_first = token.is_none() && start_after.is_none();
        let limit = limit_of(input.max_keys)?.min(behaviour.page_keys_max());
        let ask = Ask {
            prefix: input.prefix.as_deref().unwrap_or_default(),
            delimiter: input.delimiter.as_deref().unwrap_or_default(),
            after: token.as_deref().or(start_after).unwrap_or_default(),
            limit,
        };
        let encode = encoder(input.encoding_type.as_ref());
        self.on(&input.bucket, |bucket| {
            let mut page = page_of(bucket, ask, start_after, &behaviour);
            let is_empty = is_first && behaviour.has(Quirk::EmptyPages);
            let is_back = !is_first && behaviour.has(Quirk::TokensInACircle);
            let last = page.entries.last().filter(|_| page.is_truncated).map(Entry::text);
            let next = if is_empty || (is_back && last.is_some()) { Some(BEGINNING) } else { last };
            let next = next.map(|text| BASE64.encode(text));
            if is_empty {
                page = crate::object_server::listing::Page { entries: vec![], is_truncated: true };
            }
            let encode_prefix =
                if behaviour.has(Quirk::PlainPrefixes) { ToOwned::to_owned } else { encode };
            let mut output = dto::ListObjectsV2Output {
                name: Some(input.bucket.clone()),
                prefix: Some(encode(ask.prefix)),
                delimiter: input.delimiter.as_deref().map(encode),
                start_after: start_after.map(encode),
                encoding_type: input.encoding_type.clone(),
                max_keys: Some(limit as i32),
                key_count: (!is_old).then_some(page.entries.len() as i32),
                is_truncated: Some(page.is_truncated),
                continuation_token: input.continuation_token.clone(),
                next_continuation_token: next.filter(|_| !is_old),
                ..Default::default()
            };
            let (mut contents, prefixes) = entries_of(bucket, page.entries, encode, encode_prefix);
            let shows_all =
                behaviour.has(Quirk::ListsEmptyDirectories) && !ask.delimiter.is_empty();
            if shows_all && contents.is_empty() && prefixes.is_empty() {
                let (key, last_modified) = (Some(encode(ask.prefix)), Some(bucket.created.into()));
                let size = Some(0);
                contents.push(dto::Object { key, size, last_modified, ..Default::default() });
            }
            (output.contents, output.common_prefixes) = (Some(contents), Some(prefixes));
            Ok(output)
        })
    }

    pub(super) fn list_multipart_uploads(
        &self,
        request: S3Request<dto::ListMultipartUploadsInput>,
    ) -> S3Result<dto::ListMultipartUploadsOutput> {
        let input = request.input;
        if input.delimiter.is_some() {
            return Err(s3_error!(NotImplemented, "Uploads are listed without delimiter only"));
        }
        let limit = limit_of(input.max_uploads)?;
        let encode = encoder(input.encoding_type.as_ref());
        let prefix = input.prefix.as_deref().unwrap_or_default();
        self.on(&input.bucket, |bucket| {
            let mut uploads: Vec<(&str, &str, &Upload)> = bucket
                .uploads
                .iter()
                .map(|(id, upload)| (upload.key.as_str(), id.as_str(), upload))
                .filter(|(key, id, _)| key.starts_with(prefix) && is_after(&input, key, id))
                .collect();
            uploads.sort_by_key(|&(key, id, _)| (key, id));
            let is_truncated = uploads.len() > limit && limit > 0;
            uploads.truncate(limit);
            let last = uploads.last().filter(|_| is_truncated);
            Ok(dto::ListMultipartUploadsOutput {
                bucket: Some(input.bucket.clone()),
                prefix: Some(encode(prefix)),
                encoding_type: input.encoding_type.clone(),
                is_truncated: Some(is_truncated),
                max_uploads: Some(limit as i32),
                next_key_marker: last.map(|(key, ..)| encode(key)),
                next_upload_id_marker: last.map(|(_, id, _)| (*id).to_owned()),
                uploads: Some(
                    uploads
                        .iter()
                        .map(|(key, id, upload)| begun(encode(key), id, upload))
                        .collect(),
                ),
                ..Default::default()
            })
        })
    }
}

/// String that comes before every key.
const BEGINNING: &str = "\0";

fn entries_of(
    bucket: &Bucket,
    entries: Vec<Entry>,
    encode: fn(&str) -> String,
    encode_prefix: fn(&str) -> String,
) -> (Vec<dto::Object>, Vec<dto::CommonPrefix>) {
    let (mut contents, mut prefixes) = (Vec::new(), Vec::new());
    for entry in entries {
        match entry {
            Entry::Key(key) => contents.push(described(encode(&key), &bucket.objects[&key])),
            Entry::Prefix(prefix) => {
                prefixes.push(dto::CommonPrefix { prefix: Some(encode_prefix(&prefix)) });
            }
        }
    }
    (contents, prefixes)
}

fn limit_of(asked: Option<i32>) -> S3Result<usize> {
    let asked = usize::try_from(asked.unwrap_or(MAX_KEYS as i32));
    asked.map(|asked| asked.min(MAX_KEYS)).map_err(|_| s3_error!(InvalidArgument))
}

fn from_token(token: &str) -> S3Result<String> {
    let invalid = || s3_error!(InvalidArgument, "The continuation token is not valid");
    String::from_utf8(BASE64.decode(token).map_err(|_| invalid())?).map_err(|_| invalid())
}

fn page_of(
    bucket: &Bucket,
    ask: Ask<'_>,
    start_after: Option<&str>,
    behaviour: &Behaviour,
) -> crate::object_server::listing::Page {
    let Behaviour { order, seed, .. } = *behaviour;
    match start_after {
        Some(start) if behaviour.has(Quirk::StartAfterSkipsSubtree) => {
            let keys = Without { keys: &bucket.objects, subtree: format!("{start}/") };
            page_in_order(&keys, ask, order, seed)
        }
        _ => page_in_order(&bucket.objects, ask, order, seed),
    }
}

/// Keys without those of one directory.
struct Without<'a, K> {
    keys: &'a K,
    subtree: String,
}

impl<K: Keys> Keys for Without<'_, K> {
    fn from(&self, bound: Bound<&str>) -> impl Iterator<Item = Cow<'_, str>> {
        self.keys.from(bound).filter(|key| !key.starts_with(&self.subtree))
    }
}

fn encoder(asked: Option<&dto::EncodingType>) -> fn(&str) -> String {
    if asked.is_some() { url_encoded } else { ToOwned::to_owned }
}

/// Encodes a key as S3 does for encoding-type url: like a form, so a space is a plus sign.
fn url_encoded(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut encoded, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' | b'/' => {
                encoded.push(char::from(byte));
            }
            b' ' => encoded.push('+'),
            _ => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
        encoded
    })
}

fn described(key: String, object: &Object) -> dto::Object {
    let algorithms = crate::object_server::sums::present(&object.sums);
    let algorithms: Vec<dto::ChecksumAlgorithm> =
        algorithms.iter().map(|a| dto::ChecksumAlgorithm::from_static(a.name())).collect();
    dto::Object {
        key: Some(key),
        e_tag: Some(ETag::Strong(object.etag.clone())),
        last_modified: Some(object.modified.into()),
        size: Some(object.content.size_bytes() as i64),
        checksum_algorithm: (!algorithms.is_empty()).then_some(algorithms),
        checksum_type: object.sums.checksum_type.clone(),
        storage_class: Some(dto::ObjectStorageClass::from_static("STANDARD")),
        ..Default::default()
    }
}

fn begun(key: String, id: &str, upload: &Upload) -> dto::MultipartUpload {
    dto::MultipartUpload {
        key: Some(key),
        upload_id: Some(id.to_owned()),
        initiated: Some(upload.initiated.into()),
        checksum_algorithm: upload.checksum_algorithm.clone(),
        checksum_type: upload.checksum_type.clone(),
        ..Default::default()
    }
}

fn is_after(input: &dto::ListMultipartUploadsInput, key: &str, id: &str) -> bool {
    match (input.key_marker.as_deref(), input.upload_id_marker.as_deref()) {
        (Some(marker), None) => key > marker,
        (Some(marker), Some(id_marker)) => (key, id) > (marker, id_marker),
        _ => true,
    }
}
