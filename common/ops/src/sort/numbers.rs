//! Exchange of numbers: each rank gets those of one range.

use super::exchange::{Blocks, Inbox};
use comm::mailbox::Mailbox;
use types::limits::SORT_BLOCK_BYTES;

/// Numbers that a rank has received.
#[derive(Default)]
struct Numbers(Vec<u64>);

impl Blocks for Numbers {
    fn add(&mut self, block: Vec<u8>) -> Option<()> {
        let (numbers, rest) = block.as_chunks::<8>();
        self.0.extend(numbers.iter().map(|number| u64::from_le_bytes(*number)));
        rest.is_empty().then_some(())
    }
}

/// Sends each rank the numbers in its part of a range, of which all ranks have some, in ascending
/// order. Returns those in the part of this rank.
pub(super) fn exchange(
    mut sorted: &[u64],
    (first, last): (u64, u64),
    mail: &mut Mailbox<'_>,
) -> Vec<u64> {
    let channel = mail.open();
    let ranks = mail.comm().size();
    let mut inbox = Inbox::<Numbers>::new(channel, ranks);
    let width = u128::from(last - first) + 1;
    for to in 0..ranks {
        let begin_of_next = u128::from(first) + width * (u128::from(to) + 1) / u128::from(ranks);
        let (own, rest) =
            sorted.split_at(sorted.partition_point(|it| u128::from(*it) < begin_of_next));
        sorted = rest;
        send(own, to, &mut inbox, mail);
    }
    inbox.wait(mail).0
}

fn send(numbers: &[u64], to: u32, inbox: &mut Inbox<Numbers>, mail: &mut Mailbox<'_>) {
    let pack = |numbers: &[u64]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    let blocks = numbers.chunks(SORT_BLOCK_BYTES / 8);
    let count = blocks.len() as u32;
    for block in blocks {
        inbox.send(mail, to, (None, pack(block)));
    }
    inbox.send(mail, to, (Some(count + 1), Vec::new()));
}
