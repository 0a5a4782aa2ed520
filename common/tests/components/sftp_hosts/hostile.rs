//! Tests of SFTP servers that lie: each lie is one error, and nothing is done outside the tree.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::settings;
use crate::promises::cause;
use remote::exchange::Link;
use sftp::host::Host;
use sftp::packet::{Attrs, Kind as Request, Packet};
use sftp::store::SftpStore;
use store::Store;
use store::opening::OpenAs;
use types::error::Cause;
use types::path::RelPath;

/// Returns a reply as it is sent.
fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = (body.len() as u32 + 1).to_be_bytes().to_vec();
    bytes.push(kind);
    bytes.extend(body);
    bytes
}

/// Returns attributes in the form of the protocol.
fn encoded(attrs: &Attrs) -> Vec<u8> {
    let mut packet = Vec::new();
    Packet::new(Request::Init).attrs(attrs).send(&mut packet, 0).unwrap();
    packet.split_off(9)
}

fn text(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
}

fn a_directory() -> Attrs {
    Attrs { mode: Some(0o40755), times: Some((1, 1)), ..Attrs::default() }
}

/// Returns a page of a listing.
fn page(id: u32, names: &[&[u8]]) -> Vec<u8> {
    let mut body = [id.to_be_bytes(), (names.len() as u32).to_be_bytes()].concat();
    for name in names {
        body.extend([text(name), text(b""), encoded(&a_directory())].concat());
    }
    framed(104, &body)
}

fn status(id: u32, code: u32) -> Vec<u8> {
    framed(101, &[&id.to_be_bytes()[..], &code.to_be_bytes(), &text(b"words")].concat())
}

/// Reply to a request of that type and number; `None` for that of a harmless server, all of whose
/// paths are one directory.
type Lie = dyn Fn(u8, u32) -> Option<Vec<u8>> + Send + Sync;

/// Returns a host whose server lies.
fn hostile(lie: impl Fn(u8, u32) -> Option<Vec<u8>> + Send + Sync + 'static) -> Arc<Host> {
    let lie: Arc<Lie> = Arc::new(lie);
    let dial = move |_: &str| {
        let (mut input, to) = std::io::pipe().unwrap();
        let (from, mut output) = std::io::pipe().unwrap();
        let lie = Arc::clone(&lie);
        std::thread::spawn(move || -> Option<()> {
            while let Some((kind, body)) = sftp::packet::receive_body(&mut input).ok()? {
                let id = u32::from_be_bytes(body[..4].try_into().ok()?);
                let reply = lie(kind, id).unwrap_or_else(|| match kind {
                    1 => framed(2, &3_u32.to_be_bytes()),
                    7 | 8 | 17 => {
                        let id = id.to_be_bytes().to_vec();
                        framed(105, &[id, encoded(&a_directory())].concat())
                    }
                    3 | 11 => framed(102, &[id.to_be_bytes().to_vec(), text(b"h")].concat()),
                    16 => page(id, &[b"/x"]),
                    12 => status(id, 1),
                    _ => status(id, 0),
                });
                output.write_all(&reply).ok()?;
            }
            Some(())
        });
        Ok(Link { from: Box::new(from), to: Box::new(to), child: None })
    };
    Arc::new(Host::dialled(settings(Vec::new()), Box::new(dial)))
}

fn listed(host: &Arc<Host>) -> Result<usize, types::error::Error> {
    let store = SftpStore::open(host, b"x", OpenAs::default())?;
    let mut names = 0;
    store.open_dir(&RelPath::root())?.list(&mut |_, _| names += 1)?;
    Ok(names)
}

#[test]
fn names_that_would_leave_the_tree_are_an_error() {
    assert_eq!(listed(&hostile(|_, _| None)), Ok(0));
    for name in [&b""[..], b"a/b", b"../x", b"/etc", b"a\0b"] {
        let host = hostile(move |kind, id| (kind == 12).then(|| page(id, &[name])));
        let error = listed(&host).unwrap_err();
        assert_eq!(error.cause, Cause::System(libc::EBADMSG), "{name:?}");
        assert!(error.details.is_some(), "{error}");
    }
}

#[test]
fn a_listing_without_end_ends() {
    let host = hostile(|kind, id| (kind == 12).then(|| page(id, &[b".", b"..", b"same"])));
    assert_eq!(cause(listed(&host)), Cause::System(libc::EBADMSG));
    let empty = hostile(|kind, id| (kind == 12).then(|| page(id, &[])));
    assert_eq!(cause(listed(&empty)), Cause::System(libc::EBADMSG));
}

#[test]
fn nonsense_is_one_error() {
    let lies: Vec<(&str, Box<Lie>)> = vec![
        ("another reply", Box::new(|kind, id| (kind == 11).then(|| page(id, &[b"x"])))),
        ("success without a handle", Box::new(|kind, id| (kind == 11).then(|| status(id, 0)))),
        ("an unexpected number", Box::new(|kind, id| (kind == 11).then(|| status(id + 9, 0)))),
        ("a huge packet", Box::new(|kind, _| (kind == 11).then(|| vec![0xff; 100]))),
        ("an empty packet", Box::new(|kind, _| (kind == 11).then(|| vec![0; 100]))),
        ("text", Box::new(|kind, _| (kind == 11).then(|| b"Welcome to host!\n".to_vec()))),
        ("no path", Box::new(|kind, id| (kind == 16).then(|| page(id, &[b"../relative"])))),
        ("two paths", Box::new(|kind, id| (kind == 16).then(|| page(id, &[b"/x", b"/y"])))),
        (
            "attributes without a type",
            Box::new(|kind, id| {
                let id = id.to_be_bytes().to_vec();
                let none = encoded(&Attrs::default());
                (kind == 7).then(|| framed(105, &[id, none].concat()))
            }),
        ),
    ];
    for (what, lie) in lies {
        let host = hostile(lie);
        let errors = [libc::EBADMSG, libc::ENOTCONN].map(Cause::System);
        let error = listed(&host).unwrap_err();
        assert!(errors.contains(&error.cause), "{what}: {error}");
        assert!(!error.cause.is_vanished());
    }
}

#[test]
fn more_data_than_requested_is_an_error() {
    // The first entry that is inspected is the root.
    let inspected = AtomicU32::new(0);
    let host = hostile(move |kind, id| match kind {
        7 if inspected.fetch_add(1, Ordering::Relaxed) == 0 => None,
        7 | 8 => {
            let attrs = Attrs { mode: Some(0o100_644), size_bytes: Some(1 << 40), ..a_directory() };
            Some(framed(105, &[id.to_be_bytes().to_vec(), encoded(&attrs)].concat()))
        }
        5 => Some(framed(103, &[id.to_be_bytes().to_vec(), text(&[0; 1000])].concat())),
        _ => None,
    });
    let store = SftpStore::open(&host, b"x", OpenAs::default()).unwrap();
    let root = store.open_dir(&RelPath::root()).unwrap();
    let file = root.open_file(c"file").unwrap();
    assert_eq!(cause(file.read_at(&mut [0; 10], 0)), Cause::System(libc::EBADMSG));
}

#[test]
fn greetings_that_are_none_are_one_line() {
    let first = |bytes: Vec<u8>| hostile(move |kind, _| (kind == 1).then(|| bytes.clone()));
    for (bytes, words) in [
        (framed(2, &2_u32.to_be_bytes()), "version 2"),
        (framed(2, b"x"), "greeting"),
        (framed(101, &[0; 4]), "greeting"),
        (b"Welcome to host!\nlast login\n".to_vec(), "login script"),
    ] {
        let why = first(bytes).reach().unwrap_err().to_string();
        assert!(why.contains(words) && !why.contains('\n'), "{why}");
    }
    let gone = Host::new(settings(vec!["false".to_owned()]));
    assert!(gone.reach().unwrap_err().to_string().contains("no answer of an SFTP server"));
    let missing = Host::new(settings(vec!["/nowhere/ssh".to_owned()]));
    assert!(missing.reach().unwrap_err().to_string().contains("No such file"));
}
