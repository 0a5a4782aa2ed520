//! Layout of a file on Lustre: the objects that hold its content, as the file system encodes it.
//!
//! The structures are those of `lustre_user.h`, packed and in the byte order of the machine, which
//! is little-endian wherever there is a Lustre client. A value that is truncated, or of an unknown
//! kind, is not decoded. An encoded layout never names the objects of another file: each file gets
//! its own.

use serde::{Deserialize, Serialize};

/// Magic number of `lov_user_md_v1`.
const MAGIC_V1: u32 = 0x0BD1_0BD0;
/// Magic number of `lov_user_md_v3`, which has a pool.
const MAGIC_V3: u32 = 0x0BD3_0BD0;
/// Magic number of `lov_user_md_v3` with a list of targets that the user has chosen.
const MAGIC_SPECIFIC: u32 = 0x0BD5_0BD0;
/// Magic number of `lov_comp_md_v1`.
const MAGIC_COMPOSITE: u32 = 0x0BD6_0BD0;

/// Sizes of `lov_user_md_v1`, of the name in `lov_user_md_v3`, of `lov_comp_md_v1` and of an entry
/// in it.
const V1_BYTES: usize = 32;
const POOL_BYTES: usize = 16;
const COMPOSITE_BYTES: usize = 32;
const ENTRY_BYTES: usize = 48;

/// Striping over the objects, stripe by stripe (`LOV_PATTERN_RAID0`).
const PATTERN_STRIPED: u32 = 0x001;
/// Content on the metadata target, with the inode (`LOV_PATTERN_MDT`).
const PATTERN_MDT: u32 = 0x100;
/// Striping with several objects on one target (`LOV_PATTERN_OVERSTRIPING`).
const PATTERN_OVERSTRIPED: u32 = 0x200;
/// Pattern bits that describe the file's state and not its layout: holes in the layout, or content
/// in an archive.
const PATTERN_STATE: u32 = 0xffff_0000;

/// Flag of a mirror that is out of date (`LCME_FL_STALE`).
const FLAG_STALE: u32 = 0x01;
/// Flag of a component that has objects (`LCME_FL_INIT`).
const FLAG_HAS_OBJECTS: u32 = 0x10;
/// Flag of a component that only gives room to the one before it (`LCME_FL_EXTENSION`).
const FLAG_EXTENSION: u32 = 0x40;
/// Bits of a component's ID that tell the mirror it belongs to (`MIRROR_ID_MASK`).
const MIRROR_BITS: u32 = 0x7fff_0000;

/// Stripe count that stands for all targets there are.
pub const ALL_TARGETS: u16 = 0xffff;
/// Index of the first target that leaves the choice to the file system.
const ANY_TARGET: u16 = 0xffff;

/// Layout of a file's content, or of the content of files to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Layout {
    /// One layout for the whole file.
    Plain(Stripes),
    /// One layout for each range of the file: progressive layouts, data on metadata targets,
    /// mirrors.
    Composite(Vec<Component>),
}

/// Striping of a range.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stripes {
    /// `lmm_pattern`, without the bits of a file's state.
    pattern: u32,
    /// Number of objects; 0 for the file system's default, [`ALL_TARGETS`] where their number is
    /// not decided yet.
    pub stripe_count: u16,
    /// Stripe size in bytes; 0 for the default.
    pub stripe_bytes: u32,
    /// Pool of targets, where one is set.
    pub pool: Option<Vec<u8>>,
}

/// A range of a composite layout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Component {
    id: u32,
    flags: u32,
    start: u64,
    /// End of the range; `u64::MAX` for the end of the file, wherever it is.
    end: u64,
    stripes: Stripes,
}

/// Stripe size and stripe count: the part of a file's layout that matters to its writers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Striping {
    /// Stripe size in bytes.
    pub stripe_bytes: u64,
    /// Number of objects.
    pub stripe_count: u64,
}

impl Stripes {
    /// Returns stripes of that size over that number of objects.
    pub fn new(stripe_count: u16, stripe_bytes: u32, pool: Option<Vec<u8>>) -> Self {
        Self { pattern: PATTERN_STRIPED, stripe_count, stripe_bytes, pool }
    }

    /// Returns true for content on the metadata target.
    pub fn is_on_mdt(&self) -> bool {
        self.pattern & PATTERN_MDT != 0
    }

    /// Returns true for a pattern that a new file can be given. Other patterns tell how content was
    /// processed, such as compression.
    fn is_known(&self) -> bool {
        const STRIPED_TOO: u32 = PATTERN_STRIPED | PATTERN_OVERSTRIPED;
        matches!(self.pattern, PATTERN_STRIPED | PATTERN_MDT | PATTERN_OVERSTRIPED | STRIPED_TOO)
    }

    fn striping(&self) -> Option<Striping> {
        let is_settled = self.stripe_count != 0 && self.stripe_count != ALL_TARGETS;
        (is_settled && self.stripe_bytes != 0 && !self.is_on_mdt()).then(|| Striping {
            stripe_bytes: self.stripe_bytes.into(),
            stripe_count: self.stripe_count.into(),
        })
    }

    fn encode(&self) -> Vec<u8> {
        let magic = if self.pool.is_some() { MAGIC_V3 } else { MAGIC_V1 };
        let mut blob = Vec::with_capacity(V1_BYTES + POOL_BYTES);
        blob.extend(magic.to_le_bytes());
        blob.extend(self.pattern.to_le_bytes());
        // ID of the object that the layout belongs to: none yet.
        blob.extend([0; 16]);
        blob.extend(self.stripe_bytes.to_le_bytes());
        blob.extend(self.stripe_count.to_le_bytes());
        blob.extend(ANY_TARGET.to_le_bytes());
        if let Some(pool) = &self.pool {
            let mut name = [0; POOL_BYTES];
            name.iter_mut()
                .zip(pool.iter().take(POOL_BYTES - 1))
                .for_each(|(to, from)| *to = *from);
            blob.extend(name);
        }
        blob
    }

    fn decode(blob: &[u8]) -> Option<Self> {
        let pool = match u32_at(blob, 0)? {
            MAGIC_V1 => None,
            MAGIC_V3 | MAGIC_SPECIFIC => {
                let name = blob.get(V1_BYTES..V1_BYTES + POOL_BYTES)?;
                let name: Vec<u8> = name.iter().copied().take_while(|byte| *byte != 0).collect();
                // The kernel needs room for the terminating NUL.
                (!name.is_empty() && name.len() < POOL_BYTES).then_some(name)
            }
            _ => return None,
        };
        let _all_there = blob.get(..V1_BYTES)?;
        Some(Self {
            pattern: u32_at(blob, 4)? & !PATTERN_STATE,
            stripe_bytes: u32_at(blob, 24)?,
            stripe_count: u16_at(blob, 28)?,
            pool,
        })
    }
}

impl Component {
    fn mirror(&self) -> u32 {
        self.id & MIRROR_BITS
    }

    fn is_extension(&self) -> bool {
        self.flags & FLAG_EXTENSION != 0
    }

    /// Returns the number of bytes in this component for a file of that size.
    fn bytes_of(&self, size_bytes: u64) -> u64 {
        self.end.min(size_bytes).saturating_sub(self.start)
    }

    fn decode(blob: &[u8], entry: &[u8]) -> Option<Self> {
        let from = u32_at(entry, 24)? as usize;
        let end = from.checked_add(u32_at(entry, 28)? as usize)?;
        Some(Self {
            id: u32_at(entry, 0)?,
            flags: u32_at(entry, 4)?,
            start: u64_at(entry, 8)?,
            end: u64_at(entry, 16)?,
            stripes: Stripes::decode(blob.get(from..end)?)?,
        })
    }
}

impl Layout {
    /// Returns a layout with that number of objects for the whole file.
    pub fn plain(stripe_count: u16, stripe_bytes: u32, pool: Option<Vec<u8>>) -> Self {
        Self::Plain(Stripes::new(stripe_count, stripe_bytes, pool))
    }

    /// Decodes the value of `lustre.lov`, of a file or as a directory's default. `None` for a
    /// truncated value or an unknown kind of layout.
    pub fn decode(blob: &[u8]) -> Option<Self> {
        if u32_at(blob, 0)? != MAGIC_COMPOSITE {
            return Stripes::decode(blob).map(Self::Plain);
        }
        let blob = blob.get(..u32_at(blob, 4)? as usize)?;
        let count = usize::from(u16_at(blob, 14)?);
        let entries = blob.get(COMPOSITE_BYTES..COMPOSITE_BYTES + count * ENTRY_BYTES)?;
        let components = entries.chunks_exact(ENTRY_BYTES).map(|it| Component::decode(blob, it));
        let components: Vec<Component> = components.collect::<Option<_>>()?;
        (!components.is_empty()).then_some(Self::Composite(components))
    }

    /// Encodes the layout in the form that a new file takes.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Plain(stripes) => stripes.encode(),
            Self::Composite(components) => encode_composite(components),
        }
    }

    /// Returns the layout for a new file: the same striping, but other objects. Of several mirrors
    /// it takes one that is up to date, since only `lfs mirror resync` fills the others. `None` for
    /// a layout that a new file cannot be given.
    pub fn for_new_file(&self) -> Option<Self> {
        let components = match self {
            Self::Plain(stripes) => return stripes.is_known().then(|| self.clone()),
            Self::Composite(components) => components,
        };
        let mirror = components.iter().find(|it| it.flags & FLAG_STALE == 0)?.mirror();
        let own = components.iter().filter(|component| component.mirror() == mirror);
        let anew =
            |it: &Component| Component { id: 0, flags: it.flags & FLAG_EXTENSION, ..it.clone() };
        let own: Vec<Component> = own.map(anew).collect();
        own.iter().all(|component| component.stripes.is_known()).then_some(Self::Composite(own))
    }

    /// Returns the striping of the largest part of a file of that size, where it is decided. Ranges
    /// are striped by offsets in the file, not in the range.
    pub fn striping(&self, size_bytes: u64) -> Option<Striping> {
        self.most(size_bytes)?.striping()
    }

    fn most(&self, size_bytes: u64) -> Option<&Stripes> {
        match self {
            Self::Plain(stripes) => Some(stripes),
            Self::Composite(components) => {
                let striped = components.iter().filter(|it| !it.is_extension());
                let most = striped.max_by_key(|component| component.bytes_of(size_bytes));
                most.map(|component| &component.stripes)
            }
        }
    }

    /// Returns true where each range has a layout of its own.
    pub fn is_composite(&self) -> bool {
        matches!(self, Self::Composite(_))
    }

    /// Returns the stripes of the last range that has objects, or of the first one if none has.
    pub fn reached(&self) -> &Stripes {
        match self {
            Self::Plain(stripes) => stripes,
            Self::Composite(components) => {
                let has_objects = |it: &&Component| it.flags & FLAG_HAS_OBJECTS != 0;
                let last = components.iter().rfind(has_objects);
                let any = last.or_else(|| components.first());
                &any.expect("there is no composite layout without components").stripes
            }
        }
    }

    /// Returns the pool that the end of a file is in, where one is set.
    pub fn pool(&self) -> Option<&Vec<u8>> {
        match self {
            Self::Plain(stripes) => stripes.pool.as_ref(),
            Self::Composite(components) => components.last()?.stripes.pool.as_ref(),
        }
    }
}

fn encode_composite(components: &[Component]) -> Vec<u8> {
    let stripes: Vec<Vec<u8>> = components.iter().map(|it| it.stripes.encode()).collect();
    let mut at = COMPOSITE_BYTES + components.len() * ENTRY_BYTES;
    let size = at + stripes.iter().map(Vec::len).sum::<usize>();
    let mut blob = Vec::with_capacity(size);
    blob.extend(MAGIC_COMPOSITE.to_le_bytes());
    blob.extend((size as u32).to_le_bytes());
    // Generation and flags.
    blob.extend([0; 6]);
    blob.extend((components.len() as u16).to_le_bytes());
    // Mirror count (none but itself), and padding.
    blob.resize(COMPOSITE_BYTES, 0);
    for (component, stripes) in components.iter().zip(&stripes) {
        blob.extend(component.id.to_le_bytes());
        blob.extend(component.flags.to_le_bytes());
        blob.extend(component.start.to_le_bytes());
        blob.extend(component.end.to_le_bytes());
        blob.extend((at as u32).to_le_bytes());
        blob.extend((stripes.len() as u32).to_le_bytes());
        // Generation, time, parity and compression.
        blob.extend([0; 16]);
        at += stripes.len();
    }
    blob.extend(stripes.concat());
    blob
}

fn bytes_at<const N: usize>(blob: &[u8], at: usize) -> Option<[u8; N]> {
    blob.get(at..at + N)?.try_into().ok()
}

fn u16_at(blob: &[u8], at: usize) -> Option<u16> {
    bytes_at(blob, at).map(u16::from_le_bytes)
}

fn u32_at(blob: &[u8], at: usize) -> Option<u32> {
    bytes_at(blob, at).map(u32::from_le_bytes)
}

fn u64_at(blob: &[u8], at: usize) -> Option<u64> {
    bytes_at(blob, at).map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests;
