//! A server that answers as a test specifies: as no sound service does, or as a proxy in front of
//! one.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A request.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Method, such as `GET` or `PUT`.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names of headers in lower case, with their values.
    pub headers: Vec<(String, String)>,
}

impl Asked {
    /// Returns the value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

/// Reply to a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Answer with that status, headers, and body.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// Answer with that status and a body without an end.
    Endless(u16),
    /// No answer, while the connection stays open.
    Silence,
}

/// A running server, which ends with the process.
#[derive(Debug)]
pub struct Scripted {
    endpoint: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    endless_bytes: Arc<AtomicU64>,
}

impl Scripted {
    /// Starts a server on a free port.
    ///
    /// # Panics
    /// When it cannot listen.
    pub fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback interface");
        let endpoint = format!("http://{}", listener.local_addr().expect("it is bound"));
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let endless_bytes = Arc::<AtomicU64>::default();
        let (heard, sent, answer) = (asked.clone(), endless_bytes.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (heard, sent, answer) = (heard.clone(), sent.clone(), Arc::clone(&answer));
                std::thread::spawn(move || serve(&stream, (&heard, &sent), &*answer));
            }
        });
        Self { endpoint, asked, endless_bytes }
    }

    /// Returns the URL `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Returns all requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the bytes sent in bodies without an end.
    pub fn endless_bytes(&self) -> u64 {
        self.endless_bytes.load(Ordering::Relaxed)
    }

    /// Returns the environment in which AWS's tools use this server.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        crate::object_server::environment(&self.endpoint, "test-access", "test-secret")
    }
}

fn serve(
    stream: &TcpStream,
    (heard, sent): (&Mutex<Vec<Asked>>, &AtomicU64),
    answer: &dyn Fn(&Asked) -> Reply,
) {
    let mut lines = BufReader::new(stream);
    while let Some(asked) = read(&mut lines) {
        heard.lock().unwrap_or_else(PoisonError::into_inner).push(asked.clone());
        match answer(&asked) {
            Reply::Answer(status, headers, body) => {
                let mut text = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len());
                for (name, value) in headers {
                    text.extend([name, ": ", &value, "\r\n"]);
                }
                text.extend(["\r\n", if asked.method == "HEAD" { "" } else { &body }]);
                let mut out = stream;
                if out.write_all(text.as_bytes()).is_err() {
                    return;
                }
            }
            Reply::Endless(status) => {
                let begin =
                    format!("HTTP/1.1 {status} X\r\nconnection: close\r\n\r\n<Error><Code>X");
                let (mut out, more) = (stream, vec![b'x'; 64 << 10]);
                let mut goes_on = out.write_all(begin.as_bytes()).is_ok();
                while goes_on {
                    goes_on = out.write_all(&more).is_ok();
                    sent.fetch_add(64 << 10, Ordering::Relaxed);
                }
                return;
            }
            Reply::Silence => loop {
                std::thread::park();
            },
        }
    }
}

/// Reads the next request of a connection.
fn read(lines: &mut BufReader<&TcpStream>) -> Option<Asked> {
    let mut first = String::new();
    lines.read_line(&mut first).ok().filter(|length| *length > 0)?;
    let mut words = first.split(' ').map(ToOwned::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        lines.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let asked = Asked { method, target, headers };
    let length = asked.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    std::io::copy(&mut lines.take(length), &mut std::io::sink()).ok()?;
    Some(asked)
}
