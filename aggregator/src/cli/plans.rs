//! `meter plans`: the plan catalogue's versions, bringing projects to the newest, and projects that a file of plans names.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value, json};
use shared::ids::ProjectId;
use shared::plan::{Catalogue, Pack, Plan};

use super::call::Call;
use super::declared::{Declared, Difference};
use super::options;
use super::place::Place;
use super::print::{self, Column, Format, cell};

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

const PATH: &[&str] = &["api", "v1", "admin", "plans"];

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Show the newest version and those before it
    Show(Format),
    /// Check a catalogue file
    Check(File),
    /// Show what a file would change, and for how many projects
    Diff(Diff),
    /// Make a file the newest version: for new projects and changes of plan from now on; and make its projects as it says
    Apply(Apply),
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
pub(super) struct Diff {
    #[command(flatten)]
    file: File,
    /// End with 4 where something differs
    #[arg(long)]
    exit_code: bool,
}

#[derive(Debug, Args)]
pub(super) struct Apply {
    #[command(flatten)]
    file: File,
    /// Delete webhooks that the file lacks, of projects whose webhooks it lists
    #[arg(long)]
    delete: bool,
}

/// What a comparison ends with that was asked for by its exit code.
#[derive(Debug, thiserror::Error)]
#[error("what is there differs from the file")]
pub(super) struct Differs;

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
    match command {
        Command::Show(format) => show(format, place).await,
        Command::Check(file) => check(&file, place.plans()),
        Command::Diff(asked) => diff(asked, place).await,
        Command::Apply(asked) => apply(asked, place).await,
        Command::Migrate(migrate) => self::migrate(migrate, place).await,
        Command::WhatIf(asked) => what_if(asked, place).await,
    }
}

/// A file of plans, of projects, or of both.
struct Said {
    /// Nothing where the file is of projects alone.
    catalogue: Option<Catalogue>,
    projects: Declared,
}

/// The field of a file beside those of the catalogue.
const PROJECTS: &str = "projects";

impl Said {
    fn read(file: Option<&Path>) -> anyhow::Result<Self> {
        let Some(file) = file else {
            let compiled = Catalogue::from_json(Catalogue::DEFAULT_JSON).map_err(anyhow::Error::msg)?;
            return Ok(Self { catalogue: Some(compiled), projects: Declared::default() });
        };
        let name = || file.display().to_string();
        let text = std::fs::read_to_string(file).with_context(name)?;
        let mut all: Value = serde_json::from_str(&text).with_context(name)?;
        let Some(projects) = all.as_object_mut().and_then(|fields| fields.remove(PROJECTS)) else {
            // Read as it stands, so that a mistake is told by its line.
            let catalogue = serde_json::from_str(&text).with_context(name)?;
            return Ok(Self { catalogue: Some(catalogue), projects: Declared::default() });
        };
        let projects = serde_json::from_value(projects).with_context(|| format!("{}: {PROJECTS}", name()))?;
        let is_alone = all.as_object().is_some_and(Map::is_empty);
        let catalogue = if is_alone { None } else { Some(serde_json::from_value(all).with_context(name)?) };
        Ok(Self { catalogue, projects })
    }

    /// All problems at once, where the file can be read at all.
    fn problems(&self) -> Vec<String> {
        let plans = self.catalogue.iter().flat_map(Catalogue::problems);
        plans.chain(self.projects.problems()).collect()
    }

    fn accepted(file: Option<&Path>) -> anyhow::Result<Self> {
        let said = Self::read(file)?;
        let name = file.map(|file| format!("{}: ", file.display())).unwrap_or_default();
        match said.problems().first() {
            Some(problem) => bail!("{name}{problem}"),
            None => Ok(said),
        }
    }
}

/// The catalogue of a file, or what is compiled in where there is none.
pub(super) fn read(file: Option<&Path>) -> anyhow::Result<Catalogue> {
    let name = file.map(|file| file.display().to_string()).unwrap_or_default();
    Said::accepted(file)?.catalogue.with_context(|| format!("{name}: there are no plans in it"))
}

fn named<'a>(file: &'a File, plans: Option<&'a Path>) -> Option<&'a Path> {
    file.file.as_deref().or(plans)
}

async fn show(format: Format, place: &Place) -> anyhow::Result<()> {
    let answer = place.ask(&Call::get(PATH)).await?;
    let all = list(&answer, "versions");
    let newest = all.last().and_then(|version| version.get("catalogue")).unwrap_or(&Value::Null);
    let newest = Catalogue::from_json(&newest.to_string()).map_err(anyhow::Error::msg)?;
    print::result(format, &all, |all| {
        let mut heads: Vec<String> = all.iter().rev().map(head).collect();
        heads.insert(1, terms(&newest));
        heads.join("\n\n")
    })
}

/// The first line of a version.
fn head(version: &Value) -> String {
    let get = |name: &str| version.get(name).map(cell).unwrap_or_default();
    format!("version {}, applied {}: {} projects", get("version"), get("applied_at"), get("projects"))
}

/// What a catalogue gives and costs, for people.
fn terms(catalogue: &Catalogue) -> String {
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
        "{}\n\n{}\n\nCustomers are told at {} % of the quota; a plan is kept for {} days after a payment failed.\nA dash is without a limit, or by contract.",
        print::table(&plans, PLANS),
        print::table(&packs, PACKS),
        thresholds.join(" and "),
        catalogue.grace_days
    )
}

#[derive(Serialize)]
struct Checked {
    file: Option<String>,
    version: Option<u32>,
    projects: usize,
    problems: Vec<String>,
}

pub(super) fn check(file: &File, plans: Option<&Path>) -> anyhow::Result<()> {
    let path = named(file, plans);
    let said = Said::read(path)?;
    let problems = said.problems();
    let name = path.map(|path| path.display().to_string());
    if !problems.is_empty() {
        bail!("{}", problems.join("\n"));
    }
    let version = said.catalogue.map(|catalogue| catalogue.version);
    let checked = Checked { file: name, version, projects: said.projects.len(), problems };
    print::result(file.format, &checked, |checked| {
        let version = checked.version.map(|version| format!("version {version}"));
        let projects = (checked.projects > 0).then(|| format!("{} projects", checked.projects));
        let parts: Vec<String> = version.into_iter().chain(projects).collect();
        format!("{}: nothing to put right", parts.join(", "))
    })
}

async fn diff(Diff { file, exit_code }: Diff, place: &Place) -> anyhow::Result<()> {
    let said = Said::accepted(named(&file, place.plans()))?;
    let answer = match said.catalogue {
        Some(new) => {
            // The shortest question that says what differs: one month, and no project by its name.
            let call = what_if_call(&serde_json::to_value(new)?).field("months", 1).field("top", 0);
            Some(place.ask(&call).await?)
        }
        None => None,
    };
    let of_plans = answer.unwrap_or(Value::Null);
    let declared = said.projects.differences(place).await?;
    let on = |one: &Value| Some((one.get("plan")?.as_str()?.to_owned(), one.get("projects")?.clone()));
    let projects: Map<String, Value> = list(&of_plans, "migrates").iter().filter_map(on).collect();
    let get = |name: &str| of_plans.get(name);
    let diff = json!({
        "from": get("from"), "to": get("to"), "differences": list(&of_plans, "differences"),
        "projects": projects, "declared": declared,
    });
    print::result(file.format, &diff, |diff| {
        let mut lines: Vec<String> = (!of_plans.is_null()).then(|| versions(diff)).into_iter().collect();
        lines.extend(list(diff, "differences").iter().map(difference));
        let count = |(plan, count): (&String, &Value)| {
            format!("{count} projects on {plan} would differ when migrated")
        };
        lines.extend(projects.iter().map(count));
        lines.extend(declared.iter().map(Difference::line));
        if lines.is_empty() { "nothing differs".to_owned() } else { lines.join("\n") }
    })?;
    let differs = !list(&of_plans, "differences").is_empty() || !declared.is_empty();
    if exit_code && differs { Err(Differs.into()) } else { Ok(()) }
}

/// Between which versions something differs.
fn versions(answer: &Value) -> String {
    let get = |name: &str| answer.get(name).map(cell).unwrap_or_default();
    format!("version {} → {}", get("from"), get("to"))
}

/// One field that differs.
fn difference(one: &Value) -> String {
    let value = |name: &str| one.get(name).map(ToString::to_string).unwrap_or_default();
    format!("{}: {} → {}", one.get("field").map(cell).unwrap_or_default(), value("from"), value("to"))
}

/// A list in an answer.
fn list<'a>(answer: &'a Value, name: &str) -> &'a [Value] {
    answer.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

async fn apply(Apply { file, delete }: Apply, place: &Place) -> anyhow::Result<()> {
    let said = Said::accepted(named(&file, place.plans()))?;
    let mut told = json!({});
    if let Some(catalogue) = &said.catalogue {
        told = place.ask(&Call::post(PATH).field("catalogue", catalogue)).await?;
        print::remark(file.format, "Projects keep the version they have. Next: `meter plans migrate`.");
    }
    let (done, left) = said.projects.apply(place, delete).await?;
    if !left.is_empty() {
        let remark = "Some webhooks are not in the file and were left as they are. With --delete, they go.";
        print::remark(file.format, remark);
    }
    if let Some(fields) = told.as_object_mut().filter(|_| said.projects.len() > 0) {
        fields.insert("changed".to_owned(), json!(done));
        fields.insert("left".to_owned(), json!(left));
    }
    print::result(file.format, &told, |told| {
        let is_new = told.get("applied").is_some_and(|applied| applied == true);
        let did = if is_new { "is the newest now" } else { "was the newest already" };
        let version = told.get("version").map(|version| format!("version {} {did}", cell(version)));
        let mut lines: Vec<String> = version.into_iter().collect();
        lines.extend(done.iter().map(Difference::line));
        lines.extend(left.iter().map(|one| format!("left: {}", one.line())));
        if lines.is_empty() { "every project is as the file says".to_owned() } else { lines.join("\n") }
    })
}

async fn migrate(migrate: Migrate, place: &Place) -> anyhow::Result<()> {
    let call = Call::post(&[PATH, &["migrate"]].concat())
        .maybe_field("project", migrate.project.as_ref())
        .maybe_field("plan", migrate.plan)
        .field("do", migrate.yes);
    let mut all: Vec<Value> = Vec::new();
    let mut next = call.clone();
    let newest = loop {
        let answer = place.ask(&next).await?;
        all.extend_from_slice(list(&answer, "projects"));
        match answer.get("next").and_then(Value::as_str) {
            Some(after) => next = call.clone().field("after", after),
            None => break answer.get("to").map(cell).unwrap_or_default(),
        }
    };
    if !migrate.yes {
        print::remark(migrate.format, "Nothing was changed. With --yes, this is what happens:");
    }
    print::result(migrate.format, &all, |all| {
        if all.is_empty() {
            return format!("every project is on version {newest}");
        }
        all.iter().map(line).collect::<Vec<_>>().join("\n")
    })
}

/// What becomes of a project.
fn line(one: &Value) -> String {
    let get = |name: &str| one.get(name).map(cell).unwrap_or_default();
    let head = format!("{} ({}): {}", get("project"), get("plan"), versions(one));
    let state = match (one.get("refused").and_then(Value::as_str), one.get("done")) {
        (Some(_), _) => format!(", stays as it is: {}", get("refused")),
        (None, Some(Value::Bool(true))) => ", done".to_owned(),
        (None, _) => String::new(),
    };
    let mut lines = vec![head + &state];
    lines.extend(list(one, "differences").iter().map(|one| format!("  {}", difference(one))));
    lines.join("\n")
}

/// What a draft changes, of which the rest of the question is added.
fn what_if_call(draft: &Value) -> Call {
    Call::post(&[PATH, &["what-if"]].concat()).field("catalogue", draft)
}

async fn what_if(asked: WhatIf, place: &Place) -> anyhow::Result<()> {
    let name = asked.file.display();
    let text = std::fs::read_to_string(&asked.file).with_context(|| name.to_string())?;
    let mut draft: Value = serde_json::from_str(&text).with_context(|| name.to_string())?;
    // What projects are to be changes nothing about closed months.
    if let Some(fields) = draft.as_object_mut() {
        fields.remove(PROJECTS);
    }
    let call = what_if_call(&draft).field("months", asked.months).field("top", asked.top);
    print::result(asked.format, &place.ask(&call).await?, compared)
}

/// A draft's differences and what they come to, for people.
fn compared(answer: &Value) -> String {
    let get = |place: &str| print::cell(answer.pointer(place).unwrap_or(&Value::Null));
    let months: Vec<String> = list(answer, "months").iter().map(print::cell).collect();
    let mut lines = vec![versions(answer)];
    lines.extend(list(answer, "differences").iter().map(difference));
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
