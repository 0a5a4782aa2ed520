//! Paths on SFTP servers: `sftp://[USER@]HOST[:PORT]/PATH`.

use crate::operand::malformed::{Fault, Malformed};

/// A path on an SFTP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SftpPath<'p> {
    /// Text before the path, which names the host.
    pub head: &'p str,
    /// Host as ssh takes it: `USER@HOST`.
    pub door: String,
    /// Port, where it is given.
    pub port: Option<u16>,
    /// Path there, byte for byte; relative ones begin at the user's home directory.
    pub path: &'p [u8],
}

/// Beginning of such a path.
const SCHEME: &[u8] = b"sftp://";

impl<'p> SftpPath<'p> {
    /// Parses a path on an SFTP server; `None` for any other location.
    ///
    /// # Errors
    /// Fails for a malformed host or port.
    pub fn parse(given: &'p [u8]) -> Result<Option<Self>, Malformed> {
        let Some((scheme, rest)) = given.split_at_checked(SCHEME.len()) else { return Ok(None) };
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return Ok(None);
        }
        let refused = |fault| Malformed::new(given, fault);
        let Some(slash) = rest.iter().position(|byte| *byte == b'/') else {
            return Err(refused(Fault::NoPath));
        };
        let (authority, path) = rest.split_at(slash);
        let head = std::str::from_utf8(&given[..SCHEME.len() + slash]);
        let (Ok(head), Ok(authority)) = (head, std::str::from_utf8(authority)) else {
            return Err(refused(Fault::NotAscii));
        };
        let (door, port) = door(authority).map_err(refused)?;
        let path = match path {
            b"/~" => b"",
            _ => path.strip_prefix(b"/~/").unwrap_or(path),
        };
        Ok(Some(Self { head, door, port, path }))
    }
}

/// Parses `[USER@]HOST[:PORT]`.
fn door(authority: &str) -> Result<(String, Option<u16>), Fault> {
    let (user, place) = match authority.rsplit_once('@') {
        Some((user, place)) => (Some(user), place),
        None => (None, authority),
    };
    if user.is_some_and(|user| user.contains(':')) {
        return Err(Fault::Password);
    }
    let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, Some(port.strip_prefix(':').unwrap_or_default())),
        None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
    };
    let is_address = place.starts_with('[');
    let is_good = |word: &str, more: &str| {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || more.contains(c);
        !word.is_empty() && !word.starts_with('-') && word.chars().all(is_allowed)
    };
    if !is_good(host, if is_address { ".:%-_" } else { "._-" }) {
        return Err(Fault::Host);
    }
    if user.is_some_and(|user| !is_good(user, "._-+")) {
        return Err(Fault::User);
    }
    let port = match port.map(str::parse) {
        None => None,
        Some(Ok(port)) if port > 0 => Some(port),
        Some(_) => return Err(Fault::Port),
    };
    Ok((user.map_or_else(|| host.to_owned(), |user| format!("{user}@{host}")), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(given: &str) -> Option<(String, String, Option<u16>, Vec<u8>)> {
        let path = SftpPath::parse(given.as_bytes()).unwrap()?;
        Some((path.head.to_owned(), path.door, path.port, path.path.to_vec()))
    }

    #[test]
    fn hosts_ports_and_paths() {
        for (given, head, door, port, path) in [
            ("sftp://h/x", "sftp://h", "h", None, "/x"),
            ("sftp://u@h:2222/x/y:z", "sftp://u@h:2222", "u@h", Some(2222), "/x/y:z"),
            ("SFTP://h/", "SFTP://h", "h", None, "/"),
            ("sftp://u@h/~/x", "sftp://u@h", "u@h", None, "x"),
            ("sftp://u@h/~", "sftp://u@h", "u@h", None, ""),
            ("sftp://u@h/~x", "sftp://u@h", "u@h", None, "/~x"),
            (
                "sftp://u@[fe80::1%eth0]:22/x",
                "sftp://u@[fe80::1%eth0]:22",
                "u@fe80::1%eth0",
                Some(22),
                "/x",
            ),
        ] {
            let expected = (head.to_owned(), door.to_owned(), port, path.as_bytes().to_vec());
            assert_eq!(parsed(given), Some(expected), "{given}");
        }
        for other in ["x", "./sftp://h/x", "u@h:/x", "s3://b", "sftp:x", "/sftp://h/x"] {
            assert_eq!(parsed(other), None, "{other}");
        }
    }

    #[test]
    fn nonsense_is_refused_in_one_line() {
        for (given, expected) in [
            ("sftp://h", "/~/PATH"),
            ("sftp:///x", "host is missing"),
            ("sftp://-oProxyCommand=x/y", "host is missing or malformed"),
            ("sftp://-u@h/y", "user is malformed"),
            ("sftp://u:secret@h/x", "passwords are not taken"),
            ("sftp://h:0/x", "port"),
            ("sftp://h:70000/x", "port"),
            ("sftp://h:/x", "port"),
            ("sftp://[::1]x/x", "port"),
            ("sftp://a b/x", "malformed"),
        ] {
            let why = SftpPath::parse(given.as_bytes()).unwrap_err().to_string();
            assert!(why.contains(expected) && !why.contains('\n'), "{given}: {why}");
        }
    }
}
