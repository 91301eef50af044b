//! How a program of the meter is told things: settings are declared once, a row each, and what is read, what `--help`
//! lists and what the tables of the documents say are all made from these rows; and how it begins by them.
//!
//! It must never know what a program is about, and never show the value of a setting that it refuses: the parser of
//! each setting decides what may be repeated.

mod environment;
mod file;
mod kinds;
mod reader;
mod row;
mod start;
mod unknown;

pub use self::environment::{names, variable};
pub use self::file::{File, example};
pub use self::kinds::{LogFormat, optional, switch};
pub use self::reader::{ConfigError, Reader};
pub use self::row::{Row, Setting, help};
pub use self::start::{TRACE_TARGET, listen, start_log, start_log_beside, stop_signal};
pub use self::unknown::{meant, refusals};
