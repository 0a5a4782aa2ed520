//! Snapshots of what users and scripts read: help, summaries, and events of `--json` of a small
//! job. A change of these is to be seen, and to be meant.
//!
//! `INSTA_UPDATE=always cargo test --workspace --test tools -- snapshots::` writes them anew, into
//! `tests/tests/tools/snapshots/`; `git diff` shows the change.

use std::fs;
use std::process::Command;

use serde_json::{Map, Value, json};
use suite_tests::job::{Ended, alone, run};
use suite_tests::sandbox::Sandbox;
use suite_tests::trees;

const TOOLS: [&str; 5] = ["dcmp", "dcp", "drm", "dsync", "dwalk"];

/// Lines of a summary that differ between two runs, or two machines.
const VARYING_LINES: [&str; 3] = ["time", "rate", "allocated"];

/// Keys of events whose values differ between two runs, or two machines.
const VARYING_KEYS: [&str; 16] = [
    "cpu_seconds",
    "elapsed_seconds",
    "found_allocated_bytes",
    "host",
    "idle_seconds",
    "mpi",
    "peak_memory_bytes",
    "steal_attempts",
    "steals_granted",
    "steals_succeeded",
    "tasks_granted",
    "tasks_run",
    "threads",
    "threads_most",
    "time",
    "wall_seconds",
];

/// Compares a text with the snapshot of that name.
#[track_caller]
fn assert_as_before(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

#[test]
fn help_is_as_before() {
    for tool in TOOLS {
        for (option, name) in [("-h", "short_help"), ("--help", "help")] {
            // As wide as where the terminal is not known.
            let help = run(alone(tool).arg(option).env("COLUMNS", "100")).expect(0).stdout;
            assert_as_before(&format!("{tool}_{name}"), &help);
        }
    }
}

/// Masks what varies in the text of a summary.
fn masked_text(text: &str) -> String {
    let line = |line: &str| match line.split_once(' ') {
        Some((name, _)) if VARYING_LINES.contains(&name) => format!("{name} [VARIES]\n"),
        _ => line.replace(env!("CARGO_PKG_VERSION"), "[VERSION]") + "\n",
    };
    text.lines().map(line).collect()
}

/// Creates source and target, equal but for the content of one file and one that is extraneous.
fn pair() -> Sandbox {
    let work = Sandbox::new();
    let source = work.source();
    trees::write(&source.join("a"), b"hello");
    trees::write(&source.join("d/b"), &trees::noise(100_000));
    std::os::unix::fs::symlink("a", source.join("l")).unwrap();
    run(Command::new("cp").arg("-a").args([source, work.target()])).expect(0);
    fs::write(work.at("t/d/b"), "changed").unwrap();
    fs::write(work.at("t/extraneous"), "").unwrap();
    run(Command::new("touch").args(["-r", "s", "t"]).current_dir(work.path())).expect(0);
    work
}

/// Command lines of the small job, run below its directory one after the other.
const JOBS: [&[&str]; 5] = [
    &["dwalk", "s"],
    &["dcp", "-p", "s", "new"],
    &["dcmp", "--ignore=mtime", "s", "t"],
    &["dsync", "-D", "s", "t"],
    &["drm", "t"],
];

/// Runs the job, and passes each tool's name and end on.
fn each_job(options: &[&str], see: impl Fn(&str, &Ended)) {
    let work = pair();
    for words in JOBS {
        let mut command = alone(words[0]);
        command.args(["--threads=1", "--progress=0"]).args(options).args(&words[1..]);
        see(words[0], &run(command.current_dir(work.path())));
    }
}

#[test]
fn summaries_are_as_before() {
    each_job(&[], |tool, ended| {
        let Ended { code, stdout, stderr, .. } = ended;
        let text = format!("{stderr}----\n{stdout}----\nexit code {}", code.unwrap());
        assert_as_before(&format!("{tool}_summary"), &masked_text(&text));
    });
}

#[test]
fn events_are_as_before() {
    each_job(&["--json"], |tool, ended| {
        let events = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap());
        let events: Vec<Value> = events.map(masked).collect();
        let text = serde_json::to_string_pretty(&events).unwrap();
        assert_as_before(&format!("{tool}_events"), &text);
    });
}

/// Masks what varies, and leaves out what is zero or nothing: `json_events.rs` knows all keys.
fn masked(event: Value) -> Value {
    let is_said = |value: &Value| *value != json!(0) && *value != json!({}) && *value != json!([]);
    match event {
        Value::Object(map) => {
            let kept = map.into_iter().map(|(key, value)| {
                let is_varying = VARYING_KEYS.contains(&&*key);
                let value = if is_varying { json!("[VARIES]") } else { masked(value) };
                (key, value)
            });
            Value::Object(kept.filter(|(_, value)| is_said(value)).collect::<Map<_, _>>())
        }
        Value::Array(values) => values.into_iter().map(masked).collect(),
        value => value,
    }
}
