//! Tests of trees on other hosts: agents in this process, at the other ends of pipes, whole ones
//! and some that break off or lie.

mod bundles;
mod compressed;
mod lost_answers;
mod messages;
mod paths;

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::promises::{cause, content, keeps_all_but, put};
use host::user::User;
use remote::agent::{AgentOptions, serve};
use remote::connection::Link;
use remote::frame::{self, Greeting};
use remote::host::{Host, HostSettings};
use remote::protocol::{
    Answer, Entered, ListedEntry, ListedXattrs, Machine, Mounts, Page, Reply, Request, RootIs,
};
use remote::store::RemoteStore;
use store::opening::{OpenAs, Symlinks};
use store::{NewFile, Store};
use types::entry::{Attributes, Hint, Kind, Metadata, Time, Xattrs};
use types::error::{Cause, Op};
use types::outcome::difference::Fields;
use types::path::RelPath;

/// Keeps a temporary directory as long as the store in it.
pub struct Held<S>(pub S, #[allow(dead_code, reason = "held for its drop")] pub tempfile::TempDir);

impl<S: Store> store::StoreDecorator for Held<S> {
    fn inner(&self) -> &dyn Store {
        &self.0
    }
}

/// Reads from a pipe, and finds its end after some bytes.
pub struct Torn<R>(pub R, pub usize);

impl<R: Read> Read for Torn<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let want = buffer.len().min(self.1);
        let count = self.0.read(&mut buffer[..want])?;
        self.1 -= count;
        Ok(count)
    }
}

fn settings() -> HostSettings {
    HostSettings::of(vec!["host".to_owned()])
}

/// Returns a host whose agents are threads of this process; each connection ends after that many
/// bytes of answers.
fn host(options: &AgentOptions, bytes_max: usize) -> Arc<Host> {
    let options = options.clone();
    let dial = move |_: &str| {
        let (agents_input, to) = std::io::pipe().unwrap();
        let (from, agents_output) = std::io::pipe().unwrap();
        let options = options.clone();
        std::thread::spawn(move || serve(agents_input, agents_output, &options));
        Ok(Link { from: Box::new(Torn(from, bytes_max)), to: Box::new(to), child: None })
    };
    Arc::new(Host::dialled(settings(), Box::new(dial)))
}

fn whole_host() -> Arc<Host> {
    host(&AgentOptions::default(), usize::MAX)
}

fn tree(host: &Arc<Host>) -> (tempfile::TempDir, RemoteStore) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().as_os_str().as_encoded_bytes().to_vec();
    let store = RemoteStore::open(host, &path, OpenAs::default()).unwrap();
    (dir, store)
}

#[test]
fn a_tree_on_another_host() {
    let host = whole_host();
    keeps_all_but(&[], &|| {
        let (dir, store) = tree(&host);
        Box::new(Held(store, dir))
    });
}

#[test]
fn connections_that_break_are_made_again_and_nothing_is_lost() {
    // Enough for each message, and too little for all of them.
    let host = host(&AgentOptions::default(), 300_000);
    keeps_all_but(&[], &|| {
        let (dir, store) = tree(&host);
        Box::new(Held(store, dir))
    });
}

/// Returns the number of requests that something takes.
fn requests(host: &Host, work: impl FnOnce()) -> u64 {
    let before = host.requests();
    work();
    host.requests() - before
}

#[test]
fn a_small_file_and_a_directory_take_one_round_trip_each() {
    let host = whole_host();
    let (_dir, store) = tree(&host);
    let root = store.open_dir(&RelPath::root()).unwrap();
    let attributes = Attributes { mode: Some(0o640), ..Attributes::default() };
    let new = NewFile {
        mtime: Some(Time { seconds: 1, nanoseconds: 0 }),
        size_bytes: 5,
        ..NewFile::new(c".staged", c"file", &attributes)
    };
    let write = requests(&host, || {
        let staged = root.stage_file(&new).unwrap();
        staged.write_at(b"hello", 0).unwrap();
        staged.commit(&attributes, Vec::new()).unwrap();
    });
    assert_eq!(write, 1, "content and attributes are one message");
    let read = requests(&host, || {
        let file = root.open_listed(c"file", Hint::File).unwrap();
        let mut bytes = [0; 9];
        assert_eq!(file.read_at(&mut bytes, 0), Ok(5));
        assert_eq!(file.read_at(&mut bytes[5..], 5), Ok(0));
        assert_eq!(&bytes[..5], b"hello");
        assert_eq!(file.metadata().unwrap().mode, 0o640);
        file.xattrs().unwrap();
    });
    assert_eq!(read, 1, "content and attributes are one message");
    for number in 0..300 {
        put(&*root, &std::ffi::CString::new(format!("f{number}")).unwrap(), b"x");
    }
    let listed = requests(&host, || {
        let dir = store.open_dir(&RelPath::root()).unwrap();
        dir.metadata().unwrap();
        let mut names = Vec::new();
        dir.list(&mut |name, hint| names.push((name.to_owned(), hint))).unwrap();
        assert_eq!(names.len(), 301);
        for (name, hint) in names {
            assert_eq!(dir.peek(&name, hint).unwrap().kind, Kind::File);
        }
        assert!(cause(dir.peek(c"missing", Hint::Unknown)).is_vanished());
    });
    assert_eq!(listed, 1, "a directory comes with the attributes of its entries");
}

#[test]
fn an_agent_that_is_read_only_changes_nothing() {
    let host = host(&AgentOptions { read_only: true, ..AgentOptions::default() }, usize::MAX);
    let (dir, store) = tree(&host);
    std::fs::write(dir.path().join("file"), "x").unwrap();
    let root = store.open_dir(&RelPath::root()).unwrap();
    let read_only = Cause::System(libc::EROFS);
    assert_eq!(cause(root.make_dir(c"new", 0o755)), read_only);
    assert_eq!(cause(root.remove(c"file", Kind::File)), read_only);
    assert_eq!(cause(root.set_attributes(Attributes::NONE)), read_only);
    let new = NewFile::new(c".staged", c"file", Attributes::NONE);
    assert_eq!(cause(root.stage_file(&new).map(drop)), read_only);
    assert_eq!(content(&*root, c"file"), b"x");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

fn metadata(kind: Kind) -> Metadata {
    Metadata {
        mode: 0o755,
        size_bytes: 3,
        device: 1,
        inode: 1,
        known: Fields::ALL,
        ..Metadata::of_kind(kind)
    }
}

/// Returns a host whose agent answers each request about a tree with the same bytes.
fn hostile(answer: impl Fn(&Request, u64) -> Vec<u8> + Send + Sync + 'static) -> Arc<Host> {
    with_settings(settings(), answer)
}

fn with_settings(
    settings: HostSettings,
    answer: impl Fn(&Request, u64) -> Vec<u8> + Send + Sync + 'static,
) -> Arc<Host> {
    let answer = Arc::new(answer);
    let dial = move |_: &str| {
        let (mut input, to) = std::io::pipe().unwrap();
        let (from, mut output) = std::io::pipe().unwrap();
        let answer = Arc::clone(&answer);
        std::thread::spawn(move || -> Option<()> {
            Greeting::own().send(&mut output).ok()?;
            Greeting::receive(&mut input).ok()?;
            while let Some(frame) = frame::receive::<Request>(&mut input).ok()? {
                let bytes = match frame.message {
                    Request::Begin { .. } => framed(
                        frame.id,
                        &Ok(Answer::Begun { machine: Machine::own(), user: User::own() }),
                        b"",
                    ),
                    Request::Root { .. } => {
                        let mounts = Mounts { below: Vec::new(), is_reached: true };
                        let metadata = metadata(Kind::Directory);
                        let root = RootIs { metadata, is_case_insensitive: false, mounts };
                        framed(frame.id, &Ok(Answer::Root(root)), b"")
                    }
                    request => answer(&request, frame.id),
                };
                output.write_all(&bytes).ok()?;
            }
            Some(())
        });
        Ok(Link { from: Box::new(from), to: Box::new(to), child: None })
    };
    Arc::new(Host::dialled(settings, Box::new(dial)))
}

fn framed(id: u64, reply: &Reply, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::send(&mut bytes, id, &frame::encode(reply).unwrap(), data).unwrap();
    bytes
}

fn entered(page: Page) -> Answer {
    let (metadata, xattrs, page) = (metadata(Kind::Directory), None, Some(page));
    Answer::Entered(Entered { metadata, xattrs, page })
}

#[test]
fn names_that_would_leave_the_tree_are_an_error() {
    let odd = [&b".."[..], b".", b"", b"a/b", b"../x", b"/etc", b"a\0b"];
    for name in odd {
        let entry =
            ListedEntry { name: name.to_vec(), hint: Hint::File, metadata: None, xattrs: None };
        let page = Page { entries: vec![entry], more: None };
        let host = hostile(move |_, id| framed(id, &Ok(entered(page.clone())), b""));
        let store = RemoteStore::open(&host, b"x", OpenAs::default()).unwrap();
        let found = store.open_dir(&RelPath::root());
        assert_eq!(cause(found), Cause::System(libc::EBADMSG), "{name:?}");
    }
}

/// Makes the bytes that answer the request of that number.
type Respond = dyn Fn(u64) -> Vec<u8> + Send + Sync;

#[test]
fn nonsense_is_one_error() {
    let plain = |id| framed(id, &Ok(Answer::Done), b"");
    let answers: Vec<(&str, Box<Respond>)> = vec![
        ("another answer", Box::new(plain)),
        ("an unexpected number", Box::new(move |id| plain(id + 1000))),
        ("a huge message", Box::new(|_| [[0xff; 24].as_slice(), &[0; 100]].concat())),
        ("no frame", Box::new(|_| b"Welcome to host! Please log in again.\n".to_vec())),
        (
            "a file as a directory",
            Box::new(|id| {
                let metadata = metadata(Kind::File);
                let entered = Entered { metadata, xattrs: None, page: None };
                framed(id, &Ok(Answer::Entered(entered)), b"")
            }),
        ),
        (
            "an altered byte",
            Box::new(move |id| {
                let mut bytes = plain(id);
                *bytes.last_mut().unwrap() ^= 1;
                bytes
            }),
        ),
    ];
    for (what, answer) in answers {
        let host = hostile(move |_, id| answer(id));
        let store = RemoteStore::open(&host, b"x", OpenAs::default()).unwrap();
        let found = store.open_dir(&RelPath::root()).map(drop);
        let errors = [libc::EBADMSG, libc::ENOTCONN].map(Cause::System);
        assert!(errors.contains(&cause(found)), "{what}");
    }
}

#[test]
fn more_data_than_requested_is_an_error() {
    let is = |size_bytes| remote::protocol::FileIs {
        metadata: Metadata { size_bytes, ..metadata(Kind::File) },
        xattrs: Ok(None),
        is_whole: false,
        sum: None,
    };
    let host = hostile(move |request, id| match request {
        Request::Enter { .. } => framed(id, &Ok(entered(Page::default())), b""),
        Request::Open { .. } => framed(id, &Ok(Answer::File(Box::new(is(1 << 40)))), b""),
        _ => framed(id, &Ok(Answer::Data), &[0; 1000]),
    });
    let store = RemoteStore::open(&host, b"x", OpenAs::default()).unwrap();
    let root = store.open_dir(&RelPath::root()).unwrap();
    let file = root.open_listed(c"file", Hint::File).unwrap();
    assert_eq!(cause(file.read_at(&mut [0; 10], 0)), Cause::System(libc::EBADMSG));
}

#[test]
fn a_name_whose_metadata_was_not_sent_is_not_missing() {
    let page = |name: &[u8], metadata, more| {
        let entry = ListedEntry { name: name.to_vec(), hint: Hint::File, metadata, xattrs: None };
        Page { entries: vec![entry], more }
    };
    let host = hostile(move |request, id| {
        let reply = match request {
            Request::Enter { .. } => Ok(entered(page(b"first", None, Some(1)))),
            Request::Stat { .. } => Err(Op::Stat.errno(libc::EACCES)),
            _ => Ok(Answer::Page(page(b"last", Some(metadata(Kind::File)), None))),
        };
        framed(id, &reply, b"")
    });
    let store = RemoteStore::open(&host, b"x", OpenAs::default()).unwrap();
    let root = store.open_dir(&RelPath::root()).unwrap();
    let mut names = 0;
    root.list(&mut |_, _| names += 1).unwrap();
    assert_eq!(names, 2);
    assert_eq!(cause(root.peek(c"first", Hint::File)), Cause::System(libc::EACCES));
    assert_eq!(root.peek(c"last", Hint::File).unwrap().kind, Kind::File);
}

#[test]
fn a_client_that_is_limited_to_a_directory_has_no_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::create_dir(path("root")).unwrap();
    std::fs::write(path("secret"), "secret").unwrap();
    std::fs::write(path("root/inside"), "inside").unwrap();
    std::os::unix::fs::symlink("../secret", path("root/out")).unwrap();
    std::os::unix::fs::symlink("inside", path("root/in")).unwrap();
    let fifo = path("root/fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    // While it is open, others can open it, too.
    let _held = std::fs::File::options().read(true).write(true).open(&fifo).unwrap();
    let root = Some(path("root").as_os_str().as_encoded_bytes().to_vec());
    let host = host(&AgentOptions { root, ..AgentOptions::default() }, usize::MAX);
    let following = OpenAs { symlinks: Symlinks::Follow, ..OpenAs::default() };
    let refused = RemoteStore::open(&host, b"", following).map(drop);
    assert_eq!(cause(refused), Cause::System(libc::EACCES));
    let store = RemoteStore::open(&host, b"", OpenAs::default()).unwrap();
    let root = store.open_dir(&RelPath::root()).unwrap();
    assert_eq!(cause(root.stat_followed(c"out")), Cause::System(libc::EXDEV));
    assert_eq!(root.stat_followed(c"in").unwrap().size_bytes, 6);
    assert_eq!(cause(root.join_staged(b"fifo", c"x").map(drop)), Cause::Replaced);
    assert_eq!(cause(root.open_file(c"fifo").map(drop)), Cause::Changed);
    let device = store::NewSpecial {
        kind: Kind::CharDevice,
        device: Some(rustix::fs::makedev(1, 3)),
        staged: c".staged",
        name: c"device",
        attributes: Attributes::default(),
    };
    assert_eq!(cause(root.make_special(&device)), Cause::System(libc::EPERM));
}

#[test]
fn a_listing_without_end_takes_no_memory_for_what_was_passed_on() {
    // The same page again and again: each name is passed on once.
    let pages = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&pages);
    let host = hostile(move |_, id| {
        let number = counted.fetch_add(1, Ordering::SeqCst);
        let name = b"same".to_vec();
        let entries = vec![ListedEntry { name, hint: Hint::File, metadata: None, xattrs: None }];
        let more = (number < 5000).then_some(1);
        let page = Page { entries, more };
        let answer = if number == 0 { entered(page) } else { Answer::Page(page) };
        framed(id, &Ok(answer), b"")
    });
    let store = RemoteStore::open(&host, b"x", OpenAs::default()).unwrap();
    let root = store.open_dir(&RelPath::root()).unwrap();
    let mut names = 0;
    root.list(&mut |_, _| names += 1).unwrap();
    assert_eq!((names, pages.load(Ordering::SeqCst)), (1, 5001));
}

/// Checks that an agent that takes long with one request is waited for while it answers others.
#[test]
fn an_agent_that_is_slow_and_there_is_waited_for() {
    let (slow, pings) = (AtomicU64::new(0), AtomicU64::new(0));
    let silence_max = std::time::Duration::from_secs(1);
    let host = with_settings(HostSettings { silence_max, ..settings() }, move |request, id| {
        let entered = |id| framed(id, &Ok(entered(Page::default())), b"");
        match request {
            Request::Enter { .. } => {
                slow.store(id, Ordering::SeqCst);
                Vec::new()
            }
            Request::Ping if pings.fetch_add(1, Ordering::SeqCst) == 1 => {
                [framed(id, &Ok(Answer::Done), b""), entered(slow.load(Ordering::SeqCst))].concat()
            }
            _ => framed(id, &Ok(Answer::Done), b""),
        }
    });
    let store = RemoteStore::open(&host, b"x", OpenAs::default()).unwrap();
    assert!(store.open_dir(&RelPath::root()).is_ok());
}

#[test]
fn the_decoder_takes_any_bytes() {
    let reply: Reply = Err(Op::Open.errno(libc::EIO));
    let page = Page {
        entries: vec![ListedEntry {
            name: b"name".to_vec(),
            hint: Hint::File,
            metadata: Some(metadata(Kind::File)),
            xattrs: Some(ListedXattrs(Some(Xattrs::from([(b"user.n".to_vec(), b"v".to_vec())])))),
        }],
        more: Some(7),
    };
    let whole = [framed(1, &reply, b"data"), framed(2, &Ok(Answer::Page(page)), b"")];
    for seed in 0..20_000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut bytes = random.choice(&whole).unwrap().clone();
        for _ in 0..random.usize(1..5) {
            let at = random.usize(..bytes.len());
            bytes[at] = random.u8(..);
        }
        bytes.truncate(random.usize(1..=bytes.len()));
        let arrived = frame::receive::<Reply>(&mut &bytes[..]);
        assert!(arrived.is_err() || whole.contains(&bytes), "seed {seed}: {arrived:?}");
        // Without the checksum, the decoder itself.
        let _ = postcard::take_from_bytes::<Reply>(&bytes);
        let _ = postcard::take_from_bytes::<Request>(&bytes);
    }
}
