//! `/api/v1/session/provider`: people sign in by the identity provider that is configured.
//!
//! A page begins and sends its browser there; what comes back to the page is sent to us by it, so that only the browser
//! that began can finish. Who somebody is comes from the provider; what the person may do only ever from our books.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use shared::problem::ErrorCode;
use shared::time::Timestamp;

use super::{begin, cookie};
use crate::access::account::Account;
use crate::access::errand::Errand;
use crate::access::member::{NAME_CHARS_MAX, is_name};
use crate::access::session::Begun;
use crate::access::stranger::{Admission, Proven};
use crate::access::trail::Actor;
use crate::app::App;
use crate::http::admin;
use crate::http::body::Fields;
use crate::http::failure::Failure;
use crate::http::field::{Field, Length};
use crate::http::route::{Route, Who};
use crate::identity::{Provider, ProviderError};
use crate::store::{MemberKept, NewAccount, Work};

/// The longest code; providers' own are some hundreds of characters, and a few carry a whole token in them.
const CODE_CHARS_MAX: usize = 4_096;

/// A state of ours is some eighty characters.
const STATE_CHARS_MAX: usize = 200;

/// The page that the browser comes back to.
const BACK: &str = "/sign-in/provider";

const STATE: &str = "the state that came back with the browser";
const CODE: &str = "the code that came back with the browser";

const ARRIVAL: &[Field] = &[
    Field::required::<Length<1, STATE_CHARS_MAX>>("state", STATE).such_as("\"1795435200000.0a1b\""),
    Field::required::<Length<1, CODE_CHARS_MAX>>("code", CODE).such_as("\"SplxlOBeZQQYbYS6WxSbIA\""),
];

/// The endpoints of this module.
pub(super) fn routes() -> Vec<Route> {
    let failing = [ErrorCode::ProviderFailed, ErrorCode::NotFound];
    vec![
        Route::get("/api/v1/session/ways", Who::Anyone, "Show the ways to sign in", ways)
            .answers::<WaysView>(200, "By what people sign in here"),
        Route::post(
            "/api/v1/session/provider/begin",
            Who::SigningIn,
            "Begin to sign in by the identity provider",
            leave,
        )
        .answers::<Entrance>(200, "Where to send the browser; what it comes back with is in a cookie")
        .refuses(&failing),
        Route::post("/api/v1/session/provider", Who::SigningIn, "Sign in by the identity provider", arrive)
            .body(ARRIVAL)
            .answers::<super::SessionView>(200, "Who is signed in; the session is in a cookie")
            .refuses(&failing)
            .refuses(&[ErrorCode::ErrandRejected, ErrorCode::IdentityRejected, ErrorCode::EmailUnverified])
            .refuses(&[ErrorCode::AccountUnknown, ErrorCode::MemberLimit, ErrorCode::MemberExists]),
    ]
}

/// By what people sign in.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct WaysView {
    /// By an e-mail address and a password; always.
    password: bool,
    /// By an identity provider, where one is configured.
    provider: Option<ProviderView>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct ProviderView {
    /// What people call it.
    name: String,
}

/// Where to send the browser.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Entrance {
    url: String,
}

/// `GET /api/v1/session/ways`.
async fn ways(State(app): State<App>) -> Json<WaysView> {
    let provider = app.provider.as_ref().map(|one| ProviderView { name: one.settings().name().to_owned() });
    Json(WaysView { password: true, provider })
}

/// `POST /api/v1/session/provider/begin`.
async fn leave(State(app): State<App>, headers: HeaderMap) -> Result<Response, Failure> {
    let back = back(&headers)?;
    let (provider, now) = (configured(&app)?, app.clock.now());
    let errand = Errand::begin(now)?;
    let url = provider.entrance(&errand, &back, now).await.map_err(|error| refuse(&error))?;
    let mut answer = Json(Entrance { url: url.into() }).into_response();
    let cookie = cookie::set_errand(&headers, Some(errand.secret()))?;
    answer.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(answer)
}

/// `POST /api/v1/session/provider`.
async fn arrive(State(app): State<App>, headers: HeaderMap, fields: Fields) -> Result<Response, Failure> {
    let back = back(&headers)?;
    let mut fields = fields.of(ARRIVAL)?;
    let state: String = fields.required("state", STATE)?;
    let code: String = fields.required("code", CODE)?;
    let (provider, now) = (configured(&app)?, app.clock.now());
    let secret = cookie::errand(&headers).ok_or_else(errand_rejected)?;
    let errand = Errand::back(secret, &state, now).ok_or_else(errand_rejected)?;
    let proven = provider.prove(&errand, (code, &back), now).await.map_err(|error| refuse(&error))?;
    let mut work = app.store.begin().await?;
    // In one transaction with the session: whoever comes twice finds it done, also at another server.
    if !work.finish_errand(&state, now).await? {
        return Err(errand_rejected());
    }
    let account = account(&app, &mut work, &proven, now).await?;
    work.act_for(Actor::person(&account));
    let mut answer = begin(&app, &headers, work, (&account, Begun::Provider)).await?;
    answer.headers_mut().append(header::SET_COOKIE, cookie::set_errand(&headers, None)?);
    Ok(answer)
}

/// Whose account it is: who came before keeps it, whatever address the person has by now; an address opens the account
/// that has it once, for the first who proves it; an invitation makes one, and so does an admission that is configured.
async fn account(app: &App, work: &mut Work, proven: &Proven, now: Timestamp) -> Result<Account, Failure> {
    let bound = work.account_bound_to(proven).await?;
    let known = match &bound {
        Some(account) => Some(account.clone()),
        None => work.account_of(&proven.email).await?.map(|known| known.account),
    };
    if known.as_ref().is_some_and(|account| account.disabled.is_some()) {
        return Err(unknown(proven));
    }
    let account = match known {
        Some(account) => {
            work.act_for(Actor::Person { account: account.id.clone(), role: "person" });
            account
        }
        None => new_account(app, work, proven, now).await?,
    };
    if bound.is_none() && !work.bind_identity(&account, proven, now).await? {
        // Somebody else of the provider has signed in to it: the address was given to another person since.
        return Err(unknown(proven));
    }
    if account.email == proven.email {
        accept(work, &account, now).await?;
    }
    Ok(account)
}

/// An account for somebody who is invited or admitted, and for nobody else.
async fn new_account(
    app: &App,
    work: &mut Work,
    proven: &Proven,
    now: Timestamp,
) -> Result<Account, Failure> {
    let is_invited = work.is_invited(&proven.email, now).await?;
    let admissions = app.provider.as_ref().map_or(&[][..], |provider| &provider.settings().admissions);
    let admission = Admission::of(admissions, &proven.email).filter(|_| !is_invited);
    if !is_invited && admission.is_none() {
        return Err(unknown(proven));
    }
    let name = proven.name.clone().map(|name| name.trim().to_owned()).filter(|name| is_name(name));
    let name = name.unwrap_or_else(|| proven.email.as_str().chars().take(NAME_CHARS_MAX).collect());
    let new = NewAccount { email: proven.email.clone(), name, operator: false, password: None };
    let account = work.create_own_account(new, "person", now).await?;
    let account = account.ok_or_else(|| unknown(proven))?;
    if let Some(Admission { project, role, .. }) = admission {
        let Some(there) = app.store.project(project).await? else {
            tracing::error!(project.id = %project, "METER_OIDC_ADMIT names a project that is not there");
            return Err(unknown(proven));
        };
        let max = admin::members_max(app, &there).await?;
        admin::member(work.add_person(project, (&account, *role), max, now).await?)?;
    }
    Ok(account)
}

/// The person joins every project that has invited this address: an invitation has kept the place.
async fn accept(work: &mut Work, account: &Account, now: Timestamp) -> Result<(), Failure> {
    for invitation in work.take_invitations_of(&account.email, now).await? {
        let kept = work.add_person(&invitation.project, (account, invitation.role), None, now).await?;
        // Who is a member already stays what the person is.
        if !matches!(kept, MemberKept::Member(_)) {
            tracing::info!(project.id = %invitation.project, account.id = account.id, "an invitation was of no use");
        }
    }
    Ok(())
}

fn back(headers: &HeaderMap) -> Result<String, Failure> {
    Ok(format!("{}{BACK}", cookie::own_address(headers)?))
}

fn configured(app: &App) -> Result<&Provider, Failure> {
    app.provider.as_ref().ok_or_else(|| {
        Failure::new(
            ErrorCode::NotFound,
            "No identity provider is configured here. Sign in by a password or a link.",
        )
    })
}

fn errand_rejected() -> Failure {
    Failure::new(
        ErrorCode::ErrandRejected,
        "This sign-in was not begun in this browser, took longer than a quarter of an hour, or came back before. Sign in again.",
    )
}

fn unknown(Proven { email, .. }: &Proven) -> Failure {
    let email = email.as_str();
    let detail = format!(
        "{email} has neither an account nor an invitation here. Ask an owner of your project to invite that address."
    );
    Failure::new(ErrorCode::AccountUnknown, detail)
}

/// What a person reads of what went wrong; the log has the rest.
fn refuse(error: &ProviderError) -> Failure {
    tracing::warn!(error = %error, "nobody was signed in by the identity provider");
    let (code, detail) = match error {
        ProviderError::Failing(_) => (
            ErrorCode::ProviderFailed,
            "The identity provider cannot be reached, or answers what cannot be understood. Try again in a minute; the operator finds the reason in the log.",
        ),
        ProviderError::Refused(_) => (
            ErrorCode::IdentityRejected,
            "What the identity provider answers is not for this sign-in, or not accepted. Sign in again; if it stays so, the operator finds the reason in the log.",
        ),
        ProviderError::Unverified => (
            ErrorCode::EmailUnverified,
            "The identity provider does not say that it has verified your e-mail address. Verify it there, then sign in again.",
        ),
    };
    Failure::new(code, detail)
}
