//! Tests of questions about paths: how few messages they take, and that no answer outlives a
//! change.

use super::{requests, whole_host};
use crate::promises::cause;
use remote::paths;
use store::opening::Symlinks;
use types::entry::Kind;
use types::error::Cause;

#[test]
fn what_is_asked_about_a_path_before_a_job_takes_one_message() {
    let host = whole_host();
    host.reach().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new").into_os_string().into_encoded_bytes();
    let parent = [dir.path().as_os_str().as_encoded_bytes(), b"/"].concat();
    let here = posix::stat_path(&parent, Symlinks::Follow).unwrap();
    let sent = requests(&host, || {
        for symlinks in [Symlinks::Follow, Symlinks::Keep, Symlinks::Follow] {
            let missing = paths::stat(&host, &path, symlinks);
            assert_eq!(cause(missing), Cause::System(libc::ENOENT));
        }
        assert!(paths::lineage(&host, &path).is_none());
        assert!(paths::real_path(&host, &path).is_none());
        assert!(paths::lineage(&host, &parent).is_some());
        assert_eq!(paths::stat(&host, &parent, Symlinks::Follow).unwrap().inode, here.inode);
        // A directory of this node is none of the other host's.
        assert!(!paths::is_below(&host, &parent, &here));
    });
    assert_eq!(sent, 1);
}

#[test]
fn no_answer_is_older_than_a_change() {
    let host = whole_host();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new").into_os_string().into_encoded_bytes();
    assert!(paths::stat(&host, &path, Symlinks::Follow).is_err());
    paths::make_dir(&host, &path, 0o755).unwrap();
    let made = paths::stat(&host, &path, Symlinks::Follow).unwrap();
    assert_eq!(made.kind, Kind::Directory);
    assert!(paths::is_below(&host, &path, &made));
    assert!(paths::real_path(&host, &path).is_some());
    paths::remove_dir(&host, &path).unwrap();
    assert!(paths::stat(&host, &path, Symlinks::Keep).is_err());
    assert!(paths::real_path(&host, &path).is_none());
}
