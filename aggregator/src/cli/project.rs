//! `meter project`: make, change and show projects.

use anyhow::bail;
use clap::Args;
use serde_json::Value;
use shared::ids::ProjectId;
use shared::plan::Plan;
use shared::units::Units;

use super::call::Call;
use super::options::{self, Project, units};
use super::place::Place;
use super::print::{self, Column, Format};
use crate::ledger::crossing::Levels;
use crate::projects::project::{RPM_MAX, Setting};

const COLUMNS: &[Column] = &[
    ("PROJECT", "/id"),
    ("PLAN", "/plan"),
    ("RPM", "/rpm"),
    ("UNITS/MONTH", "/included"),
    ("SUSPENDED", "/suspended"),
    ("OVERAGE", "/auto_overage"),
    ("TOLD AT %", "/thresholds"),
    ("CATALOGUE", "/catalogue"),
    ("POLICY", "/policy_version"),
    ("CREATED", "/created_at"),
];

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make a project
    Create(Create),
    /// Change a project's plan, limits or status; the edge follows within seconds
    Set(Set),
    /// List all projects
    List(Format),
    /// Show one project
    Show(Show),
    /// Deny a project's requests; it keeps what it has
    Suspend(Show),
    /// Serve a suspended project again
    Resume(Show),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// 1 to 48 of a-z, 0-9 and inner hyphens
    id: ProjectId,
    /// The plan that it begins with
    #[arg(long, value_parser = options::plan())]
    plan: Plan,
    /// Requests per minute instead of the plan's
    #[arg(long, allow_negative_numbers = true, value_parser = rpm)]
    rpm: Option<u32>,
    /// Units a month instead of the plan's
    #[arg(long, allow_negative_numbers = true, value_parser = units)]
    included: Option<Units>,
    #[command(flatten)]
    format: Format,
}

/// A project that a command is about by itself, so that its id may stand alone too.
#[derive(Debug, Args)]
struct About {
    /// The same as --project
    #[arg(value_name = "PROJECT", conflicts_with = "project")]
    id: Option<ProjectId>,
    #[command(flatten)]
    named: Project,
}

#[derive(Debug, Args)]
pub(super) struct Set {
    #[command(flatten)]
    about: About,
    /// The plan, from now on
    #[arg(long, value_parser = options::plan())]
    plan: Option<Plan>,
    /// Requests per minute, or `plan` for the plan's
    #[arg(long, allow_negative_numbers = true, value_parser = rpm_or_plan)]
    rpm: Option<Setting<u32>>,
    /// Units a month, or `plan` for the plan's
    #[arg(long, allow_negative_numbers = true, value_parser = units_or_plan)]
    included: Option<Setting<Units>>,
    /// Whether the project's requests are denied
    #[arg(long)]
    suspended: Option<bool>,
    /// At which percentages of the quota the customer is told, such as 50,80,100; `plan` for the plan's
    #[arg(long, value_parser = levels_or_plan)]
    thresholds: Option<Setting<Levels>>,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct Show {
    #[command(flatten)]
    about: About,
    #[command(flatten)]
    format: Format,
}

pub(super) async fn run(command: Command, place: Place) -> anyhow::Result<()> {
    match command {
        Command::Create(create) => self::create(create, &place).await,
        Command::Set(set) => self::set(set, &place).await,
        Command::List(format) => list(format, &place).await,
        Command::Show(Show { about, format }) => {
            let id = id(about, &place).await?;
            told(&Call::get(&path(&id)), format, &place).await
        }
        Command::Suspend(show) => stand(show, true, &place).await,
        Command::Resume(show) => stand(show, false, &place).await,
    }
}

/// The path of a project in the interface.
pub(super) fn path(id: &ProjectId) -> [&str; 5] {
    ["api", "v1", "admin", "projects", id.as_str()]
}

/// The path of their list.
pub(super) fn list_path() -> [&'static str; 4] {
    ["api", "v1", "admin", "projects"]
}

async fn id(about: About, place: &Place) -> anyhow::Result<ProjectId> {
    let About { id, named } = about;
    place.project(&Project { project: id.or(named.project) }).await
}

async fn create(create: Create, place: &Place) -> anyhow::Result<()> {
    let call = Call::post(&["api", "v1", "admin", "projects"])
        .field("id", &create.id)
        .field("plan", create.plan)
        .maybe_field("rpm", create.rpm)
        .maybe_field("included", create.included);
    let made = place.ask(&call).await?;
    let next = format!("Project made. Next: `meter key create --project {}`.", create.id);
    print::remark(create.format, &next);
    print::rows(create.format, &made, COLUMNS)
}

async fn set(set: Set, place: &Place) -> anyhow::Result<()> {
    let id = id(set.about, place).await?;
    let call = Call::patch(&path(&id))
        .maybe_field("plan", set.plan)
        .maybe_field("rpm", set.rpm.map(own))
        .maybe_field("included", set.included.map(own))
        .maybe_field("suspended", set.suspended)
        .maybe_field("thresholds", set.thresholds.map(|levels| own(levels).map(Vec::from)));
    if call.is_empty() {
        bail!("nothing to set; give at least one of --plan, --rpm, --included, --suspended and --thresholds");
    }
    told(&call, set.format, place).await
}

/// The project's own, or `null` for the plan's.
fn own<T>(setting: Setting<T>) -> Option<T> {
    match setting {
        Setting::Plan => None,
        Setting::Own(own) => Some(own),
    }
}

async fn stand(Show { about, format }: Show, suspended: bool, place: &Place) -> anyhow::Result<()> {
    let id = id(about, place).await?;
    told(&Call::patch(&path(&id)).field("suspended", suspended), format, place).await
}

async fn told(call: &Call, format: Format, place: &Place) -> anyhow::Result<()> {
    print::rows(format, &place.ask(call).await?, COLUMNS)
}

async fn list(format: Format, place: &Place) -> anyhow::Result<()> {
    let call = Call::get(&["api", "v1", "admin", "projects"]);
    let projects = place.pages(&call, ("projects", "after"), usize::MAX).await?;
    if projects.as_array().is_none_or(Vec::is_empty) {
        print::remark(
            format,
            "There are no projects yet. Next: `meter project create <id> --plan community`.",
        );
    }
    print::rows(format, &projects, COLUMNS)
}

/// The lines of a list, or nothing and what to do next where there are none.
pub(super) fn lines(mut answer: Value, field: &str, format: Format, none: &str) -> Value {
    let lines = answer.get_mut(field).map_or(Value::Null, Value::take);
    if lines.as_array().is_none_or(Vec::is_empty) {
        print::remark(format, none);
    }
    lines
}

fn rpm(text: &str) -> Result<u32, String> {
    let rpm = text.parse().ok().filter(|rpm| (1..=RPM_MAX).contains(rpm));
    rpm.ok_or_else(|| format!("accepted are 1 to {RPM_MAX}"))
}

fn rpm_or_plan(text: &str) -> Result<Setting<u32>, String> {
    if text == "plan" { Ok(Setting::Plan) } else { rpm(text).map(Setting::Own) }
}

fn units_or_plan(text: &str) -> Result<Setting<Units>, String> {
    if text == "plan" { Ok(Setting::Plan) } else { units(text).map(Setting::Own) }
}

fn levels_or_plan(text: &str) -> Result<Setting<Levels>, String> {
    if text == "plan" {
        return Ok(Setting::Plan);
    }
    let percents: Result<Vec<u8>, _> = text.split(',').map(str::parse).collect();
    let accepted = || "accepted are 1 to 10 percentages from 1 to 100 such as 50,80,100".to_owned();
    Levels::new(percents.map_err(|_| accepted())?).map(Setting::Own).map_err(|_| accepted())
}
