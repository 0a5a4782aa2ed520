//! The object that results from the parts of an upload, to be compared with what the service
//! reports.

use crate::read::head::Head;
use crate::read::object::opaque;
use crate::write::put::Sent;
use store::Receipt;
use types::content::crc64::Crc64;
use types::content::etag::md5_of_md5s;

/// An object as the receipts of its parts describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assembled {
    size_bytes: u64,
    /// The checksum of the whole object, if each part has one.
    pub crc64: Option<Crc64>,
    /// The ETag of the object, if the ETags of its parts are their MD5s.
    etag: Option<String>,
}

impl Assembled {
    /// Combines the receipts of all parts, in order.
    pub fn of(parts: &[Receipt]) -> Self {
        let size_bytes = parts.iter().map(|part| part.extent.length).sum();
        let crc64 = Receipt::crc64_of(parts, size_bytes);
        Self { size_bytes, crc64, etag: etag_of(parts) }
    }

    /// Returns whether an object in the service is this one, by the strongest evidence that both
    /// have: the checksum, otherwise the ETag; and by size.
    pub fn is(&self, head: &Head) -> bool {
        let is_same = match (self.crc64, head.crc64) {
            (Some(ours), Some(its)) => ours == its,
            _ => self.etag.as_deref() == Some(opaque(&head.etag).trim_matches('"')),
        };
        is_same && head.metadata.size_bytes == self.size_bytes
    }
}

/// Returns the ETag of a multipart object: the MD5 of the parts' MD5s, and their number (Amazon S3
/// User Guide, "Checking object integrity").
fn etag_of(parts: &[Receipt]) -> Option<String> {
    let md5 = |part: &Receipt| {
        let sent = Sent::of_tag(&part.tag);
        let name = sent.etag.trim_matches('"');
        u128::from_str_radix(name, 16).ok().filter(|_| name.len() == 32)
    };
    let md5s: Vec<u128> = parts.iter().map(md5).collect::<Option<_>>()?;
    Some(format!("{:032x}-{}", md5_of_md5s(&md5s), parts.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::Sender;
    use types::content::chunk::Extent;

    /// Compares with the ETag that Amazon S3 gives to two parts of 5 MiB and 1 byte of zeros.
    #[test]
    fn parts_have_the_etag_that_a_service_gives_their_object() {
        let part = |offset, length: u64, tag: &str| {
            let crc64 = Some(Crc64::of_zeros(length));
            let extent = Extent { offset, length };
            Receipt::sent(extent, crc64, tag.to_owned(), Sender::Here)
        };
        let first = part(0, 5 << 20, "\"5f363e0e58a95f06cbe9bbc662c5dfb6\"");
        let second = part(5 << 20, 1, "93b885adfe0da089cdf634904fd59f71");
        let whole = Assembled::of(&[first.clone(), second]);
        assert_eq!(whole.size_bytes, (5 << 20) + 1);
        assert_eq!(whole.crc64, Some(Crc64::of_zeros((5 << 20) + 1)));
        assert_eq!(whole.etag.as_deref(), Some("92f3a08aa3b1d7eb318ab9c2fc4a6ec3-2"));
        let opaque = Assembled::of(&[first, part(5 << 20, 1, "\"an etag of its own\"")]);
        assert_eq!((opaque.etag, opaque.crc64), (None, whole.crc64));
    }
}
