//! The homes of all projects, and their sub-homes, as Durable Objects of a worker of their own: what must be durable.
//!
//! It is apart from the edge so that either is deployed without the other, and so that an isolate that only decides
//! loads none of this. `home.js` and `sub_home.js` own the platform: they wait, send and set alarms. Between those
//! steps they call the synchronous functions here with plain text. No Rust future ever runs here.

mod call;
mod home_object;
mod keys;
// Both workers panic alike.
#[path = "../../edge/src/panics.rs"]
mod panics;
mod rows;
mod sql;
mod sub_home_object;

pub use call::{failure, refuse_call, refuse_replay};
pub use home_object::HomeObject;
pub use keys::configure;
pub use panics::{overflow_for_test, panic_for_test};
pub use sql::Sql;
pub use sub_home_object::SubHomeObject;
