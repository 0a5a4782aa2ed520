//! Attributes of a copy: the preserved ones of the source, and for the others those that cp(1)
//! would give.

use super::options::CopyOptions;
use store::Dir;
use types::content::transfer::Rewriting;
use types::entry::{Attributes, Kind, Metadata, Owner, Xattrs};
use types::error::{Cause, Error, Result};
use types::outcome::difference::Fields;

/// Bits of the mode of a file that a copy without `--preserve` may have: no set-ID bit is gained.
const PLAIN_BITS: u32 = 0o777;

/// Bits of the mode of a directory that a copy without `--preserve` may have: a world-writable
/// directory keeps its sticky bit, as with cp(1).
const PLAIN_DIRECTORY_BITS: u32 = 0o1777;

/// Attributes that a replaced file passes on to its copy, if they are known.
const KEPT: [Fields; 3] = [Fields::UID, Fields::GID, Fields::PERM];

/// Basis for the mode of an entry, where neither the source nor the operator determines it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plain {
    /// Permission bits that the entry may have.
    allowed: u32,
    /// The set-group-ID bit that a directory inherits from its parent.
    inherited: u32,
}

impl Plain {
    /// Returns the basis where the umask limits modes.
    pub fn under_umask(options: &CopyOptions) -> Self {
        Self { allowed: !options.job.umask, inherited: 0 }
    }

    /// Returns the basis for an entry of that directory, whose default ACL has precedence over the
    /// umask.
    pub fn of_entry(options: &CopyOptions, source: &Metadata, dir: &dyn Dir) -> Result<Self> {
        let plain = Self::under_umask(options);
        if keeps_mode(options, source) {
            return Ok(plain);
        }
        Ok(Self { allowed: dir.default_acl_mode()?.unwrap_or(plain.allowed), ..plain })
    }

    /// Returns the basis for that directory itself, which inherits its default ACL from its parent.
    pub fn of_directory(options: &CopyOptions, source: &Metadata, dir: &dyn Dir) -> Result<Self> {
        let is_needed = options.keep.chmod.is_some() || was_widened(options, source);
        if is_needed {
            return Self::of_made_directory(options, source, dir);
        }
        Ok(Self::under_umask(options))
    }

    /// Returns the basis for a directory that this job, or the interrupted job that it resumes, has
    /// created.
    pub fn of_made_directory(
        options: &CopyOptions,
        source: &Metadata,
        dir: &dyn Dir,
    ) -> Result<Self> {
        if keeps_mode(options, source) {
            return Ok(Self::under_umask(options));
        }
        let inherited = dir.metadata()?.mode & 0o2000;
        let Self { allowed, .. } = Self::of_entry(options, source, dir)?;
        Ok(Self { allowed: allowed & !withheld(options), inherited })
    }

    /// Returns the mode of a copy that does not preserve the mode of its source.
    fn mode(self, source: &Metadata) -> u32 {
        match source.kind {
            Kind::Directory => source.mode & PLAIN_DIRECTORY_BITS & self.allowed | self.inherited,
            _ => source.mode & PLAIN_BITS & self.allowed,
        }
    }
}

/// Returns the permissions of others to write to a new directory that the umask withholds even
/// where a default ACL grants them, as with cp(1).
fn withheld(options: &CopyOptions) -> u32 {
    options.job.umask & 0o022
}

fn keeps_mode(options: &CopyOptions, source: &Metadata) -> bool {
    options.keep.mode && source.known.contains(Fields::PERM)
}

/// Permission of the owner to read, write and search.
pub const OWNER_ALL: u32 = 0o700;

/// Permission of the owner to read and search.
pub const OWNER_LOOK: u32 = 0o500;

/// Makes a directory writable for its owner, if it is not; returns the mode that it had. Modes do
/// not restrict the superuser.
pub fn widen(dir: &dyn Dir, is_superuser: bool) -> Result<Option<u32>> {
    widen_where_missing(dir, OWNER_ALL, is_superuser)
}

/// Makes a directory readable and searchable for its owner, if it is not; returns the mode that it
/// had.
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
        // The directory belongs to another user (chmod(2)): the permissions of its group may
        // suffice, and are tried.
        Err(Error { cause: Cause::System(libc::EPERM), .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns attributes that set this mode and leave everything else unchanged.
pub fn mode_alone(mode: u32) -> Attributes {
    Attributes { mode: Some(mode), ..Attributes::default() }
}

/// Returns the attributes that every copy of an entry gets: those that are preserved or given.
pub(crate) fn of_any(
    options: &CopyOptions,
    source: &Metadata,
    xattrs: Option<Xattrs>,
    plain: Plain,
) -> Attributes {
    options.keep.attributes_of(source, xattrs, plain.mode(source))
}

/// Returns the extended attributes of a new entry. Where the mode is preserved and the source has
/// no notion of ACLs, the entry gets none, whatever the default ACL of the directory has given it.
fn of_new(options: &CopyOptions, source: &Metadata, xattrs: Option<Xattrs>) -> Option<Xattrs> {
    xattrs.or_else(|| keeps_mode(options, source).then(Xattrs::new))
}

/// Returns the metadata that the copy of a source entry should have, which is `now` at the target.
pub(super) fn wanted(
    options: &CopyOptions,
    source: &Metadata,
    now: &Metadata,
    plain: Plain,
) -> Metadata {
    options.keep.wanted(source, now, plain.mode(source))
}

/// Returns the attributes of the copy of a file or special file. `replaced` is the entry that has
/// the name at the target now: cp(1) writes into such a file, so the copy keeps its mode and owner,
/// as far as they are known and no others are requested.
pub(super) fn of_file(
    options: &CopyOptions,
    source: &Metadata,
    xattrs: Option<Xattrs>,
    replaced: Option<&Metadata>,
    plain: Plain,
) -> Attributes {
    let is_new = replaced.is_none() || options.transfer.rewriting == Rewriting::Beside;
    let xattrs = if is_new { of_new(options, source, xattrs) } else { xattrs };
    let kept = of_any(options, source, xattrs, plain);
    let old = replaced.filter(|old| KEPT.iter().all(|field| old.known.contains(*field)));
    let old_owner = old.map(|old| Owner { uid: old.uid, gid: old.gid });
    let owner = match (kept.owner, old_owner) {
        (Some(owner), Some(old)) => Some(owner.or(old)),
        // No owner is requested, or the source has none.
        (owner, old) => owner.or(old),
    };
    // A source without a mode leaves the file the one that it had.
    let old_mode = old.map(|old| old.mode & PLAIN_BITS);
    let mode = kept.mode.or(old_mode).unwrap_or_else(|| plain.mode(source));
    Attributes { owner, mode: Some(mode), ..kept }
}

/// Returns the attributes of the copy of a symbolic link.
pub(super) fn of_link(
    options: &CopyOptions,
    source: &Metadata,
    xattrs: Option<Xattrs>,
) -> Attributes {
    Attributes { mode: None, ..of_any(options, source, xattrs, Plain::under_umask(options)) }
}

/// Returns the mode with which a new directory is created, before the umask: its owner can fill it,
/// and where a final mode is determined, no other user has access before its owner and mode are
/// set.
pub(super) fn making_mode(options: &CopyOptions, source: &Metadata) -> u32 {
    if of_any(options, source, None, Plain::under_umask(options)).mode.is_some() {
        OWNER_ALL
    } else {
        // A mode that is unknown is not set at the end either.
        source.mode & PLAIN_DIRECTORY_BITS & !withheld(options) | OWNER_ALL
    }
}

/// Returns the attributes that a new directory gets at the end, if any are left to be set.
pub(super) fn of_new_directory(
    options: &CopyOptions,
    source: &Metadata,
    xattrs: Option<Xattrs>,
    plain: Plain,
) -> Option<Attributes> {
    let xattrs = of_new(options, source, xattrs);
    let kept = of_any(options, source, xattrs, plain);
    let is_plain = !options.keep.decides_mode() && was_widened(options, source);
    let plain = is_plain.then(|| plain.mode(source));
    something(Attributes { mode: kept.mode.or(plain), ..kept })
}

/// Returns the attributes that a directory of an interrupted job gets at the end: the mode of its
/// source may have changed since.
pub(super) fn of_made_directory(
    options: &CopyOptions,
    source: &Metadata,
    xattrs: Option<Xattrs>,
    plain: Plain,
) -> Option<Attributes> {
    let is_known = source.known.contains(Fields::PERM) && !options.keep.decides_mode();
    let kept = of_any(options, source, of_new(options, source, xattrs), plain);
    let plain = is_known.then(|| plain.mode(source));
    something(Attributes { mode: kept.mode.or(plain), ..kept })
}

/// True if a new directory for that source is created with more permissions than its final mode
/// has.
pub(super) fn was_widened(options: &CopyOptions, source: &Metadata) -> bool {
    source.mode & !options.job.umask & OWNER_ALL != OWNER_ALL
}

/// Returns the attributes that an existing directory gets at the end: the preserved ones, and its
/// old mode where that had to be widened and no other mode is determined.
pub(crate) fn of_old_directory(
    options: &CopyOptions,
    source: &Metadata,
    xattrs: Option<Xattrs>,
    widened_from: Option<u32>,
    plain: Plain,
) -> Option<Attributes> {
    let kept = of_any(options, source, xattrs, plain);
    something(Attributes { mode: kept.mode.or(widened_from), ..kept })
}

fn something(attributes: Attributes) -> Option<Attributes> {
    (attributes != Attributes::default()).then_some(attributes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy::options::{JobFacts, Verify};
    use host::user::User;
    use store::opening::Symlinks;
    use types::attributes::keep::Keep;
    use types::entry::{Preserved, Time};

    fn options(keep: Keep) -> CopyOptions {
        CopyOptions {
            symlinks: Symlinks::Keep,
            keep,
            hard_links: crate::copy::options::HardLinks::Separate,
            chunk_bytes: 1,
            buffer_bytes: 1,
            transfer: types::content::transfer::Transfer::default(),
            mkpath: false,
            dry_run: false,
            plan_as: None,
            sync: None,
            going_on: None,
            record: None,
            verify: Verify::Nothing,
            remove_source: false,
            prune_empty_dirs: false,
            job: JobFacts { id: 0, umask: 0o027 },
            user: User::of(false, Vec::new()),
        }
    }

    fn plain() -> Plain {
        Plain::under_umask(&options(Keep::default()))
    }

    fn metadata(mode: u32, uid: u32) -> Metadata {
        let time = Time { seconds: -5, nanoseconds: 1 };
        Metadata {
            mode,
            uid,
            gid: uid,
            known: Fields::ALL,
            ..Metadata::of_kind(Kind::File).with_times(time)
        }
    }

    #[test]
    fn a_plain_copy_gains_no_set_id_bit_and_honours_the_umask() {
        let copy = of_file(&options(Keep::default()), &metadata(0o6777, 7), None, None, plain());
        assert_eq!(copy, Attributes { mode: Some(0o750), ..Attributes::default() });
    }

    #[test]
    fn a_replaced_file_keeps_its_own_mode_and_owner() {
        let old = metadata(0o4640, 8);
        let copy =
            of_file(&options(Keep::default()), &metadata(0o777, 7), None, Some(&old), plain());
        assert_eq!(copy.mode, Some(0o640));
        assert_eq!(copy.owner, Some(Owner { uid: 8, gid: 8 }));
    }

    #[test]
    fn preserve_keeps_everything() {
        let source = metadata(0o6755, 7);
        let xattrs = Xattrs::from([(b"user.a".to_vec(), b"1".to_vec())]);
        let copy = of_file(
            &options(Keep::all()),
            &source,
            Some(xattrs.clone()),
            Some(&metadata(0o600, 8)),
            plain(),
        );
        assert_eq!(copy, Attributes::all_of(&source, Some(xattrs)));
    }

    #[test]
    fn a_directory_is_widened_while_it_is_filled_and_narrowed_at_the_end() {
        let directory = |mode| Metadata { kind: Kind::Directory, ..metadata(mode, 7) };
        let read_only = directory(0o555);
        assert_eq!(making_mode(&options(Keep::default()), &read_only), 0o755);
        let inherited = Plain { inherited: 0o2000, ..plain() };
        let end = of_new_directory(&options(Keep::default()), &read_only, None, inherited);
        let end = end.and_then(|end| end.mode);
        assert_eq!(end, Some(0o2550));
        let end = of_new_directory(&options(Keep::default()), &directory(0o755), None, plain());
        assert_eq!(end, None);
    }

    #[test]
    fn what_is_not_kept_is_as_without() {
        let source = metadata(0o4750, 7);
        let old = metadata(0o600, 8);
        let times_alone = Keep { times: true, ..Keep::default() };
        let copy = of_file(&options(times_alone.clone()), &source, None, Some(&old), plain());
        assert_eq!((copy.mode, copy.owner), (Some(0o600), Some(Owner { uid: 8, gid: 8 })));
        assert_eq!(copy.times, source.times());
        let no_owner = Keep { owner: false, ..Keep::all() };
        let copy = of_file(&options(no_owner), &source, None, Some(&old), plain());
        let mode = copy.mode_to_set(Preserved::ALL, || Ok::<_, ()>(Owner { uid: 8, gid: 8 }));
        assert_eq!((mode, copy.owner), (Ok(Some(0o750)), Some(Owner { uid: 8, gid: 8 })));
        let directory = Metadata { kind: Kind::Directory, ..source };
        let end = of_old_directory(&options(times_alone), &directory, None, Some(0o555), plain());
        assert_eq!(end.and_then(|end| end.mode), Some(0o555));
        let end = of_old_directory(&options(Keep::default()), &directory, None, None, plain());
        assert_eq!(end, None);
    }
}
