//! Entries: the append-only lines of a project's ledger.
//!
//! An entry is a fact and the units that it moved. Every movement takes from one account what it gives
//! to another, so that debits equal credits by construction (I12). An entry is never changed or
//! removed; what was wrong is put right by a further one.
//!
//! Usage is not among the entries. It stays in cells, whose merge is commutative, and a period's units
//! enter the ledger once, when it closes: entries per flush would record the order of arrival, and
//! then no permutation of batches could give the same bytes (I8). Crossings are kept apart for the
//! same reason, as rows that are keyed by (period, quota version, percent) and carry no time.
//! That a period opened is no entry either: its terms follow from the plan entries, also for a
//! project that sends nothing.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::time::{Period, Timestamp};
use shared::units::Units;

use super::bill::Bill;
use super::money::Money;
use super::terms::PlanTerms;

/// The number of an entry: 1, 2, 3 … within a project.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct EntryNumber(pub u64);

impl fmt::Display for EntryNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A lot is named by the entry that made it; a smaller id is therefore an older lot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct LotId(pub EntryNumber);

impl fmt::Display for LotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where units are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Account {
    /// The plan's grant of a period; drawn below zero as far as the quota.
    Included(Period),
    /// The overage of a period; drawn below zero as far as the spending cap.
    Overage(Period),
    /// What the contracted minimum adds to a period's reported units; drawn below zero.
    Minimum(Period),
    /// Units of a period that nothing covers: shown to the operator, never billed; drawn below zero.
    Uncovered(Period),
    /// Where a lot's units came from; drawn below zero by exactly what the lot was bought or given for.
    Origin(LotId),
    /// What is left of a lot; never below zero (design §5: "lots stay ≥ 0").
    Lot(LotId),
    /// What is left of a lot whose payment is disputed.
    Frozen(LotId),
    /// Units of a lot that were taken back, for refunds and lost disputes.
    Returned(LotId),
    /// A lot's shortfall: below zero by what was used and then refunded, until later lots cover it.
    Shortfall(LotId),
    /// The units of a closed period.
    Used(Period),
}

impl Account {
    /// Whether the account is a source, whose balance runs below zero instead of above it.
    #[must_use]
    pub fn is_source(self) -> bool {
        match self {
            Self::Included(_)
            | Self::Overage(_)
            | Self::Minimum(_)
            | Self::Uncovered(_)
            | Self::Origin(_)
            | Self::Shortfall(_) => true,
            Self::Lot(_) | Self::Frozen(_) | Self::Returned(_) | Self::Used(_) => false,
        }
    }
}

/// Units that went from one account to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Movement {
    /// The account that is debited.
    pub from: Account,
    /// The account that is credited.
    pub to: Account,
    /// How many; never zero.
    pub units: Units,
}

/// What a period has counted: the sums of its live cells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Counted")]
pub struct Usage {
    /// Units, which are billed.
    pub units: Units,
    /// Blockchain anchors, which are billed apart on pro.
    pub anchors: Units,
}

/// Whether overage is served, as the customer has set it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverageSetting {
    /// It is not.
    Off,
    /// It is, up to a monthly spending cap where there is one.
    On {
        /// The most that a month's overage may cost.
        cap: Option<Money>,
    },
}

/// How a dispute stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dispute {
    /// There is none, or it was won or withdrawn.
    None,
    /// It is open: what is left of the lot is frozen.
    Open,
    /// It was lost, over this amount.
    Lost(Money),
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// The project began, on this plan.
    Opened(PlanTerms),
    /// The plan changes at an instant, now or later; later changes that were planned are dropped.
    PlanChanged {
        /// The new plan.
        terms: PlanTerms,
        /// From when on.
        effective: Timestamp,
    },
    /// The customer turned auto-overage on or off, or changed the cap.
    OverageChanged(OverageSetting),
    /// A payment failed; after the grace the project falls to the fallback.
    PastDue {
        /// When the first payment failed.
        since: Timestamp,
        /// Community, as the catalogue had it.
        fallback: PlanTerms,
        /// How long the project keeps its plan, in milliseconds.
        #[serde(default = "seven_days_ms")]
        grace_ms: u64,
    },
    /// The payment came after all.
    Recovered,
    /// The same, told in a later month than it was made in.
    RecoveredAt {
        /// When it was made.
        paid_at: Timestamp,
    },
    /// Requests are denied until the project is resumed.
    Suspended {
        /// Why, for the operator.
        reason: String,
    },
    /// Requests are served again.
    Resumed,
    /// A paid order became a lot.
    LotBought {
        /// Which order; credited once (I5).
        order: String,
        /// How many units.
        units: Units,
        /// What was paid.
        paid: Money,
        /// When it was paid, where that is known; entries are written later.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        paid_at: Option<Timestamp>,
    },
    /// The operator gave units; they are a lot that cost nothing.
    CreditGiven {
        /// How many units.
        units: Units,
        /// Why.
        reason: String,
    },
    /// The payment of a lot was refunded, by this much in all; a failed refund lowers it again.
    LotRefunded {
        /// Which lot.
        lot: LotId,
        /// All live refunds together.
        refunded: Money,
    },
    /// The dispute of a lot's payment was opened, won or lost.
    LotDisputed {
        /// Which lot.
        lot: LotId,
        /// How it stands now.
        dispute: Dispute,
    },
    /// Units that were used before they were refunded: they bind the next lot.
    Shortfall {
        /// Whose payment went back.
        lot: LotId,
    },
    /// A new lot made good for an older one's shortfall, or a lot did for its own.
    ShortfallCovered {
        /// Whose shortfall.
        lot: LotId,
        /// By which lot.
        by: LotId,
    },
    /// A period was allocated and rated, once.
    PeriodClosed {
        /// Which period.
        period: Period,
        /// What its cells showed.
        counted: Usage,
        /// What was billed for: the counted units, or the contracted minimum where that is more.
        floor: Units,
        /// What it costs.
        bill: Bill,
    },
    /// Cells that came after the close.
    Adjustment {
        /// Of which period.
        period: Period,
        /// The first of a period is 1; its invoice line carries the number (I7).
        number: u32,
        /// What the cells show now.
        counted: Usage,
        /// What that adds to the bill.
        bill: Bill,
    },
    /// Units that dead holders never settled are free again: the home held them back until the period
    /// was final. They were never taken from a lot here, so nothing moves.
    ForfeitReleased {
        /// Of which period.
        period: Period,
        /// How many.
        units: Units,
    },
    /// The operator took units of a closed period back; the only way in which a billed figure falls.
    Corrected {
        /// Of which period.
        period: Period,
        /// Why, and by whom.
        reason: String,
        /// What is taken off the bill.
        bill: Bill,
    },
}

/// The grace of entries that were written before they carried it.
fn seven_days_ms() -> u64 {
    super::timeline::GRACE_MS
}

/// A fact that is to be written, and the units it moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posting {
    /// What happened.
    pub fact: Fact,
    /// What it moves.
    pub movements: Vec<Movement>,
}

impl Posting {
    /// A fact that moves nothing.
    #[must_use]
    pub fn of(fact: Fact) -> Self {
        Self { fact, movements: Vec::new() }
    }

    /// Adds a movement; none where there is nothing to move.
    #[must_use]
    pub fn moving(mut self, from: Account, to: Account, units: Units) -> Self {
        if units > Units::ZERO {
            self.movements.push(Movement { from, to, units });
        }
        self
    }
}

/// A line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its place.
    pub number: EntryNumber,
    /// When it was written, by the aggregator's clock; never before its predecessor.
    pub at: Timestamp,
    /// What happened.
    pub fact: Fact,
    /// What it moved.
    pub movements: Vec<Movement>,
}
