//! `meter serve`: the aggregator until it is told to stop.

use anyhow::Context as _;
use meter_settings::{listen, stop_signal};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use shared::key::KeySecrets;
use shared::policy::Place;
use tokio::task::JoinSet;

use super::{lock, redis};
use crate::app::{App, Homes, Parts};
use crate::clock::Clock;
use crate::config::{Config, StripeSettings};
use crate::edge::client::EdgeClient;
use crate::edge::collector::Traces;
use crate::http::{self, CONNECTIONS_MAX, Connections, RESERVE_MAX, Site, Timeouts};
use crate::identity::Provider;
use crate::jobs::webhooks::{self, Resolver, Sender};
use crate::jobs::{
    audit, clock_offset, contract_close, contract_turn, forget, home_moves, key_expiry, month_close,
    part_sums, policy_push, policy_turn, redis_homes, reporter_watch, stream_age, stripe, stripe_reconcile,
};
use crate::metrics::Metrics;
use crate::projects::policy::Basis;
use crate::store::{Applied, Intake, Store, WhenMissing};
use crate::stripe::account::Account;
use crate::stripe::client::Stripe;
use crate::stripe::inbox::Inbox;

/// A filter of log lines that suits this program.
const LOG_EXAMPLE: &str = "aggregator=debug";

/// Files that are open beside connections from outside: the books, their log, and connections of ours to others.
const OWN_FILES_MAX: usize = 256;

pub(super) async fn run(config: Config) -> anyhow::Result<()> {
    let traces = prepare(&config)?;
    config.key_secrets()?;
    // The port first: a second instance must not touch the books of the one that has it.
    let listener = listen("METER_LISTEN", config.listen).await.map_err(anyhow::Error::msg)?;
    let _lock = lock::take(&config.database)?;
    let basis = config.basis();
    redis::require_lasting(&config).await?;
    let store =
        Store::open(&config.database, WhenMissing::Create).await.with_context(|| database(&config))?;
    let clock = Clock::system();
    let address = listener.local_addr()?;
    if config.test {
        clock.shift(store.clock_offset_ms().await?);
        // Before it answers anybody, so that whoever moves the clock from then on waits for it.
        store.follow_clock(address, clock.offset_ms()).await?;
    }
    apply_plans(&config, &store, &clock).await?;
    begin_homes(&config, &store).await?;
    let raised = store.rebase_policies(&basis.fingerprint(), clock.now()).await?;
    if raised > 0 {
        tracing::info!(
            projects = raised,
            "what policies are compiled from changed; every policy has a new version"
        );
    }
    let app = app(&config, &store, &clock, &basis, homes_begin(&config))?;
    tracing::info!(%config, "configuration");
    tracing::info!(listen = %address, "meter listens on http://{address}");
    // Before anything is judged by silences: in the meantime nobody could be heard.
    app.store.note_start(app.clock.now()).await?;
    let mut jobs = JoinSet::new();
    if let Some(counters) = app.homes.redis() {
        jobs.spawn(redis_homes::run(app.clone(), counters.clone()));
    }
    jobs.spawn(home_moves::run(app.clone()));
    jobs.spawn(policy_push::run(app.clone(), app.homes.clone()));
    jobs.spawn(month_close::run(app.clone()));
    jobs.spawn(key_expiry::run(app.clone()));
    jobs.spawn(stream_age::run(app.clone()));
    jobs.spawn(policy_turn::run(app.clone()));
    jobs.spawn(contract_turn::run(app.clone()));
    jobs.spawn(contract_close::run(app.clone()));
    jobs.spawn(reporter_watch::run(app.clone()));
    jobs.spawn(part_sums::run(app.clone()));
    jobs.spawn(audit::run(app.clone()));
    jobs.spawn(forget::run(app.clone()));
    jobs.spawn(webhooks::run(app.clone(), Sender::new(config.webhook_rules.clone(), Resolver::System)));
    jobs.spawn(stripe::run(app.clone()));
    jobs.spawn(stripe_reconcile::run(app.clone()));
    if let Some(peers) = app.test_clock.clone() {
        jobs.spawn(clock_offset::run(app.store.clone(), app.clock.clone(), peers, address));
    }
    let timeouts = Timeouts::default();
    let site = Site::new(app.clone(), timeouts).with_metrics_token(config.metrics_token.clone());
    let (stop, stopping) = (stop_signal("requests")?, site.clone());
    let stop = async move {
        stop.await;
        stopping.end_streams();
    };
    let connections = Connections { all: connections()?, address: config.address_connections };
    http::serve(listener, http::router(site), timeouts, connections, stop).await;
    jobs.shutdown().await;
    app.store.close().await;
    if let Some(traces) = traces {
        traces.stop().await;
    }
    tracing::info!("meter has stopped");
    Ok(())
}

/// Notes where homes are of projects that never moved. They must not be at one place today and at another tomorrow.
async fn begin_homes(config: &Config, store: &Store) -> anyhow::Result<()> {
    let first = homes_begin(config);
    if let Some(known) = store.homes_begin_at(first).await? {
        anyhow::bail!(
            "there are projects whose homes are at {known}, and COUNTERS={first} would begin others for them: start with \
             COUNTERS={known} and REDIS_URL here and at the edge, then `meter home move --all --to {first}`"
        );
    }
    Ok(())
}

/// Where homes begin, by the settings.
pub(super) fn homes_begin(config: &Config) -> Place {
    config.redis.as_ref().map_or(Place::DurableObject, |redis| redis.first)
}

/// Applies the catalogue file, if there is one and it is newer than what was applied.
async fn apply_plans(config: &Config, store: &Store, clock: &Clock) -> anyhow::Result<()> {
    let Some(file) = &config.plans else { return Ok(()) };
    let catalogue = super::plans::read(Some(file)).context("METER_PLANS")?;
    match store.apply_catalogue(&catalogue, clock.now()).await? {
        Applied::Now => tracing::info!(version = catalogue.version, "plan catalogue applied"),
        Applied::Before => {}
        Applied::Outrun(newest) => tracing::warn!(
            version = catalogue.version,
            newest,
            "METER_PLANS names a catalogue that is not newer than what was applied; it is not used"
        ),
    }
    Ok(())
}

/// Begins the log, and checks and raises what a server needs.
fn prepare(config: &Config) -> anyhow::Result<Option<Traces>> {
    let (traces, layer) =
        config.traces.as_ref().map(Traces::start).transpose().map_err(anyhow::Error::msg)?.unzip();
    meter_settings::start_log_beside(&config.log_filter, config.log_format, LOG_EXAMPLE, layer)
        .map_err(anyhow::Error::msg)?;
    for remark in Config::unknown_variables() {
        tracing::warn!("{remark}");
    }
    config.check_signing_keys()?;
    // Each connection is an open file, and the soft limit is often for what no server does.
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    tracing::info!(files = hard, "so many files and connections may be open");
    Ok(traces)
}

/// All that answers calls, for a server and for a command that works on the books alike; `first` is where homes are of
/// projects that never moved.
pub(super) fn app(
    config: &Config,
    store: &Store,
    clock: &Clock,
    basis: &Basis,
    first: Place,
) -> anyhow::Result<App> {
    let peers = || config.clock_peers().map_err(anyhow::Error::msg);
    let metrics = Metrics::default();
    Ok(App::new(Parts {
        intake: Intake::start(store, clock),
        stripe: account(config, store, clock, &metrics)?,
        homes: homes(config, &metrics, first)?,
        metrics,
        seller: config.seller.clone(),
        signing_keys: config.signing_keys.clone(),
        webhooks: config.webhooks(),
        store: store.clone(),
        clock: clock.clone(),
        basis: basis.clone(),
        key_secrets: config.key_secrets.clone().unwrap_or_else(KeySecrets::none),
        test_clock: config.test.then(peers).transpose()?,
        provider: config.provider.clone().map(Provider::new).transpose().map_err(anyhow::Error::msg)?,
    }))
}

/// Where the homes are; nothing is connected yet.
fn homes(config: &Config, metrics: &Metrics, first: Place) -> anyhow::Result<Homes> {
    let edge = EdgeClient::new(config.edge_url.clone()).map(Homes::from).map_err(anyhow::Error::msg)?;
    let edge = edge.beginning_at(first);
    Ok(match redis::connect(config)? {
        Some(counters) => edge.with_redis(counters.with_metrics(metrics.clone())),
        None => edge,
    })
}

/// Our account at Stripe, where the operator has set one.
fn account(
    config: &Config,
    store: &Store,
    clock: &Clock,
    metrics: &Metrics,
) -> anyhow::Result<Option<Account>> {
    let Some(settings) = config.stripe.clone() else { return Ok(None) };
    let api = Stripe::new(&settings.key, settings.base.as_deref()).map_err(anyhow::Error::msg)?;
    let inbox = Inbox::start(store.clone(), clock.clone());
    let StripeSettings { secrets, return_urls, automatic_tax, .. } = settings;
    let (store, clock, metrics) = (store.clone(), clock.clone(), metrics.clone());
    Ok(Some(Account { api, secrets, return_urls, automatic_tax, inbox, store, clock, metrics }))
}

/// Writes log lines to standard error.
pub(super) fn start_log(config: &Config, filter: &str) -> anyhow::Result<()> {
    meter_settings::start_log(filter, config.log_format, LOG_EXAMPLE).map_err(anyhow::Error::msg)
}

/// How many connections may be open at once: where a connection has no file left, the books have none either.
fn connections() -> anyhow::Result<usize> {
    let (files, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let others = RESERVE_MAX.saturating_add(OWN_FILES_MAX);
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    let all = files.saturating_sub(others).min(CONNECTIONS_MAX);
    if all < CONNECTIONS_MAX {
        let wanted = CONNECTIONS_MAX.saturating_add(others);
        tracing::warn!(
            files,
            wanted,
            connections = all,
            "few files may be open: so few connections are accepted"
        );
    }
    Ok(all)
}

fn database(config: &Config) -> String {
    format!("the database {} cannot be used; DATABASE_URL names another", config.database)
}
