//! The seam between operations and the places where trees are.
//!
//! A [`Store`] is a tree below a root that the operator gave; a [`Dir`] is an open directory of it, and
//! every name used with it is one component: nothing here can leave the root. Calls block; they run on
//! I/O threads. New content is *staged* under another name ([`StagedFile`]) and appears under its own name
//! only when it is complete.
//!
//! # Writing a store
//!
//! Each trait has a core of required methods, which is all that a store must have: a tree in memory
//! ([`memory`]) has little more. Provided methods come after the core, in groups. Their defaults are made
//! of the core, or say that there is no such thing, and are right for a store that has nothing faster or better. What
//! never changes about an open store or staged file is one value ([`Capabilities`], [`StagedCapabilities`]).
//! The conformance suite (`common/tests/components/stores/promises.rs`) checks what operations rely on.
//!
//! # Decorating a store
//!
//! [`faulty`] and [`dry_run`] are stores around stores. A decorator implements [`StoreDecorator`],
//! [`DirDecorator`], [`SourceFileDecorator`] or [`StagedFileDecorator`], each of which forwards what the decorator
//! does not do otherwise.

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

pub use dir::{Dir, DirDecorator, Made};
pub use name_reader::NameReader;
pub use new_entry::{NewFile, NewHardLink, NewSpecial, NewSymlink};
pub use receipt::{Receipt, Sender};
pub use source_file::{Checksums, ObjectAddress, SourceFile, SourceFileDecorator};
pub use staged_file::{Remains, StagedCapabilities, StagedFile, StagedFileDecorator};
pub use store::{Capabilities, Store, StoreDecorator};
