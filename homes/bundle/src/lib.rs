//! The worker with the homes as a program: what its library exports is all that it is.

#![cfg_attr(target_arch = "wasm32", no_std)]

use meter_homes as _;

runtime::program!();
