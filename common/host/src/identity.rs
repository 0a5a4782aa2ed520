//! Identity with which files are accessed where root has started the job for a user.
//!
//! Linux gives each thread its own IDs. The main thread changes its effective ones before it starts
//! others, which inherit them; threads that MPI has started before stay root's. The real and the
//! saved user ID stay root's, so that the user can neither signal nor trace the process, and so
//! that the main thread can take root's IDs back for calls of MPI: MPI libraries open memory of
//! other ranks when they first send to them, and remove at the end what root made.

use std::cell::Cell;
use std::io;

use rustix::process::{Gid, Uid, geteuid, getgid};
use rustix::thread::{
    CapabilitySet, capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};
use serde::{Deserialize, Serialize};

thread_local! {
    /// IDs of the user, while this thread has them.
    static USER: Cell<Option<(Uid, Gid)>> = const { Cell::new(None) };
}

/// User, group and supplementary groups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// User ID.
    pub uid: u32,
    /// Group ID.
    pub gid: u32,
    /// Supplementary group IDs.
    pub groups: Vec<u32>,
}

impl Identity {
    /// Makes this the identity of the calling thread, and of those that it will start.
    ///
    /// # Errors
    /// The error of the system, or `EPERM` where capabilities of root would remain.
    pub fn assume(&self) -> io::Result<()> {
        let groups: Vec<Gid> = self.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
        set_thread_groups(&groups)?;
        let user = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        set(user)?;
        USER.set(Some(user));
        let is_bare = user.0.is_root() || capabilities(None)?.effective == CapabilitySet::empty();
        if is_bare { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EPERM)) }
    }
}

/// Returns true if this thread may assume any identity.
pub fn is_root() -> bool {
    geteuid().is_root()
}

fn set((uid, gid): (Uid, Gid)) -> io::Result<()> {
    // Only root may change the group, so root's IDs come last and leave first.
    if uid.is_root() {
        set_thread_res_uid(None, uid, None)?;
        return Ok(set_thread_res_gid(None, gid, None)?);
    }
    set_thread_res_gid(None, gid, None)?;
    Ok(set_thread_res_uid(None, uid, None)?)
}

/// Guard of a thread that has root's IDs again: the user's come back when it is dropped.
#[derive(Debug)]
pub struct AsRoot(Option<(Uid, Gid)>);

/// Gives the calling thread root's IDs, if it has assumed others.
pub fn as_root() -> AsRoot {
    let user = USER.take();
    if user.is_some() {
        set((Uid::ROOT, getgid())).expect("the saved IDs are root's");
    }
    AsRoot(user)
}

impl AsRoot {
    /// Leaves root's IDs to the thread.
    pub fn for_good(mut self) {
        self.0 = None;
    }
}

impl Drop for AsRoot {
    fn drop(&mut self) {
        if let Some(user) = self.0 {
            // Going on as root would be worse than a panic.
            set(user).expect("root may assume any identity");
            USER.set(Some(user));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the effective IDs of this thread, as the kernel shows them.
    fn effective() -> [String; 3] {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let of = |key: &str, column| {
            let line = status.lines().find(|line| line.starts_with(key)).unwrap();
            line.split_whitespace().nth(column).unwrap_or_default().to_owned()
        };
        [of("Uid:", 2), of("Gid:", 2), of("CapEff:", 1)]
    }

    #[test]
    fn a_thread_and_its_children_are_the_user_and_can_be_root_again() {
        if !is_root() {
            return;
        }
        let before = effective();
        let user = ["65534", "65533", "0000000000000000"].map(str::to_owned);
        std::thread::spawn({
            let (before, user) = (before.clone(), user.clone());
            move || {
                Identity { uid: 65534, gid: 65533, groups: vec![65533] }.assume().unwrap();
                assert_eq!(effective(), user);
                assert_eq!(std::thread::spawn(effective).join().unwrap(), user);
                {
                    let _root = as_root();
                    assert_eq!(effective(), before);
                    drop(as_root());
                    assert_eq!(effective(), before, "the outer guard counts");
                }
                assert_eq!(effective(), user);
                as_root().for_good();
                assert_eq!(effective(), before);
            }
        })
        .join()
        .unwrap();
        assert_eq!(effective(), before, "other threads keep theirs");
    }
}
