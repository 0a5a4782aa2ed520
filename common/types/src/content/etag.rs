//! ETags as checksums: the MD5 of an object's content, or of the MD5s of the parts in which it was
//! uploaded (Amazon S3 User Guide, "Checking object integrity").

use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

use crate::limits::USUAL_PART_BYTES;

/// An ETag that has the form of a checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Etag {
    md5: u128,
    /// Number of parts, where `md5` is the MD5 of their MD5s.
    parts: Option<u64>,
}

/// An ETag with the size of the parts that its object was uploaded in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartedEtag {
    etag: Etag,
    /// Size of each part; the last one may be smaller.
    pub part_bytes: u64,
    /// True where the service has reported the size of the parts; otherwise it is a guess.
    pub is_reported: bool,
}

/// Hasher that computes the MD5 of each part of a content that begins at a part's beginning.
pub struct PartHasher {
    part_bytes: u64,
    left_bytes: u64,
    md5: Md5,
    done: Vec<u128>,
}

impl Etag {
    /// Reads an ETag without its quotation marks; `None` where it has another form.
    pub fn of_text(text: &str) -> Option<Self> {
        let (name, parts) = match text.split_once('-') {
            Some((name, parts)) => (name, Some(parts.parse().ok().filter(|parts| *parts > 0)?)),
            None => (text, None),
        };
        let is_md5 = name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        let md5 = is_md5.then(|| u128::from_str_radix(name, 16).ok()).flatten()?;
        Some(Self { md5, parts })
    }

    /// Returns true where the object was uploaded in parts.
    pub fn is_of_parts(self) -> bool {
        self.parts.is_some()
    }

    /// Returns the ETag with the size of the object's parts. `first_bytes` is the size of the first
    /// part, where the service has told it. `None` where no parts of one size make up that number
    /// of parts.
    pub fn parted(self, size_bytes: u64, first_bytes: Option<u64>) -> Option<PartedEtag> {
        let Some(parts) = self.parts else {
            return Some(PartedEtag {
                etag: self,
                part_bytes: size_bytes.max(1),
                is_reported: true,
            });
        };
        let (part_bytes, is_reported) = match first_bytes {
            Some(first) => (first, true),
            None => (guess(size_bytes, parts)?, false),
        };
        let is_so_many = part_bytes > 0 && size_bytes.div_ceil(part_bytes).max(1) == parts;
        is_so_many.then_some(PartedEtag { etag: self, part_bytes, is_reported })
    }
}

/// Guesses the part size that gives that number of parts: a common one, or the smallest one in
/// whole MiB.
fn guess(size_bytes: u64, parts: u64) -> Option<u64> {
    if parts == 1 {
        return Some(size_bytes.max(1));
    }
    let gives = |part_bytes: &u64| *part_bytes > 0 && size_bytes.div_ceil(*part_bytes) == parts;
    let whole = size_bytes.div_ceil(parts).next_multiple_of(1 << 20);
    USUAL_PART_BYTES.into_iter().chain([whole]).find(gives)
}

impl PartedEtag {
    /// Returns true where the ETag is that of parts with these MD5s.
    pub fn is_of(&self, md5s: &[u128]) -> bool {
        match (self.etag.parts, md5s) {
            (None, [md5]) => *md5 == self.etag.md5,
            (None, _) => false,
            (Some(parts), _) => parts == md5s.len() as u64 && md5_of_md5s(md5s) == self.etag.md5,
        }
    }

    /// Returns true where the ETag is that of this content.
    pub fn is_of_content(&self, content: &[u8]) -> bool {
        let mut hasher = PartHasher::new(self.part_bytes);
        hasher.update(content);
        self.is_of(&hasher.finish())
    }

    /// Returns the number of parts.
    pub fn parts(&self) -> u64 {
        self.etag.parts.unwrap_or(1)
    }

    /// Returns the smallest chunk size in bytes that is a whole number of parts and at least
    /// `requested_bytes`.
    pub fn chunk_bytes(&self, requested_bytes: u64) -> u64 {
        requested_bytes.div_ceil(self.part_bytes).max(1).saturating_mul(self.part_bytes)
    }
}

/// Returns the MD5 of the MD5s of parts, as an ETag has it.
pub fn md5_of_md5s(md5s: &[u128]) -> u128 {
    let mut all = Md5::new();
    for md5 in md5s {
        all.update(md5.to_be_bytes());
    }
    u128::from_be_bytes(all.finalize().into())
}

impl PartHasher {
    /// Starts with the first of parts of that size in bytes.
    pub fn new(part_bytes: u64) -> Self {
        Self { part_bytes, left_bytes: part_bytes, md5: Md5::new(), done: Vec::new() }
    }

    /// Adds the next bytes.
    pub fn update(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let count = usize::try_from(self.left_bytes).unwrap_or(usize::MAX).min(data.len());
            self.md5.update(&data[..count]);
            self.left_bytes -= count as u64;
            data = &data[count..];
            if self.left_bytes == 0 {
                self.end_part();
            }
        }
    }

    /// Returns the MD5s of all parts; that of one empty part where there was no content.
    pub fn finish(mut self) -> Vec<u128> {
        if self.left_bytes < self.part_bytes || self.done.is_empty() {
            self.end_part();
        }
        self.done
    }

    fn end_part(&mut self) {
        let md5 = std::mem::take(&mut self.md5).finalize();
        self.done.push(u128::from_be_bytes(md5.into()));
        self.left_bytes = self.part_bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn md5s_of(content: &[u8], part_bytes: u64, piece_bytes: usize) -> Vec<u128> {
        let mut hasher = PartHasher::new(part_bytes);
        content.chunks(piece_bytes).for_each(|piece| hasher.update(piece));
        hasher.finish()
    }

    /// Checks two ETags of Amazon's service: of an object of 5 MiB and 1 byte of zeros, in parts of
    /// 5 MiB, and of the empty one.
    #[test]
    fn content_has_the_etag_that_a_service_gives_it() {
        let zeros = vec![0; (5 << 20) + 1];
        let etag = Etag::of_text("92f3a08aa3b1d7eb318ab9c2fc4a6ec3-2").unwrap();
        for told in [Some(5 << 20), None] {
            let parted = etag.parted(zeros.len() as u64, told).unwrap();
            assert_eq!((parted.part_bytes, parted.is_reported), (5 << 20, told.is_some()));
            for piece_bytes in [1 << 20, 999_999, 6 << 20] {
                assert!(parted.is_of(&md5s_of(&zeros, parted.part_bytes, piece_bytes)));
            }
            assert!(!parted.is_of(&md5s_of(&zeros[1..], parted.part_bytes, 1 << 20)));
        }
        let empty = Etag::of_text("d41d8cd98f00b204e9800998ecf8427e").unwrap();
        let parted = empty.parted(0, None).unwrap();
        assert!(parted.is_of(&md5s_of(b"", parted.part_bytes, 1)));
        assert!(!parted.is_of(&md5s_of(b"x", parted.part_bytes, 1)));
    }

    #[test]
    fn other_names_are_no_checksums() {
        let hex = "92f3a08aa3b1d7eb318ab9c2fc4a6ec3";
        for other in ["", "x", &hex[1..], &format!("{hex}-0"), &format!("{hex}-x"), "CMH-2"] {
            assert_eq!(Etag::of_text(other), None, "{other}");
        }
        let etag = Etag::of_text(&format!("{hex}-3")).unwrap();
        assert_eq!(etag.parted(100, Some(60)), None);
        assert_eq!(etag.parted(100, Some(0)), None);
        assert_eq!(etag.parted(2, None), None);
    }

    #[test]
    fn sizes_of_parts_are_guessed_and_chunks_are_whole_parts() {
        let of = |size, parts| {
            let etag = Etag { md5: 0, parts: Some(parts) };
            etag.parted(size, None).map(|parted| parted.part_bytes)
        };
        assert_eq!(of(20 << 20, 3), Some(8 << 20));
        assert_eq!(of(100 << 20, 3), Some(34 << 20));
        assert_eq!(of(300 << 20, 100), Some(3 << 20));
        assert_eq!(of(77, 1), Some(77));
        let parted = Etag { md5: 0, parts: Some(3) }.parted(20 << 20, Some(8 << 20)).unwrap();
        assert_eq!(parted.chunk_bytes(1), 8 << 20);
        assert_eq!(parted.chunk_bytes(9 << 20), 16 << 20);
    }
}
