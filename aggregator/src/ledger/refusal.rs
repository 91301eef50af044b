//! Why the ledger refuses a fact, or finds that it is broken.
//!
//! A refusal changes nothing: the ledger that was asked is still the ledger.

use shared::plan::Plan;
use shared::time::{Period, Timestamp};
use shared::units::Units;

use super::entry::{Account, EntryNumber, LotId};

/// Why a fact cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The catalogue lacks a plan; a catalogue that was read never does.
    #[error("the plan catalogue has no plan {0}")]
    NoSuchPlan(Plan),
    /// The currency cannot be read.
    #[error("{0}")]
    Currency(String),
    /// Thresholds that cannot be meant; a catalogue that was read has none.
    #[error("{0}")]
    Levels(String),
    /// Amounts of two currencies met.
    #[error("an amount is in another currency than the ledger")]
    CurrencyDiffers,
    /// A sum left the range of exact numbers.
    #[error("a sum is larger than the ledger can hold")]
    TooLarge,
    /// The first entry must open the ledger, and only the first.
    #[error("the ledger must be opened exactly once, by its first entry")]
    NotOpened,
    /// There is no such lot.
    #[error("there is no lot {0}")]
    NoSuchLot(LotId),
    /// A credit was given, not paid, so nothing of it can be refunded or disputed.
    #[error("lot {0} was not paid for")]
    NotPaid(LotId),
    /// More was to be refunded or disputed than was paid.
    #[error("more than the price of lot {0} was to be given back")]
    MoreThanPaid(LotId),
    /// A paid order came again with other contents.
    #[error("the order was credited before, with other units or another amount")]
    OrderDiffers,
    /// A lot without units, or an amount below zero.
    #[error("{field}: got nothing or less, accepted is more than 0")]
    NotPositive {
        /// Which field.
        field: &'static str,
    },
    /// Periods close one after the other.
    #[error("{got} cannot be closed, the next to close is {next}")]
    NotNext {
        /// The period that was to be closed.
        got: Period,
        /// The one that is due first.
        next: Period,
    },
    /// The period has not ended.
    #[error("{period} cannot be closed at {now}, it ends at {}", period.end())]
    NotEnded {
        /// The period that was to be closed.
        period: Period,
        /// When that was.
        now: Timestamp,
    },
    /// Adjustments and corrections are for closed periods.
    #[error("{0} is not closed")]
    NotClosed(Period),
    /// Cells only rise, so a total below the counted one means that cells were lost.
    #[error("{period} has counted {counted} units, and now its cells show {got}")]
    TotalFell {
        /// Whose total.
        period: Period,
        /// What was counted.
        counted: Units,
        /// What the cells say now.
        got: Units,
    },
    /// More was to be corrected than is used.
    #[error("{period} has used {used} units, fewer than the correction of {got}")]
    MoreThanUsed {
        /// Which period.
        period: Period,
        /// What it has used.
        used: Units,
        /// What was to be taken back.
        got: Units,
    },
    /// An entry does not follow its predecessor.
    #[error("entry {got} came where {expected} was due, or is earlier than its predecessor")]
    OutOfOrder {
        /// The number that was due.
        expected: EntryNumber,
        /// The number that came.
        got: EntryNumber,
    },
    /// An entry would draw an account below zero.
    #[error("entry {entry} would leave {account:?} at {balance}")]
    Overdrawn {
        /// Which entry.
        entry: EntryNumber,
        /// Which account.
        account: Account,
        /// What its balance would be.
        balance: i128,
    },
}
