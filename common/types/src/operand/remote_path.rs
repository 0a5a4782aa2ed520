//! Paths on other hosts: `USER@HOST:PATH`, `HOST:PATH`, and `USER@HOST1,USER@HOST2:PATH` for
//! several hosts that share a file system.

/// A path on another host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemotePath<'p> {
    /// Text before the colon, which names the hosts.
    pub head: &'p str,
    /// Path there; relative ones begin at the user's home directory.
    pub path: &'p [u8],
}

impl<'p> RemotePath<'p> {
    /// Parses a path on another host; `None` for anything that can only be a local path, which
    /// `./NAME:PATH` is, too.
    pub fn parse(given: &'p [u8]) -> Option<Self> {
        let colon = given.iter().position(|byte| *byte == b':')?;
        let head = std::str::from_utf8(&given[..colon]).ok()?;
        let path = &given[colon + 1..];
        let is_url = path.starts_with(b"//");
        (!is_url && head.split(',').all(is_door)).then_some(Self { head, path })
    }

    /// Returns the hosts, each as ssh takes it.
    pub fn doors(&self) -> Vec<String> {
        self.head.split(',').map(str::to_owned).collect()
    }

    /// Returns the spelling that has a slash, for a path that names its user: so it can be joined
    /// with a name, and its parent is on that host, too.
    pub fn with_slash(given: &'p [u8]) -> Option<Vec<u8>> {
        let remote = Self::parse(given).filter(|remote| remote.head.contains('@'))?;
        let is_plain = !remote.path.contains(&b'/');
        is_plain.then(|| [remote.head.as_bytes(), b":./", remote.path].concat())
    }
}

/// Returns true for `HOST` or `USER@HOST`.
fn is_door(text: &str) -> bool {
    let (user, host) = text.split_once('@').unwrap_or(("user", text));
    let is_good = |word: &str| {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        !word.is_empty() && !word.starts_with('-') && word.chars().all(is_allowed)
    };
    is_good(user) && is_good(host)
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
        ] {
            assert_eq!(parsed(local), None, "{local}");
        }
    }

    #[test]
    fn a_path_without_slash_gets_one() {
        for (given, spelled) in [("u@h:", "u@h:./"), ("u@h:x", "u@h:./x")] {
            assert_eq!(
                RemotePath::with_slash(given.as_bytes()).as_deref(),
                Some(spelled.as_bytes())
            );
        }
        for given in ["u@h:/x", "u@h:a/b", "h:x", "x"] {
            assert_eq!(RemotePath::with_slash(given.as_bytes()), None, "{given}");
        }
    }
}
