//! A Postgres server for one run of tests: says its URL in one line, and ends with its standard input or a signal.

use anyhow::Result;
use tests::postgres::Postgres;
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "whoever started it reads the URL there")]
async fn main() -> Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let server = Postgres::start().await?;
    println!("{}", server.url("postgres"));
    let mut nothing = Vec::new();
    let mut input = tokio::io::stdin();
    tokio::select! {
        _ = input.read_to_end(&mut nothing) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    drop(server);
    // Standard input is read by a thread that may never wake again.
    std::process::exit(0)
}
