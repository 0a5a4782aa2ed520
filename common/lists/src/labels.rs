//! Labels of the parts of a Parquet list: keys and values in their footers.

/// Format version of the list: a reader refuses others.
pub const VERSION: &str = "1";

/// Keys of the labels.
#[cfg_attr(not(feature = "parquet"), allow(dead_code, reason = "only a few stand in other lists"))]
pub(super) mod key {
    pub const VERSION: &str = "dwalk.version";
    /// ID that all parts of one list share, and no other list has.
    pub const LIST: &str = "dwalk.list";
    pub const PART: &str = "dwalk.part";
    pub const PARTS: &str = "dwalk.parts";
    /// XXH64 of each row group, in hexadecimal digits, separated by commas.
    pub const CHECKSUMS: &str = "dwalk.checksums";
    /// The key that a list is sorted by; absent from an unsorted one.
    pub const SORTED: &str = "dwalk.sorted";
    /// The number of entries that the rank which wrote the part could not read; absent where it
    /// read all.
    pub const FAILED: &str = "dwalk.failed";
    /// The number of roots that were walked: each path is once in the list where that is 1.
    pub const ROOTS: &str = "dwalk.roots";
}

/// Labels of one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartOf {
    /// Directory of the list.
    pub list: Vec<u8>,
    /// Random ID that all parts of the list share.
    pub id: String,
    /// Number of this part.
    pub part: u32,
    /// Number of parts of the list.
    pub parts: u32,
    /// Key that the list is sorted by; `None` for an unsorted one.
    pub sorted: Option<String>,
    /// Number of roots whose entries the list has; `None` where it is not known.
    pub roots: Option<u32>,
}
