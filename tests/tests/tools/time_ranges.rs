//! Tests of times out of range, on file systems of several types.

use std::fs;
use std::path::Path;
use std::process::Command;

use suite_tests::job::{run, tool};
use suite_tests::sandbox::Sandbox;
use suite_tests::{mounts, skips, trees};

/// Checks that the last time of a range and a later one are two times, except where the target's
/// file system has that range.
#[test]
fn two_times_are_one_only_where_the_file_system_cannot_keep_them_apart() {
    let work = Sandbox::new();
    let makes = skips::has_root();
    let disk = |made: fn() -> Option<mounts::Image>| makes.then(made).flatten();
    let ext4 = disk(|| mounts::Image::ext4(&["-I", "128"]));
    let [xfs, old_xfs] = [disk(mounts::Image::xfs), disk(|| mounts::Image::xfs_with("bigtime=0"))];
    let btrfs = disk(mounts::Image::btrfs);
    let (after_2038, before_1901) =
        (["@2300000000", "@2147483647"], ["@-2200000000", "@-2147483648"]);
    let beyond_bigtime = ["@99999999999", "@16299260424"];
    let path = |disk: &Option<mounts::Image>| disk.as_ref().map(mounts::Image::path);
    for (place, times, differs) in [
        (Some(work.path().to_owned()), after_2038, 1),
        (Some(work.path().to_owned()), before_1901, 1),
        (path(&ext4), after_2038, 0),
        (path(&old_xfs), after_2038, 0),
        (path(&old_xfs), before_1901, 0),
        (path(&xfs), after_2038, 1),
        (path(&xfs), beyond_bigtime, 0),
        (path(&btrfs), after_2038, 1),
        (path(&btrfs), beyond_bigtime, 1),
    ] {
        let Some(place) = place else { continue };
        assert_times(work.path(), &place, times, differs);
    }
}

/// Checks whether a file of the first time differs from an older one of the second on that file
/// system.
fn assert_times(work: &Path, place: &Path, times: [&str; 2], differs: i32) {
    let (a, b) = (work.join("a"), place.join("b"));
    for (dir, time, content) in [(&a, times[0], "new"), (&b, times[1], "old")] {
        let _ = fs::remove_dir_all(dir);
        trees::write(&dir.join("file"), content.as_bytes());
        run(Command::new("touch").args(["-d", time]).args([&dir.join("file"), dir])).expect(0);
    }
    run(tool(1, "dcmp").args(["--ignore", "content"]).args([&a, &b])).expect(differs);
    run(tool(1, "dsync").args([&a, &b])).expect(0);
    let is_new = fs::read(b.join("file")).unwrap() == b"new";
    assert_eq!(i32::from(is_new), differs, "{} {times:?}", place.display());
    // Again there is nothing to do.
    let plan = run(tool(1, "dsync").args(["-n", "-q"]).args([&a, &b])).expect(0).stdout;
    assert_eq!(plan, "", "{} {times:?}", place.display());
}
