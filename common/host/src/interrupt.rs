//! Interruption by signals: SIGTERM, which batch systems send some time before they kill, SIGINT,
//! which is Ctrl-C, and the other signals by which batch systems warn. A handler may do next to
//! nothing (signal-safety(7)): it sets a flag that the main thread sees. Before there is any work
//! to end in good order it ends the process.

#![allow(unsafe_code, reason = "sigaction(2) and _exit(2) have no safe wrapper that fits")]

use std::ffi::c_int;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use types::exit::Exit;
use types::limits;

/// Signals that interrupt a job in any case.
const STOPPING: [c_int; 2] = [libc::SIGTERM, libc::SIGINT];

/// Signals that interrupt a job unless they were ignored when it was started, as nohup(1) does: a
/// closed terminal, and the warnings of LSF, SGE and Slurm.
const STOPPING_UNLESS_IGNORED: [c_int; 4] =
    [libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2, libc::SIGXCPU];

/// Set of the signals that were ignored when the program was started, one bit each.
static IGNORED: AtomicU64 = AtomicU64::new(0);

/// True while work is in progress that must end in good order.
static IS_AT_WORK: AtomicBool = AtomicBool::new(false);

/// Time of the first signal, in milliseconds of the monotonic clock; 0 before it.
static TOLD_AT_MS: AtomicU64 = AtomicU64::new(0);

/// Records ignored signals before the libraries' own initialisation: UCX, over which MPI may send,
/// installs a handler for SIGHUP there, which would hide what nohup(1) has set.
#[used]
#[unsafe(link_section = ".preinit_array")]
static BEFORE_LIBRARIES: extern "C" fn() = note_ignored;

extern "C" fn note_ignored() {
    for signal in STOPPING_UNLESS_IGNORED {
        // SAFETY: zero is a value of every field.
        let mut now: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer is to a structure of the right type that outlives the call; nothing
        // is set.
        let asked = unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut now) };
        if asked == 0 && now.sa_sigaction == libc::SIG_IGN {
            IGNORED.fetch_or(1 << signal, Ordering::Relaxed);
        }
    }
}

/// Makes signals interrupt the job from now on: at once before [`work_begins`], afterwards in good
/// order. May be called again, when libraries have installed handlers of their own.
///
/// # Errors
/// Fails where the system refuses; then the signals end the process, as they did before.
pub fn listen() -> io::Result<()> {
    let on_signal = on_signal as extern "C" fn(c_int) as libc::sighandler_t;
    for signal in STOPPING {
        handle(signal, on_signal)?;
    }
    for signal in STOPPING_UNLESS_IGNORED {
        let is_ignored = IGNORED.load(Ordering::Relaxed) & (1 << signal) != 0;
        handle(signal, if is_ignored { libc::SIG_IGN } else { on_signal })?;
    }
    // A file beyond the limit (ulimit -f) is an error of that file, EFBIG.
    handle(libc::SIGXFSZ, libc::SIG_IGN)
}

fn handle(signal: c_int, handler: libc::sighandler_t) -> io::Result<()> {
    // SAFETY: zero is a value of every field: an empty mask, no flags.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the handler does only what signal-safety(7) allows, and the pointer outlives the
    // call.
    match unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Handles a signal. Launchers and terminals may both pass one Ctrl-C on, so only a later one
/// counts as a second one.
extern "C" fn on_signal(signal: c_int) {
    let now = now_ms();
    let told = TOLD_AT_MS.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
    let pause_ms = limits::INTERRUPT_AGAIN_MIN.as_millis() as u64;
    let is_second = told.is_err_and(|first| now > first + pause_ms) && signal == libc::SIGINT;
    if is_second || !IS_AT_WORK.load(Ordering::Relaxed) {
        // SAFETY: ends the process without running anything of it.
        unsafe { libc::_exit(c_int::from(Exit::Interrupted.code())) }
    }
}

fn now_ms() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}

/// Makes a signal interrupt the work in good order from now on. Until then it ends the process:
/// what that waits for, such as a writer of a FIFO, may never come.
pub fn work_begins() {
    IS_AT_WORK.store(true, Ordering::Relaxed);
}

/// Returns true where this process was interrupted.
pub fn is_wanted() -> bool {
    TOLD_AT_MS.load(Ordering::Relaxed) != 0
}

/// Returns the time since this process was interrupted.
pub fn wanted_for() -> Option<Duration> {
    let told = TOLD_AT_MS.load(Ordering::Relaxed);
    (told != 0).then(|| Duration::from_millis(now_ms().saturating_sub(told)))
}
