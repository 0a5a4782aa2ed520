//! Tests that every dependency has a licence that this project may be distributed with, and comes
//! from crates.io.

use suite_tests::job::project;
use suite_tests::{need, skips};

/// Licences that `deny.toml` allows.
fn allowed() -> Vec<spdx::Licensee> {
    let file = project().join("deny.toml");
    let text = std::fs::read_to_string(file).unwrap();
    let (_, list) = text.split_once("allow = [").unwrap();
    let (list, _) = list.split_once(']').unwrap();
    let names = list.lines().map(|line| line.trim().trim_matches([',', '"']));
    names.filter(|name| !name.is_empty()).map(|it| spdx::Licensee::parse(it).unwrap()).collect()
}

#[test]
fn licences_and_sources_of_all_dependencies_are_allowed() {
    need!(skips::has_cargo(), "cargo");
    let allowed = allowed();
    assert!(allowed.len() > 5);
    let metadata = cargo_metadata::MetadataCommand::new().exec().unwrap();
    assert!(metadata.packages.len() > 50);
    for package in metadata.packages {
        let licence = package.license.unwrap_or_default();
        // Some crates still write "MIT/Apache-2.0", as was once the custom.
        let parsed = spdx::Expression::parse_mode(&licence, spdx::ParseMode::LAX).unwrap();
        let is_allowed =
            parsed.evaluate(|asked| allowed.iter().any(|licence| licence.satisfies(asked)));
        assert!(is_allowed, "{}: licence {licence}", package.name);
        let source = package.source.map(|source| source.repr);
        let is_registry = source.is_none_or(|source| source.starts_with("registry+"));
        assert!(is_registry, "{} does not come from the registry", package.name);
    }
}
