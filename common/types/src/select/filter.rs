//! Selection of the entries that a job processes, by path, depth, size and age.
//!
//! The rules are tried in the order they were given, and the first whose pattern (`glob.rs`)
//! matches decides. An entry that no rule matches is included, unless there are includes only: then
//! files that match none are excluded, and directories are still walked. An excluded directory is
//! not entered, so nothing below it is included, whatever the rules say about it: `--include '*.c'
//! --exclude '*'` includes files at the top only; with `--include '*/'` before them all directories
//! are entered.

use globset::{Candidate, GlobSet, GlobSetBuilder};
use serde::{Deserialize, Serialize};

use crate::entry::{Kind, Metadata, Time};
use crate::outcome::difference::Fields;
use crate::select::age::Age;
use crate::select::glob::{Pattern, PatternError, reason};

/// Effect of a rule on the entries that match it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Verdict {
    Include,
    Exclude,
}

/// One `--include` or `--exclude`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Effect on matching entries.
    pub verdict: Verdict,
    /// The pattern as the user wrote it.
    pub pattern: Vec<u8>,
}

impl Rule {
    /// Returns a rule that includes matching entries.
    pub fn include(pattern: impl Into<Vec<u8>>) -> Self {
        Self { verdict: Verdict::Include, pattern: pattern.into() }
    }

    /// Returns a rule that excludes matching entries.
    pub fn exclude(pattern: impl Into<Vec<u8>>) -> Self {
        Self { verdict: Verdict::Exclude, pattern: pattern.into() }
    }
}

/// Options of a filter; the default includes every entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterOptions {
    /// Rules; the first one that matches a path decides.
    pub rules: Vec<Rule>,
    /// Smallest size in bytes of files that are included.
    pub min_size_bytes: Option<u64>,
    /// Largest size in bytes of files that are included.
    pub max_size_bytes: Option<u64>,
    /// Smallest age of files that are included, by their modification time.
    pub min_age: Option<Age>,
    /// Largest age of files that are included, by their modification time.
    pub max_age: Option<Age>,
    /// Largest number of components in the path below the root of entries that are included.
    pub max_depth: Option<u32>,
    /// Time from which ages are counted: the same for all ranks, and for the whole job.
    pub now: Time,
}

impl Default for FilterOptions {
    fn default() -> Self {
        Self {
            rules: Vec::new(),
            min_size_bytes: None,
            max_size_bytes: None,
            min_age: None,
            max_age: None,
            max_depth: None,
            now: Time { seconds: 0, nanoseconds: 0 },
        }
    }
}

/// A compiled filter, which all threads can use.
#[derive(Debug, Clone)]
pub struct Filter {
    globs: GlobSet,
    /// Rules of the globs, in the same order.
    rules: Vec<CompiledRule>,
    includes_only: bool,
    min_size_bytes: u64,
    max_size_bytes: u64,
    /// Latest modification time of a file that is included.
    latest: Option<Time>,
    /// Earliest modification time of a file that is included.
    earliest: Option<Time>,
    /// Largest number of components of a path that is included.
    max_depth: Option<u32>,
}

#[derive(Debug, Clone, Copy)]
struct CompiledRule {
    verdict: Verdict,
    directories_only: bool,
    /// True if every name is excluded, as with `*`.
    excludes_any: bool,
}

/// Reason why a filter would select nothing, or cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// A pattern is invalid.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// The patterns are too many, or too large.
    #[error("cannot use these patterns together: {}", reason(.0))]
    Together(#[source] globset::Error),
    /// Bounds without a size between them.
    #[error("--min-size is larger than --max-size, so no file matches")]
    Sizes,
    /// Bounds without a time between them.
    #[error("--min-age is larger than --max-age, so no file matches")]
    Ages,
}

impl Filter {
    /// Compiles the patterns.
    ///
    /// # Errors
    /// Fails for an invalid pattern, and for bounds with no value between them.
    pub fn new(options: &FilterOptions) -> Result<Self, FilterError> {
        let (globs, rules) = compile(&options.rules)?;
        let includes_only =
            !rules.is_empty() && rules.iter().all(|compiled| compiled.verdict == Verdict::Include);
        let filter = Self {
            globs,
            rules,
            includes_only,
            min_size_bytes: options.min_size_bytes.unwrap_or(0),
            max_size_bytes: options.max_size_bytes.unwrap_or(u64::MAX),
            latest: options.min_age.map(|age| age.moment(options.now)),
            earliest: options.max_age.map(|age| age.moment(options.now)),
            max_depth: options.max_depth,
        };
        filter.check_bounds()?;
        Ok(filter)
    }

    fn check_bounds(&self) -> Result<(), FilterError> {
        if self.min_size_bytes > self.max_size_bytes {
            return Err(FilterError::Sizes);
        }
        match (self.earliest, self.latest) {
            (Some(earliest), Some(latest)) if earliest > latest => Err(FilterError::Ages),
            _ => Ok(()),
        }
    }

    /// Returns true where every entry is included.
    pub fn is_trivial(&self) -> bool {
        !self.needs_paths() && !self.needs_metadata()
    }

    /// Returns true where [`Filter::admits_path`] may exclude entries.
    pub fn needs_paths(&self) -> bool {
        !self.rules.is_empty() || self.max_depth.is_some()
    }

    /// Returns true where [`Filter::admits`] may exclude entries.
    pub fn needs_metadata(&self) -> bool {
        self.needs_sizes() || self.needs_times()
    }

    fn needs_sizes(&self) -> bool {
        self.min_size_bytes > 0 || self.max_size_bytes < u64::MAX
    }

    /// Returns true where the filter needs the modification time.
    pub fn needs_times(&self) -> bool {
        self.latest.is_some() || self.earliest.is_some()
    }

    /// Returns true where the entry of that path below the root is included, by its path alone; for
    /// a directory, where it is entered. The root itself, the empty path, always is.
    ///
    /// The directories above it are not checked: a walk does not come here if one of them is
    /// excluded.
    pub fn admits_path(&self, path: &[u8], is_directory: bool) -> bool {
        if self.is_too_deep(path) {
            return false;
        }
        if self.rules.is_empty() || path.is_empty() {
            return true;
        }
        // In ascending order, so the first is the one given first.
        let matching = self.globs.matches_candidate(&Candidate::from_bytes(path));
        let mut matching = matching.into_iter().map(|index| self.rules[index]);
        match matching.find(|rule| is_directory || !rule.directories_only) {
            Some(rule) => rule.verdict == Verdict::Include,
            None => is_directory || !self.includes_only,
        }
    }

    /// Returns true where an entry that the operator has named is included, by its own name. Rules
    /// that exclude every name are about what is in a directory, not about which one is named.
    pub fn admits_operand(&self, name: &[u8], is_directory: bool) -> bool {
        let matching = self.globs.matches_candidate(&Candidate::from_bytes(name));
        let mut matching = matching.into_iter().map(|index| self.rules[index]);
        let counts =
            |rule: &CompiledRule| !rule.excludes_any && (is_directory || !rule.directories_only);
        match matching.find(counts) {
            Some(rule) => rule.verdict == Verdict::Include,
            None => is_directory || !self.includes_only,
        }
    }

    /// Returns true where a path below the root, which may be the empty one of the root, has more
    /// components than are included.
    fn is_too_deep(&self, path: &[u8]) -> bool {
        let depth = || path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).count();
        self.max_depth.is_some_and(|max| depth() > max as usize)
    }

    /// Returns whether a path is selected by the rules itself. If there are only includes, a
    /// directory that matches none is entered, but not selected.
    pub fn means_path(&self, path: &[u8], is_directory: bool) -> bool {
        let is_plain = self.rules.is_empty() || path.is_empty();
        let matches = || self.globs.matches_candidate(&Candidate::from_bytes(path));
        let is_matched = || {
            let mut rules = matches().into_iter().map(|index| self.rules[index]);
            rules.any(|rule| is_directory || !rule.directories_only)
        };
        let is_meant = !self.includes_only || (!is_plain && is_matched());
        is_meant && self.admits_path(path, is_directory)
    }

    /// Returns whether an entry may be deleted by its metadata: files as in [`Filter::admits`].
    /// Bounds of the modification time apply to all other entries, too, and with bounds of the size
    /// only files may be deleted.
    pub fn may_delete(&self, metadata: &Metadata) -> bool {
        if metadata.kind == Kind::File {
            return self.admits(metadata);
        }
        let is_known = !self.needs_times() || metadata.known.contains(Fields::MTIME);
        is_known
            && !self.needs_sizes()
            && self.latest.is_none_or(|latest| metadata.mtime <= latest)
            && self.earliest.is_none_or(|earliest| metadata.mtime >= earliest)
    }

    /// Returns true where a file is included by its size and its modification time, bounds
    /// included. Other entries always are.
    pub fn admits(&self, metadata: &Metadata) -> bool {
        metadata.kind != Kind::File
            || ((self.min_size_bytes..=self.max_size_bytes).contains(&metadata.size_bytes)
                && self.latest.is_none_or(|latest| metadata.mtime <= latest)
                && self.earliest.is_none_or(|earliest| metadata.mtime >= earliest))
    }
}

fn compile(rules: &[Rule]) -> Result<(GlobSet, Vec<CompiledRule>), FilterError> {
    let mut globs = GlobSetBuilder::new();
    let mut compiled = Vec::with_capacity(rules.len());
    for rule in rules {
        let pattern = Pattern::parse(&rule.pattern)?;
        let directories_only = pattern.directories_only;
        globs.add(pattern.glob);
        let matches_any = rule.pattern.iter().all(|byte| matches!(byte, b'*' | b'/'));
        let excludes_any = matches_any && rule.verdict == Verdict::Exclude;
        compiled.push(CompiledRule { verdict: rule.verdict, directories_only, excludes_any });
    }
    Ok((globs.build().map_err(FilterError::Together)?, compiled))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(rules: &[Rule]) -> Filter {
        Filter::new(&FilterOptions { rules: rules.to_vec(), ..FilterOptions::default() }).unwrap()
    }

    /// Checks which paths a filter includes; a path that ends in `/` stands for a directory.
    #[track_caller]
    fn check(filter: &Filter, taken: &[&str], left: &[&str]) {
        let admits = |path: &str| {
            let name = path.strip_suffix('/').unwrap_or(path);
            filter.admits_path(name.as_bytes(), path.ends_with('/'))
        };
        for path in taken {
            assert!(admits(path), "{path} is left out");
        }
        for path in left {
            assert!(!admits(path), "{path} takes part");
        }
    }

    fn file(size_bytes: u64, seconds: i64) -> Metadata {
        let time = Time { seconds, nanoseconds: 0 };
        Metadata {
            mode: 0o644,
            size_bytes,
            device: 1,
            inode: 1,
            known: crate::outcome::difference::Fields::ALL,
            ..Metadata::of_kind(Kind::File).with_times(time)
        }
    }

    #[test]
    fn without_options_everything_takes_part() {
        let all = filter(&[]);
        assert!(all.is_trivial());
        check(&all, &["a", "a/b", "a/"], &[]);
        assert!(all.admits_path(b"\xff", false));
        assert!(all.admits(&file(0, i64::MIN)));
        assert!(all.admits(&file(u64::MAX, i64::MAX)));
    }

    #[test]
    fn the_first_match_decides() {
        let keep = filter(&[Rule::include("keep.o"), Rule::exclude("*.o")]);
        check(&keep, &["keep.o", "x/keep.o", "a.c"], &["a.o", "x/a.o"]);
        let late = filter(&[Rule::exclude("*.o"), Rule::include("keep.o")]);
        check(&late, &["a.c"], &["keep.o", "a.o"]);
        assert!(!late.is_trivial());
        assert!(!late.needs_metadata());
    }

    #[test]
    fn order_holds_across_kinds_of_patterns() {
        // Literal, suffix, prefix and class patterns are looked up in different ways.
        let rules = [
            Rule::exclude("/x/a.c"),
            Rule::include("[a-b].c"),
            Rule::exclude("*.c"),
            Rule::include("d.c"),
            Rule::exclude("x/**"),
            Rule::include("*.h"),
        ];
        let mixed = filter(&rules);
        check(&mixed, &["a.c", "x/b.c", "e.h", "z"], &["x/a.c", "c.c", "d.c", "x/e.h", "x/z"]);
    }

    #[test]
    fn many_patterns_together_match_as_each_one_alone() {
        let patterns =
            ["*.c", "a.c", "/a", "a/*", "a/b", "**/b/**", "[!a]", "b?", "{a,b}/c", "c*", "/b/**/c"];
        let names = ["a", "b", "c", "a.c", "bb", "cc.c", ".c"];
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..2000 {
            let mut shuffled = patterns;
            random.shuffle(&mut shuffled);
            let rules: Vec<_> = shuffled[..random.usize(1..=patterns.len())]
                .iter()
                .map(|pattern| {
                    let verdict = [Verdict::Include, Verdict::Exclude][random.usize(..2)];
                    Rule { verdict, pattern: pattern.as_bytes().to_vec() }
                })
                .collect();
            let depth = random.usize(1..4);
            let parts: Vec<_> = (0..depth).map(|_| names[random.usize(..names.len())]).collect();
            let path = parts.join("/");
            let alone = rules.iter().find(|rule| {
                let glob = Pattern::parse(&rule.pattern).unwrap().glob;
                glob.compile_matcher().is_match(&path)
            });
            let no_excludes = rules.iter().all(|rule| rule.verdict == Verdict::Include);
            let expected = alone.map_or(!no_excludes, |rule| rule.verdict == Verdict::Include);
            assert_eq!(filter(&rules).admits_path(path.as_bytes(), false), expected, "{path}");
        }
    }

    #[test]
    fn includes_alone_leave_out_other_files_but_walk_directories() {
        let sources = filter(&[Rule::include("*.c"), Rule::include("*.h")]);
        check(&sources, &["a.c", "x/b.h", "x/", "x/y/"], &["a.o", "x/y"]);
        let both = filter(&[Rule::include("*.c"), Rule::exclude("*.o")]);
        check(&both, &["a.c", "a.h", "x/"], &["a.o"]);
    }

    #[test]
    fn a_trailing_slash_spares_files() {
        let build = filter(&[Rule::exclude("build/")]);
        check(&build, &["build", "x/build", "build2/"], &["build/", "x/build/"]);
        // A rule for directories does not hide a later one from files.
        let files = filter(&[Rule::include("build/"), Rule::exclude("build")]);
        check(&files, &["build/"], &["build"]);
    }

    #[test]
    fn all_but_some_files_takes_three_rules() {
        let rules = [Rule::include("*/"), Rule::include("*.c"), Rule::exclude("*")];
        check(&filter(&rules), &["x/", "x/y/", "x/a.c"], &["a.o", "x/y/a"]);
    }

    #[test]
    fn the_root_is_never_left_out_and_paths_are_bytes() {
        let none = filter(&[Rule::exclude("**")]);
        assert!(none.admits_path(b"", true));
        assert!(none.admits_path(b"", false));
        assert!(!none.admits_path(b"a\xff/\xfe", false));
        assert!(!filter(&[Rule::exclude("*.c")]).admits_path(b"\xff/\xfe.c", false));
    }

    #[test]
    fn what_is_named_is_left_out_by_its_name_alone() {
        let filter = filter(&[Rule::include("*.c"), Rule::exclude("keep/"), Rule::exclude("*")]);
        for (name, is_directory, admitted) in [
            ("keep", true, false),
            ("keep", false, true),
            ("keep.c", true, true),
            ("tree", true, true),
        ] {
            assert_eq!(filter.admits_operand(name.as_bytes(), is_directory), admitted, "{name}");
        }
        let first = super::tests::filter(&[Rule::include("*"), Rule::exclude("keep")]);
        assert!(first.admits_operand(b"keep", true));
    }

    #[test]
    fn sizes_bound_regular_files_only() {
        let options = FilterOptions {
            min_size_bytes: Some(10),
            max_size_bytes: Some(20),
            ..FilterOptions::default()
        };
        let sizes = Filter::new(&options).unwrap();
        assert!(!sizes.is_trivial());
        for (size, expected) in [(0, false), (9, false), (10, true), (20, true), (21, false)] {
            assert_eq!(sizes.admits(&file(size, 0)), expected, "{size}");
        }
        for kind in [Kind::Directory, Kind::Symlink, Kind::Fifo, Kind::Socket, Kind::CharDevice] {
            assert!(sizes.admits(&Metadata { kind, ..file(0, 0) }), "{kind:?}");
        }
    }

    #[test]
    fn a_depth_bounds_paths_whatever_the_rules() {
        let bounded = |rules: &[Rule]| {
            let max_depth = Some(2);
            let options = FilterOptions { rules: rules.to_vec(), max_depth, ..Default::default() };
            Filter::new(&options).unwrap()
        };
        let alone = bounded(&[]);
        assert!(!alone.is_trivial() && alone.needs_paths() && !alone.needs_metadata());
        check(&alone, &["", "a", "a/", "a/b", "a/b/"], &["a/b/c", "a/b/c/", "a/b/c/d"]);
        assert!(alone.means_path(b"a/b", false) && !alone.means_path(b"a/b/c", false));
        let with_includes = bounded(&[Rule::include("*.c")]);
        check(&with_includes, &["x.c", "a/x.c", "a/"], &["a/b/x.c", "x.h"]);
    }

    #[test]
    fn ages_count_from_now() {
        let now = Time { seconds: 1000, nanoseconds: 500 };
        let options = FilterOptions {
            min_age: Some(Age::Seconds(100)),
            max_age: Some(Age::Since(Time { seconds: 300, nanoseconds: 0 })),
            now,
            ..FilterOptions::default()
        };
        let ages = Filter::new(&options).unwrap();
        assert!(ages.needs_metadata());
        for (mtime, expected) in [(299, false), (300, true), (900, true), (901, false)] {
            assert_eq!(ages.admits(&file(0, mtime)), expected, "{mtime}");
        }
        let mut edge = file(0, 0);
        edge.mtime = Time { seconds: 900, nanoseconds: 500 };
        assert!(ages.admits(&edge));
        edge.mtime.nanoseconds = 501;
        assert!(!ages.admits(&edge));
        edge.kind = Kind::Symlink;
        assert!(ages.admits(&edge));
    }

    #[test]
    fn what_leaves_nothing_or_makes_no_sense_is_refused() {
        let sizes = FilterOptions {
            min_size_bytes: Some(2),
            max_size_bytes: Some(1),
            ..FilterOptions::default()
        };
        assert!(matches!(Filter::new(&sizes), Err(FilterError::Sizes)));
        let ages = FilterOptions {
            min_age: Some(Age::Seconds(2)),
            max_age: Some(Age::Seconds(1)),
            ..FilterOptions::default()
        };
        assert!(matches!(Filter::new(&ages), Err(FilterError::Ages)));
        let rules = vec![Rule::include("ok"), Rule::exclude(&b"a\xff["[..])];
        let why = Filter::new(&FilterOptions { rules, ..FilterOptions::default() }).unwrap_err();
        let why = why.to_string();
        assert!(why.contains(r"a\xff["), "{why}");
    }

    #[test]
    fn options_travel() {
        let options = FilterOptions {
            rules: vec![Rule::include("*.c"), Rule::exclude(&b"\xff"[..])],
            min_size_bytes: Some(1),
            max_size_bytes: None,
            min_age: Some(Age::Seconds(7)),
            max_age: Some(Age::Since(Time { seconds: -1, nanoseconds: 5 })),
            max_depth: Some(3),
            now: Time { seconds: 9, nanoseconds: 1 },
        };
        let bytes = postcard::to_stdvec(&options).unwrap();
        assert_eq!(postcard::from_bytes::<FilterOptions>(&bytes), Ok(options));
    }
}
