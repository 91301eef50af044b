//! Stripe's deliveries: taken in over HTTP beside a plain loop that writes the same row with a commit of its own for
//! each, and none that was acknowledged is lost when the process is killed in the middle.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection, Row};
use tests::client::{Call, Connection as Http};
use tests::clock;
use tests::postgres::Postgres;
use tests::servers::Servers;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::plain::{new_file, turns};

/// Connections that deliver at once, each again as soon as it is acknowledged; Stripe opens many.
const CONNECTIONS: usize = 128;

const INSERT: &str =
    "INSERT INTO stripe_event (id, type, object, livemode, raw, received_ms, state, attempts, due_ms)
     VALUES ($1, 'product.created', 'p', 0, $2, $3, 'pending', 0, $4) ON CONFLICT (id) DO NOTHING";

/// Measures both databases.
pub(crate) async fn run(seconds: u64) -> Result<()> {
    println!("deliveries of one event each, signed, on {CONNECTIONS} connections; {seconds} s each");
    let scratch = std::env::temp_dir().join(format!("deliveries-bench-{}", std::process::id()));
    std::fs::create_dir_all(&scratch)?;
    let plain = sqlite(&scratch.join("plain.db"), seconds).await?;
    std::fs::remove_dir_all(&scratch)?;
    measure("sqlite", None, plain, seconds).await?;
    let postgres = Postgres::start_on_disk().await?;
    let plain = self::postgres(&postgres.create("plain")?, seconds).await?;
    measure("postgres", Some(postgres.create("books")?), plain, seconds).await
}

fn table(text: &str, bytes: &str, after: &str) -> String {
    format!(
        "CREATE TABLE stripe_event (
             id {text} NOT NULL PRIMARY KEY, type {text} NOT NULL, object {text}, livemode BIGINT, raw {bytes} NOT NULL,
             received_ms BIGINT NOT NULL, state {text} NOT NULL, attempts BIGINT NOT NULL, due_ms BIGINT NOT NULL,
             note {text}
         ) {after};
         CREATE INDEX stripe_event_pending ON stripe_event (due_ms, id) WHERE state = 'pending'"
    )
}

fn body(event: &str) -> String {
    format!(
        r#"{{"id":"{event}","object":"event","type":"product.created","livemode":false,"data":{{"object":{{"id":"p"}}}}}}"#
    )
}

/// An event of the plain loop, and its body.
fn event(number: i64) -> (String, Vec<u8>) {
    let event = format!("evt_plain_{number}");
    let body = body(&event).into_bytes();
    (event, body)
}

/// Deliveries a second of one connection to an SQLite file, a commit for each.
async fn sqlite(file: &Path, seconds: u64) -> Result<f64> {
    let mut connection = new_file(file).await?;
    sqlx::raw_sql(AssertSqlSafe(table("TEXT", "BLOB", "WITHOUT ROWID"))).execute(&mut connection).await?;
    turns(seconds, async |count| {
        let (event, body) = event(count);
        let insert = sqlx::query(INSERT).bind(event).bind(body).bind(count).bind(count);
        insert.execute(&mut connection).await?;
        Ok(())
    })
    .await
}

/// As [`sqlite`], to a Postgres database.
async fn postgres(url: &str, seconds: u64) -> Result<f64> {
    let mut connection = PgConnection::connect(url).await?;
    let table = table("TEXT COLLATE \"C\"", "BYTEA", "");
    sqlx::raw_sql(AssertSqlSafe(table)).execute(&mut connection).await?;
    turns(seconds, async |count| {
        let (event, body) = event(count);
        let insert = sqlx::query(INSERT).bind(event).bind(body).bind(count).bind(count);
        insert.execute(&mut connection).await?;
        Ok(())
    })
    .await
}

async fn measure(name: &str, database: Option<String>, plain: f64, seconds: u64) -> Result<()> {
    let mut servers = Servers::on(database, None)?.paid();
    let address = servers.add().await?;
    let secret = servers.stripe_secret().to_owned();
    let start = Instant::now();
    let taken = deliver(address, &secret, "even", Duration::from_secs(seconds)).await;
    let rate = taken.len() as f64 / start.elapsed().as_secs_f64();
    println!(
        "{name:9} plain loop {plain:>7.0} deliveries/s   webhook {rate:>7.0} deliveries/s   {:.1} times",
        rate / plain
    );
    // Once more, and killed in the middle.
    let (killed, taken_before) = tokio::join!(
        async {
            tokio::time::sleep(Duration::from_secs(seconds.div_euclid(2).max(1))).await;
            servers.kill(0)
        },
        deliver(address, &secret, "killed", Duration::from_secs(seconds.max(2))),
    );
    killed?;
    let lost = missing(servers.database(), taken.iter().chain(&taken_before)).await?;
    println!(
        "{name:9} killed in the middle: {} were acknowledged, {lost} of them are lost",
        taken_before.len()
    );
    ensure!(lost == 0, "acknowledged deliveries are lost");
    Ok(())
}

/// The events that were acknowledged within that time, or until nobody answers any more.
async fn deliver(address: SocketAddr, secret: &str, run: &str, time: Duration) -> Vec<String> {
    let end = Instant::now() + time;
    let mut running = JoinSet::new();
    for connection in 0..CONNECTIONS {
        let (secret, run) = (secret.to_owned(), run.to_owned());
        running.spawn(async move {
            let mut taken = Vec::new();
            let Ok(mut http) = Http::open(address).await else { return taken };
            for count in 0_u64.. {
                let event = format!("evt_{run}_{connection}_{count}");
                if Instant::now() >= end || !is_taken(&mut http, &secret, &event).await {
                    break;
                }
                taken.push(event);
            }
            taken
        });
    }
    running.join_all().await.into_iter().flatten().collect()
}

async fn is_taken(http: &mut Http, secret: &str, event: &str) -> bool {
    let (body, seconds) = (body(event), clock::now().as_seconds());
    let Ok(mut mac) = <Hmac<Sha256> as KeyInit>::new_from_slice(secret.as_bytes()) else { return false };
    mac.update(format!("{seconds}.{body}").as_bytes());
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let call = Call::post("/api/v1/stripe/webhook", body)
        .header("stripe-signature", format!("t={seconds},v1={hex}"));
    http.send(&call).await.is_ok_and(|answer| answer.status == 200)
}

/// How many of these events are not in the books.
async fn missing(url: &str, events: impl Iterator<Item = &String>) -> Result<usize> {
    let stored: std::collections::BTreeSet<String> = if url.starts_with("postgres") {
        let mut connection = PgConnection::connect(url).await?;
        let rows = sqlx::query("SELECT id FROM stripe_event").fetch_all(&mut connection).await?;
        rows.iter().map(|row| row.try_get("id")).collect::<Result<_, _>>()?
    } else {
        let file = url.strip_prefix("sqlite://").context("an SQLite file")?;
        let options = SqliteConnectOptions::new().filename(file);
        let mut connection = SqliteConnection::connect_with(&options).await?;
        let rows = sqlx::query("SELECT id FROM stripe_event").fetch_all(&mut connection).await?;
        rows.iter().map(|row| row.try_get("id")).collect::<Result<_, _>>()?
    };
    Ok(events.filter(|event| !stored.contains(*event)).count())
}
