//! Refusals judged as hard as allowances: what is left is never refused as spent, whoever holds it.

use super::*;
use crate::ids::KeyId;
use crate::kind::Kind;
use crate::lease::message::{Body, Reply};
use crate::lease::{Answer, Holder};
use crate::policy::tests::community;
use crate::sub_home::SubHome;

/// How far time moves between two looks at everybody, in milliseconds.
const STEP_MS: u64 = 20;
/// How long a contended client waits before it comes again, in milliseconds.
const RETRY_MS: u64 = 2_000;

/// A home, its sub-homes if any, and isolates that ask those in turn.
struct Project {
    now: Timestamp,
    home: Home,
    sub_homes: Vec<SubHome>,
    holders: Vec<Holder>,
}

impl Project {
    fn new(quota: u64, rpm: u32, sub_homes: u64, holders: u64) -> Self {
        let name = HomeName::parse("demo/live").unwrap();
        let incarnation = || Incarnation::parse("inc00001").unwrap();
        let mut home = Home::new(name, incarnation());
        let mut policy = community("demo");
        (policy.rpm, policy.agents_max) = (rpm, None);
        policy.allowance.included = Units::new(quota);
        policy.allowance.next_included = Units::new(quota);
        policy.leases.sub_homes = u32::try_from(sub_homes).unwrap();
        home.install(policy);
        let sub_home = |n| SubHome::new(HolderId::from_bits(1_000 + u128::from(n)), incarnation());
        Self {
            now: Day::parse("2026-11-23").unwrap().start().plus_ms(12 * 3_600_000),
            home,
            sub_homes: (0..sub_homes).map(sub_home).collect(),
            holders: (0..holders).map(|n| Holder::new(HolderId::from_bits(u128::from(n) + 1), n)).collect(),
        }
    }

    /// Everybody sends what is due, and is answered at once.
    fn exchange(&mut self) {
        for number in 0..self.holders.len() {
            for contact in self.holders[number].contacts(self.now) {
                let count = self.sub_homes.len();
                let reply = match count {
                    0 => self.home.contact(self.now, 7, &contact).unwrap(),
                    _ => self.sub_homes[number % count].contact(self.now, 7, &contact),
                };
                self.hand(reply);
            }
        }
        for number in 0..self.sub_homes.len() {
            for contact in self.sub_homes[number].contacts(self.now) {
                let Some(reply) = self.home.contact(self.now, 7, &contact).unwrap() else { continue };
                for reply in self.sub_homes[number].receive(self.now, 7, reply) {
                    self.hand(Some(reply));
                }
            }
        }
    }

    fn hand(&mut self, reply: Option<Reply>) {
        let Some(reply) = reply else { return };
        assert!(matches!(reply.body, Body::Lease(_)), "{:?}", reply.body);
        for holder in &mut self.holders {
            holder.receive(self.now, reply.clone());
        }
    }

    fn pass(&mut self, ms: u64) {
        for _ in 0..ms.div_euclid(STEP_MS) {
            self.exchange();
            self.now = self.now.plus_ms(STEP_MS);
        }
    }

    /// One `check` of that cost at one isolate; `None` allows it.
    fn check(&mut self, holder: usize, cost: u32) -> Option<Denial> {
        let agent = AgentId::parse("bot").unwrap();
        let ask = Ask {
            key: KeyId::parse("k001").unwrap(),
            kind: Kind::Verify,
            agent,
            cost,
            dry_run: false,
            held: false,
        };
        let mut answer = self.holders[holder].decide(self.now, &ask);
        while let Answer::Wait(id) = answer {
            self.pass(STEP_MS);
            answer = self.holders[holder].outcome(self.now, id);
        }
        match answer {
            Answer::Allow => None,
            Answer::Deny { denial, .. } => Some(denial),
            other @ (Answer::Wait(_) | Answer::AtHome | Answer::Unavailable) => panic!("{other:?}"),
        }
    }

    /// The same for a client that comes again once, as a contended one is told to.
    fn check_again(&mut self, holder: usize, cost: u32) -> Vec<Denial> {
        let mut denials = Vec::new();
        while let Some(denial) = self.check(holder, cost) {
            denials.push(denial);
            if denial != Denial::QuotaContended || denials.len() > 1 {
                break;
            }
            self.pass(RETRY_MS);
        }
        denials
    }

    /// The processes of the home and of its sub-homes start again: what is not stored is lost.
    fn restart(&mut self) {
        let text = |row: Row| Some((row.key, row.value?));
        let rows = self.home.take_writes().into_iter().filter_map(text);
        self.home = Home::load(rows, self.now).unwrap().unwrap();
        for sub_home in &mut self.sub_homes {
            let rows = sub_home.take_writes().into_iter().filter_map(text);
            *sub_home = SubHome::load(rows).unwrap().unwrap();
        }
    }

    fn has_passed_all(&self) -> bool {
        self.home.accounts.values().any(|account| account.exhausted.is_some())
    }
}

/// What is done before, and the cost that must be served then, at once or after one retry.
type Case = (&'static str, u64, u32, &'static [u32], u32);

const CASES: [Case; 8] = [
    ("all but three", 1_000, 1_000_000, &[1, 1, 1], 997),
    ("half", 1_000, 1_000_000, &[1; 50], 950),
    ("pro's tenth thousand", 10_000, 1_000_000, &[1_000; 9], 1_000),
    ("business near its end", 100_000, 1_000_000, &[1_000; 98], 691),
    ("business, odd costs", 100_000, 1_000_000, &[997; 99], 1_000),
    ("the last unit", 10, 1_000_000, &[1; 9], 1),
    ("a small quota at once", 5, 1_000_000, &[], 5),
    ("a minute's last permits", 1_000_000, 600, &[1, 1, 1], 597),
];

#[test]
fn what_is_left_is_served_at_once_or_after_one_retry_whoever_holds_it() {
    for (name, quota, rpm, before, cost) in CASES {
        for (sub_homes, holders) in [(0, 1), (0, 3), (1, 1), (1, 3), (8, 1), (8, 3)] {
            let mut project = Project::new(quota, rpm, sub_homes, holders);
            let count = project.holders.len();
            let case = format!("{name}, {sub_homes} sub-homes, {holders} isolates");
            for (n, cost) in before.iter().enumerate() {
                let denials = project.check_again(n % count, *cost);
                assert!(
                    !denials.contains(&Denial::QuotaExhausted) && denials.len() < 2,
                    "{case}, {n}: {denials:?}"
                );
            }
            assert!(!project.has_passed_all(), "{case}: nothing was passed");
            let denials = project.check_again(before.len() % count, cost);
            let once_contended = denials.len() < 2 && denials.iter().all(|d| *d == Denial::QuotaContended);
            assert!(once_contended, "{case}: {denials:?}");
        }
    }
}

#[test]
fn what_is_out_when_the_home_starts_again_is_not_spent() {
    for (sub_homes, holders) in [(0, 2), (1, 2), (2, 2)] {
        let case = format!("{sub_homes} sub-homes");
        let mut project = Project::new(1_000, 1_000_000, sub_homes, holders);
        assert_eq!((project.check(0, 1), project.check(1, 1)), (None, None), "{case}");
        project.restart();
        let denials = project.check_again(1, 998);
        assert!(denials.len() < 2 && !denials.contains(&Denial::QuotaExhausted), "{case}: {denials:?}");
        assert!(!project.has_passed_all(), "{case}: nothing was passed");
    }
}

#[test]
fn a_refusal_of_more_than_is_left_passes_no_level_and_one_of_a_single_unit_does() {
    for sub_homes in [0, 1, 8] {
        let mut project = Project::new(100, 1_000_000, sub_homes, 1);
        assert_eq!(project.check(0, 101), Some(Denial::QuotaExhausted), "more than there ever were");
        project.pass(3_000);
        for _ in 0..50 {
            assert_eq!(project.check(0, 1), None);
        }
        assert_eq!(project.check_again(0, 51).last(), Some(&Denial::QuotaExhausted));
        assert!(!project.has_passed_all(), "fifty are left");
        project.pass(3_000);
        assert_eq!(project.check_again(0, 50), []);
        assert!(matches!(project.check_again(0, 1).last(), Some(Denial::QuotaExhausted)));
        assert!(project.has_passed_all());
    }
}

#[test]
fn what_was_just_served_is_neither_left_nor_contended() {
    for (sub_homes, agents_max) in [(0, None), (0, Some(3)), (1, None), (1, Some(3))] {
        let case = format!("{sub_homes} sub-homes, {agents_max:?} agents");
        let mut project = Project::new(5, 60, sub_homes, 1);
        let mut policy = project.home.policy.clone().unwrap();
        (policy.version, policy.agents_max) = (2, agents_max);
        project.home.install(policy);
        let left = |project: &Project| project.holders[0].left(project.now).unwrap().units.get();
        assert_eq!((project.check(0, 1), left(&project)), (None, 4), "{case}");
        assert_eq!((project.check(0, 4), left(&project)), (None, 0), "{case}");
        assert_eq!(project.check(0, 1), Some(Denial::QuotaExhausted), "{case}");
    }
}
