//! Lustre layouts of new files: the operator's policy, and the layout that follows from it for one
//! file.

use serde::{Deserialize, Serialize};

use crate::lustre::layout::{ALL_TARGETS, Layout};
use crate::size::{Unmeasured, parse_bytes};

/// Stripes are multiples of this (`LOV_MIN_STRIPE_SIZE`).
const STRIPE_UNIT_BYTES: u64 = 64 << 10;

/// Largest number of objects of a file (`LOV_MAX_STRIPE_COUNT`).
const STRIPES_MAX: u16 = 2000;

/// Size in bytes below which files get the directory's default layout.
const AUTO_BYTES_MIN: u64 = 1 << 30;

/// Policy for the layouts of new files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum StripePolicy {
    /// Gives large files more stripes, where the directory has no better rule.
    #[default]
    Auto,
    /// Preserves the source's layout.
    Keep,
    /// Uses the directory's default layout.
    Default,
    /// Gives all files the same layout.
    Fixed {
        /// Number of objects.
        stripe_count: u16,
        /// Stripe size in bytes; 0 for the default.
        stripe_bytes: u32,
    },
}

/// Text that is no layout.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLayout {
    /// Text without a policy or a number of stripes, or with values that Lustre does not take.
    #[error(
        "invalid layout \"{0}\"; expected auto, keep, default, or COUNT,SIZE such as 4,1MiB or \
         all,4MiB, with at most {STRIPES_MAX} stripes of a multiple of 64 KiB below 4 GiB"
    )]
    Text(String),
    /// Stripe size that is no size.
    #[error(transparent)]
    Size(#[from] Unmeasured),
}

impl std::str::FromStr for StripePolicy {
    type Err = InvalidLayout;

    fn from_str(text: &str) -> Result<Self, InvalidLayout> {
        match text {
            "auto" => return Ok(Self::Auto),
            "keep" => return Ok(Self::Keep),
            "default" => return Ok(Self::Default),
            _ => {}
        }
        let wrong = || InvalidLayout::Text(text.to_owned());
        let (count, bytes) = match text.split_once(',') {
            Some((count, bytes)) => (count, Some(bytes)),
            None => (text, None),
        };
        let stripe_count = match count.trim() {
            "all" | "-1" => ALL_TARGETS,
            digits => {
                let count = digits.parse().map_err(|_| wrong())?;
                if !(1..=STRIPES_MAX).contains(&count) {
                    return Err(wrong());
                }
                count
            }
        };
        let stripe_bytes = match bytes {
            None => 0,
            Some(bytes) => {
                let bytes = parse_bytes(bytes)?;
                let fits = bytes > 0 && bytes.is_multiple_of(STRIPE_UNIT_BYTES);
                u32::try_from(bytes).ok().filter(|_| fits).ok_or_else(wrong)?
            }
        };
        Ok(Self::Fixed { stripe_count, stripe_bytes })
    }
}

impl StripePolicy {
    /// Returns true where files of that size may be given a layout: otherwise no layout need be
    /// read.
    pub fn concerns(self, size_bytes: u64) -> bool {
        match self {
            Self::Auto => size_bytes >= AUTO_BYTES_MIN,
            Self::Keep | Self::Fixed { .. } => true,
            Self::Default => false,
        }
    }

    /// Returns the layout that a new file gets; `None` where it is left to the directory. `source`
    /// is the layout of the file that is copied, `default` reads the one that files in the
    /// directory get.
    pub fn layout(
        self,
        size_bytes: u64,
        source: Option<&Layout>,
        default: impl FnOnce() -> Option<Layout>,
    ) -> Option<Layout> {
        match self {
            _ if !self.concerns(size_bytes) => None,
            Self::Default => None,
            Self::Keep => source?.for_new_file(),
            Self::Auto => grown(stripes_of(size_bytes), default()),
            Self::Fixed { stripe_count, stripe_bytes } => {
                // The pool tells on which storage files are to be, which is not for this option to
                // change.
                let pool = default().and_then(|default| default.pool().cloned());
                Some(Layout::plain(stripe_count, stripe_bytes, pool))
            }
        }
    }
}

/// Returns the directory's own rule with more stripes. A composite layout grows with the file by
/// itself, and a directory that has been given more stripes than this keeps them.
fn grown(stripe_count: u16, default: Option<Layout>) -> Option<Layout> {
    match default {
        None => Some(Layout::plain(stripe_count, 0, None)),
        Some(Layout::Composite(_)) => None,
        Some(Layout::Plain(own)) if own.stripe_count >= stripe_count => None,
        Some(Layout::Plain(own)) => Some(Layout::plain(stripe_count, own.stripe_bytes, own.pool)),
    }
}

/// Returns twice as many stripes for four times the size: 2 for 1 GiB, 8 for 16 GiB, 64 for 1 TiB.
/// So many files of some GiB do not have dozens of objects each, a very large one is on most
/// targets, and no object grows beyond the capacity of a target. The file system takes as many
/// stripes as there are targets.
fn stripes_of(size_bytes: u64) -> u16 {
    let gibibytes = (size_bytes >> 30).max(1);
    let wanted = 2_u64 << (gibibytes.ilog2() / 2);
    wanted.min(STRIPES_MAX.into()) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn fixed(stripe_count: u16, stripe_bytes: u32) -> StripePolicy {
        StripePolicy::Fixed { stripe_count, stripe_bytes }
    }

    #[test]
    fn written_as_words_or_as_count_and_size() {
        for (text, policy) in [
            ("auto", StripePolicy::Auto),
            ("keep", StripePolicy::Keep),
            ("default", StripePolicy::Default),
            ("4,1MiB", fixed(4, 1 << 20)),
            ("1,64K", fixed(1, 64 << 10)),
            ("all,4M", fixed(ALL_TARGETS, 4 << 20)),
            ("-1,4M", fixed(ALL_TARGETS, 4 << 20)),
            ("8", fixed(8, 0)),
        ] {
            assert_eq!(text.parse(), Ok(policy), "{text}");
        }
        for bad in
            ["", "0,1M", "4,", "4,1000", "4,0", "4,4GiB", "2001,1M", "-2,1M", "x,1M", "4,1M,1"]
        {
            let error = bad.parse::<StripePolicy>().unwrap_err().to_string();
            assert!(!error.contains('\n') && !error.is_empty(), "{bad}");
        }
    }

    #[test]
    fn stripes_double_when_the_size_is_four_times_as_much() {
        for (gibibytes, stripes) in
            [(1, 2), (3, 2), (4, 4), (16, 8), (64, 16), (1024, 64), (4096, 128)]
        {
            assert_eq!(stripes_of(gibibytes * GIB), stripes, "{gibibytes} GiB");
        }
        assert_eq!(stripes_of(u64::MAX), 2000);
    }

    #[test]
    fn the_directorys_rule_is_only_given_more_stripes() {
        let auto = |size, default| StripePolicy::Auto.layout(size, None, || default);
        let pool = Some(b"flash".to_vec());
        assert_eq!(auto(GIB - 1, None), None);
        assert_eq!(auto(16 * GIB, None), Some(Layout::plain(8, 0, None)));
        let default = Layout::plain(1, 4 << 20, pool.clone());
        assert_eq!(auto(16 * GIB, Some(default)), Some(Layout::plain(8, 4 << 20, pool)));
        for stays in [8, 9, ALL_TARGETS] {
            assert_eq!(auto(16 * GIB, Some(Layout::plain(stays, 1 << 20, None))), None);
        }
        let progressive = Layout::decode(&composite()).unwrap();
        assert_eq!(auto(16 * GIB, Some(progressive)), None);
    }

    /// Returns an encoded layout of one range over 2 objects.
    fn composite() -> Vec<u8> {
        let own = Layout::plain(2, 1 << 20, Some(b"disk".to_vec())).encode();
        let head = [
            &0x0BD6_0BD0_u32.to_le_bytes()[..],
            &128_u32.to_le_bytes(),
            &[0; 6],
            &[1, 0],
            &[0; 16],
        ];
        let range =
            [&[0; 16][..], &[0xff; 8], &80_u32.to_le_bytes(), &48_u32.to_le_bytes(), &[0; 16]];
        [head.concat(), range.concat(), own].concat()
    }

    #[test]
    fn what_is_asked_for_is_given_in_the_directorys_pool() {
        let default = || Layout::decode(&composite());
        let given = fixed(4, 1 << 20).layout(0, None, default);
        assert_eq!(given, Some(Layout::plain(4, 1 << 20, Some(b"disk".to_vec()))));
        assert_eq!(fixed(4, 0).layout(0, None, || None), Some(Layout::plain(4, 0, None)));
    }

    #[test]
    fn what_is_kept_is_the_sources_and_asks_for_nothing() {
        let keep =
            |source: Option<&Layout>| StripePolicy::Keep.layout(5, source, || unreachable!());
        let source = Layout::plain(3, 1 << 20, None);
        assert_eq!(keep(Some(&source)), Some(source.clone()));
        assert_eq!(keep(None), None);
        assert_eq!(StripePolicy::Default.layout(GIB, Some(&source), || unreachable!()), None);
    }
}
