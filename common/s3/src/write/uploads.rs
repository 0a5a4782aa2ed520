//! Incomplete multipart uploads: found in order to resume or abort them.
//!
//! A part that an interrupted job has sent is not trusted by its number: it counts only if its
//! checksum is that of the bytes that would be sent now. So a source that has changed in the
//! meantime is sent anew where it differs.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::operation::list_multipart_uploads::ListMultipartUploadsOutput;
use aws_sdk_s3::operation::list_parts::ListPartsOutput;
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, EncodingType, MultipartUpload, Part};
use serde::{Deserialize, Serialize};

use crate::client::capabilities::Check;
use crate::client::fault::is_refusal;
use crate::list::pages::decoded;
use crate::read::object::Bucket;
use crate::write::fields::NewObject;
use crate::write::put::{Content, Sent};
use types::content::parts::PARTS_MAX;
use types::entry::Time;
use types::error::{Cause, Op, Result};
use types::limits::{
    CLOCKS_APART_MAX, S3_PAGE_KEYS, S3_UPLOAD_LEFT, S3_UPLOAD_QUIET_MAX, S3_UPLOAD_QUIET_MIN,
};
use types::service::ServiceFault;

/// An incomplete multipart upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenUpload {
    /// The key of the object that the upload would create.
    pub key: String,
    /// The service's identifier of the upload.
    pub id: String,
    /// The time at which the upload was initiated, in seconds since 1970-01-01 UTC.
    pub begun_seconds: i64,
}

/// The position at which the next page of uploads begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadMarker {
    key: String,
    id: String,
}

impl UploadMarker {
    /// Returns whether this position is after `other`. Keys are in order; uploads of one key come
    /// in an order that their identifiers do not show.
    fn is_behind(&self, other: &Self) -> bool {
        self.key > other.key || (self.key == other.key && self.id != other.id)
    }
}

/// Incomplete uploads, and the position of the next page; `None` after the last page.
pub type UploadPage = (Vec<OpenUpload>, Option<UploadMarker>);

impl Bucket {
    /// Lists one page of the incomplete uploads whose keys begin with `prefix`.
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
        // A faulty service that repeats a page must not keep the job asking for ever.
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

    /// Finds an upload to resume: the one that an earlier run of this job has begun, otherwise the
    /// newest one of that key whose job is no longer running. Its parts must have the expected
    /// size. Returns its identifier and the check of its parts, or `None`, also where the service
    /// does not list uploads.
    pub fn find_upload(
        &self,
        new: &NewObject,
        part_bytes: u64,
        begun: Option<&str>,
    ) -> Option<(String, Check)> {
        // An upload fixes its ACL, encryption and storage class when it is initiated, and does not
        // report them, so it cannot be verified that they are the requested ones.
        let options = &self.service.settings.object;
        if options.acl.is_some() || options.sse.is_some() || options.storage_class.is_some() {
            return None;
        }
        let own = begun.and_then(|id| self.fitting(id, new, part_bytes, true));
        if own.is_some() || !self.service.capabilities.tells_uploads() {
            return own;
        }
        let Ok(answer) = self.list_uploads(&new.key, None, UPLOADS_OF_A_KEY_MAX) else {
            self.service.capabilities.hides_uploads();
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

    /// Returns the upload and its check, if its parts have the expected size and no other job works
    /// on it.
    fn fitting(
        &self,
        id: &str,
        new: &NewObject,
        part_bytes: u64,
        is_own: bool,
    ) -> Option<(String, Check)> {
        // The size of the first part decides whether this job cuts the object as the other did:
        // otherwise all part numbers would denote other bytes.
        let (parts, check) = self.parts_of(&new.key, id)?;
        let first = parts.first()?;
        let offset = u64::try_from(first.part_number()?.checked_sub(1)?).ok()? * part_bytes;
        let expected = part_bytes.min(new.size_bytes.checked_sub(offset)?);
        let is_fitting = u64::try_from(first.size()?) == Ok(expected);
        let is_ours = is_fitting && (is_own || self.is_left(&new.key, id, &parts));
        is_ours.then(|| (id.to_owned(), check))
    }

    /// Returns the parts of an upload in order of their numbers, and the check that they have.
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
            // An incomplete list would make an upload look older and quieter than it is.
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

    /// Returns whether no job works on an upload, so that a running job does not lose its own. S3
    /// has no lock and no owner of uploads, so the only evidence is that no part arrives for much
    /// longer than the time from one part to the next.
    fn is_left(&self, key: &str, id: &str, parts: &[Part]) -> bool {
        let quiet = quiet_time(parts);
        if is_long_ago(parts) {
            return true;
        }
        if quiet > S3_UPLOAD_QUIET_MAX {
            return false;
        }
        // Waiting pays off: sending again what the upload has would take longer.
        std::thread::sleep(quiet);
        self.parts_of(key, id).is_some_and(|(now, _)| now == parts)
    }

    /// Returns the acknowledgement of the part with that number, if the service has it with exactly
    /// this content.
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

    /// Aborts the uploads of a key that were initiated at about that time, have no part, and on
    /// which no job works. Where uploads cannot be listed, nothing is known of any.
    pub fn give_up_unrecorded(&self, key: &str, at: Time) -> Result<()> {
        let mut from = None;
        loop {
            let (uploads, next) = match self.open_uploads(key, from.as_ref()) {
                Err(error) if hides_uploads(error.cause) => return Ok(()),
                page => page?,
            };
            let apart_max = CLOCKS_APART_MAX.as_secs();
            let is_it = |upload: &&OpenUpload| {
                upload.key == key && upload.begun_seconds.abs_diff(at.seconds) <= apart_max
            };
            for upload in uploads.iter().filter(is_it) {
                self.give_up_empty(upload)?;
            }
            let Some(next) = next else { return Ok(()) };
            from = Some(next);
        }
    }

    /// Aborts an upload that has no part, and gets none for a while.
    fn give_up_empty(&self, OpenUpload { key, id, .. }: &OpenUpload) -> Result<()> {
        let is_empty = self.parts_of(key, id).is_some_and(|(parts, _)| parts.is_empty());
        if !is_empty || !self.is_left(key, id, &[]) {
            return Ok(());
        }
        match self.give_up_upload(key, id) {
            Err(error) if error.cause.is_vanished() => Ok(()),
            given_up => given_up,
        }
    }

    /// Aborts an upload, so that the service discards the parts that were sent.
    ///
    /// # Errors
    /// Returns the service's error; an upload that no longer exists is reported as vanished.
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

/// Returns whether an error means that this service or this user cannot list uploads.
fn hides_uploads(cause: Cause) -> bool {
    is_refusal(cause) || matches!(cause, Cause::System(libc::EACCES | libc::ENOSYS))
}

/// Returns the check that the parts were initiated with, if it is one that this program uses.
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

/// Returns how long no part must arrive before an upload counts as abandoned: twice the longest
/// time from one part to the next so far, but at least [`S3_UPLOAD_QUIET_MIN`].
fn quiet_time(parts: &[Part]) -> Duration {
    let mut stored: Vec<_> = parts.iter().filter_map(Part::last_modified).collect();
    stored.sort();
    let gaps = stored.windows(2).map(|two| two[1].secs() - two[0].secs());
    let longest = u64::try_from(gaps.max().unwrap_or(0)).unwrap_or(0);
    (Duration::from_secs(longest) * 2).max(S3_UPLOAD_QUIET_MIN)
}

/// Returns whether the newest part is older than any part may take to send, by more than clocks may
/// differ.
fn is_long_ago(parts: &[Part]) -> bool {
    let newest = parts.iter().filter_map(Part::last_modified).max();
    let age = newest.and_then(|newest| {
        let newest = SystemTime::try_from(*newest).ok()?;
        SystemTime::now().duration_since(newest).ok()
    });
    age.is_some_and(|age| age > S3_UPLOAD_LEFT)
}

/// The greatest number of uploads of one key that are inspected. The service counts keys that only
/// begin with that key too.
const UPLOADS_OF_A_KEY_MAX: i32 = 100;

fn begun_seconds(upload: &MultipartUpload) -> i64 {
    upload.initiated().map_or(0, DateTime::secs)
}
