//! Tests of one entry of each awkward kind, copied as the superuser, and compared in every
//! attribute by a separate program (`fidelity/awkward.py`).

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::path::{Path, PathBuf};
use std::process::Command;

use suite_tests::job::{Ended, project, run, tool};
use suite_tests::need_root;
use suite_tests::sandbox::Sandbox;

fn awkward(verb: &str, paths: &[&Path]) -> Ended {
    let program = project().join("tests/fidelity/awkward.py");
    run(Command::new("python3").arg(program).arg(verb).args(paths))
}

/// Makes the tree, with that many directories one below the other.
fn make(work: &Path, levels: &str) -> PathBuf {
    let source = work.join("s");
    let made = awkward("make", &[&source, levels.as_ref()]).expect(0);
    assert_eq!((&*made.stdout, &*made.stderr), ("", ""));
    source
}

#[test]
fn a_tree_of_awkward_things_arrives_with_all_that_it_has() {
    need_root!();
    let work = Sandbox::new();
    let source = make(work.path(), "2000");
    let target = work.target();
    run(tool(4, "dcp").arg("-a").args([&source, &target])).expect(0);
    let compared = awkward("compare", &[&source, &target]).expect(0);
    assert!(compared.stdout.starts_with("23"), "2,3xx entries: {}", compared.stdout);
    run(tool(3, "dcmp").arg("-qH").args([&source, &target])).expect(0);
    // Nothing is left for dsync to do, and what it does from nothing is as good.
    let again = run(tool(2, "dsync").args(["-aD", "--json"]).args([&source, &target])).expect(0);
    assert_eq!(again.summary()["totals"]["copied"]["files"], 0, "{again:?}");
    let mirror = work.at("mirror");
    run(tool(4, "dsync").arg("-a").args([&source, &mirror])).expect(0);
    awkward("compare", &[&source, &mirror]).expect(0);
}

/// Checks that the judge finds differences: otherwise it proves nothing.
#[test]
fn the_judge_sees_each_attribute_that_is_lost() {
    need_root!();
    let work = Sandbox::new();
    let source = make(work.path(), "50");
    for (options, lost) in [
        (&["-a", "--no-preserve=mode"][..], "mode"),
        (&["-a", "--no-preserve=ownership"], "uid"),
        (&["-a", "--no-preserve=timestamps"], "mtime"),
        (&["-a", "--xattrs=none"], "xattrs"),
        (&["-a", "--sparse=never"], "extents"),
        (&["-p", "--specials", "--devices"], "group"),
        (&["-a", "--no-preserve=links"], "links"),
        (&["-pH"], "names"),
    ] {
        let target = work.path().join(lost);
        run(tool(2, "dcp").args(options).args([&source, &target])).expect(0);
        let compared = awkward("compare", &[&source, &target]).expect(1);
        assert!(compared.stdout.contains(&format!(": {lost}: ")), "{lost}: {}", compared.stdout);
    }
}
