//! The only place that writes to standard output and standard error.

use std::io::{IsTerminal, Write};
use std::os::fd::{AsFd, OwnedFd};

use indicatif::ProgressBar;

/// Standard output and standard error of rank 0.
#[derive(Debug, Default)]
pub struct Console {
    /// A bar that lines must not tear.
    pub bar: Option<ProgressBar>,
    /// Standard output took no more: what was printed is not all there was.
    pub output_failed: bool,
}

impl Console {
    /// One line of talk.
    pub fn talk(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say(line)),
            None => say(line),
        }
    }

    /// Results. Once standard output has failed it is left alone; the work goes on.
    pub fn result(&mut self, text: &[u8]) {
        if self.output_failed {
            return;
        }
        let write = || {
            let mut output = std::io::stdout().lock();
            output.write_all(text).and_then(|()| output.flush())
        };
        let written = match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        };
        if let Err(error) = written {
            self.output_failed = true;
            self.talk(&format!("cannot write to standard output: {error}; the work goes on"));
        }
    }
}

/// Standard output as a descriptor, for an agent, which writes messages to it.
///
/// # Errors
/// That of dup(2).
pub fn output() -> std::io::Result<OwnedFd> {
    std::io::stdout().as_fd().try_clone_to_owned()
}

/// True if standard error is a terminal.
pub fn is_watched() -> bool {
    std::io::stderr().is_terminal()
}

/// A line for users that must come out even without a session.
///
/// Where standard error takes no more there is nobody to tell; the work goes on.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
