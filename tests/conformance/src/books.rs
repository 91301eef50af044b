//! The books of a run: what each holder was issued, served and gave back.

use std::collections::BTreeMap;

use shared::lease::message::{Body, Contact, Lease, Reply};

/// What was answered to each contact, and what follows from it.
#[derive(Debug, Default)]
pub(crate) struct Books {
    answers: BTreeMap<(String, u8, u64), Lease>,
    /// Units in the hands of each holder.
    pub(crate) hands: BTreeMap<usize, u64>,
    issued: u64,
    /// Units given back.
    pub(crate) returned: u64,
    /// Units reported.
    pub(crate) settled: u64,
}

impl Books {
    /// Books an answer: the same contact is always answered alike.
    pub(crate) fn answered(&mut self, holder: usize, contact: &Contact, reply: &Reply) {
        let Body::Lease(lease) = &reply.body else { panic!("no lease but {reply:?}") };
        let lease = Lease { terms: None, ..(**lease).clone() };
        let key = (contact.holder.to_string(), contact.lane, contact.nonce);
        if let Some(known) = self.answers.get(&key) {
            assert_eq!(*known, lease, "a contact that came twice was answered in two ways");
            return;
        }
        *self.hands.entry(holder).or_insert(0) += lease.units;
        self.issued += lease.units;
        self.answers.insert(key, lease);
    }

    /// Units that are gone from the allowance.
    pub(crate) fn net(&self) -> u64 {
        self.issued - self.returned
    }
}
