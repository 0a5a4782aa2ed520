//! Limits and resource usage of this process.

#![allow(unsafe_code, reason = "getrusage(2) has no safe wrapper here")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Mode, StatxFlags, statx};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};

/// Mask that was set with [`set_umask`].
static UMASK: AtomicU32 = AtomicU32::new(NO_UMASK);

/// Value of [`UMASK`] before a mask was set.
const NO_UMASK: u32 = u32::MAX;

/// Returns the user's file mode creation mask (umask(2)). Where the system does not show it (Linux
/// before 4.7, without /proc) it can only be read by setting it, so this must be called before
/// there are other threads.
pub fn current_umask() -> u32 {
    match UMASK.load(Ordering::Relaxed) {
        NO_UMASK => {
            let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
            shown_umask(&status).unwrap_or_else(umask_by_setting)
        }
        mask => mask,
    }
}

/// Returns the mask in a process's status (proc(5)).
fn shown_umask(status: &str) -> Option<u32> {
    let mask = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
    u32::from_str_radix(mask.trim(), 8).ok()
}

/// Reads the mask by setting it: for a moment, files that other threads make have none.
fn umask_by_setting() -> u32 {
    let mask = umask(Mode::empty());
    umask(mask);
    mask.as_raw_mode()
}

/// Sets the user's file mode creation mask. The owner's permissions are removed only at the end, by
/// the final modes: without them a new directory could not be filled, nor could MPI start.
pub fn set_umask(mask: u32) {
    umask(Mode::from_raw_mode(mask & 0o077));
    UMASK.store(mask, Ordering::Relaxed);
}

/// Makes the standard library and rustix find out that there is statx(2), before any other path is
/// inspected. Where their first path does not exist, they call `statx` once more, with null
/// pointers, to see `EFAULT`; DAOS's `libpil4dfs`, which replaces `statx`, reads the path without
/// checking the pointer.
pub fn find_statx() {
    let _ = std::fs::metadata("/");
    let _ = statx(CWD, c"/", AtFlags::empty(), StatxFlags::TYPE);
}

/// Resource usage of this process, or of a thread of it, so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// CPU time in user and system mode. The kernel updates it when a thread sleeps and at timer
    /// ticks, so over a few milliseconds it may be off by a tick for each running thread.
    pub cpu: Duration,
    /// Number of voluntary context switches: a thread gave up its processor to wait.
    pub waits: u64,
    /// Number of involuntary context switches: a thread was preempted.
    pub preemptions: u64,
}

/// Returns the usage of all threads.
pub fn usage_of_process() -> Usage {
    usage(libc::RUSAGE_SELF)
}

/// Returns the usage of the calling thread.
pub fn usage_of_thread() -> Usage {
    usage(libc::RUSAGE_THREAD)
}

fn usage(who: libc::c_int) -> Usage {
    // SAFETY: all fields of the structure are integers, for which zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a structure of the right type that outlives the call.
    if unsafe { libc::getrusage(who, &raw mut usage) } != 0 {
        return Usage::default();
    }
    let duration = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec as u64) + Duration::from_micros(time.tv_usec as u64)
    };
    Usage {
        cpu: duration(usage.ru_utime) + duration(usage.ru_stime),
        waits: usage.ru_nvcsw as u64,
        preemptions: usage.ru_nivcsw as u64,
    }
}

/// Raises the limit on open files to its maximum. Must be called once, before many are opened.
pub fn raise_descriptor_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where that is refused, the lower limit holds, and all that depend on it read it.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// Returns the bytes of address space that this process may still take; `None` where there is no
/// limit.
pub fn address_space_left() -> Option<u64> {
    let limit = getrlimit(Resource::As).current?;
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = pages.split_whitespace().next().and_then(|pages| pages.parse::<u64>().ok());
    let taken = pages.unwrap_or(0) * rustix::param::page_size() as u64;
    Some(limit.saturating_sub(taken))
}

/// Returns the limits that may prevent this process from starting a thread, as the shell names
/// them.
pub fn limits_of_threads() -> &'static str {
    match getrlimit(Resource::As).current {
        Some(_) => "ulimit -v or ulimit -u",
        None => "ulimit -u",
    }
}

/// Returns how many files this process may have open.
pub fn descriptors_max() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Returns an ID of the machine until its next boot (random(4), machine-id(5)); empty where the
/// system does not tell it.
///
/// Containers of one machine have one kernel, and perhaps an installation of their own.
pub fn machine_id() -> Vec<u8> {
    let read = |path| std::fs::read(path).unwrap_or_default();
    let kernel = read("/proc/sys/kernel/random/boot_id");
    if kernel.is_empty() { kernel } else { [kernel, read("/etc/machine-id")].concat() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

    use super::*;

    #[test]
    fn the_mask_is_read_without_being_set() {
        let path = std::env::temp_dir().join(format!("umask-of-{}", std::process::id()));
        let mut making = std::fs::OpenOptions::new();
        let made = making.write(true).create_new(true).mode(0o777).open(&path);
        let bits = made.and_then(|made| made.metadata()).expect("is made").mode();
        std::fs::remove_file(&path).expect("can be removed");
        let status = std::fs::read_to_string("/proc/self/status").expect("is shown");
        assert_eq!(shown_umask(&status), Some(0o777 & !bits));
        assert_eq!(shown_umask("Name:\tx\nUmask:\t0027\nState:\tR\n"), Some(0o027));
        for status in ["", "Name:\tx\n", "Umask:\t\n", "Umask:\tnone\n"] {
            assert_eq!(shown_umask(status), None);
        }
    }
}
