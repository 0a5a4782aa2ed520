//! Errors of one entry, classified by meaning.
//!
//! A store reports *what it tried* and *why that failed*; the operation that asked knows the
//! path and adds it ([`Failure`]). Decisions read the class of a cause, never its text.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::path;
use super::service::{Details, InvalidKey, ServiceFault};

/// Reason why an operation on one entry failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Cause {
    /// An error of the operating system: an `errno` value (errno(3)).
    #[error("{}", errno_words(*.0))]
    System(i32),
    /// The source has changed since the walk met it.
    #[error("changed during the job")]
    Changed,
    /// Entries were added, removed or renamed in the directory after its second listing.
    #[error(
        "entries were created, removed or renamed in it during the job, and again during the \
         second listing"
    )]
    Moving,
    /// The mounts below the root have changed on this node since the job began.
    #[error(
        "file systems were mounted or unmounted in it during the job; entries that are missing \
         there have not vanished"
    )]
    MountsChanged,
    /// The root itself has been removed.
    #[error("it does not exist any more")]
    RootGone,
    /// A file of paths names an entry that does not exist.
    #[error("No such file or directory, although --files-from names it")]
    NamedInVain,
    /// A file system is mounted there, which is not to be removed.
    #[error("a file system is mounted on this directory, which is not removed; -x excludes it")]
    MountPoint,
    /// Type mismatch: the target entry is a directory and the source is not, or the reverse.
    #[error("type mismatch: one is a directory and the other is not; move the target away first")]
    KindDiffers,
    /// A non-empty directory is in the way at the target.
    #[error("a non-empty directory has this name; --delete replaces it")]
    FullDirectory,
    /// A non-empty directory is in the way at the target, and `--delete` has not removed it.
    #[error(
        "a directory has this name, and --delete could not remove it: it holds excluded entries, a \
         mount point, or entries that cannot be removed"
    )]
    UndeletedDirectory,
    /// The directory that is to contain the target does not exist.
    #[error("the directory that is to contain it does not exist; --mkpath creates it")]
    NoParent,
    /// No object has this key, which has a wildcard in it.
    #[error(
        "no object has this key: wildcards are not expanded in S3; write the prefix before it, and \
         the pattern as --include PATTERN"
    )]
    Wildcard,
    /// Source and target are the same file.
    #[error("source and target are the same file")]
    SameFile,
    /// Two sources have the same target.
    #[error("another source has the same target path")]
    Collides,
    /// Names collide: the target is case-insensitive, and another entry's name differs only in
    /// case.
    #[error(
        "name collision: another name in the directory differs only in case, and the target is \
         case-insensitive"
    )]
    Folds,
    /// The target is inside the source.
    #[error("the target is inside the source, so the copy would copy itself")]
    TargetInside,
    /// The source is inside the target.
    #[error("the source is inside the target, which the job changes")]
    SourceInside,
    /// A source and a target of which nothing tells whether they are the same tree.
    #[error(
        "it may be in the target, or the same tree: no directory can be made in the target for a \
         moment, by which that would show; use HOST:PATH instead of sftp://, or give write \
         permission"
    )]
    MaybeSame,
    /// A mount shows one directory in the source and in the target, at different paths.
    #[error(
        "a mount shows a directory of the source in the target, or the other way round, at another \
         path; exclude or unmount it"
    )]
    MountedInside,
    /// A symbolic link that is to be followed leads into the tree that the job writes.
    #[error("symbolic link leads into the target, so the copy would copy itself")]
    LeadsToTarget,
    /// The target entry is a special file (a device, FIFO or socket), which is not replaced.
    #[error("a device, FIFO or socket has this name; it is not replaced")]
    NotReplaceable,
    /// The directory is append-only, so no file in it can be renamed to its final name.
    #[error("its directory is append-only (chattr +a): nothing can be renamed in it")]
    AppendOnly,
    /// The source has a special file, which is skipped, where the target has another entry.
    #[error(
        "a special file (device, FIFO or socket) is skipped; the target keeps its entry of this \
         name"
    )]
    LeftOut,
    /// A symbolic link that is to be followed leads back to a directory above it.
    #[error("symbolic link loop: it leads back to a directory above it")]
    Loop,
    /// A symbolic link that is to be followed points to nothing.
    #[error("dangling symbolic link")]
    Dangling,
    /// Short write: the target has fewer, or more, bytes than were to be written.
    #[error("short write: wrote {written_bytes} of {expected_bytes} bytes")]
    ShortWrite {
        /// The number of bytes that are stored.
        written_bytes: u64,
        /// The number of bytes that were to be written.
        expected_bytes: u64,
    },
    /// Checksum mismatch: the content that arrived is not the one that was sent.
    #[error("checksum mismatch: the received content does not match its checksum")]
    Corrupt,
    /// The content that was read back is not the content that was written.
    #[error(
        "verification failed: the content read back is not the content written; the file was \
         removed"
    )]
    NotAsWritten,
    /// The file was changed by another program before it was verified.
    #[error("not verified: another process has changed it (its size, mtime or ctime)")]
    ChangedByOthers,
    /// The name belongs to another entry than the one that was created.
    #[error("not verified: it was replaced (another inode, ETag or link target)")]
    Replaced,
    /// No checksum of the written content is known, so it cannot be verified.
    #[error("not verified: no checksum of the written content is known; compare it with dcmp")]
    NoChecksum,
    /// A chunk of the file was counted twice, which is a fault of the program: another chunk may be
    /// missing.
    #[error(
        "one of its chunks was counted twice, so another may be missing: a fault of this program; \
         run the command again"
    )]
    ChunksMiscounted,
    /// The copy lacks an attribute that was requested, so its source is not removed.
    #[error(
        "the target cannot store all of its attributes, so it stays in the source; --no-preserve \
         leaves attributes out"
    )]
    AttributesLost,
    /// The job was interrupted before this was done.
    #[error("cancelled: the job ended before this was done")]
    Stopped,
    /// A list that was to be read is unusable.
    #[error(transparent)]
    List(ListFault),
    /// A request to an object storage service failed.
    #[error(transparent)]
    Service(ServiceFault),
    /// A key that cannot be a path, or a path that cannot be a key.
    #[error(transparent)]
    Key(InvalidKey),
}

/// Fault of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ListFault {
    /// A file that no tool of this suite has written.
    #[error(
        "not a list of dwalk (a Parquet directory, NDJSON file or .mfu file written by dwalk -o)"
    )]
    Foreign,
    /// A format version that this build does not know.
    #[error("unsupported version: written by another version of dwalk")]
    Version,
    /// Damage that begins at that byte offset.
    #[error("the list is truncated or corrupt near byte {0}")]
    Damaged(u64),
    /// Missing parts, or parts of another list.
    #[error("parts of the list are missing or belong to another list")]
    Incomplete,
    /// A single file of a Parquet list instead of its directory.
    #[error("one part of a Parquet list; name its directory instead")]
    OnePart,
    /// An output name that is taken by something that is not a list.
    #[error("exists and is not a Parquet list")]
    Occupied,
    /// A path outside the source.
    #[error("the list names a path outside the source")]
    Outside,
    /// A path with `..` that stays inside the source by its spelling: where a symbolic link is on
    /// the way, it leads elsewhere.
    #[error("the list names a path with \"..\"; write it without")]
    WithParent,
    /// A NUL byte in a path, which no name can have.
    #[error("the list has a NUL byte in a path; if NUL bytes end its paths, add --from0")]
    WithNul,
    /// A directory or a device instead of a file of paths.
    #[error("a directory or device, not a file of paths")]
    NoPaths,
    /// More bytes through a pipe than every rank is to hold in memory.
    #[error(
        "more than 64 MiB of paths were read from a pipe; write them to a file that all nodes see"
    )]
    TooLong,
    /// An entry near that byte offset that has a key twice.
    #[error("the entry near byte {0} of the list has a duplicate key")]
    Repeated(u64),
    /// A list of a walk that could not read everything, so entries are missing.
    #[error(
        "the list is incomplete: the job that wrote it could not read some entries; write it again"
    )]
    Unfinished,
    /// A list that was changed or removed while it was read.
    #[error("the list was changed or removed while it was read")]
    Changed,
    /// A Parquet list, which this build does not support.
    #[error(
        "this build has no Parquet lists: build it with the feature \"parquet\", or name a file \
         that ends in .ndjson"
    )]
    Unsupported,
}

impl ListFault {
    fn code(self) -> &'static str {
        match self {
            Self::Foreign => "list-unknown-format",
            Self::Version => "list-unsupported-version",
            Self::Damaged(_) => "list-damaged",
            Self::Incomplete => "list-parts-missing",
            Self::OnePart => "list-single-part",
            Self::Occupied => "list-not-replaceable",
            Self::Outside => "list-path-outside-source",
            Self::WithParent => "list-path-with-parent",
            Self::WithNul => "list-path-with-nul",
            Self::NoPaths => "list-not-a-file",
            Self::TooLong => "list-too-large",
            Self::Repeated(_) => "list-duplicate-key",
            Self::Unsupported => "list-parquet-unsupported",
            Self::Unfinished => "list-walk-incomplete",
            Self::Changed => "list-changed",
        }
    }
}

impl Cause {
    /// Returns true where the entry has been removed.
    pub fn is_vanished(self) -> bool {
        matches!(self, Self::System(libc::ENOENT))
    }

    /// Returns true where the file system did not answer: its server does not know a handle, or a
    /// connection is lost. Such an error does not tell whether the entry exists.
    pub fn is_unanswered(self) -> bool {
        matches!(self, Self::System(libc::ESTALE | libc::ENOTCONN | libc::ESHUTDOWN))
    }

    /// Returns true where the file system does not support the operation at all.
    pub fn is_unsupported(self) -> bool {
        matches!(self, Self::System(libc::EOPNOTSUPP | libc::ENOSYS))
    }

    /// Returns true where the operation was cancelled because its service has not answered for too
    /// long, or its host cannot be reached.
    pub fn is_given_up(self) -> bool {
        matches!(self, Self::Service(ServiceFault::GivenUp | ServiceFault::HostGone))
    }

    /// Returns a short stable word for machine-readable output.
    pub fn code(self) -> String {
        match self {
            Self::System(errno) => format!("errno:{errno}"),
            Self::Changed => "changed".into(),
            Self::Moving => "directory-changed".into(),
            Self::MountsChanged => "mounts-changed".into(),
            Self::RootGone => "root-removed".into(),
            Self::NamedInVain => "no-such-entry".into(),
            Self::MountPoint => "mount-point".into(),
            Self::KindDiffers => "type-mismatch".into(),
            Self::FullDirectory => "directory-not-empty".into(),
            Self::UndeletedDirectory => "directory-not-deleted".into(),
            Self::NoParent => "parent-missing".into(),
            Self::Wildcard => "wildcard".into(),
            Self::SameFile => "same-file".into(),
            Self::Collides => "target-collision".into(),
            Self::Folds => "name-collision".into(),
            Self::TargetInside => "target-inside-source".into(),
            Self::SourceInside => "source-inside-target".into(),
            Self::MaybeSame => "source-maybe-target".into(),
            Self::MountedInside => "source-mounted-in-target".into(),
            Self::LeadsToTarget => "symlink-into-target".into(),
            Self::NotReplaceable => "not-replaceable".into(),
            Self::AppendOnly => "append-only".into(),
            Self::LeftOut => "special-file-skipped".into(),
            Self::Loop => "symlink-loop".into(),
            Self::Dangling => "symlink-dangling".into(),
            Self::ShortWrite { .. } => "short-write".into(),
            Self::Corrupt => "checksum-mismatch".into(),
            Self::NotAsWritten => "verification-failed".into(),
            Self::ChangedByOthers => "modified-concurrently".into(),
            Self::Replaced => "replaced".into(),
            Self::NoChecksum => "no-checksum".into(),
            Self::ChunksMiscounted => "chunks-miscounted".into(),
            Self::AttributesLost => "attributes-lost".into(),
            Self::Stopped => "cancelled".into(),
            Self::List(fault) => fault.code().into(),
            Self::Service(fault) => fault.code(),
            Self::Key(invalid_key) => invalid_key.code().into(),
        }
    }
}

/// Returns the C library's description of an `errno` value, without Rust's "(os error N)".
pub fn errno_words(errno: i32) -> String {
    let words = std::io::Error::from_raw_os_error(errno).to_string();
    match words.rfind(" (os error") {
        Some(end) => words[..end].to_owned(),
        None => words,
    }
}

/// Failed operation of a store, with the reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{op}: {cause}")]
pub struct Error {
    /// The operation, as a verb that fits "cannot …".
    pub op: Op,
    /// Reason of the failure.
    pub cause: Cause,
    /// Details of a failure at a service.
    pub details: Option<Box<Details>>,
}

impl Error {
    /// Adds the details of a failure at a service.
    #[must_use]
    pub fn with(self, details: Option<Details>) -> Self {
        Self { details: details.map(Box::new), ..self }
    }
}

/// Operation of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each is its own words")]
pub enum Op {
    Open,
    List,
    Stat,
    Read,
    ReadLink,
    MakeDir,
    MakeSpecial,
    Create,
    Write,
    SetOwner,
    SetMode,
    SetTimes,
    GetXattrs,
    SetXattrs,
    Close,
    Rename,
    Remove,
    Symlink,
    Link,
    Follow,
    Copy,
    Compare,
    Clone,
    Sync,
    Verify,
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::List => "list",
            Self::Stat => "stat",
            Self::Read => "read",
            Self::ReadLink => "read symbolic link",
            Self::MakeDir => "create directory",
            Self::MakeSpecial => "create special file",
            Self::Create => "create",
            Self::Write => "write",
            Self::SetOwner => "set owner",
            Self::SetMode => "set mode",
            Self::SetTimes => "set timestamps",
            Self::GetXattrs => "read extended attributes",
            Self::SetXattrs => "set extended attributes",
            Self::Close => "close",
            Self::Rename => "rename",
            Self::Remove => "remove",
            Self::Symlink => "create symbolic link",
            Self::Link => "create hard link",
            Self::Follow => "follow symbolic link",
            Self::Copy => "copy",
            Self::Verify => "verify",
            Self::Compare => "compare",
            Self::Clone => "clone",
            Self::Sync => "fsync",
        })
    }
}

impl Op {
    /// Returns the error of this operation with that cause.
    pub fn failed(self, cause: Cause) -> Error {
        Error { op: self, cause, details: None }
    }

    /// Returns the error of this operation with that `errno` value.
    pub fn errno(self, errno: i32) -> Error {
        self.failed(Cause::System(errno))
    }
}

/// Result of one operation of a store.
pub type Result<T> = std::result::Result<T, Error>;

/// One of the two trees of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Side {
    Source,
    Target,
}

impl Side {
    /// One lower-case word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Target => "target",
        }
    }

    /// Returns the side that is compared with this one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Source => Self::Target,
            Self::Target => Self::Source,
        }
    }
}

/// Error of an entry, with the tree in which it occurred.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideError {
    /// Tree in which it occurred.
    pub side: Side,
    /// Failed operation, with the reason.
    pub error: Error,
}

/// Extension of results that adds the tree in which an operation failed.
pub trait At<T> {
    /// Turns an error into one in this tree.
    fn at(self, side: Side) -> std::result::Result<T, SideError>;
}

impl<T> At<T> for Result<T> {
    fn at(self, side: Side) -> std::result::Result<T, SideError> {
        self.map_err(|error| SideError { side, error })
    }
}

/// Failure of one entry: the operation, the path and the reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Path as the user would write it: the given root and the path below it.
    pub path: Vec<u8>,
    /// Tree that the path is in.
    pub side: Side,
    /// Failed operation, with the reason.
    pub error: Error,
}

impl Failure {
    /// Returns true for a source entry that was removed between being listed and being used.
    pub fn is_vanished(&self) -> bool {
        self.side == Side::Source && self.error.cause.is_vanished()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} \"{}\": {}", self.error.op, path::escaped(&self.path), self.error.cause)?;
        if self.side == Side::Target && self.error.cause == Cause::Service(ServiceFault::NoBucket) {
            f.write_str("; create it first")?;
        }
        match &self.error.details {
            Some(details) => write!(f, " ({details})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_reads_as_one_line_with_the_systems_words() {
        let failure = Failure {
            path: b"a/b\n".to_vec(),
            side: Side::Source,
            error: Op::Open.errno(libc::EACCES),
        };
        assert_eq!(failure.to_string(), r#"open "a/b\n": Permission denied"#);
    }

    #[test]
    fn only_a_missing_source_counts_as_vanished() {
        let gone = Op::Open.errno(libc::ENOENT);
        let at = |side| Failure { path: b"x".to_vec(), side, error: gone.clone() };
        assert!(at(Side::Source).is_vanished());
        for errno in [libc::ESTALE, libc::ENOTCONN, libc::ESHUTDOWN] {
            let unanswered = Failure { error: Op::Open.errno(errno), ..at(Side::Source) };
            assert!(!unanswered.is_vanished() && unanswered.error.cause.is_unanswered());
        }
        assert!(!at(Side::Target).is_vanished());
    }

    #[test]
    fn what_a_service_says_is_told_and_only_targets_are_to_be_made() {
        let details = Details { code: Some("NoSuchBucket".into()), ..Details::default() };
        let error = Op::List.failed(Cause::Service(ServiceFault::NoBucket)).with(Some(details));
        let at =
            |side| Failure { path: b"s3://b".to_vec(), side, error: error.clone() }.to_string();
        let words = "list \"s3://b\": there is no such bucket";
        assert_eq!(at(Side::Source), format!("{words} (NoSuchBucket)"));
        assert_eq!(at(Side::Target), format!("{words}; create it first (NoSuchBucket)"));
    }
}
