//! Patterns of `--include` and `--exclude`: their syntax, their meaning, and how they are checked.
//!
//! - `*` and `?` match anything but `/`, `?` exactly one byte; `**`, which is always a whole
//!   component, matches any number of components: between two others also none, so that `a/**/b`
//!   matches `a/b`, as for git and rclone, where rsync wants one or more; at the end at least one.
//! - `[a-z]` and `[[:lower:]]` match one ASCII character of the class, `[!a-z]` one byte that is
//!   not of it, never `/`; `{a,b}` matches either; `\` takes the next character literally.
//! - A pattern without `/` is one for the last component, at any depth. One with a `/` is one for
//!   the tail of the path, from the beginning of a component on. One that begins with `/` is one
//!   for the whole path below the root of the tree.
//! - A pattern that ends in `/` matches directories only.

use globset::{Glob, GlobBuilder};

use crate::path::escaped;

/// A checked pattern.
#[derive(Debug, Clone)]
pub struct Pattern {
    /// Matcher for the whole path of an entry below the root.
    pub glob: Glob,
    /// True where the pattern ended in `/`.
    pub directories_only: bool,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// Returns what is wrong with the pattern.
    pub fn parse(pattern: &[u8]) -> Result<Self, PatternError> {
        let text = std::str::from_utf8(pattern).map_err(|_| PatternFault::NotUtf8);
        text.and_then(compile).map_err(|fault| PatternError { pattern: pattern.to_vec(), fault })
    }
}

/// Pattern that is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot use the pattern \"{}\": {fault}", escaped(pattern))]
pub struct PatternError {
    pattern: Vec<u8>,
    #[source]
    fault: PatternFault,
}

/// Fault of a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum PatternFault {
    #[error("it is not UTF-8")]
    NotUtf8,
    #[error("a component is empty")]
    EmptyComponent,
    #[error("no path below the root has a component \"{0}\"")]
    DotComponent(String),
    #[error("\"**\" must stand alone between slashes, as in a/**/b")]
    MixedStars,
    #[error("write \"{0}/\" for the directory, and \"{0}/**\" for what is in it")]
    ThreeStars(String),
    #[error("unclosed character class; missing ']'")]
    OpenClass,
    #[error(
        "there is no class [:{0}:]; those of isalpha(3) are alnum, alpha, digit, upper, and so on"
    )]
    NoSuchClass(String),
    #[error("[{0}] is not ASCII; write alternatives as {{a,b}}")]
    ClassNotAscii(String),
    #[error("[{0}] would match \"/\", which no class does")]
    ClassWithSlash(String),
    #[error("{}", reason(.0))]
    Glob(#[from] globset::Error),
}

/// Returns the reason of a globbing error in one line.
pub fn reason(error: &globset::Error) -> String {
    let text = error.kind().to_string();
    text.lines().next().unwrap_or_default().to_owned()
}

fn compile(text: &str) -> Result<Pattern, PatternFault> {
    let (body, directories_only) = match text.strip_suffix('/') {
        Some(body) => (body, true),
        None => (text, false),
    };
    let anchored = body.strip_prefix('/');
    let body = anchored.unwrap_or(body);
    if let Some(directory) = body.strip_suffix("/***") {
        let slash = if anchored.is_some() { "/" } else { "" };
        return Err(PatternFault::ThreeStars(format!("{slash}{directory}")));
    }
    let classes_checked = translate_classes(body)?;
    body.split('/').try_for_each(check_component)?;
    let whole = if anchored.is_some() || body.starts_with("**") {
        classes_checked
    } else {
        format!("**/{classes_checked}")
    };
    let glob = GlobBuilder::new(&whole)
        .literal_separator(true)
        .backslash_escape(true)
        .empty_alternates(true)
        .build()?;
    Ok(Pattern { glob, directories_only })
}

/// Refuses components that no path has, and `**` where it would silently mean `*`.
fn check_component(component: &str) -> Result<(), PatternFault> {
    match component {
        "" => Err(PatternFault::EmptyComponent),
        "." | ".." => Err(PatternFault::DotComponent(component.to_owned())),
        "**" => Ok(()),
        mixed if mixed.contains("**") => Err(PatternFault::MixedStars),
        _ => Ok(()),
    }
}

/// Rewrites classes so that none matches `/`, which a negated one would.
fn translate_classes(text: &str) -> Result<String, PatternFault> {
    let mut translated = String::with_capacity(text.len() + 1);
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        translated.push(character);
        match character {
            '\\' => translated.extend(rest.next()),
            '[' => {
                let (class, length) = translate_class(rest.as_str())?;
                translated.push_str(&class);
                rest = rest.as_str()[length..].chars();
            }
            _ => {}
        }
    }
    Ok(translated)
}

/// Rewrites the class at the beginning of `text`, which follows its `[`. Returns the class with its
/// `]`, and its number of bytes in `text`.
fn translate_class(text: &str) -> Result<(String, usize), PatternFault> {
    let negation = usize::from(text.starts_with(['!', '^']));
    let (members, length) = members_of(&text[negation..])?;
    let class = match (negation, members.starts_with([']', '-'])) {
        (0, _) => format!("{members}]"),
        // "]" and "-" mean themselves only where they come first.
        (_, true) => format!("!{members}/]"),
        (_, false) => format!("!/{members}]"),
    };
    Ok((class, negation + length))
}

/// Returns the members of a class up to its `]`, named ones such as `[:digit:]` as ranges, and the
/// number of bytes with that `]`.
fn members_of(text: &str) -> Result<(String, usize), PatternFault> {
    let (mut members, mut at) = (String::new(), 0);
    loop {
        let rest = &text[at..];
        let next = rest.chars().next().ok_or(PatternFault::OpenClass)?;
        if let Some((name, _)) = rest.strip_prefix("[:").and_then(|rest| rest.split_once(":]")) {
            members.push_str(named_members(name)?);
            at += name.len() + "[::]".len();
        } else if next == ']' && at > 0 {
            // As a whole: a "-" beside a named class makes a range with its members.
            check_class(&members)?;
            return Ok((members, at + 1));
        } else {
            // A "]" that comes first stands for itself.
            members.push(next);
            at += next.len_utf8();
        }
    }
}

/// Returns the ASCII characters of a class of isalpha(3), without `/`, and with none first that
/// means something else there.
fn named_members(name: &str) -> Result<&'static str, PatternFault> {
    Ok(match name {
        "alnum" => "0-9A-Za-z",
        "alpha" => "A-Za-z",
        "blank" => " \t",
        "cntrl" => "\x00-\x1f\x7f",
        "digit" => "0-9",
        "graph" => "\"-.0-~!",
        "lower" => "a-z",
        "print" => " -.0-~",
        "punct" => "\"-.:-@[-`{-~!",
        "space" => "\t-\r ",
        "upper" => "A-Z",
        "xdigit" => "0-9A-Fa-f",
        other => return Err(PatternFault::NoSuchClass(other.to_owned())),
    })
}

fn check_class(members: &str) -> Result<(), PatternFault> {
    if !members.is_ascii() {
        // Paths are matched byte by byte, and these characters are several bytes.
        return Err(PatternFault::ClassNotAscii(members.to_owned()));
    }
    let crosses = |range: &[u8]| range[1] == b'-' && range[0] <= b'/' && b'/' <= range[2];
    if members.contains('/') || members.as_bytes().windows(3).any(crosses) {
        return Err(PatternFault::ClassWithSlash(members.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn matches(pattern: &str, path: &[u8]) -> bool {
        let pattern = Pattern::parse(pattern.as_bytes()).unwrap();
        pattern.glob.compile_matcher().is_match_candidate(&globset::Candidate::from_bytes(path))
    }

    #[track_caller]
    fn check(pattern: &str, right: &[&str], wrong: &[&str]) {
        for path in right {
            assert!(matches(pattern, path.as_bytes()), "{pattern} does not match {path}");
        }
        for path in wrong {
            assert!(!matches(pattern, path.as_bytes()), "{pattern} matches {path}");
        }
    }

    #[test]
    fn a_pattern_without_slash_is_for_the_last_component() {
        check("*.o", &["a.o", "x/y/a.o", ".o"], &["a.o/x", "a.c", "a.ox"]);
        check("core", &["core", "x/core"], &["core/x", "score", "cores"]);
        check("core.", &["core.", "x/core."], &["core"]);
        check("a?c", &["abc", "x/abc"], &["ac", "a/c", "abbc"]);
    }

    #[test]
    fn a_slash_inside_makes_it_a_tail_and_one_in_front_an_anchor() {
        check("a/b", &["a/b", "x/a/b", "x/y/a/b"], &["xa/b", "a/b/c", "a/x/b", "b"]);
        check("/a", &["a"], &["x/a", "a/b"]);
        check("/a/*.c", &["a/x.c"], &["x/a/x.c", "a/b/x.c"]);
        check("/*", &["a"], &["a/b"]);
    }

    #[test]
    fn two_stars_cross_slashes() {
        check("/a/**/b", &["a/b", "a/x/b", "a/x/y/b"], &["x/a/b", "ab", "a/xb"]);
        check("a/**", &["a/x", "a/x/y", "z/a/x"], &["a", "ba/x"]);
        check("**/a", &["a", "x/y/a"], &["a/x"]);
        check("/**/a", &["a", "x/y/a"], &["a/x"]);
        check("**", &["a", "x/y"], &[]);
        check("/**", &["a", "x/y"], &[]);
    }

    /// Matches components by the definition alone.
    fn by_definition(pattern: &[&str], path: &[&str]) -> bool {
        match (pattern.split_first(), path.split_first()) {
            (None, _) => path.is_empty(),
            // A trailing `**` wants something to match.
            (Some((&"**", [])), _) => !path.is_empty(),
            (Some((&"**", rest)), _) => {
                (0..=path.len()).any(|skipped| by_definition(rest, &path[skipped..]))
            }
            (Some(_), None) => false,
            (Some((component, rest)), Some((name, below))) => {
                (*component == "*" || component == name) && by_definition(rest, below)
            }
        }
    }

    #[test]
    fn two_stars_stand_for_any_number_of_components_wherever_they_are() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..1000 {
            let mut draw = |words: &[&'static str]| -> Vec<&'static str> {
                (0..random.usize(1..5)).map(|_| words[random.usize(..words.len())]).collect()
            };
            let (mut pattern, path) = (draw(&["a", "b", "*", "**", "**"]), draw(&["a", "b", "ab"]));
            let text = pattern.join("/");
            let (anchored, free) = (format!("/{text}"), text);
            let (joined, shown) = (path.join("/"), format!("{pattern:?} {path:?}"));
            assert_eq!(
                matches(&anchored, joined.as_bytes()),
                by_definition(&pattern, &path),
                "/{shown}"
            );
            pattern.insert(0, "**");
            assert_eq!(
                matches(&free, joined.as_bytes()),
                by_definition(&pattern, &path),
                "{shown}"
            );
        }
    }

    #[test]
    fn classes_alternatives_and_escapes() {
        check("[a-c]x", &["ax", "y/cx"], &["dx", "x"]);
        check("[]a]", &["]", "a"], &["b"]);
        check("{a,b*}.c", &["a.c", "bbb.c", "x/a.c"], &["c.c"]);
        check("{a/b,c}", &["a/b", "c", "x/a/b"], &["b", "a"]);
        check("a{,.gz}", &["a", "a.gz"], &["a.", "a.g"]);
        check("\\*\\[\\{", &["*[{"], &["a[{"]);
    }

    #[test]
    fn named_classes_are_those_of_the_library() {
        type IsOf = fn(u8) -> bool;
        let table: [(&str, IsOf); 12] = [
            ("alnum", |byte| byte.is_ascii_alphanumeric()),
            ("alpha", |byte| byte.is_ascii_alphabetic()),
            ("blank", |byte| matches!(byte, b' ' | b'\t')),
            ("cntrl", |byte| byte.is_ascii_control()),
            ("digit", |byte| byte.is_ascii_digit()),
            ("graph", |byte| byte.is_ascii_graphic()),
            ("lower", |byte| byte.is_ascii_lowercase()),
            ("print", |byte| byte.is_ascii_graphic() || byte == b' '),
            ("punct", |byte| byte.is_ascii_punctuation()),
            ("space", |byte| matches!(byte, b' ' | 0x09..=0x0d)),
            ("upper", |byte| byte.is_ascii_uppercase()),
            ("xdigit", |byte| byte.is_ascii_hexdigit()),
        ];
        for (name, is_of) in table {
            let [of, not_of] = [format!("[[:{name}:]]"), format!("[![:{name}:]]")];
            let with = format!("[_[:{name}:]\u{7f}]");
            for byte in (1..=255).filter(|byte| *byte != b'/') {
                assert_eq!(matches(&of, &[byte]), is_of(byte), "{of} {byte}");
                assert_eq!(matches(&not_of, &[byte]), !is_of(byte), "{not_of} {byte}");
                let is_with = is_of(byte) || matches!(byte, b'_' | 0x7f);
                assert_eq!(matches(&with, &[byte]), is_with, "{with} {byte}");
            }
            check(&format!("a{not_of}b"), &[], &["a/b"]);
            check(&format!("a{of}b"), &[], &["a/b"]);
        }
        check("[[:digit:][:upper:]]", &["1", "A"], &["a", ":", "[", "]"]);
        check("[[:digit:]-]", &["1", "-"], &["a"]);
    }

    #[test]
    fn no_class_matches_a_slash() {
        for pattern in ["a[!b]c", "a[^b]c", "a[!]]c", "a[!-]c", "a[!b-]c", "a[!-b]c", "a[!]b]c"] {
            check(pattern, &["axc", "a.c", "z/a0c"], &["a/c", "ac"]);
        }
        check("[!-b]", &["a", "c"], &["-", "b"]);
        check("[!]b]", &["a", "c"], &["]", "b"]);
        check("[!b-]", &["a", "c"], &["-", "b"]);
        check("[!a-c]", &["d", "-"], &["a", "b", "c"]);
    }

    #[test]
    fn paths_are_bytes_and_patterns_may_be_any_characters() {
        assert!(matches("*.c", b"\xff\xfe.c"));
        assert!(matches("a?c", b"x/a\xffc"));
        assert!(matches("a*", b"x\xff/a\n\xff"));
        assert!(matches("[!a]", b"\xff"));
        assert!(matches("ä*", "ä1".as_bytes()));
        assert!(!matches("ä*", b"\xc3"));
        assert!(matches("?", b"\xff"));
        assert!(matches("??", "ä".as_bytes()), "a byte each");
    }

    #[test]
    fn a_trailing_slash_is_noted_and_not_part_of_the_glob() {
        let pattern = Pattern::parse(b"a/b/").unwrap();
        assert!(pattern.directories_only);
        assert!(!Pattern::parse(b"a/b").unwrap().directories_only);
        check("a/b/", &["a/b", "x/a/b"], &["a/b/c"]);
        check("/a/", &["a"], &["x/a"]);
    }

    #[test]
    fn errors_name_the_pattern_and_the_reason() {
        let table: [(&[u8], &str); 22] = [
            (b"", "component is empty"),
            (b"/", "component is empty"),
            (b"a//b", "component is empty"),
            (b"a//", "component is empty"),
            (b"./a", "\".\""),
            (b"../a", "\"..\""),
            (b"a**", "\"**\" must stand alone"),
            (b"a/**b/c", "\"**\" must stand alone"),
            (b"***", "\"**\" must stand alone"),
            (b"/a/b/***", "write \"/a/b/\" for the directory, and \"/a/b/**\""),
            (b"[[:letter:]]", "no class [:letter:]"),
            (b"[[:alpha:]", "unclosed character class"),
            (b"[a[:digit:]", "unclosed character class"),
            (b"[a", "unclosed character class"),
            (b"[]", "unclosed character class"),
            (b"[!]", "unclosed character class"),
            (b"[z-a]", "invalid range"),
            (b"{a", "unclosed alternate group"),
            (b"a}", "unopened alternate group"),
            (b"a\\", "dangling '\\'"),
            (b"[+-9]", "would match \"/\""),
            (b"a\xff", "not UTF-8"),
        ];
        for (pattern, expected) in table {
            let why = Pattern::parse(pattern).unwrap_err().to_string();
            assert!(why.contains(expected), "{}: {why}", escaped(pattern));
            assert!(why.contains(&format!("\"{}\"", escaped(pattern))), "{why}");
            assert_eq!(why.lines().count(), 1);
        }
        assert!(Pattern::parse("[ä]".as_bytes()).unwrap_err().to_string().contains("ASCII"));
        for crossing in ["a[/]b", "a[[:graph:]-z]b", "a[+-[:digit:]]b"] {
            let why = Pattern::parse(crossing.as_bytes()).unwrap_err().to_string();
            assert!(why.contains("would match"), "{crossing}: {why}");
        }
    }
}
