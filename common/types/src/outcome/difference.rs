//! Differences between two entries of one path: the sides on which they exist, and the fields that
//! differ.

use serde::{Deserialize, Serialize};

/// Sides on which a path exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Presence {
    Both,
    OnlySource,
    OnlyTarget,
}

bitflags::bitflags! {
    /// Set of fields of an entry, such as those in which two entries differ. The names are those in
    /// expressions.
    ///
    /// Travels as its bits; bits that stand for no field are refused.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
    #[serde(try_from = "u16", into = "u16")]
    pub struct Fields: u16 {
        /// File type.
        const TYPE = 1;
        /// Length in bytes; without meaning for directories.
        const SIZE = 1 << 1;
        /// User ID of the owner.
        const UID = 1 << 2;
        /// Group ID.
        const GID = 1 << 3;
        /// Access time.
        const ATIME = 1 << 4;
        /// Modification time.
        const MTIME = 1 << 5;
        /// Change time: the last change of content or attributes.
        const CTIME = 1 << 6;
        /// Permission bits with set-id and sticky bits.
        const PERM = 1 << 7;
        /// Access control lists.
        const ACL = 1 << 8;
        /// Content of a file, or target of a symbolic link.
        const CONTENT = 1 << 9;
        /// Extended attributes other than access control lists.
        const XATTR = 1 << 10;
        /// Target of a symbolic link.
        const LINK = 1 << 11;
    }
}

impl Fields {
    /// The empty set.
    pub const NONE: Self = Self::empty();
    /// The set of all fields.
    pub const ALL: Self = Self::all();

    /// Returns the names of the fields of this set, as they are in expressions.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        self.iter_names().map(|(name, _)| name)
    }
}

impl std::fmt::Debug for Fields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

impl From<Fields> for u16 {
    fn from(fields: Fields) -> Self {
        fields.bits()
    }
}

/// Bits that stand for no fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no field has all of the bits {0:#x}")]
pub struct UnknownBits(u16);

impl TryFrom<u16> for Fields {
    type Error = UnknownBits;

    fn try_from(bits: u16) -> Result<Self, UnknownBits> {
        Self::from_bits(bits).ok_or(UnknownBits(bits))
    }
}

/// Result of the comparison of one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Findings {
    /// Sides on which the path exists.
    pub presence: Presence,
    /// Fields that differ; without meaning for a path that exists on one side only.
    pub differing: Fields,
    /// Fields that could not be compared, because one of the two stores does not have them.
    pub unknown: Fields,
}

impl Findings {
    /// Returns the result for a path that exists on both sides and differs in these fields.
    pub fn both(differing: Fields) -> Self {
        Self { presence: Presence::Both, differing, unknown: Fields::NONE }
    }

    /// Returns the result for a path that exists on one side only.
    pub fn only(presence: Presence) -> Self {
        Self { presence, differing: Fields::NONE, unknown: Fields::NONE }
    }

    /// Returns true where the entries differ in that one field.
    ///
    /// Content counts as different where type, size or symbolic link's target differ: it is not
    /// read then, as in mpiFileUtils' dcmp.
    pub fn differs(self, field: Fields) -> bool {
        let causes = match field {
            Fields::CONTENT => {
                Fields::CONTENT.union(Fields::TYPE).union(Fields::SIZE).union(Fields::LINK)
            }
            other => other,
        };
        self.differing.intersects(causes)
    }

    /// Returns those of the `counted` fields that differ. A difference in content that only an
    /// uncounted field shows, such as the size, is reported as one of content.
    pub fn counted(self, counted: Fields) -> Fields {
        let mut differing = self.differing.intersection(counted);
        let telling = Fields::TYPE.union(Fields::SIZE).union(Fields::LINK);
        let is_shown = differing.intersects(telling);
        if counted.contains(Fields::CONTENT) && self.differs(Fields::CONTENT) && !is_shown {
            differing.insert(Fields::CONTENT);
        }
        differing
    }

    /// Returns true where the path exists on both sides and nothing differs.
    pub fn is_same(self) -> bool {
        self.presence == Presence::Both && self.differing.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_has_a_bit_and_a_name_of_its_own() {
        let fields: Vec<_> = Fields::ALL.iter().collect();
        assert_eq!(fields.len(), 12);
        for (position, field) in fields.iter().enumerate() {
            assert_eq!(u16::from(*field), 1 << position);
            let names: Vec<_> = field.names().collect();
            assert_eq!(names.len(), 1);
            assert_eq!(Fields::from_name(names[0]), Some(*field));
        }
        assert_eq!(fields.into_iter().collect::<Fields>(), Fields::ALL);
        assert_eq!(Fields::from_name("EXIST"), None);
        assert_eq!(Fields::from_name("size"), None);
    }

    #[test]
    fn sets_behave_as_sets() {
        let mut set = Fields::default();
        assert!(set.is_empty());
        set.insert(Fields::UID);
        set.insert(Fields::SIZE);
        assert!(set.contains(Fields::UID.union(Fields::SIZE)));
        assert!(!set.contains(Fields::UID.union(Fields::GID)));
        assert!(set.intersects(Fields::UID.union(Fields::GID)));
        assert_eq!(set.intersection(Fields::SIZE.union(Fields::GID)), Fields::SIZE);
        assert_eq!(set.names().collect::<Vec<_>>(), ["SIZE", "UID"]);
        assert_eq!(format!("{set:?}"), r#"{"SIZE", "UID"}"#);
        assert!(set.contains(Fields::NONE));
        assert!(!set.intersects(Fields::NONE));
    }

    #[test]
    fn travels_as_bits_and_refuses_unknown_ones() {
        let bytes = postcard::to_stdvec(&Fields::ALL).unwrap();
        assert_eq!(bytes, postcard::to_stdvec(&0x0fff_u16).unwrap());
        assert_eq!(postcard::from_bytes::<Fields>(&bytes), Ok(Fields::ALL));
        for bits in [0x1000_u16, 0x8001, u16::MAX] {
            let foreign = postcard::to_stdvec(&bits).unwrap();
            assert!(postcard::from_bytes::<Fields>(&foreign).is_err(), "{bits:#x}");
        }
        let findings = Findings::only(Presence::OnlyTarget);
        let bytes = postcard::to_stdvec(&findings).unwrap();
        assert_eq!(postcard::from_bytes::<Findings>(&bytes), Ok(findings));
    }

    #[test]
    fn content_differs_where_it_was_not_worth_looking() {
        for cause in [Fields::TYPE, Fields::SIZE, Fields::LINK, Fields::CONTENT] {
            assert!(Findings::both(cause).differs(Fields::CONTENT), "{cause:?}");
        }
        assert!(!Findings::both(Fields::MTIME).differs(Fields::CONTENT));
        assert!(!Findings::both(Fields::CONTENT).differs(Fields::SIZE));
        assert!(Findings::both(Fields::NONE).is_same());
        assert!(!Findings::both(Fields::ATIME).is_same());
        assert!(!Findings::only(Presence::OnlySource).is_same());
    }
}
