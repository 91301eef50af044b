//! Units of requests that are counted only once their upstream has answered: spent, and not served yet.
//!
//! Whoever holds them says what became of them. Until then they are out with this holder like those
//! of any lease, so an isolate that dies forfeits them, and they can never be spent twice.

use super::waiting::Kept;
use super::{Holder, WaiterId};
use crate::cell::CellKey;
use crate::decision::Ask;
use crate::ids::AgentId;
use crate::kind::Kind;
use crate::lease::book::Served;
use crate::source::{Beyond, Paid, Source};
use crate::time::{Minute, Period, Timestamp};

/// What one allowed request holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldUnits {
    key: CellKey,
    units: u64,
    /// What of them is beyond the plan's.
    beyond: Beyond,
    /// Whether the agent's own limit holds them too.
    capped: bool,
    /// Whose permits were spent with them.
    minute: Minute,
}

impl HeldUnits {
    pub(super) fn new(ask: &Ask, minute: Minute, beyond: Beyond, capped: bool) -> Self {
        let key = CellKey { day: minute.start().day(), kind: ask.kind, agent: ask.agent.clone() };
        Self { key, units: u64::from(ask.cost), beyond, capped, minute }
    }

    /// Whether all of them were served.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.units == 0
    }

    /// What pays for them.
    pub(super) fn paid(&self) -> Paid {
        self.beyond.of(self.units)
    }

    /// What it would be counted as.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.key.kind
    }

    /// How much is held.
    pub(super) fn units(&self) -> u64 {
        self.units
    }

    /// Of which period.
    pub(super) fn period(&self) -> Period {
        self.key.day.period()
    }

    /// For whom it would be counted.
    #[must_use]
    pub fn agent(&self) -> &AgentId {
        &self.key.agent
    }
}

impl Holder {
    /// What a request that has just been allowed holds; `waiter` is its name if it waited.
    #[must_use]
    pub fn take_held(&mut self, waiter: Option<WaiterId>) -> Option<HeldUnits> {
        match waiter {
            Some(id) => match self.waiting.kept.remove(&id) {
                Some(Kept::UntilAnswered(units)) => Some(units),
                Some(Kept::UntilFetched(_) | Kept::FromReserve(_)) | None => None,
            },
            None => self.held.take(),
        }
    }

    /// What pays for the request that was just allowed here, where the home tells it.
    #[must_use]
    pub fn take_paid(&mut self) -> Option<Paid> {
        self.paid.take().filter(|_| self.terms.as_ref().is_some_and(|terms| terms.tells_sources))
    }

    /// What will pay for the next request of that cost.
    #[must_use]
    pub fn next_source(&self, cost: u32) -> Option<Source> {
        let tells = self.terms.as_ref().is_some_and(|terms| terms.tells_sources);
        tells.then(|| self.stock.next_paid(cost.into())).filter(|paid| !paid.is_mixed())?.source()
    }

    /// What the home has issued to this holder for a request that it decided itself, in that minute.
    #[must_use]
    pub fn held_at_home(&self, ask: &Ask, minute: Minute, paid: Option<Paid>) -> HeldUnits {
        let capped = self.terms.as_ref().is_some_and(|terms| terms.capped.binary_search(&ask.agent).is_ok());
        HeldUnits::new(ask, minute, paid.map_or(Beyond::NONE, Beyond::from), capped)
    }

    /// The upstream has answered: the request is served, and counted.
    pub fn served(&mut self, now: Timestamp, held: HeldUnits) {
        let HeldUnits { key: CellKey { day, kind, agent }, units, .. } = held;
        self.book.count(now, &agent, Served { day, kind, units });
    }

    /// Some of them were served, the cheapest first; says how many, which is never more than there are.
    pub fn served_some(&mut self, now: Timestamp, held: &mut HeldUnits, units: u64) -> u64 {
        let served = units.min(held.units);
        if served > 0 {
            held.beyond.take(held.units, served);
            held.units = held.units.saturating_sub(served);
            let CellKey { day, kind, agent } = &held.key;
            self.book.count(now, agent, Served { day: *day, kind: *kind, units: served });
        }
        served
    }

    /// Nothing was ever asked of these: they can be spent again, and within their minute their permits too.
    pub fn give_back_unasked(&mut self, held: HeldUnits) {
        self.uplink.returns.add_permits(held.minute, held.units);
        self.give_back(held);
    }

    /// It was not answered: its units can be spent again. Its permit cannot, the request was made.
    pub fn give_back(&mut self, held: HeldUnits) {
        let HeldUnits { key: CellKey { day, agent, .. }, units, beyond, capped, .. } = held;
        let period = day.period();
        self.uplink.returns.add_units(period, units, beyond);
        if capped {
            self.uplink.returns.add_agent(period, &agent, units);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::{Home, HomeName};
    use crate::ids::{Incarnation, KeyId};
    use crate::lease::Answer;
    use crate::lease::message::HolderId;
    use crate::policy::tests::community;
    use crate::policy::{LeaseRules, Policy};
    use crate::units::Units;

    const NOW: Timestamp = Timestamp::from_ms(1_795_435_200_000);

    fn ask() -> Ask {
        let (key, agent) = (KeyId::parse("k001").unwrap(), AgentId::parse("bot").unwrap());
        Ask { key, kind: Kind::Verify, agent, cost: 1, dry_run: false, held: true }
    }

    fn home(strict: bool) -> Home {
        let name = HomeName::parse("demo/live").unwrap();
        let mut home = Home::new(name, Incarnation::parse("0123456789").unwrap());
        home.install(Policy { leases: LeaseRules { strict, ..LeaseRules::default() }, ..community("demo") });
        home
    }

    fn exchange(holder: &mut Holder, home: &mut Home, at: Timestamp) {
        for contact in holder.contacts(at) {
            let reply = home.contact(at, 7, &contact).unwrap().unwrap();
            holder.receive(at, reply);
        }
    }

    /// A holder that the home allowed one request, and what that holds.
    fn allowed(home: &mut Home, strict: bool) -> (Holder, HeldUnits) {
        allowed_for(home, strict, &ask())
    }

    fn allowed_for(home: &mut Home, strict: bool, ask: &Ask) -> (Holder, HeldUnits) {
        let mut holder = Holder::new(HolderId::from_bits(7), 7);
        let Answer::Wait(id) = holder.decide(NOW, ask) else { panic!("it does not wait") };
        exchange(&mut holder, home, NOW);
        let answer = holder.outcome(NOW, id);
        if strict {
            assert_eq!(answer, Answer::AtHome);
            let verdict = home.decide_for(NOW, ask, Some(holder.id())).unwrap();
            assert_eq!(verdict.denial, None);
            let held = holder.held_at_home(ask, verdict.numbers.now.minute(), verdict.paid);
            (holder, held)
        } else {
            assert_eq!(answer, Answer::Allow);
            let held = holder.take_held(Some(id)).unwrap();
            (holder, held)
        }
    }

    #[test]
    fn held_units_are_billed_once_answered_and_come_back_if_not() {
        for strict in [false, true] {
            for answered in [false, true] {
                let mut home = home(strict);
                let (mut holder, held) = allowed(&mut home, strict);
                let before = home.outstanding(NOW.period());
                assert_eq!(before.settled, Units::ZERO, "nothing is billed yet");
                assert!(before.net >= Units::new(1), "but it is issued");
                if answered {
                    holder.served(NOW, held)
                } else {
                    holder.give_back(held)
                }
                for second in 1..20 {
                    exchange(&mut holder, &mut home, NOW.plus_ms(second * 1_000));
                }
                let after = home.outstanding(NOW.period());
                let billed = Units::new(u64::from(answered));
                assert_eq!((after.settled, after.net), (billed, billed), "strict {strict}, {answered}");
            }
        }
    }

    #[test]
    fn some_of_them_are_billed_and_what_nobody_asked_for_comes_back_with_its_permits() {
        for strict in [false, true] {
            for (served, unasked) in [(0, true), (3, true), (7, true), (9, true), (3, false)] {
                let mut home = home(strict);
                let ask = Ask { cost: 7, ..ask() };
                let (mut holder, mut held) = allowed_for(&mut home, strict, &ask);
                let told = holder.served_some(NOW, &mut held, served);
                assert_eq!(told, served.min(7), "never more than there are");
                assert_eq!(held.is_empty(), told == 7);
                if unasked {
                    holder.give_back_unasked(held);
                } else {
                    holder.give_back(held);
                }
                // Within the minute, so that permits are still of use.
                for second in 1..20 {
                    exchange(&mut holder, &mut home, NOW.plus_ms(second * 1_000));
                }
                let after = home.outstanding(NOW.period());
                assert_eq!(
                    (after.settled, after.net),
                    (Units::new(told), Units::new(told)),
                    "strict {strict}"
                );
                let dry = Ask { dry_run: true, held: false, ..ask };
                let verdict = home.decide_for(NOW.plus_ms(20_000), &dry, Some(holder.id())).unwrap();
                let spent = u64::from(verdict.numbers.rpm - verdict.numbers.rpm_remaining);
                assert_eq!(spent, if unasked { told } else { 7 }, "strict {strict}, served {served}");
            }
        }
    }
}
