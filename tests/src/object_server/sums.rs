//! Checksums as S3 has them: those that are declared for a body, their verification, and those of
//! multipart uploads.
//!
//! See "Checking object integrity" in the Amazon S3 User Guide.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::{Checksum, StreamingBlob};
use s3s::{S3Error, S3ErrorCode, S3Result, TrailingHeaders, s3_error};

use super::objects::Content;

/// Memory in bytes that is allocated for a body before its bytes have arrived.
const MOST_AT_FIRST_BYTES: u64 = 64 << 20;

/// Checksum algorithms that S3 supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// CRC-32.
    Crc32,
    /// CRC-32C.
    Crc32c,
    /// CRC-64/NVME.
    Crc64Nvme,
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
}

impl Algorithm {
    /// All algorithms.
    pub const ALL: [Self; 5] =
        [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    /// Returns the name in x-amz-checksum-algorithm.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    /// Returns the algorithm of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// Returns the algorithm of a header or trailer.
    fn of_header(header: &str) -> Option<Self> {
        Self::named(header.trim().to_ascii_lowercase().strip_prefix("x-amz-checksum-")?)
    }

    /// Returns the value of this algorithm.
    pub fn of(self, sums: &Checksum) -> Option<&str> {
        match self {
            Self::Crc32 => sums.checksum_crc32.as_deref(),
            Self::Crc32c => sums.checksum_crc32c.as_deref(),
            Self::Crc64Nvme => sums.checksum_crc64nvme.as_deref(),
            Self::Sha1 => sums.checksum_sha1.as_deref(),
            Self::Sha256 => sums.checksum_sha256.as_deref(),
        }
    }

    fn set(self, sums: &mut Checksum, value: Option<String>) {
        *match self {
            Self::Crc32 => &mut sums.checksum_crc32,
            Self::Crc32c => &mut sums.checksum_crc32c,
            Self::Crc64Nvme => &mut sums.checksum_crc64nvme,
            Self::Sha1 => &mut sums.checksum_sha1,
            Self::Sha256 => &mut sums.checksum_sha256,
        } = value;
    }

    fn join(self, hasher: &mut ChecksumHasher) {
        match self {
            Self::Crc32 => hasher.crc32 = Some(s3s::crypto::Crc32::new()),
            Self::Crc32c => hasher.crc32c = Some(s3s::crypto::Crc32c::new()),
            Self::Crc64Nvme => hasher.crc64nvme = Some(s3s::crypto::Crc64Nvme::new()),
            Self::Sha1 => hasher.sha1 = Some(s3s::crypto::Sha1::new()),
            Self::Sha256 => hasher.sha256 = Some(s3s::crypto::Sha256::new()),
        }
    }
}

/// Returns the algorithms that have a value.
pub fn present(sums: &Checksum) -> Vec<Algorithm> {
    Algorithm::ALL.into_iter().filter(|algorithm| algorithm.of(sums).is_some()).collect()
}

/// Declarations of a request about its body.
#[derive(Debug, Default)]
pub struct Claims {
    /// Content-Length, before any framing.
    pub size_bytes: Option<u64>,
    /// Content-MD5.
    pub md5: Option<String>,
    /// x-amz-checksum-… in the headers.
    pub sums: Checksum,
    /// The names in x-amz-trailer.
    pub trailer: Option<String>,
    /// Trailers, which follow the body.
    pub trailing: Option<TrailingHeaders>,
}

/// A body that agrees with its declarations.
#[derive(Debug)]
pub struct Received {
    /// The body.
    pub content: Content,
    /// MD5 of the body.
    pub md5: [u8; 16],
    /// Checksums that were declared, and those that were requested.
    pub sums: Checksum,
}

/// Reads a body and verifies its declarations. `also` is computed where no checksum was declared.
///
/// # Errors
/// `IncompleteBody` or `BadDigest`.
pub async fn receive(
    body: Option<StreamingBlob>,
    mut claims: Claims,
    also: Option<Algorithm>,
) -> S3Result<Received> {
    let trailers = claims.trailer.iter().flat_map(|names| names.split(','));
    let mut algorithms = present(&claims.sums);
    algorithms.extend(trailers.filter_map(Algorithm::of_header));
    algorithms.extend(also);
    let mut hasher = hasher(&algorithms);
    let mut md5 = Md5::new();
    let content = read(body, claims.size_bytes, |chunk| {
        hasher.update(chunk);
        md5.update(chunk);
    })
    .await?;
    let (sums, md5) = (hasher.finalize(), md5.finalize());
    add_trailers(&mut claims);
    verify(&claims.sums, &sums)?;
    if claims.md5.is_some_and(|given| given != BASE64.encode(md5)) {
        return Err(s3_error!(BadDigest, "The Content-MD5 you specified did not match"));
    }
    Ok(Received { content, md5, sums })
}

fn add_trailers(claims: &mut Claims) {
    let Some(trailers) = claims.trailing.as_ref().and_then(TrailingHeaders::take) else { return };
    for (name, value) in &trailers {
        if let (Some(algorithm), Ok(value)) = (Algorithm::of_header(name.as_str()), value.to_str())
        {
            algorithm.set(&mut claims.sums, Some(value.trim().to_owned()));
        }
    }
}

async fn read(
    body: Option<StreamingBlob>,
    size_bytes: Option<u64>,
    mut each: impl FnMut(&[u8]),
) -> S3Result<Content> {
    let mut bytes = Vec::with_capacity(size_bytes.unwrap_or(0).min(MOST_AT_FIRST_BYTES) as usize);
    let mut body = body.map(s3s::Body::from).unwrap_or_default();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| broken_body(&error.to_string()))?;
        if let Ok(chunk) = frame.into_data() {
            each(&chunk);
            bytes.extend_from_slice(&chunk);
        }
    }
    if size_bytes.is_some_and(|size| size != bytes.len() as u64) {
        return Err(s3_error!(IncompleteBody));
    }
    Ok(Content::of(Some(Bytes::from(bytes)).filter(|bytes| !bytes.is_empty())))
}

/// Converts the protocol's errors of a body, which only their texts distinguish.
fn broken_body(error: &str) -> S3Error {
    if error.contains("Sha256Mismatch") {
        wrong_hash()
    } else if error.contains("Signature") {
        s3_error!(SignatureDoesNotMatch)
    } else {
        s3_error!(IncompleteBody, "{error}")
    }
}

/// Returns the error `XAmzContentSHA256Mismatch`, which the protocol's list of errors lacks.
pub fn wrong_hash() -> S3Error {
    let code = S3ErrorCode::from_bytes(b"XAmzContentSHA256Mismatch");
    let mut error = S3Error::new(code.expect("this is UTF-8"));
    error.set_status_code(hyper::StatusCode::BAD_REQUEST);
    error
}

/// Compares declared checksums with computed ones.
///
/// # Errors
/// `BadDigest` where one differs.
pub fn verify(given: &Checksum, computed: &Checksum) -> S3Result<()> {
    for algorithm in present(given) {
        if algorithm.of(computed).is_some_and(|sum| Some(sum) != algorithm.of(given)) {
            let name = algorithm.name();
            return Err(s3_error!(BadDigest, "The {name} you specified did not match"));
        }
    }
    Ok(())
}

fn hasher(algorithms: &[Algorithm]) -> ChecksumHasher {
    let mut hasher = ChecksumHasher::default();
    for algorithm in algorithms {
        algorithm.join(&mut hasher);
    }
    hasher
}

/// Computes the checksum of a whole content.
pub fn of_content(content: &Content, algorithm: Algorithm) -> Checksum {
    let mut hasher = hasher(&[algorithm]);
    content.pieces().for_each(|piece| hasher.update(piece));
    hasher.finalize()
}

/// Returns the MD5 of a whole content, as an ETag.
pub fn etag_of_content(content: &Content) -> String {
    let mut md5 = Md5::new();
    content.pieces().for_each(|piece| md5.update(piece));
    hex(&md5.finalize())
}

/// Returns the checksum of the parts' checksums, with their number.
///
/// # Errors
/// `InvalidRequest` where a part has none.
pub fn composite<'a>(
    parts: impl ExactSizeIterator<Item = &'a Checksum>,
    algorithm: Algorithm,
) -> S3Result<Checksum> {
    let count = parts.len();
    let mut hasher = hasher(&[algorithm]);
    for part in parts {
        let sum = algorithm.of(part).and_then(|sum| BASE64.decode(sum).ok());
        hasher.update(&sum.ok_or_else(|| s3_error!(InvalidRequest, "A part has no checksum"))?);
    }
    let mut sums = hasher.finalize();
    let value = algorithm.of(&sums).map(|sum| format!("{sum}-{count}"));
    algorithm.set(&mut sums, value);
    Ok(sums)
}

/// Returns the ETag of an object in parts: the MD5 of their MD5s, with their number.
pub fn etag_of_parts<'a>(etags: impl ExactSizeIterator<Item = &'a str>) -> String {
    let count = etags.len();
    let mut md5 = Md5::new();
    for etag in etags {
        md5.update(&unhex(etag));
    }
    format!("{}-{count}", hex(&md5.finalize()))
}

/// Formats bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).unwrap_or_default() as u8;
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| pair.iter().fold(0, |byte, half| byte << 4 | digit(half))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns "123456789", in two pieces.
    fn content() -> Content {
        Content::of(["1234", "56789"].map(Bytes::from))
    }

    #[track_caller]
    fn assert_sum(algorithm: Algorithm, expected_hex: &str) {
        let sums = of_content(&content(), algorithm);
        assert_eq!(present(&sums), [algorithm]);
        let sum = BASE64.decode(algorithm.of(&sums).unwrap()).unwrap();
        assert_eq!(hex(&sum), expected_hex);
    }

    /// Checks the values of the catalogue of CRCs, and of sha1sum.
    #[test]
    fn algorithms_are_what_their_names_say() {
        assert_sum(Algorithm::Crc32, "cbf43926");
        assert_sum(Algorithm::Crc32c, "e3069283");
        assert_sum(Algorithm::Crc64Nvme, "ae8b14860a799888");
        assert_sum(Algorithm::Sha1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441");
        assert_eq!(etag_of_content(&content()), "25f9e794323b453885f5181f1b624d0b");
    }

    #[test]
    fn the_sum_of_parts_is_the_sum_of_their_sums() {
        let part = of_content(&content(), Algorithm::Crc32);
        let whole = composite([&part, &part].into_iter(), Algorithm::Crc32).unwrap();
        let twice = Content::of([Bytes::from([0xcb, 0xf4, 0x39, 0x26].repeat(2))]);
        let expected = of_content(&twice, Algorithm::Crc32).checksum_crc32.unwrap();
        assert_eq!(whole.checksum_crc32.unwrap(), format!("{expected}-2"));
        let none = Checksum::default();
        assert!(composite([&part, &none].into_iter(), Algorithm::Crc32).is_err());
    }

    #[test]
    fn what_was_not_computed_is_not_verified_and_a_wrong_sum_is() {
        let right = of_content(&content(), Algorithm::Sha256);
        assert!(verify(&right, &right).is_ok());
        assert!(verify(&right, &Checksum::default()).is_ok());
        let wrong = Checksum { checksum_sha256: Some("AAAA".to_owned()), ..Checksum::default() };
        assert!(verify(&wrong, &right).is_err());
    }
}
