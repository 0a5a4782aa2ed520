//! Bars: for each row one for the number of items and one for their data.

use std::fmt::Write;

use super::html;
use ops::usage::Use;
use types::size::{human_bytes, human_count};

const WIDTH: f64 = 960.0;
const ROW_HEIGHT: f64 = 34.0;
const NAME_WIDTH: f64 = 130.0;
/// Room for a number behind the longest bar.
const NUMBER_WIDTH: f64 = 120.0;

/// A chart.
pub fn bars(rows: &[(String, Use)]) -> String {
    let most =
        |of: fn(&Use) -> u64| rows.iter().map(|(_, part)| of(part)).max().unwrap_or(0).max(1);
    let (items_max, bytes_max) = (most(|part| part.items), most(|part| part.bytes));
    let height = ROW_HEIGHT * rows.len() as f64;
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">");
    for (number, (name, part)) in rows.iter().enumerate() {
        let top = number as f64 * ROW_HEIGHT;
        let _ = write!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            NAME_WIDTH - 8.0,
            top + 20.0,
            html(name)
        );
        let items = (part.items, items_max, human_count(part.items), "items");
        let bytes = (part.bytes, bytes_max, human_bytes(part.bytes), "bytes");
        for (at, (value, most, words, class)) in [(2.0, items), (16.0, bytes)] {
            let full = WIDTH - NAME_WIDTH - NUMBER_WIDTH;
            let width = (full * value as f64 / most as f64).max(if value > 0 { 1.0 } else { 0.0 });
            let _ = write!(
                svg,
                "<rect class=\"{class}\" x=\"{NAME_WIDTH}\" y=\"{}\" width=\"{width:.1}\" \
                 height=\"12\" rx=\"2\"/><text class=\"dim\" x=\"{:.1}\" y=\"{}\">{words}</text>",
                top + at,
                NAME_WIDTH + width + 6.0,
                top + at + 10.5,
            );
        }
    }
    svg.push_str("</svg>");
    svg
}
