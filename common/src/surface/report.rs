//! A report as one HTML page that needs nothing else: pictures are inline SVG.

mod charts;
mod treemap;

use std::fmt::Write;

use super::summary::Summary;
use super::usage::{directories_wanted, folded_note, largest, shown};
use ops::usage::directories::Below;
use ops::usage::{Usage, Use};
use types::path;
use types::size::{human_bytes, human_count};

/// Facts of a page besides the statistics.
#[derive(Debug)]
pub struct About<'r> {
    /// Roots that were walked, or the list that was read.
    pub roots: &'r [Vec<u8>],
    /// True for a list.
    pub is_list: bool,
    /// When, in seconds since 1970.
    pub now_seconds: i64,
}

const STYLE: &str = "
:root{color-scheme:light dark;--ink:#1d2433;--dim:#5a6478;--page:#fff;--card:#f5f7fa;--line:#d8dee8;--bar:#2f6fde;--bar2:#d9822b}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9f0;--dim:#a0a9bb;--page:#14171e;--card:#1d222c;--line:#343b49;--bar:#6ea2ff;--bar2:#f0a55a}}
body{margin:0 auto;max-width:1000px;padding:24px;background:var(--page);color:var(--ink);font:15px/1.45 system-ui,sans-serif}
h1{font-size:24px;margin:0 0 4px}h2{font-size:18px;margin:32px 0 4px}p{margin:4px 0 10px}.dim{color:var(--dim)}
table{border-collapse:collapse;width:100%}th,td{padding:4px 10px;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th{color:var(--dim);font-weight:600}th:first-child,td:first-child{text-align:left;white-space:normal;overflow-wrap:anywhere}
.totals{display:flex;flex-wrap:wrap;gap:12px;margin:16px 0}.totals div{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:10px 16px}
.totals b{display:block;font-size:20px}svg{width:100%;height:auto;display:block}svg text{fill:var(--ink);font:12px system-ui,sans-serif}
svg .dim{fill:var(--dim)}.items{fill:var(--bar)}.bytes{fill:var(--bar2)}.key{display:inline-block;width:12px;height:12px;border-radius:2px;vertical-align:-1px;margin:0 4px 0 12px}
.warn{border-left:4px solid var(--bar2);padding:4px 12px;background:var(--card)}";

/// Text that cannot become markup.
fn html(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            plain => safe.push(plain),
        }
    }
    safe
}

/// The page.
pub fn page(about: &About<'_>, summary: &Summary, usage: &Usage, below: &[Below]) -> String {
    let names: Vec<String> = about.roots.iter().map(|root| html(&path::escaped(root))).collect();
    let title = format!("Usage of {}", names.join(", "));
    let mut page = String::new();
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{title}</title><style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n"
    );
    head(&mut page, about, summary);
    totals(&mut page, summary);
    histograms(&mut page, usage);
    treemap_section(&mut page, usage, below);
    owners(&mut page, usage);
    let depths = usage.depths.iter().enumerate();
    section(&mut page, "By depth", "0 is what was named, 1 is directly in it, and so on.");
    table(&mut page, "Depth", depths.map(|(depth, part)| (depth.to_string(), *part)));
    tops(&mut page, usage, below);
    page.push_str("</body></html>\n");
    page
}

fn head(page: &mut String, about: &About<'_>, summary: &Summary) {
    let when = match jiff::Timestamp::new(about.now_seconds, 0) {
        Ok(stamp) => stamp.strftime("%Y-%m-%d %H:%M UTC").to_string(),
        Err(_) => String::new(),
    };
    let how = if about.is_list { "read from a list" } else { "walked" };
    let _ = writeln!(
        page,
        "<p class=\"dim\">{} {}, {how} on {when} with {} in {:.1} s.</p>",
        html(summary.tool),
        env!("CARGO_PKG_VERSION"),
        match summary.ranks.len() {
            1 => "1 rank".to_owned(),
            ranks => format!("{ranks} ranks"),
        },
        summary.elapsed.as_secs_f64(),
    );
    let totals = summary.totals();
    if totals.cancelled_tasks > 0 {
        page.push_str(
            "<p class=\"warn\">The job ended before everything was read: these figures are partial.</p>\n",
        );
    }
    let missed = totals.failed + totals.vanished;
    if missed > 0 || !totals.is_walk_complete() {
        let _ = writeln!(
            page,
            "<p class=\"warn\">Incomplete: {} entries could not be read, {} of them directories or \
             parts of a list, whose contents are missing here.</p>",
            human_count(missed),
            human_count(totals.unread_directories),
        );
    }
}

fn totals(page: &mut String, summary: &Summary) {
    let totals = summary.totals();
    let found = &totals.found;
    page.push_str("<div class=\"totals\">");
    for (value, name) in [
        (human_bytes(totals.found_bytes), "data in files"),
        (human_bytes(totals.found_allocated_bytes), "allocated for them"),
        (human_count(found.files), "files"),
        (human_count(found.directories), "directories"),
        (human_count(found.symlinks), "symbolic links"),
        (human_count(found.special_files), "special files"),
    ] {
        let _ = write!(page, "<div><b>{value}</b>{name}</div>");
    }
    page.push_str(
        "</div>\n<p class=\"dim\">KiB, MiB, GiB, … are powers of 1024 bytes. A hard-linked file \
         counts under each of its names.</p>\n",
    );
}

fn section(page: &mut String, title: &str, words: &str) {
    let _ = writeln!(page, "<h2>{title}</h2><p class=\"dim\">{words}</p>");
}

const LEGEND: &str = "<p><span class=\"key\" style=\"background:var(--bar)\"></span>number of items\
                      <span class=\"key\" style=\"background:var(--bar2)\"></span>data in files</p>";

fn histograms(page: &mut String, usage: &Usage) {
    if let Some(sizes) = &usage.sizes {
        section(
            page,
            "By size",
            "Items of each size: above the row before, up to and including its own.",
        );
        let rows = sizes.rows_of_powers(5);
        let rows: Vec<_> = rows.iter().map(|row| (row.words(sizes.field), row.part)).collect();
        let _ = writeln!(page, "{LEGEND}{}", charts::bars(&rows));
    }
    for bins in usage.ages.iter().chain(&usage.distributions) {
        let (title, words) = match bins.field {
            ops::usage::bins::Field::Size => {
                ("By size, as requested", "Up to and including each size.")
            }
            ops::usage::bins::Field::Age => {
                ("By age", "Time since the content was last changed (mtime), up to each age.")
            }
        };
        section(page, title, words);
        let future = (bins.from_the_future.items > 0)
            .then(|| ("in the future".to_owned(), bins.from_the_future));
        let rows = bins.rows().into_iter().map(|row| (row.words(bins.field), row.part));
        let rows: Vec<_> = future.into_iter().chain(rows).collect();
        let _ = writeln!(page, "{LEGEND}{}", charts::bars(&rows));
    }
}

fn treemap_section(page: &mut String, usage: &Usage, below: &[Below]) {
    section(
        page,
        "By directory",
        "Each rectangle is a directory, as large as the data in it and everything below; what is left \
         bare are files directly in it and directories too small to draw. Point at one for its numbers.",
    );
    page.push_str(&treemap::draw(below));
    if let Some(note) = folded_note(usage) {
        let _ = writeln!(page, "<p class=\"dim\">{}</p>", html(&note));
    }
}

fn owners(page: &mut String, usage: &Usage) {
    for (title, owners) in [("User", &usage.users), ("Group", &usage.groups)] {
        section(page, &format!("By {}", title.to_lowercase()), "The one with most data first.");
        let sorted = owners.sorted();
        let rows = sorted.iter().map(|(id, owner)| (owner.shown(*id), owner.part));
        let shown = rows.take(types::limits::TABLE_ROWS_MAX);
        let mut rest = owners.others;
        let left = sorted.iter().skip(types::limits::TABLE_ROWS_MAX);
        left.for_each(|(_, owner)| rest.add(&owner.part));
        let rest = (rest.items > 0).then(|| ("all others".to_owned(), rest));
        table(page, title, shown.chain(rest));
    }
}

fn table(page: &mut String, name: &str, rows: impl Iterator<Item = (String, Use)>) {
    let _ = write!(
        page,
        "<table><tr><th>{name}</th><th>Items</th><th>Files</th><th>Data</th><th>Allocated</th></tr>"
    );
    for (name, part) in rows {
        let _ = write!(
            page,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            html(&path::escaped(name.as_bytes())),
            human_count(part.items),
            human_count(part.files),
            human_bytes(part.bytes),
            human_bytes(part.allocated_bytes),
        );
    }
    page.push_str("</table>\n");
}

fn tops(page: &mut String, usage: &Usage, below: &[Below]) {
    section(page, "Largest directories", "With everything below them.");
    let rows = largest(below, directories_wanted(usage)).map(|it| (&it.path, it.part));
    page.push_str("<table><tr><th>Directory</th><th>Items</th><th>Data</th></tr>");
    for (path, part) in rows {
        let _ = write!(
            page,
            "<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
            html(&shown(path)),
            human_count(part.items),
            human_bytes(part.bytes)
        );
    }
    page.push_str("</table>\n");
    section(page, "Largest files", "By data, not by what is allocated for it.");
    page.push_str("<table><tr><th>File</th><th>Data</th></tr>");
    for (bytes, path) in usage.files.sorted() {
        let name = html(&path::escaped(path));
        let _ = write!(page, "<tr><td>{name}</td><td>{}</td></tr>", human_bytes(bytes));
    }
    page.push_str("</table>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_becomes_markup() {
        assert_eq!(html("<b a=\"'\">&"), "&lt;b a=&quot;&#39;&quot;&gt;&amp;");
    }
}
