//! How a program begins by its settings: its port and its log; and until when it runs.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Identity, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry};

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

/// The target of spans that are for traces and no part of the log.
pub const TRACE_TARGET: &str = "meter_trace";

/// Writes log lines to standard error, those that the filter lets through. `own` is a filter that suits this program.
///
/// # Errors
/// When the filter is none; what is accepted is told.
pub fn start_log(filter: &str, format: LogFormat, own: &str) -> Result<(), String> {
    start_log_beside(filter, format, own, None::<Identity>)
}

/// The same beside a layer that gets the spans of [`TRACE_TARGET`], and nothing else. Without one nobody takes them, so that they
/// are not even made.
///
/// # Errors
/// As [`start_log`].
pub fn start_log_beside<L>(
    filter: &str,
    format: LogFormat,
    own: &str,
    traces: Option<L>,
) -> Result<(), String>
where
    L: Layer<Registry> + Send + Sync,
{
    let filter = EnvFilter::try_new(format!("{filter},{TRACE_TARGET}=off"))
        .map_err(|error| format!("METER_LOG: {error}; accepted is a filter such as info or info,{own}"))?;
    let traces = traces.map(|layer| layer.with_filter(filter_fn(|of| of.target() == TRACE_TARGET)));
    let log = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let registry = tracing_subscriber::registry().with(traces);
    match format {
        LogFormat::Text => registry.with(log.with_ansi(false).with_filter(filter)).init(),
        LogFormat::Json => registry.with(log.json().with_filter(filter)).init(),
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
