//! `meter credit` and `meter statement`: units that are given, and what a month comes to.

use anyhow::{Context as _, bail};
use clap::Args;
use shared::ids::ProjectId;
use shared::time::Period;
use shared::units::Units;

use super::Context;
use super::print::{self, Format};
use super::project::{units, unknown};
use crate::billing::{LotView, TopUps};
use crate::http::{REASON, is_reason};
use crate::ledger::statement::{Statement, statement};
use crate::once::{Answer, Once, is_key};
use crate::store::{Begun, Corrected, Credited, StoreError, TRIES_MAX};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Credit {
    /// Give a project units that cost nothing and never expire
    Give(Give),
}

#[derive(Debug, Args)]
pub(super) struct Give {
    /// The project
    #[arg(long)]
    project: ProjectId,
    /// How many
    #[arg(long, allow_negative_numbers = true, value_parser = units)]
    units: Units,
    /// Why, for everybody who reads the ledger
    #[arg(long)]
    reason: String,
    /// A name for this command: given again with it, nothing more is given
    #[arg(long)]
    idempotency_key: Option<String>,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct Correct {
    /// The project
    #[arg(long)]
    project: ProjectId,
    /// A closed month such as 2026-05
    #[arg(long, value_parser = period)]
    period: Period,
    /// How many units are taken back
    #[arg(long, allow_negative_numbers = true, value_parser = units)]
    units: Units,
    /// Why, for everybody who reads the ledger
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// The project
    #[arg(long)]
    project: ProjectId,
    /// A month such as 2026-05
    #[arg(long, value_parser = period)]
    period: Period,
    #[command(flatten)]
    format: Format,
}

/// Whoever can run the command can read the database: their credential is no secret.
const COMMAND_LINE: &str = "the command line";

pub(super) async fn credit(Credit::Give(give): Credit, context: Context) -> anyhow::Result<()> {
    if give.units == Units::ZERO {
        bail!("--units: got 0, accepted are 1 to {}", Units::MAX);
    }
    if !is_reason(&give.reason) {
        bail!("--reason: accepted are {REASON}");
    }
    if give.idempotency_key.as_deref().is_some_and(|key| !is_key(key)) {
        bail!("--idempotency-key: accepted are 1 to 255 visible ASCII characters");
    }
    let body = serde_json::json!({ "units": give.units, "reason": give.reason }).to_string();
    let target = format!("credit give {}", give.project);
    let once = give.idempotency_key.as_deref();
    let once = once.map(|key| Once::new(COMMAND_LINE, key, &target, body.as_bytes()));
    for _ in 1..TRIES_MAX {
        match give_once(&give, once.as_ref(), &context).await {
            Err(error) if error.downcast_ref().is_some_and(StoreError::is_taken_back) => {}
            done => return done,
        }
    }
    give_once(&give, once.as_ref(), &context).await
}

async fn give_once(give: &Give, once: Option<&Once>, context: &Context) -> anyhow::Result<()> {
    let now = context.clock.now();
    let mut work = context.store.begin_in(&give.project).await?;
    if let Some(once) = once {
        work = match work.once(once, now).await? {
            Begun::First(work) => work,
            Begun::Again(stored) => {
                let answer =
                    once.open(&stored).context("the answer of an earlier command cannot be opened")?;
                let lot: serde_json::Value = serde_json::from_str(&answer.body)?;
                return print::result(give.format, &lot, |lot| format!("given before: lot {}", lot["lot"]));
            }
            Begun::Reused => {
                bail!("this --idempotency-key was used for another credit; nothing was given, choose another")
            }
        };
    }
    let (book, lot) = match work.give_credit(&give.project, (give.units, give.reason.clone()), now).await? {
        Credited::Lot(book, lot) => (book, lot),
        Credited::ProjectUnknown => return Err(unknown(&give.project)),
        Credited::Refused(refusal) => return Err(refusal.into()),
    };
    let view = TopUps::new(&book, now)?.into_lot(lot).context("a lot that was written is not there")?;
    if let Some(once) = once {
        let answer = Answer { status: 201, body: serde_json::to_string(&view)? };
        work.remember(once, &once.seal(&answer)?).await?;
    }
    work.commit().await?;
    print::result(give.format, &view, LotView::line)
}

pub(super) async fn correct(correct: Correct, context: Context) -> anyhow::Result<()> {
    let Correct { project, period, units, reason, format } = correct;
    if units == Units::ZERO {
        bail!("--units: got 0, accepted are 1 to {}", Units::MAX);
    }
    if !is_reason(&reason) {
        bail!("--reason: accepted are {REASON}");
    }
    let now = context.clock.now();
    match context.store.correct(&project, (period, units, reason), now).await? {
        Corrected::Book(book) => {
            print::result(format, &statement(&book.ledger, book.seen(now), period)?, text)
        }
        Corrected::ProjectUnknown => Err(unknown(&project)),
        Corrected::Refused(refusal) => Err(refusal.into()),
    }
}

pub(super) async fn show(show: Show, context: Context) -> anyhow::Result<()> {
    let book = context.store.book(&show.project).await?.ok_or_else(|| unknown(&show.project))?;
    let seen = book.seen(context.clock.now());
    print::result(show.format, &statement(&book.ledger, seen, show.period)?, text)
}

fn text(statement: &Statement) -> String {
    let mut lines = vec![format!(
        "{} · {} · {} units of a quota of {}{}",
        statement.period,
        statement.plan,
        statement.counted.units,
        statement.quota,
        if statement.provisional { " · provisional" } else { "" }
    )];
    lines.push(format!("included   {}", statement.included));
    for part in &statement.lots {
        lines.push(format!("lot {:<6} {} ({} left)", part.lot.to_string(), part.units, part.left));
    }
    lines.push(format!("overage    {}", statement.overage));
    if statement.uncovered > Units::ZERO {
        lines.push(format!("uncovered  {} (not billed)", statement.uncovered));
    }
    lines.push(format!("total      {} (minor units)", statement.total));
    lines.join("\n")
}

fn period(text: &str) -> Result<Period, String> {
    Period::parse(text).ok_or_else(|| "accepted is a month such as 2026-05".to_owned())
}
