//! Command-line options that limit the rate of a job, and the control file that changes them.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use comm::Rank;
use comm::collective::broadcast;
use comm::mailbox::Mailbox;
use host::throttle;
use serde::{Deserialize, Serialize};
use types::limits::{CONTROL_BYTES_MAX, CONTROL_INTERVAL};
use types::rate::{RateError, Rates};

/// Options that limit a job, whatever it does.
#[derive(Debug, Clone, PartialEq, Eq, Default, Args, Serialize, Deserialize)]
#[command(next_help_heading = "Tuning")]
pub struct LimitArgs {
    /// Limit the operations per second of the whole job, on entries and blocks
    ///
    /// The ranks that have work share the limit.
    #[arg(long, value_name = "N", value_parser = operations)]
    iops_limit: Option<String>,

    /// Read limits from FILE while the job runs
    ///
    /// Lines are bwlimit=RATE, iops-limit=N, pause and resume. Rank 0 reads FILE twice a second;
    /// it need not exist.
    #[arg(long, value_name = "FILE")]
    control_file: Option<PathBuf>,
}

/// Checks a bandwidth on the command line.
///
/// # Errors
/// Fails for text that is no rate.
pub fn bandwidth(text: &str) -> Result<String, RateError> {
    Rates::default().set_bandwidth(text).map(|()| text.to_owned())
}

fn operations(text: &str) -> Result<String, RateError> {
    Rates::default().set_operations(text).map(|()| text.to_owned())
}

impl LimitArgs {
    /// Returns the path of the control file.
    pub fn control_file(&self) -> Option<&Path> {
        self.control_file.as_deref()
    }

    /// Limits the job, with a bandwidth that was checked; all ranks call it. Rank 0 reads the
    /// control file from now on.
    pub fn begin(&self, bandwidth: Option<&str>, mail: &mut Mailbox<'_>) {
        let given = self.given(bandwidth);
        let is_root = mail.comm().rank() == Rank::ROOT;
        let control = self.control_file.as_deref().filter(|_| is_root);
        let mut control = control.map(|file| Control::new(file, given));
        let now = control.as_mut().and_then(Control::look_first).unwrap_or(given);
        let now = broadcast(mail, is_root.then_some(now));
        if now.are_none() && self.control_file.is_none() {
            return;
        }
        throttle::begin(now, mail.comm().size());
        if let Some(control) = control {
            let watch = std::thread::Builder::new().name("control".to_owned());
            if let Err(error) = watch.spawn(move || control.watch()) {
                tracing::warn!(%error, "the control file is not read");
            }
        }
    }

    fn given(&self, bandwidth: Option<&str>) -> Rates {
        let mut rates = Rates::default();
        let bandwidth = bandwidth.map_or(Ok(()), |text| rates.set_bandwidth(text));
        let operations = self.iops_limit.as_ref().map_or(Ok(()), |text| rates.set_operations(text));
        debug_assert!(bandwidth.is_ok() && operations.is_ok(), "checked by the parser");
        rates
    }
}

/// Control file that is looked at.
struct Control {
    file: PathBuf,
    /// Limits of the command line, which those of the file replace.
    given: Rates,
    seen: Option<String>,
    applied: Option<String>,
    /// Reason why the file could not be read at the last look.
    trouble: Option<ErrorKind>,
}

impl Control {
    fn new(file: &Path, given: Rates) -> Self {
        Self { file: file.to_owned(), given, seen: None, applied: None, trouble: None }
    }

    fn look_first(&mut self) -> Option<Rates> {
        self.seen = self.text();
        self.look()
    }

    fn watch(mut self) {
        while let Some(throttle) = throttle::own() {
            std::thread::sleep(CONTROL_INTERVAL);
            if let Some(rates) = self.look() {
                throttle.limit(rates);
            }
        }
    }

    /// Returns the limits of the file where they have changed. Its text must be the one of the last
    /// look: a file is empty for a moment while it is written.
    fn look(&mut self) -> Option<Rates> {
        let text = self.text();
        if text.is_none() || text == self.applied {
            return None;
        }
        if self.seen != text {
            self.seen = text;
            return None;
        }
        self.applied = text;
        let rates = self.given.controlled(self.applied.as_deref()?);
        let file = self.file.display();
        rates.map_err(|why| tracing::warn!("{file} is not applied: {why}")).ok()
    }

    /// Returns the text of the file, empty where it does not exist; `None` where it cannot be read,
    /// which changes nothing, and is told once.
    fn text(&mut self) -> Option<String> {
        let read = match read(&self.file) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
            read => read,
        };
        let trouble = read.as_ref().err().map(io::Error::kind);
        let is_new = std::mem::replace(&mut self.trouble, trouble) != trouble;
        if let (Err(error), true) = (&read, is_new) {
            let file = self.file.display();
            tracing::warn!("{file} cannot be read, and the limits stay: {error}");
        }
        read.ok()
    }
}

fn read(file: &Path) -> io::Result<String> {
    let mut text = Vec::new();
    File::open(file)?.take(CONTROL_BYTES_MAX).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_applied_once_it_was_seen_twice() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("control");
        let mut given = Rates::default();
        given.set_operations("100").unwrap();
        let mut control = Control::new(&file, given);
        assert_eq!(control.look_first(), Some(given));
        let mut change = |text: &str| {
            std::fs::write(&file, text).unwrap();
            (control.look(), control.look(), control.look())
        };
        let paused = Rates { is_paused: true, ..given };
        assert_eq!(change("pause"), (None, Some(paused), None));
        assert_eq!(change("nonsense"), (None, None, None));
        assert_eq!(change(""), (None, Some(given), None));
    }

    #[test]
    fn a_file_that_cannot_be_read_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut control = Control::new(dir.path(), Rates::default());
        assert_eq!((control.look_first(), control.look()), (None, None));
    }
}
