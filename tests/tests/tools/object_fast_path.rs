//! Tests of the fast path for requests of whole objects: it sends and reads the same as the client,
//! and a service that does not accept its requests gets the client's.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use suite_tests::buckets::{BUCKET, diff, entries, go, served, small_tree, text};
use suite_tests::object_server::{Behaviour, ObjectServer, Operation, Quirk};
use suite_tests::sandbox::Sandbox;
use suite_tests::trees;

/// Creates a few hundred files, some with names that are encoded in URLs.
fn tree(root: &Path) -> u64 {
    small_tree(root);
    trees::small_files(&root.join("more"), 4, 50);
    for name in ["a b+c%20.txt", "ümlaut?&=#.html", "~-._", "new\nline", "..."] {
        trees::write(&root.join("odd").join(name), name.as_bytes());
    }
    let others = ["!", "-type", "d", "-printf", "x"];
    let count = std::process::Command::new("find").arg(root).args(others).output().unwrap();
    count.stdout.len() as u64
}

/// Returns everything that a server stores: content, checksums, headers and metadata.
fn kept(server: &ObjectServer) -> BTreeMap<String, String> {
    let object = |key: String| {
        let object = server.get(BUCKET, &key).unwrap();
        let attributes = &object.attributes;
        // Reading changes a source's atime.
        let user = attributes.metadata.iter().flatten().filter(|(key, _)| *key != "file-atime");
        let user: BTreeMap<_, _> = user.collect();
        let rest = [
            format!("{} {:?} {user:?}", object.etag, object.sums.checksum_crc64nvme),
            format!("{:?} {:?}", attributes.cache_control, attributes.content_disposition),
            format!("{:?} {:?}", attributes.content_encoding, attributes.content_language),
            format!("{:?} {:?}", attributes.content_type, attributes.expires),
            format!("{:?}", attributes.storage_class),
        ];
        (key, rest.join("\n"))
    };
    server.keys_of(BUCKET).into_iter().map(object).collect()
}

const FIXED: [&str; 6] = ["dcp", "-p", "--s3-concurrency", "4", "--storage-class", "STANDARD_IA"];

#[test]
fn what_goes_by_the_shortcut_is_what_the_client_would_send() {
    let work = Sandbox::new();
    let source = work.at("source");
    let files = tree(&source);
    let kept_by =
        [Behaviour::default(), Behaviour::with_quirks(&[Quirk::OwnClientOnly])].map(|behaviour| {
            let is_refused = !behaviour.quirks.is_empty();
            let server = served(behaviour);
            go(&server, 2, &[&FIXED[..], &[text(&source), "s3://data/up"]].concat()).expect(0);
            let puts = server.reset_counts().of(Operation::PutObject);
            let back = work.path().join(format!("back-{is_refused}"));
            go(&server, 2, &[&FIXED[..4], &["s3://data/up", text(&back)]].concat()).expect(0);
            let gets = server.counts().of(Operation::GetObject);
            assert_eq!((entries(&source), diff(&source, &back)), (entries(&back), String::new()));
            // Each object takes one request; where the fast path is refused, it is not tried for
            // long.
            let most = if is_refused { files + files / 2 } else { files };
            assert!((files..=most).contains(&puts), "{puts} of {files}");
            // The link is known for one only when it has come as a file.
            assert!((files + 1..=most + 1).contains(&gets), "{gets} of {files}");
            assert!(!is_refused || (puts > files && gets > files + 1), "{puts} {gets} of {files}");
            fs::remove_dir_all(&back).unwrap();
            kept(&server)
        });
    assert!(kept_by[0].len() as u64 == files && kept_by[0] == kept_by[1], "{kept_by:#?}");
    let any = kept_by[0].values().next().unwrap();
    assert!(any.contains("STANDARD_IA") && any.contains("file-mtime"), "{any}");
}

/// Checks that all properties of a foreign object are read by the fast path and by the client.
#[test]
fn what_comes_by_the_shortcut_is_what_the_client_would_read() {
    let both = [vec![], vec![Quirk::OwnClientOnly]].map(|quirks| {
        let server = served(Behaviour::default());
        let work = Sandbox::new();
        trees::write(&work.at("body"), b"some text");
        let (access, secret) = server.keys();
        let mut curl = std::process::Command::new("curl");
        curl.args(["-sf", "--aws-sigv4", "aws:amz:us-east-1:s3", "-T"]).arg(work.at("body"));
        curl.args(["--user", &format!("{access}:{secret}")]);
        for header in [
            "x-amz-content-sha256: UNSIGNED-PAYLOAD",
            "cache-control: max-age=5",
            "content-disposition: attachment",
            "content-encoding: x-own",
            "content-language: de",
            "content-type: text/x-own",
            "expires: Thu, 01 Dec 2044 16:00:00 GMT",
            "x-amz-meta-foreign: kept",
            "x-amz-meta-mtime: 1600000000.5",
        ] {
            curl.args(["-H", header]);
        }
        curl.arg(format!("{}/{BUCKET}/a/object", server.endpoint()));
        suite_tests::job::run(&mut curl).expect(0);
        let other = suite_tests::buckets::stranger(Behaviour::default());
        server.behave(Behaviour::with_quirks(&quirks));
        let dcp = suite_tests::job::tool(1, "dcp");
        let mut dcp = suite_tests::buckets::remotes(dcp, [("ONE", &server), ("OTHER", &other)]);
        suite_tests::job::run(dcp.args(["-p", "ONE:data/a/", "OTHER:data/a/"])).expect(0);
        kept(&other)
    });
    let object = &both[0]["a/object"];
    for header in ["max-age=5", "attachment", "x-own", "\"de\"", "text/x-own", "2044", "foreign"] {
        assert!(object.contains(header), "{header}: {object}");
    }
    assert_eq!(both[0], both[1]);
}
