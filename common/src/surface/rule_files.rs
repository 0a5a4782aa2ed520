//! Files of filter rules, as rsync(1) and rclone read them, and single rules of `--filter`.

use std::io::Read;

use types::limits::RULE_FILE_BYTES_MAX;
use types::path::escaped;
use types::select::filter::{Rule, Verdict};
use types::select::glob::{Pattern, PatternError};

/// Lines that a file or an option holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lines {
    /// Patterns, each of a rule with that verdict; a prefix `+ ` or `- ` changes it.
    Patterns(Verdict),
    /// Rules, each with a prefix.
    Rules,
}

/// Reason why a file has no rules.
#[derive(Debug, thiserror::Error)]
pub(super) enum RuleFileError {
    /// The file as a whole cannot be used.
    #[error("cannot read \"{}\": {fault}", escaped(path))]
    File { path: Vec<u8>, fault: FileFault },
    /// A line is no rule.
    #[error("line {number} of \"{}\": {source}", escaped(path))]
    Line { number: u32, path: Vec<u8>, source: RuleError },
}

/// Reason why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileFault {
    #[error(transparent)]
    System(#[from] std::io::Error),
    #[error("it is too large for a list of patterns")]
    TooLarge,
    #[error("it has NUL bytes; write one pattern a line")]
    Nul,
}

/// Reason why a line is no rule.
#[derive(Debug, thiserror::Error)]
pub(super) enum RuleError {
    /// A kind of rule that there is not.
    #[error("cannot use the rule \"{}\": expected \"- GLOB\" or \"+ GLOB\"", escaped(.0))]
    Kind(Vec<u8>),
    /// The pattern is invalid.
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

/// Reads the rules in a file, `-` for standard input.
///
/// # Errors
/// Returns the fault of the file, or of a line in it.
pub(super) fn read(path: &[u8], lines: Lines) -> Result<Vec<Rule>, RuleFileError> {
    let failed = |fault| RuleFileError::File { path: path.to_vec(), fault };
    let text = content(path).map_err(|error| failed(error.into()))?;
    if text.len() > RULE_FILE_BYTES_MAX {
        return Err(failed(FileFault::TooLarge));
    }
    if text.contains(&0) {
        return Err(failed(FileFault::Nul));
    }
    let mut rules = Vec::new();
    for (number, line) in (1..).zip(text.split(|byte| matches!(byte, b'\n' | b'\r'))) {
        let of_line = |source| RuleFileError::Line { number, path: path.to_vec(), source };
        add(&mut rules, line, lines).map_err(of_line)?;
    }
    Ok(rules)
}

fn content(path: &[u8]) -> std::io::Result<Vec<u8>> {
    use std::os::unix::ffi::OsStrExt;

    let most = RULE_FILE_BYTES_MAX as u64 + 1;
    let mut text = Vec::new();
    if path == b"-" {
        std::io::stdin().take(most).read_to_end(&mut text)?;
    } else {
        let file = std::fs::File::open(std::ffi::OsStr::from_bytes(path))?;
        file.take(most).read_to_end(&mut text)?;
    }
    Ok(text)
}

/// Adds the rule of a line; a comment or an empty line is none, and `!` removes those before it.
fn add(rules: &mut Vec<Rule>, line: &[u8], lines: Lines) -> Result<(), RuleError> {
    match line {
        [] | [b'#' | b';', ..] => {}
        b"!" => rules.clear(),
        line => rules.push(rule(line, lines)?),
    }
    Ok(())
}

/// Reads a rule.
///
/// # Errors
/// Fails for a kind of rule that there is not, and for an invalid pattern.
pub(super) fn rule(line: &[u8], lines: Lines) -> Result<Rule, RuleError> {
    let prefixed = prefixed(line, lines == Lines::Rules);
    let (pattern, verdict) = match (prefixed, lines) {
        (Some(prefixed), _) => prefixed,
        (None, Lines::Patterns(verdict)) => (line, verdict),
        (None, Lines::Rules) => return Err(RuleError::Kind(line.to_vec())),
    };
    Pattern::parse(pattern)?;
    Ok(Rule { verdict, pattern: pattern.to_vec() })
}

/// Returns whether a text is a rule of `--filter`, whatever its pattern.
pub(super) fn is_rule(text: &str) -> bool {
    prefixed(text.as_bytes(), true).is_some()
}

/// Returns pattern and verdict of a line with a prefix; lists of patterns have the short ones only,
/// before a space.
fn prefixed(line: &[u8], is_rule: bool) -> Option<(&[u8], Verdict)> {
    let words: [(&[u8], Verdict); 4] = [
        (b"-", Verdict::Exclude),
        (b"+", Verdict::Include),
        (b"exclude", Verdict::Exclude),
        (b"include", Verdict::Include),
    ];
    let known = if is_rule { words.len() } else { 2 };
    words[..known].iter().find_map(|(word, verdict)| match line.strip_prefix(*word)? {
        [b' ', pattern @ ..] => Some((pattern, *verdict)),
        [b'_', pattern @ ..] if is_rule => Some((pattern, *verdict)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str, lines: Lines) -> Result<Vec<Rule>, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        read(file.path().to_str().unwrap().as_bytes(), lines).map_err(|why| why.to_string())
    }

    #[test]
    fn lists_of_patterns_have_comments_and_prefixes() {
        let excludes = Lines::Patterns(Verdict::Exclude);
        let text = "# made by hand\n; so is this\n\n*.o\r\n+ keep.o\n- /tmp/\nwith space \n";
        let expected = [
            Rule::exclude("*.o"),
            Rule::include("keep.o"),
            Rule::exclude("/tmp/"),
            Rule::exclude("with space "),
        ];
        assert_eq!(read_text(text, excludes).unwrap(), expected);
        let includes = Lines::Patterns(Verdict::Include);
        assert_eq!(
            read_text("a\n- b", includes).unwrap(),
            [Rule::include("a"), Rule::exclude("b")]
        );
        assert_eq!(read_text("a\n!\nb\n", includes).unwrap(), [Rule::include("b")]);
        assert_eq!(read_text("", includes).unwrap(), []);
    }

    #[test]
    fn rules_have_a_prefix() {
        let text = "+ */\n+ *.c\n- *\ninclude x\nexclude y\n+_z\n";
        let read = read_text(text, Lines::Rules).unwrap();
        assert_eq!(read.len(), 6);
        assert_eq!((&read[0], &read[4]), (&Rule::include("*/"), &Rule::exclude("y")));
        for wrong in ["*.c", "-*.c", ": .rsync-filter", "P keep"] {
            let why = read_text(&format!("- a\n{wrong}\n"), Lines::Rules).unwrap_err();
            assert!(why.contains("line 2 of") && why.contains("- GLOB"), "{why}");
        }
    }

    #[test]
    fn what_is_no_list_is_an_error() {
        let excludes = Lines::Patterns(Verdict::Exclude);
        let why = read_text("a\0b", excludes).unwrap_err();
        assert!(why.contains("NUL"), "{why}");
        let why = read_text("a\n[b\n", excludes).unwrap_err();
        assert!(why.contains("line 2 of") && why.contains("unclosed"), "{why}");
        let why = read(b"/nowhere/at/all", excludes).unwrap_err().to_string();
        assert!(why.contains("/nowhere/at/all") && why.contains("No such file"), "{why}");
        let large = "a\n".repeat(RULE_FILE_BYTES_MAX / 2 + 1);
        assert!(read_text(&large, excludes).unwrap_err().contains("too large"));
    }
}
