//! Tests of `--prune-empty-dirs` with rsync(1), which invented it, and of what rsync has none of:
//! several ranks, dry runs, comparisons and objects.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fastrand::Rng;
use rustix::fs::FileType;
use suite_tests::buckets::{go, served, text};
use suite_tests::job::{Ended, program, run, run_on, tool as launched};
use suite_tests::judge::picture;
use suite_tests::mounts::Image;
use suite_tests::object_server::Behaviour;
use suite_tests::random_trees::RandomTree;
use suite_tests::sandbox::Sandbox;
use suite_tests::seeds;
use suite_tests::{need, need_root, trees};

const PATTERNS: [&str; 10] =
    ["*.o", "/a", "d/", "tmp", "d/*", "/d/b.o", "c.*", "?", "f f", "[a-e].*"];

/// Returns the paths below a directory, each with its type.
fn paths(root: &Path) -> BTreeSet<(PathBuf, bool)> {
    if !root.exists() {
        return BTreeSet::new();
    }
    let all = picture(root).into_iter();
    all.map(|(path, entry)| (path, entry.kind == FileType::Directory)).collect()
}

fn directories(root: &Path) -> usize {
    paths(root).iter().filter(|(_, is_directory)| *is_directory).count()
}

/// Returns the lines of a plan that create a directory.
fn planned(ended: &Ended) -> BTreeSet<&str> {
    let lines: Vec<_> =
        ended.stdout.lines().filter(|line| line.starts_with("create directory")).collect();
    let once = lines.iter().copied().collect::<BTreeSet<_>>();
    assert_eq!(lines.len(), once.len(), "planned twice: {lines:?}");
    once
}

struct Case {
    source: RandomTree,
    target: Option<RandomTree>,
    tool: &'static str,
    ranks: u32,
    options: Vec<String>,
}

impl Case {
    fn new(random: &mut Rng) -> Self {
        let source = RandomTree::new(random);
        let tool = *random.choice(&["dcp", "dsync"]).unwrap();
        let target = random.bool().then(|| source.drifted(random)).filter(|_| tool == "dsync");
        let mut options = vec!["--prune-empty-dirs".to_owned()];
        options.extend((tool == "dsync" && random.u8(..3) > 0).then(|| "--delete".to_owned()));
        for _ in 0..random.usize(..4) {
            let verdict = random.choice(&["include", "exclude"]).unwrap();
            options.push(format!("--{verdict}={}", random.choice(&PATTERNS).unwrap()));
        }
        // With includes alone, ours takes nothing else.
        options.push(format!("--exclude={}", random.choice(&PATTERNS).unwrap()));
        Self { source, target, tool, ranks: random.u32(1..5), options }
    }

    fn ours(&self, work: &Path, tool: &str, more: &[&str]) -> Ended {
        let filters = self.options.iter().filter(|it| *it != "--delete" || tool == "dsync");
        let mut job = launched(self.ranks, tool);
        job.current_dir(work.join("ours")).args(filters).args(more);
        run(job
            .args(["--specials", "--devices"].iter().filter(|_| tool != "dcmp"))
            .args(["../s/", "t"]))
    }

    fn run(&self) -> Vec<String> {
        let work = seeds::work();
        let work = work.path();
        self.source.write(&work.join("s"));
        for copy in ["ours", "theirs"].map(|copy| work.join(copy)) {
            fs::create_dir(&copy).unwrap();
            self.target.iter().for_each(|target| target.write(&copy.join("t")));
        }
        let [ours, theirs] = ["ours/t", "theirs/t"].map(|copy| work.join(copy));
        let before = directories(&ours);
        let plan = self.ours(work, self.tool, &["--dry-run"]);
        let ended = self.ours(work, self.tool, &[]);
        let mut rsync = Command::new("timeout");
        rsync.current_dir(work.join("theirs")).args(["10", "rsync", "-rlptD"]);
        let oracle = run(rsync.args(&self.options).args(["../s/", "t"]));
        let mut wrong = Vec::new();
        if !matches!(oracle.code, Some(0 | 23)) {
            return wrong;
        }
        let (seen, wanted) = (paths(&ours), paths(&theirs));
        let differing: Vec<_> = seen.symmetric_difference(&wanted).collect();
        if !differing.is_empty() {
            wrong.push(format!("{differing:?}\n{ended:?}\n{oracle:?}"));
        }
        if self.target.is_none() && planned(&plan).len() != directories(&ours) - before {
            wrong.push(format!("planned: {plan:?}\n{ended:?}"));
        }
        let is_mirror = self.target.is_none() || self.options.iter().any(|it| it == "--delete");
        let compared =
            self.ours(work, "dcmp", &["--ignore=size,mtime,uid,gid,perm,acl,xattr,link,content"]);
        if ended.code == Some(0) && is_mirror && compared.code != Some(0) {
            wrong.push(format!("not equal: {compared:?}"));
        }
        if !wrong.is_empty() {
            wrong.push(format!("{} {:?} in {}", self.tool, self.options, work.display()));
        }
        wrong
    }
}

#[test]
fn what_rsync_prunes_is_pruned_by_any_number_of_ranks() {
    need_root!();
    seeds::each(25, |random| Case::new(random).run());
}

/// Creates a chain of directories that filters empty, one that is empty, and one with a file deep
/// in it.
fn write(source: &Path) {
    trees::write(&source.join("a/b/c/left.o"), b"left out");
    fs::create_dir_all(source.join("empty/within")).unwrap();
    trees::write(&source.join("deep/er/still/file"), b"content");
    fs::create_dir(source.join("deep/bare")).unwrap();
    std::os::unix::fs::symlink("nowhere", source.join("deep/link")).unwrap();
}

const FILTERED: [&str; 2] = ["--prune-empty-dirs", "--exclude=*.o"];

#[test]
fn chains_vanish_whole_and_times_are_those_of_the_source() {
    for ranks in [1, 3] {
        let work = Sandbox::new();
        write(&work.source());
        // What the target had stays.
        fs::create_dir_all(work.at("t/a/b")).unwrap();
        let options = [&FILTERED[..], &["-p"]].concat();
        run_on(ranks, "dcp", &options, [&work.at("s/").join(""), &work.target()]).expect(0);
        let kept = ["", "a", "a/b", "deep", "deep/er", "deep/er/still"];
        let seen = picture(&work.target());
        let seen: Vec<_> = seen.iter().filter(|(_, it)| it.kind == FileType::Directory).collect();
        assert_eq!(seen.iter().map(|(path, _)| path.to_str().unwrap()).collect::<Vec<_>>(), kept);
        let source = picture(&work.source());
        for (path, entry) in seen.into_iter().filter(|(path, _)| path.starts_with("deep")) {
            assert_eq!(entry.mtime, source[path].mtime, "{}", path.display());
        }
    }
}

#[test]
fn a_filter_by_size_and_names_of_a_list_leave_no_empty_directories() {
    for ranks in [1, 4] {
        let work = Sandbox::new();
        write(&work.source());
        fs::write(work.at("names"), "empty\ndeep\ndeep/er/still/file\na/b/c/left.o\n").unwrap();
        let list = work.at("names");
        let sized = [&FILTERED[..1], &["--min-size=8"]].concat();
        let named = [&FILTERED[..], &["--files-from", list.to_str().unwrap()]].concat();
        let cases = [
            (sized, &["", "a", "a/b", "a/b/c", "deep"][..]),
            (named, &["", "deep", "deep/er", "deep/er/still"]),
        ];
        for (name, (options, kept)) in
            cases.iter().flat_map(|case| [("dcp", case), ("dsync", case)])
        {
            let target = work.at(format!("{name}{}", kept.len()));
            fs::create_dir(&target).unwrap();
            run_on(ranks, name, options, [&work.at("s/").join(""), &target]).expect(0);
            let seen = paths(&target).into_iter().filter(|(_, is_directory)| *is_directory);
            let seen: Vec<_> = seen.map(|(path, _)| path.display().to_string()).collect();
            assert_eq!(&seen[..], *kept, "{name} {options:?}");
        }
    }
}

#[test]
fn a_deletion_takes_directories_and_files_in_their_places_but_nothing_protected() {
    for ranks in [1, 3] {
        let work = Sandbox::new();
        write(&work.source());
        fs::create_dir_all(work.at("t/a/b")).unwrap();
        trees::write(&work.at("t/a/b/c"), b"in place of a directory");
        trees::write(&work.at("t/empty/extra"), b"extraneous");
        trees::write(&work.at("t/deep/bare/kept.o"), b"protected");
        let options = [&FILTERED[..], &["-D"]].concat();
        let most = [&options[..], &["--max-delete", "4"]].concat();
        work.run(ranks, "dsync", &most).expect(25);
        assert!(work.at("t/empty/extra").exists());
        let plan = work.run(ranks, "dsync", &[&options[..], &["-n"]].concat()).expect(0);
        let deleted: BTreeSet<_> =
            plan.stdout.lines().filter_map(|line| line.strip_prefix("delete ")).collect();
        let ended = work.run(ranks, "dsync", &options).expect(0);
        let gone = ["a", "a/b", "a/b/c", "empty", "empty/extra"];
        let shown = gone.map(|path| work.target().join(path).display().to_string());
        assert_eq!(deleted, shown.iter().map(String::as_str).collect(), "{}", plan.stdout);
        for path in gone {
            assert!(!work.target().join(path).exists(), "{path}: {}", ended.stdout);
        }
        assert!(work.at("t/deep/bare/kept.o").exists());
        let again = work.run(ranks, "dsync", &options).expect(0);
        assert!(again.stdout.contains("nothing to do"), "{}", again.stdout);
    }
}

#[test]
fn a_comparison_ignores_them_on_both_sides_and_nothing_else() {
    for ranks in [1, 3] {
        let work = Sandbox::new();
        write(&work.source());
        let options = [&FILTERED[..], &["-p"]].concat();
        run_on(ranks, "dcp", &options, [&work.at("s/").join(""), &work.target()]).expect(0);
        fs::create_dir_all(work.at("t/only/here")).unwrap();
        let compare = |filters: &[&str]| {
            let options = [filters, &["--ignore", "mtime"]].concat();
            work.run(ranks, "dcmp", &options)
        };
        compare(&FILTERED).expect(0);
        compare(&["--exclude=*.o"]).expect(1);
        for name in ["a", "empty/within", "deep/bare"] {
            // A file is no directory that could be left out.
            trees::write(&work.target().join(name), b"");
            let told = compare(&FILTERED).expect(1);
            assert!(told.stdout.contains(name), "{name}: {}", told.stdout);
            fs::remove_file(work.target().join(name)).unwrap();
        }
        fs::remove_dir(work.at("t/empty")).unwrap();
        trees::write(&work.at("t/only/here/file"), b"");
        let told = compare(&FILTERED).expect(1);
        for name in ["only", "only/here", "only/here/file"] {
            assert!(told.stdout.lines().any(|line| line.ends_with(name)), "{}", told.stdout);
        }
    }
}

#[test]
fn no_marker_stands_for_what_is_left_out() {
    for ranks in [1, 4] {
        let server = served(Behaviour::default());
        let work = Sandbox::new();
        write(&work.source());
        let from = work.at("s/").join("");
        let options = [&FILTERED[..], &["--s3-directory-markers", text(&from), "s3://data/t"]];
        let options = options.concat();
        let ended = go(&server, ranks, &[&["dcp", "-p"], &options[..]].concat()).expect(0);
        let wanted = ["t/", "t/deep/", "t/deep/er/", "t/deep/er/still/", "t/deep/er/still/file"];
        let keys = server.keys_of("data");
        let keys: Vec<_> = keys.iter().filter(|key| !key.contains("link")).collect();
        assert_eq!(keys, wanted, "{}", ended.stdout);
        go(&server, ranks, &[&["dcmp"], &options[..]].concat()).expect(0);
    }
}

#[test]
fn what_a_bucket_does_not_have_is_not_deleted_there() {
    let server = served(Behaviour::default());
    let work = Sandbox::new();
    fs::create_dir_all(work.at("s/empty")).unwrap();
    trees::write(&work.at("s/f"), b"content");
    let source = work.at("s");
    for options in [&["--json"][..], &["--json", "-n"], &["--json", "--max-delete=0"]] {
        let words = [&["dsync", "-D", "-m", text(&source), "s3://data/t"], options].concat();
        let ended = go(&server, 2, &words).expect(0);
        assert_eq!(ended.summary()["totals"]["synced"]["deleted"]["directories"], 0, "{ended:?}");
    }
}

#[test]
fn a_move_and_a_verification_of_all_are_refused_with_it() {
    let work = Sandbox::new();
    write(&work.source());
    for option in ["--remove-source", "--verify=all"] {
        let mut job = launched(1, "dcp");
        job.args([option, "--prune-empty-dirs"]).args([work.source(), work.target()]);
        let refused = run(&mut job).expect(2);
        assert!(refused.stderr.contains("--prune-empty-dirs"), "{}", refused.stderr);
        assert!(!work.target().exists());
    }
}

/// Checks that nothing waits for directories of the target to become visible that are not made: two
/// listings of each new directory would wait for it, one of the last second where that is all that
/// the times of the source tell.
#[test]
fn what_is_left_out_is_not_waited_for() {
    need_root!();
    let disk = Image::ext4(&["-I", "128"]);
    need!(disk.is_some(), "loop devices");
    let (disk, work) = (disk.unwrap(), Sandbox::new());
    for (number, tool) in ["dsync", "dcp"].into_iter().enumerate() {
        let (source, target) =
            (disk.path().join(format!("s{number}/")), work.at(number.to_string()));
        fs::create_dir_all(source.join("a/b/c/d")).unwrap();
        fs::create_dir_all(source.join("a/e/f")).unwrap();
        let log = work.at("log");
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-e", "trace=nanosleep,clock_nanosleep", "-o"]).arg(&log);
        strace.arg(program(tool)).args(["-m", "--threads=1"]).args([&source, &target]);
        run(&mut strace).expect(0);
        let log = fs::read_to_string(&log).unwrap();
        // Pauses double up to seconds; idle threads nap for less than a tenth of one. Before the
        // second listing, one pause lets the second pass.
        let is_long = |line: &&str| {
            let nanoseconds = line.split("tv_nsec=").nth(1).unwrap_or_default();
            let digits = nanoseconds.chars().take_while(char::is_ascii_digit).count();
            digits >= 9 || line.contains("tv_sec=") && !line.contains("tv_sec=0")
        };
        assert!(log.lines().filter(is_long).count() <= 1, "{tool}: {log}");
        assert_eq!(paths(&target).len(), 1, "{tool}");
    }
}
