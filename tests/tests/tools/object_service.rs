//! Tests of the tools with a service that refuses, moves, is silent, goes away or is behind a
//! proxy: its message is shown, the job outlasts it, or it ends in time.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use suite_tests::buckets::{BUCKET, diff, served, small_tree, text, with};
use suite_tests::cloud::{venv, within};
use suite_tests::job::{Ended, run, tool};
use suite_tests::object_server::{Behaviour, Door, ObjectServer};
use suite_tests::sandbox::Sandbox;
use suite_tests::scripted::{Asked, Reply, Scripted};
use suite_tests::trees;
use suite_tests::waiting::{wait_until, wait_within};

const EMPTY_LIST: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult>\
    <IsTruncated>false</IsTruncated><KeyCount>0</KeyCount></ListBucketResult>";

fn error(status: u16, code: &str, message: &str) -> Reply {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code>\
         <Message>{message}</Message><RequestId>R1</RequestId></Error>"
    );
    Reply::Answer(status, vec![("x-amz-request-id", "R1".to_owned())], body)
}

fn dwalk(service: &Scripted, words: &[&str]) -> Ended {
    run(within(tool(1, "dwalk"), &service.environment()).args(words))
}

#[test]
fn each_refusal_is_told_in_the_services_own_words() {
    let service = Scripted::start(|asked: &Asked| match asked.target.split('/').nth(1) {
        Some("expired") => error(400, "ExpiredToken", "The provided token has expired."),
        Some("denied") => {
            error(403, "AccessDenied", "joe is not authorized to perform: s3:ListBucket")
        }
        Some("kms") => error(400, "KMS.DisabledException", "key k is disabled"),
        Some("name") => error(400, "InvalidBucketName", "The specified bucket is not valid."),
        Some("clock") => error(403, "RequestTimeTooSkewed", "The difference is too large."),
        Some("none") => error(404, "NoSuchBucket", "The specified bucket does not exist"),
        _ => Reply::Answer(200, Vec::new(), "<html>Please log in</html>".to_owned()),
    });
    for (bucket, words) in [
        ("expired", &["ExpiredToken", "token has expired", "get new ones"][..]),
        ("denied", &["Permission denied", "AccessDenied", "s3:ListBucket", "ListObjectsV2"]),
        ("kms", &["KMS.DisabledException", "key k is disabled"]),
        ("name", &["InvalidBucketName"]),
        ("clock", &["RequestTimeTooSkewed", "set the clock"]),
        ("none", &["there is no such bucket"]),
        ("page", &["response from the service", "<html>Please log in</html>"]),
    ] {
        let ended = dwalk(&service, &[&format!("s3://{bucket}")]).expect(3);
        let is_told = words.iter().all(|word| ended.stderr.contains(word));
        assert!(is_told && after_header(&ended.stderr, "dwalk").len() == 1, "{}", ended.stderr);
        assert!(!ended.stderr.contains("create it first"), "{}", ended.stderr);
        assert!(bucket == "page" || ended.stderr.contains("request R1"), "{}", ended.stderr);
    }
    let work = Sandbox::new();
    small_tree(work.path());
    let up = ["--json", text(work.path()), "s3://none/x"];
    let ended = run(within(tool(1, "dcp"), &service.environment()).args(up)).expect(3);
    assert!(ended.stderr.contains("create it first"), "{}", ended.stderr);
}

#[test]
fn a_proxys_answer_is_called_that_and_exemptions_are_as_with_other_tools() {
    let proxy = Scripted::start(|_| {
        let headers = vec![("x-squid-error", "ERR_ACCESS_DENIED 0".to_owned())];
        Reply::Answer(403, headers, "<html>Access denied</html>".to_owned())
    });
    let service = Scripted::start(|_| Reply::Answer(200, Vec::new(), EMPTY_LIST.to_owned()));
    let secret = proxy.endpoint().replace("http://", "http://joe:hush@");
    let go = |no_proxy: &str| {
        let mut command = within(tool(1, "dwalk"), &service.environment());
        run(command.env("http_proxy", &secret).env("no_proxy", no_proxy).args(["-vvv", "s3://b"]))
    };
    let ended = go("other.example").expect(3);
    let by_way = format!("by way of the proxy {}", proxy.endpoint());
    for words in ["a proxy did not let the request through", "Access denied", &by_way] {
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
    }
    assert!(!ended.stderr.contains("hush") && !ended.stderr.contains("joe"), "{}", ended.stderr);
    let with_port = service.endpoint().trim_start_matches("http://").to_owned();
    for exempt in ["*", "127.0.0.1", &with_port] {
        go(exempt).expect(0);
    }
}

#[test]
fn the_region_that_a_service_names_is_taken() {
    let service = Scripted::start(|asked: &Asked| {
        let scope = asked.header("authorization").unwrap_or_default();
        let moved = vec![("x-amz-bucket-region", "eu-west-3".to_owned())];
        match (scope.contains("/eu-west-3/s3/"), asked.target.starts_with("/b400")) {
            (true, _) => Reply::Answer(200, Vec::new(), EMPTY_LIST.to_owned()),
            (false, false) => Reply::Answer(301, moved, String::new()),
            (false, true) => error(
                400,
                "AuthorizationHeaderMalformed",
                "wrong region</Message><Region>eu-west-3</Region><Message>",
            ),
        }
    });
    for bucket in ["s3://b301", "s3://b400"] {
        dwalk(&service, &[bucket]).expect(0);
    }
    let is_elsewhere =
        |asked: &&Asked| !asked.header("authorization").unwrap_or_default().contains("/eu-west-3/");
    let in_vain = service.asked().iter().filter(is_elsewhere).count();
    assert_eq!(in_vain, 2, "each bucket is asked for in vain once");
}

#[test]
fn credentials_of_a_few_minutes_are_not_renewed_for_each_request() {
    let work = Sandbox::new();
    let source = work.at("source");
    trees::small_files(&source, 2, 30);
    let server = served(Behaviour::default());
    let (script, count) = (work.at("give"), work.at("count"));
    let (access, secret) = server.keys();
    let content = format!(
        "#!/bin/sh\necho x >>{}\necho '{{\"Version\":1,\"AccessKeyId\":\"{access}\",\
         \"SecretAccessKey\":\"{secret}\",\"Expiration\":\"'$(date -u -d '+4 minutes' \
         +%Y-%m-%dT%H:%M:%SZ)'\"}}'\n",
        count.display()
    );
    fs::write(&script, content).unwrap();
    fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    let config = work.at("config");
    fs::write(&config, format!("[default]\ncredential_process = {}\n", script.display())).unwrap();
    for ranks in [1, 3] {
        let mut command = with(&server, ranks, "dcp");
        command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
        command.env("AWS_CONFIG_FILE", &config);
        run(command.args([text(&source), &format!("s3://data/{ranks}")])).expect(0);
        let times = fs::read_to_string(&count).unwrap().lines().count();
        assert!(times <= 2, "{times} times for {}", server.counts());
        fs::remove_file(&count).unwrap();
    }
}

fn wait_for_port(port: u16) {
    let answers = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
    wait_until("the server answers", answers);
}

/// Starts a job that puts many files one by one; returns when it is held there.
fn held_upload(server: &ObjectServer, ranks: u32, source: &str, options: &[&str]) -> Child {
    server.behave(Behaviour { hold_puts_after: 10, ..Behaviour::default() });
    let mut command = with(server, ranks, "dcp");
    command
        .args(["--threads=1", "--s3-concurrency=1"])
        .args(options)
        .args([source, "s3://data/up"]);
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut job = command.spawn().unwrap();
    wait_within(&mut job, "it is held", || server.counts().writes() > 10);
    job
}

/// Waits until a job asks a service that is away: its connection is closed without an answer.
fn ask_in_vain(job: &mut Child, port: u16) {
    let mut free = None;
    wait_until("the port is free", || {
        free = TcpListener::bind(("127.0.0.1", port)).ok();
        free.is_some()
    });
    let listener = free.unwrap();
    listener.set_nonblocking(true).unwrap();
    wait_within(job, "it has asked in vain", || listener.accept().is_ok());
}

#[test]
fn a_service_that_goes_away_for_good_ends_the_job() {
    let work = Sandbox::new();
    let source = work.at("source");
    trees::small_files(&source, 20, 30);
    for ranks in [1, 3] {
        let server = served(Behaviour::default());
        let job = held_upload(&server, ranks, text(&source), &["--give-up-after=2s"]);
        drop(server);
        let ended = job.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(23), "{said}");
        assert!(said.contains("--give-up-after") && said.contains("connection refused"), "{said}");
        assert!(said.lines().count() < 100, "{said}");
        let summary = String::from_utf8_lossy(&ended.stdout);
        assert!(summary.contains("aborted: "), "{summary}");
    }
}

#[test]
fn a_service_that_comes_back_has_all_that_was_to_be_sent() {
    let work = Sandbox::new();
    let source = work.at("source");
    trees::small_files(&source, 10, 20);
    let server = served(Behaviour::default());
    let port = server.endpoint().rsplit(':').next().unwrap().parse().unwrap();
    let mut job = held_upload(&server, 1, text(&source), &[]);
    drop(server);
    ask_in_vain(&mut job, port);
    let door = Door { port, ..Door::default() };
    let again = ObjectServer::start_at(door, Behaviour::default()).unwrap();
    again.make_bucket(BUCKET);
    let ended = job.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(0), "{said}");
    assert!(again.keys_of(BUCKET).len() > 50, "{}", again.counts());
}

#[test]
fn a_job_that_waits_for_a_silent_service_ends_when_it_is_told_to() {
    let service = Scripted::start(|_| Reply::Silence);
    for signal in ["TERM", "INT"] {
        let before = service.asked().len();
        let mut command = within(tool(1, "dwalk"), &service.environment());
        let mut job = command.arg("s3://b").stderr(Stdio::null()).spawn().unwrap();
        wait_within(&mut job, "it has asked", || service.asked().len() > before);
        run(Command::new("kill").arg(format!("-{signal}")).arg(job.id().to_string())).expect(0);
        assert_eq!(job.wait().unwrap().code(), Some(20), "{signal}");
    }
}

/// Returns the lines after the first line of the header, which is printed before the service is
/// asked.
#[track_caller]
fn after_header<'s>(said: &'s str, tool: &str) -> Vec<&'s str> {
    let mut lines = said.lines();
    let first = lines.next().unwrap_or_default();
    assert!(first.starts_with(tool) && first.contains("1 rank on 1 node"), "{said}");
    lines.collect()
}

/// Checks that a silent service ends the job within half a minute, whatever the first request, and
/// with any number of locations; before that the user is told. The header comes before the first
/// request.
#[test]
fn a_service_that_never_answers_is_told_of_and_ends_the_job() {
    let service = Scripted::start(|_| Reply::Silence);
    let work = Sandbox::new();
    let back = work.at("back");
    let start = |words: &[&str]| {
        let mut command = within(tool(1, words[0]), &service.environment());
        let command = command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(Stdio::piped()).spawn().unwrap()
    };
    let up = ["dcp", "Cargo.toml", "s3://b/key"];
    let jobs = [
        &["dwalk", "s3://b", "s3://c"][..],
        &["dcp", "s3://b/1", "s3://b/2", text(&back)],
        &["dsync", "s3://b/key", text(&back)],
        &up,
    ];
    let jobs = jobs.map(|words| (words[0], start(words)));
    for (tool, job) in jobs {
        let ended = job.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(3), "{said}");
        let lines = after_header(&said, tool);
        assert!(
            lines[0].contains("yet; waiting") && lines[0].contains(service.endpoint()),
            "{said}"
        );
        assert!(lines[1].contains("did not respond in time"), "{said}");
        assert!(lines.len() <= 3, "{said}");
    }
    // Nothing was asked twice.
    assert_eq!(service.asked().len(), 4, "{:?}", service.asked());
}

/// Checks settings of AWS's other tools that mean nothing here.
#[test]
fn retries_of_other_tools_are_no_matter() {
    let server = served(Behaviour::default());
    for (name, value) in [
        ("AWS_RETRY_MODE", "legacy"),
        ("AWS_RETRY_MODE", "adaptive"),
        ("AWS_RETRY_MODE", "x"),
        ("AWS_MAX_ATTEMPTS", ""),
    ] {
        let mut command = within(tool(1, "dwalk"), &server.environment());
        run(command.env(name, value).arg("s3://data")).expect(0);
    }
    let mut command = within(tool(1, "dwalk"), &server.environment());
    let refused = run(command.env("AWS_MAX_ATTEMPTS", "0").arg("s3://data"));
    assert!(matches!(refused.code, Some(2 | 3)), "{refused:?}");
    assert!(refused.stderr.contains("AWS_MAX_ATTEMPTS=\"0\""), "{refused:?}");
}

/// Checks that no more is read of an endless refusal than an honest one has.
#[test]
fn a_refusal_without_an_end_is_read_as_far_as_an_honest_one() {
    let service = Scripted::start(|_| Reply::Endless(403));
    let mut command = within(tool(1, "dwalk"), &service.environment());
    let ended = run(command.env("AWS_MAX_ATTEMPTS", "2").arg("s3://b")).expect(3);
    assert_eq!(after_header(&ended.stderr, "dwalk").len(), 1, "{}", ended.stderr);
    // What the system keeps on its way counts, too.
    let bound = types::limits::S3_DOCUMENT_BYTES_MAX as u64;
    let most = service.asked().len() as u64 * (bound + (16 << 20));
    assert!(service.endless_bytes() < most, "{} bytes", service.endless_bytes());
}

/// Checks an endpoint with a path, as behind a gateway: all requests go below that path, with keys
/// and without.
#[test]
fn an_endpoint_may_have_a_path() {
    let service = Scripted::start(|_| Reply::Answer(200, Vec::new(), EMPTY_LIST.to_owned()));
    for slash in ["", "/"] {
        let endpoint = format!("{}/s3/v1{slash}", service.endpoint());
        let mut command = within(tool(1, "dwalk"), &service.environment());
        run(command.args(["--s3-endpoint", &endpoint, "s3://b/dir/"]));
    }
    let asked = service.asked();
    assert!(asked.len() >= 2);
    assert!(asked.iter().all(|asked| asked.target.starts_with("/s3/v1/b")), "{asked:?}");
}

/// A TLS server on the loopback interface, which is ended when this is dropped.
struct TlsServer(Child);

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Validity of a certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Validity {
    Present,
    Expired,
}

/// Starts such a server on a free port, with a certificate for that name.
fn tls_server(work: &Path, name: &str, validity: Validity) -> (TlsServer, String) {
    let mut make = Command::new("openssl");
    make.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem"]);
    make.args(["-out", "own.pem", "-subj", "/CN=test", "-addext"]);
    make.arg(format!("subjectAltName={name}"))
        .args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    run(make.args(["-days", "2"]).current_dir(work)).expect(0);
    if validity == Validity::Expired {
        let mut again = Command::new("openssl");
        again.args(["x509", "-in", "own.pem", "-signkey", "key.pem", "-days", "-1"]);
        run(again.args(["-out", "expired.pem"]).current_dir(work)).expect(0);
        fs::rename(work.join("expired.pem"), work.join("own.pem")).unwrap();
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut serve = Command::new("openssl");
    serve.args(["s_server", "-quiet", "-www", "-cert", "own.pem", "-key", "key.pem", "-accept"]);
    serve.arg(port.to_string()).current_dir(work);
    let server = serve.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let server = TlsServer(server.spawn().unwrap());
    wait_for_port(port);
    (server, format!("127.0.0.1:{port}"))
}

/// Checks that each fault has its own message: an unknown authority, a certificate for another
/// host, an expired one, no TLS at all.
#[test]
fn trouble_with_tls_is_told_in_its_own_words() {
    let work = Sandbox::new();
    let ask = |at: &str, trusted: Option<&Path>| {
        let environment = suite_tests::object_server::environment(at, "test-access", "test-secret");
        let mut command = within(tool(1, "dwalk"), &environment);
        command.env_remove("SSL_CERT_FILE");
        command.envs(trusted.map(|file| ("AWS_CA_BUNDLE", file)));
        run(command.arg("s3://b")).expect(3).stderr
    };
    let own = work.at("own.pem");
    for (made, validity, trusted, words) in [
        ("IP:127.0.0.1", Validity::Present, None, "issued by an unknown CA"),
        ("DNS:elsewhere", Validity::Present, Some(&*own), "for another host"),
        ("IP:127.0.0.1", Validity::Expired, Some(&*own), "has expired or is not valid yet"),
    ] {
        let (_server, address) = tls_server(work.path(), made, validity);
        let said = ask(&format!("https://{address}"), trusted);
        assert!(said.contains(words), "{made:?}: {said}");
        assert_eq!(after_header(&said, "dwalk").len(), 1, "{said}");
    }
    let plain = served(Behaviour::default());
    let said = ask(&plain.endpoint().replace("http:", "https:"), None);
    assert!(said.contains("does not speak TLS"), "{said}");
}

#[test]
fn nothing_that_is_secret_shows() {
    let server = served(Behaviour::default());
    let (_, secret) = server.keys();
    let ended = run(with(&server, 1, "dwalk")
        .env("AWS_SESSION_TOKEN", "t0ken")
        .args(["-vvv", "s3://data"]));
    let all = format!("{}{}", ended.stdout, ended.stderr);
    assert!(all.contains("DEBUG"), "{all}");
    for word in [secret, "t0ken", "Signature="] {
        assert!(!all.contains(word), "{all}");
    }
    let endpoint = server.endpoint().replace("http://", "http://joe:hush@");
    for words in [&["-vvv"][..], &["--json"]] {
        let mut command = with(&server, 1, "dwalk");
        let ended = run(command.args(words).args(["--s3-endpoint", &endpoint, "s3://data"]));
        let ended = ended.expect(3);
        let all = format!("{}{}", ended.stdout, ended.stderr);
        assert!(all.contains("without a user, password") && !all.contains("hush"), "{all}");
    }
}

/// A server of rclone's, which is ended when this is dropped.
struct RcloneServer(Child);

impl Drop for RcloneServer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn large_files_go_to_rclones_own_server_and_come_back() {
    let work = Sandbox::new();
    let (source, kept, back) = (work.at("source"), work.at("kept"), work.at("back"));
    small_tree(&source);
    trees::write(&source.join("large"), &trees::noise(11 << 20));
    fs::create_dir_all(kept.join("data")).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new(venv("rclone"));
    command.args(["serve", "s3", "--config", "/dev/null", "--auth-key", "test-access,test-secret"]);
    command.arg("--addr").arg(format!("127.0.0.1:{port}")).arg(&kept);
    let _server = RcloneServer(command.stderr(Stdio::null()).spawn().unwrap());
    let endpoint = format!("http://127.0.0.1:{port}");
    wait_for_port(port);
    let environment =
        suite_tests::object_server::environment(&endpoint, "test-access", "test-secret");
    let dcp = |count: u32| within(tool(count, "dcp"), &environment);
    run(dcp(2).args(["-k", "5MiB", text(&source), "s3://data/up"])).expect(0);
    run(dcp(2).args(["-k", "5MiB", "s3://data/up", text(&back)])).expect(0);
    assert_eq!(diff(&source, &back), "");
}
