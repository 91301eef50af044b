//! The simulated Stripe as a program, for `cargo xtask dev` and for tests of the whole meter.

use anyhow::Result;
use tests::config::fake_stripe;
use tests::fake_stripe::serve;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let settings = fake_stripe()?;
    eprintln!("fake-stripe: listening on {}; no money moves", settings.listen);
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stopped = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    serve(settings, stopped).await
}
