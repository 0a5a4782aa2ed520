//! The tools under a real launcher, and the rules of the code base: one module a subject, one program for
//! all of them, because each program links the whole suite.

mod attributes;
mod compare;
mod copy;
mod daos;
mod dfuse;
mod errors;
mod fidelity;
mod hard_links;
mod interop;
mod interrupt;
mod licences;
mod limits_of_targets;
mod lists;
mod lustre;
mod named;
mod nodes;
mod object_answers;
mod object_compare;
mod object_directories;
mod object_faults;
mod object_keys;
mod object_server;
mod object_shortcut;
mod object_store;
mod objects;
mod resume;
mod safety;
mod sync;
mod sync_single;
mod tidy;
mod transfer;
mod unfinished_uploads;
mod usage;
mod verify;
mod walk;
