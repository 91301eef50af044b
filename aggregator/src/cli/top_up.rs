//! `meter top-up`: packs that are bought by themselves when little is left.

use anyhow::{Context as _, bail};
use clap::Args;
use shared::ids::ProjectId;
use shared::plan::Pack;
use shared::units::Units;

use super::Context;
use super::print::{self, Format};
use super::project::{units, unknown};
use crate::ledger::lots;
use crate::stripe::top_up::{AutoTopUpView, MONTHLY_LIMIT_MAX, Rule};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Buy a pack whenever fewer units than --below are left; what has stopped goes on
    Set(Set),
    /// Buy nothing by itself any more
    Off(One),
    /// Show what is bought by itself, and whether that has stopped
    Show(One),
}

#[derive(Debug, Args)]
pub(super) struct Set {
    /// The project
    #[arg(long)]
    project: ProjectId,
    /// small, medium or large
    #[arg(long, value_parser = pack)]
    pack: Pack,
    /// When fewer units than these are left of quota and lots
    #[arg(long, allow_negative_numbers = true, value_parser = units)]
    below: Units,
    /// How many packs in a calendar month (UTC) at most
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(MONTHLY_LIMIT_MAX)))]
    monthly_limit: u32,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct One {
    /// The project
    #[arg(long)]
    project: ProjectId,
    #[command(flatten)]
    format: Format,
}

pub(super) async fn run(command: Command, context: Context) -> anyhow::Result<()> {
    match command {
        Command::Set(set) => self::set(set, context).await,
        Command::Off(One { project, format }) => {
            change(&project, None, &context).await?;
            show(&project, format, &context).await
        }
        Command::Show(One { project, format }) => show(&project, format, &context).await,
    }
}

async fn set(set: Set, context: Context) -> anyhow::Result<()> {
    let Set { project, pack, below, monthly_limit, format } = set;
    if below == Units::ZERO {
        bail!("--below: got 0, accepted are 1 to {}", Units::MAX);
    }
    context.config.stripe.as_ref().context("STRIPE_SECRET_KEY is not set: nothing could be bought")?;
    let book = context.store.book(&project).await?.ok_or_else(|| unknown(&project))?;
    if !lots::may_buy(&book.ledger, context.clock.now()) {
        bail!("the plan {} has no top-up packs", book.project.plan);
    }
    change(&project, Some(Rule { pack, below, monthly_limit }), &context).await?;
    show(&project, format, &context).await
}

async fn change(project: &ProjectId, rule: Option<Rule>, context: &Context) -> anyhow::Result<()> {
    context.store.project(project).await?.ok_or_else(|| unknown(project))?;
    let mut work = context.store.begin_in(project).await?;
    work.set_auto_top_up(project, rule, context.clock.now()).await?;
    Ok(work.commit().await?)
}

async fn show(project: &ProjectId, format: Format, context: &Context) -> anyhow::Result<()> {
    context.store.project(project).await?.ok_or_else(|| unknown(project))?;
    let view = context.store.auto_top_up(project, context.clock.now()).await?;
    print::result(format, &view, |view| {
        view.as_ref().map_or_else(|| "off: nothing is bought by itself.".to_owned(), AutoTopUpView::line)
    })
}

fn pack(text: &str) -> Result<Pack, String> {
    Pack::parse(text).ok_or_else(|| "accepted are small, medium and large".to_owned())
}
