//! The metadata that a service holds of one object.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use aws_sdk_s3::types::{
    ChecksumMode, ChecksumType, ObjectLockLegalHoldStatus, RequestPayer, ServerSideEncryption,
    StorageClass,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::http::Headers;

use crate::client::endpoint::Route;
use crate::client::fault::is_refusal;
use crate::client::service::{Proven, Service};
use crate::list::listing_cache::ListingCache;
use crate::read::head::Head;
use types::content::crc64::{Crc64, from_base64};
use types::content::etag::Etag;
use types::entry::{Hint, Kind, Listed, Metadata, Time};
use types::error::{Cause, Error, Op, Result};
use types::object::header_text;
use types::object::headers::{ObjectHeaders, Storage};
use types::object::metadata::{StoredAttributes, read};
use types::outcome::difference::Fields;
use types::service::ServiceFault;

/// A bucket of a service, in which objects are.
#[derive(Clone)]
pub(crate) struct Bucket {
    pub service: Arc<Service>,
    pub name: String,
    /// The caches of this bucket on this rank.
    pub listing_cache: Arc<ListingCache>,
}

/// The parts of an answer's headers that this module uses.
struct Answer<'a> {
    /// The Content-Length.
    length: Option<u64>,
    etag: Option<&'a str>,
    /// The encryption at rest.
    encryption: Option<&'a str>,
    has_own_key: bool,
    stored: Option<DateTime>,
    crc64: Option<&'a str>,
    sha256: Option<&'a str>,
    checksum_type: Option<&'a str>,
    headers: ObjectHeaders,
}

/// Collects the standard headers, the storage properties and the user metadata of an answer.
macro_rules! headers {
    ($answer:expr) => {{
        let own = |text: Option<&str>| text.map(str::to_owned);
        ObjectHeaders {
            content_type: own($answer.content_type()),
            content_encoding: own($answer.content_encoding()),
            content_disposition: own($answer.content_disposition()),
            content_language: own($answer.content_language()),
            cache_control: own($answer.cache_control()),
            expires: own($answer.expires_string()),
            website_redirect: own($answer.website_redirect_location()),
            storage: Storage {
                class: own($answer.storage_class().map(StorageClass::as_str)),
                sse: own($answer.server_side_encryption().map(ServerSideEncryption::as_str)),
                sse_kms_key_id: own($answer.ssekms_key_id()),
                is_locked: $answer.object_lock_mode().is_some()
                    || $answer.object_lock_legal_hold_status()
                        == Some(&ObjectLockLegalHoldStatus::On),
            },
            user: $answer
                .metadata()
                .into_iter()
                .flatten()
                .map(|(key, value)| (key.clone(), header_text::decode(value)))
                .collect(),
        }
    }};
}

/// Reads what the answers to HeadObject and GetObject have in common, by methods of one name.
macro_rules! answer_of {
    ($answer:expr) => {
        Answer {
            length: $answer.content_length().and_then(|length| u64::try_from(length).ok()),
            etag: $answer.e_tag(),
            encryption: $answer.server_side_encryption().map(ServerSideEncryption::as_str),
            has_own_key: $answer.sse_customer_algorithm().is_some(),
            stored: $answer.last_modified().copied(),
            crc64: $answer.checksum_crc64_nvme(),
            sha256: $answer.checksum_sha256(),
            checksum_type: $answer.checksum_type().map(ChecksumType::as_str),
            headers: headers!($answer),
        }
    };
}

impl Bucket {
    /// Requests the head of an object. An answer without an ETag does not come from the service,
    /// and one without a length says nothing of the content; both are retried.
    pub fn head(&self, key: &str) -> Result<Head> {
        let request = |client: Client| {
            client
                .head_object()
                .bucket(&self.name)
                .key(key)
                .checksum_mode(ChecksumMode::Enabled)
                .set_request_payer(self.payer())
                .send()
        };
        let head = self.service.call_proven(Op::Stat, request, |answer| {
            let answer = Answer::of_head(&answer);
            let size_bytes = answer.length.or_else(|| answer.length_of_nothing());
            self.head_of(key, size_bytes.ok_or(ServiceFault::NoLength)?, answer)
        })?;
        if self.is_itself(key)? { Ok(head) } else { Err(Op::Stat.errno(libc::ENOENT)) }
    }

    /// Returns the size in bytes of one part of an object that was uploaded in parts. Returns
    /// `None` where the service does not tell: it then reports the size of the whole object, or
    /// refuses the request.
    ///
    /// # Errors
    /// Returns `Changed` if the object has another ETag now, and otherwise the error of the
    /// request.
    pub fn part_bytes(&self, key: &str, object: &Head, number: u64) -> Result<Option<u64>> {
        let request = |client: Client| {
            client
                .head_object()
                .bucket(&self.name)
                .key(key)
                .part_number(i32::try_from(number).unwrap_or(i32::MAX))
                .set_if_match(condition(&object.etag))
                .set_request_payer(self.payer())
                .send()
        };
        let read = |answer: HeadObjectOutput| {
            let is_same = opaque(some_etag(answer.e_tag())?) == opaque(&object.etag);
            let length = Answer::of_head(&answer).length.ok_or(ServiceFault::NoLength)?;
            Ok((is_same, length))
        };
        match self.service.call_proven(Op::Stat, request, read) {
            Ok((false, _)) => Err(Op::Read.failed(Cause::Changed)),
            Ok((true, length)) => Ok(Some(length).filter(|it| *it < object.metadata.size_bytes)),
            Err(error) if is_refusal(error.cause) || is_unknown_part(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the address of requests for the bucket's objects; `None` where the service needs
    /// more than a URL and a plain signature.
    pub fn route(&self) -> Option<Arc<Route>> {
        self.service.routes.route(&self.service.settings, &self.name)
    }

    /// Reads the head and the Content-Length from the headers of an answer to a request for a whole
    /// object.
    pub fn head_of_answer(
        &self,
        key: &str,
        answer: &HttpResponse,
        listed_bytes: u64,
    ) -> Proven<(Head, Option<u64>)> {
        // Status 206 delivers a part of the object, which was not requested.
        if answer.status().as_u16() != OK {
            return Err(ServiceFault::WrongRange);
        }
        self.head_of_whole(key, Answer::of_headers(answer.headers()), listed_bytes)
    }

    /// Reads the head and the Content-Length from an answer that the client has parsed.
    pub fn head_of_get(
        &self,
        key: &str,
        answer: &GetObjectOutput,
        listed_bytes: u64,
    ) -> Proven<(Head, Option<u64>)> {
        if answer.content_range().is_some() {
            return Err(ServiceFault::WrongRange);
        }
        self.head_of_whole(key, Answer::of_get(answer), listed_bytes)
    }

    /// Reads the head and the Content-Length. A chunked answer has no length, so the listed size is
    /// assumed; the end of the body confirms or refutes it.
    fn head_of_whole(
        &self,
        key: &str,
        answer: Answer<'_>,
        listed_bytes: u64,
    ) -> Proven<(Head, Option<u64>)> {
        let length = answer.length;
        let head = self.head_of(key, length.unwrap_or(listed_bytes), answer)?;
        Ok((head, length))
    }

    /// Returns the header by which the requester pays, if the operator has set it.
    pub fn payer(&self) -> Option<RequestPayer> {
        self.service.settings.object.requester_pays.then_some(RequestPayer::Requester)
    }

    /// Returns a number that distinguishes buckets, as a device number distinguishes file systems.
    pub fn device(&self) -> u64 {
        hash(&(self.service.id, &self.name))
    }

    /// Converts the headers of an answer to the head of an object.
    fn head_of(&self, key: &str, size_bytes: u64, answer: Answer<'_>) -> Proven<Head> {
        let user = &answer.headers.user;
        let value = |key: &str| Some(user.iter().find(|(own, _)| own == key)?.1.as_str());
        let stored = answer.stored.as_ref().map_or(0, DateTime::secs);
        let etag = some_etag(answer.etag)?.to_owned();
        let listed = Listed { size_bytes, stored_seconds: stored };
        let plain = self.metadata_of(key, &etag, listed);
        // A composite checksum is one of the parts' checksums, and says nothing of the content as a
        // whole.
        let is_whole = answer.checksum_type != Some(ChecksumType::Composite.as_str());
        let crc64 = answer.crc64.filter(|_| is_whole).and_then(Crc64::from_base64);
        let sha256 = answer.sha256.filter(|_| is_whole).and_then(from_base64);
        let metadata = with_stored(plain, &read(value));
        let md5 = answer.md5().filter(|_| !self.service.settings.opaque_etags);
        Ok(Head { metadata, etag, crc64, sha256, md5, headers: answer.headers })
    }

    /// Returns the metadata of an object by its listing, in which only type and size are known.
    pub fn metadata_listed(&self, key: &str, listed: Listed) -> Metadata {
        Metadata { known: Fields::TYPE.union(Fields::SIZE), ..self.metadata_of(key, "", listed) }
    }

    /// Returns the metadata that every object has. The inode number is a hash of key and ETag, so
    /// that all checks of a file's identity also notice an object that was replaced.
    fn metadata_of(&self, key: &str, etag: &str, listed: Listed) -> Metadata {
        let stored = Time { seconds: listed.stored_seconds, nanoseconds: 0 };
        Metadata {
            kind: Kind::File,
            mode: 0o644,
            uid: 0,
            gid: 0,
            size_bytes: listed.size_bytes,
            allocated_bytes: listed.size_bytes,
            atime: stored,
            mtime: stored,
            ctime: stored,
            links: 1,
            device: self.device(),
            inode: hash(&(key, etag)),
            known: [Fields::TYPE, Fields::SIZE, Fields::CONTENT, Fields::LINK]
                .into_iter()
                .collect(),
        }
    }

    /// Returns the metadata of a directory, of which nothing but its existence is known, because it
    /// is merely a prefix of keys.
    pub fn metadata_of_directory(&self, prefix: &str) -> Metadata {
        let listed = Listed { size_bytes: 0, stored_seconds: 0 };
        Metadata {
            kind: Kind::Directory,
            mode: 0o755,
            known: Fields::TYPE,
            ..self.metadata_of(prefix, "", listed)
        }
    }

    /// Returns the metadata of an entry by the hint of a listing; `None` where the hint does not
    /// suffice.
    pub fn metadata_hinted(&self, key: &str, hint: Hint) -> Option<Metadata> {
        match hint {
            Hint::Object(listed) => Some(self.metadata_listed(key, listed)),
            Hint::Directory => Some(self.metadata_of_directory(&format!("{key}/"))),
            _ => None,
        }
    }
}

/// Returns whether an error says that the service knows no part of that number: the parts of an
/// object need not begin with 1. Some services fail where a part is empty.
fn is_unknown_part(error: &Error) -> bool {
    let status = error.details.as_ref().and_then(|details| details.status);
    matches!(status, Some(416 | 500))
}

impl<'a> Answer<'a> {
    /// Returns the MD5 in the ETag. The ETag of an object sent in one request is the MD5 of its
    /// content almost everywhere, and that of a multipart upload is the MD5 of the parts' MD5s,
    /// unless keys of AWS KMS or of the customer encrypt it (Amazon S3 API Reference, "Object").
    fn md5(&self) -> Option<Etag> {
        let is_plain = self.encryption.is_none_or(|by| by == "AES256") && !self.has_own_key;
        Etag::of_text(opaque(self.etag.filter(|_| is_plain)?).trim_matches('"'))
    }

    /// Returns a length of 0 if the ETag is the MD5 of empty content: some services omit
    /// Content-Length for empty objects.
    fn length_of_nothing(&self) -> Option<u64> {
        let etag = self.md5().filter(|etag| !etag.is_of_parts())?;
        etag.parted(0, None)?.is_of_content(b"").then_some(0)
    }

    fn of_headers(headers: &'a Headers) -> Self {
        let own = |name: &str| headers.get(name).map(str::to_owned);
        let time = |text: &str| DateTime::from_str(text, DateTimeFormat::HttpDate).ok();
        let user = headers.iter().filter_map(|(name, value)| {
            Some((name.strip_prefix("x-amz-meta-")?.to_owned(), header_text::decode(value)))
        });
        Self {
            length: headers.get("content-length").and_then(|it| it.parse().ok()),
            etag: headers.get("etag"),
            encryption: headers.get("x-amz-server-side-encryption"),
            has_own_key: headers.get("x-amz-server-side-encryption-customer-algorithm").is_some(),
            stored: headers.get("last-modified").and_then(time),
            crc64: headers.get("x-amz-checksum-crc64nvme"),
            sha256: headers.get("x-amz-checksum-sha256"),
            checksum_type: headers.get("x-amz-checksum-type"),
            headers: ObjectHeaders {
                content_type: own("content-type"),
                content_encoding: own("content-encoding"),
                content_disposition: own("content-disposition"),
                content_language: own("content-language"),
                cache_control: own("cache-control"),
                expires: own("expires"),
                website_redirect: own("x-amz-website-redirect-location"),
                user: user.collect(),
                // The storage properties only matter for copies within a service, which begin with
                // a HEAD.
                storage: Storage::default(),
            },
        }
    }

    fn of_head(answer: &'a HeadObjectOutput) -> Self {
        answer_of!(answer)
    }

    fn of_get(answer: &'a GetObjectOutput) -> Self {
        answer_of!(answer)
    }
}

/// Completes the metadata by the attributes of the original file that the object's user metadata
/// holds.
fn with_stored(plain: Metadata, stored: &StoredAttributes) -> Metadata {
    let mut known = plain.known;
    let mut note =
        |is_known: bool, field| known.insert(if is_known { field } else { Fields::NONE });
    note(stored.mode.is_some(), Fields::PERM);
    note(stored.uid.is_some(), Fields::UID);
    note(stored.gid.is_some(), Fields::GID);
    note(stored.atime.is_some(), Fields::ATIME);
    // The time at which an object was stored is no earlier than the modification of its content,
    // but seldom equal, so it is not a known modification time.
    note(stored.mtime.is_some(), Fields::MTIME);
    // Only the content of files and the targets of symbolic links are stored; any other type would
    // turn out as an empty object.
    let kind = stored.kind.filter(|kind| *kind == Kind::Symlink).unwrap_or(plain.kind);
    Metadata {
        kind,
        mode: stored.mode.unwrap_or(plain.mode),
        uid: stored.uid.unwrap_or(plain.uid),
        gid: stored.gid.unwrap_or(plain.gid),
        atime: stored.atime.or(stored.mtime).unwrap_or(plain.atime),
        mtime: stored.mtime.unwrap_or(plain.mtime),
        known,
        ..plain
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Returns the ETag of an answer. An answer without one does not come from the service, or is
/// incomplete.
pub(crate) fn some_etag(etag: Option<&str>) -> Proven<&str> {
    etag.filter(|etag| !etag.trim_matches('"').is_empty()).ok_or(ServiceFault::NoEtag)
}

/// Strips the mark of a weak ETag (RFC 9110, section 8.8.3), which a server in between may have
/// added.
pub(crate) fn opaque(etag: &str) -> &str {
    etag.strip_prefix("W/").unwrap_or(etag)
}

/// Returns the ETag as a condition of a request; `None` for a weak one, which never fulfils
/// If-Match (RFC 9110, section 13.1.1), so that the ETag of the answer must be compared instead.
pub(crate) fn condition(etag: &str) -> Option<String> {
    (!etag.starts_with("W/")).then(|| etag.to_owned())
}

/// The status of an answer with the complete content.
const OK: u16 = 200;

/// The longest wait for the next bytes of a body.
pub(crate) const BODY_WAIT: Duration = types::limits::S3_BODY_WAIT;
