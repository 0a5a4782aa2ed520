//! Letters that mean one thing to mpiFileUtils, as here, and another one to rsync(1): the words
//! around them show which one is meant.

use std::ffi::OsString;

use clap::Command;

use super::rule_files::is_rule;
use types::path::escaped;

/// Values of `-X` in mpiFileUtils.
const XATTRS: [&str; 4] = ["none", "all", "non-lustre", "user"];

/// Letters that only rsync(1) has beside `-D` for devices.
const OF_RSYNC: [char; 6] = ['r', 'l', 'p', 't', 'g', 'o'];

/// Words beside `-h` that are no options, from which on it stands in a whole command line.
const OPERANDS: usize = 2;

/// Returns the arguments with each `-X` that has no value replaced by a long option, as rsync(1)
/// means it, also where it is one of several letters; and without `-h` in a whole command line or
/// among other letters, where it asks for readable sizes, as all are.
///
/// # Errors
/// Fails for letters whose meanings contradict each other.
pub(super) fn read(arguments: Vec<OsString>, command: &Command) -> Result<Vec<OsString>, Misread> {
    let has_xattrs = command.get_arguments().any(|arg| arg.get_short() == Some('X'));
    let mut read = Vec::with_capacity(arguments.len());
    // The first word is the program.
    let is_operand = |word: &&OsString| !word.as_encoded_bytes().starts_with(b"-");
    let operands = arguments.iter().skip(1).filter(is_operand).count();
    let mut rest = arguments.into_iter().peekable();
    while let Some(argument) = rest.next() {
        if argument == "--" {
            read.push(argument);
            break;
        }
        let argument = match without_h(&argument, operands, command) {
            Some(others) if others == "-" => continue,
            Some(others) => others.into(),
            None => argument,
        };
        refuse_devices(&argument, command)?;
        refuse_force(&argument, rest.peek(), command)?;
        if has_xattrs && argument == "--xattrs" && !is_xattrs(rest.peek()) {
            read.push("--xattrs=visible".into());
            continue;
        }
        let without = has_xattrs.then(|| without_x(&argument, rest.peek(), command)).flatten();
        match without {
            None => read.push(argument),
            Some(others) => {
                read.extend((others != "-").then(|| others.into()));
                read.push("--xattrs=visible".into());
            }
        }
    }
    read.extend(rest);
    Ok(read)
}

/// Returns the letters without an `h` that does not ask for help; none where there is no such `h`.
fn without_h(argument: &OsString, operands: usize, command: &Command) -> Option<String> {
    let (before, after) = around('h', argument, command)?;
    let is_alone = before.is_empty() && after.is_empty();
    (!is_alone || operands >= OPERANDS).then(|| format!("-{before}{after}"))
}

/// Returns the letters without an `X` that has no value; none where there is no such `X`.
fn without_x(argument: &OsString, next: Option<&OsString>, command: &Command) -> Option<String> {
    let (before, after) = around('X', argument, command)?;
    let value = if after.is_empty() { next.and_then(|next| next.to_str()) } else { Some(after) };
    let is_value = value.is_some_and(|value| XATTRS.contains(&value.trim_start_matches('=')));
    (!is_value).then(|| format!("-{before}{after}"))
}

/// Returns the letters before and behind one; none where it is not there, or part of a value.
fn around<'a>(
    letter: char,
    argument: &'a OsString,
    command: &Command,
) -> Option<(&'a str, &'a str)> {
    let (before, after) = letters(argument)?.split_once(letter)?;
    before.chars().all(|letter| !takes_value(command, letter)).then_some((before, after))
}

fn is_xattrs(value: Option<&OsString>) -> bool {
    value.and_then(|value| value.to_str()).is_some_and(|value| XATTRS.contains(&value))
}

fn letters(argument: &OsString) -> Option<&str> {
    let letters = argument.to_str()?.strip_prefix('-')?;
    (!letters.starts_with('-')).then_some(letters)
}

fn takes_value(command: &Command, letter: char) -> bool {
    let found = command.get_arguments().find(|arg| arg.get_short() == Some(letter));
    // A value that needs `=` cannot be meant.
    found.is_none_or(|arg| arg.get_action().takes_values() && !arg.is_require_equals_set())
}

/// Refuses `-rlptgoD`, whose last letter means devices to rsync(1), where it deletes.
fn refuse_devices(argument: &OsString, command: &Command) -> Result<(), Misread> {
    let deletes = is_letter_of('D', "delete", command);
    let all = letters(argument).filter(|all| deletes && all.contains('D')).unwrap_or_default();
    let is_of_rsync = OF_RSYNC.iter().filter(|letter| all.contains(**letter)).count() > 1;
    if is_of_rsync { Err(Misread::Devices(all.to_owned())) } else { Ok(()) }
}

/// Refuses `-f` before what is no rule, as of cp(1) and rm(1).
fn refuse_force(
    argument: &OsString,
    next: Option<&OsString>,
    command: &Command,
) -> Result<(), Misread> {
    let around = around('f', argument, command).filter(|_| is_letter_of('f', "filter", command));
    let value =
        around.and_then(|(_, after)| if after.is_empty() { next?.to_str() } else { Some(after) });
    match value.map(|value| value.trim_start_matches('=')).filter(|value| !is_rule(value)) {
        Some(value) => Err(Misread::Force(value.to_owned())),
        None => Ok(()),
    }
}

fn is_letter_of(letter: char, long: &str, command: &Command) -> bool {
    command
        .get_arguments()
        .any(|arg| arg.get_short() == Some(letter) && arg.get_long() == Some(long))
}

/// Letters that would be read in another sense than they were typed in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Misread {
    /// Letters of rsync(1) among which `-D` means devices.
    #[error(
        "-D in \"-{0}\" would delete, where rsync's means devices; write -a for rsync's -rlptgoD, or \
         --delete"
    )]
    Devices(String),
    /// An operand behind `-f`.
    #[error(
        "-f is --filter here, and \"{}\" is no rule such as \"- GLOB\"; leave out the -f of cp and rm: \
         nobody is asked, and what is in the way is replaced",
        escaped(.0.as_bytes())
    )]
    Force(String),
}

#[cfg(test)]
mod tests {
    use clap::{Arg, ArgAction};

    use super::*;

    fn command() -> Command {
        let flag = |letter: char, name: &'static str| {
            Arg::new(name).short(letter).long(name).action(ArgAction::SetTrue)
        };
        Command::new("tool")
            .args([
                flag('a', "archive"),
                flag('H', "hard"),
                flag('v', "verbose"),
                flag('D', "delete"),
            ])
            .arg(Arg::new("preserve").short('p').num_args(0..=1).require_equals(true))
            .args([Arg::new("xattrs").short('X').long("xattrs"), Arg::new("k").short('k')])
            .arg(Arg::new("filter").short('f').long("filter"))
    }

    fn read_words(line: &str) -> Result<String, String> {
        let words = line.split(' ').map(OsString::from).collect();
        let read = read(words, &command()).map_err(|why| why.to_string())?;
        Ok(read.join(" ".as_ref()).into_string().unwrap())
    }

    #[test]
    fn x_without_a_value_is_rsyncs() {
        for (line, expected) in [
            ("tool -aHX s t", "tool -aH --xattrs=visible s t"),
            ("tool -aXv s t", "tool -av --xattrs=visible s t"),
            ("tool -X s t", "tool --xattrs=visible s t"),
            ("tool -aX all t", "tool -aX all t"),
            ("tool -Xuser t", "tool -Xuser t"),
            ("tool -X", "tool --xattrs=visible"),
            ("tool --xattrs s t", "tool --xattrs=visible s t"),
            ("tool --xattrs all t", "tool --xattrs all t"),
            ("tool -pX s", "tool -p --xattrs=visible s"),
            // The size of a chunk has that letter, and so have operands.
            ("tool -kX s -- -X", "tool -kX s -- -X"),
            ("tool --aX X", "tool --aX X"),
        ] {
            assert_eq!(read_words(line).as_deref(), Ok(expected), "{line}");
        }
    }

    #[test]
    fn h_beside_operands_or_letters_is_not_the_help() {
        for (line, expected) in [
            ("tool -avh s t", "tool -av s t"),
            ("tool -ah", "tool -a"),
            ("tool -h s t", "tool s t"),
            ("tool s t -h", "tool s t"),
            ("tool -h", "tool -h"),
            ("tool -h s", "tool -h s"),
            ("tool --delete -h", "tool --delete -h"),
            ("tool -kh s t", "tool -kh s t"),
            ("tool s t -- -h", "tool s t -- -h"),
        ] {
            assert_eq!(read_words(line).as_deref(), Ok(expected), "{line}");
        }
    }

    #[test]
    fn f_before_an_operand_is_not_taken_for_a_filter() {
        for line in ["tool -f t", "tool -af s t", "tool -fv s t", "tool -fa"] {
            let why = read_words(line).unwrap_err();
            assert!(why.contains("--filter") && why.contains("leave out the -f"), "{why}");
        }
        for line in
            ["tool -f -_a s", "tool -af+_a s", "tool -f=exclude_a s", "tool -kf s", "tool s -f"]
        {
            assert_eq!(read_words(line).as_deref(), Ok(line));
        }
    }

    #[test]
    fn d_among_letters_of_rsync_does_not_delete() {
        let why = read_words("tool -rlptgoD s t").unwrap_err();
        assert!(why.contains("-rlptgoD") && why.contains("--delete"), "{why}");
        for line in ["tool -aD s t", "tool -vD s", "tool -D s", "tool -nDp s"] {
            assert!(read_words(line).is_ok(), "{line}");
        }
    }
}
