//! Tests of answers about objects that are torn, or another object's: the content that has arrived
//! is complete, or it is an error.

use std::fs;
use std::path::Path;

use suite_tests::buckets::{BUCKET, diff, entries, go, remotes, served, stranger, text};
use suite_tests::job::{Ended, run, tool};
use suite_tests::object_server::tearing::{Ending, Tear, Tearing};
use suite_tests::object_server::{Behaviour, ObjectServer, Operation, Quirk};
use suite_tests::sandbox::Sandbox;
use suite_tests::trees;

const FOR_EVER: u64 = u64::MAX;

/// Creates files of all sizes that are moved in different ways.
fn tree(root: &Path) {
    trees::small_files(root, 2, 8);
    trees::write(&root.join("empty"), b"");
    trees::write(&root.join("large"), &trees::noise(11 << 20));
}

fn torn(operation: Operation, tear: Tear, ending: Ending, times: u64) -> Behaviour {
    Behaviour::with_tearing(Tearing::rule(&[operation], tear, ending, times))
}

/// Starts a server with the tree as objects, with or without checksums of them.
fn with_objects(source: &Path, quirks: &[Quirk]) -> ObjectServer {
    let server = served(Behaviour::with_quirks(quirks));
    go(&server, 1, &["dcp", "-k", "5MiB", text(source), "s3://data/up"]).expect(0);
    server.reset_counts();
    server
}

#[test]
fn content_that_says_no_length_has_the_listed_one() {
    let work = Sandbox::new();
    let source = work.at("source");
    tree(&source);
    let server = with_objects(&source, &[Quirk::NoChecksums]);
    let nothing = work.at("nothing");
    trees::write(&nothing.join("large"), b"");
    for ending in [Ending::Chunked, Ending::Closes] {
        let tear = Tear::WithoutHeader("content-length");
        let tearing = Tearing::rule(&[Operation::GetObject], tear, ending, FOR_EVER);
        let quirks = vec![Quirk::NoChecksums];
        server.behave(Behaviour { quirks, tearing: Some(tearing), ..Behaviour::default() });
        let back = work.path().join(format!("{ending:?}"));
        go(&server, 1, &["dcp", "-k", "5MiB", "s3://data/up", text(&back)]).expect(0);
        assert_eq!(diff(&source, &back), "");
        go(&server, 1, &["dcmp", "--download", text(&source), "s3://data/up"]).expect(0);
        go(&server, 1, &["dcmp", "--download", text(&nothing.join("large")), "s3://data/up/large"])
            .expect(1);
    }
    // Nothing says how long an object is: that is not 0.
    let tear = Tear::WithoutHeader("content-length");
    server.behave(torn(Operation::HeadObject, tear, Ending::Chunked, FOR_EVER));
    let back = work.at("head");
    let ended = go(&server, 1, &["dcp", "s3://data/up/large", text(&back)]);
    assert_ne!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("how long the object is"), "{}", ended.stderr);
    // An ETag that stands for nothing says it.
    server.put(BUCKET, "up/nothing", "");
    let back = work.at("nothing at all");
    go(&server, 1, &["dcp", "s3://data/up/nothing", text(&back)]).expect(0);
    assert_eq!(fs::metadata(&back).unwrap().len(), 0);
    go(&server, 1, &["dcmp", text(&back), "s3://data/up/nothing"]).expect(0);
    assert!(server.counts().torn.values().sum::<u64>() >= 3, "{}", server.counts());
}

/// Checks that wrong content without a checksum is noticed by the MD5, the length, or the missing
/// ETag.
#[test]
fn content_that_is_not_the_objects_is_an_error() {
    let work = Sandbox::new();
    let source = work.at("source");
    trees::small_files(&source, 1, 8);
    let server = with_objects(&source, &[Quirk::NoChecksums]);
    for (tear, ending, words) in [
        (Tear::Flipped(7), Ending::LengthFits, "does not match its ETag"),
        (Tear::Flipped(7), Ending::Chunked, "does not match its ETag"),
        (Tear::Longer, Ending::LengthFits, "not as long as the object"),
        (Tear::Longer, Ending::Chunked, "not as long as the object"),
        (Tear::AtByte(5), Ending::LengthFits, "not as long as the object"),
        (Tear::AtByte(5), Ending::Chunked, "not as long as the object"),
        (Tear::Empty, Ending::Closes, "not as long as the object"),
        (Tear::Page, Ending::LengthFits, "has no ETag"),
    ] {
        let quirks = vec![Quirk::NoChecksums];
        let tearing = Tearing::rule(&[Operation::GetObject], tear, ending, FOR_EVER);
        server.behave(Behaviour { quirks, tearing: Some(tearing), ..Behaviour::default() });
        let back = work.at("back");
        let ended = go(&server, 1, &["dcp", "s3://data/up", text(&back)]).expect(23);
        assert!(ended.stderr.contains(words), "{tear:?} {ending:?}: {}", ended.stderr);
        assert_eq!(entries(&back).len(), 1, "{tear:?} {ending:?}");
        fs::remove_dir_all(&back).unwrap();
    }
    // Once is nothing that the next try does not mend.
    for tear in [Tear::Flipped(7), Tear::Longer, Tear::Page] {
        server.reset_counts();
        server.behave(torn(Operation::GetObject, tear, Ending::LengthFits, 1));
        let back = work.at("back");
        go(&server, 1, &["dcp", "s3://data/up", text(&back)]).expect(0);
        assert_eq!(diff(&source, &back), "");
        fs::remove_dir_all(&back).unwrap();
    }
}

/// Stores objects without a checksum: in parts of 5 MiB, in parts that are larger than a chunk, in
/// one piece, and in parts of different sizes, which cannot be verified.
fn unsummed(server: &ObjectServer, content: &[u8]) {
    let parts = |sizes: &[usize]| {
        let mut rest = content;
        let each = |size: &usize| rest.split_off(..*size).unwrap();
        sizes.iter().map(each).collect::<Vec<_>>()
    };
    server.put_parts(BUCKET, "up/parts", &parts(&[5 << 20, 5 << 20, 1 << 20]));
    server.put_parts(BUCKET, "up/larger", &parts(&[8 << 20, 3 << 20]));
    server.put_parts(BUCKET, "up/one", &[content]);
    server.put_parts(BUCKET, "unequal/parts", &parts(&[5 << 20, 1 << 20, 5 << 20]));
}

fn proven(ended: &Ended) -> serde_json::Value {
    ended.summary()["totals"]["sent_files_by_check"].clone()
}

/// Checks verification by the MD5s of parts, whether chunks are smaller than parts, larger, or the
/// whole.
#[test]
fn objects_without_a_checksum_are_proven_by_the_md5s_of_their_parts() {
    let (work, server) = (Sandbox::new(), served(Behaviour::default()));
    let content = trees::noise(11 << 20);
    unsummed(&server, &content);
    for (ranks, options) in [
        (1, &["-k", "5MiB"][..]),
        (2, &["-k", "3MiB", "--verify", "transferred"]),
        (1, &["-k", "32MiB"]),
    ] {
        let back = work.at("back");
        let words = |from, to| [&["dcp", "--json"], options, &[from, to]].concat();
        let ended = go(&server, ranks, &words("s3://data/up", text(&back))).expect(0);
        assert_eq!(proven(&ended), serde_json::json!({ "md5": 3 }), "{options:?}");
        for name in ["parts", "larger", "one"] {
            assert!(fs::read(back.join(name)).unwrap() == content, "{name}");
        }
        fs::remove_dir_all(&back).unwrap();
        let ended = go(&server, ranks, &words("s3://data/unequal", text(&back))).expect(0);
        assert_eq!(proven(&ended), serde_json::json!({ "not_verifiable": 1 }), "{options:?}");
        fs::remove_dir_all(&back).unwrap();
    }
    // A service that tells no part's size: a usual one is tried.
    server.behave(Behaviour::with_quirks(&[Quirk::IgnoresPartNumbers]));
    let back = work.at("guessed");
    let ended = go(&server, 1, &["dcp", "--json", "s3://data/up", text(&back)]).expect(0);
    assert_eq!(proven(&ended), serde_json::json!({ "md5": 3 }));
}

/// Checks one wrong byte of one answer, however the object was uploaded and is read; and between
/// two services.
#[test]
fn parts_that_are_not_the_objects_are_an_error() {
    let (work, server) = (Sandbox::new(), served(Behaviour::default()));
    let other = stranger(Behaviour::default());
    let content = trees::noise(11 << 20);
    unsummed(&server, &content);
    for chunk in ["3MiB", "5MiB", "32MiB"] {
        for name in ["parts", "larger", "one"] {
            let (from, back) = (format!("s3://data/up/{name}"), work.at("back"));
            server.behave(torn(Operation::GetObject, Tear::Flipped(7), Ending::LengthFits, 9));
            server.reset_counts();
            let ended = go(&server, 1, &["dcp", "-k", chunk, &from, text(&back)]).expect(23);
            assert!(ended.stderr.contains("does not match its ETag"), "{}", ended.stderr);
            assert!(!back.exists(), "{name} in chunks of {chunk}");
        }
    }
    let across = |from: &str| {
        let mut command = remotes(tool(1, "dcp"), [("NEAR", &server), ("FAR", &other)]);
        run(command.args(["--json", "-k", "5MiB", from, "far:data/copy"]))
    };
    server.behave(torn(Operation::GetObject, Tear::Flipped(7), Ending::LengthFits, 9));
    for name in ["parts", "larger", "one"] {
        server.reset_counts();
        let ended = across(&format!("near:data/up/{name}")).expect(23);
        assert!(ended.stdout.contains("etag-mismatch"), "{}", ended.stdout);
        assert_eq!(other.keys_of(BUCKET).len() + other.open_uploads(BUCKET), 0);
    }
    server.behave(Behaviour::default());
    let ended = across("near:data/up").expect(0);
    // It came whole, and was sent with a checksum.
    assert_eq!(proven(&ended), serde_json::json!({ "crc64": 3 }));
    for name in ["parts", "larger", "one"] {
        let copy = other.get(BUCKET, &format!("copy/{name}")).unwrap();
        assert!(copy.content.to_bytes() == content, "{name}");
    }
}

/// Behaviour that changes a byte of each of the next contents.
fn damaging(number: usize, times: u64) -> Behaviour {
    torn(Operation::GetObject, Tear::Flipped(number), Ending::LengthFits, times)
}

/// Writes a file that differs from an object of the server just as a damaged download of it does:
/// by one bit, at that place in each chunk of 5 MiB.
fn as_damaged(server: &ObjectServer, file: &Path, bytes: usize, place: usize) {
    let mut content = trees::noise(bytes);
    server.put_parts(BUCKET, "up/it", &[&content]);
    content.chunks_mut(5 << 20).for_each(|chunk| chunk[place] ^= 1);
    trees::write(file, &content);
}

/// Checks that a file is not called equal to an object because the download was damaged so that it
/// is the file's content: the ETag says otherwise.
#[test]
fn a_damaged_download_that_equals_the_other_side_proves_nothing() {
    for (bytes, place) in [(1, 0), (15 << 20, 7)] {
        let (work, server) = (Sandbox::new(), served(Behaviour::default()));
        let it = work.at("down/it");
        let down = it.parent().unwrap();
        as_damaged(&server, &it, bytes, place);
        for pair in [["s3://data/up", text(down)], [text(down), "s3://data/up"]] {
            server.behave(damaging(place, FOR_EVER));
            let compare = ["dcmp", "-k", "5MiB", "--ignore", "mtime", pair[0], pair[1]];
            let ended = go(&server, 2, &compare).expect(23);
            assert!(ended.stderr.contains("does not match its ETag"), "{}", ended.stderr);
            server.behave(Behaviour::default());
            go(&server, 2, &compare).expect(1);
        }
        let sync = ["dsync", "-c", "-k", "5MiB"];
        server.behave(damaging(place, FOR_EVER));
        let up = [&sync[..], &[text(down), "s3://data/up"]].concat();
        let ended = go(&server, 2, &up).expect(23);
        assert!(ended.stderr.contains("does not match its ETag"), "{}", ended.stderr);
        // The copy that follows has a check of its own.
        server.behave(damaging(place, bytes.div_ceil(5 << 20) as u64));
        let back = [&sync[..], &["s3://data/up", text(down)]].concat();
        go(&server, 2, &back).expect(0);
        assert!(fs::read(&it).unwrap() == trees::noise(bytes), "{bytes} bytes");
    }
}

/// Checks two objects whose ETags differ, of which the first download is damaged.
#[test]
fn damaged_downloads_do_not_make_two_objects_equal() {
    let server = served(Behaviour::default());
    server.put_parts(BUCKET, "a/it", &[b"a"]);
    server.put_parts(BUCKET, "b/it", &[b"`"]);
    server.behave(damaging(0, 1));
    let ended = go(&server, 1, &["dcmp", "--ignore", "mtime", "s3://data/a", "s3://data/b"]);
    assert_eq!(server.reset_counts().torn(), 1);
    assert!(ended.expect(23).stderr.contains("does not match its ETag"));
}

/// Checks that a comparison with objects that have no checksum reads only the files, and the
/// objects only where that is inconclusive.
#[test]
fn files_are_compared_with_the_md5s_of_parts() {
    let (work, server) = (Sandbox::new(), served(Behaviour::default()));
    let mut content = trees::noise(11 << 20);
    unsummed(&server, &content);
    let files = work.at("files");
    for name in ["parts", "larger", "one"] {
        trees::write(&files.join(name), &content);
    }
    let dcmp = ["dcmp", "-k", "3MiB", text(&files), "s3://data/up"];
    for tool in [&dcmp[..], &["dsync", "-c", "-k", "3MiB", "s3://data/up", text(&files)]] {
        server.reset_counts();
        go(&server, 2, tool).expect(0);
        assert_eq!(server.counts().of(Operation::GetObject), 0, "{tool:?}");
    }
    let unequal = work.at("unequal");
    trees::write(&unequal.join("parts"), &content);
    go(&server, 1, &["dcmp", "-k", "3MiB", text(&unequal), "s3://data/unequal"]).expect(0);
    content[9 << 20] ^= 1;
    for name in ["parts", "larger", "one"] {
        trees::write(&files.join(name), &content);
    }
    go(&server, 2, &dcmp).expect(1);
    go(&server, 1, &["dsync", "-c", "-k", "3MiB", "s3://data/up", text(&files)]).expect(0);
    go(&server, 1, &dcmp).expect(0);
}

/// Checks that bytes of another range are not accepted, even where they equal the requested ones:
/// on either side, with one rank and several.
#[test]
fn comparing_trusts_no_range_that_was_not_asked_for() {
    let (work, server) = (Sandbox::new(), served(Behaviour::default()));
    let files = work.at("files");
    let content = vec![7; 11 << 20];
    trees::write(&files.join("large"), &content);
    server.put(BUCKET, "up/large", content);
    let sides = [[text(&files), "s3://data/up"], ["s3://data/up", text(&files)]];
    let compare = |behaviour: Behaviour, code| {
        server.behave(behaviour);
        for (sides, ranks) in sides.into_iter().zip([1, 3]) {
            let words = [&["dcmp", "--download", "-k", "3MiB"], &sides[..]].concat();
            let ended = go(&server, ranks, &words).expect(code);
            let is_told = ["range", "not as long"].iter().any(|why| ended.stderr.contains(why));
            assert_eq!(is_told, code != 0, "{}", ended.stderr);
        }
    };
    compare(Behaviour::default(), 0);
    compare(Behaviour::with_quirks(&[Quirk::OtherRanges]), 23);
    // It does not say which range it is.
    let tear = Tear::WithoutHeader("content-range");
    compare(torn(Operation::GetObject, tear, Ending::LengthFits, FOR_EVER), 23);
}

/// Checks that the target of a symbolic link is verified like content.
#[test]
fn a_link_that_is_not_the_objects_is_an_error() {
    let (work, source) = (Sandbox::new(), Sandbox::new());
    std::os::unix::fs::symlink("where/it/leads", source.path().join("link")).unwrap();
    let server = served(Behaviour::with_quirks(&[Quirk::NoChecksums]));
    go(&server, 1, &["dcp", "-p", text(source.path()), "s3://data/up"]).expect(0);
    let quirks = vec![Quirk::NoChecksums];
    let flipped = Tearing::rule(&[Operation::GetObject], Tear::Flipped(7), Ending::LengthFits, 99);
    server.behave(Behaviour { quirks, tearing: Some(flipped), ..Behaviour::default() });
    let back = work.at("back");
    go(&server, 1, &["dcp", "s3://data/up", text(&back)]).expect(23);
    assert!(back.join("link").symlink_metadata().is_err());
}

#[test]
fn copies_within_a_service_that_are_not_confirmed_are_errors() {
    let work = Sandbox::new();
    let source = work.at("source");
    trees::small_files(&source, 1, 2);
    let server = with_objects(&source, &[]);
    for tear in [Tear::WithoutElement("ETag"), Tear::Page, Tear::Empty, Tear::AtTag(4)] {
        let copy = ["dcp", "s3://data/up", "s3://data/copy"];
        server.behave(torn(Operation::CopyObject, tear, Ending::LengthFits, 2));
        server.reset_counts();
        go(&server, 1, &copy).expect(0);
        server.behave(torn(Operation::CopyObject, tear, Ending::LengthFits, FOR_EVER));
        let ended = go(&server, 1, &copy).expect(23);
        assert!(ended.stderr.contains("2 of 4 failed") || ended.stdout.contains("2 of 4 failed"));
    }
}

#[test]
fn an_upload_whose_completion_was_not_confirmed_is_looked_at() {
    let work = Sandbox::new();
    let source = work.at("source");
    trees::write(&source.join("large"), &trees::noise(11 << 20));
    for quirks in [&[][..], &[Quirk::NoChecksums]] {
        for tear in [Tear::WithoutElement("ETag"), Tear::AtTag(4), Tear::Page] {
            let server = served(Behaviour::default());
            let complete = [Operation::CompleteMultipartUpload];
            let tearing = Tearing::rule(&complete, tear, Ending::LengthFits, FOR_EVER);
            let quirks = quirks.to_vec();
            server.behave(Behaviour { quirks, tearing: Some(tearing), ..Behaviour::default() });
            let up = ["dcp", "-k", "5MiB", text(&source), "s3://data/up"];
            let ended = go(&server, 1, &up).expect(0);
            let arrived = server.get(BUCKET, "up/large").unwrap().content.to_bytes();
            assert!(arrived == fs::read(source.join("large")).unwrap(), "{}", ended.stderr);
            assert_eq!(server.open_uploads(BUCKET), 0);
        }
    }
}

/// Checks that an upload that was not completed, or stored other content, is an error.
#[test]
fn an_upload_that_was_not_completed_is_an_error() {
    let work = Sandbox::new();
    let large = work.at("large");
    trees::write(&large, &trees::noise(11 << 20));
    let server = served(Behaviour::default());
    server.put(BUCKET, "large", trees::noise((11 << 20) - 1));
    let part = Tear::WithoutHeader("etag");
    server.behave(torn(Operation::UploadPart, part, Ending::LengthFits, FOR_EVER));
    let ended = go(&server, 1, &["dcp", "-k", "5MiB", text(&large), "s3://data/large"]).expect(23);
    assert!(ended.stderr.contains("has no ETag"), "{}", ended.stderr);
    assert_eq!(server.open_uploads(BUCKET), 0);
    server.behave(torn(Operation::PutObject, part, Ending::LengthFits, FOR_EVER));
    let ended = go(&server, 1, &["dcp", text(&large), "s3://data/other"]).expect(23);
    assert!(ended.stderr.contains("has no ETag"), "{}", ended.stderr);
}

/// Checks that ETags that are no MD5s are recognised by the service's answer, or by the operator's
/// option.
#[test]
fn etags_that_are_no_md5_are_no_evidence() {
    let work = Sandbox::new();
    let source = work.at("source");
    trees::small_files(&source, 1, 3);
    for (quirk, options) in
        [(Quirk::KmsKeys, None), (Quirk::OpaqueEtags, Some("--s3-opaque-etags"))]
    {
        let server = with_objects(&source, &[Quirk::NoChecksums, quirk]);
        let back = work.path().join(format!("{quirk:?}"));
        let down = ["dcp", "--json", "s3://data/up", text(&back)];
        if options.is_some() {
            let ended = go(&server, 1, &down).expect(23);
            assert!(ended.stdout.contains("etag-mismatch"), "{}", ended.stdout);
            fs::remove_dir_all(&back).unwrap();
        }
        let down: Vec<_> = down.into_iter().chain(options).collect();
        let ended = go(&server, 1, &down).expect(0);
        assert_eq!(diff(&source, &back), "");
        let proven = &ended.summary()["totals"]["sent_files_by_check"];
        assert_eq!(*proven, serde_json::json!({ "not_verifiable": 3 }));
    }
}

#[test]
fn services_that_ignore_ranges_or_have_weak_etags_are_lived_with() {
    let work = Sandbox::new();
    let source = work.at("source");
    tree(&source);
    let server = with_objects(&source, &[]);
    server.behave(Behaviour::with_quirks(&[Quirk::WeakEtags]));
    let back = work.at("weak");
    go(&server, 1, &["dcp", "-k", "5MiB", "s3://data/up", text(&back)]).expect(0);
    assert_eq!(diff(&source, &back), "");
    go(&server, 1, &["dcp", "-k", "5MiB", "s3://data/up", "s3://data/copy"]).expect(0);
    go(&server, 1, &["dcmp", "--download", text(&source), "s3://data/copy"]).expect(0);
    server.behave(Behaviour::with_quirks(&[Quirk::IgnoresRanges]));
    let back = work.at("ranges");
    let ended = go(&server, 1, &["dcp", "-k", "5MiB", "s3://data/up", text(&back)]).expect(23);
    assert!(ended.stderr.contains("another range of the object"), "{}", ended.stderr);
    assert_eq!(diff(&source, &back), format!("Only in {}: large\n", source.display()));
    fs::remove_dir_all(&back).unwrap();
    go(&server, 1, &["dcp", "-k", "16MiB", "s3://data/up", text(&back)]).expect(0);
    assert_eq!(diff(&source, &back), "");
}

/// Checks that a service that ignores CRCs, and whose ETags are no MD5s, is recognised by the first
/// part.
#[test]
fn parts_are_sent_once_to_a_service_that_looks_at_no_crc() {
    let work = Sandbox::new();
    let large = work.at("large");
    trees::write(&large, &trees::noise(80 << 20));
    let server = served(Behaviour::with_quirks(&[Quirk::NoChecksums, Quirk::OpaqueEtags]));
    let up = ["dcp", "-k", "5MiB", text(&large), "s3://data/large"];
    go(&server, 1, &up).expect(0);
    assert_eq!(server.counts().of(Operation::UploadPart), 17);
    assert!(server.get(BUCKET, "large").unwrap().content.to_bytes() == fs::read(&large).unwrap());
}
