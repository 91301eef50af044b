//! `meter usage`, `meter explain`, `meter what-if` and `meter invoices`: what was used, why it is served or not, what it
//! costs, and what it would have cost.

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use serde_json::Value;
use shared::ids::{Mode, ProjectId};
use shared::time::{Day, Period};
use shared::units::Units;

use super::billing::text as statement;
use super::call::Call;
use super::options::{Project, period};
use super::place::Place;
use super::print::{self, Column, Format, cell};

const DAYS: &[Column] = &[
    ("DATE", "/date"),
    ("UNITS", "/units"),
    ("VERIFY", "/kinds/verify"),
    ("MCP TOOL CALL", "/kinds/mcp_tool_call"),
    ("EXTENSION EVENT", "/kinds/extension_event"),
];

const AGENTS: &[Column] = &[("AGENT", "/agent"), ("UNITS", "/units")];

const PAID: &[Column] = &[
    ("DATE", "/date"),
    ("UNITS", "/units"),
    ("INCLUDED", "/included"),
    ("LOTS", "/lot"),
    ("OVERAGE", "/overage"),
    ("NOT BILLED", "/unbilled"),
];

const GROUPS: &[Column] = &[("KEY", "/key"), ("UNITS", "/units")];

const OPTIONS: &[Column] = &[
    ("PLAN", "/plan"),
    ("OVERAGE", "/overage"),
    ("QUOTA PAYS", "/from_quota"),
    ("PACKS PAY", "/from_lots"),
    ("OVERAGE PAYS", "/from_overage"),
    ("REFUSED", "/refused"),
    ("SUBSCRIPTION", "/subscription"),
    ("TOTAL", "/total"),
    ("YOURS", "/present"),
];

const INVOICES: &[Column] = &[
    ("MONTH", "/period"),
    ("PLAN", "/plan"),
    ("UNITS", "/units"),
    ("BEYOND PLAN AND PACKS", "/total"),
    ("STATE", "/state"),
    ("INVOICE", "/invoice"),
];

/// Agents that are shown to people where nothing else is said.
const SHOWN: u32 = 20;

/// What usage is added up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum By {
    /// By day
    Day,
    /// By agent
    Agent,
    /// By kind of request
    Kind,
    /// By day, and what paid for it
    Source,
}

impl By {
    /// As the interface calls it.
    fn grouping(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Agent => "agent",
            Self::Kind => "kind",
            Self::Source => "day,source",
        }
    }
}

/// Which keys' usage is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Keys {
    /// Of live keys, which is billed
    Live,
    /// Of test keys
    Test,
}

#[derive(Debug, Args)]
pub(super) struct Usage {
    #[command(flatten)]
    project: Project,
    /// The first day, such as 2026-05-01; the first of the last day's month where it is left out
    #[arg(long, value_name = "DATE", value_parser = day)]
    from: Option<Day>,
    /// The last day, which is included; the last of this month where it is left out
    #[arg(long, value_name = "DATE", value_parser = day)]
    to: Option<Day>,
    /// Which keys' usage
    #[arg(long, value_enum, default_value = "live")]
    mode: Keys,
    /// Add up by one thing only
    #[arg(long, value_enum)]
    by: Option<By>,
    /// How many agents, those with most units first
    #[arg(long, default_value_t = SHOWN, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct Explain {
    #[command(flatten)]
    project: Project,
    /// Which month's bill, such as 2026-05; this month's where it is left out
    #[arg(long, value_name = "MONTH", value_parser = period)]
    period: Option<Period>,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct WhatIf {
    #[command(flatten)]
    project: Project,
    /// Which month, such as 2026-05; this one where it is left out
    #[arg(long, value_name = "MONTH", value_parser = period)]
    period: Option<Period>,
    /// For so many units instead of those that were counted
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=Units::MAX.get()))]
    units: Option<u64>,
    /// A monthly cap of overage in minor units, where overage is on
    #[arg(long, value_name = "MINOR", value_parser = clap::value_parser!(u64).range(..=Units::MAX.get()))]
    overage_cap: Option<u64>,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct Invoices {
    #[command(flatten)]
    project: Project,
    #[command(flatten)]
    format: Format,
}

pub(super) async fn usage(usage: Usage, place: Place) -> anyhow::Result<()> {
    let project = place.project(&usage.project).await?;
    let to = match usage.to {
        Some(to) => to,
        None => this_month(&project, &place).await?.last_day(),
    };
    let mode = match usage.mode {
        Keys::Live => Mode::Live,
        Keys::Test => Mode::Test,
    };
    let call = Call::get(&["api", "v1", "usage"])
        .with_query("project", &project)
        .with_query("from", &usage.from.unwrap_or(to.period().first_day()))
        .with_query("to", &to)
        .with_query("mode", &mode.as_str())
        .with_query("limit", &usage.limit)
        .maybe_query("group_by", usage.by.map(By::grouping));
    let report = place.ask(&call).await?;
    print::result(usage.format, &report, |report| usage_text(report, usage.by))
}

/// The month by the clock of the books, which may have been moved.
async fn this_month(project: &ProjectId, place: &Place) -> anyhow::Result<Period> {
    let plan =
        place.ask(&Call::get(&["api", "v1", "billing", "plan"]).with_query("project", &project)).await?;
    let period = plan.get("period").and_then(Value::as_str).and_then(Period::parse);
    period.context("the answer has no month")
}

fn usage_text(report: &Value, by: Option<By>) -> String {
    let get = |place: &str| cell(report.pointer(place).unwrap_or(&Value::Null));
    let head = format!(
        "{} · {} keys · {} to {} · {} units",
        get("/project"),
        get("/mode"),
        get("/from"),
        get("/to"),
        get("/total")
    );
    let more = match report.get("next") {
        Some(Value::String(_)) => "\nThere are more; --limit shows them.",
        _ => "",
    };
    let table = |name: &str, columns| print::table(report.get(name).unwrap_or(&Value::Null), columns);
    match by {
        Some(By::Day | By::Agent | By::Kind) => {
            return format!("{head}\n\n{}{more}", table("groups", GROUPS));
        }
        Some(By::Source) | None => {}
    }
    // Days without units are in the JSON; people look for the others.
    let days = report.get("days").and_then(Value::as_array).into_iter().flatten();
    let days: Vec<Value> =
        days.filter(|day| day.get("units").is_some_and(|units| *units != 0)).cloned().collect();
    if days.is_empty() {
        return head;
    }
    if matches!(by, Some(By::Source)) {
        return format!("{head}\n\n{}", print::table(&Value::Array(days), PAID));
    }
    format!("{head}\n\n{}\n\n{}{more}", print::table(&Value::Array(days), DAYS), table("agents", AGENTS))
}

pub(super) async fn explain(explain: Explain, place: Place) -> anyhow::Result<()> {
    let call = Call::get(&["api", "v1", "explain"])
        .with_query("project", &place.project(&explain.project).await?)
        .maybe_query("period", explain.period);
    print::result(explain.format, &place.ask(&call).await?, explanation)
}

fn explanation(explained: &Value) -> String {
    let get = |place: &str| cell(explained.pointer(place).unwrap_or(&Value::Null));
    let mut lines = vec![
        format!(
            "{} · {} · {}: {} units used of a quota of {}, {} left in packs and credits",
            get("/project"),
            get("/now/plan"),
            get("/now/period"),
            get("/now/used"),
            get("/now/quota"),
            get("/now/lots_left")
        ),
        format!("next request: {}", verdict(explained.pointer("/now/verdict").unwrap_or(&Value::Null))),
        format!("because of the ledger's entries {}", get("/now/rests_on")),
        String::new(),
        explained.pointer("/billed/statement").map(statement).unwrap_or_default(),
    ];
    for reason in explained.pointer("/billed/reasons").and_then(Value::as_array).into_iter().flatten() {
        let entry = reason.get("entry").filter(|entry| !entry.is_null());
        let entry =
            entry.map_or_else(|| "not closed yet".to_owned(), |entry| format!("entry {}", cell(entry)));
        for line in reason.get("bill").and_then(Value::as_array).into_iter().flatten() {
            let get = |name: &str| cell(line.get(name).unwrap_or(&Value::Null));
            lines.push(format!("{entry}: {} {} for {}", get("quantity"), get("kind"), get("amount")));
        }
    }
    lines.join("\n")
}

/// What would happen to the next request: a word, or a word with what belongs to it.
fn verdict(verdict: &Value) -> String {
    match verdict {
        Value::Object(fields) => {
            let said = fields.iter().map(|(word, with)| match with {
                Value::Null => format!("{word} without a limit"),
                Value::Number(units) => format!("{word}, {units} units are left"),
                Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
                    format!("{word} ({})", cell(with))
                }
            });
            said.collect::<Vec<_>>().join(", ")
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => cell(verdict),
    }
    .replace('_', " ")
}

pub(super) async fn what_if(asked: WhatIf, place: Place) -> anyhow::Result<()> {
    let call = Call::get(&["api", "v1", "billing", "what-if"])
        .with_query("project", &place.project(&asked.project).await?)
        .maybe_query("period", asked.period)
        .maybe_query("units", asked.units)
        .maybe_query("overage_cap", asked.overage_cap);
    print::result(asked.format, &place.ask(&call).await?, compared)
}

fn compared(answer: &Value) -> String {
    let get = |place: &str| cell(answer.pointer(place).unwrap_or(&Value::Null));
    format!(
        "{} · {} · {} units ({} counted so far, {} at this pace by the month's end); {} requests refused for want of units are in none of these\n\n{}",
        get("/project"),
        get("/period"),
        get("/units"),
        get("/counted"),
        get("/forecast"),
        get("/refused_for_quota"),
        print::table(answer.get("options").unwrap_or(&Value::Null), OPTIONS)
    )
}

pub(super) async fn invoices(invoices: Invoices, place: Place) -> anyhow::Result<()> {
    let call = Call::get(&["api", "v1", "billing", "invoices"])
        .with_query("project", &place.project(&invoices.project).await?);
    let answer = place.ask(&call).await?;
    print::result(invoices.format, &answer, |answer| {
        print::table(answer.get("invoices").unwrap_or(&Value::Null), INVOICES)
    })
}

fn day(text: &str) -> Result<Day, String> {
    Day::parse(text).ok_or_else(|| "accepted is a date such as 2026-05-01".to_owned())
}
