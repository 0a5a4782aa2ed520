//! Options by the environment: a variable for each, blamed where its value is wrong, and missed
//! where it is misspelt.

use clap::builder::BoolishValueParser;
use clap::{Arg, ArgAction, Command};

/// Lets the environment give each option, except by one variable. The help says so once, not with
/// each option.
pub fn read(command: Command, except: Option<&str>) -> Command {
    let tool = command.get_name().to_uppercase();
    command.mut_args(|arg| match arg.get_long() {
        Some("help" | "version") | None => arg,
        Some(long) => {
            let variable = format!("{tool}_{}", long.to_uppercase().replace('-', "_"));
            let arg = with_words_for_booleans(arg);
            if except == Some(&variable) { arg } else { arg.env(variable).hide_env(true) }
        }
    })
}

/// A flag that is given by a variable may be `1`, `yes`, `true` or `on`, or their contraries.
fn with_words_for_booleans(arg: Arg) -> Arg {
    match arg.get_action() {
        ArgAction::SetTrue => arg.value_parser(BoolishValueParser::new()),
        _ => arg,
    }
}

/// Options of which the last one counts.
const CONTRARIES: [&str; 2] = ["quiet", "verbose"];

/// Returns the variables that are set for such options: the contrary on the command line counts.
pub fn overruled(command: &Command) -> impl Iterator<Item = &str> {
    let is_one = |arg: &&Arg| CONTRARIES.iter().any(|option| arg.get_id() == option);
    let variables = command.get_arguments().filter(is_one);
    variables
        .filter_map(|arg| arg.get_env()?.to_str())
        .filter(|variable| std::env::var_os(variable).is_some())
}

fn variables(command: &Command) -> impl Iterator<Item = &str> {
    command.get_arguments().filter_map(|arg| arg.get_env()?.to_str())
}

/// Returns the text of an error, with the variable that is to blame for it: the one without which
/// there is no error, or another. `without` returns that error.
pub fn blamed(text: &str, command: &Command, without: impl Fn(&str) -> Option<String>) -> String {
    let is_to_blame = |variable: &&str| {
        std::env::var_os(variable).is_some() && without(variable).as_deref() != Some(text)
    };
    match variables(command).find(is_to_blame) {
        Some(variable) => {
            let text = text.strip_prefix("error: ").unwrap_or(text);
            format!("environment variable {variable}: {text}")
        }
        None => text.to_owned(),
    }
}

/// Similarity from which a name is taken for a known one that is misspelt. What is less similar
/// belongs to somebody else: `DCP_ROOT` may be where a site has installed dcp.
const SIMILAR: f64 = 0.7;

/// Returns a warning for each variable of the environment that is nearly one of the tool's.
pub fn misspelt(command: &Command) -> Vec<String> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    names.filter_map(|name| warning(&name, command)).collect()
}

fn warning(name: &str, command: &Command) -> Option<String> {
    let prefix = format!("{}_", command.get_name().to_uppercase());
    let given = name.strip_prefix(&prefix)?;
    let similarity = |known: &str| {
        let known = known.strip_prefix(&prefix).unwrap_or(known);
        strsim::normalized_damerau_levenshtein(known, given)
    };
    let known = variables(command);
    let nearest = known.max_by(|one, other| similarity(one).total_cmp(&similarity(other)))?;
    (nearest != name && similarity(nearest) >= SIMILAR)
        .then(|| format!("environment variable {name} is unknown and ignored; {nearest} exists"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool() -> Command {
        let flag = Arg::new("dry-run").long("dry-run").action(ArgAction::SetTrue);
        read(Command::new("tool").arg(Arg::new("chunksize").long("chunksize")).arg(flag), None)
    }

    #[test]
    fn names_that_are_nearly_known_are_misspelt() {
        for (name, nearest) in [
            ("TOOL_CHUNKSIZ", Some("TOOL_CHUNKSIZE")),
            ("TOOL_CHUNK_SIZE", Some("TOOL_CHUNKSIZE")),
            ("TOOL_DRYRUN", Some("TOOL_DRY_RUN")),
            ("TOOL_DRY_RUN", None),
            ("TOOL_ROOT", None),
            ("OTHER_CHUNKSIZ", None),
        ] {
            let warned = warning(name, &tool());
            assert_eq!(warned.is_some(), nearest.is_some(), "{name}: {warned:?}");
            assert!(warned.unwrap_or_default().contains(nearest.unwrap_or_default()));
        }
    }
}
