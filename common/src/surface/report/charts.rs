//! Bars: for each row one for the number of items and one for their data.

use maud::{Markup, html};

use super::tenths;
use ops::usage::Use;
use types::size::{human_bytes, human_count};

const WIDTH: f64 = 960.0;
const ROW_HEIGHT: f64 = 34.0;
const NAME_WIDTH: f64 = 130.0;
/// Room for a number behind the longest bar.
const NUMBER_WIDTH: f64 = 120.0;

/// A chart.
pub fn bars(rows: &[(String, Use)]) -> Markup {
    let most =
        |of: fn(&Use) -> u64| rows.iter().map(|(_, part)| of(part)).max().unwrap_or(0).max(1);
    let (items_max, bytes_max) = (most(|part| part.items), most(|part| part.bytes));
    let height = ROW_HEIGHT * rows.len() as f64;
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {height}")) role="img" {
            @for (number, (name, part)) in rows.iter().enumerate() {
                @let top = number as f64 * ROW_HEIGHT;
                text x=(NAME_WIDTH - 8.0) y=(top + 20.0) text-anchor="end" { (name) }
                (bar("items", top + 2.0, share(part.items, items_max), &human_count(part.items)))
                (bar("bytes", top + 16.0, share(part.bytes, bytes_max), &human_bytes(part.bytes)))
            }
        }
    }
}

/// Returns the width of a bar, of which something is seen for any value but zero.
fn share(value: u64, most: u64) -> f64 {
    let full = WIDTH - NAME_WIDTH - NUMBER_WIDTH;
    (full * value as f64 / most as f64).max(if value > 0 { 1.0 } else { 0.0 })
}

fn bar(class: &str, y: f64, width: f64, words: &str) -> Markup {
    html! {
        rect class=(class) x=(NAME_WIDTH) y=(y) width=(tenths(width)) height="12" rx="2" {}
        text.dim x=(tenths(NAME_WIDTH + width + 6.0)) y=(y + 10.5) { (words) }
    }
}
