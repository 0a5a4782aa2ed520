//! Answers that are not whole: cut, empty, without an end, or another's altogether.
//!
//! Each tear is one that clients meet: a server that dies while it answers, a proxy that keeps what it got, a gateway
//! that answers in the service's place. Which answers are torn, and how, is either said or follows from a seed.

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

/// What happens to an answer's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tear {
    /// It ends before the n-th `<`, counted round.
    AtTag(usize),
    /// It ends before the n-th byte, counted round.
    AtByte(usize),
    /// There is none.
    Empty,
    /// It is a gateway's page, with the gateway's headers.
    Page,
    /// The n-th element that an XML document lists is left out, counted round.
    WithoutEntry(usize),
    /// An XML document has no such element.
    WithoutElement(&'static str),
    /// The answer has no such header.
    WithoutHeader(&'static str),
    /// The n-th byte is another one, counted round.
    Flipped(usize),
    /// More comes after it.
    Longer,
    /// It goes on for ever.
    Endless,
}

/// How a client sees where a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Content-Length is that of what is sent.
    LengthFits,
    /// There is no length; the connection is closed.
    Closes,
    /// There is no length; the last chunk says that it is the last.
    Chunked,
    /// Content-Length is that of the whole; the connection is closed before.
    Promised,
}

/// All endings.
pub const ENDINGS: [Ending; 4] =
    [Ending::LengthFits, Ending::Closes, Ending::Chunked, Ending::Promised];

/// Which answers are torn, and how. Only those of requests that have succeeded.
#[derive(Debug, Clone)]
pub struct Tearing {
    /// Of these requests.
    pub operations: Vec<Operation>,
    /// How.
    pub by: By,
}

/// How answers are torn.
#[derive(Debug, Clone, Copy)]
pub enum By {
    /// The first ones of each operation, so many, in this way.
    Rule {
        /// What happens to the body.
        tear: Tear,
        /// And where it ends.
        ending: Ending,
        /// So many answers.
        times: u64,
    },
    /// About one in so many, in ways that a seed decides.
    Seed {
        /// Decides.
        seed: u64,
        /// One in so many.
        one_in: u64,
    },
}

/// Header of the checksum that is asked for.
const CRC64: &str = "x-amz-checksum-crc64nvme";

/// Elements of documents without which something cannot be known.
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

/// Ways that an answer of this kind can be torn: those with a document, those with an object's content, and those
/// with nothing but headers.
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
        // One that is not counted can be missing without a trace.
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
    /// These requests' answers, so many of each, in one way.
    pub fn rule(operations: &[Operation], tear: Tear, ending: Ending, times: u64) -> Self {
        Self { operations: operations.to_vec(), by: By::Rule { tear, ending, times } }
    }

    /// These requests' answers, as a seed decides.
    pub fn seeded(operations: &[Operation], seed: u64, one_in: u64) -> Self {
        Self { operations: operations.to_vec(), by: By::Seed { seed, one_in } }
    }

    /// What happens to the n-th answer of an operation, which is the n-th of all.
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

/// Tears an answer, and returns it with whether there was something to tear. Bytes of bodies without an end are
/// counted.
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
                // As an old proxy answers: the connection's end is the body's.
                head.version = Version::HTTP_10;
                head.headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Body::http_body_unsync(Unmeasured(Some(sent)))
        }
    };
    Ok((Response::from_parts(head, body), true))
}

/// What a gateway says in the service's place.
const PAGE: &[u8] = b"<!DOCTYPE html>\n<html><head><title>Welcome</title></head>\
<body><p>Please log in to the network.<br></p></body></html>\n";

/// Only what the page is.
fn page_headers(headers: &HeaderMap) -> HeaderMap {
    let mut own = HeaderMap::new();
    own.insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
    if let Some(length) = headers.get(CONTENT_LENGTH) {
        own.insert(CONTENT_LENGTH, length.clone());
    }
    own
}

/// The number of tags in a document.
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
const ENTRIES: [&str; 4] = ["Contents", "CommonPrefixes", "Upload", "Part"];

fn without_entry(whole: &Bytes, number: usize) -> Bytes {
    let text = String::from_utf8_lossy(whole);
    let count = |name: &str| text.matches(&format!("<{name}>")).count();
    // A list of names that are not counted does not show that one is missing.
    let is_uncounted = text.contains("<ListBucketResult") && count("KeyCount") == 0;
    let name = ENTRIES.into_iter().find(|name| count(name) > 0 && !is_uncounted);
    let Some(name) = name else {
        return whole.clone();
    };
    without(whole, number % count(name), name).unwrap_or_else(|| whole.clone())
}

/// Without the n-th element of that name.
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

/// A body of one piece that does not say how long it is.
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

/// What follows a document that does not end: so that it might still become one.
static FILL: [u8; 64 << 10] = [b' '; 64 << 10];

/// A body that goes on with blanks for as long as somebody reads it.
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
