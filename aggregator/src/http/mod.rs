//! The HTTP interface: thin handlers over the store and the pure core.
//!
//! A handler extracts, loads, decides, saves, answers; who may do it is an argument's type.

mod access;
mod admin;
mod billing;
mod body;
mod call;
mod failure;
mod health;
mod ingest;
mod limits;
mod metrics;
mod query;
mod routes;
mod server;
mod usage;

pub(crate) use admin::credits::{REASON, is_reason};
pub use admin::{KeyView, ProjectView, TokenView};
pub use health::Readiness;
pub use limits::{HEADERS_BYTES_MAX, URI_BYTES_MAX};
pub use routes::{ROUTES, Route, Who, router};
pub use server::{Timeouts, serve};
