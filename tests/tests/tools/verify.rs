//! Tests of copies that are verified while they are made, or compared at their end.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::fs;
use std::path::Path;
use std::process::Command;

use suite_tests::buckets::{go, served, text};
use suite_tests::job::{Ended, assert_identical, program, run, tool};
use suite_tests::object_server::Behaviour;
use suite_tests::object_server::counts::Operation;
use suite_tests::preload::Faults;
use suite_tests::sandbox::Sandbox;
use suite_tests::trees::{noise, small_files, write};
use suite_tests::unfinished::totals;

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
    let work = Sandbox::new();
    let source = work.source();
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

/// Checks that a large file is written completely before any of it is read back; that each chunk is
/// synchronised and dropped from memory before that; and that the file has its final name only
/// then.
#[test]
fn what_is_read_again_is_on_the_storage_and_not_only_in_memory() {
    let work = Sandbox::new();
    let [source, log] = ["s", "log"].map(|name| work.at(name));
    write(&source, &noise(3 << 20));
    let mut strace = Command::new("strace");
    strace.args(["-f", "-e", "trace=pwrite64,fdatasync,fadvise64,renameat", "-o"]).arg(&log);
    strace.arg(program("dcp")).args(["-k", "1MiB", "--threads=1", "--verify=transferred"]);
    run(strace.arg(&source).arg(work.target())).expect(0);
    let log = fs::read_to_string(&log).unwrap();
    let calls = ["pwrite64(", "fdatasync(", "POSIX_FADV_DONTNEED", "renameat("];
    let seen = |line: &str| calls.iter().position(|call| line.contains(call));
    let mut seen: Vec<usize> = log.lines().filter_map(seen).collect();
    seen.dedup_by(|next, last| (*last, *next) == (0, 0));
    assert_eq!(seen, [0, 1, 2, 1, 2, 1, 2, 3], "{log}");
}

/// Checks storage that reports success and does nothing: no verified copy passes, and the target's
/// earlier content stays.
#[test]
fn what_the_storage_has_lost_is_a_failure() {
    let work = Sandbox::new();
    let work = work.path().canonicalize().unwrap();
    let (source, log) = (work.join("s"), work.join("log"));
    let sizes = [1, 5000, 100_000, (1 << 20) + 7, 3 << 20];
    for size in sizes {
        write(&source.join(format!("of {size}")), &noise(size));
    }
    let old_files = ["of 1", "of 5000", "of 3145728"];
    fs::hard_link(source.join("of 5000"), source.join("second")).unwrap();
    std::os::unix::fs::symlink("of 1", source.join("link")).unwrap();
    for (ranks, calls, options, failed) in [
        (1, "write,pwrite", &["-p"][..], &["of 1", "of 5000", "of 100000", "of 1048583"][..]),
        (2, "write,pwrite", &["-a"], &["of 5000", "of 3145728", "second"]),
        (1, "write,pwrite", &["-p", "--inplace"], &["of 1", "of 5000"]),
        (1, "renameat", &["-p"], &["of 1", "of 5000", "of 3145728", "link"]),
        (2, "renameat", &[], &["of 100000", "second"]),
        (1, "linkat", &["-aH"], &["second"]),
    ] {
        let target = work.join(format!("t {ranks}{calls}{}", options.concat()));
        for old in old_files {
            let size = old[3..].parse().unwrap();
            write(&target.join(old), &vec![b'o'; size]);
        }
        std::os::unix::fs::symlink("old", target.join("link")).unwrap();
        let roots = [&*target];
        let faults = Faults { roots: &roots, seed: 1, every: 1, calls, kinds: "lose", log: &log };
        let mut dcp = tool(ranks, "dcp");
        dcp.args(options).args(["--verify=transferred", "--chunksize=1MiB"]);
        dcp.arg(source.join("")).arg(&target);
        let ended = run(faults.strike(&mut dcp)).expect(23);
        for name in failed {
            let path = format!("{}\": ", target.join(name).display());
            assert!(ended.stderr.contains(&path), "{name}: {ended:?}");
            let is_old = fs::read(target.join(name)).is_ok_and(|bytes| bytes.starts_with(b"o"));
            let is_gone =
                !old_files.contains(name) && fs::symlink_metadata(target.join(name)).is_err();
            let is_link = fs::read_link(target.join(name)).is_ok_and(|to| to == Path::new("old"));
            let is_left = is_old || is_gone || is_link || options.contains(&"--inplace");
            assert!(is_left, "{name} with {calls}");
        }
    }
}

#[test]
fn what_shares_its_content_cannot_be_verified_as_written() {
    let work = Sandbox::new();
    write(&work.at("s/file"), b"x");
    for tool_name in ["dcp", "dsync"] {
        let mut job = tool(1, tool_name);
        job.args(["--verify=transferred", "--reflink=always"]);
        let ended = run(job.args([work.source(), work.target()])).expect(2);
        assert!(ended.stderr.contains("--verify all"), "{ended:?}");
    }
}

#[test]
fn objects_are_verified_by_what_their_service_has_summed_up() {
    let work = Sandbox::new();
    let source = work.source();
    let files = make_source(&source);
    let server = served(Behaviour::default());
    let options = ["dcp", "--json", "--verify=transferred", "--s3-part-size=5M", "--chunksize=5M"];
    let up = [&options[..], &["-p", text(&source), "s3://data/t"]].concat();
    let totals = go(&server, 2, &up).expect(0).summary()["totals"].clone();
    assert_eq!((&totals["verified_files"], &totals["not_verified"]), (&files.into(), &0.into()));
    let back = work.at("back");
    let down = [&options[..], &["-p", "s3://data/t", text(&back)]].concat();
    let totals = go(&server, 2, &down).expect(0).summary()["totals"].clone();
    assert_eq!((&totals["verified_files"], &totals["not_verified"]), (&files.into(), &0.into()));
    go(&server, 2, &["dcmp", "-q", "s3://data/t", text(&back)]).expect(0);
}

#[test]
fn all_of_source_and_target_is_compared_at_the_end() {
    let work = Sandbox::new();
    let (source, target) = (work.source(), work.target());
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
    // The slash says that the contents are meant, since TARGET has a directory of that name.
    all(2, "dsync", &["-D"], [&source.join(""), &target]).expect(0);
    let fifo = source.join("fifo");
    run(Command::new("mkfifo").arg(&fifo)).expect(0);
    all(2, "dcp", &["-p"], [&source, &target.join("u")]).expect(1);
    let ended = all(1, "dcp", &["-L"], [&source, &target]).expect(2);
    assert!(ended.stderr.contains("--verify transferred"), "{}", ended.stderr);
}

/// Checks that a symbolic link on the command line is copied as a link; with a slash, or for dsync,
/// it is a directory.
#[test]
fn what_a_named_link_was_copied_as_is_what_is_compared() {
    let work = Sandbox::new();
    let (source, target) = (work.source(), work.target());
    write(&source.join("dir/file"), b"x");
    std::os::unix::fs::symlink("dir", source.join("link")).unwrap();
    std::os::unix::fs::symlink("nowhere", source.join("dangling")).unwrap();
    fs::create_dir(&target).unwrap();
    for ranks in [1, 3] {
        let verified = |name: &str, options: &[&str], from: &str, to: &str| {
            let mut job = tool(ranks, name);
            job.args(["--json", "--verify=all"]).args(options);
            run(job.args([source.join(from), target.join(to)])).expect(0)
        };
        for from in ["link", "dangling", "dir/file"] {
            let ended = verified("dcp", &["-p"], from, "");
            let compared = &ended.events("summary")[1]["totals"]["compared"];
            assert_eq!(compared["same"], 1, "{ended:?}");
            verified("dcp", &["-p"], from, "another name");
            fs::remove_file(target.join("another name")).unwrap();
        }
        assert!(target.join("link").is_symlink());
        verified("dcp", &["-p"], "link/", "contents");
        verified("dsync", &["-D"], "link", "mirror");
        assert!(target.join("contents/file").exists() && target.join("mirror/file").exists());
        fs::remove_dir_all(target.join("contents")).unwrap();
    }
    // A link that leads elsewhere now is another one.
    let link = target.join("link");
    fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink("contents", &link).unwrap();
    let mut dcp = tool(2, "dcp");
    dcp.args(["-p", "--verify=all", "--json", "--resume", "--exclude=link"]);
    let ended = run(dcp.args([source.join("link"), target.clone()])).expect(0);
    assert_eq!(totals(&ended, "found_bytes"), 0);
    assert!(ended.stderr.contains("leave out one of the named"), "{ended:?}");
    let mut dcp = tool(2, "dcp");
    dcp.args(["-p", "--verify=all", "--exclude=x"]).args([source.join("link"), target.clone()]);
    assert_ne!(run(&mut dcp).code, Some(3));
}

/// Returns the lines of differences, without the counts.
fn told(ended: &Ended) -> Vec<String> {
    ended.stdout.lines().map(ToOwned::to_owned).take_while(|line| !line.contains("found")).collect()
}

#[test]
fn a_manifest_stands_for_the_source_when_that_is_gone() {
    let work = Sandbox::new();
    let (source, target) = (work.source(), work.target());
    let files = make_source(&source);
    let manifest = work.at("m.parquet");
    let mut dcp = tool(3, "dcp");
    dcp.args(["-aH", "--chunksize=1MiB", "--manifest"]).arg(&manifest).args([&source, &target]);
    run(&mut dcp).expect(0);
    fs::remove_dir_all(&source).unwrap();
    let check = |ranks: u32, options: &[&str]| {
        let mut command = tool(ranks, "dcmp");
        run(command
            .args(["--chunksize=1MiB"])
            .args(options)
            .arg("--manifest")
            .args([&manifest, &target]))
    };
    for ranks in [1, 4] {
        let summary = check(ranks, &["--json"]).expect(0).summary();
        assert_eq!(summary["totals"]["compared"]["same"], files, "{summary}");
        assert_eq!(summary["totals"]["compared"]["content"]["checksum"]["files"], files);
    }
    // What is asked for by name, and not recorded, is told.
    let ended = check(2, &["--also", "uid"]).expect(0);
    assert!(ended.stdout.contains("uid: one of the two locations does not store it"), "{ended:?}");
    check(1, &["-H"]).expect(2);
    // One byte in the middle of a large file, of the same size and time.
    flip_a_byte(&target.join("large"));
    let ended = check(2, &[]).expect(1);
    assert_eq!(told(&ended).len(), 2, "two names of the file: {ended:?}");
    assert!(ended.stdout.contains("large") && ended.stdout.contains("CONTENT"), "{ended:?}");
    check(2, &["--lite"]).expect(0);
    fs::remove_file(target.join("empty")).unwrap();
    fs::remove_dir_all(target.join("d0000")).unwrap();
    let summary = check(2, &["--json"]).expect(1).summary();
    assert_eq!(summary["totals"]["compared"]["only_in_source"], 9, "{summary}");
    run(tool(1, "dcmp").arg("--manifest").arg(&manifest)).expect(2);
    run(tool(1, "dcmp").arg("--manifest").arg(&target).arg(&target)).expect(3);
}

#[test]
fn files_that_a_manifest_has_not_are_told_of() {
    let work = Sandbox::new();
    let (source, target) = (work.source(), work.target());
    make_source(&source);
    let manifest = work.at("m.parquet");
    run(tool(2, "dcp").args(["-a", "--manifest"]).arg(&manifest).args([&source, &target]))
        .expect(0);
    let check = |ranks: u32, options: &[&str]| {
        let mut dcmp = tool(ranks, "dcmp");
        dcmp.args(options).arg("--manifest").args([&manifest, &target]);
        run(&mut dcmp)
    };
    // What a manifest has nothing to say of.
    fs::create_dir_all(target.join("empty directories/are no files")).unwrap();
    std::os::unix::fs::symlink("large", target.join("link")).unwrap();
    check(2, &[]).expect(0);
    let extraneous = ["0", "d0000/more", "new/deep/c", "new/deep/er/a", "new/deep/er/b", "zz"];
    for extra in extraneous {
        write(&target.join(extra), extra.as_bytes());
    }
    for ranks in [1, 4] {
        let list = work.path().join(format!("only-{ranks}.txt"));
        let output = format!("EXIST=ONLY_DEST:{}", text(&list));
        let ended = check(ranks, &["--combined", "-", "-o", &output]).expect(1);
        let mut told: Vec<_> =
            ended.stdout.lines().filter_map(|line| line.strip_prefix("- ")).collect();
        told.sort_unstable();
        assert_eq!(told, extraneous, "{}", ended.stdout);
        assert_eq!(fs::read_to_string(list).unwrap().lines().count(), extraneous.len());
        let compared = check(ranks, &["--json"]).expect(1).summary()["totals"]["compared"].clone();
        assert_eq!(
            (&compared["only_in_target"], &compared["only_in_source"]),
            (&6.into(), &0.into())
        );
        check(ranks, &["--one-way"]).expect(0);
        check(ranks, &["--exclude=/new", "--exclude=more", "--exclude=0", "--exclude=zz"])
            .expect(0);
        check(ranks, &["--min-size=100"]).expect(0);
    }
    let inside = target.join("m.parquet");
    fs::rename(&manifest, &inside).unwrap();
    let mut dcmp = tool(2, "dcmp");
    let ended = run(dcmp.args(["--json", "--manifest"]).args([&inside, &target])).expect(1);
    assert_eq!(ended.summary()["totals"]["compared"]["only_in_target"], 6);
    fs::rename(&inside, &manifest).unwrap();
    let server = served(Behaviour::default());
    go(&server, 2, &["dcp", "-p", text(&target.join("")), "s3://data/t/"]).expect(0);
    let in_bucket = ["dcmp", "--json", "--manifest", text(&manifest), "s3://data/t"];
    let compared = go(&server, 3, &in_bucket).expect(1).summary()["totals"]["compared"].clone();
    assert_eq!((&compared["only_in_target"], &compared["only_in_source"]), (&6.into(), &0.into()));
}

/// Checks that an entry that has become one of another type is a difference, not an error; a
/// symbolic link is not a file, whatever its target.
#[test]
fn a_manifest_finds_what_became_something_else() {
    let work = Sandbox::new();
    let [source, target, manifest] = ["s", "t", "m.parquet"].map(|name| work.at(name));
    for name in ["d/a", "d/e/b", "f"] {
        write(&source.join(name), name.as_bytes());
    }
    let mut dcp = tool(2, "dcp");
    run(dcp.args(["-p", "--manifest"]).arg(&manifest).args([&source, &target])).expect(0);
    for change in [
        "true",
        "rm -r d; echo x > d",
        "mv d ../gone; ln -s ../gone d",
        "rm -r d; ln -s nowhere d",
        "rm -r d; mkfifo d",
        "mv d/e d/e2; ln -s e2 d/e",
        "rm f; mkdir f",
        "rm f; mkdir f; echo > f/x",
        "mv f g; ln -s g f",
        "rm f; mkfifo f",
    ] {
        let changed = work.at("changed");
        let script =
            format!("rm -rf changed gone; cp -a t changed; cd changed; {change}; cd ..; exit 0");
        run(Command::new("sh").args(["-ec", &script]).current_dir(work.path())).expect(0);
        let mut check = tool(2, "dcmp");
        let ended = run(check.arg("--manifest").args([&manifest, &changed]));
        assert_eq!(ended.code, Some(i32::from(change != "true")), "{change}: {ended:?}");
    }
}

#[test]
fn a_manifest_is_not_put_where_it_would_be_deleted() {
    let work = Sandbox::new();
    let (source, target) = (work.source(), work.target());
    write(&source.join("file"), b"x");
    write(&target.join("extra"), b"y");
    let manifest = target.join("m.parquet");
    let mut dsync = tool(2, "dsync");
    dsync.arg("-D").arg("--manifest").arg(&manifest).args([&source, &target]);
    let ended = run(&mut dsync).expect(2);
    assert!(ended.stderr.contains("m.parquet is in the target"), "{}", ended.stderr);
    assert!(target.join("extra").exists() && !manifest.exists());
}

fn flip_a_byte(path: &Path) {
    let metadata = fs::metadata(path).unwrap();
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
    let file = fs::File::options().append(true).open(path).unwrap();
    file.set_modified(metadata.modified().unwrap()).unwrap();
}

#[test]
fn a_manifest_has_what_was_there_before_too_and_checks_a_bucket() {
    let work = Sandbox::new();
    let (source, target) = (work.source(), work.target());
    let files = make_source(&source);
    run(tool(1, "dcp").arg("-p").args([&source, &target])).expect(0);
    fs::remove_file(target.join("empty")).unwrap();
    let manifest = work.at("m.parquet");
    let mut dsync = tool(2, "dsync");
    run(dsync.arg("--manifest").arg(&manifest).args([&source, &target])).expect(0);
    let same = |ended: &Ended| ended.summary()["totals"]["compared"]["same"].as_u64().unwrap();
    let check = ["--json", "--manifest", text(&manifest)];
    let of_tree = run(tool(3, "dcmp").args(check).arg(&target)).expect(0);
    assert_eq!(same(&of_tree), files);
    let server = served(Behaviour::default());
    go(&server, 2, &["dcp", "-p", text(&target), "s3://data/t"]).expect(0);
    server.reset_counts();
    let of_bucket = [&["dcmp"], &check[..], &["s3://data/t"]].concat();
    assert_eq!(same(&go(&server, 2, &of_bucket).expect(0)), files);
    assert_eq!(server.counts().of(Operation::GetObject), 0, "nothing was to be downloaded");
}

#[test]
fn a_manifest_has_what_only_the_target_has_and_what_stays_there() {
    let work = Sandbox::new();
    let (source, target) = (work.source(), work.target());
    write(&source.join("new"), b"new");
    write(&source.join("both/older"), b"older");
    write(&target.join("both/older"), b"newer here");
    write(&target.join("both/old"), b"old");
    write(&target.join("old/deep/er"), b"old");
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    let older = fs::File::options().write(true).open(source.join("both/older")).unwrap();
    older.set_modified(old).unwrap();
    // It may be in the target, and is no file of it.
    let manifest = target.join("m.parquet");
    for (ranks, name, options) in
        [(2, "dsync", &["--update"][..]), (1, "dsync", &["--ignore-existing"]), (2, "dcp", &[])]
    {
        let mut job = tool(ranks, name);
        job.args(options).arg("--manifest").arg(&manifest);
        run(job.args([source.join(""), target.clone()])).expect(0);
        let check = |options: &[&str]| {
            let mut dcmp = tool(2, "dcmp");
            run(dcmp.args(options).arg("--manifest").args([&manifest, &target]))
        };
        let summary = check(&["--json"]).expect(0).summary();
        assert_eq!(summary["totals"]["compared"]["same"], 4, "{summary}");
        flip_a_byte(&target.join("old/deep/er"));
        check(&["--one-way"]).expect(1);
        flip_a_byte(&target.join("old/deep/er"));
    }
    // A directory that is a file or a link now is a difference.
    fs::rename(target.join("old"), work.at("elsewhere")).unwrap();
    write(&target.join("old"), b"a file");
    let mut dcmp = tool(2, "dcmp");
    run(dcmp.arg("--manifest").args([&manifest, &target])).expect(1);
    fs::remove_file(target.join("old")).unwrap();
    std::os::unix::fs::symlink(work.at("elsewhere"), target.join("old")).unwrap();
    let mut dcmp = tool(1, "dcmp");
    run(dcmp.arg("--manifest").args([&manifest, &target])).expect(1);
}
