//! Tests of permissions and attributes of copies, compared with those of cp(1), chmod(1) and
//! rsync(1): never more than theirs.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use suite_tests::job::{run, tool};
use suite_tests::mounts::Image;
use suite_tests::need_root;
use suite_tests::sandbox::Sandbox;

/// Returns the output of a shell script in that directory.
#[track_caller]
fn shell(dir: &Path, script: &str) -> String {
    run(Command::new("bash").args(["-ec", script]).current_dir(dir)).expect(0).stdout
}

/// Runs a tool of the suite in that directory, under that umask.
#[track_caller]
fn copy(dir: &Path, count: u32, umask: &str, words: &[&str]) {
    let mut tool = tool(count, words[0]);
    let program = tool.get_program().to_owned();
    let mut shell = Command::new("bash");
    shell.args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\"")]).arg(program);
    run(shell.args(tool.args(&words[1..]).get_args()).current_dir(dir)).expect(0);
}

const SOURCE: &str = "mkdir s; for m in 600 640 644 664 666 755 775 777; do echo x > s/f$m
    chmod $m s/f$m; mkdir s/d$m; chmod $m s/d$m; echo y > s/d$m/in; done
    mkdir s/ro; echo z > s/ro/z; chmod 555 s/ro; mkfifo s/fifo; head -c 3M /dev/zero > s/large";

/// Checks that the target's default access control list, and no umask, decides where the mode is
/// not preserved.
#[test]
fn a_default_acl_gives_copies_the_rights_that_cp_gives_them() {
    need_root!();
    let work = Sandbox::new();
    shell(work.path(), SOURCE);
    for (count, umask, acl) in [
        (1, "022", "u::rwx,u:1001:rwx,g::rwx,m::rwx,o::---"),
        (3, "077", "u::rwx,u:1001:rwx,g::rwx,m::rwx,o::---"),
        (1, "077", "u::rwx,g::rwx,o::rwx"),
        (2, "022", "u::rwx,g::---,o::---"),
        (1, "022", "u::rw,u:1001:r,g::r,m::r,o::---"),
    ] {
        for words in [
            &["dcp", "--specials", "--chunksize=1M"][..],
            &["dcp", "--preserve=timestamps", "--specials"],
            &["dsync", "--no-preserve=mode,ownership", "--specials"],
        ] {
            shell(work.path(), &format!("rm -rf t u; mkdir t u; setfacl -d -m {acl} t u"));
            shell(work.path(), &format!("umask {umask}; cp -R s/. t"));
            copy(work.path(), count, umask, &[words, &["s/", "u"]].concat());
            let list = |dir: &str| shell(&work.path().join(dir), "getfacl -p -n $(find . | sort)");
            assert_eq!(list("u"), list("t"), "{words:?}, umask {umask}, {acl}");
        }
    }
}

/// Checks that `--chmod` changes the mode that a default access control list gives, at once and in
/// later runs.
#[test]
fn a_mode_that_is_given_changes_what_a_default_acl_leaves() {
    let work = Sandbox::new();
    shell(
        work.path(),
        "mkdir -p s/d u; echo 1 > s/d/f; chmod 777 s/d s/d/f; setfacl -d -m g::r-x,o::--- u",
    );
    let dsync = ["dsync", "--no-preserve=mode,ownership", "--chmod=u-w", "s", "u"];
    for _ in 0..2 {
        copy(work.path(), 2, "000", &dsync);
        assert_eq!(shell(work.path(), "stat -c %a u/d u/d/f"), "550\n550\n");
    }
    shell(work.path(), "mkdir v; chmod 2775 v");
    for words in [["dcp", "--chmod=755", "s/", "v"], ["dcp", "--chmod=u=rwx,go=rx", "s/", "v"]] {
        copy(work.path(), 1, "022", &words);
        let modes = shell(work.path(), "stat -c %a v v/d v/d/f");
        assert_eq!(modes, "2755\n2755\n755\n", "octal modes leave the set-group-id bit: {words:?}");
    }
}

#[test]
fn a_replaced_file_keeps_what_cp_leaves_it() {
    need_root!();
    let work = Sandbox::new();
    shell(work.path(), "mkdir s; echo new > s/f; head -c 3M /dev/zero > s/large");
    for (count, words) in [
        (1, &["dcp", "--chunksize=1M"][..]),
        (3, &["dcp", "--chunksize=1M", "--preserve=timestamps"]),
        (2, &["dsync", "--no-preserve=mode,ownership,xattr"]),
        (1, &["dsync", "--preserve=timestamps", "-c", "-k1M"]),
        (2, &["dcp", "--inplace"]),
    ] {
        for default in ["true", "setfacl -d -m u:1009:rwx t"] {
            shell(
                work.path(),
                &format!(
                    "rm -rf t c; mkdir t; for f in f large plain; do echo old > t/$f; chown 1001:1002 t/$f
                    chmod 640 t/$f; [ $f = plain ] || setfacl -m u:1003:rw t/$f
                    setfattr -n user.tag -v $f t/$f; done; {default}; cp -a t c; cp s/* c; cp s/f c/plain
                    cp s/f s/plain"
                ),
            );
            copy(work.path(), count, "022", &[words, &["s/", "t"]].concat());
            let list = |dir: &str| {
                let script = "getfacl -n -p f large plain; getfattr -d f large plain; cat f plain";
                shell(&work.path().join(dir), script)
            };
            assert_eq!(list("t"), list("c"), "{words:?}, {default}");
            shell(work.path(), "rm s/plain");
        }
    }
}

#[test]
fn a_source_without_access_control_lists_has_none_in_its_copy() {
    need_root!();
    let Some(disk) = Image::ext4(&["-I", "128"]) else { panic!("no loop devices") };
    let work = Sandbox::new();
    run(Command::new("mount").args(["-o", "remount,noacl,nouser_xattr"]).arg(disk.path()));
    let source = disk.path().join("s");
    fs::create_dir_all(source.join("d")).unwrap();
    shell(&source, "echo 1 > f; echo 2 > d/g; chmod 640 f d/g; chmod 750 . d");
    for (tool, count) in [("dcp", 1), ("dsync", 2)] {
        shell(work.path(), "rm -rf t; mkdir t; setfacl -d -m u:1001:rwx t");
        let from = format!("{}/", source.display());
        copy(work.path(), count, "022", &[tool, "--preserve", &from, "t"]);
        let named = shell(work.path(), "getfacl -R -p -n t/f t/d/g | grep -c 1001 || true");
        assert_eq!(named.trim(), "0", "{tool}");
    }
}

#[test]
fn entries_of_set_group_id_directories_have_the_group_that_is_kept() {
    need_root!();
    for (count, words) in [
        (1, &["dcp", "-a", "s/", "t"][..]),
        (3, &["dcp", "-p", "s/", "t"]),
        (2, &["dsync", "-a", "s", "t"]),
        (1, &["dcp", "--preserve=ownership", "s/", "t"]),
        (2, &["dcp", "--chown", "0:0", "s/", "t"]),
    ] {
        let work = Sandbox::new();
        shell(
            work.path(),
            "mkdir -p s/d t/d; ln -s x s/d/l; echo 1 > s/d/f; mkfifo s/d/p; chmod 2775 s/d t/d
            chown 0:1005 s/d t/d; chown -h 0:0 s/d/*",
        );
        copy(work.path(), count, "022", words);
        assert_eq!(shell(work.path(), "stat -c %u:%g t/d/* | sort -u"), "0:0\n", "{words:?}");
    }
}

#[test]
fn set_id_bits_stay_with_files_that_stay_their_owners() {
    need_root!();
    let work = Sandbox::new();
    shell(
        work.path(),
        "mkdir s; for f in root other group; do echo 1 > s/$f; done; chown 1:1 s/other; chown :5 s/group
        chmod 6755 s/*",
    );
    let modes = "stat -c %a root other group | tr '\\n' ' '";
    for words in [["dcp", "--preserve=mode,timestamps"], ["dsync", "--preserve=mode,timestamps"]] {
        shell(work.path(), "rm -rf t");
        copy(work.path(), 2, "022", &[&words[..], &["s/", "t"]].concat());
        assert_eq!(shell(&work.target(), modes), "6755 755 4755 ", "{words:?}");
    }
    copy(work.path(), 1, "022", &["dsync", "--preserve=mode,timestamps", "s/", "t"]);
    let again = run(tool(1, "dsync")
        .args(["--preserve=mode,timestamps", "s", "t"])
        .current_dir(work.path()));
    assert!(again.expect(0).stdout.contains("nothing to do"));
}

#[test]
fn an_archive_of_root_has_trusted_attributes() {
    need_root!();
    let work = Sandbox::new();
    shell(work.path(), "mkdir s; echo 1 > s/f; setfattr -n trusted.key -v value s/f s");
    for words in [["dcp", "-a", "s/", "t"], ["dsync", "-a", "s", "u"]] {
        copy(work.path(), 1, "022", &words);
        let script = format!("getfattr -n trusted.key {0} {0}/f | grep -c value", words[3]);
        assert_eq!(shell(work.path(), &script).trim(), "2");
    }
    copy(work.path(), 1, "022", &["dcp", "-p", "s/", "v"]);
    assert_eq!(shell(work.path(), "getfattr -m - v v/f | wc -l").trim(), "0");
}

/// Checks that an attribute that the target has no room for loses nothing but itself.
#[test]
fn an_extended_attribute_that_does_not_fit_is_counted() {
    need_root!();
    let (Some(xfs), Some(ext4)) = (Image::xfs(), Image::ext4(&[])) else {
        panic!("no loop devices")
    };
    let source = xfs.path().join("s");
    fs::create_dir_all(source.join("d")).unwrap();
    shell(
        &source,
        "for i in 1 2 3; do echo $i > f$i; done; echo in > d/in; big=$(head -c 20000 /dev/zero | tr '\\0' v)
        setfattr -n user.big -v $big f2; setfattr -n user.big -v $big d; setfattr -n user.small -v s f2 d
        chmod 2775 d; chmod 640 f2; touch -d 2001-01-01 d f2",
    );
    for (count, words) in [(1, &["dcp", "-p", "--json"][..]), (3, &["dsync", "--json"])] {
        let target = ext4.path().join(words[0]);
        let ended = run(tool(count, words[0]).args(&words[1..]).args([&source.join(""), &target]));
        let totals = ended.expect(0).summary()["totals"].clone();
        assert_eq!((&totals["xattrs_not_preserved"], &totals["failed"]), (&2.into(), &0.into()));
        let facts =
            "cat f* d/in; stat -c '%a %Y' d f2; getfattr -n user.small f2 d | grep -c '\"s\"'";
        assert_eq!(shell(&target, facts), shell(&source, facts));
    }
}

/// Checks times out of the target's range, which become the nearest that it can store: they are
/// recognised, and not copied again.
#[test]
fn times_that_the_target_cannot_keep_are_not_copied_for_ever() {
    need_root!();
    for disk in [Image::xfs(), Image::ext4(&[]), Image::ext4(&["-I", "128"])] {
        let (work, disk) = (Sandbox::new(), disk.expect("loop devices"));
        let (source, target) = (work.source(), disk.path().join("t"));
        fs::create_dir(&source).unwrap();
        for (name, time) in [
            ("old", "-9999999999.5"),
            ("late", "19000000000.25"),
            ("later", "99999999999"),
            ("2200", "7258118400"),
        ] {
            shell(&source, &format!("echo {name} > {name}; touch -d @{time} {name}"));
        }
        let dsync = || run(tool(2, "dsync").args([&source, &target])).expect(0).stdout;
        dsync();
        let again = dsync();
        let said = || shell(work.path(), &format!("stat -c '%n %y' s/* {}/*", target.display()));
        assert!(again.contains("nothing to do"), "{again}{}", said());
        assert_eq!(fs::metadata(source.join("later")).unwrap().mtime(), 99_999_999_999);
    }
}
