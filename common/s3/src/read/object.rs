//! What a service knows of one object.

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
use crate::client::service::{Proven, Service};
use crate::list::memory::Memory;
use crate::write::upload::is_refusal;
use types::content::crc64::{Crc64, from_base64};
use types::content::etag::Etag;
use types::entry::{Hint, Kind, Listed, Metadata, Time};
use types::error::{Cause, Op, Result};
use types::object::header_text;
use types::object::headers::{ObjectHeaders, Storage};
use types::object::metadata::{StoredAttributes, read};
use types::outcome::difference::Fields;
use types::service::ServiceFault;

/// An object at one point in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    /// As an entry of a tree.
    pub metadata: Metadata,
    /// Which content it has.
    pub etag: String,
    /// Checksum of the whole content, where the service keeps one.
    pub crc64: Option<Crc64>,
    /// SHA-256 of the whole content, where the service keeps one.
    pub sha256: Option<[u8; 32]>,
    /// The ETag, where it is an MD5.
    pub md5: Option<Etag>,
    /// What else is kept with it.
    pub headers: ObjectHeaders,
}

impl Head {
    /// A directory's attributes, as its marker tells them; `plain` is what is known without it.
    pub fn of_directory(&self, plain: &Metadata) -> Metadata {
        let told = [Fields::UID, Fields::GID, Fields::PERM, Fields::ATIME, Fields::MTIME];
        let known = told.into_iter().filter(|field| self.metadata.known.contains(*field));
        Metadata {
            kind: plain.kind,
            size_bytes: 0,
            allocated_bytes: 0,
            inode: plain.inode,
            known: known.fold(plain.known, Fields::union),
            ..self.metadata
        }
    }
}

/// Where objects are: a bucket of a service.
#[derive(Clone)]
pub(crate) struct Bucket {
    pub service: Arc<Service>,
    pub name: String,
    /// What is known of it on this rank.
    pub memory: Arc<Memory>,
}

/// An answer's headers.
struct Answer<'a> {
    /// Content-Length.
    length: Option<u64>,
    etag: Option<&'a str>,
    /// Encryption at rest, and whether with a key of the client.
    encryption: Option<&'a str>,
    has_own_key: bool,
    stored: Option<DateTime>,
    crc64: Option<&'a str>,
    sha256: Option<&'a str>,
    checksum_type: Option<&'a str>,
    headers: ObjectHeaders,
}

/// The headers of an answer.
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

impl Bucket {
    /// Looks at an object. What has no ETag is no object's answer, and one without a length says nothing of
    /// the content.
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
        self.service.call_proven(Op::Stat, request, |answer| {
            let answer = Answer::of_head(&answer);
            let size_bytes = answer.length.or_else(|| answer.length_of_nothing());
            self.head_of(key, size_bytes.ok_or(ServiceFault::NoLength)?, answer)
        })
    }

    /// Size of a part of an object that was uploaded in parts; `None` where the service does not tell, and then it says
    /// the object's, or that it does not know such a request.
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
            Err(error) if is_refusal(error.cause) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Where requests for its objects go; none where the service wants more than that.
    pub fn route(&self) -> Option<Arc<Route>> {
        self.service.routes.route(&self.service.settings, &self.name)
    }

    /// What the headers of an answer to a request for a whole object say of it, and Content-Length.
    pub fn head_of_answer(
        &self,
        key: &str,
        answer: &HttpResponse,
        listed_bytes: u64,
    ) -> Proven<(Head, Option<u64>)> {
        // Part of an object is not what was asked for.
        if answer.status().as_u16() != OK {
            return Err(ServiceFault::WrongRange);
        }
        self.head_of_whole(key, Answer::of_headers(answer.headers()), listed_bytes)
    }

    /// The same of an answer that the client has read.
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

    /// What comes in chunks says nothing of its length: then it has the listed one, or is wrong.
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

    /// Who pays for requests.
    pub fn payer(&self) -> Option<RequestPayer> {
        self.service.settings.object.requester_pays.then_some(RequestPayer::Requester)
    }

    /// Tells buckets apart, as a device number does for file systems.
    pub fn device(&self) -> u64 {
        hash(&(self.service.id, &self.name))
    }

    fn head_of(&self, key: &str, size_bytes: u64, answer: Answer<'_>) -> Proven<Head> {
        let user = &answer.headers.user;
        let value = |key: &str| Some(user.iter().find(|(own, _)| own == key)?.1.as_str());
        let stored = answer.stored.as_ref().map_or(0, DateTime::secs);
        let etag = some_etag(answer.etag)?.to_owned();
        let listed = Listed { size_bytes, stored_seconds: stored };
        let plain = self.metadata_of(key, &etag, listed);
        // A checksum of checksums stands for no content.
        let is_whole = answer.checksum_type != Some(ChecksumType::Composite.as_str());
        let crc64 = answer.crc64.filter(|_| is_whole).and_then(Crc64::from_base64);
        let sha256 = answer.sha256.filter(|_| is_whole).and_then(from_base64);
        let metadata = with_stored(plain, &read(value));
        let md5 = answer.md5().filter(|_| !self.service.settings.opaque_etags);
        Ok(Head { metadata, etag, crc64, sha256, md5, headers: answer.headers })
    }

    /// What a listing says of an object.
    pub fn metadata_listed(&self, key: &str, listed: Listed) -> Metadata {
        Metadata { known: Fields::TYPE.union(Fields::SIZE), ..self.metadata_of(key, "", listed) }
    }

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

    /// A directory is what keys begin with: nothing is known of it but that it is there.
    pub fn metadata_of_directory(&self, prefix: &str) -> Metadata {
        let listed = Listed { size_bytes: 0, stored_seconds: 0 };
        Metadata {
            kind: Kind::Directory,
            mode: 0o755,
            known: Fields::TYPE,
            ..self.metadata_of(prefix, "", listed)
        }
    }

    /// The same, of the listing's hint for it.
    pub fn metadata_hinted(&self, key: &str, hint: Hint) -> Option<Metadata> {
        match hint {
            Hint::Object(listed) => Some(self.metadata_listed(key, listed)),
            Hint::Directory => Some(self.metadata_of_directory(&format!("{key}/"))),
            _ => None,
        }
    }
}

impl<'a> Answer<'a> {
    /// An ETag of a single request is the content's MD5 almost everywhere, and that of parts the MD5 of their MD5s,
    /// unless keys of AWS KMS or the client's own encrypt it (Amazon S3 API Reference, "Object").
    fn md5(&self) -> Option<Etag> {
        let is_plain = self.encryption.is_none_or(|by| by == "AES256") && !self.has_own_key;
        Etag::of_text(opaque(self.etag.filter(|_| is_plain)?).trim_matches('"'))
    }

    /// Some services leave Content-Length out where there is no content, which its MD5 shows then.
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
                // It is asked for nothing but reading.
                storage: Storage::default(),
            },
        }
    }

    fn of_head(answer: &'a HeadObjectOutput) -> Self {
        Self {
            length: answer.content_length().and_then(|length| u64::try_from(length).ok()),
            etag: answer.e_tag(),
            encryption: answer.server_side_encryption().map(ServerSideEncryption::as_str),
            has_own_key: answer.sse_customer_algorithm().is_some(),
            stored: answer.last_modified().copied(),
            crc64: answer.checksum_crc64_nvme(),
            sha256: answer.checksum_sha256(),
            checksum_type: answer.checksum_type().map(ChecksumType::as_str),
            headers: headers!(answer),
        }
    }

    fn of_get(answer: &'a GetObjectOutput) -> Self {
        Self {
            length: answer.content_length().and_then(|length| u64::try_from(length).ok()),
            etag: answer.e_tag(),
            encryption: answer.server_side_encryption().map(ServerSideEncryption::as_str),
            has_own_key: answer.sse_customer_algorithm().is_some(),
            stored: answer.last_modified().copied(),
            crc64: answer.checksum_crc64_nvme(),
            sha256: answer.checksum_sha256(),
            checksum_type: answer.checksum_type().map(ChecksumType::as_str),
            headers: headers!(answer),
        }
    }
}

/// With the attributes that the object's user metadata says it had as a file.
fn with_stored(plain: Metadata, stored: &StoredAttributes) -> Metadata {
    let mut known = plain.known;
    let mut note =
        |is_known: bool, field| known.insert(if is_known { field } else { Fields::NONE });
    note(stored.mode.is_some(), Fields::PERM);
    note(stored.uid.is_some(), Fields::UID);
    note(stored.gid.is_some(), Fields::GID);
    note(stored.atime.is_some(), Fields::ATIME);
    // When an object was stored is no earlier than the last change of its content, but seldom the same.
    note(stored.mtime.is_some(), Fields::MTIME);
    // Only a file's content and a link's target are kept: all else would be an empty object.
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

/// The ETag of an answer: without one it is not the service's answer, or not a whole one.
pub(crate) fn some_etag(etag: Option<&str>) -> Proven<&str> {
    etag.filter(|etag| !etag.trim_matches('"').is_empty()).ok_or(ServiceFault::NoEtag)
}

/// An ETag without the mark of a weak one (RFC 9110, 8.8.3): a server between may have added it.
pub(crate) fn opaque(etag: &str) -> &str {
    etag.strip_prefix("W/").unwrap_or(etag)
}

/// The ETag for a condition. A weak one never fulfils If-Match: then the answer's must do.
pub(crate) fn condition(etag: &str) -> Option<String> {
    (!etag.starts_with("W/")).then(|| etag.to_owned())
}

/// Status of an answer that has all that was asked for.
const OK: u16 = 200;

/// How long to wait for the next bytes of a body.
pub(crate) const BODY_WAIT: Duration = types::limits::S3_BODY_WAIT;
