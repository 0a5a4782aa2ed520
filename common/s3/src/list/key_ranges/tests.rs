//! Listings of a directory in parts, from services with every observed deviation.

use super::*;
use crate::list::at_once::Threads;
use crate::list::listing_order::ListingOrder;
use crate::list::pages::KeyPage;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use types::entry::{Hint, Listed};
use types::object::key_range::{NamePage, Order};
use types::path::Name;
use types::service::InvalidKey;

/// A service that lists one directory, in pages of a fixed number of names.
struct Served {
    names: Vec<String>,
    order: Order,
    page: usize,
    quirk: Quirk,
    requests: AtomicU64,
    /// Requests for pages that begin after a name.
    begun: AtomicU64,
    in_progress: AtomicU64,
    in_progress_max: AtomicU64,
    latency: Duration,
    listing_order: ListingOrder,
    threads: Threads,
}

#[derive(PartialEq)]
enum Quirk {
    None,
    /// Rejects a position to begin at.
    RefusesAfter,
    /// Rejects such a position now and then.
    RefusesAtTimes,
    /// Ignores the position and begins at the beginning.
    IgnoresAfter,
    /// Skips the directory of the same name where a listing begins after a name.
    SkipsDirectory,
    /// Answers one of the requests for pages that begin after a name as if there were nothing.
    LosesPage(u64),
    /// Rejects the request for a page by a token from that request on.
    Fails(u64),
}

fn bare(name: &str) -> &str {
    name.strip_suffix('/').unwrap_or(name)
}

impl Served {
    fn new(names: &BTreeSet<String>, order: Order, page: usize, quirk: Quirk) -> Self {
        let mut names: Vec<String> = names.iter().cloned().collect();
        match order {
            Order::Bytes => {}
            Order::Names => {
                names.sort_by(|one, other| bare(one).cmp(bare(other)).then(one.cmp(other)));
            }
            Order::Other => fastrand::Rng::with_seed(3).shuffle(&mut names),
        }
        Self {
            names,
            order,
            page,
            quirk,
            requests: AtomicU64::new(0),
            begun: AtomicU64::new(0),
            in_progress: AtomicU64::new(0),
            in_progress_max: AtomicU64::new(0),
            latency: Duration::ZERO,
            listing_order: ListingOrder::default(),
            threads: Threads::default(),
        }
    }

    /// Makes each answer take long enough for others to be requested meanwhile.
    fn slow(self) -> Self {
        Self { latency: Duration::from_millis(20), ..self }
    }

    fn begin(&self, after: &str) -> usize {
        self.names.partition_point(|name| match self.order {
            Order::Names => bare(name) <= after,
            _ => **name <= *after,
        })
    }
}

impl Pages for Served {
    fn page(&self, from: From<'_>) -> Result<Page> {
        let number = self.requests.fetch_add(1, Relaxed) + 1;
        let in_progress = self.in_progress.fetch_add(1, Relaxed) + 1;
        self.in_progress_max.fetch_max(in_progress, Relaxed);
        std::thread::sleep(self.latency);
        self.in_progress.fetch_sub(1, Relaxed);
        if matches!(from, From::After(_)) {
            self.begun.fetch_add(1, Relaxed);
            if self.quirk == Quirk::LosesPage(self.begun.load(Relaxed)) {
                return Ok(Page::default());
            }
        }
        let begin = match from {
            From::Start => 0,
            From::Token(_) if matches!(self.quirk, Quirk::Fails(failing) if number >= failing) => {
                return Err(types::error::Op::List.errno(libc::EIO));
            }
            From::Token(token) => token.parse().unwrap(),
            From::After(_) if self.quirk == Quirk::IgnoresAfter => 0,
            From::After(_)
                if self.quirk == Quirk::RefusesAfter
                    || self.quirk == Quirk::RefusesAtTimes
                        && self.requests.load(Relaxed).is_multiple_of(5) =>
            {
                return Err(types::error::Op::List.errno(libc::EINVAL));
            }
            From::After(after) => {
                let skipped = format!("{after}/");
                let skips = self.quirk == Quirk::SkipsDirectory && self.names.contains(&skipped);
                self.begin(if skips { &skipped } else { after })
            }
        };
        let end = self.names.len().min(begin + self.page);
        let file = Hint::Object(Listed { size_bytes: 1, stored_seconds: 0 });
        let with_hint = |name: &String| {
            (name.clone(), if name.ends_with('/') { Hint::Directory } else { file })
        };
        let (directories, objects): (Vec<_>, Vec<_>) = self.names[begin..end]
            .iter()
            .map(with_hint)
            .partition(|(_, hint)| *hint == Hint::Directory);
        let names = NamePage::new(objects, directories);
        let next = (end < self.names.len()).then(|| end.to_string());
        Ok(Page { names, next, ..Page::default() })
    }

    fn keys(&self, _within: &str, _from: From<'_>) -> Result<KeyPage> {
        unreachable!("who reads here wants to know of names only")
    }

    fn entry(&self, name: &str) -> Result<NamePage> {
        let has = |key: String| self.names.contains(&key).then_some(key);
        let links = [name.to_owned(), format!("{name}.rclonelink")].into_iter().filter_map(has);
        let objects = links.map(|key| (key, Hint::Unknown)).collect();
        let directory = has(format!("{name}/")).map(|key| (key, Hint::Directory));
        Ok(NamePage::new(objects, directory.into_iter().collect()))
    }

    fn listing_order(&self) -> &ListingOrder {
        &self.listing_order
    }

    fn threads(&self) -> &Threads {
        &self.threads
    }
}

/// A reader that records all names, and may ask for work for others.
#[derive(Default)]
struct Listener {
    told: Vec<String>,
    wants_to_share: bool,
    keeps_all: bool,
    threads: usize,
    shared: Vec<KeyRange>,
}

impl NameReader for Listener {
    fn name(&mut self, name: &Name, hint: Hint) {
        let slash = if hint == Hint::Directory { "/" } else { "" };
        self.told.push(format!("{}{slash}", name.to_str().unwrap()));
    }

    fn invalid_key(&mut self, key: &[u8], _why: InvalidKey) {
        self.told.push(String::from_utf8(key.to_vec()).unwrap());
    }

    fn wants_to_share(&self) -> bool {
        self.wants_to_share
    }

    fn may_share(&self) -> bool {
        !self.keeps_all
    }

    fn listing_threads(&self) -> usize {
        self.threads
    }

    fn share(&mut self, rest: KeyRange) {
        self.shared.push(rest);
    }
}

impl Listener {
    /// Creates a reader that hands nothing over, while others want work.
    fn alone(threads: usize) -> Self {
        Self { wants_to_share: true, keeps_all: true, threads, ..Self::default() }
    }
}

/// Lists a range while others always want work. Returns all names that were reported, and the
/// number of parts.
fn list_in_parts(served: &Served, first: KeyRange) -> (Vec<String>, usize) {
    let mut listener =
        Listener { wants_to_share: true, shared: vec![first], ..Listener::default() };
    let mut parts = 0;
    while let Some(key_range) = listener.shared.pop() {
        // The range is encoded and decoded as on its way to another rank.
        let key_range = postcard::from_bytes(&postcard::to_stdvec(&key_range).unwrap()).unwrap();
        read(served, key_range, &mut listener).unwrap();
        parts += 1;
    }
    listener.told.sort_unstable();
    (listener.told, parts)
}

/// Returns names with long common prefixes, and with characters that sort before and after the
/// slash.
fn names(random: &mut fastrand::Rng) -> BTreeSet<String> {
    let words = ["file", "file-", "data.", "d", "é", "0", "~", "part_", "!", "Z", "日本", "", "-"];
    let count = random.usize(1..400);
    let digits = random.usize(1..4);
    let mut name = || {
        let mut name = String::new();
        for _ in 0..random.usize(1..3) {
            name.push_str(words[random.usize(..words.len())]);
            (0..random.usize(..=digits)).for_each(|_| name.push(random.digit(16)));
        }
        name.push_str(if random.u32(..3) == 0 { "/" } else { "" });
        name
    };
    (0..count).map(|_| name()).filter(|name| !bare(name).is_empty()).collect()
}

/// Returns a range with enough credit for any number of cuts.
fn generous() -> KeyRange {
    KeyRange { credit: u32::MAX / 2, ..KeyRange::default() }
}

#[test]
fn in_parts_every_name_is_told_once_whatever_the_service_does() {
    let mut cuts = 0;
    for seed in 0..4_000 {
        let random = &mut fastrand::Rng::with_seed(seed);
        let names = names(random);
        let (order, quirk) = match seed % 5 {
            0 => (Order::Bytes, Quirk::None),
            1 => (Order::Names, Quirk::SkipsDirectory),
            2 => (Order::Bytes, Quirk::SkipsDirectory),
            3 => (Order::Bytes, Quirk::IgnoresAfter),
            _ => (Order::Other, Quirk::RefusesAfter),
        };
        let served = Served::new(&names, order, random.usize(2..9), quirk);
        let (told, parts) = list_in_parts(&served, generous());
        let all: Vec<String> = names.into_iter().collect();
        assert_eq!(told, all, "seed {seed}");
        cuts += parts - 1;
    }
    assert!(cuts > 4_000, "{cuts} cuts");
}

#[test]
fn threads_of_a_listing_tell_every_name_once_whatever_the_service_does() {
    for seed in 0..400 {
        let random = &mut fastrand::Rng::with_seed(seed);
        let names = names(random);
        let (order, quirk) = match seed % 6 {
            0 => (Order::Bytes, Quirk::None),
            1 => (Order::Names, Quirk::SkipsDirectory),
            2 => (Order::Bytes, Quirk::SkipsDirectory),
            3 => (Order::Bytes, Quirk::IgnoresAfter),
            4 => (Order::Bytes, Quirk::RefusesAtTimes),
            _ => (Order::Other, Quirk::RefusesAfter),
        };
        let served = Served::new(&names, order, random.usize(2..9), quirk);
        let mut listener = Listener::alone(random.usize(0..9));
        let whole = KeyRange { is_of_entries: true, ..generous() };
        read(&served, whole, &mut listener).unwrap();
        assert!(listener.shared.is_empty());
        listener.told.sort_unstable();
        let all: Vec<String> = names.into_iter().collect();
        assert_eq!(listener.told, all, "seed {seed}");
    }
}

/// Answers take long enough for other requests to be sent meanwhile.
#[test]
fn a_listing_that_nobody_may_share_has_several_requests_in_progress() {
    let names: BTreeSet<String> = (0..60_000).map(|number| format!("{number:06}")).collect();
    let served = Served::new(&names, Order::Bytes, 1000, Quirk::None).slow();
    let mut listener = Listener::alone(8);
    read(&served, KeyRange::of_entries(String::new(), None), &mut listener).unwrap();
    listener.told.sort_unstable();
    assert!(listener.told.iter().eq(&names));
    let most = served.in_progress_max.load(Relaxed);
    assert!(most >= 4, "{most} requests at once");
    assert!(served.requests.load(Relaxed) < 90);
}

/// Names are complete where no thread can be started.
#[test]
fn a_listing_without_threads_is_read_by_its_caller() {
    let names: BTreeSet<String> = (0..300).map(|number| format!("n{number:03}")).collect();
    let served = Served::new(&names, Order::Bytes, 5, Quirk::None);
    let mut listener = Listener::alone(0);
    let whole = KeyRange { is_of_entries: true, ..generous() };
    at_once::read(&at_once::Permit::of_none(&served.threads), &served, whole, &mut listener)
        .unwrap();
    assert!(listener.told.iter().eq(&names));
}

/// A failure of one of several threads is that of the listing.
#[test]
fn a_part_that_fails_makes_the_listing_fail() {
    let names: BTreeSet<String> = (0..300).map(|number| format!("n{number:03}")).collect();
    for failing in 10..40 {
        let served = Served::new(&names, Order::Bytes, 5, Quirk::Fails(failing));
        let mut listener = Listener::alone(8);
        let whole = KeyRange { is_of_entries: true, ..generous() };
        let failed = read(&served, whole, &mut listener).unwrap_err();
        assert_eq!(failed.cause, Cause::System(libc::EIO), "{failing}");
        // The threads that were not concerned end soon, too.
        let requests = served.requests.load(Relaxed);
        assert!(requests < failing + 2 * 8, "{requests} requests, {failing}");
    }
}

/// A reader of one side of two directories, which hands over parts or keeps them.
#[derive(Default)]
struct Side {
    told: Vec<String>,
    entries: BTreeSet<String>,
    shared: Vec<KeyRange>,
    may_share: bool,
}

impl NameReader for Side {
    fn name(&mut self, name: &Name, hint: Hint) {
        let slash = if hint == Hint::Directory { "/" } else { "" };
        self.told.push(format!("{}{slash}", name.to_str().unwrap()));
        self.entries.insert(name.to_str().unwrap().to_owned());
    }

    fn invalid_key(&mut self, key: &[u8], _why: InvalidKey) {
        self.told.push(String::from_utf8(key.to_vec()).unwrap());
    }

    fn wants_to_share(&self) -> bool {
        self.may_share
    }

    fn may_share(&self) -> bool {
        self.may_share
    }

    fn share(&mut self, rest: KeyRange) {
        self.shared.push(rest);
    }
}

#[test]
fn two_directories_are_read_in_the_same_parts() {
    let mut parts = 0;
    for seed in 0..2_000 {
        fastrand::seed(seed);
        let random = &mut fastrand::Rng::with_seed(seed);
        let page = random.usize(2..9);
        let side = |names: &BTreeSet<String>, random: &mut fastrand::Rng| match random.u32(..6) {
            5 => Served::new(names, Order::Bytes, page, Quirk::RefusesAtTimes),
            0 => Served::new(names, Order::Bytes, page, Quirk::None),
            1 => Served::new(names, Order::Names, page, Quirk::SkipsDirectory),
            2 => Served::new(names, Order::Bytes, page, Quirk::SkipsDirectory),
            3 => Served::new(names, Order::Bytes, page, Quirk::IgnoresAfter),
            _ => Served::new(names, Order::Other, page, Quirk::RefusesAfter),
        };
        let (mut one, mut other) = (names(random), names(random));
        // Names that are on both sides, or a directory on one of them alone.
        for name in one.iter().take(random.usize(..50)) {
            other.insert(if random.bool() { name.clone() } else { format!("{}/", bare(name)) });
        }
        if seed % 7 == 0 {
            one = BTreeSet::from(["m".to_owned()]);
        }
        let (source, target) = (side(&one, random), side(&other, random));
        let mut ranges =
            vec![KeyRange { credit: u32::MAX / 2, ..KeyRange::of_entries(String::new(), None) }];
        let (mut told, mut extraneous) = (Vec::new(), Vec::new());
        while let Some(key_range) = ranges.pop() {
            parts += 1;
            let key_range: KeyRange =
                postcard::from_bytes(&postcard::to_stdvec(&key_range).unwrap()).unwrap();
            let (after, mut end) = (key_range.after.clone(), key_range.end.clone());
            let may_share = is_divisible(&target);
            let mut reader = Side { may_share, ..Side::default() };
            read(&source, key_range, &mut reader).unwrap();
            end = reader.shared.last().map_or(end, |rest| Some(rest.after.clone()));
            ranges.append(&mut reader.shared);
            told.append(&mut reader.told);
            let mut there = Side::default();
            read(&target, KeyRange::of_entries(after, end), &mut there).unwrap();
            let is_extra = |name: &String| !reader.entries.contains(bare(name));
            extraneous.extend(there.told.into_iter().filter(is_extra));
        }
        told.sort_unstable();
        extraneous.sort_unstable();
        assert_eq!(told, one.iter().cloned().collect::<Vec<_>>(), "seed {seed}");
        let entries: BTreeSet<&str> = one.iter().map(|name| bare(name)).collect();
        let is_extra = |name: &&String| !entries.contains(bare(name));
        let expected: Vec<_> = other.iter().filter(is_extra).cloned().collect();
        assert_eq!(extraneous, expected, "seed {seed}");
    }
    assert!(parts > 4_000, "{parts} parts");
}

/// A part may have no entries although keys of earlier ones are in it: `r-1.rclonelink` and `r/`
/// come behind `r-1-9` in byte order.
#[test]
fn an_entry_whose_keys_are_behind_all_others_is_told() {
    let (stems, count) = (["r/", "r-1.rclonelink"].map(str::to_owned), 2..40);
    for (count, page) in count.flat_map(|count| (1..9).map(move |page| (count, page))) {
        fastrand::seed(count);
        let flat = (0..count).map(|number| format!("r-1-{number:02}"));
        let names: BTreeSet<String> = flat.chain(stems.clone()).collect();
        let expected: Vec<String> =
            names.iter().map(|name| name.replace(".rclonelink", "")).collect();
        for order in [Order::Bytes, Order::Names] {
            let served = Served::new(&names, order, page, Quirk::None);
            let whole = KeyRange { is_of_entries: true, ..generous() };
            let (told, _) = list_in_parts(&served, whole);
            assert_eq!(told.len(), expected.len(), "{count} in pages of {page}: {told:?}");
            assert!(expected.iter().all(|name| told.contains(name)), "{told:?}");
        }
    }
}

/// A page that is lost, although its answer looks whole, makes a listing of entries fail, or is
/// made up for by others.
#[test]
fn a_lost_page_hides_no_entry() {
    let names: BTreeSet<String> = (0..300).map(|number| format!("n{number:03}")).collect();
    let mut failures = 0;
    for lost in 1.. {
        let served = Served::new(&names, Order::Bytes, 5, Quirk::LosesPage(lost));
        let whole = KeyRange { is_of_entries: true, ..generous() };
        let mut listener =
            Listener { wants_to_share: true, shared: vec![whole], ..Listener::default() };
        let mut has_failed = false;
        while let Some(key_range) = listener.shared.pop() {
            has_failed |= read(&served, key_range, &mut listener).is_err();
        }
        listener.told.sort_unstable();
        assert!(has_failed || listener.told.iter().eq(&names), "{lost}: {:?}", listener.told);
        failures += u32::from(has_failed);
        if served.begun.load(Relaxed) < lost {
            break;
        }
    }
    assert!(failures > 0);
}

#[test]
fn where_nobody_wants_work_there_are_no_cuts() {
    let names: BTreeSet<String> = (0..10_000).map(|number| format!("{number:05}")).collect();
    let served = Served::new(&names, Order::Bytes, 1000, Quirk::None);
    let mut listener = Listener::default();
    read(&served, KeyRange::default(), &mut listener).unwrap();
    assert_eq!((served.requests.load(Relaxed), listener.told.len()), (10, 10_000));
}

/// Asserts that 200,000 names, in pages of 1000, are listed with few extra requests where others
/// always want work.
#[track_caller]
fn assert_thrifty(name: impl Fn(u64) -> String) {
    let names: BTreeSet<String> = (0..200_000).map(name).collect();
    let served = Served::new(&names, Order::Bytes, 1000, Quirk::None);
    let (told, parts) = list_in_parts(&served, KeyRange::default());
    assert!(told.iter().eq(names.iter()));
    let requests = served.requests.load(Relaxed);
    assert!(parts >= 6, "{parts} parts");
    assert!(requests < 240, "{requests} requests, {parts} parts");
}

#[test]
fn cuts_cost_less_than_a_fifth_of_the_requests() {
    assert_thrifty(|number| format!("{number:010}"));
    assert_thrifty(|number| format!("run-2024.step_{number:06}.dat"));
    assert_thrifty(|number| format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    assert_thrifty(|number| format!("file{number}"));
    assert_thrifty(|number| format!("2024-{:02}-{:02}.{number}", number % 12 + 1, number % 28 + 1));
}
