//! Uploads that were begun and not completed: found again, to go on with them or to give them up.
//!
//! What was sent of them is not trusted by its number: a part counts only if its checksum is that of the
//! bytes that would be sent.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::operation::list_multipart_uploads::ListMultipartUploadsOutput;
use aws_sdk_s3::operation::list_parts::ListPartsOutput;
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, EncodingType, MultipartUpload, Part};
use serde::{Deserialize, Serialize};

use crate::client::abilities::Check;
use crate::list::pages::decoded;
use crate::read::object::Bucket;
use crate::write::fields::NewObject;
use crate::write::put::{Content, Sent};
use types::content::parts::PARTS_MAX;
use types::error::{Cause, Op, Result};
use types::limits::{S3_PAGE_KEYS, S3_UPLOAD_LEFT, S3_UPLOAD_QUIET_MAX, S3_UPLOAD_QUIET_MIN};
use types::service::ServiceFault;

/// An upload that was not completed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenUpload {
    /// Key of the object that it was to become.
    pub key: String,
    /// The service's name for it.
    pub id: String,
    /// When it was begun, in seconds since 1970.
    pub begun_seconds: i64,
}

/// Where the next page of uploads begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadMarker {
    key: String,
    id: String,
}

impl UploadMarker {
    /// Keys come in order; uploads of one key, in whatever order it is that their names do not tell.
    fn is_behind(&self, other: &Self) -> bool {
        self.key > other.key || (self.key == other.key && self.id != other.id)
    }
}

/// Uploads below a prefix, and where there are more of them.
pub type UploadPage = (Vec<OpenUpload>, Option<UploadMarker>);

impl Bucket {
    /// A page of the uploads whose keys begin with `prefix`.
    pub fn open_uploads(&self, prefix: &str, from: Option<&UploadMarker>) -> Result<UploadPage> {
        let answer = self.list_uploads(prefix, from, S3_PAGE_KEYS)?;
        let is_encoded = answer.encoding_type() == Some(&EncodingType::Url);
        let text = |text: Option<&str>| decoded(text.unwrap_or_default(), is_encoded);
        let uploads = answer.uploads().iter().map(|upload| OpenUpload {
            key: text(upload.key()),
            id: upload.upload_id().unwrap_or_default().to_owned(),
            begun_seconds: begun_seconds(upload),
        });
        let is_truncated = answer.is_truncated().unwrap_or(false);
        let next = is_truncated.then(|| UploadMarker {
            key: text(answer.next_key_marker()),
            id: answer.next_upload_id_marker().unwrap_or_default().to_owned(),
        });
        // A service that gives the same page for ever must not be asked for ever.
        if next.as_ref().zip(from).is_some_and(|(next, from)| !next.is_behind(from)) {
            return Err(Op::List.failed(Cause::Service(ServiceFault::Protocol)));
        }
        Ok((uploads.collect(), next))
    }

    fn list_uploads(
        &self,
        prefix: &str,
        from: Option<&UploadMarker>,
        uploads_max: i32,
    ) -> Result<ListMultipartUploadsOutput> {
        self.service.call(Op::List, |client| {
            client
                .list_multipart_uploads()
                .bucket(&self.name)
                .prefix(prefix)
                .encoding_type(EncodingType::Url)
                .set_key_marker(from.map(|from| from.key.clone()))
                .set_upload_id_marker(from.map(|from| from.id.clone()))
                .max_uploads(uploads_max)
                .set_request_payer(self.payer())
                .send()
        })
    }

    /// The upload that an earlier run of this job has begun, or the newest one of that object, if it has parts of that
    /// size, and the check of its parts. Where the service does not tell, there is none.
    pub fn find_upload(
        &self,
        new: &NewObject,
        part_bytes: u64,
        begun: Option<&str>,
    ) -> Option<(String, Check)> {
        // These belong to the upload, and it does not tell them.
        let options = &self.service.settings.object;
        if options.acl.is_some() || options.sse.is_some() || options.storage_class.is_some() {
            return None;
        }
        let own = begun.and_then(|id| self.fitting(id, new, part_bytes, true));
        if own.is_some() || !self.service.abilities.tells_uploads() {
            return own;
        }
        let Ok(answer) = self.list_uploads(&new.key, None, UPLOADS_OF_A_KEY_MAX) else {
            self.service.abilities.hides_uploads();
            return None;
        };
        let is_encoded = answer.encoding_type() == Some(&EncodingType::Url);
        let is_ours =
            |upload: &&MultipartUpload| decoded(upload.key().unwrap_or(""), is_encoded) == new.key;
        let mut uploads: Vec<_> = answer.uploads().iter().filter(is_ours).collect();
        uploads.sort_by_key(|upload| std::cmp::Reverse(begun_seconds(upload)));
        let mut ids = uploads.into_iter().filter_map(MultipartUpload::upload_id);
        ids.find_map(|id| self.fitting(id, new, part_bytes, false))
    }

    fn fitting(
        &self,
        id: &str,
        new: &NewObject,
        part_bytes: u64,
        is_own: bool,
    ) -> Option<(String, Check)> {
        let (parts, check) = self.parts_of(&new.key, id)?;
        let first = parts.first()?;
        let offset = u64::try_from(first.part_number()?.checked_sub(1)?).ok()? * part_bytes;
        let expected = part_bytes.min(new.size_bytes.checked_sub(offset)?);
        let is_fitting = u64::try_from(first.size()?) == Ok(expected);
        let is_ours = is_fitting && (is_own || self.is_left(&new.key, id, &parts));
        is_ours.then(|| (id.to_owned(), check))
    }

    /// The parts of an upload, by number, and the check that they have.
    fn parts_of(&self, key: &str, id: &str) -> Option<(Vec<Part>, Check)> {
        let (mut parts, mut after) = (Vec::new(), None);
        loop {
            let answer = self.list_parts(key, id, after.clone()).ok()?;
            let check = check_of(answer.checksum_algorithm(), answer.checksum_type())?;
            let is_truncated = answer.is_truncated().unwrap_or(false);
            let next = answer.next_part_number_marker().map(str::to_owned);
            parts.extend(answer.parts.unwrap_or_default());
            if !is_truncated {
                return Some((parts, check));
            }
            // Half a list would make an upload look older than it is.
            if next.is_none() || next == after || parts.len() as u64 > PARTS_MAX {
                return None;
            }
            after = next;
        }
    }

    fn list_parts(&self, key: &str, id: &str, after: Option<String>) -> Result<ListPartsOutput> {
        self.service.call(Op::List, |client| {
            client
                .list_parts()
                .bucket(&self.name)
                .key(key)
                .upload_id(id)
                .set_part_number_marker(after)
                .set_request_payer(self.payer())
                .send()
        })
    }

    /// Whether no job is at work on an upload: what a live one has begun is not taken from it. Nothing comes to
    /// it any more, for much longer than from one part to the next.
    fn is_left(&self, key: &str, id: &str, parts: &[Part]) -> bool {
        let quiet = quiet_time(parts);
        if is_long_ago(parts) {
            return true;
        }
        if quiet > S3_UPLOAD_QUIET_MAX {
            return false;
        }
        std::thread::sleep(quiet);
        self.parts_of(key, id).is_some_and(|(now, _)| now == parts)
    }

    /// The part of that number, if the service has it with exactly this content.
    pub fn find_part(&self, key: &str, id: &str, number: i32, content: &Content) -> Option<Sent> {
        let answer = self.service.call(Op::List, |client| {
            client
                .list_parts()
                .bucket(&self.name)
                .key(key)
                .upload_id(id)
                .part_number_marker((number - 1).to_string())
                .max_parts(1)
                .set_request_payer(self.payer())
                .send()
        });
        let answer = answer.ok()?;
        let is_it = |part: &&Part| part.part_number() == Some(number);
        let part = answer.parts().iter().find(is_it)?;
        let sizes = (u64::try_from(part.size()?).ok()?, content.bytes_count());
        let sums = (part.checksum_crc64_nvme(), part.checksum_crc32_c(), part.e_tag()?);
        (sizes.0 == sizes.1 && content.is_what(sums)).then(|| content.sent(part.e_tag()))
    }

    /// Gives an upload up, with all that was sent of it.
    ///
    /// # Errors
    /// As the service says; one that is not there any more is vanished.
    pub fn give_up_upload(&self, key: &str, id: &str) -> Result<()> {
        let given_up = self.service.call(Op::Remove, |client| {
            client
                .abort_multipart_upload()
                .bucket(&self.name)
                .key(key)
                .upload_id(id)
                .set_request_payer(self.payer())
                .send()
        });
        match given_up {
            Err(error) if error.cause == Cause::Service(ServiceFault::NoUpload) => {
                Err(Op::Remove.errno(libc::ENOENT))
            }
            given_up => given_up.map(|_| ()),
        }
    }
}

/// The check that parts were announced with, if it is one of ours.
fn check_of(algorithm: Option<&ChecksumAlgorithm>, kind: Option<&ChecksumType>) -> Option<Check> {
    match (algorithm, kind) {
        (Some(ChecksumAlgorithm::Crc64Nvme), Some(ChecksumType::FullObject) | None) => {
            Some(Check::Crc64)
        }
        (Some(ChecksumAlgorithm::Crc32C), Some(ChecksumType::Composite) | None) => {
            Some(Check::Crc32c)
        }
        (None, _) => Some(Check::Md5),
        _ => None,
    }
}

/// For how long nothing must come to an upload that a job has left, by how long it took from one part to the next.
fn quiet_time(parts: &[Part]) -> Duration {
    let mut stored: Vec<_> = parts.iter().filter_map(Part::last_modified).collect();
    stored.sort();
    let gaps = stored.windows(2).map(|two| two[1].secs() - two[0].secs());
    let longest = u64::try_from(gaps.max().unwrap_or(0)).unwrap_or(0);
    (Duration::from_secs(longest) * 2).max(S3_UPLOAD_QUIET_MIN)
}

fn is_long_ago(parts: &[Part]) -> bool {
    let newest = parts.iter().filter_map(Part::last_modified).max();
    let age = newest.and_then(|newest| {
        let newest = SystemTime::try_from(*newest).ok()?;
        SystemTime::now().duration_since(newest).ok()
    });
    age.is_some_and(|age| age > S3_UPLOAD_LEFT)
}

/// Uploads of one key that are looked at, at most; keys that only begin like it count, too.
const UPLOADS_OF_A_KEY_MAX: i32 = 100;

fn begun_seconds(upload: &MultipartUpload) -> i64 {
    upload.initiated().map_or(0, DateTime::secs)
}
