//! How content is moved: what the operator wants, and what that means for one file.

use serde::{Deserialize, Serialize};

use crate::entry::Metadata;
use crate::lustre::stripe_policy::StripePolicy;

/// What the operator wants of moving content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Transfer {
    /// What becomes of holes.
    pub sparse: Sparse,
    /// Whether files share content with the source.
    pub reflink: Reflink,
    /// What reading does to files' times of access.
    pub atime: Atime,
    /// When the target is on storage.
    pub durable: Durable,
    /// Whether content goes through the system's cache.
    pub caching: Caching,
    /// Where the new content of a file is written that is there already.
    pub rewriting: Rewriting,
    /// Which layouts new files get on Lustre; `None` where the operator leaves that to us.
    pub stripe: Option<StripePolicy>,
    /// What is summed up on its way.
    pub sums: Sums,
}

/// Whether files share content with the source, where both are in one file system that can do that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Reflink {
    /// Where that is possible.
    #[default]
    Auto,
    /// What cannot is an error.
    Always,
    /// None does.
    Never,
}

/// What reading does to a file's time of access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Atime {
    /// What the file system makes of it.
    #[default]
    Set,
    /// Nothing, where the system allows that.
    Kept,
}

/// When what was written is on storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Durable {
    /// When the system has got round to it.
    #[default]
    Later,
    /// As far as a journal says: large files before they get their names, others many at a time.
    Journaled,
    /// A file before it gets its name, the rest before the job ends.
    Now,
}

/// What becomes of holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Sparse {
    /// Holes of the source stay holes.
    #[default]
    Auto,
    /// Blocks of zeros become holes, too.
    Always,
    /// Every byte is written.
    Never,
}

/// What becomes of the holes of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Holes {
    /// There are none, or they are filled.
    None,
    /// They stay holes.
    Kept,
    /// They stay holes, and blocks of zeros become some.
    Made,
}

/// Whether the kernel may move content from file to file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum InKernel {
    /// It may, and the two may share it.
    Allowed,
    /// Content is read and written.
    Forbidden,
}

/// What is summed up on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Sums {
    /// What the source keeps a checksum of.
    #[default]
    AsKept,
    /// Everything, so it must be read here.
    All,
}

/// How the content of one file is moved, by whatever rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manner {
    /// What becomes of holes.
    pub holes: Holes,
    /// Whether the kernel may do it: nobody knows what it makes of holes and zeros.
    pub in_kernel: InKernel,
    /// What is summed up.
    pub sums: Sums,
    /// Each part of that size of what is read gets an MD5, so it is read here.
    pub part_bytes: Option<u64>,
}

/// Whether content goes through the system's cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Caching {
    /// It does.
    #[default]
    Through,
    /// It goes past it, as far as the file system and alignment allow.
    Past,
}

/// Where the new content of a file is written that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Rewriting {
    /// Into a new file, which takes its place when it is complete.
    #[default]
    Beside,
    /// Into the file itself, all of whose names show the new content.
    InPlace,
}

impl Manner {
    /// Whatever is fastest, all bytes.
    pub const PLAIN: Self = Self {
        holes: Holes::None,
        in_kernel: InKernel::Allowed,
        sums: Sums::AsKept,
        part_bytes: None,
    };

    /// The same, with checksums of everything.
    #[must_use]
    pub fn summed(self) -> Self {
        Self { in_kernel: InKernel::Forbidden, sums: Sums::All, ..self }
    }
}

impl Transfer {
    /// Whether files are to share content with the source: then holes are those of the source.
    pub fn sharing(&self) -> Reflink {
        match (self.reflink, self.sums) {
            _ if self.sparse != Sparse::Auto => Reflink::Never,
            // What is not read cannot be summed up.
            (Reflink::Auto, Sums::All) => Reflink::Never,
            (wish, _) => wish,
        }
    }

    /// Why these wishes cannot be met together.
    ///
    /// # Errors
    /// One line.
    pub fn check(&self) -> Result<(), String> {
        if self.reflink == Reflink::Always && self.sharing() != Reflink::Always {
            return Err("files that share content share its holes; \
                        use --reflink always with --sparse auto only"
                .to_owned());
        }
        Ok(())
    }

    /// How a file of these attributes is moved. One that takes as much room as it has bytes has no holes
    /// worth looking for, which saves two calls for each file.
    pub fn manner(&self, metadata: &Metadata) -> Manner {
        let has_holes = metadata.allocated_bytes < metadata.size_bytes;
        // The kernel may let files share content where it is to copy it, and copies through its cache.
        let in_kernel = match (self.reflink, self.caching) {
            (Reflink::Auto | Reflink::Always, Caching::Through) => InKernel::Allowed,
            (Reflink::Never, _) | (_, Caching::Past) => InKernel::Forbidden,
        };
        let (holes, in_kernel) = match self.sparse {
            Sparse::Auto if has_holes => (Holes::Kept, in_kernel),
            Sparse::Auto => (Holes::None, in_kernel),
            Sparse::Always => (Holes::Made, InKernel::Forbidden),
            Sparse::Never => (Holes::None, InKernel::Forbidden),
        };
        let manner = Manner { holes, in_kernel, ..Manner::PLAIN };
        if self.sums == Sums::All { manner.summed() } else { manner }
    }
}
