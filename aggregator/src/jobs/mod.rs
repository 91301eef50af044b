//! What runs beside requests. Jobs meet handlers only through the store.

pub mod edge_client;
pub mod policy_push;
