//! The ledger of one project: its entries, and what follows from them.
//!
//! A ledger is only ever extended, by [`Ledger::append`], which refuses entries that would break it.
//! Test mode has no ledger: its units are never billed (design §4), so nothing is owed or spent.

use std::collections::BTreeMap;

use shared::time::{Period, Timestamp};
use shared::units::Units;

use super::entry::{Account, Dispute, Entry, EntryNumber, Fact, LotId, Posting, Usage};
use super::money::{Currency, Money};
use super::refusal::Refusal;
use super::timeline::Timeline;

/// A lot, as far as it is not a balance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lot {
    /// When it was paid or given; it covers that period and all later ones.
    pub since: Timestamp,
    /// How many units it was bought or given for.
    pub units: Units,
    /// What was paid; `None` for a credit.
    pub paid: Option<Money>,
    /// The paid order; `None` for a credit.
    pub order: Option<String>,
    /// All live refunds together.
    pub refunded: Option<Money>,
    /// How its dispute stands.
    pub dispute: Dispute,
}

/// A period that was closed, as far as it is not a balance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// What has been taken in of its cells, at the close and by adjustments.
    pub counted: Usage,
    /// The contracted minimum that it was closed with; zero where there is none.
    pub floor: Units,
    /// How many adjustments it has.
    pub adjustments: u32,
}

/// The entries of one project and everything that is derived from them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    entries: Vec<Entry>,
    timeline: Timeline,
    opened: Timestamp,
    balances: BTreeMap<Account, i128>,
    lots: BTreeMap<LotId, Lot>,
    closed: BTreeMap<Period, Closed>,
    covers: BTreeMap<(LotId, LotId), Units>,
}

impl Ledger {
    /// Opens a ledger.
    ///
    /// # Errors
    /// Never for a well-formed first posting.
    pub fn open(at: Timestamp, terms: super::terms::PlanTerms) -> Result<Self, Refusal> {
        let fact = Fact::Opened(terms);
        Self::replay(vec![Entry { number: EntryNumber(1), at, fact, movements: vec![] }])
    }

    /// Derives everything from stored entries.
    ///
    /// # Errors
    /// When they are not the entries of one ledger, in order and without a gap.
    pub fn replay(entries: Vec<Entry>) -> Result<Self, Refusal> {
        let mut entries = entries.into_iter();
        let Some(Entry { number, at, fact: Fact::Opened(terms), movements }) = entries.next() else {
            return Err(Refusal::NotOpened);
        };
        if number != EntryNumber(1) || !movements.is_empty() {
            return Err(Refusal::NotOpened);
        }
        let opening = Entry { number, at, fact: Fact::Opened(terms.clone()), movements };
        let ledger = Self {
            entries: vec![opening],
            timeline: Timeline::new(at, terms),
            opened: at,
            balances: BTreeMap::new(),
            lots: BTreeMap::new(),
            closed: BTreeMap::new(),
            covers: BTreeMap::new(),
        };
        entries.try_fold(ledger, Self::extend)
    }

    /// Writes postings behind the last entry, in one step: all or none.
    ///
    /// An instant before the last entry's is held at it, so that a clock that was set back never
    /// refuses a payment and never reorders the ledger.
    ///
    /// # Errors
    /// When an entry would draw an account below zero.
    pub fn append(self, at: Timestamp, postings: Vec<Posting>) -> Result<Self, Refusal> {
        postings.into_iter().try_fold(self, |ledger, Posting { fact, movements }| {
            let (number, at) = (ledger.next_number(), at.max(ledger.last_at()));
            ledger.extend(Entry { number, at, fact, movements })
        })
    }

    /// All entries, the oldest first.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The number that the next entry gets.
    #[must_use]
    pub fn next_number(&self) -> EntryNumber {
        let last = self.entries.last().map_or(0, |entry| entry.number.0);
        EntryNumber(last.saturating_add(1))
    }

    /// Plans and settings over time.
    #[must_use]
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// What all amounts are in: the currency of the terms that the project was opened with.
    #[must_use]
    pub fn currency(&self) -> Currency {
        self.timeline.currency()
    }

    /// The balance of an account; sources run below zero.
    #[must_use]
    pub fn balance(&self, account: Account) -> i128 {
        self.balances.get(&account).copied().unwrap_or(0)
    }

    /// The units in an account, or drawn from it where it is a source.
    #[must_use]
    pub fn units(&self, account: Account) -> Units {
        Units::new(u64::try_from(self.balance(account).unsigned_abs()).unwrap_or(u64::MAX))
    }

    /// Every account that was ever moved, with its balance.
    #[must_use]
    pub fn balances(&self) -> &BTreeMap<Account, i128> {
        &self.balances
    }

    /// All lots, the oldest first.
    #[must_use]
    pub fn lots(&self) -> &BTreeMap<LotId, Lot> {
        &self.lots
    }

    /// The lot of that id.
    ///
    /// # Errors
    /// When there is none.
    pub fn lot(&self, id: LotId) -> Result<&Lot, Refusal> {
        self.lots.get(&id).ok_or(Refusal::NoSuchLot(id))
    }

    /// What later lots have made good of a lot's shortfall, the youngest of them first.
    pub fn covers(&self, debtor: LotId) -> impl Iterator<Item = (LotId, Units)> {
        let by = |((_, payer), units): (&(LotId, LotId), &Units)| (*payer, *units);
        let first = LotId(EntryNumber(0));
        let last = LotId(EntryNumber(u64::MAX));
        self.covers.range((debtor, first)..=(debtor, last)).rev().map(by)
    }

    /// A closed period, `None` while it is open.
    #[must_use]
    pub fn closed(&self, period: Period) -> Option<&Closed> {
        self.closed.get(&period)
    }

    /// The oldest period that is open; periods close in order, from the one the project began in.
    #[must_use]
    pub fn first_open(&self) -> Period {
        self.closed.last_key_value().map_or_else(|| self.opened.period(), |(period, _)| period.next())
    }

    /// The first instant that is not closed; before it nothing takes effect any more.
    #[must_use]
    pub fn open_from(&self) -> Timestamp {
        self.opened.max(self.first_open().start())
    }

    /// The instant that `now` stands for: never before the last entry, and in no closed period, so that
    /// a clock that was set back does not unmake what was written.
    pub(super) fn held(&self, now: Timestamp) -> Timestamp {
        now.max(self.last_at()).max(self.open_from())
    }

    fn last_at(&self) -> Timestamp {
        self.entries.last().map_or(self.opened, |entry| entry.at)
    }

    /// Takes in one entry: checks that it follows, moves its units, and checks every touched account.
    pub(super) fn extend(mut self, entry: Entry) -> Result<Self, Refusal> {
        let expected = self.next_number();
        if entry.number != expected || entry.at < self.last_at() {
            return Err(Refusal::OutOfOrder { expected, got: entry.number });
        }
        for movement in &entry.movements {
            let units = i128::from(movement.units.get());
            for (account, change) in [(movement.from, units.saturating_neg()), (movement.to, units)] {
                let balance = self.balances.entry(account).or_insert(0);
                *balance = balance.checked_add(change).ok_or(Refusal::TooLarge)?;
            }
            self.note_cover(movement.from, movement.to, movement.units);
        }
        for account in entry.movements.iter().flat_map(|movement| [movement.from, movement.to]) {
            let balance = self.balance(account);
            if balance != 0 && (balance < 0) != account.is_source() {
                return Err(Refusal::Overdrawn { entry: entry.number, account, balance });
            }
        }
        self.note(&entry)?;
        self.timeline.note(entry.at, &entry.fact);
        self.entries.push(entry);
        Ok(self)
    }

    /// Remembers which lot made good for which, so that a refund that fails is undone where it bound.
    fn note_cover(&mut self, from: Account, to: Account, units: Units) {
        match (from, to) {
            (Account::Lot(payer), Account::Shortfall(debtor)) if debtor != payer => {
                let covered = self.covers.entry((debtor, payer)).or_default();
                *covered = covered.saturating_add(units);
            }
            (
                Account::Returned(debtor),
                Account::Lot(payer) | Account::Frozen(payer) | Account::Shortfall(payer),
            )
            | (Account::Lot(debtor), Account::Lot(payer) | Account::Frozen(payer))
                if debtor != payer =>
            {
                let covered = self.covers.entry((debtor, payer)).or_default();
                *covered = covered.saturating_sub(units);
            }
            _ => {}
        }
    }

    fn note(&mut self, entry: &Entry) -> Result<(), Refusal> {
        let id = LotId(entry.number);
        let lot = |units: &Units, paid, order| Lot {
            since: entry.at,
            units: *units,
            paid,
            order,
            refunded: None,
            dispute: Dispute::None,
        };
        match &entry.fact {
            Fact::Opened(_) => return Err(Refusal::NotOpened),
            Fact::LotBought { order, units, paid, paid_at } => {
                // A payment that is told late counts from when it was made, but in no closed period.
                let since = paid_at.map_or(entry.at, |at| at.max(self.open_from()).min(entry.at));
                let bought = lot(units, Some(*paid), Some(order.clone()));
                self.lots.insert(id, Lot { since, ..bought });
            }
            Fact::CreditGiven { units, .. } => {
                self.lots.insert(id, lot(units, None, None));
            }
            Fact::LotRefunded { lot, refunded } => {
                self.lots.get_mut(lot).ok_or(Refusal::NoSuchLot(*lot))?.refunded = Some(*refunded);
            }
            Fact::LotDisputed { lot, dispute } => {
                self.lots.get_mut(lot).ok_or(Refusal::NoSuchLot(*lot))?.dispute = *dispute;
            }
            Fact::PeriodClosed { period, counted, floor, .. } => {
                let next = self.first_open();
                if *period != next {
                    return Err(Refusal::NotNext { got: *period, next });
                }
                self.closed.insert(*period, Closed { counted: *counted, floor: *floor, adjustments: 0 });
            }
            Fact::Adjustment { period, number, counted, .. } => {
                let closed = self.closed.get_mut(period).ok_or(Refusal::NotClosed(*period))?;
                closed.counted = *counted;
                closed.adjustments = *number;
            }
            Fact::PlanChanged { .. }
            | Fact::OverageChanged(_)
            | Fact::PastDue { .. }
            | Fact::Recovered
            | Fact::RecoveredAt { .. }
            | Fact::Suspended { .. }
            | Fact::Resumed
            | Fact::Shortfall { .. }
            | Fact::ShortfallCovered { .. }
            | Fact::ForfeitReleased { .. }
            | Fact::Corrected { .. } => {}
        }
        Ok(())
    }
}
