//! Requests that send content, and requests that let the service copy content itself.

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

use crate::client::capabilities::Check;
use crate::client::fast_path::Request;
use crate::client::fault::is_refusal;
use crate::client::service::Proven;
use crate::read::object::{Bucket, condition, opaque, some_etag};
use crate::write::fields::{NewObject, with_headers};
use store::{ObjectAddress, Receipt, Sender};
use types::content::chunk::Extent;
use types::content::crc64::{Crc64, crc32c, crc32c_to_base64};
use types::entry::Proof;
use types::error::{Cause, Op, Result};

/// The header that holds a CRC-64/NVME.
const CRC64: &str = "x-amz-checksum-crc64nvme";
/// The header that holds a CRC32C.
const CRC32C: &str = "x-amz-checksum-crc32c";

/// Content of a request, with the checksum that protects it.
pub(crate) struct Content {
    bytes: Bytes,
    /// The CRC-64/NVME of the bytes, whether it is sent or not.
    sum: Crc64,
    check: Check,
    crc64: Option<String>,
    crc32c: Option<String>,
    /// The MD5 of the bytes, computed at most once.
    digest: OnceLock<[u8; 16]>,
}

/// The acknowledgement of a part by the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sent {
    pub etag: String,
    /// The CRC32C of the part, where that is the check.
    pub crc32c: Option<String>,
}

/// The conclusion from a service's answer about content that it has accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arrival {
    /// The service has the content that was sent, by this evidence; or the operator wants no check.
    Certain(Proof),
    /// The service has ignored the checksum.
    Unknown,
    /// The service has other content.
    Other,
}

impl Content {
    /// Prepares content to be sent; `crc64` must be the checksum of `bytes`.
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

    /// Returns the Content-MD5, where that is the check.
    fn md5(&self) -> Option<String> {
        (self.check == Check::Md5).then(|| BASE64_STANDARD.encode(self.digest()))
    }

    pub fn bytes_count(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Returns whether the content in a service is this, by the strongest evidence the service
    /// gives: CRC-64/NVME, CRC32C, ETag.
    pub fn is_what(&self, (crc64, castagnoli, etag): (Option<&str>, Option<&str>, &str)) -> bool {
        match (crc64, castagnoli) {
            (Some(sum), _) => sum == self.sum.to_base64(),
            (None, Some(sum)) => sum == crc32c_to_base64(crc32c(&self.bytes)),
            (None, None) => self.is_named_by(etag),
        }
    }

    /// Returns the acknowledgement of a part that the service has under that ETag.
    pub fn sent(&self, etag: Option<&str>) -> Sent {
        Sent { etag: etag.unwrap_or_default().to_owned(), crc32c: self.crc32c.clone() }
    }

    /// Returns the content with the check that even old services verify.
    fn with_md5(&self) -> Self {
        let (bytes, digest) = (self.bytes.clone(), self.digest.clone());
        Self { bytes, sum: self.sum, check: Check::Md5, crc64: None, crc32c: None, digest }
    }

    fn body(&self) -> ByteStream {
        ByteStream::from(self.bytes.clone())
    }

    /// Evaluates the answer to content that was accepted. A service that has verified a checksum
    /// repeats it in its answer; a wrong Content-MD5 it would have refused. An answer without an
    /// ETag does not come from the service.
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

    /// Returns whether the ETag is the MD5 of the content. The ETag of a single request is that
    /// almost everywhere, and then proves that the content arrived.
    fn is_named_by(&self, etag: &str) -> bool {
        let named = u128::from_str_radix(etag.trim_matches('"'), 16);
        etag.len() >= 32 && named == Ok(u128::from_be_bytes(self.digest()))
    }
}

/// The CRC-64/NVME and the CRC32C in an answer.
type Sums<'a> = (Option<&'a str>, Option<&'a str>);

impl Sent {
    /// Encodes the acknowledgement as one text, for the rank that completes the upload.
    pub fn tag(&self) -> String {
        match &self.crc32c {
            Some(crc32c) => format!("{}\n{crc32c}", self.etag),
            None => self.etag.clone(),
        }
    }

    /// Decodes such a text.
    pub fn of_tag(tag: &str) -> Self {
        match tag.split_once('\n') {
            Some((etag, crc32c)) => Self { etag: etag.to_owned(), crc32c: Some(crc32c.to_owned()) },
            None => Self { etag: tag.to_owned(), crc32c: None },
        }
    }
}

impl Bucket {
    /// Stores an object with one request; or with another one, by the next check, if the service
    /// refuses or ignores the present one. Returns the evidence that the content arrived.
    ///
    /// # Errors
    /// Returns `Corrupt` if the service has stored other content; the object is removed then.
    pub fn put_whole(&self, new: &NewObject, bytes: &Bytes) -> Result<Proof> {
        let crc64 = Crc64::of(bytes);
        let mut is_doubtful = false;
        loop {
            let check = self.service.capabilities.check();
            let content = Content::new(bytes.clone(), check, crc64);
            match self.put_once(new, &content) {
                Err(error) if is_refusal(error.cause) && self.service.capabilities.lacks(check) => {
                }
                Ok(Arrival::Unknown) if self.service.capabilities.lacks(check) => {
                    is_doubtful = true;
                }
                Err(error) => {
                    // An earlier attempt without a verified check may have stored anything. The
                    // first error is reported, not that of the removal.
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

    /// Stores an object with one request, by the fast path if possible.
    fn put_once(&self, new: &NewObject, content: &Content) -> Result<Arrival> {
        let read = |answer: HttpResponse| {
            let header = |name: &str| answer.headers().get(name);
            let sums = (header(CRC64), header(CRC32C));
            content.arrival(sums, header("etag"))
        };
        let request = self.short_put(new, content);
        self.service.call_shortly(request, read, || self.put_by_client(new, content))
    }

    /// Builds the request of the fast path, with the headers that the client's request has too.
    /// Returns `None` where the content must be part of the signature.
    fn short_put(&self, new: &NewObject, content: &Content) -> Option<Request> {
        let options = &self.service.settings.object;
        if self.service.settings.sign_payload {
            return None;
        }
        let route = self.route()?;
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
        Request::new(&route, (Method::PUT, &new.key), headers, content.bytes.clone())
    }

    /// Stores an object by the S3 client, with all its retries.
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

    /// Sends a part. If the service ignores the check, sends it again with one that every service
    /// verifies.
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
                self.service.capabilities.has(content.check);
                Ok(sent)
            }
            Arrival::Other => Err(Op::Write.failed(Cause::Corrupt)),
            Arrival::Unknown => {
                self.service.capabilities.lacks(content.check);
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

    /// Lets the service copy a whole object, with the attributes of `new`.
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

    /// Verifies after a copy that the source is unchanged, where its ETag is weak and could not be
    /// a condition of the copy.
    fn is_still(&self, from: &ObjectAddress) -> Result<()> {
        if condition(&from.etag).is_some() {
            return Ok(());
        }
        let bucket = Self { name: from.bucket.clone(), ..self.clone() };
        let is_same = opaque(&bucket.head(&from.key)?.etag) == opaque(&from.etag);
        if is_same { Ok(()) } else { Err(Op::Copy.failed(Cause::Changed)) }
    }

    /// Lets the service copy an extent of an object as one part.
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

/// Computes the MD5 of the bytes.
pub(crate) fn md5_of(bytes: &[u8]) -> u128 {
    u128::from_be_bytes(Md5::digest(bytes).into())
}

/// Declares that no body follows, which some services require.
fn without_body(request: &mut aws_smithy_runtime_api::client::orchestrator::HttpRequest) {
    request.headers_mut().insert("content-length", "0");
}

/// Encodes bucket and key for the header `x-amz-copy-source`.
fn copy_source(from: &ObjectAddress) -> String {
    let key: Vec<_> = from.key.split('/').map(urlencoding::encode).collect();
    format!("{}/{}", from.bucket, key.join("/"))
}
