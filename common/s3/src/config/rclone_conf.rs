//! Remotes of rclone's configuration, so that a location that works for rclone works here. They
//! come from rclone's file and from environment variables, which can define a remote without a file
//! (<https://rclone.org/docs/#config-file>, <https://rclone.org/s3/>).
//!
//! Keys that only tune how rclone transfers data are ignored. A key that would change the data
//! written or the account used, and that is not implemented here, is an error.

mod error;
mod ini;

use std::borrow::Cow;
use std::cell::OnceCell;

pub use self::error::RemoteError;
use self::ini::Ini;
use crate::config::config_file;
use crate::config::environment::Environment;
use crate::config::settings::{Chain, CopyTags, Credentials, ObjectOptions, Secret};
use types::limits::S3_PART_BYTES_MIN;
use types::path::escaped;

/// A remote of type `s3`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// The credentials that requests are signed with, or where to look for them.
    pub login: Login,
    /// The region; rclone's default is `us-east-1`.
    pub region: String,
    /// The scheme and host of the service; `None` for AWS.
    pub endpoint_url: Option<String>,
    /// True if the bucket's name goes into the path of a URL, not into the host name.
    pub path_style: bool,
    /// True to use AWS's dual-stack hosts, which answer over IPv4 and IPv6.
    pub use_dual_stack: bool,
    /// Properties that new objects get, such as storage class and encryption.
    pub object: ObjectOptions,
    /// The size of the parts of a large object, in bytes; `None` where `chunk_size` is not set.
    pub part_bytes: Option<u64>,
    /// The size in bytes above which an object is uploaded in parts (`upload_cutoff`).
    pub upload_cutoff_bytes: Option<u64>,
    /// The size in bytes above which the service copies an object in parts (`copy_cutoff`).
    pub copy_cutoff_bytes: Option<u64>,
    /// True if directories get marker objects, empty ones whose keys end in a slash.
    pub directory_markers: bool,
    /// True if large objects are written without a checksum of their whole content
    /// (`disable_checksum`).
    pub disable_checksum: bool,
    /// True to list by ListObjects, since the service does not implement ListObjectsV2
    /// (`list_version = 1`).
    pub lists_by_marker: bool,
}

/// Credentials of a remote, or where to look for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// Credentials given in the remote itself, or none, for anonymous requests.
    Given(Credentials),
    /// Credentials that AWS's own tools would find (`env_auth = true`).
    Chain(Chain),
}

/// Keys without which a remote would mean something else, and which are not implemented here, with
/// advice for the user.
const UNSUPPORTED: [(&str, &str); 8] = [
    ("role_arn", "use a profile of AWS's configuration with role_arn, and env_auth = true"),
    ("sse_customer_algorithm", "keys of the customer are not supported"),
    ("sse_customer_key", "keys of the customer are not supported"),
    ("sse_customer_key_base64", "keys of the customer are not supported"),
    ("object_lock_mode", "locks of objects are not supported"),
    ("object_lock_legal_hold_status", "locks of objects are not supported"),
    ("version_at", "older versions of objects are not supported"),
    ("ibm_api_key", "use access_key_id and secret_access_key (HMAC keys)"),
];

/// Switches of a remote that give its objects other names, or another content.
const UNSUPPORTED_FLAGS: [(&str, &str); 3] = [
    ("versions", "older versions of objects are not supported"),
    ("version_deleted", "older versions of objects are not supported"),
    ("decompress", "objects are not decompressed"),
];

/// Providers for which rclone puts the bucket into the host name, whatever `force_path_style` says:
/// those without that quirk in `backend/s3/provider` of rclone 1.75. All others, and those that
/// rclone does not know, are addressed by path.
const VIRTUAL_HOSTS: [&str; 27] = [
    "AWS",
    "Alibaba",
    "Cubbit",
    "DigitalOcean",
    "Dreamhost",
    "GCS",
    "Hetzner",
    "HuaweiOBS",
    "ImpossibleCloud",
    "Intercolo",
    "Leviia",
    "Linode",
    "LyveCloud",
    "Netease",
    "OVHcloud",
    "Petabox",
    "Rabata",
    "RackCorp",
    "Scaleway",
    "Selectel",
    "Servercore",
    "Storj",
    "Synology",
    "TencentCOS",
    "Wasabi",
    "Zata",
    "us3",
];

/// The greatest number of aliases that are followed, so that a cycle of aliases ends with an error.
const ALIASES_MAX: u32 = 8;

/// Returns whether there is a remote of that name, of any type. Returns true where the
/// configuration cannot be read: an error is better than creating a local file called like a
/// remote.
pub fn is_configured(name: &str, environment: Environment<'_>) -> bool {
    let conf = Conf::new(environment);
    conf.variable(name, "type").is_some() || conf.file().map_or(true, |file| file.has(name))
}

/// Returns whether the remote of that name is in S3.
pub fn is_s3(name: &str, environment: Environment<'_>) -> bool {
    is_configured(name, environment) && remote(name, environment).is_ok()
}

/// Returns the escaped names of the remotes in the file, for error messages; none where it cannot
/// be read.
pub fn names(environment: Environment<'_>) -> Vec<String> {
    let conf = Conf::new(environment);
    let names = conf.file().map(Ini::sections).unwrap_or_default();
    names.into_iter().map(|name| escaped(name.as_bytes())).collect()
}

/// Reads the remote of that name, following aliases.
///
/// # Errors
/// Returns which key cannot be used, and what to do.
pub fn remote(name: &str, environment: Environment<'_>) -> Result<Remote, RemoteError> {
    let conf = Conf::new(environment);
    let (name, kind) = conf.behind(name)?;
    if kind == "s3" {
        return Keys { conf: &conf, name: &name }.remote();
    }
    Err(RemoteError::Type { name, kind })
}

/// A remote of another type than S3: its keys and values.
pub struct OtherRemote<'e> {
    conf: Conf<'e>,
    name: String,
    kind: &'static str,
}

impl<'e> OtherRemote<'e> {
    /// Finds the remote of that name, following aliases; `None` where it is of another type, or
    /// there is none.
    pub fn find(name: &str, kind: &'static str, environment: Environment<'e>) -> Option<Self> {
        let conf = Conf::new(environment);
        let (name, found) = conf.behind(name).ok()?;
        (found == kind).then_some(Self { conf, name, kind })
    }

    /// Returns the value of a key.
    ///
    /// # Errors
    /// Fails if the configuration cannot be read.
    pub fn text(&self, key: &str) -> Result<Option<String>, RemoteError> {
        self.conf.value(&self.name, self.kind, key)
    }

    /// Returns the value of a key that is a size.
    ///
    /// # Errors
    /// Fails if the value is none.
    pub fn size(&self, key: &str) -> Result<Option<u64>, RemoteError> {
        let parse = |text: String| {
            parse_size(&text).ok_or_else(|| self.wrong(key, "write a size as 64M (=MiB)"))
        };
        self.text(key)?.map(parse).transpose()
    }

    /// Returns the error of a key that cannot be used.
    pub fn wrong(&self, key: &str, advice: impl Into<Cow<'static, str>>) -> RemoteError {
        wrong(&self.name, key, advice)
    }
}

fn wrong(remote: &str, key: &str, advice: impl Into<Cow<'static, str>>) -> RemoteError {
    RemoteError::Key { remote: remote.to_owned(), key: key.to_owned(), advice: advice.into() }
}

/// rclone's configuration: the environment, and the file, which is read on first use.
struct Conf<'e> {
    environment: Environment<'e>,
    file: OnceCell<Result<Ini, RemoteError>>,
}

impl<'e> Conf<'e> {
    fn new(environment: Environment<'e>) -> Self {
        Self { environment, file: OnceCell::new() }
    }

    fn file(&self) -> Result<&Ini, RemoteError> {
        self.file.get_or_init(|| load(self.environment)).as_ref().map_err(Clone::clone)
    }

    /// Returns the variable `RCLONE_CONFIG_<NAME>_<KEY>`, in upper case. A hyphen in the name stays
    /// a hyphen, as in rclone.
    fn variable(&self, name: &str, key: &str) -> Option<String> {
        (self.environment)(&format!("RCLONE_CONFIG_{name}_{key}").to_uppercase())
    }

    /// Returns the value of a key in rclone's documented order of precedence: variables of the
    /// remote, variables of the backend, the file. Empty values count as unset.
    fn value(&self, name: &str, kind: &str, key: &str) -> Result<Option<String>, RemoteError> {
        let variable = self.variable(name, key);
        let of_backend = format!("RCLONE_{kind}_{key}").to_uppercase();
        let variable = variable.or_else(|| (self.environment)(&of_backend));
        let value = match variable {
            Some(value) => Some(value),
            None => self.in_file(name, key)?,
        };
        Ok(value.filter(|value| !value.is_empty()))
    }

    fn in_file(&self, name: &str, key: &str) -> Result<Option<String>, RemoteError> {
        // A remote that is made of variables does not need the file.
        match self.file() {
            Ok(file) => Ok(file.get(name, key).map(str::to_owned)),
            Err(_) if self.variable(name, "type").is_some() => Ok(None),
            Err(why) => Err(why),
        }
    }

    /// Returns the type of a remote.
    ///
    /// # Errors
    /// Fails if there is no such remote.
    fn kind(&self, name: &str) -> Result<String, RemoteError> {
        let variable = self.variable(name, "type");
        let kind = match variable {
            Some(kind) => Some(kind),
            None => self.in_file(name, "type")?,
        };
        kind.filter(|kind| !kind.is_empty()).ok_or_else(|| RemoteError::Missing(name.to_owned()))
    }

    /// Returns the name and the type of a remote, following aliases.
    fn behind(&self, name: &str) -> Result<(String, String), RemoteError> {
        let mut name = name.to_owned();
        for _ in 0..ALIASES_MAX {
            match self.kind(&name)? {
                kind if kind == "alias" => name = self.alias(&name)?,
                kind => return Ok((name, kind)),
            }
        }
        Err(RemoteError::AliasChain(name))
    }

    /// Returns the name of the remote behind an alias. An alias that adds a path or options is
    /// refused: the location on the command line must name it in full.
    fn alias(&self, name: &str) -> Result<String, RemoteError> {
        let variable = self.variable(name, "remote");
        let behind = match variable {
            Some(behind) => Some(behind),
            None => self.in_file(name, "remote")?,
        };
        let behind = behind.unwrap_or_default();
        match behind.strip_suffix(':') {
            Some(other) if !other.contains([':', '/', ',']) => Ok(other.to_owned()),
            _ => Err(RemoteError::Alias { name: name.to_owned(), behind }),
        }
    }
}

/// Returns the paths at which rclone looks for its file, in order, except beside rclone's own
/// binary.
fn paths(environment: Environment<'_>) -> Vec<String> {
    if let Some(given) = environment("RCLONE_CONFIG") {
        // The file name `notfound` tells rclone to have no file.
        let is_none = given.is_empty() || given.rsplit('/').next() == Some("notfound");
        return if is_none { Vec::new() } else { vec![given] };
    }
    let set = |name| environment(name).filter(|value| !value.is_empty());
    let home = set("HOME");
    let in_home = ["/.config/rclone/rclone.conf", "/.rclone.conf"];
    let in_home = home.iter().flat_map(|home| in_home.map(|below| format!("{home}{below}")));
    let in_xdg = set("XDG_CONFIG_HOME").map(|folder| format!("{folder}/rclone/rclone.conf"));
    in_xdg.into_iter().chain(in_home).collect()
}

/// Reads the first configuration file that exists. A configuration without a file is empty, not an
/// error.
fn load(environment: Environment<'_>) -> Result<Ini, RemoteError> {
    for path in paths(environment) {
        if let Some(content) = config_file::read(&path)? {
            return parse(path, &content);
        }
    }
    Ok(Ini::parse("").expect("nothing is a whole configuration"))
}

fn parse(path: String, content: &[u8]) -> Result<Ini, RemoteError> {
    let text = String::from_utf8_lossy(content);
    if text.lines().any(|line| line.trim().starts_with("RCLONE_ENCRYPT_V")) {
        return Err(RemoteError::Encrypted { path });
    }
    Ini::parse(&text).map_err(|line| RemoteError::Line { path, line })
}

/// The keys of one remote.
struct Keys<'c> {
    conf: &'c Conf<'c>,
    name: &'c str,
}

impl Keys<'_> {
    fn remote(&self) -> Result<Remote, RemoteError> {
        self.check()?;
        let provider = self.text("provider")?;
        let may_be_path = self.flag("force_path_style", true)?;
        let has_virtual_host = provider.is_some_and(|name| VIRTUAL_HOSTS.contains(&&name[..]));
        Ok(Remote {
            login: self.login()?,
            region: self.text("region")?.unwrap_or_else(|| "us-east-1".to_owned()),
            endpoint_url: self.text("endpoint")?.map(with_scheme),
            path_style: may_be_path && !has_virtual_host,
            use_dual_stack: self.flag("use_dual_stack", false)?,
            object: self.object()?,
            part_bytes: self.part()?,
            upload_cutoff_bytes: self.cutoff("upload_cutoff")?,
            copy_cutoff_bytes: self.size("copy_cutoff")?,
            directory_markers: self.flag("directory_markers", false)?,
            disable_checksum: self.flag("disable_checksum", false)?,
            lists_by_marker: self.lists_by_marker()?,
        })
    }

    /// Returns whether to list by the first version of the API. rclone resolves an unset or zero
    /// `list_version` by provider, and no current provider lacks the second version.
    fn lists_by_marker(&self) -> Result<bool, RemoteError> {
        match self.text("list_version")?.as_deref() {
            None | Some("0" | "2") => Ok(false),
            Some("1") => Ok(true),
            Some(_) => Err(self.wrong("list_version", "write 1 or 2")),
        }
    }

    /// Refuses keys that would change what is written or who writes it, and are not implemented
    /// here.
    fn check(&self) -> Result<(), RemoteError> {
        let is_v2 = self.text("region")?.is_some_and(|region| region == "other-v2-signature");
        if is_v2 || self.flag("v2_auth", false)? {
            return Err(self.wrong("v2_auth", "signatures of version 2 are not supported"));
        }
        self.check_encoding()?;
        for (key, why) in UNSUPPORTED {
            // rclone writes `off` for an unset time.
            if self.text(key)?.is_some_and(|value| value != "off") {
                return Err(self.wrong(key, why));
            }
        }
        for (key, why) in UNSUPPORTED_FLAGS {
            if self.flag(key, false)? {
                return Err(self.wrong(key, why));
            }
        }
        Ok(())
    }

    /// Refuses any `encoding` of keys but rclone's default, the only one implemented here (see
    /// [`crate::list::key`]).
    fn check_encoding(&self) -> Result<(), RemoteError> {
        let Some(encoding) = self.text("encoding")? else { return Ok(()) };
        let mut named: Vec<_> = encoding.split(',').map(str::trim).collect();
        named.sort_unstable();
        named.dedup();
        if named == ["Dot", "InvalidUtf8", "Slash"] {
            return Ok(());
        }
        Err(self.wrong("encoding", "keys are encoded as Slash,InvalidUtf8,Dot and in no other way"))
    }

    fn object(&self) -> Result<ObjectOptions, RemoteError> {
        Ok(ObjectOptions {
            acl: self.text("acl")?,
            storage_class: self.text("storage_class")?,
            sse: self.text("server_side_encryption")?,
            sse_kms_key_id: self.text("sse_kms_key_id")?,
            requester_pays: self.flag("requester_pays", false)?,
            copy_tags: CopyTags::default(),
        })
    }

    /// Returns the credentials by rclone's rules: given keys take precedence over `env_auth`, and
    /// without either requests are anonymous.
    fn login(&self) -> Result<Login, RemoteError> {
        match (self.text("access_key_id")?, self.text("secret_access_key")?) {
            (Some(access_key_id), Some(secret)) => Ok(Login::Given(Credentials::Keys {
                access_key_id,
                secret_access_key: Secret::new(secret),
                session_token: self.text("session_token")?.map(Secret::new),
                expires_seconds: None,
            })),
            (Some(_), None) => Err(self.wrong("secret_access_key", "it is missing")),
            (None, Some(_)) => Err(self.wrong("access_key_id", "it is missing")),
            (None, None) if self.flag("env_auth", false)? => Ok(Login::Chain(Chain {
                profile: self.text("profile")?,
                credentials_file: self.text("shared_credentials_file")?,
            })),
            (None, None) => Ok(Login::Given(Credentials::Anonymous)),
        }
    }

    fn wrong(&self, key: &str, advice: &'static str) -> RemoteError {
        wrong(self.name, key, advice)
    }

    fn text(&self, key: &str) -> Result<Option<String>, RemoteError> {
        self.conf.value(self.name, "s3", key)
    }

    /// Parses a boolean as Go's `strconv.ParseBool` does.
    fn flag(&self, key: &str, default: bool) -> Result<bool, RemoteError> {
        match self.text(key)?.as_deref() {
            None => Ok(default),
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
            Some(_) => Err(self.wrong(key, "write true or false")),
        }
    }

    /// Returns the size of parts, and refuses one below S3's own minimum, as rclone does.
    fn part(&self) -> Result<Option<u64>, RemoteError> {
        match self.size("chunk_size")? {
            Some(bytes) if bytes < S3_PART_BYTES_MIN => {
                Err(self.wrong("chunk_size", "write 5Mi or more"))
            }
            size => Ok(size),
        }
    }

    /// Returns a cutoff, or 0 if it is zero in any unit: then every object is uploaded in parts.
    fn cutoff(&self, key: &str) -> Result<Option<u64>, RemoteError> {
        let text = self.text(key)?;
        let is_zero = text.is_some_and(|text| {
            let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
            digits.parse::<f64>().is_ok_and(|count| count == 0.0)
        });
        if is_zero { Ok(Some(0)) } else { self.size(key) }
    }

    fn size(&self, key: &str) -> Result<Option<u64>, RemoteError> {
        let text = self.text(key)?.filter(|text| !text.eq_ignore_ascii_case("off"));
        let parse = |text: String| {
            parse_size(&text).ok_or_else(|| self.wrong(key, "write a size as 64M (=MiB)"))
        };
        text.map(parse).transpose()
    }
}

/// Parses rclone's `SizeSuffix` to bytes: a bare number counts KiB, `B` counts bytes, and `M`, `Mi`
/// and `MiB` mean the same.
fn parse_size(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let factor: u64 = match text[end..].to_ascii_lowercase().as_str() {
        "" | "k" | "ki" | "kib" => 1 << 10,
        "b" => 1,
        "m" | "mi" | "mib" => 1 << 20,
        "g" | "gi" | "gib" => 1 << 30,
        "t" | "ti" | "tib" => 1 << 40,
        _ => return None,
    };
    let bytes = text[..end].parse::<f64>().ok()? * factor as f64;
    (1.0..1e18).contains(&bytes).then_some(bytes as u64)
}

/// Adds `https://` to an endpoint without a scheme, as rclone does.
fn with_scheme(endpoint: String) -> String {
    let has_scheme = endpoint.starts_with("http://") || endpoint.starts_with("https://");
    if has_scheme { endpoint } else { format!("https://{endpoint}") }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    struct Place {
        folder: tempfile::TempDir,
        variables: BTreeMap<String, String>,
    }

    impl Place {
        fn with(file: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("rclone.conf");
            std::fs::write(&path, file).unwrap();
            let path = path.to_str().unwrap().to_owned();
            Self { folder, variables: BTreeMap::from([("RCLONE_CONFIG".to_owned(), path)]) }
        }

        fn set(mut self, name: &str, value: &str) -> Self {
            self.variables.insert(name.to_owned(), value.to_owned());
            self
        }

        fn remote(&self, name: &str) -> Result<Remote, String> {
            let found = remote(name, &|variable| self.variables.get(variable).cloned());
            found.map_err(|error| error.to_string())
        }

        fn has(&self, name: &str) -> bool {
            is_configured(name, &|variable| self.variables.get(variable).cloned())
        }
    }

    const PLAIN: &str = "[m]\ntype = s3\nprovider = Minio\naccess_key_id = AK\n\
                         secret_access_key = hush\nendpoint = http://127.0.0.1:9000\n";

    #[test]
    fn a_remote_is_read_from_the_file() {
        let all = format!(
            "{PLAIN}session_token = tok\nregion = here\nacl = private\nchunk_size = 64M\n\
             upload_cutoff = 1G\nupload_concurrency = 8\nstorage_class = COLD\n\
             server_side_encryption = aws:kms\nsse_kms_key_id = k\nrequester_pays = true\n\
             no_check_bucket = 1\ndirectory_markers = true\nno_head = true\ndisable_checksum = T\nlist_version = 1\nunknown = x\n\
             location_constraint = there\n"
        );
        let remote = Place::with(&all).remote("m").unwrap();
        let expected = Remote {
            login: Login::Given(Credentials::Keys {
                access_key_id: "AK".into(),
                secret_access_key: Secret::new("hush"),
                session_token: Some(Secret::new("tok")),
                expires_seconds: None,
            }),
            region: "here".into(),
            endpoint_url: Some("http://127.0.0.1:9000".into()),
            path_style: true,
            use_dual_stack: false,
            object: ObjectOptions {
                acl: Some("private".into()),
                storage_class: Some("COLD".into()),
                sse: Some("aws:kms".into()),
                sse_kms_key_id: Some("k".into()),
                requester_pays: true,
                copy_tags: CopyTags::default(),
            },
            part_bytes: Some(64 << 20),
            upload_cutoff_bytes: Some(1 << 30),
            copy_cutoff_bytes: None,
            directory_markers: true,
            disable_checksum: true,
            lists_by_marker: true,
        };
        assert_eq!(remote, expected);
        assert!(!format!("{remote:?}").contains("hush"));
    }

    #[test]
    fn variables_define_and_override() {
        let none = Place::with("").set("RCLONE_CONFIG_MY-LAB_TYPE", "s3");
        let none = none.set("RCLONE_CONFIG_MY-LAB_ENDPOINT", "lab.example:9000");
        assert!(none.has("my-lab") && !none.has("m"));
        let remote = none.remote("my-lab").unwrap();
        assert_eq!(remote.endpoint_url.as_deref(), Some("https://lab.example:9000"));
        assert_eq!((remote.login, remote.region), (anonymous(), "us-east-1".to_owned()));

        let both = Place::with(&format!("{PLAIN}region = file\n"));
        let both = both.set("RCLONE_S3_REGION", "backend").set("RCLONE_CONFIG_M_ENDPOINT", "");
        let remote = both.remote("m").unwrap();
        assert_eq!((&remote.region[..], remote.endpoint_url), ("backend", None));
        let remote = both.set("RCLONE_CONFIG_M_REGION", "remote").remote("m").unwrap();
        assert_eq!(remote.region, "remote");
    }

    fn anonymous() -> Login {
        Login::Given(Credentials::Anonymous)
    }

    #[test]
    fn the_file_is_found_where_rclone_finds_it() {
        let place = Place::with(PLAIN);
        let home = place.folder.path();
        let lookup = |set: &[(&str, &str)]| {
            let set: BTreeMap<_, _> = set.iter().copied().collect();
            is_configured("m", &|name| set.get(name).map(|value| (*value).to_owned()))
        };
        let (text, xdg) = (home.to_str().unwrap(), home.join("xdg"));
        let xdg_text = xdg.to_str().unwrap();
        assert!(!lookup(&[("HOME", text)]));
        std::fs::copy(home.join("rclone.conf"), home.join(".rclone.conf")).unwrap();
        assert!(lookup(&[("HOME", text)]));
        assert!(!lookup(&[("HOME", text), ("RCLONE_CONFIG", "")]));
        assert!(!lookup(&[("HOME", text), ("RCLONE_CONFIG", "/notfound")]));
        std::fs::create_dir_all(home.join(".config/rclone")).unwrap();
        std::fs::write(home.join(".config/rclone/rclone.conf"), "[other]\n").unwrap();
        assert!(!lookup(&[("HOME", text)]), "the newer place comes first");
        std::fs::create_dir_all(xdg.join("rclone")).unwrap();
        std::fs::copy(home.join("rclone.conf"), xdg.join("rclone/rclone.conf")).unwrap();
        assert!(lookup(&[("HOME", text), ("XDG_CONFIG_HOME", xdg_text)]));
        assert!(!lookup(&[]));
    }

    #[test]
    fn where_the_bucket_goes_is_up_to_the_provider() {
        let path_style = |keys: &str| {
            let file = format!("[m]\ntype = s3\n{keys}\n");
            Place::with(&file).remote("m").unwrap().path_style
        };
        for keys in ["", "provider = Ceph", "provider = Minio", "provider = Unheard"] {
            assert!(path_style(keys), "{keys}");
            assert!(!path_style(&format!("{keys}\nforce_path_style = false")), "{keys}");
        }
        assert!(!path_style("provider = AWS\nforce_path_style = true"));
    }

    #[test]
    fn credentials_come_from_where_the_remote_says() {
        let login = |keys: &str| {
            Place::with(&format!("[m]\ntype = s3\n{keys}\n")).remote("m").map(|remote| remote.login)
        };
        let chain = Chain { profile: Some("p".into()), credentials_file: Some("/f".into()) };
        let keys = "env_auth = true\nprofile = p\nshared_credentials_file = /f";
        assert_eq!(login(keys), Ok(Login::Chain(chain)));
        assert_eq!(login(""), Ok(anonymous()));
        let both = login("env_auth = true\naccess_key_id = a\nsecret_access_key = b");
        assert!(matches!(both, Ok(Login::Given(Credentials::Keys { .. }))));
        assert!(login("access_key_id = a").unwrap_err().contains("secret_access_key"));
        assert!(login("secret_access_key = a").unwrap_err().contains("access_key_id"));
    }

    #[test]
    fn an_alias_is_another_name_and_no_more() {
        let file = format!(
            "{PLAIN}[x]\ntype = alias\nremote = y:\n[y]\ntype = alias\nremote = m:\n\
             [deep]\ntype = alias\nremote = m:bucket/dir\n[round]\ntype = alias\nremote = round:\n"
        );
        let place = Place::with(&file);
        assert_eq!(place.remote("x"), place.remote("m"));
        let why = place.remote("deep").unwrap_err();
        assert!(why.contains("m:bucket/dir") && why.contains("write that"), "{why}");
        assert!(place.remote("round").unwrap_err().contains("too many"));
    }

    #[test]
    fn what_does_not_serve_is_said_in_one_line_without_secrets() {
        for (keys, expected) in [
            ("v2_auth = true", "version 2"),
            ("region = other-v2-signature", "version 2"),
            ("role_arn = hush", "profile"),
            ("sse_customer_key = hush", "not supported"),
            ("force_path_style = maybe", "true or false"),
            ("versions = true", "older versions"),
            ("decompress = true", "not decompressed"),
            ("chunk_size = big", "64M"),
            ("chunk_size = 1M", "5Mi"),
            ("encoding = Slash,Colon,Dot", "encoded as"),
            ("encoding = None", "encoded as"),
            ("upload_cutoff = -", "64M"),
        ] {
            let why = Place::with(&format!("{PLAIN}{keys}\n")).remote("m").unwrap_err();
            assert!(why.contains("\"m\"") && why.contains(expected), "{why}");
            assert!(!why.contains("hush") && !why.contains('\n'), "{why}");
        }
        let drive = Place::with("[m]\ntype = drive\n").remote("m").unwrap_err();
        assert!(drive.contains("drive, neither s3 nor sftp"), "{drive}");
        assert!(Place::with("[m]\nx = y\n").remote("m").unwrap_err().contains("no remote \"m\""));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_error_not_a_missing_remote() {
        let encrypted = "# Encrypted rclone configuration File\n\nRCLONE_ENCRYPT_V0:\nAbc=\n";
        for (file, expected) in
            [(encrypted, "is encrypted"), ("[m]\ntype = s3\nhush", "line 3"), ("[m", "line 1")]
        {
            let place = Place::with(file);
            assert!(place.has("m"));
            let why = place.remote("m").unwrap_err();
            assert!(why.contains(expected) && why.contains("rclone.conf"), "{why}");
            assert!(!why.contains("hush"), "{why}");
            let place = place.set("RCLONE_CONFIG_M_TYPE", "s3");
            assert_eq!(place.remote("m").map(|remote| remote.login), Ok(anonymous()));
        }
        let mut folder = Place::with("");
        let path = folder.folder.path().to_str().unwrap().to_owned();
        folder.variables.insert("RCLONE_CONFIG".into(), path);
        assert!(folder.remote("m").unwrap_err().contains("Is a directory"));
    }

    #[test]
    fn what_is_said_as_it_is_anyway_is_taken() {
        let keys = "encoding = Dot, InvalidUtf8,Slash\nupload_cutoff = 0\nchunk_size = 5Mi";
        let remote = Place::with(&format!("{PLAIN}{keys}\n")).remote("m").unwrap();
        assert_eq!((remote.upload_cutoff_bytes, remote.part_bytes), (Some(0), Some(5 << 20)));
    }

    #[test]
    fn sizes_are_rclones() {
        for (text, bytes) in [
            ("64M", 64 << 20),
            ("64Mi", 64 << 20),
            ("64mib", 64 << 20),
            ("5120", 5 << 20),
            ("1.5G", 3 << 29),
            ("100B", 100),
        ] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for bad in ["", "M", "64MB", "-1", "1e3", "0", "1.2.3"] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }
}
