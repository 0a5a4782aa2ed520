//! Ranges of a directory's names, for one flat listing that many ranks share, and where to cut them.
//!
//! A name is as it is listed: `n` for an object, `n/` for a directory. A range is a question of bytes:
//! after this, up to that. A service may list in byte order, or as a file system does, `n/` before `n-1`.
//! A cut falls between the same names in both orders, because of three rules:
//!
//! 1. It has no slash.
//! 2. Behind what it has in common with the last name that was listed, every character but the first comes
//!    after the slash. So whatever name it begins with was either listed before, or comes before it with and
//!    without a slash.
//! 3. It is no name that exists: some services leave out all of `d/` where a listing begins after `d`. So it
//!    ends in letters by chance.

mod course;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::entry::Hint;
use crate::limits::{LISTING_CUT_PAGES, LISTING_CUTS_FIRST, LISTING_PAGES_MIN};
pub use course::{NamePage, Told};

/// A range of names, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Names come after this.
    pub after: String,
    /// Up to this; to the end where it is `None`.
    pub upto: Option<String>,
    /// There are names right behind its end.
    pub is_end_known: bool,
    /// A look so many bytes into the name has met others.
    pub met_at: Option<usize>,
    /// What may still be spent on cuts: a full page earns one, a cut costs
    /// [`LISTING_CUT_PAGES`].
    pub credit: u32,
    /// Where the service says that it goes on.
    pub token: Option<String>,
    /// The last name that was listed of it.
    pub last: Option<String>,
    /// How the names have come so far.
    pub order: Order,
    /// Objects that were listed, and whose names a directory in this range may have too.
    pub held: Vec<Held>,
}

/// In which order a service lists, as far as it was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// By the bytes of what is listed.
    Bytes,
    /// By names, directories without their slash: as file systems do.
    Names,
    /// None that is known.
    Other,
}

/// An object that is not told of yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Its key below the prefix.
    pub text: String,
    /// How many bytes of that are its name.
    pub name_bytes: usize,
    /// What the listing says of it.
    pub hint: Hint,
}

/// Characters of chance at the end of a cut.
const CHANCE_CHARS: usize = 8;

/// Characters of a name that are reckoned with, behind those that all names in question have in common: so
/// many digits of base 96 fit into 128 bits.
const DIGITS: usize = 18;

/// Characters of a cut behind the first in which it differs from the last name.
const TAIL_CHARS: usize = 3;

impl Default for Span {
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
        }
    }
}

impl Held {
    /// Its name.
    pub fn name(&self) -> &str {
        self.text.get(..self.name_bytes).unwrap_or(&self.text)
    }
}

/// Where a range is cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// What ends the first part; it is no name.
    pub at: String,
    /// How many bytes into the name it looks for others, where it does.
    level: Option<usize>,
}

impl Span {
    /// Whether a name is in this range.
    pub fn contains(&self, name: &str) -> bool {
        (self.after.is_empty() || *name > *self.after)
            && self.upto.as_ref().is_none_or(|upto| *name <= **upto)
    }

    /// Where to cut what is left of it, after a page of these names in byte order; `None` where that would
    /// not pay. `chance` decides how the cut ends.
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
            // Behind everything that begins as the last name does, up to here.
            Some(level) => last.get(..=level).map(|begin| format!("{begin}~")),
            None => ahead.middle(&alphabets, shared),
        };
        let at = with_chance(stem?, chance);
        self.is_sound(&at, last).then_some(Cut { at, level })
    }

    /// Rules 1 and 2, and that it is inside.
    fn is_sound(&self, cut: &str, last: &str) -> bool {
        let shared = common_bytes(cut, last);
        // The name that is the last one itself may have a directory yet to come.
        let free = shared + usize::from(shared < last.len());
        !cut.contains('/')
            && *cut > *last
            && cut.as_bytes().iter().skip(free).all(|byte| *byte > b'/')
            && self.upto.as_ref().is_none_or(|upto| *cut < **upto)
    }

    /// Pays for a cut.
    pub fn pay(&mut self) {
        self.credit = self.credit.saturating_sub(LISTING_CUT_PAGES);
    }

    /// Nothing was met behind the cut: it is the end.
    pub fn end_at(&mut self, cut: &Cut) {
        self.upto = Some(cut.at.clone());
    }

    /// Names were met behind the cut: this range ends there, and what is behind it is another one.
    #[must_use]
    pub fn split_off(&mut self, cut: &Cut) -> Self {
        // Where no end is known there is more behind the cut than before it.
        let ours = if self.is_end_known { self.credit / 2 } else { self.credit / 4 };
        let credit = self.credit - ours;
        self.credit = ours;
        let behind = |held: &Held| format!("{}/", held.name()) > cut.at;
        let (theirs, ours) = std::mem::take(&mut self.held).into_iter().partition(behind);
        self.held = ours;
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
        };
        self.end_at(cut);
        self.is_end_known = true;
        rest
    }
}

/// What is known of the names to come.
struct Ahead<'a> {
    first: &'a str,
    last: &'a str,
    upto: Option<&'a str>,
}

impl Ahead<'_> {
    /// The end without its letters of chance.
    fn end(&self) -> Option<&str> {
        self.upto.map(|upto| upto.get(..upto.len().saturating_sub(CHANCE_CHARS)).unwrap_or(upto))
    }

    /// Bytes that all names to come have in common with the last one.
    fn shared_with_end(&self) -> usize {
        self.end().map_or(0, |end| common_bytes(self.last, end))
    }

    /// How many more such pages there can be.
    fn pages(&self, alphabets: &Alphabets) -> u128 {
        let from = self.end().map_or(0, |end| common_bytes(self.first, end));
        let from = if self.upto.is_none() { common_bytes(self.first, self.last) } else { from };
        let value = |name| alphabets.value(name, from, 0);
        let page = value(self.last).saturating_sub(value(self.first));
        match self.end() {
            // No end is known: as many as there are.
            None => u128::MAX,
            Some(end) => {
                alphabets.value(end, from, usize::MAX).saturating_sub(value(self.last))
                    / page.max(1)
            }
        }
    }

    /// Half way from the last name to the end.
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

/// Which characters the names of a page have at each place.
struct Alphabets(Vec<Vec<u8>>);

/// Characters that go together: where one of them is, the others may be.
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
        // Digits and letters at one place: so it is where only one of them was seen.
        let is_mixed = |known: &&u8| known.count_ones() > 1 && **known & OTHER == 0;
        let mixed = classes.iter().filter(is_mixed).fold(0, |all, known| all | known);
        let with_mixed = |known: u8| if known & mixed == 0 { known } else { known | mixed };
        Self(classes.into_iter().map(|known| alphabet(with_mixed(known))).collect())
    }

    fn at(&self, place: usize) -> &[u8] {
        self.0.get(place).map_or(CLASSES[0], |alphabet| alphabet)
    }

    /// A name from a place on as a number. `missing` stands for the characters behind its end.
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

    /// The characters of such a number.
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

/// In byte order. What is in no class could be anything that prints.
fn alphabet(classes: u8) -> Vec<u8> {
    if classes & OTHER != 0 {
        return (b'!'..=b'~').filter(|byte| *byte != b'/').collect();
    }
    let known = CLASSES.iter().enumerate().filter(|(class, _)| classes & (1 << class) != 0);
    known.flat_map(|(_, class)| class.iter().copied()).collect()
}

/// What to begin after so that nothing of a name is left out, and most of the names before it are. As a cut, it
/// has no slash, and is no name that exists. `None` where there is nothing to be told.
pub fn just_before(name: &str, chance: u64) -> Option<String> {
    let mut stem = name.strip_suffix('/').unwrap_or(name).to_owned();
    let last = stem.pop().filter(char::is_ascii)? as u8;
    let before = last.checked_sub(if last == b'0' { 2 } else { 1 })?;
    stem.push(char::from(before).is_ascii_graphic().then_some(char::from(before))?);
    stem.push('~');
    Some(with_chance(stem, chance))
}

fn with_chance(mut stem: String, chance: u64) -> String {
    let mut rest = chance;
    for _ in 0..CHANCE_CHARS {
        stem.push(char::from(b'a' + (rest % 26) as u8));
        rest /= 26;
    }
    stem
}

/// How many bytes two names have in common, whole characters only.
fn common_bytes(one: &str, other: &str) -> usize {
    let chars = one.chars().zip(other.chars()).take_while(|(one, other)| one == other);
    chars.map(|(char, _)| char.len_utf8()).sum()
}
