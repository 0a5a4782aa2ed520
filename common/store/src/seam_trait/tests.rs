//! Tests that decorators forward all methods except those that they override.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use crate::dir::SpyDir;
use crate::dry_run::DryRunStore;
use crate::faulty::{Faults, FaultyStore};
use crate::memory::MemoryStore;
use crate::source_file::SpyFile;
use crate::staged_file::SpyStaged;
use crate::store::SpyStore;
use crate::{
    Capabilities, Dir, DirDecorator, Made, NameReader, NewFile, NewHardLink, NewSpecial,
    NewSymlink, SourceFile, StagedFile, Store, Upcoming,
};
use types::content::chunk::Extent;
use types::content::etag::{Etag, PartedEtag};
use types::entry::{Attributes, Hint, Kind, Metadata, Time};
use types::error::{Error, Op, Result};
use types::object::key_range::KeyRange;
use types::object::keys_below::KeysBelow;
use types::object::metadata::LinkForm;
use types::path::{Name, RelPath};
use types::service::InvalidKey;

/// Names of the methods that were called.
#[derive(Default)]
pub(crate) struct Calls(Mutex<BTreeSet<&'static str>>);

impl Calls {
    pub fn note(&self, name: &'static str) {
        self.0.lock().unwrap().insert(name);
    }
}

/// Asserts that all methods of a trait except those few were called.
#[track_caller]
fn assert_all_but(calls: &Calls, methods: &[&'static str], kept_back: &[&'static str]) {
    assert!(kept_back.iter().all(|name| methods.contains(name)), "{kept_back:?} of {methods:?}");
    let wanted: BTreeSet<_> =
        methods.iter().copied().filter(|name| !kept_back.contains(name)).collect();
    assert_eq!(*calls.0.lock().unwrap(), wanted);
}

struct NoNames;

impl NameReader for NoNames {
    fn name(&mut self, _: &Name, _: Hint) {}

    fn invalid_key(&mut self, _: &[u8], _: InvalidKey) {}

    fn wants_to_share(&self) -> bool {
        false
    }

    fn may_share(&self) -> bool {
        false
    }

    fn share(&mut self, _: KeyRange) {}
}

fn root_of(store: &dyn Store) -> Arc<dyn Dir> {
    store.open_dir(&RelPath::root()).unwrap()
}

/// Returns a directory that has a file, `file`.
fn with_file() -> Arc<dyn Dir> {
    let root = root_of(&MemoryStore::new());
    let staged = root.stage_file(&NewFile::new(c".staged", c"file", Attributes::NONE)).unwrap();
    staged.write_at(b"content", 0).unwrap();
    staged.commit(Attributes::NONE, Vec::new()).unwrap();
    root
}

fn call_all_of_store(store: &dyn Store) {
    let all = |_: &[u8]| true;
    let _ = store.open_dir(&RelPath::root());
    let _ = store.device();
    let _ = store.capabilities();
    let _ = store.has_spare_handles();
    let _ = store.is_case_insensitive();
    let _ = store.chunk_bytes(1, 1);
    let _ = store.sync();
    let _ = store.is_past_help(libc::EIO);
    let _ = store.remove_keys(&[]);
    let _ = store.clock_ahead();
    let _ = store.time_range(&with_file().metadata().unwrap());
    let _ = store.look(&RelPath::root());
    let _ = store.look_each(&[RelPath::root()]);
    let _ = store.make_dir(&RelPath::root(), 0o700);
    let _ = store.set_each(&[(RelPath::root(), Attributes::default())]);
    let _ = store.view(None, &all);
    store.watch(None);
    let _ = store.check_mounts(&all);
}

fn call_all_of_dir(dir: &dyn Dir) {
    let metadata = with_file().metadata().unwrap();
    let attributes = Attributes::default();
    let (staged, name) = (c".staged", c"new");
    let new = NewFile::new(staged, name, Attributes::NONE);
    let link = NewSymlink { points_to: b"x", staged, name, mtime: None, attributes };
    let attributes = Attributes::default();
    let special = NewSpecial { kind: Kind::Fifo, device: None, staged, name, attributes };
    let other = with_file();
    let _ = dir.metadata();
    let _ = dir.list(&mut |_, _| {});
    let _ = dir.open_dir(c"dir");
    let _ = dir.stat(c"file");
    let _ = dir.open_file(c"file");
    let _ = dir.read_link(c"file");
    let _ = dir.make_dir(c"dir", 0o700);
    let _ = dir.stage_file(&new).map(StagedFile::abandon);
    let _ = dir.join_staged(b".staged", name);
    let _ = dir.make_symlink(&link);
    let _ = dir.set_attributes(Attributes::NONE);
    let _ = dir.set_entry_attributes(c"file", Kind::File, Attributes::NONE);
    let _ = dir.remove(c"new", Kind::Symlink);
    let _ = dir.read(KeyRange::default(), &mut NoNames);
    let _ = dir.is_divisible();
    let _ = dir.read_known(&KeysBelow::default(), &mut NoNames);
    let _ = dir.peek(c"file", Hint::Unknown);
    let _ = dir.stat_open(c"file");
    let _ = dir.ahead(&[(c"file", Hint::File)], Upcoming::Content);
    let _ = dir.open_listed(c"file", Hint::Unknown);
    let _ = dir.open_extent(c"file", &metadata.identity(), Extent { offset: 0, length: 1 });
    let _ = dir.stat_followed(c"file");
    let _ = dir.open_link(c"file");
    let _ = dir.xattrs(None);
    let _ = dir.layout(c"file");
    let _ = dir.default_acl_mode();
    let _ = dir.make_special(&special);
    let _ = dir.device_number(c"file");
    let _ = dir.resume_staged(&new, None);
    let _ = dir.abort_upload(name, b"ticket", None);
    let _ = dir.abort_unrecorded_uploads(name, Time::now());
    let _ = dir.link_from(&*other, c"file");
    let _ = dir.hard_link(&NewHardLink { dir: &*other, of: c"file", staged, name });
    let _ = dir.remove_unchanged(name, Kind::File, 0);
    let _ = dir.has_other_names(name, &metadata);
    let _ = dir.keys_of(None);
    let _ = dir.sync();
    let _ = dir.as_fd();
    let _ = dir.remote_address();
    let _ = dir.mount();
    let _ = dir.is_below(&metadata);
}

fn etag() -> PartedEtag {
    Etag::of_text("900150983cd24fb0d6963f7d28e17f72").unwrap().parted(3, None).unwrap()
}

fn call_all_of_file(file: &dyn SourceFile) {
    let _ = file.metadata();
    let _ = file.read_at(&mut [0], 0);
    let _ = file.xattrs();
    let _ = file.layout();
    let _ = file.bypass_cache();
    let _ = file.data_in(Extent { offset: 0, length: 1 });
    let _ = file.as_fd();
    let _ = file.server_file();
    let _ = file.checksums();
    let _ = file.parted_etag();
    let _ = file.has_equal_parts(&etag());
    let _ = file.can_checksum();
    let _ = file.crc64_of(Extent { offset: 0, length: 1 });
    let _ = file.headers();
    let _ = file.address();
}

/// Calls all methods of staged files; each of those that end one gets its own.
fn call_all_of_staged(fresh: &dyn Fn() -> Box<dyn StagedFile>) {
    let dir = with_file();
    let (file, metadata) = (dir.open_file(c"file").unwrap(), dir.stat(c"file").unwrap());
    let staged = fresh();
    let _ = staged.ticket();
    let _ = staged.write_at(b"x", 0);
    let _ = staged.size_bytes(&[]);
    let _ = staged.capabilities();
    let _ = staged.striping(1);
    let _ = staged.inode();
    let _ = staged.begin_commit(Attributes::NONE);
    let _ = staged.leave_hole(Extent { offset: 0, length: 1 });
    let _ = staged.end_at(1);
    let _ = staged.share_all(&*file, &metadata);
    let _ = staged.copy_from(&*file, 0, 1);
    let _ = staged.close();
    let _ = fresh().commit(Attributes::NONE, Vec::new());
    let _ = fresh().abandon();
}

/// A store with one directory, in which every file is the same, that records which methods of each
/// were called.
#[derive(Clone)]
struct Spied {
    root: Arc<dyn Dir>,
    of_dir: Arc<Calls>,
    of_file: Arc<Calls>,
    of_staged: Arc<Calls>,
}

impl Spied {
    fn new() -> Self {
        let (of_dir, of_file, of_staged) = (Arc::default(), Arc::default(), Arc::default());
        Self { root: with_file(), of_dir, of_file, of_staged }
    }
}

impl Store for Spied {
    fn open_dir(&self, _: &RelPath) -> Result<Arc<dyn Dir>> {
        let calls = Arc::clone(&self.of_dir);
        Ok(Arc::new(SpyDir { inner: Box::new(self.clone()), calls }))
    }

    fn device(&self) -> Result<u64> {
        Ok(0)
    }
}

impl DirDecorator for Spied {
    fn inner(&self) -> &dyn Dir {
        &*self.root
    }

    fn open_file(&self, name: &Name) -> Result<Box<dyn SourceFile>> {
        let calls = Arc::clone(&self.of_file);
        Ok(Box::new(SpyFile { inner: self.root.open_file(name)?, calls }))
    }

    fn stage_file(&self, new: &NewFile<'_>) -> Result<Box<dyn StagedFile>> {
        let calls = Arc::clone(&self.of_staged);
        Ok(Box::new(SpyStaged { inner: self.root.stage_file(new)?, calls }))
    }
}

fn call_all_of_files_in(dir: &dyn Dir) {
    call_all_of_file(&*dir.open_file(c"file").unwrap());
    let number = AtomicU32::new(0);
    call_all_of_staged(&|| {
        let staged = CString::new(format!(".{}", number.fetch_add(1, Ordering::Relaxed))).unwrap();
        dir.stage_file(&NewFile::new(&staged, c"new", Attributes::NONE)).unwrap()
    });
}

fn faulty<S: Store>(store: S) -> FaultyStore<S> {
    FaultyStore::new(store, Arc::new(Faults::new(1)))
}

fn spy_store() -> (SpyStore, Arc<Calls>) {
    let calls = Arc::default();
    (SpyStore { inner: Box::new(MemoryStore::new()), calls: Arc::clone(&calls) }, calls)
}

/// Checks that the tests below miss no method.
#[test]
fn these_tests_call_every_method() {
    let (spy, calls) = spy_store();
    call_all_of_store(&spy);
    assert_all_but(&calls, <dyn Store>::METHODS, &[]);
    let spied = Spied::new();
    call_all_of_dir(&*root_of(&spied));
    assert_all_but(&spied.of_dir, <dyn Dir>::METHODS, &[]);
    call_all_of_files_in(&*root_of(&spied));
    assert_all_but(&spied.of_file, <dyn SourceFile>::METHODS, &[]);
    assert_all_but(&spied.of_staged, <dyn StagedFile>::METHODS, &[]);
}

/// Returns a store itself, and not the object that it can be dereferenced to.
fn itself<S: Store>(store: &S) -> &dyn Store {
    store
}

#[test]
fn a_box_forwards_everything() {
    let (spy, calls) = spy_store();
    let boxed: Box<dyn Store> = Box::new(spy);
    call_all_of_store(itself(&boxed));
    assert_all_but(&calls, <dyn Store>::METHODS, &[]);
}

#[test]
fn a_faulty_store_forwards_everything() {
    let (spy, calls) = spy_store();
    call_all_of_store(&faulty(spy));
    assert_all_but(&calls, <dyn Store>::METHODS, &[]);
    let spied = Spied::new();
    call_all_of_dir(&*root_of(&faulty(spied.clone())));
    assert_all_but(&spied.of_dir, <dyn Dir>::METHODS, &[]);
    call_all_of_files_in(&*root_of(&faulty(spied.clone())));
    assert_all_but(&spied.of_file, <dyn SourceFile>::METHODS, &[]);
    assert_all_but(&spied.of_staged, <dyn StagedFile>::METHODS, &[]);
}

#[test]
fn a_dry_run_forwards_everything_but_what_changes_something() {
    let (spy, calls) = spy_store();
    call_all_of_store(&DryRunStore::new(Some(spy)));
    assert_all_but(&calls, <dyn Store>::METHODS, &["sync", "remove_keys", "make_dir", "set_each"]);
    let spied = Spied::new();
    call_all_of_dir(&*root_of(&DryRunStore::new(Some(spied.clone()))));
    let changing = [
        "make_dir",
        "stage_file",
        "join_staged",
        "make_symlink",
        "set_attributes",
        "set_entry_attributes",
        "remove",
        "remove_unchanged",
        "make_special",
        "resume_staged",
        "abort_upload",
        "abort_unrecorded_uploads",
        "link_from",
        "hard_link",
        "keys_of",
        "as_fd",
    ];
    assert_all_but(&spied.of_dir, <dyn Dir>::METHODS, &changing);
}

/// Makes each way of reading and writing fail, one operation after the other.
#[test]
fn faults_strike_in_each_way_of_reading_and_writing() {
    let opened = |op, seed, one_in| {
        let faults = Arc::new(Faults::new(seed).fail(op, libc::EIO, one_in));
        Store::open_dir(&FaultyStore::new(FilesIn(with_file()), faults), &RelPath::root())
    };
    let root = |op| opened(op, 1, 1).unwrap();
    let extent = Extent { offset: 0, length: 1 };
    let identity = with_file().stat(c"file").unwrap().identity();
    let eio = |outcome: Option<Error>, op: Op| assert_eq!(outcome, Some(op.errno(libc::EIO)));
    let listing = root(Op::List);
    eio(listing.read(KeyRange::default(), &mut NoNames).err(), Op::List);
    eio(listing.read_known(&KeysBelow::default(), &mut NoNames).err(), Op::List);
    let stat = root(Op::Stat);
    eio(stat.peek(c"file", Hint::Unknown).err(), Op::Stat);
    eio(stat.stat_open(c"file").err(), Op::Stat);
    eio(stat.stat_followed(c"file").err(), Op::Stat);
    // The root itself must be opened without a fault.
    let mut roots = (1..).filter_map(|seed| opened(Op::Open, seed, 2).ok());
    let open = roots.find(|root| root.open_file(c"file").is_err()).unwrap();
    eio(open.open_listed(c"file", Hint::Unknown).err(), Op::Open);
    eio(open.open_extent(c"file", &identity, extent).err(), Op::Open);
    eio(open.open_link(c"file").err(), Op::Open);
    let new = NewFile::new(c".staged", c"file", Attributes::NONE);
    eio(root(Op::Create).resume_staged(&new, None).err(), Op::Create);
    eio(root(Op::Create).join_staged(b".staged", c"file").err(), Op::Create);
    eio(root(Op::Link).link_from(&*with_file(), c"file").err(), Op::Link);
    let read = root(Op::Read);
    let opened = [
        read.open_listed(c"file", Hint::Unknown).unwrap(),
        read.open_extent(c"file", &identity, extent).unwrap(),
        read.stat_open(c"file").unwrap().1.unwrap(),
        read.open_link(c"file").unwrap().unwrap().0,
    ];
    for file in opened {
        eio(file.read_at(&mut [0], 0).err(), Op::Read);
        eio(file.data_in(extent).err(), Op::Read);
    }
    let (file, metadata) = (with_file().open_file(c"file").unwrap(), with_file().stat(c"file"));
    let written = root(Op::Write).stage_file(&new).unwrap();
    eio(written.copy_from(&*file, 0, 1).err(), Op::Write);
    eio(written.leave_hole(extent).err(), Op::Write);
    eio(written.end_at(1).err(), Op::Write);
    let cloned = root(Op::Clone).stage_file(&new).unwrap();
    eio(cloned.share_all(&*file, &metadata.unwrap()).err(), Op::Clone);
}

/// A store whose one directory opens files in every way that a store can.
struct FilesIn(Arc<dyn Dir>);

struct OpensFiles(Arc<dyn Dir>);

impl Store for FilesIn {
    fn open_dir(&self, _: &RelPath) -> Result<Arc<dyn Dir>> {
        Ok(Arc::new(OpensFiles(Arc::clone(&self.0))))
    }

    fn device(&self) -> Result<u64> {
        Ok(0)
    }
}

impl DirDecorator for OpensFiles {
    fn inner(&self) -> &dyn Dir {
        &*self.0
    }

    fn stat_open(&self, name: &Name) -> Result<(Metadata, Option<Box<dyn SourceFile>>)> {
        Ok((self.0.stat(name)?, Some(self.0.open_file(name)?)))
    }

    fn open_link(&self, name: &Name) -> Result<Option<(Box<dyn SourceFile>, LinkForm)>> {
        Ok(Some((self.0.open_file(name)?, LinkForm::FileType)))
    }
}

/// Checks that the directories that a dry run would create exist for later steps: empty, and like
/// their parent.
#[test]
fn what_a_dry_run_would_make_is_there_from_then_on() {
    let real = MemoryStore::new();
    root_of(&real).make_dir(c"old", 0o755).unwrap();
    let dry = DryRunStore::new(Some(real.clone()));
    let path = RelPath::root().child(c"old").child(c"new").child(c"inner");
    let by_name = root_of(&dry).open_dir(c"old").unwrap().open_dir(c"new").unwrap();
    let by_name = by_name.open_dir(c"inner").unwrap();
    for made in [by_name, dry.open_dir(&path).unwrap()] {
        assert_eq!(made.metadata().unwrap().kind, Kind::Directory);
        assert_eq!(made.default_acl_mode(), Ok(None));
        made.list(&mut |name, _| panic!("{name:?} is in it")).unwrap();
        assert_eq!(made.stat(c"x"), Err(Op::Stat.errno(libc::ENOENT)));
    }
    assert!(real.open_dir(&path).is_err());
    let nowhere = DryRunStore::<MemoryStore>::new(None);
    let root = root_of(&nowhere);
    assert_eq!(root.metadata().unwrap().kind, Kind::Directory);
    assert_eq!(root.make_dir(c"new", 0o755), Ok(Made::New));
}

/// Checks that a directory that vanishes from a tree in which a job only removes entries is
/// missing, and that nothing is removed.
#[test]
fn a_dry_run_that_creates_nothing_has_no_missing_directory() {
    let real = MemoryStore::new();
    root_of(&real).make_dir(c"old", 0o755).unwrap();
    let dry = DryRunStore::of_existing(real.clone());
    let missing = Op::Open.errno(libc::ENOENT);
    let path = RelPath::root().child(c"new");
    assert_eq!(dry.open_dir(&path).err(), Some(missing.clone()));
    assert_eq!(root_of(&dry).open_dir(c"new").err(), Some(missing));
    root_of(&dry).remove(c"old", Kind::Directory).unwrap();
    assert!(root_of(&dry).open_dir(c"old").is_ok() && root_of(&real).stat(c"old").is_ok());
}

/// Checks that a large file of a dry run is written in chunks like any other, and has its final
/// size.
#[test]
fn a_staged_file_of_a_dry_run_has_a_size() {
    let root = root_of(&DryRunStore::new(Some(MemoryStore::new())));
    let new = NewFile::new(c".staged", c"file", Attributes::NONE);
    let owner = root.stage_file(&new).unwrap();
    owner.write_at(b"0123", 0).unwrap();
    let writer = root.join_staged(&owner.ticket(), c"file").unwrap();
    let source = with_file().open_file(c"file").unwrap();
    assert_eq!(writer.copy_from(&*source, 4, 3), Ok(Some(3)));
    writer.leave_hole(Extent { offset: 7, length: 2 }).unwrap();
    let receipts: Vec<_> = writer.close().unwrap().into_iter().collect();
    assert_eq!(receipts[0].extent, Extent { offset: 4, length: 5 });
    assert_eq!((owner.size_bytes(&[]), owner.size_bytes(&receipts)), (Ok(4), Ok(9)));
    assert!(!owner.wants_content() && dry_capabilities().discards_writes);
}

fn dry_capabilities() -> Capabilities {
    DryRunStore::new(Some(MemoryStore::new())).capabilities()
}
