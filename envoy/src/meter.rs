//! The leases of this process: every question is decided here, and one task for each home looks after what it has issued.
//!
//! A question that its caller gives up while it waits is not billed, and what it was given comes back. Contacts outlive the
//! call that they were sent for. Nothing is held while anything is waited for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use meter_edge::remote::{Answer, Contact, Next, Question as AtHome, Remote, Reserved, Settings, Waiting};
use shared::home::HomeName;
use shared::random;
use shared::time::Timestamp;
use tokio::sync::{Notify, oneshot};
use tokio::time::{sleep, timeout};

use crate::clock::Clock;
use crate::config::Config;
use crate::descriptors::Question;
use crate::homes::Homes;
use crate::metrics::Metrics;

/// How long a question that waits sleeps before it looks by itself; a reply wakes it sooner.
const LOOK: Duration = Duration::from_millis(25);
/// How long everything may take to go back when this process is told to stop.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// The meter. Clones are the same.
#[derive(Debug, Clone)]
pub struct Meter(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    remote: Mutex<Remote>,
    /// Whom to wake for a home that is looked after.
    watched: Mutex<BTreeMap<HomeName, Arc<Watch>>>,
    homes: Homes,
    metrics: Metrics,
    clock: Clock,
}

/// What wakes the task that looks after a home, and those that wait for its replies.
#[derive(Debug, Default)]
struct Watch {
    due: Notify,
    replied: Notify,
}

/// A question that waits. Dropped, it is given up; one that is decided has nothing left to give up.
struct Place<'a> {
    meter: &'a Meter,
    waiting: Waiting,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.meter.remote().abandon(&self.waiting);
    }
}

impl Meter {
    /// A meter with empty hands, whose process was given those random words.
    ///
    /// # Errors
    /// Says which setting cannot be used.
    pub fn new(config: &Config, random: [u32; 4], metrics: Metrics) -> Result<Self, String> {
        let settings = Settings {
            key_secrets: config.key_secrets.clone(),
            region: &config.region,
            sub_homes: config.sub_homes,
            shadow: config.shadow,
        };
        let remote = Mutex::new(Remote::new(settings, random)?);
        let homes = Homes::new(&config.homes, config.signing_keys.clone(), random::bits(&random))?;
        let watched = Mutex::new(BTreeMap::new());
        Ok(Self(Arc::new(Parts { remote, watched, homes, metrics, clock: Clock::default() })))
    }

    /// Decides a question. Whoever drops this before it is ready is not billed.
    pub async fn decide(&self, question: &Question) -> Answer {
        let next = self.remote().decide(&question.check(), self.now());
        self.follow(next).await
    }

    /// The same for units that are served later, or not. Whoever has them says what became of them.
    pub async fn reserve(&self, question: &Question) -> Answer {
        let next = self.remote().reserve(&question.check(), self.now());
        self.follow(next).await
    }

    /// So many of these were served; says how many are counted.
    pub fn served(&self, reserved: &Reserved, units: u64) -> u64 {
        let counted = self.remote().served(reserved, units, self.now());
        self.tend(reserved.home());
        counted
    }

    /// Nobody will be served what is left of these.
    pub fn give_back(&self, reserved: &Reserved) {
        self.remote().give_back(reserved);
        self.tend(reserved.home());
    }

    /// Nobody knows whether what is left of these was served.
    pub fn forfeit(&self, reserved: &Reserved) {
        self.remote().forfeit(reserved);
        self.tend(reserved.home());
    }

    /// Gives everything back and reports the rest, as far as the homes answer in time; says whether all of it was taken.
    pub async fn close(&self) -> bool {
        for home in self.remote().close() {
            self.look_after(&home).due.notify_one();
        }
        let drained = async {
            while !self.remote().close().is_empty() {
                sleep(LOOK).await;
            }
        };
        timeout(CLOSE_MAX, drained).await.is_ok()
    }

    async fn follow(&self, mut next: Next) -> Answer {
        loop {
            next = match next {
                Next::Answer(answer) => {
                    if let Some(home) = &answer.home {
                        self.tend(home);
                    }
                    return answer;
                }
                Next::Wait(waiting) => self.wait(waiting).await,
                Next::Ask(question) => self.ask(*question).await,
            };
        }
    }

    /// Waits until the holder has decided, or refuses by itself: it never waits for long.
    async fn wait(&self, waiting: Waiting) -> Next {
        let watch = self.look_after(waiting.home());
        let place = Place { meter: self, waiting };
        loop {
            let mut replied = std::pin::pin!(watch.replied.notified());
            // From here on, so that no reply is missed.
            replied.as_mut().enable();
            let next = self.remote().outcome(&place.waiting, self.now());
            if !matches!(next, Next::Wait(_)) {
                return next;
            }
            watch.due.notify_one();
            tokio::select! {
                () = replied => {}
                () = sleep(LOOK) => {}
            }
        }
    }

    /// Has the home decide. That goes on where nobody waits any more: a call that was begun has to be ended.
    async fn ask(&self, question: AtHome) -> Next {
        let (tell, told) = oneshot::channel();
        let meter = self.clone();
        tokio::spawn(async move {
            let home = question.home().clone();
            let reply = meter.0.homes.decide(&home.to_string(), &question.arguments()).await;
            meter.0.metrics.called("decide", reply.is_ok());
            let reply = match reply {
                // Nobody is there to be told, so that nobody is billed.
                Ok(_) if tell.is_closed() => String::new(),
                Ok(reply) => reply,
                Err(error) => {
                    tracing::warn!(home = %home, error = %error, "a home could not be asked");
                    String::new()
                }
            };
            let next = meter.remote().conclude(question, &reply, meter.now());
            meter.tend(&home);
            // Whoever went away just now is billed, as whoever goes away with an answer on its way; what was reserved for
            // them comes back.
            if let Err(Next::Answer(Answer { reserved: Some(reserved), .. })) = tell.send(next) {
                meter.give_back(&reserved);
            }
        });
        // The task ends only after it has told.
        told.await.unwrap_or_else(|_| Next::Answer(Answer::unavailable()))
    }

    /// Sees to it that somebody looks after a home, where that is needed.
    fn tend(&self, home: &HomeName) {
        let (restless, rest) = {
            let (mut remote, now) = (self.remote(), self.now());
            (remote.is_restless(home, now), remote.rest_ms(home, now))
        };
        if rest.is_some() {
            let watch = self.look_after(home);
            if restless {
                watch.due.notify_one();
            }
        }
    }

    /// Who looks after a home; begins to, where nobody does.
    fn look_after(&self, home: &HomeName) -> Arc<Watch> {
        let mut watched = self.watched();
        if let Some(watch) = watched.get(home) {
            return Arc::clone(watch);
        }
        let watch = Arc::new(Watch::default());
        watched.insert(home.clone(), Arc::clone(&watch));
        let (meter, home, mine) = (self.clone(), home.clone(), Arc::clone(&watch));
        tokio::spawn(async move { meter.watch(&home, &mine).await });
        watch
    }

    /// Sends what is due until nothing is held, owed or waited for.
    async fn watch(&self, home: &HomeName, watch: &Arc<Watch>) {
        loop {
            let contacts = self.remote().contacts(home, self.now());
            for contact in contacts {
                let (meter, home, watch) = (self.clone(), home.clone(), Arc::clone(watch));
                tokio::spawn(async move { meter.send(&home, &contact, &watch).await });
            }
            let Some(rest_ms) = self.rest(home) else { return };
            tokio::select! {
                () = watch.due.notified() => {}
                () = sleep(Duration::from_millis(rest_ms)) => {}
            }
        }
    }

    /// How long to rest. With nothing to do the home is left alone, in one step with everybody who would begin again.
    fn rest(&self, home: &HomeName) -> Option<u64> {
        let mut watched = self.watched();
        let rest_ms = self.remote().rest_ms(home, self.now());
        if rest_ms.is_none() {
            watched.remove(home);
        }
        rest_ms
    }

    async fn send(&self, home: &HomeName, Contact { object, text }: &Contact, watch: &Watch) {
        let reply = self.0.homes.contact(object, &home.to_string(), text).await;
        self.0.metrics.called("contact", reply.is_ok());
        match reply {
            Ok(reply) => {
                let taken = self.remote().receive(home, &reply, self.now());
                if let Err(error) = taken {
                    tracing::error!(home = %home, error = %error, "a home's reply cannot be read");
                }
                watch.replied.notify_waiters();
                watch.due.notify_one();
            }
            // It is sent again.
            Err(error) => tracing::warn!(home = %home, error = %error, "a contact was not answered"),
        }
    }

    /// This instant.
    pub(crate) fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    fn remote(&self) -> MutexGuard<'_, Remote> {
        // It refuses where it is not sure, and nothing in it can be half done.
        self.0.remote.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watched(&self) -> MutexGuard<'_, BTreeMap<HomeName, Arc<Watch>>> {
        self.0.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
