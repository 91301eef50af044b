//! One allowed request: month, minute and agent checked by a holder, four limits by limitador in
//! memory, one keyed limit by governor.

use std::collections::HashMap;
use std::hint::black_box;
use std::num::NonZeroU32;

use criterion::{Criterion, criterion_group, criterion_main};
use governor::{Quota, RateLimiter};
use limitador::RateLimiter as Limitador;
use limitador::limit::{Context, Limit};
use shared::decision::Ask;
use shared::home::{Home, HomeName};
use shared::ids::{AgentId, Incarnation, KeyId, ProjectId};
use shared::kind::Kind;
use shared::lease::message::HolderId;
use shared::lease::{Answer, Holder};
use shared::plan::Plan;
use shared::policy::{AllowanceParts, LeaseRules, Overage, Policy, Status};
use shared::time::{Day, Timestamp};
use shared::units::Units;

const PLENTY: u64 = 1 << 52;

fn ask(agent: &str) -> Ask {
    Ask {
        key: KeyId::parse("k001").unwrap(),
        kind: Kind::Verify,
        agent: AgentId::parse(agent).unwrap(),
        cost: 1,
        dry_run: false,
        held: false,
    }
}

/// A holder with a lease that a whole run cannot spend, for a limited agent.
fn holder(now: Timestamp) -> Holder {
    let name = HomeName::parse("bench/live").unwrap();
    let mut home = Home::new(name, Incarnation::parse("bench000").unwrap());
    home.install(Policy {
        project: ProjectId::parse("bench").unwrap(),
        version: 1,
        plan: Plan::Business,
        status: Status::Active,
        allowance: AllowanceParts {
            period: now.period(),
            included: Units::new(PLENTY),
            lots: Units::ZERO,
            credits: Units::ZERO,
            credits_after: Units::ZERO,
            next_included: Units::new(PLENTY),
            overage: Overage::Stop,
        },
        rpm: u32::MAX,
        agents_max: Some(5),
        keys: vec![KeyId::parse("k001").unwrap()],
        upgrade_url: String::new(),
        leases: LeaseRules {
            agents: [(AgentId::parse("support-bot").unwrap(), Units::new(PLENTY))].into(),
            ..LeaseRules::default()
        },
    });
    let mut holder = Holder::new(HolderId::from_bits(1), 1);
    let asked = Ask { cost: 1_000, ..ask("support-bot") };
    for _ in 0..2_000 {
        holder.decide(now, &asked);
    }
    for _ in 0..8 {
        for contact in holder.contacts(now) {
            let mut contact = contact;
            for need in &mut contact.needs {
                need.count = 400_000;
            }
            if let Some(reply) = home.contact(now, 1, &contact).unwrap() {
                holder.receive(now, reply);
            }
        }
    }
    assert_eq!(holder.decide(now, &ask("support-bot")), Answer::Allow);
    holder
}

fn decide(criterion: &mut Criterion) {
    let now = Day::parse("2026-11-23").unwrap().start().plus_ms(1);
    let fresh = holder(now);
    let (mut holder, ask) = (fresh.clone(), ask("support-bot"));
    let mut left = 300_000_000_u64;
    criterion.bench_function("holder", |bencher| {
        bencher.iter(|| {
            left -= 1;
            if left == 0 {
                (holder, left) = (fresh.clone(), 300_000_000);
            }
            black_box(holder.decide(black_box(now), black_box(&ask)))
        });
    });
    assert_eq!(holder.decide(now, &ask), Answer::Allow);
}

fn limitador(criterion: &mut Criterion) {
    let limiter = Limitador::new(1_000);
    for seconds in [60, 3_600, 86_400, 2_592_000] {
        let limit = Limit::new(
            "bench",
            u64::MAX,
            seconds,
            vec!["k == '1'".try_into().unwrap()],
            vec!["agent".try_into().unwrap()],
        );
        limiter.add_limit(limit);
    }
    let values: HashMap<String, String> =
        [("k".to_owned(), "1".to_owned()), ("agent".to_owned(), "support-bot".to_owned())].into();
    let context: Context = values.into();
    let namespace = "bench".to_string().into();
    criterion.bench_function("limitador", |bencher| {
        bencher.iter(|| {
            black_box(
                limiter.check_rate_limited_and_update(&namespace, black_box(&context), 1).unwrap().limited,
            )
        });
    });
}

fn governor(criterion: &mut Criterion) {
    let limiter = RateLimiter::keyed(Quota::per_second(NonZeroU32::MAX));
    let keys: Vec<String> = (0..1_000).map(|n| format!("key-{n:04}")).collect();
    let mut next = keys.iter().cycle();
    criterion.bench_function("governor", |bencher| {
        bencher.iter(|| black_box(limiter.check_key(black_box(next.next().unwrap())).is_ok()));
    });
}

criterion_group!(benches, decide, limitador, governor);
criterion_main!(benches);
