//! A call that changes something: its body, and its `Idempotency-Key` where it has one.
//!
//! Every mutating endpoint takes a [`Call`] as its last argument, after the one that is its permission:
//!
//! ```text
//! async fn create(on: Permitted<ManageKeys>, State(app): State<App>, call: Call) -> Result<Response, Failure> {
//!     let fields = call.fields()?.only(&["mode"])?;        // refused: nothing was begun
//!     let mut change = call.begin_in(&app, &on.project.id).await?;  // answers here if it was made before
//!     let key = change.create_key(…).await?;               // writes, in the one transaction
//!     change.answer(StatusCode::CREATED, &view(key)).await // keeps the answer, commits, answers
//! }
//! ```
//!
//! [`Call::begin`] is for what concerns no single project.
//!
//! A [`Change`] that is dropped without an answer is rolled back, its name included. It holds the write
//! lock: no network call may stand between `begin` and `answer`. An endpoint that has to call somebody asks
//! [`Call::answered`] first, uses [`Call::once`] to make that call repeatable, and begins afterwards.

use std::ops::{Deref, DerefMut};

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use shared::ids::ProjectId;
use shared::problem::ErrorCode;

use super::body::{self, Fields, JSON_BYTES_MAX};
use super::failure::Failure;
use super::retry;
use super::session::cookie;
use super::site::Site;
use crate::access::session::SecretText;
use crate::access::trail::Actor;
use crate::app::App;
use crate::idempotency::{FirstAnswer, KEY_CHARS_MAX, Once, is_key};
use crate::store::{Begun, Store, Work};

/// Names a call.
const KEY_HEADER: &str = "idempotency-key";

/// Says that an answer is that of an earlier call.
pub(crate) const REPLAYED_HEADER: &str = "idempotency-replayed";

/// A call that changes something.
#[derive(Debug)]
pub(crate) struct Call {
    headers: HeaderMap,
    body: Bytes,
    once: Option<Once>,
    actor: Actor,
}

impl FromRequest<Site> for Call {
    type Rejection = Failure;

    async fn from_request(request: Request, site: &Site) -> Result<Self, Failure> {
        let (head, body) = request.into_parts();
        let body = body::read(site.timeouts, &head.headers, body, JSON_BYTES_MAX).await?;
        retry::keep_body(&head, &body);
        let key = key(&head.headers)?;
        let once = key.map(|key| once(&head, &key, &body));
        // The permission comes first; without one there is nobody to change anything for.
        let actor = head.extensions.get::<Actor>().cloned().ok_or_else(Failure::unauthorized)?;
        Ok(Self { headers: head.headers, body, once, actor })
    }
}

impl Call {
    /// The body, which has to be a JSON object.
    pub(crate) fn fields(&self) -> Result<Fields, Failure> {
        body::require_json(&self.headers)?;
        Fields::parse(&self.body)
    }

    /// Whether it is a command on the books themselves: such a call came over no network.
    pub(crate) fn is_commanded(&self) -> bool {
        matches!(self.actor, Actor::Command { .. })
    }

    /// The books, on behalf of who calls: for work that is several changes and may be done again.
    pub(crate) fn store(&self, app: &App) -> Store {
        app.store.by(self.actor.clone())
    }

    /// The caller's own name for the call, bound to who calls what.
    pub(crate) fn once(&self) -> Option<&Once> {
        self.once.as_ref()
    }

    /// Ends the handler with the answer of the same call, if it was made before; begins nothing.
    pub(crate) async fn answered(&self, app: &App) -> Result<(), Failure> {
        let Some(once) = &self.once else { return Ok(()) };
        // The name is given back: the work is dropped here.
        first(app.store.begin().await?, once, app).await.map(drop)
    }

    /// Begins a change to one project, or ends the handler with the answer of the same call if it was made
    /// before.
    pub(crate) async fn begin_in(self, app: &App, project: &ProjectId) -> Result<Change, Failure> {
        let work = self.store(app).begin_in(project).await?;
        self.named(app, work).await
    }

    /// As [`Call::begin_in`], for a change that may concern several projects.
    pub(crate) async fn begin(self, app: &App) -> Result<Change, Failure> {
        let work = self.store(app).begin().await?;
        self.named(app, work).await
    }

    async fn named(self, app: &App, work: Work) -> Result<Change, Failure> {
        let Some(once) = self.once else { return Ok(Change { work, once: None }) };
        let work = first(work, &once, app).await?;
        Ok(Change { work, once: Some(once) })
    }
}

/// What a call writes, until it is answered; what [`Work`] can write, it can.
#[derive(Debug)]
pub(crate) struct Change {
    work: Work,
    once: Option<Once>,
}

impl Change {
    /// Keeps the answer with everything that was written, commits, and answers.
    pub(crate) async fn answer<T: Serialize>(
        mut self,
        status: StatusCode,
        body: &T,
    ) -> Result<Response, Failure> {
        let body = serde_json::to_string(body).map_err(|error| Failure::internal(&error))?;
        let answer = FirstAnswer { status: status.as_u16(), body };
        if let Some(once) = &self.once {
            let sealed = once.seal(&answer)?;
            self.work.remember(once, &sealed).await?;
        }
        self.work.commit().await?;
        Ok(respond(answer))
    }
}

impl Deref for Change {
    type Target = Work;

    fn deref(&self) -> &Work {
        &self.work
    }
}

impl DerefMut for Change {
    fn deref_mut(&mut self) -> &mut Work {
        &mut self.work
    }
}

/// Takes the call's name, or ends the handler.
async fn first(work: Work, once: &Once, app: &App) -> Result<Work, Failure> {
    match work.once(once, app.clock.now()).await? {
        Begun::First(work) => Ok(work),
        Begun::Again(stored) => Err(once.open(&stored).map_or_else(
            || Failure::internal(&"the answer of an earlier call cannot be opened"),
            Failure::again,
        )),
        Begun::Reused => Err(Failure::new(
            ErrorCode::IdempotencyKeyReused,
            "This Idempotency-Key was used for another path or body. Nothing was changed; choose a new key.",
        )),
    }
}

/// An answer as HTTP.
pub(super) fn respond(answer: FirstAnswer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let json = HeaderValue::from_static("application/json");
    (status, [(header::CONTENT_TYPE, json)], answer.body).into_response()
}

fn key(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let mut keys = headers.get_all(KEY_HEADER).iter();
    let Some(key) = keys.next() else { return Ok(None) };
    match (key.to_str().ok().filter(|text| is_key(text)), keys.next()) {
        (Some(text), None) => Ok(Some(text.to_owned())),
        (Some(_) | None, _) => {
            let accepts = format!("one of 1 to {KEY_CHARS_MAX} visible ASCII characters");
            Err(Failure::field("Idempotency-Key", "something else", &accepts))
        }
    }
}

fn once(head: &Parts, key: &str, body: &[u8]) -> Once {
    // Whoever got past the permission has one of these: a token, or a session.
    let token = head.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let session = token.is_none().then(|| cookie::secret(&head.headers)).flatten();
    let credential = token.or(session.as_ref().map(SecretText::expose)).unwrap_or_default();
    let path = head.uri.path_and_query().map_or("", |path| path.as_str());
    Once::new(credential, key, &format!("{} {path}", head.method), body)
}
