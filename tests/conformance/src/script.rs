//! The runs that are recorded as vectors: one for each promise of a home that its storage could break.

use std::collections::BTreeMap;

use shared::cell::CellKey;
use shared::ids::AgentId;
use shared::kind::Kind;
use shared::lease::message::{AgentReturn, Contact, HolderId, Line, Need};
use shared::policy::{Policy, Status};
use shared::time::{Day, Timestamp};
use shared::units::Units;

use crate::Alone;
use crate::run::{ask, policy};
use crate::vectors::{Step, Vector, play};

/// From midnight to noon.
const NOON_MS: u64 = 43_200_000;

/// A run that is being written.
struct Script {
    name: &'static str,
    at: Timestamp,
    steps: Vec<Step>,
    seed: u64,
}

fn day(text: &str) -> Timestamp {
    Day::parse(text).map(Day::start).unwrap_or_default()
}

fn agent(name: &str) -> AgentId {
    AgentId::parse(name).unwrap_or_else(|error| unreachable!("{error}"))
}

impl Script {
    /// Begins at noon of 23 November with that policy.
    fn new(name: &'static str, change: impl FnOnce(&mut Policy)) -> Self {
        let mut script = Self { name, at: day("2026-11-23").plus_ms(NOON_MS), steps: Vec::new(), seed: 0 };
        script.install(1, change);
        script
    }

    fn install(&mut self, version: u64, change: impl FnOnce(&mut Policy)) -> &mut Self {
        let mut policy = Policy { version, ..policy() };
        change(&mut policy);
        self.steps.push(Step::Install { policy: Box::new(policy) });
        self
    }

    fn wait(&mut self, ms: u64) -> &mut Self {
        self.at = self.at.plus_ms(ms);
        self
    }

    /// A contact of a holder on lane 0.
    fn contact(&mut self, holder: u128, nonce: u64, change: impl FnOnce(&mut Contact)) -> &mut Self {
        let mut contact = Contact { nonce, ..ask(HolderId::from_bits(holder)) };
        change(&mut contact);
        self.seed += 1;
        let (now_ms, seed) = (self.at.as_ms(), self.seed);
        self.step(Step::Contact { now_ms, seed, contact: Box::new(contact) })
    }

    /// The last contact again, as the network may deliver it.
    fn again(&mut self) -> &mut Self {
        let last = self.steps.iter().rev().find(|step| matches!(step, Step::Contact { .. })).cloned();
        self.steps.extend(last);
        self
    }

    fn step(&mut self, step: Step) -> &mut Self {
        self.steps.push(step);
        self.wait(200)
    }

    fn flush(&mut self, seq: u64) -> &mut Self {
        let now_ms = self.at.as_ms();
        self.steps.push(Step::Flush { now_ms });
        self.step(Step::Flushed { now_ms: now_ms + 50, seq })
    }

    fn record(&self) -> Vector {
        Vector { name: self.name.to_owned(), steps: play(Alone::default(), self.steps.clone()) }
    }
}

/// So many units served by the day of that instant.
fn served(contact: &mut Contact, seq: u64, at: Timestamp, units: u64) {
    contact.batch.seq = seq;
    let key = CellKey { day: at.day(), kind: Kind::Verify, agent: AgentId::none() };
    contact.batch.lines = vec![Line { key, units }];
}

fn wants(contact: &mut Contact, cost: u32, count: u32) {
    contact.needs = vec![Need { agent: None, cost, count }];
}

/// Every vector.
#[must_use]
pub fn vectors() -> Vec<Vector> {
    vec![life(), copies(), one_by_one(), minutes(), month(), cuts(), agents(), cost(), strangers(), closed()]
}

fn life() -> Vector {
    let mut script = Script::new("a_holder_asks_spends_reports_and_gives_back", |_| {});
    let at = script.at;
    script.contact(1, 1, |c| (c.first, c.renew) = (true, true));
    script.contact(1, 2, |c| served(c, 1, at, 5)).flush(1);
    script.contact(1, 3, |c| {
        c.needs.clear();
        served(c, 2, at, 2);
        c.returns.units = [(at.period(), 2)].into();
    });
    script.flush(2).step(Step::Restart).contact(1, 4, |_| {}).record()
}

fn copies() -> Vector {
    let mut script =
        Script::new("copies_are_answered_alike_and_change_nothing_and_older_ones_nobody", |_| {});
    let at = script.at;
    script.contact(1, 1, |c| wants(c, 1, 3)).again();
    script.contact(1, 2, |c| served(c, 1, at, 3)).again().step(Step::Restart).again();
    script.contact(1, 1, |c| wants(c, 1, 3)).record()
}

fn one_by_one() -> Vector {
    let little = |policy: &mut Policy| policy.allowance.included = Units::new(6);
    let mut script = Script::new("little_is_issued_one_by_one_then_contended_then_exhausted", little);
    let at = script.at;
    script.contact(1, 1, |c| wants(c, 1, 4)).contact(2, 1, |c| wants(c, 1, 4));
    script.contact(3, 1, |c| wants(c, 1, 1));
    script.contact(1, 2, |c| {
        wants(c, 1, 1);
        served(c, 1, at, 4);
    });
    script.contact(2, 2, |c| {
        c.needs.clear();
        served(c, 1, at, 2);
    });
    script.contact(3, 2, |c| wants(c, 1, 1)).flush(1).record()
}

fn minutes() -> Vector {
    let mut script = Script::new("permits_belong_to_their_minute", |policy| policy.rpm = 10);
    script.contact(1, 1, |c| wants(c, 1, 8)).contact(2, 1, |c| wants(c, 1, 4));
    let minute = script.at.minute();
    script.contact(1, 2, |c| {
        c.needs.clear();
        c.returns.permits = [(minute, 3)].into();
    });
    script.contact(2, 2, |c| wants(c, 1, 2));
    // The last sixth brings the next minute's permits, and permits that come back late are gone.
    script.wait(55_000).contact(1, 3, |c| (c.renew, c.rate) = (true, 2_000));
    script.wait(6_000).contact(2, 3, |c| {
        wants(c, 1, 2);
        c.returns.permits = [(minute, 2)].into();
    });
    script.record()
}

fn month() -> Vector {
    let mut script = Script::new("a_month_turns_with_units_out_and_each_belongs_to_its_own", |_| {});
    script.at = day("2026-12-01").plus_ms(0);
    script.at = Timestamp::from_ms(script.at.as_ms() - 3_000);
    let before = script.at;
    script.contact(1, 1, |c| wants(c, 1, 9)).wait(4_000);
    script.contact(1, 2, |c| {
        wants(c, 1, 1);
        served(c, 1, before, 6);
        c.returns.units = [(before.period(), 3)].into();
    });
    script.flush(1).record()
}

fn cuts() -> Vector {
    let mut script = Script::new("a_cut_calls_everything_back_and_a_raise_is_usable_at_once", |_| {});
    script.contact(1, 1, |c| wants(c, 1, 50));
    script.install(2, |policy| policy.allowance.included = Units::new(10)).contact(1, 2, |_| {});
    let at = script.at;
    script.contact(1, 3, |c| {
        served(c, 1, at, 8);
        c.needs.clear();
        c.returns.units = [(at.period(), 42)].into();
    });
    script.contact(1, 4, |c| wants(c, 1, 3));
    script.install(3, |policy| policy.allowance.credits = Units::new(100)).contact(1, 5, |c| wants(c, 1, 3));
    script.record()
}

fn agents() -> Vector {
    let limited = |policy: &mut Policy| {
        policy.agents_max = Some(2);
        policy.leases.agents = BTreeMap::from([(agent("bot"), Units::new(5))]).into_iter().collect();
    };
    let mut script = Script::new("agents_have_limits_of_their_own_and_only_so_many_are_admitted", limited);
    let of = |name: &str, count: u32| vec![Need { agent: Some(agent(name)), cost: 1, count }];
    script.contact(1, 1, |c| c.needs = of("bot", 4)).contact(2, 1, |c| c.needs = of("bot", 3));
    script.contact(1, 2, |c| c.needs = of("second", 1)).contact(2, 2, |c| c.needs = of("third", 1));
    let at = script.at;
    script.contact(1, 3, |c| {
        c.needs.clear();
        c.returns.units = [(at.period(), 2)].into();
        c.returns.agents = vec![AgentReturn { period: at.period(), agent: agent("bot"), units: 2 }];
    });
    script.contact(2, 3, |c| c.needs = of("bot", 3)).record()
}

fn cost() -> Vector {
    let some = |policy: &mut Policy| policy.allowance.included = Units::new(100);
    let mut script = Script::new("a_cost_is_admitted_whole_or_not_in_the_order_of_arrival", some);
    script.contact(1, 1, |c| {
        c.needs = [(60, 1), (60, 1), (30, 1)].map(|(cost, count)| Need { agent: None, cost, count }).into();
    });
    script.contact(1, 2, |c| wants(c, 11, 1)).contact(1, 3, |c| wants(c, 10, 1)).record()
}

fn strangers() -> Vector {
    let mut script = Script::new("who_knows_another_life_or_skipped_a_contact_begins_anew", |_| {});
    script.contact(1, 1, |_| {});
    script.contact(1, 3, |_| {});
    let other = || shared::ids::Incarnation::parse("inc00002").ok();
    script.contact(2, 1, |c| c.incarnation = other()).record()
}

fn closed() -> Vector {
    let mut script = Script::new("a_suspended_project_is_refused_and_a_strict_one_has_no_leases", |policy| {
        policy.status = Status::Suspended;
    });
    script.contact(1, 1, |_| {});
    script.install(2, |policy| policy.leases.strict = true).contact(1, 2, |_| {}).record()
}
