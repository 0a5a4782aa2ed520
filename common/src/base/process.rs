//! Facts of this process.

use rustix::fs::Mode;
use rustix::process::umask;

/// The file mode creation mask (umask(2)). It can only be read by setting it, so this is for the time
/// before there are other threads.
pub fn current_umask() -> u32 {
    let mask = umask(Mode::empty());
    umask(mask);
    mask.as_raw_mode()
}
