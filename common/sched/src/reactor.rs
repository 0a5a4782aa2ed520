//! The protocol between ranks as a pure state machine: messages and local state in, messages out.
//!
//! No clock, no thread, no MPI: the simulator runs thousands of these under any order of messages.

use std::time::Duration;

use super::counters::Counters;
use super::message::{Message, Parcel};
use super::termination::{Termination, Traffic};
use super::thief::Thief;
use comm::Rank;
use comm::collective::children;

/// A rank's own tasks, as the protocol sees them.
pub trait LocalWork {
    /// Threads have nothing to do.
    fn has_idle_threads(&self) -> bool;

    /// Tasks that are queued.
    fn queued(&self) -> u32;

    /// Nothing is queued, nothing runs, nothing is held open.
    fn is_passive(&self) -> bool;

    /// Letters and notices posted so far, sent or still on their way out.
    fn posted(&self) -> u64;

    /// Takes up to `tasks` of the queued tasks out, the oldest first, bounded in bytes.
    fn give(&mut self, tasks: u32) -> Parcel;

    /// Others have nothing to do, nor is anything queued here: more should be queued soon.
    fn divide(&mut self);

    /// Queues tasks from another rank.
    fn take(&mut self, parcel: Parcel);

    /// A letter for the operation has arrived.
    fn letter(&mut self, from: Rank, letter: Vec<u8>);

    /// A notice for rank 0 has arrived.
    fn notice(&mut self, from: Rank, notice: Vec<u8>);

    /// A rank says how far it is.
    fn progress(&mut self, from: Rank, snapshot: Vec<u8>);

    /// From now on tasks are given up instead of run.
    fn stop(&mut self);

    /// A local thread wants the whole job stopped.
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
    /// Rank `rank` of `size`; the seed makes the choice of victims repeatable.
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

    /// All work of the job is done; nothing that matters is under way.
    pub fn is_done(&self) -> bool {
        self.termination.is_done()
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        Counters { waves: self.termination.waves(), ..self.counters }
    }

    /// When this rank would next ask for work; `None` while it has enough or awaits an answer.
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
        message: Message,
        work: &mut impl LocalWork,
        out: &mut Vec<(Rank, Message)>,
    ) {
        match message {
            Message::Ask { queued } => self.answer(from, queued, work, out),
            Message::Give(parcel) => self.receive(now, parcel, work),
            Message::Wave(wave) => self.termination.on_wave(wave, out),
            Message::Report { wave, sent, received } => {
                self.termination.on_report(wave, Traffic { sent, received });
            }
            Message::Done => self.termination.on_done(out),
            Message::Stop => self.stop(work, out),
            Message::Letter(letter) => {
                self.received += 1;
                work.letter(from, letter);
            }
            Message::Notice(notice) => {
                self.received += 1;
                work.notice(from, notice);
            }
            Message::Progress(snapshot) => work.progress(from, snapshot),
        }
    }

    /// Does what is due without a message: asks for work, joins a termination wave, passes on a stop.
    pub fn step(
        &mut self,
        now: Duration,
        work: &mut impl LocalWork,
        out: &mut Vec<(Rank, Message)>,
    ) {
        if work.wants_stop() && self.stop == StopState::Running {
            self.ask_to_stop(work, out);
        }
        if self.is_hungry(work)
            && let Some(victim) = self.thief.victim(now)
        {
            self.counters.steals_asked += 1;
            out.push((victim, Message::Ask { queued: work.queued() }));
        }
        // Passive first, posted second: a passive rank posts nothing more.
        if work.is_passive() {
            let sent = self.counters.steals_given + work.posted();
            let own = Traffic { sent, received: self.received };
            self.termination.while_passive(now, own, out);
        }
    }

    /// Shares evenly: half of what this rank has more than the thief.
    fn answer(
        &mut self,
        thief: Rank,
        thief_queued: u32,
        work: &mut impl LocalWork,
        out: &mut Vec<(Rank, Message)>,
    ) {
        let share = work.queued().saturating_sub(thief_queued).div_ceil(2);
        if share == 0 && thief_queued == 0 {
            work.divide();
        }
        let parcel = if share == 0 { Parcel::default() } else { work.give(share) };
        if parcel.count > 0 {
            self.counters.steals_given += 1;
            self.counters.tasks_given += u64::from(parcel.count);
            self.counters.steal_bytes += parcel.bytes.len() as u64;
        }
        out.push((thief, Message::Give(parcel)));
    }

    fn receive(&mut self, now: Duration, parcel: Parcel, work: &mut impl LocalWork) {
        self.thief.answered(now, parcel.count);
        if parcel.count > 0 {
            self.received += 1;
            self.counters.steals_won += 1;
            self.counters.tasks_stolen += u64::from(parcel.count);
            self.counters.steal_bytes += parcel.bytes.len() as u64;
            work.take(parcel);
        }
    }

    fn ask_to_stop(&mut self, work: &mut impl LocalWork, out: &mut Vec<(Rank, Message)>) {
        if self.rank == Rank::ROOT {
            self.stop(work, out);
        } else {
            self.stop = StopState::Asked;
            out.push((Rank::ROOT, Message::Stop));
        }
    }

    /// Rank 0 has decided, or the word comes from above: stops, and tells the ranks below.
    fn stop(&mut self, work: &mut impl LocalWork, out: &mut Vec<(Rank, Message)>) {
        if self.stop != StopState::Stopped {
            self.stop = StopState::Stopped;
            work.stop();
            out.extend(children(self.rank, self.size).map(|child| (child, Message::Stop)));
        }
    }
}
