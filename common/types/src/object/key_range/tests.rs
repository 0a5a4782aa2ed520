//! Cuts and held objects, by examples.

use super::*;
use crate::entry::Listed;
use std::cell::RefCell;

const FILE: Hint = Hint::Object(Listed { size_bytes: 1, stored_seconds: 0 });

fn entries(names: &[&str]) -> NamePage {
    let (directories, objects) = names
        .iter()
        .map(|name| (*name).to_owned())
        .partition::<Vec<_>, _>(|name| name.ends_with('/'));
    let with = |hint| move |name| (name, hint);
    NamePage::new(
        objects.into_iter().map(with(FILE)).collect(),
        directories.into_iter().map(with(Hint::Directory)).collect(),
    )
}

/// Returns what is reported of these pages, one after the other.
fn told(pages: &[&[&str]]) -> Vec<String> {
    let told = RefCell::new(Vec::new());
    let mut tell = |this: Told<'_>| {
        told.borrow_mut().push(match this {
            Told::Entry(name, _) => name.to_owned(),
            Told::InvalidKey(name, why) => format!("{name} {}", why.code()),
        });
    };
    let mut key_range = KeyRange::default();
    for page in pages {
        key_range.take(&entries(page), &mut tell);
    }
    key_range.finish(&mut tell);
    told.into_inner()
}

#[test]
fn an_object_with_a_directorys_name_is_unfit_however_far_apart_they_are_listed() {
    assert_eq!(
        told(&[&["d", "d-1"], &["d-2", "d/"]]),
        ["d-1", "d-2", "d key-also-directory", "d/"]
    );
    assert_eq!(told(&[&["d"], &["d/"], &["d0"]]), ["d key-also-directory", "d/", "d0"]);
    assert_eq!(told(&[&["d", "da/"], &["e"]]), ["da/", "d", "e"]);
}

#[test]
fn a_link_with_another_objects_name_is_unfit() {
    assert_eq!(
        told(&[&["l", "l-", "l.rclonelink", "l/"]]),
        ["l-", "l.rclonelink key-also-object", "l key-also-directory", "l/"]
    );
    assert_eq!(
        told(&[&["m.rclonelink"], &["m.txt", "m/"]]),
        ["m.txt", "m.rclonelink key-also-directory", "m/"]
    );
}

#[test]
fn the_order_is_seen_within_and_across_pages() {
    let order = |pages: &[&[&str]]| {
        let mut key_range = KeyRange::default();
        for page in pages {
            key_range.take(&entries(page), &mut |_| {});
        }
        key_range.order
    };
    assert_eq!(order(&[&["a", "b"], &["c/", "d"]]), Order::Bytes);
    assert_eq!(order(&[&["a/"], &["a-b"]]), Order::Names);
    assert_eq!(order(&[&["a/", "a-b/"]]), Order::Names);
    assert_eq!(order(&[&["b", "a"]]), Order::Other);
    assert_eq!(order(&[&["b"], &["a"], &["c"]]), Order::Other);
}

/// Cuts what comes after this page.
fn cut(key_range: &KeyRange, page: &[&str]) -> Option<String> {
    key_range.cut(page, 7).map(|cut| cut.at)
}

fn known(upto: &str) -> KeyRange {
    KeyRange { upto: Some(format!("{upto}aaaaaaaa")), is_end_known: true, ..KeyRange::default() }
}

#[test]
fn a_cut_is_half_way_to_a_known_end() {
    let page = ["0100", "0101", "0102", "0103", "0109"];
    assert!(cut(&known("0199"), &page).unwrap().starts_with("015"));
    // Letters in positions that have only digits stand for no names.
    let middle = cut(&known("0899"), &page).unwrap();
    assert!(*"0450" < *middle && *middle < *"0550", "{middle}");
    let hex = ["0a", "0b", "13", "1c"];
    assert!(cut(&known("ff"), &hex).unwrap().starts_with('8'));
}

#[test]
fn little_that_is_left_is_not_cut() {
    let page = ["0100", "0101", "0109"];
    assert_eq!(cut(&known("0120"), &page), None);
    assert!(cut(&known("0190"), &page).is_some());
    assert_eq!(cut(&KeyRange { credit: LISTING_CUT_PAGES - 1, ..known("0199") }, &page), None);
    assert_eq!(cut(&KeyRange { order: Order::Names, ..known("0199") }, &page), None);
}

#[test]
fn where_the_end_is_not_known_cuts_look_for_it() {
    let page = ["0000000000", "0000000999"];
    let mut key_range = KeyRange::default();
    let first = key_range.cut(&page, 0).unwrap();
    assert_eq!(first.at, "0000~aaaaaaaa");
    key_range.end_at(&first);
    assert_eq!(cut(&key_range, &page).unwrap()[..7], *"000000~");
}

fn is_sound(cut: &str, last: &str) -> bool {
    KeyRange::default().is_sound(cut, last)
}

#[test]
fn a_cut_is_between_the_same_names_in_both_orders() {
    assert!(is_sound("file-5abc", "file-4"), "file/ was listed before file-4, or comes after both");
    assert!(!is_sound("file-5abc", "file"), "file/ may come yet, on either side");
    assert!(!is_sound("file-5abc", "e"), "so it may here");
    assert!(is_sound("file0abc", "e"));
    assert!(!is_sound("f/a", "e"));
    assert!(!is_sound("a", "b"));
}

#[test]
fn what_comes_just_before_a_name_leaves_nothing_of_it_out() {
    for (before, name) in [("d00999/x", "d01000/"), ("d0~", "d1/"), ("a/b", "b"), ("9", "a/")] {
        let at = just_before(name, 7).unwrap();
        assert!(*before < *at && *at < *name && !at.contains('/'), "{at}");
        // Name by name, too.
        assert!(before.split('/').lt(at.split('/')) && at.split('/').lt(name.split('/')), "{at}");
    }
    assert_eq!(just_before("é/", 7), None);
    assert_eq!(just_before("/", 7), None);
    assert_eq!(just_before("!/", 7), None);
}
