//! Who has what, by the messages that were seen: what was issued, given back, served and lost.
//!
//! It reads what messages say and knows no rule of leases. Where it cannot tell, it takes units for lost, so that what
//! it calls left is left.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use shared::ids::AgentId;
use shared::lease::message::{Body, Contact, HolderId, Lease, Reply};
use shared::time::{Minute, Period, Timestamp};

/// Who issues: the home, or one life of a sub-home.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Issuer {
    /// The home.
    Home,
    /// That sub-home in that life of its storage.
    Sub(usize, u64),
}

/// What one holder had and has of a month.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    issued: u64,
    back: u64,
    served: u64,
    /// What it had when the home's storage was rolled back: what was held back then covers it. It counts as what goes
    /// first, so that what is out now is not made less than it is.
    before: u64,
}

impl Part {
    fn out(self) -> u64 {
        self.issued.saturating_sub(self.back).saturating_sub(self.served)
    }

    /// What of so many units it did not have before.
    fn beyond_before(&mut self, units: u64) -> u64 {
        let of_before = units.min(self.before);
        self.before -= of_before;
        units - of_before
    }

    fn come_back(&mut self, units: u64) {
        self.back += self.beyond_before(units);
    }

    fn serve(&mut self, units: u64) {
        self.served += self.beyond_before(units);
    }

    /// What was issued until now is covered.
    fn cover(&mut self) {
        *self = Self { before: self.before + self.out(), ..Self::default() };
    }
}

/// One holder.
#[derive(Debug, Clone)]
struct Hand {
    issuer: Issuer,
    parts: BTreeMap<Period, Part>,
    /// The last contact of each lane that was taken, and the last that was answered.
    taken: BTreeMap<u8, u64>,
    answered: BTreeMap<u8, u64>,
    /// Nobody spends it any more: what is out with it is among what is lost.
    gone: bool,
    /// When its issuer heard it last.
    heard: Option<Timestamp>,
    /// When it was heard again after a long silence, and what it had by then.
    found: Option<(Timestamp, BTreeMap<Period, u64>)>,
}

/// A holder that its issuer has not heard for longer may be dead, for all that anybody can know, in milliseconds.
const SILENT_MS: u64 = 10_000;

impl Hand {
    fn part(&self, period: Period) -> Part {
        self.parts.get(&period).copied().unwrap_or_default()
    }

    fn new(issuer: Issuer, gone: bool) -> Self {
        Self {
            issuer,
            parts: BTreeMap::new(),
            taken: BTreeMap::new(),
            answered: BTreeMap::new(),
            gone,
            heard: None,
            found: None,
        }
    }
}

/// For how long it is remembered what came back: longer than any refusal lasts, in milliseconds.
const BACK_MS_MAX: u64 = 20_000;

/// Something that came back lately.
type Back<T> = VecDeque<(Timestamp, T, u64)>;

/// All holders.
#[derive(Debug, Clone, Default)]
pub struct Hands {
    hands: BTreeMap<HolderId, Hand>,
    /// What holders had from sub-homes whose storage was lost, and that are answered by a later life of it now.
    earlier: Vec<Hand>,
    lost: BTreeMap<Period, u64>,
    /// Permits of a minute and units of agents that the home has issued, less what came back to it.
    permits: BTreeMap<Minute, u64>,
    agent_units: BTreeMap<(Period, AgentId), u64>,
    /// When the home was last heard.
    heard: Timestamp,
    /// Units in the last reply to each lane, until it has come.
    under_way: BTreeMap<(HolderId, u8), (u64, u64)>,
    /// When each agent was admitted.
    admitted: BTreeMap<(Period, AgentId), Timestamp>,
    units_back: Back<Period>,
    permits_back: Back<Minute>,
    agents_back: Back<(Period, AgentId)>,
    /// Sub-homes whose storage was lost, and whose isolates' units are lost with it.
    lost_subs: BTreeSet<Issuer>,
    /// What of the lost units the home holds back for earlier lives of its storage.
    held_back: BTreeMap<Period, u64>,
    /// What of that holders have let go, and this life of the home's storage issues again.
    issued_again: BTreeMap<Period, u64>,
    /// Batches whose news of that was heard.
    let_go: BTreeSet<(HolderId, u64)>,
}

impl Hands {
    /// An issuer has stored and sent this reply, for the first time or again.
    pub fn issued(&mut self, at: Timestamp, issuer: Issuer, reply: &Reply) {
        let Body::Lease(lease) = &reply.body else { return };
        let (orphaned, home) = (self.lost_subs.contains(&issuer), issuer == Issuer::Home);
        let hand = self.hand_of(reply.holder, issuer);
        let last = hand.answered.entry(reply.lane).or_insert(0);
        if *last >= reply.nonce {
            return;
        }
        *last = reply.nonce;
        hand.parts.entry(lease.period).or_default().issued += lease.units;
        let gone = hand.gone;
        if gone && !orphaned {
            *self.lost.entry(lease.period).or_insert(0) += lease.units;
        }
        if gone {
            self.under_way.remove(&(reply.holder, reply.lane));
        } else {
            self.under_way.insert((reply.holder, reply.lane), (reply.nonce, lease.units));
        }
        if home {
            self.issued_at_home(at, lease);
        }
    }

    /// That reply has come.
    pub fn delivered(&mut self, reply: &Reply) {
        let lane = (reply.holder, reply.lane);
        if self.under_way.get(&lane).is_some_and(|(nonce, _)| *nonce == reply.nonce) {
            self.under_way.remove(&lane);
        }
    }

    /// Units on their way to that holder: others wait there for them.
    #[must_use]
    pub fn under_way_to(&self, holder: HolderId) -> u64 {
        self.under_way.range((holder, 0)..=(holder, u8::MAX)).map(|(_, (_, units))| units).sum()
    }

    /// Units on their way to all.
    #[must_use]
    pub fn under_way(&self) -> u64 {
        self.under_way.values().map(|(_, units)| units).sum()
    }

    fn issued_at_home(&mut self, at: Timestamp, lease: &Lease) {
        *self.permits.entry(lease.minute).or_insert(0) += lease.permits;
        if let Some(next) = lease.next {
            *self.permits.entry(next.minute).or_insert(0) += next.count;
        }
        for grant in &lease.agents {
            let of = (lease.period, grant.agent.clone());
            *self.agent_units.entry(of.clone()).or_insert(0) += grant.units;
            self.admitted.entry(of).or_insert(at);
        }
    }

    /// An issuer has taken and stored this contact, for the first time or again.
    pub fn taken(&mut self, at: Timestamp, issuer: Issuer, contact: &Contact) {
        let hand = self.hand_of(contact.holder, issuer);
        if hand.heard.is_some_and(|last| at.ms_since(last) > SILENT_MS) {
            let had = hand.parts.iter().map(|(period, part)| (*period, part.out()));
            hand.found = Some((at, had.collect()));
        }
        hand.heard = Some(at);
        let last = hand.taken.entry(contact.lane).or_insert(0);
        if *last >= contact.nonce {
            return;
        }
        *last = contact.nonce;
        for (period, units) in &contact.returns.units {
            hand.parts.entry(*period).or_default().come_back(*units);
        }
        if issuer != Issuer::Home {
            return;
        }
        self.heard = at;
        self.let_go(contact);
        for (period, units) in &contact.returns.units {
            remember(&mut self.units_back, at, *period, *units);
        }
        for (minute, permits) in &contact.returns.permits {
            let net = self.permits.entry(*minute).or_insert(0);
            *net = net.saturating_sub(*permits);
            remember(&mut self.permits_back, at, *minute, *permits);
        }
        for back in &contact.returns.agents {
            let of = (back.period, back.agent.clone());
            let net = self.agent_units.entry(of.clone()).or_insert(0);
            *net = net.saturating_sub(back.units);
            remember(&mut self.agents_back, at, of, back.units);
        }
    }

    /// The home itself has decided for a request.
    pub fn decided_at_home(&mut self, at: Timestamp, agent: &AgentId, units: u64) {
        *self.permits.entry(at.minute()).or_insert(0) += units;
        let of = (at.period(), agent.clone());
        *self.agent_units.entry(of.clone()).or_insert(0) += units;
        self.admitted.entry(of).or_insert(at);
    }

    /// A holder has served that much on a lease.
    pub fn served(&mut self, holder: HolderId, period: Period, units: u64) {
        if let Some(hand) = self.hands.get_mut(&holder) {
            hand.parts.entry(period).or_default().serve(units);
        }
    }

    /// The home is told what holders have let go of earlier lives: of what it holds back for those, so much is there again.
    fn let_go(&mut self, contact: &Contact) {
        let batch = &contact.batch;
        if !self.let_go.insert((contact.holder, batch.seq)) {
            return;
        }
        for (period, units) in &batch.let_go {
            let held_back = self.held_back.entry(*period).or_insert(0);
            let known = (*units).min(*held_back);
            *held_back -= known;
            let lost = self.lost.entry(*period).or_insert(0);
            *lost = lost.saturating_sub(known);
            *self.issued_again.entry(*period).or_insert(0) += known;
        }
    }

    /// A holder's memory is gone, or what it holds is void.
    pub fn died(&mut self, holder: HolderId, issuer: Issuer) {
        let hand = self.hand(holder, issuer);
        if hand.gone {
            return;
        }
        hand.gone = true;
        self.under_way.retain(|(to, _), _| *to != holder);
        let hand = self.hand(holder, issuer);
        let (issuer, parts) = (hand.issuer, hand.parts.clone());
        if !self.lost_subs.contains(&issuer) {
            for (period, part) in parts {
                *self.lost.entry(period).or_insert(0) += part.out();
            }
        }
    }

    /// A sub-home's storage is gone: its stock, and what its isolates have. `holder` is what the home knew it by.
    pub fn lost_sub(&mut self, holder: HolderId, issuer: Issuer) {
        self.lost_subs.insert(issuer);
        let below: Vec<Hand> = self.hands.values().filter(|hand| hand.issuer == issuer).cloned().collect();
        let Some(hand) = self.hands.get_mut(&holder).filter(|hand| !hand.gone) else { return };
        hand.gone = true;
        for (period, part) in hand.parts.clone() {
            let known = below.iter().filter_map(|hand| {
                let part = hand.parts.get(&period)?;
                Some(if hand.gone { part.served + part.out() } else { part.served })
            });
            *self.lost.entry(period).or_insert(0) += part.out().saturating_sub(known.sum());
        }
    }

    /// The home's storage was rolled back: it holds a window against the allowance for what it has forgotten.
    ///
    /// What was let go of earlier lives is forgotten as well: the next one holds a window for each of them.
    pub fn rolled_back(&mut self, periods: &[Period], window: u64) {
        for period in periods {
            let held = window + self.issued_again.remove(period).unwrap_or(0);
            *self.lost.entry(*period).or_insert(0) += held;
            *self.held_back.entry(*period).or_insert(0) += held;
        }
        for hand in self.hands.values_mut().chain(&mut self.earlier) {
            hand.parts.values_mut().for_each(Part::cover);
            // The sub-homes' isolates go on under the ids they have.
            hand.gone |= hand.issuer == Issuer::Home;
        }
    }

    fn hand(&mut self, holder: HolderId, issuer: Issuer) -> &mut Hand {
        self.hands.entry(holder).or_insert_with(|| Hand::new(issuer, false))
    }

    /// What a holder has of that issuer. A later life of a sub-home's storage knows nothing of what the one before has
    /// issued, and may answer a copy of a first contact whose holder is gone by now.
    fn hand_of(&mut self, holder: HolderId, issuer: Issuer) -> &mut Hand {
        if let Some(known) = self.hands.get_mut(&holder).filter(|known| known.issuer != issuer) {
            let gone = known.gone;
            self.earlier.push(std::mem::replace(known, Hand::new(issuer, gone)));
        }
        self.hand(holder, issuer)
    }

    /// Units of a month that nobody can serve any more.
    #[must_use]
    pub fn lost(&self, period: Period) -> u64 {
        self.lost.get(&period).copied().unwrap_or(0)
    }

    /// Units of the months before that the home has issued and nobody has served: what it does not know to be back it
    /// takes from the lots of the next month. What came back within the last `lag_ms` need not be known everywhere.
    #[must_use]
    pub fn unserved_before(&self, period: Period, lag_ms: u64) -> u64 {
        let lately = self.units_back.iter().rev();
        let lately = lately.take_while(|(when, ..)| self.heard.ms_since(*when) <= lag_ms);
        let back: u64 = lately.filter(|(_, of, _)| *of < period).map(|(_, _, units)| units).sum();
        let all = |of: &dyn Fn(&Hand, Part) -> u64| -> u64 {
            let hands = self.hands.values().chain(&self.earlier);
            hands.flat_map(|hand| hand.parts.range(..period).map(|(_, part)| of(hand, *part))).sum()
        };
        let issued = all(&|hand, part| {
            if hand.issuer == Issuer::Home { part.issued.saturating_sub(part.back) } else { 0 }
        });
        // What may have been served of them by lives of the home that nobody remembers is held back here, too.
        let held_back: u64 = self.held_back.range(..period).map(|(_, units)| units).sum();
        issued.saturating_sub(all(&|_, part| part.served)) + back + held_back
    }

    /// Units out with a holder and, where it is a sub-home, with its isolates.
    #[must_use]
    pub fn out(&self, holder: HolderId, period: Period, below: Option<Issuer>) -> u64 {
        let own = self.hands.get(&holder).filter(|hand| !hand.gone).map_or(0, |hand| hand.part(period).out());
        own.saturating_sub(self.known(period, below))
    }

    /// Units that isolates of that issuer have served or taken with them.
    fn known(&self, period: Period, below: Option<Issuer>) -> u64 {
        let Some(below) = below else { return 0 };
        let isolates = self.hands.values().filter(|hand| hand.issuer == below);
        let known = isolates.map(|hand| {
            let part = hand.part(period);
            part.served + if hand.gone { part.out() } else { 0 }
        });
        known.sum()
    }

    /// Units with a holder that its issuer has not heard for long. For as long as a refusal lasts, also what it had when
    /// it was heard again. `below` is whom its own isolates have theirs from, where it is a sub-home.
    #[must_use]
    pub fn unheard(&self, at: Timestamp, lag_ms: u64, of: (HolderId, Period), below: Option<Issuer>) -> u64 {
        let (holder, period) = of;
        let counts = |hand: &&Hand| !hand.gone && !self.lost_subs.contains(&hand.issuer);
        let Some(hand) = self.hands.get(&holder).filter(counts) else { return 0 };
        let silent = hand.heard.is_some_and(|heard| at.ms_since(heard) > SILENT_MS);
        let now = if silent { hand.part(period).out() } else { 0 };
        let lately = hand.found.as_ref().filter(|(when, _)| at.ms_since(*when) <= lag_ms);
        let had = lately.and_then(|(_, had)| had.get(&period)).copied().unwrap_or(0);
        now.max(had).saturating_sub(self.known(period, below))
    }

    /// The holders that are not gone.
    pub fn live(&self) -> impl Iterator<Item = HolderId> {
        self.hands.iter().filter(|(_, hand)| !hand.gone).map(|(holder, _)| *holder)
    }

    /// Permits of a minute that the home has issued and that did not come back, except within the last `lag_ms`.
    #[must_use]
    pub fn permits_out(&self, at: Timestamp, lag_ms: u64) -> u64 {
        let minute = at.minute();
        let lately = self.permits_back.iter().rev().take_while(|(when, ..)| at.ms_since(*when) <= lag_ms);
        let back: u64 = lately.filter(|(_, of, _)| *of == minute).map(|(_, _, permits)| permits).sum();
        self.permits.get(&minute).copied().unwrap_or(0) + back
    }

    /// The same for units of an agent with a limit.
    #[must_use]
    pub fn agent_out(&self, at: Timestamp, agent: &AgentId, lag_ms: u64) -> u64 {
        let lately = self.agents_back.iter().rev().take_while(|(when, ..)| at.ms_since(*when) <= lag_ms);
        let of = (at.period(), agent.clone());
        let back: u64 = lately.filter(|(_, known, _)| *known == of).map(|(_, _, units)| units).sum();
        self.agent_units.get(&of).copied().unwrap_or(0) + back
    }

    /// Agents that the home has admitted in a month.
    pub fn admitted(&self, period: Period) -> impl Iterator<Item = (&AgentId, Timestamp)> {
        let named = self.admitted.iter().filter(move |((of, agent), _)| *of == period && agent.is_named());
        named.map(|((_, agent), at)| (agent, *at))
    }
}

/// Notes what came back, and forgets what did long ago.
fn remember<T>(backs: &mut Back<T>, at: Timestamp, of: T, amount: u64) {
    backs.push_back((at, of, amount));
    while backs.front().is_some_and(|(when, ..)| at.ms_since(*when) > BACK_MS_MAX) {
        backs.pop_front();
    }
}
