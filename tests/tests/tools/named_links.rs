//! Tests of symbolic links on the command line: one rule for those to files and to directories.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use suite_tests::job::{Ended, run, tool};
use suite_tests::sandbox::Sandbox;
use suite_tests::trees;

/// Creates a file and a directory, a symbolic link to each, and a dangling one.
fn linked(root: &Path) {
    trees::write(&root.join("dir/a"), b"in it");
    trees::write(&root.join("file"), b"content");
    for (link, to) in [("to_dir", "dir"), ("to_file", "file"), ("to_nothing", "gone")] {
        symlink(to, root.join(link)).unwrap();
    }
}

/// Runs one of the tools in a directory.
fn within(dir: &Path, count: u32, words: &[&str]) -> Ended {
    run(tool(count, words[0]).args(&words[1..]).current_dir(dir))
}

/// Lists paths and types of a directory's entries.
fn entries(dir: &Path) -> String {
    let mut find = std::process::Command::new("find");
    let found = run(find.arg(dir).args(["-mindepth", "1", "-printf", "%P:%y\n"])).expect(0).stdout;
    let mut lines: Vec<_> = found.lines().collect();
    lines.sort_unstable();
    lines.join(" ")
}

/// Lists the entries that a job creates in an existing directory.
fn into(dir: &Path, words: &[&str]) -> String {
    let _ = fs::remove_dir_all(dir.join("t"));
    fs::create_dir(dir.join("t")).unwrap();
    within(dir, 2, &[words, &["t"]].concat()).expect(0);
    entries(&dir.join("t"))
}

#[test]
fn dcp_copies_a_named_link_as_a_link_unless_it_is_told_to_follow() {
    let work = Sandbox::new();
    let dir = work.path();
    linked(dir);
    for (source, kept, followed) in [
        ("to_dir", "to_dir:l", "to_dir/a:f to_dir:d"),
        ("to_dir/", "a:f", "a:f"),
        ("to_file", "to_file:l", "to_file:f"),
    ] {
        for plain in [&["dcp", source][..], &["dcp", "-p", "-P", source]] {
            assert_eq!(into(dir, plain), kept, "{plain:?}");
        }
        assert_eq!(into(dir, &["dcp", "-L", source]), followed, "-L {source}");
    }
    assert_eq!(into(dir, &["dcp", "to_nothing"]), "to_nothing:l");
    for wrong in [&["dcp", "-L", "to_nothing"][..], &["dcp", "to_file/"], &["dcp", "to_nothing/"]] {
        within(dir, 2, &[wrong, &["t"]].concat()).expect(3);
    }
}

#[test]
fn dsync_makes_the_target_equal_what_a_named_link_leads_to() {
    let work = Sandbox::new();
    let dir = work.path();
    linked(dir);
    for (source, there) in [
        ("to_dir", "a:f"),
        ("to_dir/", "a:f"),
        ("to_file", "to_file:f"),
        ("to_nothing", "to_nothing:l"),
    ] {
        for options in [&["dsync"][..], &["dsync", "-a", "-D"], &["dsync", "--verify=all"]] {
            assert_eq!(into(dir, &[options, &[source]].concat()), there, "{options:?} {source}");
        }
    }
    // Under another name a link in its way is replaced; again there is nothing to do.
    symlink("to_dir/a", dir.join("new")).unwrap();
    for _ in 0..2 {
        within(dir, 2, &["dsync", "to_file", "new"]).expect(0);
        within(dir, 2, &["dcmp", "to_file", "new"]).expect(0);
    }
    assert!(!fs::symlink_metadata(dir.join("new")).unwrap().is_symlink());
    assert_eq!(within(dir, 1, &["dsync", "-n", "-q", "to_file", "new"]).expect(0).stdout, "");
    within(dir, 2, &["dsync", "to_file/", "t"]).expect(3);
}

#[test]
fn dcmp_compares_what_named_links_lead_to() {
    let work = Sandbox::new();
    let dir = work.path();
    linked(dir);
    for pair in [["to_dir", "dir"], ["dir", "to_dir/"], ["to_file", "file"], ["file", "to_file"]] {
        within(dir, 2, &[&["dcmp"], &pair[..]].concat()).expect(0);
    }
    within(dir, 2, &["dcmp", "to_nothing", "to_nothing"]).expect(0);
    for wrong in [["to_dir", "to_file"], ["to_file/", "file"], ["to_nothing/", "dir"]] {
        within(dir, 2, &[&["dcmp"], &wrong[..]].concat()).expect(3);
    }
}

#[test]
fn dwalk_walks_what_a_named_link_leads_to() {
    let work = Sandbox::new();
    let dir = work.path();
    linked(dir);
    let found = |words: &[&str]| {
        let ended = within(dir, 2, &[&["dwalk", "--json"], words].concat()).expect(0);
        let of = |kind: &str| ended.summary()["totals"]["found"][kind].as_u64().unwrap();
        (of("files"), of("directories"), of("symlinks"))
    };
    for follow in [&[][..], &["-L"]] {
        let found = |path: &str| found(&[follow, &[path]].concat());
        assert_eq!(found("to_dir"), (1, 1, 0));
        assert_eq!(found("to_dir/"), (1, 1, 0));
        assert_eq!(found("to_file"), (1, 0, 0));
        within(dir, 1, &[&["dwalk"], follow, &["to_file/"]].concat()).expect(3);
    }
    assert_eq!(found(&["to_nothing"]), (0, 0, 1));
    let ended = within(dir, 2, &["dwalk", "-L", "to_nothing"]).expect(3);
    assert!(ended.stderr.contains("dangling symbolic link"), "{}", ended.stderr);
    let listed = within(dir, 1, &["dwalk", "-q", "-p", "to_file"]).expect(0).stdout;
    assert!(listed.starts_with("-rw") && listed.ends_with(" to_file\n"), "{listed}");
}
