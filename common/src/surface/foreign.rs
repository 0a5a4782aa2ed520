//! Options of other movers that people type by habit: those that ask for what is done anyway are
//! accepted, and for others an error says what to write instead.

mod advice;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

/// Value of an option that changes nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Value {
    None,
    /// Value after `=` only: the option takes none in another tool.
    Optional,
    Required,
}

/// An option that changes nothing here.
struct Idle {
    /// Tools that have it; none: all.
    tools: &'static [&'static str],
    short: Option<char>,
    long: &'static str,
    value: Value,
    /// Why it changes nothing.
    why: &'static str,
}

impl Idle {
    const fn of(&self, tools: &'static [&'static str]) -> Self {
        Self { tools, ..*self }
    }

    const fn short(&self, short: char) -> Self {
        Self { short: Some(short), ..*self }
    }

    /// Identifier that no field of a tool's arguments has.
    fn id(&self) -> String {
        format!("idle-{}", self.long)
    }
}

const fn flag(long: &'static str, why: &'static str) -> Idle {
    Idle { tools: &[], short: None, long, value: Value::None, why }
}

const fn optional(long: &'static str, why: &'static str) -> Idle {
    Idle { tools: &[], short: None, long, value: Value::Optional, why }
}

const fn value(long: &'static str, why: &'static str) -> Idle {
    Idle { tools: &[], short: None, long, value: Value::Required, why }
}

const OWN_PARALLELISM: &str = "the number of ranks and --threads set the parallelism";
const OWN_RETRIES: &str = "temporary errors are retried until --give-up-after";
const ALL_KEPT: &str = "dsync preserves all attributes, except those of --no-preserve";
const DFUSE: &str = "DAOS is reached through dfuse or libpil4dfs";

const OWN_SERVICE: &str = "the client adapts to what the service can do";
const NO_DELTA: &str = "a file that differs is copied whole, so that no parts are compared";
const OWN_COMPRESSION: &str = "-z compresses with zstd what gets smaller by it";
const OWN_PROTOCOL: &str = "no remote shell and no rsync on another host takes part";
const OWN_OUTPUT: &str = "--progress, -v and --json select what is printed";

/// Options of cp, rsync, rclone, s5cmd, aws and mpiFileUtils.
const IDLE: &[Idle] = &[
    flag("recursive", "directories are copied with all of their contents").short('r'),
    flag("links", "symbolic links are copied as links").short('l'),
    flag("no-follow-symlinks", "symbolic links are copied as links").of(&["dcp", "dsync"]),
    flag("whole-file", "a file that differs is copied whole").short('W'),
    value("compress-level", OWN_COMPRESSION),
    value("compress-choice", OWN_COMPRESSION),
    value("compress-threads", OWN_COMPRESSION),
    value("skip-compress", OWN_COMPRESSION),
    optional("stats", "the summary is always printed"),
    value("stats-unit", OWN_OUTPUT),
    flag("stats-one-line", OWN_OUTPUT),
    flag("human-readable", "sizes are always printed with units, with -h, too"),
    flag("partial", "--resume uses what an interrupted job has copied"),
    value("partial-dir", "--resume uses what an interrupted job has copied"),
    flag("fast-list", "listings use as few requests as they can"),
    flag("create-empty-src-dirs", "empty directories are copied"),
    flag("inc-recursive", "listing and copying always overlap"),
    flag("no-inc-recursive", "listing and copying always overlap"),
    flag("no-traverse", "only directories that the source has are listed in the target"),
    flag("implied-dirs", "directories above named entries are copied with their attributes"),
    flag("8-bit-output", "names are printed as they are, with control characters escaped"),
    flag("no-motd", OWN_PROTOCOL),
    flag("secluded-args", OWN_PROTOCOL),
    flag("protect-args", OWN_PROTOCOL),
    flag("old-args", OWN_PROTOCOL),
    flag("blocking-io", OWN_PROTOCOL),
    flag("fuzzy", NO_DELTA).short('y'),
    value("block-size", NO_DELTA),
    value("checksum-choice", "content is compared byte by byte"),
    value("checksum-seed", "content is compared byte by byte"),
    value("max-alloc", "memory does not grow with the number of files"),
    value("outbuf", OWN_OUTPUT),
    value("info", OWN_OUTPUT),
    flag("use-mmap", "buffers are allocated once for each thread"),
    value("buffer-size", "--bufsize sets the buffer of each thread"),
    value("transfers", OWN_PARALLELISM),
    value("checkers", OWN_PARALLELISM),
    value("multi-thread-streams", OWN_PARALLELISM),
    value("multi-thread-cutoff", "--chunksize sets the size of parts"),
    value("multi-thread-chunk-size", "--chunksize sets the size of parts"),
    value("multi-thread-write-buffer-size", "--bufsize sets the buffer of each thread"),
    value("streaming-upload-cutoff", "--s3-part-size sets the size of parts"),
    value("list-cutoff", "memory does not grow with the number of files"),
    flag("server-side-across-configs", "objects are copied by the service where it can")
        .of(&["dcp", "dsync"]),
    value("cli-read-timeout", OWN_RETRIES),
    value("cli-connect-timeout", OWN_RETRIES),
    value("color", OWN_OUTPUT),
    value("max-backlog", "a full queue slows the listing down"),
    value("order-by", "files are copied when they are found"),
    value("s3-upload-concurrency", OWN_PARALLELISM),
    value("s3-upload-cutoff", "--s3-part-size sets the size of parts"),
    value("s3-copy-cutoff", "--s3-part-size sets the size of parts"),
    value("s3-list-chunk", OWN_SERVICE),
    flag("s3-no-check-bucket", "buckets are not created"),
    flag("s3-no-head-object", "objects are looked at only where that is needed"),
    value("concurrency", OWN_PARALLELISM).of(&["dcp", "dsync"]),
    value("retries", OWN_RETRIES),
    value("retry-count", OWN_RETRIES),
    value("low-level-retries", OWN_RETRIES),
    value("retries-sleep", OWN_RETRIES),
    value("timeout", OWN_RETRIES),
    value("contimeout", OWN_RETRIES),
    value("batch-files", "memory does not grow with the number of files").short('b').of(&["dsync"]),
    flag("base", "entries that -o lists are counted in any case").short('b').of(&["dcmp"]),
    flag("lite", "an entry's attributes come with its name where that is cheaper")
        .short('l')
        .of(&["dwalk"]),
    flag("lite", "entries are looked at only where a filter asks for it").short('l').of(&["drm"]),
    flag("stat", "entries are looked at only where a filter asks for it").of(&["drm"]),
    flag("aggressive", "files are deleted while directories are read").of(&["drm"]),
    flag("no-atime", "a walk does not change access times").short('n').of(&["dwalk"]),
    value("debug", "-v prints more").short('d').of(&["dcp"]),
    flag("debug", "-v prints more").short('d').of(&["dsync", "dcmp"]),
    value("grouplock", "each part of a file is written by one rank").short('g').of(&["dcp"]),
    value("daos-api", DFUSE),
    flag("times", ALL_KEPT).short('t').of(&["dsync"]),
    flag("owner", ALL_KEPT).short('o').of(&["dsync"]),
    flag("group", ALL_KEPT).short('g').of(&["dsync"]),
    flag("perms", ALL_KEPT).of(&["dsync"]),
    flag("acls", ALL_KEPT).short('A').of(&["dsync"]),
    flag("metadata", ALL_KEPT).short('M').of(&["dsync"]),
];

/// Letters of rsync's and rclone's for options that have no letter in some tools.
const LETTERS: [(&str, char); 2] = [("filter", 'f'), ("from0", '0')];

/// The command with the options that change nothing, but for those whose name means something to
/// it.
pub fn accepted(command: Command) -> Command {
    let command = LETTERS.into_iter().fold(command, with_letter);
    let name = command.get_name().to_owned();
    let is_meant = |idle: &&Idle| idle.tools.is_empty() || idle.tools.contains(&&name[..]);
    // A tool's own come first: they have the short name where both would.
    let (of_all, of_one): (Vec<_>, Vec<_>) =
        IDLE.iter().filter(is_meant).partition(|idle| idle.tools.is_empty());
    let command = of_one.into_iter().chain(of_all).fold(command, with);
    if copies(&command) { command } else { command.mut_args(with_capital) }
}

/// Adds the letter of ls(1) and rm(1) to the option of cp(1), where rsync(1) does not give it
/// another sense.
fn with_capital(arg: Arg) -> Arg {
    if arg.get_long() == Some("recursive") { arg.short_alias('R') } else { arg }
}

/// Returns whether a tool copies.
fn copies(command: &Command) -> bool {
    command.get_arguments().any(|arg| arg.get_long() == Some("preserve"))
}

fn with_letter(command: Command, (long, letter): (&str, char)) -> Command {
    let is_taken = command.get_arguments().any(|arg| arg.get_short() == Some(letter));
    let is_there = command.get_arguments().any(|arg| arg.get_long() == Some(long));
    if is_taken || !is_there {
        return command;
    }
    command.mut_args(|arg| if arg.get_long() == Some(long) { arg.short(letter) } else { arg })
}

fn with(command: Command, idle: &Idle) -> Command {
    let is_long_taken = command.get_arguments().any(|arg| {
        let aliases = arg.get_all_aliases().unwrap_or_default();
        arg.get_long() == Some(idle.long) || aliases.contains(&idle.long)
    });
    if is_long_taken {
        return command;
    }
    let arg = Arg::new(idle.id()).long(idle.long).hide(true);
    let arg = match idle.value {
        Value::None => arg.action(ArgAction::SetTrue),
        Value::Optional => arg.num_args(0..=1).require_equals(true),
        Value::Required => arg.action(ArgAction::Set),
    };
    let is_taken =
        |short: &char| command.get_arguments().any(|arg| arg.get_short() == Some(*short));
    match idle.short.filter(|short| !is_taken(short)) {
        Some(short) => command.arg(arg.short(short)),
        None => command.arg(arg),
    }
}

/// Lines about the options that were given and change nothing.
pub fn notes(matches: &ArgMatches) -> Vec<String> {
    let is_given = |idle: &&Idle| {
        let id = idle.id();
        let is_known = matches.ids().any(|known| known.as_str() == id);
        is_known && matches.value_source(&id) == Some(ValueSource::CommandLine)
    };
    let given = IDLE.iter().filter(is_given);
    given.map(|idle| format!("--{} changes nothing: {}", idle.long, idle.why)).collect()
}

/// Advice for an option that the tool `command` does not have.
pub fn instead(typed: &str, command: &Command) -> Option<String> {
    let name = typed.split('=').next().unwrap_or(typed);
    // Where a tool only reads, what is advised to those that copy is no answer.
    let why = advice::on(name, command.get_name(), copies(command))?;
    Some(format!("there is no option {name} here: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool() -> Command {
        accepted(Command::new("tool").arg(Arg::new("links").short('l').long("lite")))
    }

    #[test]
    fn what_changes_nothing_is_accepted_and_told() {
        let matches =
            tool().try_get_matches_from(["tool", "-r", "--transfers", "8", "--stats"]).unwrap();
        let notes = notes(&matches);
        assert_eq!(notes.len(), 3, "{notes:?}");
        assert!(notes[0].starts_with("--recursive changes nothing: directories"), "{notes:?}");
    }

    #[test]
    fn no_tool_is_given_a_name_twice() {
        for tool in ["dcp", "dsync", "dcmp", "dwalk", "drm"] {
            // Debug builds of the parser check that.
            let mut command = accepted(Command::new(tool));
            command.build();
        }
    }

    #[test]
    fn tools_that_copy_say_what_to_write_instead() {
        let copies = Command::new("dcp").arg(Arg::new("preserve").long("preserve"));
        let why = instead("--delete-empty-src-dirs", &copies).unwrap();
        assert!(
            why.contains("--delete-empty-src-dirs") && why.contains("--remove-source"),
            "{why}"
        );
        assert!(instead("--backup=1M", &copies).is_some());
        assert_eq!(instead("--unheard-of", &copies), None);
        let why = instead("--delete", &Command::new("dwalk")).unwrap();
        assert!(why.contains("dcp and dsync"), "{why}");
    }
}
