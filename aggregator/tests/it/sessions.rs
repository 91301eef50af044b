//! People who sign in: how, how often, and for how long; and that no other site acts for them.

use aggregator::access::Role;
use aggregator::access::session::{IDLE_MS_MAX, INVITATION_MS_MAX, LINK_MS_MAX, SESSION_MS_MAX};
use aggregator::access::stranger::Proven;
use aggregator::access::trail::Actor;
use aggregator::clock::Clock;
use aggregator::store::{NewAccount, Noted, TrailQuery};
use serde_json::json;
use shared::plan::Plan;

use crate::backend::named;
use crate::support::{Answer, Meter, Session, project_id};

const SESSION: &str = "/api/v1/session";
const ACCOUNTS: &str = "/api/v1/admin/accounts";
const INVITATIONS: &str = "/api/v1/admin/projects/demo/invitations";
const JSON: (&str, &str) = ("content-type", "application/json");
const PASSWORD: &str = "correct horse battery";

async fn demo(plan: Plan) -> (Meter, String) {
    let meter = Meter::start().await;
    meter.project("demo", plan).await;
    let operator = meter.operator().await;
    (meter, operator)
}

/// What somebody without a session sends from a page at `https://meter`.
async fn post(meter: &Meter, path: &str, body: &serde_json::Value) -> Answer {
    meter.send("POST", path, &[JSON, ("origin", "https://meter")], &body.to_string()).await
}

async fn sign_in(meter: &Meter, email: &str, password: &str) -> Answer {
    post(meter, SESSION, &json!({ "email": email, "password": password })).await
}

/// What a browser and a page send after that answer.
fn after(answer: &Answer) -> Vec<(&'static str, String)> {
    assert_eq!(answer.status, 200, "{answer:?}");
    let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    vec![("cookie", cookie), ("origin", "https://meter".to_owned()), ("palveron-csrf", answer.field("csrf"))]
}

async fn call(meter: &Meter, who: &[(&str, String)], method: &str, path: &str, body: &str) -> Answer {
    let mut headers: Vec<(&str, &str)> = who.iter().map(|(name, value)| (*name, &**value)).collect();
    headers.push(JSON);
    meter.send(method, path, &headers, body).await
}

/// An account with a password, which is a member of demo.
async fn account(meter: &Meter, email: &str) -> aggregator::access::account::Account {
    let email = aggregator::access::account::Email::parse(email).unwrap();
    let password = Some(aggregator::access::password::hash(PASSWORD).unwrap());
    let new = NewAccount { email, name: "Ada".to_owned(), operator: false, password };
    let mut work = meter.app.store.begin().await.unwrap();
    let account = work.create_account(new, meter.app.clock.now()).await.unwrap().unwrap();
    let now = meter.app.clock.now();
    work.add_person(&project_id("demo"), (&account, Role::Owner), None, now).await.unwrap();
    work.commit().await.unwrap();
    account
}

fn later(meter: &Meter, ms: u64) {
    meter.app.clock.set(meter.app.clock.now().plus_ms(ms));
}

#[tokio::test]
async fn a_link_signs_in_once_and_a_password_ever_after() {
    let (meter, operator) = demo(Plan::Pro).await;
    let new = json!({ "email": "Ada@Example.com", "name": "Ada", "project": "demo", "role": "owner" });
    let made = meter.json("POST", ACCOUNTS, &operator, &new.to_string()).await;
    assert_eq!((made.status, made.field("email")), (201, "ada@example.com".to_owned()), "{made:?}");
    meter.json("POST", ACCOUNTS, &operator, &new.to_string()).await.is_problem("account_exists", "again");
    let links = format!("{ACCOUNTS}/{}/links", made.field("id"));
    let replaced = meter.json("POST", &links, &operator, "").await.field("token");
    let link = meter.json("POST", &links, &operator, "").await.field("token");
    let by_link = format!("{SESSION}/link");
    let by = async |token: &str| post(&meter, &by_link, &json!({ "token": token })).await;
    for wrong in [&*replaced, "mlk_", "", &link.replace("mlk_", "min_"), &format!("mlk_{}", "0".repeat(64))] {
        by(wrong).await.is_problem("link_rejected", wrong);
    }
    let first = by(&link).await;
    let who = after(&first);
    by(&link).await.is_problem("link_rejected", "used");
    let shown = first.value();
    assert_eq!(shown["has_password"], false);
    assert_eq!(shown["memberships"][0]["project"], "demo");
    assert_eq!(shown["memberships"][0]["role"], "owner");
    assert_eq!(shown["expires_at"], "2026-11-24T00:00:00Z");
    assert_eq!(shown["idle_ends_at"], "2026-11-23T13:00:00Z");
    assert_eq!(call(&meter, &who, "GET", SESSION, "").await.value(), shown);

    // A new password ends the sessions before it, this one too.
    let set = format!("{SESSION}/password");
    for short in ["", "elevenchars", &"a".repeat(201)] {
        let refused = call(&meter, &who, "POST", &set, &json!({ "password": short }).to_string()).await;
        refused.refuses("password", short);
        assert!(!refused.body.contains("elevenchars"), "{refused:?}");
    }
    let changed = call(&meter, &who, "POST", &set, &json!({ "password": PASSWORD }).to_string()).await;
    call(&meter, &who, "GET", SESSION, "").await.is_problem("unauthorized", "the session before");
    let who = after(&changed);
    let again = json!({ "password": "another password" });
    call(&meter, &who, "POST", &set, &again.to_string()).await.refuses("current", "without the present one");
    let wrong = json!({ "password": "another password", "current": "not that one" });
    call(&meter, &who, "POST", &set, &wrong.to_string()).await.is_problem("sign_in_rejected", "a wrong one");

    let signed_out = call(&meter, &who, "DELETE", SESSION, "").await;
    assert!(
        signed_out.header("set-cookie").unwrap().starts_with("__Host-meter_session=; Path=/; Max-Age=0;")
    );
    call(&meter, &who, "GET", SESSION, "").await.is_problem("unauthorized", "signed out");
    let who = after(&sign_in(&meter, " ADA@example.com", PASSWORD).await);
    let renamed = call(&meter, &who, "PUT", "/api/v1/billing/plan", r#"{"thresholds":[50]}"#).await;
    assert_eq!(renamed.status, 200, "the one project needs no name: {renamed:?}");

    let audit = call(&meter, &who, "GET", "/api/v1/admin/audit", "").await.value();
    let actor = &audit["entries"][0]["actor"];
    let (ada, name) = (made.field("id"), "ada@example.com");
    let expected = json!({ "kind": "person", "name": name, "account": ada, "role": "owner" });
    assert_eq!(*actor, expected, "{audit}");
    let all = TrailQuery { limit: 100, ..TrailQuery::default() };
    let trail = meter.app.store.trail(all).await.unwrap();
    let by_ada: Vec<&str> =
        trail.iter().rev().filter(|n| n.actor == ada).map(|n| n.action.as_str()).collect();
    let expected = [
        "session.began",
        "password.set",
        "session.began",
        "session.ended",
        "session.began",
        "project.changed",
    ];
    assert_eq!(by_ada, expected);
    let told = format!("{trail:?}");
    assert!(!told.contains(PASSWORD) && !told.contains("argon2") && !told.contains("mlk_"), "{told}");
}

#[tokio::test]
async fn links_invitations_and_sessions_end() {
    let (meter, operator) = demo(Plan::Pro).await;
    let ada = account(&meter, "ada@example.com").await;
    let links = format!("{ACCOUNTS}/{}/links", ada.id);
    let link = json!({ "token": meter.json("POST", &links, &operator, "").await.field("token") });
    let invited =
        meter.json("POST", INVITATIONS, &operator, r#"{"email":"b@example.com","role":"viewer"}"#).await;
    let accept = json!({ "token": invited.field("token"), "name": "Bob", "password": PASSWORD });
    let who = after(&sign_in(&meter, "ada@example.com", PASSWORD).await);
    let asked = async || call(&meter, &who, "GET", SESSION, "").await;
    later(&meter, IDLE_MS_MAX - 1);
    assert_eq!(asked().await.status, 200, "used, so that it goes on");
    later(&meter, IDLE_MS_MAX - 1);
    assert_eq!(asked().await.status, 200);
    later(&meter, 1);
    post(&meter, &format!("{SESSION}/link"), &link).await.is_problem("link_rejected", "two hours old");
    const { assert!(LINK_MS_MAX < 2 * IDLE_MS_MAX) };
    later(&meter, IDLE_MS_MAX);
    asked().await.is_problem("unauthorized", "an hour of nothing");
    let who = after(&sign_in(&meter, "ada@example.com", PASSWORD).await);
    for _ in 0..SESSION_MS_MAX.div_euclid(IDLE_MS_MAX) * 2 - 1 {
        later(&meter, IDLE_MS_MAX.div_euclid(2));
        assert_eq!(call(&meter, &who, "GET", SESSION, "").await.status, 200);
    }
    later(&meter, IDLE_MS_MAX.div_euclid(2));
    call(&meter, &who, "GET", SESSION, "").await.is_problem("unauthorized", "twelve hours");
    later(&meter, INVITATION_MS_MAX);
    let late = post(&meter, &format!("{SESSION}/invitation"), &accept).await;
    late.is_problem("link_rejected", "a week old");
    assert!(meter.app.store.forget_sessions(meter.app.clock.now()).await.unwrap() >= 3);
    assert_eq!(meter.app.store.forget_sessions(meter.app.clock.now()).await.unwrap(), 0);

    // Whoever signs in anew has another secret, and the one before is over; so are all of a disabled account.
    let first = after(&sign_in(&meter, "ada@example.com", PASSWORD).await);
    let body = json!({ "email": "ada@example.com", "password": PASSWORD }).to_string();
    let second = after(&call(&meter, &first, "POST", SESSION, &body).await);
    assert_ne!(first[0], second[0]);
    call(&meter, &first, "GET", SESSION, "").await.is_problem("unauthorized", "replaced");
    assert_eq!(call(&meter, &second, "GET", SESSION, "").await.status, 200);
    let disabled = meter.json("DELETE", &format!("{ACCOUNTS}/{}", ada.id), &operator, "").await;
    assert!(disabled.value()["disabled_at"].is_string());
    call(&meter, &second, "GET", SESSION, "").await.is_problem("unauthorized", "disabled");
    sign_in(&meter, "ada@example.com", PASSWORD).await.is_problem("sign_in_rejected", "disabled");
    meter.json("POST", &links, &operator, "").await.is_problem("not_found", "a link of a disabled account");
}

#[tokio::test]
async fn five_failures_close_an_account_and_an_address_for_a_quarter_of_an_hour() {
    let (meter, _) = demo(Plan::Pro).await;
    account(&meter, "ada@example.com").await;
    account(&meter, "eve@example.com").await;
    let mut answers = Vec::new();
    for email in ["ada@example.com", "nobody@example.com"] {
        for _ in 0..5 {
            let mut answer = sign_in(&meter, email, "a wrong password").await;
            answer.is_problem("sign_in_rejected", email);
            answer.headers.retain(|(name, _)| name != "date");
            answers.push(answer);
        }
        for password in ["a wrong password", PASSWORD] {
            let mut answer = sign_in(&meter, email, password).await;
            answer.is_problem("too_many_attempts", email);
            assert_eq!(answer.header("retry-after"), Some("900"));
            answer.headers.retain(|(name, _)| name != "date");
            answers.push(answer);
        }
        // From here on nobody signs in from this address, so that the other is asked for later.
        sign_in(&meter, "eve@example.com", PASSWORD).await.is_problem("too_many_attempts", "the address");
        later(&meter, 15 * 60_000);
    }
    let (known, unknown) = answers.split_at(7);
    assert_eq!(known, unknown, "an account that is there and one that is not");
    for _ in 0..4 {
        sign_in(&meter, "ada@example.com", "a wrong password").await.is_problem("sign_in_rejected", "four");
    }
    assert_eq!(sign_in(&meter, "ada@example.com", PASSWORD).await.status, 200, "after a quarter of an hour");
    sign_in(&meter, "ada@example.com", "wrong").await.is_problem("sign_in_rejected", "the address had four");
    sign_in(&meter, "ada@example.com", PASSWORD).await.is_problem("too_many_attempts", "and has five now");
}

#[tokio::test]
async fn many_at_once_have_no_more_attempts() {
    let meter = Meter::start_behind_a_proxy().await;
    meter.project("demo", Plan::Pro).await;
    account(&meter, "ada@example.com").await;
    let attempts = (0..12).map(|_| sign_in(&meter, "ada@example.com", "a wrong password"));
    let answers = futures_util::future::join_all(attempts).await;
    let looked_at = answers.iter().filter(|answer| answer.status == 401).count();
    assert!(looked_at <= 5, "{looked_at} passwords were looked at");
    assert!(answers.iter().all(|answer| [401, 429].contains(&answer.status)), "{answers:?}");
    account(&meter, "eve@example.com").await;
    assert_eq!(
        sign_in(&meter, "eve@example.com", PASSWORD).await.status,
        200,
        "a proxy's address is nobody's"
    );
}

#[tokio::test]
async fn an_unknown_account_takes_as_long_as_a_wrong_password() {
    let meter = Meter::start_behind_a_proxy().await;
    meter.project("demo", Plan::Pro).await;
    account(&meter, "ada@example.com").await;
    // The meter's own clock stands still in tests; this is the machine's.
    let clock = Clock::system();
    let quickest = async |email: &dyn Fn(u32) -> String| {
        let mut quickest = None;
        for number in 0..5 {
            let before = clock.now();
            let answer = sign_in(&meter, &email(number), "a wrong password").await;
            answer.is_problem("sign_in_rejected", "either");
            let took = clock.now().ms_since(before);
            quickest = Some(quickest.map_or(took, |so_far: u64| took.min(so_far)));
        }
        quickest.unwrap()
    };
    let known = quickest(&|_| "ada@example.com".to_owned()).await;
    let unknown = quickest(&|number| format!("nobody{number}@example.com")).await;
    // Without a hash an answer takes a tenth of that or less; the machine may be busy with other tests.
    assert!(unknown * 3 > known && known * 3 > unknown, "{known} {unknown} ms");
}

#[tokio::test]
async fn no_other_site_acts_for_a_person() {
    let (meter, operator) = demo(Plan::Pro).await;
    let Session { secret, .. } = meter.session(Some(("demo", Role::Owner))).await;
    let other = meter.session(Some(("demo", Role::Owner))).await.secret;
    let cookie = format!("__Host-meter_session={}", secret.expose());
    let (own, foreign) = (secret.csrf(), other.csrf());
    let keys = "/api/v1/admin/projects/demo/keys";
    let origin = Some("https://meter");
    for (csrf, origin, status) in [
        (Some(&own), origin, 201),
        (None, origin, 403),
        (Some(&foreign), origin, 403),
        (Some(&own), None, 403),
        (Some(&own), Some("https://evil.example"), 403),
        (Some(&own), Some("http://meter"), 403),
        (Some(&own), Some("null"), 403),
    ] {
        let mut headers = vec![JSON, ("cookie", &*cookie)];
        headers.extend(csrf.map(|csrf| ("palveron-csrf", &**csrf)));
        headers.extend(origin.map(|origin| ("origin", origin)));
        let answer = meter.send("POST", keys, &headers, "{}").await;
        assert_eq!(answer.status, status, "{csrf:?} {origin:?}: {answer:?}");
        if status == 403 {
            answer.is_problem("csrf_rejected", "not our page");
        }
    }
    let read = meter.send("GET", keys, &[("cookie", &cookie), ("origin", "https://evil.example")], "").await;
    assert_eq!(read.status, 200, "what changes nothing needs nothing");
    assert!(read.header("access-control-allow-origin").is_none(), "and no other site may read it");
    let bearer = format!("Bearer {operator}");
    let answer =
        meter.send("POST", keys, &[JSON, ("cookie", &cookie), ("authorization", &bearer)], "{}").await;
    assert_eq!(answer.status, 201, "a token needs none of that: {answer:?}");
    // Nor may another site sign somebody in as somebody else.
    let body = json!({ "email": "a@example.com", "password": "x" }).to_string();
    let forged = meter.send("POST", SESSION, &[JSON, ("origin", "https://evil.example")], &body).await;
    forged.is_problem("csrf_rejected", "signing in");
    // A cookie that neighbours can set is none of ours here.
    let plain = format!("meter_session={}", secret.expose());
    meter.send("GET", SESSION, &[("cookie", &plain)], "").await.is_problem("unauthorized", "without __Host-");
}

#[tokio::test]
async fn the_cookie_is_for_one_host_and_scripts_do_not_see_it() {
    let (meter, _) = demo(Plan::Pro).await;
    account(&meter, "ada@example.com").await;
    let answer = sign_in(&meter, "ada@example.com", PASSWORD).await;
    let set = answer.header("set-cookie").unwrap().to_owned();
    let (pair, rest) = set.split_once("; ").unwrap();
    assert_eq!(rest, "Path=/; Max-Age=43200; HttpOnly; SameSite=Strict; Secure");
    let secret = pair.strip_prefix("__Host-meter_session=mss_").unwrap();
    assert_eq!(secret.len(), 64, "256 bits");
    assert!(!answer.body.contains(secret));
    let stored = std::fs::read(meter.folder.path().join("meter.db")).unwrap_or_default();
    assert!(!stored.windows(64).any(|window| window == secret.as_bytes()), "the secret is stored");
    let body = json!({ "email": "ada@example.com", "password": PASSWORD }).to_string();
    let head = format!(
        "POST {SESSION} HTTP/1.1\r\nhost: 127.0.0.1:8080\r\norigin: http://127.0.0.1:8080\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let local = meter.raw(head.as_bytes()).await;
    let set = local.header("set-cookie").unwrap();
    assert!(set.starts_with("meter_session=mss_") && !set.contains("Secure"), "{set}");
}

#[tokio::test]
async fn an_invitation_makes_a_member_of_whoever_accepts_it() {
    let (meter, operator) = demo(Plan::Pro).await;
    let owner = account(&meter, "ada@example.com").await;
    let who = after(&sign_in(&meter, "ada@example.com", PASSWORD).await);
    let invite = async |email: &str| {
        let body = json!({ "email": email, "role": "finance" }).to_string();
        call(&meter, &who, "POST", INVITATIONS, &body).await
    };
    invite("ada@example.com").await.is_problem("member_exists", "a member already");
    let (first, second) = (invite("bob@example.com").await, invite("bob@example.com").await);
    assert_eq!((first.status, second.status), (201, 201));
    let accept = async |token: &str, password: &str| {
        let body = json!({ "token": token, "name": "Bob", "password": password });
        post(&meter, &format!("{SESSION}/invitation"), &body).await
    };
    accept(&first.field("token"), PASSWORD).await.is_problem("link_rejected", "replaced");
    accept(&second.field("token"), "short").await.refuses("password", "too short");
    let bob = accept(&second.field("token"), PASSWORD).await;
    assert_eq!(bob.value()["memberships"][0]["role"], "finance");
    accept(&second.field("token"), PASSWORD).await.is_problem("link_rejected", "accepted");
    call(&meter, &after(&bob), "POST", INVITATIONS, "{}")
        .await
        .is_problem("forbidden", "finance invites nobody");
    let members = "/api/v1/admin/projects/demo/members";
    let listed = call(&meter, &who, "GET", members, "").await.value();
    let told = listed["members"].as_array().unwrap();
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|member| member["signs_in"] == true), "{listed}");

    // Of pro's five places two are taken; those who are invited have the others.
    let withdrawn = invite("c@example.com").await;
    for email in ["d@example.com", "e@example.com"] {
        assert_eq!(invite(email).await.status, 201, "{email}");
    }
    invite("f@example.com").await.is_problem("member_limit", "the sixth");
    let added = meter.json("POST", members, &operator, r#"{"name":"g","role":"viewer"}"#).await;
    added.is_problem("member_limit", "nor is anybody added");
    let path = format!("{INVITATIONS}/{}", withdrawn.field("id"));
    assert_eq!(call(&meter, &who, "DELETE", &path, "").await.status, 200);
    call(&meter, &who, "DELETE", &path, "").await.is_problem("not_found", "withdrawn");
    accept(&withdrawn.field("token"), PASSWORD).await.is_problem("link_rejected", "withdrawn");

    // Somebody who has an account joins with its password, and with no other.
    meter.project("other", Plan::Business).await;
    let body = json!({ "email": "bob@example.com", "role": "viewer" }).to_string();
    let other = meter.json("POST", "/api/v1/admin/projects/other/invitations", &operator, &body).await;
    accept(&other.field("token"), "not Bob's password")
        .await
        .is_problem("sign_in_rejected", "of whoever invited");
    let joined = accept(&other.field("token"), PASSWORD).await;
    assert_eq!(joined.value()["memberships"].as_array().unwrap().len(), 2, "{joined:?}");
    let bob = after(&joined);
    call(&meter, &bob, "GET", "/api/v1/billing/plan", "")
        .await
        .refuses("project", "a member of two has to name one");
    for (project, status) in [("demo", 200), ("other", 200), ("missing", 404)] {
        let path = format!("/api/v1/billing/plan?project={project}");
        assert_eq!(call(&meter, &bob, "GET", &path, "").await.status, status, "{project}");
    }
    assert_eq!(owner.disabled, None);
}

#[tokio::test]
async fn nobody_becomes_an_operator_over_a_network() {
    let (meter, operator) = demo(Plan::Pro).await;
    let body = json!({ "email": "eve@example.com", "name": "Eve", "operator": true }).to_string();
    meter.json("POST", ACCOUNTS, &operator, &body).await.refuses("operator", "by a token");
    let there = meter.account(true).await;
    let links = format!("{ACCOUNTS}/{}/links", there.id);
    meter.json("POST", &links, &operator, "").await.is_problem("forbidden", "a link of an operator");
    let session = meter.session(None).await;
    let who: Vec<(&str, String)> = session.headers();
    call(&meter, &who, "POST", &links, "").await.is_problem("forbidden", "nor by a session");
    call(&meter, &who, "POST", ACCOUNTS, &body).await.refuses("operator", "by a session");
    let seen = call(&meter, &who, "GET", SESSION, "").await.value();
    assert_eq!((&seen["operator"], &seen["memberships"]), (&json!(true), &json!([])));
    assert_eq!(call(&meter, &who, "GET", ACCOUNTS, "").await.status, 200);
}

#[tokio::test]
async fn a_call_that_a_person_names_is_made_once() {
    let (meter, _) = demo(Plan::Pro).await;
    let session = meter.session(Some(("demo", Role::Owner))).await;
    let mut who = session.headers();
    who.push(("idempotency-key", "one".to_owned()));
    let keys = "/api/v1/admin/projects/demo/keys";
    let first = call(&meter, &who, "POST", keys, "{}").await;
    // Another cookie beside it is not another person.
    who[0].1 = format!("theme=dark; {}", who[0].1);
    let again = call(&meter, &who, "POST", keys, "{}").await;
    assert_eq!((first.status, &first.body), (201, &again.body));
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    let trail = meter.app.store.trail(TrailQuery { limit: 1, ..TrailQuery::default() }).await.unwrap();
    let id = &session.account.id;
    assert_eq!((&*trail[0].actor_kind, &trail[0].actor, &*trail[0].role), ("person", id, "owner"));
    assert_eq!(trail[0].person.as_deref(), Some(session.account.email.as_str()));
}

#[tokio::test]
async fn the_audit_log_keeps_accounts_and_shows_addresses_for_as_long_as_there_are_any() {
    let (meter, operator) = demo(Plan::Pro).await;
    let ada = account(&meter, "ada@example.com").await;
    let links = format!("{ACCOUNTS}/{}/links", ada.id);
    let link = json!({ "token": meter.json("POST", &links, &operator, "").await.field("token") });
    let who = after(&post(&meter, &format!("{SESSION}/link"), &link).await);
    let body = json!({ "email": "bob@example.com", "role": "viewer" }).to_string();
    let path = "/api/v1/admin/projects/demo/invitations";
    let invited = meter.json("POST", path, &operator, &body).await;
    let take = json!({ "token": invited.field("token"), "name": "Bob", "password": PASSWORD });
    let bob = after(&post(&meter, &format!("{SESSION}/invitation"), &take).await);
    assert_eq!(call(&meter, &bob, "DELETE", SESSION, "").await.status, 200);
    let gone = Actor::Person { account: "gone123456".to_owned(), role: "owner" };
    let old = Actor::Person { account: "eve@example.com".to_owned(), role: "owner" };
    for actor in [gone, old] {
        let (store, key) = (meter.app.store.by(actor), meter.key("demo").await);
        store.revoke_key(&project_id("demo"), &key, meter.app.clock.now()).await.unwrap().unwrap();
    }
    // Nothing that is kept for ever names anybody, but what a release before has kept.
    let all = TrailQuery { limit: 100, ..TrailQuery::default() };
    for noted in meter.app.store.trail(all).await.unwrap() {
        let kept = format!("{} {} {:?} {:?}", noted.actor, noted.target, noted.was, noted.became);
        assert!(!kept.contains('@') || noted.actor == "eve@example.com", "{noted:?}");
        assert!(!kept.contains("Ada") && !kept.contains("Bob"), "{noted:?}");
    }
    let shown = meter.get("/api/v1/admin/audit", &operator).await.value();
    let by = |name: &str| {
        let entries = shown["entries"].as_array().unwrap().iter();
        entries
            .filter(|entry| entry["actor"]["name"] == name)
            .map(|e| e["action"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(by("erased"), ["key.revoked"]);
    assert_eq!(by("eve@example.com"), ["key.revoked"]);
    assert_eq!(by("ada@example.com"), ["session.began"]);
    let bobs = ["session.ended", "session.began", "member.added", "account.created"];
    assert_eq!(by("bob@example.com"), bobs, "{shown}");
    let made = shown["entries"].as_array().unwrap().iter().find(|entry| entry["action"] == "account.created");
    assert_eq!(made.unwrap()["target_person"], "bob@example.com");
    drop(who);
}

#[tokio::test]
async fn an_erased_person_is_nowhere_named_and_what_they_did_stays() {
    let (meter, operator) = demo(Plan::Business).await;
    meter.project("other", Plan::Business).await;
    let ada = account(&meter, "ada@example.com").await;
    let proven = Proven {
        issuer: "https://id.example.com".to_owned(),
        subject: "ada-there".to_owned(),
        email: ada.email.clone(),
        name: None,
    };
    let mut work = meter.app.store.begin().await.unwrap();
    assert!(work.bind_identity(&ada, &proven, meter.app.clock.now()).await.unwrap());
    work.commit().await.unwrap();
    let links = format!("{ACCOUNTS}/{}/links", ada.id);
    let link = json!({ "token": meter.json("POST", &links, &operator, "").await.field("token") });
    let who = after(&sign_in(&meter, "ada@example.com", PASSWORD).await);
    assert_eq!(call(&meter, &who, "POST", "/api/v1/admin/projects/demo/keys", "{}").await.status, 201);
    // A place of tokens alone under the address, one that she left, and one that is kept for her.
    let members = "/api/v1/admin/projects/other/members";
    let body = json!({ "name": "ada@example.com", "role": "viewer" }).to_string();
    let left = meter.json("POST", members, &operator, &body).await;
    let path = format!("{members}/{}", left.field("id"));
    assert_eq!(meter.json("DELETE", &path, &operator, "").await.status, 200);
    let token = meter.json("POST", members, &operator, &body).await.field("token");
    let body = json!({ "email": "ada@example.com", "role": "viewer" }).to_string();
    meter.project("third", Plan::Business).await;
    let invited = meter.json("POST", "/api/v1/admin/projects/third/invitations", &operator, &body).await;
    assert_eq!(invited.status, 201, "{invited:?}");

    let erase = format!("{ACCOUNTS}/{}/erase", ada.id);
    let refused = meter.json("POST", &erase, &operator, "").await;
    refused.is_problem("last_owner", "nobody else owns demo");
    assert!(refused.body.contains("last owner of demo"), "{refused:?}");
    assert_eq!(call(&meter, &who, "GET", SESSION, "").await.status, 200, "nothing was erased");
    let viewer = meter.member("demo", Role::Viewer).await;
    assert_eq!(meter.json("POST", &erase, &viewer, "").await.status, 403, "operators only");
    let body = json!({ "name": "bob", "role": "owner" }).to_string();
    let bob =
        meter.json("POST", "/api/v1/admin/projects/demo/members", &operator, &body).await.field("token");
    let erased = meter.json("POST", &erase, &operator, "").await;
    assert_eq!(erased.status, 200, "{erased:?}");
    let expected =
        json!({ "account": ada.id, "projects": ["demo", "other"], "erased_at": "2026-11-23T12:00:00Z" });
    assert_eq!(erased.value(), expected);

    call(&meter, &who, "GET", SESSION, "").await.is_problem("unauthorized", "the session");
    sign_in(&meter, "ada@example.com", PASSWORD).await.is_problem("sign_in_rejected", "the password");
    post(&meter, &format!("{SESSION}/link"), &link).await.is_problem("link_rejected", "the link");
    let take = json!({ "token": invited.field("token"), "name": "Ada", "password": PASSWORD });
    post(&meter, &format!("{SESSION}/invitation"), &take).await.is_problem("link_rejected", "the invitation");
    assert_eq!(
        meter.get("/api/v1/usage?from=2026-11-01&to=2026-11-02", &token).await.status,
        401,
        "her token"
    );
    // That somebody left is noted by the name of a member without an account, as it always was.
    assert_eq!(named(meter.folder.database_url(), "ada-there").await, 0);
    let addresses = named(meter.folder.database_url(), "ada@example.com").await;
    let kept = meter.app.store.trail(TrailQuery { limit: 100, ..TrailQuery::default() }).await.unwrap();
    let by_name = |noted: &&Noted| format!("{:?}{:?}", noted.was, noted.became).contains("ada@example.com");
    let by_name: Vec<&str> = kept.iter().filter(by_name).map(|noted| noted.action.as_str()).collect();
    assert_eq!(by_name, ["member.added", "member.removed", "member.added"], "as tokens alone, before");
    assert_eq!(addresses, 3, "in no other row");

    shows_erased(&meter, (&operator, &bob), &ada.id).await;
    meter.json("POST", &erase, &operator, "").await.is_problem("not_found", "twice");
    // The address is free, and whoever comes with it is somebody else.
    let new = json!({ "email": "ada@example.com", "name": "Ada", "project": "demo", "role": "viewer" });
    let again = meter.json("POST", ACCOUNTS, &operator, &new.to_string()).await;
    assert_eq!(again.status, 201, "{again:?}");
    assert_ne!(again.field("id"), ada.id);
    let audit = meter.get("/api/v1/admin/audit?project=demo", &bob).await.value();
    let hers = audit["entries"].as_array().unwrap().iter().find(|entry| entry["action"] == "key.created");
    assert_eq!(hers.unwrap()["actor"]["name"], "erased");
}

/// What the audit log says of what the person did, and of who is gone.
/// On Postgres, what a deleted row leaves behind is the server's own to take away.
#[tokio::test]
async fn nothing_of_erased_people_is_left_in_the_databases_files() {
    let (meter, operator) = demo(Plan::Business).await;
    if !meter.folder.has_database_file() {
        return;
    }
    let mut people = Vec::new();
    for number in 0..150_u32 {
        // Names of many lengths, in no order, so that pages are split and freed.
        let word = format!("{:08x}", number.wrapping_mul(2_654_435_761));
        let (email, name) = (
            format!("{word}@example.com"),
            format!("Person {} of {word}", "x".repeat(usize::try_from(number % 90).unwrap())),
        );
        let body = json!({ "email": email, "name": name, "operator": false }).to_string();
        let made = meter.json("POST", ACCOUNTS, &operator, &body).await;
        assert_eq!(made.status, 201, "{made:?}");
        let id = made.field("id");
        let link = meter.json("POST", &format!("{ACCOUNTS}/{id}/links"), &operator, "").await;
        assert_eq!(link.status, 201, "{link:?}");
        people.push((id, word));
    }
    let (kept, gone) = people.split_at(20);
    for (id, _) in gone {
        let erased = meter.json("POST", &format!("{ACCOUNTS}/{id}/erase"), &operator, "").await;
        assert_eq!(erased.status, 200, "{erased:?}");
    }
    let bytes = |name: &str| std::fs::read(meter.folder.path().join(name)).unwrap();
    let (books, log) = (bytes("meter.db"), bytes("meter.db-wal"));
    let has = |bytes: &[u8], word: &str| bytes.windows(word.len()).any(|window| window == word.as_bytes());
    for (_, word) in kept {
        assert!(has(&books, word), "who was not erased is found");
    }
    let left: Vec<&str> = gone
        .iter()
        .map(|(_, word)| word.as_str())
        .filter(|word| has(&books, word) || has(&log, word))
        .collect();
    assert_eq!(left, Vec::<&str>::new());
}

async fn shows_erased(meter: &Meter, (operator, bob): (&str, &str), id: &str) {
    let audit = meter.get("/api/v1/admin/audit?project=demo", bob).await.value();
    let entries = audit["entries"].as_array().unwrap();
    let hers = entries.iter().find(|entry| entry["action"] == "key.created").unwrap();
    assert_eq!(hers["actor"], json!({ "kind": "person", "name": "erased", "account": id, "role": "owner" }));
    let whole = meter.get("/api/v1/admin/audit", operator).await.value();
    assert_eq!(whole["entries"][0]["action"], "account.erased");
    assert_eq!(
        (&whole["entries"][0]["target"], &whole["entries"][0]["target_person"]),
        (&json!(id), &json!(null))
    );
}
