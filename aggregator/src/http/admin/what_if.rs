//! `GET /api/v1/admin/what-if`: what months that were used would cost under a draft of a contract, before it is signed.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use schemars::JsonSchema;
use serde::Serialize;
use shared::ids::{ContractId, ProjectId, SourceId};
use shared::problem::ErrorCode;
use shared::time::Period;
use shared::units::Units;
use shared::whole::whole;

use crate::app::App;
use crate::contracts::agreement::{Agreement, PROJECTS_MAX};
use crate::contracts::month::{Facts, Figures, figures};
use crate::contracts::party::Party;
use crate::http::access::Operator;
use crate::http::failure::Failure;
use crate::http::field::Field;
use crate::http::query::Query;
use crate::http::route::{Route, Who};
use crate::ledger::contract::Contract;
use crate::ledger::money::{Currency, Money};
use crate::ledger::rate::{Rate, Tier};

/// The most months of one answer.
const MONTHS_MAX: usize = 36;

const PROJECTS: &str = "1 to 100 project ids with commas between them";
const MONTH: &str = "a month such as 2026-05";
const UNITS: &str = "0 to 9007199254740991";
const TIERS: &str =
    "tiers such as 500000:100,80: up to so many units of overage at so many minor units per 1,000";

const QUERY: &[Field] = &[
    Field::required::<String>("projects", PROJECTS).such_as("\"own\""),
    Field::required::<Period>("from", MONTH).such_as("\"2026-09\""),
    Field::required::<Period>("to", "a month not before the first, at most 36 in all").such_as("\"2026-10\""),
    Field::required::<String>("volume", UNITS).such_as("\"1000000\""),
    Field::required::<String>("tiers", TIERS).such_as("\"500000:100,80\""),
    Field::required::<String>("minimum", UNITS).such_as("\"600000\""),
];

/// The endpoints of this module.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/api/v1/admin/what-if", Who::Operator, "Try a draft of a contract", show)
            .query(QUERY)
            .answers::<WhatIf>(200, "What each month would have cost")
            .refuses(&[ErrorCode::ProjectUnknown]),
    ]
}

/// What months would have cost.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct WhatIf {
    months: Vec<MonthView>,
    /// All months as they were used.
    total: Money,
    /// All months as if a reporter had been silent in each.
    total_if_silent: Money,
}

/// What a month would have cost.
#[derive(Debug, Serialize, JsonSchema)]
struct MonthView {
    period: Period,
    figures: Figures,
    /// What it would have cost with a silent reporter: at least the minimum.
    if_silent: Money,
}

async fn show(_: Operator, State(app): State<App>, uri: Uri) -> Result<Json<WhatIf>, Failure> {
    let query = Query::of(&uri, QUERY)?;
    let projects = projects(&query)?;
    let (from, to) =
        (query.required("from", MONTH, Period::parse)?, query.required("to", MONTH, Period::parse)?);
    let months: Vec<Period> = std::iter::successors(Some(from), |period| Some(period.next()))
        .take_while(|period| *period <= to)
        .take(MONTHS_MAX.saturating_add(1))
        .collect();
    if months.is_empty() || months.len() > MONTHS_MAX {
        return Err(Failure::field("to", &to.to_string(), "a month not before the first, at most 36 in all"));
    }
    let eur = || Currency::parse("eur").map_err(|error| Failure::internal(&error));
    let mut currency = None;
    for project in &projects {
        let book = app.store.book(project).await?.ok_or_else(Failure::project_unknown)?;
        currency = Some(book.ledger.currency());
    }
    let draft = draft(&query, projects, (from, currency.map_or_else(eur, Ok)?), &app)?;
    let (mut total, mut silent) = (0_i128, 0_i128);
    let mut views = Vec::new();
    for period in months {
        let usage = app.store.used_days(&draft.projects, period).await?;
        let facts = Facts { usage, ..Facts::default() };
        let as_used = figures(&draft, period, &facts);
        let never = SourceId::parse("draft").map_err(|error| Failure::internal(&error))?;
        let if_silent = figures(&draft, period, &Facts { silent: vec![never], ..facts }).total;
        total = total.saturating_add(as_used.total.minor());
        silent = silent.saturating_add(if_silent.minor());
        views.push(MonthView { period, figures: as_used, if_silent });
    }
    let currency = draft.terms.currency;
    let (total, total_if_silent) = (Money::new(total, currency), Money::new(silent, currency));
    Ok(Json(WhatIf { months: views, total, total_if_silent }))
}

fn projects(query: &Query) -> Result<BTreeSet<ProjectId>, Failure> {
    let parse = |text: &str| {
        let ids: Option<BTreeSet<ProjectId>> = text.split(',').map(|id| ProjectId::parse(id).ok()).collect();
        ids.filter(|ids| ids.len() <= PROJECTS_MAX)
    };
    query.required("projects", PROJECTS, parse)
}

fn draft(
    query: &Query,
    projects: BTreeSet<ProjectId>,
    (from, currency): (Period, Currency),
    app: &App,
) -> Result<Agreement, Failure> {
    let units = |text: &str| whole::<u64>(text).filter(|units| *units <= Units::MAX.get()).map(Units::new);
    Ok(Agreement {
        id: ContractId::parse("draft").map_err(|error| Failure::internal(&error))?,
        customer: String::new(),
        terms: Contract {
            volume: query.required("volume", UNITS, units)?,
            rate: query.required("tiers", TIERS, rate)?,
            minimum: query.required("minimum", UNITS, units)?,
            first_day: from.first_day(),
            last_day: None,
            currency,
            sla: String::new(),
        },
        projects,
        bills_development: false,
        buyer: Party::default(),
        notice_days: 0,
        created: app.clock.now(),
    })
}

fn rate(text: &str) -> Option<Rate> {
    let tier = |text: &str| match text.split_once(':') {
        Some((bound, rate)) => Some(Tier { up_to: Some(Units::new(whole(bound)?)), per_1000: whole(rate)? }),
        None => Some(Tier { up_to: None, per_1000: whole(text)? }),
    };
    Rate::tiered(text.split(',').map(tier).collect::<Option<_>>()?).ok()
}
