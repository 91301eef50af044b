//! Tables of scripts, worked out by hand, and properties.
//!
//! A script is read line by line by [`script::check`]; after every line the ledger is audited and must
//! read back from its own JSON as itself.

mod answers;
mod audits;
mod burn_down;
mod closed_months;
mod months;
mod payments;
mod plans;
mod properties;
mod replayed;
mod rerates;
mod script;
mod thresholds;
mod what_ifs;
