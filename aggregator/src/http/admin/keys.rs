//! `/api/v1/admin/projects/{project}/keys`: project keys, shown once when they are made.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use shared::ids::{KeyId, Mode};
use shared::key::ProjectKey;
use shared::problem::ErrorCode;

use crate::access::Permission;
use crate::app::App;
use crate::http::access::{ManageKeys, NamedInPath, Permitted, Read};
use crate::http::call::Call;
use crate::http::failure::Failure;
use crate::http::field::Field;
use crate::http::route::{Route, Who};
use crate::project::{ACTIVE_KEYS_MAX, Key};
use crate::store::KeyCreated;

const NEW: &[Field] =
    &[Field::optional::<Mode>("mode", "live or test; live where it is absent").such_as("\"test\"")];

/// The endpoints of this module.
pub(super) fn routes() -> Vec<Route> {
    let (read, manage) = (Who::InProject(Permission::Read), Who::InProject(Permission::ManageKeys));
    vec![
        Route::get("/api/v1/admin/projects/{project}/keys", read, "List keys", list)
            .answers::<KeyList>(200, "All keys that the project ever had"),
        Route::post("/api/v1/admin/projects/{project}/keys", manage, "Make a key", create)
            .body(NEW)
            .answers::<NewKeyView>(201, "The key, with the text that is shown this once"),
        Route::delete("/api/v1/admin/projects/{project}/keys/{name}", manage, "Revoke a key", revoke)
            .answers::<KeyView>(200, "The key, which the edge refuses within seconds")
            .refuses(&[ErrorCode::KeyUnknown]),
    ]
}

/// A key as administrators see it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct KeyView {
    id: KeyId,
    mode: Mode,
    created_at: String,
    revoked_at: Option<String>,
}

impl From<Key> for KeyView {
    fn from(key: Key) -> Self {
        Self {
            id: key.id,
            mode: key.mode,
            created_at: key.created.to_string(),
            revoked_at: key.revoked.map(|at| at.to_string()),
        }
    }
}

impl KeyView {
    /// The key in one line, for people.
    #[must_use]
    pub fn line(&self) -> String {
        let Self { id, mode, created_at, revoked_at } = self;
        let revoked = revoked_at.as_ref().map_or_else(String::new, |at| format!(", revoked {at}"));
        format!("{id}: {mode}, made {created_at}{revoked}")
    }
}

/// All keys of a project.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct KeyList {
    keys: Vec<KeyView>,
}

/// A new key; the only answer that has its text.
#[derive(Serialize, JsonSchema)]
pub(crate) struct NewKeyView {
    #[serde(flatten)]
    view: KeyView,
    key: String,
}

/// Lists a project's keys, revoked ones too.
pub(crate) async fn list(on: Permitted<Read>, State(app): State<App>) -> Result<Json<KeyList>, Failure> {
    let keys = app.store.keys(&on.project.id).await?;
    Ok(Json(KeyList { keys: keys.into_iter().map(KeyView::from).collect() }))
}

/// Makes a key.
pub(crate) async fn create(
    on: Permitted<ManageKeys>,
    State(app): State<App>,
    call: Call,
) -> Result<Response, Failure> {
    let mode = call.fields()?.of(NEW)?.optional("mode", "live or test")?.unwrap_or(Mode::Live);
    let mut change = call.begin_in(&app, &on.project.id).await?;
    let key = match change.create_key(&on.project.id, mode, app.clock.now()).await? {
        KeyCreated::Key(key) => key,
        KeyCreated::ProjectUnknown => return Err(Failure::project_unknown()),
        KeyCreated::TooMany => {
            let accepts = format!("at most {ACTIVE_KEYS_MAX} keys that are not revoked; revoke one first");
            return Err(Failure::field("keys", "one more", &accepts));
        }
    };
    tracing::info!(project.id = %on.project.id, token.id = on.token.id, key.id = %key.id, "key created");
    let text = app.key_secrets.mint(&ProjectKey { project: on.project.id, mode, id: key.id.clone() });
    change.answer(StatusCode::CREATED, &NewKeyView { view: key.into(), key: text }).await
}

/// Revokes a key; the edge refuses it within seconds.
pub(crate) async fn revoke(
    on: Permitted<ManageKeys>,
    NamedInPath(name): NamedInPath,
    State(app): State<App>,
    call: Call,
) -> Result<Response, Failure> {
    let id = KeyId::parse(&name).map_err(|_| Failure::key_unknown())?;
    let mut change = call.begin_in(&app, &on.project.id).await?;
    let key = change.revoke_key(&on.project.id, &id, app.clock.now()).await?;
    let key = key.ok_or_else(Failure::key_unknown)?;
    tracing::info!(project.id = %on.project.id, token.id = on.token.id, key.id = %id, "key revoked");
    change.answer(StatusCode::OK, &KeyView::from(key)).await
}
