//! Conversion of an `errno` to the suite's error.

use rustix::io::Errno;

use types::error::{Cause, Error, Op};

/// Returns the error of an operation that failed with that `errno`.
pub(super) fn failed(op: Op, errno: Errno) -> Error {
    op.errno(errno.raw_os_error())
}

/// Returns the error of a failed rename. A file may not replace a directory: this is a type
/// mismatch, and says more than "Is a directory".
pub(super) fn rename_failed(errno: Errno) -> Error {
    match errno {
        Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST => Op::Rename.failed(Cause::KindDiffers),
        errno => failed(Op::Rename, errno),
    }
}
