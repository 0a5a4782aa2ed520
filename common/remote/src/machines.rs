//! The machines behind the names of a host: whether one has restarted, and whether one name is that
//! of several.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};

use crate::exchange::lock;
use crate::protocol::Machine;
use types::path::escaped;

/// The machines on which agents were met.
pub(super) struct Machines {
    /// True if all agents must be on one machine.
    is_one: bool,
    met: Mutex<Vec<Machine>>,
    /// True once something was written there.
    has_written: AtomicBool,
    /// Reason for which what was written may be lost.
    lost: OnceLock<MachineFault>,
}

impl Machines {
    pub fn new(is_one: bool, met: Option<Machine>) -> Self {
        Self {
            is_one,
            met: Mutex::new(met.into_iter().collect()),
            has_written: false.into(),
            lost: OnceLock::new(),
        }
    }

    /// Records that something is about to be written.
    pub fn note_write(&self) {
        self.has_written.store(true, Ordering::SeqCst);
    }

    /// Returns the first machine.
    pub fn first(&self) -> Option<Machine> {
        lock(&self.met).first().cloned()
    }

    /// Sets the first machine, where all agents must be on one. Returns false if another one was
    /// met.
    pub fn begin_with(&self, machine: Machine) -> bool {
        let mut met = lock(&self.met);
        let is_it = !self.is_one || met.iter().all(|known| known.name == machine.name);
        if self.is_one {
            *met = vec![machine];
        }
        is_it
    }

    /// Returns why the job cannot go on: a machine has lost what it had not yet written to storage.
    pub fn loss(&self) -> Option<&MachineFault> {
        self.lost.get()
    }

    /// Verifies that the agent of a new connection runs on a machine that may serve this host.
    ///
    /// # Errors
    /// Fails for a name of several machines, which may have different file systems at one path
    /// and number devices differently, and for a machine that has restarted after something was
    /// written.
    pub fn admit(&self, machine: Machine) -> Result<(), MachineFault> {
        let mut met = lock(&self.met);
        let Some(known) = met.iter_mut().find(|known| known.name == machine.name) else {
            if let Some(first) = met.first().filter(|_| self.is_one) {
                let [first, other] = [first, &machine].map(|it| it.name.clone());
                return Err(MachineFault::Several { first, other });
            }
            met.push(machine);
            return Ok(());
        };
        if known.boot != machine.boot && self.has_written.load(Ordering::SeqCst) {
            return Err(self.lost.get_or_init(|| MachineFault::Restarted(machine.name)).clone());
        }
        *known = machine;
        Ok(())
    }
}

/// Reason why a machine may not serve a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MachineFault {
    /// The name of the host is that of several machines.
    #[error(
        "this name leads to several machines ({0}, {1}); name those that share the file system, \
         as in USER@{0},USER@{1}:PATH",
        escaped(first),
        escaped(other)
    )]
    Several {
        /// Machine that was met first.
        first: Vec<u8>,
        /// Machine that was met later.
        other: Vec<u8>,
    },
    /// The machine has restarted after something was written.
    #[error(
        "{} has restarted, and may have lost files that this job wrote; repeat the command, and \
         compare the content (dcmp, dsync -c)",
        escaped(.0)
    )]
    Restarted(Vec<u8>),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(name: &str, boot: &str) -> Machine {
        Machine { name: name.into(), boot: boot.into() }
    }

    #[test]
    fn a_restart_matters_once_something_was_written() {
        let machines = Machines::new(true, Some(machine("a", "1")));
        machines.admit(machine("a", "2")).unwrap();
        machines.note_write();
        machines.admit(machine("a", "2")).unwrap();
        assert!(machines.loss().is_none());
        let why = machines.admit(machine("a", "3")).unwrap_err();
        assert!(why.to_string().starts_with("a has restarted"), "{why}");
        // Nothing that is done later brings it back.
        assert_eq!(machines.loss(), Some(&why));
        machines.admit(machine("a", "2")).unwrap();
        assert!(machines.loss().is_some());
    }

    #[test]
    fn a_machine_that_another_rank_has_reached_is_the_first() {
        let machines = Machines::new(true, None);
        assert!(machines.begin_with(machine("a", "1")));
        machines.admit(machine("a", "1")).unwrap();
        assert!(machines.begin_with(machine("a", "1")));
        assert!(machines.admit(machine("b", "1")).is_err());
        let machines = Machines::new(true, None);
        machines.admit(machine("b", "1")).unwrap();
        assert!(!machines.begin_with(machine("a", "1")), "connections to the other one are in use");
        assert!(machines.admit(machine("b", "1")).is_err());
    }

    #[test]
    fn one_name_is_one_machine_and_several_names_are_any_number() {
        let machines = Machines::new(true, None);
        machines.admit(machine("a", "1")).unwrap();
        let why = machines.admit(machine("b", "1")).unwrap_err();
        assert!(why.to_string().contains("USER@a,USER@b:PATH"), "{why}");
        machines.admit(machine("a", "1")).unwrap();
        let machines = Machines::new(false, None);
        for name in ["a", "b", "c"] {
            machines.admit(machine(name, "1")).unwrap();
        }
    }
}
