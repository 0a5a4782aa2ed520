//! What `docs/migrating.md` says of other tools' options is what happens when they are typed.

use std::path::Path;

use suite_tests::job::{run, tool};
use suite_tests::trees;

/// A row of a table: the words to type, the tools, what they do there.
struct Row {
    words: Vec<String>,
    tools: Vec<String>,
    here: String,
}

fn rows() -> Vec<Row> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/migrating.md");
    let text = std::fs::read_to_string(page).unwrap();
    let split = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| `")?.trim_end_matches(" |").splitn(3, " | ");
        let words = split(cells.next()?.trim_end_matches('`'));
        Some(Row { words, tools: split(cells.next()?), here: cells.next()?.to_owned() })
    };
    text.lines().filter_map(row).collect()
}

#[test]
fn every_row_does_what_it_says() {
    let rows = rows();
    assert!(rows.len() > 80, "{} rows", rows.len());
    let work = tempfile::tempdir().unwrap();
    trees::write(&work.path().join("s/file"), b"content");
    std::fs::create_dir(work.path().join("t")).unwrap();
    for Row { words, tools, here } in rows {
        for name in tools {
            let mut command = tool(1, &name);
            command.current_dir(work.path()).args(&words);
            match &name[..] {
                "dwalk" => command.arg("s"),
                "dcmp" => command.args(["s", "s"]),
                // May be repeated.
                _ => command.args(["--dry-run", "s", "t"]),
            };
            if here.starts_with("no effect") && !words.contains(&"-v".to_owned()) {
                command.arg("-v");
            }
            let is_refused = here.starts_with("refused");
            let ended = run(&mut command).expect(if is_refused { 2 } else { 0 });
            let says = format!("{name} {words:?}: {here}: {}", ended.stderr);
            match here.split([':', ',']).next().unwrap() {
                "the same" => assert!(!ended.stderr.contains("changes nothing"), "{says}"),
                "no effect" => assert!(ended.stderr.contains(" changes nothing: "), "{says}"),
                "refused" => {
                    assert!(ended.stderr.contains("there is no option"), "{says}");
                    assert_eq!(ended.stderr.lines().count(), 1, "{says}");
                }
                other => panic!("{other}"),
            }
        }
    }
}
