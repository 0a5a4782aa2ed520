//! The code base keeps the rules it has given itself (`docs/architecture.md`).

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Rust files of a module or below a folder: path from the root, and content.
fn sources(below: &str) -> Vec<(String, String)> {
    let mut waiting = vec![root().join(below), root().join(format!("{below}.rs"))];
    let mut files = Vec::new();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).unwrap();
            waiting.extend(entries.map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") && path.exists() {
            let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
            files.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
    assert!(!files.is_empty());
    files
}

/// Without unit tests and comments.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn only_in(word: &str, below: &str, allowed: &[&str]) {
    for (name, text) in sources(below) {
        let is_allowed = allowed.iter().any(|place| name.starts_with(place));
        assert!(is_allowed || !code(&text).contains(word), "{name} has \"{word}\"");
    }
}

#[test]
fn mpi_is_named_in_one_file() {
    // The module of that name in `comm` is ours.
    for word in ["use ::mpi", " ::mpi::", "(::mpi::", "use mpi::"] {
        only_in(word, "common/src", &["common/src/comm/mpi.rs"]);
    }
    only_in("ffi::MPI_", "common/src", &["common/src/comm/mpi.rs"]);
}

#[test]
fn nothing_below_an_operators_root_is_reached_by_a_path() {
    for folder in ["store", "walk", "compare", "copy"] {
        only_in("std::fs", &format!("common/src/{folder}"), &[]);
        only_in("std::path", &format!("common/src/{folder}"), &[]);
    }
}

#[test]
fn library_code_does_not_print_or_exit() {
    let console = &["common/src/surface/console.rs"][..];
    for word in ["println!", "print!(", "eprintln!", "eprint!(", "io::stdout"] {
        only_in(word, "common/src", console);
    }
    only_in("process::exit", "common/src", &["common/src/comm/solo.rs"]);
}

#[test]
fn lower_layers_do_not_know_higher_ones() {
    // Each may use those above it in this list; siblings do not know each other.
    let operations = "chunked clean compare copy delete";
    let layers = [
        ("base", "model comm store usage journal lists sort sched"),
        ("model", "comm store usage journal lists sort sched"),
        ("comm", "model store usage journal lists sort sched"),
        ("store", "comm usage journal lists sort sched"),
        ("usage", "comm store journal lists sort sched"),
        ("journal", "store usage lists sort sched"),
        ("lists", "comm store usage journal sort sched"),
        ("sort", "store usage journal lists sched"),
        ("sched", "model store usage journal lists sort"),
        ("walk", ""),
    ];
    for (layer, siblings) in layers {
        let above = format!("{siblings} walk {operations} run surface");
        for higher in above.split_whitespace().filter(|higher| *higher != layer) {
            only_in(&format!("crate::{higher}::"), &format!("common/src/{layer}"), &[]);
        }
    }
    for higher in ["copy", "delete", "run", "surface"] {
        only_in(&format!("crate::{higher}::"), "common/src/compare", &[]);
    }
    for higher in ["run", "surface"] {
        only_in(&format!("crate::{higher}::"), "common/src/clean", &[]);
        only_in(&format!("crate::{higher}::"), "common/src/copy", &[]);
        only_in(&format!("crate::{higher}::"), "common/src/delete", &[]);
    }
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    for folder in ["common", "dcmp", "dcp", "dsync", "dwalk", "tests"] {
        for (name, text) in sources(folder) {
            assert!(text.starts_with("//! "), "{name} does not say what it is for");
            assert!(code(&text).lines().count() <= 500, "{name} is too long");
            let file = name.rsplit('/').next().unwrap_or_default();
            assert!(!["mod.rs", "utils.rs", "helpers.rs", "misc.rs"].contains(&file), "{name}");
        }
    }
}

/// A test that cannot run tells so, and CI takes that for a failure (`tests/src/skips.rs`).
#[test]
fn no_test_asks_by_itself_whether_it_can_run() {
    only_in(concat!("gete", "uid"), "tests/tests", &[]);
    only_in(concat!("    return", ";"), "tests/tests", &["tests/tests/tools/oracle/"]);
}
