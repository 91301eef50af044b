//! `meter stripe`: what is sold, what waits for a person, and what was bought.

use anyhow::{Context as _, bail};
use clap::Args;
use serde::Serialize;
use shared::ids::ProjectId;
use shared::time::Period;

use super::Context;
use super::print::{self, Format};
use crate::http::ParkedView;
use crate::stripe::client::Stripe;
use crate::stripe::sync_goods;

/// How many rows are shown when nobody says.
const SHOWN: u32 = 50;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make products, prices and the portal at Stripe what the plan catalogue says; shows what differs first
    Sync(Sync),
    /// Show events and payments that need a person
    Parked(Show),
    /// Process a parked event, a held order or a held bill (project/2026-11/0) again
    Retry(Retry),
    /// Show orders
    Orders(Orders),
    /// Show what closed months cost, and how far it is collected
    Bills(Orders),
}

#[derive(Debug, Args)]
pub(super) struct Sync {
    /// Only show what differs
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct Show {
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct Retry {
    /// The event's id, the order's id, or a bill as project/period/number
    id: String,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct Orders {
    /// Only of this project
    #[arg(long)]
    project: Option<ProjectId>,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Serialize)]
struct Synced {
    differences: Vec<String>,
    applied: bool,
}

#[derive(Debug, Serialize)]
struct Again {
    id: String,
    again: bool,
}

pub(super) async fn run(command: Command, context: Context) -> anyhow::Result<()> {
    match command {
        Command::Sync(sync) => run_sync(sync, context).await,
        Command::Parked(show) => parked(show, context).await,
        Command::Retry(retry) => again(retry, context).await,
        Command::Orders(show) => {
            let orders = context.store.shown_orders(None, show.project.as_ref(), SHOWN).await?;
            print::result(show.format, &orders, |orders| {
                orders.iter().map(crate::store::ShownOrder::line).collect::<Vec<_>>().join("\n")
            })
        }
        Command::Bills(show) => {
            let bills = context.store.shown_intents(show.project.as_ref(), SHOWN).await?;
            print::result(show.format, &bills, |bills| {
                bills.iter().map(crate::store::ShownIntent::line).collect::<Vec<_>>().join("\n")
            })
        }
    }
}

async fn run_sync(sync: Sync, context: Context) -> anyhow::Result<()> {
    let settings = context.config.stripe.as_ref().context("STRIPE_SECRET_KEY is not set")?;
    let api = Stripe::new(&settings.key, settings.base.as_deref()).map_err(anyhow::Error::msg)?;
    let catalogue = context.store.newest_catalogue().await?;
    let found = sync_goods::differences(&api, &context.store, &catalogue).await?;
    let mut lines: Vec<String> = found.iter().map(|difference| difference.line.clone()).collect();
    if !sync.dry_run {
        sync_goods::apply(&api, &context.store, &found).await?;
    }
    let back = settings.return_urls.default_url("portal");
    lines.extend(sync_goods::portals(&api, &context.store, &back, sync.dry_run).await?);
    let synced = Synced { applied: !sync.dry_run && !lines.is_empty(), differences: lines };
    print::result(sync.format, &synced, |synced| match synced.differences.as_slice() {
        [] => "Stripe is as the catalogue says.".to_owned(),
        lines if synced.applied => format!("{}\nDone.", lines.join("\n")),
        lines => lines.join("\n"),
    })
}

async fn parked(show: Show, context: Context) -> anyhow::Result<()> {
    print::result(show.format, &ParkedView::read(&context.store).await?, ParkedView::lines)
}

async fn again(retry: Retry, context: Context) -> anyhow::Result<()> {
    let (store, now) = (&context.store, context.clock.now());
    let again = match bill(&retry.id) {
        Some((project, period, number)) => store.release_intent((&project, period, number), now).await?,
        None => store.retry_event(&retry.id, now).await? || store.release_order(&retry.id, now).await?,
    };
    if !again {
        bail!("there is no parked event, held order or held bill {}; see `meter stripe parked`", retry.id);
    }
    let done = Again { id: retry.id, again };
    print::result(retry.format, &done, |done| format!("{} is processed again by the server.", done.id))
}

/// Reads `project/2026-11/0`.
fn bill(text: &str) -> Option<(ProjectId, Period, u32)> {
    let (project, rest) = text.split_once('/')?;
    let (period, number) = rest.split_once('/')?;
    Some((ProjectId::parse(project).ok()?, Period::parse(period)?, number.parse().ok()?))
}
