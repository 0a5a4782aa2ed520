//! Layouts byte by byte, against the structures of `lustre_user.h`.

use super::*;

/// Converts a hexadecimal dump to bytes.
fn hex(dump: &str) -> Vec<u8> {
    let digits: Vec<u8> = dump.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

const ZEROS_16: &str = "00000000 00000000 00000000 00000000";

fn object(target: u32) -> Vec<u8> {
    [vec![7; 16], vec![0; 4], target.to_le_bytes().to_vec()].concat()
}

fn component(start: u64, end: u64, stripes: Stripes) -> Component {
    Component { id: 0, flags: 0, start, end, stripes }
}

/// Returns a progressive layout: 1 object up to 1 MiB, 4 in a pool up to 1 GiB, then all there are.
fn progressive() -> Layout {
    Layout::Composite(vec![
        component(0, 1 << 20, Stripes::new(1, 1 << 20, None)),
        component(1 << 20, 1 << 30, Stripes::new(4, 1 << 20, Some(b"flash".to_vec()))),
        component(1 << 30, u64::MAX, Stripes::new(ALL_TARGETS, 4 << 20, None)),
    ])
}

#[test]
fn a_plain_layout_is_32_bytes() {
    let blob = Layout::plain(4, 1 << 20, None).encode();
    let expected = format!("d00bd10b 01000000 {ZEROS_16} 00001000 0400 ffff");
    assert_eq!(blob, hex(&expected));
    let all = Layout::plain(ALL_TARGETS, 0, None).encode();
    assert_eq!(all, hex(&format!("d00bd10b 01000000 {ZEROS_16} 00000000 ffff ffff")));
}

#[test]
fn a_pool_makes_it_48_bytes() {
    let blob = Layout::plain(2, 64 << 10, Some(b"flash".to_vec())).encode();
    let pool = "666c617368 0000000000 0000000000 00";
    let expected = format!("d00bd30b 01000000 {ZEROS_16} 00000100 0200 ffff {pool}");
    assert_eq!(blob, hex(&expected));
    let long = Layout::plain(2, 64 << 10, Some(vec![b'p'; 40])).encode();
    assert_eq!((long.len(), long[46], long[47]), (48, b'p', 0));
}

#[test]
fn a_composite_layout_has_entries_that_point_to_plain_ones() {
    let (head, entries) = ("d00bd60b 20010000 00000000 0000 0300 0000 00 00 00000000", 32 + 3 * 48);
    let entry = |start: &str, end: &str, at: u32, size: u32| {
        let (at, size) = (at.to_le_bytes(), size.to_le_bytes());
        [hex("00000000 00000000"), hex(start), hex(end), at.into(), size.into(), vec![0; 16]]
            .concat()
    };
    let plain =
        |bytes: &str, count: &str| hex(&format!("d00bd10b 01000000 {ZEROS_16} {bytes}{count}ffff"));
    let pool = hex(&format!(
        "d00bd30b 01000000 {ZEROS_16} 00001000 0400 ffff 666c617368 0000000000 0000000000 00"
    ));
    let expected = [
        [hex(head), vec![0; 8]].concat(),
        entry("0000000000000000", "0000100000000000", entries, 32),
        entry("0000100000000000", "0000004000000000", entries + 32, 48),
        entry("0000004000000000", "ffffffffffffffff", entries + 80, 32),
        plain("00001000", "0100"),
        pool,
        plain("00004000", "ffff"),
    ]
    .concat();
    assert_eq!((expected.len(), progressive().encode()), (0x120, expected));
}

#[test]
fn what_is_written_is_read_back() {
    let pool = Some(b"fifteen-letters".to_vec());
    for layout in
        [Layout::plain(1, 4 << 20, None), Layout::plain(2000, 1 << 20, pool), progressive()]
    {
        assert_eq!(Layout::decode(&layout.encode()), Some(layout.clone()));
        assert_eq!(layout.for_new_file(), Some(layout));
    }
}

/// Decodes a file's own layout, which has its objects at the end, and a generation where a new one
/// has the first target.
#[test]
fn places_of_a_file_do_not_reach_another_one() {
    let mut blob = Layout::plain(2, 1 << 20, None).encode();
    blob[30..32].copy_from_slice(&9_u16.to_le_bytes());
    blob[8..24].fill(5);
    let of_file = [blob.clone(), object(3), object(1)].concat();
    assert_eq!(of_file.len(), 80);
    let read = Layout::decode(&of_file).unwrap();
    assert_eq!(read, Layout::plain(2, 1 << 20, None));
    assert_eq!(read.striping(1), Some(Striping { stripe_bytes: 1 << 20, stripe_count: 2 }));
    // Targets that the user has chosen, and a file that is archived.
    let mut chosen = Layout::plain(2, 1 << 20, Some(b"p".to_vec())).encode();
    chosen[..4].copy_from_slice(&MAGIC_SPECIFIC.to_le_bytes());
    chosen[32] = 0;
    chosen[7] = 0x80;
    let read = Layout::decode(&[chosen, object(3), object(1)].concat());
    assert_eq!(read, Some(Layout::plain(2, 1 << 20, None)));
}

#[test]
fn objects_on_one_target_and_data_on_metadata_targets_are_kept() {
    let over = Stripes { pattern: 0x201, ..Stripes::new(16, 1 << 20, None) };
    let on_mdt = Stripes { pattern: PATTERN_MDT, ..Stripes::new(0, 64 << 10, None) };
    let layout = Layout::Composite(vec![
        component(0, 64 << 10, on_mdt),
        component(64 << 10, u64::MAX, over),
    ]);
    let read = Layout::decode(&layout.encode()).unwrap();
    assert_eq!(read.for_new_file(), Some(layout));
    assert!(read.reached().is_on_mdt());
    assert_eq!(read.striping(1 << 10), None);
    assert_eq!(read.striping(1 << 30).unwrap().stripe_count, 16);
}

#[test]
fn of_mirrors_one_is_kept_that_is_up_to_date() {
    let of = |id, flags, count| Component {
        id,
        flags,
        ..component(0, u64::MAX, Stripes::new(count, 1 << 20, None))
    };
    let mirrors = Layout::Composite(vec![
        of(0x1_0001, FLAG_HAS_OBJECTS | FLAG_STALE, 1),
        of(0x2_0002, FLAG_HAS_OBJECTS, 2),
        of(0x3_0003, FLAG_HAS_OBJECTS, 3),
    ]);
    let kept = Layout::Composite(vec![of(0, 0, 2)]);
    assert_eq!(mirrors.for_new_file(), Some(kept));
}

#[test]
fn patterns_that_say_what_was_done_with_content_are_not_kept() {
    for pattern in [0x004, 0x400, 0x801] {
        let layout = Layout::Plain(Stripes { pattern, ..Stripes::new(1, 1 << 20, None) });
        assert_eq!(layout.for_new_file(), None, "{pattern:#x}");
    }
}

/// Checks that the largest part decides: the rest of a large file is small.
#[test]
fn a_file_is_cut_as_most_of_it_is_striped() {
    let striping = |size| progressive().striping(size);
    assert_eq!(striping(1 << 20).unwrap().stripe_count, 1);
    assert_eq!(striping(1 << 30).unwrap().stripe_count, 4);
    assert_eq!(striping(1 << 40), None, "as many as there are is not a number yet");
    assert_eq!(Layout::plain(4, 0, None).striping(1), None);
}

#[test]
fn torn_and_foreign_layouts_are_none() {
    let whole = [
        [Layout::plain(2, 1 << 20, None).encode(), object(1), object(2)].concat(),
        Layout::plain(2, 1 << 20, Some(b"flash".to_vec())).encode(),
        progressive().encode(),
    ];
    for blob in &whole {
        let least = if u32_at(blob, 0) == Some(MAGIC_V1) { V1_BYTES } else { blob.len() };
        for length in 0..least {
            assert_eq!(Layout::decode(&blob[..length]), None, "{length} bytes");
        }
        // A changed byte gives a layout that can be encoded again, or none.
        for at in 0..blob.len() {
            for byte in [0, 1, 0x7f, 0x80, 0xff, blob[at] ^ 1] {
                let mut changed = blob.clone();
                changed[at] = byte;
                if let Some(layout) = Layout::decode(&changed) {
                    layout.encode();
                    layout.for_new_file();
                    layout.striping(u64::MAX);
                    layout.reached();
                }
            }
        }
    }
    for foreign in [0x0BD7_0BD0_u32, 0x0CD3_0CD0, 0xD00B_D10B, 0] {
        let blob = [foreign.to_le_bytes().to_vec(), vec![0; 100]].concat();
        assert_eq!(Layout::decode(&blob), None);
    }
}
