//! People who sign in by an identity provider: who is let in, and that no wrong answer of it lets anybody in.

use aggregator::access::Role;
use aggregator::access::errand::ERRAND_MS_MAX;
use aggregator::access::session::{Purpose, SecretText};
use aggregator::access::stranger::Admission;
use aggregator::clock::Clock;
use aggregator::identity::{Issuer, Provider, ProviderSettings};
use aggregator::store::{Invited, NewAccount, TrailQuery};
use identity::{CLIENT_ID, CLIENT_SECRET, Person, Said};
use serde_json::json;
use shared::plan::Plan;

use crate::support::{Answer, Meter, noon, project_id};

const SESSION: &str = "/api/v1/session";
const ARRIVE: &str = "/api/v1/session/provider";
const BEGIN: &str = "/api/v1/session/provider/begin";
const ADA: &str = "ada@example.com";
const ORIGIN: (&str, &str) = ("origin", "https://meter");
const JSON: (&str, &str) = ("content-type", "application/json");

struct World {
    meter: Meter,
    theirs: identity::Provider,
}

/// A browser that was sent to the provider: its cookie, and what it comes back with.
struct Errand {
    cookie: String,
    state: String,
    code: String,
}

impl World {
    async fn new() -> Self {
        Self::admitting("").await
    }

    async fn admitting(admissions: &str) -> Self {
        let clock = Clock::manual(noon());
        let theirs = {
            let clock = clock.clone();
            identity::Provider::start(move || clock.now().as_ms().div_euclid(1_000)).await.unwrap()
        };
        let settings = ProviderSettings {
            issuer: Issuer::parse(&theirs.issuer()).unwrap(),
            client_id: CLIENT_ID.to_owned(),
            client_secret: Some(CLIENT_SECRET.to_owned()),
            name: Some("Example".to_owned()),
            admissions: Admission::parse_all(admissions).unwrap(),
        };
        let meter = Meter::start_with_provider(clock, Provider::new(settings).unwrap()).await;
        meter.project("demo", Plan::Pro).await;
        Self { meter, theirs }
    }

    async fn post(&self, path: &str, more: &[(&str, &str)], body: &str) -> Answer {
        self.meter.send("POST", path, &[&[JSON, ORIGIN], more].concat(), body).await
    }

    /// Sends a browser to the provider and back to the page.
    async fn away(&self) -> Errand {
        let begun = self.post(BEGIN, &[], "").await;
        assert_eq!(begun.status, 200, "{begun:?}");
        let cookie = begun.header("set-cookie").unwrap();
        assert!(cookie.starts_with("__Host-meter_errand=mse_"), "{cookie}");
        assert!(cookie.ends_with("; Path=/; Max-Age=900; HttpOnly; SameSite=Strict; Secure"), "{cookie}");
        let back = self.theirs.visit(&begun.field("url")).expect("the provider understands us");
        let query = back.strip_prefix("https://meter/sign-in/provider?code=").unwrap();
        let (code, state) = query.split_once("&state=").unwrap();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        Errand { cookie, state: state.to_owned(), code: code.to_owned() }
    }

    async fn back(&self, Errand { cookie, state, code }: &Errand) -> Answer {
        self.post(ARRIVE, &[("cookie", cookie)], &json!({ "state": state, "code": code }).to_string()).await
    }

    async fn sign_in(&self) -> Answer {
        self.back(&self.away().await).await
    }

    async fn account(&self, email: &str, member: bool) -> aggregator::access::account::Account {
        let email = aggregator::access::account::Email::parse(email).unwrap();
        let new = NewAccount { email, name: "Ada".to_owned(), operator: false, password: None };
        let (mut work, now) = (self.meter.app.store.begin().await.unwrap(), self.meter.app.clock.now());
        let account = work.create_account(new, now).await.unwrap().unwrap();
        if member {
            work.add_person(&project_id("demo"), (&account, Role::Finance), None, now).await.unwrap();
        }
        work.commit().await.unwrap();
        account
    }

    async fn invite(&self, email: &str, role: Role) {
        let hash = SecretText::generate(Purpose::Invitation).unwrap().hash();
        let email = aggregator::access::account::Email::parse(email).unwrap();
        let mut work = self.meter.app.store.begin_in(&project_id("demo")).await.unwrap();
        let now = self.meter.app.clock.now();
        let invited = work.invite(&project_id("demo"), (email, role, &hash), None, now).await.unwrap();
        assert!(matches!(invited, Invited::Invitation(_)), "{invited:?}");
        work.commit().await.unwrap();
    }

    async fn actions(&self) -> Vec<String> {
        let all = TrailQuery { limit: 100, ..TrailQuery::default() };
        self.meter.app.store.trail(all).await.unwrap().into_iter().map(|noted| noted.action).collect()
    }
}

/// Refused with that code, and no session began.
fn is_refused(answer: &Answer, code: &str, what: &str) {
    answer.is_problem(code, what);
    assert_eq!(answer.header("set-cookie"), None, "{what}");
}

fn session(answer: &Answer) -> Vec<(&'static str, String)> {
    assert_eq!(answer.status, 200, "{answer:?}");
    let set: Vec<&str> =
        answer.headers.iter().filter(|(name, _)| name == "set-cookie").map(|(_, value)| &**value).collect();
    assert!(set[0].starts_with("__Host-meter_session=mss_"), "{set:?}");
    assert!(set[1].starts_with("__Host-meter_errand=; Path=/; Max-Age=0"), "the errand is over: {set:?}");
    let cookie = set[0].split(';').next().unwrap().to_owned();
    vec![("cookie", cookie), ("origin", "https://meter".to_owned()), ("palveron-csrf", answer.field("csrf"))]
}

#[tokio::test]
async fn a_member_signs_in_by_the_provider_and_out_again() {
    let world = World::new().await;
    let account = world.account(ADA, true).await;
    let ways = world.meter.send("GET", "/api/v1/session/ways", &[], "").await.value();
    assert_eq!(ways, json!({ "password": true, "provider": { "name": "Example" } }));
    for said in [Said::Right, Said::RightByCurve, Said::AddressApart] {
        world.theirs.says(said);
        let answer = world.sign_in().await;
        let who = session(&answer);
        let shown = answer.value();
        assert_eq!(
            (&shown["account"], &shown["email"]),
            (&account.id.clone().into(), &ADA.into()),
            "{said:?}"
        );
        assert_eq!(shown["memberships"][0]["role"], "finance", "the role is ours");
        assert_eq!(shown["expires_at"], "2026-11-24T00:00:00Z", "as long as any other session");
        let headers: Vec<(&str, &str)> = who.iter().map(|(name, value)| (*name, &**value)).collect();
        assert_eq!(world.meter.send("GET", SESSION, &headers, "").await.value(), shown);
        assert_eq!(world.meter.send("DELETE", SESSION, &headers, "").await.status, 200);
        world.meter.send("GET", SESSION, &headers, "").await.is_problem("unauthorized", "signed out");
    }
    let actions = world.actions().await;
    let count = |action: &str| actions.iter().filter(|one| *one == action).count();
    assert_eq!((count("account.identity_bound"), count("session.began")), (1, 3), "{actions:?}");
}

#[tokio::test]
async fn what_the_provider_says_wrongly_lets_nobody_in() {
    let world = World::new().await;
    world.account(ADA, true).await;
    world.account("root@example.com", true).await;
    for said in [
        Said::OtherAudience,
        Said::TwoAudiences,
        Said::Expired,
        Said::OtherNonce,
        Said::OtherIssuer,
        Said::Unsigned,
        Said::Symmetric,
        Said::ForeignKey,
        Said::Changed,
        Said::NoToken,
        Said::PageOfAnother,
    ] {
        world.theirs.says(said);
        is_refused(&world.sign_in().await, "identity_rejected", &format!("{said:?}"));
    }
    for (verified, email) in
        [(Some(false), Some(ADA)), (None, Some(ADA)), (Some(true), None), (Some(true), Some("ada"))]
    {
        world.theirs.says(Said::Right);
        let email = email.map(str::to_owned);
        world.theirs.is(Person { verified, email, ..Person::default() });
        is_refused(&world.sign_in().await, "email_unverified", &format!("{verified:?}"));
    }
    assert_eq!(world.actions().await.iter().filter(|one| *one == "session.began").count(), 0);
    world.theirs.is(Person::default());
    session(&world.sign_in().await);
}

#[tokio::test]
async fn only_the_browser_that_began_finishes_and_only_once() {
    let world = World::new().await;
    world.account(ADA, true).await;
    let (mine, theirs) = (world.away().await, world.away().await);
    // Somebody is given another's way back, as in a login that is forced on a victim.
    let forced =
        Errand { cookie: mine.cookie.clone(), state: theirs.state.clone(), code: theirs.code.clone() };
    is_refused(&world.back(&forced).await, "errand_rejected", "another browser's state");
    let swapped =
        Errand { code: theirs.code.clone(), cookie: mine.cookie.clone(), state: mine.state.clone() };
    is_refused(
        &world.back(&swapped).await,
        "identity_rejected",
        "another browser's code has another verifier",
    );
    let lost = Errand { cookie: String::new(), state: mine.state.clone(), code: mine.code.clone() };
    is_refused(&world.back(&lost).await, "errand_rejected", "no cookie");
    session(&world.back(&mine).await);
    is_refused(&world.back(&mine).await, "identity_rejected", "the provider gives nothing for a code twice");
    // And where a provider would: the state is done.
    let again = world.away().await;
    session(
        &world
            .back(&Errand { cookie: again.cookie.clone(), state: again.state.clone(), code: again.code })
            .await,
    );
    let other = world.away().await;
    let asked = world.theirs.exchanges();
    let mut replay = Errand { cookie: other.cookie, state: other.state, code: other.code };
    session(&world.back(&replay).await);
    replay.code = "code-0".to_owned();
    is_refused(&world.back(&replay).await, "identity_rejected", "an unknown code");
    assert_eq!(world.theirs.exchanges(), asked + 2);

    let late = world.away().await;
    let now = world.meter.app.clock.now();
    world.meter.app.clock.set(now.plus_ms(ERRAND_MS_MAX));
    is_refused(&world.back(&late).await, "errand_rejected", "too late");
}

#[tokio::test]
async fn a_state_that_is_done_is_done_for_every_server() {
    let world = World::new().await;
    let (state, now) = ("1795435200000.0a", world.meter.app.clock.now());
    let mut work = world.meter.app.store.begin().await.unwrap();
    assert!(work.finish_errand(state, now).await.unwrap());
    assert!(!work.finish_errand(state, now).await.unwrap());
    work.commit().await.unwrap();
    // It is kept for as long as it could come back.
    world.meter.app.store.forget_sessions(now.plus_ms(ERRAND_MS_MAX - 1)).await.unwrap();
    let mut work = world.meter.app.store.begin().await.unwrap();
    assert!(!work.finish_errand(state, now).await.unwrap());
    work.commit().await.unwrap();
    assert_eq!(world.meter.app.store.forget_sessions(now.plus_ms(ERRAND_MS_MAX)).await.unwrap(), 1);
}

#[tokio::test]
async fn nobody_is_made_a_member_who_was_not_invited() {
    let world = World::new().await;
    let unknown = world.sign_in().await;
    is_refused(&unknown, "account_unknown", "neither account nor invitation");
    assert!(unknown.body.contains(ADA), "whoever it is has proven the address: {unknown:?}");
    world.invite("bob@example.com", Role::Owner).await;
    is_refused(&world.sign_in().await, "account_unknown", "somebody else is invited");
    assert!(world.meter.app.store.accounts().await.unwrap().is_empty());

    world.invite("Ada@Example.com", Role::Viewer).await;
    let answer = world.sign_in().await;
    session(&answer);
    let shown = answer.value();
    assert_eq!((&shown["name"], &shown["has_password"]), (&"Ada Lovelace".into(), &false.into()));
    assert_eq!((&shown["operator"], &shown["memberships"][0]["role"]), (&false.into(), &"viewer".into()));
    let left = world.meter.app.store.invitations(&project_id("demo"), noon()).await.unwrap();
    assert_eq!(left.len(), 1, "Bob's: {left:?}");
    // An account that is there joins too, since its person is who was invited.
    world.meter.project("other", Plan::Pro).await;
    assert_eq!(world.sign_in().await.value()["memberships"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_domain_is_admitted_where_that_is_configured() {
    let world = World::admitting("example.com:demo:admin").await;
    world.theirs.is(Person::of("subject-9", "eve@evil.example.com"));
    is_refused(&world.sign_in().await, "account_unknown", "a domain below it");
    world.theirs.is(Person { name: Some("\u{202e}".to_owned()), ..Person::default() });
    let shown = world.sign_in().await.value();
    assert_eq!((&shown["name"], &shown["memberships"][0]["role"]), (&ADA.into(), &"admin".into()), "{shown}");
    // Whoever was removed stays so: an admission makes new accounts alone.
    let member = shown["memberships"][0]["member"].as_str().unwrap().to_owned();
    let operator = world.meter.operator().await;
    world.account("owner@example.com", false).await;
    let removed = world
        .meter
        .json("DELETE", &format!("/api/v1/admin/projects/demo/members/{member}"), &operator, "")
        .await;
    assert_eq!(removed.status, 200, "{removed:?}");
    assert_eq!(world.sign_in().await.value()["memberships"], json!([]));

    let nowhere = World::admitting("example.com:gone:viewer").await;
    is_refused(&nowhere.sign_in().await, "account_unknown", "a project that is not there");
    assert!(nowhere.meter.app.store.accounts().await.unwrap().is_empty(), "nothing is half made");
}

#[tokio::test]
async fn an_account_stays_with_the_person_who_has_it() {
    let world = World::new().await;
    let account = world.account(ADA, true).await;
    session(&world.sign_in().await);
    // The address was given to somebody else at the provider.
    world.theirs.is(Person::of("subject-2", ADA));
    is_refused(&world.sign_in().await, "account_unknown", "another person of that address");
    // The person has another address there: it is the same account here.
    world.theirs.is(Person::of("subject-1", "ada@new.example.com"));
    assert_eq!(world.sign_in().await.value()["account"], account.id.clone());
    let operator = world.meter.operator().await;
    let path = format!("/api/v1/admin/accounts/{}", account.id);
    assert_eq!(world.meter.json("DELETE", &path, &operator, "").await.status, 200);
    is_refused(&world.sign_in().await, "account_unknown", "a disabled account");
}

#[tokio::test]
async fn a_provider_that_is_down_or_somebody_else_is_said_and_comes_back() {
    let world = World::new().await;
    world.account(ADA, true).await;
    for said in [Said::Broken, Said::OtherName] {
        world.theirs.says(said);
        is_refused(&world.post(BEGIN, &[], "").await, "provider_failed", &format!("{said:?}"));
    }
    world.theirs.says(Said::Right);
    session(&world.sign_in().await);
    let nobody = ProviderSettings {
        issuer: Issuer::parse("http://127.0.0.1:9").unwrap(),
        client_id: "meter".to_owned(),
        client_secret: None,
        name: None,
        admissions: Vec::new(),
    };
    let provider = Provider::new(nobody).unwrap();
    assert_eq!(provider.settings().name(), "127.0.0.1");
    let meter = Meter::start_with_provider(Clock::manual(noon()), provider).await;
    meter.send("POST", BEGIN, &[JSON, ORIGIN], "").await.is_problem("provider_failed", "nobody listens");
}

#[tokio::test]
async fn calls_of_other_sites_and_meters_without_a_provider_are_refused() {
    let world = World::new().await;
    for path in [BEGIN, ARRIVE] {
        let body = r#"{"state":"1.a","code":"x"}"#;
        let evil = world.meter.send("POST", path, &[JSON, ("origin", "https://evil")], body).await;
        is_refused(&evil, "csrf_rejected", "another site");
        is_refused(&world.meter.send("POST", path, &[JSON], body).await, "csrf_rejected", "no page at all");
    }
    let plain = Meter::start().await;
    assert_eq!(plain.send("GET", "/api/v1/session/ways", &[], "").await.value()["provider"], json!(null));
    plain.send("POST", BEGIN, &[JSON, ORIGIN], "").await.is_problem("not_found", "none is configured");
}
