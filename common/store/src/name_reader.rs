//! Reader of the names of a directory.

use types::entry::Hint;
use types::object::key_range::KeyRange;
use types::object::keys_below::KeysBelow;
use types::path::Name;
use types::service::InvalidKey;

/// A reader that receives the names of a directory from a store.
pub trait NameReader {
    /// Takes an entry.
    fn name(&mut self, name: &Name, hint: Hint);

    /// Takes a key below the directory that cannot be an entry, and the reason. An empty key is
    /// that of the directory itself.
    fn invalid_key(&mut self, key: &[u8], why: InvalidKey);

    /// Returns whether other threads or ranks have nothing to do.
    fn wants_to_share(&self) -> bool;

    /// Returns whether a range may be handed over. It is asked only where there is a range to hand
    /// over, since the answer may take requests.
    fn may_share(&self) -> bool;

    /// Returns the number of threads by which a store may list the directory where no range may be
    /// handed over; names then come in no order.
    fn listing_threads(&self) -> usize {
        1
    }

    /// Hands over a range to other threads or ranks.
    fn share(&mut self, rest: KeyRange);

    /// Takes a directory of objects, and all keys below it.
    fn directory(&mut self, name: &Name, _below: &KeysBelow) {
        self.name(name, Hint::Directory);
    }

    /// Returns whether a store is to determine all keys below a directory, if that takes fewer
    /// requests than to list it and its subdirectories.
    fn wants_below(&self) -> bool {
        false
    }

    /// Returns whether the directory may be empty even in a store without empty directories,
    /// because no listing has reported it.
    fn may_be_empty(&self) -> bool {
        true
    }
}
