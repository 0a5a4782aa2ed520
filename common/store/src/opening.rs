//! The way in which a tree is opened: for which purpose, and what becomes of symbolic links below it.

use types::attributes::keep::XattrFilter;
use types::content::transfer::Transfer;

/// The treatment of symbolic links below the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Symlinks {
    /// Links are entries of their own.
    Keep,
    /// The entry that a link points to stands in its place, wherever it is.
    Follow,
}

/// The purpose for which a tree is opened, which decides the rights that are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Its directories are listed: the right to read them is needed.
    Listing,
    /// Entries are reached through its directories: the right to search them is enough.
    Passage,
}

/// The way in which a tree is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenAs {
    /// The treatment of links below the root.
    pub symlinks: Symlinks,
    /// The purpose of the root itself.
    pub need: Need,
    /// The purpose of the directories below it.
    pub below: Need,
    /// Set where other ranks make directories here, which this node may see a little later: what is not
    /// there yet, be it the root, is waited for.
    pub is_growing: bool,
    /// The way in which files are read and written.
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
