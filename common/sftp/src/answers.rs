//! Replies of a server as results: version 3 of SFTP has a handful of error codes, and most errors
//! of a system are one of them.

use types::entry::{Kind, Metadata, Owner, Time};
use types::error::{Cause, Error, Op, Result};
use types::outcome::difference::Fields;
use types::path::escaped;
use types::service::Details;

use crate::packet::{Attrs, Reply, Status};

/// Codes of [`Status`].
const OK: u32 = 0;
const EOF: u32 = 1;
const NO_SUCH_FILE: u32 = 2;
const PERMISSION_DENIED: u32 = 3;
const BAD_MESSAGE: u32 = 5;
const NO_CONNECTION: u32 = 6;
const CONNECTION_LOST: u32 = 7;
const UNSUPPORTED: u32 = 8;

/// Cause of an error of which the server tells no more than that.
pub const FAILURE: Cause = Cause::System(libc::EIO);

/// Returns the error of a connection that has ended, with the reason if there is one.
pub fn broken(op: Op, why: Option<String>) -> Error {
    let error = op.errno(libc::ENOTCONN);
    match why {
        Some(why) => told(error, &format!("the connection was given up: {why}")),
        None => error,
    }
}

/// Returns whether an operation failed because its connection has ended.
pub fn is_broken(error: &Error) -> bool {
    error.cause == Cause::System(libc::ENOTCONN)
}

/// Returns the error of a reply that does not belong to its request.
pub fn malformed(op: Op) -> Error {
    told(op.errno(libc::EBADMSG), "the SFTP server's reply is invalid")
}

/// Adds words to an error.
pub fn told(error: Error, words: &str) -> Error {
    error.with(Some(Details { message: Some(words.to_owned()), ..Details::default() }))
}

/// Returns the error of a status. `NO_SUCH_FILE` also stands for `ENOTDIR`, `ELOOP` and `EBADF`.
pub fn failed(op: Op, status: &Status) -> Error {
    let errno = match status.code {
        NO_SUCH_FILE => libc::ENOENT,
        PERMISSION_DENIED => libc::EACCES,
        BAD_MESSAGE => libc::EINVAL,
        NO_CONNECTION | CONNECTION_LOST => libc::EREMOTEIO,
        UNSUPPORTED => libc::EOPNOTSUPP,
        OK | EOF => return malformed(op),
        _ => {
            let words = escaped(&status.message);
            return told(op.failed(FAILURE), &format!("the SFTP server says: {words}"));
        }
    };
    op.errno(errno)
}

/// Returns the error of a reply that is not the expected one.
fn unexpected(op: Op, reply: &Reply) -> Error {
    match reply {
        Reply::Status(status) => failed(op, status),
        _ => malformed(op),
    }
}

/// Expects success.
pub fn done(op: Op, reply: Reply) -> Result<()> {
    match reply {
        Reply::Status(Status { code: OK, .. }) => Ok(()),
        other => Err(unexpected(op, &other)),
    }
}

/// Expects success of a request about a handle: it cannot fail for an entry that does not exist.
pub fn done_by_handle(op: Op, reply: Reply) -> Result<()> {
    done(op, reply).map_err(no_handle)
}

/// Returns the error of a request about a handle.
pub fn no_handle(error: Error) -> Error {
    if error.cause.is_vanished() {
        Error { cause: Cause::System(libc::EBADF), ..error }
    } else {
        error
    }
}

/// Expects attributes.
pub fn attrs(op: Op, reply: &Reply) -> Result<Attrs> {
    match reply {
        Reply::Attrs(attrs) => Ok(*attrs),
        other => Err(unexpected(op, other)),
    }
}

/// Expects a handle.
pub fn handle(op: Op, reply: Reply) -> Result<Vec<u8>> {
    match reply {
        Reply::Handle(handle) => Ok(handle),
        other => Err(unexpected(op, &other)),
    }
}

/// Expects one path.
pub fn path(op: Op, reply: Reply) -> Result<Vec<u8>> {
    match reply {
        Reply::Names(mut names) if names.len() == 1 => {
            let path = names.remove(0).name;
            let is_path = path.len() < libc::PATH_MAX as usize && !path.contains(&0);
            if is_path { Ok(path) } else { Err(malformed(op)) }
        }
        other => Err(unexpected(op, &other)),
    }
}

/// Part of a file or of a listing, or its end.
pub fn part<T>(op: Op, reply: Reply, take: impl FnOnce(Reply) -> Option<T>) -> Result<Option<T>> {
    match reply {
        Reply::Status(Status { code: EOF, .. }) => Ok(None),
        Reply::Status(status) => Err(no_handle(failed(op, &status))),
        other => take(other).map(Some).ok_or_else(|| malformed(op)),
    }
}

/// Returns attributes as metadata; `None` where the type, or the size of a file, is missing.
pub fn metadata(attrs: &Attrs, device: u64, inode: u64) -> Option<Metadata> {
    let mode = attrs.mode?;
    let kind = kind_of(mode)?;
    let size_bytes = match (attrs.size_bytes, kind) {
        (None, Kind::File) => return None,
        (size_bytes, _) => size_bytes.unwrap_or(0),
    };
    let time = |seconds: u32| Time { seconds: seconds.into(), nanoseconds: 0 };
    let (atime, mtime) = attrs.times.map_or((0, 0), |times| times);
    let owner = attrs.owner.unwrap_or(Owner { uid: 0, gid: 0 });
    let times = Fields::ATIME.union(Fields::MTIME);
    let owners = Fields::UID.union(Fields::GID);
    let unknown = Fields::CTIME.union(Fields::ACL).union(Fields::XATTR);
    let without = |fields: Fields, is_given: bool| if is_given { Fields::NONE } else { fields };
    Some(Metadata {
        kind,
        mode: mode & 0o7777,
        uid: owner.uid,
        gid: owner.gid,
        size_bytes,
        allocated_bytes: size_bytes,
        atime: time(atime),
        mtime: time(mtime),
        // Not known. Where it is used as evidence of a change, mtime is all there is.
        ctime: time(mtime),
        links: if kind == Kind::Directory { 1 } else { Metadata::UNKNOWN_LINKS },
        device,
        inode,
        known: Fields::ALL
            .difference(unknown)
            .difference(without(times, attrs.times.is_some()))
            .difference(without(owners, attrs.owner.is_some())),
    })
}

/// Returns the type of an entry; `None` for one that there is not.
fn kind_of(mode: u32) -> Option<Kind> {
    let kind = Kind::from_mode(mode);
    let is_known = kind != Kind::BlockDevice || mode & libc::S_IFMT == libc::S_IFBLK;
    is_known.then_some(kind)
}
