//! What can go wrong with one entry, by meaning.
//!
//! A store reports *what it tried* and *why that failed*; the operation that asked knows the
//! path and adds it ([`Failure`]). Decisions read the class of a cause, never its text.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::path;
use super::service::{Details, ServiceFault, Unfit};

/// Why an operation on one entry failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// The operating system's answer: an `errno` value (errno(3)).
    System(i32),
    /// The source is not what it was when the walk met it.
    Changed,
    /// Entries came, went or were renamed in the directory after it was listed for the second time.
    Moving,
    /// Something else is mounted below the root, on this node, than when the job began.
    MountsChanged,
    /// The root itself is not there any more.
    RootGone,
    /// The target entry is a directory and the source is not, or the other way round.
    KindDiffers,
    /// A directory with something in it is in the way.
    FullDirectory,
    /// The same, where `--delete` has not made it go.
    UndeletedDirectory,
    /// Source and target are one file.
    SameFile,
    /// Another source has taken this target.
    Collides,
    /// Another entry of the directory has this name in other letters, and the target takes the two for one.
    Folds,
    /// The target is inside the source.
    TargetInside,
    /// The source is inside the target.
    SourceInside,
    /// A symbolic link that is to be followed leads to where the job writes.
    LeadsToTarget,
    /// What has the name at the target is a device, a FIFO or a socket.
    NotReplaceable,
    /// Nothing can be renamed in the directory, so nothing can appear in it whole or not at all.
    AppendOnly,
    /// The source has a FIFO, socket or device, which is not copied, where the target has another entry.
    LeftOut,
    /// Following this symbolic link would lead back to a directory above it.
    Loop,
    /// A symbolic link that is to be followed points to nothing.
    Dangling,
    /// Not everything that was written is there.
    Incomplete,
    /// What arrived is not what the checksum stands for.
    Corrupt,
    /// What was read again is not what was written.
    NotAsWritten,
    /// Others have changed what was to be verified.
    ChangedByOthers,
    /// What has the name is not what was made.
    Replaced,
    /// Nobody knows the checksum of what was written.
    NoChecksum,
    /// The job was stopped before this was done.
    Stopped,
    /// A list that was to be read is not what it should be.
    List(ListFault),
    /// The service that keeps the objects did not do it.
    Service(ServiceFault),
    /// A key that cannot be a path, or a path that cannot be a key.
    Key(Unfit),
}

/// What is wrong with a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ListFault {
    /// Not written by a tool of this suite.
    Foreign,
    /// Written in a form that this version does not know.
    Version,
    /// From that byte on it is not what was written.
    Damaged(u64),
    /// Parts of it are missing, or are those of another list.
    Incomplete,
    /// One file of a Parquet list instead of its directory.
    OnePart,
    /// The name is taken by something that is no list.
    Occupied,
    /// It names a path outside the source.
    Outside,
    /// A directory or a device instead of a file of paths.
    NoPaths,
    /// More came by a pipe than every rank is to hold.
    TooLong,
    /// An entry near that byte has a key twice.
    Repeated(u64),
    /// The walk that wrote it could not read everything, so entries are missing.
    Unfinished,
    /// It was changed or removed while it was read.
    Changed,
    /// This build has no Parquet lists.
    Unsupported,
}

impl ListFault {
    fn code(self) -> &'static str {
        match self {
            Self::Foreign => "list-foreign",
            Self::Version => "list-version",
            Self::Damaged(_) => "list-damaged",
            Self::Incomplete => "list-incomplete",
            Self::OnePart => "list-one-part",
            Self::Occupied => "list-occupied",
            Self::Outside => "list-outside",
            Self::NoPaths => "list-no-paths",
            Self::TooLong => "list-too-long",
            Self::Repeated(_) => "list-repeated-key",
            Self::Unsupported => "list-unsupported",
            Self::Unfinished => "list-unfinished",
            Self::Changed => "list-changed",
        }
    }
}

impl fmt::Display for ListFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str(
                "not a list of dwalk's (a Parquet directory or NDJSON file that dwalk -o has written)",
            ),
            Self::Version => f.write_str("written in a form that this version does not know"),
            Self::Damaged(at) => write!(f, "the list is torn or damaged near byte {at}"),
            Self::Incomplete => {
                f.write_str("parts of the list are missing or belong to another list")
            }
            Self::OnePart => f.write_str("one part of a Parquet list; name its directory instead"),
            Self::Outside => f.write_str("the list names a path outside the source"),
            Self::Unfinished => f.write_str(
                "the list lacks entries that the job which wrote it could not read; write it again",
            ),
            Self::Changed => f.write_str("the list was changed or removed while it was read"),
            Self::Unsupported => f.write_str(
                "this build has no Parquet lists: build it with the feature \"parquet\", or name a file \
                 that ends in .ndjson",
            ),
            Self::Occupied => f.write_str("exists and holds something else than a Parquet list"),
            Self::NoPaths => f.write_str("a directory or device, not a file of paths"),
            Self::TooLong => f.write_str(
                "more than 64 MiB of paths came by a pipe; write them to a file that all nodes see",
            ),
            Self::Repeated(at) => {
                write!(f, "the entry near byte {at} of the list has a key twice: which value counts?")
            }
        }
    }
}

impl Cause {
    /// The entry is not there any more.
    pub fn is_vanished(self) -> bool {
        matches!(self, Self::System(libc::ENOENT))
    }

    /// Nobody has answered for the file system: a handle that its server does not know, a connection that is gone.
    /// That says nothing of whether the entry is there.
    pub fn is_unanswered(self) -> bool {
        matches!(self, Self::System(libc::ESTALE | libc::ENOTCONN | libc::ESHUTDOWN))
    }

    /// There is no such thing in the file system at all.
    pub fn is_unsupported(self) -> bool {
        matches!(self, Self::System(libc::EOPNOTSUPP | libc::ENOSYS))
    }

    /// Nobody answers where the entry is, and nobody is expected to.
    pub fn is_given_up(self) -> bool {
        self == Self::Service(ServiceFault::GivenUp)
    }

    /// A short stable word for machine-readable output.
    pub fn code(self) -> String {
        match self {
            Self::System(errno) => format!("errno:{errno}"),
            Self::Changed => "changed".into(),
            Self::Moving => "moving".into(),
            Self::MountsChanged => "mounts-changed".into(),
            Self::RootGone => "root-gone".into(),
            Self::KindDiffers => "kind-differs".into(),
            Self::FullDirectory => "full-directory".into(),
            Self::UndeletedDirectory => "undeleted-directory".into(),
            Self::SameFile => "same-file".into(),
            Self::Collides => "collides".into(),
            Self::Folds => "folds".into(),
            Self::TargetInside => "target-inside".into(),
            Self::SourceInside => "source-inside".into(),
            Self::LeadsToTarget => "leads-to-target".into(),
            Self::NotReplaceable => "not-replaceable".into(),
            Self::AppendOnly => "append-only".into(),
            Self::LeftOut => "left-out".into(),
            Self::Loop => "loop".into(),
            Self::Dangling => "dangling".into(),
            Self::Incomplete => "incomplete".into(),
            Self::Corrupt => "corrupt".into(),
            Self::NotAsWritten => "not-as-written".into(),
            Self::ChangedByOthers => "changed-by-others".into(),
            Self::Replaced => "replaced".into(),
            Self::NoChecksum => "no-checksum".into(),
            Self::Stopped => "stopped".into(),
            Self::List(fault) => fault.code().into(),
            Self::Service(fault) => fault.code(),
            Self::Key(unfit) => unfit.code().into(),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(errno) => f.write_str(&errno_words(*errno)),
            Self::Changed => f.write_str("changed meanwhile"),
            Self::Moving => f.write_str(
                "entries came, went or were renamed in it meanwhile, and again when it was read for the second time",
            ),
            Self::RootGone => f.write_str("it is not there any more"),
            Self::MountsChanged => f.write_str(
                "file systems were mounted or unmounted in it meanwhile; what is missing there has not vanished",
            ),
            Self::KindDiffers => {
                f.write_str("one is a directory and the other is not; move the target away first")
            }
            Self::FullDirectory => {
                f.write_str("a directory with something in it has this name; --delete replaces it")
            }
            Self::UndeletedDirectory => f.write_str(
                "a directory has this name, and --delete left it, because of what is in it: excluded, a mount \
                 point, or not to be removed",
            ),
            Self::SameFile => f.write_str("source and target are the same file"),
            Self::Collides => f.write_str("another source becomes the same target"),
            Self::Folds => f.write_str(
                "another name there differs only in case, and the target takes the two for one",
            ),
            Self::TargetInside => {
                f.write_str("the target is inside it, so the copy would copy itself")
            }
            Self::SourceInside => {
                f.write_str("it is inside the target, which would be changed under it")
            }
            Self::LeadsToTarget => {
                f.write_str("symbolic link leads into the target, so the copy would copy itself")
            }
            Self::NotReplaceable => {
                f.write_str("a device, FIFO or socket has this name; it is left alone")
            }
            Self::LeftOut => f.write_str(
                "a device, FIFO or socket is left out; what the target has of its name stays",
            ),
            Self::AppendOnly => f.write_str(
                "its directory is append-only (chattr +a): nothing can be renamed in it",
            ),
            Self::Loop => f.write_str("symbolic link leads back to a directory above it"),
            Self::Dangling => f.write_str("symbolic link points to nothing"),
            Self::Incomplete => f.write_str("not everything that was written is there"),
            Self::Corrupt => f.write_str("what arrived differs from what its checksum stands for"),
            Self::NotAsWritten => {
                f.write_str("what is there differs from what was written; it was removed")
            }
            Self::ChangedByOthers => f.write_str(
                "not verified: its size, mtime or ctime are not those it got, so others have changed it",
            ),
            Self::Replaced => f.write_str(
                "not verified: what has its name is not what was made (another inode, ETag or link target)",
            ),
            Self::NoChecksum => {
                f.write_str("not verified: no checksum of what was written is known; compare it with dcmp")
            }
            Self::Stopped => f.write_str("the job was stopped before this was done"),
            Self::List(fault) => fault.fmt(f),
            Self::Service(fault) => fault.fmt(f),
            Self::Key(unfit) => unfit.fmt(f),
        }
    }
}

/// The C library's words for an `errno` value, without Rust's "(os error N)".
pub fn errno_words(errno: i32) -> String {
    let words = std::io::Error::from_raw_os_error(errno).to_string();
    match words.rfind(" (os error") {
        Some(end) => words[..end].to_owned(),
        None => words,
    }
}

/// What a store tried, and why it failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{op}: {cause}")]
pub struct Error {
    /// The operation, as a verb that fits "cannot …".
    pub op: Op,
    /// Why it failed.
    pub cause: Cause,
    /// What else is known, of a failure at a service.
    pub details: Option<Box<Details>>,
}

impl Error {
    /// The same failure with what else is known of it.
    #[must_use]
    pub fn with(self, details: Option<Details>) -> Self {
        Self { details: details.map(Box::new), ..self }
    }
}

/// What a store was asked to do.
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
            Self::ReadLink => "read link",
            Self::MakeDir => "make directory",
            Self::MakeSpecial => "make device, FIFO or socket",
            Self::Create => "create",
            Self::Write => "write",
            Self::SetOwner => "set owner of",
            Self::SetMode => "set mode of",
            Self::SetTimes => "set times of",
            Self::GetXattrs => "read extended attributes of",
            Self::SetXattrs => "set extended attributes of",
            Self::Close => "close",
            Self::Rename => "rename to",
            Self::Remove => "remove",
            Self::Symlink => "make link",
            Self::Link => "link",
            Self::Follow => "follow",
            Self::Copy => "copy",
            Self::Verify => "verify",
            Self::Compare => "compare",
            Self::Clone => "share content with",
            Self::Sync => "bring to storage",
        })
    }
}

impl Op {
    /// This operation failed for that reason.
    pub fn failed(self, cause: Cause) -> Error {
        Error { op: self, cause, details: None }
    }

    /// This operation failed with that `errno`.
    pub fn errno(self, errno: i32) -> Error {
        self.failed(Cause::System(errno))
    }
}

/// The result of one operation of a store.
pub type Result<T> = std::result::Result<T, Error>;

/// Which of the two trees a path is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Side {
    Source,
    Target,
}

/// Why an entry failed, and in which tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// The tree.
    pub side: Side,
    /// What was tried, and why it failed.
    pub error: Error,
}

/// Says in which tree an operation failed.
pub trait At<T> {
    /// It failed in this one.
    fn at(self, side: Side) -> std::result::Result<T, Trouble>;
}

impl<T> At<T> for Result<T> {
    fn at(self, side: Side) -> std::result::Result<T, Trouble> {
        self.map_err(|error| Trouble { side, error })
    }
}

/// One entry that could not be dealt with: what, which path, why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The path as the user would write it: the given root and what is below it.
    pub path: Vec<u8>,
    /// Which tree the path is in.
    pub side: Side,
    /// What was tried, and why it failed.
    pub error: Error,
}

impl Failure {
    /// A source entry that went away between being listed and being used.
    pub fn is_vanished(&self) -> bool {
        self.side == Side::Source && self.error.cause.is_vanished()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} \"{}\": {}", self.error.op, path::escaped(&self.path), self.error.cause)?;
        if self.side == Side::Target && self.error.cause == Cause::Service(ServiceFault::NoBucket) {
            f.write_str("; make it first")?;
        }
        match &self.error.details {
            Some(details) => write!(f, " ({details})"),
            None => Ok(()),
        }
    }
}

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
        assert_eq!(at(Side::Target), format!("{words}; make it first (NoSuchBucket)"));
    }
}
