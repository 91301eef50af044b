//! What every handler and job shares: the books, the clock, and what policies are made from.

mod homes;

use std::sync::Arc;

use shared::ids::KeyId;
use shared::key::KeySecrets;
use shared::policy::{Place, SignedPolicy};
use shared::sign::SigningKeys;
use shared::units::Units;
use shared::wire::{Flush, Merged};
use tracing::Instrument as _;

use crate::clock::Clock;
use crate::contracts::party::Seller;
use crate::contracts::standing::State;
use crate::edge::peers::ClockPeers;
use crate::identity::Provider;
use crate::metrics::Metrics;
use crate::projects::book::Book;
use crate::projects::policy::Basis;
use crate::store::{Asking, Intake, IntakeError, Merged as Taken, Store};
use crate::stripe::account::Account;
use crate::traces;
use crate::webhooks;

pub use self::homes::{Homes, NotThere};

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
    /// Where the homes are.
    pub homes: Homes,
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
    /// By which people may sign in; `None` where there are passwords alone.
    pub provider: Option<Provider>,
}

impl App {
    /// Shares the parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        // A state that no reporter is in is a number too, so that an alarm can be made of it.
        parts.metrics.reporters(State::ALL.map(|state| (state.as_str(), 0)));
        Self(Arc::new(parts))
    }

    /// Merges a flush of a home at that place, or of any other source, and says what is merged of all lives of its source where that matters.
    /// `None` is a project that does not exist.
    ///
    /// # Errors
    /// When too many wait or the books fail; the flush may then be sent again.
    pub async fn take(&self, flush: Flush, from: Place) -> Result<Option<(Taken, Vec<Merged>)>, IntakeError> {
        // The newest month says which bill it is for.
        let span = tracing::info_span!(
            target: traces::TARGET, "merge", otel.name = "merge a flush",
            project.id = %flush.project, source.id = %flush.source, flush.seq = flush.seq, cells = flush.cells.len(),
            period = flush.cells.iter().map(|cell| cell.key.day.period()).max().map(tracing::field::display),
        );
        self.merge(flush, from).instrument(span).await
    }

    async fn merge(&self, flush: Flush, from: Place) -> Result<Option<(Taken, Vec<Merged>)>, IntakeError> {
        let names = (flush.source.clone(), flush.incarnation.clone());
        let life = Flush::new((flush.project.clone(), flush.mode), names, flush.seq);
        let Some(taken) = self.intake.merge(flush).await? else { return Ok(None) };
        self.metrics.ingested(taken.cells, taken.doubted);
        self.metrics.crossed(taken.crossings);
        self.metrics.denied(&taken.denials);
        if taken.doubted > 0 {
            tracing::warn!(
                project.id = %life.project, mode = %life.mode, source = %life.source, cells = taken.doubted,
                "implausible cells were quarantined and not merged"
            );
        }
        let merged = self.lives(life, &taken.book, from).await?;
        Ok(Some((taken, merged)))
    }

    /// What is merged of all lives of the home that asks, where its policy has an escrow, or where it asks after a move:
    /// only then it needs to know.
    async fn lives(&self, life: Flush, book: &Book, from: Place) -> Result<Vec<Merged>, IntakeError> {
        let has_escrow = self.basis.at(from).has_escrow();
        let has_moved = book.project.homes.is_some_and(|stay| stay.term > 0) && life.seq == 0;
        if !has_escrow && !has_moved {
            return Ok(Vec::new());
        }
        let now = self.clock.now();
        let lost = if has_escrow {
            Units::ZERO
        } else {
            self.basis.lost_with_a_life(&book.project, &book.ledger, now)
        };
        let agents = self.basis.in_force(&book.project, &book.ledger, now).agents_max.is_some();
        let asking = Asking { life, first_open: book.ledger.first_open(), agents, lost };
        self.store.merged_lives(&asking, now).await.map_err(|error| IntakeError::Store(Arc::new(error)))
    }

    /// The project's policy for homes in Durable Objects as of now, signed.
    ///
    /// # Errors
    /// When there is no policy key.
    pub fn signed_policy(&self, book: &Book, keys: Vec<KeyId>) -> Result<SignedPolicy, String> {
        let of = (&book.project, &book.ledger);
        let policy = self.basis.compile_for(Place::DurableObject, of, keys, self.clock.now());
        SignedPolicy::sign(&policy, &self.signing_keys)
    }
}

impl std::ops::Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
