//! How much to issue: pure amounts from what is left, who asks, and who else is there.
//!
//! Whole requests first, in the order of their arrival; then a slice ahead of need, which shrinks to
//! nothing near a limit, so that tails and small quotas are decided one by one at the home.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::crowd::Everyone;
use crate::decision::Denial;
use crate::ids::AgentId;
use crate::lease::math::{in_ms, mul_div, times};
use crate::lease::message::{AgentGrant, Contact, Held};
use crate::planted::planted;
use crate::random::Stream;

/// The smallest slice to an isolate: less is not worth its return.
const SLICE_MIN: u64 = 2;
/// What an isolate gets before its rate is known.
const FIRST_SLICE: u64 = 8;
/// The most holders' reports that one issuer takes in a second: 200, one in so many milliseconds.
const REPORT_STEP_MS: u64 = 5;
/// The shortest and, while it is not calm, the longest time between two reports of one holder, in milliseconds.
const REPORT_MS: (u64, u64) = (500, 5_000);
/// The longest while it is calm: two seconds before what is held must be renewed, in milliseconds.
pub(crate) const REPORT_CALM_MS_MAX: u64 = 8_000;
/// While much is left, holders report once in so many requests of all together.
const REQUESTS_PER_REPORT: u64 = 100;
/// How far a sub-home is provided ahead, in milliseconds.
const CHILD_MS: u64 = 1_000;
/// The same while it is calm: isolates then come for as much as lasts until they have reported twice.
const CHILD_CALM_MS: u64 = 2 * REPORT_CALM_MS_MAX;
/// The part of what may be at risk, and of the minute's permits, that sub-homes may have for that.
const CHILD_CALM_PART: (u64, u64) = (8, 16);
/// How far ahead a sub-home gets permits of the next minute, in milliseconds.
const CHILD_NEXT_MS: u64 = 8_000;
/// The last sixth of a minute, in milliseconds.
pub(crate) const NEXT_AHEAD_MS: u64 = 10_000;
/// Where no more units are left than this, one costly request may want all of them: holders then write often enough to
/// be called back in time.
const TAIL_UNITS: u64 = 2_000;
/// A holder's least bound of outstanding units.
const OUT_MIN: u64 = 3;

/// What limits an agent here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// Nothing but the project's own limits.
    Free,
    /// That many units of its own are left.
    Units(u64),
    /// It is not admitted.
    Closed(Denial),
}

/// Everything that an offer depends on.
#[derive(Debug, Clone)]
pub(crate) struct Situation {
    /// What may be issued now.
    pub(crate) avail: u64,
    /// What is left of the allowance: more than that where the aggregator has to acknowledge what was issued first.
    pub(crate) left: u64,
    /// Whether overage is open: units are counted, and nothing but pacing limits them.
    pub(crate) open: bool,
    /// Whether more is issued than may be: everything is called back.
    pub(crate) recall: bool,
    /// The period's allowance.
    pub(crate) allowance: u64,
    /// Requests per minute.
    pub(crate) rpm: u64,
    /// Permits of this minute that are left.
    pub(crate) permits: u64,
    /// Permits of the next minute that are left; `None` where there are none to be had.
    pub(crate) next_permits: Option<u64>,
    /// What is left of the minute.
    pub(crate) minute_ms: u64,
    /// Units out with all holders, dead ones included.
    pub(crate) out: u64,
    /// The most of them that may be at risk.
    pub(crate) risk: u64,
    /// Units out with this holder.
    pub(crate) row_out: u64,
    /// This holder's weight.
    pub(crate) weight: u64,
    /// All holders that are present.
    pub(crate) everyone: Everyone,
    /// Issuers that share the project's holders among them; at least one.
    pub(crate) issuers: u64,
    /// `Some(ample)` at a sub-home.
    pub(crate) sub_home: Option<bool>,
    /// Whether slices may be issued.
    pub(crate) slices: bool,
    /// What limits the agents that are asked for.
    pub(crate) rooms: BTreeMap<AgentId, Room>,
    /// Those of them that would be new in this period, and how many new ones there may be.
    pub(crate) newcomers: BTreeSet<AgentId>,
    pub(crate) places: u64,
}

/// A request that cannot be admitted, and which limit stops it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Short {
    pub(crate) denial: Denial,
    /// The agent whose own limit it is.
    pub(crate) agent: Option<AgentId>,
    /// The agent that asks.
    pub(crate) asking: Option<AgentId>,
    pub(crate) cost: u32,
}

/// What is issued.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Offer {
    /// For waiting requests: as many units as permits.
    pub(crate) granted: u64,
    /// Units ahead of need.
    pub(crate) units: u64,
    /// Permits ahead of need.
    pub(crate) permits: u64,
    /// Permits of the next minute.
    pub(crate) next: u64,
    /// Agents admitted, with units of limited ones.
    pub(crate) agents: Vec<AgentGrant>,
    /// What was not admitted.
    pub(crate) short: Vec<Short>,
    /// Whether much is left.
    pub(crate) ample: bool,
    /// Whether much is left, little is at risk and the holder is known.
    pub(crate) calm: bool,
}

impl Situation {
    /// How often holders may report while little is left, in milliseconds.
    fn busy_ms(&self) -> u64 {
        let all = times(self.everyone.holders, self.issuers);
        times(all, REPORT_STEP_MS).clamp(REPORT_MS.0, REPORT_MS.1)
    }

    /// How often this holder reports, in milliseconds.
    ///
    /// What a holder has not reported is lost if it dies. For a given number of reports the least is at
    /// risk in all holders together if each waits in inverse proportion to the root of its rate.
    pub(crate) fn report_ms(&self, offer: &Offer) -> u64 {
        let Everyone { holders, weights, rates } = self.everyone;
        let paced = |mean: u64| mul_div(mean, weights, times(holders, self.weight));
        let busy = paced(self.busy_ms());
        let thrifty = paced(mul_div(holders, REQUESTS_PER_REPORT * 1_000_000, rates.max(1)));
        if offer.calm {
            return busy.max(thrifty).clamp(REPORT_MS.0, REPORT_CALM_MS_MAX);
        }
        // What is not reported takes up this holder's part of what may be at risk: no longer than that lasts.
        let lasts = mul_div(self.own(self.risk), 1_000_000_000, self.weight.saturating_pow(2));
        let most = if offer.ample { busy.max(thrifty.min(lasts)) } else { busy };
        most.clamp(REPORT_MS.0, REPORT_MS.1)
    }

    /// This holder's part of what is shared by all: in proportion to the root of its rate.
    fn own(&self, of_all: u64) -> u64 {
        mul_div(of_all, self.weight, self.everyone.weights)
    }
}

/// What to issue for one contact.
pub(crate) fn offer(s: &Situation, m: &Contact, random: &mut Stream) -> Offer {
    let mut offer = admit(s, m);
    let permits_left = s.permits.saturating_sub(offer.granted);
    let calm_minute = mul_div(s.rpm, s.minute_ms, 120_000);
    offer.ample = s.sub_home.unwrap_or(
        (s.open || (s.left > s.allowance.div_euclid(10) && s.avail > TAIL_UNITS)) && s.permits > calm_minute,
    );
    // Where the books have to acknowledge what was issued, what is out keeps more from being issued.
    let has_room = s.avail == s.left || s.out < s.avail.div_euclid(3);
    offer.calm = s.out < s.risk.div_euclid(4) && has_room && offer.ample && !m.first;
    if offer.short.is_empty() && m.renew && s.slices && !s.recall {
        slice(s, m, &mut offer, permits_left);
        next_minute(s, m, &mut offer, random);
    }
    offer
}

/// Admits waiting requests one by one, each whole or not at all.
fn admit(s: &Situation, m: &Contact) -> Offer {
    let mut offer = Offer::default();
    let mut rooms = s.rooms.clone();
    let mut agents: BTreeMap<AgentId, u64> = BTreeMap::new();
    let mut places = s.places;
    for need in &m.needs {
        let cost = u64::from(need.cost.max(1));
        let charged = if planted!(CostAsOne) { 1 } else { cost };
        let whole = |left: u64| left.div_euclid(charged);
        let units = whole(s.avail.saturating_sub(offer.granted));
        let permits = whole(s.permits.saturating_sub(offer.granted));
        let room = need.agent.as_ref().and_then(|agent| rooms.get_mut(agent));
        // Only who is given something takes a place.
        let is_new =
            need.agent.as_ref().is_some_and(|of| s.newcomers.contains(of) && !agents.contains_key(of));
        let (for_agent, closed) = match &room {
            Some(_) if is_new && places == 0 => (0, Some(Denial::AgentLimit)),
            None | Some(Room::Free) => (u64::MAX, None),
            Some(Room::Units(left)) => (whole(*left), Some(Denial::AgentQuota)),
            Some(Room::Closed(denial)) => (0, Some(*denial)),
        };
        let wanted = u64::from(need.count);
        let count = wanted.min(units).min(permits).min(for_agent);
        let total = times(count, cost);
        offer.granted = offer.granted.saturating_add(total);
        if let (Some(agent), true) = (&need.agent, count > 0) {
            places = if is_new { places.saturating_sub(1) } else { places };
            let own = match room {
                Some(Room::Units(left)) => {
                    *left = left.saturating_sub(total);
                    total
                }
                Some(Room::Free | Room::Closed(_)) | None => 0,
            };
            let sum = agents.entry(agent.clone()).or_insert(0);
            *sum = sum.saturating_add(own);
        }
        if count < wanted {
            let (denial, agent) = match closed {
                Some(denial) if for_agent <= units.min(permits) => (denial, need.agent.clone()),
                Some(_) | None if units <= permits => (Denial::QuotaExhausted, None),
                Some(_) | None => (Denial::RateLimited, None),
            };
            offer.short.push(Short { denial, agent, asking: need.agent.clone(), cost: need.cost });
        }
    }
    offer.agents = agents.into_iter().map(|(agent, units)| AgentGrant { agent, units }).collect();
    offer
}

/// A part of what is left that one holder may have ahead of need.
fn share(s: &Situation, left: u64) -> u64 {
    if s.sub_home == Some(true) {
        left.div_euclid(4)
    } else {
        mul_div(left, s.weight, times(s.everyone.weights, 2))
    }
}

/// Adds units and permits ahead of need.
fn slice(s: &Situation, m: &Contact, offer: &mut Offer, permits_left: u64) {
    let left = s.avail.saturating_sub(offer.granted);
    // Half as much again as lasts until the next report; while it is calm, twice as much.
    let ahead_ms = match (m.child, offer.calm) {
        (true, _) => CHILD_MS.saturating_mul(3).div_euclid(2),
        (false, true) => times(s.report_ms(offer), 2),
        (false, false) => times(s.report_ms(offer), 3).div_euclid(2),
    };
    let mut target =
        if m.first && !m.child { in_ms(m.rate, 750).max(FIRST_SLICE) } else { in_ms(m.rate, ahead_ms) };
    if m.child {
        let need = m.needs.iter().fold(0_u64, |sum, need| sum.saturating_add(need.total()));
        target = target.max(times(need, 2));
        if s.open || s.avail > s.allowance.div_euclid(10) {
            target = times(target, 2);
        }
        if offer.calm {
            let (risk, rpm) = CHILD_CALM_PART;
            let part = s.own(s.risk.div_euclid(risk).min(s.rpm.div_euclid(rpm)));
            target = target.max(in_ms(m.rate, CHILD_CALM_MS).min(part));
        }
    }
    let Held { units: held_units, permits: held_permits, .. } = m.held;
    let mut units = target.saturating_sub(held_units).min(share(s, left));
    if m.child {
        units = units.min(s.avail.div_euclid(4));
    } else {
        let own = OUT_MIN.max(s.own(s.risk));
        units = units
            .min(s.risk.saturating_sub(s.out).saturating_sub(offer.granted))
            .min(own.saturating_sub(s.row_out).saturating_sub(offer.granted));
        if units < SLICE_MIN {
            units = 0;
        }
    }
    let mut permits = target.saturating_sub(held_permits).min(share(s, permits_left));
    // Never a permit without a unit, nor many more units than permits to spend them with.
    permits = permits.min(held_units.saturating_add(units).saturating_sub(held_permits));
    (offer.units, offer.permits) = (units.min(held_permits.saturating_add(permits)), permits);
    for grant in &mut offer.agents {
        if let Some(Room::Units(room)) = s.rooms.get(&grant.agent) {
            let spare = room.saturating_sub(grant.units);
            let more = share(s, spare).min(offer.units);
            if more >= SLICE_MIN {
                grant.units = grant.units.saturating_add(more);
            }
        }
    }
}

/// Adds permits of the next minute, in the last sixth of this one.
fn next_minute(s: &Situation, m: &Contact, offer: &mut Offer, random: &mut Stream) {
    let Some(left) = s.next_permits.filter(|_| s.minute_ms <= NEXT_AHEAD_MS) else { return };
    let spare = left.saturating_sub(s.rpm.div_ceil(2));
    let wanted = if m.child {
        in_ms(m.rate, CHILD_NEXT_MS)
    } else {
        // For about as long as until the next report, so that not everybody comes back at once.
        let (least, most) = if offer.calm { (700, 1_700) } else { (1_500, 3_500) };
        let ahead_ms = if offer.calm { s.report_ms(offer) } else { s.busy_ms().min(2_000) };
        in_ms(m.rate, mul_div(ahead_ms, random.between(least, most), 1_000))
    };
    let each = spare.div_euclid(if offer.ample { 4 } else { s.everyone.holders.max(1) });
    offer.next = wanted.saturating_sub(m.held.next).min(each);
}
