//! Deployment: a program of this host is copied to another one, where it is started as the agent.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

use crate::shell::{ShellError, ShellOptions};
use types::content::hex::hex;

/// Directory of deployed programs, below the user's home directory.
const DIRECTORY: &str = ".cache/dcp";

/// Reason why a program cannot be deployed.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// The program cannot be read here.
    #[error("\"{}\": {source}", program.display())]
    Read {
        /// Path of the program.
        program: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The remote shell cannot be started.
    #[error(transparent)]
    Shell(#[from] ShellError),
    /// The other host did not confirm that the program was stored.
    #[error("{0}: its shell did not say that the program was stored")]
    Unconfirmed(String),
    /// The script on the other host failed.
    #[error("{door}: the program cannot be deployed: {words}")]
    Script {
        /// Name of the host.
        door: String,
        /// Words of its shell.
        words: String,
    },
}

/// Program that is deployed, with its name on the other host.
struct Program {
    content: Vec<u8>,
    sha256: String,
}

/// Copies a program to a host, unless it is there already, which its SHA-256 shows. Returns the
/// command that starts it, as the shell there reads it.
///
/// # Errors
/// Returns what could not be done, with the words of the other host.
pub fn deploy(program: &Path, shell: &ShellOptions, door: &str) -> Result<String, DeployError> {
    let unread = |source| DeployError::Read { program: program.to_owned(), source };
    let content = std::fs::read(program).map_err(unread)?;
    let sha256 = hex(&Sha256::digest(&content));
    let program = Program { content, sha256 };
    let is_there = run(shell, door, &program.probe(), &[])? == "there";
    if !is_there && run(shell, door, &program.store(), &program.content)? != "stored" {
        return Err(DeployError::Unconfirmed(door.to_owned()));
    }
    Ok(format!("\"$HOME/{DIRECTORY}/{}\"", program.name()))
}

impl Program {
    fn name(&self) -> String {
        format!("dcp-{}", self.sha256)
    }

    /// Returns a script that tells whether the program is there as a whole. Scripts are single
    /// words in single quotes, which shells of all kinds pass on to `sh` as they are.
    fn probe(&self) -> String {
        let Self { sha256, .. } = self;
        format!(
            "sh -c 'f=\"$HOME/{DIRECTORY}/{}\"; test -x \"$f\" || exit 0; \
             s=`sha256sum <\"$f\"` && test \"${{s%% *}}\" = {sha256} && echo there; exit 0'",
            self.name()
        )
    }

    /// Returns a script that stores its input as the program, complete or not at all.
    fn store(&self) -> String {
        let Self { sha256, .. } = self;
        format!(
            "sh -c 'umask 077; d=\"$HOME/{DIRECTORY}\"; f=\"$d/{}\"; t=\"$f.$$\"; \
             mkdir -p \"$d\" && cat >\"$t\" && s=`sha256sum <\"$t\"` && \
             test \"${{s%% *}}\" = {sha256} && chmod 700 \"$t\" && mv -f \"$t\" \"$f\" && \
             \"$f\" --version >/dev/null && echo stored'",
            self.name()
        )
    }
}

/// Runs a script on a host with that input. Returns what it prints.
fn run(
    shell: &ShellOptions,
    door: &str,
    script: &str,
    input: &[u8],
) -> Result<String, DeployError> {
    let mut words = shell.shell_words()?;
    words.extend([door.to_owned(), script.to_owned()]);
    let failed = |source| ShellError::Program { program: words[0].clone(), source };
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let to = child.stdin.take();
    std::thread::scope(|scope| {
        // A script that ends before its input is read tells why on its standard error.
        scope.spawn(move || to.map(|mut to| to.write_all(input)));
        let ended = child.wait_with_output().map_err(failed)?;
        if ended.status.success() {
            return Ok(String::from_utf8_lossy(&ended.stdout).trim().to_owned());
        }
        let words = String::from_utf8_lossy(&ended.stderr);
        let words = types::path::escaped(words.trim().replace('\n', ", ").as_bytes());
        Err(DeployError::Script { door: door.to_owned(), words })
    })
}
