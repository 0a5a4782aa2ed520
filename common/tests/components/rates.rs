//! Tests of limited rates under a virtual clock: ranks that begin, idle, steal and end share a
//! limit over a network that delays their messages.

use std::time::Duration;

use comm::sim::{SimComm, SimNetwork};
use comm::{Comm, Rank};
use host::throttle::Throttle;
use sched::frame::Frame;
use sched::rates::RateSharing;
use types::rate::{Rates, Work};

const RANKS: u32 = 4;
const THREADS: usize = 3;
const TICK: Duration = Duration::from_millis(1);
const MIB: f64 = 1_048_576.0;
/// Ticks in two seconds.
const WINDOW: usize = 2000;

fn limited(text: &str) -> Rates {
    Rates::default().controlled(text).unwrap()
}

/// A thread that copies: it reads a block, writes it, and needs some time for that.
#[derive(Clone, Copy, Default)]
struct Thread {
    read: Option<u64>,
    busy_until: Duration,
}

struct SimRank {
    throttle: Throttle,
    sharing: RateSharing,
    comm: SimComm,
    threads: [Thread; THREADS],
}

impl SimRank {
    /// Does the work of the engine's main thread in one turn.
    fn turn(&mut self, now: Duration) {
        while let Some((from, bytes)) = self.comm.try_recv() {
            match Frame::decode(&bytes).unwrap() {
                Frame::Demand(demand) => self.sharing.hear(from, demand),
                Frame::Share(share) => self.throttle.set(share, now),
                other => panic!("{other:?}"),
            }
        }
        let mut out = Vec::new();
        self.sharing.step(&self.throttle, now, &mut out);
        for (to, frame) in out {
            self.comm.send(to, frame.encode());
        }
    }

    /// Lets the threads copy; returns the bytes that they wrote, and their operations.
    fn copy(&mut self, now: Duration, block_takes: Duration) -> (u64, u64) {
        let (mut written, mut operations) = (0, 0);
        for thread in &mut self.threads {
            while thread.busy_until <= now {
                if self.throttle.try_take(Work::Operations, 1, now).is_err() {
                    break;
                }
                operations += 1;
                let Some(bytes) = thread.read.take() else {
                    if self.throttle.try_take(Work::Read, 0, now).is_err() {
                        break;
                    }
                    let bytes = self.throttle.block_bytes().unwrap_or(1 << 20) as u64;
                    self.throttle.add(Work::Read, bytes);
                    thread.read = Some(bytes);
                    continue;
                };
                if self.throttle.try_take(Work::Written, bytes, now).is_err() {
                    thread.read = Some(bytes);
                    break;
                }
                written += bytes;
                thread.busy_until = now + block_takes;
            }
        }
        (written, operations)
    }
}

/// A job of ranks that share limits. Returns the bytes written, and the operations, in each tick.
fn simulate(
    seconds: u64,
    rates: impl Fn(Duration) -> Rates,
    block_takes: impl Fn(u32, Duration) -> Option<Duration>,
) -> Vec<(u64, u64)> {
    simulate_frozen(seconds, rates, block_takes, |_, _| false)
}

/// Simulates a job of ranks that are stopped at times: they neither work nor read messages then.
fn simulate_frozen(
    seconds: u64,
    rates: impl Fn(Duration) -> Rates,
    block_takes: impl Fn(u32, Duration) -> Option<Duration>,
    is_frozen: impl Fn(u32, Duration) -> bool,
) -> Vec<(u64, u64)> {
    let network = SimNetwork::new(RANKS, 7, Duration::from_millis(3));
    let new = |rank| {
        let throttle = Throttle::new();
        throttle.begin(rates(Duration::ZERO), RANKS, Duration::ZERO);
        let sharing = RateSharing::new(Rank(rank), RANKS);
        let comm = network.comm(Rank(rank));
        SimRank { throttle, sharing, comm, threads: Default::default() }
    };
    let mut ranks: Vec<_> = (0..RANKS).map(new).collect();
    let mut ticks = Vec::new();
    let mut now = Duration::ZERO;
    while now < Duration::from_secs(seconds) {
        network.advance(now);
        ranks[0].throttle.limit(rates(now));
        let mut tick = (0, 0);
        for (number, rank) in (0..).zip(&mut ranks) {
            if is_frozen(number, now) {
                continue;
            }
            rank.turn(now);
            if let Some(takes) = block_takes(number, now) {
                let (written, operations) = rank.copy(now, takes);
                tick = (tick.0 + written, tick.1 + operations);
            }
        }
        ticks.push(tick);
        now += TICK;
    }
    ticks
}

/// Asserts that each two seconds in a part of a job have that much, within 5 %.
fn assert_rate(of_ticks: &[f64], per_second: f64, context: &str) {
    assert!(of_ticks.len() >= WINDOW, "{context}");
    for (at, window) in of_ticks.windows(WINDOW).enumerate().step_by(50) {
        let part = window.iter().sum::<f64>() / (2.0 * per_second);
        assert!((0.95..=1.05).contains(&part), "{context}, at {at} ms: {part}");
    }
}

fn bytes_of(ticks: &[(u64, u64)]) -> Vec<f64> {
    ticks.iter().map(|(bytes, _)| *bytes as f64).collect()
}

const FAST: Option<Duration> = Some(Duration::ZERO);

#[test]
fn a_bandwidth_holds_while_ranks_begin_idle_steal_and_end() {
    type Work = fn(u32, Duration) -> Option<Duration>;
    let jobs: [(&str, Work); 5] = [
        ("all work", |_, _| FAST),
        ("one has all the work", |rank, _| FAST.filter(|_| rank == 2)),
        ("work is stolen every 0.7 s", |rank, now| {
            FAST.filter(|_| rank == 0 || now.as_millis() / 700 % 4 == u128::from(rank))
        }),
        ("one after another ends", |rank, now| FAST.filter(|_| now.as_secs() / 3 <= rank.into())),
        ("two are slow", |rank, _| Some(Duration::from_millis(if rank < 2 { 120 } else { 0 }))),
    ];
    for (name, work) in jobs {
        for rate in ["50M", "2M"] {
            let limits = limited(&format!("bwlimit={rate}"));
            let per_second = limits.per_second[0].unwrap() as f64;
            let ticks = simulate(10, |_| limits, work);
            assert_rate(&bytes_of(&ticks), per_second, &format!("{name}, {rate}"));
        }
    }
}

#[test]
fn a_frozen_rank_leaves_its_share_to_the_others_and_gets_it_back() {
    let limits = limited("bwlimit=50M");
    let is_frozen = |rank, now: Duration| rank > 1 && (4..10).contains(&now.as_secs());
    for takes in [0, 10] {
        let takes = Duration::from_millis(takes);
        let ticks = simulate_frozen(16, |_| limits, |_, _| Some(takes), is_frozen);
        let bytes = bytes_of(&ticks);
        for (from, to, what) in [(0, 4000, "all"), (5000, 10_000, "two"), (10_000, 16_000, "again")]
        {
            assert_rate(&bytes[from..to], 50.0 * MIB, &format!("{what}, {takes:?} a block"));
        }
    }
}

#[test]
fn operations_are_limited_for_all_ranks_together() {
    let limits = limited("iops-limit=1000");
    let ticks = simulate(10, |_| limits, |rank, now| FAST.filter(|_| now.as_secs() >= rank.into()));
    let operations: Vec<_> = ticks.iter().map(|(_, operations)| *operations as f64).collect();
    assert_rate(&operations, 1000.0, "operations");
}

#[test]
fn a_changed_limit_holds_a_moment_later() {
    let (before, after) = (limited("bwlimit=50M"), limited("bwlimit=20M"));
    let change = |now: Duration| if now.as_secs() < 8 { before } else { after };
    let bytes = bytes_of(&simulate(16, change, |rank, _| FAST.filter(|_| rank != 1)));
    assert_rate(&bytes[..8000], 50.0 * MIB, "before");
    assert_rate(&bytes[8100..], 20.0 * MIB, "after");
}

#[test]
fn a_limit_may_be_set_and_lifted() {
    let (none, some) = (limited(""), limited("bwlimit=10M"));
    let change = |now: Duration| if (4..8).contains(&now.as_secs()) { some } else { none };
    let slow = |_, _| Some(Duration::from_millis(10));
    let bytes = bytes_of(&simulate(12, change, slow));
    assert_rate(&bytes[4100..8000], 10.0 * MIB, "limited");
    let free: f64 = bytes[8100..10_100].iter().sum();
    assert!(free > 1000.0 * MIB, "{free}");
}

#[test]
fn nothing_begins_while_paused_and_nothing_is_caught_up_on() {
    let (on, paused) = (limited("bwlimit=50M"), limited("bwlimit=50M\npause"));
    let change = |now: Duration| if (4..8).contains(&now.as_secs()) { paused } else { on };
    let ticks = simulate(14, change, |_, _| FAST);
    assert!(ticks[4100..8000].iter().all(|tick| *tick == (0, 0)));
    assert_rate(&bytes_of(&ticks)[8100..], 50.0 * MIB, "resumed");
}
