//! `/api/v1/admin/contracts`: what enterprise customers have agreed to, as operators see it.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use shared::ids::{ContractId, ProjectId};
use shared::problem::ErrorCode;
use shared::time::{Day, Timestamp};
use shared::units::Units;

use crate::app::App;
use crate::contracts::agreement::{Agreement, PROJECTS_MAX, Phase};
use crate::contracts::party::Party;
use crate::http::access::{NamedInPath, Operator};
use crate::http::body::Fields;
use crate::http::call::Call;
use crate::http::failure::Failure;
use crate::http::field::{Field, List, Number, Text};
use crate::http::route::{Route, Who};
use crate::ledger::contract::{BaseFee, Contract};
use crate::ledger::money::Currency;
use crate::ledger::rate::{Rate, Tier};
use crate::store::ContractKept;
use crate::text::is_words;

/// The longest name of a customer.
const CUSTOMER_CHARS_MAX: usize = 200;

/// The longest text about the service level: some paragraphs.
const SLA_CHARS_MAX: usize = 4_000;

/// No notice is longer than a year.
const NOTICE_DAYS_MAX: u64 = 366;

const ID: Field = Field::required::<ContractId>("id", "1 to 48 of a-z, 0-9 and inner hyphens");
const CUSTOMER: Field = Field::required::<Text<1, CUSTOMER_CHARS_MAX>>(
    "customer",
    "1 to 200 characters that are not only spaces",
)
.such_as("\"Acme GmbH\"");
const PROJECTS: Field = Field::optional::<List<ProjectId, 0, PROJECTS_MAX>>(
    "projects",
    "at most 100 project ids, each of which exists",
);
const VOLUME: Field =
    Field::required::<Units>("volume", "units a month, 0 to 9007199254740991").such_as("1000000");
const TIERS: Field = Field::required::<List<Tier, 1, { Rate::TIERS_MAX }>>(
    "tiers",
    "1 to 32 tiers of rising `up_to`, the last without, each with minor units `per_1000` units of overage",
)
.such_as(r#"[{"up_to":500000,"per_1000":100},{"up_to":null,"per_1000":80}]"#);
const MINIMUM: Field =
    Field::required::<Units>("minimum", "units a month, 0 to 9007199254740991").such_as("600000");
const BASE_FEE: Field = Field::optional::<BaseFee>(
    "base_fee",
    "minor units up to 2^53 - 1, per month or term, such as {\"minor\":490000,\"per\":\"month\"}",
)
.such_as(r#"{"minor":490000,"per":"month"}"#);
const FIRST_DAY: Field =
    Field::required::<Day>("first_day", "a day such as 2026-12-01").such_as("\"2026-12-01\"");
const LAST_DAY: Field =
    Field::optional::<Day>("last_day", "a day not before the first; without it the contract runs on");
const CURRENCY: Field =
    Field::optional::<Currency>("currency", "three lowercase letters; eur where it is absent")
        .such_as("\"eur\"");
const SLA: Field =
    Field::required::<Text<1, SLA_CHARS_MAX>>("sla", "1 to 4000 characters that are not only spaces")
        .such_as("\"99.9 percent a month\"");
const DEVELOPMENT: Field = Field::optional::<bool>(
    "bills_development",
    "whether units of development reporters are billed; false where it is absent",
)
.such_as("false");
const NOTICE: Field = Field::optional::<Number<0, NOTICE_DAYS_MAX>>(
    "notice_days",
    "0 to 366 days before the end; 90 where it is absent",
)
.such_as("30");

const BUYER: Field = Field::optional::<Party>(
    "buyer",
    "where invoices go: street, city, postcode, country, vat_id, email, reference, each of which may be left out",
)
.such_as(r#"{"street":"Weg 1","city":"Berlin","postcode":"10115","country":"DE","vat_id":"DE123456789"}"#);

const NEW: &[Field] = &[
    ID,
    CUSTOMER,
    PROJECTS,
    VOLUME,
    TIERS,
    MINIMUM,
    BASE_FEE,
    FIRST_DAY,
    LAST_DAY,
    CURRENCY,
    SLA,
    DEVELOPMENT,
    BUYER,
    NOTICE,
];

const END: &[Field] =
    &[Field::required::<Day>("last_day", "a day from today on, and not after the contract's last")
        .such_as("\"2027-06-30\"")];

/// How many days before its end a contract may be declined where nothing was said.
const NOTICE_DAYS: u64 = 90;

/// The endpoints of this module.
pub(super) fn routes() -> Vec<Route> {
    let who = Who::Operator;
    vec![
        Route::get("/api/v1/admin/contracts", who, "List contracts", list)
            .answers::<ContractList>(200, "All contracts, the latest first"),
        Route::post("/api/v1/admin/contracts", who, "Make a contract", create)
            .body(NEW)
            .answers::<ContractView>(201, "The contract; its projects are under it from the first day on")
            .refuses(&[ErrorCode::ContractExists, ErrorCode::ContractRefused, ErrorCode::ProjectUnknown]),
        Route::get("/api/v1/admin/contracts/{name}", who, "Show a contract", show)
            .answers::<ContractView>(200, "The contract")
            .refuses(&[ErrorCode::NotFound]),
        Route::post("/api/v1/admin/contracts/{name}/end", who, "End a contract", end)
            .body(END)
            .answers::<ContractView>(200, "The contract with its last day")
            .refuses(&[ErrorCode::NotFound, ErrorCode::ContractRefused]),
    ]
}

/// A contract as operators see it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ContractView {
    id: ContractId,
    customer: String,
    projects: BTreeSet<ProjectId>,
    phase: Phase,
    volume: Units,
    tiers: Rate,
    minimum: Units,
    /// What is paid beside overage, whatever is used.
    base_fee: Option<BaseFee>,
    first_day: Day,
    last_day: Option<Day>,
    /// The last day on which either side may say that it is not to be renewed.
    notice_day: Option<Day>,
    currency: Currency,
    sla: String,
    bills_development: bool,
    buyer: Party,
    created_at: String,
}

impl ContractView {
    pub(super) fn new(agreement: Agreement, now: Timestamp) -> Self {
        let (phase, notice_day) = (agreement.phase(now), agreement.notice_day());
        let Agreement { id, customer, terms, projects, bills_development, buyer, created, .. } = agreement;
        let Contract { volume, rate, minimum, first_day, last_day, currency, sla, base_fee } = terms;
        Self {
            id,
            customer,
            projects,
            phase,
            volume,
            tiers: rate,
            minimum,
            base_fee,
            first_day,
            last_day,
            notice_day,
            currency,
            sla,
            bills_development,
            buyer,
            created_at: created.to_string(),
        }
    }
}

/// All contracts.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ContractList {
    contracts: Vec<ContractView>,
}

async fn list(_: Operator, State(app): State<App>) -> Result<Json<ContractList>, Failure> {
    let now = app.clock.now();
    let contracts = app.store.contracts().await?;
    let contracts = contracts.into_iter().map(|agreement| ContractView::new(agreement, now)).collect();
    Ok(Json(ContractList { contracts }))
}

async fn show(
    _: Operator,
    NamedInPath(name): NamedInPath,
    State(app): State<App>,
) -> Result<Json<ContractView>, Failure> {
    let agreement = app.store.contract(&named(&name)?).await?.ok_or_else(unknown)?;
    Ok(Json(ContractView::new(agreement, app.clock.now())))
}

/// The contract that a path names.
pub(super) fn named(name: &str) -> Result<ContractId, Failure> {
    ContractId::parse(name).map_err(|_| unknown())
}

pub(super) fn unknown() -> Failure {
    let detail = "There is no such contract. GET /api/v1/admin/contracts lists the ids of those there are.";
    Failure::new(ErrorCode::NotFound, detail)
}

async fn create(Operator(token): Operator, State(app): State<App>, call: Call) -> Result<Response, Failure> {
    let mut fields = call.fields()?.of(NEW)?;
    let now = app.clock.now();
    let agreement = Agreement {
        id: fields.read(&ID)?,
        customer: words(&mut fields, &CUSTOMER, CUSTOMER_CHARS_MAX)?,
        projects: projects(&mut fields)?,
        terms: terms(&mut fields)?,
        bills_development: fields.optional(DEVELOPMENT.name, DEVELOPMENT.accepts)?.unwrap_or(false),
        buyer: buyer(&mut fields)?,
        notice_days: notice(&mut fields)?,
        created: now,
    };
    let mut change = call.begin(&app).await?;
    let agreement = kept(change.create_contract(agreement, now).await?)?;
    tracing::info!(contract.id = %agreement.id, token.id = token.id, "contract made");
    change.answer(StatusCode::CREATED, &ContractView::new(agreement, now)).await
}

async fn end(
    Operator(token): Operator,
    NamedInPath(name): NamedInPath,
    State(app): State<App>,
    call: Call,
) -> Result<Response, Failure> {
    let last_day: Day = call.fields()?.of(END)?.required("last_day", LAST_DAY.accepts)?;
    let (id, now) = (named(&name)?, app.clock.now());
    let mut change = call.begin(&app).await?;
    let agreement = kept(change.end_contract(&id, last_day, now).await?)?;
    tracing::info!(contract.id = %id, token.id = token.id, last_day = %last_day, "contract given an end");
    change.answer(StatusCode::OK, &ContractView::new(agreement, now)).await
}

fn kept(kept: ContractKept) -> Result<Agreement, Failure> {
    match kept {
        ContractKept::Contract(agreement) => Ok(*agreement),
        ContractKept::Unknown => Err(unknown()),
        ContractKept::Exists => Err(Failure::new(
            ErrorCode::ContractExists,
            "There is already a contract of that id. Choose another.",
        )),
        ContractKept::ProjectUnknown => Err(Failure::project_unknown()),
        ContractKept::Refused(why) => Err(Failure::new(ErrorCode::ContractRefused, format!("{why}."))),
    }
}

/// The terms that a body states.
pub(super) fn terms(fields: &mut Fields) -> Result<Contract, Failure> {
    let tiers: Vec<Tier> = fields.read(&TIERS)?;
    let rate = Rate::tiered(tiers).map_err(|why| Failure::field(TIERS.name, &why, TIERS.accepts))?;
    let (first_day, last_day) =
        (fields.read(&FIRST_DAY)?, fields.optional::<Day>(LAST_DAY.name, LAST_DAY.accepts)?);
    if let Some(last) = last_day.filter(|last| *last < first_day) {
        return Err(Failure::field(LAST_DAY.name, &last.to_string(), LAST_DAY.accepts));
    }
    let currency: Option<Currency> = fields.optional(CURRENCY.name, CURRENCY.accepts)?;
    let eur = || Currency::parse("eur").map_err(|error| Failure::internal(&error));
    Ok(Contract {
        volume: fields.read(&VOLUME)?,
        rate,
        minimum: fields.read(&MINIMUM)?,
        first_day,
        last_day,
        currency: currency.map_or_else(eur, Ok)?,
        sla: words(fields, &SLA, SLA_CHARS_MAX)?,
        base_fee: base_fee(fields)?,
    })
}

fn base_fee(fields: &mut Fields) -> Result<Option<BaseFee>, Failure> {
    let fee: Option<BaseFee> = fields.optional(BASE_FEE.name, BASE_FEE.accepts)?;
    if let Some(fee) = fee.filter(|fee| fee.minor > Units::MAX.get()) {
        return Err(Failure::field(BASE_FEE.name, &fee.minor.to_string(), BASE_FEE.accepts));
    }
    Ok(fee)
}

fn projects(fields: &mut Fields) -> Result<BTreeSet<ProjectId>, Failure> {
    let projects: BTreeSet<ProjectId> = fields.optional(PROJECTS.name, PROJECTS.accepts)?.unwrap_or_default();
    if projects.len() > PROJECTS_MAX {
        return Err(Failure::field(PROJECTS.name, &projects.len().to_string(), PROJECTS.accepts));
    }
    Ok(projects)
}

fn buyer(fields: &mut Fields) -> Result<Party, Failure> {
    let buyer: Party = fields.optional(BUYER.name, BUYER.accepts)?.unwrap_or_default();
    let refused = |(field, accepts): (&str, &str)| Failure::field("buyer", field, accepts);
    buyer.check().map_err(refused).map(|()| buyer)
}

fn notice(fields: &mut Fields) -> Result<u32, Failure> {
    let days: u64 = fields.optional(NOTICE.name, NOTICE.accepts)?.unwrap_or(NOTICE_DAYS);
    let accepted = u32::try_from(days).ok().filter(|_| days <= NOTICE_DAYS_MAX);
    accepted.ok_or_else(|| Failure::field(NOTICE.name, &days.to_string(), NOTICE.accepts))
}

/// A text that says something.
fn words(fields: &mut Fields, field: &Field, chars_max: usize) -> Result<String, Failure> {
    let text: String = fields.read(field)?;
    if is_words(&text, chars_max) { Ok(text) } else { Err(Failure::field(field.name, &text, field.accepts)) }
}
