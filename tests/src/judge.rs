//! Judge of what the tools did, which shares no code with them: trees as lstat(2), listxattr(2) and
//! read(2) show them.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, SeekFrom, lgetxattr, llistxattr, seek};

/// Largest list of names, and largest value, in bytes (xattr(7)).
const XATTR_BYTES_MAX: usize = 64 << 10;

/// Entries by their path below the root, which has the empty path.
pub type Picture = BTreeMap<PathBuf, Entry>;

/// All attributes of an entry that a copy can preserve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// File type, as `S_IFMT` has it.
    pub kind: FileType,
    /// Permissions and set-id bits.
    pub mode: u32,
    /// User ID of the owner.
    pub uid: u32,
    /// Group ID.
    pub gid: u32,
    /// Modification time: seconds and nanoseconds.
    pub mtime: (i64, i64),
    /// Device number of a device file.
    pub device: u64,
    /// Content of a file, or target of a symbolic link.
    pub content: Vec<u8>,
    /// Runs of data between a file's holes.
    pub data: Vec<(u64, u64)>,
    /// Extended attributes, access control lists among them.
    pub xattrs: BTreeMap<OsString, Vec<u8>>,
    /// The first path of the file that this is a hard link of, in this tree.
    pub first_link: PathBuf,
}

/// Reads the root and all entries below it.
pub fn picture(root: &Path) -> Picture {
    let mut picture = Picture::new();
    let mut first_links = BTreeMap::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(path) = waiting.pop() {
        let full = if path.as_os_str().is_empty() { root.to_owned() } else { root.join(&path) };
        let metadata = fs::symlink_metadata(&full).unwrap();
        if metadata.is_dir() {
            let names = fs::read_dir(&full).unwrap().map(|entry| entry.unwrap().file_name());
            waiting.extend(names.map(|name| path.join(name)));
        }
        let links: &mut Vec<PathBuf> =
            first_links.entry((metadata.dev(), metadata.ino())).or_default();
        links.push(path.clone());
        picture.insert(path, entry(&full, &metadata));
    }
    for links in first_links.values() {
        let first = links.iter().min().unwrap();
        for link in links {
            picture.get_mut(link).unwrap().first_link.clone_from(first);
        }
    }
    picture
}

fn entry(path: &Path, metadata: &fs::Metadata) -> Entry {
    let kind = FileType::from_raw_mode(metadata.mode());
    let content = match kind {
        FileType::RegularFile => fs::read(path).unwrap(),
        FileType::Symlink => fs::read_link(path).unwrap().into_os_string().into_vec(),
        _ => Vec::new(),
    };
    let has_holes = kind == FileType::RegularFile;
    Entry {
        kind,
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        mtime: (metadata.mtime(), metadata.mtime_nsec()),
        device: metadata.rdev(),
        content,
        data: if has_holes { data(path) } else { Vec::new() },
        xattrs: xattrs(path),
        first_link: PathBuf::new(),
    }
}

fn data(path: &Path) -> Vec<(u64, u64)> {
    let file = fs::File::open(path).unwrap();
    let (mut runs, mut at) = (Vec::new(), 0);
    while let Ok(begin) = seek(&file, SeekFrom::Data(at)) {
        at = seek(&file, SeekFrom::Hole(begin)).unwrap();
        runs.push((begin, at));
    }
    runs
}

fn xattrs(path: &Path) -> BTreeMap<OsString, Vec<u8>> {
    let mut names = vec![0; XATTR_BYTES_MAX];
    let length = llistxattr(path, &mut names[..]).unwrap_or(0);
    let value = |name: &[u8]| {
        let mut value = vec![0; XATTR_BYTES_MAX];
        let length = lgetxattr(path, OsStr::from_bytes(name), &mut value[..]).unwrap();
        value.truncate(length);
        (OsStr::from_bytes(name).to_owned(), value)
    };
    let all = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    all.map(value).collect()
}

/// Returns a line for each entry that differs, with the fields that do; empty where the two trees
/// are equal.
pub fn differences(one: &Picture, other: &Picture) -> Vec<String> {
    let mut paths: Vec<&PathBuf> = one.keys().chain(other.keys()).collect();
    paths.sort();
    paths.dedup();
    let difference = |path: &PathBuf| match (one.get(path), other.get(path)) {
        (Some(_), None) => Some("only in the first".to_owned()),
        (None, Some(_)) => Some("only in the second".to_owned()),
        (Some(one), Some(other)) if one != other => Some(fields(one, other).join(", ")),
        _ => None,
    };
    let line = |path: &PathBuf| Some(format!("{}: {}", shown(path), difference(path)?));
    paths.into_iter().filter_map(line).collect()
}

/// Returns a path as one line.
pub fn shown(path: &Path) -> String {
    format!("\"{}\"", path.as_os_str().as_bytes().escape_ascii())
}

fn fields(one: &Entry, other: &Entry) -> Vec<String> {
    let head = |bytes: &[u8]| {
        let head = bytes[..bytes.len().min(16)].escape_ascii();
        format!("{} bytes \"{head}\"", bytes.len())
    };
    let values = |entry: &Entry| {
        [
            ("kind", format!("{:?}", entry.kind)),
            ("mode", format!("{:04o}", entry.mode)),
            ("owner", format!("{}:{}", entry.uid, entry.gid)),
            ("mtime", format!("{}.{:09}", entry.mtime.0, entry.mtime.1)),
            ("device", entry.device.to_string()),
            ("content", head(&entry.content)),
            ("data", format!("{:?}", entry.data)),
            ("xattrs", format!("{:02x?}", entry.xattrs)),
            ("first link", shown(&entry.first_link)),
        ]
    };
    let pairs = values(one).into_iter().zip(values(other));
    let mut fields: Vec<String> = pairs
        .filter(|((_, one), (_, other))| one != other)
        .map(|((field, one), (_, other))| format!("{field} {one} / {other}"))
        .collect();
    if one.content != other.content && fields.iter().all(|field| !field.starts_with("content")) {
        fields.push("content".to_owned());
    }
    fields
}
