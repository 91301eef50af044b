//! `meter plans`: the plan catalogue's versions, and bringing projects to the newest.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};
use shared::ids::ProjectId;
use shared::plan::{Catalogue, Pack, Plan};

use super::Context;
use super::call::Call;
use super::options;
use super::place::Place;
use super::print::{self, Column, Format};
use crate::ledger::catalogue::{Difference, differences, terms_differences};
use crate::ledger::entry::Fact;
use crate::projects::book::Book;
use crate::store::{Applied, Post};

const PLANS: &[Column] = &[
    ("PLAN", "/plan"),
    ("UNITS/MONTH", "/included"),
    ("RPM", "/rpm"),
    ("A MONTH", "/month"),
    ("A YEAR", "/year"),
    ("1,000 OF OVERAGE", "/overage"),
    ("PACKS", "/packs"),
    ("AGENTS", "/agents"),
    ("MEMBERS", "/members"),
];

const PACKS: &[Column] = &[("PACK", "/pack"), ("UNITS", "/units"), ("PRICE", "/price")];

const WHAT_IF: &[Column] = &[
    ("PROJECT", "/project"),
    ("WAS", "/before"),
    ("WOULD BE", "/after"),
    ("CHANGE", "/change"),
    ("MORE FROM LOTS", "/more_from_lots"),
    ("REFUSED", "/refused"),
];

/// Projects that are read at once.
const PAGE: u32 = 500;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Show the newest version and those before it
    Show(Format),
    /// Check a catalogue file
    Check(File),
    /// Show what a file would change, and for how many projects
    Diff(File),
    /// Make a file the newest version: for new projects and changes of plan from now on
    Apply(File),
    /// Bring projects to the newest version; without --yes only say what would change
    Migrate(Migrate),
    /// Say what closed months would have cost under a file; nothing is changed by that
    WhatIf(WhatIf),
}

#[derive(Debug, Args)]
pub(super) struct File {
    /// The file; METER_PLANS, or else what is compiled in, where it is left out
    file: Option<PathBuf>,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct Migrate {
    /// Only this project
    #[arg(long)]
    project: Option<ProjectId>,
    /// Only projects on this plan
    #[arg(long, value_parser = options::plan())]
    plan: Option<Plan>,
    /// Do it
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct WhatIf {
    /// The draft, as `meter plans apply` reads it
    file: PathBuf,
    /// How many months that are over, at most 25
    #[arg(long, default_value_t = 3)]
    months: u8,
    /// How many projects are named, those that change most; at most 500
    #[arg(long, default_value_t = 20)]
    top: u16,
    #[command(flatten)]
    format: Format,
}

pub(super) async fn run(command: Command, place: &Place) -> anyhow::Result<()> {
    // What asks the interface works anywhere; the others read and write the books themselves.
    let context = || place.only_books("`meter plans`");
    match command {
        Command::Show(format) => show(format, context()?).await,
        Command::Check(file) => check(&file, context()?),
        Command::Diff(file) => diff(file, context()?).await,
        Command::Apply(file) => apply(file, context()?).await,
        Command::Migrate(migrate) => self::migrate(migrate, context()?).await,
        Command::WhatIf(asked) => what_if(asked, place).await,
    }
}

/// The catalogue of a file, or what is compiled in where there is none.
pub(super) fn read(file: Option<&Path>) -> anyhow::Result<Catalogue> {
    let Some(file) = file else {
        return Catalogue::from_json(Catalogue::DEFAULT_JSON).map_err(anyhow::Error::msg);
    };
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    Catalogue::from_json(&text).map_err(|problem| anyhow::anyhow!("{}: {problem}", file.display()))
}

fn named<'a>(file: &'a File, context: &'a Context) -> Option<&'a Path> {
    file.file.as_deref().or(context.config.plans.as_deref())
}

#[derive(Serialize)]
struct Version {
    version: u32,
    applied_at: String,
    projects: usize,
    catalogue: Catalogue,
}

async fn show(format: Format, context: &Context) -> anyhow::Result<()> {
    let on = projects_by_version(context).await?;
    let versions: Vec<Version> = context
        .store
        .catalogues()
        .await?
        .into_iter()
        .map(|(catalogue, applied)| Version {
            version: catalogue.version,
            applied_at: applied.to_string(),
            projects: on.get(&catalogue.version).copied().unwrap_or(0),
            catalogue,
        })
        .collect();
    print::result(format, &versions, |versions| {
        versions
            .iter()
            .enumerate()
            .map(|(at, version)| shown(version, at == 0))
            .collect::<Vec<_>>()
            .join("\n\n")
    })
}

/// A version for people: the newest with its plans, prices and packs.
fn shown(version: &Version, newest: bool) -> String {
    let Version { version, applied_at, projects, catalogue } = version;
    let head = format!("version {version}, applied {applied_at}: {projects} projects");
    if !newest {
        return head;
    }
    let price = |minor: Option<u64>| {
        minor.map_or(Value::Null, |minor| print::amount(minor.into(), &catalogue.currency).into())
    };
    let plans = Plan::ALL.into_iter().filter_map(|plan| {
        let terms = catalogue.terms(plan)?;
        Some(json!({
            "plan": plan,
            "included": terms.included,
            "rpm": terms.rpm,
            "month": price(terms.price_month),
            "year": price(terms.price_month.and_then(|month| month.checked_mul(catalogue.annual_months.into()))),
            "overage": price(terms.overage_per_1000),
            "packs": terms.top_ups,
            "agents": terms.agents_max,
            "members": terms.members_max,
        }))
    });
    let packs = Pack::ALL.into_iter().filter_map(|pack| {
        let terms = catalogue.pack(pack)?;
        Some(json!({ "pack": pack, "units": terms.units, "price": price(Some(terms.price)) }))
    });
    let (plans, packs) = (Value::Array(plans.collect()), Value::Array(packs.collect()));
    let thresholds: Vec<String> = catalogue.thresholds.iter().map(ToString::to_string).collect();
    format!(
        "{head}\n\n{}\n\n{}\n\nCustomers are told at {} % of the quota; a plan is kept for {} days after a payment failed.\nA dash is without a limit, or by contract.",
        print::table(&plans, PLANS),
        print::table(&packs, PACKS),
        thresholds.join(" and "),
        catalogue.grace_days
    )
}

#[derive(Serialize)]
struct Checked {
    file: Option<String>,
    version: u32,
    problems: Vec<String>,
}

fn check(file: &File, context: &Context) -> anyhow::Result<()> {
    let path = named(file, context);
    let catalogue = match path {
        // All problems at once, where the file can be read as a catalogue at all.
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            serde_json::from_str::<Catalogue>(&text).with_context(|| path.display().to_string())?
        }
        None => read(None)?,
    };
    let problems = catalogue.problems();
    let name = path.map(|path| path.display().to_string());
    if !problems.is_empty() {
        bail!("{}", problems.join("\n"));
    }
    let checked = Checked { file: name, version: catalogue.version, problems };
    print::result(file.format, &checked, |checked| {
        format!("version {}: nothing to put right", checked.version)
    })
}

#[derive(Serialize)]
struct Diff {
    from: u32,
    to: u32,
    differences: Vec<Difference>,
    /// Projects on each plan that would differ once they are migrated.
    projects: BTreeMap<Plan, usize>,
}

async fn diff(file: File, context: &Context) -> anyhow::Result<()> {
    let new = read(named(&file, context))?;
    let old = context.store.newest_catalogue().await?;
    let mut projects: BTreeMap<Plan, usize> = BTreeMap::new();
    for_each_book(context, |book| {
        let now = context.clock.now();
        if !book.migration(&new, now)?.is_empty() {
            let count = projects.entry(book.ledger.timeline().subscribed_at(now).plan).or_default();
            *count = count.saturating_add(1);
        }
        Ok(())
    })
    .await?;
    let diff = Diff { from: old.version, to: new.version, differences: differences(&old, &new), projects };
    print::result(file.format, &diff, |diff| {
        let mut lines = vec![format!("version {} → {}", diff.from, diff.to)];
        lines.extend(diff.differences.iter().map(ToString::to_string));
        let count =
            |(plan, count): (&Plan, &usize)| format!("{count} projects on {plan} would differ when migrated");
        lines.extend(diff.projects.iter().map(count));
        lines.join("\n")
    })
}

async fn apply(file: File, context: &Context) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Shown {
        version: u32,
        applied: bool,
    }
    let catalogue = read(named(&file, context))?;
    let told = match context.store.apply_catalogue(&catalogue, context.clock.now()).await? {
        Applied::Now => Shown { version: catalogue.version, applied: true },
        Applied::Before => Shown { version: catalogue.version, applied: false },
        Applied::Outrun(newest) => bail!(
            "version: got {}, accepted is more than {newest}, which is applied and differs; projects are on it",
            catalogue.version
        ),
    };
    print::remark(file.format, "Projects keep the version they have. Next: `meter plans migrate`.");
    print::result(file.format, &told, |told| {
        let did = if told.applied { "is the newest now" } else { "was the newest already" };
        format!("version {} {did}", told.version)
    })
}

#[derive(Serialize)]
struct Migrated {
    project: ProjectId,
    plan: Plan,
    from: u32,
    to: u32,
    differences: Vec<Difference>,
    /// Why it stays as it is, where the ledger refuses.
    refused: Option<String>,
    done: bool,
}

async fn migrate(migrate: Migrate, context: &Context) -> anyhow::Result<()> {
    let newest = context.store.newest_catalogue().await?;
    let now = context.clock.now();
    let mut all: Vec<Migrated> = Vec::new();
    if let Some(id) = &migrate.project {
        let book = context.store.book(id).await?.with_context(|| {
            format!("there is no project {id}; `meter project list` shows those there are")
        })?;
        all.extend(preview(&book, &newest, context));
    } else {
        for_each_book(context, |book| {
            all.extend(preview(book, &newest, context));
            Ok(())
        })
        .await?;
    }
    all.retain(|one| migrate.plan.is_none_or(|plan| plan == one.plan));
    if migrate.yes {
        for one in all.iter_mut().filter(|one| one.refused.is_none()) {
            let project = one.project.clone();
            let migrated =
                context.store.change_in(&project, async |work| work.migrate_project(&project, now).await);
            match migrated.await? {
                Post::Posted(posted) => one.done = posted.differs,
                Post::Refused(refusal) => one.refused = Some(refusal.to_string()),
                Post::ProjectUnknown => {}
            }
        }
    } else {
        print::remark(migrate.format, "Nothing was changed. With --yes, this is what happens:");
    }
    print::result(migrate.format, &all, |all| {
        if all.is_empty() {
            return format!("every project is on version {}", newest.version);
        }
        all.iter().map(line).collect::<Vec<_>>().join("\n")
    })
}

fn line(one: &Migrated) -> String {
    let head = format!("{} ({}): version {} → {}", one.project, one.plan, one.from, one.to);
    let state = match (&one.refused, one.done) {
        (Some(why), _) => format!(", stays as it is: {why}"),
        (None, true) => ", done".to_owned(),
        (None, false) => String::new(),
    };
    let mut lines = vec![head + &state];
    lines.extend(one.differences.iter().map(|difference| format!("  {difference}")));
    lines.join("\n")
}

/// What migrating one project would change; nothing where nothing differs.
fn preview(book: &Book, newest: &Catalogue, context: &Context) -> Option<Migrated> {
    let now = context.clock.now();
    let before = book.ledger.timeline().subscribed_at(now);
    let told = |differences, refused| Migrated {
        project: book.project.id.clone(),
        plan: before.plan,
        from: before.catalogue,
        to: newest.version,
        differences,
        refused,
        done: false,
    };
    match book.migration(newest, now) {
        Ok(postings) if postings.is_empty() => None,
        Ok(postings) => {
            let terms_of = |fact| if let Fact::PlanChanged { terms, .. } = fact { Some(terms) } else { None };
            let after = postings.into_iter().find_map(|posting| terms_of(posting.fact))?;
            Some(told(terms_differences(before, &after), None))
        }
        Err(refusal) => Some(told(vec![], Some(refusal.to_string()))),
    }
}

async fn what_if(asked: WhatIf, place: &Place) -> anyhow::Result<()> {
    let name = asked.file.display();
    let text = std::fs::read_to_string(&asked.file).with_context(|| name.to_string())?;
    let draft: Value = serde_json::from_str(&text).with_context(|| name.to_string())?;
    let call = Call::post(&["api", "v1", "admin", "plans", "what-if"])
        .field("catalogue", draft)
        .field("months", asked.months)
        .field("top", asked.top);
    print::result(asked.format, &place.ask(&call).await?, compared)
}

/// A draft's differences and what they come to, for people.
fn compared(answer: &Value) -> String {
    let get = |place: &str| print::cell(answer.pointer(place).unwrap_or(&Value::Null));
    let list = |name: &str| answer.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let months: Vec<String> = list("months").iter().map(print::cell).collect();
    let mut lines = vec![format!("version {} → {}", get("/from"), get("/to"))];
    lines.extend(list("differences").iter().map(|one| {
        let value = |name: &str| one.get(name).map(ToString::to_string).unwrap_or_default();
        format!(
            "{}: {} → {}",
            one.get("field").map(print::cell).unwrap_or_default(),
            value("from"),
            value("to")
        )
    }));
    lines.push(format!(
        "\n{}: {} projects cost {}, and would have cost {}: {} more. {} units that were served would have been refused.",
        months.join(", "),
        get("/total/projects"),
        get("/total/before"),
        get("/total/after"),
        get("/total/change"),
        get("/total/refused"),
    ));
    lines.push(format!("\n{}", print::table(answer.get("projects").unwrap_or(&Value::Null), WHAT_IF)));
    lines.push(format!(
        "\n{} others: {} more. {} months are invoiced by contract, {} are not closed yet: they are in no sum.",
        get("/others/projects"),
        get("/others/change"),
        get("/contracted"),
        get("/left_out"),
    ));
    lines.join("\n")
}

async fn projects_by_version(context: &Context) -> anyhow::Result<BTreeMap<u32, usize>> {
    let mut on: BTreeMap<u32, usize> = BTreeMap::new();
    for_each_book(context, |book| {
        let count = on.entry(book.project.catalogue).or_default();
        *count = count.saturating_add(1);
        Ok(())
    })
    .await?;
    Ok(on)
}

async fn for_each_book(
    context: &Context,
    mut see: impl FnMut(&Book) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut after = String::new();
    loop {
        let page = context.store.books(&after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.project.id.to_string();
        page.iter().try_for_each(&mut see)?;
    }
}
