//! Tests of objects as a store: the promises of every other store, the exceptions by name, and the
//! properties that only objects have.

#[path = "../../../common/tests/components/stores/promises.rs"]
mod promises;

use std::collections::BTreeMap;
use std::ffi::CString;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use promises::{Exception, cause, content, link, listing, new_file, put};
use s3::config::settings::{Credentials, ObjectOptions, Renewal, Secret, Settings};
use s3::{ObjectStore, Service};
use store::{Dir, Made, NameReader, NewFile, ObjectAddress, Receipt, StagedFile, Store, Writers};
use suite_tests::object_server::{Behaviour, ObjectServer, Operation, Quirk};
use suite_tests::seaweed::Seaweed;
use suite_tests::trees::noise;
use types::entry::{Attributes, Hint, Kind, Preserved};
use types::error::Cause;
use types::object::key_range::KeyRange;
use types::object::metadata::Schema;
use types::outcome::difference::Fields;
use types::path::{Name, RelPath};
use types::service::{InvalidKey, ServiceFault};

const PART_BYTES: u64 = 5 << 20;

/// Returns a service by its environment variables.
fn service(environment: &[(&'static str, String)]) -> Arc<Service> {
    let value = |key: &str| environment.iter().find(|(name, _)| *name == key).unwrap().1.clone();
    Arc::new(Service::new(Settings {
        endpoint_url: Some(value("AWS_ENDPOINT_URL")),
        region: value("AWS_REGION"),
        path_style: true,
        use_dual_stack: false,
        use_fips: false,
        ca_bundle: None,
        credentials: Credentials::Keys {
            access_key_id: value("AWS_ACCESS_KEY_ID"),
            secret_access_key: Secret::new(value("AWS_SECRET_ACCESS_KEY")),
            session_token: None,
            expires_seconds: None,
        },
        renewal: Renewal::Never,
        part_bytes: None,
        upload_cutoff_bytes: None,
        copy_cutoff_bytes: None,
        concurrency: None,
        object: ObjectOptions::default(),
        metadata: Schema::default(),
        sign_payload: false,
        directory_markers: false,
        disable_checksum: false,
        opaque_etags: false,
        give_up_after: types::limits::S3_GIVE_UP_AFTER,
        lists_by_marker: false,
        attempts_max: None,
    }))
}

/// Starts a server with a bucket; returns its root, too.
fn served(behaviour: Behaviour) -> (ObjectServer, Arc<dyn Dir>) {
    let server = ObjectServer::start(behaviour);
    server.make_bucket("bucket");
    let root = root_of(&service(&server.environment()), "");
    (server, root)
}

fn root_of(service: &Arc<Service>, prefix: &str) -> Arc<dyn Dir> {
    ObjectStore::new(service, "bucket", prefix).open_dir(&RelPath::root()).unwrap()
}

/// Promises that objects cannot fulfil, because there are no directories.
const EXCEPTIONS: [Exception; 9] = [
    Exception {
        promise: "a directory that was made is there",
        instead: ("a directory is there while something is in it", directories_come_with_entries),
    },
    Exception {
        promise: "a file is no directory",
        instead: ("a file can be the beginning of other keys", files_beside_directories),
    },
    Exception {
        promise: "a staged file has a name of its own that nobody else can use or read",
        instead: ("a staged file has no name, and the last to commit wins", staged_without_names),
    },
    Exception {
        promise: "a commit never replaces a directory",
        instead: ("a commit leaves alone what is below its key", commits_beside_directories),
    },
    Exception {
        promise: "attributes of directories come back as they were set",
        instead: ("nothing is known of a directory", directories_have_no_attributes),
    },
    Exception {
        promise: "extended attributes come back, and no others",
        instead: ("extended attributes are lost, and that is told", extended_attributes_are_lost),
    },
    Exception {
        promise: "what cannot be removed says so",
        instead: ("in vain is removed in silence, and nothing else goes", removing_in_vain),
    },
    Exception {
        promise: "links are never followed",
        instead: ("an open link is itself", links_are_themselves),
    },
    Exception {
        promise: "what is missing says so",
        instead: ("what is missing says so, but for directories", missing_objects),
    },
];

fn directories_come_with_entries(root: &dyn Dir, store: &dyn Store) {
    assert_eq!(root.make_dir(c"a", 0o755), Ok(Made::New));
    assert!(listing(root).is_empty());
    assert!(cause(root.stat(c"a")).is_vanished());
    put(&*root.open_dir(c"a").unwrap(), c"file", b"x");
    let later = store.open_dir(&RelPath::root()).unwrap();
    assert_eq!(later.make_dir(c"a", 0o755), Ok(Made::Existed));
    assert_eq!(root.stat(c"a").unwrap().kind, Kind::Directory);
    assert_eq!(listing(root).into_iter().collect::<Vec<_>>(), [(c"a".to_owned(), Hint::Directory)]);
}

fn files_beside_directories(root: &dyn Dir, _: &dyn Store) {
    put(root, c"file", b"x");
    assert_eq!(cause(root.make_dir(c"file", 0o755)), Cause::KindDiffers);
    assert!(listing(&*root.open_dir(c"file").unwrap()).is_empty());
}

fn staged_without_names(root: &dyn Dir, _: &dyn Store) {
    let attributes = Attributes { mode: Some(0o640), ..promises::odd_attributes() };
    let new = NewFile { attributes: &attributes, ..new_file(c".staged", c"file") };
    let (first, second) = (root.stage_file(&new).unwrap(), root.stage_file(&new).unwrap());
    first.write_at(b"first", 0).unwrap();
    second.write_at(b"second", 0).unwrap();
    assert!(listing(root).is_empty());
    second.commit(&attributes, Vec::new()).unwrap();
    assert_eq!(content(root, c"file"), b"second");
    first.commit(&attributes, Vec::new()).unwrap();
    assert_eq!(content(root, c"file"), b"first");
    assert_eq!(root.stat(c"file").unwrap().mode, 0o640);
}

fn commits_beside_directories(root: &dyn Dir, _: &dyn Store) {
    let dir = root.open_dir(c"dir").unwrap();
    put(&*dir, c"inside", b"1");
    let staged = root.stage_file(&new_file(c".staged", c"dir")).unwrap();
    staged.write_at(b"2", 0).unwrap();
    // Some services refuse it.
    let _ = staged.commit(&Attributes::default(), Vec::new());
    assert_eq!(content(&*dir, c"inside"), b"1");
}

fn directories_have_no_attributes(root: &dyn Dir, _: &dyn Store) {
    let dir = root.open_dir(c"dir").unwrap();
    put(&*dir, c"inside", b"1");
    dir.set_attributes(&promises::odd_attributes()).unwrap();
    assert_eq!(dir.metadata().unwrap().known, Fields::TYPE);
    assert_eq!(root.stat(c"dir").unwrap().known, Fields::TYPE);
    assert_eq!(listing(&*dir).len(), 1);
}

fn extended_attributes_are_lost(root: &dyn Dir, _: &dyn Store) {
    let xattrs = [(b"user.one".to_vec(), b"1".to_vec())].into_iter().collect();
    let with = Attributes { xattrs: Some(Arc::new(xattrs)), ..promises::odd_attributes() };
    let lost = Ok(Preserved { xattrs_lost: true, ..Preserved::ALL });
    let staged = root.stage_file(&new_file(c".staged", c"file")).unwrap();
    let of = |kept: Result<Preserved, _>| {
        kept.map(|it| Preserved { proof: None, is_unstored: false, ..it })
    };
    assert_eq!(of(staged.commit(&with, Vec::new())), lost);
    assert_eq!(of(root.set_entry_attributes(c"file", Kind::File, &with)), lost);
    assert_eq!(root.xattrs(Some(c"file")), Ok(None));
    assert_eq!(root.open_file(c"file").unwrap().xattrs(), Ok(None));
    let none = Attributes { xattrs: Some(Arc::default()), ..promises::odd_attributes() };
    assert_eq!(of(root.set_entry_attributes(c"file", Kind::File, &none)), Ok(Preserved::ALL));
}

fn removing_in_vain(root: &dyn Dir, _: &dyn Store) {
    put(root, c"file", b"1");
    let dir = root.open_dir(c"dir").unwrap();
    put(&*dir, c"inside", b"2");
    for (name, kind) in [
        (c"dir", Kind::Directory),
        (c"file", Kind::Directory),
        (c"missing", Kind::File),
        (c"missing", Kind::Symlink),
    ] {
        let _ = root.remove(name, kind);
    }
    assert_eq!((content(root, c"file"), content(&*dir, c"inside")), (b"1".into(), b"2".into()));
}

fn links_are_themselves(root: &dyn Dir, _: &dyn Store) {
    put(root, c"file", b"content");
    link(root, c"link", b"file");
    let open = root.open_file(c"link").unwrap();
    assert_eq!(open.metadata().unwrap().kind, Kind::Symlink);
    assert_eq!(content(root, c"link"), b"file");
    assert!(listing(&*root.open_dir(c"link").unwrap()).is_empty());
    put(root, c"link", b"now a file");
    assert_eq!(root.stat(c"link").unwrap().kind, Kind::File);
    assert_eq!(
        (content(root, c"link"), content(root, c"file")),
        (b"now a file".into(), b"content".into())
    );
    assert_eq!(listing(root).len(), 2);
}

fn missing_objects(root: &dyn Dir, store: &dyn Store) {
    let enoent = Cause::System(libc::ENOENT);
    assert_eq!(cause(root.stat(c"x")), enoent);
    assert_eq!(cause(root.open_file(c"x").map(drop)), enoent);
    assert_eq!(cause(root.read_link(c"x")), enoent);
    assert!(listing(&*root.open_dir(c"x").unwrap()).is_empty());
    assert!(listing(&*store.open_dir(&RelPath::root().child(c"x")).unwrap()).is_empty());
}

#[test]
fn objects_in_a_bucket() {
    let server = ObjectServer::start(Behaviour::default());
    let service = service(&server.environment());
    let buckets = AtomicU32::new(0);
    let mut exceptions = EXCEPTIONS.to_vec();
    exceptions.push(Exception {
        promise: "any name works",
        instead: ("any name but one of blanks works at the top", |root, _| {
            let is_blank = |name: &CString| name.to_str().is_ok_and(|text| text.trim().is_empty());
            let all = promises::odd_names();
            let (blank, others): (Vec<_>, Vec<_>) = all.into_iter().partition(is_blank);
            promises::keep_names(root, &others);
            let refused =
                |name: &CString| cause(root.stage_file(&new_file(c".staged", name)).map(drop));
            assert!(blank.iter().all(|name| refused(name) == Cause::Key(InvalidKey::Blank)));
        }),
    });
    promises::keeps_all_but(&exceptions, &|| {
        let bucket = format!("bucket-{}", buckets.fetch_add(1, Ordering::Relaxed));
        server.make_bucket(&bucket);
        Box::new(ObjectStore::new(&service, &bucket, ""))
    });
}

/// Checks that keys beside the prefix, and longer keys that begin like it, are not among its
/// entries.
#[test]
fn objects_below_a_prefix() {
    let server = ObjectServer::start(Behaviour::default());
    let service = service(&server.environment());
    let prefixes = AtomicU32::new(0);
    promises::keeps_all_but(&EXCEPTIONS, &|| {
        let prefix = format!("some/{}p", prefixes.fetch_add(1, Ordering::Relaxed));
        for neighbour in ["", ".x", "0/x", " /x"] {
            server.put("bucket", &format!("{prefix}{neighbour}"), "a neighbour");
        }
        Box::new(ObjectStore::new(&service, "bucket", &prefix))
    });
}

/// Checks a server of others, which stores objects as files.
#[test]
fn objects_of_seaweedfs() {
    let server = Seaweed::start("bucket");
    let service = service(&server.environment());
    let prefixes = AtomicU32::new(0);
    let mut exceptions = EXCEPTIONS.to_vec();
    exceptions.push(Exception {
        promise: "any name works",
        instead: ("any name without a backslash works", |root, _| {
            let mut odd = promises::odd_names();
            odd.retain(|name| name.to_bytes() != b"\\");
            promises::keep_names(root, &odd);
        }),
    });
    promises::keeps_all_but(&exceptions, &|| {
        let prefix = format!("some/{}", prefixes.fetch_add(1, Ordering::Relaxed));
        Box::new(ObjectStore::new(&service, "bucket", &prefix))
    });
    let root = root_of(&service, "parts");
    ranges_are_copied_by_the_service(&*root);
    what_is_replaced_while_it_is_read_has_changed(&*root);
}

/// Creates an object of parts, which different writers send.
fn in_parts(
    root: &dyn Dir,
    size_bytes: u64,
    part_bytes: u64,
    from: Option<ObjectAddress>,
) -> Box<dyn StagedFile> {
    let writers = Writers::Several { chunk_bytes: part_bytes };
    let names = new_file(c".staged", c"target");
    root.stage_file(&NewFile { size_bytes, writers, from, ..names }).unwrap()
}

/// Checks that the service copies each range itself, in any order.
fn ranges_are_copied_by_the_service(root: &dyn Dir) {
    let whole = noise(2 * PART_BYTES as usize + 77);
    put(root, c"source", &whole);
    let source = root.open_file(c"source").unwrap();
    let owner = in_parts(root, whole.len() as u64, PART_BYTES, source.address());
    let mut receipts = Vec::new();
    for part in [2, 0, 1] {
        let offset = part * PART_BYTES;
        let length = PART_BYTES.min(whole.len() as u64 - offset);
        let writer = root.join_staged(&owner.ticket(), c"target").unwrap();
        assert_eq!(writer.copy_from(&*source, offset, length), Ok(Some(length)));
        receipts.extend(writer.close().unwrap());
    }
    owner.commit(&Attributes::default(), receipts).unwrap();
    assert!(content(root, c"target") == whole);
}

#[test]
fn a_copy_with_ranges_moves_no_content_through_the_client() {
    let (server, root) = served(Behaviour::default());
    ranges_are_copied_by_the_service(&*root);
    let counts = server.counts();
    assert_eq!((counts.of(Operation::UploadPartCopy), counts.of(Operation::UploadPart)), (3, 0));
    // What it has cost to read it for the check.
    assert_eq!(counts.of(Operation::GetObject), 1);
}

fn what_is_replaced_while_it_is_read_has_changed(root: &dyn Dir) {
    put(root, c"file", &noise(1 << 20));
    let open = root.open_file(c"file").unwrap();
    let mut buffer = [0; 1000];
    open.read_at(&mut buffer, 0).unwrap();
    let mut other = noise(1 << 20);
    other[1000] ^= 1;
    put(root, c"file", &other);
    // The first body may have been sent already; a later request must not be of the new object.
    assert_eq!(cause(open.read_at(&mut buffer, 900_000)), Cause::Changed);
    let identity = open.metadata().unwrap().identity();
    let extent = types::content::chunk::Extent { offset: 0, length: 10 };
    assert_eq!(cause(root.open_extent(c"file", &identity, extent).map(drop)), Cause::Changed);
}

#[test]
fn a_replaced_object_is_noticed_by_who_reads_it() {
    let (_server, root) = served(Behaviour::default());
    what_is_replaced_while_it_is_read_has_changed(&*root);
}

/// Checks as many parts as S3 allows, one byte each: the numbers, the list and the composite
/// checksum.
#[test]
fn ten_thousand_parts_out_of_order_make_one_object() {
    const PARTS: usize = 10_000;
    let (server, root) = served(Behaviour::with_quirks(&[Quirk::SmallParts]));
    let whole = noise(PARTS);
    let owner = in_parts(&*root, PARTS as u64, 1, None);
    let ticket = owner.ticket();
    let receipts: Mutex<Vec<Receipt>> = Mutex::default();
    std::thread::scope(|scope| {
        for first in 0..4 {
            let (root, ticket, whole, receipts) = (&root, &ticket, &whole, &receipts);
            scope.spawn(move || {
                // 7919 and 10,000 have no divisor in common: each part once, in no order.
                for step in (first..PARTS).step_by(4) {
                    let part = step * 7919 % PARTS;
                    let writer = root.join_staged(ticket, c"target").unwrap();
                    writer.write_at(&whole[part..=part], part as u64).unwrap();
                    receipts.lock().unwrap().extend(writer.close().unwrap());
                }
            });
        }
    });
    let beyond = root.join_staged(&ticket, c"target").unwrap();
    beyond.write_at(b"x", PARTS as u64).unwrap();
    assert_eq!(cause(beyond.close()), Cause::Service(ServiceFault::Status(400)));
    owner.commit(&Attributes::default(), receipts.into_inner().unwrap()).unwrap();
    assert!(content(&*root, c"target") == whole);
    let object = server.get("bucket", "target").unwrap();
    assert!(object.etag.ends_with("-10000"), "{}", object.etag);
    assert!(object.sums.checksum_crc64nvme.is_some(), "the service has checked the whole");
    assert_eq!(server.counts().of(Operation::UploadPart), 1 + PARTS as u64);
}

#[test]
fn a_listing_has_every_key_once_over_more_than_a_thousand_pages() {
    const KEYS: usize = 2_203;
    let (server, root) = served(Behaviour { page_keys: 2, ..Behaviour::default() });
    let names: Vec<CString> =
        (0..KEYS).map(|n| CString::new(format!("f{n:05}")).unwrap()).collect();
    for name in &names {
        server.put("bucket", name.to_str().unwrap(), "x");
    }
    assert_eq!(listing(&*root).into_keys().collect::<Vec<_>>(), names);
    assert_eq!(server.counts().of(Operation::ListObjectsV2), KEYS.div_ceil(2) as u64);
}

/// Checks that keys that are names come back as they are; others are reported, each once, with the
/// reason.
#[test]
fn odd_keys_are_names_or_are_told() {
    let (server, root) = served(Behaviour { page_keys: 3, ..Behaviour::default() });
    let names = [
        "a b ",
        "a+b",
        "a%2Fb",
        "%",
        "+",
        "n\nl",
        "\u{1}",
        "Ä日本語🙂",
        "...",
        ".rclonelink",
        "q\"<>&'\\",
    ];
    let invalid_key = [
        ("..", InvalidKey::DotComponent),
        (".", InvalidKey::DotComponent),
        ("../", InvalidKey::DotComponent),
        ("/", InvalidKey::EmptyComponent),
        ("n\0ul", InvalidKey::Nul),
        ("‛C3‛A4", InvalidKey::Escape),
    ];
    for name in names {
        server.put("bucket", name, "file");
    }
    for key in ["..", ".", "../up", "/lead", "//", "n\0ul", "‛C3‛A4"] {
        server.put("bucket", key, "hostile");
    }
    server.put("bucket", "not-utf-8-‛FF", "file");
    server.put("bucket", "l.rclonelink", "target");
    server.put("bucket", "d/", "");
    server.put("bucket", "e//f", "");
    let mut expected: BTreeMap<CString, Kind> =
        names.iter().map(|name| (CString::new(*name).unwrap(), Kind::File)).collect();
    expected.insert(c"not-utf-8-\xff".to_owned(), Kind::File);
    expected.insert(c"l".to_owned(), Kind::Symlink);
    expected.insert(c"d".to_owned(), Kind::Directory);
    expected.insert(c"e".to_owned(), Kind::Directory);
    let found = listing_with_unfit(&*root);
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (name, hint) in &found {
        assert_eq!(root.peek(name, *hint).unwrap().kind, expected[name], "{name:?}");
        assert_eq!(root.stat(name).unwrap().kind, expected[name], "{name:?}");
        if expected[name] == Kind::File {
            assert_eq!(content(&*root, name), b"file", "{name:?}");
        }
    }
    assert_eq!(root.read_link(c"l").unwrap(), b"target");
    let mut told = unfit_of(&*root);
    told.sort_by(|a, b| a.0.cmp(&b.0));
    let expected = invalid_key.into_iter().map(|(key, why)| (key.as_bytes().to_vec(), why));
    assert_eq!(told, expected.collect::<BTreeMap<_, _>>().into_iter().collect::<Vec<_>>());
    let empty = root.open_dir(c"e").unwrap();
    assert!(listing_with_unfit(&*empty).is_empty());
    assert_eq!(unfit_of(&*empty), [(b"/".to_vec(), InvalidKey::EmptyComponent)]);
}

/// Lists a directory in which some keys are not paths: an error of the whole listing, which reports
/// the others all the same.
fn listing_with_unfit(dir: &dyn Dir) -> BTreeMap<CString, Hint> {
    let mut found = BTreeMap::new();
    let listed = dir.list(&mut |name, hint| {
        found.insert(name.to_owned(), hint);
    });
    assert!(matches!(listed.unwrap_err().cause, Cause::Key(_)));
    found
}

/// Returns the keys below a directory that cannot be entries, in any order.
fn unfit_of(dir: &dyn Dir) -> Vec<(Vec<u8>, InvalidKey)> {
    struct Reader(Vec<(Vec<u8>, InvalidKey)>);
    impl NameReader for Reader {
        fn name(&mut self, _name: &Name, _hint: Hint) {}

        fn invalid_key(&mut self, key: &[u8], why: InvalidKey) {
            self.0.push((key.to_vec(), why));
        }

        fn wants_to_share(&self) -> bool {
            false
        }

        fn may_share(&self) -> bool {
            false
        }

        fn share(&mut self, _rest: KeyRange) {}
    }
    let mut reader = Reader(Vec::new());
    dir.read(KeyRange::default(), &mut reader).unwrap();
    reader.0
}

/// Checks that a file is refused a name by which it would come back as a symbolic link.
#[test]
fn a_name_that_stands_for_a_link_is_refused_to_a_file() {
    let (server, root) = served(Behaviour::default());
    let name = c"x.rclonelink";
    assert!(cause(root.stat(name)).is_vanished());
    let refused = root.stage_file(&new_file(c".staged", name)).map(drop);
    assert_eq!(cause(refused), Cause::Key(InvalidKey::LinkName));
    assert_eq!(server.counts().writes(), 0);
    // A directory may have it.
    put(&*root.open_dir(name).unwrap(), c"inside", b"1");
    assert_eq!(
        listing(&*root).into_iter().collect::<Vec<_>>(),
        [(name.to_owned(), Hint::Directory)]
    );
}
