//! Requests to a service, and the answers, each of which is checked to be complete before it is
//! used.

pub(crate) mod abilities;
pub(crate) mod answers;
pub(crate) mod attempts;
pub(crate) mod endpoint;
pub(crate) mod fault;
pub mod http;
pub(crate) mod liveness;
pub(crate) mod pressure;
pub(crate) mod redirect;
pub(crate) mod service;
pub(crate) mod shortcut;
pub(crate) mod signing;
pub(crate) mod whole;
