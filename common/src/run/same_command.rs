//! Recognising an interrupted run of the same command: the journal of these locations, names and
//! options, however they are spelled now.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use serde::Serialize;

use super::found_journal::Found;
use crate::surface::copy_args::RequestedCopy;
use crate::surface::filter_args::FilterArgs;
use crate::surface::named_args::NamedArgs;
use crate::surface::reporter::Reporter;
use crate::surface::s3_args::{CopyTagsArg, OnOff, S3Args, SchemaArg};
use lists::as_path;
use ops::copy::options::{ChangeTest, CopyOptions, HardLinks};
use ops::copy::plan;
use ops::journal::folder::{self, Refusal, Start, absolute};
use ops::journal::job::{JobRecord, MadeTarget, NamesFrom, Setting, SourcePlace, UMASK};
use ops::resolver::StoreResolver;
use store::opening::Symlinks;
use types::attributes::keep::{Chown, XattrChoice};
use types::content::crc64::Crc64;
use types::content::transfer::{Reflink, Rewriting, Sparse};
use types::entry::{Kind, Time};
use types::error::Side;
use types::exit::Exit;
use types::limits::{JOURNALS_MAX, NAMES_COMPARED_MAX, SETTING_BYTES_MAX};
use types::operand::container::ContainerPath;
use types::operand::placement::{Given, TargetIs, without_slashes};
use types::operand::staged_name::journal_name;
use types::outcome::compare;
use types::outcome::difference::Fields;
use types::path::{escaped, join};

/// Command to recognise.
#[derive(Clone, Copy)]
pub(super) struct Command<'c> {
    pub tool: &'c str,
    pub sources: &'c [Vec<u8>],
    pub target: &'c [u8],
    pub requested: &'c RequestedCopy,
    pub s3: &'c S3Args,
}

/// Rank 0 looks for the job that was stopped, and begins a journal where one is wanted.
///
/// # Errors
/// How the job ends, and one line that says what is wrong and what to do.
pub(super) fn find(
    command: Command<'_>,
    resolver: &StoreResolver,
    reporter: &mut Reporter,
) -> Result<Found, (Exit, String)> {
    let found = find_now(command, resolver, reporter)?;
    let is_first = found.dir.is_some() && found.earlier.is_none() && !found.is_copy_there;
    if is_first && command.is_to_go_on() && command.copy_there(resolver) == Likeness::Copy {
        // A job of the same command has ended since this one has looked.
        found.give_up();
        drop(found);
        return find_now(command, resolver, reporter);
    }
    Ok(found)
}

fn find_now(
    command: Command<'_>,
    resolver: &StoreResolver,
    reporter: &mut Reporter,
) -> Result<Found, (Exit, String)> {
    let (request, options) = (&command.requested.resume, &command.requested.options);
    let mut job = command.record(resolver);
    let beside =
        if is_path(resolver, Side::Target, command.target) { beside(&job) } else { Vec::new() };
    let candidates = request.dir.clone().map_or(beside, |dir| vec![dir]);
    let looked = look(&candidates, &job, request.dir.is_some(), reporter)
        .map_err(|refusal| (refusal.exit, refusal.words))?;
    let mut found = Found {
        dir: None,
        earlier: looked.earlier,
        start: request.start,
        is_copy_there: false,
        planned: None,
        locks: None,
    };
    if let Some(dir) = &looked.dir
        && is_target_gone(dir, found.earlier.as_ref(), command.target)
            .map_err(|refusal| (refusal.exit, refusal.words))?
    {
        let why = "its target was removed or replaced: the journal is discarded, and the copy starts over";
        reporter.warn(&format!("journal {}: {why}", escaped(dir)));
        (found.earlier, found.start) = (None, Start::Forget);
    }
    if command.is_to_go_on() && found.earlier.is_none() {
        match command.copy_there(resolver) {
            Likeness::Copy => found.is_copy_there = true,
            Likeness::Alike if !command.is_begun_meanwhile(looked.dir.as_deref(), resolver) => {
                return Err((Exit::Usage, command.unclear_place()));
            }
            Likeness::Alike | Likeness::Other => {}
        }
    }
    let is_asked_for = request.dir.is_some() || request.is_wanted || looked.is_ours;
    if let (true, Some(dir), Some(_)) = (options.dry_run, &looked.dir, &found.earlier) {
        let written_bytes = folder::written_bytes(as_path(dir)).unwrap_or(0);
        found.planned = Some((dir.clone(), written_bytes)).filter(|_| found.start == Start::Resume);
    }
    match looked.dir {
        _ if options.dry_run || !is_asked_for => return Ok(found),
        Some(dir) => found.dir = Some(dir),
        None if request.is_wanted => return Err((Exit::Usage, command.no_place(&candidates))),
        None => return Ok(found),
    }
    // Looked at only where it is to be remembered: it may be a request to a service.
    job.target_was = if found.is_copy_there {
        TargetIs::Missing
    } else {
        plan::target_is(resolver, command.target)
    };
    job.is_copy_new = match job.target_was {
        TargetIs::Missing => true,
        TargetIs::Directory => command.is_new_in_target(resolver),
        TargetIs::NotDirectory => false,
    };
    let dir = found.dir.as_deref().unwrap_or_default();
    let begun = folder::begin(as_path(dir), &job, found.start)
        .map_err(|refusal| (refusal.exit, refusal.words))?;
    (found.earlier, found.locks) = (begun.earlier, Some(begun.locks));
    Ok(found)
}

impl Command<'_> {
    /// Record for the journal; the target is not inspected yet.
    fn record(&self, resolver: &StoreResolver) -> JobRecord {
        let source = |path: &Vec<u8>| SourcePlace {
            path: self.full_path(resolver, Side::Source, path),
            is_contents: !self.requested.options.mirrors() && Given::new(path).means_contents,
        };
        JobRecord {
            tool: self.tool.to_owned(),
            sources: self.sources.iter().map(source).collect(),
            target: self.full_path(resolver, Side::Target, self.target),
            target_was: TargetIs::Missing,
            is_copy_new: false,
            names: names_from(&self.requested.named),
            settings: self.settings(resolver),
            began: Time::now(),
        }
    }

    fn is_to_go_on(&self) -> bool {
        self.requested.resume.is_wanted && self.requested.resume.start == Start::Resume
    }

    /// Options that decide what is written there, as far as they were given.
    fn settings(&self, resolver: &StoreResolver) -> Vec<Setting> {
        let RequestedCopy { options, filters, .. } = self.requested;
        let all = settings(options, filters).into_iter().chain(sync_settings(options));
        let to_objects = resolver.is_object(Side::Target, self.target);
        let of_objects = to_objects.then(|| object_settings(self.s3)).into_iter().flatten();
        let given = all.chain(of_objects).filter(|(_, value)| !value.is_empty());
        given.map(|(name, value)| Setting { name: name.to_owned(), value }).collect()
    }

    /// A place however it is spelled; what is no path means the same from everywhere.
    fn full_path(&self, resolver: &StoreResolver, side: Side, path: &[u8]) -> Vec<u8> {
        if !is_path(resolver, side, path) {
            let service = resolver.objects(side, path).map(|(store, _)| store.shown_endpoint());
            let at = service.map_or_else(String::new, |service| format!(" at {service}"));
            return [without_slashes(path), at.as_bytes()].concat();
        }
        let given = Given::new(path);
        let follows = side == Side::Target
            || given.means_contents
            || self.requested.options.mirrors()
            || self.requested.options.symlinks == Symlinks::Follow;
        let is_link = || fs::symlink_metadata(as_path(path)).is_ok_and(|it| it.is_symlink());
        let real = (follows || !is_link()).then(|| resolver.real_path(side, path)).flatten();
        let within =
            || Some(join(&resolver.real_path(side, &given.parent())?, given.last_name.as_ref()?));
        real.or_else(within).unwrap_or_else(|| absolute(path))
    }

    fn no_place(&self, candidates: &[Vec<u8>]) -> String {
        let shown = escaped(self.target);
        match candidates.first() {
            None => {
                format!(
                    "there is no location for a journal beside {shown}; name one with --journal"
                )
            }
            Some(_) => format!(
                "{} journals of other jobs are beside {shown}; name another location with --journal",
                candidates.len()
            ),
        }
    }

    /// True if the target has no entry of the name under which it is to receive the one source.
    fn is_new_in_target(&self, resolver: &StoreResolver) -> bool {
        let [source] = self.sources else { return false };
        let given = Given::new(source);
        let receives = !self.requested.options.mirrors() && !given.means_contents;
        let name = given.last_name.as_ref().filter(|_| receives);
        let is_missing = |name: &Vec<u8>| {
            let looked = resolver.look(Side::Target, &join(self.target, name), Symlinks::Keep);
            looked.is_err_and(|error| error.cause.is_vanished())
        };
        name.is_some_and(is_missing)
    }

    /// Likeness of target and source where there is no journal: a successful run leaves none, and
    /// the same command means the same place. A copy's time of change is the source's, and so are
    /// entries in it; where the source was changed since, names are left that tell.
    fn copy_there(&self, resolver: &StoreResolver) -> Likeness {
        self.compare_with_target(resolver).unwrap_or(Likeness::Other)
    }

    fn compare_with_target(&self, resolver: &StoreResolver) -> Option<Likeness> {
        let [source] = self.sources else { return None };
        let given = Given::new(source);
        let name = given.last_name.as_ref().filter(|_| !given.means_contents)?;
        let paths =
            is_path(resolver, Side::Source, source) && is_path(resolver, Side::Target, self.target);
        if !paths
            || self.requested.options.mirrors()
            || fs::symlink_metadata(as_path(&join(self.target, name))).is_ok()
        {
            return None;
        }
        let from = resolver.look(Side::Source, source, self.requested.options.symlinks).ok()?;
        let to = resolver.look(Side::Target, self.target, Symlinks::Follow).ok()?;
        if [from.kind, to.kind] != [Kind::Directory; 2] || from.is_same_file(&to) {
            return None;
        }
        let mut names = Names::default();
        for entry in fs::read_dir(as_path(source)).ok()?.take(NAMES_COMPARED_MAX) {
            let entry = entry.ok()?;
            let there = fs::symlink_metadata(as_path(self.target).join(entry.file_name()));
            names.add(&entry.metadata().ok()?, there.ok().as_ref());
        }
        let is_as_old =
            compare::attributes(&from, &to, Fields::MTIME, compare::TimeRange::All).is_empty();
        Some(names.likeness(is_as_old))
    }

    /// Error: another process of the same command has begun to copy since this one has searched for
    /// its journal.
    fn is_begun_meanwhile(&self, journal: Option<&[u8]>, resolver: &StoreResolver) -> bool {
        let is_there = |dir: &[u8]| folder::read(as_path(dir)).is_ok_and(|job| job.is_some());
        journal.is_some_and(is_there) || self.copy_there(resolver) == Likeness::Copy
    }

    fn unclear_place(&self) -> String {
        let [source, target] = [&self.sources[0], self.target].map(escaped);
        let source = source.trim_end_matches('/');
        let name = Given::new(&self.sources[0]).last_name.unwrap_or_default();
        let within = escaped(&join(self.target, &name));
        format!(
            "{target} has entries of {source} and may be an earlier copy of it whose journal is \
             gone; write {source}/ {target} to resume it, or {source} {within} for a copy in it"
        )
    }
}

/// How a directory compares with the source that a command names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Likeness {
    /// Target that is the copy, as a successful run leaves it.
    Copy,
    /// Target that may be the copy: it has most of its names.
    Alike,
    /// Target that is something else, and receives the source.
    Other,
}

/// Names of the source, by what the target has of them.
#[derive(Debug, Default)]
struct Names {
    missing: usize,
    same: usize,
    /// Entries of the same type.
    alike: usize,
    different: usize,
}

impl Names {
    fn add(&mut self, here: &fs::Metadata, there: Option<&fs::Metadata>) {
        let is_same = |there: &fs::Metadata| {
            !here.is_file() || (here.len(), here.mtime()) == (there.len(), there.mtime())
        };
        let count = match there {
            None => &mut self.missing,
            Some(there) if here.file_type() != there.file_type() => &mut self.different,
            Some(there) if is_same(there) => &mut self.same,
            Some(_) => &mut self.alike,
        };
        *count += 1;
    }

    fn likeness(&self, is_as_old: bool) -> Likeness {
        let found = self.same + self.alike;
        if is_as_old && self.same > 0 && self.alike + self.different == 0 {
            Likeness::Copy
        } else if found > 0 && found >= self.missing + self.different {
            Likeness::Alike
        } else {
            Likeness::Other
        }
    }
}

fn is_path(resolver: &StoreResolver, side: Side, path: &[u8]) -> bool {
    let is_container = ContainerPath::parse(path).is_ok_and(|parsed| parsed.is_some());
    !resolver.is_object(side, path) && !resolver.is_remote(path) && !is_container
}

/// Journals found where this command's may be.
struct Looked {
    /// Directory of the journal, existing or to be made.
    dir: Option<Vec<u8>>,
    /// The job, where there is one that this is once more.
    earlier: Option<JobRecord>,
    is_ours: bool,
}

fn look(
    candidates: &[Vec<u8>],
    job: &JobRecord,
    is_named: bool,
    reporter: &mut Reporter,
) -> Result<Looked, Refusal> {
    let mut free = None;
    let mut others = Vec::new();
    for dir in candidates {
        match folder::read(as_path(dir)) {
            Ok(Some(earlier)) if earlier.is_same_job(job) => {
                return Ok(Looked {
                    dir: Some(dir.clone()),
                    earlier: Some(earlier),
                    is_ours: true,
                });
            }
            Ok(Some(earlier)) if is_named => {
                return Err(Refusal::of_other_job(as_path(dir), &earlier));
            }
            Ok(Some(earlier)) => others.push((dir, earlier)),
            // Another user's, perhaps; where it is to be used that is told.
            Err(error) if is_named || error.kind() == std::io::ErrorKind::InvalidData => {
                return Err(Refusal::of_system(as_path(dir), &error));
            }
            Ok(None) => free = free.or_else(|| Some(dir.clone())),
            Err(_) => {}
        }
    }
    for (dir, earlier) in others {
        let dir = escaped(dir);
        reporter
            .warn(&format!("journal {dir} belongs to another job, {earlier}; it is not changed"));
    }
    Ok(Looked { dir: free, earlier: None, is_ours: false })
}

/// Directories in which a journal of these locations may be, if the operator names none: several
/// jobs may be interrupted there.
fn beside(job: &JobRecord) -> Vec<Vec<u8>> {
    let given = Given::new(&job.target);
    let Some(name) = given.last_name.as_ref().map(|name| escaped(name)) else { return Vec::new() };
    let sources = job.sources.iter().map(|source| &source.path);
    let places: Vec<_> = sources.chain([&job.target]).cloned().collect();
    let sum = Crc64::of(&places.join(&0)).0;
    let journal = |number: u32| match number {
        1 => journal_name(&name, sum),
        _ => format!("{}-{number}", journal_name(&name, sum)),
    };
    (1..=JOURNALS_MAX).map(|number| join(&given.parent(), journal(number).as_bytes())).collect()
}

/// The directory that a stopped job has made has not got its name any more.
fn is_target_gone(dir: &[u8], earlier: Option<&JobRecord>, target: &[u8]) -> Result<bool, Refusal> {
    if earlier.is_none_or(|earlier| earlier.target_was != TargetIs::Missing) {
        return Ok(false);
    }
    let made = folder::made_target(as_path(dir))
        .map_err(|error| Refusal::of_system(as_path(dir), &error))?;
    let is_other = |now: MadeTarget| made.is_some_and(|made| made != now);
    Ok(MadeTarget::at(as_path(target)).is_some_and(is_other))
}

fn names_from(named: &NamedArgs) -> Option<NamesFrom> {
    let of = |option: &str, path: Vec<u8>| {
        let metadata = fs::metadata(as_path(&path)).ok();
        // What comes through a pipe is taken for the same.
        let metadata = metadata.filter(|metadata| metadata.is_file() || metadata.is_dir());
        let version = metadata.map(|metadata| {
            let nanoseconds = metadata.mtime_nsec() as u32;
            (metadata.len(), Time { seconds: metadata.mtime(), nanoseconds })
        });
        let path = version
            .and_then(|_| fs::canonicalize(as_path(&path)).ok())
            .map_or(path, |path| path.into_os_string().into_encoded_bytes());
        NamesFrom { option: option.to_owned(), path, version }
    };
    let list = named.input().map(|list| of("--input", list));
    list.or_else(|| named.files_from().map(|file| of("--files-from", file)))
}

/// An option and what it was given; empty where it was not.
type Choice = (&'static str, String);

fn yes(is: bool) -> String {
    if is { "yes".to_owned() } else { String::new() }
}

fn settings(options: &CopyOptions, filters: &FilterArgs) -> Vec<Choice> {
    let CopyOptions { symlinks, hard_links, keep, transfer, .. } = options;
    // Each field is named, so that a new filter is compared, too.
    let FilterArgs { rules, min_size, max_size, min_age, max_age, max_depth, one_file_system } =
        filters;
    vec![
        ("--dereference", yes(*symlinks == Symlinks::Follow)),
        ("--hard-links", yes(*hard_links == HardLinks::Keep)),
        ("--preserve=mode", yes(keep.mode)),
        ("--preserve=acl", yes(keep.acls)),
        ("--preserve=ownership", yes(keep.owner)),
        ("--preserve=xattr", unless(&keep.xattrs, &XattrChoice::None)),
        ("--specials", yes(keep.specials)),
        ("--devices", yes(keep.devices)),
        ("--chown", unless(&keep.chown, &Chown::default())),
        ("--chmod", unless(&keep.chmod, &None)),
        ("--sparse", unless(&transfer.sparse, &Sparse::Auto)),
        ("--reflink", unless(&transfer.reflink, &Reflink::Auto)),
        ("--stripe", unless(&transfer.stripe, &None)),
        ("--inplace", yes(transfer.rewriting == Rewriting::InPlace)),
        ("--include, --exclude", shortened(unless(&rules.list, &Vec::new()))),
        ("--min-size", unless(min_size, &None)),
        ("--max-size", unless(max_size, &None)),
        ("--min-age", unless(min_age, &None)),
        ("--max-age", unless(max_age, &None)),
        ("--max-depth", unless(max_depth, &None)),
        ("--one-file-system", yes(*one_file_system)),
        ("--prune-empty-dirs", yes(options.prune_empty_dirs)),
        // Without it modes are the source's.
        (
            UMASK,
            if keep.decides_mode() { String::new() } else { format!("{:03o}", options.job.umask) },
        ),
    ]
}

fn sync_settings(options: &CopyOptions) -> Vec<Choice> {
    let Some(sync) = &options.sync else { return Vec::new() };
    vec![
        ("--checksum, --size-only", unless(&sync.change_test, &ChangeTest::SizeAndTime)),
        ("--update", yes(sync.update)),
        ("--use-server-modtime", yes(sync.use_server_modtime)),
        ("--ignore-existing", yes(sync.ignore_existing)),
        ("--existing", yes(sync.existing)),
        ("--delete", yes(sync.delete)),
        ("--link-dest, --compare-dest", unless(&sync.old_copy, &None)),
        ("--modify-window", unless(&sync.modify_window, &Duration::ZERO)),
    ]
}

/// How objects are stored.
fn object_settings(args: &S3Args) -> Vec<Choice> {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    vec![
        ("--s3-metadata", unless(&args.s3_metadata, &SchemaArg::Aws)),
        ("--s3-directory-markers", yes(args.s3_directory_markers == Some(OnOff::On))),
        ("--s3-copy-tags", unless(&args.s3_copy_tags, &CopyTagsArg::Auto)),
        ("--acl", text(&args.acl)),
        ("--storage-class", text(&args.storage_class)),
        ("--sse", text(&args.sse)),
        ("--sse-kms-key-id", text(&args.sse_kms_key_id)),
    ]
}

/// A long value as its checksum: lists of patterns may have thousands.
fn shortened(value: String) -> String {
    if value.len() <= SETTING_BYTES_MAX {
        return value;
    }
    format!("{} bytes, CRC-64 {:016x}", value.len(), Crc64::of(value.as_bytes()).0)
}

/// A value as it is compared; nothing where it is what it is without being asked for.
fn unless<T: Serialize + PartialEq>(value: &T, default: &T) -> String {
    if value == default {
        return String::new();
    }
    serde_json::to_string(value).unwrap_or_default()
}
