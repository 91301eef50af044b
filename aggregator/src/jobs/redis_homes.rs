//! Idempotent: looks after homes whose rows are in a Redis. It makes them, gives them their policies, merges what they
//! have counted, and begins a new life where the server may have lost something.
//!
//! Any number of aggregators may do so at once: each write names the version that it was decided from, and cells are
//! merged by `max`. Nothing depends on which of them lives.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis_rows::{Snapshot, Told};
use shared::home::storage::{Commit, Copy};
use shared::home::{Home, HomeName, Row, Standing};
use shared::ids::Incarnation;
use shared::policy::{Place, Policy};
use shared::time::Timestamp;
use shared::wire::Merged;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::app::App;
use crate::counters::behind::Behind;
use crate::counters::{Counters, CountersError, Share};
use crate::metrics::LifeCause;
use crate::random;
use crate::store::{IntakeError, StoreError};

/// How often it asks who is due.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// How often where nobody has been due for [`QUIET_AFTER_MS`]: whoever is next waits a moment longer, once.
const QUIET_INTERVAL: Duration = Duration::from_millis(40);
const QUIET_AFTER_MS: u64 = 2_000;
/// After this long a home is looked at that nobody has asked for.
const SWEEP_MS: u64 = 600_000;
/// After this long it is tried again.
const RETRY_MS: u64 = 500;
/// The pause after the Redis has failed.
const PAUSE: Duration = Duration::from_millis(500);
/// How many homes are looked after at once.
const HOMES_MAX: usize = 16;
/// Far more than others ever come first in a row.
const TRIES_MAX: u32 = 200;

/// Why a home could not be looked after.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// The Redis failed.
    #[error("{0}")]
    Counters(#[from] CountersError),
    /// The books failed.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The books did not take what was counted.
    #[error("{0}")]
    Intake(#[from] IntakeError),
    /// A row is not one that a home has written.
    #[error("{0}")]
    Row(#[from] shared::home::CorruptRow),
    /// There is no randomness to name a life with.
    #[error("{0}")]
    Random(#[from] random::NoRandomness),
    /// Others have come first too often.
    #[error("others have come first too often")]
    Crowded,
}

/// Homes that are being looked after here, and whether somebody has asked for that once more meanwhile: two at once would
/// come before each other.
#[derive(Debug, Clone, Default)]
struct Tended(Arc<Mutex<BTreeMap<HomeName, bool>>>);

/// One of them, until it is over.
struct Tending<'a> {
    tended: &'a Tended,
    home: &'a HomeName,
    is_over: bool,
}

impl Tended {
    /// Begins with a home; `None` where that is under way, and will be done again.
    fn begin<'a>(&'a self, home: &'a HomeName) -> Option<Tending<'a>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(again) = all.get_mut(home) {
            *again = true;
            return None;
        }
        all.insert(home.clone(), false);
        Some(Tending { tended: self, home, is_over: false })
    }
}

impl Tending<'_> {
    /// Whether it was asked for once more; else it is over.
    fn goes_on(&mut self) -> bool {
        let mut all = self.tended.0.lock().unwrap_or_else(PoisonError::into_inner);
        let again = all.get_mut(self.home).is_some_and(std::mem::take);
        if !again {
            all.remove(self.home);
            self.is_over = true;
        }
        again
    }
}

impl Drop for Tending<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.tended.0.lock().unwrap_or_else(PoisonError::into_inner).remove(self.home);
        }
    }
}

/// Looks after homes for ever; drop the future to stop.
pub async fn run(app: App, counters: Counters) {
    let places = Arc::new(Semaphore::new(HOMES_MAX));
    let tended = Tended::default();
    // Which shares are being asked who is due: one that stands still does not hold up the others.
    let mut asked = BTreeSet::new();
    let mut asking: JoinSet<(String, Option<Vec<HomeName>>)> = JoinSet::new();
    let mut tending: JoinSet<(HomeName, bool)> = JoinSet::new();
    // When somebody was due there last.
    let mut busy: BTreeMap<String, Timestamp> = BTreeMap::new();
    let mut behind = Behind::default();
    loop {
        let now = counters.moment();
        app.metrics.behind(Duration::from_millis(behind.longest_ms(now)));
        let free = places.available_permits();
        let shares = if free == 0 { Vec::new() } else { counters.shares() };
        for share in shares.into_iter().filter(|share| asked.insert(share.place())) {
            let since = busy.entry(share.place()).or_insert(now);
            let is_quiet = now.ms_since(*since) >= QUIET_AFTER_MS;
            let pause = if is_quiet { QUIET_INTERVAL } else { POLL_INTERVAL };
            asking.spawn(due(app.clone(), counters.clone(), share, (pause, free)));
        }
        // That somebody is free again is noticed by this alone; all else is heard of.
        let turn = if free == 0 { POLL_INTERVAL } else { QUIET_INTERVAL };
        tokio::select! {
            () = tokio::time::sleep(turn) => {}
            Some(done) = tending.join_next() => match done {
                Ok((home, true)) => behind.has_done(&home.to_string()),
                Ok((_, false)) => {}
                Err(error) => tracing::error!(error = %error, "who looked after a home has died"),
            },
            Some(done) = asking.join_next() => match done {
                Ok((place, homes)) => {
                    asked.remove(&place);
                    let now = counters.moment();
                    let server = format!("server {place}");
                    match &homes {
                        Some(_) => behind.has_done(&server),
                        None => behind.owes(&server, now),
                    }
                    let homes = homes.unwrap_or_default();
                    if !homes.is_empty() {
                        busy.insert(place, now);
                    }
                    for home in homes {
                        behind.owes(&home.to_string(), now);
                        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
                        let (app, counters, tended) = (app.clone(), counters.clone(), tended.clone());
                        tending.spawn(async move {
                            let is_done = tend(&app, &counters, &tended, &home).await;
                            drop(place);
                            (home, is_done)
                        });
                    }
                }
                Err(error) => {
                    tracing::error!(error = %error, "who asked which homes are due has died");
                    asked.clear();
                }
            },
        }
    }
}

/// Asks once which homes of a share are due, and pauses: before where all is well, so that homes are not kept waiting,
/// and after a failure, when it is not known.
async fn due(
    app: App,
    counters: Counters,
    share: Share,
    (pause, count): (Duration, usize),
) -> (String, Option<Vec<HomeName>>) {
    tokio::time::sleep(pause).await;
    let now = app.clock.now();
    let claimed = counters.claim(&share, (now, now.plus_ms(SWEEP_MS)), count).await;
    let homes = match claimed {
        Ok(homes) => Some(homes),
        Err(error) => {
            let server = share.place();
            tracing::warn!(server, error = %error, "it is not known which homes are due");
            tokio::time::sleep(PAUSE).await;
            None
        }
    };
    (share.place(), homes)
}

/// Looks after one home, and says so where that fails; whether it has not. Where that is under way, whoever does it goes on.
async fn tend(app: &App, counters: &Counters, tended: &Tended, home: &HomeName) -> bool {
    let Some(mut tending) = tended.begin(home) else { return false };
    loop {
        let is_done = tend_once(app, counters, home).await;
        if !tending.goes_on() {
            return is_done;
        }
    }
}

async fn tend_once(app: &App, counters: &Counters, home: &HomeName) -> bool {
    let looked = look_after(app, counters, home).await;
    if let Err(error) = &looked {
        tracing::warn!(home = %home, error = %error, "a home could not be looked after, and is tried again");
        let again = app.clock.now().plus_ms(RETRY_MS);
        if let Err(error) = counters.mark(home, again).await {
            // The sweep finds it.
            tracing::warn!(home = %home, error = %error, "nor could that be noted");
        }
    }
    looked.is_ok()
}

/// Brings a home's cells into the books and its policy into the home; says the version that it has then. `None` is a
/// project that does not exist.
///
/// # Errors
/// When the Redis or the books fail; nothing is lost then.
pub async fn look_after(app: &App, counters: &Counters, home: &HomeName) -> Result<Option<u64>, LookError> {
    let mut snapshot = counters.read(home).await?;
    for _ in 0..TRIES_MAX {
        let look = Look { app, counters, home, now: app.clock.now(), fresh: life()? };
        let Some((book, keys)) = app.store.policy_parts(&home.project).await? else {
            look.forget(&snapshot).await?;
            return Ok(None);
        };
        let of = (&book.project, &book.ledger);
        let policy = app.basis.compile_for(Place::Redis, of, keys, look.now);
        match look.once(snapshot, policy).await? {
            Step::Done { version, due } => {
                if let Some(due) = due {
                    counters.mark(home, due).await?;
                }
                return Ok(version);
            }
            Step::Again(now) => snapshot = now,
        }
    }
    Err(LookError::Crowded)
}

/// What one look has come to.
enum Step {
    /// The home has this version of its policy, and everything was merged.
    Done {
        version: Option<u64>,
        /// When it is to be looked at again though nobody asks for it: calls of a dead isolate are concluded then.
        due: Option<Timestamp>,
    },
    /// There is more to do, with what is stored now.
    Again(Snapshot),
}

/// One look at one home.
struct Look<'a> {
    app: &'a App,
    counters: &'a Counters,
    home: &'a HomeName,
    now: Timestamp,
    /// The name of a new life, should one begin.
    fresh: Incarnation,
}

impl Look<'_> {
    /// Does the first of what is to be done: a new life, a new home, its registration, or a flush.
    async fn once(&self, snapshot: Snapshot, policy: Policy) -> Result<Step, LookError> {
        let is_lost = snapshot.is_of_another_life();
        let is_new = snapshot.stored.rows.is_empty();
        let looks = snapshot.looks;
        let life = snapshot.seen();
        let new = || Home::new(self.home.clone(), self.fresh.clone());
        let mut copy = Copy::read(snapshot.stored, new, self.now)?;
        if is_lost {
            // What is there was served, and is all that is left of that life. Nobody writes to it any more.
            let (round, before) = copy.act(|home| home.last_flush(self.now));
            if let Some(round) = round {
                for flush in round.messages {
                    self.app.take(flush, Place::Redis).await?;
                }
            }
            tracing::warn!(home = %self.home, "the Redis was restarted, restored, or has failed over: a home begins a new life");
            let why = LifeCause::AnotherServer;
            return self.begin_life(&mut copy, (why, &life), before.rows, policy).await;
        }
        if is_new {
            let ((), commit) = copy.act(|home| {
                home.install(policy);
            });
            return self.write(&life, commit, Some(LifeCause::Made)).await;
        }
        if copy.home().must_begin_life() {
            let why = LifeCause::Arrived;
            return self.begin_life(&mut copy, (why, &life), Vec::new(), policy).await;
        }
        if copy.home().needs_registration() {
            let Some((taken, merged)) = self.app.take(copy.home().pull(), Place::Redis).await? else {
                return Ok(Step::Done { version: None, due: None });
            };
            return self.acknowledged(&mut copy, &life, (taken.watermark, &merged), policy).await;
        }
        self.flush(copy, &life, (looks, policy)).await
    }

    /// Sends what was counted to the books, and tells the home that they have it.
    async fn flush(
        &self,
        mut copy: Copy,
        life: &str,
        (looks, policy): (u64, Policy),
    ) -> Result<Step, LookError> {
        let (round, commit) = copy.act(|home| home.flush(self.now));
        let mut told = (0, 0, Vec::new());
        // A flush's number must be on the disk before anybody hears of it: a server that went back is known by that. What a
        // look without one has found must be there for the next look: when the calls of a dead isolate are to be counted.
        if (round.is_some() || !commit.rows.is_empty())
            && !matches!(self.counters.write(self.home, life, &commit).await?, Told::Written(_))
        {
            return Ok(Step::Again(self.counters.read(self.home).await?));
        }
        if let Some(round) = round {
            told.0 = round.seq;
            for flush in round.messages {
                let Some((taken, merged)) = self.app.take(flush, Place::Redis).await? else {
                    return Ok(Step::Done { version: None, due: None });
                };
                (told.1, told.2) = (taken.watermark, merged);
            }
        }
        for _ in 0..TRIES_MAX {
            let snapshot = self.counters.read(self.home).await?;
            if snapshot.is_of_another_life() || snapshot.seen() != life || snapshot.stored.rows.is_empty() {
                return Ok(Step::Again(snapshot));
            }
            let new = || Home::new(self.home.clone(), self.fresh.clone());
            copy.reread(snapshot.stored, new, self.now)?;
            let (seq, watermark, merged) = &told;
            let incarnation = copy.home().incarnation().clone();
            let (standing, mut commit) = copy.act(|home| {
                let standing = home.acknowledge(self.now, &incarnation, *watermark, merged);
                if *seq > 0 {
                    home.flushed(self.now, *seq);
                }
                home.install(policy.clone());
                standing
            });
            if standing == Standing::RolledBack {
                let why = LifeCause::RolledBack;
                return self.begin_life(&mut copy, (why, life), commit.rows, policy).await;
            }
            commit.rows.push(looked(looks));
            if let Told::Written(_) = self.counters.write(self.home, life, &commit).await? {
                // Whoever counts says itself when that is due, and at once.
                let soonest = self.now.plus_ms(RETRY_MS);
                let due = copy.home().look_due(self.now).map(|due| due.max(soonest));
                return Ok(Step::Done { version: copy.home().policy_version(), due });
            }
        }
        Err(LookError::Crowded)
    }

    async fn acknowledged(
        &self,
        copy: &mut Copy,
        life: &str,
        (watermark, merged): (u64, &[Merged]),
        policy: Policy,
    ) -> Result<Step, LookError> {
        let incarnation = copy.home().incarnation().clone();
        let (standing, commit) = copy.act(|home| {
            let standing = home.acknowledge(self.now, &incarnation, watermark, merged);
            home.install(policy.clone());
            standing
        });
        match standing {
            Standing::Sound => self.write(life, commit, None).await,
            Standing::RolledBack => {
                self.begin_life(copy, (LifeCause::RolledBack, life), commit.rows, policy).await
            }
        }
    }

    /// Begins a life that has to be registered before it issues anything. `before` are rows that were changed by then
    /// and are not written.
    async fn begin_life(
        &self,
        copy: &mut Copy,
        (why, life): (LifeCause, &str),
        before: Vec<Row>,
        policy: Policy,
    ) -> Result<Step, LookError> {
        let ((), mut commit) = copy.act(|home| {
            home.begin_life(self.now, self.fresh.clone());
            home.install(policy);
        });
        let is_old = |row: &Row| commit.rows.iter().all(|newer| newer.key != row.key);
        let older: Vec<Row> = before.into_iter().filter(is_old).collect();
        commit.rows.extend(older);
        self.write(life, commit, Some(why)).await
    }

    /// Writes what was decided, which begins a life where it says why.
    async fn write(&self, life: &str, commit: Commit, begins: Option<LifeCause>) -> Result<Step, LookError> {
        match self.counters.write(self.home, life, &commit).await? {
            Told::Rows(snapshot) => Ok(Step::Again(snapshot)),
            Told::Written(_) | Told::NoScript => {
                if let Some(why) = begins {
                    self.app.metrics.life_began(why);
                }
                Ok(Step::Again(self.counters.read(self.home).await?))
            }
        }
    }

    /// Notes that there is no such project, for whoever asks for its home.
    async fn forget(&self, snapshot: &Snapshot) -> Result<(), LookError> {
        if snapshot.stored.rows.is_empty() {
            let row =
                Row { key: Snapshot::unknown_row().to_owned(), value: Some(self.now.as_ms().to_string()) };
            let commit = Commit { expected: snapshot.stored.version, rows: vec![row] };
            self.counters.write(self.home, &snapshot.seen(), &commit).await?;
        }
        Ok(())
    }
}

fn looked(looks: u64) -> Row {
    Row { key: Snapshot::looks_row().to_owned(), value: Some(looks.saturating_add(1).to_string()) }
}

fn life() -> Result<Incarnation, LookError> {
    let name = base16ct::lower::encode_string(&random::bytes::<16>()?);
    Incarnation::parse(&name).map_err(|_| random::NoRandomness.into())
}
