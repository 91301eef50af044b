//! `meter contract`: what enterprise customers have agreed to.

use clap::Args;
use serde_json::{Value, json};
use shared::ids::{ContractId, ProjectId};
use shared::time::{Day, Period};
use shared::units::Units;

use super::call::Call;
use super::options;
use super::place::Place;
use super::print::{self, Column, Format};
use super::project::lines;
use crate::ledger::money::Currency;

const COLUMNS: &[Column] = &[
    ("CONTRACT", "/id"),
    ("CUSTOMER", "/customer"),
    ("PHASE", "/phase"),
    ("PROJECTS", "/projects"),
    ("UNITS/MONTH", "/volume"),
    ("MINIMUM", "/minimum"),
    ("BASE FEE", "/base_fee/minor"),
    ("FIRST DAY", "/first_day"),
    ("LAST DAY", "/last_day"),
    ("NOTICE BY", "/notice_day"),
];

const DOCUMENTS: &[Column] = &[
    ("DOCUMENT", "/name"),
    ("CAUSE", "/cause"),
    ("ISSUED", "/issued"),
    ("REPORTED", "/figures/counted"),
    ("BILLED", "/figures/billed"),
    ("SILENT", "/figures/silent"),
    ("AMOUNT", "/amount"),
    ("MONTH", "/figures/total"),
];

const AT_STRIPE: &[Column] = &[
    ("DOCUMENT", "/document"),
    ("INVOICE", "/invoice"),
    ("STATUS", "/status"),
    ("TOTAL", "/total"),
    ("PAGE", "/url"),
];

const WAIVER: &[Column] = &[
    ("CONTRACT", "/contract"),
    ("MONTH", "/period"),
    ("DOCUMENT", "/document/name"),
    ("AMOUNT", "/document/amount"),
];

const MONTHS: &[Column] = &[
    ("MONTH", "/period"),
    ("USED", "/figures/counted"),
    ("OVERAGE", "/figures/overage"),
    ("COST", "/figures/total"),
    ("IF SILENT", "/if_silent"),
    ("AT PRESENT", "/at_present"),
];

pub(super) const UNKNOWN: &str = "`meter contract list` shows those there are";

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make a contract; its projects are under it from the first day on
    Create(Box<Create>),
    /// List all contracts, the latest first
    List(Format),
    /// Show one contract
    Show(One),
    /// End a contract with a day that is not over yet
    End(End),
    /// List what a contract's months came to: invoices, and what was put right about them
    Documents(One),
    /// Make an invoice at Stripe of a document, once, and show how it stands
    Collect(Collect),
    /// Waive the minimum of a month, for a reason; what was billed for it is taken back
    Waive(Waive),
    /// Show what months that were used would cost under a draft of a contract
    WhatIf(WhatIf),
}

/// What a contract, or a draft of one, agrees to.
#[derive(Debug, Args)]
pub(super) struct Terms {
    /// Units a month
    #[arg(long, value_parser = options::units)]
    volume: Units,
    #[command(flatten)]
    tiers: Tiers,
    /// Units that a month in silence bills at least
    #[arg(long, value_parser = options::units)]
    minimum: Units,
    /// A fixed sum in minor units, whatever is used
    #[arg(long, value_parser = options::units)]
    base_fee: Option<Units>,
    /// For how long the fixed sum is: each month, or the whole term, with its first month
    #[arg(long, requires = "base_fee", default_value = "month", value_parser = ["month", "term"])]
    base_fee_per: String,
    /// The first day of the term
    #[arg(long = "from", value_parser = day)]
    first_day: Day,
    /// The last day of the term; without it the contract runs on
    #[arg(long = "until", value_parser = day)]
    last_day: Option<Day>,
    /// What amounts are in
    #[arg(long, default_value = "eur", value_parser = Currency::parse)]
    currency: Currency,
}

impl Terms {
    /// The call with the terms in its body.
    pub(super) fn on(self, call: Call) -> Call {
        let tier = |Tier { up_to, per_1000 }: Tier| json!({ "up_to": up_to, "per_1000": per_1000 });
        let tiers: Vec<Value> = self.tiers.tiers.into_iter().map(tier).collect();
        let base_fee = self.base_fee.map(|minor| json!({ "minor": minor, "per": self.base_fee_per }));
        call.field("volume", self.volume)
            .field("tiers", tiers)
            .field("minimum", self.minimum)
            .maybe_field("base_fee", base_fee)
            .field("first_day", self.first_day)
            .maybe_field("last_day", self.last_day)
            .field("currency", self.currency)
    }
}

/// What overage costs.
#[derive(Debug, Args)]
struct Tiers {
    /// A tier of overage, `<up to>:<minor units per 1,000 units>`; the last one without a bound. Several in rising
    /// order, or with commas between them such as 500000:100,80
    #[arg(long = "tier", alias = "tiers", required = true, value_delimiter = ',', value_parser = tier)]
    tiers: Vec<Tier>,
}

impl Tiers {
    /// As a query has them.
    fn in_query(&self) -> String {
        let tier = |Tier { up_to, per_1000 }: &Tier| match up_to {
            Some(bound) => format!("{bound}:{per_1000}"),
            None => per_1000.to_string(),
        };
        self.tiers.iter().map(tier).collect::<Vec<_>>().join(",")
    }
}

/// Overage up to a bound, or all beyond.
#[derive(Debug, Clone)]
struct Tier {
    up_to: Option<Units>,
    per_1000: u64,
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// 1 to 48 of a-z, 0-9 and inner hyphens
    id: ContractId,
    /// Whom it is with, as invoices name them
    #[arg(long)]
    customer: String,
    /// A project that it covers; several by naming it again
    #[arg(short, long = "project", value_name = "ID")]
    projects: Vec<ProjectId>,
    #[command(flatten)]
    terms: Terms,
    /// The service level that was agreed, in words
    #[arg(long)]
    sla: String,
    /// Bill the units of development reporters too
    #[arg(long)]
    bill_development: bool,
    /// How many days before its end either side may decline to renew it
    #[arg(long, default_value_t = 90)]
    notice_days: u32,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct One {
    /// The contract
    id: ContractId,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct End {
    /// The contract
    id: ContractId,
    /// Its last day, from today on
    #[arg(long = "on", value_parser = day)]
    last_day: Day,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct Collect {
    /// The contract
    id: ContractId,
    /// The document, as `meter contract documents` names it
    #[arg(long)]
    document: String,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct Waive {
    /// The contract
    id: ContractId,
    /// The month
    #[arg(long, value_parser = options::period)]
    month: Period,
    /// Why, as the customer may read it
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct WhatIf {
    /// A project whose usage is taken; several by naming it again
    #[arg(short, long = "project", value_name = "ID", required = true)]
    projects: Vec<ProjectId>,
    /// The first month
    #[arg(long, value_parser = options::period)]
    from: Period,
    /// The last month
    #[arg(long, value_parser = options::period)]
    to: Period,
    /// Units a month
    #[arg(long, value_parser = options::units)]
    volume: Units,
    #[command(flatten)]
    tiers: Tiers,
    /// Units that a month in silence bills at least
    #[arg(long, value_parser = options::units)]
    minimum: Units,
    /// A fixed sum a month in minor units, whatever is used
    #[arg(long, value_parser = options::units)]
    base_fee: Option<Units>,
    #[command(flatten)]
    format: Format,
}

/// A day.
pub(super) fn day(text: &str) -> Result<Day, String> {
    Day::parse(text).ok_or_else(|| "accepted is a day such as 2026-12-01".to_owned())
}

fn tier(text: &str) -> Result<Tier, String> {
    let refused = || "accepted are <up to>:<rate> such as 500000:100, and <rate> for the last".to_owned();
    let number = |text: &str| text.parse::<u64>().map_err(|_| refused());
    let (up_to, rate) = match text.split_once(':') {
        Some((up_to, rate)) => (Some(options::units(up_to)?), rate),
        None => (None, text),
    };
    Ok(Tier { up_to, per_1000: number(rate)? })
}

/// The path of a contract in the interface.
pub(super) fn path(id: &ContractId) -> [&str; 5] {
    ["api", "v1", "admin", "contracts", id.as_str()]
}

pub(super) async fn run(command: Command, place: Place) -> anyhow::Result<()> {
    let (call, format) = match command {
        Command::Create(create) => {
            let Create { id, customer, projects, terms, sla, bill_development, notice_days, format } =
                *create;
            let call = Call::post(&["api", "v1", "admin", "contracts"])
                .field("id", id)
                .field("customer", customer)
                .field("projects", projects)
                .field("sla", sla)
                .field("bills_development", bill_development)
                .field("notice_days", notice_days);
            (terms.on(call), format)
        }
        Command::List(format) => {
            let contracts = place.ask(&Call::get(&["api", "v1", "admin", "contracts"])).await?;
            let none = "There are no contracts yet. Next: `meter contract create`.";
            return print::rows(format, &lines(contracts, "contracts", format, none), COLUMNS);
        }
        Command::Show(One { id, format }) => (Call::get(&path(&id)), format),
        Command::Documents(One { id, format }) => {
            let call = Call::get(&[&path(&id)[..], &["documents"]].concat()).or_say(UNKNOWN);
            let none = "No month of the contract was invoiced yet.";
            let documents = lines(place.ask(&call).await?, "documents", format, none);
            return print::rows(format, &documents, DOCUMENTS);
        }
        Command::Collect(Collect { id, document, format }) => {
            let call = Call::post(&[&path(&id)[..], &["documents", &document, "stripe"]].concat());
            let collected = place.ask(&call.or_say(UNKNOWN)).await?;
            return print::rows(format, &collected, AT_STRIPE);
        }
        Command::Waive(Waive { id, month, reason, format }) => {
            let call = Call::post(&[&path(&id)[..], &["waivers"]].concat()).or_say(UNKNOWN);
            let waived = place.ask(&call.field("period", month).field("reason", reason)).await?;
            return print::rows(format, &waived, WAIVER);
        }
        Command::WhatIf(what_if) => return self::what_if(what_if, &place).await,
        Command::End(End { id, last_day, format }) => {
            let path = [&path(&id)[..], &["end"]].concat();
            (Call::post(&path).field("last_day", last_day), format)
        }
    };
    print::rows(format, &place.ask(&call.or_say(UNKNOWN)).await?, COLUMNS)
}

async fn what_if(what_if: WhatIf, place: &Place) -> anyhow::Result<()> {
    let projects: Vec<&str> = what_if.projects.iter().map(ProjectId::as_str).collect();
    let call = Call::get(&["api", "v1", "admin", "what-if"])
        .with_query("projects", &projects.join(","))
        .with_query("from", &what_if.from)
        .with_query("to", &what_if.to)
        .with_query("volume", &what_if.volume)
        .with_query("tiers", &what_if.tiers.in_query())
        .with_query("minimum", &what_if.minimum)
        .maybe_query("base_fee", what_if.base_fee);
    let answer = place.ask(&call).await?;
    if what_if.format.json {
        return print::result(what_if.format, &answer, ToString::to_string);
    }
    let mut months = answer.get("months").and_then(Value::as_array).cloned().unwrap_or_default();
    months.extend(answer.get("forecast").cloned());
    print::rows(what_if.format, &Value::Array(months), MONTHS)?;
    for remark in remarks(&answer) {
        print::remark(what_if.format, &remark);
    }
    Ok(())
}

/// What a what-if says beside its months, in sentences.
fn remarks(answer: &Value) -> Vec<String> {
    let told = |pointer: &str| print::cell(answer.pointer(pointer).unwrap_or(&Value::Null));
    let at_present = answer.get("total_at_present").filter(|total| !total.is_null());
    let at_present =
        at_present.map_or_else(String::new, |total| format!(" At present they are {}.", print::cell(total)));
    let mut remarks = vec![
        "The last month is the present one, at the pace of the last seven days.".to_owned(),
        format!(
            "Those before come to {} together, and to {} if a reporter were silent.{at_present}",
            told("/total"),
            told("/total_if_silent")
        ),
        format!("The volume is used up at {} units a month.", told("/volume_used_up_at")),
    ];
    if let Some(ranges) = answer.pointer("/break_even/ranges").and_then(Value::as_array) {
        remarks.push(format!("Beside what there is at present it is {}.", compared(ranges)));
    }
    remarks
}

/// How a draft compares, from none to any number of units.
fn compared(ranges: &[Value]) -> String {
    let said = ranges.iter().map(|range| {
        let how = match range["draft"].as_str() {
            Some("cheaper") => "cheaper",
            Some("same") => "the same",
            Some("alone") => "the only one that serves them all",
            Some(_) | None => "dearer",
        };
        let (from, to) = (&range["from"], &range["to"]);
        match (from.as_u64(), to.as_u64()) {
            (Some(0), None) => format!("{how} for any number of units a month"),
            (Some(0), Some(_)) => format!("{how} up to {to} units a month"),
            (_, None) => format!("{how} from {from} on"),
            (first, last) if first == last => format!("{how} at {from}"),
            _ => format!("{how} from {from} to {to}"),
        }
    });
    said.collect::<Vec<_>>().join(", ")
}
