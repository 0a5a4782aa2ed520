//! Tests of requests that travel together: how few messages small files take, and what becomes of
//! each of them where others fail or the connection breaks.

use std::ffi::CString;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::XattrFlags;

use super::lost_answers::losing;
use super::{framed, hostile, requests, tree, whole_host};
use crate::promises::cause;
use remote::protocol::{Answer, Entered, Page, Part, Request};
use remote::store::RemoteStore;
use store::opening::OpenAs;
use store::{Dir, Made, NewFile, StagedFile, Store, Upcoming};
use types::content::chunk::Extent;
use types::content::crc64::Crc64;
use types::entry::{Attributes, Hint, Kind, Preserved, Time, Xattrs};
use types::error::{Cause, Op, Result};
use types::limits::{REMOTE_BUNDLE_REQUESTS, REMOTE_HEAD_BYTES_MAX, REMOTE_WHOLE_BYTES_MAX};
use types::path::RelPath;

const FILES: usize = 20;

fn name(number: usize) -> CString {
    CString::new(format!("f{number}")).unwrap()
}

/// Begins the commits of files with that content.
fn begin(dir: &dyn Dir, files: usize, content: &[u8]) -> Vec<Box<dyn StagedFile>> {
    let attributes = Attributes { mode: Some(0o640), ..Attributes::default() };
    let begun = (0..files).map(|number| {
        let staged_name = CString::new(format!(".staged{number}")).unwrap();
        let name = name(number);
        let new = NewFile {
            mtime: Some(Time { seconds: 1, nanoseconds: 0 }),
            size_bytes: content.len() as u64,
            ..NewFile::new(&staged_name, &name, &attributes)
        };
        let staged = dir.stage_file(&new).unwrap();
        staged.write_at(content, 0).unwrap();
        assert!(staged.begin_commit(&attributes));
        staged
    });
    begun.collect()
}

fn end(begun: Vec<Box<dyn StagedFile>>) -> Vec<Result<Preserved>> {
    begun.into_iter().map(|staged| staged.commit(Attributes::NONE, Vec::new())).collect()
}

#[test]
fn many_small_files_are_written_by_one_message() {
    let host = whole_host();
    let (at, store) = tree(&host);
    let root = store.open_dir(&RelPath::root()).unwrap();
    let sent = requests(&host, || {
        for ended in end(begin(&*root, FILES, b"content")) {
            assert_eq!(ended, Ok(Preserved::ALL));
        }
    });
    assert_eq!(sent, 1);
    for number in 0..FILES {
        let path = at.path().join(name(number).to_str().unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"content");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    }
}

#[test]
fn a_message_that_is_full_leaves_without_being_waited_for() {
    let host = whole_host();
    let (_at, store) = tree(&host);
    let root = store.open_dir(&RelPath::root()).unwrap();
    let mut begun = Vec::new();
    let by_count = requests(&host, || begun = begin(&*root, REMOTE_BUNDLE_REQUESTS, b"x"));
    assert_eq!(by_count, 1);
    drop(end(begun));
    let large = vec![7; REMOTE_WHOLE_BYTES_MAX as usize];
    let by_bytes = requests(&host, || drop(end(begin(&*root, 4, &large))));
    // Two of them and what describes them do not fit one message.
    assert_eq!(by_bytes, 4);
}

#[test]
fn a_file_that_cannot_be_written_does_not_concern_the_others() {
    let host = whole_host();
    let (at, store) = tree(&host);
    std::fs::create_dir(at.path().join("f1")).unwrap();
    let root = store.open_dir(&RelPath::root()).unwrap();
    let ended = end(begin(&*root, 3, b"x"));
    assert!(ended[0].is_ok() && ended[1].is_err() && ended[2].is_ok(), "{ended:?}");
    let left: Vec<_> = std::fs::read_dir(at.path()).unwrap().collect();
    assert_eq!(left.len(), 3, "{left:?}");
}

#[test]
fn files_that_were_written_and_not_answered_are_written_again() {
    let host = losing(|request| matches!(request, Request::Each { .. }), || ());
    let (at, store) = tree(&host);
    let root = store.open_dir(&RelPath::root()).unwrap();
    for ended in end(begin(&*root, FILES, b"content")) {
        assert_eq!(ended, Ok(Preserved::ALL));
    }
    let mut found: Vec<_> = std::fs::read_dir(at.path()).unwrap().collect();
    assert_eq!(found.len(), FILES, "{found:?}");
    assert!(found.drain(..).all(|it| std::fs::read(it.unwrap().path()).unwrap() == b"content"));
}

#[test]
fn many_small_files_are_read_and_summed_by_one_message() {
    let host = whole_host();
    let (at, store) = tree(&host);
    for number in 0..FILES {
        std::fs::write(at.path().join(name(number).to_str().unwrap()), number.to_string()).unwrap();
    }
    let root = store.open_dir(&RelPath::root()).unwrap();
    let names: Vec<_> = (0..FILES).map(name).collect();
    let names: Vec<_> = names.iter().map(|name| (&**name, Hint::File)).collect();
    let read = requests(&host, || {
        let ahead = root.ahead(&names, Upcoming::Content).unwrap();
        for (number, (name, hint)) in names.iter().enumerate() {
            let file = ahead.open_listed(name, *hint).unwrap();
            let mut bytes = [0; 9];
            let count = file.read_at(&mut bytes, 0).unwrap();
            assert_eq!(&bytes[..count], number.to_string().as_bytes());
            assert_eq!(file.metadata().unwrap().kind, Kind::File);
            file.xattrs().unwrap();
        }
    });
    assert_eq!(read, 1);
    let compared = requests(&host, || {
        let ahead = root.ahead(&names, Upcoming::Checksums).unwrap();
        for (number, (name, _)) in names.iter().enumerate() {
            let content = number.to_string();
            ahead.xattrs(Some(name)).unwrap();
            let (metadata, file) = ahead.stat_open(name).unwrap();
            let file = file.unwrap();
            let whole = Extent { offset: 0, length: metadata.size_bytes };
            assert_eq!(file.crc64_of(whole), Ok(Some(Crc64::of(content.as_bytes()))));
            assert_eq!(file.metadata().unwrap(), metadata);
        }
    });
    assert_eq!(compared, 1);
}

#[test]
fn extended_attributes_come_with_the_listing_once_some_were_requested() {
    let host = whole_host();
    let (at, store) = tree(&host);
    let names: Vec<_> = (0..100).map(name).collect();
    let names: Vec<_> = names.iter().map(|name| (&**name, Hint::File)).collect();
    let give = |value: &[u8]| {
        for (name, _) in &names {
            let path = at.path().join(name.to_str().unwrap());
            std::fs::write(&path, "").unwrap();
            rustix::fs::setxattr(&path, "user.n", value, XattrFlags::empty()).unwrap();
        }
    };
    let open = || store.open_dir(&RelPath::root()).unwrap();
    let requested = |expected: &[u8]| {
        requests(&host, || {
            let dir = open();
            dir.list(&mut |_, _| ()).unwrap();
            let ahead = dir.ahead(&names, Upcoming::Xattrs).unwrap();
            for (name, _) in &names {
                let xattrs = ahead.xattrs(Some(name)).unwrap().unwrap();
                assert!(xattrs[&b"user.n"[..]] == expected);
            }
        })
    };
    let many = [7; 3000];
    assert!(names.len() as u64 * many.len() as u64 > REMOTE_WHOLE_BYTES_MAX);
    give(&many);
    let first = requested(&many);
    // Those for which an answer has no room are still requested.
    let later = requested(&many);
    assert!((2..first).contains(&later), "{later} of {first}");
    give(b"few");
    assert_eq!(requested(b"few"), 1);

    let (dir, changed) = (open(), names[0].0);
    let none = Attributes { xattrs: Some(Arc::default()), ..Attributes::NONE.clone() };
    dir.set_entry_attributes(changed, Kind::File, &none).unwrap();
    let ahead = dir.ahead(&names, Upcoming::Xattrs).unwrap();
    assert_eq!(ahead.xattrs(Some(changed)), Ok(Some(Xattrs::default())));
}

#[test]
fn a_file_that_was_summed_is_inspected_again_once_more_of_it_is_read() {
    let host = whole_host();
    let (at, store) = tree(&host);
    std::fs::write(at.path().join("file"), "before").unwrap();
    let root = store.open_dir(&RelPath::root()).unwrap();
    let ahead = root.ahead(&[(c"file", Hint::File)], Upcoming::Checksums).unwrap();
    let file = ahead.open_file(c"file").unwrap();
    let version = file.metadata().unwrap().version();
    std::fs::write(at.path().join("file"), "after it").unwrap();
    assert_eq!(file.metadata().unwrap().version(), version);
    file.read_at(&mut [0; 3], 0).unwrap();
    assert!(file.metadata().unwrap().version() != version);
}

#[test]
fn answers_that_do_not_fit_one_message_come_in_several() {
    let host = whole_host();
    let (at, store) = tree(&host);
    let large = vec![7; REMOTE_WHOLE_BYTES_MAX as usize];
    for number in 0..FILES {
        std::fs::write(at.path().join(name(number).to_str().unwrap()), &large).unwrap();
    }
    let root = store.open_dir(&RelPath::root()).unwrap();
    let names: Vec<_> = (0..FILES).map(name).collect();
    let names: Vec<_> = names.iter().map(|name| (&**name, Hint::File)).collect();
    let ahead = root.ahead(&names, Upcoming::Content).unwrap();
    for (name, hint) in &names {
        let file = ahead.open_listed(name, *hint).unwrap();
        let mut bytes = vec![0; large.len()];
        assert_eq!(file.read_at(&mut bytes, 0), Ok(large.len()));
        assert!(bytes == large);
    }
}

#[test]
fn directories_take_one_message_each_to_make_and_one_together_at_the_end() {
    let host = whole_host();
    let (_at, store) = tree(&host);
    let root = store.open_dir(&RelPath::root()).unwrap();
    let paths: Vec<_> = (0..FILES).map(|number| RelPath::root().child(&name(number))).collect();
    let made = requests(&host, || {
        for path in &paths {
            assert_eq!(store.make_dir(path, 0o755), Ok(Made::New));
            let dir = store.open_dir(path).unwrap();
            dir.metadata().unwrap();
            dir.xattrs(None).unwrap();
            assert!(cause(dir.peek(c"file", Hint::Unknown)).is_vanished());
        }
        assert_eq!(store.make_dir(&paths[0], 0o755), Ok(Made::Existed));
        assert_eq!(root.make_dir(&name(0), 0o755), Ok(Made::Existed));
    });
    assert_eq!(made, FILES as u64 + 2);
    let attributes = Attributes { mode: Some(0o700), ..Attributes::default() };
    let missing = (RelPath::root().child(c"missing"), attributes.clone());
    let all = paths.iter().map(|path| (path.clone(), attributes.clone()));
    let all: Vec<_> = all.chain([missing]).collect();
    let set = requests(&host, || {
        let set = store.set_each(&all);
        assert!(set[..FILES].iter().all(|it| *it == Ok(Preserved::ALL)), "{set:?}");
        assert!(cause(set[FILES].clone()).is_vanished());
        let looked = store.look_each(&paths);
        assert!(looked.iter().all(|it| it.as_ref().unwrap().mode & 0o777 == 0o700));
    });
    assert_eq!(set, 2);
}

/// Returns what an agent without scruples makes of two files that were requested together.
fn opened_by(answer: impl Fn() -> (Answer, Vec<u8>) + Send + Sync + 'static) -> Cause {
    let asked = AtomicU64::new(0);
    let host = hostile(move |request, id| match request {
        Request::Enter { .. } => {
            let metadata = super::metadata(Kind::Directory);
            let entered = Entered { metadata, xattrs: None, page: Some(Page::default()) };
            framed(id, &Ok(Answer::Entered(entered)), b"")
        }
        Request::Each { .. } => {
            asked.fetch_add(1, Ordering::SeqCst);
            let (answer, data) = answer();
            framed(id, &Ok(answer), &data)
        }
        _ => framed(id, &Ok(Answer::Done), b""),
    });
    let store = RemoteStore::open(&host, b"x", OpenAs::default()).unwrap();
    let looked = store.look_each(&[RelPath::root(), RelPath::root()]);
    cause(looked.into_iter().next().unwrap())
}

#[test]
fn nonsense_in_a_bundle_is_an_error_of_each() {
    let part = |head: Vec<u8>, data_bytes| Part { head, data_bytes };
    let encoded =
        |answer: Answer| remote::frame::encode(&Ok::<_, types::error::Error>(answer)).unwrap();
    let malformed = Cause::System(libc::EBADMSG);
    let done = encoded(Answer::Done);
    assert_eq!(opened_by(|| (Answer::Done, Vec::new())), malformed);
    assert_eq!(opened_by(|| (Answer::Each(Vec::new()), Vec::new())), malformed);
    let two =
        move |data_bytes| Answer::Each(vec![part(done.clone(), data_bytes), part(done.clone(), 0)]);
    let also = two.clone();
    assert_eq!(opened_by(move || (two(0), Vec::new())), malformed);
    assert_eq!(opened_by(move || (also(u32::MAX), vec![1])), malformed);
    let odd = move || Answer::Each(vec![part(vec![0xff; 9], 0), part(Vec::new(), 0)]);
    assert_eq!(opened_by(move || (odd(), Vec::new())), malformed);
    // A bundle in a bundle is never read: its depth would be that of the decoder.
    let mut deep = encoded(Answer::Done);
    while deep.len() < REMOTE_HEAD_BYTES_MAX / 4 {
        deep = encoded(Answer::Each(vec![part(deep.clone(), 0), part(deep, 0)]));
    }
    let deep = move || Answer::Each(vec![part(deep.clone(), 0), part(deep.clone(), 0)]);
    assert_eq!(opened_by(move || (deep(), Vec::new())), malformed);
}

#[test]
fn a_bundle_of_changes_is_refused_by_an_agent_that_is_read_only() {
    let options = remote::agent::AgentOptions { read_only: true, ..Default::default() };
    let host = super::host(&options, usize::MAX);
    let (at, store) = tree(&host);
    let root = store.open_dir(&RelPath::root()).unwrap();
    for ended in end(begin(&*root, 3, b"x")) {
        assert_eq!(ended, Err(Op::Write.errno(libc::EROFS)));
    }
    assert_eq!(std::fs::read_dir(at.path()).unwrap().count(), 0);
}

#[test]
fn a_request_too_long_for_any_message_fails_alone() {
    let host: Arc<_> = whole_host();
    let (_at, store) = tree(&host);
    let xattrs = (0..20).map(|number| (format!("user.{number}").into_bytes(), vec![1; 60 << 10]));
    let long = Attributes { xattrs: Some(Arc::new(xattrs.collect())), ..Attributes::default() };
    let short = Attributes { mode: Some(0o700), ..Attributes::default() };
    let all = [short.clone(), long, short].map(|attributes| (RelPath::root(), attributes));
    let set = store.set_each(&all);
    assert_eq!([&set[0], &set[2]], [&Ok(Preserved::ALL); 2]);
    assert_eq!(set[1], Err(Op::SetXattrs.errno(libc::E2BIG)));
}
