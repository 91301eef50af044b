//! `GET /api/v1/billing/offers`: what plans and packs give and cost in the newest catalogue, which is what is sold.
//!
//! It must never show a price that `POST /api/v1/stripe/checkout` would not take.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use schemars::JsonSchema;
use serde::Serialize;
use shared::plan::{Catalogue, OverageRule, Pack, Plan};
use shared::units::Units;

use super::access::Caller;
use super::failure::Failure;
use super::field::{Field, PROJECT};
use super::query::Query;
use super::route::{Route, Who};
use crate::access::Permission;
use crate::app::App;

const QUERY: &[Field] = &[PROJECT];

/// The endpoint of this module.
pub(super) fn route() -> Route {
    let read = Who::InProject(Permission::Read);
    Route::get("/api/v1/billing/offers", read, "List plans and packs", show)
        .query(QUERY)
        .answers::<Offers>(200, "What each plan and pack gives and costs")
}

/// What can be had. Amounts are minor units of the currency.
#[derive(Debug, Serialize, JsonSchema)]
struct Offers {
    /// The version of the catalogue.
    catalogue: u32,
    currency: String,
    plans: Vec<PlanOffer>,
    packs: Vec<PackOffer>,
}

/// A plan, the smallest first.
#[derive(Debug, Serialize, JsonSchema)]
struct PlanOffer {
    plan: Plan,
    /// Units a month.
    included: Units,
    /// Requests a minute.
    rpm: u32,
    /// `null` is without a limit.
    agents_max: Option<u32>,
    /// `null` is without a limit.
    members_max: Option<u32>,
    /// Whether packs can be bought.
    top_ups: bool,
    /// Whether units beyond quota and lots can be served and invoiced.
    overage: bool,
    /// `null` is by contract.
    price_month: Option<u64>,
    /// `null` is by contract.
    price_year: Option<u64>,
    /// For 1,000 units of overage; `null` is not offered or by contract.
    overage_per_1000: Option<u64>,
}

/// A pack, the smallest first.
#[derive(Debug, Serialize, JsonSchema)]
struct PackOffer {
    /// `small`, `medium` or `large`.
    pack: &'static str,
    units: Units,
    price: u64,
}

async fn show(caller: Caller, State(app): State<App>, uri: Uri) -> Result<Json<Offers>, Failure> {
    let query = Query::of(&uri, QUERY)?;
    caller.named_project(&app, &query, Permission::Read).await?;
    Ok(Json(offers(&app.store.newest_catalogue().await?)))
}

fn offers(catalogue: &Catalogue) -> Offers {
    let plan = |plan: Plan| {
        let terms = catalogue.terms(plan)?;
        let year = |month: u64| month.checked_mul(u64::from(catalogue.annual_months));
        Some(PlanOffer {
            plan,
            included: terms.included,
            rpm: terms.rpm,
            agents_max: terms.agents_max,
            members_max: terms.members_max,
            top_ups: terms.top_ups,
            overage: terms.overage == OverageRule::Optional,
            price_month: terms.price_month,
            price_year: terms.price_month.and_then(year),
            overage_per_1000: terms.overage_per_1000,
        })
    };
    let pack = |pack: Pack| {
        let terms = catalogue.pack(pack)?;
        Some(PackOffer { pack: pack.as_str(), units: terms.units, price: terms.price })
    };
    Offers {
        catalogue: catalogue.version,
        currency: catalogue.currency.clone(),
        plans: Plan::ALL.into_iter().filter_map(plan).collect(),
        packs: Pack::ALL.into_iter().filter_map(pack).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_year_costs_as_many_months_as_the_catalogue_says() {
        let offers = offers(&Catalogue::from_json(Catalogue::DEFAULT_JSON).unwrap());
        let prices: Vec<_> = offers.plans.iter().map(|plan| (plan.price_month, plan.price_year)).collect();
        assert_eq!(
            prices,
            [(Some(0), Some(0)), (Some(4_900), Some(49_000)), (Some(29_900), Some(299_000)), (None, None)]
        );
        let packs: Vec<_> =
            offers.packs.iter().map(|pack| (pack.pack, pack.units.get(), pack.price)).collect();
        assert_eq!(packs, [("small", 5_000, 2_900), ("medium", 25_000, 11_900), ("large", 100_000, 39_900)]);
    }
}
