//! Signals: from here on they set a mark, so that every program that was started is ended first.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{SignalKind, signal};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Catches Ctrl-C, SIGTERM and SIGHUP for the rest of this process' life.
pub(crate) fn catch() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let mut signals = Vec::new();
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        let _inside = runtime.enter();
        signals.push(signal(kind).context("cannot catch signals")?);
    }
    let [mut one, mut two, mut three] =
        <[_; 3]>::try_from(signals).ok().context("three signals are caught")?;
    thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! { _ = one.recv() => {}, _ = two.recv() => {}, _ = three.recv() => {} }
        });
        INTERRUPTED.store(true, Ordering::SeqCst);
    });
    Ok(())
}

/// Fails once a signal has come.
pub(crate) fn check() -> Result<()> {
    if INTERRUPTED.load(Ordering::SeqCst) {
        bail!("stopped by a signal");
    }
    Ok(())
}
