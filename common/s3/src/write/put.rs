//! The requests that carry content, and those that let the service copy it itself.

use std::sync::OnceLock;

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::copy_object::CopyObjectOutput;
use aws_sdk_s3::operation::upload_part_copy::UploadPartCopyOutput;
use aws_sdk_s3::primitives::{ByteStream, DateTimeFormat};
use aws_sdk_s3::types::{MetadataDirective, RequestPayer};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::Method;
use md5::{Digest, Md5};

use crate::client::abilities::Check;
use crate::client::service::Proven;
use crate::client::shortcut::Request;
use crate::read::object::{Bucket, condition, opaque, some_etag};
use crate::write::fields::{NewObject, with_headers};
use crate::write::upload::is_refusal;
use store::{ObjectAddress, Receipt, Sender};
use types::content::chunk::Extent;
use types::content::crc64::{Crc64, crc32c, crc32c_to_base64};
use types::entry::Proof;
use types::error::{Cause, Op, Result};

/// Headers of checks.
const CRC64: &str = "x-amz-checksum-crc64nvme";
const CRC32C: &str = "x-amz-checksum-crc32c";

/// Content with the check that goes with it.
pub(crate) struct Content {
    bytes: Bytes,
    /// That of these bytes, whether it goes with them or not.
    sum: Crc64,
    check: Check,
    crc64: Option<String>,
    crc32c: Option<String>,
    /// MD5, worked out at most once.
    digest: OnceLock<[u8; 16]>,
}

/// What a service has said of content that it has taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sent {
    pub etag: String,
    /// Its part of a check that goes by parts.
    pub crc32c: Option<String>,
}

/// What a service's answer says of content that it has taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arrival {
    /// It is what was sent, which this shows; or nobody wants to know.
    Certain(Proof),
    /// The service has not looked at the check.
    Unknown,
    /// It is something else.
    Other,
}

impl Content {
    /// `crc64` is that of these bytes.
    pub fn new(bytes: Bytes, check: Check, crc64: Crc64) -> Self {
        Self {
            sum: crc64,
            check,
            crc64: (check == Check::Crc64).then(|| crc64.to_base64()),
            crc32c: (check == Check::Crc32c).then(|| crc32c_to_base64(crc32c(&bytes))),
            digest: OnceLock::new(),
            bytes,
        }
    }

    fn digest(&self) -> [u8; 16] {
        *self.digest.get_or_init(|| md5_of(&self.bytes).to_be_bytes())
    }

    /// Content-MD5, where that is the check.
    fn md5(&self) -> Option<String> {
        (self.check == Check::Md5).then(|| BASE64_STANDARD.encode(self.digest()))
    }

    pub fn bytes_count(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Whether what a service has is this, by the best it says of it: CRC-64/NVME, CRC32C, ETag.
    pub fn is_what(&self, (crc64, castagnoli, etag): (Option<&str>, Option<&str>, &str)) -> bool {
        match (crc64, castagnoli) {
            (Some(sum), _) => sum == self.sum.to_base64(),
            (None, Some(sum)) => sum == crc32c_to_base64(crc32c(&self.bytes)),
            (None, None) => self.is_named_by(etag),
        }
    }

    /// It is there under that name.
    pub fn sent(&self, etag: Option<&str>) -> Sent {
        Sent { etag: etag.unwrap_or_default().to_owned(), crc32c: self.crc32c.clone() }
    }

    /// The same bytes with the check that even old services look at.
    fn with_md5(&self) -> Self {
        let (bytes, digest) = (self.bytes.clone(), self.digest.clone());
        Self { bytes, sum: self.sum, check: Check::Md5, crc64: None, crc32c: None, digest }
    }

    fn body(&self) -> ByteStream {
        ByteStream::from(self.bytes.clone())
    }

    /// The service has taken the content, but has it looked at the check? One that has names it in its
    /// answer; a Content-MD5 it would have refused. Without an ETag it has taken nothing.
    fn arrival(&self, (crc64, crc32c): Sums<'_>, etag: Option<&str>) -> Proven<Arrival> {
        let etag = some_etag(etag)?;
        let (sent, named) = match self.check {
            Check::Crc64 => (self.crc64.as_deref(), crc64),
            Check::Crc32c => (self.crc32c.as_deref(), crc32c),
            Check::Md5 | Check::None => return Ok(Arrival::Certain(self.check.proof())),
        };
        match named {
            Some(_) if named == sent => Ok(Arrival::Certain(self.check.proof())),
            Some(_) => Ok(Arrival::Other),
            None if self.is_named_by(etag) => Ok(Arrival::Certain(Proof::Md5)),
            None => Ok(Arrival::Unknown),
        }
    }

    /// An ETag of a single request is the content's MD5 almost everywhere: where it is, the content
    /// arrived.
    fn is_named_by(&self, etag: &str) -> bool {
        let named = u128::from_str_radix(etag.trim_matches('"'), 16);
        etag.len() >= 32 && named == Ok(u128::from_be_bytes(self.digest()))
    }
}

/// The CRC-64/NVME and the CRC32C that an answer names.
type Sums<'a> = (Option<&'a str>, Option<&'a str>);

impl Sent {
    /// As one word, for those who complete the upload.
    pub fn tag(&self) -> String {
        match &self.crc32c {
            Some(crc32c) => format!("{}\n{crc32c}", self.etag),
            None => self.etag.clone(),
        }
    }

    /// Reads such a word.
    pub fn of_tag(tag: &str) -> Self {
        match tag.split_once('\n') {
            Some((etag, crc32c)) => Self { etag: etag.to_owned(), crc32c: Some(crc32c.to_owned()) },
            None => Self { etag: tag.to_owned(), crc32c: None },
        }
    }
}

impl Bucket {
    /// Stores an object with one request; with another one where the service has not looked at the check.
    pub fn put_whole(&self, new: &NewObject, bytes: &Bytes) -> Result<Proof> {
        let crc64 = Crc64::of(bytes);
        let mut is_doubtful = false;
        loop {
            let check = self.service.abilities.check();
            let content = Content::new(bytes.clone(), check, crc64);
            match self.put_once(new, &content) {
                Err(error) if is_refusal(error.cause) && self.service.abilities.lacks(check) => {}
                Ok(Arrival::Unknown) if self.service.abilities.lacks(check) => is_doubtful = true,
                Err(error) => {
                    // What an earlier try has left there may be anything; the first error is told.
                    if is_doubtful {
                        let _ = self.remove(&new.key);
                    }
                    return Err(error);
                }
                Ok(Arrival::Other) => {
                    let _ = self.remove(&new.key);
                    return Err(Op::Write.failed(Cause::Corrupt));
                }
                Ok(Arrival::Unknown) => return Ok(Proof::None),
                Ok(Arrival::Certain(proof)) => return Ok(proof),
            }
        }
    }

    fn put_once(&self, new: &NewObject, content: &Content) -> Result<Arrival> {
        let read = |answer: HttpResponse| {
            let header = |name: &str| answer.headers().get(name);
            let sums = (header(CRC64), header(CRC32C));
            content.arrival(sums, header("etag"))
        };
        let request = self.short_put(new, content);
        self.service.call_shortly(request, read, || self.put_by_client(new, content))
    }

    fn short_put(&self, new: &NewObject, content: &Content) -> Option<Request> {
        let options = &self.service.settings.object;
        if self.service.settings.sign_payload {
            return None;
        }
        let (payer, encoding, md5) = (self.payer(), new.headers.own_encoding(), content.md5());
        let expires = new.expires().and_then(|time| time.fmt(DateTimeFormat::HttpDate).ok());
        let user: Vec<_> =
            new.user.iter().map(|(name, value)| (format!("x-amz-meta-{name}"), value)).collect();
        let headers = [
            ("content-type", Some(&*new.content_type)),
            ("content-encoding", encoding.as_deref()),
            ("content-disposition", new.headers.content_disposition.as_deref()),
            ("content-language", new.headers.content_language.as_deref()),
            ("cache-control", new.headers.cache_control.as_deref()),
            ("expires", expires.as_deref()),
            ("x-amz-website-redirect-location", new.headers.website_redirect.as_deref()),
            (CRC64, content.crc64.as_deref()),
            (CRC32C, content.crc32c.as_deref()),
            ("content-md5", md5.as_deref()),
            ("x-amz-acl", options.acl.as_deref()),
            ("x-amz-storage-class", options.storage_class.as_deref()),
            ("x-amz-server-side-encryption", options.sse.as_deref()),
            ("x-amz-server-side-encryption-aws-kms-key-id", options.sse_kms_key_id.as_deref()),
            ("x-amz-request-payer", payer.as_ref().map(RequestPayer::as_str)),
        ];
        let user = user.iter().map(|(name, value)| (&**name, Some(&***value)));
        let headers = headers.into_iter().chain(user);
        Request::new(self, (Method::PUT, &new.key), headers, content.bytes.clone())
    }

    fn put_by_client(&self, new: &NewObject, content: &Content) -> Result<Arrival> {
        let options = &self.service.settings.object;
        let request = |client: Client| {
            let request = with_headers!(client.put_object(), new)
                .bucket(&self.name)
                .key(&new.key)
                .set_checksum_crc64_nvme(content.crc64.clone())
                .set_checksum_crc32_c(content.crc32c.clone())
                .set_content_md5(content.md5())
                .set_acl(options.acl.as_deref().map(Into::into))
                .set_storage_class(options.storage_class.as_deref().map(Into::into))
                .set_server_side_encryption(options.sse.as_deref().map(Into::into))
                .set_ssekms_key_id(options.sse_kms_key_id.clone())
                .set_request_payer(self.payer())
                .body(content.body())
                .customize();
            let signs = self.service.settings.sign_payload;
            let request = if signs { request } else { request.disable_payload_signing() };
            request.send()
        };
        self.service.call_proven(Op::Write, request, |answer| {
            let sums = (answer.checksum_crc64_nvme(), answer.checksum_crc32_c());
            content.arrival(sums, answer.e_tag())
        })
    }

    /// Sends a part; again, with a check that every service looks at, where it has not looked at this one.
    pub fn put_part(
        &self,
        key: &str,
        upload_id: &str,
        number: i32,
        content: &Content,
    ) -> Result<Sent> {
        let (sent, arrival) = self.put_part_once(key, upload_id, number, content)?;
        match arrival {
            Arrival::Certain(_) => {
                self.service.abilities.has(content.check);
                Ok(sent)
            }
            Arrival::Other => Err(Op::Write.failed(Cause::Corrupt)),
            Arrival::Unknown => {
                self.service.abilities.lacks(content.check);
                Ok(self.put_part_once(key, upload_id, number, &content.with_md5())?.0)
            }
        }
    }

    fn put_part_once(
        &self,
        key: &str,
        upload_id: &str,
        number: i32,
        content: &Content,
    ) -> Result<(Sent, Arrival)> {
        let request = |client: Client| {
            let request = client
                .upload_part()
                .bucket(&self.name)
                .key(key)
                .upload_id(upload_id)
                .part_number(number)
                .set_checksum_crc64_nvme(content.crc64.clone())
                .set_checksum_crc32_c(content.crc32c.clone())
                .set_content_md5(content.md5())
                .set_request_payer(self.payer())
                .body(content.body())
                .customize();
            let signs = self.service.settings.sign_payload;
            let request = if signs { request } else { request.disable_payload_signing() };
            request.send()
        };
        self.service.call_proven(Op::Write, request, |answer| {
            let sums = (answer.checksum_crc64_nvme(), answer.checksum_crc32_c());
            Ok((content.sent(answer.e_tag()), content.arrival(sums, answer.e_tag())?))
        })
    }

    /// Lets the service copy a whole object, with attributes of its own.
    pub fn copy_whole(&self, new: &NewObject, from: &ObjectAddress) -> Result<()> {
        let options = &self.service.settings.object;
        let (sse, sse_kms_key_id) = new.encryption(options);
        let request = |client: Client| {
            with_headers!(client.copy_object(), new)
                .bucket(&self.name)
                .key(&new.key)
                .copy_source(copy_source(from))
                .set_copy_source_if_match(condition(&from.etag))
                .metadata_directive(MetadataDirective::Replace)
                .set_acl(options.acl.as_deref().map(Into::into))
                .set_grant_full_control(new.grants.full_control.clone())
                .set_grant_read(new.grants.read.clone())
                .set_grant_read_acp(new.grants.read_acp.clone())
                .set_grant_write_acp(new.grants.write_acp.clone())
                .set_tagging_directive(new.tags.directive())
                .set_storage_class(new.storage_class(options))
                .set_server_side_encryption(sse.clone())
                .set_ssekms_key_id(sse_kms_key_id.clone())
                .set_request_payer(self.payer())
                .customize()
                .mutate_request(without_body)
                .send()
        };
        self.service.call_proven(Op::Copy, request, |answer: CopyObjectOutput| {
            let result = answer.copy_object_result();
            some_etag(result.and_then(|result| result.e_tag())).map(|_| ())
        })?;
        self.is_still(from)
    }

    /// A weak ETag is no condition that a copy can have: the object is looked at afterwards.
    fn is_still(&self, from: &ObjectAddress) -> Result<()> {
        if condition(&from.etag).is_some() {
            return Ok(());
        }
        let bucket = Self { name: from.bucket.clone(), ..self.clone() };
        let is_same = opaque(&bucket.head(&from.key)?.etag) == opaque(&from.etag);
        if is_same { Ok(()) } else { Err(Op::Copy.failed(Cause::Changed)) }
    }

    /// Lets the service copy a part.
    pub fn copy_part(
        &self,
        key: &str,
        upload_id: &str,
        number: i32,
        from: &ObjectAddress,
        extent: Extent,
    ) -> Result<Receipt> {
        let range = format!("bytes={}-{}", extent.offset, extent.end() - 1);
        let request = |client: Client| {
            client
                .upload_part_copy()
                .bucket(&self.name)
                .key(key)
                .upload_id(upload_id)
                .part_number(number)
                .copy_source(copy_source(from))
                .set_copy_source_if_match(condition(&from.etag))
                .copy_source_range(&range)
                .set_request_payer(self.payer())
                .customize()
                .mutate_request(without_body)
                .send()
        };
        let copied =
            self.service.call_proven(Op::Copy, request, |answer: UploadPartCopyOutput| {
                let result = answer.copy_part_result();
                let tag = some_etag(result.and_then(|result| result.e_tag()))?.to_owned();
                let crc64 = result.and_then(|result| result.checksum_crc64_nvme());
                let crc64 = crc64.and_then(Crc64::from_base64);
                Ok(Receipt::sent(extent, crc64, tag, Sender::Service))
            })?;
        self.is_still(from).map(|()| copied)
    }
}

/// MD5 of these bytes.
pub(crate) fn md5_of(bytes: &[u8]) -> u128 {
    u128::from_be_bytes(Md5::digest(bytes).into())
}

/// Some services want to be told that nothing follows.
fn without_body(request: &mut aws_smithy_runtime_api::client::orchestrator::HttpRequest) {
    request.headers_mut().insert("content-length", "0");
}

/// Bucket and key as a header holds them.
fn copy_source(from: &ObjectAddress) -> String {
    let key: Vec<_> = from.key.split('/').map(urlencoding::encode).collect();
    format!("{}/{}", from.bucket, key.join("/"))
}
