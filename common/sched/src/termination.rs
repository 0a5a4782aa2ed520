//! Termination detection: Mattern's four counters ("Algorithms for distributed termination
//! detection", Distributed Computing 2, 1987), gathered by waves along a tree.
//!
//! A rank joins a wave only while it is passive (nothing queued, nothing running, nothing held) and
//! adds how many work-carrying messages it has ever sent and received. When two waves in a row
//! agree and everything sent was received, no message can be in progress. Messages may overtake
//! each other.

use std::time::Duration;

use super::frame::Frame;
use comm::Rank;
use comm::collective::{children, parent};
use types::limits;

/// Numbers of work-carrying messages ever sent and received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Traffic {
    pub sent: u64,
    pub received: u64,
}

/// One rank's part in the waves.
#[derive(Debug)]
pub(super) struct Termination {
    rank: Rank,
    size: u32,
    wave: u64,
    joining: Option<Joining>,
    /// Sums of the previous wave, on rank 0 only.
    previous: Option<Traffic>,
    next_wave_at: Duration,
    done: bool,
}

/// A wave that this rank has received and not reported yet.
#[derive(Debug)]
struct Joining {
    awaited: usize,
    below: Traffic,
}

impl Termination {
    pub fn new(rank: Rank, size: u32) -> Self {
        Self {
            rank,
            size,
            wave: 0,
            joining: None,
            previous: None,
            next_wave_at: Duration::ZERO,
            done: false,
        }
    }

    pub fn is_done(&self) -> bool {
        self.done
    }

    pub fn waves(&self) -> u64 {
        self.wave
    }

    pub fn on_wave(&mut self, wave: u64, out: &mut Vec<(Rank, Frame)>) {
        self.wave = wave;
        let below: Vec<Rank> = children(self.rank, self.size).collect();
        self.joining = Some(Joining { awaited: below.len(), below: Traffic::default() });
        out.extend(below.into_iter().map(|child| (child, Frame::Wave(wave))));
    }

    pub fn on_report(&mut self, wave: u64, traffic: Traffic) {
        // A report of an earlier wave has counts from before this one began, and proves nothing.
        let Some(joining) = self.joining.as_mut().filter(|_| wave == self.wave) else { return };
        // What other ranks send must not bring this one down: a report too many is not an
        // underflow.
        joining.awaited = joining.awaited.saturating_sub(1);
        joining.below.sent += traffic.sent;
        joining.below.received += traffic.received;
    }

    pub fn on_done(&mut self, out: &mut Vec<(Rank, Frame)>) {
        self.done = true;
        out.extend(children(self.rank, self.size).map(|child| (child, Frame::Done)));
    }

    /// Starts a wave (rank 0), or reports to the parent. Must be called while this rank is passive.
    pub fn while_passive(&mut self, now: Duration, own: Traffic, out: &mut Vec<(Rank, Frame)>) {
        if self.rank == Rank::ROOT && self.joining.is_none() && now >= self.next_wave_at {
            self.on_wave(self.wave + 1, out);
        }
        // The own counts are read only now, when all ranks below have reported and this one is
        // passive, so each wave has one count of each rank.
        let Some(joining) = self.joining.take_if(|joining| joining.awaited == 0) else { return };
        let sums = Traffic {
            sent: joining.below.sent + own.sent,
            received: joining.below.received + own.received,
        };
        match parent(self.rank) {
            Some(parent) => {
                let Traffic { sent, received } = sums;
                out.push((parent, Frame::Report { wave: self.wave, sent, received }));
            }
            None => self.conclude(now, sums, out),
        }
    }

    fn conclude(&mut self, now: Duration, sums: Traffic, out: &mut Vec<(Rank, Frame)>) {
        // One wave is not enough: its ranks are counted at different times, so that a message sent
        // after its sender was counted and another one received before its receiver was may cancel
        // out. Counts only grow, so if the sums of two waves are equal, no rank sent or received
        // anything between its two counts, and between the waves all counts held at the same time.
        if sums.sent == sums.received && self.previous == Some(sums) {
            self.on_done(out);
        }
        self.previous = Some(sums);
        // A lone rank has nobody to disturb; others get no waves in quick succession.
        let pause = if self.size > 1 { limits::WAVE_PAUSE } else { Duration::ZERO };
        self.next_wave_at = now + pause;
    }
}
