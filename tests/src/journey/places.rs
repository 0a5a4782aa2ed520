//! Locations of a journey's source and target, and of a single run's beside them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use fastrand::Rng;
use rustix::fs::FileType;

use super::{Form, Line, Way, copy_of, remove};
use crate::buckets::BUCKET;
use crate::cloud;
use crate::job::{alone, run};
use crate::judge::{Entry, Picture, picture};
use crate::object_server::ObjectServer;
use crate::unfinished::{files_in, is_staged};

/// Smallest part size of an upload.
const PART_BYTES: &str = "5MiB";

/// Directories of a journey, and its own prefix in the bucket.
pub(super) struct Places<'w> {
    work: PathBuf,
    way: Way<'w>,
    name: String,
}

impl<'w> Places<'w> {
    pub fn new(work: &Path, way: Way<'w>, number: u64) -> Self {
        for dir in ["here", "alone"] {
            fs::create_dir(work.join(dir)).unwrap();
        }
        symlink(".", work.join("link")).unwrap();
        Self { work: work.to_owned(), way, name: format!("{number:x}") }
    }

    pub fn work(&self) -> &Path {
        &self.work
    }

    pub fn way(&self) -> Way<'w> {
        self.way
    }

    fn is_from_objects(&self) -> bool {
        matches!(self.way, Way::FromObjects(_) | Way::BetweenObjects(_))
    }

    fn server_of_target(&self) -> Option<&'w ObjectServer> {
        match self.way {
            Way::ToObjects(server) | Way::BetweenObjects(server) => Some(server),
            _ => None,
        }
    }

    /// Returns the directory in which the source is changed: objects are made from it.
    pub fn source(&self) -> PathBuf {
        self.work.join(if self.is_from_objects() { "mirror" } else { "here/s" })
    }

    /// Returns the source as the tools see it: a bucket has no empty directories.
    pub fn copied_from(&self) -> Picture {
        let mut source = picture(&self.source());
        if self.is_from_objects() {
            let all = source.clone();
            let others = all.iter().filter(|(_, entry)| entry.kind != FileType::Directory);
            source.retain(|path, entry| {
                entry.kind != FileType::Directory
                    || others.clone().any(|(other, _)| other.starts_with(path))
            });
        }
        source
    }

    /// Uploads changes of the source, where it is in S3.
    pub fn publish(&self) {
        let (Way::FromObjects(server) | Way::BetweenObjects(server)) = self.way else { return };
        let mut command = cloud::within(alone("dsync"), &server.environment());
        command.args(["-q", "-c", "-D"]).arg(self.source());
        run(command.arg(format!("s3://{BUCKET}/{}/s/", self.name))).expect(0);
    }

    /// Creates entries of others at the target, which must stay.
    pub fn make_target(&self, random: &mut Rng) -> Picture {
        if self.are_objects() {
            return Picture::new();
        }
        let target = self.work.join("here/t");
        fs::create_dir_all(target.join("d1")).unwrap();
        fs::write(target.join("stranger"), b"was here").unwrap();
        fs::write(target.join("d1/f0"), vec![b'o'; random.usize(5000..6000)]).unwrap();
        copy_of(&target, &self.work.join("initial"));
        picture(&target)
    }

    /// Returns the command's source and target.
    pub fn of(&self, line: &Line, is_fresh: bool) -> [OsString; 2] {
        if is_fresh && self.work.join("initial").exists() {
            copy_of(&self.work.join("initial"), &self.work.join("alone/t"));
        }
        let source = match self.way {
            _ if self.is_from_objects() => format!("s3://{BUCKET}/{}/s", self.name),
            _ => format!("{}/here/s", self.work.display()),
        };
        let slash = if line.form == Form::Contents && line.tool == "dcp" { "/" } else { "" };
        let side = if is_fresh { "alone" } else { "here" };
        let target = if self.are_objects() {
            format!("s3://{BUCKET}/{}/{side}/t/", self.name)
        } else {
            format!("{}/{side}/t", self.work.display())
        };
        [format!("{source}{slash}").into(), target.into()]
    }

    /// Returns source and target in another spelling, with the working directory for it.
    pub fn spelled(&self, line: &Line, random: &mut Rng) -> (PathBuf, [OsString; 2]) {
        let is_within = random.bool();
        let directory = if is_within { self.work.join("here") } else { self.work.clone() };
        let [mut source, mut target] = self.of(line, false).map(|path| path.into_string().unwrap());
        let work = format!("{}/", self.work.display());
        for path in [&mut source, &mut target] {
            let Some(below) = path.strip_prefix(&work).map(str::to_owned) else { continue };
            *path = match (random.u8(..4), is_within) {
                (0, _) => format!("{work}link/{below}"),
                (1, true) => format!("../{below}"),
                (1, false) => format!("./here/../link/{below}"),
                (2, true) => below.strip_prefix("here/").unwrap().to_owned(),
                (2, false) => below,
                _ => continue,
            };
        }
        if random.u8(..3) == 0 && !target.ends_with('/') {
            target.push('/');
        }
        // A target that did not exist is the copy in any case.
        if (line.form == Form::Whole || line.tool == "dsync") && random.u8(..3) == 0 {
            source.push('/');
        }
        (directory, [source.into(), target.into()])
    }

    /// Returns the journal that a job has left, if any.
    pub fn journal_there(&self) -> Option<PathBuf> {
        self.journals().find(|dir| dir.join("unfinished").exists())
    }

    /// Returns whether a job has begun a journal, and has not removed it yet.
    pub fn has_journal(&self) -> bool {
        self.journals().next().is_some()
    }

    fn journals(&self) -> impl Iterator<Item = PathBuf> {
        let beside = fs::read_dir(self.work.join("here")).unwrap();
        let mut all: Vec<_> = beside.map(|entry| entry.unwrap().path()).collect();
        all.push(self.work.join("journal"));
        all.into_iter().filter(|dir| dir.join("job").exists())
    }

    pub fn environment(&self, command: &mut Command) {
        if let Way::ToObjects(server) | Way::FromObjects(server) | Way::BetweenObjects(server) =
            self.way
        {
            for (name, value) in server.environment() {
                command.env(name, value);
            }
        }
    }

    pub fn tuning(&self) -> Vec<String> {
        if self.are_objects() {
            vec![format!("--s3-part-size={PART_BYTES}")]
        } else {
            vec![format!("--chunksize={}", super::CHUNK_BYTES)]
        }
    }

    /// Returns the journal's option where the target is a prefix, beside which there is no place
    /// for a journal.
    pub fn journal(&self) -> Vec<OsString> {
        if self.are_objects() {
            vec!["--journal".into(), self.work.join("journal").into()]
        } else {
            Vec::new()
        }
    }

    /// Returns true where the target is in S3.
    pub fn are_objects(&self) -> bool {
        self.server_of_target().is_some()
    }

    /// Returns the directory in which files of the target can be changed.
    pub fn copy(&self, line: &Line) -> Option<PathBuf> {
        let target = self.work.join("here/t");
        match self.way {
            _ if self.are_objects() => None,
            _ if line.form == Form::Into => Some(target.join("s")),
            _ => Some(target),
        }
    }

    /// Returns the path in the source for one in the target.
    pub fn below(line: &Line, path: &Path) -> PathBuf {
        let is_into = line.form == Form::Into;
        path.strip_prefix("s").ok().filter(|_| is_into).unwrap_or(path).to_owned()
    }

    /// Returns the entries of the target of the runs, if it exists.
    pub fn seen_if_there(&self) -> Option<Picture> {
        let is_there = self.are_objects() || self.work.join("here/t").exists();
        is_there.then(|| self.seen(false))
    }

    /// Returns the entries of the target.
    pub fn seen(&self, is_fresh: bool) -> Picture {
        let side = if is_fresh { "alone" } else { "here" };
        let Some(server) = self.server_of_target() else {
            let mut seen = picture(&self.work.join(side).join("t"));
            for entry in seen.values_mut() {
                entry.data.clear();
                // Directories of a bucket have no times.
                if matches!(self.way, Way::FromObjects(_)) && entry.kind == FileType::Directory {
                    entry.mtime = (0, 0);
                }
            }
            return seen;
        };
        let prefix = format!("{}/{side}/t/", self.name);
        let keys = server.keys_of(BUCKET).into_iter().filter(|key| key.starts_with(&prefix));
        let seen = keys.map(|key| {
            let object = server.get(BUCKET, &key).unwrap();
            let mut kept = object.attributes.metadata.clone().unwrap_or_default();
            // Reading changes the access time.
            kept.remove("file-atime");
            let kept = kept.into_iter().map(|(name, value)| (name.into(), value.into_bytes()));
            (
                key[prefix.len()..].into(),
                object_entry(object.content.to_bytes().to_vec(), kept.collect()),
            )
        });
        seen.collect()
    }

    /// Returns the bytes at the target, if they can be counted.
    pub fn written(&self, line: &Line) -> Option<u64> {
        let copy = self.copy(line)?;
        if self.work.join("initial").exists() {
            return None;
        }
        let bytes_of = |path: &PathBuf| {
            use std::os::unix::fs::MetadataExt;
            let metadata = fs::symlink_metadata(path).unwrap();
            let is_large = metadata.len() > super::CHUNK_BYTES;
            match (metadata.is_file(), is_staged(path)) {
                (true, true) if is_large => (metadata.blocks() * 512).min(metadata.len()),
                (true, false) => metadata.len(),
                _ => 0,
            }
        };
        Some(files_in(&copy).iter().map(bytes_of).sum())
    }

    /// Returns files that should not exist any more. A job that `was_ended` may have been about to
    /// remove the directory of its journal, which is empty then.
    pub fn left(&self, was_ended: bool) -> Vec<String> {
        let is_empty = |path: &Path| fs::read_dir(path).is_ok_and(|mut all| all.next().is_none());
        let mut left = Vec::new();
        for (dir, may) in [
            ("here", &["s", "t"][..]),
            ("alone", &["t"]),
            ("", &["here", "alone", "initial", "mirror", "link"]),
        ] {
            for entry in fs::read_dir(self.work.join(dir)).unwrap() {
                let (name, path) = entry.map(|it| (it.file_name(), it.path())).unwrap();
                let may_be = may.iter().any(|may| name == *may);
                if !(may_be || was_ended && is_empty(&path)) {
                    left.push(format!("{} is left in {dir:?}", name.display()));
                }
            }
        }
        if let Some(server) = self.server_of_target() {
            let uploads = server.open_uploads_below(BUCKET, &format!("{}/", self.name));
            left.extend((uploads > 0).then(|| format!("{uploads} uploads are left")));
        }
        left
    }

    pub fn forget_fresh(&self) {
        remove(&self.work.join("alone/t"));
    }
}

fn object_entry(content: Vec<u8>, xattrs: BTreeMap<OsString, Vec<u8>>) -> Entry {
    Entry {
        kind: FileType::RegularFile,
        mode: 0o777,
        uid: 0,
        gid: 0,
        mtime: (0, 0),
        device: 0,
        content,
        data: Vec::new(),
        xattrs,
        first_link: PathBuf::new(),
    }
}
