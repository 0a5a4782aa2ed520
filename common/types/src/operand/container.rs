//! Containers of DAOS, as the operator names them: `daos://POOL/CONTAINER[/PATH]`, as in DAOS's own
//! tools. Pool and container are labels or UUIDs.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::operand::malformed::{Fault, Malformed};

/// Scheme of a container's location; more slashes mean the same.
const SCHEME: &[u8] = b"daos://";

/// Longest label in bytes (`DAOS_PROP_LABEL_MAX_LEN` in `daos_prop.h`).
const LABEL_BYTES_MAX: usize = 127;

/// Beginning of the link that a dfuse mount shows (`DUNS_XATTR_FMT` in `daos_uns.h`).
const LINK: &[u8] = b"DAOS.POSIX://";

/// A container in a pool.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Container {
    /// Label or UUID of the pool.
    pub pool: String,
    /// Label or UUID of the container.
    pub name: String,
}

/// A path in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerPath {
    /// Container that the path is in.
    pub container: Container,
    /// Path below the container's root, without leading slashes; empty for the root.
    pub path: Vec<u8>,
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "daos://{}/{}", self.pool, self.name)
    }
}

impl ContainerPath {
    /// Parses a location; `None` for one that is not in a container.
    ///
    /// # Errors
    /// Fails for a location without a pool and a container, and for a path that could leave it.
    pub fn parse(given: &[u8]) -> Result<Option<Self>, Malformed> {
        let Some(rest) = given.strip_prefix(SCHEME) else { return Ok(None) };
        let refused = |fault| Err(Malformed::new(given, fault));
        let (pool, rest) = first_part(rest);
        let (name, rest) = first_part(rest);
        let (Some(pool), Some(name)) = (label(pool), label(name)) else {
            return refused(Fault::Container);
        };
        if rest.split(|byte| *byte == b'/').any(|part| part == b"..") {
            return refused(Fault::ContainerParent);
        }
        Ok(Some(Self { container: Container { pool, name }, path: without_slashes(rest).to_vec() }))
    }
}

impl Container {
    /// Returns true where the pool or the container is named by its UUID.
    pub fn has_uuid(&self) -> bool {
        is_uuid(&self.pool) || is_uuid(&self.name)
    }

    /// Returns true where a dfuse mount shows this container, as far as can be told. A mount tells
    /// only UUIDs, in the link that it has for them; a label is looked for in the mount point's
    /// path, which sites make of pool and container.
    pub fn is_at(&self, mount_point: &[u8], link: Option<&[u8]>) -> bool {
        let mut parts = mount_point.rsplit(|byte| *byte == b'/');
        let is_path = parts.next() == Some(self.name.as_bytes())
            && parts.next() == Some(self.pool.as_bytes());
        let Some((pool, name)) = link.and_then(linked) else { return is_path };
        let fits = |given: &str, is: &[u8]| given.as_bytes().eq_ignore_ascii_case(is);
        match (is_uuid(&self.pool), is_uuid(&self.name)) {
            (true, true) => fits(&self.pool, pool) && fits(&self.name, name),
            (true, false) => is_path && fits(&self.pool, pool),
            (false, true) => is_path && fits(&self.name, name),
            (false, false) => is_path,
        }
    }
}

/// Returns the pool and the container that a link leads to.
fn linked(link: &[u8]) -> Option<(&[u8], &[u8])> {
    let both = link.strip_prefix(LINK)?;
    let slash = both.iter().position(|byte| *byte == b'/')?;
    Some((&both[..slash], both[slash + 1..].trim_ascii_end()))
}

fn is_uuid(text: &str) -> bool {
    let parts: Vec<usize> = text.split('-').map(str::len).collect();
    parts == [8, 4, 4, 4, 12] && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

fn first_part(text: &[u8]) -> (&[u8], &[u8]) {
    let text = without_slashes(text);
    text.split_at(text.iter().position(|byte| *byte == b'/').unwrap_or(text.len()))
}

fn without_slashes(text: &[u8]) -> &[u8] {
    let begin = text.iter().position(|byte| *byte != b'/').unwrap_or(text.len());
    &text[begin..]
}

/// Returns a valid label (`daos_label_is_valid` in `daos_prop.h`) or UUID that no program takes for
/// an option.
fn label(text: &[u8]) -> Option<String> {
    let is_good = |byte: &u8| byte.is_ascii_alphanumeric() || b".:_-".contains(byte);
    let is_label = (1..=LABEL_BYTES_MAX).contains(&text.len())
        && text.iter().all(is_good)
        && !text.starts_with(b"-")
        && !matches!(text, b"." | b"..");
    is_label.then(|| String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const POOL: &str = "0f3eb0a8-1d1a-4fbc-a0bb-9c8a2e0b1c2d";
    const CONT: &str = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee";

    fn parsed(given: &str) -> Option<(String, String)> {
        let place = ContainerPath::parse(given.as_bytes()).unwrap()?;
        Some((place.container.to_string(), String::from_utf8(place.path).unwrap()))
    }

    #[test]
    fn pool_container_and_path() {
        let place = |container: &str, path: &str| Some((container.to_owned(), path.to_owned()));
        assert_eq!(parsed("daos://p/c"), place("daos://p/c", ""));
        assert_eq!(parsed("daos:///p//c//"), place("daos://p/c", ""));
        assert_eq!(parsed("daos://my.pool/c:1/a/b c/"), place("daos://my.pool/c:1", "a/b c/"));
        for other in ["daos:/p/c", "daos", "/daos://p/c", "./daos://p/c"] {
            assert_eq!(parsed(other), None);
        }
        let long = format!("daos://p/{}", "c".repeat(128));
        for nonsense in ["daos://", "daos://p", "daos://p/", "daos://p q/c", "daos://p/-c/x", &long]
        {
            let why = ContainerPath::parse(nonsense.as_bytes()).unwrap_err().to_string();
            assert!(why.contains("write daos://POOL"), "{why}");
        }
        assert!(
            ContainerPath::parse(b"daos://p/c/a/../..")
                .is_err_and(|why| why.to_string().contains("\"..\""))
        );
    }

    #[test]
    fn a_mount_is_known_by_its_link_or_its_path() {
        let container = |pool: &str, name: &str| Container { pool: pool.into(), name: name.into() };
        let link = format!("DAOS.POSIX://{POOL}/{CONT}");
        let link = Some(link.as_bytes());
        let labels = container("pool", "cont");
        assert!(labels.is_at(b"/tmp/pool/cont", link) && labels.is_at(b"/tmp/pool/cont", None));
        assert!(!labels.is_at(b"/tmp/pool/other", link) && !labels.is_at(b"/tmp/xpool/cont", link));
        let uuids = container(&POOL.to_uppercase(), CONT);
        assert!(uuids.is_at(b"/mnt", link) && !uuids.is_at(b"/mnt", None));
        let other = container(CONT, CONT);
        assert!(!other.is_at(format!("/tmp/{CONT}/{CONT}").as_bytes(), link));
        let mixed = container(POOL, "cont");
        assert!(mixed.is_at(format!("/tmp/{POOL}/cont").as_bytes(), link));
        assert!(!mixed.is_at(b"/tmp/pool/cont", link));
    }
}
