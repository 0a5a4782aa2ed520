//! Listings of whole trees of keys, with and without recursive listings, from services with every
//! observed deviation and some more.

use super::*;
use crate::list::at_once::Threads;
use crate::list::key_ranges;
use crate::list::pages::Page;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use types::entry::Hint;
use types::object::key_range::NamePage;
use types::path::Name;
use types::service::InvalidKey;

/// The order in which a service lists.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Lists {
    ByBytes,
    ByNames,
    /// Runs of keys one after the other, each in byte order.
    InRuns,
    Anyhow,
}

/// The position at which a service begins after a given key.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Begins {
    Behind,
    /// Behind all keys in the directory of that name, if there is one.
    BehindDirectory,
    AtTheBeginning,
    Nowhere,
}

struct Served {
    keys: BTreeSet<String>,
    lists: Lists,
    begins: Begins,
    page: usize,
    requests: AtomicU64,
}

/// One directory of the served keys.
struct At<'s> {
    served: &'s Served,
    prefix: String,
    listing_order: &'s ListingOrder,
    threads: Threads,
}

impl Served {
    fn new(keys: BTreeSet<String>, lists: Lists, begins: Begins, page: usize) -> Self {
        Self { keys, lists, begins, page, requests: AtomicU64::new(0) }
    }

    fn compare(&self, one: &str, other: &str) -> Ordering {
        let hash = |key: &str| {
            let mut hasher = DefaultHasher::new();
            key.hash(&mut hasher);
            hasher.finish()
        };
        match self.lists {
            Lists::ByBytes => one.cmp(other),
            Lists::ByNames => one.split('/').cmp(other.split('/')),
            Lists::InRuns => (hash(one) % 3).cmp(&(hash(other) % 3)).then(one.cmp(other)),
            Lists::Anyhow => hash(one).cmp(&hash(other)),
        }
    }

    /// Returns keys or common prefixes, and whether there are more.
    fn list(&self, prefix: &str, from: From<'_>, is_deep: bool) -> Result<(Vec<String>, bool)> {
        self.requests.fetch_add(1, Relaxed);
        let after = match from {
            From::Start => String::new(),
            From::Token(token) => token.to_owned(),
            From::After(_) if self.begins == Begins::AtTheBeginning => String::new(),
            From::After(_) if self.begins == Begins::Nowhere => {
                return Err(types::error::Op::List.errno(libc::EINVAL));
            }
            From::After(name) => format!("{prefix}{name}"),
        };
        let skipped = matches!(from, From::After(_)) && self.begins == Begins::BehindDirectory;
        let skipped = skipped.then(|| format!("{after}/"));
        let is_skipped =
            |key: &str| skipped.as_ref().is_some_and(|skipped| key.starts_with(skipped));
        let below = self.keys.range(prefix.to_owned()..).take_while(|key| key.starts_with(prefix));
        let listed = below.filter(|key| !is_skipped(key)).map(|key| {
            let directory = directory_of(&key[prefix.len()..]).filter(|_| !is_deep);
            directory.map_or(key.clone(), |name| format!("{prefix}{name}"))
        });
        let mut listed: Vec<String> = listed.collect::<BTreeSet<_>>().into_iter().collect();
        listed.sort_by(|one, other| self.compare(one, other));
        listed.retain(|key| after.is_empty() || self.compare(key, &after) == Ordering::Greater);
        let is_cut = listed.len() > self.page;
        listed.truncate(self.page);
        Ok((listed, is_cut))
    }
}

fn next_of(listed: &[String], is_cut: bool) -> Option<String> {
    listed.last().filter(|_| is_cut).cloned()
}

/// Returns facts by which a key can be recognised in the result.
fn facts(key: &str) -> Listed {
    Listed { size_bytes: key.len() as u64, stored_seconds: 0 }
}

impl Pages for At<'_> {
    fn page(&self, from: From<'_>) -> Result<Page> {
        let (listed, is_cut) = self.served.list(&self.prefix, from, false)?;
        let next = next_of(&listed, is_cut);
        let (mut objects, mut directories) = (Vec::new(), Vec::new());
        for key in listed.iter().filter(|key| **key != self.prefix) {
            let name = key[self.prefix.len()..].to_owned();
            if name.ends_with('/') {
                directories.push((name, Hint::Directory));
            } else {
                objects.push((name, Hint::Object(facts(key))));
            }
        }
        let marker_bytes = listed.contains(&self.prefix).then(|| facts(&self.prefix).size_bytes);
        let names = NamePage::new(objects, directories);
        Ok(Page { names, marker_bytes, next, ..Page::default() })
    }

    fn keys(&self, within: &str, from: From<'_>) -> Result<KeyPage> {
        let prefix = format!("{}{within}", self.prefix);
        let (listed, is_cut) = self.served.list(&prefix, from, true)?;
        let next = next_of(&listed, is_cut);
        let below = |key: &String| (key[prefix.len()..].to_owned(), facts(key));
        let keys = listed.iter().filter(|key| **key != prefix).map(below).collect();
        let marker = listed.contains(&prefix).then(|| facts(&prefix));
        Ok(KeyPage { keys, marker, next })
    }

    fn entry(&self, _name: &str) -> Result<NamePage> {
        unreachable!("nothing is compared here")
    }

    fn listing_order(&self) -> &ListingOrder {
        self.listing_order
    }

    fn threads(&self) -> &Threads {
        &self.threads
    }
}

/// A directory to be listed, or one whose keys are known, by its prefix.
enum Task {
    List(String, KeyRange),
    Known(String, KeysBelow),
}

/// A reader that walks alone, and asks to share work at random.
struct Walk<'w> {
    prefix: String,
    told: &'w mut Vec<String>,
    tasks: &'w mut Vec<Task>,
    wants_below: bool,
    random: &'w RefCell<fastrand::Rng>,
    hungry_percent: u32,
}

impl Walk<'_> {
    fn tell(&mut self, name: &Name, what: &str) -> String {
        let path = format!("{}{}", self.prefix, name.to_str().unwrap());
        self.told.push(format!("{path} {what}"));
        path + "/"
    }
}

impl NameReader for Walk<'_> {
    fn name(&mut self, name: &Name, hint: Hint) {
        let prefix = self.tell(name, &format!("{hint:?}"));
        if hint == Hint::Directory {
            self.tasks.push(Task::List(prefix, KeyRange::default()));
        }
    }

    fn directory(&mut self, name: &Name, below: &KeysBelow) {
        let prefix = self.tell(name, &format!("{:?}", Hint::Directory));
        // The keys are encoded and decoded as on their way to another rank.
        let below = postcard::from_bytes(&postcard::to_stdvec(below).unwrap()).unwrap();
        self.tasks.push(Task::Known(prefix, below));
    }

    fn wants_below(&self) -> bool {
        self.wants_below
    }

    fn invalid_key(&mut self, key: &[u8], why: InvalidKey) {
        self.told.push(format!("{}{} {}", self.prefix, key.escape_ascii(), why.code()));
    }

    fn wants_to_share(&self) -> bool {
        self.random.borrow_mut().u32(0..100) < self.hungry_percent
    }

    fn may_share(&self) -> bool {
        true
    }

    fn share(&mut self, rest: KeyRange) {
        self.tasks.push(Task::List(self.prefix.clone(), rest));
    }
}

/// Walks all directories. Returns all that was reported, in byte order.
fn walk(served: &Served, wants_below: bool, hungry_percent: u32) -> Result<Vec<String>> {
    let random = RefCell::new(fastrand::Rng::with_seed(u64::from(hungry_percent)));
    let listing_order = ListingOrder::default();
    let (mut told, mut tasks) = (Vec::new(), vec![Task::List(String::new(), KeyRange::default())]);
    while let Some(task) = tasks.pop() {
        let (Task::List(prefix, _) | Task::Known(prefix, _)) = &task;
        let at = At {
            served,
            prefix: prefix.clone(),
            listing_order: &listing_order,
            threads: Threads::default(),
        };
        let (told, tasks) = (&mut told, &mut tasks);
        let random = &random;
        let prefix = prefix.clone();
        let mut reader = Walk { prefix, told, tasks, wants_below, random, hungry_percent };
        match &task {
            Task::List(_, key_range) => key_ranges::read(&at, key_range.clone(), &mut reader)?,
            Task::Known(_, keys) => key_ranges::read_known(keys, &mut reader),
        }
    }
    told.sort_unstable();
    Ok(told)
}

/// Returns keys on a few levels: with names that sort around the slash, that are both object and
/// directory, and that are invalid.
fn keys(random: &mut fastrand::Rng) -> BTreeSet<String> {
    let words = ["d", "d", "f", "d-", "d.", "d0", "é", "~", "", ".", "..", "x.rclonelink", "日本"];
    let levels = random.usize(1..5);
    let digits = random.usize(0..3);
    let mut key = || {
        let mut key = String::new();
        for level in 0..random.usize(1..=levels) {
            key.push_str(if level == 0 { "" } else { "/" });
            let odd = if random.u32(0..4) == 0 { words.len() } else { 3 };
            key.push_str(words[random.usize(..odd)]);
            (0..digits).for_each(|_| key.push(random.digit(8)));
        }
        key.push_str(if random.u32(0..8) == 0 { "/" } else { "" });
        key
    };
    (0..400).map(|_| key()).filter(|key| !key.is_empty()).take(key_count(digits)).collect()
}

fn key_count(digits: usize) -> usize {
    [60, 300, 400][digits]
}

#[test]
fn keys_at_once_tell_the_same_as_each_directory_alone() {
    let begins = [Begins::Behind, Begins::BehindDirectory, Begins::AtTheBeginning, Begins::Nowhere];
    let mut spared = 0;
    for seed in 0..3_000 {
        let random = &mut fastrand::Rng::with_seed(seed);
        let lists = [Lists::ByBytes, Lists::ByNames, Lists::Anyhow][seed as usize % 3];
        // A service without an order cannot begin after a key.
        let possible = if lists == Lists::Anyhow { 2..4 } else { 0..4 };
        let (begins, page) = (begins[random.usize(possible)], random.usize(2..200));
        let served = Served::new(keys(random), lists, begins, page);
        let plain = walk(&served, false, 0).unwrap();
        let plain_requests = served.requests.swap(0, Relaxed);
        let told = walk(&served, true, [0, 30, 100][random.usize(..3)]).unwrap();
        assert!(told == plain, "seed {seed} {lists:?} {begins:?} page {page}");
        spared += plain_requests.saturating_sub(served.requests.load(Relaxed));
    }
    assert!(spared > 50_000, "{spared} requests spared");
}

/// Returns the number of requests of one rank for these keys, in pages of 1000.
fn requests(keys: impl Iterator<Item = String>, lists: Lists, hungry_percent: u32) -> u64 {
    let served = Served::new(keys.collect(), lists, Begins::Behind, 1000);
    let files = served.keys.len();
    let told = walk(&served, true, hungry_percent).unwrap();
    assert_eq!(told.iter().filter(|line| line.contains("Object")).count(), files);
    served.requests.load(Relaxed)
}

#[test]
fn tiny_directories_cost_little_more_than_their_keys() {
    let keys = || (0..9_000).map(|number| format!("d{:05}/f{}", number / 3, number % 3));
    for lists in [Lists::ByBytes, Lists::ByNames] {
        // 3 pages of entries, 9 of keys, and one for the comparison.
        assert_eq!(requests(keys(), lists, 0), 13, "{lists:?}");
        let hungry = requests(keys(), lists, 100);
        assert!(hungry <= 30, "{hungry}");
    }
    // A tree of small directories among many takes one request.
    let nested = (0..9_000).map(|number| format!("d{:02}/{}/{number}", number / 900, number % 70));
    assert!(requests(nested, Lists::ByBytes, 0) <= 20);
}

#[test]
fn what_is_large_costs_little_more_than_before() {
    let flat = || (0..10_000).map(|number| format!("f{number:05}"));
    assert_eq!(requests(flat(), Lists::ByBytes, 0), 10);
    // 5 pages for each of 12 directories, one for their names, one in vain.
    let large = (0..60_000).map(|number| format!("d{:02}/{number}", number / 5_000));
    assert_eq!(requests(large, Lists::ByBytes, 0), 62);
    // A large directory among small ones is skipped: 5 pages for it, one that meets it and one
    // behind it.
    let tiny = (0..3_000).map(|number| format!("d{:04}/{number}", number / 3));
    let one = (0..5_000).map(|number| format!("d0500/a{number:05}"));
    // Another page for the names, 4 for the others' keys, and one for the comparison.
    assert_eq!(requests(tiny.chain(one), Lists::ByBytes, 0), 6 + 1 + 1 + 1 + 4 + 1);
}

#[test]
fn a_service_that_does_not_keep_directories_together_is_found_out() {
    let keys: BTreeSet<String> =
        (0..40_000).map(|number| format!("d{:04}/{}", number / 20, number % 20)).collect();
    let served = Served::new(keys, Lists::InRuns, Begins::Behind, 1000);
    let plain = walk(&served, false, 0).unwrap();
    let plain_requests = served.requests.swap(0, Relaxed);
    assert_eq!(walk(&served, true, 0).unwrap(), plain);
    // One page of keys, and one directory to compare it with.
    assert!(served.requests.load(Relaxed) <= plain_requests + 2);
}
