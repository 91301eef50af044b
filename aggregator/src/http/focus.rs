//! `GET /api/v1/usage/focus`: what a month was used for and came to, in the columns of FOCUS 1.0 (FinOps Open Cost and Usage
//! Specification), for tools of finance.
//!
//! It retells statements; it must never compute an amount of its own, so that its sum is what invoices say.

use std::borrow::Cow;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use shared::ids::ProjectId;
use shared::time::Period;
use shared::units::Units;

use super::access::Caller;
use super::billing::refused;
use super::download;
use super::failure::Failure;
use super::field::{Field, PROJECT};
use super::query::Query;
use super::route::{Route, Who};
use crate::access::{Permission, Scope};
use crate::app::App;
use crate::contracts::einvoice::hundredths;
use crate::ledger::bill::{Line, LineKind};
use crate::ledger::money::Currency;
use crate::ledger::refusal::Refusal;
use crate::ledger::statement::{Statement, statement};
use crate::metering::usage::csv::quoted;
use crate::projects::book::Book;

const MONTH: &str = "a month such as 2026-05";

const QUERY: &[Field] = &[Field::required::<Period>("month", MONTH).such_as("\"2026-05\""), PROJECT];

const CSV: &str = "text/csv";

/// Books that are read at once, where all projects are told of.
const BOOKS_MAX: u32 = 100;

/// The endpoint of this module.
pub(super) fn route() -> Route {
    Route::get("/api/v1/usage/focus", Who::InProject(Permission::Read), "Export costs", export)
        .query(QUERY)
        .answers_text(200, "What the month was used for and came to, in the columns of FOCUS 1.0", CSV)
}

/// Answers for a token's own project; for operators who name none, for all.
async fn export(caller: Caller, State(app): State<App>, uri: Uri) -> Result<Response, Failure> {
    let query = Query::of(&uri, QUERY)?;
    let everywhere = caller.token.scope == Scope::Operator && query.get("project").is_none();
    let one =
        if everywhere { None } else { Some(caller.named_project(&app, &query, Permission::Read).await?.id) };
    let period = query.required("month", MONTH, Period::parse)?;
    let mut csv = head();
    match one {
        Some(id) => {
            let book = app.store.book(&id).await?.ok_or_else(Failure::project_unknown)?;
            add(&mut csv, &app, &book, period)?;
        }
        None => {
            let mut after = String::new();
            loop {
                let books = app.store.books(&after, BOOKS_MAX).await?;
                let Some(last) = books.last() else { break };
                after = last.project.id.as_str().to_owned();
                for book in &books {
                    add(&mut csv, &app, book, period)?;
                }
            }
        }
    }
    Ok(download::whole(csv))
}

/// Adds a project's month, where the project was there in it.
fn add(csv: &mut String, app: &App, book: &Book, period: Period) -> Result<(), Failure> {
    let now = app.clock.now();
    if period < book.project.created.period() || period > now.period() {
        return Ok(());
    }
    let by_contract = book.ledger.timeline().is_contracted(period);
    let month = statement(&book.ledger, book.seen(now), period).map_err(|refusal| refused(&refusal))?;
    for charge in charges(&month, by_contract).map_err(|refusal| refused(&refusal))? {
        csv.push_str(&row(&book.project.id, (&month, by_contract), &charge));
    }
    Ok(())
}

/// One line of the export.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Charge {
    sku: String,
    description: String,
    quantity: Units,
    unit: &'static str,
    /// What it costs, in minor units.
    minor: i128,
    /// What one costs, where all cost the same.
    unit_price: Option<String>,
}

const REQUESTS: &str = "Requests";

/// What a month consists of: units by what paid for them, and what is invoiced. What is paid in advance costs nothing here.
fn charges(month: &Statement, by_contract: bool) -> Result<Vec<Charge>, Refusal> {
    let paid = |sku: String, description: String, quantity| Charge {
        sku,
        description,
        quantity,
        unit: REQUESTS,
        minor: 0,
        unit_price: Some("0".to_owned()),
    };
    let mut charges = Vec::new();
    charges.push(paid(
        "included".to_owned(),
        format!("Requests included in the plan {}", month.plan),
        month.included,
    ));
    for part in &month.lots {
        charges.push(paid(
            "top-up".to_owned(),
            format!("Requests paid by top-up lot {}", part.lot),
            part.units,
        ));
    }
    charges.push(paid("uncovered".to_owned(), "Requests that are not billed".to_owned(), month.uncovered));
    let lines = if by_contract { &[][..] } else { &month.bill.lines };
    let is_overage = |line: &&Line| matches!(line.kind, LineKind::Overage(_));
    if !lines.iter().any(|line| is_overage(&line)) {
        let by_whom = if by_contract { "Requests invoiced by contract" } else { "Requests beyond the plan" };
        charges.push(paid("overage".to_owned(), by_whom.to_owned(), month.overage));
    }
    charges.extend(lines.iter().map(of_line));
    charges.retain(|charge| charge.quantity > Units::ZERO || charge.minor != 0);
    Ok(charges)
}

fn of_line(line: &Line) -> Charge {
    let (sku, description, unit, unit_price) = match &line.kind {
        LineKind::Overage(rate) => {
            // Minor units per 1,000 units: five more digits than whole ones of the currency.
            let price = rate.flat_per_1000().map(|per_1000| shifted(per_1000, 5));
            ("overage", "Requests beyond the plan", REQUESTS, price)
        }
        LineKind::Anchors(each) => ("anchors", "Blockchain anchors", "Anchors", Some(shifted(*each, 2))),
    };
    let (sku, description) = (sku.to_owned(), description.to_owned());
    Charge { sku, description, quantity: line.quantity, unit, minor: line.amount.minor(), unit_price }
}

/// A number with its point so many digits from the right.
fn shifted(number: u64, digits: usize) -> String {
    let text = format!("{number:0>width$}", width = digits.saturating_add(1));
    let (whole, part) = text.split_at(text.len().saturating_sub(digits));
    format!("{whole}.{part}")
}

/// Every column of FOCUS 1.0, in the order of their names.
const COLUMNS: [&str; 43] = [
    "AvailabilityZone",
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "CommitmentDiscountCategory",
    "CommitmentDiscountId",
    "CommitmentDiscountName",
    "CommitmentDiscountStatus",
    "CommitmentDiscountType",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "ContractedUnitPrice",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "ListUnitPrice",
    "PricingCategory",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "RegionId",
    "RegionName",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "SkuId",
    "SkuPriceId",
    "SubAccountId",
    "SubAccountName",
    "Tags",
];

/// What a row has in the columns.
fn cells(
    project: &ProjectId,
    (month, by_contract): (&Statement, bool),
    charge: &Charge,
) -> [String; COLUMNS.len()] {
    let cost = hundredths(charge.minor);
    let (start, end) = (month.period.start().to_string(), month.period.end().to_string());
    let currency: Currency = month.total.currency();
    let price = charge.unit_price.clone().unwrap_or_default();
    let state = match (by_contract, month.provisional) {
        (true, _) => "by_contract",
        (false, true) => "provisional",
        (false, false) => "final",
    };
    // The norm has decimals here, and its judge takes no other.
    let quantity = format!("{}.0", charge.quantity);
    let none = String::new;
    let name = || "Palveron Meter".to_owned();
    [
        none(),
        cost.clone(),
        project.to_string(),
        project.to_string(),
        currency.to_string().to_ascii_uppercase(),
        end.clone(),
        start.clone(),
        "Usage".to_owned(),
        none(),
        charge.description.clone(),
        "Usage-Based".to_owned(),
        end,
        start,
        none(),
        none(),
        none(),
        none(),
        none(),
        quantity.clone(),
        charge.unit.to_owned(),
        cost.clone(),
        price.clone(),
        cost.clone(),
        name(),
        cost,
        price,
        "Standard".to_owned(),
        quantity,
        charge.unit.to_owned(),
        name(),
        name(),
        none(),
        none(),
        none(),
        none(),
        none(),
        "AI and Machine Learning".to_owned(),
        "Palveron Governance".to_owned(),
        charge.sku.clone(),
        format!("{}-{}-{}", charge.sku, month.plan, month.catalogue),
        project.to_string(),
        project.to_string(),
        format!("{{\"state\":\"{state}\"}}"),
    ]
}

fn head() -> String {
    let mut head = COLUMNS.join(",");
    head.push_str("\r\n");
    head
}

fn row(project: &ProjectId, month: (&Statement, bool), charge: &Charge) -> String {
    let cells = cells(project, month, charge);
    let mut row = String::new();
    for (place, cell) in cells.iter().enumerate() {
        let comma = if place == 0 { "" } else { "," };
        // Costs may be below zero and are numbers all the same; texts are ours but for ids, which begin with a letter.
        let is_text = cell.contains([',', '"']);
        let cell = if is_text { Cow::Owned(quoted(cell)) } else { Cow::Borrowed(cell.as_str()) };
        row.push_str(comma);
        row.push_str(&cell);
    }
    row.push_str("\r\n");
    row
}
