//! An entry of a tree: its kind and its attributes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::content::crc64::Crc64;
use crate::outcome::difference::Fields;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Kind {
    File,
    Directory,
    Symlink,
    Fifo,
    Socket,
    BlockDevice,
    CharDevice,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::File,
        Self::Directory,
        Self::Symlink,
        Self::Fifo,
        Self::Socket,
        Self::BlockDevice,
        Self::CharDevice,
    ];

    /// Neither content nor a link: a FIFO, socket or device.
    pub fn is_special(self) -> bool {
        matches!(self, Self::Fifo | Self::Socket | Self::BlockDevice | Self::CharDevice)
    }

    /// The kind in `st_mode` (inode(7)).
    pub fn from_mode(mode: u32) -> Self {
        match mode & libc::S_IFMT {
            libc::S_IFREG => Self::File,
            libc::S_IFDIR => Self::Directory,
            libc::S_IFLNK => Self::Symlink,
            libc::S_IFIFO => Self::Fifo,
            libc::S_IFSOCK => Self::Socket,
            libc::S_IFCHR => Self::CharDevice,
            _ => Self::BlockDevice,
        }
    }

    /// One lower-case word.
    pub fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Symlink => "symlink",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
            Self::BlockDevice => "block-device",
            Self::CharDevice => "char-device",
        }
    }

    /// The kind that a list names by that word. Older lists do not tell devices apart.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "device" => Some(Self::BlockDevice),
            _ => Self::ALL.into_iter().find(|kind| kind.word() == word),
        }
    }

    /// The first letter of a line of ls(1).
    pub fn letter(self) -> char {
        match self {
            Self::File => '-',
            Self::Directory => 'd',
            Self::Symlink => 'l',
            Self::Fifo => 'p',
            Self::Socket => 's',
            Self::BlockDevice => 'b',
            Self::CharDevice => 'c',
        }
    }
}

/// In a second.
const NANOSECONDS: u32 = 1_000_000_000;

/// A point in time as POSIX keeps it: seconds since 1970 (negative before), and nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "units are in the names")]
pub struct Time {
    pub seconds: i64,
    pub nanoseconds: u32,
}

impl Time {
    /// This node's clock.
    pub fn now() -> Self {
        let now = std::time::SystemTime::now();
        let since = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self { seconds: since.as_secs() as i64, nanoseconds: since.subsec_nanos() }
    }

    /// The time with which the kernel stamps a change now: its last tick.
    pub fn of_last_tick() -> Self {
        let now = clock_gettime(ClockId::RealtimeCoarse);
        Self { seconds: now.tv_sec, nanoseconds: now.tv_nsec as u32 }
    }

    /// That much later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let nanoseconds = self.nanoseconds + duration.subsec_nanos();
        let carried = i64::from(nanoseconds / NANOSECONDS);
        let seconds = self.seconds.saturating_add(duration.as_secs() as i64);
        Self { seconds: seconds.saturating_add(carried), nanoseconds: nanoseconds % NANOSECONDS }
    }
}

/// The attributes of an entry, as statx(2) gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// What it is.
    pub kind: Kind,
    /// Permission bits with set-id and sticky bits: `st_mode & 07777`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Length of a file's content; of a symlink's target.
    pub size_bytes: u64,
    /// Storage in use.
    pub allocated_bytes: u64,
    /// Last access.
    pub atime: Time,
    /// Last change of content; of a file for which that is not known, when it was stored.
    pub mtime: Time,
    /// Last change of attributes.
    pub ctime: Time,
    /// Names of this inode.
    pub links: u64,
    /// Device of the file system.
    pub device: u64,
    /// Inode number there.
    pub inode: u64,
    /// Attributes that the store knows of this entry: the others above stand for nothing.
    pub known: Fields,
}

/// What tells that a file is still the one the walk met, with the content it had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as in Metadata")]
pub struct Identity {
    pub inode: u64,
    pub size_bytes: u64,
    pub mtime: Time,
}

/// What tells that a file was not changed at all, not even by somebody who has set its time of change
/// back: that sets its ctime (utimensat(2)). Too strict where the job itself sets attributes or links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as in Metadata")]
pub struct Version {
    pub identity: Identity,
    pub ctime: Time,
}

impl Metadata {
    /// What must stay the same while content is compared.
    pub fn version(&self) -> Version {
        Version { identity: self.identity(), ctime: self.ctime }
    }

    /// What must stay the same while the content is read.
    ///
    /// The device number is left out: network file systems number it differently on each node.
    pub fn identity(&self) -> Identity {
        Identity { inode: self.inode, size_bytes: self.size_bytes, mtime: self.mtime }
    }

    /// Last change of content. Where that is not known of a file it is when the file was stored, which
    /// was no earlier; of a directory it may not be known at all.
    pub fn last_change(&self) -> Option<Time> {
        let is_known = self.known.contains(Fields::MTIME) || self.kind != Kind::Directory;
        is_known.then_some(self.mtime)
    }

    /// The times to be given to a copy; where only that of the last change is known, the last access
    /// was then, too.
    pub fn times(&self) -> Option<Times> {
        let mtime = self.last_change()?;
        let atime = if self.known.contains(Fields::ATIME) { self.atime } else { mtime };
        Some(Times { atime, mtime })
    }

    /// The two entries are one inode, seen from one node.
    pub fn is_same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

/// Extended attributes by name (xattr(7)), access control lists among them: those that copies keep.
pub type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// Names of the extended attributes that hold access control lists (acl(5)).
pub const ACL_XATTRS: [&[u8]; 2] = [b"system.posix_acl_access", b"system.posix_acl_default"];

/// Attributes to give to an entry; `None` leaves one as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Attributes {
    /// Owner and group. Where the owner may not be changed, the group is still tried.
    pub owner: Option<Owner>,
    /// Permission bits. Set-id bits are dropped where the owner could not be kept.
    pub mode: Option<u32>,
    /// Whose set-id bits the mode has, where no owner is given: they are dropped where the entry is another's.
    pub set_ids_of: Option<Owner>,
    /// Access and modification time.
    pub times: Option<Times>,
    /// Exactly these of the extended attributes that copies keep; others of them are removed.
    pub xattrs: Option<Arc<Xattrs>>,
}

/// Owner and group of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
}

impl Owner {
    /// Nobody has this number: one that is to stay as it is (chown(2)).
    pub const AS_IT_IS: u32 = u32::MAX;

    /// Both are given.
    pub fn is_whole(&self) -> bool {
        self.uid != Self::AS_IT_IS && self.gid != Self::AS_IT_IS
    }

    /// Set-id bits that are this owner's right and not another one's.
    pub fn set_ids_lost_to(self, other: Self) -> u32 {
        let of_user = if other.uid == self.uid { 0 } else { 0o4000 };
        let of_group = if other.gid == self.gid { 0 } else { 0o2000 };
        of_user | of_group
    }

    /// With those of `other` where one is to stay as it is.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let pick = |own: u32, other: u32| if own == Self::AS_IT_IS { other } else { own };
        Self { uid: pick(self.uid, other.uid), gid: pick(self.gid, other.gid) }
    }
}

/// The two times that can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as in Metadata")]
pub struct Times {
    pub atime: Time,
    pub mtime: Time,
}

impl Attributes {
    /// None of them.
    pub const NONE: &Self =
        &Self { owner: None, mode: None, set_ids_of: None, times: None, xattrs: None };

    /// The mode to be set: without set-id bits that are the right of somebody else than who has the entry `now`.
    ///
    /// # Errors
    /// Those of asking for that, which is done only where it matters.
    pub fn mode_to_set<E>(
        &self,
        kept: Kept,
        now: impl FnOnce() -> Result<Owner, E>,
    ) -> Result<Option<u32>, E> {
        let Some(mode) = self.mode else { return Ok(None) };
        let lost = match self.set_ids_of {
            _ if kept.is_owner_lost() => SET_ID_BITS,
            Some(of) if mode & SET_ID_BITS != 0 => of.set_ids_lost_to(now()?),
            _ => 0,
        };
        Ok(Some(mode & !lost))
    }

    /// All that `-p` keeps, as far as the source knows it; `xattrs` is `None` where the source has no
    /// notion of them.
    pub fn all_of(metadata: &Metadata, xattrs: Option<Xattrs>) -> Self {
        let knows = |fields| metadata.known.contains(fields);
        Self {
            owner: knows(Fields::UID.union(Fields::GID))
                .then_some(Owner { uid: metadata.uid, gid: metadata.gid }),
            mode: knows(Fields::PERM).then_some(metadata.mode),
            set_ids_of: None,
            times: metadata.times(),
            xattrs: xattrs.map(Arc::new),
        }
    }
}

/// Which of the attributes asked for could not be set, because of who asks or where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kept {
    /// The system does not let this user give files to that user; set-id bits were dropped.
    pub user_lost: bool,
    /// The system does not let this user give files to that group; set-id bits were dropped.
    pub group_lost: bool,
    /// The file system, or the system for this user, does not take some extended attribute.
    pub xattrs_lost: bool,
    /// The store has no room for owner, mode or times.
    pub attributes_lost: bool,
    /// The store keeps neither owner nor mode of this entry, whether they were asked for or not.
    pub is_unstored: bool,
    /// Tags, or what else a service keeps with an object, were not to be read, or not to be kept.
    pub properties_lost: bool,
    /// The file could not be striped as it should be.
    pub layout_lost: bool,
    /// The file system keeps times in coarser steps than the source does.
    pub times_cut: bool,
    /// What shows that content arrived as it was sent, where it went through a network service.
    pub proof: Option<Proof>,
}

/// What shows that an object's content is what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Proof {
    /// CRC-64/NVME, compared by the service or, of what comes from there, by us.
    Crc64,
    /// CRC32C, compared by the service.
    Crc32c,
    /// MD5, compared by the service, or its ETag.
    Md5,
    /// The service has copied it itself.
    ServiceCopy,
    /// Nothing.
    None,
}

impl Proof {
    /// All of them, with a word and with words for people.
    pub const ALL: [(Self, &'static str, &'static str); 5] = [
        (Self::Crc64, "crc64", "checked by CRC-64/NVME"),
        (Self::Crc32c, "crc32c", "checked by CRC32C"),
        (Self::Md5, "md5", "checked by MD5"),
        (Self::ServiceCopy, "service", "copied by the service itself"),
        (
            Self::None,
            "not_verifiable",
            "not verifiable: no checksum of the whole is kept with them",
        ),
    ];
}

impl From<&Metadata> for Owner {
    fn from(metadata: &Metadata) -> Self {
        Self { uid: metadata.uid, gid: metadata.gid }
    }
}

impl Kept {
    /// User or group is not as asked.
    pub fn is_owner_lost(self) -> bool {
        self.user_lost || self.group_lost
    }

    /// Every attribute is as asked.
    pub const ALL: Self = Self {
        user_lost: false,
        group_lost: false,
        xattrs_lost: false,
        attributes_lost: false,
        is_unstored: false,
        properties_lost: false,
        layout_lost: false,
        times_cut: false,
        proof: None,
    };
}

/// Set-user-id, set-group-id: rights that belong to an owner.
pub const SET_ID_BITS: u32 = 0o6000;

/// What a directory listing says about an entry before anyone has looked at it (`d_type` of
/// readdir(3)); some file systems say nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Hint {
    File,
    Directory,
    Symlink,
    Other,
    Unknown,
    /// An object, of which listings say more.
    Object(Listed),
    /// A file of which a manifest says what it was.
    Recorded(Recorded),
}

/// What a manifest says of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// Length of its content.
    pub size_bytes: u64,
    /// When its content was last changed.
    pub mtime: Time,
    /// Checksum of its content.
    pub crc64: Crc64,
}

/// What a listing says of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Length of its content.
    pub size_bytes: u64,
    /// When it was stored, in seconds since 1970: not when its content was last changed.
    pub stored_seconds: i64,
}

impl Hint {
    /// As far as the listing says, it is a regular file.
    pub fn is_file(self) -> bool {
        matches!(self, Self::File | Self::Object(_) | Self::Recorded(_))
    }
}

impl From<Kind> for Hint {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::File => Self::File,
            Kind::Directory => Self::Directory,
            Kind::Symlink => Self::Symlink,
            Kind::Fifo | Kind::Socket | Kind::BlockDevice | Kind::CharDevice => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_word_and_a_letter_of_its_own() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_word(kind.word()), Some(kind));
            let same = Kind::ALL.into_iter().filter(|other| other.letter() == kind.letter());
            assert_eq!(same.count(), 1, "{kind:?}");
        }
        assert_eq!(Kind::from_mode(0o020_666), Kind::CharDevice);
        assert_eq!(Kind::from_mode(0o060_660), Kind::BlockDevice);
        assert_eq!(Kind::from_word("device"), Some(Kind::BlockDevice), "as older lists say");
        assert_eq!(Kind::from_word("door"), None);
    }
}
