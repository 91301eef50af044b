//! Contracts and on-premise reporters, over HTTP.

mod admin;
mod reports;
mod support;
