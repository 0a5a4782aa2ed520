//! Moves: `dcp --remove-source` deletes what is complete at the target, and nothing else.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use suite_tests::buckets::text;
use suite_tests::job::{Ended, run, tool};
use suite_tests::judge::{differences, picture};
use suite_tests::mounts::SmallDisk;
use suite_tests::preload::{Death, Faults, FileFaults, Gates};
use suite_tests::sandbox::Sandbox;
use suite_tests::sshd::Sshd;
use suite_tests::unfinished::{files_in, is_staged};
use suite_tests::waiting::wait_within;
use suite_tests::{need, need_root, trees};

use super::ssh::{there, through};

/// Moves in a directory, with that number of ranks.
fn dcp(count: u32, work: &Path, words: &[&str]) -> Ended {
    run(tool(count, "dcp").current_dir(work).args(["--json", "--remove-source"]).args(words))
}

fn removed(ended: &Ended) -> u64 {
    let kinds = &ended.summary()["totals"]["sources_removed"];
    kinds.as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum()
}

/// Returns the paths and the content of all files below a directory that are not staged.
pub(crate) fn contents(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = files_in(root).into_iter().filter(|path| !is_staged(path));
    let relative = |path: &Path| path.strip_prefix(root).unwrap().display().to_string();
    files.map(|path| (relative(&path), fs::read(&path).unwrap())).collect()
}

/// Returns the files that neither of two trees has as they were.
fn lost(all: &BTreeMap<String, Vec<u8>>, source: &Path, target: &Path) -> Vec<String> {
    let [source, target] = [source, target].map(contents);
    let has = |tree: &BTreeMap<String, Vec<u8>>, path: &str| tree.get(path) == all.get(path);
    all.keys().filter(|path| !has(&source, path) && !has(&target, path)).cloned().collect()
}

#[test]
fn a_tree_goes_with_all_that_is_in_it() {
    need_root!();
    for (count, options) in [(1, "-a"), (4, "-a"), (4, "-p")] {
        let work = Sandbox::new();
        let source = work.source();
        trees::awkward_tree(&source);
        trees::small_files(&source.join("many"), 20, 70);
        trees::write(&source.join("large"), &trees::noise(5 << 20));
        fs::create_dir_all(source.join("empty/inner")).unwrap();
        fs::hard_link(source.join("large"), source.join("many/other")).unwrap();
        if options == "-a" {
            run(Command::new("mkfifo").arg(source.join("fifo"))).expect(0);
        }
        let before = picture(&source);
        let words = [options, "-k", "1M", "--verify=transferred", "--log-file=log", "s", "t"];
        let ended = dcp(count, work.path(), &words).expect(0);
        assert!(!source.exists(), "{}", ended.stdout);
        let mut after = picture(&work.target());
        if options == "-p" {
            // Each name of a file is a file of its own.
            for (path, entry) in &mut after {
                entry.first_link.clone_from(&before[path].first_link);
            }
        }
        let differing = differences(&before, &after);
        assert!(differing.is_empty(), "{differing:#?}");
        assert_eq!(removed(&ended), before.len() as u64);
        let log = fs::read_to_string(work.at("log")).unwrap();
        assert_eq!(log.matches("\"remove source\"").count(), before.len(), "{log}");
        // The contents alone go back, and the directory that they were in stays.
        dcp(count, work.path(), &[options, "t/", "s"]).expect(0);
        assert_eq!(fs::read_dir(work.target()).unwrap().count(), 0);
        assert_eq!(picture(&source).len(), before.len());
    }
}

#[test]
fn a_tree_and_single_entries_go_into_a_directory_under_their_names() {
    for count in [1, 4] {
        let work = Sandbox::new();
        trees::small_files(&work.at("one/two"), 2, 3);
        trees::write(&work.at("file"), b"content");
        symlink("file", work.at("link")).unwrap();
        fs::create_dir(work.target()).unwrap();
        dcp(count, work.path(), &["one", "file", "link", "t"]).expect(0);
        let left = fs::read_dir(work.path()).unwrap().count();
        assert_eq!((left, contents(&work.target()).len()), (1, 2 * 3 + 2));
        assert_eq!(fs::read_link(work.at("t/link")).unwrap(), Path::new("file"));
        dcp(count, work.path(), &["t/file", "renamed"]).expect(0);
        assert!(work.at("renamed").exists() && !work.at("t/file").exists());
    }
}

#[test]
fn what_is_not_copied_stays_with_the_directories_above_it() {
    for count in [1, 4] {
        let work = Sandbox::new();
        trees::small_files(&work.source(), 4, 5);
        trees::write(&work.at("s/d0001/sub/f"), b"content");
        // A directory is in the way of a file.
        fs::create_dir_all(work.at("t/d0001/sub/f")).unwrap();
        let all = contents(&work.source());
        let ended = dcp(count, work.path(), &["s/", "t"]).expect(23);
        assert_eq!(contents(&work.source()).into_keys().collect::<Vec<_>>(), ["d0001/sub/f"]);
        assert_eq!(ended.events("failure").len(), 1, "{}", ended.stdout);
        assert_eq!(lost(&all, &work.source(), &work.target()), [""; 0]);
        fs::remove_dir(work.at("t/d0001/sub/f")).unwrap();
        dcp(count, work.path(), &["s/", "t"]).expect(0);
        assert_eq!(fs::read_dir(work.source()).unwrap().count(), 0);
    }
}

#[test]
fn filters_and_lists_move_what_they_select() {
    for count in [1, 4] {
        let work = Sandbox::new();
        for path in ["s/a/x.c", "s/a/y.h", "s/b/x.c", "s/b/c/y.h", "s/d/x.c"] {
            trees::write(&work.at(path), path.as_bytes());
        }
        let ended = dcp(count, work.path(), &["--exclude=*.h", "s", "t"]).expect(0);
        let left = contents(&work.source());
        assert_eq!(left.into_keys().collect::<Vec<_>>(), ["a/y.h", "b/c/y.h"]);
        assert!(!work.at("s/d").exists());
        // The root, a, b and c stay.
        assert_eq!(ended.summary()["totals"]["source_directories_left"], 4);
        fs::write(work.at("list"), "b/c/y.h\n").unwrap();
        dcp(count, work.path(), &["--files-from=list", "s", "t"]).expect(0);
        assert!(work.at("s/b/c").is_dir() && work.at("t/b/c/y.h").exists());
        fs::write(work.at("list"), "b/c\nb\na\n").unwrap();
        dcp(count, work.path(), &["--files-from=list", "s", "t"]).expect(0);
        assert!(!work.at("s/b").exists() && work.at("s/a/y.h").exists());
    }
}

/// Checks the semantics of rsync: a file that is equal by the given test is a part of the transfer,
/// and one that an option skips is not.
#[test]
fn what_is_equal_goes_and_what_is_skipped_stays() {
    let long_ago = SystemTime::now() - Duration::from_hours(1);
    for (options, stay) in [
        (&["-u", "-t"][..], &["newer"][..]),
        (&["--ignore-existing"], &["equal", "newer", "other"]),
        (&["--existing", "-t"], &["missing"]),
        (&["--size-only"], &[]),
        (&["-c"], &[]),
        (&["--compare-dest=../old", "-t"], &["missing"]),
    ] {
        let work = Sandbox::new();
        for name in ["equal", "missing", "newer", "other"] {
            trees::write(&work.at("s").join(name), name.as_bytes());
            File::open(work.at("s").join(name)).unwrap().set_modified(long_ago).unwrap();
        }
        fs::create_dir(work.target()).unwrap();
        for name in ["equal", "newer"] {
            run(Command::new("cp")
                .args(["-p", &format!("s/{name}"), "t"])
                .current_dir(work.path()))
            .expect(0);
        }
        File::open(work.at("t/newer")).unwrap().set_modified(SystemTime::now()).unwrap();
        trees::write(&work.at("t/other"), b"what is replaced");
        File::open(work.at("t/other"))
            .unwrap()
            .set_modified(long_ago - Duration::from_secs(9))
            .unwrap();
        run(Command::new("cp").args(["-Rp", "s", "old"]).current_dir(work.path())).expect(0);
        let all = contents(&work.source());
        dcp(2, work.path(), &[options, &["s/", "t"]].concat()).expect(0);
        let left: Vec<_> = contents(&work.source()).into_keys().collect();
        assert_eq!(left, stay, "{options:?}");
        assert_eq!(lost(&all, &work.source(), &work.target()), [""; 0], "{options:?}");
    }
}

#[test]
fn a_copy_that_is_the_source_itself_stays() {
    let work = Sandbox::new();
    trees::write(&work.at("s/file"), b"content");
    fs::create_dir(work.target()).unwrap();
    fs::hard_link(work.at("s/file"), work.at("t/file")).unwrap();
    dcp(1, work.path(), &["-u", "s/", "t"]).expect(0);
    assert!(work.at("s/file").exists() && work.at("t/file").exists());
    dcp(1, work.path(), &["s/", "t"]).expect(23);
    assert!(work.at("s/file").exists());
}

/// Checks that a file of which one name cannot be copied keeps all its names, so that the next move
/// links them.
#[test]
fn a_file_stays_whole_if_one_of_its_names_fails() {
    for ranks in [1, 3] {
        let work = Sandbox::new();
        trees::write(&work.at("s/x/a"), b"linked");
        trees::write(&work.at("s/single"), b"single");
        fs::create_dir(work.at("s/y")).unwrap();
        for name in ["s/y/b", "s/x/c"] {
            fs::hard_link(work.at("s/x/a"), work.at(name)).unwrap();
        }
        trees::write(&work.at("t/y/b/in-the-way"), b"x");
        dcp(ranks, work.path(), &["-a", "s/", "t"]).expect(23);
        let left: Vec<_> = contents(&work.source()).into_keys().collect();
        assert_eq!(left, ["x/a", "x/c", "y/b"]);
        fs::remove_dir_all(work.at("t/y/b")).unwrap();
        dcp(ranks, work.path(), &["-a", "s/", "t"]).expect(0);
        let inode = |name: &str| fs::metadata(work.at(name)).unwrap().ino();
        assert_eq!([inode("t/x/c"), inode("t/y/b")], [inode("t/x/a"); 2]);
        assert_eq!(contents(&work.source()).len(), 0);
    }
}

/// Starts a move of `s` to `t` with one thread that is held where it opens a file.
fn held(work: &Sandbox, gates: &Gates, options: &[&str]) -> std::process::Child {
    let mut command = tool(1, "dcp");
    command.current_dir(work.path()).args(["--json", "--remove-source", "-p", "--threads=2"]);
    command.args(options).args(["s/", "t"]).stdin(Stdio::null());
    command.stdout(File::create(work.at("said")).unwrap()).stderr(Stdio::null());
    let mut job = gates.hold(&mut command).spawn().unwrap();
    wait_within(&mut job, "it is held", || gates.is_reached("held"));
    job
}

#[test]
fn a_source_that_changes_after_it_was_read_stays() {
    let work = Sandbox::new();
    trees::write(&work.at("s/held"), b"held here");
    trees::small_files(&work.source(), 3, 4);
    let all = contents(&work.source());
    let gates = Gates::closed(work.path(), &["held"]);
    let mut job = held(&work, &gates, &[]);
    wait_within(&mut job, "the others are copied", || contents(&work.target()).len() == 12);
    let changed = work.at("s/d0001/f00002");
    let times = fs::metadata(&changed).unwrap().modified().unwrap();
    fs::write(&changed, vec![b'!'; all["d0001/f00002"].len()]).unwrap();
    // Only the ctime shows that.
    File::open(&changed).unwrap().set_modified(times).unwrap();
    fs::remove_file(work.at("s/d0002/f00001")).unwrap();
    trees::write(&work.at("s/d0000/late"), b"came later");
    gates.open("held");
    let code = job.wait().unwrap().code();
    let stdout = fs::read_to_string(work.at("said")).unwrap();
    let ended = Ended { code, stdout, stderr: String::new() }.expect(23);
    let left: Vec<_> = contents(&work.source()).into_keys().collect();
    assert_eq!(left, ["d0000/late", "d0001/f00002"]);
    let codes: Vec<_> = ended.events("failure").iter().map(|it| it["error_code"].clone()).collect();
    assert_eq!(codes.len(), 2, "{codes:?}");
    assert!(codes.contains(&"changed".into()), "{codes:?}");
    // The next run takes what has come.
    run(tool(1, "dcp").current_dir(work.path()).args(["--remove-source", "-p", "s/", "t"]))
        .expect(0);
    assert_eq!(fs::read(work.at("t/d0001/f00002")).unwrap()[0], b'!');
    assert_eq!(fs::read_dir(work.source()).unwrap().count(), 0);
}

#[test]
fn what_fails_its_verification_stays() {
    for count in [1, 3] {
        let work = Sandbox::new();
        trees::small_files(&work.source(), 2, 10);
        trees::write(&work.at("s/large"), &trees::noise(3 << 20));
        let all = contents(&work.source());
        let (target, log) = (work.target(), work.at("log"));
        let faults = Faults {
            roots: &[&target],
            seed: 5,
            every: 4,
            calls: "pwrite",
            kinds: "lie",
            log: &log,
        };
        let mut command = tool(count, "dcp");
        command.args(["--remove-source", "--verify=transferred", "-k", "256K", "s/", "t"]);
        run(faults.strike(command.current_dir(work.path()))).expect(23);
        assert!(!contents(&work.source()).is_empty());
        assert_eq!(lost(&all, &work.source(), &work.target()), [""; 0]);
    }
}

#[test]
fn nothing_is_removed_where_the_target_cannot_be_synced() {
    let work = Sandbox::new();
    trees::small_files(&work.source(), 2, 10);
    let (target, log) = (work.target(), work.at("log"));
    let roots = &[&*target];
    let faults = Faults { roots, seed: 1, every: 1, calls: "syncfs", kinds: "fail", log: &log };
    let mut command = tool(2, "dcp");
    command.current_dir(work.path()).args(["--remove-source", "s/", "t"]);
    let ended = run(faults.strike(&mut command)).expect(23);
    assert!(ended.stderr.contains("fsync"), "{}", ended.stderr);
    assert_eq!((contents(&work.source()).len(), contents(&target).len()), (20, 20));
}

#[test]
fn a_dry_run_names_what_would_go_and_removes_nothing() {
    for count in [1, 4] {
        let work = Sandbox::new();
        trees::small_files(&work.source(), 2, 3);
        trees::write(&work.at("s/d0001/keep.h"), b"content");
        let before = picture(&work.source());
        let ended = dcp(count, work.path(), &["-n", "--exclude=*.h", "s", "t"]).expect(0);
        assert!(
            differences(&before, &picture(&work.source())).is_empty() && !work.target().exists()
        );
        let is_removal = |plan: &&serde_json::Value| plan["action"] == "delete";
        let plans = ended.events("plan");
        let mut paths: Vec<_> = plans
            .iter()
            .filter(is_removal)
            .map(|plan| plan["path"]["text"].as_str().unwrap().to_owned())
            .collect();
        paths.sort();
        let mut expected: Vec<_> = (0..2)
            .flat_map(|dir| (0..3).map(move |file| format!("s/d000{dir}/f0000{file}")))
            .collect();
        expected.insert(0, "s/d0000".to_owned());
        assert_eq!(paths, expected);
        assert_eq!(removed(&ended), 7);
    }
}

#[test]
fn what_makes_no_sense_is_refused_in_one_line() {
    let work = Sandbox::new();
    trees::small_files(&work.source(), 1, 2);
    trees::small_files(&work.at("u"), 1, 2);
    let refused = |words: &[&str], says: &str| {
        let mut command = tool(1, "dcp");
        let ended =
            run(command.current_dir(work.path()).arg("--remove-source").args(words)).expect(2);
        assert!(ended.stderr.contains(says), "{}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        assert!(!work.target().exists());
    };
    refused(&["-L", "s", "t"], "leave out one of them");
    refused(&["--verify=all", "s", "t"], "--verify transferred");
    fs::create_dir(work.at("r")).unwrap();
    refused(&["s/", "u/", "r"], "may replace each other");
    let ended =
        run(tool(1, "dsync").current_dir(work.path()).args(["--remove-source-files", "s", "t"]));
    assert!(ended.expect(2).stderr.contains("use dcp --remove-source"));
    need_root!();
    let disk = SmallDisk::mount("size=1M");
    trees::write(&disk.path().join("d/file"), b"content");
    run(Command::new("mount").args(["-o", "remount,ro"]).arg(disk.path())).expect(0);
    refused(&[text(&disk.path().join("d")), "t"], "read-only");
}

/// Checks that a job can die at any moment: all content is in the source or whole in the target,
/// and the same command completes the move.
#[test]
fn a_job_that_is_killed_at_any_call_loses_nothing_and_is_completed_by_the_next() {
    for (ranks, options) in
        [(1, &["-a"][..]), (3, &["-a", "--verify=transferred"]), (2, &["-p", "--resume"])]
    {
        let mut at = 20;
        loop {
            let work = Sandbox::new();
            trees::small_files(&work.source(), 3, 12);
            trees::write(&work.at("s/large"), &trees::noise(1 << 20));
            fs::hard_link(work.at("s/large"), work.at("s/d0002/linked")).unwrap();
            let all = contents(&work.source());
            fs::create_dir(work.target()).unwrap();
            let command = || {
                let mut command = tool(ranks, "dcp");
                command.current_dir(work.path()).args(options);
                command.args(["--remove-source", "-k", "256K", "s/", "t"]);
                command
            };
            let death = Death { root: work.path(), at, signal: libc::SIGKILL };
            let was_killed = run(&mut death.of_rank(command())).code != Some(0);
            let says = format!("{ranks} {options:?} at {at}");
            assert_eq!(lost(&all, &work.source(), &work.target()), [""; 0], "{says}");
            run(&mut command()).expect(0);
            assert_eq!(fs::read_dir(work.source()).unwrap().count(), 0, "{says}");
            assert_eq!(contents(&work.target()), all, "{says}");
            if !was_killed {
                break;
            }
            at = at * 3 / 2;
        }
    }
}

/// Checks that the copy is on the storage before its source goes away: a node that loses its memory
/// in the middle of a move loses nothing.
#[test]
fn no_content_is_lost_with_the_power() {
    for ranks in [1, 3] {
        let mut rounds = 0;
        loop {
            rounds += 1;
            assert!(rounds < 10, "it is always done before it is killed");
            let work = Sandbox::new();
            // The more there is to do, the longer the job is under way.
            trees::small_files(&work.source(), 10, 150 * rounds * ranks as usize);
            trees::write(&work.at("s/large"), &trees::noise(4 << 20));
            let all = contents(&work.source());
            let disk = FileFaults::new(&work.at("log"));
            let mut command = tool(ranks, "dcp");
            command.current_dir(work.path()).args(["-k", "256K", "--remove-source", "s/", "t"]);
            let mut job = suite_tests::unfinished::begin(disk.observe(&mut command));
            let mut has_ended = false;
            suite_tests::waiting::wait_until("sources are removed", || {
                has_ended = job.try_wait().unwrap().is_some();
                has_ended || files_in(&work.source()).len() < all.len()
            });
            for pid in suite_tests::job::ranks_of(job.id(), "dcp").into_iter().chain([job.id()]) {
                run(Command::new("kill").args(["-KILL", &pid.to_string()]));
            }
            job.wait().unwrap();
            let unsynced = disk.lose_power(&[&work.target()]);
            assert_eq!(lost(&all, &work.source(), &work.target()), [""; 0]);
            if !has_ended && unsynced > 0 {
                break;
            }
        }
    }
}

#[test]
fn trees_on_other_hosts_move_in_both_directions() {
    need_root!();
    need!(Sshd::is_installed(), "sshd");
    let (sshd, work) = (Sshd::start(""), Sandbox::new());
    trees::awkward_tree(&work.source());
    trees::small_files(&work.at("s/many"), 5, 20);
    let before = picture(&work.source());
    let moved = |from: &str, to: &str| {
        run(through(&sshd, 2, "dcp").args(["-a", "--remove-source", from, to])).expect(0);
    };
    moved(text(&work.source()), &there(&work.at("away")));
    assert!(!work.source().exists());
    moved(&there(&work.at("away")), text(&work.at("back")));
    assert!(!work.at("away").exists());
    let differing = differences(&before, &picture(&work.at("back")));
    assert!(differing.is_empty(), "{differing:#?}");
}
