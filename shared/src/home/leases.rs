//! Who has what of a home's units: a view for operators. It decides nothing and changes nothing.
//!
//! Whoever was not heard for [`SEEN_MS`] counts as dead, as in what clients are told: it is heard again, or what it has
//! stays out of the allowance until the month is final.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::crowd::{Crowd, SEEN_MS};
use super::desk::Desk;
use super::{Account, Home};
use crate::lease::message::HolderId;
use crate::time::{Period, Timestamp};
use crate::units::Units;

/// Holders that are told one by one, those that have most first.
pub const HELD_MAX: usize = 200;

/// A holder, and what it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Held {
    /// Its random id, which lasts as long as its memory.
    pub holder: String,
    /// Units issued to it, neither reported nor given back.
    pub out: Units,
    /// Those of them that were decided for requests whose answers are on their way.
    pub answering: Units,
    /// For how long it was not heard, in milliseconds; `null` where nothing tells it.
    pub silent_ms: Option<u64>,
    /// Whether it was heard within ten seconds.
    pub live: bool,
}

/// All holders of one issuer, the largest one by one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Holders {
    /// The first 200 of those that live or have units, those with most units first.
    pub told: Vec<Held>,
    /// How many more of these there are.
    pub more: u64,
    /// What they have together.
    pub more_out: Units,
    /// How many others are remembered, which have nothing and were not heard lately.
    pub gone: u64,
}

/// Where the units of a home's month are. What was issued and not given back is settled, out, or void.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HomeLeases {
    /// By the home's clock.
    pub at: Timestamp,
    /// The month.
    pub period: Period,
    /// The version of its policy; `None` where it has none yet.
    pub policy_version: Option<u64>,
    /// All that may be spent; `None` where it has no policy, or overage is open without a cap.
    pub limit: Option<Units>,
    /// Issued so far, with what came back since.
    pub issued: Units,
    /// What came back unused.
    pub returned: Units,
    /// Reported as served.
    pub settled: Units,
    /// Decided by the home itself, with answers on their way.
    pub answering: Units,
    /// With holders, living and dead, without what is answering.
    pub out: Units,
    /// What of it nobody spends: with dead holders, and with the dead isolates of living sub-homes.
    pub stranded: Units,
    /// Held against the limit for earlier lives of the storage.
    pub void: Units,
    /// The most that may be issued beyond what the aggregator has; `None` where storage is never lost.
    pub escrow: Option<Units>,
    /// Issued beyond what the aggregator has.
    pub unacked: Units,
    /// Who has what.
    pub holders: Holders,
}

impl HomeLeases {
    /// What is served or may be, beyond what may be spent; `None` where nothing limits it.
    #[must_use]
    pub fn overshoot(&self) -> Option<Units> {
        let spent =
            [self.answering, self.out, self.void].into_iter().fold(self.settled, Units::saturating_add);
        self.limit.map(|limit| spent.saturating_sub(limit))
    }

    /// What nobody has been given yet; `None` where nothing limits it.
    #[must_use]
    pub fn left(&self) -> Option<Units> {
        let net = self.issued.saturating_sub(self.returned);
        self.limit.map(|limit| limit.saturating_sub(net))
    }
}

/// Where the units of a sub-home are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubHomeLeases {
    /// What the home knows it by.
    pub holder: String,
    /// By its clock.
    pub at: Timestamp,
    /// The month of its stock; `None` where it has none.
    pub period: Option<Period>,
    /// In hand, for isolates.
    pub stock: Units,
    /// Reported by isolates, and on the way to the home.
    pub reporting: Units,
    /// With its isolates, living and dead.
    pub out: Units,
    /// What of it dead ones have.
    pub stranded: Units,
    /// Which isolate has what.
    pub holders: Holders,
}

/// What an edge answers about one home: its own books, and those of each sub-home by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HomeTold {
    /// `None` where nothing was ever asked of it.
    pub home: Option<HomeLeases>,
    /// Without those that did not answer.
    pub sub_homes: BTreeMap<String, SubHomeLeases>,
    /// How many did not.
    pub silent: u32,
}

/// The holders of an issuer at `now`; `answering` says what each waits to have confirmed.
pub(crate) fn holders(
    (desk, crowd): (&Desk, &Crowd),
    (now, period): (Timestamp, Period),
    answering: impl Fn(HolderId) -> u64,
) -> Holders {
    let told = desk.heard(now, u64::MAX);
    let mut all: Vec<Held> = desk
        .holders
        .keys()
        .map(|id| {
            let heard = told.get(id).copied().max(crowd.heard_at(*id));
            let silent_ms = heard.map(|at| now.ms_since(at));
            let out = desk.out(*id, period);
            Held {
                holder: id.to_string(),
                out: Units::new(out),
                answering: Units::new(answering(*id).min(out)),
                silent_ms,
                live: silent_ms.is_some_and(|silent| silent <= SEEN_MS),
            }
        })
        .collect();
    let known = all.len();
    all.retain(|held| held.live || held.out > Units::ZERO);
    let gone = known.saturating_sub(all.len());
    all.sort_by(|a, b| (b.out, &a.holder).cmp(&(a.out, &b.holder)));
    let rest = all.split_off(all.len().min(HELD_MAX));
    Holders {
        told: all,
        more: u64::try_from(rest.len()).unwrap_or(u64::MAX),
        more_out: rest.iter().map(|held| held.out).fold(Units::ZERO, Units::saturating_add),
        gone: u64::try_from(gone).unwrap_or(u64::MAX),
    }
}

impl Home {
    /// Where the units of the month are at `now`.
    #[must_use]
    pub fn leases(&self, now: Timestamp) -> HomeLeases {
        let now = self.meta.clock.max(now);
        let period = now.period();
        let fresh = Account::default();
        let account = self.accounts.get(&period).unwrap_or(&fresh);
        let answering = self.calls.units_of(period);
        let out = account.out().saturating_sub(answering);
        let policy = self.policy.as_ref();
        HomeLeases {
            at: now,
            period,
            policy_version: self.policy_version(),
            limit: policy.and_then(|policy| self.allowance(policy, period)),
            issued: account.issued,
            returned: account.returned,
            settled: account.settled,
            answering,
            out,
            stranded: out.saturating_sub(Units::new(self.live_at(now))),
            void: account.void,
            escrow: policy.and_then(|policy| policy.leases.escrow),
            unacked: self.unacked(period),
            holders: holders((&self.desk, &self.crowd), (now, period), |id| self.calls.units(id)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::lease_tests::{batch, contact, home, leased, noon};
    use crate::lease::message::{Contact, Returns};

    fn units(n: u64) -> Units {
        Units::new(n)
    }

    #[test]
    fn every_unit_that_was_issued_is_somewhere_once() {
        let mut home = home(|policy| policy.allowance.included = units(100));
        let (one, other) = (contact(1, 1, 30), contact(2, 1, 20));
        leased(home.contact(noon(), 1, &one).unwrap());
        leased(home.contact(noon(), 1, &other).unwrap());
        let mut returns = Returns::default();
        returns.add_units(noon().period(), 4, crate::source::Beyond::default());
        let report = Contact { batch: batch(1, 10), returns, ..contact(1, 2, 0) };
        leased(home.contact(noon().plus_ms(1_000), 1, &report).unwrap());
        let told = home.leases(noon().plus_ms(9_000));
        assert_eq!((told.limit, told.issued, told.returned), (Some(units(100)), units(50), units(4)));
        assert_eq!((told.settled, told.out, told.stranded), (units(10), units(36), units(0)));
        assert_eq!((told.left(), told.overshoot()), (Some(units(54)), Some(units(0))));
        let shown: Vec<_> =
            told.holders.told.iter().map(|held| (held.out.get(), held.silent_ms, held.live)).collect();
        assert_eq!(shown, [(20, Some(9_000), true), (16, Some(8_000), true)]);
        // The second is not heard for longer than a living one.
        let later = home.leases(noon().plus_ms(10_500));
        assert_eq!((later.out, later.stranded), (units(36), units(20)));
        assert_eq!(later.holders.told.iter().filter(|held| held.live).count(), 1);
        // What it knows of them is in its rows: another process that reads them tells the same.
        let rows = home.take_writes().into_iter().filter_map(|row| Some((row.key, row.value?)));
        let read = Home::load(rows, noon().plus_ms(10_500)).unwrap().unwrap();
        assert_eq!(read.leases(noon().plus_ms(10_500)), later);
    }

    #[test]
    fn a_limit_that_is_cut_below_what_is_out_shows_by_how_much() {
        let mut home = home(|policy| policy.allowance.included = units(100));
        leased(home.contact(noon(), 1, &contact(1, 1, 60)).unwrap());
        assert_eq!(home.leases(noon()).overshoot(), Some(units(0)));
        let mut cut = crate::policy::tests::community("demo");
        (cut.version, cut.allowance.included) = (9, units(45));
        home.install(cut);
        let told = home.leases(noon());
        assert_eq!((told.overshoot(), told.left()), (Some(units(15)), Some(units(0))));
    }

    #[test]
    fn a_sub_home_tells_its_stock_and_its_isolates_apart() {
        use crate::sub_home::SubHome;
        let mut home = home(|policy| policy.allowance.included = units(100_000));
        let life = crate::ids::Incarnation::parse("inc00002").unwrap();
        let mut sub = SubHome::new(HolderId::from_bits(7), life);
        let isolate = Contact { renew: true, rate: 5_000, ..contact(1, 1, 5) };
        assert!(sub.contact(noon(), 1, &isolate).is_none(), "it has nothing yet");
        for m in sub.contacts(noon()) {
            let reply = home.contact(noon(), 1, &m).unwrap().unwrap();
            assert_eq!(sub.receive(noon(), 1, reply).len(), 1);
        }
        let (above, told) = (home.leases(noon()), sub.leases(noon().plus_ms(11_000)));
        assert_eq!(above.holders.told.len(), 1);
        assert_eq!(above.holders.told[0].holder, told.holder);
        assert_eq!(above.out, told.stock.saturating_add(told.out));
        assert!(told.out >= units(5) && told.stock > units(0), "{told:?}");
        // Its isolate was not heard since.
        assert_eq!((told.stranded, told.holders.told[0].live), (told.out, false));
        assert_eq!(sub.leases(noon()).stranded, units(0));
    }
}
