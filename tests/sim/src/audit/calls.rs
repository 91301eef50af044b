//! Calls that the home has allowed: which may still be answered, and which it may count though nobody was served.
//!
//! A home cannot know whether a holder that died had answered. It counts such a call, and so it may be billed.

use std::collections::{BTreeMap, BTreeSet};

use shared::cell::CellKey;
use shared::home::call::CallId;
use shared::lease::message::{Contact, HolderId};
use shared::time::Period;

use super::hands::Issuer;
use super::{Auditor, Serve, Verdict};

/// All calls.
#[derive(Debug, Clone, Default)]
pub struct Calls {
    /// Allowed, with no word from the holder yet.
    open: BTreeMap<CallId, Serve>,
    /// Whose answers have left.
    left: BTreeSet<CallId>,
    /// Units of calls whose holders died, by what they may be billed as.
    presumed: BTreeMap<CellKey, u64>,
}

impl Calls {
    /// What the home takes back: it hears that the answers never left.
    pub fn taken(&mut self, contact: &Contact) {
        for number in &contact.returns.calls {
            self.open.remove(&CallId { holder: contact.holder, number: *number });
        }
    }

    /// Nobody will say any more what became of that holder's calls.
    fn died(&mut self, holder: HolderId) {
        let open = std::mem::take(&mut self.open);
        for (id, serve) in open {
            if id.holder == holder {
                self.presume(&serve);
            } else {
                self.open.insert(id, serve);
            }
        }
    }

    fn presume(&mut self, serve: &Serve) {
        *self.presumed.entry(serve.key.clone()).or_insert(0) += serve.units;
    }

    /// Units that may be billed as that though nobody was served.
    #[must_use]
    pub fn presumed(&self, key: &CellKey) -> u64 {
        self.presumed.get(key).copied().unwrap_or(0)
    }

    /// Units of a month that are counted at the home, and not served or not yet.
    #[must_use]
    pub fn unserved(&self, period: Period) -> u64 {
        self.unserved_of(|of| of == period)
    }

    /// The same of that month and all before.
    #[must_use]
    pub fn unserved_until(&self, period: Period) -> u64 {
        self.unserved_of(|of| of <= period)
    }

    fn unserved_of(&self, counts: impl Fn(Period) -> bool) -> u64 {
        let open = self.open.values().map(|serve| (&serve.key, serve.units));
        let presumed = self.presumed.iter().map(|(key, units)| (key, *units));
        let counted = open.chain(presumed).filter(|(key, _)| counts(key.day.period()));
        counted.map(|(_, units)| units).sum()
    }
}

impl Auditor {
    /// The home has allowed a call, for the first time or again; `lives`: the holder does.
    pub fn call_allowed(&mut self, id: CallId, serve: &Serve, lives: bool) {
        if self.calls.left.contains(&id) || self.calls.open.contains_key(&id) {
            return;
        }
        self.hands.decided_at_home(serve.at, &serve.key.agent, serve.units);
        self.calls.open.insert(id, serve.clone());
        if !lives {
            self.calls.died(id.holder);
        }
    }

    /// Its answer has left.
    ///
    /// # Errors
    /// As [`Auditor::serve`].
    pub fn call_left(&mut self, id: CallId, serve: &Serve) -> Verdict {
        let first = self.calls.open.remove(&id);
        self.calls.left.insert(id);
        self.serve(first.as_ref().unwrap_or(serve))
    }

    /// A holder's memory is gone, or what it holds is void.
    pub fn died(&mut self, holder: HolderId, issuer: Issuer) {
        self.hands.died(holder, issuer);
        self.calls.died(holder);
    }
}
