//! Planted bugs: mistakes that the simulator must catch, switched on by its tests alone.
//!
//! Without the feature `planted` the switch is the constant `false` and no trace of a bug is
//! compiled. This file must never decide anything by itself.

#[cfg(feature = "planted")]
mod switch {
    use core::cell::Cell;

    macro_rules! bugs {
        ($($(#[$doc:meta])* $name:ident,)*) => {
            /// A mistake in the core that a test can switch on.
            #[derive(Debug, Clone, Copy, PartialEq, Eq)]
            pub enum Bug { $($(#[$doc])* $name,)* }

            impl Bug {
                /// Every bug.
                pub const ALL: &'static [Self] = &[$(Self::$name,)*];
            }
        };
    }

    bugs! {
        /// The home frees what silent holders hold.
        ReclaimSilent,
        /// The home counts a call that nobody was served for.
        VoidCallBilled,
        /// The home bills units when it issues them.
        BillAtIssue,
        /// The home answers a known nonce as if it were new.
        NonceIgnored,
        /// Units of the last month are spent in the next.
        NoRolloverGuard,
        /// Permits of the next minute are usable at once.
        NextMinuteAtOnce,
        /// A return leaves the units with the holder.
        ReturnWithoutZeroing,
        /// The home adds a batch without looking at its number.
        BatchWithoutNumber,
        /// The holder spends without regard to freshness and recall.
        FreshnessIgnored,
        /// A sub-home forgets its stock's last changes in a crash.
        SubHomeForgets,
        /// Validity counts from the receipt of a reply.
        DeadlineFromReceipt,
        /// Validity counts from the last resend.
        DeadlineFromResend,
        /// A return is credited to the current month whatever month it is of.
        ReturnIntoThisPeriod,
        /// The holder takes a reply to a nonce that was answered before.
        ReplayedReply,
        /// The home acknowledges a batch that it did not add.
        FalseAck,
        /// The home drops reports of a month that has ended.
        LateReportDropped,
        /// The home answers an old nonce with its last reply and a new grant.
        StaleNonceAnswered,
        /// A capped agent spends from the shared slice.
        CappedFromShared,
        /// A rolled back home goes on as if nothing had happened.
        RollbackUnnoticed,
        /// Permits of the last minute are given back into this one.
        OldPermitsReturned,
        /// The home does not count the permits of renewals.
        SlicePermitsUncounted,
        /// A costly request is admitted when one unit is left.
        CostAsOne,
        /// The holder drops a batch when it has sent it.
        BatchDroppedWhenSent,
        /// Permits are not dropped at the end of their minute.
        PermitsOutliveMinute,
        /// The home issues at once after a policy cut as if it had not come.
        CutIgnored,
        /// Units of limited agents are kept across a change of the limits.
        OldLimitsKept,
        /// A sub-home whose storage was rolled back goes on as if nothing had happened.
        SubRollbackUnnoticed,
        /// The home charges nothing for what it issues under open overage.
        OpenUncharged,
        /// An isolate's reserve never ends.
        ReserveEndless,
        /// A holder refuses a key that its terms do not have, without asking.
        NewKeyRefused,
        /// A sub-home refuses as suspended by its own terms for as long as they are fresh.
        SuspendedByOldTerms,
        /// The home takes units that live holders have for spent.
        OutIsSpent,
        /// The home calls nothing back that others were refused for.
        NeverCalledBack,
        /// A refusal for want of that many units counts as the passing of 100 %.
        CostlyDenialPasses,
        /// A home that has ended goes on granting.
        EndedGrants,
        /// A home goes on with the rows of an earlier stay.
        OldRowsReopened,
        /// A home ends while its holders have something, and does not say so.
        EndedTooSoon,
        /// A new life takes the permits that earlier ones have told for all that they have issued.
        LossForgotten,
        /// The home takes what holders let go off what it holds back each time that it is told.
        LetGoTwice,
        /// A holder says that it has let go what it keeps.
        LetGoKept,
    }

    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Switches a bug on in this thread, or all off.
    pub fn plant(bug: Option<Bug>) {
        PLANTED.set(bug);
    }

    /// Whether that bug is on.
    #[must_use]
    pub fn is(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }
}

#[cfg(feature = "planted")]
pub use switch::{Bug, is, plant};

/// Whether a planted bug is on; `false` where bugs are not compiled in.
#[cfg(feature = "planted")]
macro_rules! planted {
    ($bug:ident) => {
        $crate::planted::is($crate::planted::Bug::$bug)
    };
}

/// Whether a planted bug is on; `false` where bugs are not compiled in.
#[cfg(not(feature = "planted"))]
macro_rules! planted {
    ($bug:ident) => {
        false
    };
}

pub(crate) use planted;
