//! A sample sort over all ranks: each rank ends up with one range of the keys, in the order of the
//! ranks.

use serde::{Deserialize, Serialize};

use super::sort_buffer::SortBuffer;
use comm::Rank;
use comm::collective::{broadcast, gather};
use comm::mailbox::{Channel, Mailbox, Nap};
use types::exit::Exit;
use types::limits;

/// A message with entries on their way to the rank of their range.
#[derive(Serialize, Deserialize)]
struct Parcel {
    /// The number of parcels from this sender, sent with the last of them. Parcels may overtake
    /// each other.
    count: Option<u32>,
    #[serde(with = "serde_bytes")]
    block: Vec<u8>,
}

/// Receiver of the blocks of a rank's own range.
pub(super) trait Blocks: Default {
    /// Adds a block that another rank has packed; `None` if it is malformed.
    fn add(&mut self, block: Vec<u8>) -> Option<()>;
}

impl Blocks for SortBuffer {
    fn add(&mut self, block: Vec<u8>) -> Option<()> {
        self.append_block(block)
    }
}

/// A sample: the number of entries that it represents, and the beginning of its key.
type Sample = (u64, Vec<u8>);

/// Sorts the entries of all ranks. Afterwards each rank holds one range, and all entries of rank 0
/// come before those of rank 1.
pub fn sort(mut sort_buffer: SortBuffer, mail: &mut Mailbox<'_>) -> SortBuffer {
    sort_buffer.sort();
    let ranks = mail.comm().size();
    if ranks == 1 {
        return sort_buffer;
    }
    let samples = gather(mail, &samples(&sort_buffer, ranks));
    let cuts = broadcast(mail, samples.map(|samples| cuts(samples.concat(), ranks)));
    let mut sorted = exchange(&sort_buffer, &cuts, mail);
    // Two copies of the entries exist during the exchange only, not while sorting.
    drop(sort_buffer);
    sorted.sort();
    sorted
}

/// Returns samples of this rank's sorted entries, which divide them into stretches of equal length.
fn samples(sort_buffer: &SortBuffer, ranks: u32) -> Vec<Sample> {
    let count = limits::sort_samples(ranks).min(sort_buffer.len());
    let key = |at: usize| {
        let key = sort_buffer.key(at);
        key[..key.len().min(limits::SORT_SAMPLE_KEY_BYTES)].to_vec()
    };
    let weight = |sample: usize| {
        let at = |sample: usize| sample * sort_buffer.len() / count;
        (at(sample + 1) - at(sample)) as u64
    };
    // The key in the middle of each stretch is taken, since it represents the entries on both
    // sides.
    (0..count).map(|n| (weight(n), key((2 * n + 1) * sort_buffer.len() / (2 * count)))).collect()
}

/// Returns the first key of the range of each rank but the first.
fn cuts(mut samples: Vec<Sample>, ranks: u32) -> Vec<Vec<u8>> {
    samples.sort_unstable_by(|(_, a), (_, b)| a.cmp(b));
    let total: u64 = samples.iter().map(|(weight, _)| weight).sum();
    let mut cuts = Vec::new();
    let mut passed = 0;
    for (weight, key) in samples {
        while cuts.len() as u64 + 1 < u64::from(ranks)
            && passed >= total * (cuts.len() as u64 + 1) / u64::from(ranks)
        {
            cuts.push(key.clone());
        }
        passed += weight;
    }
    cuts
}

/// Sends each rank the entries in its range, and receives those in this rank's.
fn exchange(sort_buffer: &SortBuffer, cuts: &[Vec<u8>], mail: &mut Mailbox<'_>) -> SortBuffer {
    let channel = mail.open();
    let (rank, ranks) = (mail.comm().rank().0, mail.comm().size());
    let mut inbox = Inbox::<SortBuffer>::new(channel, ranks);
    let begin = |of: u32| match of.checked_sub(1).map(|cut| cuts.get(cut as usize)) {
        None => 0,
        Some(Some(cut)) => sort_buffer.lower_bound(cut),
        Some(None) => sort_buffer.len(),
    };
    // Each rank begins with another receiver, so that not all send to the same rank at the same
    // time.
    for to in (0..ranks).map(|step| (rank + step) % ranks) {
        let range = begin(to)..if to + 1 == ranks { sort_buffer.len() } else { begin(to + 1) };
        let mut part = SortBuffer::default();
        let mut sent = 0;
        for (key, value) in sort_buffer.range(range) {
            part.push(key, value);
            if part.is_block() {
                sent += 1;
                inbox.send(mail, to, (None, part.take_first_block()));
            }
        }
        inbox.send(mail, to, (Some(sent + 1), part.take_first_block()));
    }
    inbox.wait(mail)
}

/// The receiver of parcels, while this rank sends and afterwards.
pub(super) struct Inbox<B> {
    channel: Channel,
    received: B,
    /// The number of parcels still to come. It is negative while more parcels have arrived than the
    /// last ones so far have announced.
    missing: i64,
    /// The number of ranks that have not yet announced how many parcels they send.
    open: u32,
}

impl<B: Blocks> Inbox<B> {
    /// Creates the receiver of the parcels of that many ranks.
    pub fn new(channel: Channel, ranks: u32) -> Self {
        Self { channel, received: B::default(), missing: 0, open: ranks }
    }

    /// Sends a block; with the last one for a rank, how many it gets.
    pub fn send(
        &mut self,
        mail: &mut Mailbox<'_>,
        to: u32,
        (count, block): (Option<u32>, Vec<u8>),
    ) {
        if Rank(to) == mail.comm().rank() {
            return self.take(mail, count, block);
        }
        let parcel = Parcel { count, block };
        let bytes = postcard::to_stdvec(&parcel).expect("plain values always serialise");
        mail.send(self.channel, Rank(to), &bytes);
        // Receiving while too many messages are unsent keeps the ranks from waiting for each other
        // in a circle.
        let mut nap = Nap::new();
        while mail.comm().unsent() >= limits::UNSENT_MESSAGES_MAX {
            if !self.receive(mail) {
                std::thread::sleep(nap.next_nap());
            }
        }
    }

    /// Waits for all parcels; returns what they add up to.
    pub fn wait(mut self, mail: &mut Mailbox<'_>) -> B {
        let mut nap = Nap::new();
        while self.open > 0 || self.missing > 0 {
            if self.receive(mail) {
                nap.reset();
            } else {
                std::thread::sleep(nap.next_nap());
            }
        }
        self.received
    }

    /// Receives a message if there is one. Returns whether there was.
    fn receive(&mut self, mail: &mut Mailbox<'_>) -> bool {
        let Some((_, bytes)) = mail.try_recv(self.channel) else { return false };
        match postcard::from_bytes::<Parcel>(&bytes) {
            Ok(parcel) => self.take(mail, parcel.count, parcel.block),
            Err(_) => refuse(mail),
        }
        true
    }

    fn take(&mut self, mail: &Mailbox<'_>, count: Option<u32>, block: Vec<u8>) {
        self.missing += i64::from(count.unwrap_or(0)) - 1;
        self.open -= u32::from(count.is_some());
        if self.received.add(block).is_none() {
            refuse(mail);
        }
    }
}

fn refuse(mail: &Mailbox<'_>) -> ! {
    tracing::error!("message from a different build; use one build on all nodes");
    mail.comm().abort(Exit::Bug)
}

#[cfg(test)]
mod tests {
    use super::*;
    use comm::threads;

    fn sorted_by_all(ranks: u32, of_rank: impl Fn(u32) -> Vec<String> + Sync) -> Vec<Vec<String>> {
        threads::run(ranks, |comm| {
            let mail = &mut Mailbox::new(comm);
            let mut sort_buffer = SortBuffer::default();
            for text in of_rank(mail.comm().rank().0) {
                sort_buffer.push(text.as_bytes(), text.as_bytes());
            }
            let sorted = sort(sort_buffer, mail);
            let text = |(_, value): (&[u8], &[u8])| String::from_utf8(value.to_vec()).unwrap();
            sorted.entries().map(text).collect()
        })
    }

    #[test]
    fn ranks_in_a_row_have_everything_once_in_order() {
        for ranks in [1, 2, 5, 9] {
            let of_rank = |rank: u32| -> Vec<String> {
                // The last rank has nothing, the first one most.
                let count = 20_000 * (ranks - 1 - rank).pow(2) / ranks.pow(2);
                let number = |n: u32| n.wrapping_mul(2_654_435_761).rotate_left(rank);
                (0..count)
                    .map(|n| format!("{:08x} {rank} {n} {}", number(n), "x".repeat(150)))
                    .collect()
            };
            let mut wanted: Vec<String> = (0..ranks).flat_map(of_rank).collect();
            wanted.sort();
            let sorted = sorted_by_all(ranks, of_rank);
            let most = sorted.iter().map(Vec::len).max().unwrap();
            assert!(
                most <= wanted.len() / ranks as usize * 3 / 2 + 10,
                "{most} of {}",
                wanted.len()
            );
            assert_eq!(sorted.concat(), wanted);
        }
    }

    #[test]
    fn a_share_of_more_than_a_block_and_none_at_all() {
        let large =
            |rank: u32| (0..40).map(|n| format!("{n:03}{rank}{}", "y".repeat(90_000))).collect();
        let sorted = sorted_by_all(3, large).concat();
        assert_eq!(sorted.len(), 120);
        assert!(sorted.is_sorted());
        assert!(sorted_by_all(4, |_| Vec::new()).concat().is_empty());
    }
}
