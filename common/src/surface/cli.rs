//! Command-line options that all tools share, and how any command line is read.

use clap::{Args, Command};
use serde::{Deserialize, Serialize};

use crate::base::limits;

/// Options that all tools have.
#[derive(Debug, Clone, PartialEq, Eq, Args, Serialize, Deserialize)]
#[command(next_help_heading = "Output")]
pub struct CommonArgs {
    /// Say only what went wrong
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,

    /// Say more: what each rank did; twice: log messages
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,

    /// Seconds between two lines of progress; 0 for none
    #[arg(
        long,
        value_name = "N",
        default_value_t = 10,
        value_parser = clap::value_parser!(u64).range(..=31_536_000)
    )]
    pub progress: u64,

    /// Print events and summary to standard output as JSON, one object a line
    #[arg(long)]
    pub json: bool,

    /// I/O threads of each rank, at most
    #[arg(
        long,
        value_name = "N",
        default_value_t = limits::THREADS,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(limits::THREADS_MAX)),
        help_heading = "Tuning"
    )]
    pub threads: u32,
}

/// What became of a command line.
#[derive(Debug)]
pub enum Parsed<A> {
    /// Arguments to work with.
    Args(A),
    /// Help or version was asked for: text for standard output.
    Answer(String),
    /// It makes no sense: text for standard error.
    Refusal(String),
}

/// Reads a command line. Every option can also be given by the environment: `DCP_CHUNKSIZE` for
/// `--chunksize` of dcp.
pub fn parse<A: clap::FromArgMatches + clap::CommandFactory>(
    arguments: Vec<std::ffi::OsString>,
    version: &str,
) -> Parsed<A> {
    let command = with_environment(A::command()).version(version.to_owned());
    let parsed =
        command.try_get_matches_from(arguments).and_then(|matches| A::from_arg_matches(&matches));
    match parsed {
        Ok(args) => Parsed::Args(args),
        Err(error) if error.use_stderr() => Parsed::Refusal(error.render().to_string()),
        Err(answer) => Parsed::Answer(answer.render().to_string()),
    }
}

fn with_environment(command: Command) -> Command {
    let tool = command.get_name().to_uppercase();
    command.mut_args(|arg| match arg.get_long() {
        Some("help" | "version") | None => arg,
        Some(long) => {
            let variable = format!("{tool}_{}", long.to_uppercase().replace('-', "_"));
            arg.env(variable).hide_env_values(true)
        }
    })
}
