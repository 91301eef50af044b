//! `GET /api/v1/events`: what happens in a project, as server-sent events. A watcher that comes back with
//! `Last-Event-ID` gets what it missed, from whichever process it reaches: the events are in the store.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::stream::{self, Stream};
use serde_json::json;
use shared::ids::ProjectId;
use shared::problem::ErrorCode;
use shared::time::Timestamp;
use shared::whole::whole;
use tokio::sync::watch;

use super::access::Caller;
use super::failure::Failure;
use super::field::{Field, Number, PROJECT};
use super::query::Query;
use super::route::{Route, Who};
use super::site::Site;
use crate::access::Permission;
use crate::app::App;
use crate::store::{Shown, StoreError};

/// Streams that one process shows at once: each looks into the store several times a second.
pub const STREAMS_MAX: usize = 256;

/// Of these, how many one project's watchers have, so that others find places.
pub const PROJECT_STREAMS_MAX: usize = 32;

/// Of these, how many one token or session has, so that it does not take its project's.
pub const TOKEN_STREAMS_MAX: usize = 8;

/// How soon an event is shown, also one that another process wrote.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// How often a silent stream says that it lives: below the minute after which proxies give up.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How often it is looked whether the watcher may still watch.
const CHECK_INTERVAL_MS: u64 = 5_000;

/// How long a stream lasts before its watcher has to come back: connections are spread over the processes anew.
const LIFE_MS_MAX: u64 = 3_600_000;

/// Events that are read at once.
const PAGE: u32 = 100;

/// How soon a watcher should come back, in milliseconds.
const RETRY_MS: u64 = 1_000;

const NUMBER_MAX: u64 = (1 << 53) - 1;

const AFTER: &str =
    "the number of an event: those after it are shown first; without it, only what happens from now on";

const QUERY: &[Field] = &[PROJECT, Field::optional::<Number<0, NUMBER_MAX>>("after", AFTER)];

/// The endpoints of this module.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/api/v1/events", Who::InProject(Permission::Read), "Watch a project", watch)
            .query(QUERY)
            .answers_text(200, "Server-sent events, until either side ends them", "text/event-stream")
            .refuses(&[ErrorCode::TooManyStreams]),
    ]
}

/// How many streams there are, and whether they have to end.
#[derive(Debug, Clone)]
pub(super) struct Streams {
    open: Arc<Mutex<Open>>,
    ending: Arc<watch::Sender<bool>>,
}

/// How many streams are open: of each project and of each token, where there are any.
#[derive(Debug, Default)]
struct Open {
    projects: BTreeMap<ProjectId, usize>,
    tokens: BTreeMap<String, usize>,
}

impl Open {
    fn all(&self) -> usize {
        self.projects.values().fold(0, |sum, open| sum.saturating_add(*open))
    }

    /// Why another one is refused.
    fn refusal(&self, project: &ProjectId, token: &str) -> Option<String> {
        let of = |open: Option<&usize>| open.copied().unwrap_or_default();
        let (whose, max) = if of(self.tokens.get(token)) >= TOKEN_STREAMS_MAX {
            ("of this token ", TOKEN_STREAMS_MAX)
        } else if of(self.projects.get(project)) >= PROJECT_STREAMS_MAX {
            ("of this project ", PROJECT_STREAMS_MAX)
        } else if self.all() >= STREAMS_MAX {
            ("", STREAMS_MAX)
        } else {
            return None;
        };
        Some(format!("{max} live streams {whose}are open here. Come back in a few seconds."))
    }
}

/// A stream's place among those that are open; dropped, it is free.
#[derive(Debug)]
struct Place {
    open: Arc<Mutex<Open>>,
    project: ProjectId,
    token: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        leave(&mut open.projects, &self.project);
        leave(&mut open.tokens, &self.token);
    }
}

/// One less; what has none is forgotten.
fn leave<K: Ord>(open: &mut BTreeMap<K, usize>, key: &K) {
    if let Some(count) = open.get_mut(key) {
        *count = count.saturating_sub(1);
    }
    open.retain(|_, count| *count > 0);
}

impl Default for Streams {
    fn default() -> Self {
        Self { open: Arc::default(), ending: Arc::new(watch::Sender::new(false)) }
    }
}

impl Streams {
    /// Ends every stream, and those that begin later: the process stops.
    pub(super) fn end(&self) {
        self.ending.send_replace(true);
    }

    /// How many are open.
    #[must_use]
    pub(super) fn open(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).all()
    }

    /// A place for a watcher of the project with that token.
    fn enter(&self, project: &ProjectId, token: &str) -> Result<Place, Failure> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(detail) = open.refusal(project, token) {
            return Err(Failure::new(ErrorCode::TooManyStreams, detail));
        }
        let Open { projects, tokens } = &mut *open;
        for count in
            [projects.entry(project.clone()).or_default(), tokens.entry(token.to_owned()).or_default()]
        {
            *count = count.saturating_add(1);
        }
        Ok(Place { open: Arc::clone(&self.open), project: project.clone(), token: token.to_owned() })
    }
}

/// Shows a project's events.
async fn watch(
    caller: Caller,
    State(site): State<Site>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Failure> {
    let query = Query::of(&uri, QUERY)?;
    let after =
        match (headers.get("last-event-id"), query.get("after")) {
            (Some(id), _) => Some(id.to_str().ok().and_then(event_number).ok_or_else(|| {
                Failure::field("Last-Event-ID", "something else", "the number of an event")
            })?),
            (None, Some(_)) => Some(query.required("after", AFTER, event_number)?),
            (None, None) => None,
        };
    let project = caller.named_project(&site.app, &query, Permission::Read).await?;
    let place = site.streams.enter(&project.id, &caller.token.id)?;
    let newest = site.app.store.newest_shown(&project.id).await?;
    let now = site.app.clock.now();
    let watcher = Watcher {
        ending: site.streams.ending.subscribe(),
        after: after.unwrap_or(newest),
        project: project.id,
        token: caller.token.id,
        is_person: caller.is_person,
        waiting: VecDeque::from([Event::default()
            .comment("watching")
            .retry(Duration::from_millis(RETRY_MS))]),
        began: now,
        checked: now,
        app: site.app,
        _place: place,
    };
    let events = stream::unfold(watcher, |mut watcher| async move {
        watcher.next().await.map(|event| (Ok(event), watcher))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT).text("alive")))
}

fn event_number(text: &str) -> Option<u64> {
    whole(text).filter(|number| *number <= NUMBER_MAX)
}

struct Watcher {
    app: App,
    project: ProjectId,
    token: String,
    is_person: bool,
    /// The number of the last event that was shown.
    after: u64,
    waiting: VecDeque<Event>,
    began: Timestamp,
    checked: Timestamp,
    ending: watch::Receiver<bool>,
    _place: Place,
}

impl Watcher {
    /// The next event, as soon as there is one; `None` ends the stream, and the watcher comes back.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            match self.read().await {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    tracing::warn!(project.id = %self.project, error = %error, "a live stream cannot be read");
                    return None;
                }
            }
            if self.waiting.is_empty() {
                tokio::select! {
                    () = tokio::time::sleep(POLL_INTERVAL) => {}
                    _ = self.ending.wait_for(|ending| *ending) => return None,
                }
            }
        }
    }

    /// Whether the token is not revoked, or the session not over, and the project still reached.
    async fn may_watch(&self, now: Timestamp) -> Result<bool, StoreError> {
        if self.is_person {
            return self.app.store.session_reaches(&self.token, &self.project, now).await;
        }
        let token = self.app.store.token(&self.token).await?;
        Ok(token.is_some_and(|token| token.revoked.is_none() && token.scope.reaches(&self.project)))
    }

    /// Reads what is new; false ends the stream.
    async fn read(&mut self) -> Result<bool, StoreError> {
        let now = self.app.clock.now();
        if *self.ending.borrow() || now.ms_since(self.began) > LIFE_MS_MAX {
            return Ok(false);
        }
        if now.ms_since(self.checked) > CHECK_INTERVAL_MS {
            self.checked = now;
            if !self.may_watch(now).await? {
                return Ok(false);
            }
        }
        let shown = self.app.store.shown(&self.project, self.after, PAGE).await?;
        if let Some(first) = shown.first()
            && first.number > self.after.saturating_add(1)
        {
            self.waiting.push_back(gap(self.after, first.number));
        }
        for event in shown {
            self.after = event.number;
            self.waiting.push_back(frame(&event));
        }
        Ok(true)
    }
}

/// Tells that events were forgotten before the watcher came for them.
fn gap(after: u64, next: u64) -> Event {
    Event::default().event("stream.gap").data(json!({ "after": after, "next": next }).to_string())
}

fn frame(shown: &Shown) -> Event {
    let data = format!(r#"{{"type":"{}","timestamp":"{}","data":{}}}"#, shown.kind, shown.at, shown.data);
    Event::default().id(shown.number.to_string()).event(&shown.kind).data(data)
}
