//! Options of other movers that people type by habit: those that ask for what is done anyway are accepted,
//! and for others an error says what to write instead.

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

/// An option that changes nothing here.
struct Idle {
    /// Tools that have it; none: all.
    tools: &'static [&'static str],
    short: Option<char>,
    long: &'static str,
    takes_value: bool,
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
    Idle { tools: &[], short: None, long, takes_value: false, why }
}

const fn value(long: &'static str, why: &'static str) -> Idle {
    Idle { tools: &[], short: None, long, takes_value: true, why }
}

const OWN_PARALLELISM: &str = "the number of ranks and --threads set the parallelism";
const OWN_RETRIES: &str = "temporary errors are retried until --give-up-after";
const ALL_KEPT: &str = "dsync preserves all attributes, except those of --no-preserve";
const DFUSE: &str = "DAOS is reached through dfuse or libpil4dfs";

/// Options of cp, rsync, rclone and mpiFileUtils.
const IDLE: &[Idle] = &[
    flag("recursive", "directories are copied with all of their contents").short('r'),
    flag("links", "symbolic links are copied as links").short('l'),
    flag("whole-file", "a file that differs is copied whole").short('W'),
    flag("compress", "content is not compressed for the transfer").short('z'),
    flag("stats", "the summary is always printed"),
    flag("human-readable", "sizes are always printed with units"),
    flag("partial", "--resume uses what an interrupted job has copied"),
    flag("fast-list", "listings use as few requests as they can"),
    flag("create-empty-src-dirs", "empty directories are copied"),
    value("info", "--progress and -v select what is printed"),
    value("transfers", OWN_PARALLELISM),
    value("checkers", OWN_PARALLELISM),
    value("multi-thread-streams", OWN_PARALLELISM),
    value("s3-upload-concurrency", OWN_PARALLELISM),
    value("retries", OWN_RETRIES),
    value("low-level-retries", OWN_RETRIES),
    value("batch-files", "memory does not grow with the number of files").short('b').of(&["dsync"]),
    flag("no-dereference", "symbolic links are copied as links").short('P').of(&["dsync"]),
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
];

const IN_DSYNC: &str = "use dsync, which makes TARGET equal to SOURCE and has this option";
const NO_HOSTS: &str = "other hosts cannot be reached; mount their file system, or go through S3";
const NO_MOVE: &str = "sources are not removed; delete them after dcmp has found no difference";

/// Advice by the option that was typed.
const INSTEAD: &[(&str, &str)] = &[
    ("--bwlimit", "the bandwidth cannot be limited; start fewer ranks, or lower --threads"),
    ("--checksum", IN_DSYNC),
    ("--delete", IN_DSYNC),
    ("--existing", IN_DSYNC),
    ("--ignore-existing", IN_DSYNC),
    ("--link-dest", IN_DSYNC),
    ("--size-only", IN_DSYNC),
    ("--update", IN_DSYNC),
    ("-D", IN_DSYNC),
    ("-c", IN_DSYNC),
    ("-u", IN_DSYNC),
    ("--delete-after", "write --delete (-D), which deletes after copying"),
    ("--delete-before", "write --delete (-D), which deletes after copying"),
    ("--delete-during", "write --delete (-D), which deletes after copying"),
    ("--delete-excluded", "excluded entries are not deleted"),
    ("--delete-from", "name the paths to copy with --files-from"),
    ("--exclude-from", "write --exclude for each pattern"),
    ("--include-from", "write --include for each pattern"),
    ("--filter", "write --include and --exclude, of which the first that matches decides"),
    ("--filter-from", "write --include and --exclude, of which the first that matches decides"),
    ("--max-depth", "write --exclude '/*/*/*' for a depth of 2"),
    ("--backup", "replaced files are not backed up"),
    ("--relative", "name the paths with --files-from, below one SOURCE"),
    ("-R", "name the paths with --files-from, below one SOURCE"),
    ("--metadata", "write -p, which preserves all attributes"),
    ("-M", "write -p, which preserves all attributes"),
    ("-A", "access control lists are preserved with -p"),
    ("-o", "owners are preserved with -p, or by --preserve=ownership"),
    ("-g", "groups are preserved with -p, or by --preserve=ownership"),
    ("-t", "timestamps are preserved with -p, or by --preserve=timestamps"),
    ("--times", "timestamps are preserved with -p, or by --preserve=timestamps"),
    ("--owner", "owners are preserved with -p, or by --preserve=ownership"),
    ("--group", "groups are preserved with -p, or by --preserve=ownership"),
    ("--perms", "modes are preserved with -p, or by --preserve=mode"),
    ("--acls", "access control lists are preserved with -p"),
    ("--dereference", "symbolic links are mirrored as links; dcp -L follows them"),
    ("-L", "symbolic links are mirrored as links; dcp -L follows them"),
    ("--daos-preserve", "DAOS's own properties of a container are not copied"),
    ("--rsh", NO_HOSTS),
    ("-e", NO_HOSTS),
    ("--remove-source-files", NO_MOVE),
    ("--remove-source", NO_MOVE),
    ("--numworkers", OWN_PARALLELISM),
];

/// The command with the options that change nothing, but for those whose name means something to it.
pub fn accepted(command: Command) -> Command {
    let name = command.get_name().to_owned();
    let is_meant = |idle: &&Idle| idle.tools.is_empty() || idle.tools.contains(&&name[..]);
    // A tool's own come first: they have the short name where both would.
    let (of_all, of_one): (Vec<_>, Vec<_>) =
        IDLE.iter().filter(is_meant).partition(|idle| idle.tools.is_empty());
    of_one.into_iter().chain(of_all).fold(command, with)
}

fn with(command: Command, idle: &Idle) -> Command {
    let is_long_taken = command.get_arguments().any(|arg| {
        let aliases = arg.get_all_aliases().unwrap_or_default();
        arg.get_long() == Some(idle.long) || aliases.contains(&idle.long)
    });
    if is_long_taken {
        return command;
    }
    let action = if idle.takes_value { ArgAction::Set } else { ArgAction::SetTrue };
    let arg = Arg::new(idle.id()).long(idle.long).action(action).hide(true);
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
    let (_, why) = INSTEAD.iter().find(|(known, _)| *known == name)?;
    // Where a tool only reads, no other tool is the answer.
    let copies = command.get_arguments().any(|arg| arg.get_long() == Some("preserve"));
    copies.then(|| format!("there is no option {name} here: {why}"))
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
        let mut names: Vec<_> = INSTEAD.iter().map(|(name, _)| name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), INSTEAD.len());
    }

    #[test]
    fn tools_that_copy_say_what_to_write_instead() {
        let copies = Command::new("dcp").arg(Arg::new("preserve").long("preserve"));
        let why = instead("--remove-source-files", &copies).unwrap();
        assert!(why.contains("--remove-source-files") && why.contains("dcmp"), "{why}");
        assert!(instead("--bwlimit=1M", &copies).is_some());
        assert_eq!(instead("--unheard-of", &copies), None);
        assert_eq!(instead("--delete", &Command::new("dwalk")), None);
    }
}
