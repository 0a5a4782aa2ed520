//! Locations: the sources and targets of an operator, the path that each copy gets, and the proof
//! that nodes see the same root.

pub mod container;
pub mod lineage;
pub mod location;
pub mod malformed;
pub mod placement;
pub mod remote_path;
pub mod root_view;
pub mod sftp_path;
pub mod staged_name;
