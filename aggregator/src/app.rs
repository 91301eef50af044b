//! What every handler and job shares: the books, the clock, and what policies are made from.

use std::sync::Arc;

use shared::ids::KeyId;
use shared::key::KeySecrets;
use shared::policy::SignedPolicy;
use shared::sign::SigningKeys;

use crate::clock::Clock;
use crate::contracts::party::Seller;
use crate::edge::peers::ClockPeers;
use crate::metrics::Metrics;
use crate::projects::book::Book;
use crate::projects::policy::Basis;
use crate::store::Intake;
use crate::store::Store;
use crate::stripe::account::Account;
use crate::webhooks;

/// The aggregator's shared parts; clones are the same.
#[derive(Debug, Clone)]
pub struct App(Arc<Parts>);

/// What an [`App`] is made of.
#[derive(Debug)]
pub struct Parts {
    /// The books.
    pub store: Store,
    /// The clock.
    pub clock: Clock,
    /// What policies are compiled from.
    pub basis: Basis,
    /// What project keys are made with.
    pub key_secrets: KeySecrets,
    /// What is signed with between machines.
    pub signing_keys: SigningKeys,
    /// Where webhooks may go, and what their secrets are sealed with.
    pub webhooks: webhooks::Settings,
    /// Whose clocks move along with ours; `None` where the clock is not to be moved.
    pub test_clock: Option<ClockPeers>,
    /// Where flushes queue for the books.
    pub intake: Intake,
    /// What this process has done.
    pub metrics: Metrics,
    /// Who invoices contracts; `None` where that is not set.
    pub seller: Option<Seller>,
    /// Our account at Stripe; `None` where no payments are taken.
    pub stripe: Option<Account>,
}

impl App {
    /// Shares the parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// The project's policy as of now, signed.
    ///
    /// # Errors
    /// When there is no policy key.
    pub fn signed_policy(&self, book: &Book, keys: Vec<KeyId>) -> Result<SignedPolicy, String> {
        let policy = self.basis.compile(&book.project, &book.ledger, keys, self.clock.now());
        SignedPolicy::sign(&policy, &self.signing_keys)
    }
}

impl std::ops::Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
