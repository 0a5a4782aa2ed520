//! The hosts through which a file system is reached: which one is next, and which are given up.

use std::sync::{Arc, Mutex};

use types::limits::{REMOTE_CONNECT_ATTEMPTS, REMOTE_PAUSE};

use crate::exchange::{Link, lock};
use crate::no_connection::{NoConnection, NoHost, Ungreeted};
use crate::process::{end, last_words};
use crate::shell::ShellError;

/// Makes a connection to a host: ssh, or in tests a pipe.
pub type Dial = dyn Fn(&str) -> Result<Link, ShellError> + Send + Sync;

/// Makes a session of a connection, or returns why there is none.
pub type Greet<C> = fn(Link) -> Result<C, (Ungreeted, Link)>;

/// The hosts by which file systems are reached.
pub(crate) struct Doors<C> {
    names: Vec<String>,
    dial: Box<Dial>,
    greet: Greet<C>,
    state: Mutex<State>,
}

struct State {
    next: usize,
    /// Reason for which each host was given up.
    given_up: Vec<Option<Arc<NoConnection>>>,
}

/// Words of ssh after which another attempt may succeed: sshd refuses connections at random while
/// many are beginning (`MaxStartups`), and a host may be restarting.
const TRANSIENT: [&str; 9] = [
    "kex_exchange_identification",
    "banner exchange",
    "Connection closed",
    "closed by remote host",
    "Connection reset",
    "Connection refused",
    "Connection timed out",
    "Not allowed at this time",
    "ssh_dispatch_run_fatal",
];

impl<C> Doors<C> {
    pub fn new(names: Vec<String>, dial: Box<Dial>, greet: Greet<C>) -> Self {
        // The processes of a node begin with different hosts.
        let next = std::process::id() as usize % names.len().max(1);
        let given_up = vec![None; names.len()];
        Self { names, dial, greet, state: Mutex::new(State { next, given_up }) }
    }

    pub fn count(&self) -> usize {
        self.names.len()
    }

    /// Connects to the next host that is not given up; `None` where there is none. While there is
    /// no other connection, several attempts are made.
    pub fn dial(&self, is_needed: bool) -> Option<(C, usize)> {
        let mut attempts = 0;
        loop {
            let door = self.next()?;
            let why = match self.try_once(&self.names[door]) {
                Ok(connection) => return Some((connection, door)),
                Err(why) => why,
            };
            attempts += 1;
            let shown = why.to_string();
            let is_transient = TRANSIENT.iter().any(|words| shown.contains(words));
            tracing::debug!(host = self.names[door], why = shown, "no connection");
            if !is_transient || attempts >= REMOTE_CONNECT_ATTEMPTS {
                self.give_up(door, why);
                attempts = 0;
            } else if is_needed {
                pause(attempts);
            } else {
                return None;
            }
        }
    }

    fn try_once(&self, name: &str) -> Result<C, NoConnection> {
        let link = (self.dial)(name)?;
        (self.greet)(link).map_err(|(why, link)| told(why, link))
    }

    /// Returns the next host that is not given up.
    fn next(&self) -> Option<usize> {
        let mut state = lock(&self.state);
        let count = self.names.len();
        let start = state.next;
        let is_open = |door: &usize| state.given_up[*door].is_none();
        let door = (start..start + count).map(|door| door % count).find(is_open)?;
        state.next = (door + 1) % count;
        Some(door)
    }

    pub fn give_up(&self, door: usize, why: NoConnection) {
        lock(&self.state).given_up[door] = Some(Arc::new(why));
    }

    /// Returns why no host can be reached.
    pub fn complaint(&self) -> NoHost {
        let state = lock(&self.state);
        let hosts = self.names.iter().zip(&state.given_up);
        NoHost(hosts.filter_map(|(name, why)| Some((name.clone(), why.clone()?))).collect())
    }
}

/// Waits before the next attempt, longer each time, and not as long as other ranks do.
fn pause(attempts: u32) {
    let full = REMOTE_PAUSE * 2_u32.saturating_pow(attempts - 1);
    std::thread::sleep(full.mul_f64(0.5 + fastrand::f64() / 2.0));
}

/// Returns the reason for which a connection was not made: ssh's own words, if it has any.
fn told(why: Ungreeted, mut link: Link) -> NoConnection {
    drop(link.to);
    let Some(mut child) = link.child.take() else { return why.into() };
    // It ends, or is ended, before its words are read: a shell that stays would not be waited for.
    let stderr = child.stderr.take();
    end(child);
    let words = stderr.map(last_words).unwrap_or_default();
    if matches!(why, Ungreeted::Foreign(_)) || words.trim().is_empty() {
        return why.into();
    }
    let words = words.trim().lines().map(str::trim).collect::<Vec<_>>().join(", ");
    match why {
        Ungreeted::Silence(hint) if words.contains("not found") => {
            NoConnection::Words(format!("{words}; {hint}"))
        }
        _ => NoConnection::Words(words),
    }
}
