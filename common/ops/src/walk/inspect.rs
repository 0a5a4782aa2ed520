//! Metadata of entries of which a listing says too little, and of what symbolic links lead to.

use std::ffi::CString;

use super::Visit;
use store::opening::Symlinks;
use store::{Dir, Store};
use types::entry::{Hint, Kind, Metadata};
use types::error::{Cause, Error, Op};
use types::outcome::difference::Fields;
use types::path::{Name, RelPath};

/// Inspects an entry of which the listing says too little, or a symbolic link that is to be
/// followed.
///
/// # Errors
/// Returns the error of [`Dir::stat`], `Dangling` for a link to nothing, or `Loop` for one to a
/// directory above it.
pub fn look(entry: &Visit<'_>, store: &dyn Store, symlinks: Symlinks) -> Result<Metadata, Error> {
    let may_be_link = matches!(entry.hint, Hint::Symlink | Hint::Unknown);
    let is_followed = symlinks == Symlinks::Follow && may_be_link;
    let metadata = match entry.dir.stat(entry.name) {
        // The listing contains the link itself, so what does not exist is its destination.
        Err(error) if is_followed && entry.hint == Hint::Symlink && error.cause.is_vanished() => {
            return Err(Op::Follow.failed(Cause::Dangling));
        }
        looked => looked?,
    };
    if is_followed
        && metadata.kind == Kind::Directory
        && leads_back(store, entry.dir_ref.path(), &metadata)?
    {
        return Err(Op::Follow.failed(Cause::Loop));
    }
    Ok(metadata)
}

/// Returns all metadata of an entry, of which `seen` may be a part. An object that a listing shows
/// as a file may in fact be a symbolic link.
///
/// # Errors
/// Returns the error of [`Dir::stat`].
pub fn whole(dir: &dyn Dir, name: &Name, seen: Metadata) -> Result<Metadata, Error> {
    if is_whole(&seen) { Ok(seen) } else { dir.stat(name) }
}

/// Returns whether the metadata is complete, so that the store knows no more of the entry.
pub fn is_whole(seen: &Metadata) -> bool {
    seen.kind != Kind::File || seen.known.contains(Fields::CONTENT)
}

/// Returns whether a directory that was reached through a symbolic link, found in the directory at
/// `path`, is one of the directories above. Following such a link would never end.
fn leads_back(store: &dyn Store, path: &RelPath, reached: &Metadata) -> Result<bool, Error> {
    let mut above = RelPath::root();
    let mut components = path.components();
    loop {
        if store.open_dir(&above)?.metadata()?.is_same_file(reached) {
            return Ok(true);
        }
        let Some(component) = components.next() else { return Ok(false) };
        let name = CString::new(component).map_err(|_| Op::Open.errno(libc::EINVAL))?;
        above = above.child(&name);
    }
}
