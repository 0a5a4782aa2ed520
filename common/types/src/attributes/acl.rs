//! Access control lists as extended attributes hold them (acl(5), `linux/posix_acl_xattr.h`): as
//! far as modes have to do with them.

/// Tags of the entries that the bits of a mode stand for: owner, owning group, mask, others.
const TAGS: [u16; 4] = [0x01, 0x04, 0x10, 0x20];

const VERSION_BYTES: usize = 4;

/// Size of one list entry: its tag, its permissions and the id of the user or group, in bytes.
const ENTRY_BYTES: usize = 8;

fn tag_of(entry: &[u8]) -> u16 {
    u16::from_le_bytes([entry[0], entry[1]])
}

/// Returns the number of bits by which the permissions of an entry with that tag are shifted in a
/// mode; `None` where the mode does not contain them. Where the list has a mask, the group bits of
/// the mode are those of the mask.
fn shift_of(tag: u16, has_mask: bool) -> Option<u32> {
    let [owner, group, mask, others] = TAGS;
    match tag {
        tag if tag == owner => Some(6),
        tag if tag == if has_mask { mask } else { group } => Some(3),
        tag if tag == others => Some(0),
        _ => None,
    }
}

fn has_mask(entries: &[u8]) -> bool {
    entries.chunks_exact(ENTRY_BYTES).any(|entry| tag_of(entry) == TAGS[2])
}

/// Changes an access control list as chmod(2) does.
pub fn change_mode(acl: &mut [u8], mode: u32) {
    let Some(entries) = acl.get_mut(VERSION_BYTES..) else { return };
    let has_mask = has_mask(entries);
    for entry in entries.chunks_exact_mut(ENTRY_BYTES) {
        if let Some(shift) = shift_of(tag_of(entry), has_mask) {
            entry[2..4].copy_from_slice(&((mode >> shift & 0o7) as u16).to_le_bytes());
        }
    }
}

/// Returns the permission bits that an access control list stands for.
pub fn mode_of(acl: &[u8]) -> u32 {
    let entries = acl.get(VERSION_BYTES..).unwrap_or_default();
    let has_mask = has_mask(entries);
    let bits = |entry: &[u8]| {
        let shift = shift_of(tag_of(entry), has_mask)?;
        Some(u32::from(u16::from_le_bytes([entry[2], entry[3]]) & 0o7) << shift)
    };
    entries.chunks_exact(ENTRY_BYTES).filter_map(bits).fold(0, |mode, bits| mode | bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[(u16, u16)]) -> Vec<u8> {
        let entry = |tag: u16, bits: u16| [tag.to_le_bytes(), bits.to_le_bytes()].concat();
        let entries = entries.iter().map(|(tag, bits)| [entry(*tag, *bits), vec![7; 4]].concat());
        [vec![2, 0, 0, 0], entries.collect::<Vec<_>>().concat()].concat()
    }

    #[test]
    fn lists_change_with_the_mode() {
        let mut masked = list(&[(1, 6), (2, 7), (4, 5), (0x10, 7), (0x20, 5)]);
        assert_eq!(mode_of(&masked), 0o675);
        change_mode(&mut masked, 0o740);
        assert_eq!(masked, list(&[(1, 7), (2, 7), (4, 5), (0x10, 4), (0x20, 0)]));
        let mut plain = list(&[(1, 6), (4, 5), (0x20, 5)]);
        assert_eq!(mode_of(&plain), 0o655);
        change_mode(&mut plain, 0o700);
        assert_eq!(plain, list(&[(1, 7), (4, 0), (0x20, 0)]));
    }

    #[test]
    fn torn_lists_do_no_harm() {
        change_mode(&mut [2, 0], 0o700);
        assert_eq!(mode_of(&[2, 0]), 0);
        assert_eq!(mode_of(&list(&[(1, 6), (0x20, 5)])[..15]), 0o600);
    }
}
