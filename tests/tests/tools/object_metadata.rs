//! Tests of what objects have besides their content: metadata of other tools, and properties that
//! must survive a change of attributes.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use suite_tests::buckets::{BUCKET, go, remotes, served, stranger, text};
use suite_tests::job::{run, tool};
use suite_tests::need_root;
use suite_tests::object_server::tearing::{Ending, Tear, Tearing};
use suite_tests::object_server::{Behaviour, ObjectServer, Operation, Quirk, TimeShift};
use suite_tests::sandbox::Sandbox;
use suite_tests::trees;

/// Gives an object properties that files do not have: tags, encryption, and an access control list.
fn decorate(server: &ObjectServer, key: &str) {
    server.change(BUCKET, key, |kept| {
        kept.tagging = Some("team=blue".to_owned());
        kept.encryption = Some("AES256".to_owned().into());
        kept.grant_read = Some(EVERYBODY.to_owned());
    });
}

const EVERYBODY: &str = "uri=\"http://acs.amazonaws.com/groups/global/AllUsers\"";

/// Returns tags, encryption, and the reader of an object.
fn decoration(server: &ObjectServer, key: &str) -> [Option<String>; 3] {
    let kept = server.get(BUCKET, key).unwrap().attributes.clone();
    [kept.tagging, kept.encryption.map(|by| by.as_str().to_owned()), kept.grant_read]
}

fn whole_decoration() -> [Option<String>; 3] {
    ["team=blue", "AES256", EVERYBODY].map(|text| Some(text.to_owned()))
}

/// Gives an object user metadata, and a header that is not ASCII.
fn describe(server: &ObjectServer, key: &str, pairs: &[(&str, &str)]) {
    let owned = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    server.change(BUCKET, key, |kept| kept.metadata = Some(owned.collect()));
}

fn metadata_of(server: &ObjectServer, key: &str) -> HashMap<String, String> {
    server.get(BUCKET, key).unwrap().attributes.metadata.clone().unwrap().into_iter().collect()
}

/// Checks metadata that is not ASCII, as bytes of Latin-1 and UTF-8 or in encoded words: it is
/// copied in encoded words, with small objects and large ones.
#[test]
fn metadata_that_is_not_ascii_goes_along() {
    const LATIN1: &str = "=?UTF-8?B?SsO2cmc=?=";
    const OTHER: &str = "=?UTF-8?B?54yr?=";
    for quirks in [&[][..], &[Quirk::RawMetadata]] {
        let server = served(Behaviour::with_quirks(quirks));
        let other = stranger(Behaviour::default());
        let work = Sandbox::new();
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

/// Checks a service whose clock is ahead, so that objects seem to be stored after files were
/// changed.
#[test]
fn a_change_is_not_missed_because_the_services_clock_is_ahead() {
    let server = served(Behaviour::with_quirks(&[Quirk::FastClock]));
    let work = Sandbox::new();
    let source = work.source();
    trees::write(&source.join("file"), b"aaaa");
    server.put(BUCKET, "t/file", "aaaa");
    server.shift_time(BUCKET, "t/file", TimeShift::Earlier);
    trees::write(&source.join("file"), b"bbbb");
    let sync = ["dsync", "--json", text(&source), "s3://data/t"];
    let totals = go(&server, 1, &sync).expect(0).summary()["totals"].clone();
    assert_eq!(totals["copied"]["files"], 1, "{totals}");
    assert_eq!(server.get(BUCKET, "t/file").unwrap().content.to_bytes(), "bbbb");
    // What was really stored later is equal, without a look at its content.
    trees::write(&source.join("other"), b"aaaa");
    server.put(BUCKET, "t/other", "aaaa");
    server.shift_time(BUCKET, "t/other", TimeShift::Later);
    let totals = go(&server, 1, &sync).expect(0).summary()["totals"].clone();
    assert_eq!(totals["copied"]["files"], 0, "{totals}");
    assert_eq!(totals["synced"]["unchanged_by_upload_time"], 1, "{totals}");
}

/// Checks times, modes and owners that s3cmd and gsutil store.
#[test]
fn times_that_other_tools_keep_are_read() {
    let server = served(Behaviour::default());
    let work = Sandbox::new();
    for (key, pair) in [
        ("d/s3cmd", ("s3cmd-attrs", "atime:1600000001/mode:33184/mtime:1600000000/uid:0/gid:0")),
        ("d/gsutil", ("goog-reserved-file-mtime", "1600000000")),
    ] {
        server.put(BUCKET, key, "x");
        describe(&server, key, &[pair]);
    }
    let back = work.at("back");
    go(&server, 1, &["dcp", "-p", "s3://data/d", text(&back)]).expect(0);
    for name in ["s3cmd", "gsutil"] {
        let modified = fs::metadata(back.join(name)).unwrap().modified().unwrap();
        assert_eq!(modified, std::time::UNIX_EPOCH + Duration::from_secs(1_600_000_000), "{name}");
    }
    let synced = go(&server, 1, &["dsync", "--json", "s3://data/d", text(&back)]).expect(0);
    assert_eq!(synced.summary()["totals"]["copied"]["files"], 0);
}

/// Checks that a copy onto itself, by which attributes are set, does not reset unnamed properties
/// to the bucket's default.
#[test]
fn a_change_of_attributes_leaves_storage_class_and_tags_as_they_are() {
    let server = served(Behaviour::default());
    let work = Sandbox::new();
    let source = work.source();
    trees::write(&source.join("file"), b"data");
    let sync = |options: &[&str]| {
        let words = [&["dsync", "--json"][..], options, &[text(&source), "s3://data/t"]].concat();
        go(&server, 1, &words).expect(0).summary()["totals"].clone()
    };
    sync(&["--storage-class", "STANDARD_IA"]);
    decorate(&server, "t/file");
    for mode in [0o600, 0o640] {
        fs::set_permissions(source.join("file"), fs::Permissions::from_mode(mode)).unwrap();
        let totals = sync(&[]);
        assert_eq!(totals["synced"]["attributes_set"], 1, "{totals}");
        assert_eq!(totals["object_properties_not_preserved"], 0, "{totals}");
        let kept = server.get(BUCKET, "t/file").unwrap().attributes.clone();
        let class = kept.storage_class.as_ref().map(|class| class.as_str().to_owned());
        assert_eq!(class.as_deref(), Some("STANDARD_IA"));
        assert_eq!(decoration(&server, "t/file"), whole_decoration());
        assert!(kept.metadata.unwrap()["file-permissions"].ends_with(&format!("{mode:o}")));
    }
    // The size that the operator requests counts more.
    fs::set_permissions(source.join("file"), fs::Permissions::from_mode(0o644)).unwrap();
    sync(&["--storage-class", "GLACIER_IR"]);
    let class = server.get(BUCKET, "t/file").unwrap().attributes.storage_class.clone();
    assert_eq!(class.unwrap().as_str(), "GLACIER_IR");
}

/// Checks that tags are copied with small and large objects; where they may not be read, the copies
/// lack them, and that is counted.
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
        assert_eq!(
            ended.summary()["totals"]["object_properties_not_preserved"],
            lost,
            "{quirks:?} {option}"
        );
        for key in ["e/small", "e/large"].into_iter().filter(|_| code == 0) {
            let kept = server.get(BUCKET, key).unwrap().attributes.clone();
            assert_eq!(kept.tagging.as_deref(), tags, "{quirks:?} {option} {key}");
        }
    }
}

/// Checks that a closed directory stays closed on its way to a bucket and back.
#[test]
fn an_archive_keeps_directories_unless_that_is_switched_off() {
    let server = served(Behaviour::default());
    let work = Sandbox::new();
    let source = work.source();
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
    assert!(plain.stdout.contains("-a or --s3-directory-markers preserves them"), "{plain:?}");
    for prefix in ["off/", "p/"] {
        let keys = server.keys_of(BUCKET).into_iter().filter(|key| key.starts_with(prefix));
        assert_eq!(keys.collect::<Vec<_>>(), [format!("{prefix}closed/file")]);
    }
}

/// Checks that a closed file is not opened by an object without a mode, whatever is to be
/// preserved.
#[test]
fn a_file_keeps_its_rights_where_the_object_in_its_place_has_none() {
    need_root!();
    let server = served(Behaviour::default());
    let work = Sandbox::new();
    for (key, size) in [("d/small", 10), ("d/large", 6 << 20)] {
        server.put(BUCKET, key, trees::noise(size));
    }
    let shell = |script: &str| {
        run(Command::new("bash").args(["-ec", script]).current_dir(work.path())).expect(0).stdout
    };
    let rights =
        "for f in small large; do getfacl -n -c $f; getfattr -d $f; stat -c %u:%g $f; done";
    for (count, words) in [
        (1, &["dcp"][..]),
        (2, &["dcp", "-p"]),
        (1, &["dcp", "-a"]),
        (2, &["dsync"]),
        (1, &["dsync", "--preserve=timestamps"]),
    ] {
        shell(
            "rm -rf t; mkdir t; for f in small large; do echo old > t/$f; chown 1001:1002 t/$f; chmod 600 t/$f
            setfacl -m u:1003:r t/$f; setfattr -n user.tag -v 1 t/$f; done",
        );
        let before = shell(&format!("cd t; {rights}"));
        let mut words = words.to_vec();
        let target = work.target();
        words.extend(["-k5MiB", "s3://data/d/", text(&target)]);
        go(&server, count, &words).expect(0);
        assert_eq!(fs::metadata(target.join("large")).unwrap().len(), 6 << 20, "{words:?}");
        assert_eq!(fs::read(target.join("small")).unwrap(), trees::noise(10), "{words:?}");
        assert_eq!(shell(&format!("cd t; {rights}")), before, "{words:?}");
    }
}

/// Checks an object above the largest that the service copies in one piece, here 5 MiB: it is
/// copied onto itself in parts, by a request that does not copy tags.
#[test]
fn a_change_of_attributes_leaves_the_tags_of_objects_that_are_copied_in_parts() {
    let work = Sandbox::new();
    let source = work.source();
    trees::write(&source.join("large"), &trees::noise(11 << 20));
    for (quirks, option, lost, tags) in [
        (&[][..], "auto", 0, Some("team=blue")),
        (&[], "never", 0, None),
        (&[Quirk::HidesTags], "auto", 1, None),
    ] {
        let (server, other) =
            (served(Behaviour::with_quirks(quirks)), stranger(Behaviour::default()));
        let sync = |mode: u32| {
            fs::set_permissions(source.join("large"), fs::Permissions::from_mode(mode)).unwrap();
            let mut dsync = remotes(tool(2, "dsync"), [("ONE", &server), ("TWO", &other)]);
            dsync.env("RCLONE_CONFIG_ONE_COPY_CUTOFF", "5M");
            dsync.args([
                "--json",
                "-k",
                "5MiB",
                "--s3-copy-tags",
                option,
                text(&source),
                "one:data/t",
            ]);
            run(&mut dsync).expect(0).summary()["totals"].clone()
        };
        sync(0o600);
        decorate(&server, "t/large");
        server.reset_counts();
        let totals = sync(0o640);
        assert_eq!(totals["synced"]["attributes_set"], 1, "{totals}");
        assert_eq!(totals["object_properties_not_preserved"], lost, "{quirks:?} {option}");
        assert_eq!(server.counts().of(Operation::UploadPartCopy), 3);
        let kept = server.get(BUCKET, "t/large").unwrap();
        let [_, encryption, grant] = whole_decoration();
        let expected = [tags.map(ToOwned::to_owned), encryption, grant];
        assert_eq!(decoration(&server, "t/large"), expected, "{quirks:?} {option}");
        assert!(kept.content.to_bytes() == trees::noise(11 << 20));
        assert!(metadata_of(&server, "t/large")["file-permissions"].ends_with("640"));
    }
}

/// Checks a directory's marker, which is an object, too, and may have properties besides its
/// attributes.
#[test]
fn a_change_of_a_directorys_attributes_leaves_what_else_its_marker_has() {
    let (server, work) = (served(Behaviour::default()), Sandbox::new());
    let source = work.source();
    trees::write(&source.join("d/file"), b"data");
    let sync = |mode: u32| {
        fs::set_permissions(source.join("d"), fs::Permissions::from_mode(mode)).unwrap();
        let words = ["dsync", "-a", "--json", text(&source), "s3://data/t"];
        go(&server, 2, &words).expect(0).summary()["totals"].clone()
    };
    sync(0o700);
    server.change(BUCKET, "t/d/", |kept| {
        kept.metadata.get_or_insert_default().insert("author".into(), "nobody".into());
    });
    decorate(&server, "t/d/");
    let totals = sync(0o750);
    assert_eq!(totals["object_properties_not_preserved"], 0, "{totals}");
    assert_eq!(decoration(&server, "t/d/"), whole_decoration());
    let metadata = metadata_of(&server, "t/d/");
    assert_eq!(metadata["author"], "nobody");
    assert!(metadata["file-permissions"].ends_with("750"), "{metadata:?}");
    // What no directory has in it is not overwritten either.
    server.put(BUCKET, "t/d/", "content");
    fs::set_permissions(source.join("d"), fs::Permissions::from_mode(0o755)).unwrap();
    go(&server, 1, &["dsync", "-a", text(&source), "s3://data/t"]);
    assert_eq!(server.get(BUCKET, "t/d/").unwrap().content.to_bytes(), "content");
}

/// Checks that objects store owner, mode and times together or not at all.
#[test]
fn an_owner_or_a_mode_that_is_given_and_cannot_be_kept_is_a_failure() {
    let (server, work) = (served(Behaviour::default()), Sandbox::new());
    let source = work.source();
    trees::write(&source.join("d/file"), b"data");
    let (source, place) = (&format!("{}/", text(&source)), "s3://data/t");
    for (words, code) in [
        (&["dcp", "--chown=7:8"][..], 23),
        (&["dcp", "--chmod=go-r"], 23),
        (&["dsync", "--no-preserve=timestamps", "--chown=7"], 23),
        (&["dcp", "-p", "--s3-metadata=none", "--chown=7:8"], 23),
        (&["dcp", "-p", "--chown=7:8", "--chmod=go-r"], 0),
        (&["dsync", "--chown=7:9"], 0),
        (&["dcp"], 0),
        (&["dcp", "--preserve=mode"], 0),
    ] {
        server.put(BUCKET, "t/d/file", "before");
        let ended = go(&server, 1, &[words, &[source, place]].concat()).expect(code);
        assert_eq!(
            ended.stderr.contains("Operation not supported"),
            code == 23,
            "{}",
            ended.stderr
        );
        assert_eq!(server.get(BUCKET, "t/d/file").unwrap().content.to_bytes(), "data", "{words:?}");
    }
    // Also where the object is there and knows nothing of an owner.
    for before in ["before", "data"] {
        server.put(BUCKET, "t/d/file", before);
        go(&server, 1, &["dsync", "--chown=7:9", source, place]).expect(0);
        assert_eq!(metadata_of(&server, "t/d/file")["file-owner"], "7", "{before}");
        let again = go(&server, 1, &["dsync", "--json", "--chown=7:9", source, place]).expect(0);
        assert_eq!(again.summary()["totals"]["synced"]["attributes_set"], 0, "{before}");
    }
    server.put(BUCKET, "t/d/file", "data");
    go(&server, 1, &["dsync", "--s3-metadata=none", "--chown=7", source, place]).expect(23);
}

/// Checks that an incomplete list is not taken for an empty one: properties that it may have are
/// not lost.
#[test]
fn tags_and_grants_that_are_torn_are_not_taken_for_none() {
    let work = Sandbox::new();
    let source = work.source();
    trees::write(&source.join("large"), &trees::noise(6 << 20));
    for tear in [Tear::AtTag(5), Tear::Empty, Tear::Page] {
        let (server, other) = (served(Behaviour::default()), stranger(Behaviour::default()));
        let sync = |mode: u32| {
            fs::set_permissions(source.join("large"), fs::Permissions::from_mode(mode)).unwrap();
            let mut dsync = remotes(tool(1, "dsync"), [("ONE", &server), ("TWO", &other)]);
            dsync.env("RCLONE_CONFIG_ONE_COPY_CUTOFF", "5M").env("AWS_MAX_ATTEMPTS", "2");
            run(dsync.args(["-k", "5MiB", text(&source), "one:data/t"]))
        };
        sync(0o600).expect(0);
        decorate(&server, "t/large");
        let asked = [Operation::GetObjectTagging, Operation::GetObjectAcl];
        let tearing = Tearing::rule(&asked, tear, Ending::LengthFits, u64::MAX);
        server.behave(Behaviour::with_tearing(tearing));
        let ended = sync(0o640).expect(23);
        assert!(ended.stderr.contains("incomplete response"), "{tear:?}: {}", ended.stderr);
        assert_eq!(decoration(&server, "t/large"), whole_decoration(), "{tear:?}");
    }
}
