//! `POST /api/v1/admin/stripe/sync`: Stripe's products, prices and portal become what the plan catalogue says.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use shared::problem::ErrorCode;

use crate::app::App;
use crate::http::access::Operator;
use crate::http::call::Call;
use crate::http::failure::Failure;
use crate::http::field::Field;
use crate::http::route::{Route, Who};
use crate::http::stripe::account;
use crate::stripe::sync_goods::{self, GoodsError};

const DRY_RUN: &str = "true to say what differs, and change nothing; false where it is absent";

const ASKED: &[Field] = &[Field::optional::<bool>("dry_run", DRY_RUN).such_as("true")];

/// The endpoint of this module.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post("/api/v1/admin/stripe/sync", Who::Operator, "Bring the plan catalogue to Stripe", sync)
            .body(ASKED)
            .answers::<SyncedView>(200, "What differed, and whether it is as the catalogue says now")
            .refuses(&[ErrorCode::PaymentsUnavailable]),
    ]
}

/// What differed between Stripe and the plan catalogue.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SyncedView {
    /// For people, such as `+ price palveron_pro_month 4900 eur`.
    differences: Vec<String>,
    /// Whether something was made at Stripe.
    applied: bool,
}

async fn sync(Operator(token): Operator, State(app): State<App>, call: Call) -> Result<Response, Failure> {
    let dry_run = call.fields()?.of(ASKED)?.optional("dry_run", DRY_RUN)?.unwrap_or(false);
    let account = account(&app)?;
    call.answered(&app).await?;
    let (api, store) = (&account.api, &app.store);
    let back = account.return_urls.default_url("portal");
    let portals = async |dry_run| sync_goods::portals(api, store, &back, dry_run).await.map_err(failed);
    let catalogue = store.newest_catalogue().await?;
    let found = sync_goods::differences(api, store, &catalogue).await.map_err(failed)?;
    let goods: Vec<String> = found.iter().map(|difference| difference.line.clone()).collect();
    let mut lines = [goods.clone(), portals(true).await?].concat();
    if !dry_run && !lines.is_empty() {
        call.store(&app).note_sync(&lines, app.clock.now()).await?;
        sync_goods::apply(api, store, &found).await.map_err(failed)?;
        // Prices that are new are in the portal's configurations too.
        lines = [goods, portals(false).await?].concat();
        tracing::info!(token.id = token.id, differences = lines.len(), "Stripe was brought to the catalogue");
    }
    let synced = SyncedView { applied: !dry_run && !lines.is_empty(), differences: lines };
    call.begin(&app).await?.answer(StatusCode::OK, &synced).await
}

fn failed(error: GoodsError) -> Failure {
    match error {
        GoodsError::Call(error) => {
            tracing::error!(error = %error, "Stripe could not be brought to the catalogue");
            let detail = format!("{error}. What was made stays; the same again goes on from there.");
            Failure::new(ErrorCode::PaymentsUnavailable, detail)
        }
        GoodsError::Store(error) => error.into(),
    }
}
