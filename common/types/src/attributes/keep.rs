//! What the copy of an entry keeps of its source's attributes, and what it is given instead: the one place
//! that decides it, for what is copied, what is repaired in place, and what counts as equal.

use serde::{Deserialize, Serialize};

use crate::attributes::acl;
use crate::attributes::mode_change::ModeChange;
use crate::entry::{ACL_XATTRS, Attributes, Kept, Kind, Metadata, Owner, SET_ID_BITS, Xattrs};
use crate::error::{Error, Op};
use crate::outcome::difference::Fields;

/// What a copy keeps.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Keep {
    /// Permissions, and access control lists with them, as with cp(1).
    pub mode: bool,
    /// Owner and group, as numbers.
    pub owner: bool,
    /// Times of last access and last change.
    pub times: bool,
    /// Extended attributes.
    pub xattrs: XattrChoice,
    /// FIFOs and sockets are made at the target.
    pub specials: bool,
    /// Devices are made at the target.
    pub devices: bool,
    /// Owners that all copies get.
    pub chown: Chown,
    /// How all modes are changed.
    pub chmod: Option<ModeChange>,
}

/// Owner and group for whatever is written; `None` where it is as without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Chown {
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

/// Which extended attributes are kept, the fewest first; access control lists are another matter, they go with the mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub enum XattrChoice {
    /// None.
    #[default]
    None,
    /// What users and their programs set.
    User,
    /// That, and file capabilities (capabilities(7)): what belongs to the entry and not to the system it
    /// is on.
    Own,
    /// All but those of Lustre.
    NonLustre,
    /// All but those that say where a file's content lies.
    All,
}

/// Names by which Lustre keeps where content lies and which object it is (`lustre_idl.h`), in the
/// namespaces `lustre` and `trusted`: on another file, or elsewhere, they are wrong or do harm.
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

/// Where a directory stands for a container of DAOS, this says for which: dfuse shows it at its root
/// (`DUNS_XATTR_NAME` in `daos_uns.h`). On a copy it would hide what is there behind that container.
const DAOS_LINK: &[u8] = b"user.daos";

/// Which extended attributes a store reads and sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct XattrFilter {
    /// Access control lists.
    pub acls: bool,
    /// All others.
    pub others: XattrChoice,
}

impl Default for XattrFilter {
    /// What belongs to an entry and not to the system it is on.
    fn default() -> Self {
        Self { acls: true, others: XattrChoice::Own }
    }
}

impl XattrFilter {
    /// What a file that is replaced hands on: its access control list, and what its users have set.
    pub const HANDED_ON: Self = Self { acls: true, others: XattrChoice::User };

    /// What of that is left, where copies get what passes here from their sources.
    #[must_use]
    pub fn handed_on(self) -> Self {
        let others = match self.others {
            XattrChoice::None => XattrChoice::User,
            _ => XattrChoice::None,
        };
        Self { acls: !self.acls, others }
    }

    /// Nothing passes.
    pub fn is_empty(self) -> bool {
        !self.acls && self.others == XattrChoice::None
    }

    /// Whether entries of that kind have any that pass: a link has none of a user (xattr(7)), and no list.
    pub fn concerns(self, kind: Kind) -> bool {
        match kind {
            Kind::Symlink => self.others > XattrChoice::Own,
            _ => !self.is_empty(),
        }
    }

    /// Whether an extended attribute of that name passes.
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

    /// Whether one that only the target has is removed: labels that the system gives every file are not.
    pub fn removes(self, name: &[u8]) -> bool {
        let is_label = name.starts_with(b"security.") && name != b"security.capability";
        self.passes(name) && !is_label
    }
}

fn is_layout(name: &[u8]) -> bool {
    let own = name.strip_prefix(b"lustre.").or_else(|| name.strip_prefix(b"trusted."));
    // Changes of a layout have names of their own, such as `lustre.lov.add`.
    own.is_some_and(|own| LAYOUTS.contains(&own) || own.starts_with(b"lov."))
}

impl Keep {
    /// All attributes, and no special files.
    pub fn all() -> Self {
        Self { mode: true, owner: true, times: true, xattrs: XattrChoice::Own, ..Self::default() }
    }

    /// Why an entry has not got what the operator gives it. That is not kept as far as it goes, as what the source has
    /// is: where it cannot be set the entry has failed.
    pub fn refusal(&self, kept: Kept) -> Option<Error> {
        let Chown { uid, gid } = self.chown;
        if uid.is_some() && kept.user_lost || gid.is_some() && kept.group_lost {
            return Some(Op::SetOwner.errno(libc::EPERM));
        }
        let op = match (self.chown == Chown::default(), &self.chmod) {
            (false, _) => Op::SetOwner,
            (true, Some(_)) => Op::SetMode,
            (true, None) => return None,
        };
        kept.is_unstored.then(|| op.errno(libc::EOPNOTSUPP))
    }

    /// Any attribute of the source is kept.
    pub fn is_any(&self) -> bool {
        self.mode || self.owner || self.times || self.xattrs != XattrChoice::None
    }

    /// A place in S3 has room for what is kept: owner, mode and times are stored together or not at all.
    pub fn fits_objects(&self) -> bool {
        let gives = self.chown != Chown::default() || self.chmod.is_some();
        let has_owner = self.owner || self.chown.uid.is_some() && self.chown.gid.is_some();
        !(self.mode || self.owner || gives) || has_owner && self.times
    }

    /// What is kept, for people.
    pub fn words(&self) -> String {
        let all = [(self.mode, "mode"), (self.owner, "owner"), (self.times, "times")];
        let kept: Vec<&str> =
            all.into_iter().filter(|(is_kept, _)| *is_kept).map(|(_, word)| word).collect();
        match kept.split_last() {
            None => String::new(),
            Some((last, [])) => format!(", {last} kept"),
            Some((last, others)) => format!(", {} and {last} kept", others.join(", ")),
        }
    }

    /// Entries of that kind are made at the target.
    pub fn makes(&self, kind: Kind) -> bool {
        match kind {
            Kind::File | Kind::Directory | Kind::Symlink => true,
            Kind::Fifo | Kind::Socket => self.specials,
            Kind::BlockDevice | Kind::CharDevice => self.devices,
        }
    }

    /// The source's mode, or the operator, decides what mode a copy has.
    pub fn decides_mode(&self) -> bool {
        self.mode || self.chmod.is_some()
    }

    /// Which extended attributes take part.
    pub fn xattr_filter(&self) -> XattrFilter {
        XattrFilter { acls: self.mode, others: self.xattrs }
    }

    /// Those extended attributes that take part.
    pub fn xattrs_of(&self, mut xattrs: Xattrs) -> Xattrs {
        let filter = self.xattr_filter();
        xattrs.retain(|name, _| filter.passes(name));
        xattrs
    }

    /// Fields in which a copy must not differ from its source, as it is [`Keep::wanted`].
    pub fn fields(&self) -> Fields {
        let all = [
            (self.owner || self.chown.uid.is_some(), Fields::UID),
            (self.owner || self.chown.gid.is_some(), Fields::GID),
            (self.decides_mode(), Fields::PERM),
            (self.times, Fields::MTIME),
            (self.mode, Fields::ACL),
            (self.xattrs != XattrChoice::None, Fields::XATTR),
        ];
        all.into_iter().filter(|(is_kept, _)| *is_kept).map(|(_, field)| field).collect()
    }

    /// The fields that the operator gives every entry, whatever its source has.
    pub fn given(&self) -> Fields {
        let all = [
            (self.chown.uid.is_some(), Fields::UID),
            (self.chown.gid.is_some(), Fields::GID),
            (self.chmod.is_some(), Fields::PERM),
        ];
        all.into_iter().filter(|(is_given, _)| *is_given).map(|(_, field)| field).collect()
    }

    /// What the copy of an entry gets, as far as its source or the operator decides that. `plain_mode` is
    /// the mode that it has where none is kept.
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

    /// The source as its copy should look, which is `now` at the target.
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

    /// Whose set-id bits a file's copy gets if it happens to be theirs: where it is not given to anybody.
    fn set_ids_of(&self, source: &Metadata) -> Option<Owner> {
        let is_left_open = source.kind != Kind::Directory
            && self.chmod.is_none()
            && self.owner_of(source).is_none()
            && knows_owner(source);
        is_left_open.then(|| Owner::from(source))
    }

    /// Set-id bits of a file are rights that belong to its owner and group: they are not kept without
    /// those.
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
            kind,
            mode,
            uid: 7,
            gid: 8,
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
    fn set_id_bits_are_kept_only_with_the_owner_they_belong_to() {
        let file = entry(Kind::File, 0o6755);
        let mode = |keep: &Keep| keep.attributes_of(&file, None, 0o644).mode;
        assert_eq!(mode(&Keep::all()), Some(0o6755));
        let by_chance = Keep { owner: false, ..Keep::all() }.attributes_of(&file, None, 0o644);
        let mode_of =
            |uid, gid| by_chance.mode_to_set(Kept::ALL, || Ok::<_, ()>(Owner { uid, gid }));
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
