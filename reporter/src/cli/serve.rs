//! `meter-reporter`: counts, decides and reports until it is told to stop.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::bail;
use meter_settings::{listen, start_log, stop_signal};

use super::folder;
use crate::clock::Clock;
use crate::config::Config;
use crate::http::{App, router, serve};
use crate::meter::Meter;
use crate::metrics::Metrics;
use crate::random;
use crate::sender::Sender;
use crate::transport::Transport;

pub(super) async fn run(config: Config) -> anyhow::Result<ExitCode> {
    start_log(&config.log_filter, config.log_format, "meter_reporter=debug").map_err(anyhow::Error::msg)?;
    let Some(_lock) = folder::take(&config.data)? else {
        bail!(
            "another reporter has the folder {}; two would each believe to be alone: stop it, or set METER_REPORTER_DATA",
            config.data.display()
        );
    };
    tracing::info!(%config, "configuration");
    let listener = listen("METER_REPORTER_LISTEN", config.listen).await.map_err(anyhow::Error::msg)?;
    let clock = Clock::default();
    let meter = Meter::open(&config.data, &config.source, &clock).await?;
    let metrics = Metrics::default();
    let sender = sender(&config, &meter, &metrics).await?;
    let address = listener.local_addr()?;
    let stop = stop_signal("requests")?;
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
