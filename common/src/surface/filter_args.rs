//! Command-line options that say which entries take part.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use serde::{Deserialize, Serialize};

use super::rule_files::{self, Lines};
use types::entry::Time;
use types::limits::RULE_FILE_BYTES_MAX;
use types::select::age::Age;
use types::select::filter::{Filter, FilterError, FilterOptions, Rule, Verdict};
use types::select::glob::Pattern;
use types::size::parse_bytes;

/// Options that choose entries by path, depth, size, age and file system.
#[derive(Debug, Clone, PartialEq, Eq, Args, Serialize, Deserialize)]
#[command(next_help_heading = "Filters")]
pub struct FilterArgs {
    /// `--include`, `--exclude`, `--filter` and their files, in the order they were given
    #[command(flatten)]
    pub rules: RuleArgs,

    /// Skip files smaller than SIZE
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    pub min_size: Option<u64>,

    /// Skip files larger than SIZE
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    pub max_size: Option<u64>,

    /// Skip files modified within AGE (90s, 15m, 12h, 7d, 2w, 3M, 1y, 1d12h), or after a date
    #[arg(long, value_name = "AGE", value_parser = Age::parse)]
    pub min_age: Option<Age>,

    /// Skip files modified longer ago than AGE, or before a date (UTC unless it has a zone)
    #[arg(long, value_name = "AGE", value_parser = Age::parse)]
    pub max_age: Option<Age>,

    /// Skip entries more than N levels below the root; 1 selects what is directly in it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_depth: Option<u32>,

    /// Do not cross file system boundaries
    #[arg(short = 'x', long)]
    pub one_file_system: bool,
}

impl FilterArgs {
    /// Options of a filter, with ages counted from `now`; all but
    /// [`FilterArgs::one_file_system`], which the walk has to know.
    ///
    /// # Errors
    /// Fails for options that contradict each other.
    pub fn options(&self, now: Time) -> Result<FilterOptions, FilterError> {
        let options = FilterOptions {
            rules: self.rules.list.clone(),
            min_size_bytes: self.min_size,
            max_size_bytes: self.max_size,
            min_age: self.min_age,
            max_age: self.max_age,
            max_depth: self.max_depth,
            now,
        };
        Filter::new(&options).map(|_| options)
    }

    /// Tells whether a walk meets every path below its root.
    pub fn admits_all_paths(&self) -> bool {
        // Each field is named, so that a new filter of paths is asked, too.
        let Self {
            rules,
            max_depth,
            one_file_system,
            min_size: _,
            max_size: _,
            min_age: _,
            max_age: _,
        } = self;
        rules.list.is_empty() && max_depth.is_none() && !one_file_system
    }

    /// Returns whether no entry of a file system is left out.
    pub fn admits_all(&self) -> bool {
        let Self { rules, min_size, max_size, min_age, max_age, max_depth, one_file_system: _ } =
            self;
        let has_size = min_size.is_some() || max_size.is_some();
        let has_age = min_age.is_some() || max_age.is_some();
        rules.list.is_empty() && !has_size && !has_age && max_depth.is_none()
    }
}

/// `--include`, `--exclude` and their files: written by hand, because derived options forget the
/// order between one another.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RuleArgs {
    /// Rules, in the order in which they are tried.
    pub list: Vec<Rule>,
    /// Files that they were read from.
    pub files: Vec<Vec<u8>>,
}

const INCLUDE: &str = "include";
const EXCLUDE: &str = "exclude";
const FILTER: &str = "filter";

/// Options that name a file of rules, and what its lines are.
const FROM: [(&str, Lines, &str); 3] = [
    (
        "include-from",
        Lines::Patterns(Verdict::Include),
        "Read GLOBs of --include from FILE, one a line (- for standard input)",
    ),
    (
        "exclude-from",
        Lines::Patterns(Verdict::Exclude),
        "Read GLOBs of --exclude from FILE, one a line (- for standard input)",
    ),
    (
        "filter-from",
        Lines::Rules,
        "Read rules of --filter from FILE, one a line (- for standard input)",
    ),
];

const FILTER_DETAILS: &str =
    "One of the rules of --include and --exclude, among which it has its place.";

const FROM_DETAILS: &str = "Empty lines and those that begin with # or ; are skipped, and ! alone \
                            removes the rules before it. A GLOB may have a prefix, + to include and - to exclude.";

fn rule_arg(name: &'static str, help: &'static str, details: &str) -> Arg {
    let checked = OsStringValueParser::new().try_map(|text: OsString| {
        let pattern = text.into_vec();
        Pattern::parse(&pattern).map(|_| pattern)
    });
    Arg::new(name)
        .long(name)
        .value_name("GLOB")
        .help(help)
        .long_help(format!("{help}\n\n{details}"))
        .help_heading("Filters")
        .action(ArgAction::Append)
        .value_parser(checked)
}

fn from_arg(name: &'static str, value: &'static str, help: &'static str, details: &str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name(value)
        .help(help)
        .long_help(format!("{help}\n\n{details}").trim_end().to_owned())
        .help_heading("Filters")
        .action(ArgAction::Append)
        .value_parser(OsStringValueParser::new().map(OsString::into_vec))
}

impl Args for RuleArgs {
    fn augment_args(command: Command) -> Command {
        command
            .arg(rule_arg(
                INCLUDE,
                "Include entries that match GLOB",
                "The first GLOB of --include and --exclude that matches decides. Without --exclude, no \
                 other files are included.",
            ))
            .arg(rule_arg(
                EXCLUDE,
                "Exclude entries that match GLOB; a directory with all of its contents",
                "*.o matches at any depth, /tmp at the top only, build/ directories only, and a/**/b \
                 also a/b.",
            ))
            .arg(
                from_arg(FILTER, "RULE", "Include (+ GLOB) or exclude (- GLOB) entries", FILTER_DETAILS)
                    .allow_hyphen_values(true),
            )
            .args(FROM.map(|(name, _, help)| from_arg(name, "FILE", help, FROM_DETAILS)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for RuleArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let (mut all, mut files) = (Vec::new(), Vec::new());
        for (name, verdict) in [(INCLUDE, Verdict::Include), (EXCLUDE, Verdict::Exclude)] {
            let rule = |pattern: &Vec<u8>| Rule { verdict, pattern: pattern.clone() };
            all.extend(placed(matches, name).map(|(place, pattern)| (place, rule(pattern))));
        }
        for (place, text) in placed(matches, FILTER) {
            let rule = rule_files::rule(text, Lines::Rules).map_err(|why| refused(FILTER, &why))?;
            all.push((place, rule));
        }
        for (name, lines, _) in FROM {
            for (place, path) in placed(matches, name) {
                let rules = rule_files::read(path, lines).map_err(|why| refused(name, &why))?;
                all.extend(rules.into_iter().map(|rule| (place, rule)));
                files.push(path.clone());
            }
        }
        let bytes: usize = all.iter().map(|(_, rule)| rule.pattern.len()).sum();
        if bytes > RULE_FILE_BYTES_MAX {
            return Err(refused(EXCLUDE, &"the patterns are too many"));
        }
        // Stable, so that the rules of a file stay in order.
        all.sort_by_key(|(place, _)| *place);
        Ok(Self { list: all.into_iter().map(|(_, rule)| rule).collect(), files })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Place of an option on the command line; the environment comes after it.
type Place = (bool, usize);

/// Returns the values of one option with their places.
fn placed<'m>(matches: &'m ArgMatches, name: &str) -> impl Iterator<Item = (Place, &'m Vec<u8>)> {
    let is_environment = matches.value_source(name) == Some(ValueSource::EnvVariable);
    let values = matches.get_many::<Vec<u8>>(name).unwrap_or_default();
    let indices: Vec<_> = matches.indices_of(name).unwrap_or_default().collect();
    indices.into_iter().map(move |index| (is_environment, index)).zip(values)
}

fn refused(name: &str, why: &impl std::fmt::Display) -> clap::Error {
    clap::Error::raw(ErrorKind::ValueValidation, format!("--{name}: {why}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    #[command(name = "tool")]
    struct Tool {
        #[command(flatten)]
        filter: FilterArgs,
        paths: Vec<OsString>,
    }

    const NOW: Time = Time { seconds: 1_800_000_000, nanoseconds: 0 };

    fn parse(arguments: &[&str]) -> Result<FilterArgs, String> {
        let all = ["tool"].iter().chain(arguments);
        Tool::try_parse_from(all).map(|tool| tool.filter).map_err(|error| error.to_string())
    }

    #[test]
    fn order_is_kept_across_both_options() {
        let parsed =
            parse(&["--exclude", "a", "--include=b", "p", "--exclude=c", "--include", "d", "q"]);
        let expected =
            [Rule::exclude("a"), Rule::include("b"), Rule::exclude("c"), Rule::include("d")];
        assert_eq!(parsed.unwrap().rules.list, expected);
        let parsed = parse(&["--include", "b", "--include", "a", "--exclude", "*"]).unwrap();
        assert_eq!(parsed.rules.list, [Rule::include("b"), Rule::include("a"), Rule::exclude("*")]);
        assert_eq!(parse(&[]).unwrap().options(NOW), Ok(FilterOptions { now: NOW, ..none() }));
    }

    fn none() -> FilterOptions {
        FilterOptions::default()
    }

    #[test]
    fn bounds_are_read_with_their_units() {
        let bounds = ["--min-size=1k", "--max-size", "1MB", "--min-age=1h30m"];
        let arguments = [&bounds[..], &["--max-age=2026-11-01", "--max-depth=2", "-x"]].concat();
        let parsed = parse(&arguments).unwrap();
        assert!(parsed.one_file_system);
        let options = parsed.options(NOW).unwrap();
        assert_eq!(options.min_size_bytes, Some(1024));
        assert_eq!(options.max_size_bytes, Some(1_000_000));
        assert_eq!(options.min_age, Some(Age::Seconds(5400)));
        assert_eq!(options.max_age, Age::parse("2026-11-01").ok());
        assert_eq!(options.max_depth, Some(2));
        assert!(!parsed.admits_all_paths());
        assert_eq!(options.now, NOW);
        let bytes = postcard::to_stdvec(&parsed).unwrap();
        assert_eq!(postcard::from_bytes::<FilterArgs>(&bytes), Ok(parsed));
    }

    #[test]
    fn a_wrong_value_is_refused_where_it_stands() {
        let table = [
            ("--include=[a", "unclosed character class"),
            ("--exclude=a**", "must stand alone"),
            ("--min-size=big", "64MiB"),
            ("--max-age=old", "7d"),
            ("--max-depth=0", "1.."),
        ];
        for (argument, expected) in table {
            let why = parse(&[argument]).unwrap_err();
            let option = argument.split('=').next().unwrap();
            assert!(why.contains(option) && why.contains(expected), "{why}");
        }
        let bytes = OsString::from_vec(b"--exclude=a\xff".to_vec());
        let why = Tool::try_parse_from(["tool".into(), bytes]).unwrap_err().to_string();
        assert!(why.contains("not UTF-8"), "{why}");
        let contradiction = parse(&["--min-size=2", "--max-size=1"]).unwrap();
        assert!(contradiction.options(NOW).is_err());
    }

    #[test]
    fn the_environment_adds_one_pattern_after_the_command_lines() {
        // A variable that every process has, with a value that is a pattern.
        let variable = "PATH";
        let command = <Tool as clap::CommandFactory>::command()
            .mut_arg(INCLUDE, |argument| argument.env(variable));
        let rules = |arguments: &[&str]| {
            let matches = command.clone().get_matches_from(arguments);
            Tool::from_arg_matches(&matches).unwrap().filter.rules.list
        };
        let include = Rule::include(std::env::var(variable).unwrap());
        assert_eq!(rules(&["tool"]), std::slice::from_ref(&include));
        let both = rules(&["tool", "--exclude=a", "--exclude=b"]);
        assert_eq!(both, [Rule::exclude("a"), Rule::exclude("b"), include]);
        assert_eq!(rules(&["tool", "--include=c"]), [Rule::include("c")]);
    }

    #[test]
    fn the_options_stand_under_a_heading_of_their_own() {
        let help = <Tool as clap::CommandFactory>::command().render_help().to_string();
        let filters = help.split("Filters:").nth(1).unwrap();
        for option in ["--include <GLOB>", "--exclude <GLOB>", "--min-age <AGE>", "-x, --one-file"]
        {
            assert!(filters.contains(option), "{option} in {help}");
        }
        assert_eq!(help.matches("Filters:").count(), 1);
    }
}
