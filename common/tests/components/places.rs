//! Tests of locations in S3, which are resolved as AWS's own tools and rclone would: each test
//! makes an environment and has this program resolve a location in it, in a process of its own,
//! since variables belong to the process.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::UNIX_EPOCH;

use s3::config::environment;
use s3::config::rclone_conf;
use s3::config::resolve::{renew, resolve};
use s3::config::settings::{Chain, Credentials, PathStyle, Renewal, S3Options, Secret, Settings};
use suite_tests::sandbox::Sandbox;
use types::error::Side;
use types::operand::location::Location;

/// Question to a process: a location, its side, options, and whether to renew the credentials after
/// that.
type Question = (String, Side, S3Options, bool);

/// Answers the question in its environment.
#[test]
#[ignore = "the other tests run it, in environments of their making"]
fn child() {
    let question = std::env::var("PLACES_QUESTION").unwrap();
    let (place, side, options, renewing): Question = serde_json::from_str(&question).unwrap();
    let is_remote = |name: &str| rclone_conf::is_configured(name, &environment::of_process);
    let located = Location::parse(place.as_bytes(), &is_remote).map_err(|why| why.to_string());
    let settings = located.and_then(|location| match location {
        Location::Object(objects) => {
            resolve(&objects, side, &options).map_err(|error| error.to_string())
        }
        Location::Posix(_) | Location::Container(_) => Err("a path".to_owned()),
    });
    let settings = match settings {
        Ok(settings) if renewing => renewed(settings),
        other => other,
    };
    println!("ANSWER {}", serde_json::to_string(&settings).unwrap());
}

fn renewed(settings: Settings) -> Result<Settings, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let credentials = runtime.block_on(renew(&settings)).map_err(|error| error.to_string())?;
    Ok(Settings { credentials, ..settings })
}

/// An environment: a home directory and variables.
struct Place {
    home: Sandbox,
    variables: Vec<(String, String)>,
}

impl Place {
    fn new() -> Self {
        let home = Sandbox::new();
        std::fs::create_dir(home.path().join(".aws")).unwrap();
        // The instance metadata service of this machine, if any, is not asked.
        Self { home, variables: Vec::new() }.set("AWS_EC2_METADATA_DISABLED", "true")
    }

    fn set(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    fn with_keys(self) -> Self {
        self.set("AWS_ACCESS_KEY_ID", "ENV").set("AWS_SECRET_ACCESS_KEY", "env-secret")
    }

    fn file(self, name: &str, content: &str) -> Self {
        std::fs::write(self.path(name), content).unwrap();
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn ask(&self, question: &Question) -> Result<Settings, String> {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "places::child", "--ignored", "--nocapture"])
            .env_clear()
            .env("HOME", self.home.path())
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("PLACES_QUESTION", serde_json::to_string(question).unwrap())
            .envs(self.variables.iter().cloned())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let answer = text.lines().find_map(|line| line.split("ANSWER ").nth(1));
        let shown = String::from_utf8_lossy(&output.stderr);
        serde_json::from_str(answer.unwrap_or_else(|| panic!("{text} {shown}"))).unwrap()
    }

    fn resolve(&self, place: &str, options: &S3Options) -> Result<Settings, String> {
        self.ask(&(place.to_owned(), Side::Source, options.clone(), false))
    }

    fn plainly(&self) -> Result<Settings, String> {
        self.resolve("s3://b", &S3Options::default())
    }
}

fn profile(name: &str) -> S3Options {
    S3Options { profile: Some(name.into()), ..S3Options::default() }
}

fn key_of(settings: &Settings) -> &str {
    match &settings.credentials {
        Credentials::Keys { access_key_id, .. } => access_key_id,
        Credentials::Anonymous => "",
    }
}

/// 2100-01-01, in seconds since 1970.
const YEAR_2100: u64 = 4_102_444_800;

/// Returns the expiry of the credentials in seconds since 1970.
fn expires_of(settings: &Settings) -> Option<u64> {
    settings.credentials.time_left(UNIX_EPOCH).map(|left| left.as_secs())
}

const NO_CREDENTIALS: [&str; 4] =
    ["AWS_ACCESS_KEY_ID", "--s3-profile", "--s3-no-sign-request", "rclone"];

const PROFILES: &str = "[default]\nregion = from-default\n\
    [profile a]\naws_access_key_id = A\naws_secret_access_key = a-secret\nregion = from-a\n\
    endpoint_url = http://a.example:1\n\
    [profile b]\naws_access_key_id = B\naws_secret_access_key = b-secret\nservices = lab\n\
    [profile c]\nregion = from-c\n\
    [services lab]\ns3 =\n  endpoint_url = https://lab.example\n";

#[test]
fn variables_give_keys_region_and_endpoint() {
    let place = Place::new().with_keys().set("AWS_SESSION_TOKEN", "token");
    let settings = place.plainly().unwrap();
    let keys = Credentials::Keys {
        access_key_id: "ENV".into(),
        secret_access_key: Secret::new("env-secret"),
        session_token: Some(Secret::new("token")),
        expires_seconds: None,
    };
    assert_eq!(settings.credentials, keys);
    assert_eq!(settings.renewal, Renewal::Chain(Chain::default()));
    assert_eq!((&settings.region[..], &settings.endpoint_url), ("us-east-1", &None));
    assert!(!settings.path_style);

    let place = place.set("AWS_REGION", "r").set("AWS_ENDPOINT_URL", "http://all.example");
    let settings = place.plainly().unwrap();
    assert_eq!(settings.region, "r");
    assert_eq!(settings.endpoint_url.as_deref(), Some("http://all.example"));
    assert!(settings.path_style);
    let place = place.set("AWS_ENDPOINT_URL_S3", "https://s3.eu-west-1.amazonaws.com");
    let settings = place.plainly().unwrap();
    assert_eq!(settings.endpoint_url.as_deref(), Some("https://s3.eu-west-1.amazonaws.com"));
    assert!(!settings.path_style);
    let place = place.set("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true");
    assert_eq!(place.plainly().unwrap().endpoint_url, None);
}

#[test]
fn options_count_more_than_the_environment() {
    let place = Place::new().with_keys().set("AWS_REGION", "r");
    let place = place.set("AWS_ENDPOINT_URL", "http://all.example");
    let options = S3Options {
        endpoint_url: Some("http://flag.example".into()),
        region: Some("flag".into()),
        path_style: PathStyle::Off,
        part_bytes: Some(1 << 24),
        ..S3Options::default()
    };
    let settings = place.resolve("s3://b", &options).unwrap();
    assert_eq!(settings.endpoint_url.as_deref(), Some("http://flag.example"));
    assert_eq!((&settings.region[..], settings.path_style), ("flag", false));
    assert_eq!(settings.part_bytes, Some(1 << 24));

    let anonymous = S3Options { is_anonymous: true, ..S3Options::default() };
    let settings = place.resolve("s3://b", &anonymous).unwrap();
    assert_eq!((settings.credentials, settings.renewal), (Credentials::Anonymous, Renewal::Never));
}

#[test]
fn profiles_give_keys_region_and_endpoint() {
    let place = Place::new().with_keys().file(".aws/config", PROFILES);
    let settings = place.plainly().unwrap();
    assert_eq!((key_of(&settings), &settings.region[..]), ("ENV", "from-default"));
    // A profile that is requested by name has precedence over variables with keys.
    let settings = place.resolve("s3://b", &profile("a")).unwrap();
    assert_eq!((key_of(&settings), &settings.region[..]), ("A", "from-a"));
    assert_eq!(settings.endpoint_url.as_deref(), Some("http://a.example:1"));
    let settings = place.resolve("s3://b", &profile("b")).unwrap();
    assert_eq!(settings.endpoint_url.as_deref(), Some("https://lab.example"));

    let place = Place::new().file("other", PROFILES).set("AWS_PROFILE", "a");
    let path = place.path("other");
    let place = place.set("AWS_CONFIG_FILE", path.to_str().unwrap());
    assert_eq!(key_of(&place.plainly().unwrap()), "A");
}

#[test]
fn variables_that_are_empty_are_none() {
    let place = Place::new().with_keys().file(".aws/config", PROFILES);
    let empty =
        ["ENDPOINT_URL", "ENDPOINT_URL_S3", "REGION", "DEFAULT_REGION", "PROFILE", "CA_BUNDLE"];
    let place = empty.into_iter().fold(place, |place, name| place.set(&format!("AWS_{name}"), ""));
    let settings = place.plainly().unwrap();
    assert_eq!((&settings.region[..], &settings.endpoint_url), ("from-default", &None));
    assert_eq!((key_of(&settings), &settings.ca_bundle), ("ENV", &None));
    let settings = place.resolve("s3://b", &profile("a")).unwrap();
    assert_eq!(settings.endpoint_url.as_deref(), Some("http://a.example:1"));
    let settings = place.set("AWS_ENDPOINT_URL", "http://all.example").plainly().unwrap();
    assert_eq!(settings.endpoint_url.as_deref(), Some("http://all.example"));
}

#[test]
fn a_profile_says_where_the_bucket_goes_and_whom_to_trust() {
    let system = std::fs::read_to_string("/etc/ssl/certs/ca-certificates.crt").unwrap();
    let place = Place::new().with_keys().file("ca.pem", &system);
    let path = place.path("ca.pem").to_str().unwrap().to_owned();
    let config = format!(
        "[default]\nca_bundle = {path}\ns3 =\n  addressing_style = virtual\n  max_queue_size = 5\n\
         [profile torn]\nregion = r\nca_bundle = /none/ca.pem\n\
         [profile odd]\naws_access_key_id = A\naws_secret_access_key = a\n\
         s3 =\n  addressing_style = sideways\n"
    );
    let place = place.file(".aws/config", &config).set("AWS_ENDPOINT_URL", "http://lab.example");
    let settings = place.plainly().unwrap();
    assert_eq!((settings.path_style, &settings.ca_bundle.unwrap().paths[0]), (false, &path));
    let options = S3Options { path_style: PathStyle::On, ..S3Options::default() };
    assert!(place.resolve("s3://b", &options).unwrap().path_style);
    let why = place.resolve("s3://b", &profile("torn")).unwrap_err();
    assert!(why.contains("ca_bundle") && why.contains("/none/ca.pem"), "{why}");
    let why = place.resolve("s3://b", &profile("odd")).unwrap_err();
    assert!(why.contains("addressing_style") && why.contains("sideways"), "{why}");
    let place = place.set("AWS_CA_BUNDLE", "/none/other.pem");
    let why = place.plainly().unwrap_err();
    assert!(why.contains("AWS_CA_BUNDLE") && why.contains("/none/other.pem"), "{why}");
}

#[test]
fn an_endpoint_may_have_a_path_and_no_password() {
    let place = Place::new().with_keys().set("AWS_ENDPOINT_URL", "http://lab.example/s3/v1");
    let settings = place.plainly().unwrap();
    assert_eq!(settings.endpoint_url.as_deref(), Some("http://lab.example/s3/v1/"));
    let why = place.set("AWS_ENDPOINT_URL", "http://joe:hush@lab.example").plainly().unwrap_err();
    assert!(why.contains("lab.example") && !why.contains("hush") && !why.contains("joe"), "{why}");
}

#[test]
fn both_sides_may_have_their_own_profile() {
    let place = Place::new().file(".aws/config", PROFILES);
    let options = S3Options { target_profile: Some("b".into()), ..profile("a") };
    let on = |side| place.ask(&("s3://b".into(), side, options.clone(), false)).unwrap();
    assert_eq!(key_of(&on(Side::Source)), "A");
    assert_eq!(key_of(&on(Side::Target)), "B");
}

#[test]
fn without_credentials_it_is_said_what_to_do() {
    let why = Place::new().plainly().unwrap_err();
    for word in NO_CREDENTIALS {
        assert!(why.contains(word) && !why.contains('\n'), "{why}");
    }
    let stranger = serve(|_| Some("welcome"));
    let place = Place::new().set("AWS_EC2_METADATA_DISABLED", "false");
    let endpoint = format!("http://127.0.0.1:{stranger}");
    let place = place.set("AWS_EC2_METADATA_SERVICE_ENDPOINT", &endpoint);
    assert_eq!(place.plainly().unwrap_err(), why, "what answers there is no AWS");
    let refusing = format!("http://127.0.0.1:{}/role", serve(|_| None));
    let place = Place::new().set("AWS_CONTAINER_CREDENTIALS_FULL_URI", &refusing);
    let why = place.plainly().unwrap_err();
    assert!(why.contains("404") && !why.contains('{') && !why.contains('\n'), "{why}");
    let place = Place::new().with_keys().file(".aws/config", PROFILES);
    for name in ["c", "missing"] {
        let why = place.resolve("s3://b", &profile(name)).unwrap_err();
        assert!(why.contains(&format!("profile \"{name}\"")), "{why}");
    }
    let torn = Place::new().with_keys().file(".aws/config", "[profile a\n");
    let why = torn.resolve("s3://b", &profile("a")).unwrap_err();
    assert!(why.contains("config") && !why.contains('\n'), "{why}");
    let place = Place::new().with_keys().set("AWS_ENDPOINT_URL", "lab.example:9000");
    let why = place.plainly().unwrap_err();
    assert!(why.contains("s3://b") && why.contains("http://HOST:PORT"), "{why}");
}

#[test]
fn a_process_gives_credentials_for_a_while_and_new_ones_later() {
    let place = Place::new();
    let (script, count) = (place.path("give"), place.path("count"));
    let text = format!(
        "#!/bin/sh\necho x >> {count}\nn=$(wc -l < {count})\necho '{{\"Version\": 1, \
         \"AccessKeyId\": \"P'$n'\", \"SecretAccessKey\": \"p-secret\", \"SessionToken\": \"t\", \
         \"Expiration\": \"2100-01-01T00:00:00Z\"}}'\n",
        count = count.display()
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    let process = format!("[profile p]\ncredential_process = {}\n", script.display());
    let place = place.file(".aws/config", &process);
    let settings = place.ask(&("s3://b".into(), Side::Source, profile("p"), true)).unwrap();
    assert_eq!(key_of(&settings), "P2");
    assert_eq!(expires_of(&settings), Some(YEAR_2100));
    let chain = Chain { profile: Some("p".into()), credentials_file: None };
    assert_eq!(settings.renewal, Renewal::Chain(chain));

    let failing = "[profile p]\ncredential_process = echo no-luck >&2; exit 3\n";
    let place = place.file(".aws/config", failing);
    let why = place.resolve("s3://b", &profile("p")).unwrap_err();
    assert!(why.contains("profile \"p\"") && !why.contains('\n'), "{why}");
}

/// Answers requests on a port of this machine by their method and path.
fn serve(answer: fn(&str) -> Option<&'static str>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap());
            let mut first = String::new();
            lines.read_line(&mut first).unwrap();
            let mut length = 0;
            let mut line = String::new();
            while lines.read_line(&mut line).unwrap() > 2 {
                let lower = line.to_lowercase();
                if let Some(count) = lower.strip_prefix("content-length:") {
                    length = count.trim().parse().unwrap();
                }
                line.clear();
            }
            std::io::copy(&mut lines.take(length), &mut std::io::sink()).unwrap();
            let words: Vec<&str> = first.split(' ').collect();
            let (code, body) = match answer(&words[..2].join(" ")) {
                Some(body) => ("200 OK", body),
                None => ("404 Not Found", ""),
            };
            let head = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds: 21600\r\nConnection: close";
            let length = body.len();
            let _ = write!(
                stream,
                "HTTP/1.1 {code}\r\n{head}\r\nContent-Length: {length}\r\n\r\n{body}"
            );
        }
    });
    port
}

const ROLE_KEYS: &str = r#"{"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "ROLE",
    "SecretAccessKey": "role-secret", "Token": "role-token", "LastUpdated": "2026-01-01T00:00:00Z",
    "Expiration": "2100-01-01T00:00:00Z"}"#;

#[test]
fn a_container_has_a_role() {
    let port = serve(|asked| (asked == "GET /role").then_some(ROLE_KEYS));
    let uri = format!("http://127.0.0.1:{port}/role");
    let place = Place::new().set("AWS_CONTAINER_CREDENTIALS_FULL_URI", &uri);
    let settings = place.plainly().unwrap();
    assert_eq!(key_of(&settings), "ROLE");
    assert_eq!(expires_of(&settings), Some(YEAR_2100));
}

#[test]
fn an_instance_has_a_role_and_a_region() {
    let port = serve(|asked| match asked {
        "PUT /latest/api/token" => Some("token"),
        "GET /latest/meta-data/iam/security-credentials-extended/"
        | "GET /latest/meta-data/iam/security-credentials/" => Some("role"),
        "GET /latest/meta-data/iam/security-credentials-extended/role"
        | "GET /latest/meta-data/iam/security-credentials/role" => Some(ROLE_KEYS),
        "GET /latest/meta-data/placement/region" => Some("instance-region"),
        _ => None,
    });
    let endpoint = format!("http://127.0.0.1:{port}");
    let mut place = Place::new().set("AWS_EC2_METADATA_SERVICE_ENDPOINT", &endpoint);
    // A proxy that would fail is not used.
    place = place.set("HTTP_PROXY", "http://127.0.0.1:1");
    assert!(place.plainly().is_err(), "it was told not to ask");
    place = place.set("AWS_EC2_METADATA_DISABLED", "false");
    let settings = place.plainly().unwrap();
    assert_eq!((key_of(&settings), &settings.region[..]), ("ROLE", "instance-region"));
}

#[test]
fn a_web_identity_becomes_a_role() {
    let port = serve(|asked| {
        asked.starts_with("POST /").then_some(
            "<AssumeRoleWithWebIdentityResponse \
             xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
             <AssumeRoleWithWebIdentityResult><AssumedRoleUser>\
             <Arn>arn:aws:sts::1:assumed-role/r/s</Arn><AssumedRoleId>x:s</AssumedRoleId>\
             </AssumedRoleUser><Credentials><AccessKeyId>WEB</AccessKeyId>\
             <SecretAccessKey>web-secret</SecretAccessKey><SessionToken>t</SessionToken>\
             <Expiration>2100-01-01T00:00:00Z</Expiration></Credentials>\
             </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>",
        )
    });
    let place = Place::new().file("token", "jwt").set("AWS_ROLE_ARN", "arn:aws:iam::1:role/r");
    let token = place.path("token");
    let place = place.set("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap());
    let place = place.set("AWS_ENDPOINT_URL_STS", &format!("http://127.0.0.1:{port}"));
    let settings = place.plainly().unwrap();
    assert_eq!((key_of(&settings), &settings.endpoint_url), ("WEB", &None));
}

const REMOTES: &str = "[lab]\ntype = s3\nprovider = Ceph\naccess_key_id = LAB\n\
    secret_access_key = lab-secret\nendpoint = http://lab.example:9000\nregion = lab\nacl = private\n\
    chunk_size = 16M\n\
    [chain]\ntype = s3\nprovider = AWS\nenv_auth = true\nprofile = mine\n\
    [disk]\ntype = local\n";

#[test]
fn a_remote_of_rclone_says_it_all() {
    let place = Place::new().file("rclone.conf", REMOTES).with_keys().set("AWS_REGION", "r");
    let path = place.path("rclone.conf");
    let place = place.set("RCLONE_CONFIG", path.to_str().unwrap());
    let options =
        S3Options { endpoint_url: Some("http://flag.example".into()), ..profile("nobody") };
    let settings = place.resolve("lab:b/x", &options).unwrap();
    assert_eq!((key_of(&settings), &settings.region[..]), ("LAB", "lab"));
    assert_eq!(settings.endpoint_url.as_deref(), Some("http://lab.example:9000"));
    assert_eq!((settings.path_style, settings.part_bytes), (true, Some(16 << 20)));
    assert_eq!(settings.object.acl.as_deref(), Some("private"));
    assert_eq!(settings.renewal, Renewal::Never);
    let trusting = place.set("RCLONE_CA_CERT", "/none/rclone.pem");
    let why = trusting.resolve("lab:b/x", &options).unwrap_err();
    assert!(why.contains("RCLONE_CA_CERT") && why.contains("/none/rclone.pem"), "{why}");
    let place = trusting.set("RCLONE_CA_CERT", "");
    assert!(place.resolve("disk:b", &options).unwrap_err().contains("type local"));
    assert_eq!(place.resolve("other:b", &options).unwrap_err(), "a path");
}

#[test]
fn a_remote_may_leave_credentials_to_aws() {
    let keys = "[mine]\naws_access_key_id = MINE\naws_secret_access_key = mine-secret\n";
    let place = Place::new().file("rclone.conf", REMOTES).file("keys", keys);
    let conf = place.path("rclone.conf");
    let file = place.path("keys");
    let place = place.set("RCLONE_CONFIG", conf.to_str().unwrap());
    let place = place.set("RCLONE_CONFIG_CHAIN_SHARED_CREDENTIALS_FILE", file.to_str().unwrap());
    let settings = place.resolve("chain:b", &S3Options::default()).unwrap();
    assert_eq!((key_of(&settings), settings.path_style), ("MINE", false));
    assert_eq!(settings.region, "us-east-1");
    let chain = Chain {
        profile: Some("mine".into()),
        credentials_file: Some(file.to_str().unwrap().into()),
    };
    assert_eq!(settings.renewal, Renewal::Chain(chain));
}

#[test]
fn settings_reach_other_ranks_and_show_no_secret() {
    let place = Place::new().with_keys().set("AWS_SESSION_TOKEN", "t0ken");
    let settings = place.plainly().unwrap();
    let bytes = postcard::to_stdvec(&settings).unwrap();
    assert_eq!(postcard::from_bytes::<Settings>(&bytes).unwrap(), settings);
    let shown = format!("{settings:?}");
    assert!(shown.contains("ENV") && !shown.contains("env-secret") && !shown.contains("t0ken"));
}
