//! Tests of sources that change under a mirror, or go away: entries that are gone are distinguished
//! from those that only cannot be seen, and nothing is deleted for the latter. Jobs are held where
//! they open a file, not by a clock.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use suite_tests::job::{Ended, alone, assert_identical, run, tool};
use suite_tests::mounts::SlowDisk;
use suite_tests::nodes::Nodes;
use suite_tests::preload::Gates;
use suite_tests::sandbox::Sandbox;
use suite_tests::trees::{small_files, write};
use suite_tests::unfinished::files_in;
use suite_tests::waiting::wait_within;
use suite_tests::{need_hydra, need_root};

/// A mirror job that can be held.
struct Mirror {
    work: Sandbox,
    gates: Gates,
    job: Option<Child>,
}

impl Mirror {
    /// Creates a source with a file at which the job is held, and a target with one extraneous
    /// entry.
    fn new() -> Self {
        let work = Sandbox::new();
        write(&work.at("s/held"), b"held here");
        small_files(&work.at("s/small"), 3, 4);
        write(&work.at("t/extra"), b"only here");
        let gates = Gates::closed(work.path(), &["held", "held-again", "held-late"]);
        Self { work, gates, job: None }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.work.path().join(path)
    }

    /// Starts the job, and waits until one of its threads is held: by then all names of the root
    /// were read.
    fn hold(&mut self, mut dsync: Command) {
        dsync.args(["-D".into(), self.at("s"), self.at("t")]);
        self.hold_job(dsync);
    }

    fn hold_job(&mut self, mut tool: Command) {
        self.gates.hold(&mut tool).args(["--json", "--threads=1"]).stdin(Stdio::null());
        tool.stdout(fs::File::create(self.at("said")).unwrap());
        tool.stderr(fs::File::create(self.at("told")).unwrap());
        self.job = Some(tool.spawn().unwrap());
        self.wait_for("held");
    }

    fn wait_for(&mut self, gate: &str) {
        let job = self.job.as_mut().unwrap();
        wait_within(job, "it is held", || self.gates.is_reached(gate));
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.at(name)).unwrap()
    }

    /// Lets the job go on to its end.
    fn end(&mut self) -> Ended {
        self.gates.open("held");
        self.end_of_all()
    }

    fn end_of_all(&mut self) -> Ended {
        let status = self.job.take().unwrap().wait().unwrap();
        Ended { code: status.code(), stdout: self.text("said"), stderr: self.text("told") }
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        if let Some(job) = &mut self.job {
            let _ = job.kill();
            let _ = job.wait();
        }
    }
}

#[test]
fn what_vanishes_does_not_keep_extraneous_entries_from_being_deleted() {
    let mut mirror = Mirror::new();
    mirror.hold(alone("dsync"));
    fs::remove_file(mirror.at("s/held")).unwrap();
    let ended = mirror.end().expect(24);
    let totals = &ended.summary()["totals"];
    assert_eq!((&totals["vanished"], &totals["failed"]), (&1.into(), &0.into()), "{totals}");
    assert!(!mirror.at("t/extra").exists() && !mirror.at("t/held").exists());
}

#[test]
fn what_vanishes_may_be_ignored_and_is_told_all_the_same() {
    for tool in ["dsync", "dcp"] {
        let mut mirror = Mirror::new();
        let mut job = alone(tool);
        job.arg("--ignore-vanished").args([mirror.at("s"), mirror.at("t")]);
        mirror.hold_job(job);
        fs::remove_file(mirror.at("s/held")).unwrap();
        let ended = mirror.end().expect(0);
        assert_eq!(ended.summary()["totals"]["vanished"], 1);
        assert_eq!(ended.events("failure").len(), 1);
    }
}

/// Checks an entry that moves between two directories: whichever of them is listed first, the walk
/// meets it in neither, or in both.
#[test]
fn what_moves_into_a_listed_directory_is_mirrored() {
    for count in [1, 3] {
        let mut mirror = Mirror::new();
        let into = mirror.at("s/into/deep");
        fs::create_dir_all(&into).unwrap();
        small_files(&mirror.at("t/small"), 3, 4);
        mirror.hold(tool(count, "dsync"));
        fs::rename(mirror.at("s/small/d0000"), mirror.at("s/moved")).unwrap();
        fs::rename(mirror.at("s/small/d0001"), into.join("moved")).unwrap();
        fs::rename(mirror.at("s/small/d0002/f00000"), mirror.at("s/file")).unwrap();
        assert_is_whole(&mirror.end());
        assert_identical(&mirror.at("s"), &mirror.at("t"));
        run(alone("dcmp").args([mirror.at("s"), mirror.at("t")])).expect(0);
    }
}

/// Checks that nothing is reported but names that were gone when their turn came: that depends on
/// timing.
#[track_caller]
fn assert_is_whole(ended: &Ended) {
    let summary = ended.summary();
    let totals = &summary["totals"];
    assert_eq!(
        (&totals["failed"], &totals["unstable_directories"]),
        (&0.into(), &0.into()),
        "{totals}"
    );
    let code = if totals["vanished"] == 0 { 0 } else { 24 };
    assert_eq!(ended.code, Some(code), "{}", ended.stderr);
}

#[test]
fn what_moves_into_a_listed_directory_is_copied() {
    for count in [1, 3] {
        let mut copy = Mirror::new();
        fs::remove_dir_all(copy.at("t")).unwrap();
        let mut dcp = tool(count, "dcp");
        dcp.args(["-p".into(), copy.at("s"), copy.at("t")]);
        copy.hold_job(dcp);
        fs::rename(copy.at("s/small/d0000"), copy.at("s/moved")).unwrap();
        fs::rename(copy.at("s/small/d0001/f00001"), copy.at("s/small/d0002/file")).unwrap();
        assert_is_whole(&copy.end());
        // What was met before it moved may be there twice.
        let left = copy.at("t/small/d0000");
        if left.exists() {
            fs::remove_dir_all(left).unwrap();
        }
        let _ = fs::remove_file(copy.at("t/small/d0001/f00001"));
        let diff = run(Command::new("diff").arg("-r").args([copy.at("s"), copy.at("t")]));
        assert_eq!((diff.code, &*diff.stdout), (Some(0), ""));
        let mtime = |tree: &str| fs::metadata(copy.at(tree)).unwrap().modified().unwrap();
        assert_eq!(mtime("s"), mtime("t"), "of a directory that has changed meanwhile");
    }
}

#[test]
fn a_source_that_does_not_come_to_rest_is_said() {
    for count in [1, 3] {
        let mut mirror = Mirror::new();
        write(&mirror.at("other/held-again"), b"and here");
        mirror.hold(tool(count, "dsync"));
        fs::rename(mirror.at("other"), mirror.at("s/came")).unwrap();
        mirror.gates.open("held");
        // By now the source is again during the second listing.
        mirror.wait_for("held-again");
        write(&mirror.at("s/late"), b"too late");
        mirror.gates.open("held-again");
        let ended = mirror.end_of_all().expect(24);
        let totals = &ended.summary()["totals"];
        assert_eq!(
            (&totals["unstable_directories"], &totals["vanished"]),
            (&1.into(), &0.into()),
            "{totals}"
        );
        assert!(ended.stderr.contains("again during the second listing"), "{}", ended.stderr);
        assert!(mirror.at("t/came/held-again").exists() && !mirror.at("t/extra").exists());
        run(alone("dsync").arg("-D").args([mirror.at("s"), mirror.at("t")])).expect(0);
        assert_identical(&mirror.at("s"), &mirror.at("t"));
    }
}

/// Checks entries that are younger than the job, met before their directory changed: files,
/// symbolic links, a dangling one, and an entry of a type that is skipped.
#[test]
fn what_was_met_is_met_once_though_its_directory_is_listed_twice() {
    let jobs: [(_, &[&str]); 3] = [("dsync", &[]), ("dcp", &["-L"]), ("dcp", &["-p"])];
    for (name, options) in jobs {
        let mut mirror = Mirror::new();
        fs::remove_dir_all(mirror.at("t")).unwrap();
        symlink("nowhere", mirror.at("s/small/d0001/dangling")).unwrap();
        let mut job = alone(name);
        job.args(options).args([mirror.at("s"), mirror.at("t")]);
        mirror.hold_job(job);
        // The names of the root were read; what is here was not.
        let young = mirror.at("s/small/d0001");
        write(&young.join("held-again"), b"and here");
        write(&young.join("young"), b"young");
        symlink("young", young.join("link")).unwrap();
        run(Command::new("mkfifo").arg(young.join("fifo"))).expect(0);
        mirror.gates.open("held");
        mirror.wait_for("held-again");
        write(&young.join("late"), b"late");
        mirror.gates.open("held-again");
        let is_followed = options == ["-L"];
        let ended = mirror.end_of_all().expect(if is_followed { 23 } else { 0 });
        let totals = &ended.summary()["totals"];
        // 1 at the root, 12 small ones, 3 young ones, and the link to one of those.
        let files = 16 + u64::from(is_followed);
        // What cannot be followed has failed, and is among what was found.
        let links = if is_followed { 1 } else { 2 };
        let kinds =
            ["files", "symlinks", "special_files"].map(|kind| totals["found"][kind].as_u64());
        assert_eq!(kinds, [Some(files), Some(links), Some(1)], "{name} {options:?}: {totals}");
        let counts = ["failed", "special_files_skipped", "vanished", "unstable_directories"]
            .map(|it| totals[it].as_u64());
        assert_eq!(counts, [u64::from(is_followed), 1, 0, 0].map(Some), "{totals}");
        assert_eq!(totals["copied"]["files"], files, "{totals}");
        assert_eq!(fs::read(mirror.at("t/small/d0001/late")).unwrap(), b"late");
    }
}

/// Checks that entries are counted once, whether their directory was listed before or after they
/// came, and by whichever rank.
#[test]
fn what_comes_while_ranks_walk_is_met_once() {
    for name in ["dsync", "dcp"] {
        let mut mirror = Mirror::new();
        fs::remove_dir_all(mirror.at("t")).unwrap();
        let mut job = tool(3, name);
        job.args([mirror.at("s"), mirror.at("t")]);
        mirror.hold_job(job);
        (0..3).for_each(|dir| small_files(&mirror.at(&format!("s/small/d{dir:04}/new")), 1, 5));
        let ended = mirror.end().expect(0);
        let totals = &ended.summary()["totals"];
        assert_eq!(
            (&totals["found"]["files"], &totals["copied"]["files"]),
            (&28.into(), &28.into())
        );
        assert_eq!(totals["found"]["directories"], 11, "{totals}");
    }
}

/// Creates two equal trees, of which the root was listed when the job is held.
fn twins() -> Mirror {
    let mirror = Mirror::new();
    fs::remove_dir_all(mirror.at("t")).unwrap();
    write(&mirror.at("s/small/d0001/held-again"), b"and here");
    run(Command::new("cp").arg("-a").args([mirror.at("s"), mirror.at("t")])).expect(0);
    mirror
}

#[test]
fn what_comes_into_trees_that_are_compared_is_compared() {
    let mut twins = twins();
    let mut dcmp = alone("dcmp");
    dcmp.args([twins.at("s"), twins.at("t")]);
    twins.hold_job(dcmp);
    write(&twins.at("s/late"), b"late");
    small_files(&twins.at("s/new"), 1, 3);
    twins.gates.open("held");
    twins.wait_for("held-again");
    write(&twins.at("t/late too"), b"late");
    twins.gates.open("held-again");
    let ended = twins.end_of_all().expect(1);
    let totals = &ended.summary()["totals"];
    let compared = ["only_in_source", "only_in_target"].map(|it| totals["compared"][it].as_u64());
    // A file, two directories and three files; a file.
    assert_eq!(compared, [Some(6), Some(1)], "{totals}");
    assert_eq!(
        (&totals["unstable_directories"], &totals["failed"]),
        (&0.into(), &0.into()),
        "{totals}"
    );
    // The root, three directories in one, 12 files, and two at which the job is held.
    assert_eq!(totals["compared"]["same"], 5 + 14, "{totals}");
}

#[test]
fn trees_that_do_not_come_to_rest_are_not_the_same() {
    for late in ["s/too late", "t/too late"] {
        let mut twins = twins();
        let mut dcmp = alone("dcmp");
        dcmp.args([twins.at("s"), twins.at("t")]);
        twins.gates.open("held-again");
        twins.hold_job(dcmp);
        write(&twins.at("s/held-late"), b"late");
        run(Command::new("cp").arg("-a").args([twins.at("s/held-late"), twins.at("t")])).expect(0);
        twins.gates.open("held");
        // By now both roots are again during the second listing, or the source's is.
        twins.wait_for("held-late");
        write(&twins.at(late), b"too late");
        twins.gates.open("held-late");
        let ended = twins.end_of_all();
        let summary = ended.summary();
        let totals = &summary["totals"];
        assert_eq!(
            (ended.code, &totals["unstable_directories"]),
            (Some(24), &1.into()),
            "{totals}"
        );
        let line =
            ended.stderr.lines().find(|line| line.contains("again during the second listing"));
        assert!(line.is_some_and(|line| line.contains(&*twins.at(&late[..1]).to_string_lossy())));
    }
}

#[test]
fn what_comes_into_a_listed_directory_is_counted_by_a_walk() {
    let mut walk = Mirror::new();
    fs::remove_file(walk.at("s/held")).unwrap();
    write(&walk.at("s/held/file"), b"1");
    let mut dwalk = alone("dwalk");
    dwalk.arg(walk.at("s"));
    walk.hold_job(dwalk);
    small_files(&walk.at("s/new"), 1, 3);
    write(&walk.at("s/late"), b"late");
    let ended = walk.end().expect(0);
    let totals = &ended.summary()["totals"];
    let found = ["files", "directories"].map(|kind| totals["found"][kind].as_u64());
    // 12 small files, one held, one late, three new; the root, held, small with three, new with
    // one.
    assert_eq!(found, [Some(17), Some(8)], "{totals}");
    assert_eq!(totals["unstable_directories"], 0, "{totals}");
}

#[test]
fn a_source_that_is_removed_altogether_has_not_vanished() {
    let mut mirror = Mirror::new();
    mirror.hold(alone("dsync"));
    fs::remove_dir_all(mirror.at("s")).unwrap();
    let ended = mirror.end().expect(23);
    assert!(ended.stderr.contains("it does not exist any more"), "{}", ended.stderr);
    assert!(mirror.at("t/extra").exists());
}

#[test]
fn what_was_mounted_in_the_source_and_is_not_any_more_has_not_vanished() {
    need_root!();
    need_hydra!();
    let mut mirror = Mirror::new();
    small_files(&mirror.at("share"), 5, 20);
    small_files(&mirror.at("t/in"), 5, 20);
    fs::create_dir(mirror.at("s/in")).unwrap();
    let nodes = Nodes::start_apart(1);
    let (share, point) = (mirror.at("share"), mirror.at("s/in"));
    nodes.on(1, &format!("mount --bind '{}' '{}'", share.display(), point.display()));
    let before = files_in(&mirror.at("t")).len();
    mirror.hold(nodes.tool_beside(&[1], "dsync"));
    nodes.on(1, &format!("umount -l '{}'", point.display()));
    let ended = mirror.end().expect(23);
    let says = "file systems were mounted or unmounted in it during the job";
    let line = ended.stderr.lines().find(|line| line.contains(says));
    assert!(line.is_some_and(|line| line.contains(&nodes.name(1))), "{}", ended.stderr);
    assert_eq!(ended.summary()["totals"]["vanished"], 0);
    let left = files_in(&mirror.at("t"));
    assert!(mirror.at("t/extra").exists() && left.len() >= before, "{left:?}");
}

/// Fails unless a job has named the node that has lost its view, and counted nothing as vanished.
#[track_caller]
fn assert_loss_is_told(ended: &Ended, node: &str, job: &str) {
    let says = "file systems were mounted or unmounted in it during the job";
    let names = |line: &str| line.contains(says) && line.contains(node);
    assert!(ended.stderr.lines().any(names), "{job}: {}", ended.stderr);
    let totals = &ended.summary()["totals"];
    assert_eq!(totals["vanished"], 0, "{job}: {totals}");
}

/// Checks that a node that sees another source or target from some moment on ends the job with a
/// failure that names it. Nothing counts as vanished, nothing is deleted.
#[test]
fn a_node_that_loses_its_view_fails_the_job() {
    const ALL: [usize; 4] = [1, 2, 3, 4];
    need_root!();
    need_hydra!();
    let (unmounted, hidden) = ("umount -l", "mount -t tmpfs empty");
    let jobs: [(&[&str], _, _); 8] = [
        (&["dwalk"], "s", unmounted),
        (&["dcp"], "s", hidden),
        (&["dcmp"], "s", unmounted),
        (&["dsync", "-D"], "s", unmounted),
        (&["dsync", "-D"], "s", hidden),
        (&["dcp"], "t", unmounted),
        (&["dcmp"], "t", hidden),
        (&["dsync", "-D"], "t", unmounted),
    ];
    for (words, side, loss) in jobs {
        let mut mirror = Mirror::new();
        fs::remove_file(mirror.at("s/held")).unwrap();
        for tree in ["s", "t"] {
            small_files(&mirror.at(&format!("share-{tree}")), 5, 20);
            fs::create_dir(mirror.at(tree).join("held")).unwrap();
        }
        let nodes = Nodes::start_apart(4);
        let point = |tree: &str| mirror.at(tree).join("held").display().to_string();
        for (node, tree) in ALL.into_iter().flat_map(|node| [(node, "s"), (node, "t")]) {
            let share = mirror.at(&format!("share-{tree}"));
            nodes.on(node, &format!("mount --bind '{}' '{}'", share.display(), point(tree)));
        }
        let mut tool = nodes.tool_beside(&ALL, words[0]);
        let (source, target) = (mirror.at("s"), mirror.at("t"));
        let target = if words[0] == "dcp" { mirror.at("t/") } else { target };
        tool.args(&words[1..]).arg(source.join(""));
        tool.args((words[0] != "dwalk").then_some(target));
        let lost = format!("{loss} '{}'", point(side));
        // What is mounted there is about to be listed.
        mirror.hold_job(tool);
        nodes.on(3, &lost);
        let job = format!("{words:?} {side} {loss}");
        assert_loss_is_told(&mirror.end().expect(23), &nodes.name(3), &job);
        assert!(mirror.at("t/extra").exists(), "{job}");
        assert_eq!(files_in(&mirror.at("share-t")).len(), 100, "{job}");
    }
}

/// Checks a node on which the root itself is unmounted or covered: it still sees what it has
/// opened, but what it would open by its path is another directory.
#[test]
fn a_node_that_loses_a_root_fails_the_job() {
    const ALL: [usize; 3] = [1, 2, 3];
    need_root!();
    need_hydra!();
    let (unmounted, hidden) = ("umount -l", "mount -t tmpfs empty");
    let jobs: [(&[&str], _, _); 8] = [
        (&["dwalk"], "s", unmounted),
        (&["dcp"], "s", hidden),
        (&["dcp"], "t", unmounted),
        (&["dcmp"], "t", hidden),
        (&["dsync", "-D"], "s", unmounted),
        (&["dsync", "-D"], "s", hidden),
        (&["dsync", "-D"], "t", unmounted),
        (&["dsync", "-D"], "t", hidden),
    ];
    for (words, side, loss) in jobs {
        let mut mirror = Mirror::new();
        small_files(&mirror.at("t/small"), 3, 4);
        write(&mirror.at("t/held"), b"held here");
        let nodes = Nodes::start_apart(3);
        for tree in ["s", "t"] {
            let share = mirror.at(&format!("share-{tree}"));
            fs::rename(mirror.at(tree), &share).unwrap();
            fs::create_dir(mirror.at(tree)).unwrap();
            let (share, point) = (share.display(), mirror.at(tree));
            let mount = format!("mount --bind '{share}' '{}'", point.display());
            for node in ALL {
                nodes.on(node, &mount);
            }
        }
        let mut tool = nodes.tool_beside(&ALL, words[0]);
        tool.args(&words[1..]).arg(mirror.at("s").join(""));
        tool.args((words[0] != "dwalk").then(|| mirror.at("t")));
        if words[0] == "dwalk" {
            // It opens no files.
            tool.args(["--checksum", "sha256", "-o"]).arg(mirror.at("sums"));
        }
        mirror.hold_job(tool);
        nodes.on(3, &format!("{loss} '{}'", mirror.at(side).display()));
        let job = format!("{words:?} {side} {loss}");
        assert_loss_is_told(&mirror.end().expect(23), &nodes.name(3), &job);
        assert!(mirror.at("share-t/extra").exists(), "{job}");
        let below = [files_in(&mirror.at("s")), files_in(&mirror.at("t"))];
        assert_eq!(below, [Vec::<PathBuf>::new(), Vec::new()], "{job}");
    }
}

/// Checks each of the errors by which a file system does not answer: ESTALE, ENOTCONN, ESHUTDOWN.
#[test]
fn what_is_not_answered_is_asked_again_and_then_has_failed() {
    need_root!();
    let work = Sandbox::new();
    let [source, target] = [work.source(), work.target()];
    small_files(&source, 1, 4);
    for errno in [libc::ESTALE, libc::ENOTCONN, libc::ESHUTDOWN] {
        write(&target.join("extra"), b"only here");
        let dead = SlowDisk::unanswering(&source, errno, 1 << 30);
        let mut dsync = alone("dsync");
        let ended = run(dsync.args(["-D", "--json"]).args([dead.path(), &target])).expect(23);
        let totals = &ended.summary()["totals"];
        assert_eq!((&totals["failed"], &totals["vanished"]), (&4.into(), &0.into()), "{totals}");
        assert!(target.join("extra").exists());
        let busy = SlowDisk::unanswering(&source, errno, 3);
        run(alone("dsync").arg("-D").args([busy.path(), &target])).expect(0);
        assert_eq!(names(&target.join("d0000")), names(&source.join("d0000")));
        assert!(!target.join("extra").exists());
        fs::remove_dir_all(&target).unwrap();
    }
}

fn names(dir: &Path) -> Vec<String> {
    let of_entry = |entry: std::io::Result<fs::DirEntry>| {
        entry.unwrap().file_name().to_string_lossy().into_owned()
    };
    let mut names: Vec<String> = fs::read_dir(dir).unwrap().map(of_entry).collect();
    names.sort();
    names
}
