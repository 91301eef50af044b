//! Isolates: each has a holder for the home it belongs to, and old ones that still give back.

use std::collections::{BTreeMap, BTreeSet};

use shared::cell::CellKey;
use shared::decision::{Ask, Denial};
use shared::ids::{AgentId, KeyId};
use shared::kind::Kind;
use shared::lease::message::{Body, HolderId};
use shared::lease::{Answer, Holder, WaiterId};
use shared::random::Stream;
use shared::time::{Period, Timestamp};

use super::center::written;
use super::clock::Clock;
use super::{Addressee, Event, Target, World};
use crate::audit::refusals::Refused;
use crate::audit::{Serve, Verdict};
use crate::bugs::ShellBug;

/// What a client is told to wait while others hold what is left, in milliseconds.
const CONTENDED_RETRY_MS: u64 = 2_000;
/// The most clients that wait for that at once; further ones give up.
const RETURNING_MAX: usize = 8;
/// For how long after a cut nothing may have been heard yet: two pauses between resends, in microseconds.
const MUTED_US: u64 = 5_000_000;

/// A request of a client.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) ask: Ask,
    /// How often it was told that others hold what is left, and since when, while nothing was in the way.
    contended: u32,
    since_us: u64,
}

/// A request that waits at an isolate.
#[derive(Debug, Clone)]
struct Waiter {
    id: WaiterId,
    since_us: u64,
    request: Request,
}

/// Where a request is decided.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) isolate: usize,
    pub(super) holder: HolderId,
}

/// A holder with its shell.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) serial: u64,
    pub(super) target: Target,
    pub(super) holder: Holder,
    waiters: Vec<Waiter>,
    pub(super) wake_us: u64,
}

/// How a request waited: since when, and the holder whose reserve served it.
#[derive(Debug, Clone, Copy)]
struct Waited {
    since_us: u64,
    reserve: Option<u64>,
}

/// One isolate.
#[derive(Debug)]
pub(super) struct Isolate {
    pub(super) alive: bool,
    pub(super) life: u64,
    pub(super) seats: Vec<Seat>,
    clock: Clock,
    pub(super) far_ms: u64,
    pub(super) near_ms: u64,
    pub(super) up_cut_us: u64,
    pub(super) down_cut_us: u64,
    /// Until when its process stands still.
    pub(super) stopped_us: u64,
    first_served: bool,
    old_id: Option<HolderId>,
}

impl Isolate {
    pub(super) fn is_drained(&self) -> bool {
        !self.alive || self.seats.iter().all(|seat| seat.holder.is_drained() && seat.waiters.is_empty())
    }

    /// Units that are lost if it dies now.
    pub(super) fn unsettled(&self) -> u64 {
        self.seats.iter().map(|seat| seat.holder.unsettled()).sum()
    }
}

impl World {
    pub(super) fn add_isolate(&mut self, number: usize) {
        let faults = self.config.faults.clone();
        let skew = self.random.between(0, faults.skew_ms_max);
        let ahead = self.random.between(0, 1) == 1;
        let drift = self.random.between(0, faults.drift_ppm_max * 2);
        let (far, near) = (self.config.round_trip_ms, self.config.near_ms);
        self.isolates.push(Isolate {
            alive: true,
            life: 1,
            seats: Vec::new(),
            clock: Clock {
                ahead_ms: if ahead { skew } else { 0 },
                behind_ms: if ahead { 0 } else { skew },
                pace_ppm: 1_000 + drift - faults.drift_ppm_max,
                last_ms: 0,
            },
            far_ms: self.random.between(far.0, far.1),
            near_ms: self.random.between(near.0, near.1),
            up_cut_us: 0,
            down_cut_us: 0,
            stopped_us: 0,
            first_served: false,
            old_id: None,
        });
        self.sit_down(number);
        let life = self.isolates[number].life;
        let gap = self.gap_us(number);
        self.at(self.now_us + gap, Event::Ask { isolate: number, life });
    }

    /// A new holder, at the home or sub-home that is the isolate's now.
    pub(super) fn sit_down(&mut self, number: usize) {
        let high = u128::from(self.random.bits()) << 64;
        let fresh = HolderId::from_bits(high | u128::from(self.random.bits()));
        let reused = self.planted.shell == Some(ShellBug::IdReused);
        let id = self.isolates[number].old_id.filter(|_| reused).unwrap_or(fresh);
        self.isolates[number].old_id = Some(id);
        let target = self.target_of(id);
        let seed = self.random.bits();
        self.serials += 1;
        let seat = Seat {
            serial: self.serials,
            target,
            holder: Holder::new(id, seed),
            waiters: Vec::new(),
            wake_us: u64::MAX,
        };
        self.isolates[number].seats.push(seat);
    }

    fn target_of(&self, id: HolderId) -> Target {
        match u32::try_from(self.active_subs()).unwrap_or(0) {
            _ if self.config.strict => Target::Home,
            0 => Target::Home,
            count => Target::Sub(usize::try_from(id.sub_home(count)).unwrap_or(0)),
        }
    }

    /// The mean gap between requests of an isolate, drawn anew each time.
    fn gap_us(&mut self, number: usize) -> u64 {
        let rate = self.config.rates.get(number).copied().unwrap_or(1_000).max(1);
        let mean = 1_000_000_000 / rate;
        if self.config.bursts && self.random.between(0, 99) == 0 {
            return self.random.between(0, 8_000_000);
        }
        self.random.between(0, mean * 2)
    }

    pub(super) fn local(&mut self, number: usize) -> Timestamp {
        let lag_max = self.config.faults.lag_ms_max;
        let lag = if lag_max > 0 { self.random.between(0, lag_max) } else { 0 };
        let now_ms = self.now_us / 1_000;
        self.isolates[number].clock.read(self.start_ms, now_ms, lag)
    }

    pub(super) fn ask(&mut self, number: usize, life: u64) -> Verdict {
        let isolate = &self.isolates[number];
        if !isolate.alive || isolate.life != life || !self.asking {
            return Ok(());
        }
        let gap = self.gap_us(number);
        self.at(self.now_us + gap.max(1), Event::Ask { isolate: number, life });
        let ask = self.draw_ask();
        self.request(number, Request { ask, contended: 0, since_us: self.now_us })
    }

    /// A client whose request was contended comes again.
    pub(super) fn come_again(&mut self, number: usize, request: Request) -> Verdict {
        self.returning -= 1;
        if !self.isolates[number].alive || !self.asking {
            return Ok(());
        }
        self.request(number, request)
    }

    fn request(&mut self, number: usize, request: Request) -> Verdict {
        let local = self.local(number);
        let seat = self.isolates[number].seats.len() - 1;
        let answer = self.isolates[number].seats[seat].holder.decide(local, &request.ask);
        self.meters.ask(self.now_us);
        if let Answer::Wait(id) = answer {
            let waiter = Waiter { id, since_us: self.now_us, request };
            self.isolates[number].seats[seat].waiters.push(waiter);
        } else {
            let place = self.place(number, seat);
            self.conclude(place, &request, answer, None)?;
        }
        self.pump(number, seat, local)
    }

    fn place(&self, isolate: usize, seat: usize) -> Place {
        Place { isolate, holder: self.isolates[isolate].seats[seat].holder.id() }
    }

    fn draw_ask(&mut self) -> Ask {
        let agents = u64::try_from(self.config.agents).unwrap_or(1);
        let agent = match self.random.between(0, agents) {
            0 => AgentId::none(),
            n => AgentId::parse(&format!("agent-{n}")).unwrap_or_else(|_| AgentId::none()),
        };
        let kind = Kind::ALL[usize::try_from(self.random.between(0, 2)).unwrap_or(0)];
        let costly = self.config.cost_max > 1 && self.random.between(0, 999) < self.config.costly_permille;
        let cost = if costly { self.random.between(2, u64::from(self.config.cost_max)) } else { 1 };
        let key = if self.config.faults.keys_ms == 0 { key() } else { self.draw_key() };
        Ask {
            key,
            kind,
            agent,
            cost: u32::try_from(cost).unwrap_or(1),
            dry_run: self.config.cost_max > 1 && self.random.between(0, 49) == 0,
            held: false,
        }
    }

    /// One of the project's keys, the newest above all; or one that nobody knows.
    fn draw_key(&mut self) -> KeyId {
        let keys = &self.aggregator.policy.keys;
        let last = keys.len() - 1;
        let any = usize::try_from(self.random.between(0, u64::try_from(last).unwrap_or(0))).unwrap_or(0);
        match self.random.between(0, 19) {
            0 => key_of(0),
            1..=9 => keys[any].clone(),
            _ => keys[last].clone(),
        }
    }

    /// Books what became of a request.
    fn conclude(
        &mut self,
        place: Place,
        request: &Request,
        answer: Answer,
        waited: Option<Waited>,
    ) -> Verdict {
        let (number, ask) = (place.isolate, &request.ask);
        let waited_us = waited.map(|waited| self.now_us - waited.since_us);
        match answer {
            Answer::Allow if ask.dry_run => {}
            Answer::Allow => {
                match waited_us {
                    None => self.meters.local += 1,
                    Some(us) => {
                        self.meters.waited += 1;
                        self.meters.waits.push(us / 1_000);
                        if !self.isolates[number].first_served {
                            self.meters.first_waits.push(us / 1_000);
                        }
                    }
                }
                self.isolates[number].first_served = true;
                let second = self.meters.second(self.now_us);
                *self.meters.served.entry(second).or_insert(0) += 1;
                let reserve = waited.and_then(|waited| waited.reserve);
                let serve = Serve { reserve, holder: Some(place.holder), ..self.serve_of(ask) };
                self.note(|| format!("isolate {number} serves {} for {}", ask.cost, ask.agent));
                self.auditor.serve(&serve)?;
            }
            Answer::Deny { denial, .. } => {
                if waited_us.is_some() {
                    self.meters.denied_waited += 1;
                } else {
                    self.meters.denied_local += 1;
                }
                if denial == Denial::QuotaContended {
                    self.meters.contended += 1;
                }
                self.refuse(place, request, denial);
            }
            Answer::AtHome => {
                self.call_home(place, request);
            }
            Answer::Unavailable => self.meters.unavailable += 1,
            Answer::Wait(_) => {}
        }
        Ok(())
    }

    /// Has a refusal judged; a client that is to come again does.
    pub(super) fn refuse(&mut self, place: Place, request: &Request, denial: Denial) {
        let at = self.home_now();
        let since_us = if self.trouble_us > request.since_us { self.now_us } else { request.since_us };
        let contended = if self.trouble_us > request.since_us { 0 } else { request.contended };
        let promised = self.auditor.hands.under_way_to(place.holder);
        let troubled = self.now_us < self.trouble_us;
        let refused = Refused { at, ask: &request.ask, denial, contended, promised, troubled };
        self.auditor.refusals.judged += 1;
        self.note(|| {
            format!(
                "isolate {} denies {} for {}: {denial:?}",
                place.isolate, request.ask.cost, request.ask.agent
            )
        });
        if let Some((spare, why)) = self.auditor.wrong(&refused).filter(|_| !self.is_cut_off(place.isolate))
            && (!denial.is_spent() || self.out_of_reach(at.period()) <= spare)
        {
            let knows = self.home.home.as_ref().map(|home| home.outstanding(at.period()));
            let lost = self.auditor.hands.lost(at.period());
            self.note(|| format!("wrong: {denial:?}: {why}; {lost} are lost, the home has {knows:?}"));
            self.auditor.refusals.count(&refused, &why);
        }
        if denial == Denial::QuotaContended && self.returning < RETURNING_MAX {
            self.returning += 1;
            let again = Request { ask: request.ask.clone(), contended: contended + 1, since_us };
            let isolate = place.isolate;
            self.after_ms(CONTENDED_RETRY_MS, Event::Again { isolate, request: Box::new(again) });
        }
    }

    /// Whether an isolate is cut off, or its sub-home is, or was until a moment ago: it knows only what it was told before.
    fn is_cut_off(&self, isolate: usize) -> bool {
        let isolate = &self.isolates[isolate];
        let cuts = isolate.seats.iter().map(|seat| match seat.target {
            Target::Home => 0,
            Target::Sub(k) => self.subs[k].up_cut_us.max(self.subs[k].down_cut_us),
        });
        let last = cuts.chain([isolate.up_cut_us, isolate.down_cut_us]).max().unwrap_or(0);
        self.now_us < last + MUTED_US
    }

    /// Units with holders that are cut off, or were until a moment ago, or whose issuer has not heard them for long:
    /// nobody can know whether they live.
    pub(super) fn out_of_reach(&self, period: Period) -> u64 {
        let hands = &self.auditor.hands;
        let (at, lag_ms) = (self.home_now(), self.auditor.refusals.lag_ms());
        let muted = |up_us: u64, down_us: u64| self.now_us < up_us.max(down_us) + MUTED_US;
        let mut cut_off = BTreeSet::new();
        for isolate in self.isolates.iter().filter(|isolate| isolate.alive) {
            for seat in &isolate.seats {
                let cut = match seat.target {
                    Target::Home => false,
                    Target::Sub(k) => muted(self.subs[k].up_cut_us, self.subs[k].down_cut_us),
                };
                if cut || muted(isolate.up_cut_us, isolate.down_cut_us) {
                    cut_off.insert(seat.holder.id());
                }
            }
        }
        let mut subs = BTreeMap::new();
        for (k, sub) in self.subs.iter().enumerate() {
            subs.insert(sub.known_as(), self.issuer(Target::Sub(k)));
            if muted(sub.up_cut_us, sub.down_cut_us) {
                cut_off.insert(sub.known_as());
            }
        }
        let units = hands.live().map(|holder| {
            let below = subs.get(&holder).copied();
            let cut = if cut_off.contains(&holder) { hands.out(holder, period, below) } else { 0 };
            cut.max(hands.unheard(at, lag_ms, (holder, period), below))
        });
        units.sum()
    }

    pub(super) fn serve_of(&self, ask: &Ask) -> Serve {
        let at = self.home_now();
        let key = CellKey { day: at.day(), kind: ask.kind, agent: ask.agent.clone() };
        Serve { at, key, units: u64::from(ask.cost), reserve: None, holder: None }
    }

    /// After any event at a holder: fetch outcomes, send what is due, set the alarm.
    pub(super) fn pump(&mut self, number: usize, seat: usize, local: Timestamp) -> Verdict {
        let place = &mut self.isolates[number].seats[seat];
        let mut concluded = Vec::new();
        let contacts = place.holder.contacts(local);
        place.waiters.retain(|waiter| {
            let reserve = place.holder.is_from_reserve(waiter.id);
            let answer = place.holder.outcome(local, waiter.id);
            let waits = matches!(answer, Answer::Wait(_));
            if !waits {
                concluded.push((waiter.clone(), answer, reserve));
            }
            waits
        });
        let (serial, target) = (place.serial, place.target);
        let unsettled = place.holder.unsettled();
        self.meters.unsettled_max = self.meters.unsettled_max.max(unsettled);
        let of = self.place(number, seat);
        // All of this is one instant: what is served in it is not left for whom it refuses.
        concluded.sort_by_key(|(_, answer, _)| matches!(answer, Answer::Deny { .. }));
        for (waiter, answer, reserve) in concluded {
            let reserve = reserve.then_some(serial);
            let waited = Waited { since_us: waiter.since_us, reserve };
            self.conclude(of, &waiter.request, answer, Some(waited))?;
        }
        for contact in &contacts {
            self.note(|| format!("isolate {number} -> {target:?} {}", written(contact)));
            self.send_contact(Addressee::Seat { isolate: number, serial }, target, contact);
        }
        if let Some(wake) = self.isolates[number].seats[seat].holder.wake_at(local) {
            let wait_ms = wake.ms_since(local).clamp(2, 10_000);
            let at = self.now_us + wait_ms * 1_000;
            let place = &mut self.isolates[number].seats[seat];
            if place.wake_us <= self.now_us || at < place.wake_us {
                place.wake_us = at;
                self.at(at, Event::WakeSeat { isolate: number, serial });
            }
        }
        Ok(())
    }

    fn seat(&self, number: usize, serial: u64) -> Option<usize> {
        let isolate = self.isolates.get(number).filter(|isolate| isolate.alive)?;
        isolate.seats.iter().position(|seat| seat.serial == serial)
    }

    pub(super) fn wake_seat(&mut self, number: usize, serial: u64) -> Verdict {
        let Some(seat) = self.seat(number, serial) else { return Ok(()) };
        if self.isolates[number].seats[seat].wake_us > self.now_us {
            return Ok(());
        }
        let local = self.local(number);
        self.pump(number, seat, local)?;
        self.retire(number);
        Ok(())
    }

    pub(super) fn reply_to_seat(
        &mut self,
        number: usize,
        serial: u64,
        reply: shared::lease::message::Reply,
    ) -> Verdict {
        let Some(seat) = self.seat(number, serial) else { return Ok(()) };
        let local = self.local(number);
        let answers = matches!(reply.body, Body::Lease(_));
        self.auditor.hands.delivered(&reply);
        let issuer = self.issuer(self.isolates[number].seats[seat].target);
        let holder = &mut self.isolates[number].seats[seat].holder;
        let (before, id) = (holder.unsettled(), holder.id());
        let resync = matches!(reply.body, Body::Resync { .. });
        holder.receive(local, reply);
        if holder.id() != id {
            self.auditor.died(id, issuer);
        }
        if resync {
            // A batch under way may have been taken by the storage that was lost.
            self.auditor.lost_at_most += before - holder.unsettled();
        }
        if answers {
            self.auditor.answered(serial);
        }
        self.pump(number, seat, local)
    }

    /// Old holders that have given everything back are gone.
    fn retire(&mut self, number: usize) {
        let seats = &mut self.isolates[number].seats;
        let last = seats.len() - 1;
        let mut position = 0;
        seats.retain(|seat| {
            position += 1;
            position > last || !seat.holder.is_drained() || !seat.waiters.is_empty()
        });
    }

    /// The number of sub-homes has changed: every isolate moves.
    pub(super) fn move_seats(&mut self) {
        for number in 0..self.isolates.len() {
            if self.isolates[number].alive {
                for seat in &mut self.isolates[number].seats {
                    seat.holder.close();
                }
                let seat = self.isolates[number].seats.len() - 1;
                let serial = self.isolates[number].seats[seat].serial;
                self.after_ms(1, Event::WakeSeat { isolate: number, serial });
                self.isolates[number].seats[seat].wake_us = self.now_us + 1_000;
                self.sit_down(number);
            }
        }
    }

    /// An isolate's memory vanishes.
    pub(super) fn kill_isolate(&mut self, number: usize) {
        if !self.isolates[number].alive {
            return;
        }
        let lost = self.isolates[number].unsettled();
        self.note(|| format!("isolate {number} dies with {lost} unsettled"));
        for seat in &self.isolates[number].seats {
            self.auditor.died(seat.holder.id(), self.issuer(seat.target));
        }
        self.auditor.deaths = true;
        self.auditor.lost_at_most += lost;
        self.meters.deaths += 1;
        self.meters.lost += lost;
        let isolate = &mut self.isolates[number];
        (isolate.alive, isolate.life) = (false, isolate.life + 1);
        isolate.seats.clear();
        let pause = self.random.between(10, 3_000);
        self.after_ms(pause, Event::ReviveIsolate(number));
    }

    pub(super) fn revive_isolate(&mut self, number: usize) {
        if self.isolates[number].alive {
            return;
        }
        self.isolates[number].alive = true;
        self.sit_down(number);
        let life = self.isolates[number].life;
        self.after_ms(1, Event::Ask { isolate: number, life });
    }
}

/// The key that requests use.
pub(super) fn key() -> KeyId {
    key_of(1)
}

/// The key of that number; nobody ever makes the one of zero.
pub(super) fn key_of(number: u64) -> KeyId {
    KeyId::parse(&format!("k{number:03}")).unwrap_or_else(|error| unreachable!("{error}"))
}

/// Jitter for the parts that need a seed of their own.
pub(super) fn draw(random: &mut Stream) -> u64 {
    random.bits()
}
