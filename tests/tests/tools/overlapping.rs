//! Tests of several sources whose contents go into one directory: of equal names the last source's
//! entry is there, as with cp(1), however fast each is copied.

use std::path::Path;
use std::process::Command;

use suite_tests::job::{Ended, run, tool};
use suite_tests::sandbox::Sandbox;

fn shell(dir: &Path, script: &str) -> String {
    run(Command::new("bash").args(["-ec", script]).current_dir(dir)).expect(0).stdout
}

fn dcp(dir: &Path, count: u32, words: &[&str]) -> Ended {
    let mut dcp = tool(count, "dcp");
    run(dcp.args(["--chunksize=256K", "--threads=8"]).args(words).current_dir(dir))
}

/// Lists type, mode, modification time, size and link target of all entries.
fn facts(dir: &Path) -> String {
    shell(
        dir,
        r"find . -printf '%P %y %m %T@ %s %l\n' | sort; find . -type f | sort | xargs md5sum",
    )
}

/// Script that creates small and large files, directories that merge, and symbolic links, in each
/// of three sources; each has entries of its own, and the first has most to do.
const SOURCES: &str = r"
    for s in a b c; do mkdir -p $s/sub/deep $s/only-$s; for i in $(seq 120); do echo $s$i > $s/f$i; done
    head -c 1500000 /dev/zero | tr '\0' $s > $s/big; echo $s > $s/sub/deep/x; echo $s > $s/sub/$s
    ln -s $s $s/link; echo $s > $s/only-$s/$s; done
    for i in $(seq 400); do echo a$i > a/first$i; done
    chmod 700 a/sub; chmod 750 b/sub; chmod 711 c/sub
    touch -d 2001-01-01 a a/sub a/sub/deep; touch -d 2002-01-01 b b/sub b/sub/deep; touch -d 2003-01-01 c c/sub c/sub/deep
    echo single > single; mkdir -p x/sub/deep; echo x > x/sub/deep/x; echo x > x/f7; touch -d 2004-01-01 x/sub";

#[test]
fn the_last_source_has_the_name() {
    let work = Sandbox::new();
    shell(work.path(), SOURCES);
    for (count, sources, like_cp) in [
        (1, &["a/", "b/", "c/"][..], "a/. b/. c/."),
        (4, &["a/", "b/", "c/"], "a/. b/. c/."),
        (4, &["c/", "b/", "a/"], "c/. b/. a/."),
        // A directory by its name merges, and a file by its name replaces.
        (3, &["a/", "x/sub", "x/f7"], "a/. x/sub x/f7"),
        (3, &["x/sub", "x/f7", "a/"], "x/sub x/f7 a/."),
        (2, &["x/sub", "a/", "x/f7"], "x/sub a/. x/f7"),
    ] {
        for options in [&["-p"][..], &["-p", "-H"], &["-p", "--verify=transferred"]] {
            shell(work.path(), &format!("rm -rf t u; mkdir t u; cp -a {like_cp} u"));
            dcp(work.path(), count, &[options, sources, &["t"]].concat()).expect(0);
            assert_eq!(facts(&work.target()), facts(&work.at("u")), "{sources:?}");
        }
    }
}

/// Checks a directory whose copy would be the source itself: entries would be replaced before they
/// are copied.
#[test]
fn a_copy_into_the_directory_above_does_not_change_its_source() {
    let work = Sandbox::new();
    shell(
        work.path(),
        "mkdir -p o/x/x p/x/y q; echo outer > o/x/f; echo inner > o/x/x/f; echo y > p/x/y/f",
    );
    for (count, words) in
        [(1, &["o/x/", "o/"][..]), (2, &["o/x/", "o"]), (1, &["--remove-source", "o/x/", "o"])]
    {
        let ended = dcp(work.path(), count, words).expect(3);
        assert!(ended.stderr.contains("the source is inside the target"), "{ended:?}");
    }
    assert_eq!(shell(work.path(), "cat o/x/f o/x/x/f; ls o"), "outer\ninner\nx\n");
    dcp(work.path(), 2, &["p/x/", "p"]).expect(0);
    assert_eq!(shell(work.path(), "cat p/y/f p/x/y/f"), "y\ny\n");
    // Where the directory is left out, nothing of the source is changed.
    dcp(work.path(), 2, &["--exclude=/x", "o/x/", "o"]).expect(0);
    assert_eq!(shell(work.path(), "cat o/f o/x/f o/x/x/f"), "outer\nouter\ninner\n");
}

/// Checks that hard links are copied when all of them are known, and still do not replace a later
/// source's entry.
#[test]
fn hard_links_do_not_come_back_over_a_later_source() {
    let work = Sandbox::new();
    shell(work.path(), "mkdir a b; echo a > a/1; ln a/1 a/2; ln a/1 a/3; echo b > b/2; ln a/1 b/4");
    for count in [1, 3] {
        shell(work.path(), "rm -rf t; mkdir t");
        dcp(work.path(), count, &["-a", "a/", "b/", "t"]).expect(0);
        assert_eq!(shell(work.path(), "cat t/1 t/2 t/3 t/4"), "a\nb\na\na\n");
        assert_eq!(shell(work.path(), "stat -c %i t/1 t/3 t/4 | sort -u | wc -l").trim(), "1");
    }
}

#[test]
fn kinds_that_clash_are_errors_in_each_run() {
    let work = Sandbox::new();
    shell(
        work.path(),
        "mkdir -p a/x b/y; echo 1 > a/x/1; echo 2 > a/y; echo 3 > b/x; echo 4 > b/y/4",
    );
    for count in [1, 4] {
        shell(work.path(), "rm -rf t; mkdir t");
        let ended = dcp(work.path(), count, &["a/", "b/", "t"]).expect(23);
        assert_eq!(shell(work.path(), "cat t/x/1 t/y; ls t/x"), "1\n2\n1\n", "{}", ended.stderr);
    }
}

/// Checks that a manifest has one row for each name, and that a resumed job does not confuse copies
/// of different sources.
#[test]
fn what_is_recorded_is_what_is_there() {
    let work = Sandbox::new();
    shell(
        work.path(),
        "mkdir a b t; echo a > a/f; echo b > b/f; echo a > a/g; touch -d 2001-01-01 a/f b/f",
    );
    dcp(work.path(), 2, &["-p", "--manifest=m.parquet", "a/", "b/", "t"]).expect(0);
    let mut dcmp = tool(2, "dcmp");
    run(dcmp.args(["--manifest=m.parquet", "t"]).current_dir(work.path())).expect(0);
    // As where it was stopped between the two: the time and size are those of both.
    shell(
        work.path(),
        "rm -r t; mkdir t; mkdir b/full; chmod 700 b/full; ln -s x b/l; mkdir -p t/l",
    );
    dcp(work.path(), 1, &["-p", "--resume", "a/", "b/", "t"]).expect(23);
    shell(work.path(), "cp -p a/f t/f; rmdir t/l");
    dcp(work.path(), 2, &["-p", "--resume", "a/", "b/", "t"]).expect(0);
    assert_eq!(shell(work.path(), "cat t/f t/g"), "b\na\n");
}
