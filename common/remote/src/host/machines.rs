//! The machines behind the names of a host: whether one has restarted, and whether one name is that
//! of several.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};

use crate::exchange::lock;
use crate::protocol::Machine;

/// The machines on which agents were met.
pub(super) struct Machines {
    /// True if all agents must be on one machine.
    is_one: bool,
    met: Mutex<Vec<Machine>>,
    /// True once something was written there.
    has_written: AtomicBool,
    /// Reason for which what was written may be lost.
    lost: OnceLock<String>,
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

    /// Returns why the job cannot go on: a machine has lost what it had not yet written to storage.
    pub fn loss(&self) -> Option<&String> {
        self.lost.get()
    }

    /// Verifies that the agent of a new connection runs on a machine that may serve this host.
    ///
    /// # Errors
    /// One line for a name of several machines, which may have different file systems at one path
    /// and number devices differently, and for a machine that has restarted after something was
    /// written.
    pub fn admit(&self, machine: Machine) -> Result<(), String> {
        let mut met = lock(&self.met);
        let Some(known) = met.iter_mut().find(|known| known.name == machine.name) else {
            if let Some(first) = met.first().filter(|_| self.is_one) {
                return Err(several(first, &machine));
            }
            met.push(machine);
            return Ok(());
        };
        if known.boot != machine.boot && self.has_written.load(Ordering::SeqCst) {
            return Err(self.lost.get_or_init(|| restarted(&machine)).clone());
        }
        *known = machine;
        Ok(())
    }
}

fn several(first: &Machine, other: &Machine) -> String {
    let [first, other] = [first, other].map(|machine| types::path::escaped(&machine.name));
    format!(
        "this name leads to several machines ({first}, {other}); name those that share the file \
         system, as in USER@{first},USER@{other}:PATH"
    )
}

fn restarted(machine: &Machine) -> String {
    let name = types::path::escaped(&machine.name);
    format!(
        "{name} has restarted, and may have lost files that this job wrote; repeat the command, \
         and compare the content (dcmp, dsync -c)"
    )
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
        assert!(why.starts_with("a has restarted"), "{why}");
        // Nothing that is done later brings it back.
        assert_eq!(machines.loss(), Some(&why));
        machines.admit(machine("a", "2")).unwrap();
        assert!(machines.loss().is_some());
    }

    #[test]
    fn one_name_is_one_machine_and_several_names_are_any_number() {
        let machines = Machines::new(true, None);
        machines.admit(machine("a", "1")).unwrap();
        let why = machines.admit(machine("b", "1")).unwrap_err();
        assert!(why.contains("USER@a,USER@b:PATH"), "{why}");
        machines.admit(machine("a", "1")).unwrap();
        let machines = Machines::new(false, None);
        for name in ["a", "b", "c"] {
            machines.admit(machine(name, "1")).unwrap();
        }
    }
}
