//! A new file that does not have its own name yet.

use types::content::chunk::Extent;
use types::entry::{Attributes, Kept, Metadata};
use types::error::{Op, Result};
use types::lustre::layout::Striping;

use crate::seam_trait::seam_trait;
use crate::{Receipt, SourceFile};

/// The remains of a staged file that is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Remains {
    /// Nothing that another job could use.
    #[default]
    Nothing,
    /// A file that another job takes over by its ticket ([`Dir::resume_staged`](crate::Dir::resume_staged)).
    File,
    /// An upload in parts, which the store keeps until somebody completes or aborts it.
    Upload,
}

/// Abilities of a staged file, which stay as they are while it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StagedCapabilities {
    /// The remains of it when it is dropped.
    pub remains: Remains,
    /// Set where bytes that are not written read as zeros, and take no room.
    pub keeps_holes: bool,
    /// Set where content is kept. Where it would be thrown away (a dry run) it need not be read.
    pub wants_content: bool,
}

impl Default for StagedCapabilities {
    fn default() -> Self {
        Self { remains: Remains::Nothing, keeps_holes: false, wants_content: true }
    }
}

seam_trait! {
    /// A new file that is not visible under its own name yet.
    ///
    /// Dropping it leaves the staged file for others that write it too; only [`StagedFile::commit`] and
    /// [`StagedFile::abandon`] end it.
    ///
    /// Beyond the core there are: what the store knows of the file; holes; and ways in which the store moves content
    /// itself.
    pub trait StagedFile, decorated by StagedFileDecorator, in tests SpyStaged;

    required {
        /// Returns what others need to join in writing it.
        fn ticket(&self) -> Vec<u8>;

        /// Writes all of `data` at an offset.
        fn write_at(&self, data: &[u8], offset: u64) -> Result<()>;

        /// Returns how long the staged file is now, whoever wrote it; these receipts are what the others have left.
        fn size_bytes(&self, receipts: &[Receipt]) -> Result<u64>;
    }

    provided {
        // What the store knows of the file.

        /// Returns what can be done with it as long as it is open.
        fn capabilities(&self) -> StagedCapabilities {
            StagedCapabilities::default()
        }

        /// Returns how a file of that size is striped here: it is written best in pieces that fit that.
        fn striping(&self, size_bytes: u64) -> Option<Striping> {
            None
        }

        /// Returns the inode of what is staged, which it keeps as long as it is there; `None` where there is no such
        /// thing.
        fn inode(&self) -> Option<u64> {
            None
        }

        // Holes.

        /// Makes an extent read as zeros that is not written; only for a store that keeps holes.
        fn leave_hole(&self, extent: Extent) -> Result<()> {
            Err(Op::Write.errno(libc::EOPNOTSUPP))
        }

        /// Ends the file here, where a hole does; only for a store that keeps holes.
        fn end_at(&self, size_bytes: u64) -> Result<()> {
            Err(Op::Write.errno(libc::EOPNOTSUPP))
        }

        // Content that the store moves itself.

        /// Makes it share all content of a source file of these attributes, as that is now. On an error it has
        /// none, or parts of it in their places.
        fn share_all(&self, source: &dyn SourceFile, metadata: &Metadata) -> Result<()> {
            Err(Op::Clone.errno(libc::EOPNOTSUPP))
        }

        /// Lets the store move bytes from a source file itself, at most `length` from `offset` on; returns
        /// how many it moved, or `None` where it cannot: then they are read and written.
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
        /// Ends this writer's part: errors that the system kept back until now come out.
        fn close(self: Box<Self>) -> Result<Option<Receipt>>;

        /// Gives the complete file its attributes and its own name, replacing what is not a directory
        /// there. On an error the staged file is removed.
        fn commit(
            self: Box<Self>,
            attributes: &Attributes,
            receipts: Vec<Receipt>,
        ) -> Result<Kept>;

        /// Removes the staged file.
        fn abandon(self: Box<Self>) -> Result<()>;
    }
}

/// Questions that operations ask of [`StagedCapabilities`] often.
impl dyn StagedFile + '_ {
    /// Returns whether another job can take over what is left of it when it is dropped.
    pub fn is_resumable(&self) -> bool {
        self.capabilities().remains == Remains::File
    }

    /// Returns whether it is an upload in parts.
    pub fn is_upload(&self) -> bool {
        self.capabilities().remains == Remains::Upload
    }

    /// Returns whether what is not written reads as zeros, and takes no room.
    pub fn keeps_holes(&self) -> bool {
        self.capabilities().keeps_holes
    }

    /// Returns whether content is kept.
    pub fn wants_content(&self) -> bool {
        self.capabilities().wants_content
    }
}
