//! Options for opening a tree: its purpose, and the treatment of symbolic links below it.

use types::attributes::keep::XattrFilter;
use types::content::transfer::Transfer;

/// Treatment of symbolic links below the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Symlinks {
    /// Links are entries of their own.
    Keep,
    /// The entry that a link points to replaces it, wherever it is.
    Follow,
}

/// Purpose for which a tree is opened, which determines the permissions that are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Need {
    /// Listing of directories, which needs permission to read them.
    Listing,
    /// Access to entries through directories, for which permission to search them suffices.
    Passage,
}

/// Options for opening a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct OpenAs {
    /// Treatment of links below the root.
    pub symlinks: Symlinks,
    /// Purpose of the root itself.
    pub need: Need,
    /// Purpose of the directories below the root.
    pub below: Need,
    /// True if other ranks create directories here, which this node may see with a delay: a missing
    /// entry, even the root, is waited for.
    pub is_growing: bool,
    /// Mode in which files are read and written.
    pub transfer: Transfer,
    /// Extended attributes that are read and set.
    pub xattrs: XattrFilter,
}

impl Default for OpenAs {
    /// Opens a tree for listing, as it is, with its own links kept.
    fn default() -> Self {
        Self {
            symlinks: Symlinks::Keep,
            need: Need::Listing,
            below: Need::Listing,
            is_growing: false,
            transfer: Transfer::default(),
            xattrs: XattrFilter::default(),
        }
    }
}
