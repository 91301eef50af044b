//! `meter project`: make, change and show projects.

use anyhow::{Context as _, anyhow};
use clap::Args;
use shared::ids::ProjectId;
use shared::plan::Plan;
use shared::policy::Status;
use shared::units::Units;

use super::Context;
use super::print::{self, Format};
use crate::book::Book;
use crate::http::ProjectView;
use crate::ledger::crossing::Levels;
use crate::project::{NewProject, ProjectChange, RPM_MAX, Setting};

/// Projects that are read at once while listing.
const PAGE: u32 = 500;

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
    /// community, pro, business or enterprise
    #[arg(long, value_parser = plan)]
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

#[derive(Debug, Args)]
pub(super) struct Set {
    /// The project
    id: ProjectId,
    /// community, pro, business or enterprise
    #[arg(long, value_parser = plan)]
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
    /// The project
    id: ProjectId,
    #[command(flatten)]
    format: Format,
}

pub(super) async fn run(command: Command, context: Context) -> anyhow::Result<()> {
    match command {
        Command::Create(create) => self::create(create, &context).await,
        Command::Set(set) => self::set(set, &context).await,
        Command::List(format) => list(format, &context).await,
        Command::Show(show) => {
            let project = context.store.book(&show.id).await?.ok_or_else(|| unknown(&show.id))?;
            print_one(show.format, project, &context)
        }
        Command::Suspend(project) => stand(&project, Status::Suspended, &context).await,
        Command::Resume(project) => stand(&project, Status::Active, &context).await,
    }
}

async fn create(create: Create, context: &Context) -> anyhow::Result<()> {
    let own = |rpm: Option<u32>| rpm.map_or(Setting::Plan, Setting::Own);
    let included = create.included.map_or(Setting::Plan, Setting::Own);
    let new = NewProject { id: create.id.clone(), plan: create.plan, rpm: own(create.rpm), included };
    let made = context.store.create_project(new, context.clock.now()).await?;
    let id = &create.id;
    let project = made.with_context(|| {
        format!("there is already a project {id}; change it with `meter project set {id}`")
    })?;
    print::remark(create.format, "Project made. Next: `meter key create --project <id>`.");
    print_one(create.format, project, context)
}

async fn set(set: Set, context: &Context) -> anyhow::Result<()> {
    let change = ProjectChange {
        plan: set.plan,
        rpm: set.rpm,
        included: set.included,
        status: set.suspended.map(|suspended| if suspended { Status::Suspended } else { Status::Active }),
        levels: set.thresholds,
    };
    if change == ProjectChange::default() {
        return Err(anyhow!(
            "nothing to set; give at least one of --plan, --rpm, --included, --suspended and --thresholds"
        ));
    }
    keep(&set.id, change, set.format, context).await
}

async fn stand(Show { id, format }: &Show, status: Status, context: &Context) -> anyhow::Result<()> {
    let change = ProjectChange { status: Some(status), ..ProjectChange::default() };
    keep(id, change, *format, context).await
}

async fn keep(
    id: &ProjectId,
    change: ProjectChange,
    format: Format,
    context: &Context,
) -> anyhow::Result<()> {
    let changed = context.store.change_project(id, change, context.clock.now()).await?;
    print_one(format, changed.ok_or_else(|| unknown(id))?, context)
}

async fn list(format: Format, context: &Context) -> anyhow::Result<()> {
    let mut views = Vec::new();
    let mut after = String::new();
    loop {
        let page = context.store.books(&after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.project.id.to_string();
        for book in page {
            views.push(ProjectView::new(book, &context.basis, context.clock.now()));
        }
    }
    if views.is_empty() {
        print::remark(
            format,
            "There are no projects yet. Next: `meter project create <id> --plan community`.",
        );
    }
    print::result(format, &views, |views| views.iter().map(ProjectView::line).collect::<Vec<_>>().join("\n"))
}

fn print_one(format: Format, book: Book, context: &Context) -> anyhow::Result<()> {
    let view = ProjectView::new(book, &context.basis, context.clock.now());
    print::result(format, &view, ProjectView::line)
}

/// What to say about a project that is not there.
pub(super) fn unknown(id: &ProjectId) -> anyhow::Error {
    anyhow!("there is no project {id}; `meter project list` shows those there are")
}

pub(super) fn plan(text: &str) -> Result<Plan, String> {
    Plan::parse(text).ok_or_else(|| "accepted are community, pro, business and enterprise".to_owned())
}

fn rpm(text: &str) -> Result<u32, String> {
    let rpm = text.parse().ok().filter(|rpm| (1..=RPM_MAX).contains(rpm));
    rpm.ok_or_else(|| format!("accepted are 1 to {RPM_MAX}"))
}

pub(super) fn units(text: &str) -> Result<Units, String> {
    let units = text.parse().ok().filter(|units| *units <= Units::MAX.get());
    units.map(Units::new).ok_or_else(|| format!("accepted are 0 to {}", Units::MAX))
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
