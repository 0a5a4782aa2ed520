//! Tests of trees on SFTP servers: OpenSSH's through its sshd and by itself, with and without its
//! extensions, and some in this process that break off or lie.

mod hostile;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::promises::{
    Exception, cause, content, keeps_all_but, link, listing, new_file, odd_attributes, put,
};
use crate::remote_hosts::{Held, Torn};
use remote::exchange::Link;
use remote::shell::{ShellOptions, start};
use sftp::host::{Host, SftpSettings};
use sftp::store::{SftpStore, is_below, make_dir_path, real_path, remove_dir_path, stat_path};
use store::opening::{OpenAs, Symlinks};
use store::{Dir, NewFile, NewHardLink, Store};
use suite_tests::sshd::{SFTP_SERVER, Sshd};
use suite_tests::{need, need_root};
use types::content::chunk::Extent;
use types::content::transfer::{Durable, Rewriting, Transfer};
use types::entry::{Attributes, Hint, Kind, Metadata, Owner, Preserved, Time, Times};
use types::error::Cause;
use types::limits::{REMOTE_SILENCE_MAX, SFTP_COPY_BLOCK_BYTES};
use types::path::RelPath;

/// Whole seconds of the protocol: the nearest ones to those of [`odd_attributes`].
fn in_seconds() -> Attributes {
    let second = |seconds| Time { seconds, nanoseconds: 0 };
    let times = Times { atime: second(1_000_000_000), mtime: second(0) };
    Attributes { times: Some(times), ..odd_attributes() }
}

/// The attributes of an entry that the protocol has.
fn attributes_of(metadata: &Metadata) -> Attributes {
    Attributes::all_of(metadata, None)
}

fn files(root: &dyn Dir, _: &dyn Store) {
    let wanted = odd_attributes();
    let new = NewFile { attributes: &wanted, ..new_file(c".staged", c"file") };
    let preserved = root.stage_file(&new).unwrap().commit(&wanted, Vec::new());
    assert_eq!(preserved, Ok(Preserved { timestamps_truncated: true, ..Preserved::ALL }));
    assert_eq!(attributes_of(&root.stat(c"file").unwrap()), in_seconds());
    let open = root.open_file(c"file").unwrap().metadata().unwrap();
    assert_eq!(attributes_of(&open), in_seconds());
}

fn directories(root: &dyn Dir, _: &dyn Store) {
    root.make_dir(c"dir", 0o700).unwrap();
    root.open_dir(c"dir").unwrap().set_attributes(&odd_attributes()).unwrap();
    assert_eq!(attributes_of(&root.stat(c"dir").unwrap()), in_seconds());
}

fn in_place(root: &dyn Dir, _: &dyn Store) {
    put(root, c"file", b"content");
    link(root, c"link", b"file");
    let wanted = odd_attributes();
    root.set_entry_attributes(c"link", Kind::Symlink, &wanted).unwrap();
    let untouched = root.stat(c"file").unwrap();
    assert_eq!((untouched.uid, untouched.mode), (0, 0o644), "the link was followed");
    let found = root.stat(c"link").unwrap();
    assert_eq!((found.kind, found.uid, found.mtime.seconds), (Kind::Symlink, 12_345, 0));
    root.set_entry_attributes(c"file", Kind::File, &wanted).unwrap();
    assert_eq!(attributes_of(&root.stat(c"file").unwrap()), in_seconds());
    assert_eq!(content(root, c"file"), b"content");
    // A link in the place of a file is not followed.
    assert_eq!(cause(root.set_entry_attributes(c"link", Kind::File, &wanted)), Cause::Changed);
    assert!(cause(root.set_entry_attributes(c"missing", Kind::File, &wanted)).is_vanished());
}

fn without_xattrs(root: &dyn Dir, _: &dyn Store) {
    put(root, c"file", b"content");
    assert_eq!(root.xattrs(Some(c"file")), Ok(None));
    let xattrs = [(b"user.one".to_vec(), b"1".to_vec())].into_iter().collect();
    let wanted = Attributes { xattrs: Some(Arc::new(xattrs)), ..Attributes::default() };
    let preserved = root.set_entry_attributes(c"file", Kind::File, &wanted);
    assert_eq!(preserved, Ok(Preserved { xattrs_lost: true, ..Preserved::ALL }));
    let none = Attributes { xattrs: Some(Arc::default()), ..Attributes::default() };
    assert_eq!(root.set_entry_attributes(c"file", Kind::File, &none), Ok(Preserved::ALL));
}

/// Promises that the protocol cannot keep.
const EXCEPTIONS: [Exception; 4] = [
    Exception {
        promise: "attributes of files come back as they were set",
        instead: ("but for times, which are of whole seconds", files),
    },
    Exception {
        promise: "attributes of directories come back as they were set",
        instead: ("but for times, which are of whole seconds", directories),
    },
    Exception {
        promise: "what is there is given attributes in place",
        instead: ("but for times, which are of whole seconds", in_place),
    },
    Exception {
        promise: "extended attributes come back, and no others",
        instead: ("there are none, and it is told", without_xattrs),
    },
];

fn settings(command: Vec<String>) -> SftpSettings {
    SftpSettings {
        name: "host".to_owned(),
        command,
        connections_max: 4,
        requests_max: None,
        data_bytes_max: None,
        silence_max: REMOTE_SILENCE_MAX,
    }
}

/// Returns the server by itself, without ssh, and with those requests denied.
fn server(denied: &str) -> Vec<String> {
    let options = if denied.is_empty() { vec![] } else { vec!["-P", denied] };
    [SFTP_SERVER].into_iter().chain(options).map(str::to_owned).collect()
}

fn local() -> Arc<Host> {
    Arc::new(Host::new(settings(server(""))))
}

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_encoded_bytes()
}

fn tree(host: &Arc<Host>) -> (tempfile::TempDir, SftpStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = SftpStore::open(host, bytes(dir.path()), OpenAs::default()).unwrap();
    (dir, store)
}

fn keeps(host: &Arc<Host>) {
    keeps_all_but(&EXCEPTIONS, &|| {
        let (dir, store) = tree(host);
        Box::new(Held(store, dir))
    });
}

fn has_server() -> bool {
    Path::new(SFTP_SERVER).exists()
}

#[test]
fn a_tree_on_a_host_with_sshd() {
    need_root!();
    need!(Sshd::is_installed() && has_server(), "sshd");
    let sshd = Sshd::start("");
    let shell = ShellOptions { shell: sshd.shell(), ..ShellOptions::default() };
    let mut command = shell.shell_words().unwrap();
    command.extend(["-s", "root@127.0.0.1", "sftp"].map(str::to_owned));
    keeps(&Arc::new(Host::new(settings(command))));
}

#[test]
fn connections_that_break_are_made_again_and_nothing_is_lost() {
    need_root!();
    need!(has_server(), "sftp-server");
    let command = server("");
    let dial = move |_: &str| {
        let link = start(&command)?;
        // Enough for each reply, and too little for all of them.
        Ok(Link { from: Box::new(Torn(link.from, 300_000)), ..link })
    };
    keeps(&Arc::new(Host::dialled(settings(Vec::new()), Box::new(dial))));
}

#[test]
fn a_server_without_extensions_does_with_the_core_of_the_protocol() {
    need_root!();
    need!(has_server(), "sftp-server");
    let denied = "posix-rename,statvfs,fstatvfs,hardlink,fsync,lsetstat,limits";
    let host = Arc::new(Host::new(settings(server(denied))));
    let (dir, store) = tree(&host);
    let root = store.open_dir(&RelPath::root()).unwrap();
    put(&*root, c"file", b"old and longer");
    put(&*root, c"file", b"new");
    assert_eq!(content(&*root, c"file"), b"new");
    root.make_dir(c"dir", 0o755).unwrap();
    let staged = root.stage_file(&new_file(c".staged", c"dir")).unwrap();
    assert_eq!(cause(staged.commit(Attributes::NONE, Vec::new())), Cause::KindDiffers);
    link(&*root, c"link", b"file");
    let wanted = Attributes { mode: None, ..odd_attributes() };
    let preserved = root.set_entry_attributes(c"link", Kind::Symlink, &wanted).unwrap();
    assert!(preserved.attributes_lost);
    assert_eq!(root.stat(c"file").unwrap().uid, 0, "the link was followed");
    root.set_entry_attributes(c"file", Kind::File, &odd_attributes()).unwrap();
    assert_eq!(attributes_of(&root.stat(c"file").unwrap()), in_seconds());
    let hard = NewHardLink { dir: &*root, of: c"file", staged: c".staged", name: c"hard" };
    assert_eq!(root.hard_link(&hard), Ok(false));
    assert_eq!(listing(&*root).len(), 3);
    let transfer = Transfer { durable: Durable::Now, ..Transfer::default() };
    let open_as = OpenAs { transfer, ..OpenAs::default() };
    let store = SftpStore::open(&host, bytes(dir.path()), open_as).unwrap();
    let root = store.open_dir(&RelPath::root()).unwrap();
    let staged = root.stage_file(&new_file(c".staged", c"synced")).unwrap();
    let refused = cause(staged.commit(Attributes::NONE, Vec::new()));
    assert_eq!(refused, Cause::System(libc::EOPNOTSUPP), "a sync that is not done is told");
    assert_eq!(listing(&*root).len(), 3);
}

#[test]
fn paths_as_the_operator_writes_them() {
    need_root!();
    need!(has_server(), "sftp-server");
    let (host, dir) = (local(), tempfile::tempdir().unwrap());
    let path = |name: &str| dir.path().join(name);
    let at = |name: &str| bytes(&path(name)).to_vec();
    assert_eq!(make_dir_path(&host, &at("new"), 0o700), Ok(()));
    assert_eq!(cause(make_dir_path(&host, &at("new"), 0o700)), Cause::System(libc::EEXIST));
    std::os::unix::fs::symlink("new", path("link")).unwrap();
    std::os::unix::fs::symlink("nowhere", path("dangling")).unwrap();
    let look = |name: &str, symlinks| stat_path(&host, &at(name), symlinks);
    assert_eq!(look("link", Symlinks::Keep).unwrap().kind, Kind::Symlink);
    let led_to = look("link", Symlinks::Follow).unwrap();
    assert!(led_to.is_same_file(&look("new", Symlinks::Keep).unwrap()));
    assert!(cause(look("dangling", Symlinks::Follow)).is_vanished());
    assert_eq!(real_path(&host, &at("link")), Some(at("new")));
    assert_eq!(real_path(&host, &at("nowhere")), None);
    let above = look(".", Symlinks::Follow).unwrap();
    assert!(is_below(&host, &at("link"), &above) && is_below(&host, &at(""), &above));
    assert!(!is_below(&host, b"/", &above));
    let store = SftpStore::open(&host, &at("link"), OpenAs::default()).unwrap();
    assert!(store.root_metadata().is_same_file(&led_to));
    put(&*store.open_dir(&RelPath::root()).unwrap(), c"file", b"x");
    assert_eq!(cause(remove_dir_path(&host, &at("new"))), Cause::System(libc::ENOTEMPTY));
    assert_eq!(cause(remove_dir_path(&host, &at("link"))), Cause::System(libc::ENOTDIR));
    std::fs::remove_file(path("new/file")).unwrap();
    assert_eq!(remove_dir_path(&host, &at("new")), Ok(()));
    assert!(cause(SftpStore::open(&host, &at("link"), OpenAs::default()).map(drop)).is_vanished());
}

#[test]
fn hard_links_and_what_they_replace() {
    need_root!();
    need!(has_server(), "sftp-server");
    let host = local();
    let (dir, store) = tree(&host);
    let root = store.open_dir(&RelPath::root()).unwrap();
    put(&*root, c"one", b"1");
    put(&*root, c"two", b"2");
    root.make_dir(c"sub", 0o755).unwrap();
    let sub = root.open_dir(c"sub").unwrap();
    let linked = |dir: &dyn Dir, to: &dyn Dir, name| {
        to.hard_link(&NewHardLink { dir, of: c"one", staged: c".staged", name })
    };
    assert_eq!(linked(&*root, &*sub, c"new"), Ok(true));
    assert_eq!(linked(&*root, &*root, c"two"), Ok(true), "an entry is replaced");
    assert_eq!(linked(&*root, &*root, c"two"), Ok(true), "it is a link already");
    assert!(linked(&*root, &*root, c"sub").is_err(), "a directory is not replaced");
    assert_eq!(sub.link_from(&*root, c"two"), Ok(true));
    let inode = |name: &str| {
        std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(dir.path().join(name)).unwrap())
    };
    for name in ["two", "sub/new", "sub/two"] {
        assert_eq!(inode(name), inode("one"), "{name}");
    }
    assert_eq!(listing(&*root).len(), 3);
}

#[test]
fn a_large_file_is_read_in_any_pieces() {
    need_root!();
    need!(has_server(), "sftp-server");
    let host = local();
    let (dir, store) = tree(&host);
    let whole: Vec<u8> = (0..3_000_001_u32).map(|n| (n ^ n >> 9) as u8).collect();
    std::fs::write(dir.path().join("file"), &whole).unwrap();
    let root = store.open_dir(&RelPath::root()).unwrap();
    for (length, is_listed) in [(70_001, false), (1 << 20, true), (4 << 20, false), (999, true)] {
        let opened =
            if is_listed { root.open_listed(c"file", Hint::File) } else { root.open_file(c"file") };
        let file = opened.unwrap();
        let (mut read, mut buffer) = (Vec::new(), vec![0; length]);
        loop {
            let count = file.read_at(&mut buffer, read.len() as u64).unwrap();
            read.extend_from_slice(&buffer[..count]);
            if count == 0 {
                break;
            }
        }
        assert!(read == whole, "{length}");
    }
    let file = root.open_file(c"file").unwrap();
    let mut buffer = [0; 10];
    for offset in [2_999_995, 5, 1_000_000, 5, 2_999_999] {
        let count = file.read_at(&mut buffer, offset as u64).unwrap();
        let expected = &whole[offset..whole.len().min(offset + 10)];
        assert_eq!(&buffer[..count], expected, "{offset}");
    }
    let identity = file.metadata().unwrap().identity();
    let extent = Extent { offset: 7, length: 9 };
    assert!(root.open_extent(c"file", &identity, extent).is_ok());
    std::fs::write(dir.path().join("file"), "shorter").unwrap();
    let changed = root.open_extent(c"file", &identity, extent).map(drop);
    assert_eq!(cause(changed), Cause::Changed);
}

#[test]
fn a_server_copies_its_files_itself_where_it_can() {
    need_root!();
    need!(has_server(), "sftp-server");
    let whole: Vec<u8> = (0..3_000_001_u32).map(|n| (n ^ n >> 9) as u8).collect();
    for denied in ["", "copy-data"] {
        let host = Arc::new(Host::new(settings(server(denied))));
        let (dir, store) = tree(&host);
        std::fs::write(dir.path().join("from"), &whole).unwrap();
        let root = store.open_dir(&RelPath::root()).unwrap();
        let source = root.open_file(c"from").unwrap();
        let staged = root.stage_file(&new_file(c".staged", c"to")).unwrap();
        for (begin, end) in [(1_000_000, 3_000_001), (0, 1_000_000)] {
            let (mut at, mut moved) = (begin, 0);
            while let Some(more) = staged.copy_from(&*source, at, end - at).unwrap() {
                (at, moved) = (at + more, moved + more);
            }
            // The last block is not left to the server.
            let expected = (end - begin).saturating_sub(SFTP_COPY_BLOCK_BYTES);
            assert_eq!(moved, if denied.is_empty() { expected } else { 0 });
            staged.write_at(&whole[at as usize..end as usize], at).unwrap();
            host.break_connections();
        }
        staged.commit(Attributes::NONE, Vec::new()).unwrap();
        assert!(content(&*root, c"to") == whole, "{denied}");

        let staged = root.stage_file(&new_file(c".staged", c"other")).unwrap();
        let moved = || staged.copy_from(&*source, 0, 2_000_000).unwrap();
        std::fs::write(dir.path().join("from"), "changed").unwrap();
        assert_eq!(moved(), None, "a changed file");
        std::fs::remove_file(dir.path().join("from")).unwrap();
        assert_eq!(moved(), None, "no file");
        std::os::unix::fs::symlink("to", dir.path().join("from")).unwrap();
        assert_eq!(moved(), None, "a link");
        staged.abandon().unwrap();
    }
    let (one, other) = (
        local(),
        Arc::new(Host::new(SftpSettings { name: "other".to_owned(), ..settings(server("")) })),
    );
    let ((dir, store), (_other_dir, other)) = (tree(&one), tree(&other));
    std::fs::write(dir.path().join("from"), &whole).unwrap();
    let source = store.open_dir(&RelPath::root()).unwrap().open_file(c"from").unwrap();
    let to = other.open_dir(&RelPath::root()).unwrap();
    let staged = to.stage_file(&new_file(c".staged", c"to")).unwrap();
    assert_eq!(staged.copy_from(&*source, 0, 2_000_000), Ok(None), "another host");
}

#[test]
fn what_is_no_file_is_never_opened() {
    need_root!();
    need!(has_server(), "sftp-server");
    let host = local();
    let (dir, store) = tree(&host);
    let fifo: PathBuf = dir.path().join("fifo");
    let (at, mode) = (rustix::fs::CWD, rustix::fs::Mode::RWXU);
    rustix::fs::mknodat(at, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let root = store.open_dir(&RelPath::root()).unwrap();
    // It would wait for a writer, and the server with it.
    assert_eq!(cause(root.open_file(c"fifo").map(drop)), Cause::Changed);
    assert_eq!(cause(root.join_staged(b"fifo", c"x").map(drop)), Cause::Replaced);
    // One that a listing has shown as a file is opened first, and given up.
    let silence_max = Duration::from_millis(200);
    let host = Arc::new(Host::new(SftpSettings { silence_max, ..settings(server("")) }));
    let store = SftpStore::open(&host, bytes(dir.path()), OpenAs::default()).unwrap();
    let root = store.open_dir(&RelPath::root()).unwrap();
    assert_eq!(cause(root.open_listed(c"fifo", Hint::File).map(drop)), Cause::Changed);
    assert_eq!(listing(&*root).into_values().collect::<Vec<_>>(), [Hint::Other]);
}

#[test]
fn a_file_is_rewritten_in_place() {
    need_root!();
    need!(has_server(), "sftp-server");
    let (host, dir) = (local(), tempfile::tempdir().unwrap());
    let transfer = Transfer { rewriting: Rewriting::InPlace, ..Transfer::default() };
    let open_as = OpenAs { transfer, ..OpenAs::default() };
    let store = SftpStore::open(&host, bytes(dir.path()), open_as).unwrap();
    let root = store.open_dir(&RelPath::root()).unwrap();
    std::fs::write(dir.path().join("file"), "old and longer").unwrap();
    let inode = || {
        std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(dir.path().join("file")).unwrap())
    };
    let old_inode = inode();
    let new = NewFile { size_bytes: 8, ..new_file(c".staged", c"file") };
    let staged = root.stage_file(&new).unwrap();
    staged.write_at(b"new", 0).unwrap();
    staged.leave_hole(Extent { offset: 3, length: 5 }).unwrap();
    staged.commit(Attributes::NONE, Vec::new()).unwrap();
    assert_eq!(std::fs::read(dir.path().join("file")).unwrap(), b"new\0\0\0\0\0");
    assert_eq!(inode(), old_inode);
}

#[test]
fn a_directory_of_many_names_is_listed_whole() {
    need_root!();
    need!(has_server(), "sftp-server");
    let host = local();
    let (dir, store) = tree(&host);
    for number in 0..1234 {
        std::fs::write(dir.path().join(number.to_string()), "x").unwrap();
    }
    let root = store.open_dir(&RelPath::root()).unwrap();
    assert_eq!(listing(&*root).len(), 1234);
    assert_eq!(root.peek(c"77", Hint::File).unwrap().size_bytes, 1);
    assert!(cause(root.peek(c"missing", Hint::Unknown)).is_vanished());
}

#[test]
fn set_id_bits_are_rights_of_the_owner_that_was_set() {
    need_root!();
    need!(has_server(), "sftp-server");
    let host = local();
    let (_dir, store) = tree(&host);
    let root = store.open_dir(&RelPath::root()).unwrap();
    let owner = Owner { uid: 12_345, gid: Owner::AS_IT_IS };
    let wanted = Attributes { owner: Some(owner), mode: Some(0o4755), ..Attributes::default() };
    let staged = root.stage_file(&new_file(c".staged", c"file")).unwrap();
    staged.commit(&wanted, Vec::new()).unwrap();
    let found = root.stat(c"file").unwrap();
    assert_eq!((found.uid, found.gid, found.mode), (12_345, 0, 0o4755));
}
