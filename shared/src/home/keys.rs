//! Keys that the policy in hand does not have: the aggregator may know them already, and it alone can tell.
//!
//! A policy is pushed when a key is made, and a request may overtake it. So a home pulls its policy before it says that a
//! key is revoked, and no pull tells of keys that were asked for after it began.

use alloc::vec::Vec;

use super::Home;
use crate::ids::{Incarnation, KeyId};
use crate::lease::keys::{UnknownKeys, add_key};
use crate::policy::Policy;
use crate::time::Timestamp;
use crate::wire::Merged;

/// The least time between two pulls for the sake of keys, in milliseconds.
const PULL_GAP_MS: u64 = 1_000;
/// How long a home remembers that a key is revoked, in milliseconds. A newer policy ends it at once, and a key that was
/// revoked never comes back without one.
const REVOKED_MS: u64 = 10_000;

/// What a home can say of the keys that it is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeysKnown {
    /// Each is in the policy, or revoked.
    All,
    /// Whether the policy is to be pulled before it is said, or waited for where a pull is under way.
    AfterPull,
    /// Nobody can tell yet, and it is too early for the next pull.
    NotYet,
}

/// What was asked of the aggregator, and heard. A crash loses it: it is asked again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Pulls {
    unknown: UnknownKeys,
    /// Keys that were asked for since the last pull began.
    wanted: Vec<KeyId>,
    /// Those that the pull under way tells of.
    asked: Vec<KeyId>,
    under_way: bool,
    /// The life that the pull under way was made for.
    life: Option<Incarnation>,
}

impl Home {
    /// Whether it can be told of all these keys if they are revoked. The shell pulls if that is so after a pull only.
    pub fn keys_known(&mut self, now: Timestamp, keys: &[KeyId]) -> KeysKnown {
        let now = self.tick(now);
        let unsure: Vec<&KeyId> =
            keys.iter().filter(|key| !self.has_key(key) && !self.is_revoked(now, key)).collect();
        if unsure.is_empty() {
            return KeysKnown::All;
        }
        let pulls = &mut self.pulls;
        for key in unsure {
            add_key(&mut pulls.wanted, key);
        }
        let may_pull = pulls.under_way || self.policy.is_none() || now >= pulls.unknown.ask_from();
        if may_pull { KeysKnown::AfterPull } else { KeysKnown::NotYet }
    }

    /// A pull is sent now.
    pub fn pull_begins(&mut self, now: Timestamp) {
        let now = self.tick(now);
        let pulls = &mut self.pulls;
        pulls.under_way = true;
        pulls.life = Some(self.meta.incarnation.clone());
        pulls.asked = core::mem::take(&mut pulls.wanted);
        pulls.unknown.asked(now, PULL_GAP_MS);
    }

    /// The aggregator has answered it: what it says of earlier lives is of the life that has asked.
    pub fn pull_told(&mut self, now: Timestamp, watermark: u64, merged: &[Merged]) {
        if let Some(life) = self.pulls.life.take() {
            self.acknowledge(now, &life, watermark, merged);
        }
    }

    /// The aggregator has answered it: installs its policy if that is newer, and knows what is revoked.
    pub fn pulled(&mut self, now: Timestamp, policy: Policy) {
        self.install(policy);
        self.conclude_pull(now);
    }

    /// The policy in hand is what a pull that begins now would bring: what it does not have is revoked.
    pub fn policy_is_newest(&mut self, now: Timestamp) {
        self.pull_begins(now);
        self.conclude_pull(now);
    }

    fn conclude_pull(&mut self, now: Timestamp) {
        let now = self.tick(now);
        self.pulls.under_way = false;
        for key in core::mem::take(&mut self.pulls.asked) {
            if !self.has_key(&key) {
                self.pulls.unknown.refuse(now, REVOKED_MS, &key);
            }
        }
    }

    /// It was not answered.
    pub fn pull_failed(&mut self) {
        self.pulls.under_way = false;
        self.pulls.asked.clear();
    }

    /// Whether the aggregator does not know that key either, as far as it was asked lately.
    pub(super) fn is_revoked(&self, now: Timestamp, key: &KeyId) -> bool {
        self.pulls.unknown.is_refused(now, key)
    }

    pub(super) fn has_key(&self, key: &KeyId) -> bool {
        self.policy.as_ref().is_some_and(|policy| policy.keys.contains(key))
    }

    /// A newer policy was installed: what older ones did not know may be in it.
    pub(super) fn forget_revoked(&mut self) {
        self.pulls.unknown.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::HomeName;
    use crate::ids::Incarnation;
    use crate::policy::tests::community;

    const NOW: Timestamp = Timestamp::from_ms(1_795_435_200_000);

    fn key(id: &str) -> KeyId {
        KeyId::parse(id).unwrap()
    }

    fn with(version: u64, keys: &[&str]) -> Policy {
        Policy { version, keys: keys.iter().map(|id| key(id)).collect(), ..community("demo") }
    }

    fn home() -> Home {
        let name = HomeName::parse("demo/live").unwrap();
        Home::new(name, Incarnation::parse("0123456789").unwrap())
    }

    #[test]
    fn a_pull_tells_of_no_key_that_was_asked_for_after_it_began() {
        let mut home = home();
        home.install(with(1, &["k001"]));
        let known = |home: &mut Home, id, ms| home.keys_known(NOW.plus_ms(ms), &[key("k001"), key(id)]);
        assert_eq!(known(&mut home, "k666", 0), KeysKnown::AfterPull);
        home.pull_begins(NOW);
        // The aggregator reads its policy, then the key is made, and asked for.
        assert_eq!(known(&mut home, "k002", 10), KeysKnown::AfterPull, "it waits for what is under way");
        home.pulled(NOW.plus_ms(20), with(1, &["k001"]));
        assert_eq!(known(&mut home, "k666", 20), KeysKnown::All);
        assert_eq!(known(&mut home, "k002", 20), KeysKnown::NotYet, "one pull a second");
        assert_eq!(known(&mut home, "k002", 1_000), KeysKnown::AfterPull);
        home.pull_begins(NOW.plus_ms(1_000));
        home.pulled(NOW.plus_ms(1_001), with(2, &["k001", "k002"]));
        assert_eq!(known(&mut home, "k002", 1_001), KeysKnown::All);
    }

    #[test]
    fn what_is_revoked_is_remembered_for_a_while_or_until_the_next_policy() {
        let mut home = home();
        home.install(with(1, &["k001"]));
        let revoked = [key("k666")];
        for (version, ms) in [(1, 0), (1, REVOKED_MS), (2, REVOKED_MS + 5_000)] {
            let now = NOW.plus_ms(ms);
            home.install(with(version, &["k001"]));
            assert_eq!(home.keys_known(now, &revoked), KeysKnown::AfterPull, "{ms}");
            home.pull_begins(now);
            home.pulled(now, with(version, &["k001"]));
            assert_eq!(home.keys_known(now.plus_ms(REVOKED_MS - 1), &revoked), KeysKnown::All);
        }
    }

    #[test]
    fn a_pull_that_fails_says_nothing_and_the_next_one_begins_a_second_later() {
        let (mut home, strange) = (home(), [key("k002")]);
        home.install(with(1, &["k001"]));
        assert_eq!(home.keys_known(NOW, &strange), KeysKnown::AfterPull);
        home.pull_begins(NOW);
        home.pull_failed();
        assert_eq!(home.keys_known(NOW.plus_ms(999), &strange), KeysKnown::NotYet);
        assert_eq!(home.keys_known(NOW.plus_ms(1_000), &strange), KeysKnown::AfterPull);
    }

    #[test]
    fn the_pull_of_a_home_without_a_policy_tells_of_keys_too() {
        let (mut home, strange) = (home(), [key("k666")]);
        assert_eq!(home.keys_known(NOW, &strange), KeysKnown::AfterPull);
        home.pull_begins(NOW);
        home.pulled(NOW, with(1, &["k001"]));
        assert_eq!(home.keys_known(NOW, &strange), KeysKnown::All);
    }
}
