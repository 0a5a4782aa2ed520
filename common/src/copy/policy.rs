//! Which attributes a copy gets: all of the source's with `--preserve`, those cp(1) would give
//! without.

use super::options::CopyOptions;
use crate::base::error::{Cause, Error, Result};
use crate::model::difference::Fields;
use crate::model::entry::{Attributes, Metadata, Owner, Xattrs};
use crate::store::Dir;

/// Bits of a file's mode that a copy without `--preserve` may have: no set-id bit is gained.
const PLAIN_BITS: u32 = 0o777;

/// The same for a directory: one that everybody may write to keeps its sticky bit, as with cp(1).
const PLAIN_DIRECTORY_BITS: u32 = 0o1777;

/// What a replaced file hands on, if it is known.
const KEPT: [Fields; 3] = [Fields::UID, Fields::GID, Fields::PERM];

/// The owner's right to read, write and search.
pub const OWNER_ALL: u32 = 0o700;

/// The owner's right to read and search.
pub const OWNER_LOOK: u32 = 0o500;

/// Lets a directory's owner write to it, where that is not so; returns the mode it had. Modes do not
/// stop the superuser.
pub fn widen(dir: &dyn Dir, is_superuser: bool) -> Result<Option<u32>> {
    widen_where_missing(dir, OWNER_ALL, is_superuser)
}

/// The same where its owner may not even look into it.
pub fn widen_to_look(dir: &dyn Dir, is_superuser: bool) -> Result<Option<u32>> {
    widen_where_missing(dir, OWNER_LOOK, is_superuser)
}

fn widen_where_missing(dir: &dyn Dir, needed: u32, is_superuser: bool) -> Result<Option<u32>> {
    if is_superuser {
        return Ok(None);
    }
    let mode = dir.metadata()?.mode;
    if mode & needed == needed {
        return Ok(None);
    }
    match dir.set_attributes(&mode_alone(mode | OWNER_ALL)) {
        Ok(_) => Ok(Some(mode)),
        // It is somebody else's (chmod(2)): what its group may do can be enough, and is tried.
        Err(Error { cause: Cause::System(libc::EPERM), .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// This mode, and all else as it is.
pub fn mode_alone(mode: u32) -> Attributes {
    Attributes { mode: Some(mode), ..Attributes::default() }
}

/// Attributes of a file's copy. `replaced` is what has the name at the target now: cp(1) writes into
/// such a file, so it keeps its mode and owner, as far as they are known.
pub(super) fn of_file(
    options: &CopyOptions,
    source: &Metadata,
    xattrs: Option<Xattrs>,
    replaced: Option<&Metadata>,
) -> Attributes {
    match replaced {
        _ if options.preserve => {
            let kept = Attributes::all_of(source, xattrs);
            // Where the source knows no mode, it is that of any new file.
            Attributes { mode: kept.mode.or(Some(plain_mode(options, source))), ..kept }
        }
        Some(old) if KEPT.iter().all(|field| old.known.contains(*field)) => Attributes {
            owner: Some(Owner { uid: old.uid, gid: old.gid }),
            mode: Some(old.mode & PLAIN_BITS),
            ..Attributes::default()
        },
        _ => Attributes { mode: Some(plain_mode(options, source)), ..Attributes::default() },
    }
}

/// The mode of a copy that is not to keep its source's.
fn plain_mode(options: &CopyOptions, source: &Metadata) -> u32 {
    source.mode & PLAIN_BITS & !options.job.umask
}

/// Attributes of a link's copy.
pub(super) fn of_link(options: &CopyOptions, source: &Metadata) -> Attributes {
    if options.preserve {
        Attributes { mode: None, ..Attributes::all_of(source, None) }
    } else {
        Attributes::default()
    }
}

/// The mode a new directory is made with, before the umask: its owner can fill it, and with
/// `--preserve` nobody else gets in before its owner and mode are final.
pub(super) fn making_mode(options: &CopyOptions, source: &Metadata) -> u32 {
    // A mode that is not known will not be set at the end either.
    if options.preserve && source.known.contains(Fields::PERM) {
        OWNER_ALL
    } else {
        source.mode & PLAIN_DIRECTORY_BITS | OWNER_ALL
    }
}

/// What a new directory gets at the end, if anything is left to be set.
/// `inherited` is the set-group-id bit that it has from the directory it was made in.
pub(super) fn of_new_directory(
    options: &CopyOptions,
    source: &Metadata,
    xattrs: Option<Xattrs>,
    inherited: u32,
) -> Option<Attributes> {
    if options.preserve {
        return Some(Attributes::all_of(source, xattrs));
    }
    was_widened(source).then(|| {
        let mode = source.mode & PLAIN_DIRECTORY_BITS & !options.job.umask | inherited;
        Attributes { mode: Some(mode), ..Attributes::default() }
    })
}

/// A new directory for that one is made with more rights than it will have.
pub(super) fn was_widened(source: &Metadata) -> bool {
    source.mode & OWNER_ALL != OWNER_ALL
}

/// What a directory that existed gets at the end: with `--preserve` the source's attributes, and where
/// it had to be widened to be filled, its old mode.
pub(super) fn of_old_directory(
    options: &CopyOptions,
    source: &Metadata,
    xattrs: Option<Xattrs>,
    widened_from: Option<u32>,
) -> Option<Attributes> {
    if options.preserve {
        return Some(Attributes::all_of(source, xattrs));
    }
    widened_from.map(|mode| Attributes { mode: Some(mode), ..Attributes::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy::options::JobFacts;
    use crate::model::entry::{Kind, Time};
    use crate::store::posix::Symlinks;

    fn options(preserve: bool) -> CopyOptions {
        CopyOptions {
            symlinks: Symlinks::Keep,
            preserve,
            chunk_bytes: 1,
            buffer_bytes: 1,
            transfer: crate::model::transfer::Transfer::default(),
            dry_run: false,
            plan_as: crate::model::line::LineFormat::Text,
            sync: None,
            job: JobFacts { id: 0, umask: 0o027, is_superuser: false },
        }
    }

    fn metadata(mode: u32, uid: u32) -> Metadata {
        let time = Time { seconds: -5, nanoseconds: 1 };
        Metadata {
            kind: Kind::File,
            mode,
            uid,
            gid: uid,
            size_bytes: 0,
            allocated_bytes: 0,
            atime: time,
            mtime: time,
            ctime: time,
            links: 1,
            device: 0,
            inode: 0,
            known: Fields::ALL,
        }
    }

    #[test]
    fn a_plain_copy_gains_no_set_id_bit_and_honours_the_umask() {
        let copy = of_file(&options(false), &metadata(0o6777, 7), None, None);
        assert_eq!(copy, Attributes { mode: Some(0o750), ..Attributes::default() });
    }

    #[test]
    fn a_replaced_file_keeps_its_own_mode_and_owner() {
        let old = metadata(0o4640, 8);
        let copy = of_file(&options(false), &metadata(0o777, 7), None, Some(&old));
        assert_eq!(copy.mode, Some(0o640));
        assert_eq!(copy.owner, Some(Owner { uid: 8, gid: 8 }));
    }

    #[test]
    fn preserve_keeps_everything() {
        let source = metadata(0o6755, 7);
        let xattrs = Xattrs::from([(b"user.a".to_vec(), b"1".to_vec())]);
        let copy =
            of_file(&options(true), &source, Some(xattrs.clone()), Some(&metadata(0o600, 8)));
        assert_eq!(copy, Attributes::all_of(&source, Some(xattrs)));
    }

    #[test]
    fn a_directory_is_widened_while_it_is_filled_and_narrowed_at_the_end() {
        let read_only = metadata(0o555, 7);
        assert_eq!(making_mode(&options(false), &read_only), 0o755);
        let end = of_new_directory(&options(false), &read_only, None, 0o2000);
        let end = end.and_then(|end| end.mode);
        assert_eq!(end, Some(0o2550));
        assert_eq!(of_new_directory(&options(false), &metadata(0o755, 7), None, 0), None);
    }
}
