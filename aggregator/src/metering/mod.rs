//! Cells on their way in, usage on its way out.
//!
//! Pure: what is merged, what has grown and what a report shows is decided here; `store` keeps it.

pub mod batch;
pub mod cloud_event;
pub mod growth;
pub mod leases;
pub mod overview;
pub mod usage;
