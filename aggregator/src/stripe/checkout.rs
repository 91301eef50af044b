//! Buying: an order is written down, then Stripe is asked for the page where it is paid.
//!
//! No call is made that is not written down with its key first. When nobody knows what became of one, the
//! same bytes go again under the same key; another key is used only after a look proved that nothing was made.

use schemars::JsonSchema;
use serde::Serialize;
use shared::ids::ProjectId;
use shared::plan::{Catalogue, Plan};
use shared::time::Timestamp;
use shared::units::Units;

use super::account::Account;
use super::client::CallError;
use super::sync;
use super::sync_goods::{self, GoodsError, Portal};
use crate::idempotency::Once;
use crate::ledger::lots;
use crate::payments::goods::Good;
use crate::payments::intent::{KEY_STANDS_MS, fields, metadata_fields};
use crate::payments::order::{Form, Order};
use crate::payments::schedule::ComingChange;
use crate::payments::seen::{Customer, Session};
use crate::payments::subscription::Mirror;
use crate::payments::table::OrderState;
use crate::projects::book::Book;
use crate::store::{Began, Begin, StoreError, StripeCustomer};

/// How long a session may be paid; Stripe accepts 30 minutes to 24 hours, by its own clock.
const SESSION_MS: u64 = 23 * 60 * 60 * 1_000;

/// How long a portal session is shown as valid; Stripe's are short-lived and made anew for each visit.
const PORTAL_MS: u64 = 5 * 60 * 1_000;

/// How often a call is sent while a customer waits.
const TRIES: usize = 3;

/// How far Stripe's clock and ours may differ when objects are looked up by their time.
const CLOCKS_DIFFER_MS: u64 = 10 * 60 * 1_000;

/// A wish to buy.
#[derive(Debug)]
pub struct Wish<'a> {
    /// What.
    pub good: Good,
    /// Where the customer goes after paying.
    pub success_url: String,
    /// Where the customer goes after giving up.
    pub cancel_url: String,
    /// The caller's own name for the call.
    pub call: Option<&'a Once>,
}

/// Where the customer pays; the body of `POST /api/v1/stripe/checkout`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Checkout {
    /// The order's id, or that of the portal session where a live subscription is changed.
    id: String,
    /// `null` once it is paid or over.
    url: Option<String>,
    expires_at: String,
    /// `open`, `processing`, `paid`, `failed`, `expired` or `held`.
    state: &'static str,
}

/// Where the customer manages payments; the body of `GET /api/v1/stripe/portal`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Portal")]
pub struct PortalLink {
    /// Short-lived; never stored or logged.
    url: String,
    expires_at: String,
}

/// Why nothing is sold.
#[derive(Debug, thiserror::Error)]
pub enum BuyError {
    /// The project cannot buy this now.
    #[error("{0}")]
    NotBillable(String),
    /// The call's name was used for another wish.
    #[error("the Idempotency-Key was used for another request")]
    KeyReused,
    /// There is no such project.
    #[error("there is no such project")]
    ProjectUnknown,
    /// Stripe cannot be asked, or does not do it.
    #[error("{0}")]
    Stripe(#[from] CallError),
    /// The books failed.
    #[error("{0}")]
    Store(#[from] StoreError),
}

impl From<sync::SyncError> for BuyError {
    fn from(error: sync::SyncError) -> Self {
        match error {
            sync::SyncError::Call(error) => Self::Stripe(error),
            sync::SyncError::Store(error) => Self::Store(error),
            sync::SyncError::Parked(note) => Self::NotBillable(note),
            sync::SyncError::Overtaken => Self::Stripe(CallError::Busy { status: 409 }),
        }
    }
}

impl From<GoodsError> for BuyError {
    fn from(error: GoodsError) -> Self {
        match error {
            GoodsError::Call(error) => Self::Stripe(error),
            GoodsError::Store(error) => Self::Store(error),
        }
    }
}

/// Makes, or finds again, the page where the wish is paid.
///
/// # Errors
/// When it cannot be bought, or Stripe cannot be asked: the same call may then be made again.
pub async fn checkout(account: &Account, project: &ProjectId, wish: &Wish<'_>) -> Result<Checkout, BuyError> {
    let now = account.clock.now();
    let book = account.store.book(project).await?.ok_or(BuyError::ProjectUnknown)?;
    let mirror = account.store.subscription_of(project).await?.filter(|mirror| mirror.plan.is_some());
    let catalogue = account.store.newest_catalogue().await?;
    billable(&catalogue, &book, (wish.good, mirror.as_ref()), now)?;
    let customer = customer(account, project).await?;
    let price = sync::price(account, wish.good).await?;
    if let (Good::Plan(plan, _), Some(mirror)) = (wish.good, mirror) {
        let portal = match mirror.plan {
            Some(before) if included(&catalogue, plan) > included(&catalogue, before) => Portal::Upgrade,
            Some(_) | None => Portal::Usual,
        };
        return change_plan(account, (&mirror, portal), (&customer, &price), wish).await;
    }
    // What is being bought instead is ended first; a second round finds it ended.
    for _ in 0..TRIES {
        let mut order = draft(&catalogue, project, (&customer, &price), wish.good, now)?;
        order.form = session_form(&order, &customer, wish, account.automatic_tax);
        match account.store.begin_order(Begin { order, call: wish.call }, now).await? {
            Began::New(order) => return open(account, *order).await.map(|order| shown(&order)),
            Began::Again(order) if order.state == OrderState::New => {
                return open(account, *order).await.map(|order| shown(&order));
            }
            Began::Again(order) if order.state == OrderState::Processing => {
                return Err(under_way());
            }
            Began::Again(order) => return Ok(shown(&order)),
            Began::KeyReused => return Err(BuyError::KeyReused),
            Began::Other(other) => end(account, *other).await?,
        }
    }
    Err(under_way())
}

fn under_way() -> BuyError {
    BuyError::NotBillable(
        "A payment for a plan is under way; a direct debit takes some days. Wait for it, then choose again."
            .to_owned(),
    )
}

fn shown(order: &Order) -> Checkout {
    Checkout {
        id: order.id.clone(),
        url: order.url.clone(),
        expires_at: order.expires.to_string(),
        state: order.state.as_str(),
    }
}

fn included(catalogue: &Catalogue, plan: Plan) -> Units {
    catalogue.terms(plan).map(|terms| terms.included).unwrap_or_default()
}

/// Refuses what the project's plan does not allow.
fn billable(
    catalogue: &Catalogue,
    book: &Book,
    (good, mirror): (Good, Option<&Mirror>),
    now: Timestamp,
) -> Result<(), BuyError> {
    let refuse = |why: String| Err(BuyError::NotBillable(why));
    let timeline = book.ledger.timeline();
    let current = timeline.terms_at(now).plan;
    let waits = mirror.and_then(|mirror| mirror.waiting.first()).map(|ComingChange { at, good }| {
        format!("A change to {good} waits for {at}. Take it back in the payment portal, then choose again.")
    });
    if good.price(catalogue).is_none_or(|price| price.currency() != book.ledger.currency()) {
        return refuse(format!("{good} is not sold to this project."));
    }
    match good {
        _ if timeline.subscribed_at(now).plan == Plan::Enterprise => {
            refuse("The project is under a contract, which is invoiced apart.".to_owned())
        }
        Good::Pack(_) if !lots::may_buy(&book.ledger, now) => {
            refuse(format!("The plan {current} has no top-up packs. Upgrade to pro or business."))
        }
        // Stripe would put another change behind the one that waits, and charge for both.
        Good::Plan(..) if waits.is_some() => refuse(waits.unwrap_or_default()),
        Good::Plan(plan, interval)
            if mirror.is_some_and(|m| m.plan == Some(plan) && m.interval == interval && m.ends.is_none()) =>
        {
            refuse(format!(
                "The project already pays for {plan} by the {}.",
                crate::payments::goods::interval_name(interval)
            ))
        }
        Good::Pack(_) | Good::Plan(..) => Ok(()),
    }
}

/// The order as it would be.
///
/// # Errors
/// When the good is not sold, or there is no randomness for its id.
pub(super) fn draft(
    catalogue: &Catalogue,
    project: &ProjectId,
    (customer, price_id): (&str, &str),
    good: Good,
    now: Timestamp,
) -> Result<Order, BuyError> {
    let price = good.price(catalogue).ok_or_else(|| BuyError::NotBillable(format!("{good} is not sold.")))?;
    let units = match good {
        Good::Plan(..) => Units::ZERO,
        Good::Pack(pack) => catalogue.pack(pack).map(|terms| terms.units).unwrap_or_default(),
    };
    let id = format!("ord_{}", crate::random::id().map_err(StoreError::from)?);
    Ok(Order {
        id,
        project: project.clone(),
        good,
        units,
        price,
        price_id: price_id.to_owned(),
        customer: Some(customer.to_owned()),
        attempt: 1,
        form: Form::new(),
        state: OrderState::New,
        session: None,
        url: None,
        automatic: false,
        payment: None,
        created: now,
        expires: now.plus_ms(SESSION_MS),
        note: None,
    })
}

fn session_form(order: &Order, customer: &str, wish: &Wish<'_>, automatic_tax: bool) -> Form {
    let tax = if automatic_tax { "true" } else { "false" };
    let mode = match order.good {
        Good::Plan(..) => "subscription",
        Good::Pack(_) => "payment",
    };
    let mut form = fields(&[
        ("mode", mode),
        ("customer", customer),
        ("client_reference_id", &order.id),
        ("line_items[0][price]", &order.price_id),
        ("line_items[0][quantity]", "1"),
        ("allowed_payment_method_types[0]", "card"),
        ("allowed_payment_method_types[1]", "sepa_debit"),
        ("expires_at", &order.expires.as_seconds().to_string()),
        ("success_url", &wish.success_url),
        ("cancel_url", &wish.cancel_url),
        ("automatic_tax[enabled]", tax),
        ("tax_id_collection[enabled]", "true"),
        ("customer_update[address]", "auto"),
        ("customer_update[name]", "auto"),
        // The price is in one currency and SEPA takes no other.
        ("adaptive_pricing[enabled]", "false"),
    ]);
    let metadata = order.metadata();
    form.extend(metadata_fields(&metadata));
    let carriers: &[&str] = match order.good {
        Good::Plan(..) => &["subscription_data[metadata]"],
        Good::Pack(_) => {
            form.extend(fields(&[
                // An invoice makes the receipt, and what was paid with pays for overage later.
                ("invoice_creation[enabled]", "true"),
                ("payment_intent_data[setup_future_usage]", "off_session"),
            ]));
            &["payment_intent_data[metadata]", "invoice_creation[invoice_data][metadata]"]
        }
    };
    for carrier in carriers {
        form.extend(metadata.iter().map(|(name, value)| (format!("{carrier}[{name}]"), value.clone())));
    }
    form
}

/// Makes the session of an order that was written down, under its key.
///
/// # Errors
/// When Stripe refuses it, which ends the order, or its outcome is unknown: then it may be opened again.
pub async fn open(account: &Account, mut order: Order) -> Result<Order, BuyError> {
    let mut error = CallError::Unknown("it was not sent".to_owned());
    for _ in 0..TRIES {
        let now = account.clock.now();
        let forgotten = now.ms_since(order.created) >= KEY_STANDS_MS;
        if forgotten || matches!(error, CallError::Broken { .. }) {
            if let Some(session) = look_up(account, &order).await? {
                return opened(account, order, &session).await;
            }
            account.store.order_again(&order).await?;
            order.attempt = order.attempt.saturating_add(1);
        }
        let key = format!("pm:checkout:{}:{}", order.id, order.attempt);
        match account.api.make::<Session>("/checkout/sessions", &order.form, &key).await {
            Ok(session) => return opened(account, order, &session).await,
            Err(refused @ CallError::Refused { .. }) => {
                tracing::error!(order.id = %order.id, error = %refused, "Stripe refuses an order");
                account.store.order_ended(&order.id, OrderState::Failed, &refused.to_string()).await?;
                return Err(refused.into());
            }
            Err(passing) => error = passing,
        }
    }
    Err(error.into())
}

async fn opened(account: &Account, order: Order, session: &Session) -> Result<Order, BuyError> {
    let opened = account.store.order_opened(&order.id, &session.id, session.url.as_deref()).await?;
    Ok(opened.unwrap_or(order))
}

/// From when on an object is looked up that was made at `created` by our clock: `created[gte]`, in seconds.
pub(super) fn since(created: Timestamp) -> String {
    Timestamp::from_ms(created.as_ms().saturating_sub(CLOCKS_DIFFER_MS)).as_seconds().to_string()
}

/// The session that an order has at Stripe, whatever became of our calls.
async fn look_up(account: &Account, order: &Order) -> Result<Option<Session>, CallError> {
    let since = since(order.created);
    let customer = order.customer.as_deref().unwrap_or_default();
    let query = [("customer", customer), ("created[gte]", since.as_str())];
    let sessions: Vec<Session> = account.api.list("/checkout/sessions", &query).await?;
    Ok(sessions.into_iter().find(|session| session.client_reference_id.as_deref() == Some(&order.id)))
}

/// Finds out what became of an order that has no session, and makes or ends it.
///
/// # Errors
/// When Stripe cannot be asked.
pub async fn resume(account: &Account, order: Order) -> Result<Option<Order>, BuyError> {
    if account.clock.now() < order.expires {
        return open(account, order).await.map(Some);
    }
    match look_up(account, &order).await? {
        Some(session) => opened(account, order, &session).await.map(Some),
        None => {
            account.store.order_ended(&order.id, OrderState::Expired, "it never reached Stripe").await?;
            Ok(None)
        }
    }
}

/// Ends a plan's order so that another can be made. What was paid meanwhile counts.
async fn end(account: &Account, order: Order) -> Result<(), BuyError> {
    if order.state == OrderState::Processing {
        return Err(under_way());
    }
    let order = match order.session {
        Some(_) => Some(order),
        None => resume(account, order).await?,
    };
    let Some((order, session)) = order.and_then(|order| order.session.clone().map(|id| (order, id))) else {
        return Ok(());
    };
    let path = format!("/checkout/sessions/{session}/expire");
    match account.api.set::<Session>(&path, &Form::new()).await {
        // It may be paid or expired already; what it is now is what counts.
        Ok(_) | Err(CallError::Refused { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(sync::order(account, &order, None).await?)
}

/// The project's customer at Stripe, made where there is none.
///
/// # Errors
/// When Stripe cannot be asked.
pub async fn customer(account: &Account, project: &ProjectId) -> Result<String, BuyError> {
    let mut error = CallError::Unknown("it was not sent".to_owned());
    for _ in 0..TRIES {
        let now = account.clock.now();
        let row = account.store.stripe_customer(project, now).await?;
        if let Some(customer) = row.customer {
            return Ok(customer);
        }
        if now.ms_since(row.created) >= KEY_STANDS_MS || matches!(error, CallError::Broken { .. }) {
            if let Some(found) = look_up_customer(account, &row).await? {
                account.store.stripe_customer_made(project, &found).await?;
                continue;
            }
            account.store.stripe_customer_again(&row).await?;
        }
        let row = account.store.stripe_customer(project, now).await?;
        let form = fields(&[
            ("name", project.as_str()),
            ("description", "a project of Palveron"),
            ("metadata[palveron_project]", project.as_str()),
        ]);
        let key = format!("pm:customer:{project}:{}", row.attempt);
        match account.api.make::<Customer>("/customers", &form, &key).await {
            Ok(made) => account.store.stripe_customer_made(project, &made.id).await?,
            Err(refused @ CallError::Refused { .. }) => return Err(refused.into()),
            Err(passing) => error = passing,
        }
    }
    let row = account.store.stripe_customer(project, account.clock.now()).await?;
    row.customer.ok_or(BuyError::Stripe(error))
}

async fn look_up_customer(account: &Account, row: &StripeCustomer) -> Result<Option<String>, CallError> {
    let since = since(row.created);
    let customers: Vec<Customer> =
        account.api.list("/customers", &[("created[gte]", since.as_str())]).await?;
    let ours = |customer: &Customer| {
        customer.metadata.get("palveron_project").map(String::as_str) == Some(row.project.as_str())
    };
    Ok(customers.into_iter().find(ours).map(|customer| customer.id))
}

/// A link to the portal's page where a change of a live subscription is confirmed: Checkout would sell a
/// second one.
async fn change_plan(
    account: &Account,
    (mirror, portal): (&Mirror, Portal),
    (customer, price): (&str, &str),
    wish: &Wish<'_>,
) -> Result<Checkout, BuyError> {
    let configuration = match portal {
        Portal::Upgrade => {
            Some(sync_goods::upgrade_portal(&account.api, &account.store, &wish.cancel_url).await?)
        }
        Portal::Usual => account.store.stripe_setting(portal.setting()).await?,
    };
    let mut form = portal_form(customer, &wish.cancel_url, configuration);
    let update = "flow_data[subscription_update_confirm]";
    form.extend(fields(&[
        ("flow_data[type]", "subscription_update_confirm"),
        (&format!("{update}[subscription]"), &mirror.subscription),
        (&format!("{update}[items][0][id]"), &mirror.item),
        (&format!("{update}[items][0][price]"), price),
        (&format!("{update}[items][0][quantity]"), "1"),
        ("flow_data[after_completion][type]", "redirect"),
        ("flow_data[after_completion][redirect][return_url]", &wish.success_url),
    ]));
    let session: PortalSession = account.api.set("/billing_portal/sessions", &form).await?;
    Ok(Checkout {
        id: session.id,
        url: Some(session.url),
        expires_at: account.clock.now().plus_ms(PORTAL_MS).to_string(),
        state: OrderState::Open.as_str(),
    })
}

#[derive(serde::Deserialize)]
struct PortalSession {
    id: String,
    url: String,
}

fn portal_form(customer: &str, return_url: &str, configuration: Option<String>) -> Form {
    let mut form = fields(&[("customer", customer), ("return_url", return_url)]);
    form.extend(configuration.map(|configuration| ("configuration".to_owned(), configuration)));
    form
}

/// A short-lived link to the portal, for whoever looks after the project's payments.
///
/// # Errors
/// When the project has nothing to pay, or Stripe cannot be asked.
pub async fn portal(
    account: &Account,
    project: &ProjectId,
    return_url: &str,
) -> Result<PortalLink, BuyError> {
    let book = account.store.book(project).await?.ok_or(BuyError::ProjectUnknown)?;
    let known = account.store.find_stripe_customer(project).await?.is_some_and(|row| row.customer.is_some());
    let plan = book.ledger.timeline().subscribed_at(account.clock.now()).plan;
    if !known && !matches!(plan, Plan::Pro | Plan::Business) {
        let why =
            format!("The plan {plan} is not paid by card or debit here, so there is nothing to manage.");
        return Err(BuyError::NotBillable(why));
    }
    let customer = customer(account, project).await?;
    let configuration = account.store.stripe_setting(Portal::Usual.setting()).await?;
    let form = portal_form(&customer, return_url, configuration);
    let session: PortalSession = account.api.set("/billing_portal/sessions", &form).await?;
    Ok(PortalLink { url: session.url, expires_at: account.clock.now().plus_ms(PORTAL_MS).to_string() })
}
