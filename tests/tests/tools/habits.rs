//! Tests of options that rsync's users type, with rsync(1) as the judge where it has them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use suite_tests::buckets::{BUCKET, go, served};
use suite_tests::job::{Ended, run, tool};
use suite_tests::object_server::Behaviour;
use suite_tests::sandbox::Sandbox;

fn shell(dir: &Path, script: &str) -> String {
    run(Command::new("sh").args(["-ec", script]).current_dir(dir)).expect(0).stdout
}

/// Lists mode, time, size and content of files, what links point to, and the names of directories.
fn facts(dir: &Path) -> String {
    let files = r"find . -type f -printf '%P %m %T@ %s\n' -o -type l -printf '%P %l\n' | sort";
    let rest = "find . -type d | sort; find . -type f | sort | xargs cksum";
    shell(dir, &format!("{files}; {rest}"))
}

/// Runs one of the tools and rsync in a directory, each with a target of its own, and compares the
/// targets.
fn judge(work: &Path, name: &str, ours: &[&str], theirs: &[&str]) -> Ended {
    shell(work, "rm -rf ours theirs; if [ -d t ]; then cp -a t ours; cp -a t theirs; fi");
    let mut command = tool(2, name);
    let ended = run(command.current_dir(work).args(ours).args(["s/", "ours"])).expect(0);
    let mut rsync = Command::new("rsync");
    run(rsync.current_dir(work).args(theirs).args(["s/", "theirs"])).expect(0);
    let of = |dir: &str| facts(&work.join(dir));
    assert_eq!(of("ours"), of("theirs"), "{name} {ours:?}\n{}", ended.stderr);
    ended
}

/// A source, and a target that has drifted away from it in all ways that matter to the rules.
const DRIFTED: &str = "
    mkdir -p s/d s/only t/d t/extra old/d
    for f in same newer older size time content d/same d/newer; do
        echo $f > s/$f; cp s/$f t/$f; touch -d 2020-02-02T02:02:02 s/$f t/$f
    done
    echo NEWER > t/newer; echo NEWER > t/d/newer; touch -d 2021-01-01 t/newer t/d/newer
    echo OLDER > t/older; touch -d 2019-01-01 t/older
    echo 'another size' > t/size; touch -d 2020-02-02T02:02:02 t/size
    touch -d 2020-02-02T02:02:03 t/time
    echo CONTENT > t/content; touch -d 2020-02-02T02:02:02 t/content
    echo missing > s/missing; echo missing > s/only/f; echo extra > t/extra/f
    cp -a s/missing old/missing; cp -a s/d/same old/d/same; echo other > old/only
    ln -s same s/link";

#[test]
fn dcp_chooses_by_rules_as_rsync_does() {
    let work = Sandbox::new();
    shell(work.path(), DRIFTED);
    for options in [
        &["-u"][..],
        &["--update", "--existing"],
        &["--existing"],
        &["--ignore-existing"],
        &["--size-only"],
        &["-c"],
        &["--checksum", "-u"],
        &["--modify-window=1"],
    ] {
        let ours = [&["-p"], options].concat();
        let theirs = [&["-rlpt"], options].concat();
        let ended = judge(work.path(), "dcp", &ours, &theirs);
        assert!(ended.stdout.contains("unchanged"), "{options:?}: {}", ended.stdout);
    }
    // With dsync they mean the same.
    judge(work.path(), "dsync", &["--modify-window=1"], &["-rlpt", "--modify-window=1"]);
    shell(work.path(), "touch -d 2020-02-02T02:02:02 same; cmp s/same t/same");
}

#[test]
fn dcp_with_rules_refuses_entries_of_another_kind_as_without() {
    let work = Sandbox::new();
    shell(
        work.path(),
        "mkdir -p s/a t/b t/empty; echo f > s/b; echo f > t/a; echo f > s/empty; echo g > s/g",
    );
    for options in [&["-u"][..], &["--size-only", "-n"], &["-c"], &[]] {
        let ended = run(tool(1, "dcp").current_dir(work.path()).args(options).args(["s/", "t"]));
        let ended = ended.expect(23);
        assert_eq!(ended.stderr.matches("type mismatch").count(), 3, "{}", ended.stderr);
        let there = shell(work.path(), "cat t/a; ls -d t/b/ t/empty/");
        assert_eq!(there, "f\nt/b/\nt/empty/\n", "{options:?}");
    }
    // dsync, which mirrors, replaces them where nothing is lost.
    let ended = run(tool(1, "dsync").current_dir(work.path()).args(["s", "t"])).expect(0);
    assert_eq!(
        shell(work.path(), "cat t/b t/empty; ls -d t/a/"),
        "f\nf\nt/a/\n",
        "{}",
        ended.stderr
    );
}

#[test]
fn rules_hold_for_single_files_named_entries_and_several_sources() {
    let work = Sandbox::new();
    shell(work.path(), DRIFTED);
    let dcp = |words: &[&str]| run(tool(1, "dcp").current_dir(work.path()).args(words)).expect(0);
    dcp(&["-u", "s/newer", "s/older", "t"]);
    assert_eq!(shell(work.path(), "cat t/newer t/older"), "NEWER\nolder\n");
    dcp(&["--ignore-existing", "s/size", "t/content"]);
    assert_eq!(shell(work.path(), "cat t/content"), "CONTENT\n");
    shell(work.path(), "printf 'd/newer\nmissing\n' > names");
    dcp(&["-u", "--files-from=names", "s", "t"]);
    assert_eq!(shell(work.path(), "cat t/d/newer t/missing"), "NEWER\nmissing\n");
    // A tree goes into TARGET under its own name.
    shell(work.path(), "mkdir t/s; echo mine > t/s/same");
    dcp(&["--ignore-existing", "s", "t"]);
    assert_eq!(shell(work.path(), "cat t/s/same t/s/d/newer"), "mine\nd/newer\n");
}

/// Checks that names of one file are left out with it, or copied without it. rsync 3.5 hangs there.
#[test]
fn hard_links_of_a_file_of_an_older_copy_are_no_links_to_what_is_left_out() {
    let work = Sandbox::new();
    shell(work.path(), "mkdir s; echo 1 > s/a; ln s/a s/b; ln s/a s/c; cp -a s old");
    for count in [1, 3] {
        for (name, source) in [("dsync", "s"), ("dcp", "s/")] {
            let into = |target: &str| {
                let mut tool = tool(count, name);
                run(tool
                    .current_dir(work.path())
                    .args(["-a", "--compare-dest=../old"])
                    .args([source, target]))
                .expect(0);
                shell(work.path(), &format!("ls {target}"))
            };
            assert_eq!(into(&format!("none-{name}-{count}")), "");
            shell(work.path(), "mv old/b kept");
            // The names from there on are one file.
            assert_eq!(into(&format!("b-{name}-{count}")), "b\nc\n");
            shell(work.path(), "mv kept old/b");
        }
    }
}

#[test]
fn files_of_an_older_copy_are_left_out() {
    let work = Sandbox::new();
    shell(work.path(), DRIFTED);
    // An entry of TARGET that the older copy has, too, stays; rsync would delete it.
    shell(work.path(), "rm t/d/same");
    for option in ["--compare-dest=../old", "--compare-dest=$PWD/old"] {
        let option = option.replace("$PWD", work.path().to_str().unwrap());
        judge(work.path(), "dsync", &[&option], &["-rlpt", &option]);
        judge(work.path(), "dcp", &["-p", &option], &["-rlpt", &option]);
        assert!(
            !work.path().join("ours/missing").exists() && work.path().join("ours/only/f").exists()
        );
    }
    let mut dcp = tool(1, "dcp");
    dcp.current_dir(work.path()).args(["--compare-dest=../nowhere", "s/", "t"]);
    let ended = run(&mut dcp).expect(3);
    assert!(ended.stderr.contains("--compare-dest \"../nowhere\""), "{}", ended.stderr);
    let both = ["--verify", "all", "--compare-dest=old", "s", "t"];
    run(tool(1, "dsync").current_dir(work.path()).args(both)).expect(2);
}

#[test]
fn dsync_follows_links_as_rsync_does() {
    let work = Sandbox::new();
    shell(
        work.path(),
        "mkdir -p s/d far t/d; echo a > s/d/a; echo far > far/f; echo one > one
        ln -s ../one s/file; ln -s ../far s/dir; ln -s d s/inner; ln -s d/a t/file; ln -s x t/dir
        echo gone > t/d/gone; find s far one -exec touch -d 2020-01-01 {} +",
    );
    for (ours, theirs) in [
        (&["-L"][..], &["-rptL"][..]),
        (&["--copy-links", "-D"], &["-rptL", "--delete"]),
        (&["-L", "-D", "-c"], &["-rptL", "--delete", "-c"]),
    ] {
        judge(work.path(), "dsync", ours, theirs);
    }
    assert!(work.path().join("ours/dir").symlink_metadata().unwrap().is_dir());
    // Once more changes nothing.
    let again = ["-L", "-D", "--json", "s/", "ours"];
    let ended = run(tool(2, "dsync").current_dir(work.path()).args(again)).expect(0);
    assert_eq!(ended.summary()["totals"]["copied"]["files"], 0, "{}", ended.stdout);
    // A link to nothing, and one that leads back, are failures, after which nothing is deleted.
    shell(work.path(), "ln -s nowhere s/broken; ln -s .. s/d/loop; echo x > ours/extra");
    let ended =
        run(tool(2, "dsync").current_dir(work.path()).args(["-LD", "s", "ours"])).expect(23);
    assert!(ended.stderr.contains("broken") && ended.stderr.contains("loop"), "{}", ended.stderr);
    assert!(work.path().join("ours/extra").exists() && !work.path().join("ours/d/loop").exists());
    // What the link leads to must not be the target.
    shell(work.path(), "rm s/broken s/d/loop; ln -s ../../ours s/d/there");
    let ended = run(tool(1, "dsync").current_dir(work.path()).args(["-L", "s", "ours"])).expect(23);
    assert!(!work.path().join("ours/d/there").exists(), "{}", ended.stderr);
}

#[test]
fn lists_of_patterns_select_as_with_rsync() {
    let work = Sandbox::new();
    shell(
        work.path(),
        "mkdir -p s/src/deep s/tmp s/build; for f in a.o keep.o a.c src/b.o src/b.c src/deep/c.c tmp/x build/y; do
            echo $f > s/$f; done; find s -exec touch -d 2020-01-01 {} +
        printf '# comment\\n; too\\n\\n+ keep.o\\n*.o\\n/tmp/\\n' > ex
        printf 'keep.o\\n' > in; printf '+ */\\n+ *.c\\n- *\\n' > rules",
    );
    for (ours, theirs) in [
        (&["--exclude-from=ex"][..], None),
        (&["--include-from", "in", "--exclude", "*.o"], None),
        (&["--exclude", "*.o", "--include-from", "in"], None),
        (&["-f", "- /tmp/", "-f", "+ keep.o", "--filter=- *.o"], None),
        (&["--filter=exclude build/", "--exclude-from=ex"], None),
        (&["--filter-from=rules"], Some(&["--filter=merge rules"][..])),
    ] {
        let theirs = theirs.unwrap_or(ours);
        judge(work.path(), "dsync", ours, &[&["-rlpt"], theirs].concat());
        judge(work.path(), "dcp", &[&["-p"], ours].concat(), &[&["-rlpt"], theirs].concat());
    }
    // All ranks, and the other tools, go by the list that one of them has read from its input.
    let mut dwalk = tool(3, "dwalk");
    dwalk.args(["--json", "--exclude-from=-", "s"]);
    let mut piped = Command::new("sh");
    piped.args(["-c", "cat ex | \"$@\"", "sh"]).arg(dwalk.get_program()).args(dwalk.get_args());
    let ended = run(piped.current_dir(work.path())).expect(0);
    let found = &ended.summary()["totals"]["found"]["files"];
    assert_eq!(*found, 5, "{}", ended.stdout);
}

#[test]
fn lists_of_patterns_that_make_no_sense_are_refused() {
    let work = Sandbox::new();
    shell(
        work.path(),
        "mkdir s t; echo x > s/x; printf 'a\\n[b\\n' > bad; printf 'P x\\n' > rules",
    );
    for (option, says) in [
        ("--exclude-from=nowhere", "\"nowhere\": No such file"),
        ("--exclude-from=bad", "line 2 of \"bad\""),
        ("--filter-from=rules", "line 1 of \"rules\": cannot use the rule \"P x\""),
        ("--filter=: .rsync-filter", "cannot use the rule \": .rsync-filter\""),
        ("--include-from=s", "Is a directory"),
    ] {
        let ended = run(tool(2, "dcp").current_dir(work.path()).args([option, "s", "t"])).expect(2);
        assert!(ended.stderr.contains(says), "{option}: {}", ended.stderr);
        // The launcher may add words of its own.
        let own = ended.stderr.lines().filter(|line| line.starts_with("dcp: "));
        assert_eq!(own.count(), 1, "{}", ended.stderr);
        assert_eq!(fs::read_dir(work.path().join("t")).unwrap().count(), 0);
    }
}

#[test]
fn missing_directories_above_the_target_are_made_on_request() {
    let work = Sandbox::new();
    shell(work.path(), "umask 022; mkdir -p s/d; echo x > s/d/x; echo f > f");
    for (name, words, made) in [
        ("dcp", &["s", "a/b/c"][..], "a/b/c/d/x"),
        ("dcp", &["f", "e/f/g"], "e/f/g"),
        ("dcp", &["s/", "f", "h/i/"], "h/i/d/x"),
        ("dsync", &["s", "j/k/l"], "j/k/l/d/x"),
    ] {
        let without = run(tool(1, name).current_dir(work.path()).args(words));
        assert_ne!(without.code, Some(0), "{words:?}: {}", without.stderr);
        let dry = [&["--mkpath", "-n"], words].concat();
        run(tool(1, name).current_dir(work.path()).args(dry)).expect(0);
        let first = Path::new(made).components().next().unwrap();
        assert!(!work.path().join(first).exists(), "{words:?} made something");
        let really = [&["--mkpath"], words].concat();
        run(tool(2, name).current_dir(work.path()).args(really)).expect(0);
        assert!(work.path().join(made).is_file(), "{words:?}");
        let mode = fs::metadata(work.path().join(first)).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o755, "{words:?}");
    }
}

#[test]
fn letters_of_rsync_mean_what_they_say() {
    let work = Sandbox::new();
    shell(
        work.path(),
        "mkdir -p s t; echo x > s/x; chmod 640 s/x; touch -d 2020-01-01 s/x; echo y > t/y",
    );
    let times = |file: &str| fs::metadata(work.path().join(file)).unwrap().mtime();
    let run_in =
        |name: &str, words: &[&str]| run(tool(1, name).current_dir(work.path()).args(words));
    run_in("dcp", &["-rt", "s/x", "t1"]).expect(0);
    assert_eq!(times("t1"), times("s/x"));
    run_in("dcp", &["-rlto", "--perms", "s/x", "t2"]).expect(0);
    assert_eq!(times("t2"), times("s/x"));
    assert_eq!(fs::metadata(work.path().join("t2")).unwrap().mode() & 0o777, 0o640);
    run_in("dcp", &["-r", "s/x", "t3"]).expect(0);
    assert_ne!(times("t3"), times("s/x"));
    run_in("dcp", &["-M", "s/x", "t4"]).expect(0);
    assert_eq!(times("t4"), times("s/x"));
    // A letter that takes no value there.
    run_in("dsync", &["-aHAX", "s", "t5"]).expect(0);
    run_in("dcp", &["-aX", "s", "t6"]).expect(0);
    assert!(work.path().join("t5/x").exists() && work.path().join("t6/x").exists());
    // That of devices would delete.
    let ended = run_in("dsync", &["-rlptgoD", "s", "t"]).expect(2);
    assert!(ended.stderr.contains("-D in \"-rlptgoD\" would delete"), "{}", ended.stderr);
    assert!(work.path().join("t/y").exists());
}

#[test]
fn rules_hold_for_objects() {
    let work = Sandbox::new();
    shell(
        work.path(),
        "mkdir s; for f in a b c; do echo $f > s/$f; done; cp -a s old; echo C > old/c",
    );
    let path = |name: &str| work.path().join(name).into_os_string().into_string().unwrap();
    let (source, old) = (path("s/"), path("old/"));
    let server = served(Behaviour::default());
    let copy = |words: &[&str]| {
        go(&server, 2, words).expect(0).summary()["totals"]["copied"]["files"].clone()
    };
    assert_eq!(copy(&["dcp", "--json", &source, "s3://data/up"]), 3);
    for rule in ["-u", "-c", "--size-only", "--ignore-existing"] {
        assert_eq!(copy(&["dcp", "--json", rule, &source, "s3://data/up"]), 0, "{rule}");
    }
    shell(work.path(), "echo A > s/a; touch -d 2020-01-01 s/a; echo new > s/new");
    assert_eq!(copy(&["dcp", "--json", "--existing", "-u", &source, "s3://data/up"]), 0);
    assert_eq!(copy(&["dcp", "--json", "--existing", "-c", &source, "s3://data/up"]), 1);
    assert_eq!(copy(&["dcp", "--json", "--ignore-existing", &source, "s3://data/up"]), 1);
    assert_eq!(server.get(BUCKET, "up/a").unwrap().content.to_bytes()[..], b"A\n"[..]);
    // What an older copy of objects has is left out of a new one.
    assert_eq!(copy(&["dcp", "--json", &old, "s3://data/old"]), 3);
    let older = "--compare-dest=s3://data/old";
    assert_eq!(copy(&["dcp", "--json", older, &source, "s3://data/new"]), 3, "a, c, new");
    assert!(server.get(BUCKET, "new/b").is_none() && server.get(BUCKET, "new/c").is_some());
}
