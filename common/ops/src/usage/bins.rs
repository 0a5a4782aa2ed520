//! Histograms of entries and bytes by size or age.

use serde::{Deserialize, Serialize};

use super::Use;
use types::entry::Metadata;
use types::limits::SEPARATORS_MAX;
use types::size::{human_bytes, human_duration};

/// The quantity by which a histogram divides entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Field {
    /// The size in bytes of any entry: directories have one too.
    Size,
    /// The age in seconds, by modification time.
    Age,
}

/// The number of seconds in a day.
const DAY: u64 = 86_400;

/// The default separators of ages, in seconds.
pub const AGES: [u64; 8] =
    [DAY, 7 * DAY, 30 * DAY, 90 * DAY, 180 * DAY, 365 * DAY, 730 * DAY, 1825 * DAY];

/// A histogram. An entry belongs to the first separator that is not below its value; one more bin
/// is above the last separator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bins {
    /// The quantity by which entries are divided.
    pub field: Field,
    separators: Vec<u64>,
    counts: Vec<Use>,
    /// Entries with a negative age.
    pub from_the_future: Use,
}

/// One bin of a histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bin {
    /// The exclusive lower bound; `None` for the first bin.
    pub above: Option<u64>,
    /// The inclusive upper bound; `None` for the last bin.
    pub up_to: Option<u64>,
    /// The counts of the entries in the bin.
    pub part: Use,
}

impl Bins {
    /// Creates a histogram with these separators, which must increase.
    pub fn new(field: Field, separators: &[u64]) -> Self {
        let counts = vec![Use::default(); separators.len() + 1];
        Self { field, separators: separators.to_vec(), counts, from_the_future: Use::default() }
    }

    /// Creates a histogram by size, with a bin for empty entries and one up to each power of two.
    pub fn of_powers() -> Self {
        let powers = (0..64).map(|power| 1_u64 << power);
        Self::new(Field::Size, &std::iter::once(0).chain(powers).collect::<Vec<_>>())
    }

    /// Creates a histogram by age with the default separators.
    pub fn of_ages() -> Self {
        Self::new(Field::Age, &AGES)
    }

    /// Counts an entry.
    pub fn count(&mut self, metadata: &Metadata, now_seconds: i64, part: &Use) {
        let value = match self.field {
            Field::Size => metadata.size_bytes,
            Field::Age => match u64::try_from(now_seconds.saturating_sub(metadata.mtime.seconds)) {
                Ok(age) => age,
                Err(_) => return self.from_the_future.add(part),
            },
        };
        let at = self.separators.partition_point(|separator| *separator < value);
        self.counts[at].add(part);
    }

    /// Adds a histogram with the same separators.
    pub fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(sum, more)| sum.add(more));
        self.from_the_future.add(&other.from_the_future);
    }

    /// Returns the bins in order.
    pub fn rows(&self) -> Vec<Bin> {
        let above = std::iter::once(None).chain(self.separators.iter().copied().map(Some));
        let up_to = self.separators.iter().copied().map(Some).chain(std::iter::once(None));
        let bounds = above.zip(up_to).zip(&self.counts);
        bounds.map(|((above, up_to), part)| Bin { above, up_to, part: *part }).collect()
    }

    /// Returns fewer bins for display: empty entries, then steps of that many powers of two, up to
    /// the largest entry.
    pub fn rows_of_powers(&self, step: u32) -> Vec<Bin> {
        let mut rows: Vec<Bin> = Vec::new();
        for (power, bin) in self.rows().into_iter().enumerate() {
            let begins = power < 2 || (power as u32 - 2).is_multiple_of(step);
            match rows.last_mut() {
                Some(row) if !begins || (power == 2) => {
                    row.part.add(&bin.part);
                    row.up_to = bin.up_to;
                }
                _ => rows.push(bin),
            }
        }
        while rows.len() > 1 && rows.last().is_some_and(|row| row.part.items == 0) {
            rows.pop();
        }
        rows
    }
}

impl Bin {
    /// Returns the range of the bin in words.
    pub fn words(&self, field: Field) -> String {
        let value = |value| match field {
            Field::Size => human_bytes(value),
            Field::Age => human_duration(value),
        };
        match (self.above, self.up_to) {
            (None, Some(0)) => value(0),
            (_, Some(up_to)) => format!("up to {}", value(up_to)),
            (Some(above), None) => format!("above {}", value(above)),
            (None, None) => "all".to_owned(),
        }
    }
}

/// Reason why separators do not divide a quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SeparatorError {
    /// More separators than [`SEPARATORS_MAX`].
    #[error("more than {SEPARATORS_MAX} separators")]
    TooMany,
    /// A separator is given twice.
    #[error("separator {0} is given twice")]
    Twice(u64),
}

/// Sorts separators in increasing order.
///
/// # Errors
/// Fails if a separator is given twice, or there are more than [`SEPARATORS_MAX`].
pub fn sorted(mut separators: Vec<u64>) -> Result<Vec<u64>, SeparatorError> {
    if separators.len() > SEPARATORS_MAX {
        return Err(SeparatorError::TooMany);
    }
    separators.sort_unstable();
    match separators.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(SeparatorError::Twice(pair[0])),
        None => Ok(separators),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(mut bins: Bins, sizes: &[u64]) -> Bins {
        for size in sizes {
            bins.count(
                &super::super::top::tests::file(*size, 0),
                0,
                &Use { items: 1, ..Use::default() },
            );
        }
        bins
    }

    fn items(rows: &[Bin]) -> Vec<u64> {
        rows.iter().map(|row| row.part.items).collect()
    }

    #[test]
    fn a_separator_belongs_to_the_bin_below_it() {
        let bins = filled(Bins::new(Field::Size, &[0, 80, 100]), &[0, 1, 80, 81, 100, 101]);
        assert_eq!(items(&bins.rows()), [1, 2, 2, 1]);
        let words: Vec<String> = bins.rows().iter().map(|row| row.words(Field::Size)).collect();
        assert_eq!(words, ["0 B", "up to 80 B", "up to 100 B", "above 100 B"]);
    }

    #[test]
    fn the_default_histogram_ends_with_the_largest_entry() {
        let bins = filled(Bins::of_powers(), &[0, 1, 2, 1024, 1025, 1 << 20, (1 << 20) + 1]);
        let rows = bins.rows_of_powers(10);
        assert_eq!(items(&rows), [1, 3, 2, 1]);
        assert_eq!(rows[1].up_to, Some(1024));
        assert_eq!(rows[3].up_to, Some(1 << 30));
        assert_eq!(
            items(&filled(Bins::of_powers(), &[u64::MAX]).rows_of_powers(10)).last(),
            Some(&1)
        );
    }

    #[test]
    fn ages_go_by_mtime_and_the_future_is_apart() {
        let mut bins = Bins::new(Field::Age, &[10]);
        for mtime in [100, 90, 89, 101, i64::MIN] {
            bins.count(
                &super::super::top::tests::file(0, mtime),
                100,
                &Use { items: 1, ..Use::default() },
            );
        }
        assert_eq!(items(&bins.rows()), [2, 2]);
        assert_eq!(bins.from_the_future.items, 1);
    }
}
