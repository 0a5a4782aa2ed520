//! Tests of the attributes that dcp and dsync preserve or set, and of special files, each inspected
//! with other tools.

use std::ffi::CString;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use suite_tests::job::{alone, assert_identical, for_everybody, nobody, run, sync, tool};
use suite_tests::need_root;
use suite_tests::sandbox::Sandbox;
use suite_tests::trees;

fn mknod(path: &Path, words: &[&str]) {
    run(Command::new("mknod").arg(path).args(words)).expect(0);
}

/// Creates one of each special file, and a file beside them.
fn special_tree(root: &Path) {
    trees::write(&root.join("d/file"), b"content");
    mknod(&root.join("d/fifo"), &["p"]);
    fs::set_permissions(root.join("d/fifo"), Permissions::from_mode(0o640)).unwrap();
    drop(UnixListener::bind(root.join("d/socket")).unwrap());
    mknod(&root.join("char"), &["c", "1", "3"]);
    mknod(&root.join("block"), &["b", "7", "99"]);
    for name in ["d/fifo", "d/socket", "char", "block"] {
        let path = root.join(name);
        chown(&path, Some(1234), Some(5678)).unwrap();
        run(Command::new("touch").args(["-h", "-d", "2001-02-03 04:05:06.789"]).arg(path))
            .expect(0);
    }
}

/// Lists type, mode, owner, time and device numbers of all entries but directories.
fn listing(root: &Path) -> Vec<String> {
    let mut find = Command::new("find");
    find.args([
        ".",
        "!",
        "-type",
        "d",
        "-exec",
        "stat",
        "-c",
        "%n %F %a %u %g %y %t %T",
        "{}",
        "+",
    ]);
    let listed = run(find.current_dir(root)).expect(0).stdout;
    let mut lines: Vec<String> = listed.lines().map(ToOwned::to_owned).collect();
    lines.sort();
    lines
}

fn mode_of(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn special_files_are_made_on_request_and_left_out_otherwise() {
    need_root!();
    for count in [1, 4] {
        let work = Sandbox::new();
        let (source, target) = (work.source(), work.target());
        special_tree(&source);
        let without = work.at("without");
        let ended = run(tool(count, "dcp").args(["-p", "--json"]).args([&source, &without]));
        let totals = ended.expect(0).summary()["totals"].clone();
        assert_eq!(
            (&totals["special_files_skipped"], &totals["copied"]["special_files"]),
            (&4.into(), &0.into())
        );
        assert_eq!(fs::read_dir(&without).unwrap().count(), 1);
        // The second run finds everything copied.
        for options in [&["-a", "--json"][..], &["-p", "--specials", "--devices", "--json"]] {
            let slash = source.join("");
            let ended = run(tool(count, "dcp").args(options).args([&slash, &target])).expect(0);
            let totals = ended.summary()["totals"].clone();
            assert_eq!(
                (&totals["special_files_skipped"], &totals["copied"]["special_files"]),
                (&0.into(), &4.into())
            );
            assert_eq!(listing(&source), listing(&target));
        }
        work.run(count, "dcmp", &[]).expect(0);
        let some = work.at("some");
        let ended = run(tool(count, "dcp").arg("--specials").args([&source, &some])).expect(0);
        assert!(some.join("d/fifo").exists() && !some.join("char").exists());
        assert!(ended.stdout.contains("--specials, --devices or -a copy them"), "{}", ended.stdout);
        assert_eq!(fs::symlink_metadata(some.join("d/fifo")).unwrap().uid(), 0);
    }
}

#[test]
fn a_device_is_not_made_over_the_one_it_comes_from_and_a_file_not_over_a_device() {
    need_root!();
    let work = Sandbox::new();
    let source = work.source();
    special_tree(&source);
    fs::create_dir(work.target()).unwrap();
    mknod(&work.at("t/file"), &["c", "1", "3"]);
    let ended = run(alone("dcp").arg("-a").args([&source.join("d/"), &work.target()]));
    assert!(ended.expect(23).stderr.contains("it is not replaced"));
    run(alone("dcp").arg("-a").args([&source.join("char"), &source])).expect(3);
    assert_eq!(fs::symlink_metadata(source.join("char")).unwrap().uid(), 1234);
    // A link that is followed leads to a device: that one is made.
    symlink("char", source.join("link")).unwrap();
    let target = work.at("made");
    run(alone("dcp").args(["-aL"]).args([&source.join("link"), &target])).expect(0);
    let made = fs::symlink_metadata(&target).unwrap();
    assert_eq!(made.rdev(), fs::metadata("/dev/null").unwrap().rdev());
}

#[test]
fn dsync_recognises_equal_special_files_and_replaces_others() {
    need_root!();
    for count in [1, 3] {
        let work = Sandbox::new();
        let (source, target) = (work.source(), work.target());
        special_tree(&source);
        let plan = work.run(count, "dsync", &["-n", "-a"]).expect(0);
        assert!(plan.stdout.contains("create special file"), "{}", plan.stdout);
        work.run(count, "dsync", &["--specials", "--devices"]).expect(0);
        assert_eq!(listing(&source), listing(&target));
        let inodes = |root: &Path| {
            ["d/fifo", "d/socket", "char", "block"]
                .map(|name| fs::symlink_metadata(root.join(name)).unwrap().ino())
        };
        let before = inodes(&target);
        let again = work.run(count, "dsync", &["-aD"]).expect(0);
        assert!(again.stdout.contains("nothing to do, no differences"), "{}", again.stdout);
        // Other attributes are set in place; another device, or something else, makes way.
        fs::set_permissions(target.join("d/fifo"), Permissions::from_mode(0o600)).unwrap();
        run(Command::new("touch").arg("-h").arg(target.join("block"))).expect(0);
        fs::remove_file(target.join("char")).unwrap();
        mknod(&target.join("char"), &["c", "1", "5"]);
        fs::remove_file(target.join("d/socket")).unwrap();
        trees::write(&target.join("d/socket/below"), b"x");
        work.run(1, "dcmp", &[]).expect(1);
        work.run(count, "dsync", &["-aD"]).expect(0);
        assert_eq!(listing(&source), listing(&target));
        let after = inodes(&target);
        assert_eq!((after[0], after[3]), (before[0], before[3]));
        work.run(count, "dcmp", &[]).expect(0);
    }
}

#[test]
fn who_may_not_make_devices_is_told_so_for_each() {
    need_root!();
    let work = Sandbox::new();
    let (source, target) = (work.source(), work.target());
    special_tree(&source);
    fs::create_dir(&target).unwrap();
    chown(&target, Some(65534), Some(65534)).unwrap();
    fs::set_permissions(work.path(), Permissions::from_mode(0o755)).unwrap();
    let (_programs, dcp) = for_everybody("dcp");
    let nobody = |options: &[&str]| {
        let mut user = nobody();
        user.arg(&dcp);
        run(user.args(options).args([&source.join(""), &target]))
    };
    // An archive has what its user may make.
    let ended = nobody(&["-a", "--json"]).expect(0);
    assert_eq!(ended.summary()["totals"]["copied"]["special_files"], 2);
    assert_eq!(ended.summary()["totals"]["special_files_skipped"], 2);
    let ended = nobody(&["--devices"]).expect(23);
    assert_eq!(ended.stderr.matches("Operation not permitted").count(), 2, "{}", ended.stderr);
    let left = run(Command::new("find").arg(&target).args(["-name", ".dcp.*"])).expect(0).stdout;
    assert_eq!(left, "");
}

/// Creates a file and a directory of another user, with all attributes.
fn rich_tree(root: &Path) {
    trees::write(&root.join("d/f"), b"x");
    for name in ["d/f", "d"] {
        let path = root.join(name);
        run(Command::new("setfattr").args(["-n", "user.a", "-v", "1"]).arg(&path)).expect(0);
        run(Command::new("setfattr").args(["-n", "trusted.b", "-v", "2"]).arg(&path)).expect(0);
        run(Command::new("setfacl").args(["-m", "u:4321:rwx"]).arg(&path)).expect(0);
        chown(&path, Some(1234), Some(5678)).unwrap();
        run(Command::new("touch").args(["-d", "2001-02-03"]).arg(&path)).expect(0);
    }
    fs::set_permissions(root.join("d/f"), Permissions::from_mode(0o6775)).unwrap();
    run(Command::new("touch").args(["-d", "2001-02-03"]).arg(root.join("d"))).expect(0);
}

/// Returns which attributes a copy has: mode, ACL, owner, time, user's and trusted attributes.
fn kept(target: &Path, name: &str) -> [bool; 6] {
    let path = target.join(name);
    let metadata = fs::metadata(&path).unwrap();
    let output = |command: &mut Command| run(command.arg(&path)).expect(0).stdout;
    let xattrs = output(Command::new("getfattr").args(["--absolute-names", "-d", "-m", "-"]));
    [
        metadata.mode() & 0o777 == 0o775,
        output(Command::new("getfacl").args(["-pn"])).contains("user:4321:"),
        metadata.uid() == 1234 && metadata.gid() == 5678,
        metadata.mtime() < 1_000_000_000,
        xattrs.contains("user.a"),
        xattrs.contains("trusted.b"),
    ]
}

/// Attributes that -p preserves.
const ALL: [bool; 6] = [true, true, true, true, true, false];

#[test]
fn what_is_listed_is_kept_and_nothing_else() {
    need_root!();
    let work = Sandbox::new();
    let source = work.source();
    rich_tree(&source);
    let but = |fields: &[usize]| {
        let mut kept = ALL;
        for field in fields {
            kept[*field] = !kept[*field];
        }
        kept
    };
    for (number, (options, expected, set_id)) in [
        (&["-p"][..], ALL, 0o6000),
        (&["-a"], but(&[5]), 0o6000),
        (&[], [false; 6], 0),
        (&["--preserve=mode"], but(&[2, 3, 4]), 0),
        (&["--preserve=ownership,timestamps"], but(&[0, 1, 4]), 0),
        (&["--preserve=xattr"], but(&[0, 1, 2, 3]), 0),
        (&["-p", "--no-preserve=ownership"], but(&[2]), 0),
        (&["-p", "--no-preserve=mode,xattr"], but(&[0, 1, 4]), 0),
        (&["-p", "--xattrs", "none"], but(&[1, 4]), 0o6000),
        (&["--preserve=all,acl", "--xattrs", "none"], but(&[4]), 0o6000),
        (&["-p", "--no-preserve=acl"], but(&[1]), 0o6000),
        (&["-p", "--xattrs", "user"], ALL, 0o6000),
        (&["-p", "--xattrs", "non-lustre"], but(&[5]), 0o6000),
        (&["-p", "--xattrs", "all"], but(&[5]), 0o6000),
    ]
    .into_iter()
    .enumerate()
    {
        let target = work.path().join(format!("t{number}"));
        run(alone("dcp").args(options).args([&source.join(""), &target])).expect(0);
        for name in ["d", "d/f"] {
            assert_eq!(kept(&target, name), expected, "{options:?} {name}");
        }
        assert_eq!(mode_of(&target.join("d/f")) & 0o6000, set_id, "{options:?}");
    }
    let ended = run(alone("dcp").args(["--preserve=context"]).args([&source, &source])).expect(2);
    assert!(ended.stderr.contains("invalid attribute"), "{}", ended.stderr);
}

#[test]
fn dsync_looks_only_at_what_is_kept() {
    need_root!();
    let work = Sandbox::new();
    let (source, target) = (work.source(), work.target());
    rich_tree(&source);
    let idle = |options: &[&str]| {
        let ended = work.run(2, "dsync", options).expect(0);
        assert!(ended.stdout.contains("nothing to do"), "{options:?} {}", ended.stdout);
    };
    let few = &["--no-preserve=mode,ownership,xattr"][..];
    work.run(2, "dsync", few).expect(0);
    assert_eq!(kept(&target, "d/f"), [false, false, false, true, false, false]);
    idle(few);
    idle(&["--preserve=timestamps"]);
    work.run(2, "dsync", &["--xattrs", "all"]).expect(0);
    assert_eq!(kept(&target, "d/f"), [true; 6]);
    assert_eq!(kept(&target, "d"), [true; 6]);
    idle(&["--xattrs", "all"]);
    // Attributes that are not selected stay as they are.
    idle(&[]);
    assert_eq!(kept(&target, "d/f"), [true; 6]);
    assert_identical(&source, &target);
}

#[test]
fn a_default_acl_of_the_target_does_not_leak_into_copies_that_keep_modes() {
    let work = Sandbox::new();
    let (source, target) = (work.source(), work.target());
    trees::write(&source.join("d/f"), b"x");
    trees::write(&source.join("own/f"), b"x");
    run(Command::new("mkfifo").arg(source.join("d/fifo"))).expect(0);
    let setfacl = |entry: &str, path: &Path| {
        run(Command::new("setfacl").args(["-d", "-m", entry]).arg(path)).expect(0);
    };
    setfacl("u:1111:rwx", &source.join("own"));
    fs::create_dir(&target).unwrap();
    setfacl("u:4321:rwx", &target);
    for (tool, options) in [("dcp", &["-a"][..]), ("dsync", &["--specials"])] {
        let into = target.join(tool);
        fs::create_dir(&into).unwrap();
        run(alone(tool).args(options).args([&source.join(""), &into])).expect(0);
        let acls = |root: &Path| {
            let mut getfacl = Command::new("getfacl");
            let listed = run(getfacl.args(["-Rn", "."]).current_dir(root)).expect(0).stdout;
            let mut blocks: Vec<String> = listed.split("\n\n").map(ToOwned::to_owned).collect();
            blocks.sort();
            blocks
        };
        assert_eq!(acls(&source), acls(&into), "{tool}");
        assert!(acls(&into).concat().contains("default:user:1111:rwx"));
    }
}

#[test]
fn owners_and_modes_can_be_given() {
    need_root!();
    for count in [1, 2] {
        let work = Sandbox::new();
        let (source, target) = (work.source(), work.target());
        rich_tree(&source);
        let give = ["-p", "--chown", "root:7777", "--chmod", "D2770,F640"];
        run(tool(count, "dcp").args(give).args([&source, &target])).expect(0);
        let has = |name: &str, target: &PathBuf| {
            let metadata = fs::metadata(target.join(name)).unwrap();
            (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777)
        };
        assert_eq!(has("d", &target), (0, 7777, 0o2770));
        assert_eq!(has("d/f", &target), (0, 7777, 0o640));
        // dsync takes equal entries for equal, and changes others.
        let same = sync(count, &give[1..], &source, &target).expect(0);
        assert!(same.stdout.contains("nothing to do"), "{}", same.stdout);
        work.run(count, "dsync", &["--chown", ":8888", "--chmod", "go-w"]).expect(0);
        assert_eq!(has("d/f", &target), (1234, 8888, 0o4755));
        // Without --preserve: the rest is as without.
        let plain = work.at("plain");
        let options = ["--chown=4444", "--chmod=u+s,o="];
        run(tool(count, "dcp").args(options).args([&source, &plain])).expect(0);
        assert_eq!(has("d/f", &plain), (4444, 0, 0o4750));
        for (option, wrong, said) in [
            ("--chown", "no-such-user", "there is no user \"no-such-user\" here"),
            ("--chown", "root:no-such-group", "there is no group \"no-such-group\" here"),
            ("--chmod", "u+q", "invalid mode \"u+q\""),
        ] {
            let ended = run(tool(count, "dcp").args([option, wrong]).args([&source, &target]));
            let stderr = ended.expect(2).stderr;
            assert_eq!(stderr.matches(said).count(), 1, "{stderr}");
        }
    }
}

#[test]
fn set_id_bits_are_left_off_where_the_owner_cannot_be_kept() {
    need_root!();
    let work = Sandbox::new();
    let (source, target) = (work.source(), work.target());
    trees::write(&source.join("d/f"), b"x");
    fs::set_permissions(source.join("d/f"), Permissions::from_mode(0o6755)).unwrap();
    fs::create_dir(&target).unwrap();
    chown(&target, Some(65534), Some(65534)).unwrap();
    fs::set_permissions(work.path(), Permissions::from_mode(0o755)).unwrap();
    for (tool, options, code) in [
        ("dcp", &["-p"][..], 0),
        ("dcp", &["-p", "--no-preserve=ownership"], 0),
        ("dcp", &["--chown=root", "--chmod=u+s"], 23),
        ("dsync", &[], 0),
    ] {
        let (_programs, program) = for_everybody(tool);
        let mut user = nobody();
        user.arg(program);
        run(user.args(options).args([&source.join(""), &target])).expect(code);
        let made = fs::metadata(target.join("d/f")).unwrap();
        assert_eq!((made.uid(), made.mode() & 0o7777), (65534, 0o755), "{tool} {options:?}");
        run(Command::new("rm").arg("-r").arg(target.join("d"))).expect(0);
    }
}

#[test]
fn names_that_are_no_text_have_special_files_too() {
    let work = Sandbox::new();
    let (source, target) = (work.source(), work.target());
    fs::create_dir(&source).unwrap();
    let name = std::ffi::OsStr::from_bytes(b"\xff\n");
    let path = CString::new(source.join(name).as_os_str().as_bytes()).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    run(alone("dcp").arg("-a").args([&source, &target])).expect(0);
    assert_eq!(mode_of(&target.join(name)), 0o400);
}
