//! Locations as the operator names them: a path, or objects in a bucket.
//!
//! - `s3://BUCKET[/PREFIX]`: what AWS's own tools take.
//! - `REMOTE:BUCKET[/PREFIX]`: a remote of rclone's configuration; rclone's rules for names
//!   (<https://rclone.org/docs/#valid-remote-names>) say what can be one.
//! - `sftp://[USER@]HOST[:PORT]/PATH`: a path on an SFTP server, as [`crate::operand::sftp_path`]
//!   parses it.
//! - `daos://POOL/CONTAINER[/PATH]`: a path in a container of DAOS.
//! - Anything else is a path, on this node or, as [`crate::operand::remote_path`] parses it, on
//!   another host. `./a:b` is always one here; `a:b` never is, because rsync and rclone would not
//!   take it for a file.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::operand::container::ContainerPath;
use crate::operand::malformed::{Fault, Malformed};
use crate::operand::remote_path::{RemotePath, colon};
use crate::operand::sftp_path::SftpPath;
use crate::path;

/// Location of a source or target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Location {
    /// Path, as given.
    Posix(Vec<u8>),
    /// Objects in a bucket.
    Object(ObjectLocation),
    /// Path in a DAOS container.
    Container(ContainerPath),
}

/// Objects in a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectLocation {
    /// Service that the bucket is in.
    pub service: ServiceName,
    /// Name of the bucket.
    pub bucket: String,
    /// Prefix of the keys, as given: everything after the slash that ends the bucket's name.
    pub prefix: Vec<u8>,
    /// True where the location ends in `/` or is the bucket itself, and so stands for the objects
    /// below it.
    pub means_contents: bool,
}

/// Service as the operator names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServiceName {
    /// `s3://`: the service that options and AWS's configuration name.
    S3,
    /// Remote in rclone's configuration.
    Remote(String),
}

impl ServiceName {
    /// Returns whether the service is the remote of that name.
    pub fn is_remote(&self, name: &str) -> bool {
        matches!(self, Self::Remote(own) if own == name)
    }

    /// Returns the text with which paths in the service begin.
    pub fn prefix(&self) -> String {
        match self {
            Self::S3 => "s3://".to_owned(),
            Self::Remote(name) => format!("{name}:"),
        }
    }
}

/// Longest name of a bucket in bytes: AWS's in its oldest region; others take less.
const BUCKET_BYTES_MAX: usize = 255;

impl Location {
    /// Parses a location; `is_remote` tells whether rclone's configuration has a remote of that
    /// name.
    ///
    /// # Errors
    /// Fails for a malformed location, and tells what to write instead.
    pub fn parse(given: &[u8], is_remote: &dyn Fn(&str) -> bool) -> Result<Self, Malformed> {
        if let Some(place) = ContainerPath::parse(given)? {
            return Ok(Self::Container(place));
        }
        let found = match head(given) {
            None => None,
            Some(head) => object(given, head, is_remote)?,
        };
        if found.is_none() {
            check_spelling(given)?;
        }
        Ok(found.map_or_else(|| Self::Posix(given.to_vec()), Self::Object))
    }

    /// Returns the location as one line of text.
    pub fn shown(&self) -> String {
        match self {
            Self::Posix(given) => path::escaped(given),
            Self::Object(objects) => objects.to_string(),
            Self::Container(place) => {
                format!("{}/{}", place.container, path::escaped(&place.path))
            }
        }
    }
}

impl fmt::Display for ObjectLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.service {
            ServiceName::Remote(remote) => {
                write!(f, "{}:{}", path::escaped(remote.as_bytes()), self.bucket)?;
            }
            ServiceName::S3 => write!(f, "s3://{}", self.bucket)?,
        }
        match &self.prefix[..] {
            b"" => Ok(()),
            prefix => write!(f, "/{}", path::escaped(prefix)),
        }
    }
}

/// Returns the service that a location names without any bucket; `None` for any other location.
pub fn service_alone(given: &[u8], is_remote: &dyn Fn(&str) -> bool) -> Option<ServiceName> {
    if given == b"s3://" {
        return Some(ServiceName::S3);
    }
    let name = named_host(given)?;
    let is_alone = without_leading_slashes(&given[name.len() + 1..]).is_empty();
    (is_alone && is_remote(name)).then(|| ServiceName::Remote(name.to_owned()))
}

/// Returns the name of a remote or a host, where a path is written like one there: `NAME:REST`,
/// `USER@HOST:REST`.
pub fn named_host(given: &[u8]) -> Option<&str> {
    head(given).filter(|name| is_remote_name(name))
}

/// Splits an operand into the text that names a host or a service, with its colon, and the path
/// there. The first is empty for a path in a file system of this node.
pub fn split(given: &[u8]) -> (&[u8], &[u8]) {
    let end = match SftpPath::parse(given) {
        Ok(Some(url)) => url.head.len(),
        _ => address(given).map_or(0, |head| head.len() + 1),
    };
    given.split_at(end)
}

/// Returns the path on the host or in the service that an operand names, without the `~/` of a home
/// directory, at which relative ones begin.
pub fn path_there(given: &[u8]) -> &[u8] {
    match (SftpPath::parse(given), RemotePath::parse(given)) {
        (Ok(Some(url)), _) => url.path,
        (_, Some(remote)) => remote.path,
        _ => split(given).1,
    }
}

/// Returns the text before the colon, where an operand has a colon before its first slash: it then
/// names no file here, whatever the text is, as rsync sees it, too.
pub fn address(given: &[u8]) -> Option<&[u8]> {
    colon(given).filter(|end| *end > 0).map(|end| &given[..end])
}

/// Checks a path that can only be a file or a directory in a file system. What looks like a place
/// on a host or in a service is refused, since a file of that name here is not what is meant.
///
/// # Errors
/// Fails for a place on a host or in a service.
pub fn checked_local(given: &[u8]) -> Result<(), NotLocal> {
    address(given).map_or(Ok(()), |_| Err(NotLocal(given.to_vec())))
}

/// Place on a host or in a service, where only a path can be given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "only a path in a file system can be given here; for a file of that name write \"./{}\"",
    path::escaped(.0)
)]
pub struct NotLocal(Vec<u8>);

/// Refuses what rsync takes at the beginning of a path on another host, and this program does not.
fn check_spelling(given: &[u8]) -> Result<(), Malformed> {
    let path = address(given).map_or(&b""[..], |head| &given[head.len() + 1..]);
    match path {
        [b'~'] | [b'~', b'/', ..] => Ok(()),
        [b'~', ..] => Err(Malformed::new(given, Fault::OtherHome)),
        [b':', ..] => Err(Malformed::new(given, Fault::Daemon)),
        _ => Ok(()),
    }
}

/// Returns the text before the first `:`, which may be the name of a remote; `None` where the whole
/// can only be a path, because a `/` precedes it or there is none.
fn head(given: &[u8]) -> Option<&str> {
    // That of rclone's `:BACKEND:` is the second one.
    let begin = usize::from(given.starts_with(b":"));
    let end = colon(&given[begin..])? + begin;
    std::str::from_utf8(&given[..end]).ok()
}

fn object(
    given: &[u8],
    head: &str,
    is_remote: &dyn Fn(&str) -> bool,
) -> Result<Option<ObjectLocation>, Malformed> {
    let rest = &given[head.len() + 1..];
    let has_two_slashes = rest.starts_with(b"//");
    if head.eq_ignore_ascii_case("s3") && has_two_slashes {
        return objects(given, None, &rest[2..]).map(Some);
    }
    let shown = || path::escaped(given);
    let refused = |fault| Err(Malformed::new(given, fault));
    let name = head.split(',').next().unwrap_or_default();
    if let Some(backend) = name.strip_prefix(':') {
        return if is_remote_name(backend) { refused(Fault::OnTheFly(shown())) } else { Ok(None) };
    }
    if is_remote_name(name) && is_remote(name) {
        return if head == name {
            objects(given, Some(name), rest).map(Some)
        } else {
            refused(Fault::OnTheFly(shown()))
        };
    }
    match (head, has_two_slashes) {
        (_, true) if head.eq_ignore_ascii_case("sftp") => Ok(None),
        ("s3a" | "s3n", true) => refused(Fault::Hadoop),
        _ if has_two_slashes && is_scheme(head) => refused(Fault::Scheme(head.to_owned())),
        ("s3" | "S3", false) => refused(Fault::NoSlashes(shown())),
        _ => Ok(None),
    }
}

/// Returns true for a name that rclone accepts, or nearly so: one that rclone refuses is not in its
/// configuration either.
fn is_remote_name(name: &str) -> bool {
    let is_good = |c: char| c.is_alphanumeric() || "_.+@- ".contains(c);
    !name.is_empty()
        && !name.starts_with([' ', '-'])
        && !name.ends_with(' ')
        && name.chars().all(is_good)
}

/// Returns true for a URI scheme (RFC 3986, 3.1).
fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

fn objects(
    given: &[u8],
    remote_name: Option<&str>,
    rest: &[u8],
) -> Result<ObjectLocation, Malformed> {
    let refused = |fault| Malformed::new(given, fault);
    // rclone takes `REMOTE:/BUCKET` too; `s3:///KEY` has no bucket.
    let rest = if remote_name.is_some() { without_leading_slashes(rest) } else { rest };
    let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
    let bucket = checked_bucket(&rest[..end]).map_err(refused)?;
    let mut prefix = rest.get(end + 1..).unwrap_or_default();
    if prefix == b"." || prefix.ends_with(b"/.") {
        prefix = &prefix[..prefix.len() - 1];
    }
    if prefix.split(|byte| *byte == b'/').any(|part| part == b"." || part == b"..") {
        return Err(refused(Fault::Dots));
    }
    let means_contents = prefix.is_empty() || prefix.ends_with(b"/");
    let remote = |name: &str| ServiceName::Remote(name.to_owned());
    let (service, prefix) = (remote_name.map_or(ServiceName::S3, remote), prefix.to_vec());
    Ok(ObjectLocation { service, bucket, prefix, means_contents })
}

fn without_leading_slashes(text: &[u8]) -> &[u8] {
    let begin = text.iter().position(|byte| *byte != b'/').unwrap_or(text.len());
    &text[begin..]
}

/// Checks the name of a bucket. It accepts more than AWS does today: others allow `_` and upper
/// case, Ceph `TENANT:BUCKET`, and Swift makes buckets with `+`.
fn checked_bucket(bucket: &[u8]) -> Result<String, Fault> {
    let is_good = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.+:".contains(byte);
    match bucket {
        b"" => Err(Fault::NoBucket),
        _ if bucket.starts_with(b"arn:") => Err(Fault::AccessPoint),
        _ if bucket.starts_with(b".")
            || bucket.starts_with(b":")
            || !bucket.iter().all(is_good) =>
        {
            Err(Fault::Bucket(bucket.to_vec()))
        }
        _ if bucket.len() > BUCKET_BYTES_MAX => Err(Fault::LongBucket),
        _ => Ok(String::from_utf8_lossy(bucket).into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(given: &str) -> Result<Location, String> {
        let is_remote = |name: &str| ["minio", "s3", "my-lab 2", "gs"].contains(&name);
        Location::parse(given.as_bytes(), &is_remote).map_err(|why| why.to_string())
    }

    fn object(given: &str) -> (ServiceName, String, String, bool) {
        match parse(given) {
            Ok(Location::Object(objects)) => {
                let prefix = String::from_utf8(objects.prefix).unwrap();
                (objects.service, objects.bucket, prefix, objects.means_contents)
            }
            other => panic!("{given} is {other:?}"),
        }
    }

    fn s3(bucket: &str, prefix: &str, contents: bool) -> (ServiceName, String, String, bool) {
        (ServiceName::S3, bucket.into(), prefix.into(), contents)
    }

    #[test]
    fn a_bucket_and_what_is_below_it() {
        assert_eq!(object("s3://b"), s3("b", "", true));
        assert_eq!(object("S3://b/"), s3("b", "", true));
        assert_eq!(object("s3://My_Bucket.1/x/y"), s3("My_Bucket.1", "x/y", false));
        assert_eq!(object("s3://b/x/"), s3("b", "x/", true));
        assert_eq!(object("s3://b/x/."), s3("b", "x/", true));
        assert_eq!(object("s3://b/."), s3("b", "", true));
        assert_eq!(object("s3://b//x//y"), s3("b", "/x//y", false));
        assert_eq!(object("s3://b//"), s3("b", "/", true));
        assert_eq!(object("s3://b/x//"), s3("b", "x//", true));
        assert_eq!(object("s3://b/x:y z"), s3("b", "x:y z", false));
    }

    #[test]
    fn a_remote_is_what_rclone_has() {
        let remote = |name: &str| ServiceName::Remote(name.to_owned());
        assert_eq!(object("minio:b/x"), (remote("minio"), "b".into(), "x".into(), false));
        assert_eq!(object("minio:/b/x/"), (remote("minio"), "b".into(), "x/".into(), true));
        assert_eq!(object("s3:b"), (remote("s3"), "b".into(), String::new(), true));
        assert_eq!(object("gs://b"), (remote("gs"), "b".into(), String::new(), true));
        assert_eq!(object("my-lab 2:b").0, remote("my-lab 2"));
        assert_eq!(object("minio:tenant:b/x").1, "tenant:b");
        assert_eq!(object("s3://b").0, ServiceName::S3);
    }

    #[test]
    fn everything_else_is_a_path() {
        for path in [
            "",
            "a",
            "/a:b",
            "./minio:b",
            "a/minio:b",
            "host:a",
            ":",
            "::",
            ": x",
            ":/",
            "minio",
            "a,b=c:d",
            "-minio:b",
            " minio:b",
            "s3",
            "s3/b",
            "/s3://b",
            "./s3://b",
            "sftp://h/x",
            "x//y",
        ] {
            assert_eq!(parse(path), Ok(Location::Posix(path.into())), "{path}");
        }
        let bytes = b"\xff:b".to_vec();
        assert_eq!(Location::parse(&bytes, &|_| true), Ok(Location::Posix(bytes)));
    }

    #[test]
    fn what_is_written_as_a_place_on_a_host_is_known() {
        for (given, host) in [
            ("gs:x", Some("gs")),
            ("user@host:", Some("user@host")),
            ("user@host:/x/y:z", Some("user@host")),
            ("./gs:x", None),
            ("/gs:x", None),
            ("a/b:c", None),
            (":x", None),
            ("x", None),
        ] {
            assert_eq!(named_host(given.as_bytes()), host, "{given}");
            assert_eq!(checked_local(given.as_bytes()).is_err(), host.is_some(), "{given}");
        }
        // What no remote can be called is no file either.
        for given in ["a,b=c:d", "-gs:x", " a:b", "[::1]:x", "a b@c:x"] {
            assert!(checked_local(given.as_bytes()).is_err(), "{given}");
        }
    }

    #[test]
    fn operands_are_split_into_a_place_and_a_path() {
        for (given, head, path) in [
            ("a/b:c", "", "a/b:c"),
            ("/", "", "/"),
            ("h:/", "h:", "/"),
            ("u@[::1]:x", "u@[::1]:", "x"),
            ("sftp://h:22/~/x", "sftp://h:22", "/~/x"),
            ("s3://b/x", "s3:", "//b/x"),
        ] {
            assert_eq!(split(given.as_bytes()), (head.as_bytes(), path.as_bytes()), "{given}");
        }
    }

    #[test]
    fn what_rsync_takes_on_a_host_is_refused_where_it_would_mean_something_else() {
        for (given, expected) in [("u@h:~v/x", "~USER"), ("h::x", "daemon"), ("u@h::", "daemon")] {
            let why = parse(given).unwrap_err();
            assert!(why.contains(expected) && !why.contains('\n'), "{given}: {why}");
        }
        for fine in ["u@h:~", "u@h:~/x", "u@h:./~v", "./u@h:~v"] {
            assert_eq!(parse(fine), Ok(Location::Posix(fine.into())), "{fine}");
        }
    }

    #[test]
    fn nonsense_is_refused_in_one_line() {
        let long = format!("s3://{}", "b".repeat(256));
        for (given, expected) in [
            ("s3://", "bucket is missing"),
            ("s3:///b", "bucket is missing"),
            ("minio:", "bucket is missing"),
            ("minio:/", "bucket is missing"),
            ("s3://b c/x", "\"b c\" cannot be"),
            ("s3://b\n/x", r#"b\n" cannot be"#),
            ("s3://b?x", "cannot be"),
            ("s3://../x", "cannot be"),
            ("s3://ü", "cannot be"),
            (&long, "too long"),
            ("s3://arn:aws:s3:eu-west-1:1:accesspoint/a", "alias"),
            ("s3://b/x/../y", "\"..\""),
            ("s3://b/./y", "\".\""),
            ("s3a://b/x", "write s3://"),
            ("https://b.s3.amazonaws.com/x", "https:// is not supported"),
            ("file:///x", "write a path"),
            (":s3,provider=Ceph,env_auth:b/p", "put them in rclone.conf"),
            (":s3:b", "put them in rclone.conf"),
            ("minio,chunk_size=64M:b", "put them in rclone.conf"),
        ] {
            let why = parse(given).unwrap_err();
            assert!(why.contains(expected) && !why.contains('\n'), "{given:?}: {why}");
        }
        let no_remotes = |given: &str| Location::parse(given.as_bytes(), &|_| false);
        for given in ["s3:/b", "s3:b/x", "s3:"] {
            assert!(
                no_remotes(given).unwrap_err().to_string().contains("write s3://BUCKET"),
                "{given}"
            );
        }
        assert!(no_remotes("gs://b").unwrap_err().to_string().contains("gs:// is not supported"));
    }

    #[test]
    fn names_of_remotes_are_rclones() {
        for good in ["a", "ä1", "a.b+c@d_e", "a-b", "a b", "a - b", "a--", "1"] {
            assert!(is_remote_name(good), "{good}");
        }
        for bad in ["", "-a", " a", "a ", "a/b", "a,b", "a\n", "a\\b"] {
            assert!(!is_remote_name(bad), "{bad}");
        }
    }

    #[test]
    fn a_place_is_shown_as_it_is_written() {
        for given in ["s3://b", "s3://b//x", "s3://b/x/", "minio:b/x", "a/b:c", "daos://p/c/x"] {
            assert_eq!(parse(given).unwrap().shown(), given);
        }
        assert_eq!(parse("s3://b/x\ny").unwrap().shown(), r"s3://b/x\ny");
    }
}
