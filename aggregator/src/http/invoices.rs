//! `GET /api/v1/billing/invoices`: what each month came to, and how far it is collected.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use schemars::JsonSchema;
use serde::Serialize;
use shared::ids::ProjectId;
use shared::plan::Plan;
use shared::time::{Period, Timestamp};
use shared::units::Units;

use super::access::Caller;
use super::billing::refused;
use super::failure::Failure;
use super::field::{Field, PROJECT};
use super::query::Query;
use super::route::{Route, Who};
use crate::access::Permission;
use crate::app::App;
use crate::ledger::money::Money;
use crate::ledger::refusal::Refusal;
use crate::ledger::statement::statement;
use crate::projects::book::Book;
use crate::store::ShownIntent;

/// Invoices of months that are looked at, the newest: a month has one, and seldom an adjustment.
const INTENTS_MAX: u32 = 1_000;

const QUERY: &[Field] = &[PROJECT];

/// The endpoints of this module.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/api/v1/billing/invoices", Who::InProject(Permission::Read), "List invoices", list)
            .query(QUERY)
            .answers::<InvoiceList>(200, "Every month, the newest first"),
    ]
}

/// What each month came to.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct InvoiceList {
    project: ProjectId,
    invoices: Vec<InvoiceView>,
}

/// What a month came to beside subscriptions and packs, which are paid in advance.
#[derive(Debug, Serialize, JsonSchema)]
struct InvoiceView {
    period: Period,
    /// Whether its figures may still change.
    provisional: bool,
    plan: Plan,
    units: Units,
    total: Money,
    /// `open` while the month is, `by_contract` where a contract invoices it, `nothing_due`, or how far its newest invoice
    /// is collected.
    state: &'static str,
    /// The newest invoice's id at Stripe.
    invoice: Option<String>,
    /// Every invoice, those of adjustments and corrections too.
    bills: Vec<ShownIntent>,
}

/// Shows every month.
async fn list(caller: Caller, State(app): State<App>, uri: Uri) -> Result<Json<InvoiceList>, Failure> {
    let query = Query::of(&uri, QUERY)?;
    let project = caller.named_project(&app, &query, Permission::Read).await?;
    let book = app.store.book(&project.id).await?.ok_or_else(Failure::project_unknown)?;
    let intents = app.store.shown_intents(Some(&project.id), INTENTS_MAX).await?;
    let invoices = months(&book, &intents, app.clock.now()).map_err(|refusal| refused(&refusal))?;
    Ok(Json(InvoiceList { project: project.id, invoices }))
}

fn months(book: &Book, intents: &[ShownIntent], now: Timestamp) -> Result<Vec<InvoiceView>, Refusal> {
    let mut months = Vec::new();
    let mut period = book.project.created.period();
    while period <= now.period() {
        let paid = statement(&book.ledger, book.seen(now), period)?;
        let bills: Vec<ShownIntent> =
            intents.iter().filter(|intent| intent.period() == period).cloned().collect();
        let newest = bills.iter().max_by_key(|intent| intent.number());
        let uncollected = match (paid.provisional, book.ledger.timeline().is_contracted(period)) {
            (true, _) => "open",
            (false, true) => "by_contract",
            (false, false) => "nothing_due",
        };
        months.push(InvoiceView {
            period,
            provisional: paid.provisional,
            plan: paid.plan,
            units: paid.counted.units,
            total: paid.total,
            state: newest.map_or(uncollected, ShownIntent::step),
            invoice: newest.and_then(|intent| intent.invoice().map(ToOwned::to_owned)),
            bills,
        });
        period = period.next();
    }
    months.reverse();
    Ok(months)
}
