//! Advice on options of other movers that have no counterpart under their own name.

const IN_DSYNC: &str = "use dsync, which makes TARGET equal to SOURCE and has this option";
const DELETING: &str = "use dsync --delete (-D), which makes TARGET equal to SOURCE";
const DELETED_AFTER: &str =
    "write --delete (-D), which deletes last; with --existing --ignore-existing it only deletes";
const NO_RSYNC: &str = "dcp is started on the other host; --agent-path says where it is";
const NO_MOVE: &str = "use dcp --remove-source, with --update for what has changed";
const MOVES_DIRS: &str =
    "write --remove-source, which also deletes the directories that are empty then";
const NO_BACKUP: &str =
    "replaced files are not backed up; copy to a new directory with --link-dest";
const STAGED: &str = "files are always written under a temporary name beside the final one";
const NAMED: &str = "name the paths with --files-from, below one SOURCE";
const OWNERSHIP: &str = "owners are preserved with -p, or by --preserve=ownership";
const NOT_OWNERSHIP: &str = "owner and group go together: write --no-preserve=ownership";
const FORCED: &str = "a directory is replaced by a file only with --delete";
const WHOLE: &str = "there are no rolling checksums: a file that differs is copied whole";
const IN_LISTS: &str =
    "write --exclude or --include for each pattern, or name a list by --exclude-from";
const MOUNTS: &str = "write -x, which stays in one file system";
const ALL_RANKS: &str = "the number of ranks and --threads set the parallelism";
const RECORD: &str = "write standard error to a file, or --json to standard output";
const LISTED: &str = "dwalk -o writes a list of the entries";
const NO_DAEMON: &str = "there is no daemon; other hosts are reached through ssh: USER@HOST:PATH";
const OF_SSH: &str = "write it as an option of ssh, such as -e 'ssh -4'";
const CERTIFICATES: &str = "certificates are always checked; name your own CA by AWS_CA_BUNDLE";
const HASHES: &str = "dwalk --checksum writes checksums, and dcmp compares content";
const OBJECT_OPTIONS: &str = "the options of objects begin with --s3-; --help lists them";
const OPERATIONS: &str = "write --iops-limit N, which counts requests, and operations on files";

/// Tools that an advice is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum For {
    /// Tools that copy.
    Copying,
    /// All.
    All,
    /// dcp.
    Dcp,
    /// dsync.
    Dsync,
}

type Advice = (For, &'static [&'static str], &'static str);

/// Advice by the options that were typed.
const ADVICE: &[Advice] = &[
    (
        For::Dcp,
        &["--delete", "-D", "--del", "--delete-after", "--delete-before", "--delete-during"],
        DELETING,
    ),
    (For::Dcp, &["--delete-delay", "--delete-excluded", "--ignore-errors"], DELETING),
    (For::Dcp, &["--max-delete", "--link-dest"], IN_DSYNC),
    (For::Dsync, &["--delete-before"], DELETED_AFTER),
    (
        For::Dsync,
        &["--delete-excluded"],
        "excluded entries are never deleted; remove them with drm",
    ),
    (For::Dsync, &["--max-delete-size"], "write --max-delete N, a number of entries"),
    (For::Dsync, &["--ignore-errors"], "nothing is deleted after a directory could not be read"),
    (For::Dsync, &["--delete-missing-args", "--ignore-missing-args"], NAMED),
    (For::Copying, &["--copy-dest"], "write --compare-dest, or --link-dest of dsync"),
    (For::Copying, &["--force", "--force-delete"], FORCED),
    (For::Dsync, &["--remove-source-files", "--remove-source", "--delete-empty-src-dirs"], NO_MOVE),
    (For::Dcp, &["--delete-empty-src-dirs"], MOVES_DIRS),
    (For::Copying, &["--backup", "--backup-dir", "--suffix", "--suffix-keep-extension"], NO_BACKUP),
    (For::Copying, &["--append", "--append-verify"], "write --resume, which continues large files"),
    (For::Copying, &["--no-whole-file", "--no-W", "--write-batch", "--read-batch"], WHOLE),
    (For::Copying, &["--only-write-batch"], WHOLE),
    (For::Copying, &["--temp-dir", "-T", "--delay-updates", "--no-inplace"], STAGED),
    (For::Copying, &["--partial-suffix"], STAGED),
    (For::Copying, &["--preallocate"], "space is not reserved; a full target is an error"),
    (For::Copying, &["-R"], RELATIVE),
    (For::Copying, &["--relative", "--parents", "--no-relative", "--no-R"], NAMED),
    (For::Copying, &["--no-implied-dirs", "--dirs", "-d", "--old-dirs"], NAMED),
    (
        For::Copying,
        &["--target-directory", "--no-target-directory"],
        "name TARGET last; TARGET/ is a directory",
    ),
    (For::Copying, &["--files-from-raw"], "write --files-from, which takes paths as they are"),
    (
        For::Copying,
        &["--copy-unsafe-links", "--safe-links", "--munge-links", "--insecure-links"],
        LINKS,
    ),
    (
        For::Copying,
        &["--copy-dirlinks", "--keep-dirlinks", "-K", "--skip-links", "--confine-root"],
        LINKS,
    ),
    (
        For::Copying,
        &["--copy-devices", "--write-devices"],
        "write --devices to copy devices as devices",
    ),
    (
        For::Copying,
        &["--no-specials", "--no-devices", "--no-D", "--drop-D"],
        "write -p in place of -a, which skips them",
    ),
    (
        For::Copying,
        &["--executability", "-E"],
        "modes are preserved with -p, or by --preserve=mode",
    ),
    (For::Copying, &["--no-perms", "--no-p"], "write --no-preserve=mode"),
    (For::Copying, &["--no-acls", "--no-A"], "write --no-preserve=acl"),
    (
        For::Copying,
        &["--no-times", "--no-t", "--no-update-modtime"],
        "write --no-preserve=timestamps",
    ),
    (For::Copying, &["--no-owner", "--no-o", "--no-group", "--no-g"], NOT_OWNERSHIP),
    (For::Copying, &["--no-xattrs", "--no-X"], "write --no-preserve=xattr"),
    (
        For::Copying,
        &["--no-links", "--no-l"],
        "write --exclude for the links, or -L to follow them",
    ),
    (For::Copying, &["--no-recursive", "--no-r"], NAMED),
    (For::Copying, &["--no-hard-links", "--no-H"], "write --no-preserve=links"),
    (For::Copying, &["--atimes", "--open-noatime-source"], "access times are preserved with -p"),
    (For::Copying, &["--crtimes", "-N"], "the time of creation cannot be set on Linux"),
    (
        For::Copying,
        &["--omit-dir-times", "-O", "--omit-link-times", "-J", "--no-update-dir-modtime"],
        TIMES,
    ),
    (For::Copying, &["--super", "--fake-super"], "start the job as root to preserve owners"),
    (
        For::Copying,
        &["--usermap", "--groupmap", "--copy-as", "--metadata-set", "--metadata-mapper"],
        MAPPED,
    ),
    (For::Copying, &["-o", "--owner"], OWNERSHIP),
    (For::Copying, &["-g", "--group"], OWNERSHIP),
    (For::Copying, &["--daos-preserve"], "DAOS's own properties of a container are not copied"),
    (For::Copying, &["--rsync-path", "--remote-option", "--trust-sender"], NO_RSYNC),
    (For::Copying, &["--address", "--port", "--sockopts", "--ipv4", "--ipv6", "-4", "-6"], OF_SSH),
    (
        For::Copying,
        &[
            "--password-file",
            "--early-input",
            "--protocol",
            "--daemon",
            "--config-daemon",
            "--iconv",
        ],
        NO_DAEMON,
    ),
    (For::All, &["--tpslimit", "--tpslimit-burst"], OPERATIONS),
    (For::All, &["--bwlimit"], "no content is moved; write --iops-limit N"),
    (For::Copying, &["--bwlimit-file"], "write --bwlimit RATE, which is for the whole job"),
    (
        For::Copying,
        &["--stop-after", "--stop-at", "--time-limit", "--max-duration"],
        "start it with timeout(1): SIGTERM ends a job in order, and --resume continues it",
    ),
    (
        For::Copying,
        &["--max-transfer", "--cutoff-mode", "--check-first"],
        "start it with -n first, which prints what would be copied",
    ),
    (
        For::Copying,
        &["--error-on-no-transfer"],
        "--json tells how much was copied: copied.files of the summary",
    ),
    (For::Copying, &["--immutable"], "write --ignore-existing, which changes no existing file"),
    (
        For::Copying,
        &["--ignore-times", "-I", "--no-check-dest", "--ignore-size"],
        "use dcp, which copies without comparing",
    ),
    (For::Copying, &["--refresh-times"], "dsync sets times that differ without copying"),
    (
        For::Copying,
        &["--track-renames", "--track-renames-strategy", "--fuzzy-basis"],
        "a renamed file is copied anew",
    ),
    (For::Copying, &["--cvs-exclude", "-C", "-F"], IN_LISTS),
    (For::Copying, &["--delete-from"], "name the paths to copy with --files-from"),
    (For::All, &["--numworkers"], ALL_RANKS),
    (For::Copying, &["--list-only"], "use dwalk -p, which prints the entries of a tree"),
    (For::Copying, &["--log-file-format"], RECORD),
    (For::Copying, &["--stderr", "--out-format", "--syslog", "--report", "--msgs2stderr"], RECORD),
    (
        For::Copying,
        &["--log-level", "--use-json-log", "--progress-terminal-title", "--stats-log-level"],
        RECORD,
    ),
    (For::Copying, &["--stats-file-name-length", "--stats-one-line-date", "--dump"], RECORD),
    (For::Copying, &["--if-size-differ"], "write --size-only"),
    (For::Copying, &["--if-source-newer"], "write --update (-u)"),
    (For::Copying, &["--no-clobber"], "write --ignore-existing; -n is a dry run here"),
    (For::Copying, &["--flatten"], "name each object as a SOURCE of its own"),
    (For::All, &["--version-id", "--all-versions"], "the latest version of an object is used"),
    (For::All, &["--raw"], "write \\ before a wildcard that is part of a name"),
    (For::Copying, &["--part-size"], "write --s3-part-size 50MiB"),
    (For::Copying, &["--ignore-checksum"], "transfers to and from S3 are always checked"),
    (
        For::Copying,
        &["--ignore-case-sync", "--fix-case", "--name-transform"],
        "names are copied as they are",
    ),
    (
        For::Copying,
        &["--checksum-algorithm", "--checksum-mode"],
        "content is always checked by a checksum",
    ),
    (
        For::Copying,
        &["--exit-on-error"],
        "the rest of a job is done after an error, and the exit code is 23",
    ),
    (For::Copying, &["--keep-directory-symlink"], LINKS),
    (
        For::Copying,
        &["--ignore-glacier-warnings"],
        "an archived object is an error; restore it first",
    ),
    (For::Copying, &["--files-from0"], "write --files-from FILE --from0"),
    (For::All, &["--hash-filter"], "all ranks share the work; it need not be divided"),
    (For::All, &["--credentials-file"], "AWS_SHARED_CREDENTIALS_FILE names the file"),
    (For::All, &["--use-list-objects-v1"], "the service must have ListObjectsV2"),
    (
        For::All,
        &["--rmdirs", "--leave-root"],
        "write drm PATH to delete a tree, and a filter to keep some of it",
    ),
    (For::All, &["--log", "--output", "--query"], RECORD),
    (For::All, &["--stat", "--dest-after"], LISTED),
    (For::All, &["--timeformat", "--dir-slash", "--default-time"], LISTED),
    (
        For::Copying,
        &["--source-region", "--destination-region"],
        "write --s3-region, and --s3-source-region for SOURCE",
    ),
    (
        For::All,
        &["--no-verify-ssl", "--no-check-certificate", "--ca-cert", "--ca-bundle"],
        CERTIFICATES,
    ),
    (
        For::Copying,
        &["--content-type", "--cache-control", "--content-encoding", "--expires"],
        OBJECT_OPTIONS,
    ),
    (
        For::Copying,
        &["--content-disposition", "--content-language", "--website-redirect"],
        OBJECT_OPTIONS,
    ),
    (
        For::Copying,
        &["--metadata-directive", "--copy-props", "--grants", "--expected-size"],
        OBJECT_OPTIONS,
    ),
    (
        For::Copying,
        &["--sse-c", "--sse-c-key", "--sse-c-copy-source", "--sse-c-copy-source-key"],
        OBJECT_OPTIONS,
    ),
    (
        For::All,
        &["--request-payer", "--force-glacier-transfer", "--no-guess-mime-type"],
        OBJECT_OPTIONS,
    ),
    (
        For::Copying,
        &["--exact-timestamps"],
        "times are always compared exactly; --modify-window loosens that",
    ),
    (For::Copying, &["--only-show-errors", "--no-progress", "--quiet-mode"], "write -q"),
    (For::Copying, &["--page-size", "--no-paginate", "--case-conflict"], OBJECT_OPTIONS),
    (
        For::Copying,
        &["--strip-trailing-slashes"],
        "SOURCE/ stands for the contents; leave the slash out",
    ),
    (
        For::Copying,
        &["--attributes-only", "--copy-contents", "--symbolic-link", "--link"],
        "content is copied; cp has this",
    ),
    (
        For::Copying,
        &["--interactive", "--remove-destination", "--unlink"],
        "existing files are replaced; --ignore-existing keeps them",
    ),
    (For::Copying, &["--context", "-Z"], "write --xattrs=all, which has security.selinux"),
    (For::All, &["--depth"], "write --max-depth N"),
    (For::All, &["--one-filesystem", "--xdev", "-xdev"], MOUNTS),
    (For::All, &["--hash", "--hashsum", "--sums", "--checkfile"], HASHES),
    (
        For::All,
        &["--files-only", "--dirs-only", "--format", "--csv", "--separator", "--absolute"],
        LISTED,
    ),
    (
        For::All,
        &["--missing-on-dst", "--missing-on-src", "--match-files", "--differ"],
        "write --combined FILE, which lists all of them",
    ),
    (
        For::All,
        &["--exclude-if-present", "--ignore-case", "--metadata-include", "--metadata-exclude"],
        IN_LISTS,
    ),
    (
        For::All,
        &[
            "--metadata-filter",
            "--metadata-filter-from",
            "--metadata-exclude-from",
            "--metadata-include-from",
        ],
        IN_LISTS,
    ),
    (
        For::All,
        &["--config", "--conf"],
        "RCLONE_CONFIG names rclone.conf, of which remotes are used",
    ),
    (For::All, &["--password-command", "--ask-password"], "an encrypted rclone.conf is not read"),
    (
        For::All,
        &["--dangling", "--humanize", "--etag", "--show-fullpath", "--storage-class-listed"],
        LISTED,
    ),
    (For::All, &["--human", "--summarize"], "sizes and sums are always printed"),
];

const RELATIVE: &str = "directories are copied with their contents, as by cp -R; for rsync's -R name the paths with --files-from, below one SOURCE";
const LINKS: &str = "symbolic links are copied as links; -L follows all of them";
const TIMES: &str = "write --no-preserve=timestamps, which leaves the times of all entries";
const MAPPED: &str = "write --chown USER:GROUP, which gives all copies away";

/// Options of which a tool that does not copy says where they are.
const OF_COPYING: &str = "it is one of dcp and dsync, which copy";

/// Returns advice on an option for the tool `tool`.
pub(super) fn on(name: &str, tool: &str, copies: bool) -> Option<&'static str> {
    let is_for = |whom: For| match whom {
        For::All => true,
        For::Copying => copies,
        For::Dcp => copies && tool != "dsync",
        For::Dsync => copies && tool == "dsync",
    };
    let of_name = || ADVICE.iter().filter(|(_, names, _)| names.contains(&name));
    let found = of_name().find(|(whom, ..)| is_for(*whom)).map(|(.., why)| *why);
    found.or_else(|| of_name().next().filter(|_| !copies).map(|_| OF_COPYING))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_option_has_two_answers_in_a_tool() {
        for (tool, copies) in [("dcp", true), ("dsync", true), ("dwalk", false)] {
            let of_tool = |whom: For| match whom {
                For::Dcp => tool == "dcp",
                For::Dsync => tool == "dsync",
                For::Copying | For::All => true,
            };
            let mut seen = HashSet::new();
            for (_, names, why) in ADVICE.iter().filter(|(whom, ..)| of_tool(*whom)) {
                for name in *names {
                    assert!(seen.insert(name), "{tool} {name} twice");
                    assert!(on(name, tool, copies).is_some(), "{tool} {name}: {why}");
                }
            }
        }
    }
}
