//! A pipe to a process whose writer does not wait for ever.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

/// Writing end of a pipe; writing fails with `TimedOut` where the other end reads nothing in two
/// periods, one after the other. A thread that waits for an answer notices a silent host by itself,
/// but none may do so while all threads write.
pub struct PatientPipe {
    pipe: File,
    silence_max: Duration,
}

impl PatientPipe {
    /// Takes a pipe over, whose other end reads something in one of two periods of `silence_max`.
    ///
    /// # Errors
    /// Those of `fcntl`.
    pub fn new(pipe: OwnedFd, silence_max: Duration) -> io::Result<Self> {
        fcntl_setfl(&pipe, fcntl_getfl(&pipe)?.union(OFlags::NONBLOCK))?;
        Ok(Self { pipe: pipe.into(), silence_max })
    }

    fn wait(&self) -> io::Result<()> {
        // The first period may have passed while a scheduler had suspended the whole job.
        if self.is_writable()? || self.is_writable()? {
            return Ok(());
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    /// Waits for one period. Returns whether something can be written.
    fn is_writable(&self) -> io::Result<bool> {
        let end = Instant::now() + self.silence_max;
        loop {
            let left = Timespec::try_from(end.saturating_duration_since(Instant::now())).ok();
            match poll(&mut [PollFd::new(&self.pipe, PollFlags::OUT)], left.as_ref()) {
                Err(Errno::INTR) => {}
                count => return Ok(count? > 0),
            }
        }
    }
}

impl Write for PatientPipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.pipe.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait()?,
                written => return written,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_pipe_that_nobody_reads_is_given_up_and_a_slow_one_is_not() {
        let whole = vec![7; 1 << 20];
        let (unread, to) = io::pipe().unwrap();
        let mut patient = PatientPipe::new(to.into(), Duration::from_millis(10)).unwrap();
        let error = patient.write_all(&whole).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(unread);

        let (mut from, to) = io::pipe().unwrap();
        let mut patient = PatientPipe::new(to.into(), Duration::from_mins(5)).unwrap();
        let sent = whole.clone();
        let writer = std::thread::spawn(move || patient.write_all(&sent));
        let mut arrived = Vec::new();
        from.read_to_end(&mut arrived).unwrap();
        writer.join().unwrap().unwrap();
        assert!(arrived == whole, "{} bytes", arrived.len());

        let (unread, to) = io::pipe().unwrap();
        let mut patient = PatientPipe::new(to.into(), Duration::from_mins(5)).unwrap();
        drop(unread);
        assert_eq!(patient.write_all(&whole).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
