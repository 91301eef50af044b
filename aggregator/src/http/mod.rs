//! The HTTP interface: thin handlers over the store and the pure core.
//!
//! A handler extracts, loads, decides, saves, answers; who may do it is an argument's type.

mod access;
mod admin;
mod billing;
mod body;
mod call;
mod cloud_events;
mod dashboard;
mod docs;
mod download;
mod embedded;
mod event_docs;
mod failure;
mod field;
mod focus;
mod health;
mod ingest;
mod invoices;
mod limits;
mod metrics;
mod offers;
mod openapi;
mod overview;
mod pages;
mod places;
mod query;
mod reports;
mod requests;
mod retry;
mod route;
mod routes;
mod server;
mod session;
mod site;
mod start;
mod streams;
mod stripe;
mod usage;
mod webhooks;

pub(crate) use access::Commanded;
pub use admin::{AuditView, KeyView, MemberView, ParkedView, ProjectView, QuarantinedView, TokenView};
pub(crate) use admin::{REASON, is_reason};
pub use event_docs::{EVENT_DOCS, EventDoc};
pub use field::Field;
pub(crate) use field::object_schema;
pub use limits::{HEADERS_BYTES_MAX, URI_BYTES_MAX};
pub use openapi::document;
pub use places::{ADDRESS_CONNECTIONS, CONNECTIONS_MAX, Connections, RESERVE_MAX};
pub use route::{Answer, Content, Route, Who};
pub use routes::{router, routes};
pub use server::{Timeouts, serve};
pub use site::Site;
pub use streams::{PROJECT_STREAMS_MAX, STREAMS_MAX, TOKEN_STREAMS_MAX};
pub(crate) use webhooks::SINCE;
pub use webhooks::{DeliveryView, WebhookView};
