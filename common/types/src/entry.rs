//! An entry of a tree: its kind and its attributes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::content::crc64::Crc64;
use crate::outcome::difference::Fields;

/// File type of an entry.
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

    /// Returns true for an entry that is neither a file, a directory nor a symbolic link: a FIFO,
    /// socket or device.
    pub fn is_special(self) -> bool {
        matches!(self, Self::Fifo | Self::Socket | Self::BlockDevice | Self::CharDevice)
    }

    /// Returns true for a block or character device.
    pub fn is_device(self) -> bool {
        matches!(self, Self::BlockDevice | Self::CharDevice)
    }

    /// Returns the bits of `st_mode` that say the file type.
    pub fn to_mode(self) -> u32 {
        match self {
            Self::File => libc::S_IFREG,
            Self::Directory => libc::S_IFDIR,
            Self::Symlink => libc::S_IFLNK,
            Self::Fifo => libc::S_IFIFO,
            Self::Socket => libc::S_IFSOCK,
            Self::BlockDevice => libc::S_IFBLK,
            Self::CharDevice => libc::S_IFCHR,
        }
    }

    /// Returns the file type in `st_mode` (inode(7)).
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

    /// Returns the name of the type: one lower-case word.
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

    /// Returns the type that a list names by that word. Older lists do not distinguish block from
    /// character devices.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "device" => Some(Self::BlockDevice),
            _ => Self::ALL.into_iter().find(|kind| kind.word() == word),
        }
    }

    /// Returns the letter by which ls(1) shows the type.
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

/// Nanoseconds in a second.
const NANOSECONDS: u32 = 1_000_000_000;

/// A point in time as POSIX keeps it: seconds since 1970 (negative before), and nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "units are in the names")]
pub struct Time {
    pub seconds: i64,
    pub nanoseconds: u32,
}

impl Time {
    /// Returns the time of this node's clock.
    pub fn now() -> Self {
        let now = std::time::SystemTime::now();
        let since = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self { seconds: since.as_secs() as i64, nanoseconds: since.subsec_nanos() }
    }

    /// Returns the time with which the kernel would stamp a change now: that of its last tick.
    pub fn of_last_tick() -> Self {
        let now = clock_gettime(ClockId::RealtimeCoarse);
        Self { seconds: now.tv_sec, nanoseconds: now.tv_nsec as u32 }
    }

    /// Returns the time that is `duration` later.
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
    /// File type of the entry.
    pub kind: Kind,
    /// Permission bits with set-id and sticky bits: `st_mode & 07777`.
    pub mode: u32,
    /// User ID of the owner.
    pub uid: u32,
    /// Group ID.
    pub gid: u32,
    /// Length of a file's content, or of a symbolic link's target, in bytes.
    pub size_bytes: u64,
    /// Storage in use, in bytes.
    pub allocated_bytes: u64,
    /// Access time.
    pub atime: Time,
    /// Modification time; the time at which the file was stored where its modification time is not
    /// known.
    pub mtime: Time,
    /// Change time: the last change of content or attributes.
    pub ctime: Time,
    /// Number of hard links of this inode; [`Metadata::UNKNOWN_LINKS`] where the store does not
    /// tell.
    pub links: u64,
    /// Device number of the file system.
    pub device: u64,
    /// Inode number in the file system.
    pub inode: u64,
    /// Attributes that the store knows of this entry; the other fields have no meaning, except
    /// that [`links`](Self::links) has a value of its own for unknown ones.
    pub known: Fields,
}

/// Evidence that a file is still the one that the walk met, with the same content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as in Metadata")]
pub struct Identity {
    pub inode: u64,
    pub size_bytes: u64,
    pub mtime: Time,
}

/// Evidence that a file was not changed at all, not even by a program that has set the modification
/// time back: that updates the change time (utimensat(2)). Too strict where the job itself sets
/// attributes or makes hard links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as in Metadata")]
pub struct Version {
    pub identity: Identity,
    pub ctime: Time,
}

impl Metadata {
    /// Returns metadata of which only the file type is known.
    pub const fn of_kind(kind: Kind) -> Self {
        let never = Time { seconds: 0, nanoseconds: 0 };
        Self {
            kind,
            mode: 0,
            uid: 0,
            gid: 0,
            size_bytes: 0,
            allocated_bytes: 0,
            atime: never,
            mtime: never,
            ctime: never,
            links: 1,
            device: 0,
            inode: 0,
            known: Fields::TYPE,
        }
    }

    /// Returns this metadata with one time for access, modification and change.
    #[must_use]
    pub const fn with_times(self, time: Time) -> Self {
        Self { atime: time, mtime: time, ctime: time, ..self }
    }

    /// Number of hard links that no entry has: which entries are links of one file is not known.
    pub const UNKNOWN_LINKS: u64 = 0;

    /// Returns the attributes that must not change while content is compared.
    pub fn version(&self) -> Version {
        Version { identity: self.identity(), ctime: self.ctime }
    }

    /// Returns the attributes that must not change while the content is read.
    ///
    /// The device number is not among them: network file systems have another one on each node.
    pub fn identity(&self) -> Identity {
        Identity { inode: self.inode, size_bytes: self.size_bytes, mtime: self.mtime }
    }

    /// Returns the modification time. Where that of a file is not known it is the time at which the
    /// file was stored, which is no earlier; `None` for a directory whose modification time is not
    /// known.
    pub fn last_change(&self) -> Option<Time> {
        let is_known = self.known.contains(Fields::MTIME) || self.kind != Kind::Directory;
        is_known.then_some(self.mtime)
    }

    /// Returns the times that a copy gets. Where only the modification time is known it stands for
    /// the access time, too.
    pub fn times(&self) -> Option<Times> {
        let mtime = self.last_change()?;
        let atime = if self.known.contains(Fields::ATIME) { self.atime } else { mtime };
        Some(Times { atime, mtime })
    }

    /// Returns true where both entries are the same inode, as seen from one node.
    pub fn is_same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

/// Extended attributes by name (xattr(7)), access control lists among them, as far as copies
/// preserve them.
pub type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// Names of the extended attributes that hold access control lists (acl(5)).
pub const ACL_XATTRS: [&[u8]; 2] = [b"system.posix_acl_access", b"system.posix_acl_default"];

/// Attributes to give to an entry; `None` leaves one as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Attributes {
    /// Owner and group. Where the owner may not be changed, the group is tried all the same.
    pub owner: Option<Owner>,
    /// Permission bits. Set-id bits are dropped where the owner could not be set.
    pub mode: Option<u32>,
    /// Owner that set-id bits of the mode belong to, where no owner is given: they are dropped
    /// where the entry belongs to another one.
    pub set_ids_of: Option<Owner>,
    /// Access and modification times.
    pub times: Option<Times>,
    /// Exact set of the preserved extended attributes; others of their kinds are removed.
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
    /// Number that no user or group has: leaves the owner or the group unchanged (chown(2)).
    pub const AS_IT_IS: u32 = u32::MAX;

    /// Returns true where both user and group are given.
    pub fn is_whole(&self) -> bool {
        self.uid != Self::AS_IT_IS && self.gid != Self::AS_IT_IS
    }

    /// Returns the set-id bits that are rights of this owner and not of the other one.
    pub fn set_ids_lost_to(self, other: Self) -> u32 {
        let of_user = if other.uid == self.uid { 0 } else { 0o4000 };
        let of_group = if other.gid == self.gid { 0 } else { 0o2000 };
        of_user | of_group
    }

    /// Returns this owner with the user or group of `other` where this one leaves it unchanged.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let pick = |own: u32, other: u32| if own == Self::AS_IT_IS { other } else { own };
        Self { uid: pick(self.uid, other.uid), gid: pick(self.gid, other.gid) }
    }
}

/// The two times of an entry that can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as in Metadata")]
pub struct Times {
    pub atime: Time,
    pub mtime: Time,
}

impl Attributes {
    /// No attributes: leaves the entry unchanged.
    pub const NONE: &Self =
        &Self { owner: None, mode: None, set_ids_of: None, times: None, xattrs: None };

    /// Returns the mode to be set, without set-id bits that belong to another owner than the
    /// entry's present one, which `now` finds out.
    ///
    /// # Errors
    /// Errors of `now`, which is called only where the mode has set-id bits.
    pub fn mode_to_set<E>(
        &self,
        preserved: Preserved,
        now: impl FnOnce() -> Result<Owner, E>,
    ) -> Result<Option<u32>, E> {
        let Some(mode) = self.mode else { return Ok(None) };
        let lost = match self.set_ids_of {
            _ if preserved.is_owner_lost() => SET_ID_BITS,
            Some(of) if mode & SET_ID_BITS != 0 => of.set_ids_lost_to(now()?),
            _ => 0,
        };
        Ok(Some(mode & !lost))
    }

    /// Returns all attributes that `-p` preserves, as far as the source knows them; `xattrs` is
    /// `None` where the source does not support extended attributes.
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

/// Result of writing an entry: attributes that were requested and could not be preserved, for lack
/// of privileges or support, and the evidence of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Preserved {
    /// The user could not be set, for lack of privileges; set-id bits were dropped.
    pub user_lost: bool,
    /// The group could not be set, for lack of privileges; set-id bits were dropped.
    pub group_lost: bool,
    /// An extended attribute was refused by the file system, or for lack of privileges.
    pub xattrs_lost: bool,
    /// The store cannot hold owner, mode or times.
    pub attributes_lost: bool,
    /// The store holds neither owner nor mode of this entry, whether they were requested or not.
    pub is_unstored: bool,
    /// Tags or other properties that a service stores with an object could not be read or set.
    pub properties_lost: bool,
    /// The file could not get the layout it should have.
    pub layout_lost: bool,
    /// Timestamps were truncated: the file system stores them in coarser steps than the source
    /// does.
    pub timestamps_truncated: bool,
    /// Checksum by which the content was verified, where it went through a network service.
    pub proof: Option<Proof>,
}

/// Evidence that an object's content is what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Proof {
    /// CRC-64/NVME, compared by the service or, for content that comes from it, by this process.
    Crc64,
    /// CRC32C, compared by the service.
    Crc32c,
    /// MD5, compared by the service or with its ETag.
    Md5,
    /// A copy that the service has made itself.
    ServiceCopy,
    /// No evidence.
    None,
}

impl Proof {
    /// All kinds of evidence, each with its word and its description for people.
    pub const ALL: [(Self, &'static str, &'static str); 5] = [
        (Self::Crc64, "crc64", "checked by CRC-64/NVME"),
        (Self::Crc32c, "crc32c", "checked by CRC32C"),
        (Self::Md5, "md5", "checked by MD5"),
        (Self::ServiceCopy, "server_side_copy", "copied by the service itself"),
        (
            Self::None,
            "not_verifiable",
            "not verifiable: the service stores no checksum of the whole object",
        ),
    ];
}

impl From<&Metadata> for Owner {
    fn from(metadata: &Metadata) -> Self {
        Self { uid: metadata.uid, gid: metadata.gid }
    }
}

impl Preserved {
    /// Returns true where user or group is not as requested.
    pub fn is_owner_lost(self) -> bool {
        self.user_lost || self.group_lost
    }

    /// All attributes are as requested.
    pub const ALL: Self = Self {
        user_lost: false,
        group_lost: false,
        xattrs_lost: false,
        attributes_lost: false,
        is_unstored: false,
        properties_lost: false,
        layout_lost: false,
        timestamps_truncated: false,
        proof: None,
    };
}

/// Set-user-id, set-group-id: rights that belong to an owner.
pub const SET_ID_BITS: u32 = 0o6000;

/// File type that a directory listing tells before the entry is inspected (`d_type` of readdir(3)),
/// `Unknown` where the file system does not tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Hint {
    File,
    Directory,
    Symlink,
    Other,
    Unknown,
    /// An object, with its size and time from the listing.
    Object(Listed),
    /// A file with its size, time and checksum from a manifest.
    Recorded(Recorded),
}

/// Attributes of a file as a manifest records them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// Length of its content in bytes.
    pub size_bytes: u64,
    /// Modification time.
    pub mtime: Time,
    /// Checksum of its content.
    pub crc64: Crc64,
}

/// Attributes of an object as a listing tells them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Length of its content in bytes.
    pub size_bytes: u64,
    /// Time at which the object was stored, in seconds since 1970; not the modification time of its
    /// content.
    pub stored_seconds: i64,
}

impl Hint {
    /// Returns true for a regular file, as far as the listing tells.
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
