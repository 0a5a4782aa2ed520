//! Statistics for people, as tables in the terminal, and for programs, as JSON.

use std::fmt::Write;

use serde_json::{Value, json};

use ops::usage::bins::{Bin, Bins, Field};
use ops::usage::directories::Below;
use ops::usage::owners::Owners;
use ops::usage::stripes::{Form, Striped};
use ops::usage::{Usage, Use};
use types::limits::TABLE_ROWS_MAX;
use types::listed::line::json_path;
use types::path;
use types::size::{human_bytes, human_count};

/// Powers of two between two rows of the default histogram, as in mpiFileUtils.
const POWERS_PER_ROW: u32 = 10;
/// Width of a full bar.
const BAR_COLUMNS: f64 = 24.0;

/// Directories as they are shown: the largest of them.
pub fn largest(below: &[Below], count: usize) -> impl Iterator<Item = &Below> {
    below.iter().take(count)
}

/// How many directories are named.
pub fn directories_wanted(usage: &Usage) -> usize {
    if usage.options.top > 0 { usage.options.top as usize } else { TABLE_ROWS_MAX }
}

/// Note for tables in which directories were merged.
pub fn folded_note(usage: &Usage) -> Option<String> {
    let directories = &usage.directories;
    (directories.folded > 0).then(|| {
        format!(
            "small deep directories are merged into their parents; a listed one may lack up to {}",
            human_bytes(directories.folded_bytes_max)
        )
    })
}

/// Statistics as tables.
pub fn text(usage: &Usage, below: &[Below]) -> String {
    let mut text = String::new();
    if let Some(sizes) = &usage.sizes {
        histogram(&mut text, "size", sizes, &sizes.rows_of_powers(POWERS_PER_ROW));
    }
    for bins in usage.distributions.iter().chain(&usage.ages) {
        let name = match bins.field {
            Field::Size => "size_bytes",
            Field::Age => "age (mtime)",
        };
        histogram(&mut text, name, bins, &bins.rows());
    }
    if usage.options.owners {
        owners(&mut text, "user", &usage.users);
        owners(&mut text, "group", &usage.groups);
        let depths = usage.depths.iter().enumerate();
        table(&mut text, "depth", depths.map(|(depth, part)| (depth.to_string(), *part)));
    }
    if usage.options.striping {
        striped(&mut text, &usage.striped);
    }
    if usage.options.top > 0 {
        let _ = writeln!(text, "\n{:>12}  largest files", "data");
        for (bytes, file) in usage.files.sorted() {
            let _ = writeln!(text, "{:>12}  {}", human_bytes(bytes), path::escaped(file));
        }
    }
    if usage.options.directories {
        let title = "largest directories, with everything below them";
        let _ = writeln!(text, "\n{:>12} {:>14}  {title}", "data", "items");
        for directory in largest(below, directories_wanted(usage)) {
            let Use { bytes, items, .. } = directory.part;
            let name = shown(&directory.path);
            let _ = writeln!(text, "{:>12} {:>14}  {name}", human_bytes(bytes), human_count(items));
        }
        if let Some(note) = folded_note(usage) {
            let _ = writeln!(text, "({note})");
        }
    }
    text.push('\n');
    text
}

/// The path of a directory; the working directory has none.
pub fn shown(path: &[u8]) -> String {
    if path.is_empty() { ".".to_owned() } else { path::escaped(path) }
}

fn histogram(text: &mut String, name: &str, bins: &Bins, rows: &[Bin]) {
    let rows = rows.iter().map(|row| (row.words(bins.field), row.part));
    let future = (bins.from_the_future.items > 0)
        .then(|| ("in the future".to_owned(), bins.from_the_future));
    table(text, name, future.into_iter().chain(rows));
}

fn owners(text: &mut String, name: &str, owners: &Owners) {
    let sorted = owners.sorted();
    let mut rows: Vec<(String, Use)> = sorted
        .iter()
        .take(TABLE_ROWS_MAX)
        .map(|(id, owner)| (path::escaped(owner.shown(*id).as_bytes()), owner.part))
        .collect();
    let mut rest = owners.others;
    sorted.iter().skip(TABLE_ROWS_MAX).for_each(|(_, owner)| rest.add(&owner.part));
    if rest.items > 0 {
        rows.push((format!("{} more", sorted.len().saturating_sub(TABLE_ROWS_MAX)), rest));
    }
    table(text, name, rows.into_iter());
}

fn striped(text: &mut String, striped: &Striped) {
    let counts = striped.by_count().map(|(form, count, part)| {
        let name = match form {
            Form::Plain => count.to_string(),
            Form::Composite => format!("{count}, composite"),
            Form::OnMdt => "with the inode".to_owned(),
        };
        (name, *part)
    });
    let without = Some(("none".to_owned(), striped.without)).filter(|(_, part)| part.items > 0);
    table(text, "stripes", counts.chain(without));
    let pools = striped.pools().map(|(pool, part)| (path::escaped(pool), *part));
    if striped.pools().next().is_some() {
        table(text, "pool", pools);
    }
}

fn table(text: &mut String, name: &str, rows: impl Iterator<Item = (String, Use)>) {
    let rows: Vec<_> = rows.collect();
    let most = rows.iter().map(|(_, part)| part.items).max().unwrap_or(0).max(1);
    let _ = writeln!(text, "\n{name:<18} {:>14} {:>14} {:>12}", "items", "files", "data");
    for (name, part) in rows {
        let bar = bar(part.items as f64 / most as f64);
        let row = format!(
            "{name:<18} {:>14} {:>14} {:>12}  {bar}",
            human_count(part.items),
            human_count(part.files),
            human_bytes(part.bytes),
        );
        let _ = writeln!(text, "{}", row.trim_end());
    }
}

/// A bar of eighths of a column; never none for something.
fn bar(share: f64) -> String {
    let eighths = (share * BAR_COLUMNS * 8.0).ceil() as usize;
    let rest = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
    format!("{}{rest}", "█".repeat(eighths / 8))
}

/// Statistics as JSON.
pub fn to_json(usage: &Usage, below: &[Below]) -> Value {
    let mut fields = serde_json::Map::new();
    let mut add = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    if let Some(sizes) = &usage.sizes {
        let rows = sizes.rows_of_powers(POWERS_PER_ROW);
        add("sizes", bins_json(sizes, &rows));
    }
    if let Some(ages) = &usage.ages {
        add("ages", bins_json(ages, &ages.rows()));
    }
    if !usage.distributions.is_empty() {
        let all = usage.distributions.iter().map(|bins| bins_json(bins, &bins.rows()));
        add("distributions", all.collect());
    }
    if usage.options.owners {
        add("users", owners_json("uid", &usage.users));
        add("groups", owners_json("gid", &usage.groups));
        add("depths", usage.depths.iter().map(part_json).collect());
    }
    if usage.options.striping {
        add("striping", striped_json(&usage.striped));
    }
    if usage.options.top > 0 {
        let files = usage.files.sorted().into_iter();
        let files = files.map(|(bytes, path)| json!({"path": json_path(path), "bytes": bytes}));
        add("largest_files", files.collect());
    }
    if usage.options.directories {
        let largest = largest(below, directories_wanted(usage)).map(|directory| {
            let mut value = part_json(&directory.part);
            value["path"] = json_path(&directory.path);
            value["depth"] = directory.depth.into();
            value
        });
        add("largest_directories", largest.collect());
        add("directories_merged", usage.directories.folded.into());
        add("directories_missing_bytes_max", usage.directories.folded_bytes_max.into());
    }
    fields.into()
}

fn part_json(part: &Use) -> Value {
    json!({
        "items": part.items,
        "files": part.files,
        "bytes": part.bytes,
        "allocated_bytes": part.allocated_bytes,
    })
}

fn striped_json(striped: &Striped) -> Value {
    let counts = striped.by_count().map(|(form, count, part)| {
        let mut value = part_json(part);
        value["layout"] = form.word().into();
        value["stripes"] = count.into();
        value
    });
    let pools = striped.pools().map(|(pool, part)| {
        let mut value = part_json(part);
        value["pool"] = json_path(pool);
        value
    });
    let (counts, pools): (Vec<Value>, Vec<Value>) = (counts.collect(), pools.collect());
    json!({"counts": counts, "pools": pools, "unstriped": part_json(&striped.without)})
}

fn bins_json(bins: &Bins, rows: &[Bin]) -> Value {
    let field = match bins.field {
        Field::Size => "size_bytes",
        Field::Age => "age_seconds",
    };
    let rows = rows.iter().map(|row| {
        let mut value = part_json(&row.part);
        value["above"] = row.above.into();
        value["up_to"] = row.up_to.into();
        value
    });
    let rows: Vec<Value> = rows.collect();
    json!({"field": field, "bins": rows, "in_the_future": part_json(&bins.from_the_future)})
}

fn owners_json(id_name: &str, owners: &Owners) -> Value {
    let rows = owners.sorted().into_iter().map(|(id, owner)| {
        let mut value = part_json(&owner.part);
        value[id_name] = id.into();
        value["name"] = owner.name.clone().into();
        value
    });
    rows.collect()
}
