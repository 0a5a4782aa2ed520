//! The protocol between ranks as a pure state machine: messages and local state in, messages out.
//!
//! No clock, no thread, no MPI: the simulator runs thousands of these under any order of messages.
//!
//! No task is lost, and none runs twice. A task is in the pool of one rank, or in one message,
//! which MPI delivers once. Between the two only the main thread has it: whoever gives takes it out
//! of the pool, and whoever receives counts the message, in the call in which it is posted or
//! queued. The same thread joins a wave, in another call, so no wave sees a rank that is passive
//! with a task in its hands. `termination.rs` says why messages in progress are not missed.

use std::time::Duration;

use super::counters::Counters;
use super::frame::{Frame, Parcel};
use super::termination::{Termination, Traffic};
use super::thief::Thief;
use comm::Rank;
use comm::collective::children;

/// Tasks of a rank, as the protocol sees them.
pub trait LocalWork {
    /// Returns true where threads are idle.
    fn has_idle_threads(&self) -> bool;

    /// Returns the number of queued tasks.
    fn queued(&self) -> u32;

    /// Returns true where no task is queued or running, and nothing is held open.
    fn is_passive(&self) -> bool;

    /// Returns the number of messages and events posted so far, sent or still on their way out.
    fn posted(&self) -> u64;

    /// Removes up to `tasks` of the queued tasks, the oldest first, up to a number of bytes.
    fn give(&mut self, tasks: u32) -> Parcel;

    /// Removes a task that is offered to ranks that have nothing to do; where there is none, asks
    /// running tasks to offer one.
    fn give_offer(&mut self) -> Parcel {
        Parcel::default()
    }

    /// Asks running tasks to divide, since other ranks are idle and nothing is queued here.
    fn divide(&mut self);

    /// Queues tasks from another rank.
    fn take(&mut self, parcel: Parcel);

    /// Receives a message for the operation.
    fn message(&mut self, from: Rank, message: Vec<u8>);

    /// Receives an event for rank 0.
    fn event(&mut self, from: Rank, event: Vec<u8>);

    /// Receives the progress of a rank.
    fn progress(&mut self, from: Rank, snapshot: Vec<u8>);

    /// Cancels tasks instead of running them from now on.
    fn stop(&mut self);

    /// Returns true where a local thread has requested the stop of the whole job.
    fn wants_stop(&self) -> bool;
}

/// One rank's part in the protocol.
#[derive(Debug)]
pub struct Reactor {
    rank: Rank,
    size: u32,
    thief: Thief,
    termination: Termination,
    received: u64,
    stop: StopState,
    counters: Counters,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StopState {
    Running,
    Asked,
    Stopped,
}

impl Reactor {
    /// Creates the state of rank `rank` of `size`; the seed makes the choice of victims repeatable.
    pub fn new(rank: Rank, size: u32, seed: u64) -> Self {
        Self {
            rank,
            size,
            thief: Thief::new(rank, size, seed),
            termination: Termination::new(rank, size),
            received: 0,
            stop: StopState::Running,
            counters: Counters::default(),
        }
    }

    /// Returns true where all work of the job is done, and no message that matters is in progress.
    pub fn is_done(&self) -> bool {
        self.termination.is_done()
    }

    /// Returns the counters so far.
    pub fn counters(&self) -> Counters {
        Counters { waves: self.termination.waves(), ..self.counters }
    }

    /// Returns when this rank would next ask for work; `None` while it has enough or awaits an
    /// answer.
    pub fn ask_at(&self, work: &impl LocalWork) -> Option<Duration> {
        self.thief.ask_at().filter(|_| self.is_hungry(work))
    }

    fn is_hungry(&self, work: &impl LocalWork) -> bool {
        self.thief.is_hungry(work.queued(), work.has_idle_threads())
    }

    /// Handles one message.
    pub fn on(
        &mut self,
        now: Duration,
        from: Rank,
        frame: Frame,
        work: &mut impl LocalWork,
        out: &mut Vec<(Rank, Frame)>,
    ) {
        // Only messages that carry work or results count as received: requests for work, waves and
        // progress reports may be in progress when the job ends.
        match frame {
            Frame::Ask { queued, is_starved } => {
                self.answer(from, (queued, is_starved), work, out);
            }
            Frame::Give(parcel) => self.receive(now, parcel, work),
            Frame::Wave(wave) => self.termination.on_wave(wave, out),
            Frame::Report { wave, sent, received } => {
                self.termination.on_report(wave, Traffic { sent, received });
            }
            Frame::Done => self.termination.on_done(out),
            Frame::Stop => self.stop(work, out),
            Frame::Message(message) => {
                self.received += 1;
                work.message(from, message);
            }
            Frame::Event(event) => {
                self.received += 1;
                work.event(from, event);
            }
            Frame::Progress(snapshot) => work.progress(from, snapshot),
            // The engine shares rates: they are no part of this protocol.
            Frame::Demand(_) | Frame::Share(_) => {}
        }
    }

    /// Does what is due without a message: asks for work, joins a termination wave, passes on a
    /// stop.
    pub fn step(&mut self, now: Duration, work: &mut impl LocalWork, out: &mut Vec<(Rank, Frame)>) {
        if work.wants_stop() && self.stop == StopState::Running {
            self.ask_to_stop(work, out);
        }
        if self.is_hungry(work)
            && let Some(victim) = self.thief.victim(now)
        {
            self.counters.steal_attempts += 1;
            let is_starved = self.thief.is_starved() && work.is_passive();
            out.push((victim, Frame::Ask { queued: work.queued(), is_starved }));
        }
        // Passive first, posted second: a passive rank posts nothing more.
        if work.is_passive() {
            let sent = self.counters.steals_granted + work.posted();
            let own = Traffic { sent, received: self.received };
            self.termination.while_passive(now, own, out);
        }
    }

    /// Answers a steal request with half of the tasks that this rank has more than the thief. A
    /// part of a directory that should stay on one rank is given only to one that has nothing at
    /// all.
    fn answer(
        &mut self,
        thief: Rank,
        (thief_queued, is_starved): (u32, bool),
        work: &mut impl LocalWork,
        out: &mut Vec<(Rank, Frame)>,
    ) {
        let share = work.queued().saturating_sub(thief_queued).div_ceil(2);
        if share == 0 && thief_queued == 0 {
            work.divide();
        }
        let parcel = match share {
            0 if is_starved => work.give_offer(),
            0 => Parcel::default(),
            share => work.give(share),
        };
        if parcel.count > 0 {
            self.counters.steals_granted += 1;
            self.counters.tasks_granted += u64::from(parcel.count);
            self.counters.steal_bytes += parcel.bytes.len() as u64;
        }
        out.push((thief, Frame::Give(parcel)));
    }

    fn receive(&mut self, now: Duration, parcel: Parcel, work: &mut impl LocalWork) {
        self.thief.answered(now, parcel.count);
        if parcel.count > 0 {
            self.received += 1;
            self.counters.steals_succeeded += 1;
            self.counters.tasks_stolen += u64::from(parcel.count);
            self.counters.steal_bytes += parcel.bytes.len() as u64;
            work.take(parcel);
        }
    }

    fn ask_to_stop(&mut self, work: &mut impl LocalWork, out: &mut Vec<(Rank, Frame)>) {
        if self.rank == Rank::ROOT {
            self.stop(work, out);
        } else {
            self.stop = StopState::Asked;
            out.push((Rank::ROOT, Frame::Stop));
        }
    }

    /// Stops this rank and tells the ranks below, when rank 0 has decided it or the message comes
    /// from above.
    fn stop(&mut self, work: &mut impl LocalWork, out: &mut Vec<(Rank, Frame)>) {
        if self.stop != StopState::Stopped {
            self.stop = StopState::Stopped;
            work.stop();
            out.extend(children(self.rank, self.size).map(|child| (child, Frame::Stop)));
        }
    }
}
