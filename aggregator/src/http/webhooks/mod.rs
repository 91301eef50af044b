//! `/api/v1/webhooks…`: where a project wants to be told what, and what became of telling it.

mod access;
pub(super) mod deliveries;
mod view;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use shared::problem::ErrorCode;

pub(super) use access::{Lists, Manages, OnWebhook, Reads};
pub(crate) use deliveries::SINCE;
pub use view::{DeliveryView, WebhookView};

use super::access::Caller;
use super::body::Fields;
use super::call::Call;
use super::failure::Failure;
use super::field::{Field, PROJECT};
use super::query::Query;
use super::route::{Route, Who};
use crate::access::Permission;
use crate::app::App;
use crate::store::{EndpointCreated, NewEndpoint};
use crate::text::is_line;
use crate::webhooks::endpoint::{
    DESCRIPTION_CHARS_MAX, ENDPOINTS_MAX, Endpoint, EndpointChange, Filter, Format,
};
use crate::webhooks::sign::{OVERLAP_MS, Secret};
use crate::webhooks::target::{self, Rules, Target};

const QUERY: &[Field] = &[PROJECT];

const EVENTS: &str = "types of events, such as usage.threshold_reached; [\"*\"] or nothing for all";

const DESCRIPTION: &str = "a text of at most 200 characters";

const FORMATS: &str = "standard or slack";

const NEW: &[Field] = &[
    Field::required::<String>("url", target::ACCEPTED).such_as("\"https://example.com/hooks\""),
    Field::optional::<Vec<String>>("events", EVENTS).such_as("[\"usage.threshold_reached\"]"),
    Field::optional::<Format>("format", FORMATS),
    Field::optional::<String>("description", DESCRIPTION),
];

const CHANGE: &[Field] = &[
    Field::optional::<String>("url", target::ACCEPTED),
    Field::optional::<Vec<String>>("events", EVENTS),
    Field::optional::<String>("description", DESCRIPTION).such_as("\"for finance\""),
    Field::optional::<bool>("disabled", "true or false; false turns it on again, whyever it was disabled"),
];

/// The endpoints of this module.
pub(super) fn routes() -> Vec<Route> {
    let read = Who::InProject(Permission::Read);
    let manage = Who::InProject(Permission::ManageWebhooks);
    let own = vec![
        Route::get("/api/v1/webhooks", read, "List webhooks", list)
            .query(QUERY)
            .answers::<WebhookList>(200, "All webhooks of the project"),
        Route::post("/api/v1/webhooks", manage, "Make a webhook", create)
            .query(QUERY)
            .body(NEW)
            .answers::<WithSecret>(201, "The webhook, with the secret that is shown this once"),
        Route::get("/api/v1/webhooks/{webhook}", read, "Show a webhook", show)
            .query(QUERY)
            .answers::<WebhookView>(200, "The webhook")
            .refuses(&[ErrorCode::NotFound]),
        Route::patch("/api/v1/webhooks/{webhook}", manage, "Change a webhook", change)
            .query(QUERY)
            .body(CHANGE)
            .answers::<WebhookView>(200, "The webhook as it is now")
            .refuses(&[ErrorCode::NotFound]),
        Route::delete("/api/v1/webhooks/{webhook}", manage, "Delete a webhook", remove)
            .query(QUERY)
            .answers::<WebhookView>(200, "The webhook as it was; its log is gone with it")
            .refuses(&[ErrorCode::NotFound]),
        Route::post("/api/v1/webhooks/{webhook}/rotate", manage, "Rotate a webhook's secret", rotate)
            .query(QUERY)
            .answers::<WithSecret>(
                200,
                "The webhook, with the new secret; the one before signs too for a day",
            )
            .refuses(&[ErrorCode::NotFound]),
    ];
    [own, deliveries::routes()].concat()
}

/// All endpoints of a project.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct WebhookList {
    webhooks: Vec<WebhookView>,
}

/// An endpoint with its new secret; the only answers that have it.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WithSecret {
    #[serde(flatten)]
    view: WebhookView,
    secret: String,
    /// Until when the secret before signs too.
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_until: Option<String>,
}

impl WithSecret {
    /// The endpoint with the secret that was just made.
    pub(crate) fn new(endpoint: Endpoint, secret: &Secret) -> Self {
        Self { view: endpoint.into(), secret: secret.expose(), previous_until: None }
    }
}

/// `POST /api/v1/webhooks`.
pub(super) async fn create(
    caller: Caller,
    State(app): State<App>,
    uri: Uri,
    call: Call,
) -> Result<Response, Failure> {
    let query = Query::of(&uri, QUERY)?;
    let project = caller.named_project(&app, &query, Permission::ManageWebhooks).await?;
    let mut fields = call.fields()?.of(NEW)?;
    let url: String = fields.required("url", target::ACCEPTED)?;
    let format = match fields.optional::<String>("format", FORMATS)? {
        None => Format::Standard,
        Some(text) => Format::parse(&text).ok_or_else(|| Failure::field("format", &text, FORMATS))?,
    };
    let new = NewEndpoint {
        url: checked_url(&url, &app.webhooks.rules)?,
        events: events(&mut fields)?.unwrap_or(Filter::All),
        format,
        description: description(&mut fields)?.unwrap_or_default(),
    };
    let mut change = call.begin_in(&app, &project.id).await?;
    match change.create_webhook(&project.id, new, &app.webhooks.keys, app.clock.now()).await? {
        EndpointCreated::Endpoint(endpoint, secret) => {
            tracing::info!(project.id = %project.id, token.id = caller.token.id, webhook.id = endpoint.id, "webhook created");
            change.answer(StatusCode::CREATED, &WithSecret::new(endpoint, &secret)).await
        }
        EndpointCreated::ProjectUnknown => Err(Failure::project_unknown()),
        EndpointCreated::TooMany => {
            let accepts = format!("at most {ENDPOINTS_MAX} webhooks; delete one first");
            Err(Failure::field("webhooks", "one more", &accepts))
        }
        EndpointCreated::NoSealKey => Err(Failure::internal(&"there is no key to seal webhook secrets with")),
    }
}

/// `GET /api/v1/webhooks`.
pub(super) async fn list(
    caller: Caller,
    State(app): State<App>,
    uri: Uri,
) -> Result<Json<WebhookList>, Failure> {
    let query = Query::of(&uri, QUERY)?;
    let project = caller.named_project(&app, &query, Permission::Read).await?;
    let webhooks = app.store.webhooks(&project.id).await?;
    Ok(Json(WebhookList { webhooks: webhooks.into_iter().map(WebhookView::from).collect() }))
}

/// `GET /api/v1/webhooks/{webhook}`.
pub(super) async fn show(on: OnWebhook<Reads>, State(app): State<App>) -> Result<Json<WebhookView>, Failure> {
    let found = app.store.webhook(&on.project.id, &on.webhook).await?;
    Ok(Json(found.ok_or_else(Failure::webhook_unknown)?.into()))
}

/// `PATCH /api/v1/webhooks/{webhook}`; fields that are absent stay as they are.
pub(super) async fn change(
    on: OnWebhook<Manages>,
    State(app): State<App>,
    call: Call,
) -> Result<Response, Failure> {
    let mut fields = call.fields()?.of(CHANGE)?;
    let url: Option<String> = fields.optional("url", target::ACCEPTED)?;
    let next = EndpointChange {
        url: url.map(|url| checked_url(&url, &app.webhooks.rules)).transpose()?,
        events: events(&mut fields)?,
        description: description(&mut fields)?,
        disabled: fields.optional("disabled", "true or false")?,
    };
    let mut change = call.begin_in(&app, &on.project.id).await?;
    let changed = change.change_webhook(&on.project.id, &on.webhook, next, app.clock.now()).await?;
    let changed = changed.ok_or_else(Failure::webhook_unknown)?;
    tracing::info!(project.id = %on.project.id, token.id = on.token.id, webhook.id = on.webhook, "webhook changed");
    change.answer(StatusCode::OK, &WebhookView::from(changed)).await
}

/// `DELETE /api/v1/webhooks/{webhook}`, with everything that waits for it and its log.
pub(super) async fn remove(
    on: OnWebhook<Manages>,
    State(app): State<App>,
    call: Call,
) -> Result<Response, Failure> {
    let mut change = call.begin_in(&app, &on.project.id).await?;
    let removed = change.delete_webhook(&on.project.id, &on.webhook, app.clock.now()).await?;
    let removed = removed.ok_or_else(Failure::webhook_unknown)?;
    tracing::info!(project.id = %on.project.id, token.id = on.token.id, webhook.id = on.webhook, "webhook deleted");
    change.answer(StatusCode::OK, &WebhookView::from(removed)).await
}

/// `POST /api/v1/webhooks/{webhook}/rotate`: a new secret; the one before signs too for a day.
pub(super) async fn rotate(
    on: OnWebhook<Manages>,
    State(app): State<App>,
    call: Call,
) -> Result<Response, Failure> {
    let now = app.clock.now();
    let mut change = call.begin_in(&app, &on.project.id).await?;
    let rotated = change.rotate_webhook(&on.project.id, &on.webhook, &app.webhooks.keys, now).await?;
    let (endpoint, secret) = rotated.ok_or_else(Failure::webhook_unknown)?;
    tracing::info!(project.id = %on.project.id, token.id = on.token.id, webhook.id = on.webhook, "webhook secret rotated");
    let until = Some(now.plus_ms(OVERLAP_MS).to_string());
    let shown = WithSecret { previous_until: until, ..WithSecret::new(endpoint, &secret) };
    change.answer(StatusCode::OK, &shown).await
}

/// The URL, if the rules permit it; what is wrong with it is told.
pub(crate) fn checked_url(text: &str, rules: &Rules) -> Result<String, Failure> {
    match Target::parse(text, rules) {
        // As the URL standard writes it, so that what is shown is what is called.
        Ok(target) => Ok(target.to_string()),
        Err(refused) => Err(Failure::field("url", text, &format!("{} ({refused})", target::ACCEPTED))),
    }
}

fn events(fields: &mut Fields) -> Result<Option<Filter>, Failure> {
    let accepted = Filter::accepted();
    let Some(names) = fields.optional::<Vec<String>>("events", &accepted)? else { return Ok(None) };
    let parsed = Filter::parse(names.iter().map(String::as_str));
    parsed.map(Some).map_err(|name| Failure::field("events", &name, &accepted))
}

fn description(fields: &mut Fields) -> Result<Option<String>, Failure> {
    let accepts = format!("a text of at most {DESCRIPTION_CHARS_MAX} characters");
    let text: Option<String> = fields.optional("description", &accepts)?;
    match text {
        Some(text) if !is_line(&text, DESCRIPTION_CHARS_MAX) => {
            Err(Failure::field("description", &text, &accepts))
        }
        text => Ok(text),
    }
}
