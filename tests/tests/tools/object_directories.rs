//! Tests of directories in buckets: there are none, unless markers are requested.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use suite_tests::buckets::{BUCKET, go, served, text};
use suite_tests::object_server::Behaviour;
use suite_tests::sandbox::Sandbox;
use suite_tests::trees;

/// Creates a directory with a file, and an empty one, with attributes that no directory has by
/// default.
fn tree(root: &Path) {
    let time = std::time::UNIX_EPOCH + Duration::new(1_500_000_000, 987_654_321);
    fs::create_dir_all(root.join("full")).unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    fs::write(root.join("full/file"), "content").unwrap();
    for (name, mode) in [("full", 0o2751), ("empty", 0o705)] {
        let path = root.join(name);
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        fs::File::open(&path).unwrap().set_modified(time).unwrap();
    }
}

fn facts(path: &Path) -> (u32, i64, i64) {
    let metadata = fs::metadata(path).unwrap();
    (metadata.mode(), metadata.mtime(), metadata.mtime_nsec())
}

#[test]
fn directories_are_kept_by_markers_where_that_is_asked_for() {
    for ranks in [1, 4] {
        let server = served(Behaviour::default());
        let work = Sandbox::new();
        let [source, back] = ["source", "back"].map(|name| work.at(name));
        let [from, to] = [&source, &back].map(|path| text(path));
        tree(&source);
        let markers = "--s3-directory-markers";
        go(&server, ranks, &["dcp", "-p", markers, &format!("{from}/"), "s3://data/t"]).expect(0);
        assert_eq!(server.keys_of("data"), ["t/", "t/empty/", "t/full/", "t/full/file"]);
        go(&server, ranks, &["dcmp", markers, from, "s3://data/t"]).expect(0);
        let again = go(&server, ranks, &["dsync", markers, from, "s3://data/t"]).expect(0);
        assert!(again.stdout.contains("nothing to do"), "{again:?}");
        go(&server, ranks, &["dcp", "-p", markers, "s3://data/t/", to]).expect(0);
        for name in ["full", "empty"] {
            assert_eq!(facts(&source.join(name)), facts(&back.join(name)), "{name}");
        }
        fs::set_permissions(source.join("empty"), Permissions::from_mode(0o700)).unwrap();
        let differs = go(&server, ranks, &["dcmp", markers, from, "s3://data/t"]).expect(1);
        assert!(differs.stdout.contains("empty"), "{differs:?}");
        go(&server, ranks, &["dsync", markers, from, "s3://data/t"]).expect(0);
        go(&server, ranks, &["dcmp", markers, from, "s3://data/t"]).expect(0);
        fs::remove_dir(source.join("empty")).unwrap();
        go(&server, ranks, &["dsync", "-D", markers, from, "s3://data/t"]).expect(0);
        assert_eq!(server.keys_of("data"), ["t/", "t/full/", "t/full/file"]);
    }
}

/// Checks markers of other tools, which have no mode: that of an object is none for a directory.
#[test]
fn a_marker_without_a_mode_makes_an_ordinary_directory() {
    let server = served(Behaviour::default());
    for key in ["m/", "m/sub/", "m/sub/f"] {
        server.put(BUCKET, key, "");
    }
    let work = Sandbox::new();
    fs::create_dir(work.at("ordinary")).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().mode();
    let options = ["--threads=2", "-p", "-a", "--preserve=timestamps"].map(|it| ("dcp", it));
    for (number, (tool, option)) in
        options.into_iter().chain([("dsync", "-a"), ("dsync", "-D")]).enumerate()
    {
        let back = work.at(format!("back{number}"));
        let words = [tool, option, "--s3-directory-markers", "s3://data/m/", text(&back)];
        go(&server, 2, &words).expect(0);
        for dir in [&back, &back.join("sub")] {
            assert_eq!(mode(dir), mode(&work.at("ordinary")), "{tool} {option}");
        }
    }
}

#[test]
fn without_markers_there_are_no_directories_and_that_is_said() {
    let server = served(Behaviour::default());
    let work = Sandbox::new();
    let source = work.at("source");
    tree(&source);
    let from = text(&source);
    let copied =
        go(&server, 1, &["dcp", "-p", "--json", &format!("{from}/"), "s3://data/t"]).expect(0);
    assert_eq!(copied.summary()["totals"]["directories_not_preserved"], 3);
    assert_eq!(server.keys_of("data"), ["t/full/file"]);
    let compared = go(&server, 1, &["dcmp", "--json", from, "s3://data/t"]).expect(0);
    assert_eq!(compared.summary()["totals"]["compared"]["directories_not_compared"], 1);
}

/// Checks that directories of which a bucket has objects, and no markers, get markers where their
/// attributes are to be preserved, once.
#[test]
fn directories_that_are_implied_by_keys_get_markers() {
    let (work, server) = (Sandbox::new(), served(Behaviour::default()));
    trees::write(&work.at("s/d/e/f"), b"content");
    fs::set_permissions(work.at("s/d"), Permissions::from_mode(0o700)).unwrap();
    let source = work.at("s").display().to_string();
    go(&server, 1, &["dsync", &source, "s3://data/t"]).expect(0);
    assert_eq!(server.keys_of(BUCKET), ["t/d/e/f"]);
    for set in [2, 0] {
        let ended = go(&server, 2, &["dsync", "-a", "--json", &source, "s3://data/t"]).expect(0);
        assert_eq!(ended.summary()["totals"]["synced"]["attributes_set"], set, "{ended:?}");
        assert_eq!(server.keys_of(BUCKET), ["t/d/", "t/d/e/", "t/d/e/f"]);
    }
    // A whole bucket goes into a directory under its own name.
    fs::create_dir(work.at("into")).unwrap();
    go(&server, 2, &["dcp", "-a", "s3://data", text(&work.at("into"))]).expect(0);
    let copied = fs::metadata(work.at("into/data/t/d")).unwrap();
    assert_eq!(copied.permissions().mode() & 0o777, 0o700);
}

/// Checks a tree without files, of which a bucket contains nothing: the two are not different for
/// that; but no key begins with a misspelt prefix either.
#[test]
fn a_prefix_without_keys_is_what_a_bucket_has_of_a_tree_without_files() {
    for count in [1, 4] {
        let (work, server) = (Sandbox::new(), served(Behaviour::default()));
        let path = |name: &str| text(&work.path().join(name)).to_owned();
        let (hollow, full, none) = (path("hollow"), path("full"), "s3://data/none");
        fs::create_dir_all(work.at("hollow/inner/most")).unwrap();
        trees::write(&work.at("full/inner/file"), b"content");
        go(&server, count, &["dcp", &hollow, none]).expect(0);
        assert_eq!(server.keys_of(BUCKET), [] as [&str; 0]);
        for (from, to) in [(&hollow[..], none), (none, &hollow[..])] {
            let same = go(&server, count, &["dcmp", from, to]).expect(0);
            assert!(same.stdout.contains("identical") || same.stderr.contains("identical"));
            // With markers there would be something.
            go(&server, count, &["dcmp", "--s3-directory-markers", from, to]).expect(3);
        }
        server.put(BUCKET, "there/key", "content");
        for (from, to) in [
            (&full[..], none),
            (none, &full[..]),
            (none, "s3://data/there"),
            (none, "s3://data/nothing"),
            (&path("absent")[..], none),
            (&hollow[..], "s3://absent/none"),
        ] {
            let ended = go(&server, count, &["dcmp", from, to]).expect(3);
            let (why, missing) = (&ended.stderr, ["No such file", "no such bucket"]);
            assert!(missing.iter().any(|words| why.contains(words)), "{from} {to}: {why}");
            assert!(!why.contains("identical") && !ended.stdout.contains("identical"));
        }
        // Nothing is deleted because of it.
        go(&server, count, &["dsync", "-D", none, &full]).expect(3);
        go(&server, count, &["dsync", "-D", none, "s3://data/there"]).expect(3);
        assert_eq!(fs::read(work.at("full/inner/file")).unwrap(), b"content");
        assert_eq!(server.keys_of(BUCKET), ["there/key"]);
        // Directories without files beside some that have them.
        fs::create_dir_all(work.at("full/empty/too")).unwrap();
        go(&server, count, &["dcp", &full, "s3://data/full"]).expect(0);
        let ended = go(&server, count, &["dcmp", "--json", &full, "s3://data/full"]).expect(0);
        let compared = &ended.summary()["totals"]["compared"];
        assert_eq!(compared["directories_not_compared"], 2, "{compared}");
    }
}
