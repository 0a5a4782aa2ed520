//! Numbers that occur more than once among those of all ranks, found in bounded memory: the numbers
//! are read several times, each time those of another range.

use std::collections::BTreeSet;

use super::numbers;
use comm::collective::{broadcast, gather};
use comm::mailbox::Mailbox;

/// Finds the numbers that occur more than once among those of all ranks, in ascending order. Each
/// rank keeps at most `limit` numbers, besides those that it finds. All ranks call it.
pub fn find<I: Iterator<Item = u64>>(
    numbers: impl Fn() -> I,
    limit: usize,
    mail: &mut Mailbox<'_>,
) -> Vec<u64> {
    let mut found = BTreeSet::new();
    let mut first = 0;
    loop {
        let part = Part::read(numbers(), first, limit);
        let lasts = gather(mail, &part.last);
        let last = broadcast(mail, lasts.map(|lasts| lasts.into_iter().min().unwrap_or(0)));
        found.extend(part.twice.into_iter().filter(|it| *it <= last));
        let own = &part.sorted[..part.sorted.partition_point(|it| *it <= last)];
        let mut of_all = numbers::exchange(own, (first, last), mail);
        of_all.sort_unstable();
        found.extend(of_all.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]));
        let Some(next) = last.checked_add(1) else { break };
        first = next;
    }
    let all = gather(mail, &found);
    broadcast(mail, all.map(|all| all.into_iter().flatten().collect::<BTreeSet<_>>()))
        .into_iter()
        .collect()
}

/// The numbers of one rank in a range.
struct Part {
    /// Each number once, in ascending order.
    sorted: Vec<u64>,
    /// Numbers that occurred more than once.
    twice: BTreeSet<u64>,
    /// End of the range, which is as wide as memory allows.
    last: u64,
    limit: usize,
}

impl Part {
    fn read(numbers: impl Iterator<Item = u64>, first: u64, limit: usize) -> Self {
        let (sorted, twice) = (Vec::new(), BTreeSet::new());
        let mut part = Self { sorted, twice, last: u64::MAX, limit: limit.max(2) };
        for number in numbers {
            if (first..=part.last).contains(&number) {
                part.sorted.push(number);
                if part.sorted.len() >= part.limit {
                    part.sort();
                    part.narrow();
                }
            }
        }
        part.sort();
        part
    }

    fn sort(&mut self) {
        self.sorted.sort_unstable();
        let pairs = self.sorted.windows(2).filter(|pair| pair[0] == pair[1]);
        self.twice.extend(pairs.map(|pair| pair[0]));
        self.sorted.dedup();
    }

    /// Leaves the larger half to another round.
    fn narrow(&mut self) {
        let half = self.limit / 2;
        if self.sorted.len() > half {
            self.sorted.truncate(half);
            self.last = self.sorted[half - 1];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use comm::threads;

    #[test]
    fn all_that_occur_twice_are_found_whatever_the_memory() {
        for (ranks, limit) in [(1, 1 << 20), (1, 2), (1, 100), (3, 1 << 20), (3, 64), (5, 3)] {
            let of_rank = |rank: u32| {
                let mut random = fastrand::Rng::with_seed(7 + u64::from(rank));
                let count = if rank == 1 { 0 } else { 300 };
                let mut numbers: Vec<u64> = (0..count).map(|_| random.u64(..)).collect();
                // Often the same one, once on each rank, at both ends, and close to each other.
                numbers.extend([5; 200]);
                numbers.extend([1 << 63, u64::from(rank)]);
                numbers.extend([0, u64::MAX].iter().filter(|_| rank != 2));
                numbers
            };
            let mut all: Vec<u64> = (0..ranks).flat_map(of_rank).collect();
            all.sort_unstable();
            let pairs = all.windows(2).filter(|pair| pair[0] == pair[1]);
            let expected: BTreeSet<u64> = pairs.map(|pair| pair[0]).collect();
            let found = threads::run(ranks, |comm| {
                let mail = &mut Mailbox::new(comm);
                let own = of_rank(mail.comm().rank().0);
                find(|| own.iter().copied(), limit, mail)
            });
            for found in found {
                assert!(found.iter().eq(&expected), "{ranks} {limit}");
            }
        }
    }

    #[test]
    fn a_part_has_no_more_than_its_limit() {
        let numbers = (0..100_000_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let part = Part::read(numbers.clone(), 0, 1000);
        assert!((500..1000).contains(&part.sorted.len()), "{}", part.sorted.len());
        let next = Part::read(numbers.clone(), part.last + 1, 1000);
        let below = numbers.filter(|it| *it <= next.last).count();
        assert_eq!(part.sorted.len() + next.sorted.len(), below);
    }
}
