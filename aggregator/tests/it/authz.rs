//! Roles × endpoints × {own, other, missing} project, generated from the rows that the router is made from.
//!
//! A new endpoint needs nothing here, unless its path has a name of a new kind: then `World::named` makes one.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};

use aggregator::access::account::Email;
use aggregator::access::session::{Purpose, SecretText};
use aggregator::access::{Role, Scope};
use aggregator::clock::Clock;
use aggregator::http::{Content, Field, Route, Timeouts, Who, routes};
use aggregator::jobs::month_close;
use aggregator::payments::event::Envelope;
use aggregator::store::{EventState, Invited, MemberKept, Outcome};
use shared::plan::Plan;
use shared::problem::ErrorCode;
use shared::time::Day;

use crate::support::{Answer, Folder, Meter, Session, noon, project_id};

/// Two projects, and a token and a session of each role in the first.
pub(crate) struct World {
    pub(crate) meter: Meter,
    tokens: Vec<(Option<Role>, String)>,
    sessions: Vec<(Option<Role>, Session)>,
}

impl World {
    pub(crate) async fn new() -> Self {
        let september = Day::parse("2026-09-10").unwrap().start();
        let meter = Meter::start_with(Folder::new(), Clock::manual(september), Timeouts::default()).await;
        for project in ["own", "other"] {
            // It has places for everybody who is added here, and overage.
            meter.project(project, Plan::Business).await;
            let body = format!(
                r#"{{"project":"{project}","mode":"live","source":"home","incarnation":"aaaaaaaa","seq":1,"cells":[{{"day":"2026-09-10","kind":"verify","agent":"a","units":100}}]}}"#
            );
            assert_eq!(meter.flush(&body).await.status, 200);
        }
        // September is closed by now, so that it can be corrected.
        meter.app.clock.set(noon());
        month_close::close_due(&meter.app).await.unwrap();
        let mut tokens = vec![(None, meter.operator().await)];
        for role in Role::ALL {
            tokens.push((Some(role), meter.member("own", role).await));
        }
        let mut sessions = vec![(None, meter.session(None).await)];
        for role in Role::ALL {
            sessions.push((Some(role), meter.session(Some(("own", role))).await));
        }
        Self { meter, tokens, sessions }
    }

    /// Calls an endpoint on a project, with what its row shows as examples and names that are there.
    pub(crate) async fn call(&self, route: &Route, project: &str, authorization: Option<&str>) -> Answer {
        let headers: Vec<_> = authorization.map(|value| ("authorization", value)).into_iter().collect();
        self.call_with(route, project, &headers).await
    }

    /// As [`World::call`], with whatever says who calls.
    pub(crate) async fn call_with(&self, route: &Route, project: &str, who: &[(&str, &str)]) -> Answer {
        let (path, body) = self.request(route, project).await;
        let headers = [&[("content-type", "application/json")], who].concat();
        let mut answer = self.meter.send(route.method.as_str(), &path, &headers, &body).await;
        answer.headers.retain(|(name, _)| name != "date");
        answer
    }

    /// The path and the body of such a call.
    pub(crate) async fn request(&self, route: &Route, project: &str) -> (String, String) {
        // What is there is made in the other project where the one that is asked for is missing.
        let there = if project == "missing" { "other" } else { project };
        let (mut path, mut made, mut kind) = (String::new(), Vec::new(), "");
        for part in route.path.split('/').skip(1) {
            let value = match part.strip_prefix('{') {
                None => part.to_owned(),
                Some("project}") => project.to_owned(),
                Some(_) => {
                    made.push(self.named(route, kind, (there, &made)).await);
                    made.last().unwrap().clone()
                }
            };
            kind = part;
            path = format!("{path}/{value}");
        }
        let pairs = route.query.iter().filter(|field| field.required || field.name == "project");
        let pairs = pairs.map(|field| match field.name {
            "project" => format!("project={project}"),
            name => format!("{name}={}", example(field).as_str().unwrap()),
        });
        let query: Vec<String> = pairs.collect();
        if !query.is_empty() {
            path = format!("{path}?{}", query.join("&"));
        }
        (path, route.body.map_or_else(String::new, body))
    }

    /// Something of a project that a name in a path can stand for, made anew for each call. `kind` is what stands
    /// before the name, `made` what the path's earlier names stand for.
    async fn named(&self, route: &Route, kind: &str, (project, made): (&str, &[String])) -> String {
        match kind {
            "contracts" => self.contract().await,
            "documents" => {
                let store = &self.meter.app.store;
                let contract = shared::ids::ContractId::parse(&made[0]).unwrap();
                // October is over, and the contract's project began in November: it has nothing to close.
                let period = Day::parse("2026-10-01").unwrap().period();
                store.settle_contract(&contract, period, noon()).await.unwrap().unwrap().name()
            }
            "reporters" => {
                let path = format!("/api/v1/admin/contracts/{}/reporters", self.contract().await);
                let id = aggregator::random::id().unwrap();
                self.made(&path, &format!(r#"{{"id":"{id}","rpm":60}}"#)).await;
                id
            }
            "keys" if route.path.starts_with("/api/v1/admin/reporters/") => {
                let key = self.made(&format!("/api/v1/admin/reporters/{}/keys", made[0]), "{}").await;
                key["id"].as_str().unwrap().to_owned()
            }
            "keys" => self.meter.key(project).await.to_string(),
            "tokens" => {
                let viewer = Scope::Project { project: project_id(project), role: Role::Viewer };
                self.meter.token(viewer).await.0
            }
            "members" => {
                let mut work = self.meter.app.store.begin_in(&project_id(project)).await.unwrap();
                let new = (aggregator::random::id().unwrap(), Role::Viewer);
                let kept = work.add_member(&project_id(project), new, None, noon()).await.unwrap();
                work.commit().await.unwrap();
                let MemberKept::Member(member) = kept else { panic!("{kept:?}") };
                member.id
            }
            "webhooks" => self.meter.webhook(project, "https://example.com/").await.0,
            "deliveries" => self.meter.delivery(project).await,
            "quarantine" => {
                let incarnation = aggregator::random::id().unwrap();
                let body = format!(
                    r#"{{"project":"{project}","mode":"live","source":"home","incarnation":"{incarnation}","seq":1,"cells":[{{"day":"2026-11-23","kind":"verify","agent":"a","units":900000000}}]}}"#
                );
                assert_eq!(self.meter.flush(&body).await.status, 200);
                let cells = self.meter.app.store.quarantine(&project_id(project)).await.unwrap();
                let cell = cells.into_iter().find(|cell| cell.incarnation.as_str() == incarnation);
                cell.unwrap().id
            }
            "invitations" => {
                let (email, hash) = (email(), SecretText::generate(Purpose::Invitation).unwrap().hash());
                let (id, new) = (project_id(project), (email, Role::Viewer, &hash));
                let mut work = self.meter.app.store.begin_in(&id).await.unwrap();
                let invited = work.invite(&id, new, None, self.meter.app.clock.now()).await.unwrap();
                work.commit().await.unwrap();
                let Invited::Invitation(invitation) = invited else { panic!("{invited:?}") };
                invitation.id
            }
            "accounts" => self.meter.account(false).await.id,
            "parked" => self.parked().await,
            "errors" => "not_found".to_owned(),
            other => panic!("{route:?}: World::named makes no name of {other} yet"),
        }
    }

    /// An event that waits for a person.
    async fn parked(&self) -> String {
        let id = format!("evt_{}", aggregator::random::id().unwrap());
        let raw = format!(
            r#"{{"id":"{id}","type":"invoice.paid","livemode":false,"data":{{"object":{{"id":"in_1"}}}}}}"#
        );
        let envelope = Envelope::parse(raw.as_bytes()).unwrap();
        let store = &self.meter.app.store;
        store.take_events(&[(&envelope, raw.as_bytes())], noon()).await.unwrap();
        let outcome = Outcome { state: EventState::Parked, note: Some("test".to_owned()) };
        store.event_done(&id, &outcome).await.unwrap();
        id
    }

    /// What an operator makes there.
    async fn made(&self, path: &str, body: &str) -> serde_json::Value {
        let (_, operator) = &self.tokens[0];
        let answer = self.meter.json("POST", path, operator, body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.value()
    }

    /// A contract over a project of its own.
    async fn contract(&self) -> String {
        let (id, project) = (aggregator::random::id().unwrap(), aggregator::random::id().unwrap());
        self.meter.project(&project, Plan::Pro).await;
        let body = format!(
            r#"{{"id":"{id}","customer":"Acme","projects":["{project}"],"volume":1,"tiers":[{{"up_to":null,"per_1000":1}}],"minimum":1,"first_day":"2026-11-01","sla":"none","buyer":{{"country":"DE"}}}}"#
        );
        self.made("/api/v1/admin/contracts", &body).await;
        id
    }
}

/// An address that nobody has yet.
fn email() -> Email {
    Email::parse(&format!("{}@example.com", aggregator::random::id().unwrap())).unwrap()
}

/// The value that a field's row shows.
fn example(field: &Field) -> serde_json::Value {
    serde_json::from_str(field.example).unwrap_or_else(|_| panic!("{field:?} needs an example"))
}

/// A plan catalogue of a version that no meter has yet.
fn newer(mut catalogue: serde_json::Value) -> serde_json::Value {
    static VERSION: AtomicU32 = AtomicU32::new(2);
    catalogue["version"] = VERSION.fetch_add(1, Ordering::Relaxed).into();
    catalogue
}

/// A body of every example, with an id that is not there yet.
fn body(fields: &[Field]) -> String {
    let shown = fields.iter().filter(|field| field.required || !field.example.is_empty());
    let pairs = shown.map(|field| match field.name {
        "email" => (field.name.to_owned(), email().as_str().into()),
        "id" | "name" => (field.name.to_owned(), aggregator::random::id().unwrap().into()),
        "catalogue" => (field.name.to_owned(), newer(example(field))),
        _ if field.example.is_empty() => (field.name.to_owned(), serde_json::Value::Null),
        name => (name.to_owned(), example(field)),
    });
    serde_json::Value::Object(pairs.collect()).to_string()
}

/// Endpoints that need a token; a live stream has no end that this client could wait for.
fn guarded() -> impl Iterator<Item = Route> {
    let streams = |route: &Route| matches!(route.answers[0].content, Content::Text("text/event-stream"));
    routes().into_iter().filter(move |route| route.who.needs_token() && !streams(route))
}

/// Whether a call has homes move: this meter has no Redis, so that there is nowhere else for them to be.
pub(crate) fn needs_redis(route: &Route) -> bool {
    route.path.ends_with("/homes") && route.changes()
}

/// What a permitted call is answered: this meter has no account at Stripe.
fn permitted(route: &Route) -> u16 {
    let needs_account = route.path.starts_with("/api/v1/stripe/")
        || route.path == "/api/v1/admin/stripe/sync"
        || route.path.ends_with("/dry-run")
        || route.path.ends_with("/stripe");
    if needs_account {
        ErrorCode::PaymentsUnavailable.status()
    } else if needs_redis(route) {
        ErrorCode::FieldRejected.status()
    } else {
        route.answers[0].status
    }
}

#[tokio::test]
async fn each_role_may_do_what_its_row_says_and_nothing_else() {
    let world = World::new().await;
    let by_token = world
        .tokens
        .iter()
        .map(|(role, token)| (role, "a token", vec![("authorization", format!("Bearer {token}"))]));
    let by_session = world.sessions.iter().map(|(role, session)| (role, "a session", session.headers()));
    let callers: Vec<_> = by_token.chain(by_session).collect();
    for route in guarded() {
        for (role, way, headers) in &callers {
            let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, &**value)).collect();
            let what = format!("{} {} as {role:?} by {way}", route.method, route.path);
            let may = role.is_none_or(|role| route.who.roles().contains(&role));
            let own = world.call_with(&route, "own", &headers).await;
            if may {
                assert_eq!(own.status, permitted(&route), "{what}: {own:?}");
            } else {
                own.is_problem("forbidden", &what);
            }
            if route.who == Who::Operator {
                continue;
            }
            let other = world.call_with(&route, "other", &headers).await;
            let missing = world.call_with(&route, "missing", &headers).await;
            missing.is_problem("project_unknown", &what);
            if role.is_none() {
                assert_eq!(other.status, own.status, "{what}: {other:?}");
            } else {
                assert_eq!(other, missing, "{what}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_open_to_anybody_is_these_and_no_more() {
    let open = routes().into_iter().filter(|route| route.who == Who::Anyone);
    let open: BTreeSet<String> = open.map(|route| format!("{} {}", route.method, route.path)).collect();
    let expected = [
        "/",
        "/api/v1/session/ways",
        "/errors/{code}",
        "/healthz",
        "/metrics",
        "/openapi-edge.json",
        "/openapi.json",
        "/readyz",
    ];
    assert_eq!(open, expected.map(|path| format!("GET {path}")).into());
    let world = World::new().await;
    for route in routes().into_iter().filter(|route| route.who == Who::Anyone) {
        let answer = world.call(&route, "own", None).await;
        assert_eq!(answer.status, route.answers[0].status, "{route:?}: {answer:?}");
    }
    let open = routes().into_iter().filter(|route| route.who == Who::SigningIn);
    let open: BTreeSet<String> = open.map(|route| format!("{} {}", route.method, route.path)).collect();
    let ways = ["", "/invitation", "/link", "/provider", "/provider/begin"];
    assert_eq!(open, ways.map(|more| format!("POST /api/v1/session{more}")).into());
    for route in routes().into_iter().filter(|route| route.who == Who::Person) {
        world.call(&route, "own", None).await.is_problem("unauthorized", route.path);
        let token = format!("Bearer {}", world.tokens[0].1);
        world.call(&route, "own", Some(&token)).await.is_problem("unauthorized", "a token is no person");
    }
    for route in routes().into_iter().filter(|route| route.who == Who::Signed) {
        world.call(&route, "own", None).await.is_problem("signature_rejected", route.path);
    }
    for route in routes().into_iter().filter(|route| route.who == Who::Emitter) {
        world.call(&route, "own", None).await.is_problem("unauthorized", route.path);
        let owner = format!("Bearer {}", world.tokens[1].1);
        world
            .call(&route, "own", Some(&owner))
            .await
            .is_problem("forbidden", "who pays does not say how much");
    }
    for route in routes().into_iter().filter(|route| route.who == Who::Stripe) {
        world.call(&route, "own", None).await.is_problem("payments_unavailable", route.path);
    }
}

#[tokio::test]
async fn every_bad_credential_gets_the_same_answer() {
    let world = World::new().await;
    let (_, admin) = &world.tokens[2];
    let owner = Scope::Project { project: project_id("own"), role: Role::Owner };
    let (id, revoked) = world.meter.token(owner).await;
    world.meter.app.store.revoke_token(&id, world.meter.app.clock.now()).await.unwrap().unwrap();
    let mut flipped = admin.clone();
    let last = flipped.pop().unwrap();
    flipped.push(if last == '0' { '1' } else { '0' });
    let credentials = [
        None,
        Some(String::new()),
        Some("Bearer".to_owned()),
        Some("Bearer ".to_owned()),
        Some("Basic YTpi".to_owned()),
        Some(format!("Basic {admin}")),
        Some(format!("Bearer {admin} {admin}")),
        Some(format!("Bearer {}", "x".repeat(10_240))),
        Some("Bearer p\u{e4}t".to_owned()),
        Some(format!("Bearer {}", &admin[..admin.len() - 1])),
        Some(format!("Bearer {flipped}")),
        Some(format!("Bearer {}", admin.replacen("pat_", "PAT_", 1))),
        Some(format!("Bearer {}", admin.replacen("pat_", "pot_", 1))),
        Some(format!("Bearer {}", admin.to_uppercase())),
        Some(format!("Bearer {revoked}")),
        Some("Bearer pk_live_own_aaaa_1_00000000000000000000000000000000".to_owned()),
    ];
    for route in guarded() {
        let mut answers = BTreeSet::new();
        for project in ["own", "other", "missing"] {
            for credential in &credentials {
                let answer = world.call(&route, project, credential.as_deref()).await;
                answer.is_problem("unauthorized", &format!("{} {} {credential:?}", route.method, route.path));
                assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
                answers.insert(format!("{answer:?}"));
            }
        }
        assert_eq!(answers.len(), 1, "{} {}", route.method, route.path);
    }
    let in_query = world.meter.send("GET", &format!("/api/v1/usage?token={admin}"), &[], "").await;
    in_query.is_problem("unauthorized", "a token in the query");
}
