//! A store that fails on purpose: the seed, the operation and the name determine which calls fail,
//! so a seed repeats a run however its threads are scheduled.

mod dir;
mod file;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Dir, Made, Store, StoreDecorator};
use dir::FaultyDir;
use types::entry::{Attributes, Metadata, Preserved};
use types::error::{Error, Op, Result};
use types::path::RelPath;

/// Rules for the calls that fail, and the number of those that did.
pub struct Faults {
    seed: u64,
    rules: Vec<Rule>,
    short_reads: bool,
    garbled_one_in: Option<u64>,
    injected: AtomicU64,
    meanwhile: Option<Meanwhile>,
}

/// A file name, and an action that other processes take while such a file is read.
type Meanwhile = (Vec<u8>, Box<dyn Fn() + Send + Sync>);

struct Rule {
    op: Op,
    errno: i32,
    one_in: u64,
}

impl Faults {
    /// Creates a set of rules under which nothing fails yet.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            rules: Vec::new(),
            short_reads: false,
            garbled_one_in: None,
            injected: AtomicU64::new(0),
            meanwhile: None,
        }
    }

    /// Makes one in `one_in` of the names that an operation is used on fail with that `errno`.
    #[must_use]
    pub fn fail(mut self, op: Op, errno: i32, one_in: u64) -> Self {
        self.rules.push(Rule { op, errno, one_in });
        self
    }

    /// Silently corrupts the content of one in `one_in` of the files that are written.
    #[must_use]
    pub fn garble_writes(mut self, one_in: u64) -> Self {
        self.garbled_one_in = Some(one_in);
        self
    }

    /// Makes reads return fewer bytes than requested, as POSIX allows.
    #[must_use]
    pub fn with_short_reads(mut self) -> Self {
        self.short_reads = true;
        self
    }

    /// Runs an action after each read from a file of that name, as if by another process.
    #[must_use]
    pub fn meanwhile(mut self, name: &[u8], operation: impl Fn() + Send + Sync + 'static) -> Self {
        self.meanwhile = Some((name.to_vec(), Box::new(operation)));
        self
    }

    /// Returns the number of calls that failed on purpose so far.
    pub fn injected(&self) -> u64 {
        self.injected.load(Ordering::Relaxed)
    }

    /// Returns whether the content of a file of that name is corrupted.
    pub fn garbles(&self, name: &[u8]) -> bool {
        self.garbled_one_in.is_some_and(|one_in| self.is_struck(Op::Write, name, one_in))
    }

    fn is_struck(&self, op: Op, name: &[u8], one_in: u64) -> bool {
        let mut hasher = DefaultHasher::new();
        (self.seed, op, name).hash(&mut hasher);
        hasher.finish().is_multiple_of(one_in)
    }

    /// Finds the rule by which an operation on that name fails.
    fn rule(&self, op: Op, name: &[u8]) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.op == op && self.is_struck(op, name, rule.one_in))
    }

    /// Fails where a rule applies.
    fn strike(&self, op: Op, name: &[u8]) -> Result<()> {
        let Some(rule) = self.rule(op, name) else { return Ok(()) };
        self.injected.fetch_add(1, Ordering::Relaxed);
        Err(op.errno(rule.errno))
    }

    /// Returns whether a rule or action applies to reads of a file of that name.
    fn concern_reads_of(&self, name: &[u8]) -> bool {
        self.short_reads || self.happening_at(name).is_some() || self.rule(Op::Read, name).is_some()
    }

    /// Finds the action after each read from a file of that name.
    fn happening_at(&self, name: &[u8]) -> Option<&(dyn Fn() + Send + Sync)> {
        self.meanwhile.as_ref().filter(|(of, _)| of == name).map(|(_, operation)| &**operation)
    }
}

/// A store around another one, with faults.
pub struct FaultyStore<S> {
    inner: S,
    faults: Arc<Faults>,
}

impl<S: Store> FaultyStore<S> {
    /// Adds faults to `inner`.
    pub fn new(inner: S, faults: Arc<Faults>) -> Self {
        Self { inner, faults }
    }
}

impl<S: Store> StoreDecorator for FaultyStore<S> {
    fn inner(&self) -> &dyn Store {
        &self.inner
    }

    fn open_dir(&self, path: &RelPath) -> Result<Arc<dyn Dir>> {
        self.faults.strike(Op::Open, last_name(path))?;
        let inner = self.inner.open_dir(path)?;
        Ok(FaultyDir::around(inner, &self.faults))
    }

    fn make_dir(&self, path: &RelPath, mode: u32) -> Result<Made> {
        if let Some((parent, name)) = path.split_last() {
            self.faults.strike(Op::Open, last_name(&parent))?;
            self.faults.strike(Op::MakeDir, name.to_bytes())?;
        }
        self.inner.make_dir(path, mode)
    }

    fn set_each(&self, directories: &[(RelPath, Attributes)]) -> Vec<Result<Preserved>> {
        let is_struck = |path| self.faults.rule(Op::Open, last_name(path)).is_some();
        if !directories.iter().any(|(path, _)| is_struck(path)) {
            return self.inner.set_each(directories);
        }
        let set = |(path, attributes): &(RelPath, Attributes)| {
            StoreDecorator::open_dir(self, path)?.set_attributes(attributes)
        };
        directories.iter().map(set).collect()
    }

    fn remove_keys(&self, keys: &[String]) -> Result<Vec<(usize, Error)>> {
        keys.iter().try_for_each(|key| self.faults.strike(Op::Remove, key.as_bytes()))?;
        self.inner.remove_keys(keys)
    }

    fn look(&self, path: &RelPath) -> Result<Metadata> {
        self.faults.strike(Op::Stat, last_name(path))?;
        self.inner.look(path)
    }

    fn look_each(&self, paths: &[RelPath]) -> Vec<Result<Metadata>> {
        let looked = self.inner.look_each(paths).into_iter();
        let struck = |path| self.faults.strike(Op::Stat, last_name(path));
        looked.zip(paths).map(|(looked, path)| struck(path).and(looked)).collect()
    }

    /// Fails where a rule for the empty name applies, since the root has no name of its own here.
    fn sync(&self) -> Result<()> {
        self.faults.strike(Op::Sync, b"")?;
        self.inner.sync()
    }
}

fn last_name(path: &RelPath) -> &[u8] {
    path.components().last().unwrap_or_default()
}
