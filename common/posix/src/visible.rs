//! Waiting for entries that another node has just created.

use std::time::Duration;

use rustix::io::Errno;

use types::limits;

/// Repeats `open` for a bounded time while the entry does not exist: network file systems may cache
/// for a while that it did not.
pub(super) fn until_visible<T>(mut open: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    let (mut pause, mut waited) = (Duration::from_millis(5), Duration::ZERO);
    loop {
        match open() {
            Err(Errno::NOENT | Errno::STALE) if waited < limits::VISIBLE_WAIT_MAX => {
                std::thread::sleep(pause);
                waited += pause;
                pause *= 2;
            }
            other => return other,
        }
    }
}
