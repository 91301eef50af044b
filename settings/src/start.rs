//! How a program begins by its settings: its port and its log; and until when it runs.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::LogFormat;

/// Takes the address that a setting names.
///
/// # Errors
/// Says what to do where it is taken, or none of this machine's.
pub async fn listen(setting: &str, address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| {
        if error.kind() == io::ErrorKind::AddrInUse {
            format!("port taken: something already listens on {address}; stop it, or set {setting} to another address")
        } else {
            format!("cannot listen on {address}: {error}; set {setting} to an address of this machine")
        }
    })
}

/// Writes log lines to standard error, those that the filter lets through. `own` is a filter that suits this program.
///
/// # Errors
/// When the filter is none; what is accepted is told.
pub fn start_log(filter: &str, format: LogFormat, own: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| format!("METER_LOG: {error}; accepted is a filter such as info or info,{own}"))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        LogFormat::Text => log.with_ansi(false).init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}

/// Ready when the process is told to stop. What may still be finished is said in the log.
///
/// # Errors
/// When signals cannot be waited for.
pub fn stop_signal(finishing: &'static str) -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: {finishing} that were begun may finish");
    })
}
