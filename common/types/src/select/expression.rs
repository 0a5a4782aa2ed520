//! Expressions that pick compared entries, in the language of mpiFileUtils' dcmp.
//!
//! A condition is `FIELD=STATE`. `@` joins conditions that must all hold, `,` joins alternatives
//! and binds weaker: `EXIST=COMMON@TYPE=DIFFER,EXIST=ONLY_SRC`. Words are upper case, without
//! spaces. XATTR and LINK are fields that mpiFileUtils does not have.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::outcome::difference::{Fields, Findings, Presence};

const EXIST: &str = "EXIST";

/// Expression that selects compared entries: alternatives of conditions that must all hold.
///
/// Travels as its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Expression {
    alternatives: Vec<Vec<Condition>>,
}

/// One condition, `FIELD=STATE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Exist(Existence),
    /// One field that is to differ, or not to.
    Field(Fields, Likeness),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Existence {
    Both,
    OneSide,
    OnlySource,
    OnlyTarget,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Likeness {
    Common,
    Differ,
}

/// States of EXIST; those that no other field has come last.
const EXISTENCES: [(&str, Existence); 4] = [
    ("COMMON", Existence::Both),
    ("DIFFER", Existence::OneSide),
    ("ONLY_SRC", Existence::OnlySource),
    ("ONLY_DEST", Existence::OnlyTarget),
];

/// States of all other fields.
const LIKENESSES: [(&str, Likeness); 2] =
    [("COMMON", Likeness::Common), ("DIFFER", Likeness::Differ)];

/// A line of the summary that dcmp prints where no output is requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SummaryLine {
    /// Description of the counted entries, which follows [`CAPTION_PREFIX`].
    pub caption: &'static str,
    /// Expression that selects the counted entries.
    pub expression: &'static str,
}

/// Beginning of each line of the summary.
pub const CAPTION_PREFIX: &str = "Number of items that ";

/// The summary of mpiFileUtils' dcmp, in its words and order. A line of it ends in
/// `: N (Src: N Dest: N)`, or in `: N/A (Src: N Dest: M)` where the two sides count differently.
pub const SUMMARY: [SummaryLine; 6] = [
    SummaryLine { caption: "exist in both directories", expression: "EXIST=COMMON" },
    SummaryLine { caption: "exist only in one directory", expression: "EXIST=DIFFER" },
    SummaryLine {
        caption: "exist in both directories and have the same type",
        expression: "EXIST=COMMON@TYPE=COMMON",
    },
    SummaryLine {
        caption: "exist in both directories and have different types",
        expression: "EXIST=COMMON@TYPE=DIFFER",
    },
    SummaryLine {
        caption: "exist in both directories and have the same content",
        expression: "EXIST=COMMON@CONTENT=COMMON",
    },
    SummaryLine {
        caption: "exist in both directories and have different contents",
        expression: "EXIST=COMMON@CONTENT=DIFFER",
    },
];

impl Expression {
    /// Reads an expression. As in mpiFileUtils, words are upper case, and a `,` or `@` with
    /// nothing beside it is passed over; an alternative without any condition is refused.
    ///
    /// # Errors
    /// Returns the invalid word, and the valid ones.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        let alternatives: Vec<_> =
            text.split(',').filter(|part| !part.is_empty()).map(parse_alternative).collect();
        let alternatives = alternatives.into_iter().collect::<Result<Vec<_>, _>>()?;
        if alternatives.is_empty() {
            return Err(ExpressionError::Empty);
        }
        Ok(Self { alternatives })
    }

    /// Returns true where the expression holds for a path.
    ///
    /// As in mpiFileUtils: of a path that exists on one side only, nothing holds but EXIST=DIFFER
    /// and EXIST=ONLY_SRC or EXIST=ONLY_DEST; any other field is neither COMMON nor DIFFER there.
    pub fn holds(&self, findings: &Findings) -> bool {
        self.first_match(findings).is_some()
    }

    /// Returns the index of the first alternative that holds: mpiFileUtils counts an entry there.
    pub fn first_match(&self, findings: &Findings) -> Option<usize> {
        let holds = |conditions: &Vec<Condition>| {
            conditions.iter().all(|condition| condition.holds(*findings))
        };
        self.alternatives.iter().position(holds)
    }

    /// Returns the fields that must be compared before [`Expression::holds`] can be asked: those
    /// that the expression names and those they depend on. CONTENT depends on TYPE, SIZE and LINK;
    /// SIZE and LINK on TYPE.
    pub fn needs(&self) -> Fields {
        self.alternatives.iter().flatten().map(|condition| condition.needs()).collect()
    }

    /// Describes the entries of each alternative in mpiFileUtils' words, which follow
    /// [`CAPTION_PREFIX`]; one description per alternative, in order.
    pub fn captions(&self) -> Vec<String> {
        let caption = |conditions: &Vec<Condition>| {
            let words: Vec<_> = conditions.iter().map(|condition| condition.words()).collect();
            words.join(" and ")
        };
        self.alternatives.iter().map(caption).collect()
    }
}

/// Reads `EXPR:FILE` as `--output` takes it: the first `:` ends the expression, the file's name
/// may hold others. `None` where no file is named: the entries are only counted.
///
/// # Errors
/// The errors of [`Expression::parse`].
pub fn parse_output(text: &[u8]) -> Result<(Expression, Option<Vec<u8>>), ExpressionError> {
    let mut parts = text.splitn(2, |byte| *byte == b':');
    let expression = parts.next().unwrap_or_default();
    let file = parts.next().filter(|file| !file.is_empty());
    // Bytes that are not UTF-8 are in no right word, so the error names the word they are in.
    let expression = Expression::parse(&String::from_utf8_lossy(expression))?;
    Ok((expression, file.map(<[u8]>::to_vec)))
}

fn parse_alternative(text: &str) -> Result<Vec<Condition>, ExpressionError> {
    let conditions: Vec<_> =
        text.split('@').filter(|part| !part.is_empty()).map(Condition::parse).collect();
    if conditions.is_empty() {
        return Err(ExpressionError::NoCondition(text.to_owned()));
    }
    conditions.into_iter().collect()
}

impl Condition {
    fn parse(text: &str) -> Result<Self, ExpressionError> {
        let (field, state) = match text.split_once('=') {
            Some((field, state)) if !field.is_empty() && !state.is_empty() => (field, state),
            _ => return Err(ExpressionError::Condition(text.to_owned())),
        };
        if field == EXIST {
            return Ok(Self::Exist(parse_word("state of EXIST", state, &EXISTENCES)?));
        }
        let Some(named) = Fields::from_name(field) else {
            let right = [EXIST].into_iter().chain(Fields::ALL.names()).collect();
            return Err(InvalidWord::new("field", field, right).into());
        };
        if EXISTENCES[2..].iter().any(|(word, _)| *word == state) {
            return Err(ExpressionError::OfExist {
                condition: text.to_owned(),
                field: field.to_owned(),
                state: state.to_owned(),
            });
        }
        let likeness = parse_word(&format!("state of {field}"), state, &LIKENESSES)?;
        Ok(Self::Field(named, likeness))
    }

    fn holds(self, findings: Findings) -> bool {
        match self {
            Self::Exist(Existence::Both) => findings.presence == Presence::Both,
            Self::Exist(Existence::OneSide) => findings.presence != Presence::Both,
            Self::Exist(Existence::OnlySource) => findings.presence == Presence::OnlySource,
            Self::Exist(Existence::OnlyTarget) => findings.presence == Presence::OnlyTarget,
            Self::Field(field, likeness) => {
                findings.presence == Presence::Both
                    && findings.differs(field) == (likeness == Likeness::Differ)
            }
        }
    }

    fn needs(self) -> Fields {
        match self {
            Self::Exist(_) => Fields::NONE,
            Self::Field(Fields::CONTENT, _) => {
                Fields::CONTENT.union(Fields::TYPE).union(Fields::SIZE).union(Fields::LINK)
            }
            Self::Field(field @ (Fields::SIZE | Fields::LINK), _) => field.union(Fields::TYPE),
            Self::Field(field, _) => field,
        }
    }

    fn words(self) -> String {
        match self {
            Self::Exist(Existence::Both) => "exist in both directories".to_owned(),
            Self::Exist(Existence::OneSide) => "exist only in one directory".to_owned(),
            Self::Exist(Existence::OnlySource) => "exist only in source directory".to_owned(),
            Self::Exist(Existence::OnlyTarget) => "exist only in destination directory".to_owned(),
            Self::Field(field, Likeness::Common) => format!("have the same {}", field_words(field)),
            Self::Field(Fields::ACL, Likeness::Differ) => {
                format!("have different {}", field_words(Fields::ACL))
            }
            Self::Field(field, Likeness::Differ) => {
                format!("have different {}s", field_words(field))
            }
        }
    }
}

fn parse_word<T: Copy>(
    what: &str,
    word: &str,
    right: &[(&'static str, T)],
) -> Result<T, InvalidWord> {
    let found = right.iter().find(|(own, _)| *own == word).map(|(_, value)| *value);
    found.ok_or_else(|| InvalidWord::new(what, word, right.iter().map(|(own, _)| *own).collect()))
}

/// Reason why a text is no expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// Text without alternatives.
    #[error("the expression is empty; expected one such as EXIST=COMMON@TYPE=DIFFER")]
    Empty,
    /// Alternative without conditions.
    #[error("\"{0}\" has no condition; expected one such as EXIST=COMMON")]
    NoCondition(String),
    /// Condition without a field or a state.
    #[error("invalid condition \"{0}\"; expected one such as SIZE=DIFFER")]
    Condition(String),
    /// State that only EXIST has.
    #[error("\"{condition}\": {state} is a state of EXIST only; {field} takes COMMON, DIFFER")]
    OfExist {
        /// Condition.
        condition: String,
        /// Field of the condition.
        field: String,
        /// State of the field.
        state: String,
    },
    /// Field or state that does not exist.
    #[error(transparent)]
    Word(#[from] InvalidWord),
}

/// Field or state that does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidWord {
    what: String,
    word: String,
    right: Vec<&'static str>,
}

impl InvalidWord {
    fn new(what: &str, word: &str, right: Vec<&'static str>) -> Self {
        Self { what: what.to_owned(), word: word.to_owned(), right }
    }
}

impl fmt::Display for InvalidWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, word, right } = self;
        match right.iter().find(|own| own.eq_ignore_ascii_case(word)) {
            Some(meant) => write!(f, "invalid {what} \"{word}\"; expected {meant}, in upper case"),
            None => write!(f, "invalid {what} \"{word}\"; expected one of {}", right.join(", ")),
        }
    }
}

impl std::error::Error for InvalidWord {}

/// Returns the name of a field as mpiFileUtils writes it in sentences.
fn field_words(field: Fields) -> &'static str {
    match field {
        Fields::TYPE => "type",
        Fields::SIZE => "size",
        Fields::UID => "user ID",
        Fields::GID => "group ID",
        Fields::ATIME => "access time",
        Fields::MTIME => "modification time",
        Fields::CTIME => "change time",
        Fields::PERM => "permission",
        Fields::ACL => "Access Control Lists",
        Fields::XATTR => "extended attribute",
        Fields::LINK => "link target",
        _ => "content",
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exist(wanted) => write!(f, "{EXIST}={}", word_of(wanted, &EXISTENCES)),
            Self::Field(field, wanted) => {
                field.names().try_for_each(|name| f.write_str(name))?;
                write!(f, "={}", word_of(wanted, &LIKENESSES))
            }
        }
    }
}

fn word_of<T: PartialEq>(value: &T, words: &[(&'static str, T)]) -> &'static str {
    words.iter().find(|(_, own)| own == value).map_or("", |(word, _)| word)
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, conditions) in self.alternatives.iter().enumerate() {
            f.write_str(if position > 0 { "," } else { "" })?;
            for (position, condition) in conditions.iter().enumerate() {
                f.write_str(if position > 0 { "@" } else { "" })?;
                condition.fmt(f)?;
            }
        }
        Ok(())
    }
}

impl From<Expression> for String {
    fn from(expression: Expression) -> Self {
        expression.to_string()
    }
}

impl TryFrom<String> for Expression {
    type Error = ExpressionError;

    fn try_from(text: String) -> Result<Self, ExpressionError> {
        Self::parse(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn holds(text: &str, findings: Findings) -> bool {
        Expression::parse(text).unwrap().holds(&findings)
    }

    const SAME: Findings = of(Presence::Both);
    const SOURCE: Findings = of(Presence::OnlySource);
    const TARGET: Findings = of(Presence::OnlyTarget);

    const fn of(presence: Presence) -> Findings {
        Findings { presence, differing: Fields::NONE, unknown: Fields::NONE }
    }

    #[test]
    fn existence_is_as_in_mpifileutils() {
        let table = [
            ("EXIST=COMMON", [true, false, false]),
            ("EXIST=DIFFER", [false, true, true]),
            ("EXIST=ONLY_SRC", [false, true, false]),
            ("EXIST=ONLY_DEST", [false, false, true]),
        ];
        for (text, expected) in table {
            assert_eq!([SAME, SOURCE, TARGET].map(|findings| holds(text, findings)), expected);
        }
    }

    #[test]
    fn a_field_of_what_exists_once_is_neither_common_nor_different() {
        for name in Fields::ALL.names() {
            for findings in [SOURCE, TARGET, Findings { differing: Fields::ALL, ..SOURCE }] {
                assert!(!holds(&format!("{name}=COMMON"), findings), "{name}");
                assert!(!holds(&format!("{name}=DIFFER"), findings), "{name}");
            }
        }
    }

    #[test]
    fn a_field_of_what_exists_twice_is_one_or_the_other() {
        for field in Fields::ALL.iter() {
            let name = field.names().next().unwrap();
            let differing = Findings::both(field);
            assert!(holds(&format!("{name}=DIFFER"), differing), "{name}");
            assert!(!holds(&format!("{name}=COMMON"), differing), "{name}");
            assert!(holds(&format!("{name}=COMMON"), SAME), "{name}");
            assert!(!holds(&format!("{name}=DIFFER"), SAME), "{name}");
        }
        assert!(holds("CONTENT=DIFFER", Findings::both(Fields::TYPE)));
    }

    #[test]
    fn and_binds_stronger_than_or() {
        let text = "EXIST=COMMON@TYPE=DIFFER,EXIST=ONLY_SRC";
        assert!(holds(text, Findings::both(Fields::TYPE)));
        assert!(holds(text, SOURCE));
        assert!(!holds(text, SAME));
        assert!(!holds(text, TARGET));
        assert!(!holds("UID=DIFFER@GID=DIFFER", Findings::both(Fields::UID)));
        let either = Expression::parse("UID=DIFFER,GID=DIFFER").unwrap();
        assert_eq!(either.first_match(&Findings::both(Fields::GID)), Some(1));
        assert_eq!(either.first_match(&Findings::both(Fields::ALL)), Some(0));
        assert_eq!(either.first_match(&SAME), None);
    }

    #[test]
    fn text_makes_a_round_trip_and_so_do_messages() {
        let fields = Fields::ALL.names().map(|name| format!("{name}=DIFFER,{name}=COMMON"));
        let more = ["EXIST=ONLY_SRC@EXIST=ONLY_DEST,EXIST=DIFFER@EXIST=COMMON".to_owned()];
        for text in fields.chain(more) {
            let expression = Expression::parse(&text).unwrap();
            assert_eq!(expression.to_string(), text);
            let bytes = postcard::to_stdvec(&expression).unwrap();
            assert_eq!(postcard::from_bytes::<Expression>(&bytes), Ok(expression));
        }
        let foreign = postcard::to_stdvec("SIZE=BIG").unwrap();
        assert!(postcard::from_bytes::<Expression>(&foreign).is_err());
    }

    #[test]
    fn stray_joints_are_passed_over() {
        let parsed = Expression::parse(",@SIZE=DIFFER@@UID=COMMON@,,EXIST=COMMON,").unwrap();
        assert_eq!(parsed.to_string(), "SIZE=DIFFER@UID=COMMON,EXIST=COMMON");
    }

    #[test]
    fn errors_name_the_wrong_word_and_list_the_right_ones() {
        let table = [
            ("", "the expression is empty"),
            (",,", "the expression is empty"),
            ("SIZE=COMMON,@", "\"@\" has no condition"),
            ("SIZE", "invalid condition \"SIZE\""),
            ("SIZE=", "invalid condition \"SIZE=\""),
            ("=COMMON", "invalid condition \"=COMMON\""),
            (
                "NAME=COMMON",
                "invalid field \"NAME\"; expected one of EXIST, TYPE, SIZE, UID, GID, ATIME",
            ),
            ("size=COMMON", "invalid field \"size\"; expected SIZE, in upper case"),
            ("exist=COMMON", "invalid field \"exist\"; expected EXIST, in upper case"),
            ("SIZE=common", "invalid state of SIZE \"common\"; expected COMMON, in upper case"),
            ("SIZE=SAME", "invalid state of SIZE \"SAME\"; expected one of COMMON, DIFFER"),
            ("SIZE=COMMON=X", "invalid state of SIZE \"COMMON=X\""),
            (
                "EXIST=INIT",
                "invalid state of EXIST \"INIT\"; expected one of COMMON, DIFFER, ONLY_SRC",
            ),
            ("SIZE=ONLY_SRC", "ONLY_SRC is a state of EXIST only; SIZE takes COMMON, DIFFER"),
            (" EXIST=COMMON", "invalid field \" EXIST\""),
        ];
        for (text, expected) in table {
            let why = Expression::parse(text).unwrap_err().to_string();
            assert!(why.contains(expected), "{text}: {why}");
        }
    }

    #[test]
    fn an_output_is_an_expression_and_a_file_of_any_name() {
        let parsed = |text: &[u8]| {
            parse_output(text).map(|(expression, file)| (expression.to_string(), file))
        };
        let exist = || "EXIST=COMMON".to_owned();
        assert_eq!(parsed(b"EXIST=COMMON"), Ok((exist(), None)));
        assert_eq!(parsed(b"EXIST=COMMON:"), Ok((exist(), None)));
        assert_eq!(parsed(b"EXIST=COMMON:a:\xff,b"), Ok((exist(), Some(b"a:\xff,b".to_vec()))));
        assert!(parsed(b":file").is_err());
        assert!(parsed(b"SI\xffZE=COMMON:file").is_err());
    }

    #[test]
    fn what_must_be_compared_includes_what_it_depends_on() {
        let needs = |text| Expression::parse(text).unwrap().needs().names().collect::<Vec<_>>();
        assert!(needs("EXIST=COMMON").is_empty());
        assert_eq!(needs("EXIST=COMMON@UID=DIFFER,GID=DIFFER"), ["UID", "GID"]);
        assert_eq!(needs("SIZE=COMMON"), ["TYPE", "SIZE"]);
        assert_eq!(needs("CONTENT=COMMON"), ["TYPE", "SIZE", "CONTENT", "LINK"]);
    }

    #[test]
    fn the_summary_has_the_words_of_its_expressions() {
        for line in SUMMARY {
            let expression = Expression::parse(line.expression).unwrap();
            assert_eq!(expression.captions(), [line.caption]);
            assert_eq!(expression.to_string(), line.expression);
        }
        let two = Expression::parse("UID=DIFFER@EXIST=COMMON,EXIST=ONLY_DEST").unwrap();
        assert_eq!(
            two.captions(),
            [
                "have different user IDs and exist in both directories",
                "exist only in destination directory"
            ]
        );
    }
}
