//! Tests of the number of system calls that an entry costs. On a parallel file system most of them
//! are a request to a server.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use suite_tests::job::{program, run};
use suite_tests::sandbox::Sandbox;
use suite_tests::trees;

/// Calls on files, with and without glibc's names.
const CALLS: &str = "trace=open,openat,openat2,stat,lstat,fstat,newfstatat,statx,access,faccessat,\
    faccessat2,listxattr,llistxattr,flistxattr,getxattr,lgetxattr,fgetxattr,setxattr,lsetxattr,\
    fsetxattr,read,pread64,write,pwrite64,copy_file_range,sendfile,ioctl,lseek,ftruncate,fallocate,\
    fsync,fdatasync,chmod,fchmod,fchmodat,chown,fchown,fchownat,utimensat,close,rename,renameat,\
    renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,readlink,readlinkat";

const DIRECTORIES: usize = 10;
const FILES: [usize; 2] = [10, 60];

/// Returns how often each call is made.
fn calls(trace: &Path, words: &[&str], paths: &[&Path]) -> BTreeMap<String, usize> {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-e", "signal=none", "-e", CALLS, "-o"]).arg(trace);
    strace.arg(program(words[0])).arg("--threads=1").args(&words[1..]).args(paths);
    run(&mut strace).expect(0);
    let mut counts = BTreeMap::new();
    for line in fs::read_to_string(trace).unwrap().lines() {
        // The beginning of a call that was interrupted counts, its end does not.
        let call = line.split_once(' ').unwrap().1.trim_start();
        if let Some((name, _)) = call.split_once('(').filter(|(name, _)| !name.contains(' ')) {
            *counts.entry(name.to_owned()).or_default() += 1;
        }
    }
    counts
}

/// Returns the calls that each file adds, in trees that differ only in the number of files.
fn calls_of_a_file(words: &[&str], is_target_there: bool) -> BTreeMap<String, usize> {
    let work = Sandbox::new();
    let [few, many] = FILES.map(|files| {
        let (source, target) = (work.at(format!("s{files}")), work.at(format!("t{files}")));
        trees::small_files(&source, DIRECTORIES, files);
        if is_target_there {
            run(Command::new("cp").arg("-a").args([&source, &target])).expect(0);
        }
        let paths = [&*source, &*target];
        let paths = if words[0] == "dwalk" { &paths[..1] } else { &paths[..] };
        calls(&work.at("trace"), words, paths)
    });
    let files = DIRECTORIES * (FILES[1] - FILES[0]);
    // The engine makes some calls that depend on time.
    let of_a_file = |(name, count): (String, usize)| {
        let added = count.saturating_sub(few.get(&name).copied().unwrap_or(0));
        (name, (added + files / 2) / files)
    };
    many.into_iter().map(of_a_file).filter(|(_, count)| *count > 0).collect()
}

#[track_caller]
fn assert_calls(words: &[&str], is_target_there: bool, expected: &[(&str, usize)]) {
    let expected: BTreeMap<String, usize> =
        expected.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
    assert_eq!(calls_of_a_file(words, is_target_there), expected, "{words:?}");
}

#[test]
fn a_new_file_costs_nine_calls_and_two_more_where_attributes_are_preserved() {
    let copy = [
        ("close", 2),
        ("openat", 2),
        ("pread64", 1),
        ("pwrite64", 1),
        ("renameat", 1),
        // Before and after the content is read.
        ("statx", 2),
    ];
    assert_calls(&["dcp"], false, &copy);
    let preserved = [&copy[..], &[("flistxattr", 1), ("utimensat", 1)]].concat();
    assert_calls(&["dcp", "-p"], false, &preserved);
}

#[test]
fn an_unchanged_entry_costs_one_look_on_each_side() {
    assert_calls(&["dwalk"], false, &[("statx", 1)]);
    assert_calls(&["dsync", "-D", "--xattrs=none"], true, &[("statx", 2)]);
    assert_calls(&["dcmp", "--lite", "--xattrs=none"], true, &[("statx", 2)]);
}
