//! Options of other movers that people type by habit: those that ask for what is done anyway are accepted,
//! and for others an error says what to write instead.

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

/// An option that changes nothing here.
struct Idle {
    short: Option<char>,
    long: &'static str,
    takes_value: bool,
    /// Why it changes nothing.
    why: &'static str,
}

impl Idle {
    /// Another name than any field of a tool's arguments has.
    fn id(&self) -> String {
        format!("idle-{}", self.long)
    }
}

const fn flag(short: char, long: &'static str, why: &'static str) -> Idle {
    Idle { short: Some(short), long, takes_value: false, why }
}

const fn long_flag(long: &'static str, why: &'static str) -> Idle {
    Idle { short: None, long, takes_value: false, why }
}

const fn with_value(long: &'static str, why: &'static str) -> Idle {
    Idle { short: None, long, takes_value: true, why }
}

const OWN_PARALLELISM: &str = "ranks and --threads decide how much is done at a time";
const OWN_RETRIES: &str = "what fails for a while is tried again until --give-up-after";

/// Options of cp, rsync, rclone and mpiFileUtils.
const IDLE: &[Idle] = &[
    flag('r', "recursive", "directories are copied with all that is in them"),
    flag('l', "links", "symbolic links are copied as links"),
    flag('W', "whole-file", "a file that differs is copied as a whole"),
    flag('z', "compress", "content is not compressed on its way"),
    long_flag("stats", "the summary is always printed"),
    long_flag("human-readable", "sizes are always printed with units"),
    long_flag("partial", "what a stopped job has copied is used by --resume"),
    long_flag("fast-list", "listings use as few requests as they can"),
    long_flag("create-empty-src-dirs", "empty directories are copied"),
    Idle {
        short: Some('b'),
        long: "batch-files",
        takes_value: true,
        why: "memory does not grow with the number of files",
    },
    with_value("info", "--progress and -v say what is printed"),
    with_value("transfers", OWN_PARALLELISM),
    with_value("checkers", OWN_PARALLELISM),
    with_value("multi-thread-streams", OWN_PARALLELISM),
    with_value("s3-upload-concurrency", OWN_PARALLELISM),
    with_value("retries", OWN_RETRIES),
    with_value("low-level-retries", OWN_RETRIES),
];

const IN_DSYNC: &str = "use dsync, which makes TARGET equal to SOURCE and has this option";
const NO_HOSTS: &str = "other hosts cannot be reached; mount their file system, or go through S3";
const NO_MOVE: &str = "sources are not removed; delete them when dcmp has found no difference";

/// What to do instead, by what was typed.
const INSTEAD: &[(&str, &str)] = &[
    ("--bwlimit", "there is no limit of the rate; start fewer ranks, or lower --threads"),
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
    ("--delete-after", "write --delete (-D), which deletes after everything was copied"),
    ("--delete-before", "write --delete (-D), which deletes after everything was copied"),
    ("--delete-during", "write --delete (-D), which deletes after everything was copied"),
    ("--delete-excluded", "what filters leave out is not deleted"),
    ("--delete-from", "name the paths to copy with --files-from"),
    ("--exclude-from", "write --exclude for each pattern"),
    ("--include-from", "write --include for each pattern"),
    ("--filter", "write --include and --exclude, of which the first that matches decides"),
    ("--filter-from", "write --include and --exclude, of which the first that matches decides"),
    ("--max-depth", "write --exclude '/*/*/*' for a depth of 2"),
    ("--backup", "nothing is kept of files that are replaced"),
    ("--relative", "name the paths with --files-from, below one SOURCE"),
    ("-R", "name the paths with --files-from, below one SOURCE"),
    ("--metadata", "write -p, which keeps all attributes"),
    ("-M", "write -p, which keeps all attributes"),
    ("-A", "access control lists are kept with -p"),
    ("-X", "extended attributes are kept with -p; --xattrs says which"),
    ("-S", "holes are kept; --sparse=always makes holes of blocks of zeros"),
    ("-o", "owners are kept with -p, or by --preserve=ownership"),
    ("-g", "groups are kept with -p, or by --preserve=ownership"),
    ("-t", "times are kept with -p, or by --preserve=timestamps"),
    ("--times", "times are kept with -p, or by --preserve=timestamps"),
    ("--owner", "owners are kept with -p, or by --preserve=ownership"),
    ("--group", "groups are kept with -p, or by --preserve=ownership"),
    ("--perms", "modes are kept with -p, or by --preserve=mode"),
    ("--acls", "access control lists are kept with -p"),
    ("--rsh", NO_HOSTS),
    ("-e", NO_HOSTS),
    ("--remove-source-files", NO_MOVE),
    ("--remove-source", NO_MOVE),
    ("--numworkers", OWN_PARALLELISM),
    ("--log-file", "write standard error to a file, or --json to standard output"),
];

/// The command with the options that change nothing, but for those whose name means something to it.
pub fn accepted(command: Command) -> Command {
    let is_free = |idle: &&Idle| {
        !command.get_arguments().any(|arg| {
            let longs = arg.get_long_and_visible_aliases().unwrap_or_default();
            longs.contains(&idle.long)
                || arg.get_all_aliases().is_some_and(|it| it.contains(&idle.long))
        })
    };
    let is_short_free =
        |short: &char| !command.get_arguments().any(|arg| arg.get_short() == Some(*short));
    let args: Vec<Arg> = IDLE
        .iter()
        .filter(is_free)
        .map(|idle| {
            let action = if idle.takes_value { ArgAction::Set } else { ArgAction::SetTrue };
            let arg = Arg::new(idle.id()).long(idle.long).action(action).hide(true);
            match idle.short.filter(is_short_free) {
                Some(short) => arg.short(short),
                None => arg,
            }
        })
        .collect();
    command.args(args)
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

/// What to write instead of an option that the tool `command` does not have.
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
    fn each_name_is_in_one_table_once() {
        let mut names: Vec<String> = IDLE.iter().map(|idle| format!("--{}", idle.long)).collect();
        names.extend(IDLE.iter().filter_map(|idle| idle.short).map(|short| format!("-{short}")));
        names.extend(INSTEAD.iter().map(|(name, _)| (*name).to_owned()));
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
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
