//! Pulls of the policy: by a home that has none, and before it says that a key is revoked.
//!
//! Whoever asks about a key that the home lacks waits for one pull that all share, but not for long.

use std::collections::BTreeMap;

use shared::home::KeysKnown;
use shared::ids::KeyId;
use shared::wire::Flush;

use super::{Event, World};
use crate::aggregator::Receipt;
use crate::audit::Verdict;

/// How long a pull may take until it is given up, in milliseconds.
const PULL_TIMEOUT_MS: u64 = 1_500;
/// Who could be answered without the policy does not wait longer for it, in milliseconds.
const PULL_WAIT_MS: u64 = 500;

/// What the home's process knows of its pulls. A crash loses it.
#[derive(Debug, Default)]
pub(super) struct Pulling {
    /// Rises by one with each pull and each event that waits, also across crashes.
    last: u64,
    under_way: Option<u64>,
    /// Contacts and calls that wait for it.
    waiting: BTreeMap<u64, Event>,
}

impl Pulling {
    /// Whether nothing waits.
    pub(super) fn is_quiet(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The process is gone.
    pub(super) fn forget(&mut self) {
        self.under_way = None;
        self.waiting.clear();
    }

    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

impl World {
    /// Whether the home knows what becomes of these keys; `None` if it is to be asked again after a pull.
    pub(super) fn can_tell(&mut self, keys: &[KeyId], waited: bool) -> Option<bool> {
        let now = self.home_now();
        let home = self.home.home.as_mut()?;
        match home.keys_known(now, keys) {
            KeysKnown::All => Some(true),
            KeysKnown::AfterPull if !waited => None,
            KeysKnown::AfterPull | KeysKnown::NotYet => Some(false),
        }
    }

    /// Has a contact or a call wait for the policy.
    pub(super) fn wait_for_policy(&mut self, event: Event) {
        let number = self.home.pulling.next();
        self.home.pulling.waiting.insert(number, event);
        self.after_ms(PULL_WAIT_MS, Event::WaitedForPolicy(number));
        self.begin_pull();
    }

    /// Pulls the policy, unless that is under way.
    pub(super) fn begin_pull(&mut self) {
        let now = self.home_now();
        if self.home.pulling.under_way.is_some() {
            return;
        }
        let Some(home) = self.home.home.as_mut() else { return };
        home.pull_begins(now);
        let pull = home.pull();
        let number = self.home.pulling.next();
        self.home.pulling.under_way = Some(number);
        self.send_center(|| Event::Pull(number, Box::new(pull.clone())));
        self.after_ms(PULL_TIMEOUT_MS, Event::PullTimeout(number));
    }

    /// The aggregator answers a pull.
    pub(super) fn answer_pull(&mut self, number: u64, pull: &Flush) -> Verdict {
        if let Some(receipt) = self.merged(pull)? {
            self.send_center(|| Event::Pulled(number, Box::new(receipt.clone())));
        }
        Ok(())
    }

    /// A pull is answered. A double, or the answer to a pull that was given up, tells of no key.
    pub(super) fn take_pulled(&mut self, number: u64, receipt: &Receipt) -> Verdict {
        let now = self.home_now();
        let Some(home) = self.home.home.as_mut() else { return Ok(()) };
        if self.home.pulling.under_way != Some(number) {
            return Ok(());
        }
        self.home.pulling.under_way = None;
        if receipt.life == *home.incarnation() {
            home.pulled(now, receipt.policy.clone());
        } else {
            home.pull_failed();
        }
        self.take_receipt(receipt);
        self.resume_waiting()
    }

    pub(super) fn pull_timed_out(&mut self, number: u64) -> Verdict {
        if self.home.pulling.under_way != Some(number) {
            return Ok(());
        }
        self.home.pulling.under_way = None;
        if let Some(home) = self.home.home.as_mut() {
            home.pull_failed();
        }
        self.alarm_home();
        self.resume_waiting()
    }

    fn resume_waiting(&mut self) -> Verdict {
        while let Some((number, _)) = self.home.pulling.waiting.first_key_value() {
            self.resume(*number)?;
        }
        Ok(())
    }

    /// What waited for the policy is answered with what is known.
    pub(super) fn resume(&mut self, number: u64) -> Verdict {
        match self.home.pulling.waiting.remove(&number) {
            Some(Event::Contact(_, contact)) => self.contact_home(contact, true),
            Some(Event::Strict(call)) => self.decide_at_home(call, true),
            _ => Ok(()),
        }
    }
}
