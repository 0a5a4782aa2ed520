//! Replacement for Parquet lists in a build without them: opening and creating one fails with an
//! error.

/// Writing of parts.
pub mod part {
    use types::error::{Failure, ListFault};

    use crate::labels::PartOf;
    use crate::rows::Rows;
    use crate::{fault, part_path};

    /// A part that is being written, which does not exist.
    pub enum PartWriter {}

    impl PartWriter {
        /// Fails, since this build does not support Parquet lists.
        ///
        /// # Errors
        /// Fails always, with [`ListFault::Unsupported`].
        pub fn create(of: &PartOf) -> Result<Self, Failure> {
            Err(fault(&part_path(&of.list, of.part), ListFault::Unsupported))
        }

        /// Cannot be called.
        pub fn append(&mut self, _: &mut Rows) -> Result<(), Failure> {
            match *self {}
        }

        /// Cannot be called.
        pub fn finish(self, _: u64) -> Result<(), Failure> {
            match self {}
        }
    }
}

/// Reading of parts.
pub mod read_part {
    use std::path::Path;

    use types::error::{Failure, ListFault};
    use types::listed::record::OwnedRecord;

    use crate::fault;

    /// An open part, which does not exist.
    pub enum Part {}

    impl Part {
        /// Fails, since this build does not support Parquet lists.
        ///
        /// # Errors
        /// Fails always, with [`ListFault::Unsupported`].
        pub fn open(path: &Path) -> Result<Self, Failure> {
            Err(fault(path, ListFault::Unsupported))
        }

        /// Cannot be called.
        pub fn groups(&self) -> usize {
            match *self {}
        }

        /// Cannot be called.
        pub fn says(&self, _: &str) -> Option<&str> {
            match *self {}
        }

        /// Cannot be called.
        pub fn records(
            &self,
            _: usize,
        ) -> Result<std::iter::Empty<Result<OwnedRecord, Failure>>, Failure> {
            match *self {}
        }
    }
}

/// Entries on their way to a part.
pub mod rows {
    use types::listed::record::Record;

    /// Entries that no part takes.
    #[derive(Debug, Default)]
    pub struct Rows {}

    impl Rows {
        /// Returns 0.
        pub fn len(&self) -> usize {
            0
        }

        /// Returns true.
        pub fn is_empty(&self) -> bool {
            true
        }

        /// Returns false.
        pub fn are_enough(&self) -> bool {
            false
        }

        /// Returns 0.
        pub fn path_bytes(&self) -> usize {
            0
        }

        /// Drops all entries.
        pub fn append(&mut self, _: &mut Self) {}

        /// Drops an entry.
        pub fn push(&mut self, _: &Record<'_>) {}
    }
}
