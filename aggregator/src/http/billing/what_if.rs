//! `GET /api/v1/billing/what-if`: what a month would have come to on each plan, with overage and without.
//!
//! Units are those that were counted, or as many as one asks for. Nothing is changed or promised here: a plan is bought
//! by `POST /api/v1/stripe/checkout`, overage is set by `PUT /api/v1/billing/plan`.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use schemars::JsonSchema;
use serde::Serialize;
use shared::denials::DenialReason;
use shared::ids::{Mode, ProjectId};
use shared::plan::{Catalogue, Plan};
use shared::time::{Period, Timestamp};
use shared::units::Units;
use shared::whole::whole;

use super::{CAP_MINOR_MAX, MONTH, refused};
use crate::access::Permission;
use crate::app::App;
use crate::http::access::Caller;
use crate::http::failure::Failure;
use crate::http::field::{Field, Number, PROJECT};
use crate::http::query::Query;
use crate::http::route::{Route, Who};
use crate::ledger::bill::Bill;
use crate::ledger::entry::{OverageSetting, Usage};
use crate::ledger::forecast::at_month_end;
use crate::ledger::money::{Currency, Money};
use crate::ledger::refusal::Refusal;
use crate::ledger::terms::{Interval, PlanTerms, subscription_price};
use crate::ledger::what_if::{Draft, what_if};
use crate::metering::usage::Span;
use crate::projects::book::Book;
use crate::store::Exported;

const UNITS_WORDS: &str = "a number of units up to 2^53 - 1; those that were counted where it is absent";
const CAP_WORDS: &str =
    "minor units up to 2^53 - 1, the cap of overage where it is on; no cap where it is absent";

const QUERY: &[Field] = &[
    PROJECT,
    Field::optional::<Period>("period", "a month such as 2026-05; the present one where it is absent"),
    Field::optional::<Number<0, { Units::MAX.get() }>>("units", UNITS_WORDS),
    Field::optional::<Number<0, CAP_MINOR_MAX>>("overage_cap", CAP_WORDS),
];

/// The endpoint of this module.
pub(super) fn route() -> Route {
    let read = Who::InProject(Permission::Read);
    Route::get("/api/v1/billing/what-if", read, "Compare plans over a month", show)
        .query(QUERY)
        .answers::<WhatIf>(
            200,
            "What the month's units would have cost on each plan, with overage and without",
        )
}

/// A month on other terms. Amounts are in minor units of the currency.
#[derive(Debug, Serialize, JsonSchema)]
struct WhatIf {
    project: ProjectId,
    period: Period,
    /// Whether the month is not over: its units may still grow.
    provisional: bool,
    currency: Currency,
    /// The units that the options are about.
    units: Units,
    /// Those that were counted.
    counted: Units,
    /// Those that the month will have at its end, if its days go on as the last seven; those counted where it is over.
    forecast: Units,
    /// Requests that were refused because nothing was left: units that a larger plan might have served. They are in
    /// none of the figures, since a client may have sent the same again.
    refused_for_quota: u64,
    options: Vec<Choice>,
}

/// A plan, with overage on or off.
#[derive(Debug, Serialize, JsonSchema)]
struct Choice {
    plan: Plan,
    /// Whether units beyond quota and lots are served and invoiced.
    overage: bool,
    /// Whether it is what the project has.
    present: bool,
    /// Units of the plan's quota.
    quota: Units,
    from_quota: Units,
    from_lots: Units,
    from_overage: Units,
    /// Units that would have been refused.
    refused: Units,
    /// What the subscription costs a month; `null` is by contract.
    subscription: Option<Money>,
    /// The same where it is paid by the year; `null` is by contract.
    subscription_year: Option<Money>,
    /// Beside the subscription: overage, and anchors where they cost.
    bill: Bill,
    /// Subscription by the month and bill together; `null` is by contract.
    total: Option<Money>,
}

async fn show(caller: Caller, State(app): State<App>, uri: Uri) -> Result<Json<WhatIf>, Failure> {
    let query = Query::of(&uri, QUERY)?;
    let project = caller.named_project(&app, &query, Permission::Read).await?;
    let now = app.clock.now();
    let book = app.store.book(&project.id).await?.ok_or_else(Failure::project_unknown)?;
    let period = query.optional("period", MONTH, Period::parse)?.unwrap_or_else(|| now.period());
    let cap = query.optional("overage_cap", CAP_WORDS, number)?;
    let cap = cap.map(|minor| Money::new(i128::from(minor), book.ledger.currency()));
    let counted = book.seen(now).usage(period);
    let units = query.optional("units", UNITS_WORDS, number)?.map_or(counted.units, Units::new);
    let span = Span::of(period);
    let denials =
        app.store.denials(&Exported { project: project.id.clone(), mode: Mode::Live, span }).await?;
    let forecast = if period == now.period() {
        let daily = app.store.daily_units(&project.id, now.day()).await?;
        at_month_end(&daily, now.day(), book.project.created.day()).max(counted.units)
    } else {
        counted.units
    };
    let catalogue = app.store.newest_catalogue().await?;
    let options = options(&book, &catalogue, Asked { period, usage: Usage { units, ..counted }, cap }, now);
    Ok(Json(WhatIf {
        project: project.id,
        period,
        provisional: book.ledger.closed(period).is_none(),
        currency: book.ledger.currency(),
        units,
        counted: counted.units,
        forecast,
        refused_for_quota: denials.get(DenialReason::QuotaExhausted),
        options: options.map_err(|refusal| refused(&refusal))?,
    }))
}

/// What is asked for: a month of that usage, with that cap of overage where it is on.
#[derive(Debug, Clone, Copy)]
struct Asked {
    period: Period,
    usage: Usage,
    cap: Option<Money>,
}

/// Every plan that has a price, and what the project has now, whatever that is.
fn options(book: &Book, catalogue: &Catalogue, asked: Asked, now: Timestamp) -> Result<Vec<Choice>, Refusal> {
    let (seen, timeline, currency) = (book.seen(now), book.ledger.timeline(), book.ledger.currency());
    let Asked { period, usage, cap } = asked;
    // The month's own largest terms, which may be of an older catalogue or agreed with the project alone.
    let mine = timeline.quota(period, now).terms;
    let at = now.min(period.end()).max(period.start());
    let is_on = timeline.setting_at(at) != OverageSetting::Off;
    let mut options = Vec::new();
    for plan in Plan::ALL {
        let priced = subscription_price(catalogue, plan, Interval::Month)?;
        let terms = if plan == mine.plan { mine.clone() } else { PlanTerms::of(catalogue, plan)? };
        // What is by contract has no price here, unless it is the project's own; nor has another currency a sum with ours.
        if (priced.is_none() && plan != mine.plan) || terms.currency != currency {
            continue;
        }
        let offers = terms.offered_rate().is_some();
        for overage in [false, true].into_iter().filter(|overage| !overage || offers) {
            let draft = Draft {
                terms: &terms,
                overage: if overage { OverageSetting::On { cap } } else { OverageSetting::Off },
            };
            let came = what_if(&book.ledger, seen, period, usage, draft)?;
            let beside = came.bill.total(currency)?;
            options.push(Choice {
                plan,
                overage,
                present: plan == mine.plan && overage == (is_on && offers),
                quota: terms.included,
                from_quota: came.allocation.included,
                from_lots: came.allocation.of_lots(),
                from_overage: came.allocation.overage,
                refused: came.allocation.uncovered,
                subscription: priced,
                subscription_year: subscription_price(catalogue, plan, Interval::Year)?,
                total: priced.map(|price| price.checked_add(beside).ok_or(Refusal::TooLarge)).transpose()?,
                bill: came.bill,
            });
        }
    }
    Ok(options)
}

/// A whole number that JavaScript counts exactly.
fn number(text: &str) -> Option<u64> {
    whole(text).filter(|number| *number <= Units::MAX.get())
}
