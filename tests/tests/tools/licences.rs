//! Every dependency has a licence that this project may be distributed with, and comes from crates.io.

const ALLOWED: [&str; 11] = [
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

#[test]
fn licences_and_sources_of_all_dependencies_are_allowed() {
    let allowed: Vec<spdx::Licensee> =
        ALLOWED.iter().map(|licence| spdx::Licensee::parse(licence).unwrap()).collect();
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
