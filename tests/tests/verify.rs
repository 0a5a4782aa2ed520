//! Copies that are verified while they are made, or compared at their end.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::fs;
use std::path::Path;
use std::process::Command;

use suite_tests::buckets::{go, served, temp, text};
use suite_tests::job::{assert_identical, run, tool};
use suite_tests::object_server::Behaviour;
use suite_tests::trees::{noise, small_files, write};

fn make_source(root: &Path) -> u64 {
    small_files(root, 5, 8);
    write(&root.join("large"), &noise(5 << 20));
    write(&root.join("empty"), b"");
    let sparse = fs::File::create(root.join("sparse")).unwrap();
    sparse.set_len(9 << 20).unwrap();
    fs::hard_link(root.join("large"), root.join("second")).unwrap();
    let found = run(Command::new("find").arg(root).args(["-type", "f", "-printf", "%s\n"])).stdout;
    found.lines().count() as u64
}

#[test]
fn what_was_written_is_read_again_whoever_wrote_it() {
    let work = temp();
    let source = work.path().join("s");
    let files = make_source(&source);
    let size = |name: &str| fs::metadata(source.join(name)).unwrap().len();
    for (ranks, options) in
        [(1, &["-p"][..]), (4, &["-p"]), (3, &["-p", "--direct"]), (2, &["-aH"])]
    {
        let target = work.path().join(format!("t{ranks}"));
        let mut dcp = tool(ranks, "dcp");
        dcp.args(options).args(["--json", "--verify=transferred", "--chunksize=1MiB"]);
        let totals = run(dcp.args([&source, &target])).expect(0).summary()["totals"].clone();
        let links = u64::from(options.contains(&"-aH"));
        assert_eq!(totals["verified_files"], files - links, "{totals}");
        assert_eq!(totals["not_verified"], 0);
        assert!(totals["verified_bytes"].as_u64().unwrap() >= size("large") + size("sparse"));
        assert_identical(&source, &target);
    }
}

#[test]
fn objects_are_verified_by_what_their_service_has_summed_up() {
    let work = temp();
    let source = work.path().join("s");
    let files = make_source(&source);
    let server = served(Behaviour::default());
    let options = ["dcp", "--json", "--verify=transferred", "--s3-part-size=5M", "--chunksize=5M"];
    let up = [&options[..], &["-p", text(&source), "s3://data/t"]].concat();
    let totals = go(&server, 2, &up).expect(0).summary()["totals"].clone();
    assert_eq!((&totals["verified_files"], &totals["not_verified"]), (&files.into(), &0.into()));
    let back = work.path().join("back");
    let down = [&options[..], &["-p", "s3://data/t", text(&back)]].concat();
    let totals = go(&server, 2, &down).expect(0).summary()["totals"].clone();
    assert_eq!((&totals["verified_files"], &totals["not_verified"]), (&files.into(), &0.into()));
    go(&server, 2, &["dcmp", "-q", "s3://data/t", text(&back)]).expect(0);
}

#[test]
fn all_of_source_and_target_is_compared_at_the_end() {
    let work = temp();
    let (source, target) = (work.path().join("s"), work.path().join("t"));
    make_source(&source);
    let all = |ranks: u32, tool_name: &str, options: &[&str], paths: [&Path; 2]| {
        run(tool(ranks, tool_name).args(["--json", "--verify=all"]).args(options).args(paths))
    };
    let ended = all(3, "dcp", &["-p"], [&source, &target]).expect(0);
    assert_eq!(ended.events("summary").len(), 2, "{ended:?}");
    // What only the target has is no concern of a copy; without -p neither are modes.
    write(&target.join("s/extra"), b"x");
    all(2, "dcp", &[], [&source, &target]).expect(0);
    all(2, "dcp", &["-p"], [&source.join("large"), &target.join("renamed")]).expect(0);
    all(2, "dsync", &["-D"], [&source, &target]).expect(0);
    let fifo = source.join("fifo");
    run(Command::new("mkfifo").arg(&fifo)).expect(0);
    all(2, "dcp", &["-p"], [&source, &target.join("u")]).expect(1);
    let ended = all(1, "dcp", &["-L"], [&source, &target]).expect(2);
    assert!(ended.stderr.contains("--verify transferred"), "{}", ended.stderr);
}
