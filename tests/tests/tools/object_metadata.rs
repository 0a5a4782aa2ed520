//! What objects carry beside their content: metadata of other tools, and what must survive a change of attributes.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use suite_tests::buckets::{BUCKET, go, remotes, served, stranger, temp, text};
use suite_tests::job::{run, tool};
use suite_tests::object_server::{Behaviour, ObjectServer, Quirk};
use suite_tests::trees;

/// Gives an object user metadata, and a header that is no ASCII.
fn describe(server: &ObjectServer, key: &str, pairs: &[(&str, &str)]) {
    let owned = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    server.change(BUCKET, key, |kept| kept.metadata = Some(owned.collect()));
}

fn metadata_of(server: &ObjectServer, key: &str) -> HashMap<String, String> {
    server.get(BUCKET, key).unwrap().attributes.metadata.clone().unwrap().into_iter().collect()
}

/// As bytes of Latin-1 and UTF-8 from services that give those, and in encoded words from others: it goes on in
/// encoded words, with small objects and large ones.
#[test]
fn metadata_that_is_not_ascii_goes_along() {
    const LATIN1: &str = "=?UTF-8?B?SsO2cmc=?=";
    const OTHER: &str = "=?UTF-8?B?54yr?=";
    for quirks in [&[][..], &[Quirk::RawMetadata]] {
        let server = served(Behaviour::with_quirks(quirks));
        let other = stranger(Behaviour::default());
        let work = temp();
        for (key, size) in [("d/small", 10), ("d/large", 12 << 20)] {
            server.put(BUCKET, key, trees::noise(size));
            describe(&server, key, &[("author", LATIN1), ("cat", OTHER)]);
        }
        for count in [1, 3] {
            let back = work.path().join(format!("back-{count}"));
            go(&server, count, &["dcp", "s3://data/d", text(&back)]).expect(0);
            assert_eq!(fs::metadata(back.join("large")).unwrap().len(), 12 << 20);
            let within = format!("s3://data/within-{count}");
            go(&server, count, &["dcp", "-k", "5MiB", "s3://data/d", &within]).expect(0);
            let mut between = tool(count, "dcp");
            between.args(["-k", "5MiB", "one:data/d", &format!("two:data/d{count}")]);
            run(&mut remotes(between, [("ONE", &server), ("TWO", &other)])).expect(0);
            for name in ["small", "large"] {
                for (server, key) in [
                    (&server, format!("within-{count}/{name}")),
                    (&other, format!("d{count}/{name}")),
                ] {
                    let kept = metadata_of(server, &key);
                    // The server has undone the encoded words, as Amazon's does.
                    assert_eq!((&*kept["author"], &*kept["cat"]), ("Jörg", "猫"), "{key}");
                }
            }
        }
    }
}

/// A service whose clock is ahead seems to have stored things after they were changed.
#[test]
fn a_change_is_not_missed_because_the_services_clock_is_ahead() {
    let server = served(Behaviour::with_quirks(&[Quirk::FastClock]));
    let work = temp();
    let source = work.path().join("s");
    trees::write(&source.join("file"), b"aaaa");
    server.put(BUCKET, "t/file", "aaaa");
    // What is later by less than the two seconds that its clock does not tell may be earlier.
    let wait = || std::thread::sleep(Duration::from_millis(2500));
    wait();
    trees::write(&source.join("file"), b"bbbb");
    let sync = ["dsync", "--json", text(&source), "s3://data/t"];
    let totals = go(&server, 1, &sync).expect(0).summary()["totals"].clone();
    assert_eq!(totals["copied"]["files"], 1, "{totals}");
    assert_eq!(server.get(BUCKET, "t/file").unwrap().content.to_bytes(), "bbbb");
    // What was really stored later is equal, without a look at its content.
    trees::write(&source.join("other"), b"aaaa");
    wait();
    server.put(BUCKET, "t/other", "aaaa");
    let totals = go(&server, 1, &sync).expect(0).summary()["totals"].clone();
    assert_eq!(totals["copied"]["files"], 0, "{totals}");
    assert_eq!(totals["synced"]["stored_later"], 1, "{totals}");
}

/// Times, modes and owners that s3cmd and gsutil keep.
#[test]
fn times_that_other_tools_keep_are_read() {
    let server = served(Behaviour::default());
    let work = temp();
    for (key, pair) in [
        ("d/s3cmd", ("s3cmd-attrs", "atime:1600000001/mode:33184/mtime:1600000000/uid:0/gid:0")),
        ("d/gsutil", ("goog-reserved-file-mtime", "1600000000")),
    ] {
        server.put(BUCKET, key, "x");
        describe(&server, key, &[pair]);
    }
    let back = work.path().join("back");
    go(&server, 1, &["dcp", "-p", "s3://data/d", text(&back)]).expect(0);
    for name in ["s3cmd", "gsutil"] {
        let modified = fs::metadata(back.join(name)).unwrap().modified().unwrap();
        assert_eq!(modified, std::time::UNIX_EPOCH + Duration::from_secs(1_600_000_000), "{name}");
    }
    let synced = go(&server, 1, &["dsync", "--json", "s3://data/d", text(&back)]).expect(0);
    assert_eq!(synced.summary()["totals"]["copied"]["files"], 0);
}

/// A copy onto itself, by which attributes are set, leaves what it does not name at the bucket's default.
#[test]
fn a_change_of_attributes_leaves_storage_class_and_tags_as_they_are() {
    let server = served(Behaviour::default());
    let work = temp();
    let source = work.path().join("s");
    trees::write(&source.join("file"), b"data");
    let sync = |options: &[&str]| {
        let words = [&["dsync", "--json"][..], options, &[text(&source), "s3://data/t"]].concat();
        go(&server, 1, &words).expect(0).summary()["totals"].clone()
    };
    sync(&["--storage-class", "STANDARD_IA"]);
    server.change(BUCKET, "t/file", |kept| kept.tagging = Some("team=blue".to_owned()));
    for mode in [0o600, 0o640] {
        fs::set_permissions(source.join("file"), fs::Permissions::from_mode(mode)).unwrap();
        let totals = sync(&[]);
        assert_eq!(totals["synced"]["repaired"], 1, "{totals}");
        assert_eq!(totals["properties_not_kept"], 0, "{totals}");
        let kept = server.get(BUCKET, "t/file").unwrap().attributes.clone();
        let class = kept.storage_class.as_ref().map(|class| class.as_str().to_owned());
        assert_eq!(
            (class.as_deref(), kept.tagging.as_deref()),
            (Some("STANDARD_IA"), Some("team=blue"))
        );
        assert!(kept.metadata.unwrap()["file-permissions"].ends_with(&format!("{mode:o}")));
    }
    // The operator's wish counts more.
    fs::set_permissions(source.join("file"), fs::Permissions::from_mode(0o644)).unwrap();
    sync(&["--storage-class", "GLACIER_IR"]);
    let class = server.get(BUCKET, "t/file").unwrap().attributes.storage_class.clone();
    assert_eq!(class.unwrap().as_str(), "GLACIER_IR");
}

/// Tags go along with small and large objects; where they may not be read, the copies lack them, and that is counted.
#[test]
fn tags_go_along_within_a_service_or_are_counted() {
    for (quirks, option, code, lost, tags) in [
        (&[][..], "auto", 0, 0, Some("team=blue")),
        (&[], "always", 0, 0, Some("team=blue")),
        (&[], "never", 0, 0, None),
        (&[Quirk::HidesTags], "auto", 0, 2, None),
        (&[Quirk::HidesTags], "never", 0, 0, None),
        (&[Quirk::HidesTags], "always", 23, 0, None),
    ] {
        let server = served(Behaviour::with_quirks(quirks));
        for (key, size) in [("d/small", 10), ("d/large", 12 << 20)] {
            server.put(BUCKET, key, trees::noise(size));
            server.change(BUCKET, key, |kept| kept.tagging = Some("team=blue".to_owned()));
        }
        let copy =
            ["dcp", "--json", "-k", "5MiB", "--s3-copy-tags", option, "s3://data/d", "s3://data/e"];
        let ended = go(&server, 1, &copy).expect(code);
        assert_eq!(ended.summary()["totals"]["properties_not_kept"], lost, "{quirks:?} {option}");
        for key in ["e/small", "e/large"].into_iter().filter(|_| code == 0) {
            let kept = server.get(BUCKET, key).unwrap().attributes.clone();
            assert_eq!(kept.tagging.as_deref(), tags, "{quirks:?} {option} {key}");
        }
    }
}

/// What was closed stays closed on its way to a bucket and back.
#[test]
fn an_archive_keeps_directories_unless_that_is_switched_off() {
    let server = served(Behaviour::default());
    let work = temp();
    let source = work.path().join("s");
    trees::write(&source.join("closed/file"), b"secret");
    fs::set_permissions(source.join("closed"), fs::Permissions::from_mode(0o700)).unwrap();
    let mode = |root: &str| {
        let path = work.path().join(root).join("closed");
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    };
    for count in [1, 3] {
        let (place, back) = (format!("s3://data/t{count}"), format!("back-{count}"));
        let to = work.path().join(&back);
        go(&server, count, &["dcp", "-a", text(&source), &place]).expect(0);
        go(&server, count, &["dcp", "-a", &place, text(&to)]).expect(0);
        assert_eq!(mode(&back), 0o700);
        let again = go(&server, count, &["dsync", "-a", text(&source), &place]).expect(0);
        assert!(again.stdout.contains("nothing to do"), "{again:?}");
    }
    let off = "--s3-directory-markers=off";
    go(&server, 1, &["dcp", "-a", off, text(&source), "s3://data/off"]).expect(0);
    let plain = go(&server, 1, &["dcp", "-p", text(&source), "s3://data/p"]).expect(0);
    assert!(plain.stdout.contains("-a or --s3-directory-markers keeps them"), "{plain:?}");
    for prefix in ["off/", "p/"] {
        let keys = server.keys_of(BUCKET).into_iter().filter(|key| key.starts_with(prefix));
        assert_eq!(keys.collect::<Vec<_>>(), [format!("{prefix}closed/file")]);
    }
}
