//! Multipart uploads.
//!
//! See "Uploading and copying objects using multipart upload" in the Amazon S3 User Guide.

use std::time::Duration;

use s3s::dto::{self, Checksum, ETag};
use s3s::{S3Request, S3Result, s3_error};

use super::objects::{attributes, claims, of_whole, text_header};
use super::{Backend, check_match, check_metadata, check_write, place, sums};
use crate::object_server::behaviour::{Behaviour, Quirk};
use crate::object_server::objects::{Attributes, Bucket, Content, Object, Part, Upload, now};
use crate::object_server::sums::{self, Algorithm, Claims};

/// Smallest size in bytes of all parts but the last.
const LEAST_PART_BYTES: u64 = 5 << 20;
/// Valid part numbers.
const PART_NUMBERS: std::ops::RangeInclusive<i32> = 1..=10_000;
/// Largest number of parts on a page.
const MOST_PARTS: i32 = 1000;

impl Backend {
    pub(super) fn create_multipart_upload(
        &self,
        request: S3Request<dto::CreateMultipartUploadInput>,
    ) -> S3Result<dto::CreateMultipartUploadOutput> {
        let mut input = request.input;
        check_metadata(input.metadata.as_ref())?;
        if self.has(Quirk::NoChecksums) {
            (input.checksum_algorithm, input.checksum_type) = (None, None);
        }
        let checksum_type = input.checksum_algorithm.as_ref();
        let checksum_type = checksum_type
            .map(|algorithm| type_of(algorithm.as_str(), input.checksum_type.as_ref()))
            .transpose()?;
        let upload = Upload {
            key: input.key.clone(),
            attributes: attributes!(of input),
            checksum_algorithm: input.checksum_algorithm.clone(),
            checksum_type: checksum_type.clone(),
            initiated: now(),
            parts: std::collections::BTreeMap::new(),
        };
        let id = self.new_upload_id();
        self.on(&input.bucket, |bucket| {
            bucket.uploads.insert(id.clone(), upload);
            Ok(())
        })?;
        Ok(dto::CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            checksum_algorithm: input.checksum_algorithm,
            checksum_type,
            ..Default::default()
        })
    }

    /// Returns the checksum algorithm that an upload has declared.
    fn declared(&self, bucket: &str, key: &str, id: &str) -> S3Result<Option<Algorithm>> {
        self.on(bucket, |bucket| {
            let declared = upload(bucket, key, id)?.checksum_algorithm.as_ref();
            Ok(declared.and_then(|algorithm| Algorithm::named(algorithm.as_str())))
        })
    }

    pub(super) async fn upload_part(
        &self,
        mut request: S3Request<dto::UploadPartInput>,
    ) -> S3Result<dto::UploadPartOutput> {
        let claims = self.quirky(claims!(request));
        let mut input = request.input;
        let declared = self.declared(&input.bucket, &input.key, &input.upload_id)?;
        let is_other = |given: &Algorithm| declared.is_some_and(|declared| declared != *given);
        if let Some(given) = sums::present(&claims.sums).into_iter().find(is_other) {
            let given = given.name();
            return Err(s3_error!(InvalidRequest, "The upload has declared another than {given}"));
        }
        let received = sums::receive(input.body.take(), claims, declared).await?;
        let part = Part {
            content: received.content,
            etag: self.etag_of(&received.md5),
            modified: now(),
            sums: received.sums,
        };
        let mut output = dto::UploadPartOutput {
            e_tag: Some(ETag::Strong(part.etag.clone())),
            ..Default::default()
        };
        sums!(part.sums => output);
        self.add(&input.bucket, (&input.key, &input.upload_id), input.part_number, part)?;
        Ok(output)
    }

    fn add(&self, bucket: &str, (key, id): (&str, &str), number: i32, part: Part) -> S3Result<()> {
        if !PART_NUMBERS.contains(&number) {
            return Err(s3_error!(InvalidArgument, "Part number must be from 1 to 10000"));
        }
        self.on(bucket, |bucket| {
            upload(bucket, key, id)?.parts.insert(number, part);
            Ok(())
        })
    }

    pub(super) fn upload_part_copy(
        &self,
        request: S3Request<dto::UploadPartCopyInput>,
    ) -> S3Result<dto::UploadPartCopyOutput> {
        let input = request.input;
        let declared = self.declared(&input.bucket, &input.key, &input.upload_id)?;
        let (bucket, key) = place(&input.copy_source)?;
        let source = self.object(bucket, key)?;
        check_match(&source.etag, input.copy_source_if_match.as_ref())?;
        let content = match &input.copy_source_range {
            Some(range) => source.content.slice(range_of(range, source.content.size_bytes())?),
            None => source.content.clone(),
        };
        let part = Part {
            etag: sums::etag_of_content(&content),
            modified: now(),
            sums: declared
                .map(|algorithm| sums::of_content(&content, algorithm))
                .unwrap_or_default(),
            content,
        };
        let mut result = dto::CopyPartResult {
            e_tag: Some(ETag::Strong(part.etag.clone())),
            last_modified: Some(part.modified.into()),
            ..Default::default()
        };
        sums!(part.sums => result);
        self.add(&input.bucket, (&input.key, &input.upload_id), input.part_number, part)?;
        Ok(dto::UploadPartCopyOutput { copy_part_result: Some(result), ..Default::default() })
    }

    pub(super) fn list_parts(
        &self,
        request: S3Request<dto::ListPartsInput>,
    ) -> S3Result<dto::ListPartsOutput> {
        let input = request.input;
        let most = input.max_parts.unwrap_or(MOST_PARTS).clamp(0, MOST_PARTS);
        let marker = input.part_number_marker.unwrap_or(0);
        self.on(&input.bucket, |bucket| {
            let upload = upload(bucket, &input.key, &input.upload_id)?;
            let mut parts = upload.parts.range(marker.saturating_add(1)..);
            let page: Vec<_> = parts.by_ref().take(most as usize).map(described).collect();
            Ok(dto::ListPartsOutput {
                is_truncated: Some(parts.next().is_some() && most > 0),
                next_part_number_marker: page.last().and_then(|part| part.part_number),
                part_number_marker: Some(marker),
                max_parts: Some(most),
                parts: Some(page),
                checksum_algorithm: upload.checksum_algorithm.clone(),
                checksum_type: upload.checksum_type.clone(),
                bucket: Some(input.bucket.clone()),
                key: Some(input.key.clone()),
                upload_id: Some(input.upload_id.clone()),
                ..Default::default()
            })
        })
    }

    pub(super) fn abort_multipart_upload(
        &self,
        request: S3Request<dto::AbortMultipartUploadInput>,
    ) -> S3Result<dto::AbortMultipartUploadOutput> {
        let input = request.input;
        self.on(&input.bucket, |bucket| {
            upload(bucket, &input.key, &input.upload_id)?;
            bucket.uploads.remove(&input.upload_id);
            Ok(dto::AbortMultipartUploadOutput::default())
        })
    }

    pub(super) fn complete_multipart_upload(
        &self,
        request: S3Request<dto::CompleteMultipartUploadInput>,
    ) -> S3Result<dto::CompleteMultipartUploadOutput> {
        let input = request.input;
        let behaviour = self.behaviour();
        let is_conditional = !behaviour.has(Quirk::NoConditionalWrites);
        let object = self.on(&input.bucket, |bucket| {
            if is_conditional {
                let old = bucket.objects.get(&input.key);
                check_write(old, input.if_match.as_ref(), input.if_none_match.as_ref())?;
            }
            let upload = upload(bucket, &input.key, &input.upload_id)?;
            let object = assemble(upload, &input, &behaviour)?;
            bucket.uploads.remove(&input.upload_id);
            let object = std::sync::Arc::new(object);
            bucket.objects.insert(input.key.clone(), object.clone());
            Ok(object)
        })?;
        let mut output = dto::CompleteMultipartUploadOutput {
            location: Some(format!("/{}/{}", input.bucket, input.key)),
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(ETag::Strong(object.etag.clone())),
            checksum_type: object.sums.checksum_type.clone(),
            ..Default::default()
        };
        sums!(object.sums => output);
        Ok(output)
    }
}

/// Returns an upload as a test adds it: a day old, with its checksums.
pub(in crate::object_server) fn left(key: &str, parts: &[&[u8]]) -> Upload {
    let then = now() - Duration::from_hours(24);
    let part = |bytes: &&[u8]| {
        let content = Content::of([bytes::Bytes::copy_from_slice(bytes)]);
        Part {
            etag: sums::etag_of_content(&content),
            sums: sums::of_content(&content, Algorithm::Crc64Nvme),
            modified: then,
            content,
        }
    };
    let algorithm = dto::ChecksumAlgorithm::from_static(dto::ChecksumAlgorithm::CRC64NVME);
    let whole = dto::ChecksumType::from_static(dto::ChecksumType::FULL_OBJECT);
    Upload {
        key: key.to_owned(),
        attributes: Attributes::default(),
        checksum_algorithm: Some(algorithm),
        checksum_type: Some(whole),
        initiated: then,
        parts: (1..).zip(parts.iter().map(part)).collect(),
    }
}

fn upload<'a>(bucket: &'a mut Bucket, key: &str, id: &str) -> S3Result<&'a mut Upload> {
    let upload = bucket.uploads.get_mut(id).filter(|upload| upload.key == key);
    upload.ok_or_else(|| s3_error!(NoSuchUpload))
}

/// Returns the checksum type for an algorithm: the requested one if it is allowed, or the default.
fn type_of(algorithm: &str, asked: Option<&dto::ChecksumType>) -> S3Result<dto::ChecksumType> {
    use dto::ChecksumType as Type;
    let asked = asked.map(Type::as_str);
    let whole = Type::from_static(Type::FULL_OBJECT);
    let composite = Type::from_static(Type::COMPOSITE);
    match (Algorithm::named(algorithm), asked) {
        (Some(Algorithm::Crc64Nvme), None | Some(Type::FULL_OBJECT))
        | (Some(Algorithm::Crc32 | Algorithm::Crc32c), Some(Type::FULL_OBJECT)) => Ok(whole),
        (Some(Algorithm::Crc64Nvme) | None, _) | (_, Some(Type::FULL_OBJECT)) => {
            Err(s3_error!(InvalidRequest, "This checksum cannot be of this type"))
        }
        _ => Ok(composite),
    }
}

/// Parses x-amz-copy-source-range: both ends, inside the object.
fn range_of(text: &str, size_bytes: u64) -> S3Result<std::ops::Range<u64>> {
    let invalid = || s3_error!(InvalidArgument, "The x-amz-copy-source-range is not valid");
    match dto::Range::parse(text).map_err(|_| invalid())? {
        dto::Range::Int { first, last: Some(last) } if last < size_bytes => Ok(first..last + 1),
        _ => Err(invalid()),
    }
}

fn described((number, part): (&i32, &Part)) -> dto::Part {
    let mut described = dto::Part {
        e_tag: Some(ETag::Strong(part.etag.clone())),
        last_modified: Some(part.modified.into()),
        part_number: Some(*number),
        size: Some(part.content.size_bytes() as i64),
        ..Default::default()
    };
    sums!(part.sums => described);
    described
}

/// Assembles the listed parts, if the list is valid.
fn assemble(
    upload: &Upload,
    input: &dto::CompleteMultipartUploadInput,
    behaviour: &Behaviour,
) -> S3Result<Object> {
    let listed = input.multipart_upload.as_ref().and_then(|upload| upload.parts.as_deref());
    let listed = listed.filter(|parts| !parts.is_empty()).ok_or_else(|| s3_error!(MalformedXML))?;
    if !listed.is_sorted_by(|one, next| one.part_number < next.part_number) {
        return Err(s3_error!(InvalidPartOrder));
    }
    let parts =
        listed.iter().map(|part| listed_part(upload, part)).collect::<S3Result<Vec<_>>>()?;
    let all_but_last = &parts[..parts.len() - 1];
    let is_small = |part: &&Part| part.content.size_bytes() < LEAST_PART_BYTES;
    if all_but_last.iter().any(is_small) && !behaviour.has(Quirk::SmallParts) {
        return Err(s3_error!(EntityTooSmall));
    }
    let content = Content::of(parts.iter().flat_map(|part| part.content.pieces().cloned()));
    if input.mpu_object_size.is_some_and(|size| size as u64 != content.size_bytes()) {
        return Err(s3_error!(InvalidRequest, "x-amz-mp-object-size does not match"));
    }
    let mut sums = Checksum::default();
    if !behaviour.has(Quirk::NoChecksums) {
        sums = whole_sums(upload, listed, &parts, &content)?;
        sums::verify(&sums!(of input), &sums)?;
    }
    Ok(Object {
        content,
        etag: sums::etag_of_parts(parts.iter().map(|part| part.etag.as_str())),
        modified: now(),
        attributes: upload.attributes.clone(),
        sums,
        parts_bytes: parts.iter().map(|part| part.content.size_bytes()).collect(),
    })
}

fn listed_part<'a>(upload: &'a Upload, listed: &dto::CompletedPart) -> S3Result<&'a Part> {
    let invalid = || s3_error!(InvalidPart);
    let part = listed.part_number.and_then(|number| upload.parts.get(&number));
    let part = part.ok_or_else(invalid)?;
    let has_its_etag = listed.e_tag.as_ref().is_some_and(|etag| etag.value() == part.etag);
    sums::verify(&sums!(of listed), &part.sums).map_err(|_| invalid())?;
    if has_its_etag { Ok(part) } else { Err(invalid()) }
}

/// Returns the declared checksum; CRC-64 of the whole where none was declared, as with Amazon.
fn whole_sums(
    upload: &Upload,
    listed: &[dto::CompletedPart],
    parts: &[&Part],
    content: &Content,
) -> S3Result<Checksum> {
    let declared =
        upload.checksum_algorithm.as_ref().and_then(|name| Algorithm::named(name.as_str()));
    let algorithm = declared.unwrap_or(Algorithm::Crc64Nvme);
    let composite = dto::ChecksumType::from_static(dto::ChecksumType::COMPOSITE);
    if upload.checksum_type.as_ref() != Some(&composite) {
        return Ok(of_whole(sums::of_content(content, algorithm)));
    }
    if listed.iter().any(|part| algorithm.of(&sums!(of part)).is_none()) {
        return Err(s3_error!(InvalidRequest, "The list must have the checksum of each part"));
    }
    let mut sums = sums::composite(parts.iter().map(|part| &part.sums), algorithm)?;
    sums.checksum_type = Some(composite);
    Ok(sums)
}
