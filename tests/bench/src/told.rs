//! From a crossing to its delivery: how soon a receiver knows that a project has reached 80 % of its quota.
//!
//! The whole way on an idle system: the request that reaches the level, the home's flush, the books, the delivery.
//! It must never measure beside the load of another case.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::clock::{micros_between, now, pause};
use crate::open::Line;
use crate::parts::{Meter, Server};
use crate::stats::{median, percentile};
use crate::target::Target;

/// Crossings that are measured, each of a project of its own.
const SAMPLES: u32 = 9;
/// The fourth of five requests reaches 80 %.
const QUOTA: &str = "5";
const BEFORE_CROSSING: usize = 3;
/// What is asked each time.
const CHECK: &str = r#"{"kind":"verify"}"#;
/// What has not arrived by then has failed.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// By then the earlier requests are flushed, and the system is idle again.
const IDLE_AFTER: Duration = Duration::from_millis(1_500);

/// Measures, and says what came of it in a line; `None` where ours is not among what is measured.
pub(crate) fn run(server: &Server) -> Result<Option<String>> {
    let Some(meter) = server.meter() else { return Ok(None) };
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let url = format!("http://{}/", listener.local_addr()?);
    let (sender, arrivals) = channel();
    // It ends with the process.
    thread::spawn(move || receive(&listener, &sender));
    let mut latencies = Vec::new();
    for sample in 0..SAMPLES {
        let project = format!("told{sample}");
        latencies.push(once(server, meter, (&project, &url), &arrivals).with_context(|| project.clone())?);
    }
    let ms = |micros: Option<u64>| micros.unwrap_or_default().div_ceil(1_000);
    Ok(Some(format!(
        "From a crossing to its delivery, the flush included: median {} ms, 90 % within {} ms ({SAMPLES} crossings)",
        ms(median(&latencies)),
        ms(percentile(&latencies, 900))
    )))
}

/// One crossing: microseconds from the request that makes it to the arrival at the receiver.
fn once(
    server: &Server,
    meter: &Meter,
    (project, url): (&str, &str),
    arrivals: &Receiver<Instant>,
) -> Result<u64> {
    let limits = ["--plan", "community", "--rpm", "1000", "--included", QUOTA];
    meter.command(&[&["project", "create", project], &limits[..]].concat())?;
    let made: Value =
        serde_json::from_str(&meter.command(&["key", "create", "--project", project, "--json"])?)?;
    let key = made.get("key").and_then(Value::as_str).context("`meter key create --json` told no key")?;
    let hook =
        ["webhooks", "create", "--project", project, "--url", url, "--event", "usage.threshold_reached"];
    meter.command(&hook)?;
    let mut line = Line::connect(server.address())?;
    let quota = format!("GET /v1/quota HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\n\r\n");
    let start = now();
    while line.send(quota.as_bytes(), |response| response.status)? != 200 {
        ensure!(start.elapsed() < WAIT_MAX, "the edge does not take the new key");
        pause();
    }
    let target = Target::new(server.address(), ["/v1/check", CHECK], key, "");
    let request = target.request();
    for _ in 0..BEFORE_CROSSING {
        ensure!(line.send(&request, |response| response.status)? == 200, "a request before the crossing");
    }
    thread::sleep(IDLE_AFTER);
    let crossing = now();
    ensure!(line.send(&request, |response| response.status)? == 200, "the crossing");
    let arrived = arrivals.recv_timeout(WAIT_MAX).context("no delivery came")?;
    Ok(micros_between(crossing, arrived))
}

/// Answers each delivery, and says when it came.
fn receive(listener: &TcpListener, arrivals: &Sender<Instant>) {
    for stream in listener.incoming().map_while(Result::ok) {
        if arrivals.send(now()).is_err() {
            return;
        }
        // A receiver that breaks off is told by the delivery that comes again.
        answer(stream).unwrap_or_default();
    }
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut piece = [0; 4_096];
    let mut head = Vec::new();
    while !head.ends_with(b"}}") {
        let length = stream.read(&mut piece)?;
        if length == 0 {
            break;
        }
        head.extend_from_slice(piece.get(..length).unwrap_or_default());
    }
    stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
}
