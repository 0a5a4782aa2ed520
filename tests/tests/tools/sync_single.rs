//! Tests of dsync of a single file, and of a file in a directory's way.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use suite_tests::job::{run, sync};
use suite_tests::sandbox::Sandbox;
use suite_tests::trees;

/// Checks that a file goes, as with cp, into a directory that exists, also through a symbolic link,
/// or to the given name; and that the directory that receives it is not taken for a copy of the one
/// it comes from.
#[test]
fn a_single_file_goes_where_cp_would_put_it() {
    let work = Sandbox::new();
    let path = |name: &str| work.at(name);
    let stat = |path: &Path| run(Command::new("stat").args(["-c", "%a %Y"]).arg(path)).stdout;
    for count in [1, 3] {
        let _ = fs::remove_dir_all(path("d"));
        fs::create_dir(path("d")).unwrap();
        fs::set_permissions(path("d"), fs::Permissions::from_mode(0o711)).unwrap();
        let (file, new) = (path("f"), path("g"));
        // The name that the copy does not get is taken by something else.
        fs::create_dir_all(path("e/f/full")).unwrap();
        for (content, size) in [("old", 3), ("newer", 5), ("newer", 5)] {
            fs::write(&file, content).unwrap();
            sync(count, &["-D"], &file, &path("d")).expect(0);
            sync(count, &["-c"], &file, &new).expect(0);
            sync(count, &[], &file, &path("e/g")).expect(0);
            for copy in [path("d/f"), new.clone(), path("e/g")] {
                assert_eq!(fs::read(&copy).unwrap().len(), size, "{}", copy.display());
                assert_eq!(stat(&copy), stat(&file));
            }
        }
        assert!(stat(&path("d")).starts_with("711 "));
        let _ = fs::remove_file(path("l"));
        symlink("d", path("l")).unwrap();
        fs::remove_file(path("d/f")).unwrap();
        assert_eq!(sync(count, &["-n", "-q"], &file, &new).expect(0).stdout, "");
        sync(count, &[], &file, &path("l")).expect(0);
        assert!(path("d/f").exists() && path("l").is_symlink());
        fs::remove_file(new).unwrap();
        // Chunks of a large one, under another name.
        fs::write(&file, trees::noise(300_000)).unwrap();
        sync(count, &["-k", "64KiB"], &file, &path("e/g")).expect(0);
        fs::write(&file, trees::noise(299_999)).unwrap();
        fs::OpenOptions::new().append(true).open(&file).unwrap().write_all(b"x").unwrap();
        sync(count, &["-c", "-k", "64KiB"], &file, &path("e/g")).expect(0);
        assert_eq!(fs::read(&file).unwrap(), fs::read(path("e/g")).unwrap());
    }
    sync(1, &[], &path("f"), &path("f")).expect(3);
    sync(1, &["--files-from", "/dev/null"], &path("f"), &path("g")).expect(3);
}

/// Checks a directory that stays in the way because of excluded entries: the message does not
/// advise an option that was given.
#[test]
fn a_directory_that_delete_leaves_is_not_said_to_need_delete() {
    let work = Sandbox::new();
    let (source, target) = (work.source(), work.target());
    fs::create_dir_all(&source).unwrap();
    fs::create_dir_all(target.join("a/b.keep")).unwrap();
    fs::write(source.join("a"), "file").unwrap();
    let ended = work.run(2, "dsync", &["-D", "--exclude", "*.keep"]).expect(23);
    assert!(ended.stderr.contains("--delete could not remove it"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("replaces it"), "{}", ended.stderr);
    assert!(target.join("a/b.keep").exists());
}
