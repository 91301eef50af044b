//! `sim --seed N --seeds K`: see [`sim::run`].

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    sim::run::main(&arguments)
}
