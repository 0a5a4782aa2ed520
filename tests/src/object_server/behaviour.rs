//! What an embedded server does that a good one does not: faults, and quirks of real servers.
//!
//! A client that runs against only one server learns that server's habits. Each quirk here was seen in a
//! server that people use, and is named after what the client sees of it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::tearing::Tearing;

/// How a server answers; the default is like Amazon's. Can be replaced while it runs, and is the flags of
/// the program `object_server`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Behaviour {
    /// Milliseconds before each answer.
    #[arg(long, default_value_t = 0)]
    pub latency_ms: u64,
    /// Parts after the n-th are held until another behaviour is set; 0: none.
    #[arg(long, default_value_t = 0)]
    pub hold_parts_after: u64,
    /// Every n-th request is answered with 503 SlowDown; 0: none.
    #[arg(long, default_value_t = 0)]
    pub refuse_every: u64,
    /// More requests than these at once are answered with 503 SlowDown; 0: none.
    #[arg(long, default_value_t = 0)]
    pub bears: u64,
    /// The body of every n-th GetObject ends early, and so does the connection; 0: none.
    #[arg(long, default_value_t = 0)]
    pub cut_every: u64,
    /// After so many bytes.
    #[arg(long, default_value_t = 0)]
    pub cut_after_bytes: u64,
    /// A byte of the body of every n-th GetObject is not what it was; 0: none.
    #[arg(long, default_value_t = 0)]
    pub spoil_gets_every: u64,
    /// A byte of every n-th body that is stored is not what was sent; 0: none.
    #[arg(long, default_value_t = 0)]
    pub spoil_puts_every: u64,
    /// Keys and common prefixes of a page of a list, at most; 0: 1000.
    #[arg(long, default_value_t = 0)]
    pub page_keys: usize,
    /// The order of lists.
    #[arg(long, value_enum, default_value_t)]
    pub order: Order,
    /// Decides the order of unordered lists.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Habits of real servers.
    #[arg(long = "quirk", value_enum)]
    pub quirks: Vec<Quirk>,
    /// Answers that are not whole.
    #[arg(skip)]
    pub tearing: Option<Tearing>,
}

impl Behaviour {
    /// Like the default, but for these quirks.
    pub fn with_quirks(quirks: &[Quirk]) -> Self {
        Self { quirks: quirks.to_vec(), ..Self::default() }
    }

    /// Whether the n-th part is held.
    pub fn holds(&self, part: u64) -> bool {
        self.hold_parts_after > 0 && part > self.hold_parts_after
    }

    /// Like the default, but for answers that are torn.
    pub fn with_tearing(tearing: Tearing) -> Self {
        Self { tearing: Some(tearing), ..Self::default() }
    }

    /// Keys and common prefixes of a page, at most.
    pub fn page_keys_max(&self) -> usize {
        if self.page_keys == 0 { usize::MAX } else { self.page_keys }
    }

    /// Whether it has this quirk.
    pub fn has(&self, quirk: Quirk) -> bool {
        self.quirks.contains(&quirk)
    }

    /// All its quirks, once each.
    pub fn quirks(&self) -> BTreeSet<Quirk> {
        self.quirks.iter().copied().collect()
    }
}

/// How far a fast clock is ahead: less than what makes signatures void.
pub const FAST_CLOCK_AHEAD: Duration = Duration::from_mins(10);

/// In which order a server lists keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Order {
    /// By the bytes of the key, as S3 promises: `a-b` before `a/b`.
    #[default]
    Bytes,
    /// By the names in the key, as a server on a file system does: all of `a/` before `a-b`.
    Directories,
    /// None, as in S3's directory buckets; such a list cannot begin after a key.
    Unordered,
}

/// A habit of a real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Quirk {
    /// A list that begins after `d` leaves out all of `d/`.
    StartAfterSkipsSubtree,
    /// Checksums are neither verified nor kept nor returned.
    NoChecksums,
    /// Requests that name a checksum are refused with 501 NotImplemented.
    RefusesChecksums,
    /// Parts may be smaller than 5 MiB.
    SmallParts,
    /// Bodies with checksums in trailers are refused with XAmzContentSHA256Mismatch.
    NoTrailers,
    /// A copy without Content-Length is refused with 411.
    CopyNeedsLength,
    /// Whoever asks for too much is told so with 429 TooManyRequests instead of 503.
    TooManyRequests,
    /// If-Match and If-None-Match of writes are ignored.
    NoConditionalWrites,
    /// User metadata that was sent in encoded words (RFC 2047) comes back as bytes of Latin-1, or of UTF-8 where that
    /// has not all of its characters.
    RawMetadata,
    /// Tags may be given to objects, but not read.
    HidesTags,
    /// Its clock is ten minutes ahead.
    FastClock,
    /// Only the first version of lists is known: what the second one adds is passed over.
    ListsByMarker,
    /// The first page of each list has no key, and says that there is more.
    EmptyPages,
    /// Where a list should go on behind its second page, it begins again.
    TokensInACircle,
    /// Common prefixes are not encoded, though the answer says so.
    PlainPrefixes,
    /// Lists are refused with 403 AccessDenied.
    DeniesLists,
    /// All that reads is refused with 403 AccessDenied.
    DeniesReads,
    /// Who does not send what AWS's own client sends with each request is refused with 403 AccessDenied.
    OwnClientOnly,
    /// The number of a part that is asked for is ignored: the answer is about all of the object.
    IgnoresPartNumbers,
    /// Range is ignored: the answer has all of the object.
    IgnoresRanges,
    /// The answer has as many bytes as were asked for, but from elsewhere, and says so in Content-Range.
    OtherRanges,
    /// ETags are weak ones, which never fulfil a condition.
    WeakEtags,
    /// ETags look like MD5s and are none.
    OpaqueEtags,
    /// Objects are encrypted with keys of AWS KMS: they say so, and their ETags are no MD5s.
    KmsKeys,
}
