//! SeaweedFS, a real object store in one program: the suite is tested against it beside the
//! embedded server, because it was written by others.
//!
//! SeaweedFS stores objects as files in directories, so `d` and `d/x`, or `a//b`, are not what they
//! are on S3.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::sandbox::Sandbox;
use crate::{cloud, job, object_server};

/// Time limit of the start, which takes 6 s on two idle cores.
const START_LIMIT: Duration = Duration::from_secs(90);
const ACCESS_KEY: &str = "test-access";
const SECRET_KEY: &str = "test-secret";

/// A running SeaweedFS with all that it stores; both end when this is dropped.
#[derive(Debug)]
pub struct Seaweed {
    dir: Sandbox,
    server: Child,
    port: u16,
}

impl Seaweed {
    /// Starts a server, and waits until it accepts this bucket.
    ///
    /// # Panics
    /// When it does not answer in time; its log is part of the message.
    pub fn start(bucket: &str) -> Self {
        let dir = Sandbox::for_everybody();
        std::fs::write(dir.path().join("s3.json"), configuration()).unwrap();
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let ports = free_ports();
        let server = command(dir.path(), &ports)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut seaweed = Self { dir, server, port: ports[S3] };
        seaweed.make_first_bucket(bucket);
        seaweed
    }

    fn make_first_bucket(&mut self, bucket: &str) {
        let began = Instant::now();
        let address = (Ipv4Addr::LOCALHOST, self.port);
        loop {
            let is_there = std::net::TcpStream::connect(address).is_ok();
            if is_there
                && job::run(self.aws().args(["s3api", "create-bucket", "--bucket", bucket])).code
                    == Some(0)
            {
                return;
            }
            let has_ended = self.server.try_wait().unwrap().is_some();
            if has_ended || began.elapsed() > START_LIMIT {
                let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap();
                let tail = &log[log.floor_char_boundary(log.len().saturating_sub(4000))..];
                panic!("SeaweedFS does not answer:\n{tail}");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Returns the URL `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns the environment variables with which AWS's tools and SDKs use this server.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        object_server::environment(&self.endpoint(), ACCESS_KEY, SECRET_KEY)
    }

    /// Returns the command line of AWS for this server.
    pub fn aws(&self) -> Command {
        cloud::aws(&self.environment())
    }
}

impl Drop for Seaweed {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Returns the configuration: one user with all permissions.
fn configuration() -> String {
    serde_json::json!({"identities": [{
        "name": "test",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }]})
    .to_string()
}

/// Options of all ports that the server listens on. A port that is not named is a fixed one, or the
/// named one and 10,000.
const PORTS: [&str; 8] = [
    "s3.port",
    "s3.port.grpc",
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
];
const S3: usize = 0;

/// Reserves all ports at once, so that they differ. Another program may take one before SeaweedFS
/// does; then it ends with an error.
fn free_ports() -> Vec<u16> {
    let listeners: Vec<TcpListener> =
        PORTS.iter().map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

fn command(dir: &Path, ports: &[u16]) -> Command {
    let data = dir.join("data");
    std::fs::create_dir(&data).unwrap();
    let mut command = Command::new(cloud::venv("weed"));
    // The program looks for configuration, and leaves sockets and profiles, in its working
    // directory.
    command.current_dir(dir).env("HOME", dir).env("TMPDIR", dir);
    command.args([
        "server",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-s3",
        "-master.telemetry=false",
    ]);
    command.args(["-master.volumeSizeLimitMB=1024", "-volume.max=200"]);
    command.args(["-s3.port.iceberg=0", "-s3.port.lance=0"]);
    command.arg(format!("-dir={}", data.display()));
    command.arg(format!("-s3.config={}", dir.join("s3.json").display()));
    command.arg(format!("-s3.localSocket={}", dir.join("s3.sock").display()));
    command.arg(format!("-filer.localSocket={}", dir.join("filer.sock").display()));
    command.args(PORTS.iter().zip(ports).map(|(name, port)| format!("-{name}={port}")));
    command
}
