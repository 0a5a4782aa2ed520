//! Ways to move content: the operator's options, and the transfer mode that follows from them for
//! one file.

use serde::{Deserialize, Serialize};

use crate::entry::Metadata;
use crate::lustre::stripe_policy::StripePolicy;

/// Options of the operator for moving content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Transfer {
    /// Treatment of holes.
    pub sparse: Sparse,
    /// Use of reflinks: copies that share the source's blocks.
    pub reflink: Reflink,
    /// Treatment of source files' access times.
    pub atime: Atime,
    /// Time at which the target is synchronised to storage (fsync).
    pub durable: Durable,
    /// Use of the page cache.
    pub caching: Caching,
    /// Place of the new content of a file that exists already.
    pub rewriting: Rewriting,
    /// Policy for the Lustre layouts of new files; `None` where the operator has not set one.
    pub stripe: Option<StripePolicy>,
    /// Content that is checksummed while it is moved.
    pub sums: Sums,
}

/// Use of reflinks, where source and target are in one file system that has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Reflink {
    /// Clones where that is possible, and copies otherwise.
    #[default]
    Auto,
    /// Clones, and fails a file that cannot be cloned.
    Always,
    /// Copies all files, and clones none.
    Never,
}

/// Treatment of a source file's access time when it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Atime {
    /// Lets the file system update it.
    #[default]
    Set,
    /// Leaves it as it is (`O_NOATIME`), where the system allows that.
    Preserved,
}

/// Time at which written data is synchronised to storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Durable {
    /// Leaves it to the kernel's writeback.
    #[default]
    Later,
    /// Synchronises as much as a journal needs: large files before they are renamed to their final
    /// names, others many at a time.
    Journaled,
    /// Synchronises each file before it is renamed to its final name, and the rest before the job
    /// ends.
    Now,
}

/// Treatment of holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Sparse {
    /// Preserves holes of the source.
    #[default]
    Auto,
    /// Preserves holes of the source, and makes holes of blocks of zeros.
    Always,
    /// Writes every byte.
    Never,
}

/// Treatment of the holes of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Holes {
    /// Writes every byte: the file has no holes, or they are filled.
    None,
    /// Preserves the file's holes.
    Preserved,
    /// Preserves the file's holes, and makes holes of blocks of zeros.
    Made,
}

/// Permission to let the kernel move content from file to file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum InKernel {
    /// Lets the kernel copy, and share blocks between the two files.
    Allowed,
    /// Reads and writes all content in this process.
    Forbidden,
}

/// Content that is checksummed while it is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Sums {
    /// Checksums content of which the source stores a checksum.
    #[default]
    AsKept,
    /// Checksums all content, which must therefore be read in this process.
    All,
}

/// Transfer mode of one file, which any rank that moves a part of it follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferMode {
    /// Treatment of the file's holes.
    pub holes: Holes,
    /// Permission to let the kernel copy. It is refused where holes or zeros matter, since the
    /// kernel does not tell how it treats them.
    pub in_kernel: InKernel,
    /// Content that is checksummed.
    pub sums: Sums,
    /// Size in bytes of the parts of which the content that is read gets an MD5 each; it must be
    /// read in this process then.
    pub part_bytes: Option<u64>,
}

/// Use of the page cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Caching {
    /// Reads and writes through the page cache.
    #[default]
    Through,
    /// Bypasses the page cache (`O_DIRECT`), as far as the file system and alignment allow.
    Past,
}

/// Place of the new content of a file that exists already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Rewriting {
    /// Writes into a new file, which replaces the old one when it is complete.
    #[default]
    Beside,
    /// Writes into the file itself (`--inplace`), unless it has several hard links.
    InPlace,
}

impl TransferMode {
    /// Fastest mode: writes all bytes, and lets the kernel copy.
    pub const PLAIN: Self = Self {
        holes: Holes::None,
        in_kernel: InKernel::Allowed,
        sums: Sums::AsKept,
        part_bytes: None,
    };

    /// Returns this mode with checksums of all content.
    #[must_use]
    pub fn summed(self) -> Self {
        Self { in_kernel: InKernel::Forbidden, sums: Sums::All, ..self }
    }
}

/// Error of options that contradict each other: a clone has the holes of its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("reflinked files share their holes, too; use --reflink always only with --sparse auto")]
pub struct ReflinkWithoutHoles;

impl Transfer {
    /// Returns whether files are cloned. A clone has the holes of its source, so other treatments
    /// of holes exclude it.
    pub fn sharing(&self) -> Reflink {
        match (self.reflink, self.sums) {
            _ if self.sparse != Sparse::Auto => Reflink::Never,
            // Content that is not read cannot be checksummed.
            (Reflink::Auto, Sums::All) => Reflink::Never,
            (requested, _) => requested,
        }
    }

    /// Checks that the options do not contradict each other.
    ///
    /// # Errors
    /// Fails for files that are to share their blocks and not their holes.
    pub fn check(&self) -> Result<(), ReflinkWithoutHoles> {
        if self.reflink == Reflink::Always && self.sharing() != Reflink::Always {
            return Err(ReflinkWithoutHoles);
        }
        Ok(())
    }

    /// Returns the transfer mode of a file with these attributes. A file that occupies as many
    /// bytes as it is long has no holes worth searching for, which saves two system calls for each
    /// file.
    pub fn transfer_mode(&self, metadata: &Metadata) -> TransferMode {
        let has_holes = metadata.allocated_bytes < metadata.size_bytes;
        // The kernel may clone when it is told to copy, and it copies through the page cache.
        let in_kernel = match (self.reflink, self.caching) {
            (Reflink::Auto | Reflink::Always, Caching::Through) => InKernel::Allowed,
            (Reflink::Never, _) | (_, Caching::Past) => InKernel::Forbidden,
        };
        let (holes, in_kernel) = match self.sparse {
            Sparse::Auto if has_holes => (Holes::Preserved, in_kernel),
            Sparse::Auto => (Holes::None, in_kernel),
            Sparse::Always => (Holes::Made, InKernel::Forbidden),
            Sparse::Never => (Holes::None, InKernel::Forbidden),
        };
        let transfer_mode = TransferMode { holes, in_kernel, ..TransferMode::PLAIN };
        if self.sums == Sums::All { transfer_mode.summed() } else { transfer_mode }
    }
}
