//! `/api/v1/session`: people sign in and out. What a session may do, it may do wherever a token may.

pub(super) mod cookie;
pub(super) mod person;
mod proof;
mod provider;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use shared::ids::ProjectId;
use shared::problem::ErrorCode;

use self::person::Person;
use self::proof::From;
use super::body::Fields;
use super::failure::Failure;
use super::field::{EmailText, Field, Length, Text};
use super::route::{Route, Who};
use crate::access::Role;
use crate::access::account::{
    Account, EMAIL, Email, Membership, PASSWORD, PASSWORD_CHARS_MAX, PASSWORD_CHARS_MIN, is_password,
};
use crate::access::member::{NAME, NAME_CHARS_MAX};
use crate::access::session::{Begun, Purpose, SecretText};
use crate::access::trail::Actor;
use crate::app::App;
use crate::store::{NewAccount, SignedIn, Work};

const NEW: &[Field] = &[
    Field::required::<EmailText>("email", EMAIL).such_as("\"ada@example.com\""),
    Field::required::<Length<1, PASSWORD_CHARS_MAX>>("password", "the account's password")
        .such_as("\"correct horse\""),
];

const LINK: &[Field] =
    &[Field::required::<String>("token", "the token of a sign-in link, which begins with mlk_")
        .such_as("\"mlk_\"")];

const INVITATION: &[Field] = &[
    Field::required::<String>("token", "the token of an invitation, which begins with min_")
        .such_as("\"min_\""),
    Field::required::<Text<1, NAME_CHARS_MAX>>("name", NAME).such_as("\"Ada Lovelace\""),
    Field::required::<Length<PASSWORD_CHARS_MIN, PASSWORD_CHARS_MAX>>("password", PASSWORD)
        .such_as("\"correct horse battery\""),
];

const CURRENT: &str = "the password so far; left out where there is none, or a link began the session";

const SET_PASSWORD: &[Field] = &[
    Field::required::<Length<PASSWORD_CHARS_MIN, PASSWORD_CHARS_MAX>>("password", PASSWORD)
        .such_as("\"correct horse battery\""),
    Field::optional::<Length<1, PASSWORD_CHARS_MAX>>("current", CURRENT),
];

/// The endpoints of this module.
pub(super) fn routes() -> Vec<Route> {
    let own = own_routes();
    [own, provider::routes()].concat()
}

fn own_routes() -> Vec<Route> {
    let attempts = [ErrorCode::SignInRejected, ErrorCode::TooManyAttempts];
    vec![
        Route::get("/api/v1/session", Who::Person, "Show who is signed in", show)
            .answers::<SessionView>(200, "Who is signed in, and until when"),
        Route::post("/api/v1/session", Who::SigningIn, "Sign in", sign_in)
            .body(NEW)
            .answers::<SessionView>(200, "Who is signed in; the session is in a cookie")
            .refuses(&attempts),
        Route::delete("/api/v1/session", Who::Person, "Sign out", sign_out)
            .answers::<SignedOut>(200, "The session is over"),
        Route::post("/api/v1/session/link", Who::SigningIn, "Sign in by a link", by_link)
            .body(LINK)
            .answers::<SessionView>(200, "Who is signed in; the link is used")
            .refuses(&[ErrorCode::LinkRejected]),
        Route::post("/api/v1/session/invitation", Who::SigningIn, "Accept an invitation", by_invitation)
            .body(INVITATION)
            .answers::<SessionView>(200, "Who is signed in, and a member from now on")
            .refuses(&[ErrorCode::LinkRejected, ErrorCode::MemberLimit, ErrorCode::MemberExists])
            .refuses(&attempts),
        Route::post("/api/v1/session/password", Who::Person, "Set a password", set_password)
            .body(SET_PASSWORD)
            .answers::<SessionView>(200, "Who is signed in; all other sessions of the account are over")
            .refuses(&attempts),
    ]
}

/// Who is signed in.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SessionView {
    account: String,
    name: String,
    email: String,
    /// Whether the person may do everything in every project.
    operator: bool,
    has_password: bool,
    /// The projects that the person is a member of.
    memberships: Vec<MembershipView>,
    /// What to send as `Palveron-Csrf` with every call that changes something.
    csrf: String,
    signed_in_at: String,
    /// When the session ends, whatever happens.
    expires_at: String,
    /// When it ends unless there is another call.
    idle_ends_at: String,
}

#[derive(Debug, Serialize, JsonSchema)]
struct MembershipView {
    project: ProjectId,
    role: Role,
    /// The member's id there.
    member: String,
}

impl SessionView {
    fn new(signed_in: SignedIn, secret: &SecretText) -> Self {
        let SignedIn { times, account, has_password, memberships, .. } = signed_in;
        let view = |Membership { project, member, role }| MembershipView { project, role, member };
        Self {
            account: account.id,
            name: account.name,
            email: account.email.as_str().to_owned(),
            operator: account.operator,
            has_password,
            memberships: memberships.into_iter().map(view).collect(),
            csrf: secret.csrf(),
            signed_in_at: times.began.to_string(),
            expires_at: times.expires().to_string(),
            idle_ends_at: times.idle_ends().to_string(),
        }
    }
}

/// The session is over.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SignedOut {
    signed_out: bool,
}

/// `GET /api/v1/session`.
async fn show(person: Person) -> Json<SessionView> {
    Json(SessionView::new(person.signed_in, &person.secret))
}

/// `POST /api/v1/session`.
async fn sign_in(
    State(app): State<App>,
    from: From,
    headers: HeaderMap,
    fields: Fields,
) -> Result<Response, Failure> {
    cookie::require_own_origin(&headers)?;
    let mut fields = fields.of(NEW)?;
    let email: Email = fields.required("email", EMAIL)?;
    let password: String = fields.required("password", "the account's password")?;
    let account = proof::by_password(&app, from, (&email, password)).await?;
    let work = app.store.by(Actor::person(&account)).begin().await?;
    begin(&app, &headers, work, (&account, Begun::Password)).await
}

/// `POST /api/v1/session/link`.
async fn by_link(State(app): State<App>, headers: HeaderMap, fields: Fields) -> Result<Response, Failure> {
    cookie::require_own_origin(&headers)?;
    let text: String = fields.of(LINK)?.required("token", "the token of a sign-in link")?;
    let link = SecretText::parse(Purpose::Link, &text).ok_or_else(link_rejected)?;
    let mut work = app.store.begin().await?;
    let known = work.take_link(&link.hash(), app.clock.now()).await?.ok_or_else(link_rejected)?;
    work.act_for(Actor::person(&known.account));
    begin(&app, &headers, work, (&known.account, Begun::Link)).await
}

/// `POST /api/v1/session/invitation`: makes the account, or joins the one that is there to the project.
async fn by_invitation(
    State(app): State<App>,
    from: From,
    headers: HeaderMap,
    fields: Fields,
) -> Result<Response, Failure> {
    cookie::require_own_origin(&headers)?;
    let mut fields = fields.of(INVITATION)?;
    let text: String = fields.required("token", "the token of an invitation")?;
    let name = super::admin::name(&mut fields)?;
    let password = new_password(&mut fields)?;
    let invitation = SecretText::parse(Purpose::Invitation, &text).ok_or_else(link_rejected)?;
    let found = app.store.invitation(&invitation.hash(), app.clock.now()).await?.ok_or_else(link_rejected)?;
    // Whoever made the invitation knows it too: it must not open an account that is there already.
    let is_there = app.store.account_of(&found.email).await?.is_some();
    let hash = if is_there {
        proof::by_password(&app, from, (&found.email, password)).await?;
        None
    } else {
        Some(proof::hash(password).await?)
    };
    let project = app.store.project(&found.project).await?.ok_or_else(link_rejected)?;
    let max = super::admin::members_max(&app, &project).await?;
    let (mut work, now) = (app.store.begin().await?, app.clock.now());
    let taken = work.take_invitation(&invitation.hash(), now).await?.ok_or_else(link_rejected)?;
    let role = taken.role.as_str();
    let account = match (hash, work.account_of(&taken.email).await?) {
        (None, Some(known)) => {
            work.act_for(Actor::Person { account: known.account.id.clone(), role });
            known.account
        }
        (Some(hash), None) => {
            let email = taken.email.clone();
            let new = NewAccount { email, name, operator: false, password: Some(hash) };
            work.create_own_account(new, role, now).await?.ok_or_else(proof::rejected)?
        }
        // An account was made, or is gone, since we looked.
        (Some(_), Some(_)) | (None, None) => return Err(proof::rejected()),
    };
    let kept = work.add_person(&taken.project, (&account, taken.role), max, now).await?;
    super::admin::member(kept)?;
    begin(&app, &headers, work, (&account, Begun::Invitation)).await
}

/// `POST /api/v1/session/password`: every other session of the account ends, and this one has a new secret.
async fn set_password(
    person: Person,
    State(app): State<App>,
    from: From,
    headers: HeaderMap,
    fields: Fields,
) -> Result<Response, Failure> {
    let mut fields = fields.of(SET_PASSWORD)?;
    let password = new_password(&mut fields)?;
    let current: Option<String> = fields.optional("current", CURRENT)?;
    let SignedIn { account, way, has_password, .. } = &person.signed_in;
    if *has_password && *way != Begun::Link {
        let current = current.ok_or_else(|| Failure::missing("current", CURRENT))?;
        proof::by_password(&app, from, (&account.email, current)).await?;
    }
    let hash = proof::hash(password).await?;
    let mut work = app.store.by(Actor::person(account)).begin().await?;
    work.set_password(account, &hash, app.clock.now()).await?;
    work.end_sessions(&account.id).await?;
    begin(&app, &headers, work, (account, Begun::Password)).await
}

/// `DELETE /api/v1/session`.
async fn sign_out(person: Person, State(app): State<App>, headers: HeaderMap) -> Result<Response, Failure> {
    let account = &person.signed_in.account;
    let mut work = app.store.by(Actor::person(account)).begin().await?;
    work.end_session(&person.secret.hash()).await?;
    work.note_sign_out(account, app.clock.now()).await?;
    work.commit().await?;
    tracing::info!(account.id = account.id, "signed out");
    let mut answer = Json(SignedOut { signed_out: true }).into_response();
    answer.headers_mut().insert(header::SET_COOKIE, cookie::set(&headers, None)?);
    Ok(answer)
}

/// Begins a session with a secret that nobody had before; one that the browser came with is over.
async fn begin(
    app: &App,
    headers: &HeaderMap,
    mut work: Work,
    (account, way): (&Account, Begun),
) -> Result<Response, Failure> {
    let secret = SecretText::generate(Purpose::Session)?;
    let now = app.clock.now();
    if let Some(earlier) = cookie::secret(headers) {
        work.end_session(&earlier.hash()).await?;
    }
    work.begin_session((account, way), &secret.hash(), now).await?;
    work.commit().await?;
    tracing::info!(account.id = account.id, way = way.as_str(), "signed in");
    let signed_in = app.store.signed_in(&secret.hash(), now).await?;
    let signed_in = signed_in.ok_or_else(proof::rejected)?;
    let mut answer = (StatusCode::OK, Json(SessionView::new(signed_in, &secret))).into_response();
    answer.headers_mut().insert(header::SET_COOKIE, cookie::set(headers, Some(&secret))?);
    Ok(answer)
}

/// A password is not repeated in a refusal.
fn new_password(fields: &mut Fields) -> Result<String, Failure> {
    let text: String = fields.required("password", PASSWORD)?;
    if is_password(&text) { Ok(text) } else { Err(Failure::field("password", "another length", PASSWORD)) }
}

fn link_rejected() -> Failure {
    Failure::new(
        ErrorCode::LinkRejected,
        "This link was used, withdrawn or is too old. Ask whoever gave it to you for another.",
    )
}
