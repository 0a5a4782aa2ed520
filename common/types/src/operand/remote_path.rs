//! Paths on other hosts: `USER@HOST:PATH`, `HOST:PATH`, and `USER@HOST1,USER@HOST2:PATH` for
//! several hosts that share a file system.

/// A path on another host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemotePath<'p> {
    /// Text before the colon, which names the hosts.
    pub head: &'p str,
    /// Path there; relative ones begin at the user's home directory, as `~/` does.
    pub path: &'p [u8],
    /// True if the path was written with `~/`, which is left out of `path`.
    pub has_tilde: bool,
}

impl<'p> RemotePath<'p> {
    /// Parses a path on another host; `None` for anything that can only be a local path, which
    /// `./NAME:PATH` is, too.
    pub fn parse(given: &'p [u8]) -> Option<Self> {
        let colon = colon(given)?;
        let head = std::str::from_utf8(&given[..colon]).ok()?;
        let path = &given[colon + 1..];
        let is_url = path.starts_with(b"//");
        let of_home = if path == b"~" { Some(&b""[..]) } else { path.strip_prefix(b"~/") };
        let (path, has_tilde) = (of_home.unwrap_or(path), of_home.is_some());
        (!is_url && head.split(',').all(is_door)).then_some(Self { head, path, has_tilde })
    }

    /// Returns the hosts, each as ssh takes it.
    pub fn doors(&self) -> Vec<String> {
        self.head.split(',').map(|door| door.replace(['[', ']'], "")).collect()
    }

    /// Returns whether the path can only be one on a host: it names a user, or has a tilde.
    pub fn is_certain(&self) -> bool {
        self.head.contains('@') || self.has_tilde
    }

    /// Returns the spelling that has a slash, for a path that is certain: so it can be joined with
    /// a name, and its parent is on that host, too.
    pub fn with_slash(given: &'p [u8]) -> Option<Vec<u8>> {
        let remote = Self::parse(given).filter(Self::is_certain)?;
        let is_plain = !remote.path.contains(&b'/');
        is_plain.then(|| [remote.head.as_bytes(), b":./", remote.path].concat())
    }
}

/// Returns where the colon is that separates a host or a service from the path there: the first
/// one, which no slash precedes, and which is not in the brackets of an IPv6 address.
pub fn colon(given: &[u8]) -> Option<usize> {
    let mut is_address = false;
    for (at, byte) in given.iter().enumerate() {
        match byte {
            b'[' if at == 0 || matches!(given[at - 1], b'@' | b',') => is_address = true,
            b']' => is_address = false,
            b'/' => return None,
            b':' if !is_address => return Some(at),
            _ => {}
        }
    }
    None
}

/// Returns true for `HOST` or `USER@HOST`. The user may have `@` and `\`, as those of directory
/// services do.
fn is_door(text: &str) -> bool {
    let (user, host) = text.rsplit_once('@').unwrap_or(("user", text));
    is_user(user) && is_host(host)
}

/// Returns true for what ssh takes as the name of a user: it refuses what a shell would interpret
/// (`valid_ruser` of OpenSSH).
fn is_user(user: &str) -> bool {
    let is_good =
        |c: char| !c.is_whitespace() && !c.is_control() && !"'`\";&<>|(){}$,/:".contains(c);
    !user.is_empty() && !user.starts_with('-') && !user.ends_with('\\') && user.chars().all(is_good)
}

/// Returns true for a name, or an address in brackets if it has colons.
fn is_host(host: &str) -> bool {
    let of_only = |word: &str, more: &str| {
        let is_good = |c: char| c.is_alphanumeric() || more.contains(c);
        !word.is_empty() && !word.starts_with('-') && word.chars().all(is_good)
    };
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => of_only(address, ".:%-_"),
        None => of_only(host, "._-"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_on_other_hosts() {
        let parsed = |given: &'static str| {
            RemotePath::parse(given.as_bytes())
                .map(|it| (it.doors(), String::from_utf8_lossy(it.path).into_owned()))
        };
        let doors = |doors: &[&str]| doors.iter().map(|door| (*door).to_owned()).collect();
        assert_eq!(parsed("u@h:/x:y"), Some((doors(&["u@h"]), "/x:y".to_owned())));
        assert_eq!(parsed("h:x"), Some((doors(&["h"]), "x".to_owned())));
        assert_eq!(parsed("u@h1,u@h2:/x"), Some((doors(&["u@h1", "u@h2"]), "/x".to_owned())));
        assert_eq!(parsed("[::1]:x:y"), Some((doors(&["::1"]), "x:y".to_owned())));
        let address = Some((doors(&["u@fe80::1%eth0", "h"]), "/x".to_owned()));
        assert_eq!(parsed("u@[fe80::1%eth0],h:/x"), address);
        for user in ["DOM\\u", "u@realm.org", "u%a", "a=b", "root+a", "ü"] {
            let given = format!("{user}@h:x");
            let parsed = RemotePath::parse(given.as_bytes()).map(|it| it.doors());
            assert_eq!(parsed, Some(vec![format!("{user}@h")]), "{given}");
        }
        for local in [
            "./h:x",
            "/h:x",
            "a/h:x",
            "h",
            "-h:x",
            "u@-oProxyCommand=x:y",
            "a,b=c:d",
            ":x",
            "s3://b",
            "daos://p/c",
            "a b:c",
            "u@:x",
            ",h:x",
            "h,:x",
            "[::1]",
            "::1:x",
            "u;v@h:x",
            "$u@h:x",
            "[-o]:x",
        ] {
            assert_eq!(parsed(local), None, "{local}");
        }
    }

    #[test]
    fn a_tilde_is_the_home_directory() {
        for (given, path) in [("h:~", ""), ("u@h:~/", ""), ("u@h:~/x/y", "x/y"), ("h:./~", "./~")] {
            let parsed = RemotePath::parse(given.as_bytes()).map(|remote| remote.path);
            assert_eq!(parsed, Some(path.as_bytes()), "{given}");
        }
    }

    #[test]
    fn a_path_without_slash_gets_one() {
        for (given, spelled) in [
            ("u@h:", "u@h:./"),
            ("u@h:x", "u@h:./x"),
            ("u@h:~", "u@h:./"),
            ("u@h:~/x", "u@h:./x"),
            ("h:~", "h:./"),
            ("h:~/x", "h:./x"),
        ] {
            assert_eq!(
                RemotePath::with_slash(given.as_bytes()).as_deref(),
                Some(spelled.as_bytes())
            );
        }
        for given in ["u@h:/x", "u@h:a/b", "h:~/a/b", "h:x", "x"] {
            assert_eq!(RemotePath::with_slash(given.as_bytes()), None, "{given}");
        }
    }
}
