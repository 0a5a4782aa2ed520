//! Places: what an operator names, where a source goes, and how a root is recognised on other nodes.

pub mod container;
pub mod location;
pub mod placement;
pub mod root_view;
pub mod staged_name;
