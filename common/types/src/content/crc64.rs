//! CRC-64/NVME and CRC32C, the checksums by which S3 verifies bodies, in the form that its headers
//! have.
//!
//! The CRC-64 of a whole object follows from those of its parts ([`Crc64::combine`]), so parts can
//! be sent in any order and by any rank, and the whole is still checked. The crate's own way to
//! combine squares a 64x64 matrix for each bit of a length (half a millisecond a part); here a
//! table of squares is made once, by the compiler, and a part costs one multiplication for each bit
//! that is set in its length.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use crc_fast::{CrcAlgorithm, Digest};

/// The polynomial of CRC-64/NVME with its bits reflected, as the algorithm has them: the bit of x^0
/// is the highest (NVM Command Set Specification, 64b CRC).
const POLYNOMIAL: u64 = 0x9A6C_9329_AC4B_C9B5;

/// x^8 in that order of bits: the operator for one byte.
const ONE_BYTE: u64 = 1 << (63 - 8);

/// Operators for 1, 2, 4, 8, … bytes of zeros: `x^(8 * 2^k)` modulo the polynomial.
const SQUARES: [u64; 64] = squares();

const fn squares() -> [u64; 64] {
    let mut table = [ONE_BYTE; 64];
    let mut power = 1;
    while power < 64 {
        table[power] = multiply(table[power - 1], table[power - 1]);
        power += 1;
    }
    table
}

/// Returns the product of two polynomials over GF(2), modulo [`POLYNOMIAL`].
const fn multiply(left: u64, right: u64) -> u64 {
    let (mut product, mut shifted, mut rest) = (0, right, left);
    while rest != 0 {
        if rest >> 63 == 1 {
            product ^= shifted;
        }
        shifted = if shifted & 1 == 1 { (shifted >> 1) ^ POLYNOMIAL } else { shifted >> 1 };
        rest <<= 1;
    }
    product
}

/// CRC-64/NVME of a stream of bytes.
#[derive(Debug, Clone)]
pub struct Crc64Nvme(Digest);

impl Default for Crc64Nvme {
    fn default() -> Self {
        Self::new()
    }
}

impl Crc64Nvme {
    /// Starts with no bytes.
    pub fn new() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc64Nvme))
    }

    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns the checksum of all bytes so far.
    pub fn finish(&self) -> Crc64 {
        Crc64(self.0.finalize())
    }
}

/// A CRC-64/NVME value; that of no bytes is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Crc64(pub u64);

impl Crc64 {
    /// Returns the checksum of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(crc_fast::checksum(CrcAlgorithm::Crc64Nvme, bytes))
    }

    /// Returns the value of the header `x-amz-checksum-crc64nvme`: eight bytes in big-endian order,
    /// in base64.
    pub fn to_base64(self) -> String {
        BASE64_STANDARD.encode(self.0.to_be_bytes())
    }

    /// Reads what [`Crc64::to_base64`] writes; `None` for anything else.
    pub fn from_base64(text: &str) -> Option<Self> {
        from_base64(text).map(|bytes| Self(u64::from_be_bytes(bytes)))
    }

    /// Returns the checksum of that many zero bytes.
    pub fn of_zeros(length_bytes: u64) -> Self {
        let one = Self::of(&[0]);
        let (mut sum, mut power, mut power_bytes) = (Self::default(), one, 1);
        while power_bytes <= length_bytes {
            if length_bytes & power_bytes != 0 {
                sum = sum.combine(power, power_bytes);
            }
            power = power.combine(power, power_bytes);
            let Some(doubled) = power_bytes.checked_mul(2) else { break };
            power_bytes = doubled;
        }
        sum
    }

    /// Returns the checksum of the bytes of `self` followed by `next_length_bytes` more, which have
    /// the checksum `next` by themselves.
    #[must_use]
    pub fn combine(self, next: Self, next_length_bytes: u64) -> Self {
        let set = (0..64).filter(|bit| next_length_bytes >> bit & 1 == 1);
        // The algorithm begins with all ones and inverts at the end: both cancel out here.
        Self(set.fold(self.0, |value, bit| multiply(value, SQUARES[bit])) ^ next.0)
    }

    /// Returns the part of these bytes in the checksum of a file in which `bytes_after` more bytes
    /// follow them.
    #[must_use]
    pub fn share(self, bytes_after: u64) -> Self {
        self.combine(Self::default(), bytes_after)
    }

    /// Adds the part of another range of the file. The parts of all ranges, in any order, make up
    /// the checksum of the file.
    #[must_use]
    pub fn with_share(self, share: Self) -> Self {
        Self(self.0 ^ share.0)
    }
}

/// Returns the CRC32C (CRC-32/ISCSI), for services that do not know CRC-64/NVME.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// Returns the value of the header `x-amz-checksum-crc32c`: four bytes in big-endian order, in
/// base64.
pub fn crc32c_to_base64(value: u32) -> String {
    BASE64_STANDARD.encode(value.to_be_bytes())
}

/// Reads what [`crc32c_to_base64`] writes; `None` for anything else.
pub fn crc32c_from_base64(text: &str) -> Option<u32> {
    from_base64(text).map(u32::from_be_bytes)
}

/// Decodes base64 text into exactly `BYTES` bytes; `None` for anything else. Headers come from
/// elsewhere, so their length is checked before anything is decoded.
pub fn from_base64<const BYTES: usize>(text: &str) -> Option<[u8; BYTES]> {
    let is_right_length = text.len() == BYTES.div_ceil(3) * 4;
    is_right_length.then(|| BASE64_STANDARD.decode(text).ok())??.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random_bytes(random: &mut fastrand::Rng, length: usize) -> Vec<u8> {
        std::iter::repeat_with(|| random.u8(..)).take(length).collect()
    }

    #[test]
    fn shares_in_any_order_make_the_value_of_the_whole() {
        let bytes: Vec<u8> = (0..1000_u32).map(|at| (at * 7 % 251) as u8).collect();
        let parts = [300..1000, 0..0, 0..1, 20..300, 1..20];
        let share = |part: std::ops::Range<usize>| {
            let after = (bytes.len() - part.end) as u64;
            Crc64::of(&bytes[part]).share(after)
        };
        let sum = parts.into_iter().map(share).fold(Crc64::default(), Crc64::with_share);
        assert_eq!(sum, Crc64::of(&bytes));
    }

    #[test]
    fn published_check_values() {
        assert_eq!(Crc64::of(b"123456789").0, 0xAE8B_1486_0A79_9888);
        assert_eq!(Crc64::of(b""), Crc64::default());
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        // RFC 3720, B.4: 32 bytes of zeros, of ones.
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c(&[0xff; 32]), 0x62A8_AB43);
        // NVM Command Set Specification: 4 KiB of zeros, of ones, of 0 to 255 again and again.
        assert_eq!(Crc64::of(&[0; 4096]).0, 0x6482_D367_EB22_B64E);
        assert_eq!(Crc64::of(&[0xff; 4096]).0, 0xC0DD_BA73_02EC_A3AC);
        let counting: Vec<u8> = (0..4096).map(|index| index as u8).collect();
        assert_eq!(Crc64::of(&counting).0, 0x3E72_9F5F_6750_449C);
    }

    #[test]
    fn pieces_of_any_size_combine_to_the_whole() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..300 {
            let length = random.usize(0..5000);
            let bytes = random_bytes(&mut random, length);
            let whole = Crc64::of(&bytes);
            let mut streamed = Crc64Nvme::new();
            let mut combined = Crc64::default();
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(random.usize(0..=rest.len()));
                streamed.update(piece);
                combined = combined.combine(Crc64::of(piece), piece.len() as u64);
                rest = after;
            }
            assert_eq!(streamed.finish(), whole);
            assert_eq!(combined, whole);
        }
    }

    #[test]
    fn lengths_beyond_any_memory_combine_as_the_crate_does() {
        let mut random = fastrand::Rng::with_seed(2);
        for bit in 0..63 {
            for length in [1u64 << bit, (1 << bit) + 1, random.u64(0..1 << 62)] {
                let (head, tail) = (random.u64(..), random.u64(..));
                let algorithm = CrcAlgorithm::Crc64Nvme;
                let expected = crc_fast::checksum_combine(algorithm, head, tail, length);
                assert_eq!(Crc64(head).combine(Crc64(tail), length), Crc64(expected), "{length}");
            }
        }
    }

    #[test]
    fn runs_of_zeros_double() {
        let mut zeros = Crc64::of(&[0]);
        for doubling in 0..22 {
            zeros = zeros.combine(zeros, 1 << doubling);
        }
        assert_eq!(zeros, Crc64::of(&vec![0; 1 << 22]));
    }

    #[test]
    fn ten_thousand_parts_are_one_object() {
        let part = Crc64::of(b"part");
        let object = (0..10_000).fold(Crc64::default(), |sum, _| sum.combine(part, 4));
        assert_eq!(object, Crc64::of(&b"part".repeat(10_000)));
    }

    #[test]
    fn headers_are_read_and_written() {
        assert_eq!(Crc64(0xAE8B_1486_0A79_9888).to_base64(), "rosUhgp5mIg=");
        assert_eq!(Crc64::from_base64("rosUhgp5mIg="), Some(Crc64(0xAE8B_1486_0A79_9888)));
        assert_eq!(crc32c_to_base64(0xE306_9283), "4waSgw==");
        assert_eq!(crc32c_from_base64("4waSgw=="), Some(0xE306_9283));
        let long = "A".repeat(1 << 20);
        for bad in ["", "rosUhgp5mIg", "rosUhgp5mIg=-2", "4waSgw==", "rosUhgp5m@g=", "ä", &long] {
            assert_eq!(Crc64::from_base64(bad), None, "{bad}");
        }
        assert_eq!(crc32c_from_base64("rosUhgp5mIg="), None);
    }
}
