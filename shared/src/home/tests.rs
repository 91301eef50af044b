//! The home's promises, each as a sentence.

use std::collections::BTreeMap;

use super::desk::{HolderRow, LaneRow};
use super::open_calls::OpenCall;
use super::*;
use crate::json::tests::near;
use crate::kind::Kind;
use crate::policy::Overage;
use crate::policy::tests::community;
use crate::wire::FLUSH_CELLS_MAX;

fn noon() -> Timestamp {
    Day::parse("2026-11-23").unwrap().start().plus_ms(12 * 3_600_000)
}

fn home_with(change: impl FnOnce(&mut Policy)) -> Home {
    let name = HomeName::parse("demo/live").unwrap();
    let mut home = Home::new(name, Incarnation::parse("inc00001").unwrap());
    let mut policy = community("demo");
    change(&mut policy);
    home.install(policy);
    home
}

fn fast_home() -> Home {
    home_with(|policy| policy.rpm = 1_000_000)
}

pub(super) fn ask(agent: &str) -> Ask {
    Ask {
        key: crate::ids::KeyId::parse("k001").unwrap(),
        kind: Kind::Verify,
        agent: AgentId::parse(agent).unwrap(),
        cost: 1,
        dry_run: false,
        held: false,
    }
}

/// Asks `times` times and says how many were allowed and the last denial.
fn demand(home: &mut Home, now: Timestamp, ask: &Ask, times: u32) -> (u32, Option<Denial>) {
    let mut result = (0, None);
    for _ in 0..times {
        match home.decide(now, ask).unwrap().denial {
            None => result.0 += 1,
            denied => result.1 = denied,
        }
    }
    result
}

/// The home as it comes back after a crash: from its rows alone.
fn reload(rows: &mut BTreeMap<String, String>, home: &mut Home, now: Timestamp) -> Home {
    for row in home.take_writes() {
        match row.value {
            Some(value) => rows.insert(row.key, value),
            None => rows.remove(&row.key),
        };
    }
    Home::load(rows.clone(), now).unwrap().unwrap()
}

#[test]
fn a_test_home_gets_the_plans_units_and_nothing_that_was_paid_for() {
    let mut policy = community("demo");
    policy.allowance.lots = Units::new(5_000);
    policy.allowance.credits = Units::new(300);
    policy.allowance.overage = Overage::Open;
    for (mode, remaining) in [(Mode::Test, Some(1_000)), (Mode::Live, None)] {
        let name = HomeName { project: ProjectId::parse("demo").unwrap(), mode };
        let mut home = Home::new(name, Incarnation::parse("00000000").unwrap());
        home.install(policy.clone());
        let noon = Period::parse("2026-11").unwrap().start();
        assert_eq!(home.numbers(noon).unwrap().remaining().map(Units::get), remaining, "{mode}");
    }
}

#[test]
fn the_61st_request_of_a_minute_is_rate_limited_and_the_next_minute_begins_anew() {
    let mut home = home_with(|_| {});
    assert_eq!(demand(&mut home, noon(), &ask("bot"), 61), (60, Some(Denial::RateLimited)));
    let verdict = home.decide(noon().plus_ms(59_999), &ask("bot")).unwrap();
    assert_eq!(verdict.denial, Some(Denial::RateLimited));
    assert_eq!(verdict.retry_after(), Some(("Retry-After", "1".to_owned())));
    assert_eq!(home.decide(noon().plus_ms(60_000), &ask("bot")).unwrap().denial, None);
}

#[test]
fn the_hard_stop_allows_exactly_the_included_units() {
    let mut home = fast_home();
    assert_eq!(demand(&mut home, noon(), &ask("bot"), 1_500), (1_000, Some(Denial::QuotaExhausted)));
    let problem = home.decide(noon(), &ask("bot")).unwrap().problem().unwrap();
    assert_eq!((problem.status, problem.code.as_str()), (402, "quota_exhausted"));
    assert_eq!(problem.resets_at.as_deref(), Some("2026-12-01T00:00:00Z"));
    assert_eq!(problem.upgrade_url.as_deref(), Some("https://palveron.com/pricing"));
}

#[test]
fn a_cost_is_admitted_whole_or_not_at_all() {
    let mut home = fast_home();
    let costly = Ask { cost: 600, ..ask("bot") };
    assert_eq!(demand(&mut home, noon(), &costly, 2), (1, Some(Denial::QuotaExhausted)));
    assert_eq!(demand(&mut home, noon(), &ask("bot"), 500), (400, Some(Denial::QuotaExhausted)));
}

#[test]
fn a_dry_run_and_a_denial_count_nothing() {
    let mut home = home_with(|policy| policy.rpm = 1);
    let dry = Ask { dry_run: true, ..ask("bot") };
    assert_eq!(demand(&mut home, noon(), &dry, 10), (10, None));
    assert_eq!(home.numbers(noon()).unwrap().used, Units::ZERO);
    assert_eq!(demand(&mut home, noon(), &ask("bot"), 10), (1, Some(Denial::RateLimited)));
    assert_eq!(home.numbers(noon()).unwrap().used, Units::new(1));
}

#[test]
fn revoked_keys_and_suspended_projects_are_denied() {
    let mut home = home_with(|policy| policy.keys.clear());
    assert_eq!(home.decide(noon(), &ask("bot")).unwrap().denial, Some(Denial::KeyRevoked));
    let mut home = home_with(|policy| policy.status = Status::Suspended);
    assert_eq!(home.decide(noon(), &ask("bot")).unwrap().denial, Some(Denial::Suspended));
}

#[test]
fn agents_beyond_the_plan_are_denied_and_known_ones_go_on() {
    let mut home = home_with(|policy| policy.agents_max = Some(2));
    assert_eq!(demand(&mut home, noon(), &ask("a"), 1), (1, None));
    assert_eq!(demand(&mut home, noon(), &ask("b"), 1), (1, None));
    assert_eq!(demand(&mut home, noon(), &ask("c"), 1), (0, Some(Denial::AgentLimit)));
    assert_eq!(demand(&mut home, noon(), &ask("a"), 1), (1, None));
    assert_eq!(demand(&mut home, noon(), &ask(AgentId::NONE), 1), (1, None));
    let december = Period::parse("2026-12").unwrap().start();
    assert_eq!(demand(&mut home, december, &ask("c"), 1), (1, None));
}

#[test]
fn agents_beyond_a_days_limit_are_folded_with_exact_totals() {
    let mut home = home_with(|policy| {
        policy.rpm = 1_000_000;
        policy.agents_max = None;
        policy.allowance.included = Units::new(5_000);
    });
    for number in 0..AGENTS_PER_DAY_MAX + 5 {
        assert_eq!(demand(&mut home, noon(), &ask(&format!("a{number}")), 1), (1, None));
    }
    assert_eq!(demand(&mut home, noon(), &ask("a0"), 1), (1, None));
    let round = home.flush(noon()).unwrap();
    let cells: Vec<_> = round.messages.iter().flat_map(|message| &message.cells).collect();
    let units = |agent: &str| {
        cells.iter().find(|cell| cell.key.agent.as_str() == agent).map(|cell| cell.counts.units.get())
    };
    assert_eq!(cells.len(), AGENTS_PER_DAY_MAX + 1);
    assert_eq!(units(AgentId::OTHER), Some(5));
    assert_eq!(units("a0"), Some(2));
    assert!(round.messages.iter().all(|message| message.cells.len() <= FLUSH_CELLS_MAX));
}

#[test]
fn a_period_turns_at_midnight_utc_and_never_returns() {
    let mut home = fast_home();
    let december = Period::parse("2026-12").unwrap().start();
    let before = Timestamp::from_ms(december.as_ms() - 1);
    assert_eq!(demand(&mut home, before, &ask("bot"), 1_001).0, 1_000);
    assert_eq!(demand(&mut home, december, &ask("bot"), 1), (1, None));
    let verdict = home.decide(before, &ask("bot")).unwrap();
    assert_eq!(
        (verdict.denial, verdict.numbers.used),
        (None, Units::new(2)),
        "the clock never runs backwards"
    );
}

#[test]
fn a_home_rolls_into_the_next_month_alone_with_the_lots_that_are_left() {
    let mut home = home_with(|policy| {
        policy.rpm = 1_000_000;
        policy.allowance.lots = Units::new(500);
    });
    assert_eq!(demand(&mut home, noon(), &ask("bot"), 1_200).0, 1_200);
    let december = Period::parse("2026-12").unwrap().start();
    assert_eq!(demand(&mut home, december, &ask("bot"), 2_000).0, 1_300);
    let january = Period::parse("2027-01").unwrap().start();
    assert_eq!(demand(&mut home, january, &ask("bot"), 2_000).0, 1_000);
}

#[test]
fn only_newer_policies_of_the_same_project_are_installed() {
    let mut home = home_with(|policy| policy.version = 5);
    for (project, version, expected) in [("demo", 4, 5), ("demo", 6, 6), ("other", 9, 6), ("demo", 5, 6)] {
        home.install(Policy { version, ..community(project) });
        assert_eq!(home.policy_version(), Some(expected), "{project} {version}");
    }
    let mut restated = Policy { version: 6, ..community("demo") };
    restated.allowance.period = Period::parse("2026-12").unwrap();
    home.install(restated.clone());
    assert_eq!(home.policy.as_ref(), Some(&restated), "the same version, restated for a later period");
}

#[test]
fn without_a_policy_nothing_is_decided_or_stored() {
    let mut home = Home::new(HomeName::parse("demo/live").unwrap(), Incarnation::parse("inc00001").unwrap());
    assert_eq!(home.decide(noon(), &ask("bot")), Err(NoPolicy));
    assert_eq!(home.take_writes(), vec![]);
    assert!(home.pull().cells.is_empty());
}

#[test]
fn a_home_that_comes_back_from_its_rows_decides_the_same() {
    let (mut rows, mut home) = (BTreeMap::new(), fast_home());
    for step in 0..1_100_u64 {
        let expected = if step < 1_000 { None } else { Some(Denial::QuotaExhausted) };
        assert_eq!(home.decide(noon().plus_ms(step), &ask("bot")).unwrap().denial, expected);
        home = reload(&mut rows, &mut home, noon());
        if step == 500 {
            let seq = home.flush(noon()).unwrap().seq;
            home.flushed(noon(), seq);
        }
    }
    assert!(home.flush_due().is_some(), "unflushed cells are due after a restart");
}

#[test]
fn a_row_that_no_home_wrote_is_refused() {
    let (mut rows, mut home) = (BTreeMap::new(), fast_home());
    home.decide(noon(), &ask("bot")).unwrap();
    reload(&mut rows, &mut home, noon());
    for (key, value) in
        [("cell/2026-02-30/verify/bot", "{}"), ("meta", "{"), ("extra", "1"), ("account/x", "{}")]
    {
        let mut broken = rows.clone();
        broken.insert(key.to_owned(), value.to_owned());
        assert_eq!(Home::load(broken, noon()).unwrap_err().key, key);
    }
    assert_eq!(Home::load([], noon()), Ok(None));
}

#[test]
fn units_counted_while_a_flush_travels_are_in_the_next_one() {
    let mut home = fast_home();
    demand(&mut home, noon(), &ask("bot"), 3);
    let first = home.flush(noon()).unwrap();
    demand(&mut home, noon(), &ask("bot"), 2);
    home.flushed(noon(), first.seq);
    let second = home.flush(noon()).unwrap();
    assert!(second.seq > first.seq);
    assert_eq!(second.messages[0].cells[0].counts.units, Units::new(5), "cells are cumulative");
    home.flushed(noon(), second.seq);
    assert_eq!(home.flush(noon()), None);
    assert_eq!(home.flush_due(), None);
}

#[test]
fn what_is_counted_after_a_crash_is_not_acknowledged_by_a_flush_that_was_sent_before() {
    let (mut rows, mut home) = (BTreeMap::new(), fast_home());
    demand(&mut home, noon(), &ask("bot"), 2);
    let mut home = reload(&mut rows, &mut home, noon());
    let sent = home.flush(noon()).unwrap();
    // Its memory is lost while the aggregator answers, but not who waits for that.
    let mut home = reload(&mut rows, &mut home, noon());
    demand(&mut home, noon(), &ask("bot"), 1);
    home.flushed(noon(), sent.seq);
    assert_eq!(home.flush_due(), Some(noon()));
    let again = home.flush(noon()).unwrap();
    assert_eq!(again.messages[0].cells[0].counts.units, Units::new(3));
    home.flushed(noon(), again.seq);
    assert_eq!(home.flush(noon()), None);
}

#[test]
fn a_failed_flush_is_sent_again_after_growing_pauses() {
    let mut home = fast_home();
    demand(&mut home, noon(), &ask("bot"), 1);
    assert_eq!(home.flush_due(), Some(noon().plus_ms(FLUSH_INTERVAL_MS)));
    let mut pauses = Vec::new();
    for _ in 0..9 {
        assert_eq!(home.flush(noon()).unwrap().messages[0].cells.len(), 1);
        home.flush_failed(noon());
        demand(&mut home, noon(), &ask("bot"), 1);
        pauses.push(home.flush_due().unwrap().ms_since(noon()));
    }
    assert_eq!(pauses, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
}

#[test]
fn passing_80_and_100_percent_flushes_at_once() {
    let mut home = fast_home();
    for used in 1..=1_000_u64 {
        demand(&mut home, noon(), &ask("bot"), 1);
        let urgent = home.flush_due() == Some(noon());
        assert_eq!(urgent, used == 800 || used == 1_000, "{used}");
        let seq = home.flush(noon()).unwrap().seq;
        home.flushed(noon(), seq);
    }
}

#[test]
fn flushed_cells_of_past_days_are_deleted_and_unflushed_ones_kept() {
    let (mut rows, mut home) = (BTreeMap::new(), fast_home());
    demand(&mut home, noon(), &ask("flushed"), 1);
    let seq = home.flush(noon()).unwrap().seq;
    home.flushed(noon(), seq);
    demand(&mut home, noon(), &ask("kept"), 1);
    let later = noon().plus_ms(4 * 86_400_000);
    demand(&mut home, later, &ask("new"), 1);
    reload(&mut rows, &mut home, later);
    let cells: Vec<_> = rows.keys().filter(|key| key.starts_with("cell/")).collect();
    assert_eq!(cells, ["cell/2026-11-23/verify/kept", "cell/2026-11-27/verify/new"]);
}

#[test]
fn open_overage_is_limited_by_the_minute_only() {
    let mut home = home_with(|policy| {
        policy.rpm = 1_000_000;
        policy.allowance.overage = Overage::Open;
    });
    assert_eq!(demand(&mut home, noon(), &ask("bot"), 3_000), (3_000, None));
    let verdict = home.decide(noon(), &ask("bot")).unwrap();
    assert_eq!(verdict.numbers.headers()[1].1.matches("month").count(), 0);
}

#[test]
fn the_headers_name_both_limits() {
    let mut home = home_with(|_| {});
    let headers = home.decide(noon().plus_ms(500), &ask("bot")).unwrap().numbers.headers();
    assert_eq!(headers[0], ("RateLimit-Policy", "\"rpm\";q=60;w=60, \"month\";q=1000;w=2592000".to_owned()));
    assert_eq!(headers[1], ("RateLimit", "\"rpm\";r=59;t=60, \"month\";r=999;t=648000".to_owned()));
}

#[test]
fn rows_are_read_and_written_as_serde_json_does() {
    near::<Meta>(
        r#"{"name":"demo/live","incarnation":"0123456789","clock":1795435200000,"window":{"minute":29923920,"issued":4,"next":1},
        "epoch":7,"acked":6,"registered":true}"#,
    );
    near::<Account>(
        r#"{"issued":40,"returned":3,"settled":20,"acked":10,"void":1,"exhausted":6,"denied_quota":1000,
        "agent_units":{"a":3},"agents":["a","gr%C3%B6"]}"#,
    );
    near::<OpenCell>(r#"{"units":4,"tokens_in":1,"tokens_out":2,"anchors":0,"epoch":9}"#);
    near::<HolderRow>(r#"{"seq":4,"out":{"2026-10":1,"2026-11":7},"last":"2026-11"}"#);
    near::<HolderRow>(r#"{"seq":4,"out":{},"last":"2026-11","calls":{"below":7,"above":[9,12]}}"#);
    near::<OpenCall>(
        r#"{"day":"2026-11-23","kind":"verify","agent":"bot","units":3,"minute":29923920,"held":true}"#,
    );
    near::<LaneRow>(r#"{"nonce":4,"reply":null}"#);
    // What releases before wrote has fewer fields.
    near::<Meta>(
        r#"{"name":"demo/test","incarnation":"0123456789","clock":0,"window":{"minute":0,"issued":0},"epoch":1,"acked":0}"#,
    );
    near::<Account>(r#"{"issued":40}"#);
    near::<HolderRow>(r#"{"seq":4,"last":"2026-11"}"#);
}
