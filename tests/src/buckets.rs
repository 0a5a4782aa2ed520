//! Jobs with locations in S3, and trees for them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::cloud::within;
use crate::job::{Ended, run, tool};
use crate::object_server::{Behaviour, Door, ObjectServer};
use crate::trees;

/// Name of the bucket that exists.
pub const BUCKET: &str = "data";

/// Starts a server with the bucket.
pub fn served(behaviour: Behaviour) -> ObjectServer {
    let server = ObjectServer::start(behaviour);
    server.make_bucket(BUCKET);
    server
}

/// Returns the command for a tool with that number of ranks, with the environment to use this
/// server.
pub fn with(server: &ObjectServer, count: u32, name: &str) -> Command {
    within(tool(count, name), &server.environment())
}

/// Runs one of the tools, given by its name and arguments.
pub fn go(server: &ObjectServer, count: u32, words: &[&str]) -> Ended {
    run(with(server, count, words[0]).args(&words[1..]))
}

/// Creates a small tree with a symbolic link and without empty directories.
pub fn small_tree(root: &Path) {
    trees::small_files(root, 4, 6);
    trees::write(&root.join("empty"), b"");
    trees::write(&root.join("d0000/larger"), &trees::noise(700_000));
    symlink("d0000/larger", root.join("link")).unwrap();
}

/// Lists all entries but directories, with their attributes.
pub fn entries(root: &Path) -> Vec<String> {
    let format = "%P %y %s %#m %U %G %T@ %l\\0";
    let listed = run(Command::new("find").arg(root).args(["!", "-type", "d", "-printf", format]));
    let mut lines: Vec<String> =
        listed.expect(0).stdout.split('\0').map(ToOwned::to_owned).collect();
    lines.sort();
    lines
}

/// Compares the content of two trees with diff(1), and returns its output.
pub fn diff(one: &Path, other: &Path) -> String {
    run(Command::new("diff").args(["-r", "--no-dereference"]).args([one, other])).stdout
}

/// Returns a path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Configures two services with different keys as rclone's remotes.
pub fn remotes(command: Command, servers: [(&str, &ObjectServer); 2]) -> Command {
    let mut command = within(command, &[]);
    for (name, server) in servers {
        let (access, secret) = server.keys();
        for (key, value) in [
            ("TYPE", "s3"),
            ("PROVIDER", "Other"),
            ("ACCESS_KEY_ID", access),
            ("SECRET_ACCESS_KEY", secret),
            ("ENDPOINT", &server.endpoint()),
            ("REGION", "us-east-1"),
        ] {
            command.env(format!("RCLONE_CONFIG_{name}_{key}"), value);
        }
    }
    command.env("RCLONE_CONFIG", "/dev/null").env("AWS_EC2_METADATA_DISABLED", "true");
    command
}

/// Starts another service, which does not accept the first one's keys.
pub fn stranger(behaviour: Behaviour) -> ObjectServer {
    let (access_key, secret_key) = ("another".to_owned(), "another secret".to_owned());
    let server = ObjectServer::start_at(Door { port: 0, access_key, secret_key }, behaviour);
    let server = server.unwrap();
    server.make_bucket(BUCKET);
    server
}

/// Returns the objects with that prefix by their keys without it, with their content.
pub fn objects(server: &ObjectServer, prefix: &str) -> BTreeMap<String, Vec<u8>> {
    let keys = server.keys_of(BUCKET).into_iter().filter(|key| key.starts_with(prefix));
    let content = |key: &str| server.get(BUCKET, key).unwrap().content.to_bytes().to_vec();
    keys.map(|key| (key[prefix.len()..].to_owned(), content(&key))).collect()
}

/// Returns the files below a directory with their content; none where the directory does not exist.
pub fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().map(Result::unwrap) {
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                waiting.push(path);
            } else {
                let below = text(path.strip_prefix(root).unwrap()).to_owned();
                all.insert(below, fs::read(&path).unwrap());
            }
        }
    }
    all
}

/// Writes such files into a directory, which is created.
pub fn write_all(root: &Path, all: &BTreeMap<String, Vec<u8>>) {
    fs::create_dir_all(root).unwrap();
    for (name, content) in all {
        trees::write(&root.join(name), content);
    }
}
