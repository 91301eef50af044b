//! What Envoy may serve by itself: which units are with it, and what became of them, as far as its rate limit quota
//! protocol tells. Pure: times are handed in, and what is to be done is handed out.
//!
//! An assignment is a token bucket that is filled once and never again, so that Envoy can serve no more of it than it has
//! units. Each of its units is out until a report says that it was served, or until Envoy certainly cannot serve it any
//! more. The protocol acknowledges nothing, so certainty needs a bound: on a living stream what Envoy is told has its effect
//! within [`WAY_MS`], and reports that come further apart than [`STILL_MS`] say that Envoy or the network stood still.
//! What such a bound cannot decide is forfeited: neither billed nor handed out again.

use std::collections::{BTreeMap, VecDeque};

use shared::time::{Minute, Timestamp};

/// A bucket of Envoy, by what it is built of.
pub type BucketId = BTreeMap<String, String>;

/// How long it takes at most until Envoy does what it is told, while its reports keep coming; in milliseconds. Longer than
/// [`STILL_MS`] and a report's and an assignment's ways together.
pub const WAY_MS: u64 = 6_500;
/// Reports that are further apart say that somebody stood still, in milliseconds: Envoy reports every five seconds,
/// whatever its configuration says.
pub const STILL_MS: u64 = 6_000;
/// How long ago a report that comes now was written at most, in milliseconds.
pub const REPORT_WAY_MS: u64 = 250;
/// How long an assignment lives at most without being looked at anew, in seconds: what an operator has stopped is stopped
/// by then, as at the edge.
const LIFE_S_MAX: u64 = 10;
/// Units of an assignment before anything is known of the demand.
pub const FIRST_UNITS: u64 = 10;
/// The fewest and most units of an assignment.
const UNITS: (u64, u64) = (FIRST_UNITS, 20_000);
/// An assignment is renewed so long before its end, in milliseconds.
const RENEW_MS: u64 = 1_500;
/// For how long Envoy keeps units of a bucket that nobody asks for, in milliseconds: where there is enough, so that the
/// next request need not be denied, and where there is not.
const KEEP_MS: (u64, u64) = (60_000, 6_000);
/// There is not enough where fewer assignments of that size are left.
const SCARCE: u64 = 10;
/// A bucket that nobody has asked for in so long is given up, in milliseconds.
const IDLE_MS: u64 = 20_000;
/// What was not decided in so long is forfeited, in milliseconds.
pub const FORGOTTEN_MS: u64 = 300_000;
/// How long to wait at most before whoever was refused asks again, in milliseconds.
const REFUSED_MS: (u64, u64) = (500, 60_000);
/// Buckets of one stream; who makes more of them gets none.
const BUCKETS_MAX: usize = 10_000;
/// How long Envoy is told to refuse when this process goes, in seconds.
const GOING_S: u64 = 10;
/// Serial numbers are less than that: Envoy tells assignments apart by the nanoseconds of their fill interval.
const SERIALS: u32 = 1_000_000_000;

/// What is to be done; `R` names units that were taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect<R> {
    /// So many of these were served.
    Served(R, u64),
    /// What is left of these goes back.
    GiveBack(R, u64),
    /// Nobody knows what became of what is left of these.
    Forfeit(R, u64),
    /// So many were served that this stream was not assigned.
    Unassigned(BucketId, u64),
    /// Take so many, and say what came of it to [`Book::taken`].
    Take(BucketId, u64),
    /// Tell Envoy.
    Tell(BucketId, Action),
}

/// What Envoy is told of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Serve so many.
    Serve {
        /// How many.
        units: u64,
        /// Which assignment this is.
        serial: u32,
        /// For how many seconds.
        life_s: u64,
    },
    /// Serve everybody, for so many seconds.
    AllowAll(u64),
    /// Serve nobody, for so many seconds.
    DenyAll(u64),
    /// Forget it.
    Abandon,
}

/// What came of taking units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken<R> {
    /// Some.
    Units {
        /// These, and how many each is.
        parts: Vec<(R, u64)>,
        /// How many more there are for anybody, now.
        left: u64,
        /// How many more there are in this month.
        month: u64,
    },
    /// There are none for now.
    None {
        /// After how many milliseconds to ask again.
        wait_ms: u64,
    },
    /// The key, or what it asks for, is not served at all: what is with Envoy ends too.
    Refused {
        /// After how many milliseconds to ask again.
        wait_ms: u64,
    },
    /// Nobody is denied, and nothing is counted.
    Shadowed,
}

/// Units that are with Envoy together.
#[derive(Debug)]
struct Assignment<R> {
    parts: VecDeque<(R, u64)>,
    size: u64,
    minute: Minute,
    sent: Timestamp,
    life_ms: u64,
    /// From then on Envoy certainly serves nobody from it.
    dead: Timestamp,
    replaced: bool,
}

impl<R> Assignment<R> {
    fn left(&self) -> u64 {
        self.parts.iter().fold(0, |sum, (_, left)| sum.saturating_add(*left))
    }

    /// Another has taken its place; Envoy knows of it in time.
    fn replace(&mut self, now: Timestamp) {
        if !self.replaced {
            self.replaced = true;
            self.dead = self.dead.min(now.plus_ms(WAY_MS));
        }
    }

    /// Nothing was heard from `heard` to `now`: what was told shortly before may have arrived only now, or will after as
    /// long again, and whatever was to end there meanwhile ends only now.
    fn stalled(&mut self, heard: Timestamp, now: Timestamp) {
        if self.dead.plus_ms(REPORT_WAY_MS) <= heard {
            return;
        }
        let arrived = self.sent.plus_ms(WAY_MS + REPORT_WAY_MS) <= heard;
        let life_ms = if arrived { 0 } else { self.life_ms };
        let way_ms = now.ms_since(heard).max(WAY_MS);
        self.dead = self.dead.max(now.plus_ms(way_ms).plus_ms(life_ms));
    }
}

/// A bucket as far as this stream is concerned.
#[derive(Debug)]
struct Bucket<R> {
    assignments: VecDeque<Assignment<R>>,
    taking: bool,
    /// When anybody last asked for it.
    asked: Timestamp,
    /// How many asked, in the last two reports.
    demand: (u64, u64),
    /// Nothing is taken before.
    hold_until: Timestamp,
    /// Since when Envoy is told to forget it.
    abandoned: Option<Timestamp>,
    /// Whether others may soon need what it has.
    scarce: bool,
    /// How many units were left of the month when it last got some.
    month: u64,
}

impl<R: Clone> Bucket<R> {
    fn new(now: Timestamp) -> Self {
        Self {
            assignments: VecDeque::new(),
            taking: false,
            asked: now,
            demand: (0, 0),
            hold_until: Timestamp::default(),
            abandoned: None,
            scarce: false,
            month: u64::MAX,
        }
    }

    /// Whether a report that comes now may have been written before Envoy forgot the bucket: what it were assigned then
    /// would never arrive.
    fn may_be_gone(&self, now: Timestamp) -> bool {
        self.abandoned.is_some_and(|since| now.ms_since(since) < WAY_MS.saturating_add(REPORT_WAY_MS))
    }

    /// So many were served: of the oldest assignment first, so that those which may still be served hold no less than
    /// Envoy has.
    fn settle(&mut self, allowed: u64, effects: &mut Vec<Effect<R>>) -> u64 {
        let mut rest = allowed;
        for (part, left) in self.assignments.iter_mut().flat_map(|assignment| &mut assignment.parts) {
            let served = rest.min(*left);
            if served > 0 {
                effects.push(Effect::Served(part.clone(), served));
                (rest, *left) = (rest.saturating_sub(served), left.saturating_sub(served));
            }
        }
        for assignment in &mut self.assignments {
            assignment.parts.retain(|(_, left)| *left > 0);
        }
        self.assignments.retain(|assignment| !assignment.parts.is_empty());
        rest
    }

    /// A report that came at `now` has said all of what was served of the dead.
    fn collect(&mut self, now: Timestamp, effects: &mut Vec<Effect<R>>) {
        self.assignments.retain(|assignment| {
            let is_over = assignment.dead.plus_ms(REPORT_WAY_MS) <= now;
            if is_over {
                effects.extend(
                    assignment.parts.iter().map(|(part, left)| Effect::GiveBack(part.clone(), *left)),
                );
            }
            !is_over
        });
    }

    fn forget(&mut self, now: Timestamp, effects: &mut Vec<Effect<R>>) {
        self.assignments.retain(|assignment| {
            let is_lost = now.ms_since(assignment.sent) >= FORGOTTEN_MS;
            if is_lost {
                effects
                    .extend(assignment.parts.iter().map(|(part, left)| Effect::Forfeit(part.clone(), *left)));
            }
            !is_lost
        });
    }

    /// What Envoy serves from now.
    fn active(&self, now: Timestamp) -> Option<&Assignment<R>> {
        let last = self.assignments.back()?;
        (!last.replaced && now < last.sent.plus_ms(last.life_ms)).then_some(last)
    }

    /// How many units to take now, if any.
    fn wants(&self, now: Timestamp) -> Option<u64> {
        if self.taking || now.ms_since(self.asked) >= self.keep_ms() || now < self.hold_until {
            return None;
        }
        let is_enough = self.active(now).is_some_and(|active| {
            let end = active.sent.plus_ms(active.life_ms);
            active.left().saturating_mul(2) > active.size
                && active.minute == now.minute()
                // One that ends with its minute is renewed as the next begins.
                && (now.plus_ms(RENEW_MS) < end || end >= active.minute.end())
        });
        let most = self.demand.0.max(self.demand.1);
        let left = self.month.clamp(UNITS.0, UNITS.1);
        (!is_enough).then(|| most.saturating_mul(2).clamp(UNITS.0, left))
    }

    fn keep_ms(&self) -> u64 {
        if self.scarce { KEEP_MS.1 } else { KEEP_MS.0 }
    }

    fn is_idle(&self, now: Timestamp) -> bool {
        !self.taking && self.assignments.is_empty() && now.ms_since(self.asked) >= self.keep_ms().max(IDLE_MS)
    }

    fn replace_all(&mut self, now: Timestamp) {
        for assignment in &mut self.assignments {
            assignment.replace(now);
        }
    }
}

/// All buckets of one stream.
#[derive(Debug)]
pub struct Book<R> {
    buckets: BTreeMap<BucketId, Bucket<R>>,
    serial: u32,
    heard: Option<Timestamp>,
    closing: bool,
}

impl<R: Clone> Book<R> {
    /// An empty one. `serial` differs from those of other streams, so that Envoy takes no assignment for one that it has.
    #[must_use]
    pub fn new(serial: u32) -> Self {
        Self { buckets: BTreeMap::new(), serial, heard: None, closing: false }
    }

    /// A message of Envoy has come: how many of each bucket it has allowed and denied since its last.
    pub fn report(
        &mut self,
        now: Timestamp,
        usages: impl IntoIterator<Item = (BucketId, u64, u64)>,
    ) -> Vec<Effect<R>> {
        if let Some(heard) = self.heard.replace(now).filter(|heard| now.ms_since(*heard) > STILL_MS) {
            for bucket in self.buckets.values_mut() {
                for assignment in &mut bucket.assignments {
                    assignment.stalled(heard, now);
                }
                bucket.abandoned = bucket.abandoned.map(|_| now);
            }
        }
        let mut effects = Vec::new();
        for (id, allowed, denied) in usages {
            self.used(now, id, (allowed, denied), &mut effects);
        }
        effects
    }

    fn used(
        &mut self,
        now: Timestamp,
        id: BucketId,
        (allowed, denied): (u64, u64),
        effects: &mut Vec<Effect<R>>,
    ) {
        if !self.buckets.contains_key(&id) && self.buckets.len() >= BUCKETS_MAX {
            if allowed > 0 {
                effects.push(Effect::Unassigned(id.clone(), allowed));
            }
            effects.push(Effect::Tell(id, Action::Abandon));
            return;
        }
        let bucket = self.buckets.entry(id.clone()).or_insert_with(|| Bucket::new(now));
        let rest = bucket.settle(allowed, effects);
        if rest > 0 {
            effects.push(Effect::Unassigned(id.clone(), rest));
        }
        let demand = allowed.saturating_add(denied);
        if demand > 0 {
            bucket.asked = now;
        }
        bucket.demand = (demand, bucket.demand.0);
        bucket.collect(now, effects);
        if !bucket.may_be_gone(now) {
            bucket.abandoned = None;
        }
        self.look(now, &id, effects);
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Timestamp) -> Vec<Effect<R>> {
        let mut effects = Vec::new();
        let ids: Vec<BucketId> = self.buckets.keys().cloned().collect();
        for id in ids {
            if let Some(bucket) = self.buckets.get_mut(&id) {
                bucket.forget(now, &mut effects);
            }
            self.look(now, &id, &mut effects);
        }
        effects
    }

    fn look(&mut self, now: Timestamp, id: &BucketId, effects: &mut Vec<Effect<R>>) {
        let Some(bucket) = self.buckets.get_mut(id).filter(|_| !self.closing) else { return };
        if let Some(since) = bucket.abandoned {
            if now.ms_since(since) >= IDLE_MS {
                self.buckets.remove(id);
            }
        } else if bucket.is_idle(now) {
            // All that it served is reported: whatever it had was served, or is certainly over.
            bucket.abandoned = Some(now);
            effects.push(Effect::Tell(id.clone(), Action::Abandon));
        } else if let Some(units) = bucket.wants(now) {
            bucket.taking = true;
            effects.push(Effect::Take(id.clone(), units));
        }
    }

    /// What came of an [`Effect::Take`].
    pub fn taken(&mut self, now: Timestamp, id: &BucketId, taken: Taken<R>) -> Vec<Effect<R>> {
        let Some(bucket) = self.buckets.get_mut(id).filter(|_| !self.closing) else {
            return unused(taken);
        };
        bucket.taking = false;
        let wait = |wait_ms: u64| wait_ms.clamp(REFUSED_MS.0, REFUSED_MS.1);
        let action = match taken {
            Taken::Units { parts, left, month } => {
                bucket.month = month;
                bucket.replace_all(now);
                let size = parts.iter().fold(0_u64, |sum, (_, units)| sum.saturating_add(*units));
                let minute = now.minute();
                let life_s = now.seconds_until(minute.end()).clamp(1, LIFE_S_MAX);
                let life_ms = life_s.saturating_mul(1_000);
                let dead = now.plus_ms(WAY_MS).plus_ms(life_ms);
                let parts = parts.into();
                bucket.assignments.push_back(Assignment {
                    parts,
                    size,
                    minute,
                    sent: now,
                    life_ms,
                    dead,
                    replaced: false,
                });
                bucket.hold_until = Timestamp::default();
                bucket.scarce = left < size.max(UNITS.0).saturating_mul(SCARCE);
                self.serial = self.serial.wrapping_add(1).checked_rem(SERIALS).unwrap_or_default();
                Some(Action::Serve { units: size, serial: self.serial, life_s })
            }
            Taken::None { wait_ms } => {
                bucket.scarce = true;
                bucket.hold_until = now.plus_ms(wait(wait_ms));
                let has_more = bucket.active(now).is_some();
                (!has_more).then(|| Action::DenyAll(wait(wait_ms).div_ceil(1_000)))
            }
            Taken::Refused { wait_ms } => {
                bucket.scarce = true;
                bucket.hold_until = now.plus_ms(wait(wait_ms));
                Some(Action::DenyAll(wait(wait_ms).div_ceil(1_000)))
            }
            Taken::Shadowed => {
                let life_ms = LIFE_S_MAX.saturating_mul(1_000);
                bucket.hold_until = now.plus_ms(life_ms.saturating_sub(RENEW_MS));
                Some(Action::AllowAll(LIFE_S_MAX))
            }
        };
        let Some(action) = action else { return Vec::new() };
        if !matches!(action, Action::Serve { .. }) {
            bucket.replace_all(now);
        }
        vec![Effect::Tell(id.clone(), action)]
    }

    /// This process goes: nobody is served any more, and what was is still reported.
    pub fn close(&mut self, now: Timestamp) -> Vec<Effect<R>> {
        self.closing = true;
        let mut effects = Vec::new();
        for (id, bucket) in &mut self.buckets {
            if !bucket.assignments.is_empty() {
                bucket.replace_all(now);
                effects.push(Effect::Tell(id.clone(), Action::DenyAll(GOING_S)));
            }
        }
        effects
    }

    /// Whether nothing is with Envoy, nor under way to it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buckets.values().all(|bucket| bucket.assignments.is_empty() && !bucket.taking)
    }

    /// The stream has ended. What may still be served, or was and is not reported.
    #[must_use]
    pub fn end(self) -> Vec<(BucketId, Vec<(R, u64)>)> {
        let parts = |bucket: Bucket<R>| {
            bucket.assignments.into_iter().flat_map(|assignment| assignment.parts).collect::<Vec<_>>()
        };
        let all = self.buckets.into_iter().map(|(id, bucket)| (id, parts(bucket)));
        all.filter(|(_, parts)| !parts.is_empty()).collect()
    }
}

/// Nobody was told of these.
fn unused<R>(taken: Taken<R>) -> Vec<Effect<R>> {
    match taken {
        Taken::Units { parts, .. } => {
            parts.into_iter().map(|(part, units)| Effect::GiveBack(part, units)).collect()
        }
        Taken::None { .. } | Taken::Refused { .. } | Taken::Shadowed => Vec::new(),
    }
}

/// What streams that have ended left with Envoys, which may report it on other streams. A stream does not say whose it is,
/// so nobody ever knows that all of it was said: the rest is forfeited.
#[derive(Debug)]
pub struct Orphans<R> {
    of: BTreeMap<BucketId, VecDeque<(R, u64, Timestamp)>>,
}

impl<R> Default for Orphans<R> {
    fn default() -> Self {
        Self { of: BTreeMap::new() }
    }
}

impl<R: Clone> Orphans<R> {
    /// How long Envoy has to come back with it, in milliseconds.
    pub const WAIT_MS: u64 = 60_000;

    /// Takes what a stream has left.
    pub fn add(&mut self, now: Timestamp, id: BucketId, parts: Vec<(R, u64)>) {
        let until = now.plus_ms(Self::WAIT_MS);
        let all = self.of.entry(id).or_default();
        all.extend(parts.into_iter().map(|(part, left)| (part, left, until)));
    }

    /// So many of a bucket were served that the stream which says so was not assigned: which these are, as far as they
    /// are any.
    pub fn served(&mut self, id: &BucketId, units: u64) -> Vec<(R, u64)> {
        let (mut rest, mut all) = (units, Vec::new());
        let Some(parts) = self.of.get_mut(id) else { return all };
        for (part, left, _) in parts.iter_mut() {
            let served = rest.min(*left);
            if served > 0 {
                all.push((part.clone(), served));
                (rest, *left) = (rest.saturating_sub(served), left.saturating_sub(served));
            }
        }
        parts.retain(|(_, left, _)| *left > 0);
        if parts.is_empty() {
            self.of.remove(id);
        }
        all
    }

    /// What nobody has reported in time.
    pub fn expire(&mut self, now: Timestamp) -> Vec<(R, u64)> {
        let mut gone = Vec::new();
        for parts in self.of.values_mut() {
            while let Some((part, left, _)) = parts.pop_front_if(|(_, _, until)| *until <= now) {
                gone.push((part, left));
            }
        }
        self.of.retain(|_, parts| !parts.is_empty());
        gone
    }
}

#[cfg(test)]
mod tests;
