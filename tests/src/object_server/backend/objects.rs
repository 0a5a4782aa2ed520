//! Requests for one object: put, get, head, delete, copy.

use std::ops::Range;
use std::sync::Arc;

use s3s::dto::{self, Checksum, ETag, StreamingBlob};
use s3s::{S3Error, S3Request, S3Result, s3_error};

use super::{Backend, check_match, check_metadata, check_write, fits, place, sums};
use crate::object_server::behaviour::Quirk;
use crate::object_server::objects::{Attributes, Content, Object, now};
use crate::object_server::sums::{self, Algorithm, Claims};

/// Takes the headers that are stored with an object from a request.
macro_rules! attributes {
    (of $input:expr) => {
        Attributes {
            cache_control: $input.cache_control.take(),
            content_disposition: $input.content_disposition.take(),
            content_encoding: $input.content_encoding.take(),
            content_language: $input.content_language.take(),
            content_type: $input.content_type.take(),
            expires: $input.expires.take(),
            metadata: $input.metadata.take(),
            storage_class: $input.storage_class.take(),
            tagging: $input.tagging.take(),
            encryption: $input.server_side_encryption.take(),
            grant_read: $input.grant_read.take(),
        }
    };
    ($attributes:expr => $output:expr) => {{
        $output.cache_control = $attributes.cache_control;
        $output.content_disposition = $attributes.content_disposition;
        $output.content_encoding = $attributes.content_encoding;
        $output.content_language = $attributes.content_language;
        $output.content_type = $attributes.content_type;
        $output.expires = $attributes.expires;
        $output.metadata = $attributes.metadata;
        $output.storage_class = $attributes.storage_class;
        if $attributes.encryption.is_some() {
            $output.server_side_encryption = $attributes.encryption;
        }
    }};
}
pub(super) use attributes;

/// Collects the size and checksums that a request declares for its body.
macro_rules! claims {
    ($request:expr) => {
        Claims {
            size_bytes: $request.input.content_length.map(|size| size.max(0) as u64),
            md5: $request.input.content_md5.take(),
            sums: sums!(of $request.input),
            trailer: text_header(&$request.headers, "x-amz-trailer"),
            trailing: $request.trailing_headers.take(),
        }
    };
}
pub(super) use claims;

pub(super) fn text_header(headers: &hyper::HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned)
}

impl Backend {
    /// Drops all checksums, where the server imitates an old one.
    pub(super) fn quirky(&self, claims: Claims) -> Claims {
        if !self.has(Quirk::NoChecksums) {
            return claims;
        }
        Claims { size_bytes: claims.size_bytes, md5: claims.md5, ..Claims::default() }
    }

    /// Returns the ETag of content with that MD5.
    pub(super) fn etag_of(&self, md5: &[u8]) -> String {
        let name = sums::hex(md5);
        let is_md5 = !self.has(Quirk::OpaqueEtags) && !self.has(Quirk::KmsKeys);
        if is_md5 { name } else { name.chars().rev().collect() }
    }

    fn shown_etag(&self, object: &Object) -> ETag {
        let etag = object.etag.clone();
        if self.has(Quirk::WeakEtags) { ETag::Weak(etag) } else { ETag::Strong(etag) }
    }

    fn encryption(&self) -> Option<dto::ServerSideEncryption> {
        let by = dto::ServerSideEncryption::AWS_KMS;
        self.has(Quirk::KmsKeys).then(|| dto::ServerSideEncryption::from_static(by))
    }

    /// Returns the checksum algorithm for content without a checksum: as with Amazon, CRC-64.
    fn default_algorithm(&self, claims: &Claims) -> Option<Algorithm> {
        let is_given = !sums::present(&claims.sums).is_empty() || claims.trailer.is_some();
        (!is_given && !self.has(Quirk::NoChecksums)).then_some(Algorithm::Crc64Nvme)
    }

    pub(super) async fn put_object(
        &self,
        mut request: S3Request<dto::PutObjectInput>,
    ) -> S3Result<dto::PutObjectOutput> {
        check_metadata(request.input.metadata.as_ref())?;
        let claims = self.quirky(claims!(request));
        let also = self.default_algorithm(&claims);
        let mut input = request.input;
        self.on(&input.bucket, |_| Ok(()))?;
        let received = sums::receive(input.body.take(), claims, also).await?;
        let object = Object {
            content: received.content,
            etag: self.etag_of(&received.md5),
            modified: now(),
            attributes: attributes!(of input),
            sums: of_whole(received.sums),
            parts_bytes: Vec::new(),
        };
        let mut output = dto::PutObjectOutput {
            e_tag: Some(ETag::Strong(object.etag.clone())),
            checksum_type: object.sums.checksum_type.clone(),
            ..Default::default()
        };
        sums!(object.sums => output);
        let conditions = (input.if_match.as_ref(), input.if_none_match.as_ref());
        self.store(&input.bucket, &input.key, object, conditions)?;
        Ok(output)
    }

    /// Stores an object under its key, if the conditions allow it.
    pub(super) fn store(
        &self,
        bucket: &str,
        key: &str,
        object: Object,
        (if_match, if_none_match): Conditions<'_>,
    ) -> S3Result<()> {
        let is_conditional = !self.has(Quirk::NoConditionalWrites);
        self.on(bucket, |bucket| {
            if is_conditional {
                check_write(bucket.objects.get(key), if_match, if_none_match)?;
            }
            bucket.objects.insert(key.to_owned(), Arc::new(object));
            Ok(())
        })
    }

    pub(super) fn get_object(
        &self,
        request: S3Request<dto::GetObjectInput>,
    ) -> S3Result<dto::GetObjectOutput> {
        let input = request.input;
        let object = self.object(&input.bucket, &input.key)?;
        check_read(&object, input.if_match.as_ref(), input.if_none_match.as_ref())?;
        let size = object.content.size_bytes();
        let range = input.range.filter(|_| !self.has(Quirk::IgnoresRanges));
        let range = range.map(|range| range.check(size)).transpose()?;
        let range = range
            .map(|range| if self.has(Quirk::OtherRanges) { moved(&range, size) } else { range });
        let content = match &range {
            Some(range) => object.content.slice(range.clone()),
            None => object.content.clone(),
        };
        let mut output = dto::GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            body: Some(StreamingBlob::from(content.to_body())),
            content_length: Some(content.size_bytes() as i64),
            content_range: range
                .as_ref()
                .map(|range| format!("bytes {}-{}/{size}", range.start, range.end - 1)),
            e_tag: Some(self.shown_etag(&object)),
            last_modified: Some(object.modified.into()),
            server_side_encryption: self.encryption(),
            ..Default::default()
        };
        attributes!(object.attributes.clone() => output);
        // A range of an object has no checksum here.
        if input.checksum_mode.is_some() && range.is_none() {
            sums!(object.sums => output);
            output.checksum_type.clone_from(&object.sums.checksum_type);
        }
        Ok(output)
    }

    pub(super) fn head_object(
        &self,
        request: S3Request<dto::HeadObjectInput>,
    ) -> S3Result<dto::HeadObjectOutput> {
        let input = request.input;
        let object = self.object(&input.bucket, &input.key)?;
        check_read(&object, input.if_match.as_ref(), input.if_none_match.as_ref())?;
        let mut output = dto::HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some(object.content.size_bytes() as i64),
            e_tag: Some(self.shown_etag(&object)),
            last_modified: Some(object.modified.into()),
            server_side_encryption: self.encryption(),
            ..Default::default()
        };
        attributes!(object.attributes.clone() => output);
        if input.checksum_mode.is_some() {
            sums!(object.sums => output);
            output.checksum_type.clone_from(&object.sums.checksum_type);
        }
        let number = input.part_number.filter(|_| !self.has(Quirk::IgnoresPartNumbers));
        if let Some(number) = number {
            let size = part_bytes(&object, number).ok_or_else(|| s3_error!(InvalidPart))?;
            output.content_length = Some(size as i64);
            output.parts_count = Some(object.parts_bytes.len().max(1) as i32);
        }
        Ok(output)
    }

    pub(super) fn delete_object(
        &self,
        request: S3Request<dto::DeleteObjectInput>,
    ) -> S3Result<dto::DeleteObjectOutput> {
        let input = request.input;
        let is_conditional = !self.has(Quirk::NoConditionalWrites);
        if self.has(Quirk::LocksKeys) && input.key.contains("locked") {
            return Err(s3_error!(AccessDenied));
        }
        self.on(&input.bucket, |bucket| {
            if is_conditional {
                check_write(bucket.objects.get(&input.key), input.if_match.as_ref(), None)?;
            }
            bucket.objects.remove(&input.key);
            Ok(dto::DeleteObjectOutput::default())
        })
    }

    pub(super) fn delete_objects(
        &self,
        request: S3Request<dto::DeleteObjectsInput>,
    ) -> S3Result<dto::DeleteObjectsOutput> {
        let dto::Delete { objects, quiet } = request.input.delete;
        if objects.is_empty() || objects.len() > 1000 {
            return Err(s3_error!(MalformedXML));
        }
        if self.has(Quirk::NoDeleteObjects) {
            return Err(s3_error!(NotImplemented));
        }
        let (locks, is_busy) = (self.has(Quirk::LocksKeys), self.has(Quirk::BusyKeys));
        let is_refused =
            |key: &str| (locks && key.contains("locked")) || (is_busy && key.contains("busy"));
        let (refused, objects): (Vec<_>, Vec<_>) =
            objects.into_iter().partition(|object| is_refused(&object.key));
        let code_of =
            |key: &str| if key.contains("busy") { "InternalError" } else { "AccessDenied" };
        let errors = refused.into_iter().map(|object| dto::Error {
            code: Some(code_of(&object.key).to_owned()),
            key: Some(object.key),
            ..Default::default()
        });
        let errors = Some(errors.collect::<Vec<_>>()).filter(|errors| !errors.is_empty());
        let deleted = self.on(&request.input.bucket, |bucket| {
            let remove = |object: dto::ObjectIdentifier| {
                bucket.objects.remove(&object.key);
                dto::DeletedObject { key: Some(object.key), ..Default::default() }
            };
            Ok(objects.into_iter().map(remove).collect::<Vec<_>>())
        })?;
        let deleted = (quiet != Some(true)).then_some(deleted);
        Ok(dto::DeleteObjectsOutput { deleted, errors, ..Default::default() })
    }

    pub(super) fn copy_object(
        &self,
        request: S3Request<dto::CopyObjectInput>,
    ) -> S3Result<dto::CopyObjectOutput> {
        let mut input = request.input;
        let source = place(&input.copy_source)?;
        let old = self.object(source.0, source.1)?;
        check_match(&old.etag, input.copy_source_if_match.as_ref())?;
        check_metadata(input.metadata.as_ref())?;
        let is_replaced = input
            .metadata_directive
            .as_ref()
            .is_some_and(|directive| directive.as_str() == "REPLACE");
        if !is_replaced && source == (&*input.bucket, &*input.key) {
            return Err(s3_error!(InvalidRequest, "A copy onto itself must change something"));
        }
        let replaces_tags =
            input.tagging_directive.as_ref().is_some_and(|it| it.as_str() == "REPLACE");
        if !replaces_tags && old.attributes.tagging.is_some() && self.has(Quirk::HidesTags) {
            return Err(s3_error!(AccessDenied));
        }
        let mut attributes =
            if is_replaced { attributes!(of input) } else { old.attributes.clone() };
        if !replaces_tags {
            attributes.tagging.clone_from(&old.attributes.tagging);
        }
        let asked = input.checksum_algorithm.as_ref().map(dto::ChecksumAlgorithm::as_str);
        let object = Object {
            content: old.content.clone(),
            etag: sums::etag_of_content(&old.content),
            modified: now(),
            attributes,
            sums: copied_sums(&old, asked.and_then(Algorithm::named)),
            parts_bytes: Vec::new(),
        };
        let mut result = dto::CopyObjectResult {
            e_tag: Some(ETag::Strong(object.etag.clone())),
            last_modified: Some(object.modified.into()),
            checksum_type: object.sums.checksum_type.clone(),
            ..Default::default()
        };
        sums!(object.sums => result);
        self.store(&input.bucket, &input.key, object, (None, None))?;
        Ok(dto::CopyObjectOutput { copy_object_result: Some(result), ..Default::default() })
    }
}

impl Backend {
    pub(super) fn get_object_tagging(
        &self,
        request: S3Request<dto::GetObjectTaggingInput>,
    ) -> S3Result<dto::GetObjectTaggingOutput> {
        let input = request.input;
        let object = self.object(&input.bucket, &input.key)?;
        if self.has(Quirk::HidesTags) {
            return Err(s3_error!(AccessDenied));
        }
        let pairs = object.attributes.tagging.iter().flat_map(|tags| tags.split('&'));
        let tag = |pair: &str| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            dto::Tag { key: Some(key.to_owned()), value: Some(value.to_owned()) }
        };
        let tag_set = pairs.map(tag).collect();
        Ok(dto::GetObjectTaggingOutput { tag_set, ..Default::default() })
    }

    /// Returns the access control list: the owner has all permissions, and others may read what
    /// they were granted.
    pub(super) fn get_object_acl(
        &self,
        request: S3Request<dto::GetObjectAclInput>,
    ) -> S3Result<dto::GetObjectAclOutput> {
        let input = request.input;
        let object = self.object(&input.bucket, &input.key)?;
        let readers = object.attributes.grant_read.iter().flat_map(|text| text.split(", "));
        let reader = |reader: &str| {
            let (kind, name) = reader.strip_suffix('"')?.split_once("=\"")?;
            Some(grant(kind, name, dto::Permission::READ))
        };
        let grants =
            readers.filter_map(reader).chain([grant("id", OWNER, dto::Permission::FULL_CONTROL)]);
        Ok(dto::GetObjectAclOutput {
            grants: Some(grants.collect()),
            owner: Some(dto::Owner { id: Some(OWNER.to_owned()), ..Default::default() }),
            ..Default::default()
        })
    }
}

/// Owner of all objects.
const OWNER: &str = "owner";

/// Returns a grant to a user by `id`, or to a group by `uri`.
fn grant(kind: &str, name: &str, permission: &'static str) -> dto::Grant {
    let is_user = kind == "id";
    let name = |is_it: bool| is_it.then(|| name.to_owned());
    let grantee = dto::Grantee {
        id: name(is_user),
        type_: dto::Type::from_static(if is_user {
            dto::Type::CANONICAL_USER
        } else {
            dto::Type::GROUP
        }),
        display_name: None,
        email_address: None,
        uri: name(!is_user),
    };
    dto::Grant {
        grantee: Some(grantee),
        permission: Some(dto::Permission::from_static(permission)),
    }
}

/// Values of If-Match and If-None-Match.
pub(super) type Conditions<'a> = (Option<&'a dto::ETagCondition>, Option<&'a dto::ETagCondition>);

/// Returns the size of a part by its number; an object that was stored in one piece has one.
fn part_bytes(object: &Object, number: i32) -> Option<u64> {
    if object.parts_bytes.is_empty() {
        return (number == 1).then(|| object.content.size_bytes());
    }
    object.parts_bytes.get(usize::try_from(number).ok()?.checked_sub(1)?).copied()
}

fn check_read(
    object: &Object,
    if_match: Option<&dto::ETagCondition>,
    if_none_match: Option<&dto::ETagCondition>,
) -> S3Result<()> {
    check_match(&object.etag, if_match)?;
    if if_none_match.is_some_and(|condition| fits(condition, &object.etag)) {
        return Err(S3Error::new(s3s::S3ErrorCode::NotModified));
    }
    Ok(())
}

/// Returns the checksum of a copy: that of the source, or the requested one, but of the whole
/// object.
fn copied_sums(old: &Object, asked: Option<Algorithm>) -> Checksum {
    match asked.or_else(|| sums::present(&old.sums).first().copied()) {
        Some(algorithm) => of_whole(sums::of_content(&old.content, algorithm)),
        None => Checksum::default(),
    }
}

/// Marks checksums as those of a whole object.
pub(super) fn of_whole(mut sums: Checksum) -> Checksum {
    let has_any = !sums::present(&sums).is_empty();
    let full = dto::ChecksumType::from_static(dto::ChecksumType::FULL_OBJECT);
    sums.checksum_type = has_any.then_some(full);
    sums
}

/// Returns an object as a test stores it.
pub(in crate::object_server) fn planted(content: Content) -> Object {
    Object {
        etag: sums::etag_of_content(&content),
        parts_bytes: Vec::new(),
        modified: now(),
        attributes: Attributes::default(),
        sums: of_whole(sums::of_content(&content, Algorithm::Crc64Nvme)),
        content,
    }
}

/// Returns an object as a test stores it, of parts, or of one piece; without checksums.
pub(in crate::object_server) fn assembled(parts: &[&[u8]]) -> Object {
    let pieces = parts.iter().map(|part| Content::of([bytes::Bytes::copy_from_slice(part)]));
    let etags: Vec<String> = pieces.clone().map(|piece| sums::etag_of_content(&piece)).collect();
    let content = Content::of(parts.iter().map(|part| bytes::Bytes::copy_from_slice(part)));
    let is_one = parts.len() == 1;
    Object {
        etag: if is_one {
            etags[0].clone()
        } else {
            sums::etag_of_parts(etags.iter().map(String::as_str))
        },
        parts_bytes: parts.iter().map(|part| part.len() as u64).filter(|_| !is_one).collect(),
        sums: Checksum::default(),
        ..planted(content)
    }
}

/// Returns a range of that length elsewhere in an object of that size, where there is one.
fn moved(range: &Range<u64>, size: u64) -> Range<u64> {
    if range.end < size {
        range.start + 1..range.end + 1
    } else {
        range.start.saturating_sub(1)..range.end - u64::from(range.start > 0)
    }
}
