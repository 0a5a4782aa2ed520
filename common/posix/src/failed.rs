//! From an `errno` to the suite's error.

use rustix::io::Errno;

use types::error::{Cause, Error, Op};

/// An operation failed with an `errno`.
pub(super) fn failed(op: Op, errno: Errno) -> Error {
    op.errno(errno.raw_os_error())
}

/// A file may not replace a directory: say so, rather than "Is a directory".
pub(super) fn rename_failed(errno: Errno) -> Error {
    match errno {
        Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST => Op::Rename.failed(Cause::KindDiffers),
        errno => failed(Op::Rename, errno),
    }
}
