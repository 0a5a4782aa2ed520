//! A report as one HTML page that needs nothing else: pictures are inline SVG.

mod charts;
mod treemap;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::summary::Summary;
use super::usage::{directories_wanted, folded_note, largest, shown};
use ops::usage::bins::{Bins, Field};
use ops::usage::directories::Below;
use ops::usage::owners::Owners;
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

/// The page.
pub fn page(about: &About<'_>, summary: &Summary, usage: &Usage, below: &[Below]) -> String {
    let names: Vec<String> = about.roots.iter().map(|root| path::escaped(root)).collect();
    let title = format!("Usage of {}", names.join(", "));
    let depths = usage.depths.iter().enumerate();
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width,initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (title) }
                (head(about, summary))
                (totals(summary))
                (histograms(usage))
                (treemap_section(usage, below))
                (owners(usage))
                (section("By depth", "0 is what was named, 1 is directly in it, and so on."))
                (table("Depth", depths.map(|(depth, part)| (depth.to_string(), *part))))
                (tops(usage, below))
            }
        }
    };
    page.into_string() + "\n"
}

fn head(about: &About<'_>, summary: &Summary) -> Markup {
    let when = match jiff::Timestamp::new(about.now_seconds, 0) {
        Ok(stamp) => stamp.strftime("%Y-%m-%d %H:%M UTC").to_string(),
        Err(_) => String::new(),
    };
    let how = if about.is_list { "read from a list" } else { "walked" };
    let ranks = match summary.ranks.len() {
        1 => "1 rank".to_owned(),
        ranks => format!("{ranks} ranks"),
    };
    let seconds = format!("{:.1}", summary.elapsed.as_secs_f64());
    let totals = summary.totals();
    let missed = totals.failed + totals.vanished;
    html! {
        p.dim {
            (summary.tool) " " (env!("CARGO_PKG_VERSION")) ", " (how) " on " (when) " with " (ranks)
            " in " (seconds) " s."
        }
        @if totals.cancelled_tasks > 0 {
            p.warn { "The job ended before everything was read: these figures are partial." }
        }
        @if missed > 0 || !totals.is_walk_complete() {
            p.warn {
                "Incomplete: " (human_count(missed)) " entries could not be read, "
                (human_count(totals.unread_directories)) " of them directories or parts of a list, "
                "whose contents are missing here."
            }
        }
    }
}

fn totals(summary: &Summary) -> Markup {
    let totals = summary.totals();
    let found = &totals.found;
    let all = [
        (human_bytes(totals.found_bytes), "data in files"),
        (human_bytes(totals.found_allocated_bytes), "allocated for them"),
        (human_count(found.files), "files"),
        (human_count(found.directories), "directories"),
        (human_count(found.symlinks), "symbolic links"),
        (human_count(found.special_files), "special files"),
    ];
    html! {
        div.totals {
            @for (value, name) in all { div { b { (value) } (name) } }
        }
        p.dim {
            "KiB, MiB, GiB, … are powers of 1024 bytes. A hard-linked file counts under each of its "
            "names."
        }
    }
}

/// Returns a coordinate as precise as a picture needs it.
fn tenths(value: f64) -> String {
    format!("{value:.1}")
}

fn section(title: &str, words: &str) -> Markup {
    html! { h2 { (title) } p.dim { (words) } }
}

/// A chart with its legend.
fn chart(rows: &[(String, Use)]) -> Markup {
    html! {
        p {
            span.key style="background:var(--bar)" {} "number of items"
            span.key style="background:var(--bar2)" {} "data in files"
        }
        (charts::bars(rows))
    }
}

fn histograms(usage: &Usage) -> Markup {
    html! {
        @if let Some(sizes) = &usage.sizes {
            (section(
                "By size",
                "Items of each size: above the row before, up to and including its own.",
            ))
            @let rows = sizes.rows_of_powers(5);
            (chart(&rows.iter().map(|row| (row.words(sizes.field), row.part)).collect::<Vec<_>>()))
        }
        @for bins in usage.ages.iter().chain(&usage.distributions) { (distribution(bins)) }
    }
}

fn distribution(bins: &Bins) -> Markup {
    let (title, words) = match bins.field {
        Field::Size => ("By size, as requested", "Up to and including each size."),
        Field::Age => {
            ("By age", "Time since the content was last changed (mtime), up to each age.")
        }
    };
    let future = (bins.from_the_future.items > 0)
        .then(|| ("in the future".to_owned(), bins.from_the_future));
    let rows = bins.rows().into_iter().map(|row| (row.words(bins.field), row.part));
    let rows: Vec<_> = future.into_iter().chain(rows).collect();
    html! { (section(title, words)) (chart(&rows)) }
}

fn treemap_section(usage: &Usage, below: &[Below]) -> Markup {
    html! {
        (section(
            "By directory",
            "Each rectangle is a directory, as large as the data in it and everything below; what \
             is left bare are files directly in it and directories too small to draw. Point at one \
             for its numbers.",
        ))
        (treemap::draw(below))
        @if let Some(note) = folded_note(usage) { p.dim { (note) } }
    }
}

fn owners(usage: &Usage) -> Markup {
    let table_of = |title, owners: &Owners| {
        let sorted = owners.sorted();
        let rows = sorted.iter().map(|(id, owner)| (owner.shown(*id), owner.part));
        let shown = rows.take(types::limits::TABLE_ROWS_MAX);
        let mut rest = owners.others;
        let left = sorted.iter().skip(types::limits::TABLE_ROWS_MAX);
        left.for_each(|(_, owner)| rest.add(&owner.part));
        let rest = (rest.items > 0).then(|| ("all others".to_owned(), rest));
        table(title, shown.chain(rest))
    };
    html! {
        @for (title, owners) in [("User", &usage.users), ("Group", &usage.groups)] {
            (section(&format!("By {}", title.to_lowercase()), "The one with most data first."))
            (table_of(title, owners))
        }
    }
}

fn table(name: &str, rows: impl Iterator<Item = (String, Use)>) -> Markup {
    html! {
        table {
            tr { th { (name) } th { "Items" } th { "Files" } th { "Data" } th { "Allocated" } }
            @for (name, part) in rows {
                tr {
                    td { (path::escaped(name.as_bytes())) }
                    td { (human_count(part.items)) }
                    td { (human_count(part.files)) }
                    td { (human_bytes(part.bytes)) }
                    td { (human_bytes(part.allocated_bytes)) }
                }
            }
        }
    }
}

fn tops(usage: &Usage, below: &[Below]) -> Markup {
    html! {
        (section("Largest directories", "With everything below them."))
        table {
            tr { th { "Directory" } th { "Items" } th { "Data" } }
            @for directory in largest(below, directories_wanted(usage)) {
                tr {
                    td { (shown(&directory.path)) }
                    td { (human_count(directory.part.items)) }
                    td { (human_bytes(directory.part.bytes)) }
                }
            }
        }
        (section("Largest files", "By data, not by what is allocated for it."))
        table {
            tr { th { "File" } th { "Data" } }
            @for (bytes, path) in usage.files.sorted() {
                tr { td { (path::escaped(path)) } td { (human_bytes(bytes)) } }
            }
        }
    }
}
