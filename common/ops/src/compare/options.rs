//! What the operator wants of a comparison.

use serde::{Deserialize, Serialize};

use crate::walk::list::harvest::Listing;
use types::attributes::keep::{XattrChoice, XattrFilter};
use types::listed::line::LineFormat;
use types::outcome::difference::Fields;
use types::select::expression::Expression;

/// What shows that two files have the same content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Evidence {
    /// A checksum that a store keeps of a whole file, where there is one; every byte otherwise.
    Checksums,
    /// Every byte, read on both sides.
    Bytes,
}

/// Options of a comparison; rank 0's hold for all ranks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompareOptions {
    /// Fields in which a difference counts.
    pub counted: Fields,
    /// Extended attributes in which a difference counts, where any does.
    pub xattrs: XattrChoice,
    /// Size and time of change stand for the content.
    pub lite: bool,
    /// What shows that content is the same.
    pub evidence: Evidence,
    /// Which names are names of one file is compared, too.
    pub hard_links: bool,
    /// What only the target has does not count.
    pub one_way: bool,
    /// What takes part by its size and time is what does so in the source; else a name takes part where it does on
    /// either side.
    pub chosen_by_source: bool,
    /// Content is read from the storage: what is cached of it is dropped first.
    pub bypass_cache: bool,
    /// Files larger than this are cut into chunks of this size.
    pub chunk_bytes: u64,
    /// Bytes read at once from each of the two files, for each thread.
    pub buffer_bytes: u64,
    /// How the one stream is written that has a line for each entry, if it is wanted.
    pub combined: Option<LineFormat>,
    /// How entries that differ are told of, one by one; not at all where this is `None`.
    pub tell: Option<LineFormat>,
    /// Which entries go to which list, and how that is written.
    pub outputs: Vec<(Expression, Listing)>,
}

/// In these fields a copy with all attributes equals its source. Times of access and of change of
/// attributes never do.
pub const COUNTED_BY_DEFAULT: [Fields; 10] = [
    Fields::TYPE,
    Fields::SIZE,
    Fields::UID,
    Fields::GID,
    Fields::MTIME,
    Fields::PERM,
    Fields::ACL,
    Fields::XATTR,
    Fields::LINK,
    Fields::CONTENT,
];

impl CompareOptions {
    /// All that must be looked at.
    pub fn compared(&self) -> Fields {
        let needed = self.outputs.iter().map(|(expression, _)| expression.needs());
        let mut compared = needed.fold(self.counted.union(Fields::TYPE), Fields::union);
        if compared.contains(Fields::CONTENT) {
            // They tell of other content, whether they count themselves or not.
            compared = compared.union(Fields::SIZE).union(Fields::LINK);
            compared.insert(if self.lite { Fields::MTIME } else { Fields::NONE });
        }
        compared
    }

    /// Extended attributes that must be looked at.
    pub fn xattr_filter(&self) -> XattrFilter {
        let compared = self.compared();
        let is_compared = compared.contains(Fields::XATTR);
        let others = if is_compared { self.xattrs } else { XattrChoice::None };
        XattrFilter { acls: compared.contains(Fields::ACL), others }
    }

    /// Whether the bytes of files must be looked at.
    pub fn compares_content(&self) -> bool {
        self.compared().contains(Fields::CONTENT) && !self.lite
    }
}
