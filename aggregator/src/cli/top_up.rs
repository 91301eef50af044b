//! `meter top-up`: packs that are bought by themselves when little is left.

use clap::Args;
use serde_json::{Value, json};
use shared::plan::Pack;
use shared::units::Units;

use super::call::Call;
use super::options::{self, Project, some_units};
use super::place::Place;
use super::print::{self, Column, Format};
use crate::payments::top_up::MONTHLY_LIMIT_MAX;

const COLUMNS: &[Column] = &[
    ("STATE", "/state"),
    ("PACK", "/pack"),
    ("BELOW", "/below"),
    ("BOUGHT", "/bought_this_month"),
    ("OF", "/monthly_limit"),
    ("FAILED", "/failures"),
    ("WHY", "/last_failure"),
    ("NEXT TRY", "/next_try_at"),
];

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
    #[command(flatten)]
    project: Project,
    /// Which pack is bought
    #[arg(long, value_parser = options::pack())]
    pack: Pack,
    /// When fewer units than these are left of quota and lots
    #[arg(long, allow_negative_numbers = true, value_parser = some_units)]
    below: Units,
    /// How many packs in a calendar month (UTC) at most
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(MONTHLY_LIMIT_MAX)))]
    monthly_limit: u32,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct One {
    #[command(flatten)]
    project: Project,
    #[command(flatten)]
    format: Format,
}

const PLAN: [&str; 4] = ["api", "v1", "billing", "plan"];

pub(super) async fn run(command: Command, place: Place) -> anyhow::Result<()> {
    let (call, project, format) = match command {
        Command::Set(Set { project, pack, below, monthly_limit, format }) => {
            let rule = json!({ "pack": pack, "below": below, "monthly_limit": monthly_limit });
            (Call::put(&PLAN).field("auto_top_up", rule), project, format)
        }
        Command::Off(One { project, format }) => {
            (Call::put(&PLAN).field("auto_top_up", Value::Null), project, format)
        }
        Command::Show(One { project, format }) => (Call::get(&PLAN), project, format),
    };
    let call = call.with_query("project", &place.project(&project).await?);
    let top_up = place.ask(&call).await?.get_mut("auto_top_up").map_or(Value::Null, Value::take);
    print::result(format, &top_up, |top_up| {
        if top_up.is_null() {
            "off: nothing is bought by itself.".to_owned()
        } else {
            print::table(top_up, COLUMNS)
        }
    })
}
