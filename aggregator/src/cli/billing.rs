//! `meter credit`, `meter correct` and `meter statement`: units that are given or taken back, and what a month
//! comes to.

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::Value;
use shared::time::Period;
use shared::units::Units;

use super::call::Call;
use super::options::{Project, period, some_units};
use super::place::Place;
use super::print::{self, Column, Format, cell};
use super::project;
use crate::http::{REASON, is_reason};
use crate::idempotency::is_key;

const LOT: &[Column] = &[
    ("LOT", "/lot"),
    ("KIND", "/kind"),
    ("UNITS", "/units"),
    ("LEFT", "/left"),
    ("SINCE", "/at"),
    ("REASON", "/reason"),
];

#[derive(Debug, clap::Subcommand)]
pub(super) enum Credit {
    /// Give a project units that cost nothing and never expire
    Give(Give),
}

#[derive(Debug, Args)]
pub(super) struct Give {
    #[command(flatten)]
    project: Project,
    /// How many
    #[arg(long, allow_negative_numbers = true, value_parser = some_units)]
    units: Units,
    /// Why, for everybody who reads the ledger
    #[arg(long, value_parser = reason)]
    reason: String,
    /// A name for this command: given again with it, nothing more is given
    #[arg(long, value_parser = key)]
    idempotency_key: Option<String>,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct Correct {
    #[command(flatten)]
    project: Project,
    /// A closed month such as 2026-05
    #[arg(long, value_parser = period)]
    period: Period,
    /// How many units are taken back
    #[arg(long, allow_negative_numbers = true, value_parser = some_units)]
    units: Units,
    /// Why, for everybody who reads the ledger
    #[arg(long, value_parser = reason)]
    reason: String,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct Show {
    #[command(flatten)]
    project: Project,
    /// A month such as 2026-05
    #[arg(long, value_parser = period)]
    period: Period,
    #[command(flatten)]
    format: Format,
}

pub(super) async fn credit(Credit::Give(give): Credit, place: Place) -> anyhow::Result<()> {
    let Give { project, units, reason, idempotency_key, format } = give;
    let id = place.project(&project).await?;
    let call = Call::post(&[&project::path(&id)[..], &["credits"]].concat())
        .field("units", units)
        .field("reason", reason);
    print::rows(format, &place.ask(&call.named(idempotency_key)).await?, LOT)
}

pub(super) async fn correct(correct: Correct, place: Place) -> anyhow::Result<()> {
    let Correct { project, period, units, reason, format } = correct;
    let id = place.project(&project).await?;
    let call = Call::post(&[&project::path(&id)[..], &["corrections"]].concat())
        .field("period", period)
        .field("units", units)
        .field("reason", reason);
    print::result(format, &place.ask(&call).await?, text)
}

pub(super) async fn show(show: Show, place: Place) -> anyhow::Result<()> {
    let id = place.project(&show.project).await?;
    let call =
        Call::get(&["api", "v1", "explain"]).with_query("project", &id).with_query("period", &show.period);
    let mut explained = place.ask(&call).await?;
    let statement = explained.pointer_mut("/billed/statement").context("the answer has no statement")?.take();
    print::result(show.format, &statement, text)
}

/// A statement, for people.
pub(super) fn text(statement: &Value) -> String {
    let get = |place: &str| cell(statement.pointer(place).unwrap_or(&Value::Null));
    let provisional = statement.get("provisional") == Some(&Value::Bool(true));
    let mut lines = vec![format!(
        "{} · {} · {} units of a quota of {}{}",
        get("/period"),
        get("/plan"),
        get("/counted/units"),
        get("/quota"),
        if provisional { " · provisional" } else { "" }
    )];
    lines.push(format!("included   {}", get("/included")));
    for part in statement.get("lots").and_then(Value::as_array).into_iter().flatten() {
        let get = |place: &str| cell(part.pointer(place).unwrap_or(&Value::Null));
        lines.push(format!("lot {:<6} {} ({} left)", get("/lot"), get("/units"), get("/left")));
    }
    lines.push(format!("overage    {}", get("/overage")));
    if get("/uncovered") != "0" {
        lines.push(format!("uncovered  {} (not billed)", get("/uncovered")));
    }
    lines.push(format!("total      {}", get("/total")));
    lines.join("\n")
}

fn reason(text: &str) -> anyhow::Result<String> {
    if is_reason(text) { Ok(text.to_owned()) } else { bail!("accepted are {REASON}") }
}

fn key(text: &str) -> anyhow::Result<String> {
    if is_key(text) { Ok(text.to_owned()) } else { bail!("accepted are 1 to 255 visible ASCII characters") }
}
