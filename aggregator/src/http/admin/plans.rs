//! `POST /api/v1/admin/plans/what-if`: what a draft of the plan catalogue changes, and what months that are closed would
//! have cost under it. A question: nothing is changed by it.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use shared::ids::ProjectId;
use shared::openapi::AnyObject;
use shared::plan::{Catalogue, Plan};
use shared::time::Period;
use shared::units::Units;

use super::catalogues;
use crate::app::App;
use crate::http::access::Operator;
use crate::http::body::Fields;
use crate::http::failure::Failure;
use crate::http::field::{Field, Number};
use crate::http::route::{Route, Who};
use crate::ledger::catalogue::{Difference, differences};
use crate::ledger::money::{Currency, Money};
use crate::ledger::refusal::Refusal;
use crate::ledger::rerate::{Rerated, Side, rerate};
use crate::ledger::terms::{Interval, subscription_price};
use crate::projects::book::Book;

/// The most months of one answer.
const MONTHS_MAX: u64 = 25;

/// How many months are looked at where nothing is said.
const MONTHS: u64 = 3;

/// The most projects that are named one by one.
const TOP_MAX: u64 = 500;

/// How many projects are named where nothing is said.
const TOP: u64 = 20;

/// Projects that are read at once.
const PAGE: u32 = 500;

const CATALOGUE: &str = "a draft of the plan catalogue, as `meter plans apply` reads it from a file";
const MONTHS_WORDS: &str = "1 to 25, the last months that are over; 3 where it is absent";
const TOP_WORDS: &str =
    "0 to 500, how many projects are named, those that change most; 20 where it is absent";

const ASKED: &[Field] = &[
    Field::required::<AnyObject>("catalogue", CATALOGUE).such_as(Catalogue::DEFAULT_JSON),
    Field::optional::<Number<1, MONTHS_MAX>>("months", MONTHS_WORDS).such_as("3"),
    Field::optional::<Number<0, TOP_MAX>>("top", TOP_WORDS).such_as("20"),
];

/// The endpoint of this module.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post(
            "/api/v1/admin/plans/what-if",
            Who::Operator,
            "Try a draft of the plan catalogue",
            what_if,
        )
        .asking()
        .body(ASKED)
        .answers::<PlansWhatIf>(200, "What differs, and what closed months would have cost"),
    ]
}

/// What a draft changes.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct PlansWhatIf {
    /// The version that is the newest.
    from: u32,
    /// The draft's version.
    to: u32,
    /// Every field that differs.
    differences: Vec<DifferenceView>,
    /// Projects on each plan that would differ once they are migrated.
    migrates: Vec<MigratesView>,
    currency: Currency,
    /// The months that were looked at, the oldest first; of each project those that are closed.
    months: Vec<Period>,
    /// All projects together, those that are not named too.
    total: Totals,
    /// Those that change most, whichever way, the largest change first.
    projects: Vec<ProjectWhatIf>,
    /// Those that are not named, together.
    others: Totals,
    /// Months that are invoiced by a contract, which no catalogue changes.
    contracted: u64,
    /// Months that are not closed yet, or could not be rated: they are in no sum.
    left_out: u64,
}

/// One field that differs, each value as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct DifferenceView {
    field: String,
    from: Value,
    to: Value,
}

impl From<Difference> for DifferenceView {
    fn from(Difference { field, from, to }: Difference) -> Self {
        Self { field, from, to }
    }
}

/// How many projects on a plan would differ once they are migrated.
#[derive(Debug, Serialize, JsonSchema)]
struct MigratesView {
    plan: Plan,
    projects: u64,
}

/// Sums over projects and months.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
struct Totals {
    /// How many projects.
    projects: u64,
    #[serde(flatten)]
    cost: Cost,
}

/// What something cost, and what it would have.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
struct Cost {
    /// The subscription by the month at the price of its time, overage and anchors.
    before: Money,
    /// The same under the draft.
    after: Money,
    /// What it is more; negative where it is less.
    change: Money,
    /// Units that lots pay for under the draft beyond those that they did; negative where they are fewer.
    more_from_lots: i64,
    /// Units that were served, and would have been refused under the draft.
    refused: Units,
}

/// A project under the draft.
#[derive(Debug, Serialize, JsonSchema)]
struct ProjectWhatIf {
    project: ProjectId,
    #[serde(flatten)]
    cost: Cost,
    months: Vec<MonthWhatIf>,
}

/// A month of a project under the draft.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
struct MonthWhatIf {
    period: Period,
    /// The largest plan of the month.
    plan: Plan,
    #[serde(flatten)]
    cost: Cost,
}

impl Cost {
    fn nothing(currency: Currency) -> Self {
        let zero = Money::zero(currency);
        Self { before: zero, after: zero, change: zero, more_from_lots: 0, refused: Units::ZERO }
    }

    /// Both together; amounts of one currency that fit into books fit together.
    fn and(self, other: Self) -> Result<Self, Refusal> {
        let sum = |one: Money, other| one.checked_add(other).ok_or(Refusal::TooLarge);
        Ok(Self {
            before: sum(self.before, other.before)?,
            after: sum(self.after, other.after)?,
            change: sum(self.change, other.change)?,
            more_from_lots: self.more_from_lots.saturating_add(other.more_from_lots),
            refused: self.refused.saturating_add(other.refused),
        })
    }
}

impl Totals {
    fn of<'a>(costs: impl Iterator<Item = &'a Cost>, currency: Currency) -> Result<Self, Refusal> {
        let mut all = Self { projects: 0, cost: Cost::nothing(currency) };
        for cost in costs {
            all = Self { projects: all.projects.saturating_add(1), cost: all.cost.and(*cost)? };
        }
        Ok(all)
    }
}

async fn what_if(_: Operator, State(app): State<App>, fields: Fields) -> Result<Json<PlansWhatIf>, Failure> {
    let mut fields = fields.of(ASKED)?;
    let draft = catalogues::catalogue(&mut fields, CATALOGUE)?;
    let count =
        bounded(fields.optional("months", MONTHS_WORDS)?, (1, MONTHS_MAX, MONTHS), ("months", MONTHS_WORDS))?;
    let top = bounded(fields.optional("top", TOP_WORDS)?, (0, TOP_MAX, TOP), ("top", TOP_WORDS))?;
    let top = usize::try_from(top).map_err(|error| Failure::internal(&error))?;
    let newest = app.store.newest_catalogue().await?;
    if draft.currency != newest.currency {
        let accepts = format!("a catalogue in {}, as the present one", newest.currency);
        return Err(Failure::field("catalogue", &format!("a catalogue in {}", draft.currency), &accepts));
    }
    let versions = app.store.catalogues().await?.into_iter().map(|(one, _)| (one.version, one)).collect();
    let question = Question { months: months_before(app.clock.now().period(), count), draft, versions };
    let mut rated = Rated::default();
    let mut after = String::new();
    loop {
        let page = app.store.books(&after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.project.id.to_string();
        for book in &page {
            rated.take(book, &question, &app).map_err(|refusal| Failure::internal(&refusal))?;
        }
    }
    answer(&newest, question, rated, top).map(Json).map_err(|refusal| Failure::internal(&refusal))
}

/// What is asked of each project.
struct Question {
    months: Vec<Period>,
    draft: Catalogue,
    /// Every version that was applied.
    versions: BTreeMap<u32, Catalogue>,
}

/// What was found.
#[derive(Default)]
struct Rated {
    projects: Vec<ProjectWhatIf>,
    migrates: BTreeMap<Plan, u64>,
    contracted: u64,
    left_out: u64,
}

impl Rated {
    /// Rates the months of a project.
    fn take(&mut self, book: &Book, question: &Question, app: &App) -> Result<(), Refusal> {
        let (now, currency) = (app.clock.now(), book.ledger.currency());
        // What its ledger refuses stays as it is.
        if book.migration(&question.draft, now).is_ok_and(|postings| !postings.is_empty()) {
            let on = self.migrates.entry(book.ledger.timeline().subscribed_at(now).plan).or_default();
            *on = on.saturating_add(1);
        }
        let mut months = Vec::new();
        for period in question.months.iter().filter(|period| book.project.created < period.end()) {
            let of_draft = |plan| book.terms(&question.draft, plan);
            match rerate(&book.ledger, book.seen(now), *period, of_draft) {
                Ok(Some(rerated)) if rerated.before.cost.currency() == currency => {
                    months.push(month(*period, &rerated, question)?);
                }
                Ok(None) if book.ledger.timeline().is_contracted(*period) => {
                    self.contracted = self.contracted.saturating_add(1);
                }
                Ok(_) => self.left_out = self.left_out.saturating_add(1),
                Err(refusal) => {
                    tracing::warn!(project.id = %book.project.id, period = %period, error = %refusal, "a month could not be rated under a draft");
                    self.left_out = self.left_out.saturating_add(1);
                }
            }
        }
        if months.is_empty() {
            return Ok(());
        }
        let costs = months.iter().map(|month| &month.cost);
        let Totals { cost, .. } = Totals::of(costs, currency)?;
        self.projects.push(ProjectWhatIf { project: book.project.id.clone(), cost, months });
        Ok(())
    }
}

fn month(period: Period, rerated: &Rerated, question: &Question) -> Result<MonthWhatIf, Refusal> {
    let Rerated { plan, catalogue, before, after } = *rerated;
    // Months that were begun before the versions were kept are as the draft has them: nothing is known to differ.
    let was = question.versions.get(&catalogue).unwrap_or(&question.draft);
    let with = |side: Side, catalogue: &Catalogue| {
        let subscription = subscription_price(catalogue, plan, Interval::Month)?;
        let subscription = subscription.unwrap_or(Money::zero(side.cost.currency()));
        side.cost.checked_add(subscription).ok_or(Refusal::TooLarge)
    };
    let (cost_before, cost_after) = (with(before, was)?, with(after, &question.draft)?);
    let lots = |side: Side| i64::try_from(side.from_lots.get()).map_err(|_| Refusal::TooLarge);
    let cost = Cost {
        before: cost_before,
        after: cost_after,
        change: cost_after.checked_sub(cost_before).ok_or(Refusal::TooLarge)?,
        more_from_lots: lots(after)?.saturating_sub(lots(before)?),
        refused: after.unpaid.saturating_sub(before.unpaid),
    };
    Ok(MonthWhatIf { period, plan, cost })
}

fn answer(newest: &Catalogue, question: Question, rated: Rated, top: usize) -> Result<PlansWhatIf, Refusal> {
    let currency = Currency::parse(&newest.currency).map_err(Refusal::Currency)?;
    let Rated { mut projects, migrates, contracted, left_out } = rated;
    projects.sort_by(|one, other| {
        let size = |project: &ProjectWhatIf| project.cost.change.minor().unsigned_abs();
        size(other).cmp(&size(one)).then_with(|| one.project.cmp(&other.project))
    });
    let total = Totals::of(projects.iter().map(|one| &one.cost), currency)?;
    let rest = projects.split_off(top.min(projects.len()));
    Ok(PlansWhatIf {
        from: newest.version,
        to: question.draft.version,
        differences: differences(newest, &question.draft).into_iter().map(DifferenceView::from).collect(),
        migrates: migrates.into_iter().map(|(plan, projects)| MigratesView { plan, projects }).collect(),
        currency,
        months: question.months,
        total,
        projects,
        others: Totals::of(rest.iter().map(|one| &one.cost), currency)?,
        contracted,
        left_out,
    })
}

/// So many months before this one, the oldest first.
fn months_before(present: Period, count: u64) -> Vec<Period> {
    let mut months: Vec<Period> = Vec::new();
    let mut at = present;
    for _ in 0..count {
        // The instant before a month's first is in the one before it.
        let Some(before) = at.start().as_ms().checked_sub(1) else { break };
        at = shared::time::Timestamp::from_ms(before).period();
        months.push(at);
    }
    months.reverse();
    months
}

fn bounded(
    asked: Option<u64>,
    (min, max, otherwise): (u64, u64, u64),
    (name, accepts): (&str, &str),
) -> Result<u64, Failure> {
    match asked {
        None => Ok(otherwise),
        Some(count) if (min..=max).contains(&count) => Ok(count),
        Some(count) => Err(Failure::field(name, &count.to_string(), accepts)),
    }
}
