//! Deviations of an embedded server from a good one: faults, and quirks of real servers.
//!
//! A client that runs against only one server learns that server's habits. Each quirk here was seen
//! in a server that people use, and is named after what the client sees of it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::counts::Operation;
use super::tearing::Tearing;

/// Behaviour of a server; the default is like Amazon's. It can be replaced while the server runs,
/// and makes up the flags of the program `object_server`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Behaviour {
    /// Delay of each answer in milliseconds.
    #[arg(long, default_value_t = 0)]
    pub latency_ms: u64,
    /// Number of parts after which further ones are held until another behaviour is set; 0: none.
    #[arg(long, default_value_t = 0)]
    pub hold_parts_after: u64,
    /// Answers to CreateMultipartUpload, which was carried out, are held until another behaviour is
    /// set.
    #[arg(long)]
    pub hold_new_uploads: bool,
    /// Text in the paths of requests for objects that are held until another behaviour is set.
    #[arg(long)]
    pub hold_keys_with: Option<String>,
    /// Number of PutObject after which further ones are held, as parts are; 0: none.
    #[arg(long, default_value_t = 0)]
    pub hold_puts_after: u64,
    /// Number of GetObject after which further ones are held, as parts are; 0: none.
    #[arg(long, default_value_t = 0)]
    pub hold_gets_after: u64,
    /// Interval at which requests are answered with 503 SlowDown: every n-th; 0: none.
    #[arg(long, default_value_t = 0)]
    pub refuse_every: u64,
    /// Number of concurrent requests above which they are answered with 503 SlowDown; 0: unlimited.
    #[arg(long, default_value_t = 0)]
    pub bears: u64,
    /// Interval at which the body of GetObject ends early, with its connection: every n-th; 0:
    /// none.
    #[arg(long, default_value_t = 0)]
    pub cut_every: u64,
    /// Number of bytes after which such a body ends.
    #[arg(long, default_value_t = 0)]
    pub cut_after_bytes: u64,
    /// Interval at which a byte of the body of GetObject is changed: every n-th; 0: none.
    #[arg(long, default_value_t = 0)]
    pub spoil_gets_every: u64,
    /// Interval at which a byte of a stored body is changed: every n-th; 0: none.
    #[arg(long, default_value_t = 0)]
    pub spoil_puts_every: u64,
    /// Largest number of keys and common prefixes on a page of a list; 0: 1000.
    #[arg(long, default_value_t = 0)]
    pub page_keys: usize,
    /// Number of the one list that is refused with 403 AccessDenied; 0: none.
    #[arg(long, default_value_t = 0)]
    pub deny_list: u64,
    /// Order of lists.
    #[arg(long, value_enum, default_value_t)]
    pub order: Order,
    /// Seed of the order of unordered lists.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Quirks of real servers.
    #[arg(long = "quirk", value_enum)]
    pub quirks: Vec<Quirk>,
    /// Answers that are not complete.
    #[arg(skip)]
    pub tearing: Option<Tearing>,
}

impl Behaviour {
    /// Returns the default behaviour with these quirks.
    pub fn with_quirks(quirks: &[Quirk]) -> Self {
        Self { quirks: quirks.to_vec(), ..Self::default() }
    }

    /// Returns true where the n-th request of that kind is held.
    pub fn holds(&self, operation: Operation, of_its_kind: u64) -> bool {
        let after = match operation {
            Operation::UploadPart => self.hold_parts_after,
            Operation::PutObject => self.hold_puts_after,
            Operation::GetObject => self.hold_gets_after,
            _ => 0,
        };
        after > 0 && of_its_kind > after
    }

    /// Returns true where requests for the object of that path are held.
    pub fn holds_key(&self, path: &str) -> bool {
        self.hold_keys_with.as_ref().is_some_and(|text| path.contains(text))
    }

    /// Returns the default behaviour with answers that are torn.
    pub fn with_tearing(tearing: Tearing) -> Self {
        Self { tearing: Some(tearing), ..Self::default() }
    }

    /// Returns the largest number of keys and common prefixes on a page.
    pub fn page_keys_max(&self) -> usize {
        if self.page_keys == 0 { usize::MAX } else { self.page_keys }
    }

    /// Returns true where the server has this quirk.
    pub fn has(&self, quirk: Quirk) -> bool {
        self.quirks.contains(&quirk)
    }

    /// Returns all quirks, once each.
    pub fn quirks(&self) -> BTreeSet<Quirk> {
        self.quirks.iter().copied().collect()
    }
}

/// Lead of a fast clock: less than makes signatures void.
pub const FAST_CLOCK_AHEAD: Duration = Duration::from_mins(10);

/// Order in which a server lists keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Order {
    /// Byte order of the keys, as S3 promises: `a-b` before `a/b`.
    #[default]
    Bytes,
    /// Order of the names in the keys, as on a server on a file system: all of `a/` before `a-b`.
    Directories,
    /// No order, as in S3's directory buckets; such a list cannot begin after a key.
    Unordered,
}

/// Quirk of a real server.
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
    /// Throttled requests are answered with 429 TooManyRequests instead of 503.
    TooManyRequests,
    /// Conditions of writes (If-Match and If-None-Match) are ignored.
    NoConditionalWrites,
    /// User metadata that was sent in encoded words (RFC 2047) comes back as bytes of Latin-1, or
    /// of UTF-8 where that has not all of its characters.
    RawMetadata,
    /// Tags may be given to objects, but not read.
    HidesTags,
    /// The server's clock is ten minutes ahead.
    FastClock,
    /// Lists of the second version are not known: its parameters are ignored.
    ListsByMarker,
    /// The first page of each list has no key, and says that there is more.
    EmptyPages,
    /// A list that should continue after its second page begins again.
    TokensInACircle,
    /// A list with a delimiter has the prefix itself as a key where no key begins with it: the
    /// directory in which the service kept objects (SeaweedFS).
    ListsEmptyDirectories,
    /// Common prefixes are not encoded, though the answer says so.
    PlainPrefixes,
    /// Lists are refused with 403 AccessDenied.
    DeniesLists,
    /// Requests that read are refused with 403 AccessDenied.
    DeniesReads,
    /// Requests without the parameters of AWS's own client are refused with 403 AccessDenied.
    OwnClientOnly,
    /// Part numbers in requests are ignored: the answer is about the whole object.
    IgnoresPartNumbers,
    /// Ranges in requests are ignored: the answer has the whole object.
    IgnoresRanges,
    /// Ranges are answered with as many bytes from elsewhere, as Content-Range says.
    OtherRanges,
    /// ETags are weak ones, which never fulfil a condition.
    WeakEtags,
    /// ETags look like MD5s and are none.
    OpaqueEtags,
    /// DeleteObjects is refused with 501 NotImplemented.
    NoDeleteObjects,
    /// Keys with `locked` in them are not deleted: DeleteObject answers AccessDenied, and
    /// DeleteObjects does so for those keys alone.
    LocksKeys,
    /// DeleteObjects fails with InternalError for each key with `busy` in it; DeleteObject deletes
    /// it.
    BusyKeys,
    /// Objects are encrypted with keys of AWS KMS: they say so, and their ETags are no MD5s.
    KmsKeys,
}
