//! OpenSSH's server on loopback, with its own configuration, keys and port.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Time limit of the start.
const START_LIMIT: Duration = Duration::from_mins(1);

/// Path of the server, which starts itself again by it.
const SERVER: &str = "/usr/sbin/sshd";

/// Path of the server of SFTP.
pub const SFTP_SERVER: &str = "/usr/lib/openssh/sftp-server";

/// A running server; it ends when this is dropped.
#[derive(Debug)]
pub struct Sshd {
    dir: tempfile::TempDir,
    server: Child,
    port: u16,
}

impl Sshd {
    /// Returns whether the server is installed.
    pub fn is_installed() -> bool {
        Path::new(SERVER).exists()
    }

    /// Starts a server, with more lines of configuration.
    ///
    /// # Panics
    /// When it does not accept connections in time.
    pub fn start(more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for key in ["host", "user"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path(key));
            assert!(keygen.status().unwrap().success());
        }
        std::fs::copy(path("user.pub"), path("authorized")).unwrap();
        // For the privilege separation of a server that root runs.
        let _ = std::fs::create_dir_all("/run/sshd");
        let port =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let shown = |name: &str| path(name).display().to_string();
        let configuration = format!(
            "ListenAddress 127.0.0.1\nPort {port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\n\
             StrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             UsePAM no\nPermitRootLogin yes\nSubsystem sftp {SFTP_SERVER}\n{more}\n",
            shown("host"),
            shown("authorized"),
        );
        std::fs::write(path("config"), configuration).unwrap();
        let log = std::fs::File::create(path("log")).unwrap();
        let server = Command::new(SERVER)
            .args(["-D", "-e", "-f"])
            .arg(path("config"))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let sshd = Self { dir, server, port };
        sshd.wait();
        sshd
    }

    fn wait(&self) {
        let began = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            assert!(began.elapsed() < START_LIMIT, "no answer: {log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Replaces the line of the user's key, which may have options in front of it.
    pub fn authorize(&self, options: &str) {
        let key = std::fs::read_to_string(self.dir.path().join("user.pub")).unwrap();
        std::fs::write(self.dir.path().join("authorized"), format!("{options} {key}")).unwrap();
    }

    /// Gives the key of the client to another user, who has to be let through to it.
    pub fn give_key_to(&self, uid: u32) {
        use std::os::unix::fs::{PermissionsExt, chown};
        chown(self.dir.path().join("user"), Some(uid), Some(uid)).unwrap();
        std::fs::set_permissions(self.dir.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    }

    /// Returns the value of `--rsh` that reaches the server.
    pub fn shell(&self) -> String {
        let known = self.dir.path().join("known");
        format!(
            "ssh -F none -p {} -i {} -o BatchMode=yes -o StrictHostKeyChecking=accept-new -o \
             UserKnownHostsFile={}",
            self.port,
            self.key().display(),
            known.display()
        )
    }

    /// Returns the port, the file of the key, and that of known hosts.
    pub fn reached_by(&self) -> [String; 3] {
        let known = self.dir.path().join("known");
        [self.port.to_string(), self.key().display().to_string(), known.display().to_string()]
    }

    fn key(&self) -> PathBuf {
        self.dir.path().join("user")
    }

    /// Returns the processes that hold a connection.
    pub fn connections(&self) -> Vec<i32> {
        let id = self.server.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        children.unwrap_or_default().split_whitespace().map(|it| it.parse().unwrap()).collect()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
