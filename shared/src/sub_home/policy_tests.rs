//! What becomes of a new policy between the home, a sub-home and an isolate: the promises, each as a sentence.

use super::*;
use crate::decision::{Ask, Denial};
use crate::home::{Home, HomeName, KeysKnown};
use crate::ids::{AgentId, KeyId};
use crate::kind::Kind;
use crate::lease::{Answer, Holder};
use crate::policy::tests::community;
use crate::policy::{Policy, Status};
use crate::time::Day;
use crate::units::Units;

fn start() -> Timestamp {
    Day::parse("2026-11-23").unwrap().start().plus_ms(12 * 3_600_000 + 5_000)
}

fn ask(key: &str) -> Ask {
    Ask {
        key: KeyId::parse(key).unwrap(),
        kind: Kind::Verify,
        agent: AgentId::none(),
        cost: 1,
        dry_run: false,
        held: false,
    }
}

const REVOKED: Answer = Answer::Deny { denial: Denial::KeyRevoked, retry_ms: 0 };

/// An aggregator, a home, perhaps a sub-home, and an isolate; each message takes a step of ten milliseconds.
struct Region {
    now: Timestamp,
    /// What the aggregator has; it may be newer than what was pushed. Without one it does not answer.
    made: Option<Policy>,
    /// How often the home has pulled it.
    pulls: usize,
    home: Home,
    sub: Option<SubHome>,
    holder: Holder,
    /// Contacts to the home that asked for keys.
    questions: usize,
    /// All contacts to the home.
    contacts: usize,
}

impl Region {
    fn new(with_sub: bool) -> Self {
        let name = HomeName::parse("demo/live").unwrap();
        let mut home = Home::new(name, Incarnation::parse("inc00001").unwrap());
        home.install(Self::policy(1));
        let sub = || SubHome::new(HolderId::from_bits(99), Incarnation::parse("sub00001").unwrap());
        let holder = Holder::new(HolderId::from_bits(7), 7);
        let made = Some(Self::policy(1));
        Self {
            now: start(),
            made,
            pulls: 0,
            home,
            sub: with_sub.then(sub),
            holder,
            questions: 0,
            contacts: 0,
        }
    }

    fn policy(version: u64) -> Policy {
        let mut policy = Policy { version, ..community("demo") };
        (policy.rpm, policy.agents_max) = (1_000, None);
        policy
    }

    fn install(&mut self, version: u64, change: impl FnOnce(&mut Policy)) {
        let policy = self.make(version, change);
        assert!(self.home.install(policy));
    }

    /// Without pushing it.
    fn make(&mut self, version: u64, change: impl FnOnce(&mut Policy)) -> Policy {
        let mut policy = Self::policy(version);
        change(&mut policy);
        self.made.insert(policy).clone()
    }

    /// Hands a contact to the home as its shell does: what it lacks is pulled first.
    fn contact_home(&mut self, m: &Contact) -> Option<Reply> {
        self.questions += usize::from(!m.keys.is_empty());
        self.contacts += 1;
        if self.home.keys_known(self.now, &m.keys) == KeysKnown::AfterPull {
            self.pulls += 1;
            self.home.pull_begins(self.now);
            match self.made.clone() {
                Some(policy) => self.home.pulled(self.now, policy),
                None => self.home.pull_failed(),
            }
        }
        self.home.contact(self.now, 1, m).unwrap()
    }

    fn step(&mut self) {
        self.now = self.now.plus_ms(10);
        let now = self.now;
        for contact in self.holder.contacts(now) {
            let reply = match &mut self.sub {
                Some(sub) => sub.contact(now, 1, &contact),
                None => self.contact_home(&contact),
            };
            if let Some(reply) = reply {
                self.holder.receive(now, reply);
            }
        }
        let upward = self.sub.as_mut().map(|sub| sub.contacts(now)).unwrap_or_default();
        for contact in upward {
            let reply = self.contact_home(&contact);
            let Some((sub, reply)) = self.sub.as_mut().zip(reply) else { continue };
            for reply in sub.receive(now, 1, reply) {
                self.holder.receive(now, reply);
            }
        }
    }

    /// One request: what became of it.
    fn request(&mut self, ask: &Ask) -> Answer {
        let mut answer = self.holder.decide(self.now, ask);
        while let Answer::Wait(id) = answer {
            self.step();
            answer = self.holder.outcome(self.now, id);
        }
        answer
    }

    fn rest(&mut self, ms: u64) {
        for _ in 0..ms.div_euclid(10) {
            self.step();
        }
    }
}

#[test]
fn a_key_that_the_home_has_is_served_at_its_first_request_and_from_then_on() {
    for with_sub in [false, true] {
        let mut region = Region::new(with_sub);
        assert_eq!(region.request(&ask("k001")), Answer::Allow);
        for version in 2..12 {
            let new = format!("k{version:03}");
            // All others are revoked at the same time.
            region
                .install(version, |policy| policy.keys = [KeyId::parse(&new).unwrap()].into_iter().collect());
            for _ in 0..4 {
                assert_eq!(region.request(&ask(&new)), Answer::Allow, "{new}, by a sub-home: {with_sub}");
                region.rest(500);
            }
        }
        assert_eq!(region.request(&ask("k005")), REVOKED);
    }
}

#[test]
fn a_key_whose_policy_was_not_pushed_yet_is_served_at_its_first_request_and_pulled_once() {
    for with_sub in [false, true] {
        let mut region = Region::new(with_sub);
        assert_eq!(region.request(&ask("k001")), Answer::Allow);
        for version in 2..12 {
            let new = format!("k{version:03}");
            region.make(version, |policy| policy.keys = [KeyId::parse(&new).unwrap()].into_iter().collect());
            for _ in 0..4 {
                assert_eq!(region.request(&ask(&new)), Answer::Allow, "{new}, by a sub-home: {with_sub}");
            }
            region.rest(1_000);
        }
        assert_eq!(region.pulls, 10);
        assert_eq!(region.request(&ask("k005")), REVOKED);
    }
}

#[test]
fn revoked_keys_cost_the_aggregator_little_and_a_new_one_is_pulled_beside_them() {
    for with_sub in [false, true] {
        let mut region = Region::new(with_sub);
        for _ in 0..400 {
            assert_eq!(region.request(&ask("k666")), REVOKED);
            region.rest(50);
        }
        assert!(region.pulls <= 4, "{} pulls for some twenty seconds of a revoked key", region.pulls);
        region.make(2, |policy| policy.keys.extend([KeyId::parse("k002").unwrap()]));
        assert_eq!(region.request(&ask("k002")), Answer::Allow);
    }
}

#[test]
fn nobody_is_refused_for_a_key_while_the_aggregator_cannot_be_asked_and_all_others_are_served() {
    for with_sub in [false, true] {
        let mut region = Region::new(with_sub);
        assert_eq!(region.request(&ask("k001")), Answer::Allow);
        region.made = None;
        let begun = region.now;
        for _ in 0..3 {
            assert_eq!(region.request(&ask("k002")), Answer::Unavailable, "by a sub-home: {with_sub}");
            assert_eq!(region.request(&ask("k001")), Answer::Allow);
        }
        let seconds = usize::try_from(region.now.ms_since(begun).div_ceil(1_000)).unwrap();
        assert!(region.pulls <= seconds + 1, "{} pulls in {seconds} s", region.pulls);
        region.make(2, |policy| policy.keys.extend([KeyId::parse("k002").unwrap()]));
        let back = region.now;
        while region.request(&ask("k002")) != Answer::Allow {
            assert!(region.now <= back.plus_ms(2_000));
        }
    }
}

#[test]
fn a_new_key_is_served_while_revoked_ones_are_hammered_and_those_cost_a_question_a_second() {
    let mut region = Region::new(true);
    assert_eq!(region.request(&ask("k001")), Answer::Allow);
    region.rest(3_000);
    let (before, begun) = (region.questions, region.now);
    for _ in 0..500 {
        let revoked = region.request(&ask("k666"));
        assert_eq!(revoked, REVOKED);
        region.rest(10);
    }
    let (asked, ms) = (region.questions - before, region.now.ms_since(begun));
    assert!(asked <= 7, "{asked} questions in {ms} ms of a revoked key");
    region.install(2, |policy| policy.keys.extend([KeyId::parse("k002").unwrap()]));
    assert_eq!(region.request(&ask("k002")), Answer::Allow);
}

#[test]
fn what_only_lacks_a_key_does_not_keep_others_from_being_served() {
    let mut region = Region::new(true);
    assert_eq!(region.request(&ask("k001")), Answer::Allow);
    for _ in 0..200 {
        assert!(!region.holder.decide(region.now, &ask("k666")).is_allowed());
        let begun = region.now;
        assert_eq!(region.request(&ask("k001")), Answer::Allow);
        assert!(region.now.ms_since(begun) <= 100, "it waited {} ms", region.now.ms_since(begun));
        region.rest(20);
    }
}

/// How a policy refuses.
type Change = fn(&mut Policy);

/// Policies that refuse the request, each in its own way.
fn refusing() -> Vec<(Denial, Change)> {
    vec![
        (Denial::KeyRevoked, |policy| policy.keys.clear()),
        (Denial::Suspended, |policy| policy.status = Status::Suspended),
        (Denial::AgentLimit, |policy| policy.agents_max = Some(0)),
        (Denial::AgentQuota, |policy| {
            policy.leases.agents = BTreeMap::from([(AgentId::parse("bot").unwrap(), Units::ZERO)]);
        }),
        (Denial::RateLimited, |policy| policy.rpm = 0),
        (Denial::QuotaExhausted, |policy| policy.allowance.included = Units::ZERO),
    ]
}

#[test]
fn every_kind_of_refusal_ends_within_two_seconds_of_the_policy_that_it_rests_on() {
    for with_sub in [false, true] {
        for (denial, refuse) in refusing() {
            // The policy is replaced at some time after it began to refuse.
            for after_ms in [0, 250, 500, 1_000, 3_700] {
                let what = format!("{denial:?} after {after_ms} ms, by a sub-home: {with_sub}");
                let mut region = Region::new(with_sub);
                region.install(2, refuse);
                let ask = Ask { agent: AgentId::parse("bot").unwrap(), ..ask("k001") };
                let begun = region.now;
                while region.now <= begun.plus_ms(after_ms) {
                    let refused = region.request(&ask);
                    assert!(
                        matches!(refused, Answer::Deny { denial: of, .. } if of == denial),
                        "{what}: {refused:?}"
                    );
                    region.rest(50);
                }
                region.install(3, |_| {});
                let changed = region.now;
                while region.request(&ask) != Answer::Allow {
                    region.rest(50);
                    assert!(region.now <= changed.plus_ms(2_000), "{what}");
                }
            }
        }
    }
}

#[test]
fn nothing_is_issued_for_contacts_that_were_told_that_the_home_has_failed() {
    let mut region = Region::new(true);
    let sub = region.sub.as_mut().unwrap();
    let mut holder = Holder::new(HolderId::from_bits(8), 8);
    let Answer::Wait(_) = holder.decide(region.now, &ask("k001")) else { panic!("it does not wait") };
    for contact in holder.contacts(region.now) {
        assert_eq!(sub.contact(region.now, 1, &contact), None);
    }
    assert!(!sub.contacts(region.now).is_empty(), "the home is asked, and does not know the project yet");
    sub.home_failed();
    assert_eq!(region.request(&ask("k001")), Answer::Allow);
    assert_eq!(region.sub.unwrap().desk.out(HolderId::from_bits(8), start().period()), 0);
}

#[test]
fn where_all_places_are_taken_any_number_of_new_names_costs_the_home_a_contact_a_second() {
    for with_sub in [false, true] {
        let named = |name: &str| Ask { agent: AgentId::parse(name).unwrap(), ..ask("k001") };
        let mut region = Region::new(with_sub);
        region.install(2, |policy| policy.agents_max = Some(2));
        for name in ["bot", "cat"] {
            assert_eq!(region.request(&named(name)), Answer::Allow);
        }
        let (begun, before) = (region.now, region.contacts);
        for number in 0..5_000 {
            let answer = region.request(&named(&format!("stranger{number}")));
            assert!(matches!(answer, Answer::Deny { denial: Denial::AgentLimit, .. }), "{answer:?}");
            if number % 10 == 0 {
                region.step();
                assert_eq!(region.request(&named("cat")), Answer::Allow, "who has a place is served");
            }
        }
        let (contacts, ms) = (region.contacts - before, region.now.ms_since(begun));
        assert!(contacts <= 60, "{contacts} contacts in {ms} ms, by a sub-home: {with_sub}");
        // A place more is there for the first who comes.
        region.install(3, |policy| policy.agents_max = Some(3));
        let changed = region.now;
        while region.request(&named("late")) != Answer::Allow {
            region.rest(50);
            assert!(region.now <= changed.plus_ms(2_000), "by a sub-home: {with_sub}");
        }
        let answer = region.request(&named("later"));
        assert!(matches!(answer, Answer::Deny { denial: Denial::AgentLimit, .. }), "{answer:?}");
    }
}
