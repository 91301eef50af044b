//! `POST /ingest`: what is merged, what is set aside, and what is refused without a trace.

use aggregator::store::{Store, WhenMissing};
use serde_json::json;
use shared::plan::Plan;
use shared::policy::SignedPolicy;
use shared::time::Timestamp;
use shared::units::Units;
use shared::wire::{Flush, FlushAck};

use crate::support::{Meter, basis, noon, project_id, sign, signing_keys};

/// A flush as text: `cells` are `day kind agent units`, one a line.
fn flush(project: &str, seq: u64, cells: &[&str]) -> String {
    let cells: Vec<String> = cells
        .iter()
        .map(|cell| {
            let parts: Vec<&str> = cell.split(' ').collect();
            let [day, kind, agent, units] = parts[..] else { panic!("{cell}") };
            format!(r#"{{"day":"{day}","kind":"{kind}","agent":"{agent}","units":{units}}}"#)
        })
        .collect();
    let cells = cells.join(",");
    format!(
        r#"{{"project":"{project}","mode":"live","source":"home","incarnation":"aaaaaaaa","seq":{seq},"cells":[{cells}]}}"#
    )
}

async fn meter() -> Meter {
    let meter = Meter::start().await;
    meter.project("demo", Plan::Community).await;
    meter
}

fn ack(answer: &crate::support::Answer) -> FlushAck {
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.body).unwrap()
}

#[tokio::test]
async fn a_flush_is_merged_and_answered_with_watermark_and_policy() {
    let meter = meter().await;
    let key = meter.key("demo").await;
    let answer = meter
        .flush(&flush("demo", 7, &["2026-11-23 verify bot 3", "2026-11-23 mcp_tool_call ~none 2"]))
        .await;
    let FlushAck { watermark, policy, .. } = ack(&answer);
    assert_eq!(watermark, 7);
    let policy = policy.open(&signing_keys()).unwrap();
    assert_eq!((policy.version, policy.rpm, policy.keys), (2, 60, vec![key]));
    assert_eq!(policy.allowance.period.to_string(), "2026-11");
    assert_eq!(
        meter.cells("demo").await,
        [
            "live 2026-11-23 bot verify home aaaaaaaa units=3 tokens_in=0 tokens_out=0 anchors=0",
            "live 2026-11-23 ~none mcp_tool_call home aaaaaaaa units=2 tokens_in=0 tokens_out=0 anchors=0",
        ]
    );
}

#[tokio::test]
async fn replays_and_old_flushes_change_nothing() {
    let meter = meter().await;
    let body = flush("demo", 9, &["2026-11-23 verify bot 5"]);
    let signature = sign("/ingest", &body, noon());
    let first = ack(&meter.signed_flush(&signature, &body).await);
    let cells = meter.cells("demo").await;
    meter.app.clock.set(noon().plus_ms(299_000));
    assert_eq!(ack(&meter.signed_flush(&signature, &body).await), first, "the same bytes again");
    let old = ack(&meter.flush(&flush("demo", 3, &["2026-11-23 verify bot 4"])).await);
    assert_eq!(old.watermark, 9, "a watermark never falls");
    assert_eq!(meter.cells("demo").await, cells);
}

#[tokio::test]
async fn a_flush_without_cells_pulls_the_policy() {
    let meter = meter().await;
    let pull = |seq| flush("demo", seq, &[]);
    let november = ack(&meter.flush(&pull(1)).await).policy;
    meter.app.clock.set(noon().period().end());
    let december = ack(&meter.flush(&pull(2)).await).policy;
    let open = |policy: &SignedPolicy| policy.open(&signing_keys()).unwrap();
    assert_eq!(open(&november).version, open(&december).version, "a month's turn is no new version");
    assert_eq!(
        open(&december).allowance,
        open(&november).allowance,
        "stated for November until it is closed; homes compute December themselves"
    );
    assert!(meter.cells("demo").await.is_empty());
}

#[tokio::test]
async fn implausible_cells_are_set_aside_and_the_others_merged() {
    let meter = meter().await;
    let cells = [
        "2026-11-23 verify honest 86400",
        "2026-11-23 verify liar 86401",
        "2026-11-24 verify tomorrow 1",
        "2026-11-25 verify later 1",
    ];
    let answer = meter.flush(&flush("demo", 1, &cells)).await;
    assert_eq!(ack(&answer).watermark, 1);
    let merged = meter.cells("demo").await.join("\n");
    assert!(merged.contains("honest") && merged.contains("tomorrow"), "{merged}");
    assert!(!merged.contains("liar") && !merged.contains("later"), "{merged}");
    assert_eq!(meter.app.store.quarantined(&project_id("demo")).await.unwrap(), 2);
    meter.flush(&flush("demo", 2, &cells)).await;
    assert_eq!(meter.app.store.quarantined(&project_id("demo")).await.unwrap(), 2, "again changes nothing");
}

#[tokio::test]
async fn what_is_refused_leaves_no_trace() {
    let meter = meter().await;
    let body = flush("demo", 1, &["2026-11-23 verify bot 5"]);
    let at = |seconds: u64| Timestamp::from_ms(seconds * 1_000);
    let now = noon().as_seconds();
    let fresh = sign("/ingest", &body, noon());
    let cases = [
        ("no signature", String::new(), body.clone(), "signature_rejected"),
        ("garbled", "t=1,k=e1,v1=00".to_owned(), body.clone(), "signature_rejected"),
        ("another body", fresh.clone(), body.replace(":5", ":6"), "signature_rejected"),
        ("another path", sign("/ingest?x=1", &body, noon()), body.clone(), "signature_rejected"),
        ("too old", sign("/ingest", &body, at(now - 301)), body.clone(), "signature_expired"),
        ("from the future", sign("/ingest", &body, at(now + 301)), body.clone(), "signature_expired"),
        ("not signed and not JSON", "x".to_owned(), "{".to_owned(), "signature_rejected"),
    ];
    for (what, signature, body, code) in cases {
        meter.signed_flush(&signature, &body).await.is_problem(code, what);
    }
    let twice = [
        ("palveron-signature", fresh.as_str()),
        ("palveron-signature", &fresh),
        ("content-type", "application/json"),
    ];
    meter.send("POST", "/ingest", &twice, &body).await.is_problem("signature_rejected", "signed twice");
    let nobody = flush("nobody", 1, &["2026-11-23 verify bot 5"]);
    meter.flush(&nobody).await.is_problem("project_unknown", "unknown project");
    assert!(meter.cells("demo").await.is_empty());
    for body in [&body, &nobody] {
        let flush: Flush = serde_json::from_str(body).unwrap();
        assert_eq!(meter.app.store.source(&flush).await.unwrap(), None);
    }
}

#[tokio::test]
async fn signed_bodies_that_are_no_flush_are_refused() {
    let meter = meter().await;
    let good = flush("demo", 1, &["2026-11-23 verify bot 5"]);
    let many = flush("demo", 1, &["2026-11-23 verify bot 5"; 1_001]);
    let positional = r#"["demo","live","home","aaaaaaaa",1,[]]"#.to_owned();
    let cases = [
        ("not JSON", "{".to_owned(), "malformed_json", ""),
        ("empty", " ".to_owned(), "malformed_json", ""),
        ("positional", positional, "field_rejected", ""),
        ("null", "null".to_owned(), "field_rejected", ""),
        ("too many cells", many, "field_rejected", "cells"),
        ("no project", good.replace("\"project\":\"demo\",", ""), "field_rejected", "project"),
        ("project of another form", good.replace("demo", "De mo"), "field_rejected", "project"),
        ("mode", good.replace("live", "staging"), "field_rejected", "mode"),
        ("incarnation", good.replace("aaaaaaaa", "a"), "field_rejected", "incarnation"),
        ("negative seq", good.replace("\"seq\":1", "\"seq\":-1"), "field_rejected", "seq"),
        ("seq beyond 2^53", good.replace("\"seq\":1", "\"seq\":9007199254740992"), "field_rejected", "seq"),
        ("units as text", good.replace("\"units\":5", "\"units\":\"5\""), "field_rejected", "cells"),
        (
            "units beyond 2^53",
            good.replace("\"units\":5", "\"units\":9007199254740992"),
            "field_rejected",
            "cells",
        ),
        ("a day that is none", good.replace("2026-11-23", "2026-02-30"), "field_rejected", "cells"),
        ("a kind that is none", good.replace("verify", "verified"), "field_rejected", "cells"),
        ("a reserved agent", good.replace("bot", "~bot"), "field_rejected", "cells"),
        (
            "project twice",
            good.replace("\"seq\"", "\"project\":\"demo\",\"seq\""),
            "field_rejected",
            "project",
        ),
    ];
    for (what, body, code, field) in cases {
        let answer = meter.flush(&body).await;
        answer.is_problem(code, what);
        if !field.is_empty() {
            assert_eq!(answer.field("field"), field, "{what}");
        }
        assert!(
            !answer.body.contains("expected") && !answer.body.contains("line 1 column 1 "),
            "{what}: {answer:?}"
        );
    }
    let untyped = [("palveron-signature", sign("/ingest", &good, noon()))];
    let untyped: Vec<(&str, &str)> = untyped.iter().map(|(name, value)| (*name, value.as_str())).collect();
    meter
        .send("POST", "/ingest", &untyped, &good)
        .await
        .is_problem("unsupported_media_type", "no media type");
    assert!(meter.cells("demo").await.is_empty());
    let unknown = good.replace("\"seq\"", "\"new_in_some_release\":[1],\"seq\"");
    assert_eq!(meter.flush(&unknown).await.status, 200, "unknown fields are tolerated");
}

/// A small generator of numbers that only look random; the seed names the run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(sides).unwrap()).unwrap()
    }
}

/// Snapshots of growing cells from three incarnations, as a home would flush them.
fn history(dice: &mut Dice) -> Vec<Flush> {
    let mut flushes = Vec::new();
    for incarnation in ["aaaaaaaa", "bbbbbbbb", "cccccccc"] {
        let mut units = [0; 12];
        for seq in 1..=8 {
            let mut cells = Vec::new();
            for (slot, units) in units.iter_mut().enumerate() {
                *units += dice.roll(4);
                let (day, kind) = (20 + slot % 3, ["verify", "mcp_tool_call"][slot % 2]);
                cells.push(format!("2026-11-{day} {kind} agent-{} {units}", slot.div_euclid(4)));
            }
            let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
            let body = flush("demo", seq, &cells).replace("aaaaaaaa", incarnation);
            flushes.push(serde_json::from_str(&body).unwrap());
        }
    }
    flushes
}

/// The same history shuffled, doubled, and cut into smaller flushes and larger transactions.
async fn merge_somehow(meter: &Meter, history: &[Flush], dice: &mut Dice) {
    let mut pieces: Vec<Flush> = Vec::new();
    for flush in history {
        for _ in 0..=dice.roll(2) {
            let at = dice.roll(flush.cells.len());
            let (left, right) = flush.cells.split_at(at);
            pieces.push(Flush { cells: left.to_vec(), ..flush.clone() });
            pieces.push(Flush { cells: right.to_vec(), ..flush.clone() });
        }
    }
    for last in (1..pieces.len()).rev() {
        pieces.swap(last, dice.roll(last + 1));
    }
    let mut rest = pieces.as_slice();
    while !rest.is_empty() {
        let (group, later) = rest.split_at(1 + dice.roll(rest.len().min(5)));
        meter.app.store.merge(&group.iter().collect::<Vec<_>>(), noon()).await.unwrap();
        rest = later;
    }
}

#[tokio::test]
async fn any_order_split_and_duplication_gives_the_same_books() {
    for seed in 1..=12 {
        let mut dice = Dice(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed));
        let history = history(&mut dice);
        let straight = meter().await;
        for flush in &history {
            straight.app.store.merge(&[flush], noon()).await.unwrap();
        }
        let crooked = meter().await;
        merge_somehow(&crooked, &history, &mut dice).await;
        let books = straight.cells("demo").await;
        assert_eq!(books.len(), 36, "seed {seed}");
        assert_eq!(crooked.cells("demo").await, books, "seed {seed}");
        for flush in [&history[7], &history[23]] {
            let watermark = |source: Option<aggregator::store::SourceState>| source.unwrap().watermark;
            let (a, b) = (
                straight.app.store.source(flush).await.unwrap(),
                crooked.app.store.source(flush).await.unwrap(),
            );
            assert_eq!((watermark(a), watermark(b)), (8, 8), "seed {seed}");
        }
    }
}

#[tokio::test]
async fn flushes_of_many_homes_at_once_are_all_merged() {
    let meter = std::sync::Arc::new(meter().await);
    let mut homes = tokio::task::JoinSet::new();
    for home in 10..60 {
        let meter = std::sync::Arc::clone(&meter);
        homes.spawn(async move {
            for seq in 1..=4 {
                let body = flush("demo", seq, &[&format!("2026-11-23 verify bot {}", seq * 10)]);
                ack(&meter.flush(&body.replace("aaaaaaaa", &format!("aaaaaa{home}"))).await);
            }
        });
    }
    homes.join_all().await;
    let cells = meter.cells("demo").await;
    assert_eq!(cells.len(), 50);
    assert!(cells.iter().all(|cell| cell.contains("units=40")), "{cells:?}");
}

#[tokio::test]
async fn a_store_that_takes_no_writes_is_503_and_said_to_be_unready() {
    let meter = meter().await;
    assert_eq!(meter.send("GET", "/readyz", &[], "").await.status, 200);
    meter.app.store.close().await;
    meter.app.clock.set(noon().plus_ms(1_000));
    let ready = meter.send("GET", "/readyz", &[], "").await;
    let flushed = meter.flush(&flush("demo", 1, &["2026-11-23 verify bot 5"])).await;
    for (what, answer) in [("readyz", ready), ("ingest", flushed)] {
        answer.is_problem("not_ready", what);
        assert_eq!(answer.header("retry-after"), Some("1"), "{what}");
    }
    assert_eq!(meter.send("GET", "/healthz", &[], "").await.status, 200, "the process lives");
}

/// Two servers on one database remember what they wrote; each has to see what the other changed since.
#[tokio::test]
async fn what_another_server_has_written_since_is_never_taken_for_what_is_stored() {
    let meter = meter().await;
    let other = Store::open(&meter.folder.database(), WhenMissing::Refuse).await.unwrap();
    let stores = [&meter.app.store, &other];
    let merge = async |server: usize, seq: u64, cells: &[&str]| {
        let flush: Flush = serde_json::from_str(&flush("demo", seq, cells)).unwrap();
        stores[server].merge(&[&flush, &flush], noon()).await.unwrap();
    };
    // server, then the cells of its flush; each flush comes twice in one transaction
    let steps: [(usize, &[&str]); 8] = [
        (0, &["2026-11-22 verify a 5", "2026-11-22 verify b 1"]),
        (0, &["2026-11-22 verify a 6"]),
        (1, &["2026-11-22 verify a 9", "2026-11-22 verify c 4"]),
        (0, &["2026-11-22 verify a 8", "2026-11-22 verify c 4"]),
        (0, &["2026-11-22 verify a 9", "2026-11-22 verify b 2", "2026-11-23 verify a 1"]),
        (1, &["2026-11-22 verify b 2"]),
        (0, &["2026-11-22 verify b 3"]),
        (1, &["2026-11-22 verify b 7", "2026-11-23 verify a 1"]),
    ];
    for (seq, (server, cells)) in (1..).zip(steps) {
        merge(server, seq, cells).await;
        let findings = meter.app.store.audit(&project_id("demo")).await.unwrap().unwrap();
        assert!(findings.is_empty(), "after flush {seq}: {findings:?}");
    }
    let book = meter.app.store.book(&project_id("demo")).await.unwrap().unwrap();
    assert_eq!(book.seen(noon()).usage(noon().period()).units.get(), 9 + 7 + 4 + 1);
    other.close().await;
}

/// What a person decides writes cells too.
#[tokio::test]
async fn a_cell_that_was_accepted_is_not_added_again_by_the_next_flush() {
    let meter = meter().await;
    let send = async |seq, units: u64| {
        ack(&meter.flush(&flush("demo", seq, &[&format!("2026-11-23 verify a {units}")])).await);
    };
    send(1, 10).await;
    send(2, 9_999_999).await;
    let aside = meter.app.store.quarantine(&project_id("demo")).await.unwrap();
    let mut work = meter.app.store.begin_in(&project_id("demo")).await.unwrap();
    work.accept_quarantined(&project_id("demo"), &aside[0].id, noon()).await.unwrap();
    work.commit().await.unwrap();
    send(3, 20).await;
    let findings = meter.app.store.audit(&project_id("demo")).await.unwrap().unwrap();
    assert!(findings.is_empty(), "{findings:?}");
    let book = meter.app.store.book(&project_id("demo")).await.unwrap().unwrap();
    assert_eq!(book.seen(noon()).usage(noon().period()).units.get(), 9_999_999);
}

#[tokio::test]
async fn a_home_with_an_escrow_is_told_what_is_merged_of_its_earlier_lives() {
    let mut basis = basis();
    basis.leases.escrow = Some(Units::new(50));
    let meter = Meter::start_on(basis).await;
    meter.project("demo", Plan::Community).await;
    let first =
        flush("demo", 3, &["2026-11-23 verify a 5", "2026-11-22 verify a 2", "2026-11-23 verify ~none 4"]);
    let told = |answer| serde_json::to_value(ack(&answer).merged).unwrap();
    let alone = told(meter.flush(&first).await);
    let of_it = json!([{ "period": "2026-11", "units": 11, "lives": 0, "recent": 0, "agents": { "a": 7 } }]);
    assert_eq!(alone, of_it);
    // What it tells of its permits stays told, whatever came before it.
    let permits = |seq, issued| {
        let window = json!({ "minute": noon().minute(), "issued": issued });
        flush("demo", seq, &[]).replacen('{', &format!(r#"{{"window":{window},"#), 1)
    };
    for message in [permits(5, 40), permits(4, 30)] {
        assert_eq!(told(meter.flush(&message).await), of_it);
    }
    // A new life asks before it issues anything; what came of test keys is not of its month.
    let pull = flush("demo", 1, &[]).replace("aaaaaaaa", "bbbbbbbb");
    let test = flush("demo", 1, &["2026-11-23 verify a 100"]).replace("live", "test");
    assert_eq!(meter.flush(&test).await.status, 200);
    let asked = told(meter.flush(&pull).await);
    let window = json!({ "minute": noon().minute(), "issued": 40 });
    let mut wanted =
        json!({ "period": "2026-11", "units": 11, "lives": 1, "recent": 1, "agents": { "a": 7 } });
    wanted["window"] = window.clone();
    assert_eq!(asked, json!([wanted]));
    // November is not final until it is closed, although December has begun.
    meter.app.clock.set(noon().period().end().plus_ms(1));
    let december = told(meter.flush(&pull).await);
    assert_eq!(december[0]["units"], 11);
    assert_eq!(
        december[1],
        json!({ "period": "2026-12", "units": 0, "lives": 1, "recent": 1, "window": window })
    );
    // Others need not know, and are not told.
    let plain = self::meter().await;
    assert_eq!(told(plain.flush(&first).await), json!([]));
}
