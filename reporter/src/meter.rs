//! The home in memory, and the one task that writes. Nothing is answered before it is durable.
//!
//! Whoever acts on the memory waits for the commit that has its rows. One commit takes what has gathered while the one
//! before was being written, so that many acts share one sync. Where a commit fails, memory is ahead of the folder: it
//! is read back, and everybody whose act was lost with it is told.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use meter_edge::premise::Count;
use shared::home::{Home, Row};
use shared::ids::{Incarnation, SourceId};
use shared::json;
use shared::time::Timestamp;
use tokio::sync::{Notify, oneshot};

use crate::clock::Clock;
use crate::named::{Named, Names, Reused};
use crate::outbox::{Chain, Reporting};
use crate::policy;
use crate::random;
use crate::standing::{Failure, Heard};
use crate::store::{Frozen, Store, StoreError, Write};

/// The last receipt.
pub(crate) const HEARD: &str = "heard";
/// Why the last attempt failed.
pub(crate) const FAILURE: &str = "failure";
/// When a file was last exported.
pub(crate) const EXPORTED: &str = "exported";

/// The pause before a folder that cannot be written is tried again: a full disk is not emptied in a moment.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// What was done is not durable, and was undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the data folder cannot be written; nothing was counted")]
pub struct NotDurable;

/// What is known in memory.
#[derive(Debug)]
pub struct Core {
    /// The authority over what may be served, and what was.
    pub home: Home,
    /// Where the chain of reports ends.
    pub chain: Chain,
    /// The last receipt.
    pub heard: Option<Heard>,
    /// Why the last attempt failed.
    pub failure: Option<Failure>,
    /// When a file was last exported.
    pub exported: Option<Timestamp>,
    names: Names,
    pending: Vec<Write>,
    waiters: Vec<oneshot::Sender<()>>,
}

impl Core {
    /// Reads what a folder has; one that has nothing begins its first life.
    ///
    /// # Errors
    /// When the folder cannot be read, or is another reporter's.
    pub async fn read(store: &mut Store, source: &SourceId, now: Timestamp) -> Result<Self, CoreError> {
        let name = policy::home_of(source).map_err(|error| CoreError::Unreadable(error.to_string()))?;
        let unreadable = |what: &dyn std::fmt::Display| CoreError::Unreadable(what.to_string());
        let stored = Home::load(store.home_rows().await?, now).map_err(|error| unreadable(&error))?;
        let home = match stored {
            Some(home) if *home.name() != name => {
                return Err(CoreError::OtherSource(home.name().project.to_string(), source.to_string()));
            }
            Some(home) => home,
            None => {
                let mut home = Home::new(name.clone(), random::incarnation()?);
                home.install(policy::provisional(&name, now).map_err(|error| unreadable(&error))?);
                home
            }
        };
        let newest = store.newest(home.incarnation().as_str()).await?;
        Ok(Self {
            chain: newest.as_ref().map_or_else(Chain::default, Chain::after),
            heard: fact(store, HEARD).await?,
            failure: fact(store, FAILURE).await?,
            exported: fact(store, EXPORTED).await?,
            home,
            names: Names::of(store.names().await?),
            pending: Vec::new(),
            waiters: Vec::new(),
        })
    }

    /// Counts what was served, once where its sender has named it; says how many units that were, and whether they are new.
    ///
    /// # Errors
    /// When the name was that of another body; nothing is counted then.
    pub fn count(
        &mut self,
        counts: &[Count],
        name: Option<(String, String)>,
        now: Timestamp,
    ) -> Result<(u64, bool), Reused> {
        if let Some((name, hash)) = &name
            && let Some(units) = self.names.find(name, hash)?
        {
            return Ok((units, false));
        }
        let served = counts.iter().map(|of| ((of.kind, &of.agent), of.units, of.observed));
        self.home.count_all_served(now, served);
        let units = counts.iter().fold(0_u64, |sum, of| sum.saturating_add(of.units.get()));
        if let Some((name, hash)) = name {
            let named = Named { name, hash, units, at: now };
            self.pending.push(Write::Name(named.clone()));
            let forgotten = self.names.add(named);
            if !forgotten.is_empty() {
                self.pending.push(Write::Forget(forgotten));
            }
        }
        Ok((units, true))
    }

    /// Makes reports of everything that no receipt has acknowledged, and returns them. They must be durable before they
    /// leave.
    pub fn freeze(&mut self, who: &Reporting, now: Timestamp) -> Vec<Frozen> {
        let round = self.home.flush(now);
        let incarnation = self.home.incarnation().clone();
        let frozen = self.chain.freeze(who, &incarnation, round, now);
        self.pending.extend(frozen.iter().cloned().map(Write::Freeze));
        frozen
    }

    /// A receipt has come for a report; the last of its round acknowledges what the round carried.
    pub fn acknowledge(&mut self, frozen: &Frozen, ends_round: bool, heard: Heard, now: Timestamp) {
        if ends_round && frozen.home_seq > 0 {
            self.home.flushed(now, frozen.home_seq);
        }
        let (incarnation, seq) = (frozen.incarnation.clone(), frozen.seq);
        self.pending.push(Write::Acknowledge { incarnation, seq, at_ms: now.as_ms() });
        self.hear(heard);
    }

    /// A receipt has come, whatever it acknowledges: its policy holds, and nothing fails any more.
    pub fn hear(&mut self, heard: Heard) {
        if let Ok(policy) = policy::on_premise(self.home.name(), heard.receipt.policy.clone()) {
            self.home.install(policy);
        }
        self.remember(HEARD, Some(&heard));
        self.remember::<Failure>(FAILURE, None);
        (self.heard, self.failure) = (Some(heard), None);
    }

    /// An attempt has failed.
    pub fn fail(&mut self, failure: Failure) {
        self.remember(FAILURE, Some(&failure));
        self.failure = Some(failure);
    }

    /// Begins a new life of the folder: its cells begin at zero and its reports at one.
    pub fn renew(&mut self, incarnation: Incarnation, now: Timestamp) {
        self.home.begin_life(now, incarnation);
        self.chain = Chain::default();
        self.remember::<Failure>(FAILURE, None);
        self.failure = None;
    }

    /// A file was exported.
    pub fn export(&mut self, now: Timestamp) {
        self.remember(EXPORTED, Some(&now));
        self.exported = Some(now);
    }

    /// A report is about to leave.
    pub fn leave(&mut self, frozen: &Frozen, signature: &str, now: Timestamp) {
        self.pending.push(Write::Leave {
            incarnation: frozen.incarnation.clone(),
            seq: frozen.seq,
            signature: signature.to_owned(),
            at_ms: now.as_ms(),
        });
    }

    fn remember<T: serde::Serialize>(&mut self, name: &'static str, value: Option<&T>) {
        self.pending.push(Write::Fact { name, value: value.map(json::write) });
    }

    /// Everything that is to be written now.
    #[must_use]
    pub fn take_writes(&mut self) -> Vec<Write> {
        let rows: Vec<Row> = self.home.take_writes();
        let mut writes = std::mem::take(&mut self.pending);
        if !rows.is_empty() {
            writes.push(Write::Home(rows));
        }
        writes
    }
}

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CoreError {
    /// It cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It holds what this release cannot read.
    #[error("the data folder cannot be read: {0}")]
    Unreadable(String),
    /// It is another reporter's.
    #[error(
        "the data folder is of reporter {0}, and TELEMETRY_HMAC_KEY of {1}; METER_REPORTER_DATA names another folder"
    )]
    OtherSource(String, String),
    /// No life can be named.
    #[error(transparent)]
    NoRandomness(#[from] random::NoRandomness),
}

async fn fact<T: for<'de> serde::Deserialize<'de>>(
    store: &mut Store,
    name: &str,
) -> Result<Option<T>, CoreError> {
    let text = store.fact(name).await?;
    let read =
        |text: String| json::read(&text).map_err(|error| CoreError::Unreadable(format!("{name}: {error}")));
    text.map(read).transpose()
}

/// The memory and who writes it; clones are the same.
#[derive(Debug, Clone)]
pub struct Meter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    core: Mutex<Core>,
    dirty: Notify,
    clock: Clock,
}

impl Meter {
    /// Begins to write what is done to that memory, in a task of its own.
    #[must_use]
    pub fn start(core: Core, store: Store, clock: Clock, source: SourceId) -> Self {
        let meter = Self(Arc::new(Inner { core: Mutex::new(core), dirty: Notify::new(), clock }));
        tokio::spawn(meter.clone().write(store, source));
        meter
    }

    /// Opens a folder and begins.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub async fn open(folder: &Path, source: &SourceId, clock: &Clock) -> Result<Self, CoreError> {
        let mut store = Store::open(folder).await?;
        let core = Core::read(&mut store, source, clock.now()).await?;
        let meter = Self::start(core, store, clock.clone(), source.clone());
        // The first life is named before anything is counted in it.
        meter.act(|_, _| ()).await.map_err(|error| CoreError::Unreadable(error.to_string()))?;
        Ok(meter)
    }

    /// The clock by which is counted.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Looks at what is known, without waiting for anything.
    pub fn look<T>(&self, look: impl FnOnce(&Core, Timestamp) -> T) -> T {
        look(&self.core(), self.0.clock.now())
    }

    /// Acts, and returns once what was done is durable.
    ///
    /// # Errors
    /// When it is not; then nothing was done.
    pub async fn act<T>(&self, act: impl FnOnce(&mut Core, Timestamp) -> T) -> Result<T, NotDurable> {
        let (durable, written) = oneshot::channel();
        let done = {
            let mut core = self.core();
            let done = act(&mut core, self.0.clock.now());
            core.waiters.push(durable);
            done
        };
        self.0.dirty.notify_one();
        written.await.map_err(|_| NotDurable)?;
        Ok(done)
    }

    /// Acts without waiting for the commit: for what nobody is told, and nobody billed for.
    pub fn note(&self, act: impl FnOnce(&mut Core, Timestamp)) {
        act(&mut self.core(), self.0.clock.now());
        self.0.dirty.notify_one();
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.0.core.lock().unwrap_or_else(|_| {
            // A panic in the midst of a decision leaves a memory that nobody may decide from; what is durable is sound.
            tracing::error!("a decision has panicked; the process ends, to begin again from what is durable");
            std::process::abort()
        })
    }

    async fn write(self, mut store: Store, source: SourceId) {
        loop {
            self.0.dirty.notified().await;
            let (writes, waiters) = {
                let mut core = self.core();
                (core.take_writes(), std::mem::take(&mut core.waiters))
            };
            let committed = if writes.is_empty() { Ok(()) } else { store.commit(writes).await };
            match committed {
                Ok(()) => {
                    for waiter in waiters {
                        // Whoever has gone meanwhile needs no word.
                        waiter.send(()).ok();
                    }
                }
                Err(error) => {
                    tracing::error!(error = %error, "the data folder cannot be written: what was not durable is undone");
                    self.read_back(&mut store, &source, waiters).await;
                }
            }
        }
    }

    /// Replaces the memory by what is durable. Whoever acted is told that it was undone, by losing its waiter: once it is, or
    /// once that takes longer.
    async fn read_back(&self, store: &mut Store, source: &SourceId, mut undone: Vec<oneshot::Sender<()>>) {
        loop {
            match Core::read(store, source, self.0.clock.now()).await {
                Ok(core) => {
                    *self.core() = core;
                    drop(undone);
                    return;
                }
                Err(error) => {
                    tracing::error!(error = %error, "the data folder cannot be read back");
                    self.core().waiters.clear();
                    undone.clear();
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
