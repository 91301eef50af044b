//! `meter-envoy`: serves Envoy until it is told to stop, and gives its leases back.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use envoy_types::pb::envoy::service::rate_limit_quota::v3::rate_limit_quota_service_server::RateLimitQuotaServiceServer;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_server::RateLimitServiceServer;
use futures_util::future::FutureExt as _;
use meter_settings::{listen, start_log, stop_signal};
use tokio::time::timeout;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::config::{self, Config};
use crate::http;
use crate::meter::Meter;
use crate::metrics::Metrics;
use crate::quota::{FINISH, Quotas};
use crate::random;
use crate::rate_limit::RateLimits;

/// How long questions that were begun may take once this process is told to stop, and Envoy to say what it has served of
/// its assignments. Its connections stay open as long as they are let.
const FINISH_MAX: Duration = FINISH.saturating_add(Duration::from_secs(1));
/// A connection that does not answer a ping by then is gone, and its questions with it.
const PING_EVERY: Duration = Duration::from_secs(10);
/// As above.
const PING_WAIT: Duration = Duration::from_secs(5);

/// Palveron Meter for Envoy: its rate limit services, by leases of the meter's homes.
#[derive(Debug, Parser)]
#[command(name = "meter-envoy", version, after_help = meter_settings::help(config::ROWS))]
pub struct Cli {}

/// Runs the command.
#[must_use]
pub fn run(_: &Cli) -> ExitCode {
    match begin() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // There is nobody left to tell where this fails.
            writeln!(io::stderr(), "{error:#}").ok();
            ExitCode::FAILURE
        }
    }
}

fn begin() -> anyhow::Result<()> {
    let config = Config::from_environment()?;
    start_log(&config.log_filter, config.log_format, "meter_envoy=debug").map_err(anyhow::Error::msg)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("no thread can be started")?.block_on(serve(config))
}

async fn serve(config: Config) -> anyhow::Result<()> {
    tracing::info!(%config, "configuration");
    let metrics = Metrics::default();
    let meter = Meter::new(&config, random::words()?, metrics.clone()).map_err(anyhow::Error::msg)?;
    let port = async |setting, address| listen(setting, address).await.map_err(anyhow::Error::msg);
    let listener = port("METER_ENVOY_LISTEN", config.listen).await?;
    let shown = port("METER_ENVOY_METRICS_LISTEN", config.metrics_listen).await?;
    let (address, stop) = (listener.local_addr()?, stop_signal("questions")?.boxed().shared());
    let quotas = Quotas::new(meter.clone(), metrics.clone(), stop.clone());
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<RateLimitServiceServer<RateLimits>>().await;
    health.set_serving::<RateLimitQuotaServiceServer<Quotas>>().await;
    let pages = axum::serve(shown, http::router(metrics.clone())).with_graceful_shutdown(stop.clone());
    tokio::spawn(pages.into_future());
    let stopping = stop.clone().then(|()| async move {
        health.set_not_serving::<RateLimitServiceServer<RateLimits>>().await;
        health.set_not_serving::<RateLimitQuotaServiceServer<Quotas>>().await;
    });
    let server = Server::builder()
        .http2_keepalive_interval(Some(PING_EVERY))
        .http2_keepalive_timeout(Some(PING_WAIT))
        .add_service(health_service)
        .add_service(RateLimitServiceServer::new(RateLimits::new(meter.clone(), metrics)))
        .add_service(RateLimitQuotaServiceServer::new(quotas))
        .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), stopping);
    tracing::info!(listen = %address, "meter-envoy serves Envoy at {address}");
    let serving = tokio::spawn(server);
    stop.await;
    // Whoever does not finish by then is cut off with this process.
    if let Ok(ended) = timeout(FINISH_MAX, serving).await {
        ended.context("the server has failed")??;
    }
    if meter.close().await {
        tracing::info!("meter-envoy has stopped, and has given all its leases back");
    } else {
        tracing::warn!("meter-envoy has stopped; what its homes did not take back is forfeited");
    }
    Ok(())
}
