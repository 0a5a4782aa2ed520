//! Comparing all of source and target when a copy has ended.

use std::ffi::CString;

use super::compare::{self, CompareRequest};
use crate::surface::cli::CommonArgs;
use crate::surface::filter_args::FilterArgs;
use crate::surface::named_args::NamedArgs;
use crate::surface::session::Session;
use ops::compare::options::{CompareOptions, Evidence};
use ops::copy::options::{CopyOptions, HardLinks, Verify};
use ops::copy::root::RootPlan;
use ops::walk::selection::OwnThings;
use store::opening::Symlinks;
use types::attributes::keep::{Chown, Keep, XattrChoice};
use types::exit::Exit;
use types::outcome::difference::Fields;
use types::path;

/// Entries that are verified.
pub(super) struct Part {
    pub filters: FilterArgs,
    pub named: NamedArgs,
    /// Files that the job itself has put beside the content.
    pub own: OwnThings,
}

/// Why all cannot be compared, if it cannot.
pub(super) fn refusal(options: &CopyOptions) -> Option<String> {
    let follows = options.verify == Verify::All && options.symlinks == Symlinks::Follow;
    follows.then(|| {
        "--verify all compares links, and -L follows them; use --verify transferred".to_owned()
    })
}

/// Compares the copies of all roots with their sources, in what was to be kept.
pub(super) fn compare_all(
    session: &mut Session<'_, '_>,
    roots: &[RootPlan],
    options: &CopyOptions,
    part: &Part,
    args: &CommonArgs,
) -> Exit {
    if options.verify != Verify::All || options.dry_run {
        return Exit::Ok;
    }
    let mut worst = Exit::Ok;
    let pairs = |root: &RootPlan| pairs(root, options.symlinks);
    for (source, target, symlinks) in roots.iter().flat_map(pairs) {
        let request = CompareRequest {
            source,
            target,
            symlinks,
            options: compare_options(options, args),
            filters: part.filters.clone(),
            named: part.named.clone(),
            own: Some(part.own.clone()),
            combined: None,
            outputs: Vec::new(),
        };
        worst = worst.worst(compare::run(session, &request, args));
    }
    worst
}

/// The paths that are to be equal. A directory's contents may be named by a link to it; a link that
/// is named as an entry was copied as one, unless it was followed.
fn pairs(root: &RootPlan, symlinks: Symlinks) -> Vec<(Vec<u8>, Vec<u8>, Symlinks)> {
    let Some(singles) = &root.singles else {
        return vec![(root.source.clone(), root.target.clone(), Symlinks::Follow)];
    };
    let pair = |name: &CString| {
        let copy = singles.renamed.as_ref().unwrap_or(name);
        let of = |dir: &[u8], name: &CString| path::join(dir, name.to_bytes());
        (of(&root.source, name), of(&root.target, copy), symlinks)
    };
    singles.names.iter().map(pair).collect()
}

fn compare_options(options: &CopyOptions, args: &CommonArgs) -> CompareOptions {
    let deletes = options.sync.as_ref().is_some_and(|sync| sync.delete);
    let tell = args.line_format();
    CompareOptions {
        counted: kept(&options.keep),
        xattrs: options.keep.xattrs,
        lite: false,
        evidence: Evidence::Checksums,
        hard_links: options.hard_links == HardLinks::Keep,
        one_way: !deletes,
        prune_empty_dirs: false,
        // As the copy chose.
        chosen_by_source: true,
        bypass_cache: true,
        atime: options.transfer.atime,
        chunk_bytes: options.chunk_bytes,
        buffer_bytes: options.buffer_bytes,
        combined: None,
        tell: (!args.quiet).then_some(tell),
        outputs: Vec::new(),
    }
}

/// Fields in which a copy must equal its source.
fn kept(keep: &Keep) -> Fields {
    let content = [Fields::TYPE, Fields::SIZE, Fields::LINK, Fields::CONTENT];
    let own_owner = keep.chown == Chown::default();
    let attributes = [
        (keep.times, Fields::MTIME),
        (keep.owner && own_owner, Fields::UID.union(Fields::GID)),
        (keep.mode && keep.chmod.is_none(), Fields::PERM),
        (keep.acls && keep.chmod.is_none(), Fields::ACL),
        (keep.xattrs != XattrChoice::None, Fields::XATTR),
    ];
    let counted = attributes.into_iter().filter(|(is_kept, _)| *is_kept).map(|(_, field)| field);
    content.into_iter().chain(counted).fold(Fields::NONE, Fields::union)
}
