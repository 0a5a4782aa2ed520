//! Attributes that the copy of an entry gets: those preserved from its source and those that the
//! operator sets. This is the one place that decides it, for entries that are copied, for entries
//! that are repaired in place, and for what counts as equal.

use serde::{Deserialize, Serialize};

use crate::attributes::acl;
use crate::attributes::mode_change::ModeChange;
use crate::entry::{ACL_XATTRS, Attributes, Kind, Metadata, Owner, Preserved, SET_ID_BITS, Xattrs};
use crate::error::{Error, Op};
use crate::outcome::difference::Fields;

/// Attributes that a copy preserves from its source, and those that the operator sets instead.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Keep {
    /// Permissions.
    pub mode: bool,
    /// Access control lists, which contain the permissions.
    pub acls: bool,
    /// Owner and group, as numbers.
    pub owner: bool,
    /// Access and modification times.
    pub times: bool,
    /// Extended attributes.
    pub xattrs: XattrChoice,
    /// True where FIFOs and sockets are created at the target.
    pub specials: bool,
    /// True where device files are created at the target.
    pub devices: bool,
    /// Owner and group that all copies get (`--chown`).
    pub chown: Chown,
    /// Change that is applied to all modes (`--chmod`).
    pub chmod: Option<ModeChange>,
}

/// Owner and group given to everything that is written; `None` for one that is not overridden.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Chown {
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

/// Extended attributes that are preserved, from the fewest to the most. Access control lists are
/// not among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub enum XattrChoice {
    /// Preserves no extended attributes.
    #[default]
    None,
    /// Preserves the namespace `user.`, which users and their programs set.
    User,
    /// Preserves `user.` and file capabilities (capabilities(7)): the attributes that belong to the
    /// entry and not to the system it is on.
    Own,
    /// Preserves all extended attributes but those of Lustre.
    NonLustre,
    /// Preserves all extended attributes but those that say where a file's content lies.
    All,
}

/// Names under which Lustre stores where a file's content lies and which object it is
/// (`lustre_idl.h`), in the namespaces `lustre` and `trusted`. On another file or another file
/// system they are wrong or do harm.
const LAYOUTS: [&[u8]; 12] = [
    b"lov",
    b"lmv",
    b"dmv",
    b"lma",
    b"lmm",
    b"link",
    b"fid",
    b"som",
    b"hsm",
    b"version",
    b"lfsck_namespace",
    b"lfsck_bitmap",
];

/// Extended attribute that links a directory to a DAOS container, as dfuse shows it at its root
/// (`DUNS_XATTR_NAME` in `daos_uns.h`). On a copy it would hide the copied entries behind that
/// container.
const DAOS_LINK: &[u8] = b"user.daos";

/// Filter for the extended attributes that a store reads and sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct XattrFilter {
    /// True where access control lists pass.
    pub acls: bool,
    /// Extended attributes that pass besides access control lists.
    pub others: XattrChoice,
}

impl Default for XattrFilter {
    /// Returns the filter for access control lists and the attributes that belong to an entry and
    /// not to the system it is on.
    fn default() -> Self {
        Self { acls: true, others: XattrChoice::Own }
    }
}

impl XattrFilter {
    /// Attributes that a replaced file passes on to the file that replaces it: its access control
    /// list and the namespace `user.`.
    pub const HANDED_ON: Self = Self { acls: true, others: XattrChoice::User };

    /// Returns the attributes that a replaced file still passes on where its replacement gets the
    /// attributes that pass here from the source.
    #[must_use]
    pub fn handed_on(self) -> Self {
        let others = match self.others {
            XattrChoice::None => XattrChoice::User,
            _ => XattrChoice::None,
        };
        Self { acls: !self.acls, others }
    }

    /// Returns true where no attribute passes.
    pub fn is_empty(self) -> bool {
        !self.acls && self.others == XattrChoice::None
    }

    /// Returns true where entries of that kind may have attributes that pass. A symbolic link has
    /// neither attributes of users (xattr(7)) nor an access control list.
    pub fn concerns(self, kind: Kind) -> bool {
        match kind {
            Kind::Symlink => self.others > XattrChoice::Own,
            _ => !self.is_empty(),
        }
    }

    /// Returns true where the extended attribute of that name passes.
    pub fn passes(self, name: &[u8]) -> bool {
        if ACL_XATTRS.contains(&name) {
            return self.acls;
        }
        if name == DAOS_LINK {
            return false;
        }
        let is_of_user = name.starts_with(b"user.");
        match self.others {
            XattrChoice::None => false,
            XattrChoice::User => is_of_user,
            XattrChoice::Own => is_of_user || name == b"security.capability",
            XattrChoice::NonLustre => !name.starts_with(b"lustre.") && !is_layout(name),
            XattrChoice::All => !is_layout(name),
        }
    }

    /// Returns true where an attribute that only the target has is removed. Security labels, which
    /// the system gives every file, are not removed.
    pub fn removes(self, name: &[u8]) -> bool {
        let is_label = name.starts_with(b"security.") && name != b"security.capability";
        self.passes(name) && !is_label
    }
}

fn is_layout(name: &[u8]) -> bool {
    let own = name.strip_prefix(b"lustre.").or_else(|| name.strip_prefix(b"trusted."));
    // Layout changes have names of their own, such as `lustre.lov.add`.
    own.is_some_and(|own| LAYOUTS.contains(&own) || own.starts_with(b"lov."))
}

impl Keep {
    /// Preserves all attributes, and creates no special files.
    pub fn all() -> Self {
        Self {
            mode: true,
            acls: true,
            owner: true,
            times: true,
            xattrs: XattrChoice::Own,
            ..Self::default()
        }
    }

    /// Returns the error of an entry that has not got an owner, group or mode that the operator
    /// sets. Preserving is best effort, but a requested value that cannot be set fails the entry.
    pub fn refusal(&self, preserved: Preserved) -> Option<Error> {
        let Chown { uid, gid } = self.chown;
        if uid.is_some() && preserved.user_lost || gid.is_some() && preserved.group_lost {
            return Some(Op::SetOwner.errno(libc::EPERM));
        }
        let op = match (self.chown == Chown::default(), &self.chmod) {
            (false, _) => Op::SetOwner,
            (true, Some(_)) => Op::SetMode,
            (true, None) => return None,
        };
        preserved.is_unstored.then(|| op.errno(libc::EOPNOTSUPP))
    }

    /// Returns true where any attribute of the source is preserved.
    pub fn is_any(&self) -> bool {
        self.mode || self.owner || self.times || self.xattrs != XattrChoice::None
    }

    /// Returns true where S3 objects can store the preserved attributes: owner, mode and times are
    /// stored together or not at all.
    pub fn fits_objects(&self) -> bool {
        let gives = self.chown != Chown::default() || self.chmod.is_some();
        let has_owner = self.owner || self.chown.uid.is_some() && self.chown.gid.is_some();
        !(self.mode || self.owner || gives) || has_owner && self.times
    }

    /// Returns the preserved attributes in words, for people.
    pub fn words(&self) -> String {
        let all = [
            (self.mode, "mode"),
            (self.acls, "ACLs"),
            (self.owner, "owner"),
            (self.times, "timestamps"),
            (self.xattrs != XattrChoice::None, "extended attributes"),
            (self.specials, "special files"),
            (self.devices, "devices"),
        ];
        let kept: Vec<&str> =
            all.into_iter().filter(|(is_kept, _)| *is_kept).map(|(_, word)| word).collect();
        match kept.split_last() {
            None => String::new(),
            Some((last, [])) => format!(", {last} preserved"),
            Some((last, others)) => format!(", {} and {last} preserved", others.join(", ")),
        }
    }

    /// Returns true where entries of that kind are created at the target.
    pub fn makes(&self, kind: Kind) -> bool {
        match kind {
            Kind::File | Kind::Directory | Kind::Symlink => true,
            Kind::Fifo | Kind::Socket => self.specials,
            Kind::BlockDevice | Kind::CharDevice => self.devices,
        }
    }

    /// Returns true where the source or the operator decides a copy's mode.
    pub fn decides_mode(&self) -> bool {
        self.mode || self.chmod.is_some()
    }

    /// Returns the filter for the extended attributes that are preserved.
    pub fn xattr_filter(&self) -> XattrFilter {
        XattrFilter { acls: self.acls, others: self.xattrs }
    }

    /// Returns those extended attributes of an entry that are preserved.
    pub fn xattrs_of(&self, mut xattrs: Xattrs) -> Xattrs {
        let filter = self.xattr_filter();
        xattrs.retain(|name, _| filter.passes(name));
        xattrs
    }

    /// Returns the fields in which a copy must not differ from its source, as it is
    /// [`Keep::wanted`].
    pub fn fields(&self) -> Fields {
        let all = [
            (self.owner || self.chown.uid.is_some(), Fields::UID),
            (self.owner || self.chown.gid.is_some(), Fields::GID),
            (self.decides_mode(), Fields::PERM),
            (self.times, Fields::MTIME),
            (self.acls, Fields::ACL),
            (self.xattrs != XattrChoice::None, Fields::XATTR),
        ];
        all.into_iter().filter(|(is_kept, _)| *is_kept).map(|(_, field)| field).collect()
    }

    /// Returns the fields that the operator sets on every entry, whatever its source has.
    pub fn given(&self) -> Fields {
        let all = [
            (self.chown.uid.is_some(), Fields::UID),
            (self.chown.gid.is_some(), Fields::GID),
            (self.chmod.is_some(), Fields::PERM),
        ];
        all.into_iter().filter(|(is_given, _)| *is_given).map(|(_, field)| field).collect()
    }

    /// Returns the attributes that the copy of an entry gets, as far as its source or the operator
    /// decides them. `plain_mode` is the mode that the copy has where the mode is not preserved.
    pub fn attributes_of(
        &self,
        source: &Metadata,
        xattrs: Option<Xattrs>,
        plain_mode: u32,
    ) -> Attributes {
        let mode = self.mode_of(source, plain_mode);
        let mut xattrs = xattrs.map(|xattrs| self.xattrs_of(xattrs));
        if let (Some(_), Some(mode), Some(xattrs)) = (&self.chmod, mode, &mut xattrs)
            && let Some(acl) = xattrs.get_mut(ACL_XATTRS[0])
        {
            acl::change_mode(acl, mode);
        }
        let all = Attributes::all_of(source, xattrs);
        Attributes {
            owner: self.owner_of(source),
            mode,
            set_ids_of: mode.and_then(|_| self.set_ids_of(source)),
            times: all.times.filter(|_| self.times),
            xattrs: all.xattrs,
        }
    }

    /// Returns the source's metadata as its copy should have it. `now` is the target's current
    /// metadata.
    pub fn wanted(&self, source: &Metadata, now: &Metadata, plain_mode: u32) -> Metadata {
        let mut wanted = *source;
        if let Some(uid) = self.chown.uid {
            wanted.uid = uid;
            wanted.known.insert(Fields::UID);
        }
        if let Some(gid) = self.chown.gid {
            wanted.gid = gid;
            wanted.known.insert(Fields::GID);
        }
        if let Some(mode) = self.mode_of(source, plain_mode) {
            let of = self.set_ids_of(source);
            wanted.mode = mode & !of.map_or(0, |of| of.set_ids_lost_to(Owner::from(now)));
            wanted.known.insert(Fields::PERM);
        }
        wanted
    }

    fn owner_of(&self, source: &Metadata) -> Option<Owner> {
        let is_kept = self.owner && knows_owner(source);
        let kept = |id: u32| is_kept.then_some(id);
        let uid = self.chown.uid.or(kept(source.uid));
        let gid = self.chown.gid.or(kept(source.gid));
        (uid.is_some() || gid.is_some()).then_some(Owner {
            uid: uid.unwrap_or(Owner::AS_IT_IS),
            gid: gid.unwrap_or(Owner::AS_IT_IS),
        })
    }

    /// Returns the owner whose set-id bits a file's copy keeps if the copy happens to belong to
    /// that owner: only where the copy is given neither an owner nor a mode.
    fn set_ids_of(&self, source: &Metadata) -> Option<Owner> {
        let is_left_open = source.kind != Kind::Directory
            && self.chmod.is_none()
            && self.owner_of(source).is_none()
            && knows_owner(source);
        is_left_open.then(|| Owner::from(source))
    }

    /// Returns the mode of a copy. Set-id bits of a file are rights of its owner and group: they
    /// are preserved only together with these.
    fn mode_of(&self, source: &Metadata, plain_mode: u32) -> Option<u32> {
        let is_kept = self.mode && source.known.contains(Fields::PERM);
        let kept = is_kept.then(|| source.mode & !self.lost_bits(source));
        match &self.chmod {
            Some(change) => {
                let is_directory = source.kind == Kind::Directory;
                Some(change.apply(kept.unwrap_or(plain_mode), is_directory))
            }
            None => kept,
        }
    }

    fn lost_bits(&self, source: &Metadata) -> u32 {
        if source.kind == Kind::Directory {
            return 0;
        }
        match self.owner_of(source) {
            None if self.set_ids_of(source).is_some() => 0,
            Some(owner) if knows_owner(source) => Owner::from(source).set_ids_lost_to(owner),
            _ => SET_ID_BITS,
        }
    }
}

fn knows_owner(source: &Metadata) -> bool {
    source.known.contains(Fields::UID.union(Fields::GID))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Time;

    fn entry(kind: Kind, mode: u32) -> Metadata {
        let time = Time { seconds: 5, nanoseconds: 1 };
        Metadata {
            mode,
            uid: 7,
            gid: 8,
            known: Fields::ALL,
            ..Metadata::of_kind(kind).with_times(time)
        }
    }

    #[test]
    fn set_id_bits_are_kept_only_with_the_owner_they_belong_to() {
        let file = entry(Kind::File, 0o6755);
        let mode = |keep: &Keep| keep.attributes_of(&file, None, 0o644).mode;
        assert_eq!(mode(&Keep::all()), Some(0o6755));
        let by_chance = Keep { owner: false, ..Keep::all() }.attributes_of(&file, None, 0o644);
        let mode_of =
            |uid, gid| by_chance.mode_to_set(Preserved::ALL, || Ok::<_, ()>(Owner { uid, gid }));
        assert_eq!(mode_of(7, 8), Ok(Some(0o6755)));
        assert_eq!(mode_of(0, 8), Ok(Some(0o2755)));
        assert_eq!(mode_of(7, 0), Ok(Some(0o4755)));
        let chown = |uid, gid| Keep { chown: Chown { uid, gid }, ..Keep::all() };
        assert_eq!(mode(&chown(Some(0), None)), Some(0o2755));
        assert_eq!(mode(&chown(Some(7), Some(0))), Some(0o4755));
        let by_hand = Keep { chmod: ModeChange::parse("u+s").ok(), ..chown(Some(0), Some(0)) };
        assert_eq!(mode(&by_hand), Some(0o4755));
        let directory = entry(Kind::Directory, 0o2775);
        let keep = Keep { owner: false, ..Keep::all() };
        assert_eq!(keep.attributes_of(&directory, None, 0o755).mode, Some(0o2775));
    }

    #[test]
    fn what_is_given_counts_instead_of_what_the_source_has() {
        let keep = Keep {
            chown: Chown { uid: Some(1), gid: None },
            chmod: ModeChange::parse("go=").ok(),
            ..Keep::default()
        };
        let file = entry(Kind::File, 0o777);
        let given = keep.attributes_of(&file, None, 0o755);
        assert_eq!(given.owner, Some(Owner { uid: 1, gid: Owner::AS_IT_IS }));
        assert_eq!((given.mode, given.times), (Some(0o700), None));
        assert_eq!(keep.fields(), Fields::UID.union(Fields::PERM));
        let wanted = keep.wanted(&file, &file, 0o755);
        assert_eq!((wanted.uid, wanted.gid, wanted.mode), (1, 8, 0o700));
        let nothing = Keep::default().attributes_of(&file, None, 0o755);
        assert_eq!(nothing, Attributes::default());
    }

    #[test]
    fn layouts_are_never_attributes() {
        let filter = |others| XattrFilter { acls: false, others };
        for (name, chosen) in [
            (&b"user.a"[..], [true, true, true, true]),
            (b"security.capability", [false, true, true, true]),
            (b"trusted.key", [false, false, true, true]),
            (b"lustre.pool", [false, false, false, true]),
            (b"lustre.lov", [false; 4]),
            (b"trusted.lov", [false; 4]),
            (b"trusted.lma", [false; 4]),
            (b"lustre.lov.add", [false; 4]),
            (b"trusted.som", [false; 4]),
            (b"trusted.lmv", [false; 4]),
            (b"trusted.dmv", [false; 4]),
            (b"trusted.link", [false; 4]),
            (b"trusted.fid", [false; 4]),
            (b"trusted.version", [false; 4]),
            (b"trusted.hsm", [false; 4]),
            (b"trusted.lfsck_bitmap", [false; 4]),
            (b"trusted.lovely", [false, false, true, true]),
            (b"user.daos", [false; 4]),
            (b"user.daos.mine", [true, true, true, true]),
            (b"system.posix_acl_access", [false; 4]),
        ] {
            let choices =
                [XattrChoice::User, XattrChoice::Own, XattrChoice::NonLustre, XattrChoice::All];
            assert_eq!(choices.map(|choice| filter(choice).passes(name)), chosen, "{name:?}");
            assert!(!filter(XattrChoice::None).passes(name));
        }
        assert!(XattrFilter::default().passes(b"system.posix_acl_default"));
        assert!(!filter(XattrChoice::All).removes(b"security.selinux"));
    }
}
