//! An S3 server that does nothing, as fast as that can be done, to measure the cost of a client.
//!
//! Signatures are not checked, bodies are discarded, and every object is the same block over and
//! over. Buckets whose names begin with `empty` have no objects, to measure copies to a new target.

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::ops::{Bound, Range};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use clap::Parser as _;
use http_body_util::BodyExt as _;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use suite_tests::object_server::Operation;
use suite_tests::object_server::listing::{Ask, Entry, Keys, MAX_KEYS, page};

/// Size of a frame in bytes: not larger than the processor's cache.
const BLOCK_BYTES: usize = 256 << 10;
/// ETag that is not an MD5, so that clients do not compute one to compare it with.
const ETAG: &str = "\"null\"";
const MODIFIED: &str = "Mon, 01 Jan 2024 00:00:00 GMT";
const MODIFIED_XML: &str = "2024-01-01T00:00:00.000Z";

/// An S3 server that does nothing, on the loopback interface.
#[derive(Debug, Clone, clap::Parser)]
struct Arguments {
    /// Port; 0 for any free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Size of every object in bytes, but for those whose keys end with a point and their size:
    /// `x.1048576`.
    #[arg(long, default_value_t = 4096)]
    size: u64,
    /// Number of keys in every bucket: 0000000000 and so on.
    #[arg(long, default_value_t = 0)]
    keys: u64,
    /// Prefix of the keys' numbers, such as `data/`.
    #[arg(long, default_value = "")]
    key_prefix: String,
    /// Delay of each answer in microseconds; the clock has steps of 1000.
    #[arg(long, default_value_t = 0)]
    latency_us: u64,
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

fn main() -> std::io::Result<()> {
    let arguments = Arguments::parse();
    let ended = suite_tests::lifetime::end()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(arguments.threads)
        .enable_all()
        .build()?;
    let address = (Ipv4Addr::LOCALHOST, arguments.port);
    let listener = runtime.block_on(tokio::net::TcpListener::bind(address))?;
    println!("http://{}", listener.local_addr()?);
    runtime.spawn(serve(listener, Arc::new(Server { arguments, block: block() })));
    let _ = ended.recv();
    runtime.shutdown_background();
    Ok(())
}

/// Returns bytes that do not repeat within a block of a file system.
fn block() -> Bytes {
    (0..BLOCK_BYTES as u32 / 4).flat_map(u32::to_le_bytes).collect()
}

async fn serve(listener: tokio::net::TcpListener, server: Arc<Server>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let server = server.clone();
        let answer = move |request| server.clone().answer(request);
        tokio::spawn(async move {
            let service = hyper::service::service_fn(answer);
            let connection = hyper::server::conn::http1::Builder::new();
            let _ = connection.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

struct Server {
    arguments: Arguments,
    block: Bytes,
}

type Answer = Response<Content>;

impl Server {
    async fn answer(self: Arc<Self>, mut request: Request<Incoming>) -> hyper::Result<Answer> {
        while let Some(frame) = request.body_mut().frame().await {
            frame?;
        }
        if self.arguments.latency_us > 0 {
            tokio::time::sleep(Duration::from_micros(self.arguments.latency_us)).await;
        }
        let path = request.uri().path();
        let (bucket, key) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
        let is_empty = bucket.starts_with("empty");
        Ok(match Operation::of(&request) {
            Operation::GetObject | Operation::HeadObject | Operation::HeadPart if is_empty => {
                status(404)
            }
            Operation::GetObject => self.get(key, &request),
            Operation::HeadObject | Operation::HeadPart => self.head(key),
            Operation::PutObject | Operation::UploadPart => put(&request),
            Operation::ListObjectsV2 => self.list(request.uri().query(), is_empty),
            Operation::DeleteObject | Operation::AbortMultipartUpload => status(204),
            operation => confirming(xml(document(operation)), &request),
        })
    }

    fn size_of(&self, key: &str) -> u64 {
        let given = key.rsplit_once('.').and_then(|(_, size)| size.parse().ok());
        given.unwrap_or(self.arguments.size)
    }

    fn get(&self, key: &str, request: &Request<Incoming>) -> Answer {
        let size = self.size_of(key);
        let range = request.headers().get("range").and_then(|range| range.to_str().ok());
        let Some(range) = range else { return self.bytes(0..size) };
        let Some(inside) = range_of(range, size) else { return status(416) };
        let mut answer = self.bytes(inside.clone());
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
        let text = format!("bytes {}-{}/{size}", inside.start, inside.end - 1);
        answer.headers_mut().insert("content-range", text.parse().expect("digits are a header"));
        answer
    }

    fn head(&self, key: &str) -> Answer {
        // The length is that of the body; hyper does not send it.
        self.bytes(0..self.size_of(key))
    }

    fn bytes(&self, range: Range<u64>) -> Answer {
        let left_bytes = range.end - range.start;
        let offset = (range.start % BLOCK_BYTES as u64) as usize;
        Response::builder()
            .header("etag", ETAG)
            .header("last-modified", MODIFIED)
            .header("accept-ranges", "bytes")
            .header("content-type", "binary/octet-stream")
            .body(Content { block: self.block.clone(), offset, left_bytes })
            .expect("these headers are valid")
    }

    fn list(&self, query: Option<&str>, is_empty: bool) -> Answer {
        let value = |name| value_of(query.unwrap_or_default(), name);
        let after = value("continuation-token").or_else(|| value("start-after"));
        let (prefix, delimiter) = (value("prefix"), value("delimiter"));
        let limit = value("max-keys").and_then(|limit| limit.parse().ok()).unwrap_or(MAX_KEYS);
        let ask = Ask {
            prefix: prefix.as_deref().unwrap_or_default(),
            delimiter: delimiter.as_deref().unwrap_or_default(),
            after: after.as_deref().unwrap_or_default(),
            limit: limit.min(MAX_KEYS),
        };
        let count = if is_empty { 0 } else { self.arguments.keys };
        let page = page(&Numbered { prefix: &self.arguments.key_prefix, count }, ask);
        let mut text = format!("<ListBucketResult><MaxKeys>{}</MaxKeys>", ask.limit);
        let _ = write!(text, "<KeyCount>{}</KeyCount>", page.entries.len());
        let _ = write!(text, "<IsTruncated>{}</IsTruncated>", page.is_truncated);
        if let Some(last) = page.entries.last().filter(|_| page.is_truncated) {
            let token = last.text();
            let _ = write!(text, "<NextContinuationToken>{token}</NextContinuationToken>");
        }
        for entry in &page.entries {
            self.describe(entry, &mut text);
        }
        text.push_str("</ListBucketResult>");
        xml(text)
    }

    fn describe(&self, entry: &Entry, text: &mut String) {
        let size = self.arguments.size;
        let _ = match entry {
            Entry::Prefix(prefix) => {
                write!(text, "<CommonPrefixes><Prefix>{prefix}</Prefix></CommonPrefixes>")
            }
            Entry::Key(key) => write!(
                text,
                "<Contents><Key>{key}</Key><LastModified>{MODIFIED_XML}</LastModified>\
                 <ETag>{ETAG}</ETag><Size>{size}</Size>\
                 <StorageClass>STANDARD</StorageClass></Contents>",
            ),
        };
    }
}

fn put(request: &Request<Incoming>) -> Answer {
    let mut answer = status(200);
    answer.headers_mut().insert("etag", ETAG.parse().expect("it is a header"));
    for (name, value) in request.headers() {
        if name.as_str().starts_with("x-amz-checksum-") {
            answer.headers_mut().insert(name, value.clone());
        }
    }
    answer
}

/// Adds the checksum algorithm that parts are to have.
fn confirming(mut answer: Answer, request: &Request<Incoming>) -> Answer {
    let name = "x-amz-checksum-algorithm";
    if let Some(value) = request.headers().get(name) {
        answer.headers_mut().insert(name, value.clone());
    }
    answer
}

/// Returns the smallest answer that clients accept.
fn document(operation: Operation) -> String {
    let changed = format!("<ETag>{ETAG}</ETag><LastModified>{MODIFIED_XML}</LastModified>");
    match operation {
        Operation::CreateMultipartUpload => "<InitiateMultipartUploadResult>\
            <UploadId>upload</UploadId></InitiateMultipartUploadResult>"
            .to_owned(),
        Operation::CompleteMultipartUpload => format!(
            "<CompleteMultipartUploadResult><ETag>{ETAG}</ETag></CompleteMultipartUploadResult>"
        ),
        Operation::CopyObject => format!("<CopyObjectResult>{changed}</CopyObjectResult>"),
        Operation::UploadPartCopy => format!("<CopyPartResult>{changed}</CopyPartResult>"),
        Operation::ListParts => {
            "<ListPartsResult><IsTruncated>false</IsTruncated></ListPartsResult>".to_owned()
        }
        Operation::ListMultipartUploads => "<ListMultipartUploadsResult>\
            <IsTruncated>false</IsTruncated></ListMultipartUploadsResult>"
            .to_owned(),
        Operation::DeleteObjects => "<DeleteResult></DeleteResult>".to_owned(),
        Operation::ListBuckets => {
            "<ListAllMyBucketsResult><Buckets></Buckets></ListAllMyBucketsResult>".to_owned()
        }
        _ => String::new(),
    }
}

fn status(code: u16) -> Answer {
    let mut answer = Response::new(Content { block: Bytes::new(), offset: 0, left_bytes: 0 });
    *answer.status_mut() = StatusCode::from_u16(code).expect("the codes here are valid");
    answer
}

fn xml(text: String) -> Answer {
    let left_bytes = text.len() as u64;
    let mut answer = Response::new(Content { block: text.into(), offset: 0, left_bytes });
    let kind = "application/xml".parse().expect("it is a header");
    answer.headers_mut().insert("content-type", kind);
    answer
}

/// Parses `bytes=FIRST-LAST`, `bytes=FIRST-` or `bytes=-LENGTH`, limited to the object.
fn range_of(text: &str, size: u64) -> Option<Range<u64>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let range = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) => first..size.min(last.checked_add(1)?),
        (Ok(first), Err(_)) if last.is_empty() => first..size,
        (Err(_), Ok(length)) if first.is_empty() => size.saturating_sub(length)..size,
        _ => return None,
    };
    (range.start < range.end).then_some(range)
}

/// Returns the value of a parameter in a query.
fn value_of(query: &str, name: &str) -> Option<String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let value = pairs.filter(|(found, _)| *found == name).map(|(_, value)| decoded(value)).next();
    value.filter(|value| !value.is_empty())
}

fn decoded(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut plain = Vec::new();
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                (digit().unwrap_or(0) << 4 | digit().unwrap_or(0)) as u8
            }
            byte => byte,
        });
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// Keys that are computed from their numbers.
struct Numbered<'a> {
    prefix: &'a str,
    count: u64,
}

impl Numbered<'_> {
    fn key(&self, number: u64) -> String {
        format!("{}{number:010}", self.prefix)
    }
}

impl Keys for Numbered<'_> {
    fn from(&self, bound: Bound<&str>) -> impl Iterator<Item = Cow<'_, str>> {
        let is_before = |key: &str| match bound {
            Bound::Unbounded => false,
            Bound::Included(first) => key < first,
            Bound::Excluded(last) => key <= last,
        };
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low.midpoint(high);
            if is_before(&self.key(middle)) { low = middle + 1 } else { high = middle }
        }
        (low..self.count).map(|number| Cow::Owned(self.key(number)))
    }
}

/// Content of a block over and over.
struct Content {
    block: Bytes,
    offset: usize,
    left_bytes: u64,
}

impl hyper::body::Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left_bytes == 0 {
            return Poll::Ready(None);
        }
        let left = usize::try_from(self.left_bytes).unwrap_or(usize::MAX);
        let end = self.block.len().min(self.offset.saturating_add(left));
        let frame = self.block.slice(self.offset..end);
        self.left_bytes -= frame.len() as u64;
        self.offset = end % self.block.len();
        Poll::Ready(Some(Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.left_bytes == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left_bytes)
    }
}
