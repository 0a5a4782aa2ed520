//! Lifetime of a test server: until SIGTERM, or until the process that started it has ended.

use std::io::Read as _;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use rustix::fs::{FileType, fstat};
use tokio::signal::unix::{SignalKind, signal};

/// Returns a channel that gets a message when the program should end: at SIGTERM or SIGINT, and
/// when standard input is closed where it is a pipe. A shell gives its background jobs /dev/null,
/// which tells nothing.
///
/// # Errors
/// When signals cannot be caught.
pub fn end() -> std::io::Result<Receiver<()>> {
    let (sender, receiver) = channel();
    catch(SignalKind::terminate(), sender.clone())?;
    catch(SignalKind::interrupt(), sender.clone())?;
    let input = fstat(std::io::stdin())?;
    if FileType::from_raw_mode(input.st_mode) == FileType::Fifo {
        thread::spawn(move || {
            let mut ignored = [0; 4096];
            while std::io::stdin().read(&mut ignored).is_ok_and(|count| count > 0) {}
            sender.send(())
        });
    }
    Ok(receiver)
}

fn catch(kind: SignalKind, sender: Sender<()>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let mut caught = runtime.block_on(async { signal(kind) })?;
    thread::spawn(move || {
        runtime.block_on(caught.recv());
        sender.send(())
    });
    Ok(())
}
