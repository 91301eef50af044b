//! The metering worker as a program: what its library exports is all that it is.

#![cfg_attr(target_arch = "wasm32", no_std)]

use meter_edge as _;

runtime::program!();
