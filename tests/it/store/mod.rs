//! The books on Postgres: several aggregators on one database, and what dies in the middle.

mod crashes;
mod replicas;
mod safety;
pub(crate) mod tls;
