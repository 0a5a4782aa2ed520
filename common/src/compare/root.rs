//! The two trees of a comparison, open on one rank.

use std::ffi::CString;

use crate::base::error::{Failure, Side};
use crate::model::entry::Kind;
use crate::model::placement::Given;
use crate::store::Store;
use crate::store::posix::{Need, OpenAs, Symlinks};
use crate::store::sites::Sites;
use crate::walk::account;

/// Two trees, or two single entries in their directories.
pub struct CompareRoot {
    /// What should be.
    pub source: Box<dyn Store>,
    /// What is.
    pub target: Box<dyn Store>,
    /// The names of two single entries.
    pub single: Option<(CString, CString)>,
    shown_source: Vec<u8>,
    shown_target: Vec<u8>,
}

/// Why two paths cannot be compared.
pub enum Unfit {
    /// One of them cannot be opened.
    Failure(Failure),
    /// The command makes no sense.
    Refusal(String),
}

impl From<Failure> for Unfit {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl CompareRoot {
    /// Two trees that are open already.
    pub fn of_stores(source: Box<dyn Store>, target: Box<dyn Store>) -> Self {
        let (shown_source, shown_target) = (b"source".to_vec(), b"target".to_vec());
        Self { source, target, single: None, shown_source, shown_target }
    }

    /// Opens what the operator named: two directories, also through links, or two other entries.
    pub fn open(sites: &Sites, source: &[u8], target: &[u8]) -> Result<Self, Unfit> {
        let is_tree = |path: &[u8], side| match sites.look(side, path, Symlinks::Follow) {
            Ok(metadata) => Ok(metadata.kind == Kind::Directory),
            // A link that leads nowhere is an entry all the same.
            Err(error) => match sites.look(side, path, Symlinks::Keep) {
                Ok(_) => Ok(false),
                Err(_) => Err(account::failure(side, path, b"", error)),
            },
        };
        match (is_tree(source, Side::Source)?, is_tree(target, Side::Target)?) {
            (true, true) => Ok(Self {
                source: open(sites, source, Need::Listing, Side::Source)?,
                target: open(sites, target, Need::Listing, Side::Target)?,
                single: None,
                shown_source: source.to_vec(),
                shown_target: target.to_vec(),
            }),
            (false, false) => Self::open_singles(sites, &Given::new(source), &Given::new(target)),
            _ => Err(Unfit::Refusal(
                "one of the two is a directory and the other is not; name two of a kind".to_owned(),
            )),
        }
    }

    fn open_singles(sites: &Sites, source: &Given, target: &Given) -> Result<Self, Unfit> {
        let name = |given: &Given| CString::new(given.last_name.clone().unwrap_or_default());
        let (Ok(of_source), Ok(of_target)) = (name(source), name(target)) else {
            return Err(Unfit::Refusal("a path holds a NUL".to_owned()));
        };
        let (above_source, above_target) = (source.parent(), target.parent());
        Ok(Self {
            source: open(sites, &above_source, Need::Passage, Side::Source)?,
            target: open(sites, &above_target, Need::Passage, Side::Target)?,
            single: Some((of_source, of_target)),
            shown_source: above_source,
            shown_target: above_target,
        })
    }

    /// A side as the user wrote it.
    pub fn shown(&self, side: Side) -> &[u8] {
        match side {
            Side::Source => &self.shown_source,
            Side::Target => &self.shown_target,
        }
    }
}

fn open(sites: &Sites, path: &[u8], need: Need, side: Side) -> Result<Box<dyn Store>, Failure> {
    let open_as = OpenAs { symlinks: Symlinks::Keep, need, ..OpenAs::default() };
    sites.open(side, path, open_as).map_err(|error| account::failure(side, path, b"", error))
}
