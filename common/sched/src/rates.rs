//! The division of limited rates among the ranks: each tells rank 0 what it did, and gets its
//! share.

use std::time::Duration;

use super::frame::Frame;
use comm::Rank;
use host::throttle::{Share, Throttle};
use types::limits::{rate_demand_kept, rate_interval};
use types::rate::{Balance, Demand, KINDS, Rates, shares};

/// The part of one rank in that.
pub struct RateSharing {
    rank: Rank,
    ranks: u32,
    told_at: Option<Duration>,
    /// Demands of all ranks, on rank 0, each with its age.
    demands: Vec<([Demand; KINDS], Duration)>,
    balances: [Balance; KINDS],
}

impl RateSharing {
    /// Begins for that many ranks.
    pub fn new(rank: Rank, ranks: u32) -> Self {
        let known = if rank == Rank::ROOT { ranks as usize } else { 0 };
        let demands = vec![Default::default(); known];
        Self { rank, ranks, told_at: None, demands, balances: Default::default() }
    }

    /// Tells what this rank did, and on rank 0 what each may do, where that is due.
    pub fn step(&mut self, throttle: &Throttle, now: Duration, out: &mut Vec<(Rank, Frame)>) {
        let after = now.saturating_sub(self.told_at.unwrap_or(now));
        if self.told_at.is_some() && after < rate_interval(self.ranks) {
            return;
        }
        self.told_at = Some(now);
        let demand = throttle.demand(now);
        if self.rank != Rank::ROOT {
            return out.push((Rank::ROOT, Frame::Demand(demand)));
        }
        self.hear(self.rank, demand);
        let mut shares = self.divide(&throttle.rates(), after).into_iter();
        if let Some(own) = shares.next() {
            throttle.set(own, now);
        }
        out.extend((1..).map(Rank).zip(shares.map(Frame::Share)));
    }

    /// Remembers what a rank did.
    pub fn hear(&mut self, from: Rank, demand: [Demand; KINDS]) {
        for (balance, demand) in self.balances.iter_mut().zip(&demand) {
            balance.count(demand.amount);
        }
        if let Some(known) = self.demands.get_mut(from.index()) {
            *known = (demand, Duration::ZERO);
        }
    }

    /// Lets the demands of ranks expire that have told nothing for long: one that is frozen, or
    /// whose node is overloaded, leaves its share to the others until it tells again.
    fn grow_old(&mut self, after: Duration) {
        for (demand, age) in &mut self.demands {
            *age += after;
            if *age > rate_demand_kept(self.ranks) {
                *demand = Default::default();
            }
        }
    }

    /// Divides the limits of the job, after some time with them.
    fn divide(&mut self, rates: &Rates, after: Duration) -> Vec<Share> {
        self.grow_old(after);
        let mut all = vec![([None; KINDS], rates.is_paused); self.demands.len()];
        for (kind, limit) in rates.per_second.iter().enumerate() {
            let Some(limit) = limit else { continue };
            let demands: Vec<Demand> =
                self.demands.iter().map(|(demand, _)| demand[kind]).collect();
            let waited = !rates.is_paused && demands.iter().any(|demand| demand.waited);
            let rate = self.balances[kind].rate(*limit as f64, after, waited);
            for (share, part) in all.iter_mut().zip(shares(rate, &demands)) {
                share.0[kind] = Some(part);
            }
        }
        all
    }
}
