//! Ranges of a directory's names, for one flat listing that many ranks share, and where to cut
//! them.
//!
//! A name is as it is listed: `n` for an object, `n/` for a directory. A range has a lower and an
//! upper bound, which are compared byte by byte. A service may list in byte order, or as a file
//! system does, `n/` before `n-1`. A cut falls between the same names in both orders, because of
//! three rules:
//!
//! 1. The cut has no slash.
//! 2. Behind the prefix that it shares with the last listed name, every character but the first
//!    sorts after the slash. So each name that the cut begins with was either listed before, or
//!    sorts before the cut with and without a slash.
//! 3. The cut is not the name of an entry: some services omit all of `d/` where a listing begins
//!    after `d`. So it ends in random letters.
//!
//! Where two directories are read in the same ranges, an entry must be in the same range in both,
//! although it may be an object in one and a directory in the other. Such a range is one *of
//! entries*: an entry belongs to it by its name, without the slash. All its keys are in the range,
//! too, unless the upper bound comes between them (`d-5` between `d` and `d/`). The few names of
//! which that may be true are known from the bound ([`KeyRange::divided_names`]), and are looked up
//! instead of listed.

mod course;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::entry::Hint;
use crate::limits::{LISTING_CUT_PAGES, LISTING_CUTS_FIRST, LISTING_PAGES_MIN};
pub use course::{NamePage, Told};

/// A range of a directory's names, with the state of its listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRange {
    /// Lower bound: all names come after it.
    pub after: String,
    /// Upper bound, which is included; `None` for the end of the directory.
    pub upto: Option<String>,
    /// True where there are names right behind the upper bound.
    pub is_end_known: bool,
    /// Number of bytes of the name at which a probe has found other names.
    pub met_at: Option<usize>,
    /// Credit for cuts: a full page earns one, a cut costs [`LISTING_CUT_PAGES`].
    pub credit: u32,
    /// Continuation token of the service.
    pub token: Option<String>,
    /// Last name that was listed in the range.
    pub last: Option<String>,
    /// Order in which the names have been listed so far.
    pub order: Order,
    /// Objects that were listed and are held, since a directory in this range may have the same
    /// name.
    pub held: Vec<Held>,
    /// True for a range of entries, to which an entry belongs by its name, whatever its keys.
    pub is_of_entries: bool,
    /// Upper bound of the entries in a range of entries. `upto` may come before, where a probe has
    /// found nothing in between.
    pub end: Option<String>,
    /// True if a page that begins where the range does was seen to have keys.
    pub has_keys: bool,
}

/// Order in which a service lists, as far as it was observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Byte order of the listed keys.
    Bytes,
    /// Order of the names, directories without their slash, as in a file system.
    Names,
    /// No known order.
    Other,
}

/// An object that was listed and not yet reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Key below the prefix.
    pub text: String,
    /// Number of its bytes that make up the entry's name.
    pub name_bytes: usize,
    /// Type and properties from the listing.
    pub hint: Hint,
}

/// Random characters at the end of a cut.
const CHANCE_CHARS: usize = 8;

/// Characters of a name that are used for estimates, behind those that all names in question share:
/// as many digits of base 96 fit into 128 bits.
const DIGITS: usize = 18;

/// Characters of a cut behind the first one that differs from the last name.
const TAIL_CHARS: usize = 3;

impl Default for KeyRange {
    fn default() -> Self {
        Self {
            after: String::new(),
            upto: None,
            is_end_known: false,
            met_at: None,
            credit: LISTING_CUTS_FIRST * LISTING_CUT_PAGES,
            token: None,
            last: None,
            order: Order::Bytes,
            held: Vec::new(),
            is_of_entries: false,
            end: None,
            has_keys: false,
        }
    }
}

impl Held {
    /// Returns the entry's name.
    pub fn name(&self) -> &str {
        self.text.get(..self.name_bytes).unwrap_or(&self.text)
    }
}

/// A point at which a range is cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// Upper bound of the first part; it is not the name of an entry.
    pub at: String,
    /// Number of bytes of the name at which the cut probes for other names, where it does.
    level: Option<usize>,
}

impl KeyRange {
    /// Creates a range of entries between two bounds.
    pub fn of_entries(after: String, end: Option<String>) -> Self {
        Self { after, upto: end.clone(), is_of_entries: true, end, ..Self::default() }
    }

    /// Returns true where the range is a whole directory of which nothing was listed yet.
    pub fn is_untouched(&self) -> bool {
        self.after.is_empty() && self.upto.is_none() && self.token.is_none()
    }

    /// Returns true for a listed name in this range, whose first bytes make up the entry's name.
    fn contains(&self, name: &str, name_bytes: usize) -> bool {
        let (name, end) =
            if self.is_of_entries { (&name[..name_bytes], &self.end) } else { (name, &self.upto) };
        (self.after.is_empty() || *name > *self.after)
            && end.as_deref().is_none_or(|end| *name <= *end)
            && !(self.is_of_entries && self.is_divided(name))
    }

    /// Returns the names in a range of entries some of whose keys may be behind its end.
    pub fn divided_names(&self) -> Vec<String> {
        let end = self.end.as_deref().filter(|_| self.is_of_entries).unwrap_or_default();
        let names = end.bytes().enumerate().filter(|(_, byte)| *byte <= b'/');
        let is_behind = |name: &&str| self.after.is_empty() || **name > *self.after;
        names.filter_map(|(at, _)| end.get(..at)).filter(is_behind).map(str::to_owned).collect()
    }

    /// Returns true for a name of which the range's end comes before `name/`.
    fn is_divided(&self, name: &str) -> bool {
        let behind = self.end.as_ref().and_then(|end| end.strip_prefix(name));
        behind.and_then(|behind| behind.bytes().next()).is_some_and(|byte| byte <= b'/')
    }

    /// Returns where to cut the rest of the range after a page of these names, which are in byte
    /// order; `None` where a cut would not pay. `chance` is a random number that decides how the
    /// cut ends.
    pub fn cut(&self, page: &[&str], chance: u64) -> Option<Cut> {
        let (first, last) = (*page.first()?, *page.last()?);
        if self.order != Order::Bytes || self.credit < LISTING_CUT_PAGES || first == last {
            return None;
        }
        let ahead = Ahead { first, last, upto: self.upto.as_deref() };
        let alphabets = Alphabets::of(page);
        if ahead.pages(&alphabets) < LISTING_PAGES_MIN {
            return None;
        }
        let shared = ahead.shared_with_end();
        let varies_at = common_bytes(first, last).min(self.met_at.unwrap_or(usize::MAX));
        let level =
            (!self.is_end_known && varies_at > shared).then(|| usize::midpoint(shared, varies_at));
        let stem = match level {
            // The cut is behind everything that begins as the last name does, up to here.
            Some(level) => last.get(..=level).map(|begin| format!("{begin}~")),
            None => ahead.middle(&alphabets, shared),
        };
        let at = with_chance(stem?, chance);
        self.is_sound(&at, last).then_some(Cut { at, level })
    }

    /// Returns true for a cut that follows rules 1 and 2 and is inside the range.
    fn is_sound(&self, cut: &str, last: &str) -> bool {
        let shared = common_bytes(cut, last);
        // A directory with the last name itself may still follow.
        let free = shared + usize::from(shared < last.len());
        !cut.contains('/')
            && *cut > *last
            && (self.after.is_empty() || *cut > *self.after)
            && cut.as_bytes().iter().skip(free).all(|byte| *byte > b'/')
            && self.upto.as_ref().is_none_or(|upto| *cut < **upto)
    }

    /// Takes the price of a cut from the credit, without which [`KeyRange::cut`] offers none.
    pub fn pay(&mut self) {
        debug_assert!(self.credit >= LISTING_CUT_PAGES, "a cut on credit");
        self.credit -= LISTING_CUT_PAGES;
    }

    /// Ends the range at a cut, since a probe has found nothing behind it.
    pub fn end_at(&mut self, cut: &Cut) {
        self.upto = Some(cut.at.clone());
    }

    /// Ends the range at a cut behind which a probe has found names, and returns the range behind
    /// it.
    #[must_use]
    pub fn split_off(&mut self, cut: &Cut) -> Self {
        // Where no end is known there is more behind the cut than before it.
        let ours = if self.is_end_known { self.credit / 2 } else { self.credit / 4 };
        let credit = self.credit - ours;
        self.credit = ours;
        let behind = |held: &Held| format!("{}/", held.name()) > cut.at;
        let (mut theirs, ours): (Vec<_>, _) =
            std::mem::take(&mut self.held).into_iter().partition(behind);
        self.held = ours;
        if self.is_of_entries {
            // The names that the cut divides are looked up at the end of this range.
            theirs.clear();
        }
        let rest = Self {
            after: cut.at.clone(),
            upto: self.upto.take(),
            is_end_known: self.is_end_known,
            met_at: cut.level,
            credit,
            token: None,
            last: None,
            order: self.order,
            held: theirs,
            is_of_entries: self.is_of_entries,
            end: self.end.take(),
            has_keys: false,
        };
        self.end_at(cut);
        self.end = Some(cut.at.clone());
        self.is_end_known = true;
        rest
    }
}

/// Names between which those to come must be.
struct Ahead<'a> {
    first: &'a str,
    last: &'a str,
    upto: Option<&'a str>,
}

impl Ahead<'_> {
    /// Returns the upper bound without its random characters.
    fn end(&self) -> Option<&str> {
        self.upto.map(|upto| upto.get(..upto.len().saturating_sub(CHANCE_CHARS)).unwrap_or(upto))
    }

    /// Returns the number of bytes that all names to come share with the last one.
    fn shared_with_end(&self) -> usize {
        self.end().map_or(0, |end| common_bytes(self.last, end))
    }

    /// Returns the estimated number of pages to come, of as many names.
    fn pages(&self, alphabets: &Alphabets) -> u128 {
        let from = self.end().map_or(0, |end| common_bytes(self.first, end));
        let from = if self.upto.is_none() { common_bytes(self.first, self.last) } else { from };
        let value = |name| alphabets.value(name, from, 0);
        let page = value(self.last).saturating_sub(value(self.first));
        match self.end() {
            // The end is not known, so neither is the number of pages.
            None => u128::MAX,
            Some(end) => {
                alphabets.value(end, from, usize::MAX).saturating_sub(value(self.last))
                    / page.max(1)
            }
        }
    }

    /// Returns the point half way from the last name to the end.
    fn middle(&self, alphabets: &Alphabets, from: usize) -> Option<String> {
        let last = alphabets.value(self.last, from, 0);
        let end = alphabets.value(self.end().unwrap_or(self.last.get(..from)?), from, usize::MAX);
        let middle = alphabets.text(last + end.checked_sub(last)? / 2, from);
        let text = format!("{}{middle}", self.last.get(..from)?);
        let differs_at = common_bytes(&text, self.last);
        let stem = text.get(..=differs_at)?;
        let more = text[differs_at + 1..].chars().take(TAIL_CHARS).take_while(|char| *char > '/');
        Some(stem.chars().chain(more).collect())
    }
}

/// Characters that the names of a page have at each position.
struct Alphabets(Vec<Vec<u8>>);

/// Classes of characters: where one of them is used, the others of its class may be.
const CLASSES: [&[u8]; 5] =
    [b"0123456789", b"ABCDEF", b"GHIJKLMNOPQRSTUVWXYZ", b"abcdef", b"ghijklmnopqrstuvwxyz"];
const OTHER: u8 = 1 << CLASSES.len();

impl Alphabets {
    fn of(page: &[&str]) -> Self {
        let mut classes: Vec<u8> = Vec::new();
        for name in page {
            classes.resize(classes.len().max(name.len()), 0);
            for (known, byte) in classes.iter_mut().zip(name.bytes()) {
                *known |= class_of(byte);
            }
        }
        // Digits and letters mixed at one position are assumed where only one of them was seen,
        // too.
        let is_mixed = |known: &&u8| known.count_ones() > 1 && **known & OTHER == 0;
        let mixed = classes.iter().filter(is_mixed).fold(0, |all, known| all | known);
        let with_mixed = |known: u8| if known & mixed == 0 { known } else { known | mixed };
        Self(classes.into_iter().map(|known| alphabet(with_mixed(known))).collect())
    }

    fn at(&self, place: usize) -> &[u8] {
        self.0.get(place).map_or(CLASSES[0], |alphabet| alphabet)
    }

    /// Returns a name from a position on as a number. `missing` is the digit for positions behind
    /// its end.
    fn value(&self, name: &str, from: usize, missing: usize) -> u128 {
        (from..from + DIGITS).fold(0, |value, place| {
            let alphabet = self.at(place);
            let digit = match name.as_bytes().get(place) {
                Some(byte) => alphabet.partition_point(|own| own < byte),
                None => missing.min(alphabet.len()),
            };
            value * (alphabet.len() as u128 + 1) + digit as u128
        })
    }

    /// Returns the characters that such a number stands for.
    fn text(&self, value: u128, from: usize) -> String {
        let mut text = Vec::with_capacity(DIGITS);
        let mut rest = value;
        for place in (from..from + DIGITS).rev() {
            let alphabet = self.at(place);
            let base = alphabet.len() as u128 + 1;
            let digit = (rest % base) as usize;
            text.push(char::from(alphabet[digit.min(alphabet.len() - 1)]));
            rest /= base;
        }
        text.into_iter().rev().collect()
    }
}

fn class_of(byte: u8) -> u8 {
    CLASSES.iter().position(|class| class.contains(&byte)).map_or(OTHER, |class| 1 << class)
}

/// Returns the characters of some classes in byte order. A character in no class makes it all
/// printable ones.
fn alphabet(classes: u8) -> Vec<u8> {
    if classes & OTHER != 0 {
        return (b'!'..=b'~').filter(|byte| *byte != b'/').collect();
    }
    let known = CLASSES.iter().enumerate().filter(|(class, _)| classes & (1 << class) != 0);
    known.flat_map(|(_, class)| class.iter().copied()).collect()
}

/// Returns a start for a listing that omits nothing of a name, and most of the names before it.
/// Like a cut it has no slash, and is not the name of an entry. `None` where there is no such
/// start.
pub fn just_before(name: &str, chance: u64) -> Option<String> {
    let mut stem = name.strip_suffix('/').unwrap_or(name).to_owned();
    let last = stem.pop().filter(char::is_ascii)? as u8;
    let before = last.checked_sub(if last == b'0' { 2 } else { 1 })?;
    stem.push(char::from(before).is_ascii_graphic().then_some(char::from(before))?);
    stem.push('~');
    Some(with_chance(stem, chance))
}

/// Returns a start for a listing that omits all names up to this one, and what begins with it. Like
/// a cut it is not the name of an entry.
pub fn just_behind(name: &str, chance: u64) -> String {
    with_chance(format!("{name}~"), chance)
}

fn with_chance(mut stem: String, chance: u64) -> String {
    let mut rest = chance;
    for _ in 0..CHANCE_CHARS {
        stem.push(char::from(b'a' + (rest % 26) as u8));
        rest /= 26;
    }
    stem
}

/// Returns the number of bytes that two names share at their beginning, in whole characters.
fn common_bytes(one: &str, other: &str) -> usize {
    let chars = one.chars().zip(other.chars()).take_while(|(one, other)| one == other);
    chars.map(|(char, _)| char.len_utf8()).sum()
}
