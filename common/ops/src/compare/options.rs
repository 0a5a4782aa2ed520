//! Options of a comparison.

use serde::{Deserialize, Serialize};

use crate::walk::list::collector::Listing;
use types::attributes::keep::{XattrChoice, XattrFilter};
use types::content::transfer::Atime;
use types::listed::line::LineFormat;
use types::outcome::difference::Fields;
use types::select::expression::Expression;

/// The evidence that two files have the same content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Evidence {
    /// A checksum of the whole file in a store, where there is one; otherwise every byte.
    Checksums,
    /// Every byte, read on both sides.
    Bytes,
}

/// Options of a comparison; those of rank 0 apply on all ranks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompareOptions {
    /// The fields in which a difference counts.
    pub counted: Fields,
    /// The extended attributes in which a difference counts.
    pub xattrs: XattrChoice,
    /// True if equal size and modification time count as equal content.
    pub lite: bool,
    /// The evidence for equal content.
    pub evidence: Evidence,
    /// True if hard links are compared too.
    pub hard_links: bool,
    /// True if extraneous entries of the target do not count.
    pub one_way: bool,
    /// True if directories without content count on neither side.
    pub prune_empty_dirs: bool,
    /// True if filters by metadata apply to the source alone; otherwise an entry that is
    /// selected on either side is compared.
    pub chosen_by_source: bool,
    /// True if content is read from the storage, after dropping its cached pages.
    pub bypass_cache: bool,
    /// Treatment of access times when content is read.
    pub atime: Atime,
    /// The size in bytes above which files are compared in chunks, which is also the size of a
    /// chunk.
    pub chunk_bytes: u64,
    /// The number of bytes read at once from each of the two files, in each thread.
    pub buffer_bytes: u64,
    /// The format of the stream with a line for every entry, if it is requested.
    pub combined: Option<LineFormat>,
    /// The format of the lines about entries that differ; `None` where they are not reported one by
    /// one.
    pub tell: Option<LineFormat>,
    /// The expressions that select entries for lists, each with the format of its list.
    pub outputs: Vec<(Expression, Listing)>,
}

/// The fields in which a copy with all attributes equals its source. Access times and status change
/// times never do.
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
    /// Returns all fields that must be compared.
    pub fn compared(&self) -> Fields {
        let needed = self.outputs.iter().map(|(expression, _)| expression.needs());
        let mut compared = needed.fold(self.counted.union(Fields::TYPE), Fields::union);
        if compared.contains(Fields::CONTENT) {
            // A difference in size or link destination implies different content, whether these
            // fields count or not.
            compared = compared.union(Fields::SIZE).union(Fields::LINK);
            compared.insert(if self.lite { Fields::MTIME } else { Fields::NONE });
        }
        compared
    }

    /// Returns the extended attributes that must be compared.
    pub fn xattr_filter(&self) -> XattrFilter {
        let compared = self.compared();
        let is_compared = compared.contains(Fields::XATTR);
        let others = if is_compared { self.xattrs } else { XattrChoice::None };
        XattrFilter { acls: compared.contains(Fields::ACL), others }
    }

    /// Returns whether the bytes of files must be compared.
    pub fn compares_content(&self) -> bool {
        self.compared().contains(Fields::CONTENT) && !self.lite
    }
}
