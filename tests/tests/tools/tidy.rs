//! Tests of the rules that the code base has given itself (`docs/architecture.md`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use suite_tests::job::project as root;
use suite_tests::{need, skips};

/// Returns the Rust files of a module or below a folder: path from the root, and content.
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

/// Removes unit tests and comments.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn only_in(word: &str, below: &str, allowed: &[&str]) {
    for (name, text) in sources(below) {
        let is_allowed = allowed.iter().any(|place| name.starts_with(place));
        assert!(is_allowed || !code(&text).contains(word), "{name} has \"{word}\"");
    }
}

/// Returns the folders with the sources of the library, without its tests.
fn library() -> Vec<String> {
    let mut folders = vec!["common/src".to_owned()];
    for entry in std::fs::read_dir(root().join("common")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if root().join(format!("common/{name}/src")).is_dir() {
            folders.push(format!("common/{name}/src"));
        }
    }
    folders
}

#[track_caller]
fn in_the_library_only_in(word: &str, allowed: &[&str]) {
    let folders = library();
    assert!(folders.len() > 5);
    for folder in &folders {
        only_in(word, folder, allowed);
    }
}

#[test]
fn mpi_is_named_in_one_file() {
    // The module of that name in `comm` is ours.
    for word in ["use ::mpi", " ::mpi::", "(::mpi::", "use mpi::", "ffi::MPI_"] {
        in_the_library_only_in(word, &["common/comm/src/mpi.rs"]);
    }
}

#[test]
fn nothing_below_an_operators_root_is_reached_by_a_path() {
    let operations = ["walk", "compare", "copy", "remove"]
        .map(|operation| format!("common/ops/src/{operation}"));
    let stores = ["store", "posix", "s3"].map(|store| format!("common/{store}/src"));
    for folder in operations.iter().chain(&stores) {
        only_in("std::fs", folder, &[]);
        only_in("std::path", folder, &[]);
    }
}

#[test]
fn library_code_does_not_print_or_exit() {
    let console = &["common/src/surface/console.rs"][..];
    for word in ["println!", "print!(", "eprintln!", "eprint!(", "io::stdout"] {
        in_the_library_only_in(word, console);
    }
    in_the_library_only_in("process::exit", &["common/comm/src/solo.rs"]);
}

/// Returns the project's crates by name, each with the crates that it uses, but for its tests.
fn ladder() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = cargo_metadata::MetadataCommand::new().no_deps().exec().unwrap();
    let own: BTreeSet<_> = metadata.packages.iter().map(|it| it.name.to_string()).collect();
    let uses = |package: &cargo_metadata::Package| {
        let normal = |it: &&cargo_metadata::Dependency| {
            it.kind == cargo_metadata::DependencyKind::Normal && own.contains(&it.name)
        };
        package.dependencies.iter().filter(normal).map(|it| it.name.clone()).collect()
    };
    metadata.packages.iter().map(|it| (it.name.to_string(), uses(it))).collect()
}

#[test]
fn the_ladder_of_crates_is_the_one_in_the_documentation() {
    need!(skips::has_cargo(), "cargo");
    let text = std::fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let (_, table) = text.split_once("| crate | uses |").unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let row = |line: &str| {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        let name = cells.next().unwrap().trim_matches('`').to_owned();
        let uses = cells.next().unwrap().split(", ").map(|it| it.trim_matches('`').to_owned());
        (name, uses.filter(|it| !it.is_empty()).collect::<BTreeSet<_>>())
    };
    let documented: BTreeMap<_, _> = rows.map(row).collect();
    let mut real = ladder();
    for package in ["dcmp", "dcp", "drm", "dsync", "dwalk", "suite-tests"] {
        assert!(real.remove(package).is_some());
    }
    assert_eq!(documented, real);
    for (name, uses) in &real {
        let room = if name == "common" { "common".into() } else { format!("common/{name}") };
        let text = std::fs::read_to_string(root().join(room).join("src/lib.rs")).unwrap();
        let uses: Vec<_> = uses.iter().map(|it| format!("`{it}`")).collect();
        let line = match &uses[..] {
            [] => "//! Uses: no other crate of the ladder.\n".to_owned(),
            uses => format!("//! Uses: {}.\n", uses.join(", ")),
        };
        assert!(text.contains(&line), "{name}: {line}");
    }
}

/// Pages of the documentation: path from the root, and content.
fn pages() -> Vec<(PathBuf, String)> {
    let below = |folder: &str| std::fs::read_dir(root().join(folder)).unwrap();
    let paths = below(".").chain(below("docs")).map(|entry| entry.unwrap().path());
    let pages = paths.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let pages = pages.map(|path| (path.clone(), std::fs::read_to_string(&path).unwrap()));
    let pages: Vec<_> = pages.collect();
    assert!(pages.len() > 10);
    pages
}

/// Anchor of a heading, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let is_in = |letter: &char| letter.is_alphanumeric() || "-_ ".contains(*letter);
    text.chars().filter(is_in).map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}

#[test]
fn links_of_the_documentation_lead_somewhere() {
    for (page, text) in pages() {
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.starts_with("http")) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.clone() } else { page.with_file_name(file) };
            assert!(target.exists(), "{}: {link}", page.display());
            if !heading.is_empty() {
                let text = std::fs::read_to_string(&target).unwrap();
                let mut headings = text.lines().filter(|line| line.starts_with('#')).map(anchor);
                assert!(headings.any(|it| it == heading), "{}: {link}", page.display());
            }
        }
    }
}

#[test]
fn files_that_the_documentation_names_exist() {
    let is_path = |word: &&str| {
        let is_file = [".rs", ".c", ".sh", ".py"].iter().any(|ending| word.ends_with(ending));
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || b"0123456789/._-".contains(&byte);
        is_file && word.contains('/') && word.bytes().all(is_plain)
    };
    let mut named = 0;
    for (page, text) in pages() {
        for path in text.split('`').skip(1).step_by(2).filter(is_path) {
            assert!(root().join(path).exists(), "{}: {path}", page.display());
            named += 1;
        }
    }
    assert!(named > 20, "{named}");
}

#[test]
fn operations_do_not_know_those_above_them() {
    for (below, above) in [
        ("journal", "chunked clean compare copy delete remove walk"),
        ("sort", "chunked clean compare copy delete remove walk"),
        ("usage", "chunked clean compare copy delete remove walk"),
        ("resolver", "chunked clean compare copy delete remove walk"),
        ("walk", "chunked clean compare copy delete remove"),
        ("chunked", "clean compare copy delete remove"),
        ("compare", "clean copy delete remove"),
        ("remove", "clean copy delete"),
        ("copy", "clean delete"),
    ] {
        for higher in above.split_whitespace() {
            only_in(&format!("crate::{higher}::"), &format!("common/ops/src/{below}"), &[]);
        }
    }
    only_in("crate::run::", "common/src/surface", &[]);
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    for folder in ["common", "dcmp", "dcp", "drm", "dsync", "dwalk", "tests"] {
        for (name, text) in sources(folder) {
            assert!(text.starts_with("//! "), "{name} does not say what it is for");
            assert!(code(&text).lines().count() <= 500, "{name} is too long");
            let file = name.rsplit('/').next().unwrap_or_default();
            assert!(!["mod.rs", "utils.rs", "helpers.rs", "misc.rs"].contains(&file), "{name}");
        }
    }
}

/// Number of columns of the text in comments and pages.
const TEXT_COLUMNS: usize = 100;

/// Returns the lines of text that are too long. A row of a table is one line, and code is no text.
fn long_lines<'t>(lines: impl Iterator<Item = &'t str>, begin: &str) -> Vec<&'t str> {
    let mut is_code = false;
    let is_long = |line: &&str| {
        let text = line.trim_start();
        let text = text.strip_prefix(begin).map(|text| text.trim_start_matches(['/', '!', ' ']));
        is_code ^= text.is_some_and(|text| text.starts_with("```"));
        let is_text = text.is_some_and(|text| !text.starts_with('|')) && !is_code;
        is_text && line.chars().count() > TEXT_COLUMNS
    };
    lines.filter(is_long).collect()
}

#[test]
fn text_fits_its_columns() {
    let [long, fits] = [100, 99].map(|count| format!("  // {}", "x".repeat(count - 4)));
    let row = format!("  // | {long}");
    assert_eq!(long_lines([&*long, &*fits, &*row].into_iter(), "//"), [&*long]);
    for folder in ["common", "dcmp", "dcp", "drm", "dsync", "dwalk", "tests"] {
        for (name, text) in sources(folder) {
            assert_eq!(long_lines(text.lines(), "//"), [""; 0], "{name}");
        }
    }
    for (page, text) in pages() {
        let lines = text.lines().filter(|line| !line.starts_with("    "));
        assert_eq!(long_lines(lines, ""), [""; 0], "{}", page.display());
    }
}

/// Words that begin no doc comment: pronouns, relative clauses and prepositions begin half a
/// sentence, which a hover or rustdoc shows without the other half. A noun or a verb begins a whole
/// one.
const HALF_SENTENCES: &str = "Always,Another,Anything,As,At,Both,By,Else,For,From,If,In,It,Its,Neither,\
    Never,Nobody,None,Not,Nothing,Of,On,One that,Only,Others,Some,Somebody,Something,Such,That,The same,\
    Their,Them,There,These,They,This,Those,To,What,Whatever,Where,Wherever,Whether,Which,Who,Whoever,\
    Whom,Whose,With,Without";

/// Returns the first lines of a file's doc comments that begin with one of these words. Comments in
/// unit tests are among them, wherever in the file those are.
fn half_sentences(text: &str) -> Vec<&str> {
    let is_doc = |line: &str| line.starts_with("///") || line.starts_with("//!");
    let is_half = |words: &str| {
        HALF_SENTENCES.split(',').any(|half| {
            let rest = words.strip_prefix(half);
            rest.is_some_and(|rest| {
                !rest.starts_with(|next: char| next == '-' || next.is_alphanumeric())
            })
        })
    };
    let before = std::iter::once("").chain(text.lines()).map(str::trim_start);
    let firsts = before.zip(text.lines().map(str::trim_start));
    let firsts = firsts.filter(|(before, line)| is_doc(line) && !is_doc(before));
    firsts.map(|(_, line)| line).filter(|line| is_half(line[3..].trim_start())).collect()
}

#[test]
fn doc_comments_begin_with_a_noun_or_a_verb() {
    let seen = half_sentences(concat!(
        "#[cfg(test)]\nmod tests;\n\n/// What it is.\nfn one() {}\n/// Returns it.\n/// The same.\n",
        "fn two() {}\n    //! That's it.\n/// In-memory store.\n/// In memory.\n///\n/// Whose?\nfn three() {}\n",
        "/// One thatch.\n\n/// The same, kept.\n",
    ));
    assert_eq!(seen, ["/// What it is.", "//! That's it.", "/// The same, kept."]);
    let mut wrong = Vec::new();
    for folder in ["common", "dcmp", "dcp", "drm", "dsync", "dwalk", "tests"] {
        for (name, text) in sources(folder) {
            let found = half_sentences(&text);
            wrong.extend(found.iter().map(|line| format!("{name}: {line}")));
        }
    }
    assert!(wrong.is_empty(), "begin these with a noun or a verb:\n{}", wrong.join("\n"));
}

/// Checks that a test that cannot run tells so, which CI takes for a failure
/// (`tests/src/skips.rs`).
#[test]
fn no_test_asks_by_itself_whether_it_can_run() {
    only_in(concat!("gete", "uid"), "tests/tests", &[]);
    only_in(concat!("    return", ";"), "tests/tests", &["tests/tests/tools/oracle/"]);
}
