//! Long options that are not written to their end, as getopt_long(3) reads them for the tools of
//! mpiFileUtils and of GNU.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use clap::{Arg, Command};

use super::foreign;

/// Options that the parser itself adds.
const OF_PARSER: [&str; 2] = ["help", "version"];

/// Beginnings of options that must be written in full: what deletes is not guessed.
const WRITTEN_IN_FULL: [&str; 3] = ["delete", "remove-source", "clean"];

/// Replaces each beginning of the name of one option by the whole name.
///
/// # Errors
/// Fails for the beginning of several options.
pub(super) fn expand(
    mut arguments: Vec<OsString>,
    command: &Command,
) -> Result<Vec<OsString>, Ambiguous> {
    let end = arguments.iter().position(|word| word == "--").unwrap_or(arguments.len());
    for argument in &mut arguments[..end] {
        let Some((name, value)) = split(argument) else { continue };
        if let Some(whole) = whole_name(name, command)? {
            let mut expanded = OsString::from(format!("--{whole}"));
            expanded.push(OsStr::from_bytes(value));
            *argument = expanded;
        }
    }
    Ok(arguments)
}

/// Returns the name of a long option, and the `=` and value behind it.
fn split(argument: &OsStr) -> Option<(&str, &[u8])> {
    let option = argument.as_bytes().strip_prefix(b"--")?;
    let end = option.iter().position(|byte| *byte == b'=').unwrap_or(option.len());
    let name = str::from_utf8(&option[..end]).ok().filter(|name| !name.is_empty())?;
    Some((name, &option[end..]))
}

/// Returns the only option that begins with a text; none where that is a name already, here or in
/// another tool. Options that help does not have are written in full.
fn whole_name(typed: &str, command: &Command) -> Result<Option<String>, Ambiguous> {
    let is_name = |arg: &Arg| names(arg).any(|name| name == typed);
    let is_known = command.get_arguments().any(is_name)
        || OF_PARSER.contains(&typed)
        || foreign::instead(&format!("--{typed}"), command).is_some();
    if is_known {
        return Ok(None);
    }
    let meant = |arg| names(arg).find(|name| name.starts_with(typed)).map(str::to_owned);
    let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
    let mut candidates: Vec<_> = shown.filter_map(meant).collect();
    let of_parser = OF_PARSER.into_iter().filter(|name| name.starts_with(typed));
    candidates.extend(of_parser.map(str::to_owned));
    if candidates.len() > 1 {
        return Err(Ambiguous { typed: typed.to_owned(), candidates });
    }
    let may_be_short = |name: &String| !WRITTEN_IN_FULL.iter().any(|it| name.starts_with(it));
    Ok(candidates.pop().filter(may_be_short))
}

/// Returns the long names of an option.
fn names(arg: &Arg) -> impl Iterator<Item = &str> {
    let aliases = arg.get_all_aliases().unwrap_or_default();
    arg.get_long().into_iter().chain(aliases)
}

/// Beginning of the names of several options.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "--{typed} is the beginning of several options: {}",
    candidates.iter().map(|name| format!("--{name}")).collect::<Vec<_>>().join(", ")
)]
pub(super) struct Ambiguous {
    typed: String,
    candidates: Vec<String>,
}

#[cfg(test)]
mod tests {
    use clap::ArgAction;

    use super::*;

    fn command() -> Command {
        let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
        Command::new("dsync")
            .args([flag("dry-run").alias("dryrun"), flag("delete"), flag("preserve")])
            .args([flag("progress"), flag("prune-empty-dirs"), flag("log-file-only")])
            .arg(flag("exclusive").hide(true))
            .arg(Arg::new("exclude").long("exclude"))
    }

    fn expanded(line: &str) -> Result<String, String> {
        let words = line.split(' ').map(OsString::from).collect();
        let expanded = expand(words, &command()).map_err(|why| why.to_string())?;
        Ok(expanded.join(" ".as_ref()).into_string().unwrap())
    }

    #[test]
    fn the_beginning_of_one_option_means_it() {
        for (line, expected) in [
            ("dsync --dry s t", "dsync --dry-run s t"),
            ("dsync --dryr s t", "dsync --dryrun s t"),
            ("dsync --excl=*.o s t", "dsync --exclude=*.o s t"),
            ("dsync --ex --dry s", "dsync --exclude --dry-run s"),
            ("dsync --vers", "dsync --version"),
            // Names, operands, and what is no option.
            ("dsync --preserve s -- --dry", "dsync --preserve s -- --dry"),
            ("dsync --unheard -d - s", "dsync --unheard -d - s"),
        ] {
            assert_eq!(expanded(line).as_deref(), Ok(expected), "{line}");
        }
    }

    #[test]
    fn options_that_delete_and_those_of_other_tools_are_not_guessed() {
        for line in ["dsync --dele s t", "dsync --del s t", "dsync --log s t"] {
            assert_eq!(expanded(line).as_deref(), Ok(line));
        }
    }

    #[test]
    fn the_beginning_of_several_options_names_them() {
        let why = expanded("dsync --pr s t").unwrap_err();
        assert_eq!(
            why,
            "--pr is the beginning of several options: --preserve, --progress, --prune-empty-dirs"
        );
    }

    #[test]
    fn names_that_are_not_utf8_are_left_alone() {
        let word = OsStr::from_bytes(b"--ex\xff").to_owned();
        assert_eq!(expand(vec![word.clone()], &command()), Ok(vec![word]));
        let [short, long] =
            [&b"--excl=\xff"[..], b"--exclude=\xff"].map(|word| OsStr::from_bytes(word).to_owned());
        assert_eq!(expand(vec![short], &command()), Ok(vec![long]));
    }
}
