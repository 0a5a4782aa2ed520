//! Regular expressions that select entries by path or name, as in mpiFileUtils: POSIX basic ones
//! (regex(7)).

use regex_automata::meta::Regex;
use regex_automata::util::syntax;
use serde::{Deserialize, Serialize};

use crate::path::escaped;

/// A selection by regular expressions, as data; by default all entries are selected.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MatchOptions {
    /// Expression that selected entries match.
    pub matching: Option<Vec<u8>>,
    /// Expression that selected entries do not match.
    pub excluded: Option<Vec<u8>>,
    /// True if the expressions are matched with names instead of whole paths.
    pub of_names: bool,
}

/// The compiled selection, ready for use by any thread.
#[derive(Debug)]
pub struct Matcher {
    matching: Option<Regex>,
    excluded: Option<Regex>,
    of_names: bool,
}

impl Matcher {
    /// Compiles the expressions.
    ///
    /// # Errors
    /// Fails for an invalid expression.
    pub fn new(options: &MatchOptions) -> Result<Self, RegexError> {
        let compiled = |text: &Option<Vec<u8>>| text.as_deref().map(compile).transpose();
        Ok(Self {
            matching: compiled(&options.matching)?,
            excluded: compiled(&options.excluded)?,
            of_names: options.of_names,
        })
    }

    /// True if all entries are selected.
    pub fn is_trivial(&self) -> bool {
        self.matching.is_none() && self.excluded.is_none()
    }

    /// True if the entry of that whole path is selected.
    pub fn means(&self, path: &[u8]) -> bool {
        let begin = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        let text = if self.of_names { &path[begin..] } else { path };
        let matches = |regex: &Regex| regex.is_match(text);
        self.matching.as_ref().is_none_or(matches) && !self.excluded.as_ref().is_some_and(matches)
    }
}

/// Expression that is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegexError {
    /// Bytes that are not UTF-8.
    #[error("\"{}\" is not UTF-8", escaped(.0))]
    NotUtf8(Vec<u8>),
    /// Text that is no expression.
    #[error("\"{}\" is no regular expression: {fault}", escaped(text))]
    Invalid {
        /// Expression as it was given.
        text: Vec<u8>,
        /// Fault of it.
        #[source]
        fault: RegexFault,
    },
}

/// Fault of an expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegexFault {
    /// Backslash without a character after it.
    #[error("it ends in a backslash")]
    Backslash,
    /// Reference to a group, such as `\1`.
    #[error("references to groups are not supported")]
    Reference,
    /// Bracket expression without its end.
    #[error("a [ is not closed")]
    OpenBracket,
    /// Collating symbol or equivalence class.
    #[error("[. .] and [= =] are not supported")]
    Collation,
    /// Fault in the words of the compiler.
    #[error("{0}")]
    Syntax(String),
}

/// Compiles a basic regular expression, over bytes.
///
/// # Errors
/// Returns why the expression is invalid.
pub fn compile(basic: &[u8]) -> Result<Regex, RegexError> {
    let invalid = |fault| RegexError::Invalid { text: basic.to_vec(), fault };
    let text = std::str::from_utf8(basic).map_err(|_| RegexError::NotUtf8(basic.to_vec()))?;
    let text = translated(text).map_err(invalid)?;
    let syntax = syntax::Config::new().unicode(false).utf8(false).dot_matches_new_line(true);
    Regex::builder().syntax(syntax).build(&text).map_err(|error| {
        let why = error.syntax_error().map_or_else(|| error.to_string(), ToString::to_string);
        let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
        invalid(RegexFault::Syntax(why.to_owned()))
    })
}

/// Characters that are literal in a basic expression, and that with a backslash have the meaning
/// that they have without one in extended expressions.
const SWAPPED: [char; 7] = ['(', ')', '{', '}', '|', '+', '?'];

/// Translates a basic expression to the syntax of the compiler.
fn translated(basic: &str) -> Result<String, RegexFault> {
    let (mut made, mut rest) = (String::new(), basic.chars().peekable());
    // A star at the beginning of an expression is literal.
    let mut begins = true;
    while let Some(next) = rest.next() {
        let was_at_begin = std::mem::take(&mut begins);
        match next {
            '\\' => match rest.next().ok_or(RegexFault::Backslash)? {
                swapped if SWAPPED.contains(&swapped) => {
                    made.push(swapped);
                    begins = matches!(swapped, '(' | '|');
                }
                '1'..='9' => return Err(RegexFault::Reference),
                sign @ ('w' | 'W' | 's' | 'S' | 'b' | 'B' | '<' | '>') => {
                    made.push_str(match sign {
                        '<' => r"\b{start}",
                        '>' => r"\b{end}",
                        _ => "\\",
                    });
                    made.extend(Some(sign).filter(char::is_ascii_alphabetic));
                }
                plain => push_plain(plain, &mut made),
            },
            '[' => bracket(&mut rest, &mut made)?,
            '*' if was_at_begin => made.push_str(r"\*"),
            '^' if !was_at_begin => made.push_str(r"\^"),
            '^' => {
                made.push('^');
                begins = true;
            }
            '$' if !ends(&mut rest.clone()) => made.push_str(r"\$"),
            '*' | '.' | '$' => made.push(next),
            plain => push_plain(plain, &mut made),
        }
    }
    Ok(made)
}

/// True if an expression, or an alternative or group of it, ends here.
fn ends(rest: &mut (impl Iterator<Item = char> + Clone)) -> bool {
    match rest.next() {
        None => true,
        Some('\\') => matches!(rest.next(), Some(')' | '|')),
        Some(_) => false,
    }
}

fn push_plain(plain: char, made: &mut String) {
    if plain.is_ascii_punctuation() {
        made.push('\\');
    }
    made.push(plain);
}

/// Translates a bracket expression, in which apart from classes only `]`, `-` and `^` are special.
fn bracket(
    rest: &mut std::iter::Peekable<std::str::Chars<'_>>,
    made: &mut String,
) -> Result<(), RegexFault> {
    made.push('[');
    if rest.next_if_eq(&'^').is_some() {
        made.push('^');
    }
    let mut is_first = true;
    loop {
        match rest.next().ok_or(RegexFault::OpenBracket)? {
            ']' if !is_first => break,
            '[' if rest.peek() == Some(&':') => {
                made.push('[');
                loop {
                    let next = rest.next().ok_or(RegexFault::OpenBracket)?;
                    made.push(next);
                    if next == ':' && rest.next_if_eq(&']').is_some() {
                        break;
                    }
                }
                made.push(']');
            }
            '[' if matches!(rest.peek(), Some('.' | '=')) => {
                return Err(RegexFault::Collation);
            }
            '-' if !is_first && rest.peek() != Some(&']') => made.push('-'),
            plain => push_plain(plain, made),
        }
        is_first = false;
    }
    made.push(']');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_mean_what_regexec_says() {
        // Each result was checked with `grep -G`, which has the syntax of regcomp(3).
        let table: [(&str, &[&str], &[&str]); 15] = [
            (r"\.core$", &["/a/x.core"], &["x.core/a", "xcore"]),
            (".core$", &["/a/xycore"], &["core"]),
            ("file_.*", &["/a/file_", "/file_1/b"], &["/a/file"]),
            ("^foo$", &["foo"], &["/foo", "foo/"]),
            ("a+", &["a+"], &["aa"]),
            (r"a\+b", &["aaab"], &["b"]),
            (r"\(ab\)*c", &["c", "abc"], &["d"]),
            ("(ab)", &["(ab)"], &["ab"]),
            (r"x\|y", &["x", "y"], &["z"]),
            ("*a", &["*a"], &["a"]),
            ("a^b$c", &["a^b$c"], &["ab"]),
            ("[]x]", &["]", "x"], &["y"]),
            (r"[\n-]", &["\\", "n", "-"], &["\n"]),
            ("[^[:digit:]]", &["a"], &["12"]),
            (r"^a\{2\}$", &["aa"], &["a", "aaa"]),
        ];
        for (basic, matching, others) in table {
            let regex = compile(basic.as_bytes()).unwrap();
            for text in matching {
                assert!(regex.is_match(text), "{basic} on {text}");
            }
            for text in others {
                assert!(!regex.is_match(text), "{basic} on {text}");
            }
        }
        for wrong in ["[a", "a\\", r"\(a", r"\(a\)\1", "[[.a.]]"] {
            let why = compile(wrong.as_bytes()).unwrap_err().to_string();
            assert!(why.contains("is no regular expression") && !why.contains('\n'), "{why}");
        }
    }

    #[test]
    fn paths_or_names_are_meant() {
        let of = |matching: Option<&str>, excluded: Option<&str>, of_names| {
            let bytes = |text: Option<&str>| text.map(|text| text.as_bytes().to_vec());
            let (matching, excluded) = (bytes(matching), bytes(excluded));
            Matcher::new(&MatchOptions { matching, excluded, of_names }).unwrap()
        };
        assert!(of(Some("^/a/"), None, false).means(b"/a/b"));
        assert!(!of(Some("^/a/"), None, true).means(b"/a/b"));
        assert!(of(Some("^b$"), None, true).means(b"/a/b"));
        assert!(!of(Some("b"), Some("a"), false).means(b"/a/b"));
        assert!(of(None, Some("a"), true).means(b"/a/b\xff"));
    }
}
