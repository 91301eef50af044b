//! `meter-reporter`: counts, decides and reports until it is told to stop.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::folder;
use crate::clock::Clock;
use crate::config::{Config, LogFormat};
use crate::http::{App, router, serve};
use crate::meter::Meter;
use crate::metrics::Metrics;
use crate::random;
use crate::sender::Sender;
use crate::transport::Transport;

pub(super) async fn run(config: Config) -> anyhow::Result<ExitCode> {
    start_log(&config)?;
    let Some(_lock) = folder::take(&config.data)? else {
        bail!(
            "another reporter has the folder {}; two would each believe to be alone: stop it, or set METER_REPORTER_DATA",
            config.data.display()
        );
    };
    tracing::info!(%config, "configuration");
    let listener = listen(&config).await?;
    let clock = Clock::default();
    let meter = Meter::open(&config.data, &config.source, &clock).await?;
    let metrics = Metrics::default();
    let sender = sender(&config, &meter, &metrics).await?;
    let address = listener.local_addr()?;
    let stop = stop_signal()?;
    let sending = sender.clone().map(|sender| tokio::spawn(async move { sender.run().await }));
    let app = App::new(config, meter, metrics, sender).map_err(anyhow::Error::msg)?;
    tracing::info!(listen = %address, "meter-reporter listens on http://{address}");
    serve(listener, router(app), stop).await?;
    // A report that is under way is sent again by the next process: its bytes are the same.
    if let Some(sending) = sending {
        sending.abort();
    }
    tracing::info!("meter-reporter has stopped");
    Ok(ExitCode::SUCCESS)
}

/// Who sends; nobody in air-gap mode.
pub(super) async fn sender(
    config: &Config,
    meter: &Meter,
    metrics: &Metrics,
) -> anyhow::Result<Option<Arc<Sender>>> {
    let Some(endpoint) = config.endpoint.clone() else { return Ok(None) };
    let transport =
        Transport::new(endpoint, Some(&config.proxy.matcher), &config.tls).map_err(anyhow::Error::msg)?;
    let parts = (metrics.clone(), random::jitter()?);
    Ok(Some(Arc::new(Sender::new(config, meter.clone(), transport, parts).await?)))
}

async fn listen(config: &Config) -> anyhow::Result<TcpListener> {
    let address = config.listen;
    TcpListener::bind(address).await.map_err(|error| {
        if error.kind() == io::ErrorKind::AddrInUse {
            anyhow!("port taken: something already listens on {address}; stop it, or set METER_REPORTER_LISTEN to another address")
        } else {
            anyhow!("cannot listen on {address}: {error}; set METER_REPORTER_LISTEN to an address of this machine")
        }
    })
}

/// Writes log lines to standard error, in the form that is configured.
fn start_log(config: &Config) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&config.log_filter)
        .context("METER_LOG: accepted is a filter such as info or info,meter_reporter=debug")?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match config.log_format {
        LogFormat::Text => log.with_ansi(false).init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}

/// Ready when the process is told to stop.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: requests that were begun may finish");
    })
}
