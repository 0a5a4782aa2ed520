//! Messages between client and agent: requests, and the answer to each.
//!
//! A request names its directory by the number of a root and a path below it, and has all that is
//! needed to repeat it on another connection.

use std::ffi::CString;

use serde::{Deserialize, Serialize};

use ::host::user::User;
use ::store::opening::{OpenAs, Symlinks};
use ::store::{NewFile, NewSpecial, NewSymlink, Writers};
use types::content::chunk::Extent;
use types::content::crc64::Crc64;
use types::entry::{Attributes, Hint, Identity, Kind, Metadata, Preserved, Time, Xattrs};
use types::error::{Error, Op, Result};
use types::operand::lineage::Lineage;
use types::operand::root_view::RootView;
use types::path::RelPath;

/// Returns a name that has arrived, if it is one component of a path.
///
/// # Errors
/// `EBADMSG` for anything else.
pub fn checked_name(bytes: Vec<u8>) -> Result<CString> {
    let is_name = !matches!(&bytes[..], b"" | b"." | b"..") && !bytes.contains(&b'/');
    let name = is_name.then(|| CString::new(bytes).ok()).flatten();
    name.ok_or_else(|| Op::Open.errno(libc::EBADMSG))
}

/// A directory: the number of its root, and its path below that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct At {
    /// Number of the root.
    pub root: u32,
    /// Path below the root; not yet validated.
    pub path: Vec<u8>,
}

impl At {
    /// Returns the path, if it is one below a root.
    ///
    /// # Errors
    /// `EBADMSG` for anything else.
    pub fn checked(&self) -> Result<RelPath> {
        RelPath::checked(&self.path).ok_or_else(|| Op::Open.errno(libc::EBADMSG))
    }
}

/// A file that is open for reading at the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenedFile {
    /// Directory of the file.
    pub dir: At,
    /// Name of the file.
    pub name: Vec<u8>,
    /// Inode that it had when it was opened; another one is an error.
    pub inode: u64,
    /// True if the page cache is to be bypassed.
    pub past_cache: bool,
}

/// A file that is staged at the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedAs {
    /// Directory of the file.
    pub dir: At,
    /// Name under which it is staged.
    pub staged: Vec<u8>,
    /// Final name.
    pub name: Vec<u8>,
    /// Inode of the file, once it is known; another one is an error.
    pub inode: Option<u64>,
}

/// Description of a new file; see [`NewFile`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as in NewFile")]
pub struct New {
    pub at: StagedAs,
    pub size_bytes: u64,
    pub mtime: Option<Time>,
    pub writers: Writers,
    pub replaces: bool,
    pub attributes: Attributes,
}

impl New {
    /// Describes the file for the store of the agent.
    pub fn file<'n>(&'n self, staged: &'n CString, name: &'n CString) -> NewFile<'n> {
        NewFile {
            size_bytes: self.size_bytes,
            mtime: self.mtime,
            writers: self.writers,
            replaces: self.replaces,
            ..NewFile::new(staged, name, &self.attributes)
        }
    }
}

/// A symbolic link or special file to be created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NewEntry {
    /// A symbolic link with this target.
    Symlink {
        /// Path that it points to.
        points_to: Vec<u8>,
        /// Modification time of the source.
        mtime: Option<Time>,
    },
    /// A FIFO, socket or device.
    Special {
        /// File type of it.
        kind: Kind,
        /// Device number of it.
        device: Option<u64>,
    },
}

impl From<&NewSymlink<'_>> for NewEntry {
    fn from(new: &NewSymlink<'_>) -> Self {
        Self::Symlink { points_to: new.points_to.to_vec(), mtime: new.mtime }
    }
}

impl From<&NewSpecial<'_>> for NewEntry {
    fn from(new: &NewSpecial<'_>) -> Self {
        Self::Special { kind: new.kind, device: new.device }
    }
}

/// Purpose of a request for metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StatAs {
    /// Follows symbolic links if the store was opened so.
    Plain,
    /// Follows symbolic links.
    Followed,
    /// Bypasses caches, for a directory.
    Now,
}

/// One of the messages that travel together. It is encoded, so that none has a depth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The encoded message.
    pub head: Vec<u8>,
    /// Bytes of data that belong to it, behind those of the messages before it.
    pub data_bytes: u32,
}

/// A request of the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names of the fields say it")]
pub enum Request {
    /// Begins the session: the mask for new entries, whether device numbers are to be relative to
    /// the root's, because each of several hosts may have its own, and whether messages are
    /// compressed. The answer is the machine, and the user there.
    Begin { umask: u32, relative_devices: bool, compress: bool },
    /// Asks whether the agent is there.
    Ping,
    /// Opens the root of that number.
    Root { root: u32, path: Vec<u8>, open_as: OpenAs },
    /// Metadata of a path as the operator wrote it.
    StatPath { path: Vec<u8>, symlinks: Symlinks },
    /// Creates the directory at a path.
    MakePath { path: Vec<u8>, mode: u32 },
    /// Removes the empty directory at a path.
    RemovePath { path: Vec<u8> },
    /// The path of a directory without symbolic links.
    RealPath { path: Vec<u8> },
    /// Tells whether the directory at a path is another one, or below it.
    IsBelow { path: Vec<u8>, above: Metadata },
    /// The directory at a path, with those above it.
    Lineage { path: Vec<u8> },
    /// Syncs a tree to storage.
    Sync { root: u32 },
    /// Mounts below a root, or below an entry of it.
    Mounts { root: u32, entry: Option<Vec<u8>> },
    /// View of a root from one host, with the mounts below it.
    View { root: u32, entry: Option<Vec<u8>> },
    /// Metadata of an entry, or of the directory itself.
    Stat { dir: At, name: Option<Vec<u8>>, how: StatAs },
    /// Metadata of a directory, and its first entries, if it can be listed, with the extended
    /// attributes of files where those are requested.
    Enter { dir: At, xattrs: bool },
    /// The first entries of a directory.
    List { dir: At, xattrs: bool },
    /// The next entries of a listing of that directory.
    More { dir: At, list: u64 },
    /// Opens a file, and reads it if it is that small, or computes the checksum of its content if
    /// that is small.
    Open { dir: At, name: Vec<u8>, read_bytes: u64, sum: bool, identity: Option<Identity> },
    /// Reads from a file.
    Read { file: OpenedFile, offset: u64, length: u64 },
    /// The checksum of an extent.
    Sum { file: OpenedFile, extent: Extent },
    /// The next data in an extent.
    DataIn { file: OpenedFile, extent: Extent },
    /// The target of a symbolic link.
    ReadLink { dir: At, name: Vec<u8> },
    /// Extended attributes.
    Xattrs { dir: At, name: Option<Vec<u8>> },
    /// Permissions that a default ACL leaves.
    DefaultAclMode { dir: At },
    /// The number of a device.
    DeviceNumber { dir: At, name: Vec<u8> },
    /// The mount of a directory.
    Mount { dir: At },
    /// Creates a directory, and enters it.
    MakeDir { dir: At, name: Vec<u8>, mode: u32 },
    /// Stages a file.
    Stage { new: New },
    /// Takes over a staged file of an interrupted job.
    Resume { new: New, inode: Option<u64> },
    /// Opens a staged file that another writer has created.
    Join { at: StagedAs },
    /// Writes the data of this message.
    Write { at: StagedAs, offset: u64 },
    /// Leaves a hole.
    Hole { at: StagedAs, extent: Extent },
    /// Sets the size.
    EndAt { at: StagedAs, size_bytes: u64 },
    /// The size of a staged file.
    StagedSize { at: StagedAs },
    /// Ends a writer: syncs what was written, if that is requested.
    Close { at: StagedAs },
    /// Completes a staged file of that inode.
    Commit { new: New, inode: u64 },
    /// Stages, writes and completes a file: extents of the data of this message, and its size.
    Put { new: New, extents: Vec<Extent>, size_bytes: u64 },
    /// Removes a staged file.
    Abandon { at: StagedAs },
    /// Creates a symbolic link or special file.
    Make { at: StagedAs, entry: NewEntry, attributes: Attributes },
    /// Sets attributes of an entry, or of the directory itself.
    SetAttributes { dir: At, entry: Option<(Vec<u8>, Kind)>, attributes: Attributes },
    /// Removes an entry.
    Remove { dir: At, name: Vec<u8>, kind: Kind },
    /// Creates a hard link to an entry of another directory.
    HardLink { at: StagedAs, from: At, of: Vec<u8> },
    /// Creates a hard link to the entry of the same name in another directory.
    LinkFrom { dir: At, from: At, name: Vec<u8> },
    /// Does each of these requests, some of which may change something.
    Each { parts: Vec<Part>, is_write: bool },
}

impl Request {
    /// Returns the content in bytes that the answer may have.
    pub fn bytes_of_answer(&self) -> usize {
        match self {
            Self::Read { length, .. } => *length as usize,
            _ => 0,
        }
    }

    /// Returns whether the request changes anything below a root.
    pub fn is_write(&self) -> bool {
        match self {
            Self::MakePath { .. }
            | Self::RemovePath { .. }
            | Self::MakeDir { .. }
            | Self::Stage { .. }
            | Self::Resume { .. }
            | Self::Join { .. }
            | Self::Write { .. }
            | Self::Hole { .. }
            | Self::EndAt { .. }
            | Self::Close { .. }
            | Self::Commit { .. }
            | Self::Put { .. }
            | Self::Abandon { .. }
            | Self::Make { .. }
            | Self::SetAttributes { .. }
            | Self::Remove { .. }
            | Self::HardLink { .. }
            | Self::LinkFrom { .. } => true,
            Self::Each { is_write, .. } => *is_write,
            Self::Ping
            | Self::Begin { .. }
            | Self::Root { .. }
            | Self::StatPath { .. }
            | Self::RealPath { .. }
            | Self::IsBelow { .. }
            | Self::Lineage { .. }
            | Self::Sync { .. }
            | Self::View { .. }
            | Self::Mounts { .. }
            | Self::Stat { .. }
            | Self::Enter { .. }
            | Self::List { .. }
            | Self::More { .. }
            | Self::Open { .. }
            | Self::Read { .. }
            | Self::Sum { .. }
            | Self::DataIn { .. }
            | Self::ReadLink { .. }
            | Self::Xattrs { .. }
            | Self::DefaultAclMode { .. }
            | Self::DeviceNumber { .. }
            | Self::StagedSize { .. }
            | Self::Mount { .. } => false,
        }
    }
}

/// An entry of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedEntry {
    /// Name; not yet validated.
    pub name: Vec<u8>,
    /// Type from the listing.
    pub hint: Hint,
    /// Metadata, if it could be read.
    pub metadata: Option<Metadata>,
    /// Extended attributes that copies preserve, of a file for which they were requested, unless
    /// they are many or could not be read.
    pub xattrs: Option<ListedXattrs>,
}

/// Extended attributes of an entry of a listing; `None` where its file system has none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedXattrs(pub Option<Xattrs>);

/// Entries of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Page {
    /// Entries.
    pub entries: Vec<ListedEntry>,
    /// Number with which to request the next ones, if there are more.
    pub more: Option<u64>,
}

/// A directory that was entered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entered {
    /// Metadata of it.
    pub metadata: Metadata,
    /// Extended attributes that copies preserve, unless they are many.
    pub xattrs: Option<Result<Option<Xattrs>>>,
    /// Entries of it, if they are few and can be listed.
    pub page: Option<Page>,
}

/// An opened file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileIs {
    /// Metadata of it.
    pub metadata: Metadata,
    /// Extended attributes that copies preserve.
    pub xattrs: Result<Option<Xattrs>>,
    /// True if the data of the message is the whole content, and did not change while it was read.
    pub is_whole: bool,
    /// Checksum of the whole content, which did not change while it was computed.
    pub sum: Option<Crc64>,
}

/// Mounts below a root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mounts {
    /// Mount points, by their path below the root, with the device numbers there.
    pub below: Vec<(Vec<u8>, u64)>,
    /// True if the root is mounted, and nothing is mounted over it.
    pub is_reached: bool,
}

/// A root that was opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootIs {
    /// Metadata of it.
    pub metadata: Metadata,
    /// True if names that differ only in case collide.
    pub is_case_insensitive: bool,
    /// Mounts below it.
    pub mounts: Mounts,
}

/// The machine that an agent runs on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Host name of it.
    pub name: Vec<u8>,
    /// ID of it until its next boot.
    pub boot: Vec<u8>,
}

impl Machine {
    /// Returns the machine of this process.
    pub fn own() -> Self {
        let name = rustix::system::uname().nodename().to_bytes().to_vec();
        Self { name, boot: host::process::machine_id() }
    }
}

/// A staged file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedIs {
    /// Inode of it.
    pub inode: u64,
    /// True if it can be resumed by another job.
    pub is_resumable: bool,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the requests say what they stand for")]
pub enum Answer {
    Done,
    Is(bool),
    Metadata(Metadata),
    Path(Option<Vec<u8>>),
    Entered(Entered),
    Page(Page),
    File(Box<FileIs>),
    Data,
    Sum(Crc64),
    Extent(Option<Extent>),
    Bytes(Vec<u8>),
    Xattrs(Option<Xattrs>),
    Mode(Option<u32>),
    Number(Option<u64>),
    Staged(Option<StagedIs>),
    Size(u64),
    Preserved(Preserved),
    View(Option<RootView>),
    Mounts(Mounts),
    Begun {
        machine: Machine,
        user: User,
    },
    Lineage(Option<Lineage>),
    Root(RootIs),
    Made {
        is_new: bool,
        entered: Option<Entered>,
    },
    Each(Vec<Part>),
    /// The answers to these requests do not fit one message: this one is to be sent alone.
    Later,
}

/// An answer, or the error of the operation.
pub type Reply = std::result::Result<Answer, Error>;
