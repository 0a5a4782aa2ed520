//! Answers that are not complete (torn): cut, empty, without an end, or those of another server.
//!
//! Each kind occurs in practice: a server that dies while it answers, a proxy that stores an
//! incomplete answer, a gateway that answers in the service's place. The torn answers, and their
//! kinds, are either given or follow from a seed.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Frame;
use hyper::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Response, StatusCode, Version};
use s3s::{Body, HttpError};

use super::bodies::CutBody;
use super::counts::Operation;

/// Damage to an answer's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tear {
    /// Ends the body before the n-th `<`, modulo their number.
    AtTag(usize),
    /// Ends the body before the n-th byte, modulo their number.
    AtByte(usize),
    /// Sends no body.
    Empty,
    /// Sends a gateway's page, with the gateway's headers.
    Page,
    /// Omits the n-th element that an XML document lists, modulo their number.
    WithoutEntry(usize),
    /// Omits an element of that name from an XML document.
    WithoutElement(&'static str),
    /// Omits a header of that name.
    WithoutHeader(&'static str),
    /// Changes the n-th byte, modulo their number.
    Flipped(usize),
    /// Appends bytes to the body.
    Longer,
    /// Sends a body without an end.
    Endless,
}

/// Way in which a client recognises the end of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Content-Length of what is sent.
    LengthFits,
    /// Closed connection, without a length.
    Closes,
    /// Last chunk of a chunked body, without a length.
    Chunked,
    /// Content-Length of the complete body, of which only a part is sent before the connection is
    /// closed.
    Promised,
}

/// All endings.
pub const ENDINGS: [Ending; 4] =
    [Ending::LengthFits, Ending::Closes, Ending::Chunked, Ending::Promised];

/// Selection of the answers that are torn, and the way: only those of requests that have succeeded.
#[derive(Debug, Clone)]
pub struct Tearing {
    /// Operations whose answers may be torn.
    pub operations: Vec<Operation>,
    /// Rule for these answers.
    pub by: By,
}

/// Rule by which answers are torn.
#[derive(Debug, Clone, Copy)]
pub enum By {
    /// The first answers of each operation, all in the same way.
    Rule {
        /// Damage to the body.
        tear: Tear,
        /// End of the body.
        ending: Ending,
        /// Number of answers.
        times: u64,
    },
    /// Random answers, in ways that a seed decides.
    Seed {
        /// Seed of the choices.
        seed: u64,
        /// Average number of answers of which one is torn.
        one_in: u64,
    },
}

/// Header of the checksum that is requested.
const CRC64: &str = "x-amz-checksum-crc64nvme";

/// Elements of documents without which something is not known.
const ELEMENTS: [&str; 12] = [
    "ETag",
    "IsTruncated",
    "Key",
    "KeyCount",
    "LastModified",
    "NextContinuationToken",
    "NextMarker",
    "PartNumber",
    "Prefix",
    "Size",
    "TagSet",
    "UploadId",
];

/// Returns the kinds of damage for an operation's answers: those with a document, those with an
/// object's content, and those with nothing but headers.
fn ways(operation: Operation) -> &'static [fn(usize) -> Tear] {
    match operation {
        Operation::GetObject => &[
            Tear::AtByte,
            |_| Tear::Empty,
            |_| Tear::Page,
            Tear::Flipped,
            |_| Tear::Longer,
            |_| Tear::WithoutHeader("content-length"),
            |_| Tear::WithoutHeader("content-range"),
            |_| Tear::WithoutHeader("etag"),
            |_| Tear::WithoutHeader(CRC64),
        ],
        // An element that is not counted can be missing without a trace.
        Operation::ListObjectsV2 | Operation::ListParts => &[
            Tear::AtTag,
            Tear::AtByte,
            |_| Tear::Empty,
            |_| Tear::Page,
            |_| Tear::Longer,
            Tear::WithoutEntry,
            |number| Tear::WithoutElement(ELEMENTS[number % ELEMENTS.len()]),
        ],
        operation if operation.has_document() => &[
            Tear::AtTag,
            Tear::AtByte,
            |_| Tear::Empty,
            |_| Tear::Page,
            |_| Tear::Longer,
            |number| Tear::WithoutElement(ELEMENTS[number % ELEMENTS.len()]),
        ],
        Operation::HeadObject | Operation::HeadPart => &[
            |_| Tear::Page,
            |_| Tear::WithoutHeader("etag"),
            |_| Tear::WithoutHeader("content-length"),
            |_| Tear::WithoutHeader(CRC64),
        ],
        _ => &[|_| Tear::Page, |_| Tear::WithoutHeader("etag"), |_| Tear::WithoutHeader(CRC64)],
    }
}

impl Tearing {
    /// Tears the first answers of each of these operations in one way.
    pub fn rule(operations: &[Operation], tear: Tear, ending: Ending, times: u64) -> Self {
        Self { operations: operations.to_vec(), by: By::Rule { tear, ending, times } }
    }

    /// Tears answers of these operations as a seed decides.
    pub fn seeded(operations: &[Operation], seed: u64, one_in: u64) -> Self {
        Self { operations: operations.to_vec(), by: By::Seed { seed, one_in } }
    }

    /// Returns the damage to the n-th answer of an operation; `total` is its number among all
    /// answers.
    pub fn of(&self, operation: Operation, of_its_kind: u64, total: u64) -> Option<(Tear, Ending)> {
        if !self.operations.contains(&operation) {
            return None;
        }
        match self.by {
            By::Rule { tear, ending, times } => (of_its_kind <= times).then_some((tear, ending)),
            By::Seed { seed, one_in } => {
                let mut random = fastrand::Rng::with_seed(seed.wrapping_mul(1 << 20) ^ total);
                if random.u64(..one_in) > 0 {
                    return None;
                }
                let way = random.choice(ways(operation))?;
                let ending = random.choice(ENDINGS)?;
                Some((way(random.usize(..1 << 16)), ending))
            }
        }
    }
}

/// Tears an answer, and returns it with whether there was something to tear. Bytes of bodies
/// without an end are counted.
///
/// # Errors
/// As the body's.
pub async fn torn(
    answer: Response<Body>,
    (tear, ending): (Tear, Ending),
    endless_bytes: std::sync::Arc<AtomicU64>,
) -> Result<(Response<Body>, bool), HttpError> {
    let (mut head, body) = answer.into_parts();
    let whole = body.collect().await.map_err(HttpError::new)?.to_bytes();
    let mut sent = whole.clone();
    let headers = head.headers.clone();
    match tear {
        Tear::AtTag(number) => sent = before_tag(&whole, number),
        Tear::AtByte(number) => sent = whole.slice(..number.checked_rem(whole.len()).unwrap_or(0)),
        Tear::Empty => sent = Bytes::new(),
        Tear::Page => {
            head.status = StatusCode::OK;
            head.headers = page_headers(&head.headers);
            sent = Bytes::from_static(PAGE);
        }
        Tear::WithoutEntry(number) => sent = without_entry(&whole, number),
        Tear::WithoutElement(name) => sent = without(&whole, 0, name).unwrap_or(sent),
        Tear::WithoutHeader(name) => drop(head.headers.remove(name)),
        Tear::Flipped(number) => sent = flipped(&whole, number),
        Tear::Longer => sent = [&whole[..], b"more"].concat().into(),
        Tear::Endless => {}
    }
    let is_torn = tear == Tear::Endless || sent != whole || head.headers != headers;
    if !is_torn {
        return Ok((Response::from_parts(head, Body::from(whole)), false));
    }
    let has_length =
        head.headers.contains_key(CONTENT_LENGTH) || tear != Tear::WithoutHeader("content-length");
    let body = match (tear, ending) {
        (Tear::Endless, _) => {
            head.headers.remove(CONTENT_LENGTH);
            Body::http_body_unsync(Endless { first: Some(sent), bytes: endless_bytes })
        }
        (_, Ending::LengthFits) if has_length => {
            if !(sent.is_empty() && whole.is_empty()) {
                head.headers.insert(CONTENT_LENGTH, HeaderValue::from(sent.len()));
            }
            Body::from(sent)
        }
        (_, Ending::Promised)
            if has_length && sent.len() < whole.len() && whole.starts_with(&sent) =>
        {
            head.headers.insert(CONTENT_LENGTH, HeaderValue::from(whole.len()));
            CutBody::of(Body::from(whole), sent.len() as u64)
        }
        (_, ending) => {
            head.headers.remove(CONTENT_LENGTH);
            if ending == Ending::Closes {
                // This is how an old proxy answers: the connection's end is the body's.
                head.version = Version::HTTP_10;
                head.headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Body::http_body_unsync(Unmeasured(Some(sent)))
        }
    };
    Ok((Response::from_parts(head, body), true))
}

/// Page of a gateway that answers in the service's place.
const PAGE: &[u8] = b"<!DOCTYPE html>\n<html><head><title>Welcome</title></head>\
<body><p>Please log in to the network.<br></p></body></html>\n";

/// Returns the headers of the page alone.
fn page_headers(headers: &HeaderMap) -> HeaderMap {
    let mut own = HeaderMap::new();
    own.insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
    if let Some(length) = headers.get(CONTENT_LENGTH) {
        own.insert(CONTENT_LENGTH, length.clone());
    }
    own
}

/// Returns the number of tags in a document.
pub fn tags(document: &[u8]) -> usize {
    document.iter().filter(|byte| **byte == b'<').count()
}

fn before_tag(whole: &Bytes, number: usize) -> Bytes {
    let number = number.checked_rem(tags(whole)).unwrap_or(0);
    let places = whole.iter().enumerate().filter(|(_, byte)| **byte == b'<');
    let place = places.map(|(place, _)| place).nth(number);
    whole.slice(..place.unwrap_or(0))
}

/// Elements that lists have one of for each entry.
const ENTRIES: [&str; 5] = ["Contents", "CommonPrefixes", "Upload", "Part", "Deleted"];

fn without_entry(whole: &Bytes, number: usize) -> Bytes {
    let text = String::from_utf8_lossy(whole);
    let count = |name: &str| text.matches(&format!("<{name}>")).count();
    // A list of names without a count does not show that one is missing.
    let is_uncounted = text.contains("<ListBucketResult") && count("KeyCount") == 0;
    let name = ENTRIES.into_iter().find(|name| count(name) > 0 && !is_uncounted);
    let Some(name) = name else {
        return whole.clone();
    };
    without(whole, number % count(name), name).unwrap_or_else(|| whole.clone())
}

/// Removes the n-th element of that name.
fn without(whole: &Bytes, number: usize, name: &str) -> Option<Bytes> {
    let text = std::str::from_utf8(whole).ok()?;
    let end_tag = format!("</{name}>");
    let (begin, _) = text.match_indices(&format!("<{name}>")).nth(number)?;
    let end = begin + text[begin..].find(&end_tag)? + end_tag.len();
    Some([&text[..begin], &text[end..]].concat().into())
}

fn flipped(whole: &Bytes, number: usize) -> Bytes {
    let mut bytes = whole.to_vec();
    if let Some(place) = number.checked_rem(bytes.len()) {
        bytes[place] ^= 1;
    }
    bytes.into()
}

/// A body of one piece whose length is not announced.
struct Unmeasured(Option<Bytes>);

impl hyper::body::Body for Unmeasured {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(
            self.0.take().filter(|bytes| !bytes.is_empty()).map(|bytes| Ok(Frame::data(bytes))),
        )
    }
}

/// Blanks that follow a document without an end, so that it might still become complete.
static FILL: [u8; 64 << 10] = [b' '; 64 << 10];

/// A body that goes on with blanks for as long as a client reads it.
struct Endless {
    first: Option<Bytes>,
    bytes: std::sync::Arc<AtomicU64>,
}

impl hyper::body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let first = self.first.take().filter(|first| !first.is_empty());
        let piece = first.unwrap_or_else(|| Bytes::from_static(&FILL));
        self.bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &[u8] = b"<L><Contents>a</Contents><Contents>b</Contents><N>2</N></L>";

    #[test]
    fn documents_are_torn_where_it_is_said() {
        let list = Bytes::from_static(LIST);
        assert_eq!(before_tag(&list, 0), "");
        assert_eq!(before_tag(&list, 2), "<L><Contents>a");
        assert_eq!(before_tag(&list, 4), "<L><Contents>a</Contents><Contents>b");
        assert_eq!(without_entry(&list, 1), "<L><Contents>a</Contents><N>2</N></L>");
        assert_eq!(
            without(&list, 0, "N").unwrap(),
            "<L><Contents>a</Contents><Contents>b</Contents></L>"
        );
        assert_eq!(without(&list, 0, "X"), None);
        assert_eq!(flipped(&Bytes::from_static(b"ab"), 3), "ac");
    }

    #[test]
    fn a_seed_decides_and_rules_end() {
        let seeded = Tearing::seeded(&[Operation::ListObjectsV2], 3, 2);
        let all = |tearing: &Tearing| -> Vec<_> {
            (1..200).map(|number| tearing.of(Operation::ListObjectsV2, number, number)).collect()
        };
        assert_eq!(all(&seeded), all(&seeded));
        assert!((50..150).contains(&all(&seeded).iter().flatten().count()));
        assert_eq!(seeded.of(Operation::HeadObject, 1, 1), None);
        let rule = Tearing::rule(&[Operation::ListObjectsV2], Tear::Empty, Ending::Closes, 3);
        assert_eq!(all(&rule).iter().flatten().count(), 3);
    }
}
