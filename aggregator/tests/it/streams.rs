//! `GET /api/v1/events`: what happens is shown as it happens, once, and to those who come back from where they were.

use std::time::Duration;

use aggregator::access::{Role, Scope};
use aggregator::http::{PROJECT_STREAMS_MAX, STREAMS_MAX, TOKEN_STREAMS_MAX};
use aggregator::jobs::stream_age::KEPT_MS;
use shared::plan::Plan;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{DEADLINE, Meter, project_id, request};

/// An open stream and what it has shown.
struct Watcher {
    stream: TcpStream,
    text: String,
    ended: bool,
}

impl Watcher {
    async fn new(meter: &Meter, token: &str, more: &str, headers: &[(&str, &str)]) -> Self {
        let authorization = format!("Bearer {token}");
        let all = [&[("authorization", authorization.as_str())], headers].concat();
        Self::with(meter, more, &all).await
    }

    async fn with(meter: &Meter, more: &str, headers: &[(&str, &str)]) -> Self {
        let mut stream = TcpStream::connect(meter.address).await.unwrap();
        let head = request("GET", &format!("/api/v1/events{more}"), headers, "");
        stream.write_all(head.as_bytes()).await.unwrap();
        Self { stream, text: String::new(), ended: false }
    }

    /// Reads until something is shown, or the stream ends.
    async fn until(&mut self, shown: &str) {
        let reading = tokio::time::timeout(DEADLINE, async {
            while !self.text.contains(shown) && !self.ended {
                self.read().await;
            }
        });
        reading.await.unwrap_or_else(|_| panic!("{shown} is not shown: {}", self.text));
    }

    async fn end(&mut self) {
        let reading = tokio::time::timeout(DEADLINE, async {
            while !self.ended {
                self.read().await;
            }
        });
        reading.await.unwrap_or_else(|_| panic!("the stream does not end: {}", self.text));
    }

    async fn read(&mut self) {
        let mut chunk = [0; 4_096];
        match self.stream.read(&mut chunk).await {
            Ok(0) | Err(_) => self.ended = true,
            Ok(count) => self.text.push_str(&String::from_utf8_lossy(&chunk[..count])),
        }
    }

    /// The numbers of the events that were shown, in order.
    fn numbers(&self) -> Vec<u64> {
        self.text.lines().filter_map(|line| line.strip_prefix("id: ")?.trim().parse().ok()).collect()
    }
}

async fn demo() -> (Meter, String) {
    let meter = Meter::start().await;
    meter.project("demo", Plan::Community).await;
    meter.project("other", Plan::Community).await;
    let token = meter.member("demo", Role::Viewer).await;
    (meter, token)
}

async fn count(meter: &Meter, project: &str, seq: u64) {
    let body = format!(
        r#"{{"project":"{project}","mode":"live","source":"home","incarnation":"aaaaaaaa","seq":{seq},"cells":[{{"day":"2026-11-23","kind":"verify","agent":"a","units":{}}}]}}"#,
        seq * 3
    );
    assert_eq!(meter.flush(&body).await.status, 200);
}

#[tokio::test]
async fn usage_is_shown_as_it_is_counted_and_only_its_own() {
    let (meter, token) = demo().await;
    count(&meter, "demo", 1).await;
    let mut watcher = Watcher::new(&meter, &token, "", &[]).await;
    watcher.until(": watching").await;
    assert!(watcher.text.to_lowercase().contains("content-type: text/event-stream"), "{}", watcher.text);
    count(&meter, "other", 1).await;
    count(&meter, "demo", 2).await;
    // The same again counts nothing and shows nothing.
    count(&meter, "demo", 2).await;
    count(&meter, "demo", 3).await;
    watcher.until("\"used\":9").await;
    assert_eq!(watcher.numbers(), [2, 3], "what was before is not shown: {}", watcher.text);
    let expected = concat!(
        "id: 2\nevent: usage.counted\n",
        r#"data: {"type":"usage.counted","timestamp":"2026-11-23T12:00:00Z","data":{"added":3,"mode":"live","#,
        r#""period":"2026-11","project":"demo","used":6}}"#,
        "\n\n"
    );
    assert!(watcher.text.replace("\r\n", "\n").contains(expected), "{}", watcher.text);
    assert!(!watcher.text.contains("other"), "{}", watcher.text);
}

#[tokio::test]
async fn whoever_comes_back_gets_what_was_missed_and_is_told_of_what_is_gone() {
    let (meter, token) = demo().await;
    for seq in 1..=250 {
        count(&meter, "demo", seq).await;
    }
    let mut back = Watcher::new(&meter, &token, "", &[("last-event-id", "3")]).await;
    back.until("\nid: 250").await;
    assert_eq!(back.numbers(), (4..=250).collect::<Vec<u64>>(), "more than a page, each once, in order");
    let mut after = Watcher::new(&meter, &token, "?after=248", &[]).await;
    after.until("\nid: 250").await;
    assert_eq!(after.numbers(), [249, 250]);
    let later = meter.app.clock.now().plus_ms(KEPT_MS + 1);
    let before = shared::time::Timestamp::from_ms(later.as_ms() - KEPT_MS);
    assert_eq!(meter.app.store.forget_shown(before).await.unwrap(), 249, "the newest stays");
    let mut late = Watcher::new(&meter, &token, "?after=3", &[]).await;
    late.until("\nid: 250").await;
    assert!(
        late.text.contains("event: stream.gap") && late.text.contains(r#"{"after":3,"next":250}"#),
        "{}",
        late.text
    );
    count(&meter, "demo", 251).await;
    late.until("\nid: 251").await;
    let bad = [("?after=x", "after"), ("?after=-1", "after"), ("?limit=3", "limit")];
    for (query, field) in bad {
        meter.get(&format!("/api/v1/events{query}"), &token).await.refuses(field, query);
    }
    let authorization = format!("Bearer {token}");
    let garbled = [("authorization", authorization.as_str()), ("last-event-id", "newest")];
    meter.send("GET", "/api/v1/events", &garbled, "").await.refuses("Last-Event-ID", "no number");
}

#[tokio::test]
async fn streams_end_when_the_process_stops_and_when_the_token_is_revoked() {
    let (mut meter, token) = demo().await;
    let owner = Scope::Project { project: project_id("demo"), role: Role::Owner };
    let (id, revoked) = meter.token(owner).await;
    let mut gone = Watcher::new(&meter, &revoked, "", &[]).await;
    let mut stopped = Watcher::new(&meter, &token, "", &[]).await;
    gone.until(": watching").await;
    stopped.until(": watching").await;
    assert_eq!(meter.site.open_streams(), 2);
    meter.app.store.revoke_token(&id, meter.app.clock.now()).await.unwrap().unwrap();
    meter.app.clock.set(meter.app.clock.now().plus_ms(10_000));
    gone.end().await;
    count(&meter, "demo", 1).await;
    stopped.until("usage.counted").await;
    assert!(!gone.text.contains("usage.counted"));
    meter.site.end_streams();
    meter.stop();
    stopped.end().await;
    tokio::time::timeout(Duration::from_secs(5), &mut meter.server).await.unwrap().unwrap();
}

#[tokio::test]
async fn nobody_takes_the_streams_of_others() {
    let meter = Meter::start_behind_a_proxy().await;
    meter.project("demo", Plan::Community).await;
    let mut open = Vec::new();
    let mut refusals = Vec::new();
    for project in 0..STREAMS_MAX.div_euclid(PROJECT_STREAMS_MAX) {
        let project = format!("p{project}");
        meter.project(&project, Plan::Community).await;
        for _ in 0..PROJECT_STREAMS_MAX.div_euclid(TOKEN_STREAMS_MAX) {
            let token = meter.member(&project, Role::Viewer).await;
            for _ in 0..TOKEN_STREAMS_MAX {
                let mut watcher = Watcher::new(&meter, &token, "", &[]).await;
                watcher.until(": watching").await;
                open.push(watcher);
            }
            refusals.push(("8 live streams of this token are open", token));
        }
        refusals
            .push(("32 live streams of this project are open", meter.member(&project, Role::Viewer).await));
    }
    assert_eq!(open.len(), STREAMS_MAX);
    refusals.push(("256 live streams are open", meter.member("demo", Role::Viewer).await));
    for (detail, token) in refusals {
        let refused = meter.get("/api/v1/events", &token).await;
        refused.is_problem("too_many_streams", "one more");
        assert!(refused.field("detail").starts_with(detail), "{refused:?}");
        assert!(refused.header("retry-after").is_some());
    }
    drop(open);
    crate::support::until("the places are free again", async || meter.site.open_streams() == 0).await;
}

#[tokio::test]
async fn a_person_watches_until_the_session_ends_or_the_person_is_no_member() {
    let meter = Meter::start().await;
    meter.project("demo", Plan::Business).await;
    for way in ["signs out", "is removed"] {
        let session = meter.session(Some(("demo", Role::Viewer))).await;
        let headers = session.headers();
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, &**value)).collect();
        let mut watcher = Watcher::with(&meter, "?project=demo", &headers).await;
        watcher.until(": watching").await;
        if way == "signs out" {
            assert_eq!(meter.send("DELETE", "/api/v1/session", &headers, "").await.status, 200);
        } else {
            let members = meter.app.store.members(&project_id("demo")).await.unwrap();
            let member =
                members.iter().find(|one| one.account.as_ref() == Some(&session.account.id)).unwrap();
            let path = format!("/api/v1/admin/projects/demo/members/{}", member.id);
            let operator = meter.operator().await;
            assert_eq!(meter.json("DELETE", &path, &operator, "").await.status, 200);
        }
        meter.app.clock.set(meter.app.clock.now().plus_ms(6_000));
        watcher.end().await;
    }
}
