//! `meter stripe`: what is sold, what waits for a person, and what was bought.

use anyhow::{Context as _, bail};
use clap::Args;
use serde::Serialize;
use serde_json::Value;
use shared::ids::ProjectId;
use shared::time::Period;

use super::Context;
use super::call::Call;
use super::place::Place;
use super::print::{self, Column, Format, cell};
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
    #[arg(short, long, value_name = "ID")]
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

const ORDERS: &[Column] = &[
    ("ORDER", "/id"),
    ("PROJECT", "/project"),
    ("GOOD", "/good"),
    ("STATE", "/state"),
    ("PRICE", "/price"),
    ("CREATED", "/created"),
    ("AUTOMATIC", "/automatic"),
    ("NOTE", "/note"),
];

const BILLS: &[Column] = &[
    ("PROJECT", "/project"),
    ("MONTH", "/period"),
    ("NUMBER", "/number"),
    ("STEP", "/step"),
    ("AMOUNT", "/amount"),
    ("INVOICE", "/invoice"),
    ("NOTE", "/note"),
];

const EVENTS: &[Column] = &[
    ("EVENT", "/id"),
    ("TYPE", "/kind"),
    ("OBJECT", "/object"),
    ("RECEIVED", "/received"),
    ("NOTE", "/note"),
];

pub(super) async fn run(command: Command, place: Place) -> anyhow::Result<()> {
    match command {
        Command::Sync(sync) => run_sync(sync, place.only_books("`meter stripe sync`")?).await,
        Command::Parked(show) => {
            let parked = place.ask(&Call::get(&["api", "v1", "admin", "stripe", "parked"])).await?;
            print::result(show.format, &parked, parked_text)
        }
        Command::Retry(retry) => again(retry, place.only_books("`meter stripe retry`")?).await,
        Command::Orders(show) => {
            let context = place.only_books("`meter stripe orders`")?;
            let orders = context.store.shown_orders(None, show.project.as_ref(), SHOWN).await?;
            print::rows(show.format, &serde_json::to_value(orders)?, ORDERS)
        }
        Command::Bills(show) => {
            let context = place.only_books("`meter stripe bills`")?;
            let bills = context.store.shown_intents(show.project.as_ref(), SHOWN).await?;
            print::rows(show.format, &serde_json::to_value(bills)?, BILLS)
        }
    }
}

async fn run_sync(sync: Sync, context: &Context) -> anyhow::Result<()> {
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

/// What waits for a person: a table of each kind that has some.
fn parked_text(parked: &Value) -> String {
    let kinds = [("events", EVENTS), ("orders", ORDERS), ("bills", BILLS)];
    let tables = kinds.map(|(name, columns)| print::table(parked.get(name).unwrap_or(&Value::Null), columns));
    let drift = parked.pointer("/drift/findings").and_then(Value::as_array);
    let drift = drift.into_iter().flatten().map(cell).collect::<Vec<_>>().join("\n");
    let parts: Vec<String> = tables.into_iter().chain([drift]).filter(|part| !part.is_empty()).collect();
    if parts.is_empty() { "Nothing waits for a person.".to_owned() } else { parts.join("\n\n") }
}

async fn again(retry: Retry, context: &Context) -> anyhow::Result<()> {
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
