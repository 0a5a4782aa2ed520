//! Command-line options that all tools share, and how any command line is read.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Command};
use serde::{Deserialize, Serialize};

use super::abbreviations;
use super::environment;
use super::foreign;
use super::generate::{self, Document};
use super::identity_args::IdentityArgs;
use super::letters;
use super::limit_args::{LimitArgs, bandwidth};
use super::mfu_words::OutputStyle;
use super::s3_args::S3Args;
use super::ssh_args::SshArgs;
use types::limits;
use types::listed::line::LineFormat;
use types::size::{Unmeasured, human_bytes, parse_positive_bytes};

/// The end of a tool's long help: what a place may be, examples, the environment, exit codes.
pub fn after_long_help(examples: &str, environment: &str, exit_codes: &str) -> String {
    format!(
        "Locations are paths, USER@HOST:PATH on another host, sftp://USER@HOST/PATH on an SFTP server,
s3://BUCKET/PREFIX or REMOTE:BUCKET/PREFIX (a remote of rclone.conf) for objects in S3, and
daos://POOL/CONT/PATH for a container of DAOS.

{examples}

Every option can be given by the environment: {environment}.
Exit codes: {exit_codes}."
    )
}

/// Seconds between two progress reports by default.
const PROGRESS_SECONDS: u64 = 10;

/// Options that all tools have.
#[derive(Debug, Clone, PartialEq, Eq, Args, Serialize, Deserialize)]
#[command(next_help_heading = "Output")]
pub struct CommonArgs {
    /// Print only errors and warnings
    #[arg(short, long, overrides_with = "verbose")]
    pub quiet: bool,

    /// Print more: statistics of each rank; given twice, log messages
    #[arg(short, long, action = clap::ArgAction::Count, overrides_with = "quiet")]
    pub verbose: u8,

    /// Seconds between two progress reports; 0 for none
    #[arg(
        long,
        value_name = "N",
        default_value_t = PROGRESS_SECONDS,
        value_parser = clap::value_parser!(u64).range(..=31_536_000)
    )]
    pub progress: u64,

    /// Print events and the summary to standard output as JSON, one object a line
    #[arg(long)]
    pub json: bool,

    /// Exit with 0, not 24, if the only problem is that source entries vanished during the job
    ///
    /// They are still counted and reported. Entries that failed, and directories that kept
    /// changing, determine the exit code as without this option.
    #[arg(long)]
    pub ignore_vanished: bool,

    /// Words of progress and summary: those of this suite, or of mpiFileUtils for programs that
    /// read them
    #[arg(
        long,
        value_name = "STYLE",
        value_enum,
        default_value_t = OutputStyle::Suite,
        hide_possible_values = true,
        help = "Words of progress and summary: suite, or mfu for programs that read mpiFileUtils' output"
    )]
    pub output_style: OutputStyle,

    /// Maximum number of I/O threads of each rank
    #[arg(
        long,
        value_name = "N",
        default_value_t = limits::THREADS,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(limits::THREADS_MAX)),
        help_heading = "Tuning"
    )]
    pub threads: u32,

    /// Skip the check that all nodes see the same directories
    #[arg(long, help_heading = "Tuning")]
    pub assume_shared: bool,

    /// User as whom the job works.
    #[command(flatten)]
    pub identity: IdentityArgs,

    /// Options of locations on other hosts
    #[command(flatten)]
    pub ssh: SshArgs,

    /// Limits of the rate of the job.
    #[command(flatten)]
    pub limits: LimitArgs,

    /// Options of locations in S3
    #[command(flatten)]
    pub s3: S3Args,
}

/// Options of the tools that read content.
#[derive(Debug, Clone, PartialEq, Eq, Args, Serialize, Deserialize)]
#[command(next_help_heading = "Tuning")]
pub struct TuningArgs {
    /// Split files larger than SIZE into chunks of that size, for many ranks; rounded up to a
    /// multiple of 4 KiB
    #[arg(
        short = 'k', long = "chunksize", value_name = "SIZE",
        default_value_t = limits::CHUNK_BYTES.to_string(), hide_default_value = true,
        help = format!(
            "Split files larger than SIZE into chunks, for many ranks [default: {}]",
            human_bytes(limits::CHUNK_BYTES)
        ),
        value_parser = checked_chunk
    )]
    chunk: String,

    /// I/O buffer of each thread
    #[arg(
        short = 'b', long = "bufsize", alias = "blocksize", value_name = "SIZE",
        default_value_t = limits::BUFFER_BYTES.to_string(), hide_default_value = true,
        help = format!(
            "I/O buffer size of each thread [default: {}]",
            human_bytes(limits::BUFFER_BYTES)
        ),
        value_parser = checked_buffer
    )]
    buffer: String,

    /// Limit the bytes per second that the whole job writes, and those that it reads, such as 50M
    ///
    /// The ranks that have work share the limit. UP:DOWN limits what is sent to S3 and other
    /// hosts and what is received from there, such as 10M:off. A number without a unit is in KiB.
    #[arg(long, value_name = "RATE", value_parser = bandwidth)]
    pub bwlimit: Option<String>,
}

impl CommonArgs {
    /// Returns the files that the options name and that a job reads.
    pub fn files(&self) -> Vec<Vec<u8>> {
        let control = self.limits.control_file().map(|path| path.as_os_str().as_bytes());
        let key = self.ssh.ssh_identity.as_deref().map(str::as_bytes);
        [control, key].into_iter().flatten().map(<[u8]>::to_vec).collect()
    }

    /// Returns the format of lines on standard output: events of `--json`, or text.
    pub fn line_format(&self) -> LineFormat {
        if self.json { LineFormat::Ndjson } else { LineFormat::Text }
    }
}

impl TuningArgs {
    /// Files larger than this are cut into chunks of this size.
    pub fn chunk_bytes(&self) -> u64 {
        match parse_positive_bytes(&self.chunk).unwrap_or(limits::CHUNK_BYTES) {
            small if small < limits::CHUNK_BYTES_MULTIPLE => small,
            bytes => bytes.next_multiple_of(limits::CHUNK_BYTES_MULTIPLE),
        }
    }

    /// Size of an I/O buffer.
    pub fn buffer_bytes(&self) -> u64 {
        parse_positive_bytes(&self.buffer).unwrap_or(limits::BUFFER_BYTES)
    }
}

fn checked_chunk(text: &str) -> Result<String, Unmeasured> {
    parse_positive_bytes(text).map(|_| text.to_owned())
}

fn checked_buffer(text: &str) -> Result<String, BufferError> {
    match parse_positive_bytes(text)? {
        bytes if bytes > limits::BUFFER_BYTES_MAX => Err(BufferError::TooLarge),
        _ => Ok(text.to_owned()),
    }
}

/// Reason why a text is no size of a buffer.
#[derive(Debug, thiserror::Error)]
enum BufferError {
    #[error(transparent)]
    Size(#[from] Unmeasured),
    #[error(
        "a buffer of that size for each thread is too much; at most {}",
        human_bytes(limits::BUFFER_BYTES_MAX)
    )]
    TooLarge,
}

/// Result of reading a command line.
#[derive(Debug)]
pub enum Parsed<A> {
    /// Arguments to work with.
    Args {
        /// Arguments.
        args: A,
        /// Lines about options of other tools that change nothing.
        notes: Vec<String>,
        /// Lines about what may be a mistake.
        warnings: Vec<String>,
    },
    /// Help or version was asked for: text for standard output.
    Answer(String),
    /// Invalid command line: text for standard error.
    Refusal(String),
}

/// Options that the short help of every tool has, by their long names.
const SHORT_HELP_OF_ALL: [&str; 7] =
    ["include", "exclude", "threads", "quiet", "verbose", "progress", "json"];

/// Reads a command line. Every option can also be given by the environment: `DCP_CHUNKSIZE` for
/// `--chunksize` of dcp. Where one that takes a single value is repeated, the last one counts, as
/// with cp and rsync, so that wrapper scripts and aliases can be overruled.
///
/// The help of `-h` has the options in `short_help`, by their long names, besides those of all
/// tools.
pub fn parse<A: clap::FromArgMatches + clap::CommandFactory>(
    arguments: &[OsString],
    version: &str,
    short_help: &[&str],
) -> Parsed<A> {
    let command = environment::read(A::command(), None);
    let parser = |except: Option<&str>| {
        let command = environment::read(A::command(), except);
        foreign::accepted(with_short_help(command, short_help))
            .arg(generate::argument())
            .version(version.to_owned())
            .args_override_self(true)
    };
    let arguments = match as_written(arguments.to_vec(), &parser(None)) {
        Ok(arguments) => arguments,
        Err(why) => return Parsed::Refusal(why.to_string()),
    };
    let arguments = &arguments[..];
    let matches = |except: Option<&str>| parser(except).try_get_matches_from(arguments);
    let but_for_one = |error: clap::Error| {
        let is_conflict = error.kind() == ErrorKind::ArgumentConflict;
        let mut variables = environment::overruled(&command).filter(|_| is_conflict);
        variables.find_map(|variable| matches(Some(variable)).ok()).ok_or(error)
    };
    let parsed = matches(None).or_else(but_for_one).and_then(|matches| {
        match matches.get_one::<Document>(generate::OPTION) {
            Some(document) => Ok(Parsed::Answer(document.of(command.clone()))),
            None => A::from_arg_matches(&matches).map(|args| Parsed::Args {
                args,
                notes: foreign::notes(&matches),
                warnings: environment::misspelt(&command),
            }),
        }
    });
    match parsed {
        Ok(parsed) => parsed,
        Err(error) if error.use_stderr() => {
            let text = refusal(&error, &command);
            let without = |variable: &str| {
                matches(Some(variable)).err().map(|error| refusal(&error, &command))
            };
            Parsed::Refusal(environment::blamed(&text, &command, without))
        }
        Err(answer) => Parsed::Answer(answer.render().to_string()),
    }
}

/// Returns the arguments in the spelling of this suite, or why they have no single meaning.
fn as_written(arguments: Vec<OsString>, command: &Command) -> Result<Vec<OsString>, Unclear> {
    let whole = abbreviations::expand(arguments, command)?;
    Ok(letters::read(with_values(whole), command)?)
}

/// Arguments that have no single meaning.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
enum Unclear {
    Option(#[from] abbreviations::Ambiguous),
    Letters(#[from] letters::Misread),
}

/// Gives options of mpiFileUtils that have a value here, but need none there, the value that they
/// mean where none follows: the next word is an operand then.
fn with_values(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let end = arguments.iter().position(|word| word == "--").unwrap_or(arguments.len());
    let is_number = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    for index in 0..end {
        let next = arguments.get(index + 1).map(|word| word.as_encoded_bytes());
        let value = match arguments[index].as_encoded_bytes() {
            b"--progress" if !next.is_some_and(is_number) => PROGRESS_SECONDS.to_string(),
            b"--sparse" if !matches!(next, Some(b"auto" | b"always" | b"never")) => {
                "always".to_owned()
            }
            _ => continue,
        };
        arguments[index].push(format!("={value}"));
    }
    arguments
}

/// The parser's words, unless the option is one of another tool: the nearest spelling is no answer
/// then.
fn refusal(error: &clap::Error, command: &Command) -> String {
    let answer = match (error.kind(), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::UnknownArgument, Some(ContextValue::String(typed))) => {
            foreign::instead(typed, command).or_else(|| surplus(typed, command))
        }
        (ErrorKind::ArgumentConflict, _) => mirrored_list(error),
        _ => None,
    };
    answer.unwrap_or_else(|| error.render().to_string())
}

/// Words for one operand too many.
fn surplus(typed: &str, command: &Command) -> Option<String> {
    let takes = match command.get_name() {
        "dsync" => {
            "dsync makes one TARGET equal to one SOURCE; run it for each source, or copy several with dcp"
        }
        "dcmp" => "dcmp compares one SOURCE with one TARGET",
        _ => return None,
    };
    (!typed.starts_with('-')).then(|| format!("one operand too many, \"{typed}\": {takes}"))
}

/// Words for a mirror of the entries of a list, which is not defined.
fn mirrored_list(error: &clap::Error) -> Option<String> {
    let named = [ContextKind::InvalidArg, ContextKind::PriorArg];
    let named = named.into_iter().filter_map(|kind| error.get(kind));
    let named: String = named.map(ToString::to_string).collect();
    let list = ["--files-from", "--input"].into_iter().find(|list| named.contains(list))?;
    named.contains("--delete").then(|| {
        format!(
            "--delete and {list} exclude each other: entries that the list does not name would be \
             extraneous; select with --include and --exclude, or delete what a list names with drm"
        )
    })
}

/// Leaves all other options to the long help: more than a screen is not read.
fn with_short_help(command: Command, options: &[&str]) -> Command {
    command.mut_args(|arg| match arg.get_long() {
        Some("help" | "version") | None => arg,
        Some(long) => {
            let is_rare = !options.contains(&long) && !SHORT_HELP_OF_ALL.contains(&long);
            arg.hide_short_help(is_rare)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, clap::Parser)]
    #[command(name = "tool")]
    struct Tool {
        #[command(flatten)]
        common: CommonArgs,
        #[command(flatten)]
        tuning: TuningArgs,
        #[arg(long)]
        clean: Vec<String>,
    }

    fn read(words: &[&str]) -> Tool {
        let all: Vec<_> = ["tool"].iter().chain(words).map(Into::into).collect();
        match parse::<Tool>(&all, "1", &[]) {
            Parsed::Args { args, .. } => args,
            other => panic!("{other:?}"),
        }
    }

    fn answer(words: &[&str]) -> String {
        let words: Vec<_> = words.iter().map(Into::into).collect();
        match parse::<Tool>(&words, "1", &[]) {
            Parsed::Answer(text) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_short_help_has_the_options_that_are_named_and_the_long_one_has_all() {
        let (short, long) = (answer(&["tool", "-h"]), answer(&["tool", "--help"]));
        assert!(short.contains("--json") && !short.contains("--chunksize"), "{short}");
        assert!(long.contains("--json") && long.contains("--chunksize"), "{long}");
    }

    #[test]
    fn documents_have_all_options_and_need_no_operands() {
        for document in ["man", "complete-bash", "complete-zsh", "complete-fish"] {
            let text = answer(&["tool", "--generate", document]);
            assert!(text.contains("chunksize"), "{document}: {text}");
            assert!(!text.contains("TOOL_CHUNKSIZE"), "{document}: {text}");
        }
    }

    #[test]
    fn options_without_their_value_take_no_operand() {
        let words = |words: &[&str]| {
            with_values(words.iter().map(Into::into).collect())
                .into_iter()
                .map(|word| word.into_string().unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(words(&["dcp", "--progress", "a", "b"]), ["dcp", "--progress=10", "a", "b"]);
        assert_eq!(words(&["dcp", "--progress", "1", "b"]), ["dcp", "--progress", "1", "b"]);
        assert_eq!(words(&["dcp", "--progress=3", "b"]), ["dcp", "--progress=3", "b"]);
        assert_eq!(words(&["dcp", "a", "--progress"]), ["dcp", "a", "--progress=10"]);
        assert_eq!(words(&["dcp", "--sparse", "a", "b"]), ["dcp", "--sparse=always", "a", "b"]);
        assert_eq!(words(&["dcp", "--sparse", "never", "b"]), ["dcp", "--sparse", "never", "b"]);
        assert_eq!(words(&["dcp", "--", "--progress", "b"]), ["dcp", "--", "--progress", "b"]);
    }

    #[test]
    fn chunks_are_whole_pages() {
        let chunks = |size: &str| read(&["-k", size]).tuning.chunk_bytes();
        assert_eq!((chunks("1MB"), chunks("64MB"), chunks("4097")), (1_003_520, 64_000_000, 8192));
        assert_eq!(chunks("100"), 100);
    }

    #[test]
    fn the_last_of_repeated_options_counts() {
        let tool =
            read(&["--json", "-k", "1M", "--json", "--chunksize=2M", "--progress=1", "-k3M"]);
        assert!(tool.common.json);
        assert_eq!(tool.tuning.chunk_bytes(), 3 << 20);
        // Those that add up go on doing so.
        let tool = read(&["-v", "--clean", "a", "-v", "--clean", "b"]);
        assert_eq!((tool.common.verbose, tool.clean), (2, vec!["a".to_owned(), "b".to_owned()]));
        for (words, expected) in
            [(&["-q", "-v", "-v"], (false, 2)), (&["-v", "-v", "-q"], (true, 0))]
        {
            let common = read(words).common;
            assert_eq!((common.quiet, common.verbose), expected, "{words:?}");
        }
    }
}
