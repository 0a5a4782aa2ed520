//! What each part of a Parquet list says about itself.

/// Version of the list: a reader refuses others.
pub const VERSION: &str = "1";

/// Keys of what a part says about itself.
#[cfg_attr(not(feature = "parquet"), allow(dead_code, reason = "only a few stand in other lists"))]
pub(super) mod key {
    pub const VERSION: &str = "dwalk.version";
    /// The same in all parts of one list, and in no other list.
    pub const LIST: &str = "dwalk.list";
    pub const PART: &str = "dwalk.part";
    pub const PARTS: &str = "dwalk.parts";
    /// XXH64 of each row group, hexadecimal, divided by commas.
    pub const CHECKSUMS: &str = "dwalk.checksums";
    /// The key that a list is sorted by; absent from an unsorted one.
    pub const SORTED: &str = "dwalk.sorted";
    /// The number of entries that the rank which wrote the part could not read; absent where it read all.
    pub const FAILED: &str = "dwalk.failed";
    /// The number of roots that were walked: each path is once in the list where that is 1.
    pub const ROOTS: &str = "dwalk.roots";
}

/// Which part of which list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartOf {
    /// The list's directory.
    pub list: Vec<u8>,
    /// Something random that all its parts share.
    pub id: String,
    /// Number of this part.
    pub part: u32,
    /// How many there are.
    pub parts: u32,
    /// What it is sorted by.
    pub sorted: Option<String>,
    /// The number of roots whose entries it has; `None` where that is not known.
    pub roots: Option<u32>,
}
