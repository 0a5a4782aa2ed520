//! Special files (FIFOs, sockets and devices): their device numbers, and their creation by
//! mknod(2). None is ever opened: a FIFO would hang, a device would act.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, Dev, FileType, StatxFlags, makedev, statx};

use super::failed::failed;
use store::NewSpecial;
use store::opening::Symlinks;
use types::entry::Kind;
use types::error::{Cause, Op, Result};
use types::path::Name;

/// Returns the device number of a device file; `None` for other entries. The same number means
/// another device among block and among character devices, so those of character devices are
/// inverted.
pub(super) fn number(dir: impl AsFd, name: &Name, symlinks: Symlinks) -> Result<Option<Dev>> {
    let flags = match symlinks {
        Symlinks::Keep => AtFlags::SYMLINK_NOFOLLOW,
        Symlinks::Follow => AtFlags::empty(),
    };
    let statx = statx(dir, name, flags, StatxFlags::BASIC_STATS)
        .map_err(|errno| failed(Op::Stat, errno))?;
    let number = makedev(statx.stx_rdev_major, statx.stx_rdev_minor);
    Ok(match FileType::from_raw_mode(statx.stx_mode.into()) {
        FileType::BlockDevice => Some(number),
        FileType::CharacterDevice => Some(!number),
        _ => None,
    })
}

/// Returns the type and the device number for mknod(2).
pub(super) fn what(special: &NewSpecial<'_>) -> Result<(FileType, Dev)> {
    match (special.kind, special.device) {
        (Kind::Fifo, _) => Ok((FileType::Fifo, 0)),
        (Kind::Socket, _) => Ok((FileType::Socket, 0)),
        (Kind::BlockDevice, Some(number)) => Ok((FileType::BlockDevice, number)),
        (Kind::CharDevice, Some(number)) => Ok((FileType::CharacterDevice, !number)),
        // The entry was a device when it was inspected.
        _ => Err(Op::Copy.failed(Cause::Changed)),
    }
}
