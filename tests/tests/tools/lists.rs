//! Tests of dwalk's lists under real `mpiexec`: read by another program, read back, sorted.

use std::cmp::Reverse;
use std::path::{Path, PathBuf};
use std::process::Command;

use suite_tests::job::{alone, project, ranks, run, tool};
use suite_tests::sandbox::Sandbox;
use suite_tests::trees;

/// Creates an awkward tree, whose directories and symbolic links have been read once: that changes
/// access times.
fn awkward(work: &Path) -> PathBuf {
    let tree = work.join("tree");
    trees::awkward_tree(&tree);
    run(alone("dwalk").arg("-p").arg(&tree)).expect(0);
    tree
}

/// Returns the output of a command as fields that end in a NUL.
fn fields(command: &mut Command) -> Vec<Vec<u8>> {
    let ended = command.output().unwrap();
    assert!(ended.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ended.stderr));
    let mut fields: Vec<_> = ended.stdout.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
    assert_eq!(fields.pop(), Some(Vec::new()));
    fields
}

/// Parses a time of find(1), which writes the second before 1969-12-31T23:59:59.9 as
/// `-1.9000000000`.
fn nanoseconds(text: &[u8]) -> i128 {
    let (seconds, fraction) = std::str::from_utf8(text).unwrap().split_once('.').unwrap();
    let number = |digits: &str| digits.parse::<i128>().unwrap();
    number(seconds) * 1_000_000_000 + number(&fraction[..9])
}

/// Returns Python with DuckDB, which shares no code with the tools; `scripts/setup.sh` installs it.
fn python() -> PathBuf {
    let python = project().join("target/venv/bin/python");
    assert!(python.exists(), "{} is missing; run make test", python.display());
    python
}

const READ: &str = "
import sys, duckdb
columns = 'path,size,mode,uid,gid,epoch_ns(mtime),nlink,inode,kind,target'
rows = duckdb.sql(f\"select {columns} from read_parquet('{sys.argv[1]}/*.parquet')\").fetchall()
kinds = {'file': 'f', 'directory': 'd', 'symlink': 'l'}
for path, size, mode, uid, gid, mtime, nlink, inode, kind, target in rows:
    fields = [str(field).encode() for field in (size, oct(mode)[2:], uid, gid, mtime, nlink, inode)]
    fields += [kinds[kind].encode(), target or b'']
    sys.stdout.buffer.write(b''.join(field + b'\\0' for field in [path] + fields))
";

#[test]
fn duckdb_reads_from_a_parquet_list_what_find_sees() {
    let work = Sandbox::new();
    let tree = awkward(work.path());
    let format = "%p\\0%s\\0%m\\0%U\\0%G\\0%T@\\0%n\\0%i\\0%y\\0%l\\0";
    let found = fields(Command::new("find").arg(&tree).args(["-printf", format]));
    let mut wanted: Vec<Vec<Vec<u8>>> = found.chunks(10).map(<[Vec<u8>]>::to_vec).collect();
    for entry in &mut wanted {
        entry[5] = nanoseconds(&entry[5]).to_string().into_bytes();
    }
    wanted.sort();
    for count in [1, 4] {
        let list = work.path().join(format!("list{count}.parquet"));
        run(tool(count, "dwalk").arg("-o").args([&list, &tree])).expect(0);
        assert_eq!(std::fs::read_dir(&list).unwrap().count(), count as usize);
        let read = fields(Command::new(python()).args(["-c", READ]).arg(&list));
        let mut read: Vec<Vec<Vec<u8>>> = read.chunks(10).map(<[Vec<u8>]>::to_vec).collect();
        read.sort();
        for (read, wanted) in read.iter().zip(&wanted) {
            assert_eq!(read, wanted, "{}", String::from_utf8_lossy(&wanted[0]));
        }
        assert_eq!(read.len(), wanted.len());
    }
}

#[test]
fn lists_go_through_every_form_unchanged() {
    let work = Sandbox::new();
    let tree = awkward(work.path());
    let path = |name: &str| work.at(name);
    let direct = path("direct.ndjson");
    run(alone("dwalk").args(["--sort", "name", "-o"]).args([&direct, &tree])).expect(0);
    run(ranks(4, "dwalk").arg("-o").args([&path("a.parquet"), &tree])).expect(0);
    let convert = |count, from: &str, to: &str, options: &[&str]| {
        let (from, to) = (path(from), path(to));
        run(tool(count, "dwalk").arg("-i").arg(from).arg("-o").arg(to).args(options)).expect(0)
    };
    convert(1, "a.parquet", "b.ndjson", &[]);
    convert(3, "b.ndjson", "c.parquet", &["--sort", "mtime"]);
    convert(4, "c.parquet", "d.ndjson", &["--sort", "name"]);
    let (direct, back) = (std::fs::read(direct).unwrap(), std::fs::read(path("d.ndjson")).unwrap());
    assert!(direct == back, "the list that went through all forms differs");
    // A second list of fewer ranks leaves nothing of the first behind.
    convert(1, "b.ndjson", "c.parquet", &[]);
    assert_eq!(std::fs::read_dir(path("c.parquet")).unwrap().count(), 1);
}

#[test]
fn a_list_gives_the_same_totals_and_statistics_as_its_tree() {
    let work = Sandbox::new();
    let tree = trees::real_tree();
    let list = work.at("list.parquet");
    run(ranks(3, "dwalk").arg("-q").arg("-o").args([&list, &tree])).expect(0);
    let options = ["--json", "-f", "--usage", "--top", "7", "-d", "size:0,1K,1M"];
    let of_tree = run(ranks(4, "dwalk").args(options).arg(&tree)).expect(0).summary();
    for count in [1, 4] {
        let mut read = tool(count, "dwalk");
        let mut of_list = run(read.args(options).arg("-i").arg(&list)).expect(0).summary();
        // No directory is listed where a list is read.
        of_list["totals"]["listed"] = of_tree["totals"]["listed"].clone();
        assert_eq!(of_list["totals"], of_tree["totals"]);
        assert_eq!(of_list["usage"], of_tree["usage"]);
    }
}

#[test]
fn sorted_lists_are_in_order_over_all_ranks() {
    let work = Sandbox::new();
    let tree = trees::real_tree();
    let found = fields(Command::new("find").arg(&tree).args(["-printf", "%s\\0%p\\0"]));
    let entry = |pair: &[Vec<u8>]| {
        let size: u64 = std::str::from_utf8(&pair[0]).unwrap().parse().unwrap();
        (Reverse(size), pair[1].clone())
    };
    let mut wanted: Vec<_> = found.chunks(2).map(entry).collect();
    wanted.sort();
    let wanted: Vec<Vec<u8>> = wanted.into_iter().map(|(_, path)| path).collect();
    for count in [1, 4] {
        let list = work.path().join(format!("{count}.ndjson"));
        let mut sort = tool(count, "dwalk");
        run(sort.args(["-s", "-size,name", "-o"]).args([&list, &tree])).expect(0);
        let text = std::fs::read_to_string(&list).unwrap();
        let path = |line: &str| {
            let entry: serde_json::Value = serde_json::from_str(line).unwrap();
            entry["path"]["text"].as_str().unwrap().as_bytes().to_vec()
        };
        assert!(text.lines().map(path).eq(wanted.iter().cloned()), "{count} ranks");
    }
    let list = work.at("sorted.parquet");
    run(ranks(4, "dwalk").args(["-s", "-size,name", "-o"]).args([&list, &tree])).expect(0);
    let script = "
import sys, duckdb
for part in range(4):
    for row in duckdb.sql(f\"select path from '{sys.argv[1]}/part-{part:05}.parquet'\").fetchall():
        sys.stdout.buffer.write(row[0] + b'\\0')
";
    let read = fields(Command::new(python()).args(["-c", script]).arg(&list));
    assert!(read == wanted, "the parts in a row are not in order");
}

#[test]
fn what_is_no_list_is_one_line_and_nothing_is_overwritten() {
    let work = Sandbox::new();
    let tree = work.at("tree");
    trees::small_files(&tree, 20, 50);
    let list = work.at("list.parquet");
    run(ranks(2, "dwalk").arg("-o").args([&list, &tree])).expect(0);
    let refused = |input: &Path, code: i32, wanted: &str| {
        for count in [1, 4] {
            let ended = run(tool(count, "dwalk").arg("-q").arg("-i").arg(input)).expect(code);
            assert_eq!(ended.stderr.matches(wanted).count(), 1, "{}", ended.stderr);
            // The launcher may add words of its own.
            let said = ended.stderr.lines().filter(|line| line.starts_with("dwalk")).count();
            assert_eq!(said, 1, "{}", ended.stderr);
        }
    };
    refused(&work.at("missing"), 3, "No such file");
    refused(&tree, 3, "not a list");
    refused(Path::new("/etc/passwd"), 3, "not a list");
    refused(&list.join("part-00000.parquet"), 3, "name its directory");
    let part = list.join("part-00001.parquet");
    let whole = std::fs::read(&part).unwrap();
    std::fs::write(&part, &whole[..whole.len() - 9]).unwrap();
    refused(&list, 3, "truncated or corrupt");
    std::fs::remove_file(&part).unwrap();
    refused(&list, 3, "missing");
    std::fs::write(&part, &whole).unwrap();
    let json = work.at("list.ndjson");
    run(alone("dwalk").arg("-i").arg(&list).arg("-o").arg(&json)).expect(0);
    let text = std::fs::read(&json).unwrap();
    std::fs::write(&json, &text[..text.len() / 2]).unwrap();
    refused(&json, 23, "truncated or corrupt near byte");
    // Numbers that no file system has do not break sums.
    let largest = |line: &[u8]| {
        let line = String::from_utf8(line.to_vec()).unwrap();
        let size = line.split("\"size\":").nth(1).unwrap().split(',').next().unwrap();
        line.replace(&format!("\"size\":{size},"), "\"size\":18446744073709551615,")
    };
    let lines: Vec<String> = text.split_inclusive(|byte| *byte == b'\n').map(largest).collect();
    std::fs::write(&json, lines.concat()).unwrap();
    let page = work.at("usage.html");
    let mut dwalk = ranks(2, "dwalk");
    let summary = run(dwalk.args(["--json", "--report"]).arg(&page).arg("-i").arg(&json));
    assert_eq!(summary.expect(0).summary()["totals"]["found_bytes"], u64::MAX);
    // Neither a list onto itself, nor a Parquet list into a directory of other things.
    run(alone("dwalk").arg("-i").arg(&list).arg("-o").arg(&list)).expect(3);
    run(alone("dwalk").args(["--format", "parquet", "-o"]).args([&tree, &tree])).expect(3);
    assert_eq!(std::fs::read(&part).unwrap(), whole);
    run(alone("dwalk").arg("-i").arg(&list)).expect(0);
}
