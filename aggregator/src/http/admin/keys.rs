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
use crate::http::field::{Field, Number};
use crate::http::route::{Route, Who};
use crate::projects::project::{ACTIVE_KEYS_MAX, Key, OVERLAP_S, OVERLAP_S_MAX};
use crate::store::{KeyCreated, KeyRotated};

const NEW: &[Field] =
    &[Field::optional::<Mode>("mode", "live or test; live where it is absent").such_as("\"test\"")];

const OVERLAP: &str = "0 to 604800 seconds; a day where it is absent";

const ROTATE: &[Field] = &[Field::optional::<Number<0, OVERLAP_S_MAX>>("overlap_s", OVERLAP).such_as("3600")];

/// The endpoints of this module.
pub(super) fn routes() -> Vec<Route> {
    let (read, manage) = (Who::InProject(Permission::Read), Who::InProject(Permission::ManageKeys));
    vec![
        Route::get("/api/v1/admin/projects/{project}/keys", read, "List keys", list)
            .answers::<KeyList>(200, "All keys that the project ever had"),
        Route::post("/api/v1/admin/projects/{project}/keys", manage, "Make a key", create)
            .body(NEW)
            .answers::<NewKeyView>(201, "The key, with the text that is shown this once"),
        Route::post("/api/v1/admin/projects/{project}/keys/{name}/rotate", manage, "Rotate a key", rotate)
            .body(ROTATE)
            .answers::<RotatedKeyView>(
                201,
                "The key that takes its place, with the text that is shown this once",
            )
            .refuses(&[ErrorCode::KeyUnknown]),
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
    /// When it is revoked by itself, because another took its place.
    expires_at: Option<String>,
}

impl From<Key> for KeyView {
    fn from(key: Key) -> Self {
        Self {
            id: key.id,
            mode: key.mode,
            created_at: key.created.to_string(),
            revoked_at: key.revoked.map(|at| at.to_string()),
            expires_at: key.expires.map(|at| at.to_string()),
        }
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

/// A key in the place of another.
#[derive(Serialize, JsonSchema)]
pub(crate) struct RotatedKeyView {
    #[serde(flatten)]
    new: NewKeyView,
    /// The key that it replaces.
    replaces: KeyId,
    /// Until when that one is accepted.
    replaced_until: String,
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
        KeyCreated::TooMany => return Err(too_many()),
    };
    tracing::info!(project.id = %on.project.id, token.id = on.token.id, key.id = %key.id, "key created");
    let text = app.key_secrets.mint(&ProjectKey { project: on.project.id, mode, id: key.id.clone() });
    change.answer(StatusCode::CREATED, &NewKeyView { view: key.into(), key: text }).await
}

/// Makes a key in the place of another, which goes on being accepted for a while.
pub(crate) async fn rotate(
    on: Permitted<ManageKeys>,
    NamedInPath(name): NamedInPath,
    State(app): State<App>,
    call: Call,
) -> Result<Response, Failure> {
    let overlap_s: Option<u64> = call.fields()?.of(ROTATE)?.optional("overlap_s", OVERLAP)?;
    let overlap_s = overlap_s.unwrap_or(OVERLAP_S);
    if overlap_s > OVERLAP_S_MAX {
        return Err(Failure::field("overlap_s", &overlap_s.to_string(), OVERLAP));
    }
    let id = KeyId::parse(&name).map_err(|_| Failure::key_unknown())?;
    let mut change = call.begin_in(&app, &on.project.id).await?;
    let rotated =
        change.rotate_key(&on.project.id, (&id, overlap_s.saturating_mul(1_000)), app.clock.now()).await?;
    let (key, expires) = match rotated {
        KeyRotated::Key(key, expires) => (key, expires),
        KeyRotated::Unknown => return Err(Failure::key_unknown()),
        KeyRotated::TooMany => return Err(too_many()),
    };
    tracing::info!(project.id = %on.project.id, token.id = on.token.id, key.id = %id, new.id = %key.id, "key rotated");
    let minted = ProjectKey { project: on.project.id, mode: key.mode, id: key.id.clone() };
    let text = app.key_secrets.mint(&minted);
    let new = RotatedKeyView {
        new: NewKeyView { view: key.into(), key: text },
        replaces: id,
        replaced_until: expires.to_string(),
    };
    change.answer(StatusCode::CREATED, &new).await
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

fn too_many() -> Failure {
    let accepts = format!("at most {ACTIVE_KEYS_MAX} keys that are not revoked; revoke one first");
    Failure::field("keys", "one more", &accepts)
}
