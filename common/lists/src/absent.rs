//! What stands for Parquet lists in a build without them: none can be opened or made, which is said.

/// Parts that are written.
pub mod part {
    use types::error::{Failure, ListFault};

    use crate::labels::PartOf;
    use crate::rows::Rows;
    use crate::{fault, part_path};

    /// A part being written: there is none.
    pub enum PartWriter {}

    impl PartWriter {
        /// Refuses.
        ///
        /// # Errors
        /// Always.
        pub fn create(of: &PartOf) -> Result<Self, Failure> {
            Err(fault(&part_path(&of.list, of.part), ListFault::Unsupported))
        }

        /// Never gets there.
        pub fn append(&mut self, _: &mut Rows) -> Result<(), Failure> {
            match *self {}
        }

        /// Never gets there.
        pub fn finish(self, _: u64) -> Result<(), Failure> {
            match self {}
        }
    }
}

/// Parts that are read.
pub mod read_part {
    use std::path::Path;

    use types::error::{Failure, ListFault};
    use types::listed::record::OwnedRecord;

    use crate::fault;

    /// A part, open: there is none.
    pub enum Part {}

    impl Part {
        /// Refuses.
        ///
        /// # Errors
        /// Always.
        pub fn open(path: &Path) -> Result<Self, Failure> {
            Err(fault(path, ListFault::Unsupported))
        }

        /// Never gets there.
        pub fn groups(&self) -> usize {
            match *self {}
        }

        /// Never gets there.
        pub fn says(&self, _: &str) -> Option<&str> {
            match *self {}
        }

        /// Never gets there.
        pub fn records(
            &self,
            _: usize,
        ) -> Result<std::iter::Empty<Result<OwnedRecord, Failure>>, Failure> {
            match *self {}
        }
    }
}

/// Entries on their way into a part.
pub mod rows {
    use types::listed::record::Record;

    /// Entries that no part takes.
    #[derive(Debug, Default)]
    pub struct Rows {}

    impl Rows {
        /// None.
        pub fn len(&self) -> usize {
            0
        }

        /// Always.
        pub fn is_empty(&self) -> bool {
            true
        }

        /// Never.
        pub fn are_enough(&self) -> bool {
            false
        }

        /// None.
        pub fn path_bytes(&self) -> usize {
            0
        }

        /// Takes nothing over.
        pub fn append(&mut self, _: &mut Self) {}

        /// Keeps nothing.
        pub fn push(&mut self, _: &Record<'_>) {}
    }
}
