//! What Postgres takes back, so that another transaction can go on, is made again by whoever wrote it. SQLite takes
//! nothing back: it has one writer.

use std::time::Duration;

use aggregator::http::{Route, routes};
use aggregator::jobs::month_close;
use aggregator::ledger::close::CLOSE_WITHIN_MS;
use shared::ids::Mode;
use shared::plan::Plan;
use shared::problem::ErrorCode;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};

use crate::authz::{World, needs_redis};
use crate::backend;
use crate::support::{Folder, Meter, noon, project_id};

/// The first attempt to note a change fails as a serialization does. The sequence goes on although its transaction is
/// taken back.
const FAIL_FIRST: &str = "
    CREATE SEQUENCE attempts;
    CREATE FUNCTION take_back() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF nextval('attempts') = 1 THEN RAISE EXCEPTION 'taken back' USING ERRCODE = '40001'; END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER take_back BEFORE INSERT ON trail FOR EACH ROW EXECUTE FUNCTION take_back();";

/// From now on the next attempt fails.
async fn fail_next(connection: &mut PgConnection) {
    connection.execute("ALTER SEQUENCE attempts RESTART").await.unwrap();
}

/// Whether one failed since, and another was made.
async fn failed(connection: &mut PgConnection) -> bool {
    let row = connection.fetch_one("SELECT last_value FROM attempts").await.unwrap();
    row.get::<i64, _>(0) >= 2
}

#[tokio::test]
async fn every_change_that_is_taken_back_is_made_again() {
    if backend::server().is_none() {
        return;
    }
    let world = World::new().await;
    let meter = &world.meter;
    let url = meter.folder.database_url();
    backend::run(url, FAIL_FIRST.to_owned());
    let mut connection = PgConnection::connect(url).await.unwrap();
    let free = |route: &Route| {
        let needs_account = route.refusals.contains(&ErrorCode::PaymentsUnavailable);
        route.changes() && !needs_account && !needs_redis(route)
    };
    for route in routes().into_iter().filter(free) {
        let operator = meter.operator().await;
        let (path, body) = world.request(&route, "own").await;
        fail_next(&mut connection).await;
        let authorization = format!("Bearer {operator}");
        let headers = [
            ("authorization", authorization.as_str()),
            ("content-type", "application/json"),
            ("idempotency-key", "k"),
        ];
        let answer = meter.send(route.method.as_str(), &path, &headers, &body).await;
        assert_eq!(answer.status, route.answers[0].status, "{route:?}: {answer:?}");
        assert!(failed(&mut connection).await, "{route:?} was not taken back");
    }
    // What jobs and commands do without a call.
    fail_next(&mut connection).await;
    meter.app.store.create_key(&project_id("own"), Mode::Live, meter.app.clock.now()).await.unwrap();
    assert!(failed(&mut connection).await);
    fail_next(&mut connection).await;
    meter.app.clock.set(noon().period().end().plus_ms(CLOSE_WITHIN_MS));
    assert!(month_close::close_due(&meter.app).await.unwrap() > 0);
    assert!(failed(&mut connection).await);
    let findings = meter.app.store.audit(&project_id("own")).await.unwrap().unwrap();
    assert!(findings.is_empty(), "{findings:?}");
    connection.close().await.unwrap();
}

/// Another session has a row that the meter needs, and then wants the project that the meter has locked.
#[tokio::test]
async fn a_deadlock_ends_with_the_change_made() {
    if backend::server().is_none() {
        return;
    }
    let folder = Folder::new();
    let name = folder.database_url().rsplit('/').next().unwrap().to_owned();
    // The meter looks for a deadlock after two seconds, and by then there is one; the other session never looks.
    backend::run(folder.database_url(), format!("ALTER DATABASE \"{name}\" SET deadlock_timeout = '2s'"));
    let clock = aggregator::clock::Clock::manual(noon());
    let meter = Meter::start_with(folder, clock, aggregator::http::Timeouts::default()).await;
    meter.project("demo", Plan::Community).await;
    let flush = |units: u64| {
        format!(
            r#"{{"project":"demo","mode":"live","source":"home","incarnation":"aaaaaaaa","seq":{units},"cells":[{{"day":"2026-11-23","kind":"verify","agent":"bot","units":{units}}}]}}"#
        )
    };
    assert_eq!(meter.flush(&flush(5)).await.status, 200);
    let operator = meter.operator().await;
    let mut other = PgConnection::connect(meter.folder.database_url()).await.unwrap();
    let mut watcher = PgConnection::connect(meter.folder.database_url()).await.unwrap();
    other.execute("SET deadlock_timeout = '600s'").await.unwrap();
    for row in ["usage WHERE project = 'demo'", "policy_outbox WHERE project = 'demo'"] {
        other.execute("BEGIN").await.unwrap();
        other.execute(AssertSqlSafe(format!("SELECT * FROM {row} FOR UPDATE"))).await.unwrap();
        let change = async {
            if row.starts_with("usage") {
                meter.flush(&flush(9)).await
            } else {
                meter.json("PATCH", "/api/v1/admin/projects/demo", &operator, r#"{"plan":"pro"}"#).await
            }
        };
        let cross = async {
            while waiting(&mut watcher).await == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            // Granted once the meter's transaction is taken back.
            other.execute("SELECT * FROM project WHERE id = 'demo' FOR UPDATE").await.unwrap();
            other.execute("ROLLBACK").await.unwrap();
        };
        let (answer, ()) = tokio::join!(change, cross);
        assert_eq!(answer.status, 200, "{row}: {answer:?}");
    }
    let book = meter.app.store.book(&project_id("demo")).await.unwrap().unwrap();
    assert_eq!(book.seen(noon()).usage(noon().period()).units.get(), 9);
    assert_eq!(book.project.plan, Plan::Pro);
    let deadlocks: i64 = watcher
        .fetch_one("SELECT pg_stat_clear_snapshot(), deadlocks FROM pg_stat_database WHERE datname = current_database()")
        .await
        .unwrap()
        .get("deadlocks");
    assert!(deadlocks >= 1, "there was none");
    let findings = meter.app.store.audit(&project_id("demo")).await.unwrap().unwrap();
    assert!(findings.is_empty(), "{findings:?}");
}

/// How many sessions of the database wait for a lock of a row.
async fn waiting(watcher: &mut PgConnection) -> i64 {
    let row = watcher
        .fetch_one("SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
        .await
        .unwrap();
    row.get(0)
}
