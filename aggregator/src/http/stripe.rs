//! `/api/v1/stripe/…`: buying, the customer's portal, and Stripe's deliveries.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use shared::plan::{Pack, Plan};
use shared::problem::ErrorCode;

use super::access::Caller;
use super::body;
use super::call::Call;
use super::failure::Failure;
use super::field::{Field, PROJECT};
use super::query::Query;
use super::route::{Route, Who};
use super::site::Site;
use crate::access::Permission;
use crate::app::App;
use crate::ledger::terms::Interval;
use crate::payments::event::Envelope;
use crate::payments::goods::{Good, interval_of};
use crate::payments::signature::{SIGNATURE_HEADER, Unverified};
use crate::stripe::account::Account;
use crate::stripe::checkout::{self, BuyError, Checkout, PortalLink, Wish};
use crate::stripe::inbox::InboxError;

/// The largest delivery; Stripe's are a few tens of KiB.
const DELIVERY_BYTES_MAX: usize = 1024 * 1024;

const GOODS: &str = "pro or business with interval month or year, or a pack small, medium or large";

const RETURN_URL: &str = "an address that the operator permits in STRIPE_RETURN_URLS";

const QUERY: &[Field] = &[PROJECT];

const PORTAL: &[Field] = &[PROJECT, Field::optional::<String>("return_url", RETURN_URL)];

const WISH: &[Field] = &[
    Field::optional::<String>("plan", "pro or business, together with interval").such_as("\"pro\""),
    Field::optional::<String>("interval", "month or year").such_as("\"month\""),
    Field::optional::<String>("pack", "small, medium or large, instead of a plan"),
    Field::optional::<String>("success_url", RETURN_URL),
    Field::optional::<String>("cancel_url", RETURN_URL),
];

/// The body of a delivery's acknowledgement.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Received {
    received: bool,
}

/// The endpoints of this module.
pub(super) fn routes() -> Vec<Route> {
    let manage = Who::InProject(Permission::ManageBilling);
    let sold = [ErrorCode::NotBillable, ErrorCode::PaymentsUnavailable];
    vec![
        Route::post("/api/v1/stripe/checkout", manage, "Buy a plan or a pack", buy)
            .query(QUERY)
            .body(WISH)
            .answers::<Checkout>(200, "Where it is paid")
            .refuses(&sold),
        Route::get("/api/v1/stripe/portal", manage, "Open the payment portal", portal)
            .query(PORTAL)
            .answers::<PortalLink>(200, "A short-lived address where payments and invoices are looked after")
            .refuses(&sold),
        Route::post("/api/v1/stripe/webhook", Who::Stripe, "Take a delivery of Stripe", deliver)
            .answers::<Received>(200, "The delivery is durable")
            .refuses(&[ErrorCode::MalformedJson, ErrorCode::BodyTooLarge, ErrorCode::RequestTimeout]),
    ]
}

/// `POST /api/v1/stripe/checkout`: where a plan or a pack is paid.
pub(super) async fn buy(
    caller: Caller,
    State(app): State<App>,
    uri: Uri,
    call: Call,
) -> Result<Response, Failure> {
    let query = Query::of(&uri, QUERY)?;
    let project = caller.named_project(&app, &query, Permission::ManageBilling).await?;
    let account = account(&app)?;
    let wish = wish(account, &call)?;
    call.answered(&app).await?;
    let good = wish.good;
    let sold = checkout::checkout(account, &project.id, &wish).await.map_err(refused)?;
    tracing::info!(project.id = %project.id, token.id = caller.token.id, good = %good, "checkout begun");
    call.begin_in(&app, &project.id).await?.answer(StatusCode::OK, &sold).await
}

fn wish<'a>(account: &Account, call: &'a Call) -> Result<Wish<'a>, Failure> {
    let mut fields = call.fields()?.of(WISH)?;
    let mut word = |name: &str, accepts: &str| fields.optional::<String>(name, accepts);
    let (plan, interval, pack) = (word("plan", GOODS)?, word("interval", GOODS)?, word("pack", GOODS)?);
    let good = good(plan.as_deref(), interval.as_deref(), pack.as_deref())?;
    let mut url = |field: &str, outcome: &str| match word(field, RETURN_URL)? {
        None => Ok(account.return_urls.default_url(outcome)),
        Some(url) if account.return_urls.permit(&url) => Ok(url),
        Some(url) => Err(Failure::field(field, &url, RETURN_URL)),
    };
    let (success_url, cancel_url) = (url("success_url", "paid")?, url("cancel_url", "canceled")?);
    Ok(Wish { good, success_url, cancel_url, call: call.once() })
}

/// What is to be bought.
fn good(plan: Option<&str>, interval: Option<&str>, pack: Option<&str>) -> Result<Good, Failure> {
    match (plan, interval, pack) {
        (Some(plan), interval, None) => {
            let sold = Plan::parse(plan).filter(|plan| matches!(plan, Plan::Pro | Plan::Business));
            let sold = sold.ok_or_else(|| Failure::field("plan", plan, "pro or business"))?;
            let interval = interval.ok_or_else(|| Failure::missing("interval", "month or year"))?;
            let read: Option<Interval> = interval_of(interval);
            let interval = read.ok_or_else(|| Failure::field("interval", interval, "month or year"))?;
            Ok(Good::Plan(sold, interval))
        }
        (None, None, Some(pack)) => Pack::parse(pack)
            .map(Good::Pack)
            .ok_or_else(|| Failure::field("pack", pack, "small, medium or large")),
        (_, _, Some(_)) => Err(Failure::field("pack", "a pack beside a plan or interval", GOODS)),
        (None, _, None) => Err(Failure::field("plan", "neither plan nor pack", GOODS)),
    }
}

/// `GET /api/v1/stripe/portal`: where finance looks after payments, without access to the dashboard.
pub(super) async fn portal(
    caller: Caller,
    State(app): State<App>,
    uri: Uri,
) -> Result<Json<PortalLink>, Failure> {
    let query = Query::of(&uri, PORTAL)?;
    let project = caller.named_project(&app, &query, Permission::ManageBilling).await?;
    let account = account(&app)?;
    let back = match query.get("return_url") {
        None => account.return_urls.default_url("portal"),
        Some(url) if account.return_urls.permit(url) => url.to_owned(),
        Some(url) => return Err(Failure::field("return_url", url, RETURN_URL)),
    };
    let portal = checkout::portal(account, &project.id, &back).await.map_err(refused)?;
    tracing::info!(project.id = %project.id, token.id = caller.token.id, "portal opened");
    Ok(Json(portal))
}

/// `POST /api/v1/stripe/webhook`: acknowledged once the delivery is durable, processed afterwards.
pub(super) async fn deliver(State(site): State<Site>, request: Request) -> Result<Json<Received>, Failure> {
    let app = &site.app;
    let account = account(app)?;
    let (head, body) = request.into_parts();
    let mut signatures = head.headers.get_all(SIGNATURE_HEADER).iter();
    let (Some(signature), None) = (signatures.next(), signatures.next()) else {
        return Err(unverified(Unverified::Malformed));
    };
    let body = body::read(site.timeouts, &head.headers, body, DELIVERY_BYTES_MAX).await?;
    account.secrets.verify(signature.as_bytes(), &body, app.clock.now()).map_err(unverified)?;
    let envelope = Envelope::parse(&body)
        .map_err(|error| Failure::new(ErrorCode::MalformedJson, format!("{error}.")))?;
    account.inbox.take(envelope, body).await.map_err(|error| match error {
        InboxError::Full => Failure::not_ready(),
        InboxError::Store(error) if error.is_passing() => {
            tracing::warn!(error = %error, "the store cannot be used at present");
            Failure::not_ready()
        }
        InboxError::Store(error) => Failure::internal(&error),
    })?;
    app.metrics.stripe_delivered();
    Ok(Json(Received { received: true }))
}

pub(crate) fn account(app: &App) -> Result<&Account, Failure> {
    app.stripe.as_ref().ok_or_else(|| {
        Failure::new(
            ErrorCode::PaymentsUnavailable,
            "This meter takes no payments: its operator has not set STRIPE_SECRET_KEY.",
        )
    })
}

fn unverified(error: Unverified) -> Failure {
    Failure::new(ErrorCode::DeliveryUnverified, format!("The delivery is not taken in: {error}."))
}

pub(super) fn refused(error: BuyError) -> Failure {
    match error {
        BuyError::NotBillable(why) => Failure::new(ErrorCode::NotBillable, why),
        BuyError::KeyReused => Failure::new(
            ErrorCode::IdempotencyKeyReused,
            "This Idempotency-Key was used for another body. Nothing was begun; choose a new key.",
        ),
        BuyError::ProjectUnknown => Failure::project_unknown(),
        BuyError::Stripe(error) => {
            tracing::error!(error = %error, "Stripe could not be asked");
            Failure::new(
                ErrorCode::PaymentsUnavailable,
                "Stripe cannot be reached at present. Nothing was charged; send the same request again.",
            )
        }
        BuyError::Store(error) => error.into(),
    }
}
