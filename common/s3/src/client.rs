//! Requests to a service, and the answers, each of which is checked to be complete before it is
//! used.

pub(crate) mod answers;
pub(crate) mod attempts;
pub(crate) mod capabilities;
pub(crate) mod endpoint;
pub(crate) mod fast_path;
pub(crate) mod fault;
pub mod http;
pub(crate) mod latin1;
pub(crate) mod limiter;
pub(crate) mod liveness;
pub(crate) mod redirect;
pub(crate) mod runtime;
pub(crate) mod service;
pub(crate) mod signing;
pub mod trust;
pub(crate) mod whole;
