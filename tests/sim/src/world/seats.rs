//! Isolates: each has a holder for the home it belongs to, and old ones that still give back.

use shared::cell::CellKey;
use shared::decision::{Ask, Denial};
use shared::ids::{AgentId, KeyId};
use shared::kind::Kind;
use shared::lease::message::{Body, HolderId};
use shared::lease::{Answer, Holder, WaiterId};
use shared::random::Stream;
use shared::time::Timestamp;

use super::clock::Clock;
use super::{Addressee, Event, Target, World};
use crate::audit::{Serve, Verdict};
use crate::bugs::ShellBug;

/// A request that waits at an isolate.
#[derive(Debug, Clone)]
struct Waiter {
    id: WaiterId,
    since_us: u64,
    ask: Ask,
}

/// A holder with its shell.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) serial: u64,
    pub(super) target: Target,
    pub(super) holder: Holder,
    waiters: Vec<Waiter>,
    wake_us: u64,
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

    fn local(&mut self, number: usize) -> Timestamp {
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
        let local = self.local(number);
        let seat = self.isolates[number].seats.len() - 1;
        let answer = self.isolates[number].seats[seat].holder.decide(local, &ask);
        self.meters.ask(self.now_us);
        if let Answer::Wait(id) = answer {
            let waiter = Waiter { id, since_us: self.now_us, ask };
            self.isolates[number].seats[seat].waiters.push(waiter);
        } else {
            self.conclude(number, &ask, answer, None)?;
        }
        self.pump(number, seat, local)
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
        Ask {
            key: key(),
            kind,
            agent,
            cost: u32::try_from(cost).unwrap_or(1),
            dry_run: self.config.cost_max > 1 && self.random.between(0, 49) == 0,
            held: false,
        }
    }

    /// Books what became of a request.
    fn conclude(&mut self, number: usize, ask: &Ask, answer: Answer, waited: Option<Waited>) -> Verdict {
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
                let serve = Serve { reserve, ..self.serve_of(ask) };
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
            }
            Answer::AtHome => {
                let ask = ask.clone();
                self.send_center(|| Event::Strict(Box::new(ask.clone())));
            }
            Answer::Unavailable => self.meters.unavailable += 1,
            Answer::Wait(_) => {}
        }
        Ok(())
    }

    pub(super) fn serve_of(&self, ask: &Ask) -> Serve {
        let at = self.home_now();
        let key = CellKey { day: at.day(), kind: ask.kind, agent: ask.agent.clone() };
        Serve { at, key, units: u64::from(ask.cost), reserve: None }
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
        let wake = place.holder.wake_at(local);
        let unsettled = place.holder.unsettled();
        self.meters.unsettled_max = self.meters.unsettled_max.max(unsettled);
        for (waiter, answer, reserve) in concluded {
            let reserve = reserve.then_some(serial);
            self.conclude(number, &waiter.ask, answer, Some(Waited { since_us: waiter.since_us, reserve }))?;
        }
        for contact in &contacts {
            self.note(|| {
                let units: u64 = contact.batch.lines.iter().map(|line| line.units).sum();
                format!(
                    "isolate {number} -> {target:?} lane {} nonce {} reports #{} {units}, returns {:?} {:?}, needs {}, holds {:?}",
                    contact.lane,
                    contact.nonce,
                    contact.batch.seq,
                    contact.returns.units,
                    contact.returns.agents.iter().map(|back| (&back.agent, back.units)).collect::<Vec<_>>(),
                    contact.needs.iter().map(shared::lease::message::Need::total).sum::<u64>(),
                    contact.held,
                )
            });
            self.send_contact(Addressee::Seat { isolate: number, serial }, target, contact);
        }
        if let Some(wake) = wake {
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
        let holder = &mut self.isolates[number].seats[seat].holder;
        let before = holder.unsettled();
        let resync = matches!(reply.body, Body::Resync { .. });
        holder.receive(local, reply);
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

/// The key that every request uses.
pub(super) fn key() -> KeyId {
    KeyId::parse("k001").unwrap_or_else(|error| unreachable!("{error}"))
}

/// Jitter for the parts that need a seed of their own.
pub(super) fn draw(random: &mut Stream) -> u64 {
    random.bits()
}
