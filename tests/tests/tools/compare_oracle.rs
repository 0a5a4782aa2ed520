//! Tests of dcmp with random pairs of trees, filters and options against a few lines of this file
//! alone: verdict, every path with its fields, counts, and the lists of `-o`; and the plan of
//! `dsync --dry-run -c`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use fastrand::Rng;
use rustix::fs::FileType;
use suite_tests::job::{Ended, run, tool};
use suite_tests::judge::{Entry, Picture, differences, picture};
use suite_tests::need_root;
use suite_tests::random_trees::RandomTree;
use suite_tests::seeds;

/// Patterns, as rsync's users write them.
const PATTERNS: [&str; 12] =
    ["*.o", "/a", "tmp", "d/*", "/d/b.o", "c.*", "?", "a/**/d", "f f", "d/**", "*", "[a-c]*"];

/// Fields that are left out now and then; not those that imply for others that the content differs.
const FIELDS: [&str; 7] = ["UID", "GID", "MTIME", "PERM", "ACL", "CONTENT", "XATTR"];

/// Verdict of each path, with its fields, as `--combined` has it.
type Verdicts = BTreeMap<Vec<u8>, (char, Vec<&'static str>)>;

/// Verdicts as they are in dcmp's output.
type Said = BTreeMap<Vec<u8>, (char, Vec<String>)>;

struct Case {
    rules: Vec<(&'static str, &'static str)>,
    min_size: Option<usize>,
    max_size: Option<usize>,
    ignored: Vec<&'static str>,
    is_one_way: bool,
}

impl Case {
    fn new(random: &mut Rng) -> Self {
        let min_size = (random.u8(..4) == 0).then(|| random.usize(1..9));
        let max_size = (random.u8(..4) == 0).then(|| min_size.unwrap_or(0) + random.usize(..9));
        let mut rule = || {
            (*random.choice(&["include", "exclude"]).unwrap(), *random.choice(&PATTERNS).unwrap())
        };
        let rules: Vec<_> = (0..4).map(|_| rule()).collect();
        Self {
            rules: rules.into_iter().take(random.usize(..5)).collect(),
            min_size,
            max_size,
            ignored: FIELDS.into_iter().filter(|_| random.u8(..10) == 0).collect(),
            is_one_way: random.u8(..4) == 0,
        }
    }

    fn options(&self) -> Vec<String> {
        let rules = self.rules.iter().map(|(verdict, pattern)| format!("--{verdict}={pattern}"));
        let sizes = [("min", self.min_size), ("max", self.max_size)];
        let sizes =
            sizes.into_iter().filter_map(|(end, size)| Some(format!("--{end}-size={}", size?)));
        rules.chain(sizes).collect()
    }

    /// Returns true where no rule excludes the path, or a directory that it is in.
    fn is_walked(&self, path: &Path) -> bool {
        path.ancestors().all(|path| path.as_os_str().is_empty() || self.is_admitted(path))
    }

    fn is_admitted(&self, path: &Path) -> bool {
        let matching = self.rules.iter().find(|(_, pattern)| matches_path(pattern, path));
        matching.is_none_or(|(verdict, _)| *verdict == "include")
    }

    /// Returns true for a file that the rules admit where there are includes alone; directories are
    /// always entered.
    fn is_named(&self, path: &Path, entry: &Entry) -> bool {
        let has_only_includes = self.rules.iter().all(|(verdict, _)| *verdict == "include");
        let is_entered = entry.kind == FileType::Directory || path.as_os_str().is_empty();
        self.rules.is_empty()
            || !has_only_includes
            || is_entered
            || self.rules.iter().any(|(_, pattern)| matches_path(pattern, path))
    }

    fn has_size(&self, entry: &Entry) -> bool {
        let size = entry.content.len();
        entry.kind != FileType::RegularFile
            || self.min_size.is_none_or(|min| size >= min)
                && self.max_size.is_none_or(|max| size <= max)
    }

    fn takes_part(&self, path: &Path, entry: &Entry) -> bool {
        self.is_walked(path) && self.is_named(path, entry) && self.has_size(entry)
    }

    /// Returns the expected verdict of each path.
    fn verdicts(&self, source: &Picture, target: &Picture) -> Verdicts {
        let mut verdicts = Verdicts::new();
        let paths: BTreeSet<_> = source.keys().chain(target.keys()).collect();
        for path in paths {
            let sides = [source, target].map(|tree| tree.get(path));
            // Entries that filters exclude by name in SOURCE are only in TARGET, and then skipped.
            let is_passed_over =
                self.is_one_way && sides[0].is_some_and(|entry| !self.is_named(path, entry));
            let takes_part = sides.iter().flatten().any(|entry| self.takes_part(path, entry));
            if is_passed_over || !takes_part {
                continue;
            }
            let verdict = match sides {
                [Some(source), Some(target)] => {
                    let differing: Vec<_> = fields(source, target)
                        .into_iter()
                        .filter(|field| !self.ignored.contains(field))
                        .collect();
                    (if differing.is_empty() { '=' } else { '*' }, differing)
                }
                [Some(_), None] => ('+', Vec::new()),
                _ if self.is_one_way => continue,
                _ => ('-', Vec::new()),
            };
            verdicts.insert(path.as_os_str().as_bytes().to_owned(), verdict);
        }
        verdicts
    }
}

/// Returns the fields in which two entries differ; where the types do, nothing else is compared.
fn fields(one: &Entry, other: &Entry) -> Vec<&'static str> {
    if one.kind != other.kind {
        return vec!["TYPE"];
    }
    let [is_file, is_link] =
        [FileType::RegularFile, FileType::Symlink].map(|kind| one.kind == kind);
    // A file of another length is not read.
    let is_as_long = one.content.len() == other.content.len();
    let with = |entry: &Entry, prefix: &[u8]| {
        let mut xattrs = entry.xattrs.clone();
        xattrs.retain(|name, _| name.as_bytes().starts_with(prefix));
        xattrs
    };
    let differs = |prefix: &[u8]| with(one, prefix) != with(other, prefix);
    let all = [
        ("SIZE", is_file && one.content.len() != other.content.len()),
        ("UID", one.uid != other.uid),
        ("GID", one.gid != other.gid),
        ("MTIME", one.mtime != other.mtime),
        ("PERM", one.mode != other.mode),
        ("ACL", differs(b"system.posix_acl_")),
        (
            "CONTENT",
            !is_link && is_as_long && (one.content != other.content || one.device != other.device),
        ),
        ("XATTR", differs(b"user.")),
        ("LINK", is_link && one.content != other.content),
    ];
    all.into_iter().filter(|(_, differs)| *differs).map(|(field, _)| field).collect()
}

fn matches_path(pattern: &str, path: &Path) -> bool {
    let names: Vec<&[u8]> = path
        .components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.as_bytes()),
            _ => None,
        })
        .collect();
    match pattern.strip_prefix('/') {
        Some(whole) => matches_names(&parts(whole), &names),
        None => (0..names.len()).any(|at| matches_names(&parts(pattern), &names[at..])),
    }
}

fn parts(pattern: &str) -> Vec<&[u8]> {
    pattern.split('/').map(str::as_bytes).collect()
}

fn matches_names(pattern: &[&[u8]], names: &[&[u8]]) -> bool {
    match (pattern, names) {
        ([], names) => names.is_empty(),
        ([b"**"], names) => !names.is_empty(),
        ([b"**", rest @ ..], names) => {
            (0..=names.len()).any(|at| matches_names(rest, &names[at..]))
        }
        ([first, rest @ ..], [name, names @ ..]) => {
            matches_name(first, name) && matches_names(rest, names)
        }
        _ => false,
    }
}

fn matches_name(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], name) => name.is_empty(),
        ([b'*', rest @ ..], name) => (0..=name.len()).any(|at| matches_name(rest, &name[at..])),
        ([b'?', rest @ ..], [_, name @ ..]) => matches_name(rest, name),
        ([b'[', from, b'-', to, b']', rest @ ..], [byte, name @ ..]) => {
            (from..=to).contains(&byte) && matches_name(rest, name)
        }
        ([byte, rest @ ..], [own, name @ ..]) => byte == own && matches_name(rest, name),
        _ => false,
    }
}

/// Parses `--combined` as text: state, path, and the fields after a tab.
fn read_combined(text: &str) -> Said {
    let line = |line: &str| {
        let (entry, fields) = line.split_once('\t').unwrap_or((line, ""));
        let path = entry[2..].replace("\\n", "\n");
        let path = if path == "." { String::new() } else { path };
        let is_of_two_kinds = fields.split(',').any(|field| field == "TYPE");
        let fields = if is_of_two_kinds { "TYPE" } else { fields };
        let fields = fields.split(',').filter(|field| !field.is_empty()).map(ToOwned::to_owned);
        (path.into_bytes(), (entry.chars().next().unwrap(), fields.collect()))
    };
    text.lines().map(line).collect()
}

/// Returns an expression of `-o`: a field and how it compares, or the side on which an entry is.
fn expression(random: &mut Rng) -> [&'static str; 2] {
    let field = *random.choice(&["SIZE", "UID", "GID", "MTIME", "PERM", "TYPE"]).unwrap();
    let state = *random.choice(&["DIFFER", "COMMON", "ONLY_SRC", "ONLY_DEST"]).unwrap();
    if state.starts_with("ONLY") { ["EXIST", state] } else { [field, state] }
}

/// Returns true where an entry is in the list of an expression, by the two entries of the path,
/// also of different types.
fn is_listed([field, state]: [&str; 2], sign: char, both: Option<(&Entry, &Entry)>) -> bool {
    let differs = both.map(|(one, other)| {
        if one.kind == other.kind {
            return fields(one, other).contains(&field);
        }
        let is_either = |kind: FileType| one.kind == kind || other.kind == kind;
        match field {
            "SIZE" => is_either(FileType::Directory) || one.content.len() != other.content.len(),
            "UID" => one.uid != other.uid,
            "GID" => one.gid != other.gid,
            "MTIME" => one.mtime != other.mtime,
            // A symbolic link has no mode.
            "PERM" => !is_either(FileType::Symlink) && one.mode != other.mode,
            _ => true,
        }
    });
    match state {
        "DIFFER" => differs == Some(true),
        "COMMON" => differs == Some(false),
        "ONLY_SRC" => sign == '+',
        _ => sign == '-',
    }
}

fn compare(random: &mut Rng) -> Vec<String> {
    let work = seeds::work();
    let [source, target] = ["s", "t"].map(|name| work.path().join(name));
    let tree = RandomTree::new(random);
    tree.write(&source);
    tree.drifted(random).write(&target);
    let case = Case::new(random);
    let trees = [&source, &target].map(|root| picture(root));
    let expected = case.verdicts(&trees[0], &trees[1]);
    let expression = expression(random);
    let [combined, list] = ["combined", "list.ndjson"].map(|name| work.path().join(name));
    let mut dcmp = tool(random.u32(1..=2), "dcmp");
    dcmp.args(["--json", "--xattrs=user", "--combined"]).arg(&combined).args(case.options());
    dcmp.args(["-o", &format!("{}:{}", expression.join("="), list.display())]);
    if !case.ignored.is_empty() {
        dcmp.arg(format!("--ignore={}", case.ignored.join(",").to_lowercase()));
    }
    let ended = run(dcmp.args(case.is_one_way.then_some("--one-way")).args([&source, &target]));
    let said = read_combined(&fs::read_to_string(&combined).unwrap_or_default());
    let mut wrong = wrong_counts(&ended, &said);
    let wanted = as_said(&expected);
    for path in wanted.keys().chain(said.keys()).collect::<BTreeSet<_>>() {
        if wanted.get(path) != said.get(path) {
            let shown = path.escape_ascii();
            wrong.push(format!("{shown}: {:?} / {:?}", wanted.get(path), said.get(path)));
        }
    }
    let both = |path: &[u8]| {
        let path = Path::new(OsStr::from_bytes(path));
        trees[0].get(path).zip(trees[1].get(path))
    };
    let listed =
        expected.iter().filter(|(path, (sign, _))| is_listed(expression, *sign, both(path)));
    let listed: BTreeSet<Vec<u8>> = listed.map(|(path, _)| path.clone()).collect();
    let found = paths_of(&fs::read_to_string(&list).unwrap_or_default(), [&source, &target]);
    if found != listed {
        wrong.push(format!("-o {expression:?}: {:?} / {:?}", shown(&listed), shown(&found)));
    }
    if !wrong.is_empty() {
        wrong.push(format!("in {}, {dcmp:?}\n{}", work.path().display(), ended.stderr));
    }
    wrong
}

/// Converts verdicts to the form of `--combined`; for entries of two types, only the type differs.
fn as_said(expected: &Verdicts) -> Said {
    let owned = |(path, (sign, fields)): (&Vec<u8>, &(char, Vec<&'static str>))| {
        (path.clone(), (*sign, fields.iter().map(|field| (*field).to_owned()).collect()))
    };
    expected.iter().map(owned).collect()
}

/// Checks that the exit code and the counts of the summary agree with the lines.
fn wrong_counts(ended: &Ended, said: &Said) -> Vec<String> {
    let mut wrong = Vec::new();
    let is_equal = said.values().all(|(sign, _)| *sign == '=');
    if ended.code != Some(i32::from(!is_equal)) {
        wrong.push(format!("exit {:?}", ended.code));
    }
    let counts = &ended.summary()["totals"]["compared"];
    let signs =
        [("same", '='), ("different", '*'), ("only_in_source", '+'), ("only_in_target", '-')];
    for (name, sign) in signs {
        let count = said.values().filter(|(own, _)| *own == sign).count();
        if counts[name] != count {
            wrong.push(format!("{name}: {count} / {}", counts[name]));
        }
    }
    wrong
}

fn shown(paths: &BTreeSet<Vec<u8>>) -> Vec<String> {
    paths.iter().map(|path| path.escape_ascii().to_string()).collect()
}

/// Returns the paths of an NDJSON list, below either root; each once.
fn paths_of(list: &str, roots: [&Path; 2]) -> BTreeSet<Vec<u8>> {
    let path = |line: &str| {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        let path = Path::new(entry["path"]["text"].as_str()?).to_owned();
        let below = roots.iter().find_map(|root| path.strip_prefix(root).ok())?;
        Some(below.as_os_str().as_bytes().to_owned())
    };
    list.lines().filter_map(path).collect()
}

#[test]
fn dcmp_says_what_a_few_lines_say() {
    need_root!();
    seeds::each(100, compare);
}

/// Checks that a dry run has a plan exactly where entries differ, and changes nothing.
#[test]
fn a_dry_run_has_a_plan_where_trees_differ() {
    need_root!();
    seeds::each(40, plan);
}

fn plan(random: &mut Rng) -> Vec<String> {
    let work = seeds::work();
    let [source, target] = ["s", "t"].map(|name| work.path().join(name));
    let tree = RandomTree::new(random).without_links();
    tree.write(&source);
    let other = if random.u8(..3) == 0 { tree.clone() } else { tree.drifted(random) };
    other.without_links().write(&target);
    let case = Case { min_size: None, max_size: None, is_one_way: false, ..Case::new(random) };
    let mut case = Case { ignored: Vec::new(), ..case };
    // With includes alone the two sides may have two opinions.
    case.rules.extend((!case.rules.is_empty()).then_some(("exclude", "?x")));
    let before = [&source, &target].map(|root| picture(root));
    let expected = case.verdicts(&before[0], &before[1]);
    let mut dsync = tool(1, "dsync");
    dsync.args(["-acD", "--dry-run", "--xattrs=user"]).args(case.options());
    let ended = run(dsync.args([&source, &target]));
    let mut wrong = Vec::new();
    // A directory of the target's own stays where something stays in it that takes no part.
    let stays = |path: &Path| {
        let mut below = before[1].keys().filter(|other| other.starts_with(path));
        below.any(|other| !expected.contains_key(other.as_os_str().as_bytes()))
    };
    let is_done = |(path, (sign, _)): (&Vec<u8>, &(char, Vec<&'static str>))| {
        *sign == '=' || *sign == '-' && stays(Path::new(OsStr::from_bytes(path)))
    };
    let is_equal = expected.iter().all(is_done);
    let shown = target.display().to_string();
    let planned: Vec<&str> = ended.stdout.lines().filter(|line| line.contains(&shown)).collect();
    if is_equal != planned.is_empty() {
        wrong.push(format!("equal {is_equal}, planned {planned:?}"));
    }
    wrong.extend(differences(&before[1], &picture(&target)));
    if !wrong.is_empty() {
        wrong.push(format!("in {}, {dsync:?} {ended:?}", work.path().display()));
    }
    wrong
}
