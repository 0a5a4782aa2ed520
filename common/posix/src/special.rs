//! FIFOs, sockets and devices: which device one stands for, and what mknod(2) is to make. None is ever opened:
//! a FIFO would hang, a device would act.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, Dev, FileType, StatxFlags, makedev, statx};

use super::failed::failed;
use store::NewSpecial;
use store::opening::Symlinks;
use types::entry::Kind;
use types::error::{Cause, Op, Result};
use types::path::Name;

/// Which device an entry stands for, where it stands for one. The same numbers mean another device among
/// block and among character devices, so those of the latter are inverted.
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

/// Type and number for mknod(2).
pub(super) fn what(special: &NewSpecial<'_>) -> Result<(FileType, Dev)> {
    match (special.kind, special.device) {
        (Kind::Fifo, _) => Ok((FileType::Fifo, 0)),
        (Kind::Socket, _) => Ok((FileType::Socket, 0)),
        (Kind::BlockDevice, Some(number)) => Ok((FileType::BlockDevice, number)),
        (Kind::CharDevice, Some(number)) => Ok((FileType::CharacterDevice, !number)),
        // It was a device when it was looked at.
        _ => Err(Op::Copy.failed(Cause::Changed)),
    }
}
