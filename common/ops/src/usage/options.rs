//! Options of the statistics.

use serde::{Deserialize, Serialize};

use super::bins::{self, AGES, Field, SeparatorError};
use types::size::{Unmeasured, parse_bytes, parse_duration};

/// The statistics to gather.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct UsageOptions {
    /// Usage by size, in bins that depend on the largest entry.
    pub sizes: bool,
    /// Usage in bins that the operator has set.
    pub distributions: Vec<Distribution>,
    /// Usage by age, in the default bins.
    pub ages: bool,
    /// Usage by user, group and depth.
    pub owners: bool,
    /// Usage by directory.
    pub directories: bool,
    /// The number of largest files and directories to list.
    pub top: u32,
    /// Usage by layout of files on Lustre.
    pub striping: bool,
    /// The time from which ages are counted, in seconds since 1970-01-01 UTC.
    pub now_seconds: i64,
}

impl UsageOptions {
    /// Returns whether any statistics are gathered for each entry.
    pub fn is_any(&self) -> bool {
        let Self { sizes, distributions, ages, owners, directories, top, striping, .. } = self;
        *striping
            || *sizes
            || !distributions.is_empty()
            || *ages
            || *owners
            || *directories
            || *top > 0
    }
}

/// A histogram with the operator's separators, such as `size:0,1K,1M` or `age:1d,30d`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distribution {
    /// The quantity by which entries are divided.
    pub field: Field,
    /// The separators in increasing order, in bytes or seconds.
    pub separators: Vec<u64>,
}

/// Text that is no distribution.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DistributionError {
    /// Quantity that entries are not divided by.
    #[error("invalid field \"{0}\"; expected size:0,1K,1M or age:1d,30d,1y")]
    Field(String),
    /// Separator that is no size or duration.
    #[error(transparent)]
    Separator(#[from] Unmeasured),
    /// Separators that do not divide the quantity.
    #[error(transparent)]
    Separators(#[from] SeparatorError),
}

impl std::str::FromStr for Distribution {
    type Err = DistributionError;

    fn from_str(text: &str) -> Result<Self, DistributionError> {
        let (field, separators) = text.split_once(':').unwrap_or((text, ""));
        let words = separators.split(',').filter(|word| !word.is_empty());
        let (field, separators) = match field {
            "size" => (Field::Size, words.map(parse_bytes).collect::<Result<Vec<_>, _>>()?),
            "age" if separators.is_empty() => (Field::Age, AGES.to_vec()),
            "age" => (Field::Age, words.map(parse_duration).collect::<Result<Vec<_>, _>>()?),
            _ => return Err(DistributionError::Field(field.to_owned())),
        };
        Ok(Self { field, separators: bins::sorted(separators)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelled_as_in_mpifileutils() {
        let parsed: Distribution = "size:100,0,1K".parse().unwrap();
        assert_eq!(parsed, Distribution { field: Field::Size, separators: vec![0, 100, 1024] });
        assert_eq!("size".parse::<Distribution>().unwrap().separators, Vec::<u64>::new());
        assert_eq!("age:1d,2h".parse::<Distribution>().unwrap().separators, [7200, 86_400]);
        assert_eq!("age".parse::<Distribution>().unwrap().separators, AGES);
        for bad in ["size:1,1", "size:x", "name:a", "", "age:1x"] {
            assert!(bad.parse::<Distribution>().is_err(), "{bad}");
        }
    }
}
