//! Random trees and options, and what rsync(1) and cp(1) make of them: dsync and dcp do the same, or what the
//! documentation says instead ([`Case::normal`] has all of that).
//!
//! Each seed is a source, a target that has drifted away from it, and options. `SUITE_SEEDS` says how many.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fastrand::Rng;
use rustix::fs::FileType;
use suite_tests::job::{Ended, mpiexec, program, run};
use suite_tests::judge::{Entry, Picture, differences, picture};
use suite_tests::mounts::may_mount;
use suite_tests::random_trees::RandomTree;
use suite_tests::seeds;

/// An oracle that takes longer does not end.
const ORACLE_SECONDS: &str = "10";

/// A time that is later has not been given to any entry (2020).
const RUNS_SINCE: i64 = 1_577_836_800;

/// Attributes that may be preserved, and what of rsync's options does that.
const ATTRIBUTES: [(&str, &str); 4] =
    [("mode", "-pA"), ("ownership", "-og"), ("timestamps", "-t"), ("xattr", "-X")];

/// Attributes that are left out now and then. Without modes, what a replaced file keeps is not rsync's.
const LOST: [&str; 2] = ["ownership", "timestamps"];

/// Trees, options, and how the two programs are called.
struct Case {
    source: RandomTree,
    target: Option<RandomTree>,
    old: Option<RandomTree>,
    umask: &'static str,
    ranks: u32,
    /// An attribute that is not preserved.
    lost: Option<&'static str>,
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
            target: (!has(random, 5)).then(|| source.drifted(random).clear_for_links(&source)),
            source,
            old: None,
            umask: random.choice(["022", "027", "000"]).unwrap(),
            ranks: if has(random, 12) { 3 } else { 1 },
            lost: if has(random, 3) { random.choice(LOST) } else { None },
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
        let links = if case.hard_links { ",links" } else { "" };
        let kept = ATTRIBUTES.map(|(word, _)| word).into_iter().filter(|word| case.keeps(word));
        let list = format!("{}{links}", kept.collect::<Vec<_>>().join(","));
        case.both(
            &format!("--specials --devices --preserve={list}"),
            &format!("-R -P --preserve={list}"),
        );
        // cp writes through links and into files that have other names, and refuses what has another type.
        case.target = case.target.map(|target| target.plain_for(&case.source));
        case
    }

    fn sync(random: &mut Rng) -> Self {
        let mut case = Self::new(random);
        // Times are compared to the nanosecond, owners as numbers.
        case.both("", "-rl --numeric-ids --modify-window=-1");
        for (word, theirs) in ATTRIBUTES {
            if case.keeps(word) {
                case.both("", theirs);
            } else {
                case.both(&format!("--no-preserve={word}"), "");
            }
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
        // Names that are one file at the target alone: rsync gives it the attributes of each in turn.
        case.target = case.target.map(|target| {
            if case.hard_links { target.linked_as(&case.source) } else { target.without_links() }
        });
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
                // With both, rsync deletes directories for files that it then does not copy.
                "--existing" => "-D",
                // With both, rsync makes a link of a file that is newer.
                "-u" => "-H",
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
        self.lost != Some(attribute)
    }

    fn has(&self, word: &str) -> bool {
        self.ours.iter().any(|own| own == word)
    }

    fn add_filter(&mut self, random: &mut Rng, verdict: &str) {
        let pattern = random
            .choice(["*.o", "/a", "d/", "tmp", "d/*", "/d/b.o", "c.*", "?", "a/**/d", "f f"])
            .unwrap();
        for words in [&mut self.ours, &mut self.theirs] {
            words.push(format!("--{verdict}={pattern}"));
        }
    }

    /// Without what the two do differently on purpose.
    fn normal(&self, mut picture: Picture) -> Picture {
        for entry in picture.values_mut() {
            // rsync writes holes only with --sparse, and then for all zeros.
            if self.is_sync {
                entry.data.clear();
            }
            // Where owners are not preserved, a replaced file has its old one, as with cp; rsync gives it to
            // the user.
            if self.is_sync && !self.keeps("ownership") {
                (entry.uid, entry.gid) = (0, 0);
            }
            // Set-id bits are rights that belong to an owner: the others give them to any.
            if !self.keeps("ownership") {
                entry.mode &= 0o1777;
            }
            // The group of a link is nobody's right: a set-group-id directory may give it another one.
            if entry.kind == FileType::Symlink {
                entry.gid = 0;
            }
            // They are those of the run, as are those of a directory that is changed and not taken.
            if !self.keeps("timestamps") || entry.mtime.0 > RUNS_SINCE {
                entry.mtime = (0, 0);
            }
            // Without -H it is left to chance which of the target's hard links stay.
            if !self.hard_links {
                entry.first_link = PathBuf::new();
            }
        }
        picture
    }

    /// What cp has made of an entry as dcp would have.
    fn as_ours(&self, entry: &mut Entry, source: &Entry) {
        // cp makes holes of zeros in files that have holes already.
        if entry.content == source.content {
            entry.data.clone_from(&source.data);
        }
        // It leaves bits and attributes of what it writes into: what is preserved must be the source's.
        if self.keeps("mode") {
            entry.mode = source.mode;
        }
        if self.keeps("xattr") {
            entry.xattrs.clone_from(&source.xattrs);
        }
    }

    /// A hard link of which the target has names with other content or attributes: which of the names is
    /// compared decides what rsync notices. Ours has become equal to the source.
    fn is_equal_link(&self, path: &Path, source: &Picture, ours: &Picture) -> bool {
        let is_link = |entry: &&Entry| {
            source.values().filter(|other| other.first_link == entry.first_link).count() > 1
        };
        let wanted = source.get(path).filter(is_link);
        self.hard_links && wanted.is_some() && wanted == ours.get(path)
    }

    fn call(&self, work: &Path, words: &[String], copy: &str) -> Ended {
        let mut command = Command::new("sh");
        let script = "umask \"$0\"; exec \"$@\"";
        command.current_dir(work.join(copy)).args(["-c", script, self.umask]);
        // cp takes the contents of a directory by that name.
        let source = if words.iter().any(|word| word == "cp") { "../s/." } else { "../s/" };
        run(command.args(words).args([source, "t"]))
    }

    /// How a tool is called, with its options.
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

    /// Makes the trees, lets both programs do their work, and says what differs.
    fn run(&self, tool: &str, oracle: &str) -> Vec<String> {
        let work = seeds::work();
        self.write(work.path());
        // rsync takes a relative one from the target on.
        let link_dest = |copy: &str| {
            let old = work.path().join(copy).join("old");
            let option = self.old.iter().map(|_| format!("--link-dest={}", old.display()));
            option.collect::<Vec<_>>()
        };
        let old_before = self.old.iter().map(|_| picture(&work.path().join("ours/old"))).next();
        let ours = [self.tool(tool, &self.ours), link_dest("ours")].concat();
        let ended = self.call(work.path(), &ours, "ours");
        let limited = ["timeout", ORACLE_SECONDS, oracle].map(ToOwned::to_owned);
        let theirs = [&limited[..], &self.theirs, &link_dest("theirs")].concat();
        let theirs = self.call(work.path(), &theirs, "theirs");
        // Some builds of rsync crash, or hang, at --existing with -H; and where --ignore-existing lets a file stay
        // in a directory's place, it gives it the directory's time.
        let is_misled = self.has("--ignore-existing") && theirs.code != Some(0);
        if is_misled || !matches!(theirs.code, Some(0 | 1 | 23)) {
            return Vec::new();
        }
        let mut wrong = self.judge(work.path(), old_before.as_ref());
        if !ended_alike(&ended, &theirs) {
            wrong.push(format!("exit {:?} / {:?}", theirs.code, ended.code));
        }
        if !wrong.is_empty() {
            wrong.push(format!("in {} with umask {}", work.path().display(), self.umask));
            wrong.push(format!("theirs: {:?}\n{}", self.theirs, theirs.stderr));
            wrong.push(format!("ours: {ours:?}\n{}", ended.stderr));
        }
        wrong
    }

    fn judge(&self, work: &Path, old: Option<&Picture>) -> Vec<String> {
        let seen = |path: &str| {
            let path = work.join(path);
            if path.exists() { self.normal(picture(&path)) } else { Picture::new() }
        };
        let [source, mut ours, mut theirs] = ["s", "ours/t", "theirs/t"].map(seen);
        for path in source
            .keys()
            .filter(|path| self.is_equal_link(path, &source, &ours))
            .cloned()
            .collect::<Vec<_>>()
        {
            ours.remove(&path);
            theirs.remove(&path);
        }
        if !self.is_sync {
            for (path, entry) in &mut theirs {
                if let Some(source) = source.get(path) {
                    self.as_ours(entry, source);
                }
            }
        }
        // rsync takes from a list the group's right that equals the mask, now and then.
        for (path, entry) in &mut theirs {
            let xattrs = |tree: &Picture| tree.get(path).map(|entry| entry.xattrs.clone());
            if let Some(wanted) = xattrs(&source).filter(|_| xattrs(&source) == xattrs(&ours)) {
                entry.xattrs = wanted;
            }
        }
        let mut wrong = differences(&theirs, &ours);
        if let Some(old) = old {
            let changed = differences(old, &picture(&work.join("ours/old")));
            wrong.extend(changed.into_iter().map(|line| format!("--link-dest changed: {line}")));
        }
        wrong
    }
}

/// Exit codes tell the same.
fn ended_alike(ours: &Ended, theirs: &Ended) -> bool {
    // rsync asks a directory's default list of what has just taken the directory's place.
    let is_late = theirs.stderr.contains("sys_acl_get_file");
    let is_done = |ended: &Ended| ended.code == Some(0);
    is_done(ours) == is_done(theirs) || is_done(ours) && is_late
}

#[test]
fn dsync_does_what_rsync_does() {
    if !may_mount() {
        return;
    }
    seeds::each(120, |random| Case::sync(random).run("dsync", "rsync"));
}

#[test]
fn dcp_does_what_cp_does() {
    if !may_mount() {
        return;
    }
    seeds::each(120, |random| Case::copy(random).run("dcp", "cp"));
}

/// Whatever the target was: equal afterwards, which dcmp says, too, and nothing is left to do.
#[test]
fn dsync_makes_any_target_equal() {
    if !may_mount() {
        return;
    }
    seeds::each(120, |random| mirror(&Case::new(random)));
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
