//! The error of an answer that is not whole.

use types::path::escaped;

/// Error of an incomplete answer, which quotes its beginning.
#[derive(Debug, thiserror::Error)]
#[error("{source}; the answer begins with {head}")]
pub(crate) struct NotWhole {
    source: Gap,
    /// The beginning of the answer, escaped.
    head: String,
}

/// The number of bytes of an answer that an error quotes.
const HEAD_BYTES: usize = 120;

impl NotWhole {
    pub(super) fn new(source: Gap, answer: &[u8]) -> Self {
        let head = answer.trim_ascii();
        Self { source, head: escaped(&head[..head.len().min(HEAD_BYTES)]) }
    }
}

/// Reason why an answer is incomplete, or not the one that belongs to the request.
#[derive(Debug, thiserror::Error)]
pub(super) enum Gap {
    /// The document is not well-formed.
    #[error(transparent)]
    Xml(#[from] quick_xml::Error),
    /// Text outside the document's root, or a second root.
    #[error("it is no document")]
    NoDocument,
    /// End tag without a start tag.
    #[error("an element ends that has not begun")]
    Unopened,
    /// Elements that are not closed.
    #[error("it ends early")]
    EndsEarly,
    /// The root is another one.
    #[error("it is <{root}>, not <{expected}>")]
    Root { root: String, expected: &'static str },
    /// An element that must be there is not.
    #[error("there is no {0} in it")]
    Lacks(&'static str),
    /// An entry lacks a field, or has it more than once.
    #[error("there is a {entry} without one {field} in it")]
    Field { entry: &'static str, field: &'static str },
    /// The number of entries is not the one that the document declares.
    #[error("it says that it lists {}, and lists {listed}", escaped(declared.as_bytes()))]
    Count { declared: String, listed: usize },
    /// A truncated listing does not tell where the next page begins.
    #[error("there is more, and it does not say where")]
    NoNextPage,
    /// The body should be empty.
    #[error("it has content where none belongs")]
    Content,
    /// The body is longer than the bound.
    #[error("it is longer than any such answer")]
    TooLong,
    /// The body did not end in time.
    #[error("it does not end")]
    Late,
}
