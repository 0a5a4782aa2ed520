//! Tests of requests that are done without their answers arriving, of clients that go away, and of
//! files that others change meanwhile.

use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{requests, settings, tree, whole_host};
use crate::promises::{cause, put};
use remote::agent::{AgentOptions, serve};
use remote::connection::Link;
use remote::frame::{self, Greeting};
use remote::host::Host;
use remote::protocol::{Reply, Request};
use remote::store::RemoteStore;
use store::opening::OpenAs;
use store::{Made, NewFile, Store};
use types::content::transfer::{Rewriting, Transfer};
use types::entry::{Attributes, Preserved};
use types::error::Cause;
use types::path::RelPath;

/// Returns a host on which the first request that `is_lost` is done once `before` has run, but not
/// answered: its connection breaks.
pub fn losing(
    is_lost: impl Fn(&Request) -> bool + Send + Sync + 'static,
    before: impl Fn() + Send + Sync + 'static,
) -> Arc<Host> {
    let hooks = Arc::new((is_lost, before, AtomicU64::new(0)));
    let dial = move |_: &str| {
        let (mut input, to) = std::io::pipe().unwrap();
        let (from, mut output) = std::io::pipe().unwrap();
        let (agents_input, mut to_agent) = std::io::pipe().unwrap();
        let (mut from_agent, agents_output) = std::io::pipe().unwrap();
        let hooks = Arc::clone(&hooks);
        std::thread::spawn(move || serve(agents_input, agents_output, &AgentOptions::default()));
        std::thread::spawn(move || -> Option<()> {
            Greeting::receive(&mut input).ok()?.send(&mut to_agent).ok()?;
            Greeting::receive(&mut from_agent).ok()?.send(&mut output).ok()?;
            while let Some(frame) = frame::receive::<Request>(&mut input).ok()? {
                let (is_lost, before, lost) = &*hooks;
                let is_lost = is_lost(&frame.message) && lost.fetch_add(1, Ordering::SeqCst) == 0;
                if is_lost {
                    before();
                }
                let head = frame::encode(&frame.message).unwrap();
                frame::send(&mut to_agent, frame.id, &head, &frame.data).ok()?;
                let answer = frame::receive::<Reply>(&mut from_agent).ok()??;
                if is_lost {
                    return None;
                }
                let head = frame::encode(&answer.message).unwrap();
                frame::send(&mut output, answer.id, &head, &answer.data).ok()?;
            }
            Some(())
        });
        Ok(Link { from: Box::new(from), to: Box::new(to), child: None })
    };
    Arc::new(Host::dialled(settings(), Box::new(dial)))
}

#[test]
fn what_was_done_and_not_answered_is_not_taken_for_what_was_there() {
    let host = losing(|request| matches!(request, Request::MakeDir { .. }), || ());
    let (_dir, store) = tree(&host);
    let root = store.open_dir(&RelPath::root()).unwrap();
    assert_eq!(root.make_dir(c"new", 0o755), Ok(Made::New));
    let host = losing(|request| matches!(request, Request::LinkFrom { .. }), || ());
    let (_dir, store) = tree(&host);
    let root = store.open_dir(&RelPath::root()).unwrap();
    root.make_dir(c"other", 0o755).unwrap();
    put(&*root, c"file", b"x");
    let other = root.open_dir(c"other").unwrap();
    assert_eq!(other.link_from(&*root, c"file"), Ok(true));
    let host = losing(|request| matches!(request, Request::MakePath { .. }), || ());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new");
    let made = remote::paths::make_dir(&host, path.as_os_str().as_encoded_bytes(), 0o755);
    assert_eq!((made, path.is_dir()), (Ok(()), true));
}

/// Stages a file of unknown size with some content, and completes it.
fn commit_at(store: &RemoteStore, attributes: &Attributes) -> types::error::Result<Preserved> {
    let root = store.open_dir(&RelPath::root()).unwrap();
    let new = NewFile { size_bytes: 7, ..NewFile::new(c".staged", c"file", attributes) };
    let staged = root.stage_file(&new).unwrap();
    staged.write_at(b"content", 0).unwrap();
    staged.commit(attributes, Vec::new())
}

#[test]
fn a_file_that_was_completed_and_not_answered_has_its_attributes() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    let path = file.clone();
    // Before the request is sent again, the mode is another one.
    let commits = AtomicU64::new(0);
    let host = losing(
        move |request| {
            let is_commit = matches!(request, Request::Commit { .. });
            if is_commit && commits.fetch_add(1, Ordering::SeqCst) == 1 {
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            }
            is_commit
        },
        || (),
    );
    let root = dir.path().as_os_str().as_encoded_bytes();
    let store = RemoteStore::open(&host, root, OpenAs::default()).unwrap();
    let attributes = Attributes { mode: Some(0o640), ..Attributes::default() };
    assert_eq!(commit_at(&store, &attributes), Ok(Preserved::ALL));
    assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o640);
    assert_eq!(std::fs::read(&file).unwrap(), b"content");
}

#[test]
fn a_staged_file_is_completed_whichever_owner_the_file_system_shows() {
    let dir = tempfile::tempdir().unwrap();
    let staged = dir.path().join(".staged");
    let is_lost = |request: &Request| matches!(request, Request::Commit { .. });
    let host =
        losing(is_lost, move || std::os::unix::fs::chown(&staged, Some(65534), None).unwrap());
    let root = dir.path().as_os_str().as_encoded_bytes();
    let store = RemoteStore::open(&host, root, OpenAs::default()).unwrap();
    assert_eq!(commit_at(&store, Attributes::NONE), Ok(Preserved::ALL));
    assert_eq!(std::fs::read(dir.path().join("file")).unwrap(), b"content");
}

#[test]
fn a_file_that_is_replaced_while_it_is_written_in_place_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("file"), "before").unwrap();
    std::fs::write(path("other"), "other").unwrap();
    let host = whole_host();
    let root = dir.path().as_os_str().as_encoded_bytes();
    let transfer = Transfer { rewriting: Rewriting::InPlace, ..Transfer::default() };
    let open_as = OpenAs { transfer, ..OpenAs::default() };
    let store = RemoteStore::open(&host, root, open_as).unwrap();
    let root = store.open_dir(&RelPath::root()).unwrap();
    let new = NewFile { size_bytes: 7, ..NewFile::new(c".staged", c"file", Attributes::NONE) };
    let staged = root.stage_file(&new).unwrap();
    staged.write_at(b"con", 0).unwrap();
    assert_eq!(staged.size_bytes(&[]), Ok(6));
    std::fs::rename(path("other"), path("file")).unwrap();
    let written = staged.write_at(b"tent", 3);
    assert_eq!(cause(written.and_then(|()| staged.size_bytes(&[]))), Cause::Replaced);
    assert_eq!(cause(staged.commit(Attributes::NONE, Vec::new())), Cause::Replaced);
    let staged = root.stage_file(&new).unwrap();
    std::fs::remove_file(path("file")).unwrap();
    assert!(staged.commit(Attributes::NONE, Vec::new()).is_err() && !path("file").exists());
}

#[test]
fn an_agent_holds_nothing_of_a_large_directory_that_is_only_entered() {
    let entered = Arc::new(AtomicU64::new(0));
    let pages = Arc::clone(&entered);
    let (dir, store) = tree(&losing(
        move |request| {
            pages.fetch_add(u64::from(matches!(request, Request::List { .. })), Ordering::SeqCst);
            false
        },
        || (),
    ));
    for number in 0..1001 {
        std::fs::write(dir.path().join(number.to_string()), "").unwrap();
    }
    let root = store.open_dir(&RelPath::root()).unwrap();
    assert_eq!(entered.load(Ordering::SeqCst), 0);
    let mut names = 0;
    root.list(&mut |_, _| names += 1).unwrap();
    assert_eq!((names, entered.load(Ordering::SeqCst)), (1001, 1));
}

#[test]
fn an_agent_whose_client_is_gone_does_nothing_more() {
    /// Takes the greeting and one answer; then the connection is broken.
    struct Gone(u32);
    impl Write for Gone {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            if self.0 == 0 { Err(std::io::ErrorKind::BrokenPipe.into()) } else { Ok(bytes.len()) }
        }
        fn flush(&mut self) -> std::io::Result<()> {
            self.0 = self.0.saturating_sub(1);
            Ok(())
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().as_os_str().as_encoded_bytes().to_vec();
    let mut input = Vec::new();
    Greeting::own().send(&mut input).unwrap();
    let mut send = |id, request: &Request| {
        frame::send(&mut input, id, &frame::encode(request).unwrap(), b"").unwrap();
    };
    send(1, &Request::Root { root: 1, path, open_as: OpenAs::default() });
    let dir_at = remote::protocol::At { root: 1, path: Vec::new() };
    for id in 2..500 {
        let name = id.to_string().into_bytes();
        send(id, &Request::MakeDir { dir: dir_at.clone(), name, mode: 0o755 });
    }
    serve(&*input, Gone(2), &AgentOptions::default()).unwrap();
    // Each thread of the agent has one request in progress at most.
    let made = std::fs::read_dir(dir.path()).unwrap().count();
    assert!(made <= types::limits::REMOTE_AGENT_THREADS, "{made}");
}

#[test]
fn a_request_that_is_too_long_does_no_harm_to_the_connection() {
    let host = whole_host();
    let (_dir, store) = tree(&host);
    let root = store.open_dir(&RelPath::root()).unwrap();
    let xattrs = (0..20).map(|number| (format!("user.{number}").into_bytes(), vec![1; 60 << 10]));
    let attributes =
        Attributes { xattrs: Some(Arc::new(xattrs.collect())), ..Attributes::default() };
    let set = requests(&host, || {
        assert_eq!(cause(root.set_attributes(&attributes)), Cause::System(libc::E2BIG));
    });
    assert_eq!(set, 0, "nothing is sent");
    assert_eq!(requests(&host, || drop(root.stat(c"x"))), 1, "on the open connection");
}
