//! A new file that does not have its final name yet.

use types::content::chunk::Extent;
use types::entry::{Attributes, Metadata, Preserved};
use types::error::{Op, Result};
use types::lustre::layout::Striping;

use crate::seam_trait::seam_trait;
use crate::{Receipt, SourceFile};

/// Remains of a staged file that is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Remains {
    /// Remains that no other job can use.
    #[default]
    Nothing,
    /// A file that another job takes over by its ticket
    /// ([`Dir::resume_staged`](crate::Dir::resume_staged)).
    File,
    /// A multipart upload, which the store keeps until it is completed or aborted.
    Upload,
}

/// Capabilities of a staged file, which do not change while it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StagedCapabilities {
    /// Remains of the file when it is dropped.
    pub remains: Remains,
    /// True if bytes that are not written read as zeros, and take no space.
    pub keeps_holes: bool,
    /// True if content is kept. Content that would be discarded (in a dry run) need not be read.
    pub wants_content: bool,
}

impl Default for StagedCapabilities {
    fn default() -> Self {
        Self { remains: Remains::Nothing, keeps_holes: false, wants_content: true }
    }
}

seam_trait! {
    /// A new file that is not visible under its final name yet.
    ///
    /// Dropping it leaves the staged file for other ranks that write it too; only
    /// [`StagedFile::commit`] and [`StagedFile::abandon`] end it.
    ///
    /// Provided methods are in groups: properties of the file that the store knows; completion;
    /// holes; and ways in which the store transfers content itself.
    pub trait StagedFile, decorated by StagedFileDecorator, in tests SpyStaged;

    required {
        /// Returns the ticket with which other ranks open the file for writing.
        fn ticket(&self) -> Vec<u8>;

        /// Writes all of `data` at an offset.
        fn write_at(&self, data: &[u8], offset: u64) -> Result<()>;

        /// Returns the current size of the staged file, whichever ranks wrote it; the receipts are
        /// those of the other ranks.
        fn size_bytes(&self, receipts: &[Receipt]) -> Result<u64>;
    }

    provided {
        // Properties of the file that the store knows.

        /// Returns the capabilities of the file, which do not change while it is open.
        fn capabilities(&self) -> StagedCapabilities {
            StagedCapabilities::default()
        }

        /// Returns the striping of a file of that size here: it is best written in chunks that
        /// match the striping.
        fn striping(&self, size_bytes: u64) -> Option<Striping> {
            None
        }

        /// Returns the inode of the staged file, which does not change while it exists; `None`
        /// where there are no inodes.
        fn inode(&self) -> Option<u64> {
            None
        }

        // Completion.

        /// Begins what [`StagedFile::commit`] does with these attributes, and returns whether it
        /// has begun: a store far away needs not be waited for at once. `commit` is still to be
        /// called, for the result.
        fn begin_commit(&self, attributes: &Attributes) -> bool {
            false
        }

        // Holes.

        /// Makes an extent that is not written read as zeros; only for a store that keeps holes.
        fn leave_hole(&self, extent: Extent) -> Result<()> {
            Err(Op::Write.errno(libc::EOPNOTSUPP))
        }

        /// Sets the size of a file that ends in a hole; only for a store that keeps holes.
        fn end_at(&self, size_bytes: u64) -> Result<()> {
            Err(Op::Write.errno(libc::EOPNOTSUPP))
        }

        // Content that the store transfers itself.

        /// Clones the whole current content of a source file with this metadata. After an error the
        /// file is empty, or has parts of the content at their offsets.
        fn share_all(&self, source: &dyn SourceFile, metadata: &Metadata) -> Result<()> {
            Err(Op::Clone.errno(libc::EOPNOTSUPP))
        }

        /// Lets the store transfer bytes from a source file itself, at most `length` from `offset`
        /// on; returns their number, or `None` where it cannot, so that they must be read and
        /// written.
        fn copy_from(
            &self,
            source: &dyn SourceFile,
            offset: u64,
            length: u64,
        ) -> Result<Option<u64>> {
            Ok(None)
        }
    }

    ending through into_inner {
        /// Ends the part of this writer, and returns errors that the system has delayed until now.
        fn close(self: Box<Self>) -> Result<Option<Receipt>>;

        /// Sets the attributes of the complete file and renames it to its final name, replacing any
        /// entry but a directory there. On an error the staged file is removed.
        fn commit(
            self: Box<Self>,
            attributes: &Attributes,
            receipts: Vec<Receipt>,
        ) -> Result<Preserved>;

        /// Removes the staged file.
        fn abandon(self: Box<Self>) -> Result<()>;
    }
}

/// Shortcuts to [`StagedCapabilities`].
impl dyn StagedFile + '_ {
    /// Returns whether another job can take over the file after it is dropped.
    pub fn is_resumable(&self) -> bool {
        self.capabilities().remains == Remains::File
    }

    /// Returns whether the file is a multipart upload.
    pub fn is_upload(&self) -> bool {
        self.capabilities().remains == Remains::Upload
    }

    /// Returns whether bytes that are not written read as zeros, and take no space.
    pub fn keeps_holes(&self) -> bool {
        self.capabilities().keeps_holes
    }

    /// Returns whether content is kept.
    pub fn wants_content(&self) -> bool {
        self.capabilities().wants_content
    }
}
