//! Connections: whoever takes many, or reads nothing, takes nothing from others.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use aggregator::access::Role;
use aggregator::http::{ADDRESS_CONNECTIONS, Connections, Timeouts};
use shared::plan::Plan;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::backend;
use crate::support::{Answer, DEADLINE, Meter, noon, read_answer, request, sign, until};

/// What others are to be answered within, whatever one address does.
const SOON: Duration = Duration::from_secs(1);

/// How many connections one meter has to a Postgres server, those that write and those that read.
const TO_BOOKS_MAX: usize = 16;

const FLUSH: &str =
    r#"{"project":"demo","mode":"live","source":"home","incarnation":"aaaaaaaa","seq":1,"cells":[]}"#;

/// A connection from 127.0.0.`last` that holds little of what it does not read.
async fn from(meter: &Meter, last: u8) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(32 * 1_024).unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, last], 0))).unwrap();
    socket.connect(meter.address).await.unwrap()
}

async fn ask(meter: &Meter, last: u8, request: &str) -> Answer {
    let mut stream = from(meter, last).await;
    // It may be answered and closed before all is taken.
    drop(stream.write_all(request.as_bytes()).await);
    read_answer(&mut stream).await
}

fn flush(close: bool) -> String {
    let signature = sign("/ingest", FLUSH, noon());
    let headers = [("palveron-signature", signature.as_str()), ("content-type", "application/json")];
    let text = request("POST", "/ingest", &headers, FLUSH);
    if close { text } else { text.replace("connection: close\r\n", "") }
}

/// What is silent stays as long as a test may take.
fn patient() -> Timeouts {
    let long = Duration::from_secs(60);
    Timeouts { head: long, write: long, ..Timeouts::default() }
}

/// Connections from an address that ask for much and read nothing, or ask for nothing.
async fn silent(meter: &Meter, last: u8, count: usize) -> Vec<TcpStream> {
    let asked = "GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n".repeat(200);
    let mut open = Vec::new();
    for number in 0..count {
        let mut stream = from(meter, last).await;
        if number % 4 > 0 {
            drop(stream.write_all(asked.as_bytes()).await);
        }
        open.push(stream);
    }
    open
}

#[tokio::test]
async fn silent_connections_of_one_address_take_nothing_from_others() {
    let meter = Meter::start_connected(patient(), Connections::default()).await;
    meter.project("demo", Plan::Community).await;
    let operator = meter.operator().await;
    let open = silent(&meter, 2, 400).await;
    let authorization = format!("Bearer {operator}");
    let admin = request("GET", "/api/v1/admin/projects/demo", &[("authorization", &authorization)], "");
    for (what, request) in [
        ("healthz", request("GET", "/healthz", &[], "")),
        ("ingest", flush(true)),
        ("an administrator's call", admin),
    ] {
        let answer = timeout(SOON, ask(&meter, 3, &request)).await.expect(what);
        assert_eq!(answer.status, 200, "{what}: {answer:?}");
    }
    drop(open);
}

#[tokio::test]
async fn whoever_has_its_connections_is_told_so_and_is_still_asked_whether_it_lives() {
    let meter = Meter::start_connected(patient(), Connections::default()).await;
    let open = silent(&meter, 2, ADDRESS_CONNECTIONS).await;
    let refused = ask(&meter, 2, &request("GET", "/metrics", &[], "")).await;
    refused.is_problem("not_ready", "one more");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(ask(&meter, 2, &request("GET", "/healthz", &[], "")).await.status, 200);
    // One request is all that it is for.
    let mut kept = from(&meter, 2).await;
    kept.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    assert_eq!(timeout(SOON, read_answer(&mut kept)).await.unwrap().header("connection"), Some("close"));
    drop(open);
    until("its places are free again", async || {
        ask(&meter, 2, &request("GET", "/metrics", &[], "")).await.status == 200
    })
    .await;
}

#[tokio::test]
async fn places_are_kept_for_health_and_flushes_when_all_others_are_taken() {
    let few = Connections { all: 40, address: Some(20) };
    let meter = Meter::start_connected(patient(), few).await;
    meter.project("demo", Plan::Community).await;
    let open = [silent(&meter, 2, 20).await, silent(&meter, 3, 20).await];
    for (what, request, status) in [
        ("healthz", request("GET", "/healthz", &[], ""), 200),
        ("readyz", request("GET", "/readyz", &[], ""), 200),
        ("ingest", flush(true), 200),
        ("others", request("GET", "/metrics", &[], ""), 503),
    ] {
        let answer = timeout(SOON, ask(&meter, 4, &request)).await.expect(what);
        assert_eq!(answer.status, status, "{what}: {answer:?}");
    }
    drop(open);
}

/// Short enough for tests, long enough for a busy machine.
fn quick() -> Timeouts {
    let short = Duration::from_millis(500);
    Timeouts { write: short, ..Timeouts::default() }
}

/// More answers than both systems hold for a client.
fn much(last: &str) -> String {
    "GET /openapi.json HTTP/1.1\r\nhost: a\r\n\r\n".repeat(20) + last
}

#[tokio::test]
async fn whoever_takes_nothing_is_cut_off() {
    let meter = Meter::start_connected(quick(), Connections { all: 1, address: Some(1) }).await;
    let mut stuck = from(&meter, 2).await;
    stuck.write_all(much("").as_bytes()).await.unwrap();
    until("its place is free", async || {
        ask(&meter, 3, &request("GET", "/metrics", &[], "")).await.status == 200
    })
    .await;
    drop(stuck);
}

#[tokio::test]
async fn whoever_reads_slowly_gets_everything() {
    let meter = Meter::start_connected(quick(), Connections::default()).await;
    let whole = meter.send("GET", "/openapi.json", &[], "").await.body.len();
    let mut slow = from(&meter, 2).await;
    slow.write_all(much(&request("GET", "/healthz", &[], "")).as_bytes()).await.unwrap();
    let mut piece = vec![0; 64 * 1_024];
    let mut read = 0_usize;
    let mut end = Vec::new();
    loop {
        // Each pause is shorter than what a client may pause, and all together are much longer.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let count = timeout(DEADLINE, slow.read(&mut piece)).await.unwrap().unwrap();
        if count == 0 {
            break;
        }
        read = read.saturating_add(count);
        end.extend_from_slice(&piece[..count]);
        end.drain(..end.len().saturating_sub(100));
    }
    assert!(read > whole * 20, "{read} of {}", whole * 20);
    assert!(String::from_utf8_lossy(&end).ends_with(r#"{"status":"ok"}"#));
}

#[tokio::test]
async fn a_connection_of_age_takes_no_further_request_and_ends() {
    let short = Duration::from_millis(500);
    let timeouts = Timeouts { age: short, last: short, ..Timeouts::default() };
    let meter = Meter::start_connected(timeouts, Connections::default()).await;
    meter.project("demo", Plan::Community).await;
    let token = meter.member("demo", Role::Viewer).await;
    let mut watching = from(&meter, 2).await;
    let authorization = format!("Bearer {token}");
    let head = request("GET", "/api/v1/events", &[("authorization", &authorization)], "");
    watching.write_all(head.as_bytes()).await.unwrap();
    let mut busy = from(&meter, 2).await;
    let mut answers = 0;
    let asking = timeout(DEADLINE, async {
        let mut piece = [0; 1_024];
        while busy.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.is_ok()
            && let Ok(1..) = busy.read(&mut piece).await
        {
            answers += 1;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    asking.await.expect("it is asked without end");
    assert!(answers > 1);
    // What has begun has its time, and no more.
    assert_eq!(read_answer(&mut watching).await.status, 200);
}

/// The next answer on a connection that is kept.
async fn next_answer(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let reading = timeout(DEADLINE, async {
        loop {
            let answer = Answer::parse(&String::from_utf8_lossy(&bytes));
            if answer.header("content-length") == Some(&answer.body.len().to_string()) {
                return answer;
            }
            let mut piece = [0; 4_096];
            let count = stream.read(&mut piece).await.unwrap();
            assert!(count > 0, "closed: {answer:?}");
            bytes.extend_from_slice(&piece[..count]);
        }
    });
    reading.await.unwrap()
}

#[tokio::test]
async fn half_flushes_of_strangers_hold_up_nobody_else() {
    let patient = Timeouts { body: Duration::from_secs(60), ..Timeouts::default() };
    let meter = Meter::start_connected(patient, Connections::default()).await;
    meter.project("demo", Plan::Community).await;
    let mut ours = from(&meter, 2).await;
    ours.write_all(flush(false).as_bytes()).await.unwrap();
    assert_eq!(next_answer(&mut ours).await.status, 200);
    let half = flush(true).replace("content-length: ", "content-length: 1");
    let mut strangers = JoinSet::new();
    for _ in 0..20 {
        let mut stranger = from(&meter, 2).await;
        stranger.write_all(half.as_bytes()).await.unwrap();
        strangers.spawn(async move { read_answer(&mut stranger).await });
    }
    // Sixteen are waited for.
    for _ in 0..4 {
        strangers.join_next().await.unwrap().unwrap().is_problem("not_ready", "one too many");
    }
    ask(&meter, 2, &flush(true)).await.is_problem("not_ready", "nobody knows whose it is");
    ours.write_all(flush(false).as_bytes()).await.unwrap();
    assert_eq!(next_answer(&mut ours).await.status, 200, "known before");
    assert_eq!(ask(&meter, 3, &flush(true)).await.status, 200, "from elsewhere");
}

/// A new one costs as much as several statements, and begins with nothing prepared.
#[tokio::test]
async fn connections_to_postgres_are_kept_for_the_next_who_asks() {
    if backend::server().is_none() {
        return;
    }
    let meter = Meter::start().await;
    meter.project("demo", Plan::Pro).await;
    let viewer = meter.member("demo", Role::Viewer).await;
    let mut seen = BTreeSet::new();
    for _ in 0..40 {
        let report = meter.get("/api/v1/usage?from=2026-11-01&to=2026-11-30", &viewer).await;
        assert_eq!(report.status, 200, "{report:?}");
        seen.extend(backend::sessions(meter.folder.database_url()).await);
    }
    assert!(seen.len() <= TO_BOOKS_MAX, "{} connections were made for 40 requests", seen.len());
}
