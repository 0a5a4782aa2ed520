//! Where a journey's source and target are, and a single run's beside them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fastrand::Rng;
use rustix::fs::FileType;

use super::{Form, Line, Way, copy_of, remove};
use crate::buckets::BUCKET;
use crate::cloud;
use crate::job::{alone, run};
use crate::judge::{Entry, Picture, picture};
use crate::unfinished::{files_in, is_staged};

/// Parts that an upload has, at least.
const PART_BYTES: &str = "5MiB";

/// Directories of a journey, and a name of its own in the bucket.
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
        Self { work: work.to_owned(), way, name: format!("{number:x}") }
    }

    pub fn work(&self) -> &Path {
        &self.work
    }

    /// The source as it can be changed: objects are made like it.
    pub fn source(&self) -> PathBuf {
        self.work.join(if matches!(self.way, Way::FromObjects(_)) { "mirror" } else { "here/s" })
    }

    /// Brings changes of the source to where it is copied from.
    pub fn publish(&self) {
        let Way::FromObjects(server) = self.way else { return };
        let mut command = cloud::within(alone("dsync"), &server.environment());
        command.args(["-q", "-c", "-D"]).arg(self.source());
        run(command.arg(format!("s3://{BUCKET}/{}/s/", self.name))).expect(0);
    }

    /// Something of others at the target, which stays.
    pub fn make_target(&self, random: &mut Rng) -> Picture {
        if matches!(self.way, Way::ToObjects(_)) {
            return Picture::new();
        }
        let target = self.work.join("here/t");
        fs::create_dir_all(target.join("d1")).unwrap();
        fs::write(target.join("stranger"), b"was here").unwrap();
        fs::write(target.join("d1/f0"), vec![b'o'; random.usize(5000..6000)]).unwrap();
        copy_of(&target, &self.work.join("initial"));
        picture(&target)
    }

    /// What the command names.
    pub fn of(&self, line: &Line, is_fresh: bool) -> [OsString; 2] {
        if is_fresh && self.work.join("initial").exists() {
            copy_of(&self.work.join("initial"), &self.work.join("alone/t"));
        }
        let source = match self.way {
            Way::FromObjects(_) => format!("s3://{BUCKET}/{}/s", self.name),
            _ => format!("{}/here/s", self.work.display()),
        };
        let slash = if line.form == Form::Contents && line.tool == "dcp" { "/" } else { "" };
        let side = if is_fresh { "alone" } else { "here" };
        let target = match self.way {
            Way::ToObjects(_) => format!("s3://{BUCKET}/{}/{side}/t/", self.name),
            _ => format!("{}/{side}/t", self.work.display()),
        };
        [format!("{source}{slash}").into(), target.into()]
    }

    pub fn environment(&self, command: &mut Command) {
        if let Way::ToObjects(server) | Way::FromObjects(server) = self.way {
            for (name, value) in server.environment() {
                command.env(name, value);
            }
        }
    }

    pub fn tuning(&self) -> Vec<String> {
        match self.way {
            Way::ToObjects(_) => vec![format!("--s3-part-size={PART_BYTES}")],
            _ => vec![format!("--chunksize={}", super::CHUNK_BYTES)],
        }
    }

    /// Beside a prefix there is no room for a journal.
    pub fn journal(&self) -> Vec<OsString> {
        match self.way {
            Way::ToObjects(_) => vec!["--journal".into(), self.work.join("journal").into()],
            _ => Vec::new(),
        }
    }

    /// Whether the target is in S3.
    pub fn are_objects(&self) -> bool {
        matches!(self.way, Way::ToObjects(_))
    }

    /// Where files of the target can be changed.
    pub fn copy(&self, line: &Line) -> Option<PathBuf> {
        let target = self.work.join("here/t");
        match self.way {
            Way::ToObjects(_) => None,
            _ if line.form == Form::Into => Some(target.join("s")),
            _ => Some(target),
        }
    }

    /// A path of the source, by one of the target.
    pub fn below(line: &Line, path: &Path) -> PathBuf {
        let is_into = line.form == Form::Into;
        path.strip_prefix("s").ok().filter(|_| is_into).unwrap_or(path).to_owned()
    }

    /// What the target has.
    pub fn seen(&self, is_fresh: bool) -> Picture {
        let side = if is_fresh { "alone" } else { "here" };
        let Way::ToObjects(server) = self.way else {
            let mut seen = picture(&self.work.join(side).join("t"));
            for entry in seen.values_mut() {
                entry.data.clear();
                // A bucket has no directories that have a time.
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
            // Reading changes it.
            kept.remove("file-atime");
            let kept = kept.into_iter().map(|(name, value)| (name.into(), value.into_bytes()));
            (
                key[prefix.len()..].into(),
                object_entry(object.content.to_bytes().to_vec(), kept.collect()),
            )
        });
        seen.collect()
    }

    /// Bytes at the target, if they can be told.
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

    /// What should not be there any more.
    pub fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        for (dir, may) in [
            ("here", &["s", "t"][..]),
            ("alone", &["t"]),
            ("", &["here", "alone", "initial", "mirror"]),
        ] {
            for entry in fs::read_dir(self.work.join(dir)).unwrap() {
                let name = entry.unwrap().file_name();
                if may.iter().all(|may| name != *may) {
                    left.push(format!("{} is left in {dir:?}", name.display()));
                }
            }
        }
        if let Way::ToObjects(server) = self.way {
            let uploads = server.open_uploads(BUCKET);
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
