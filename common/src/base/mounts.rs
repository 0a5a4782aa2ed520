//! What is mounted where, as the kernel tells this process (proc_pid_mountinfo(5)).

use std::os::unix::ffi::OsStrExt;

/// How the kernel calls a mount of DAOS's dfuse: `fuse`, and the subtype that it gives.
const DFUSE: &[u8] = b"fuse.daos";

/// A mounted file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Its device, as stat(2) tells it.
    pub device: u64,
    /// Where it is.
    pub point: Vec<u8>,
    /// Its type, with a subtype after a dot.
    pub kind: Vec<u8>,
}

impl Mount {
    /// It is one of DAOS's dfuse.
    pub fn is_dfuse(&self) -> bool {
        self.kind == DFUSE
    }

    /// This user may look at it, and somebody is there to answer.
    pub fn answers(&self) -> bool {
        rustix::fs::stat(std::ffi::OsStr::from_bytes(&self.point)).is_ok()
    }
}

/// All that this process sees, the latest last; nothing where the system does not tell.
pub fn table() -> Vec<Mount> {
    parse(&std::fs::read("/proc/self/mountinfo").unwrap_or_default())
}

/// Whether a device is a mount of DAOS's dfuse.
pub fn is_dfuse(device: u64) -> bool {
    table().iter().any(|mount| mount.device == device && mount.is_dfuse())
}

/// The value of an extended attribute of what is mounted there.
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

/// `36 35 98:0 /root /point options optional… - type source options`
fn line(line: &[u8]) -> Option<Mount> {
    let mut words = line.split(|byte| *byte == b' ');
    let device = std::str::from_utf8(words.nth(2)?).ok()?;
    let (major, minor) = device.split_once(':')?;
    let point = unescaped(words.nth(1)?);
    let kind = words.skip_while(|word| *word != b"-").nth(1)?.to_vec();
    let device = rustix::fs::makedev(major.parse().ok()?, minor.parse().ok()?);
    Some(Mount { device, point, kind })
}

/// Blanks, tabs, newlines and backslashes are three octal digits after a backslash.
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
    }

    #[test]
    fn what_is_mounted_here_is_told() {
        assert!(table().iter().any(|mount| mount.point == b"/"));
        assert_eq!(unescaped(b"a\\134b\\x\\9"), b"a\\b\\x\\9");
    }
}
