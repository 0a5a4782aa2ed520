//! The reader of a directory's names.

use types::entry::Hint;
use types::object::keys_below::KeysBelow;
use types::object::span::Span;
use types::path::Name;
use types::service::Unfit;

/// A reader that a store tells of a directory's names.
pub trait NameReader {
    /// Takes an entry.
    fn name(&mut self, name: &Name, hint: Hint);

    /// Takes a key below the directory that can be no entry, and why. An empty one is the directory's own.
    fn unfit(&mut self, key: &[u8], why: Unfit);

    /// Returns whether others have nothing to do.
    fn wants_to_share(&self) -> bool;

    /// Leaves a range to others.
    fn share(&mut self, rest: Span);

    /// Takes a directory of objects, and all keys below it.
    fn directory(&mut self, name: &Name, _below: &KeysBelow) {
        self.name(name, Hint::Directory);
    }

    /// Returns whether a store is to find out all keys below a directory where that takes fewer requests than to list
    /// it and those in it.
    fn wants_below(&self) -> bool {
        false
    }

    /// Returns whether the directory may have nothing in it, also where a store has none that is empty: nobody has
    /// told of it.
    fn may_be_empty(&self) -> bool {
        true
    }
}
