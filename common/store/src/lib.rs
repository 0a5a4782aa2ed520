//! Interface between operations and the storage of trees.
//!
//! A [`Store`] is a tree below a root that the operator gave; a [`Dir`] is an open directory of it,
//! and every name used with it is one component: nothing here can leave the root. Calls block; they
//! run on I/O threads. New content is *staged* under another name ([`StagedFile`]) and appears
//! under its final name only when it is complete.
//!
//! # Writing a store
//!
//! Each trait has a core of required methods, which is all that a store must have: a tree in memory
//! ([`memory`]) has little more. Provided methods come after the core, in groups. Their defaults
//! use the core, or report that the feature does not exist, and are right for a store that has
//! nothing faster or better. Properties that never change for an open store or staged file are one
//! value ([`Capabilities`], [`StagedCapabilities`]). The conformance suite
//! (`common/tests/components/stores/promises.rs`) checks the properties that operations rely on.
//!
//! # Decorating a store
//!
//! [`faulty`] and [`dry_run`] are stores around stores. A decorator implements [`StoreDecorator`],
//! [`DirDecorator`], [`SourceFileDecorator`] or [`StagedFileDecorator`], each of which forwards all
//! methods that the decorator does not override.
//!
//! Uses: `types`.

mod absent;
mod dir;
pub mod dry_run;
pub mod faulty;
pub mod memory;
mod name_reader;
mod new_entry;
pub mod opening;
mod receipt;
pub mod recorded;
mod seam_trait;
mod source_file;
mod staged_file;
mod store;

pub use dir::{Dir, DirDecorator, Made, RemoteAddress, Upcoming};
pub use name_reader::NameReader;
pub use new_entry::{NewFile, NewHardLink, NewSpecial, NewSymlink, Writers};
pub use receipt::{Receipt, Sender};
pub use source_file::{Checksums, ObjectAddress, ServerFile, SourceFile, SourceFileDecorator};
pub use staged_file::{Remains, StagedCapabilities, StagedFile, StagedFileDecorator};
pub use store::{Capabilities, Store, StoreDecorator};
