//! Which entries of a walk take part.

use serde::{Deserialize, Serialize};

use crate::base::error::Error;
use crate::base::path::{self, Name};
use crate::model::entry::{Hint, Kind, Metadata};
use crate::model::filter::{Filter, FilterOptions};
use crate::store::Dir;
use crate::walk::place::Place;

/// What the operator wants of it; rank 0's options hold for all ranks.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SelectionOptions {
    /// By path, size and age.
    pub filter: FilterOptions,
    /// Directories on other file systems than their root are not entered.
    pub one_file_system: bool,
}

/// The same, ready for use on one rank.
#[derive(Debug)]
pub struct Selection {
    filter: Filter,
    one_file_system: bool,
}

impl Selection {
    /// # Errors
    /// One line: a pattern that is none.
    pub fn new(options: &SelectionOptions) -> Result<Self, String> {
        let filter = Filter::new(&options.filter)?;
        Ok(Self { filter, one_file_system: options.one_file_system })
    }

    /// Everything takes part.
    pub fn all() -> Self {
        Self::new(&SelectionOptions::default()).expect("no pattern is a wrong one")
    }

    /// Whether a name of a directory takes part; whether it is a directory is looked up only where a
    /// filter asks for it and the listing does not say.
    pub fn admits_name(&self, place: &Place, dir: &dyn Dir, name: &Name, hint: Hint) -> bool {
        if self.filter.is_trivial() {
            return true;
        }
        let is_directory = match hint {
            Hint::Directory => true,
            Hint::Unknown => dir.stat(name).is_ok_and(|it| it.kind == Kind::Directory),
            Hint::File | Hint::Symlink | Hint::Other => false,
        };
        let below = path::join(place.path().as_bytes(), name.to_bytes());
        self.filter.admits_path(&below, is_directory)
    }

    /// Whether an entry takes part, by what it is.
    pub fn admits(&self, metadata: &Metadata) -> bool {
        self.filter.admits(metadata)
    }

    /// Whether entries must be looked at to know whether they take part.
    pub fn needs_metadata(&self) -> bool {
        self.filter.needs_metadata()
    }

    /// Whether a directory is on another file system than its root, and so not entered.
    pub fn stops_at(&self, directory: &Metadata, root_device: Result<u64, Error>) -> bool {
        self.one_file_system && root_device.is_ok_and(|device| device != directory.device)
    }
}
