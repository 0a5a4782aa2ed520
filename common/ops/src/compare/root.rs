//! The two trees of a comparison, opened on one rank.

use std::ffi::CString;

use crate::resolver::StoreResolver;
use crate::walk::account;
use store::Store;
use store::opening::{Need, OpenAs, Symlinks};
use store::recorded::RecordedStore;
use types::entry::{Hint, Kind};
use types::error::{Failure, Side};
use types::operand::placement::Given;
use types::path::RelPath;

/// Two trees, or two single entries in their parent directories.
pub struct CompareRoot {
    /// The tree of the expected state.
    pub source: Box<dyn Store>,
    /// The tree of the actual state.
    pub target: Box<dyn Store>,
    /// The names of two single entries.
    pub single: Option<(CString, CString)>,
    shown_source: Vec<u8>,
    shown_target: Vec<u8>,
}

/// The type of what is at a path.
enum Sight {
    /// The path leads to a directory.
    Tree,
    /// The path leads to another entry; or to a link that is not followed, or is dangling.
    Single(Symlinks),
    /// The path is a prefix of no key, which is also the state of a directory without files in a
    /// bucket.
    NoKeys(Failure),
}

/// The reason why two paths cannot be compared.
pub enum Unsuitable {
    /// A path cannot be opened.
    Failure(Failure),
    /// The command is contradictory.
    Refusal(String),
}

impl From<Failure> for Unsuitable {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl CompareRoot {
    /// Wraps two trees that are open already.
    pub fn of_stores(source: Box<dyn Store>, target: Box<dyn Store>) -> Self {
        let (shown_source, shown_target) = (b"source".to_vec(), b"target".to_vec());
        Self { source, target, single: None, shown_source, shown_target }
    }

    /// Opens a tree to be compared with a manifest.
    pub fn of_manifest(
        resolver: &StoreResolver,
        manifest: &[u8],
        target: &[u8],
        open_as: OpenAs,
    ) -> Result<Self, Unsuitable> {
        Ok(Self {
            source: Box::new(RecordedStore),
            target: open(resolver, target, open_as, Side::Target)?,
            single: None,
            shown_source: manifest.to_vec(),
            shown_target: target.to_vec(),
        })
    }

    /// Opens two directories, or two other entries, that the operator has named, following links
    /// where the options say so. A prefix of no key is only accepted if the other tree has no
    /// files.
    pub fn open(
        resolver: &StoreResolver,
        source: &[u8],
        target: &[u8],
        symlinks: Symlinks,
        open_as: OpenAs,
    ) -> Result<Self, Unsuitable> {
        let of_source = look(resolver, Side::Source, source, symlinks)?;
        let of_target = look(resolver, Side::Target, target, symlinks)?;
        match (of_source, of_target) {
            (Sight::Tree, Sight::Tree) => Self::open_trees(resolver, source, target, open_as),
            (Sight::Single(of_source), Sight::Single(of_target)) => {
                let given = [(source, of_source), (target, of_target)];
                Self::open_singles(resolver, given, open_as)
            }
            (Sight::NoKeys(missing), Sight::Tree) => {
                let trees = Self::open_trees(resolver, source, target, open_as)?;
                trees.if_nothing_is_missing(Side::Source, missing)
            }
            (Sight::Tree, Sight::NoKeys(missing)) => {
                let trees = Self::open_trees(resolver, source, target, open_as)?;
                trees.if_nothing_is_missing(Side::Target, missing)
            }
            (Sight::NoKeys(missing), _) | (_, Sight::NoKeys(missing)) => Err(missing.into()),
            _ => Err(Unsuitable::Refusal(
                "one of the two is a directory and the other is not; name two of a kind".to_owned(),
            )),
        }
    }

    fn open_trees(
        resolver: &StoreResolver,
        source: &[u8],
        target: &[u8],
        open_as: OpenAs,
    ) -> Result<Self, Unsuitable> {
        Ok(Self {
            source: open(resolver, source, open_as, Side::Source)?,
            target: open(resolver, target, open_as, Side::Target)?,
            single: None,
            shown_source: source.to_vec(),
            shown_target: target.to_vec(),
        })
    }

    /// Returns these trees if the other one has nothing for which a bucket would need a key: a
    /// misspelt prefix must not pass for an empty tree.
    fn if_nothing_is_missing(self, no_keys: Side, missing: Failure) -> Result<Self, Unsuitable> {
        let (empty, side, other) = match no_keys {
            Side::Source => (&self.source, Side::Target, &self.target),
            Side::Target => (&self.target, Side::Source, &self.source),
        };
        if empty.keeps_directories() {
            return Err(missing.into());
        }
        let is_hollow = is_hollow(&**other)
            .map_err(|error| account::failure(side, self.shown(side), b"", error))?;
        if is_hollow { Ok(self) } else { Err(missing.into()) }
    }

    fn open_singles(
        resolver: &StoreResolver,
        [(source, source_links), (target, target_links)]: [(&[u8], Symlinks); 2],
        open_as: OpenAs,
    ) -> Result<Self, Unsuitable> {
        let (source, target) = (Given::new(source), Given::new(target));
        let name = |given: &Given| CString::new(given.last_name.clone().unwrap_or_default());
        let (Ok(of_source), Ok(of_target)) = (name(&source), name(&target)) else {
            return Err(Unsuitable::Refusal("a path holds a NUL".to_owned()));
        };
        let (above_source, above_target) = (source.parent(), target.parent());
        let with = |symlinks| OpenAs { need: Need::Passage, symlinks, ..open_as };
        Ok(Self {
            source: open(resolver, &above_source, with(source_links), Side::Source)?,
            target: open(resolver, &above_target, with(target_links), Side::Target)?,
            single: Some((of_source, of_target)),
            shown_source: above_source,
            shown_target: above_target,
        })
    }

    /// Returns the path of a side as the user wrote it.
    pub fn shown(&self, side: Side) -> &[u8] {
        match side {
            Side::Source => &self.shown_source,
            Side::Target => &self.shown_target,
        }
    }
}

fn look(
    resolver: &StoreResolver,
    side: Side,
    path: &[u8],
    symlinks: Symlinks,
) -> Result<Sight, Failure> {
    let failed = |error| account::failure(side, path, b"", error);
    match resolver.look(side, path, symlinks) {
        Ok(metadata) if metadata.kind == Kind::Directory => Ok(Sight::Tree),
        Ok(_) if symlinks == Symlinks::Follow && !resolver.is_object(side, path) => {
            // Not every host allows to follow links, so that is requested for links only.
            let named = resolver.look(side, path, Symlinks::Keep);
            let is_link = named.is_ok_and(|named| named.kind == Kind::Symlink);
            Ok(Sight::Single(if is_link { Symlinks::Follow } else { Symlinks::Keep }))
        }
        Ok(_) => Ok(Sight::Single(symlinks)),
        Err(error) if !resolver.is_object(side, path) => {
            // A dangling link is an entry all the same.
            let link = resolver.look(side, path, Symlinks::Keep);
            link.map(|_| Sight::Single(Symlinks::Keep)).map_err(|_| failed(error))
        }
        Err(error) if error.cause.is_vanished() => Ok(Sight::NoKeys(failed(error))),
        Err(error) => Err(failed(error)),
    }
}

/// Returns whether a tree contains nothing but directories.
fn is_hollow(store: &dyn Store) -> types::error::Result<bool> {
    let mut waiting = vec![RelPath::root()];
    while let Some(path) = waiting.pop() {
        let dir = store.open_dir(&path)?;
        let (mut names, mut has_others) = (Vec::new(), false);
        dir.list(&mut |name, hint| {
            has_others |= !matches!(hint, Hint::Directory | Hint::Unknown);
            if !has_others {
                names.push((name.to_owned(), hint));
            }
        })?;
        for (name, hint) in names {
            has_others |= hint == Hint::Unknown && dir.peek(&name, hint)?.kind != Kind::Directory;
            if has_others {
                break;
            }
            waiting.push(path.child(&name));
        }
        if has_others {
            return Ok(false);
        }
    }
    Ok(true)
}

fn open(
    resolver: &StoreResolver,
    path: &[u8],
    open_as: OpenAs,
    side: Side,
) -> Result<Box<dyn Store>, Failure> {
    resolver.open(side, path, open_as).map_err(|error| account::failure(side, path, b"", error))
}
