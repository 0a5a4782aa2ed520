//! Tests with another program that swaps directories and files of SOURCE and TARGET for symbolic
//! links, over and over, while the superuser's job works in them: nothing outside the two trees is
//! read, written or deleted.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use fastrand::Rng;
use rustix::fs::{Mode, OFlags, RenameFlags, open, renameat_with, symlinkat};
use suite_tests::job::{Ended, run, tool};
use suite_tests::judge::{Entry, Picture, differences, picture};
use suite_tests::need_root;
use suite_tests::seeds;
use suite_tests::trees::{noise, write};

/// Content that exists only outside both trees.
const SECRET: &[u8] = b"nobody gets this";

/// Directories that are swapped in each tree.
const DIRECTORIES: [&str; 3] = ["a", "b/c", "extra"];

/// Names in each of them; the last one, which is large, is cut into chunks.
const FILES: [(&str, usize); 4] = [("1", 0), ("2", 100), ("deep/3", 5000), ("large", 600_000)];

fn tree(root: &Path, directories: &[&str]) {
    for directory in directories {
        for (name, length) in FILES {
            write(&root.join(directory).join(name), &noise(length));
        }
    }
}

/// Directory that the symbolic links lead to, with the names that the trees have.
struct Outside {
    root: PathBuf,
    files: Vec<PathBuf>,
    before: Picture,
}

impl Outside {
    fn new(root: &Path) -> Self {
        let names = FILES.iter().map(|(name, _)| *name).chain(["precious"]);
        let files: Vec<PathBuf> = names.map(|name| root.join(name)).collect();
        for path in &files {
            write(path, SECRET);
        }
        let outside = Self { root: root.to_owned(), before: picture(root), files };
        // Reading a file sets its access time.
        for path in &outside.files {
            let file = fs::File::options().write(true).open(path).unwrap();
            file.set_times(fs::FileTimes::new().set_accessed(SystemTime::UNIX_EPOCH)).unwrap();
        }
        outside
    }

    /// Returns the files that were read or changed.
    fn trespasses(&self) -> Vec<String> {
        let is_read =
            |path: &&PathBuf| fs::symlink_metadata(path).is_ok_and(|found| found.atime() != 0);
        let read = self.files.iter().filter(is_read);
        let mut wrong: Vec<String> =
            read.map(|path| format!("{} was read", path.display())).collect();
        wrong.extend(differences(&self.before, &picture(&self.root)));
        wrong
    }
}

/// An entry of a tree, and the symbolic link beside it that it is swapped for.
struct Pair {
    /// Handle of the directory: by its path, the flipper itself would be led outside.
    dir: OwnedFd,
    name: &'static str,
    link: String,
    points_to: PathBuf,
}

impl Pair {
    fn new(dir: &Path, name: &'static str, points_to: PathBuf) -> Self {
        let dir = open(dir, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let pair = Self { dir, name, link: format!("{name}.link"), points_to };
        symlinkat(&pair.points_to, &pair.dir, &pair.link).unwrap();
        pair
    }

    fn flip(&self) {
        let Self { dir, name, link, points_to } = self;
        // A job deletes what the source has not.
        if renameat_with(dir, *name, dir, link, RenameFlags::EXCHANGE).is_err() {
            let _ = symlinkat(points_to, dir, link);
        }
    }
}

fn pairs(root: &Path, outside: &Path) -> Vec<Pair> {
    let of = |(parent, name): (&str, &'static str)| {
        let parent = root.join(parent);
        let dir = parent.join(name);
        let pairs = dir.exists().then(|| {
            [
                Pair::new(&dir, "2", outside.join("precious")),
                Pair::new(&dir, "deep", outside.to_owned()),
                Pair::new(&dir, "large", outside.join("large")),
                Pair::new(&parent, name, outside.to_owned()),
            ]
        });
        pairs.into_iter().flatten()
    };
    [("", "a"), ("b", "c"), ("", "extra")].into_iter().flat_map(of).collect()
}

fn flip(pairs: &[Pair], is_over: &AtomicBool, mut random: Rng) {
    while !is_over.load(Ordering::Relaxed) {
        pairs[random.usize(..pairs.len())].flip();
    }
}

fn round(random: &mut Rng) -> Vec<String> {
    let work = seeds::work();
    let [source, target, away] = ["s", "t", "outside"].map(|name| work.path().join(name));
    let is_flipped_at_source = random.bool();
    tree(&source, &DIRECTORIES[..2]);
    tree(&target, if random.bool() { &DIRECTORIES } else { &DIRECTORIES[1..] });
    let outside = Outside::new(&away);
    let pairs = pairs(if is_flipped_at_source { &source } else { &target }, &away);
    let is_over = AtomicBool::new(false);
    let flipper = random.fork();
    let jobs: [&[&str]; 4] = [
        &["dcp", "-p", "-k", "64KiB"],
        &["dsync", "-cD", "-k", "64KiB"],
        &["dsync", "-aD", "--inplace"],
        &["dcmp", "-k", "64KiB"],
    ];
    let ended: Vec<Ended> = std::thread::scope(|scope| {
        scope.spawn(|| flip(&pairs, &is_over, flipper));
        let go = |job: &[&str]| {
            let source = format!("{}/", source.display());
            run(tool(1, job[0]).args(&job[1..]).arg(source).arg(&target))
        };
        let ended = (0..2).flat_map(|_| jobs).map(go).collect();
        is_over.store(true, Ordering::Relaxed);
        ended
    });
    let mut wrong = outside.trespasses();
    let is_secret = |entry: &Entry| entry.content == SECRET;
    let copied = picture(&target).into_iter().filter(|(_, entry)| is_secret(entry));
    wrong.extend(copied.map(|(path, _)| format!("{} has come from outside", path.display())));
    let codes = [Some(0), Some(1), Some(23), Some(24)];
    wrong.extend(
        ended.iter().filter(|ended| !codes.contains(&ended.code)).map(|ended| format!("{ended:?}")),
    );
    wrong.extend((!wrong.is_empty()).then(|| format!("in {}", work.path().display())));
    wrong
}

#[test]
fn nothing_outside_the_trees_is_touched() {
    need_root!();
    seeds::each(10, round);
}
