//! Being told to stop: by SIGTERM, which batch systems send some time before they kill, or by SIGINT, which is
//! Ctrl-C. A handler may do next to nothing (signal-safety(7)), so it leaves a mark that the main thread sees.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};

static MARK: OnceLock<Arc<AtomicBool>> = OnceLock::new();

fn mark() -> &'static Arc<AtomicBool> {
    MARK.get_or_init(Arc::default)
}

/// From now on both signals only leave a mark.
///
/// # Errors
/// The system does not let this process handle them; then they end it, as they did before.
pub fn listen() -> io::Result<()> {
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(mark()))?;
    }
    Ok(())
}

/// This process was told to stop.
pub fn is_wanted() -> bool {
    mark().load(Ordering::Relaxed)
}

/// For how long it has been so, as far as this process has looked.
pub fn wanted_for() -> Option<Duration> {
    static SEEN: OnceLock<Instant> = OnceLock::new();
    is_wanted().then(|| SEEN.get_or_init(Instant::now).elapsed())
}
