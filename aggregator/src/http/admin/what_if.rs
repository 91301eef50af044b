//! `GET /api/v1/admin/what-if`: what months that were used, and the present one, would cost under a draft of a contract,
//! before it is signed, and for how many units it is cheaper than what its projects have.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use schemars::JsonSchema;
use serde::Serialize;
use shared::ids::{ContractId, ProjectId, SourceId};
use shared::plan::{Catalogue, Plan};
use shared::problem::ErrorCode;
use shared::time::{Period, Timestamp};
use shared::units::Units;
use shared::whole::whole;

use crate::app::App;
use crate::contracts::agreement::{Agreement, PROJECTS_MAX, Phase};
use crate::contracts::break_even::{Offer, Range, ranges};
use crate::contracts::month::{DayUnits, Facts, Figures, ProjectUnits, figures};
use crate::contracts::party::Party;
use crate::http::access::Operator;
use crate::http::failure::Failure;
use crate::http::field::Field;
use crate::http::query::Query;
use crate::http::route::{Route, Who};
use crate::ledger::contract::{BaseFee, Contract, FeePer};
use crate::ledger::forecast::at_month_end;
use crate::ledger::money::{Currency, Money};
use crate::ledger::rate::{Rate, Tier};
use crate::ledger::refusal::Refusal;
use crate::ledger::terms::{Interval, subscription_price};
use crate::projects::book::Book;

/// The most months of one answer.
const MONTHS_MAX: usize = 36;

const PROJECTS: &str = "1 to 100 project ids with commas between them";
const MONTH: &str = "a month such as 2026-05";
const UNITS: &str = "0 to 9007199254740991";
const BASE_FEE: &str = "minor units a month, 0 to 9007199254740991; without it there is none";
const TIERS: &str =
    "tiers such as 500000:100,80: up to so many units of overage at so many minor units per 1,000";

const QUERY: &[Field] = &[
    Field::required::<String>("projects", PROJECTS).such_as("\"own\""),
    Field::required::<Period>("from", MONTH).such_as("\"2026-09\""),
    Field::required::<Period>("to", "a month not before the first, at most 36 in all").such_as("\"2026-10\""),
    Field::required::<String>("volume", UNITS).such_as("\"1000000\""),
    Field::required::<String>("tiers", TIERS).such_as("\"500000:100,80\""),
    Field::required::<String>("minimum", UNITS).such_as("\"600000\""),
    Field::optional::<String>("base_fee", BASE_FEE).such_as("\"490000\""),
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

/// What months would have cost, and what the present one will.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct WhatIf {
    months: Vec<MonthView>,
    /// All months as they were used.
    total: Money,
    /// All months as if a reporter had been silent in each.
    total_if_silent: Money,
    /// All months on what the projects have at present; `null` where one of them cannot be said.
    total_at_present: Option<Money>,
    /// The present month, if its days go on as the last seven.
    forecast: MonthView,
    /// From how many units a month the volume is used up.
    volume_used_up_at: Units,
    /// How the draft compares with what the projects have; `null` where several plans have nothing in common.
    break_even: Option<BreakEven>,
}

/// What a month would have cost.
#[derive(Debug, Serialize, JsonSchema)]
struct MonthView {
    period: Period,
    figures: Figures,
    /// What it would have cost with a silent reporter: at least the minimum.
    if_silent: Money,
    /// What it would have cost on what the projects have at present: subscriptions and overage, top-ups left aside. `null`
    /// where that would not have served all of it, or its price is not known here.
    at_present: Option<Money>,
}

/// How the draft compares with what the projects have.
#[derive(Debug, Serialize, JsonSchema)]
struct BreakEven {
    /// For which units a month the draft is cheaper, the same or dearer, or serves alone, in rising order.
    ranges: Vec<Range>,
    present: Offer,
}

/// What the projects have at present.
enum Present {
    /// One contract over just these.
    Contract(Offer),
    /// Each a plan, as far as it has a price.
    Plans(BTreeMap<ProjectId, Option<Offer>>),
}

impl Present {
    async fn of(
        app: &App,
        books: &BTreeMap<ProjectId, Book>,
        draft: &Agreement,
        now: Timestamp,
    ) -> Result<Self, Failure> {
        let running = app.store.contracts().await?.into_iter();
        let same =
            |of: &Agreement| of.projects == draft.projects && of.terms.currency == draft.terms.currency;
        let mut running = running.filter(|of| of.phase(now) == Phase::Running && same(of));
        if let Some(offer) = running.next().and_then(|of| Offer::of(&of.terms)) {
            return Ok(Self::Contract(offer));
        }
        let catalogue = app.store.newest_catalogue().await?;
        let offer = |(id, book): (&ProjectId, &Book)| Ok((id.clone(), plan_offer(book, &catalogue, now)?));
        let plans: Result<_, Refusal> = books.iter().map(offer).collect();
        plans.map(Self::Plans).map_err(|refusal| Failure::internal(&refusal))
    }

    /// What that usage costs.
    fn price_minor(&self, usage: &[ProjectUnits]) -> Option<i128> {
        match self {
            Self::Contract(offer) => offer.price_minor(usage.iter().fold(Units::ZERO, add)),
            Self::Plans(plans) => usage.iter().try_fold(0_i128, |sum, of| {
                let offer = plans.get(&of.project)?.as_ref()?;
                sum.checked_add(offer.price_minor(add(Units::ZERO, of))?)
            }),
        }
    }

    /// The one offer that all units are under.
    fn only(self) -> Option<Offer> {
        match self {
            Self::Contract(offer) => Some(offer),
            Self::Plans(plans) if plans.len() == 1 => plans.into_values().next().flatten(),
            Self::Plans(_) => None,
        }
    }
}

/// A sum and all units of a project.
fn add(sum: Units, of: &ProjectUnits) -> Units {
    of.days.iter().fold(sum, |sum, day| sum.saturating_add(day.units))
}

/// What a project's plan costs; nothing where it is by contract, or its price is in another currency than its books.
fn plan_offer(book: &Book, catalogue: &Catalogue, now: Timestamp) -> Result<Option<Offer>, Refusal> {
    let terms = book.ledger.timeline().terms_at(now);
    let price = subscription_price(catalogue, terms.plan, Interval::Month)?;
    let price = price.filter(|price| price.currency() == terms.currency && terms.plan != Plan::Enterprise);
    Ok(price.map(|price| Offer {
        base_fee: price.as_cap(),
        included: terms.included,
        tiers: terms.offered_rate().cloned(),
    }))
}

async fn show(_: Operator, State(app): State<App>, uri: Uri) -> Result<Json<WhatIf>, Failure> {
    let query = Query::of(&uri, QUERY)?;
    let (projects, months) = (projects(&query)?, months(&query)?);
    let mut books = BTreeMap::new();
    for project in &projects {
        let book = app.store.book(project).await?.ok_or_else(Failure::project_unknown)?;
        books.insert(project.clone(), book);
    }
    let now = app.clock.now();
    let eur = || Currency::parse("eur").map_err(|error| Failure::internal(&error));
    let currency = books.values().next_back().map(|book| book.ledger.currency()).map_or_else(eur, Ok)?;
    // The term has every month that is looked at.
    let first = months.iter().copied().chain([now.period()]).min().unwrap_or(now.period());
    let draft = draft(&query, projects, (first, currency), now)?;
    let present = Present::of(&app, &books, &draft, now).await?;
    let view = |period, usage| MonthView::of(&draft, &present, period, usage);
    let mut views = Vec::new();
    for period in months {
        views.push(view(period, app.store.used_days(&draft.projects, period).await?)?);
    }
    let forecast = view(now.period(), forecast(&app, &books, now).await?)?;
    let offer = Offer::of(&draft.terms).zip(present.only());
    let break_even = offer.map(|(draft, present)| BreakEven { ranges: ranges(&draft, &present), present });
    let sum = |of: fn(&MonthView) -> Option<Money>| {
        let add = |sum: i128, of: Option<Money>| Some(sum.saturating_add(of?.minor()));
        Some(Money::new(views.iter().map(of).try_fold(0, add)?, currency))
    };
    let zero = Money::zero(currency);
    Ok(Json(WhatIf {
        total: sum(|month| Some(month.figures.total)).unwrap_or(zero),
        total_if_silent: sum(|month| Some(month.if_silent)).unwrap_or(zero),
        total_at_present: sum(|month| month.at_present),
        forecast,
        volume_used_up_at: draft.terms.volume,
        break_even,
        months: views,
    }))
}

impl MonthView {
    fn of(
        draft: &Agreement,
        present: &Present,
        period: Period,
        usage: Vec<ProjectUnits>,
    ) -> Result<Self, Failure> {
        let at_present = present.price_minor(&usage).map(|minor| Money::new(minor, draft.terms.currency));
        let facts = Facts { usage, ..Facts::default() };
        let as_used = figures(draft, period, &facts);
        let never = SourceId::parse("draft").map_err(|error| Failure::internal(&error))?;
        let if_silent = figures(draft, period, &Facts { silent: vec![never], ..facts }).total;
        Ok(Self { period, figures: as_used, if_silent, at_present })
    }
}

/// What each project will have used in the present month, as if all of it were of today.
async fn forecast(
    app: &App,
    books: &BTreeMap<ProjectId, Book>,
    now: Timestamp,
) -> Result<Vec<ProjectUnits>, Failure> {
    let mut usage = Vec::new();
    for (project, book) in books {
        let daily = app.store.daily_units(project, now.day()).await?;
        let units = at_month_end(&daily, now.day(), book.project.created.day());
        usage.push(ProjectUnits { project: project.clone(), days: vec![DayUnits { day: now.day(), units }] });
    }
    Ok(usage)
}

/// The months that are asked for.
fn months(query: &Query) -> Result<Vec<Period>, Failure> {
    let (from, to) =
        (query.required("from", MONTH, Period::parse)?, query.required("to", MONTH, Period::parse)?);
    let months: Vec<Period> = std::iter::successors(Some(from), |period| Some(period.next()))
        .take_while(|period| *period <= to)
        .take(MONTHS_MAX.saturating_add(1))
        .collect();
    if months.is_empty() || months.len() > MONTHS_MAX {
        return Err(Failure::field("to", &to.to_string(), "a month not before the first, at most 36 in all"));
    }
    Ok(months)
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
    (first, currency): (Period, Currency),
    now: Timestamp,
) -> Result<Agreement, Failure> {
    let number = |text: &str| whole::<u64>(text).filter(|number| *number <= Units::MAX.get());
    let units = |text: &str| whole::<u64>(text).filter(|units| *units <= Units::MAX.get()).map(Units::new);
    let fee = query.optional("base_fee", BASE_FEE, number)?;
    Ok(Agreement {
        id: ContractId::parse("draft").map_err(|error| Failure::internal(&error))?,
        customer: String::new(),
        terms: Contract {
            volume: query.required("volume", UNITS, units)?,
            rate: query.required("tiers", TIERS, rate)?,
            minimum: query.required("minimum", UNITS, units)?,
            first_day: first.first_day(),
            last_day: None,
            currency,
            sla: String::new(),
            base_fee: fee.map(|minor| BaseFee { minor, per: FeePer::Month }),
        },
        projects,
        bills_development: false,
        buyer: Party::default(),
        notice_days: 0,
        created: now,
    })
}

fn rate(text: &str) -> Option<Rate> {
    let tier = |text: &str| match text.split_once(':') {
        Some((bound, rate)) => Some(Tier { up_to: Some(Units::new(whole(bound)?)), per_1000: whole(rate)? }),
        None => Some(Tier { up_to: None, per_1000: whole(text)? }),
    };
    Rate::tiered(text.split(',').map(tier).collect::<Option<_>>()?).ok()
}
