//! The process of ssh: its words, and its end.

use std::io::Read;
use std::process::Child;
use std::time::{Duration, Instant};

use types::limits::REMOTE_END_MAX;

/// Last words of ssh that are kept for an error.
const WORDS_BYTES: usize = 2048;

/// Returns the last words of ssh, without characters that could control a terminal.
pub(crate) fn last_words(mut stderr: impl Read) -> String {
    let mut bytes = Vec::new();
    let _ = stderr.by_ref().take(WORDS_BYTES as u64).read_to_end(&mut bytes);
    bytes.utf8_chunks().map(|chunk| printable(chunk.valid())).collect()
}

/// Removes characters that could control a terminal.
fn printable(text: &str) -> String {
    text.chars().filter(|it| *it == '\n' || !types::path::is_hidden(*it)).collect()
}

/// Reads what ssh says on a connection that is in use, and shows it in the log, so that ssh never
/// waits.
pub(crate) fn drain(child: &mut Child) {
    let Some(mut stderr) = child.stderr.take() else { return };
    std::thread::spawn(move || {
        let mut buffer = [0; WORDS_BYTES];
        while let Ok(count) = stderr.read(&mut buffer) {
            if count == 0 {
                break;
            }
            tracing::debug!(words = printable(&String::from_utf8_lossy(&buffer[..count])), "ssh");
        }
    });
}

/// Waits for the end of a process whose input is closed, and ends it after a while.
pub(crate) fn end(mut child: Child) {
    drop(child.stdin.take());
    let deadline = Instant::now() + REMOTE_END_MAX;
    while Instant::now() < deadline {
        match child.try_wait() {
            Ok(None) => std::thread::sleep(Duration::from_millis(5)),
            _ => return,
        }
    }
    let _ = child.kill();
    let _ = child.wait();
}
