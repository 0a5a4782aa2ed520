//! Mounted file systems, as the kernel shows them to this process (proc_pid_mountinfo(5)).

use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

const MOUNT_INFO: &str = "/proc/self/mountinfo";

/// Type of a mount of DAOS's dfuse: `fuse` with its subtype.
const DFUSE: &[u8] = b"fuse.daos";

/// Types of file systems whose clients mount others of the type in them by themselves, on access.
const SELF_MOUNTING: [&[u8]; 5] = [b"nfs", b"nfs4", b"cifs", b"smb3", b"afs"];

/// A mounted file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Mount ID, as statx(2) tells it.
    pub id: u64,
    /// Mount ID of the parent mount.
    pub parent: u64,
    /// Device number, as stat(2) tells it.
    pub device: u64,
    /// Directory of the file system that is the root of the mount.
    pub shown: Vec<u8>,
    /// Path of the mount point.
    pub point: Vec<u8>,
    /// File system type, with a subtype after a dot.
    pub kind: Vec<u8>,
    /// Mount source: a device, `server:/export`, `host@net:/fsname`.
    pub source: Vec<u8>,
}

impl Mount {
    /// Returns true for a mount of DAOS's dfuse.
    pub fn is_dfuse(&self) -> bool {
        self.kind == DFUSE
    }

    /// Returns true where this user may stat the mount point, and the file system answers.
    pub fn answers(&self) -> bool {
        rustix::fs::stat(std::ffi::OsStr::from_bytes(&self.point)).is_ok()
    }
}

/// Returns how often the mounts of this process have changed since the first call, as far as is
/// known.
///
/// One call of poll(2), which tells it of the table as a whole (proc_pid_mountinfo(5)).
pub fn changes() -> u64 {
    static TABLE: OnceLock<Option<File>> = OnceLock::new();
    static CHANGES: AtomicU64 = AtomicU64::new(0);
    let Some(table) = TABLE.get_or_init(|| File::open(MOUNT_INFO).ok()) else { return 0 };
    let mut polled = [PollFd::new(table, PollFlags::PRI)];
    if poll(&mut polled, Some(&Timespec::default())).is_ok_and(|ready| ready > 0) {
        CHANGES.fetch_add(1, Ordering::SeqCst);
    }
    CHANGES.load(Ordering::SeqCst)
}

/// Returns the mount with that ID.
pub fn by_id(table: &[Mount], id: u64) -> Option<&Mount> {
    table.iter().find(|mount| mount.id == id)
}

/// Returns the mounts below a directory that is reached through that mount and has that path.
/// Mounts that are made on access, and go away again after a while, are not among them.
pub fn below<'t>(table: &'t [Mount], id: u64, path: &[u8]) -> Vec<&'t Mount> {
    let (mut found, mut parents) = (Vec::new(), vec![id]);
    while let Some(parent) = parents.pop() {
        let Some(above) = by_id(table, parent) else { continue };
        let is_met = |mount: &&Mount| {
            mount.parent == parent
                && mount.id != parent
                && relative(&mount.point, path).is_some_and(|below| !below.is_empty())
                && !is_made_on_demand(above, mount)
        };
        let met: Vec<&Mount> = table.iter().filter(is_met).collect();
        // A mount that was made before one of these, further down, is hidden by it.
        let is_hidden = |mount: &Mount| {
            let is_on_top = |other: &&Mount| {
                relative(&mount.point, &other.point).is_some_and(|below| !below.is_empty())
            };
            met.iter().any(is_on_top)
        };
        for mount in met.iter().copied().filter(|mount| !is_hidden(mount)) {
            parents.push(mount.id);
            // A mount over another one hides it.
            found.retain(|other: &&Mount| other.point != mount.point);
            found.push(mount);
        }
    }
    found.sort_by(|one, other| one.point.cmp(&other.point));
    found
}

/// Returns the path below a directory; `None` where it is not below it.
pub fn relative<'p>(path: &'p [u8], directory: &[u8]) -> Option<&'p [u8]> {
    let rest = path.strip_prefix(directory.strip_suffix(b"/").unwrap_or(directory))?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix(b"/") }
}

fn is_made_on_demand(above: &Mount, mount: &Mount) -> bool {
    let is_its_own = SELF_MOUNTING.contains(&&mount.kind[..]) && mount.kind == above.kind;
    above.kind == b"autofs" || is_its_own && mount.source.starts_with(&above.source)
}

/// Returns all mounts that this process sees, the latest last; none where the system does not tell
/// them.
pub fn table() -> Vec<Mount> {
    parse(&std::fs::read(MOUNT_INFO).unwrap_or_default())
}

/// Returns true for the device of a mount of DAOS's dfuse.
pub fn is_dfuse(device: u64) -> bool {
    table().iter().any(|mount| mount.device == device && mount.is_dfuse())
}

/// Returns the value of an extended attribute of a mount's root.
pub fn attribute(mount: &Mount, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 256];
    let point = std::ffi::OsStr::from_bytes(&mount.point);
    let length = rustix::fs::getxattr(point, name, &mut value[..]).ok()?;
    value.truncate(length);
    Some(value)
}

fn parse(text: &[u8]) -> Vec<Mount> {
    text.split(|byte| *byte == b'\n').filter_map(line).collect()
}

/// Parses a line: `36 35 98:0 /root /point options optional… - type source options`.
fn line(line: &[u8]) -> Option<Mount> {
    let mut words = line.split(|byte| *byte == b' ');
    let mut number = || std::str::from_utf8(words.next()?).ok()?.parse().ok();
    let (id, parent) = (number()?, number()?);
    let (major, minor) = std::str::from_utf8(words.next()?).ok()?.split_once(':')?;
    let device = rustix::fs::makedev(major.parse().ok()?, minor.parse().ok()?);
    let (shown, point) = (unescaped(words.next()?), unescaped(words.next()?));
    let mut rest = words.skip_while(|word| *word != b"-").skip(1);
    let (kind, source) = (rest.next()?.to_vec(), unescaped(rest.next().unwrap_or_default()));
    Some(Mount { id, parent, device, shown, point, kind, source })
}

/// Decodes blanks, tabs, newlines and backslashes, which are three octal digits after a backslash.
fn unescaped(word: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((byte, after)) = rest.split_first() {
        let digits = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let octal = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        if let Some(meant) = octal.filter(|_| *byte == b'\\') {
            plain.push(meant);
            rest = &after[3..];
        } else {
            plain.push(*byte);
            rest = after;
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel_are_read() {
        let text = b"21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
            480 21 0:66 / /tmp/my\\040pool/c1 rw,nosuid,nodev,noatime shared:9 master:2 - fuse.daos dfuse \
            rw,user_id=0,group_id=0,default_permissions\n\
            torn line\n";
        let mounts = parse(text);
        assert_eq!(mounts.len(), 2);
        assert!(!mounts[0].is_dfuse() && mounts[1].is_dfuse());
        assert_eq!(mounts[1].point, b"/tmp/my pool/c1");
        assert_eq!(mounts[1].device, rustix::fs::makedev(0, 66));
        assert_eq!(
            (mounts[1].id, mounts[1].parent, &mounts[1].source[..]),
            (480, 21, &b"dfuse"[..])
        );
    }

    #[test]
    fn mounts_below_a_directory_are_those_that_a_walk_meets() {
        let text = b"1 0 8:1 / / rw - ext4 /dev/sda1 rw\n\
            2 1 0:40 / /data rw - nfs4 server:/data rw\n\
            3 2 0:41 / /data/a rw - tmpfs old rw\n\
            4 3 0:42 / /data/a rw - tmpfs new rw\n\
            5 4 0:43 / /data/a/b rw - xfs /dev/sdb rw\n\
            6 2 0:44 /x /data/export rw - nfs4 server:/data/export rw\n\
            7 2 0:45 / /data/home rw - autofs map rw\n\
            8 7 0:46 / /data/home/me rw - nfs4 server:/me rw\n\
            9 1 0:47 / /database rw - xfs /dev/sdc rw\n\
            10 2 0:48 / /data/other rw - nfs4 elsewhere:/other rw\n\
            11 2 0:49 / /data/a/hidden rw - tmpfs tmpfs rw\n";
        let table = parse(text);
        let points = |id, path: &[u8]| -> Vec<u64> {
            below(&table, id, path).iter().map(|mount| mount.id).collect()
        };
        assert_eq!(points(2, b"/data"), [4, 5, 7, 10]);
        assert_eq!(points(4, b"/data/a"), [5]);
        assert_eq!(points(1, b"/"), [2, 4, 5, 7, 10, 9]);
        assert_eq!(relative(b"/database", b"/data"), None);
    }

    #[test]
    fn what_is_mounted_here_is_told() {
        assert!(table().iter().any(|mount| mount.point == b"/"));
        assert_eq!(unescaped(b"a\\134b\\x\\9"), b"a\\b\\x\\9");
    }
}
