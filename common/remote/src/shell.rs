//! The command that starts an agent: ssh, or another remote shell, with its arguments.

use std::io;
use std::process::{Command, Stdio};

use rustix::pipe::fcntl_setpipe_size;
use serde::{Deserialize, Serialize};
use types::limits::{REMOTE_PIPE_BYTES, REMOTE_SILENCE_MAX};

use crate::exchange::Link;
use crate::patient::PatientPipe;

/// Options for reaching agents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShellOptions {
    /// Remote shell with its arguments, in the quoting of rsync's `-e`.
    pub shell: String,
    /// Path of the program on the other host.
    pub agent: String,
    /// File with the private key.
    pub identity: Option<String>,
}

/// Reason why a remote shell cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum ShellError {
    /// A quotation of the command does not end.
    #[error("quotation mark without its end in the remote shell {0:?}")]
    Quotation(String),
    /// The command has no words.
    #[error("the remote shell is empty; write one, such as -e ssh")]
    Empty,
    /// The program of the command does not run.
    #[error("{program}: {source}")]
    Program {
        /// Program of the command.
        program: String,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The program runs without the pipes to it.
    #[error("no pipe to ssh")]
    Pipe,
    /// The pipe to the program cannot be prepared.
    #[error("the pipe to ssh: {0}")]
    Input(#[source] io::Error),
}

/// Options by which ssh notices a host that does not respond for a minute.
const ALIVE: [&str; 4] = ["-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4"];

fn is_openssh(program: &str) -> bool {
    program.rsplit('/').next() == Some("ssh")
}

impl Default for ShellOptions {
    fn default() -> Self {
        Self { shell: "ssh".to_owned(), agent: "dcp".to_owned(), identity: None }
    }
}

impl ShellOptions {
    /// Returns the remote shell with its options, as words.
    ///
    /// # Errors
    /// Fails for a shell whose quoting is wrong.
    pub fn shell_words(&self) -> Result<Vec<String>, ShellError> {
        let mut words = split(&self.shell)?;
        if words.is_empty() {
            return Err(ShellError::Empty);
        }
        if let Some(identity) = &self.identity {
            words.extend(["-i".to_owned(), identity.clone()]);
        }
        // A host that falls silent is noticed; ssh prefers what `-e` has told it before.
        if is_openssh(&words[0]) {
            words.extend(ALIVE.map(str::to_owned));
        }
        Ok(words)
    }

    /// Returns the whole command that starts an agent on a host, as words.
    ///
    /// # Errors
    /// Fails for a shell whose quoting is wrong.
    pub fn words(&self, door: &str) -> Result<Vec<String>, ShellError> {
        let mut words = self.shell_words()?;
        // After `--` nothing is an option; a host's name cannot begin with `-` anyway.
        words.extend([door.to_owned(), self.agent.clone(), "--agent".to_owned()]);
        Ok(words)
    }

    /// Starts the agent of a host.
    ///
    /// # Errors
    /// Fails if the program cannot be started.
    pub fn dial(&self, door: &str) -> Result<Link, ShellError> {
        start(&self.words(door)?)
    }
}

/// Starts a command that connects this process with another host.
///
/// # Errors
/// Fails if the program cannot be started.
pub fn start(words: &[String]) -> Result<Link, ShellError> {
    let (program, arguments) = words.split_first().ok_or(ShellError::Empty)?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| ShellError::Program { program: program.clone(), source })?;
    let (Some(from), Some(to)) = (child.stdout.take(), child.stdin.take()) else {
        return Err(ShellError::Pipe);
    };
    // Messages are longer than a pipe, and a thread that writes one need not wait for ssh. A user
    // who has many pipes is refused, and has those of the usual size.
    let _ = fcntl_setpipe_size(&to, REMOTE_PIPE_BYTES);
    let _ = fcntl_setpipe_size(&from, REMOTE_PIPE_BYTES);
    let to = PatientPipe::new(to.into(), REMOTE_SILENCE_MAX).map_err(ShellError::Input)?;
    Ok(Link { from: Box::new(from), to: Box::new(to), child: Some(child) })
}

/// Splits a command into words as rsync does: at blanks, but not within quotation marks, of which a
/// doubled one stands for itself.
///
/// # Errors
/// Fails for a quotation that does not end.
pub fn split(command: &str) -> Result<Vec<String>, ShellError> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut characters = command.chars().peekable();
    while let Some(character) = characters.next() {
        match (character, quote) {
            (mark, Some(open)) if mark == open => {
                if characters.next_if_eq(&mark).is_some() {
                    word.get_or_insert_default().push(mark);
                } else {
                    quote = None;
                }
            }
            (mark @ ('"' | '\''), None) => {
                word.get_or_insert_default();
                quote = Some(mark);
            }
            (' ', None) => words.extend(word.take()),
            (other, _) => word.get_or_insert_default().push(other),
        }
    }
    if quote.is_some() {
        return Err(ShellError::Quotation(command.to_owned()));
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_split_as_rsync_splits_it() {
        for (command, words) in [
            ("ssh", &["ssh"][..]),
            ("  ssh  -p 22 ", &["ssh", "-p", "22"]),
            ("ssh -o 'ProxyCommand=nc %h %p'", &["ssh", "-o", "ProxyCommand=nc %h %p"]),
            ("a \"b c\"d ''", &["a", "b cd", ""]),
            ("'it''s' \"a\"\"b\"", &["it's", "a\"b"]),
            ("", &[]),
        ] {
            assert_eq!(split(command).unwrap(), words, "{command}");
        }
        assert!(matches!(split("ssh 'x"), Err(ShellError::Quotation(_))));
    }

    #[test]
    fn the_words_of_a_command() {
        let options = ShellOptions { identity: Some("key".into()), ..ShellOptions::default() };
        let words = [&["ssh", "-i", "key"][..], &ALIVE, &["u@h", "dcp", "--agent"]].concat();
        assert_eq!(options.words("u@h").unwrap(), words);
        let rsh = ShellOptions { shell: "/opt/rsh -x".into(), ..ShellOptions::default() };
        assert_eq!(rsh.words("h").unwrap(), ["/opt/rsh", "-x", "h", "dcp", "--agent"]);
        let none = ShellOptions { shell: " ".into(), ..ShellOptions::default() };
        assert!(none.words("h").is_err());
    }
}
