//! Tests with random trees and options against rsync(1) and cp(1): dsync and dcp do the same, or
//! what the documentation says instead ([`documented`] has all of that).
//!
//! Each seed is a source, a target that has drifted away from it, and options. `SUITE_SEEDS` tells
//! how many.

use std::fs;
use std::path::Path;
use std::process::Command;

use fastrand::Rng;
use suite_tests::job::{Ended, mpiexec, program, run};
use suite_tests::judge::{Picture, differences, picture};
use suite_tests::need_root;
use suite_tests::random_trees::RandomTree;
use suite_tests::seeds;

/// Time limit of an oracle in seconds.
const ORACLE_SECONDS: &str = "10";

/// Time after which no entry has been given a time, so that a later one is the run's (2020).
const RUNS_SINCE: i64 = 1_577_836_800;

/// Attributes that may be preserved, with rsync's options for them.
const ATTRIBUTES: [(&str, &str); 4] =
    [("mode", "-pA"), ("ownership", "-og"), ("timestamps", "-t"), ("xattr", "-X")];

/// Attributes that are left out now and then.
const LOST: [&str; 4] = ["mode", "ownership", "timestamps", "xattr"];

mod documented;
mod laws;

/// Trees at the end of a case, and the target's before it.
struct Seen {
    source: Picture,
    before: Picture,
    /// Tree that may be linked to.
    old: Picture,
    ours: Picture,
    theirs: Picture,
}

impl Seen {
    /// Describes the earlier state of the paths that these lines are about.
    fn origins(&self, lines: &[String]) -> Vec<String> {
        let path = |line: &str| line.split_once(": ").map(|(path, _)| path.to_owned());
        let trees = [("source", &self.source), ("before", &self.before), ("old", &self.old)];
        let origins = |(name, tree): (&str, &Picture)| {
            let all = differences(tree, &self.ours).into_iter();
            let same = all.filter(|line| lines.iter().any(|own| path(own) == path(line)));
            same.map(|line| format!("{name} {line}")).collect::<Vec<_>>()
        };
        trees.into_iter().flat_map(origins).collect()
    }
}

/// Trees, options, and the command lines of the two programs.
struct Case {
    source: RandomTree,
    target: Option<RandomTree>,
    old: Option<RandomTree>,
    umask: &'static str,
    ranks: u32,
    /// Attributes that are not preserved.
    lost: Vec<&'static str>,
    ours: Vec<String>,
    theirs: Vec<String>,
    is_sync: bool,
    hard_links: bool,
}

fn has(random: &mut Rng, one_in: u8) -> bool {
    random.u8(..one_in) == 0
}

impl Case {
    fn new(random: &mut Rng) -> Self {
        let source = RandomTree::new(random);
        Self {
            target: (!has(random, 5)).then(|| source.drifted(random)),
            source,
            old: None,
            umask: random.choice(["022", "027", "000"]).unwrap(),
            ranks: if has(random, 12) { 3 } else { 1 },
            lost: LOST.into_iter().filter(|_| has(random, 8)).collect(),
            ours: Vec::new(),
            theirs: Vec::new(),
            is_sync: true,
            hard_links: random.bool(),
        }
    }

    fn both(&mut self, ours: &str, theirs: &str) {
        self.ours.extend(ours.split_whitespace().map(ToOwned::to_owned));
        self.theirs.extend(theirs.split_whitespace().map(ToOwned::to_owned));
    }

    fn copy(random: &mut Rng) -> Self {
        let mut case = Self { is_sync: false, ..Self::new(random) };
        let links = case.hard_links.then_some("links");
        if !case.keeps("mode") && case.keeps("xattr") {
            // cp takes access control lists for extended attributes, too.
            case.lost.push("xattr");
        }
        let kept = ATTRIBUTES.map(|(word, _)| word).into_iter().filter(|word| case.keeps(word));
        let list: Vec<_> = kept.chain(links).collect();
        case.both("--specials --devices", "-R -P");
        if !list.is_empty() {
            let list = format!("--preserve={}", list.join(","));
            case.both(&list, &list);
        }
        // cp writes through links and into files that have other names, and refuses what has
        // another type.
        case.target = case.target.map(|target| target.plain_for(&case.source));
        if !case.keeps("mode") && case.keeps("ownership") {
            // The rights that cp withholds until the owner is right come back by the umask, default
            // list or not.
            case.target = case.target.map(RandomTree::without_default_lists);
        }
        case
    }

    fn sync(random: &mut Rng) -> Self {
        let mut case = Self::new(random);
        // Times are compared to the nanosecond, owners as numbers.
        case.both("", "-rl --numeric-ids --modify-window=-1");
        for (word, theirs) in ATTRIBUTES {
            case.both("", if case.keeps(word) { theirs } else { "" });
        }
        if !case.lost.is_empty() {
            case.both(&format!("--no-preserve={}", case.lost.join(",")), "");
        }
        if case.hard_links {
            case.both("-H", "-H");
        }
        let specials = [("--specials", "--specials"), ("--devices", "--devices")];
        for (ours, theirs) in specials.into_iter().filter(|_| random.bool()) {
            case.both(ours, theirs);
        }
        if random.u8(..3) > 0 {
            case.both("-D", "--delete");
        }
        if has(random, 6) {
            case.both("-k 64KiB", "");
        }
        if random.bool() {
            case.add_rules(random);
        }
        if has(random, 3) {
            case.both("--prune-empty-dirs", "--prune-empty-dirs");
        }
        // Names that are one file at the target alone: rsync gives it the attributes of each in
        // turn.
        case.target = case.target.map(|target| {
            // A name that is left out keeps what it has, where rsync changes the file that it is a
            // name of.
            let has_filters = case.ours.iter().any(|word| word.contains("clude="));
            if case.hard_links && !has_filters {
                target.linked_as(&case.source)
            } else {
                target.without_links()
            }
        });
        if !case.keeps("mode") {
            // What a default list gives is as with cp(1), which dcp is compared with.
            case.target = case.target.map(RandomTree::without_default_lists);
        }
        case
    }

    fn add_rules(&mut self, random: &mut Rng) {
        let rules = [
            ("-c", "-c"),
            ("--size-only", "--size-only"),
            ("-u", "-u"),
            ("--existing", "--existing"),
            ("--ignore-existing", "--ignore-existing"),
        ];
        for rule in rules.into_iter().filter(|_| has(random, 4)) {
            let conflict = match rule.0 {
                "--size-only" => "-c",
                "--ignore-existing" => "--existing",
                _ => "",
            };
            if !self.has(conflict) {
                self.both(rule.0, rule.1);
            }
        }
        if has(random, 3) {
            for _ in 0..random.usize(0..3) {
                let verdict = random.choice(["include", "exclude"]).unwrap();
                self.add_filter(random, verdict);
            }
            // With includes alone, dsync takes nothing else.
            self.add_filter(random, "exclude");
        }
        if has(random, 4) {
            let old = self.source.drifted(random);
            self.old = Some(if self.hard_links {
                old.linked_as(&self.source)
            } else {
                old.without_links()
            });
            // What the target has already is never linked.
            self.target = None;
        }
    }

    fn keeps(&self, attribute: &str) -> bool {
        !self.lost.contains(&attribute)
    }

    fn has(&self, word: &str) -> bool {
        self.ours.iter().any(|own| own == word)
    }

    fn add_filter(&mut self, random: &mut Rng, verdict: &str) {
        let pattern = random
            .choice(["*.o", "/a", "d/", "tmp", "d/*", "/d/b.o", "c.*", "?", "a/**/d", "f f"])
            .unwrap();
        self.ours.push(format!("--{verdict}={pattern}"));
        // Ours stands for no directory, too, for which rsync has another pattern; the same one
        // again changes nothing.
        for pattern in [pattern, &pattern.replace("/**/", "/")] {
            self.theirs.push(format!("--{verdict}={pattern}"));
        }
    }

    /// Returns a picture without what does not matter.
    fn normal(&self, mut picture: Picture) -> Picture {
        for entry in picture.values_mut() {
            // rsync writes holes only with --sparse, and then for all zeros.
            if self.is_sync {
                entry.data.clear();
            }
            // A time of the run, whichever moment it is.
            if entry.mtime.0 > RUNS_SINCE {
                entry.mtime = (0, 0);
            }
        }
        picture
    }

    fn call(&self, work: &Path, words: &[String], copy: &str) -> Ended {
        let mut command = Command::new("sh");
        let script = "umask \"$0\"; exec \"$@\"";
        command.current_dir(work.join(copy)).args(["-c", script, self.umask]);
        // cp takes the contents of a directory by that name.
        let source = if words.iter().any(|word| word == "cp") { "../s/." } else { "../s/" };
        run(command.args(words).args([source, "t"]))
    }

    /// Returns the command line of a tool, with its options.
    fn tool(&self, tool: &str, options: &[String]) -> Vec<String> {
        let tool = program(tool).display().to_string();
        let launcher = match self.ranks {
            1 => Vec::new(),
            count => [mpiexec(), vec!["-n".to_owned(), count.to_string()]].concat(),
        };
        launcher.into_iter().chain([tool]).chain(options.iter().cloned()).collect()
    }

    fn write(&self, work: &Path) {
        self.source.write(&work.join("s"));
        for copy in ["ours", "theirs"].map(|copy| work.join(copy)) {
            fs::create_dir(&copy).unwrap();
            if let Some(target) = &self.target {
                target.write(&copy.join("t"));
            }
            if let Some(old) = &self.old {
                old.write(&copy.join("old"));
            }
        }
    }

    /// Creates the trees, runs both programs, and returns the differences.
    fn run(&self, tool: &str, oracle: &str) -> Vec<String> {
        let work = seeds::work();
        self.write(work.path());
        // rsync takes a relative one from the target on.
        let link_dest = |copy: &str| {
            let old = work.path().join(copy).join("old");
            let option = self.old.iter().map(|_| format!("--link-dest={}", old.display()));
            option.collect::<Vec<_>>()
        };
        let target = work.path().join("ours/t");
        let before =
            self.target.iter().map(|_| self.normal(picture(&target))).next().unwrap_or_default();
        let source_before = picture(&work.path().join("s"));
        let old_before = self.old.iter().map(|_| picture(&work.path().join("ours/old"))).next();
        let ours = [self.tool(tool, &self.ours), link_dest("ours")].concat();
        let ended = self.call(work.path(), &ours, "ours");
        let limited = ["timeout", ORACLE_SECONDS, oracle].map(ToOwned::to_owned);
        let theirs = [&limited[..], &self.theirs, &link_dest("theirs")].concat();
        let theirs = self.call(work.path(), &theirs, "theirs");
        // Some builds of rsync crash, or hang, at --existing with -H; and where --ignore-existing
        // lets a file stay in a directory's place, it gives it the directory's time. The laws hold
        // nevertheless.
        let is_misled = self.has("--ignore-existing") && theirs.code != Some(0)
            || !matches!(theirs.code, Some(0 | 1 | 23));
        let seen = self.seen(work.path(), before, old_before.as_ref());
        let mut wrong = self.unlawful(&seen);
        wrong.extend(differences(&source_before, &picture(&work.path().join("s"))));
        if let Some(old) = old_before {
            let changed = differences(&old, &picture(&work.path().join("ours/old")));
            wrong.extend(changed.into_iter().map(|line| format!("--link-dest changed: {line}")));
        }
        if !is_misled {
            wrong.extend(differences(&self.documented(&seen), &seen.ours));
            wrong.extend(seen.origins(&wrong));
        }
        if !is_misled && !ended_alike(&ended, &theirs) {
            wrong.push(format!("exit {:?} / {:?}", theirs.code, ended.code));
        }
        if !wrong.is_empty() {
            wrong.push(format!("in {} with umask {}", work.path().display(), self.umask));
            wrong.push(format!("theirs: {:?}\n{}", self.theirs, theirs.stderr));
            wrong.push(format!("ours: {ours:?}\n{}", ended.stderr));
        }
        wrong
    }

    fn seen(&self, work: &Path, before: Picture, old: Option<&Picture>) -> Seen {
        let seen = |path: &str| {
            let path = work.join(path);
            if path.exists() { self.normal(picture(&path)) } else { Picture::new() }
        };
        let [source, ours, theirs] = ["s", "ours/t", "theirs/t"].map(seen);
        let old = self.normal(old.cloned().unwrap_or_default());
        Seen { source, before, old, ours, theirs }
    }
}

/// Returns true where both exit codes mean the same.
fn ended_alike(ours: &Ended, theirs: &Ended) -> bool {
    // rsync asks a directory's default list of what has just taken the directory's place.
    let is_late = theirs.stderr.contains("sys_acl_get_file");
    let is_done = |ended: &Ended| ended.code == Some(0);
    is_done(ours) == is_done(theirs) || is_done(ours) && is_late
}

#[test]
fn dsync_does_what_rsync_does() {
    need_root!();
    seeds::each(120, |random| Case::sync(random).run("dsync", "rsync"));
}

#[test]
fn dcp_does_what_cp_does() {
    need_root!();
    seeds::each(120, |random| Case::copy(random).run("dcp", "cp"));
}

/// Checks that any target becomes equal, according to dcmp, too, and that nothing is left to do.
#[test]
fn dsync_makes_any_target_equal() {
    need_root!();
    seeds::each(80, |random| mirror(&Case::new(random)));
}

fn mirror(case: &Case) -> Vec<String> {
    let work = seeds::work();
    let (source, target) = (work.path().join("s"), work.path().join("ours/t"));
    case.write(work.path());
    let go = |tool: &str, options: &[&str]| {
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        case.call(work.path(), &case.tool(tool, &options), "ours")
    };
    let seen = |path: &Path| {
        let mut seen = picture(path);
        for entry in seen.values_mut() {
            entry.data.clear();
        }
        seen
    };
    let mut wrong = Vec::new();
    if target.exists() {
        let is_equal = differences(&seen(&source), &seen(&target)).is_empty();
        let told = go("dcmp", &["-qH"]);
        if told.code != Some(i32::from(!is_equal)) {
            wrong.push(format!("dcmp before: {told:?}"));
        }
    }
    let ended = [go("dsync", &["-acD"]), go("dsync", &["-acD"]), go("dcmp", &["-qH"])];
    wrong.extend(differences(&seen(&source), &seen(&target)));
    wrong.extend(
        ended.iter().filter(|ended| ended.code != Some(0)).map(|ended| format!("{ended:?}")),
    );
    if !ended[1].stdout.contains("nothing to do") {
        wrong.push(format!("the second run: {}", ended[1].stdout));
    }
    wrong.extend((!wrong.is_empty()).then(|| format!("in {}", work.path().display())));
    wrong
}
