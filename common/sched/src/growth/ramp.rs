//! The first seconds: threads are doubled, or more, while throughput grows with them.

use std::time::Duration;

use host::process::Usage;
use types::limits;

use super::sample::{Mark, Sample};
use super::{Advice, Moment, PoolState, Site, is_limited_otherwise};

/// State of the ramp.
#[derive(Debug, Default)]
pub(super) struct Ramp {
    mark: Option<Mark>,
    /// Measurement with fewer threads.
    before: Option<Sample>,
    /// Shortest latency of those that are not quite by chance.
    latency_least: Option<f64>,
}

/// Next step of a rank.
#[derive(Debug)]
pub(super) enum Step {
    Advice(Advice),
    /// The knee is found: threads, and the latency with them.
    Settle(Knee),
}

/// Number of threads at which the ramp ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Knee {
    pub threads: u32,
    /// Seconds that an operation waits with these threads.
    pub latency: f64,
}

impl Ramp {
    /// Observes the threads, until each of them has waited once: a round trip.
    pub fn advise(&mut self, moment: Moment<'_, impl FnOnce() -> Usage>) -> Step {
        let Moment { site, now, state, usage } = moment;
        if is_limited_otherwise(state) {
            self.mark = None;
            return Step::Advice(Advice::Keep);
        }
        let usage = usage();
        let Some(mark) = self.mark else {
            return self.observe_anew(now, usage, Advice::Keep);
        };
        let window = mark.until(now, usage);
        // CPU time is exact for threads that have waited meanwhile; for others it takes some ticks.
        let waits_min = u64::from(state.threads).max(if site.is_one_of_many() {
            limits::GROWTH_WAITS_MIN
        } else {
            1
        });
        let is_exact = window.wall >= limits::GROWTH_WINDOW_MIN && window.waits >= waits_min;
        if !is_exact && window.wall < limits::GROWTH_WINDOW_MAX {
            return Step::Advice(Advice::Keep);
        }
        if site.is_computing(&window, state.threads) {
            let fed = site.fed_by_cpu();
            let advice = if state.threads < fed { Advice::Use(fed) } else { Advice::Keep };
            self.before = None;
            return self.observe_anew(now, usage, advice);
        }
        if !is_exact {
            return Step::Advice(Advice::Keep);
        }
        self.judge(site, (now, usage), state, Sample::new(state.threads, &window))
    }

    fn observe_anew(&mut self, now: Duration, usage: Usage, advice: Advice) -> Step {
        self.mark = Some(Mark::new(now, usage));
        Step::Advice(advice)
    }

    /// Compares with the measurement before, and takes the next step.
    fn judge(
        &mut self,
        site: &Site,
        (now, usage): (Duration, Usage),
        state: PoolState,
        sample: Sample,
    ) -> Step {
        let mut factor = 2;
        if let Some(before) = self.before {
            let crowding = sample.crowding(&before);
            // Ranks do not double at the same moment, so each sees part of what all do.
            let is_one_of_many = site.is_one_of_many();
            let crowding_max = if is_one_of_many {
                limits::GROWTH_CROWDING_NONE
            } else {
                limits::GROWTH_CROWDING_MAX
            };
            let excess = crowding - crowding_max;
            let is_told = before.waits >= limits::GROWTH_WAITS_MIN;
            let is_certain =
                excess > error(&sample, &before) || sample.waits >= limits::GROWTH_WAITS_CLEAR;
            if is_told && excess > 0.0 && is_certain {
                return Step::Settle(self.knee(&before, &sample));
            }
            // A few operations prove that nothing queues if they say so, but not the contrary.
            let is_clear = crowding < limits::GROWTH_CROWDING_NONE;
            if is_told && !is_clear && sample.waits < limits::GROWTH_WAITS_CLEAR {
                return Step::Advice(Advice::Keep);
            }
            if is_clear && !is_one_of_many {
                factor = 4;
            }
        }
        if sample.waits >= limits::GROWTH_WAITS_MIN / 2 {
            self.latency_least =
                Some(self.latency_least.map_or(sample.latency, |least| least.min(sample.latency)));
        }
        if state.threads >= site.threads.max() {
            return Step::Settle(Knee { threads: state.threads, latency: sample.latency });
        }
        if state.queued == 0 {
            return self.observe_anew(now, usage, Advice::Divide);
        }
        let threads = (state.threads * factor).min(site.threads.max());
        let threads = threads.min(state.threads + state.queued);
        self.before = Some(sample);
        let begun = u64::from(threads - state.threads);
        self.mark = Some(Mark { begun, ..Mark::new(now, usage) });
        Step::Advice(Advice::Use(threads))
    }

    /// Returns the knee below a sample with crowding: the operations that the storage takes in the
    /// least latency, as TCP's BBR has its bandwidth-delay product.
    fn knee(&self, before: &Sample, crowded: &Sample) -> Knee {
        let least = self.latency_least.map_or(before.latency, |least| least.min(before.latency));
        let threads = ((crowded.rate * least).round() as u32).clamp(1, crowded.threads);
        Knee { threads, latency: least.max(f64::from(threads) / crowded.rate) }
    }
}

/// Returns the error of the crowding between two samples.
fn error(sample: &Sample, before: &Sample) -> f64 {
    let threads = f64::from(sample.threads) / f64::from(before.threads);
    sample.error(before) / threads.ln()
}
