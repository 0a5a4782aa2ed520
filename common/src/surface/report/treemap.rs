//! A treemap of directories: squarified (Bruls, Huizing, van Wijk), nested, with a title for each.

use std::collections::HashMap;

use maud::{Markup, html};

use super::tenths;
use crate::surface::usage::shown;
use ops::usage::directories::Below;
use types::limits::{TREEMAP_LEVELS_MAX, TREEMAP_RECTANGLES_MAX};
use types::listed::record::parent;
use types::path;
use types::size::{human_bytes, human_count};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 540.0;
/// Height of a label inside a rectangle, and about how wide a letter is.
const LABEL: f64 = 16.0;
const LETTER: f64 = 6.6;
/// Rectangles smaller than this on a side are not drawn.
const LEAST: f64 = 3.0;

#[derive(Debug, Clone, Copy, PartialEq)]
struct Area {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

/// Directories below each, the largest first.
struct Tree<'b>(HashMap<&'b [u8], Vec<&'b Below>>);

/// The picture. Directories come with the largest first, so that one is never before the one it is
/// in.
pub fn draw(below: &[Below]) -> Markup {
    let mut tree = Tree(HashMap::new());
    let mut roots = Vec::new();
    let drawn = below.iter().filter(|it| it.depth < TREEMAP_LEVELS_MAX && it.part.bytes > 0);
    for directory in drawn.take(TREEMAP_RECTANGLES_MAX) {
        if directory.depth == 0 {
            roots.push(directory);
        } else {
            tree.0.entry(parent(&directory.path)).or_default().push(directory);
        }
    }
    if roots.is_empty() {
        return html! { p { "There is no data to draw." } };
    }
    let whole = Area { x: 0.0, y: 0.0, width: WIDTH, height: HEIGHT };
    let total = roots.iter().fold(0_u64, |sum, root| sum.saturating_add(root.part.bytes));
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" {
            (tree.divide(&roots, total, whole, None))
        }
    }
}

impl Tree<'_> {
    /// Gives each directory its part of an area that stands for `total` bytes.
    fn divide(
        &mut self,
        directories: &[&Below],
        total: u64,
        area: Area,
        hue: Option<usize>,
    ) -> Markup {
        let sizes: Vec<f64> = directories.iter().map(|it| it.part.bytes as f64).collect();
        let areas = squarified(&sizes, total as f64, area);
        html! {
            @for (number, (directory, area)) in directories.iter().zip(areas).enumerate() {
                @if area.width >= LEAST && area.height >= LEAST {
                    // A golden angle apart, neighbours differ; everything below the first level
                    // keeps its hue.
                    @let own = hue.unwrap_or(number * 137 % 360);
                    (self.one(directory, area, own))
                }
            }
        }
    }

    fn one(&mut self, directory: &Below, area: Area, hue: usize) -> Markup {
        let name = shown(&directory.path);
        let Area { x, y, width, height } = area;
        let (bytes, items) = (human_bytes(directory.part.bytes), human_count(directory.part.items));
        let has_label = height > LABEL + 2.0 && width > 4.0 * LETTER;
        let top = if has_label { LABEL } else { 1.5 };
        let inner = Area {
            x: x + 1.5,
            y: y + top,
            width: (width - 3.0).max(0.0),
            height: (height - top - 1.5).max(0.0),
        };
        html! {
            g {
                title { (name) "\n" (bytes) " in " (items) " items" }
                rect x=(tenths(x)) y=(tenths(y)) width=(tenths(width)) height=(tenths(height))
                    fill=(format!("hsl({hue} 60% 55% / .22)"))
                    stroke=(format!("hsl({hue} 45% 45% / .8)")) stroke-width="1" {}
                @if has_label {
                    @let room = ((width - 6.0) / LETTER) as usize;
                    text x=(tenths(x + 4.0)) y=(tenths(y + 12.5)) { (label(directory, &name, room)) }
                }
            }
            @if let Some(below) = self.0.remove(&directory.path[..]) {
                (self.divide(&below, directory.part.bytes, inner, (directory.depth > 0).then_some(hue)))
            }
        }
    }
}

/// The last component, with the size where there is room, cut where there is not.
fn label(directory: &Below, name: &str, room: usize) -> String {
    let last = match directory.depth {
        0 => name.to_owned(),
        _ => path::escaped(directory.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()),
    };
    let whole = format!("{last}  {}", human_bytes(directory.part.bytes));
    if whole.chars().count() <= room {
        whole
    } else if last.chars().count() <= room {
        last
    } else {
        last.chars().take(room.saturating_sub(1)).chain(['…']).collect()
    }
}

/// Areas in proportion to the sizes, which decrease, in an area that stands for `total`; as square
/// as they can be.
fn squarified(sizes: &[f64], total: f64, area: Area) -> Vec<Area> {
    let scale = area.width * area.height / total.max(1.0);
    let mut left = area;
    let mut areas = Vec::with_capacity(sizes.len());
    let mut begin = 0;
    while begin < sizes.len() {
        let side = left.width.min(left.height);
        let mut end = begin + 1;
        while end < sizes.len()
            && worst(&sizes[begin..=end], scale, side) <= worst(&sizes[begin..end], scale, side)
        {
            end += 1;
        }
        left = lay(&sizes[begin..end], scale, left, &mut areas);
        begin = end;
    }
    areas
}

/// The worst ratio of sides in a row along a side.
fn worst(row: &[f64], scale: f64, side: f64) -> f64 {
    let sum: f64 = row.iter().sum::<f64>() * scale;
    let thickness = sum / side.max(1e-9);
    let ratio = |size: &f64| {
        let length = size * scale / thickness.max(1e-9);
        (length / thickness.max(1e-9)).max(thickness / length.max(1e-9))
    };
    row.iter().map(ratio).fold(0.0, f64::max)
}

/// Lays a row along the shorter side; returns what is left of the area.
fn lay(row: &[f64], scale: f64, area: Area, areas: &mut Vec<Area>) -> Area {
    let Area { x, y, width, height } = area;
    let sum = row.iter().sum::<f64>() * scale;
    let is_column = width >= height;
    let side = if is_column { height } else { width };
    let thickness = sum / side.max(1e-9);
    let mut at = 0.0;
    for size in row {
        let length = size * scale / thickness.max(1e-9);
        areas.push(if is_column {
            Area { x, y: y + at, width: thickness, height: length }
        } else {
            Area { x: x + at, y, width: length, height: thickness }
        });
        at += length;
    }
    if is_column {
        Area { x: x + thickness, width: (width - thickness).max(0.0), ..area }
    } else {
        Area { y: y + thickness, height: (height - thickness).max(0.0), ..area }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_are_in_proportion_and_stay_inside() {
        let area = Area { x: 10.0, y: 20.0, width: 600.0, height: 400.0 };
        let sizes = [6.0, 6.0, 4.0, 3.0, 2.0, 2.0, 1.0];
        let areas = squarified(&sizes, 24.0, area);
        assert_eq!(areas.len(), sizes.len());
        for (size, it) in sizes.iter().zip(&areas) {
            assert!((it.width * it.height - size * 10_000.0).abs() < 1.0, "{it:?}");
            assert!(it.x >= 10.0 && it.x + it.width <= 610.1, "{it:?}");
            assert!(it.y >= 20.0 && it.y + it.height <= 420.1, "{it:?}");
            assert!(it.width / it.height < 4.0 && it.height / it.width < 4.0, "{it:?}");
        }
    }
}
