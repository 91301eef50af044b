//! Contracts and on-premise reporters, over HTTP.

mod admin;
mod months;
mod reports;
mod support;
mod what_if;
