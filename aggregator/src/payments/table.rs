//! The state machine, as data: what Stripe shows × what our books hold → what follows.
//!
//! Events only say what to look at; the object is then fetched, and these tables are asked with its present
//! state. So no row depends on the order in which events come, and each may be applied any number of times.
//! Tests walk through every row. Nothing here computes.

/// What an event makes us look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concern {
    /// A Checkout session, and with it an order.
    Session,
    /// A subscription, and with it a project's plan.
    Subscription,
    /// What says how a subscription will change by itself.
    Schedule,
    /// An invoice: of a subscription, or one of our bills.
    Invoice,
    /// Something about a payment that was made, found by this object.
    Payment(PaymentObject),
    /// A customer.
    Customer,
    /// Kept and ignored.
    Nothing,
}

/// By what a payment is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaymentObject {
    /// A refund.
    Refund,
    /// A charge.
    Charge,
    /// A dispute.
    Dispute,
}

/// Event types and what they concern. Our endpoint subscribes to exactly these.
pub const EVENTS: &[(&str, Concern)] = &[
    ("checkout.session.completed", Concern::Session),
    ("checkout.session.async_payment_succeeded", Concern::Session),
    ("checkout.session.async_payment_failed", Concern::Session),
    ("checkout.session.expired", Concern::Session),
    ("customer.subscription.created", Concern::Subscription),
    ("customer.subscription.updated", Concern::Subscription),
    ("customer.subscription.deleted", Concern::Subscription),
    ("customer.subscription.paused", Concern::Subscription),
    ("customer.subscription.resumed", Concern::Subscription),
    ("customer.subscription.pending_update_applied", Concern::Subscription),
    ("customer.subscription.pending_update_expired", Concern::Subscription),
    ("subscription_schedule.created", Concern::Schedule),
    ("subscription_schedule.updated", Concern::Schedule),
    ("subscription_schedule.released", Concern::Schedule),
    ("subscription_schedule.completed", Concern::Schedule),
    ("subscription_schedule.canceled", Concern::Schedule),
    ("subscription_schedule.aborted", Concern::Schedule),
    ("invoice.paid", Concern::Invoice),
    ("invoice.payment_failed", Concern::Invoice),
    ("invoice.payment_action_required", Concern::Invoice),
    ("invoice.finalization_failed", Concern::Invoice),
    ("invoice.voided", Concern::Invoice),
    ("invoice.marked_uncollectible", Concern::Invoice),
    ("refund.created", Concern::Payment(PaymentObject::Refund)),
    ("refund.updated", Concern::Payment(PaymentObject::Refund)),
    ("refund.failed", Concern::Payment(PaymentObject::Refund)),
    ("charge.refunded", Concern::Payment(PaymentObject::Charge)),
    ("charge.dispute.created", Concern::Payment(PaymentObject::Dispute)),
    ("charge.dispute.updated", Concern::Payment(PaymentObject::Dispute)),
    ("charge.dispute.closed", Concern::Payment(PaymentObject::Dispute)),
    ("charge.dispute.funds_withdrawn", Concern::Payment(PaymentObject::Dispute)),
    ("charge.dispute.funds_reinstated", Concern::Payment(PaymentObject::Dispute)),
    ("customer.updated", Concern::Customer),
    ("customer.deleted", Concern::Customer),
];

/// What an event of that type concerns.
#[must_use]
pub fn concern(kind: &str) -> Concern {
    EVENTS.iter().find(|(name, _)| *name == kind).map_or(Concern::Nothing, |(_, concern)| *concern)
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$line:meta])* $variant:ident => $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$line])* $variant,)* }

        impl $name {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word for it, in storage and in what is shown.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// The one of that word.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.as_str() == text)
            }
        }
    };
}

words! {
    /// Where one of our orders stands.
    OrderState {
        /// Written down; Stripe may or may not know of it.
        New => "new",
        /// The customer may pay.
        Open => "open",
        /// The customer has agreed, the money is under way (SEPA takes days).
        Processing => "processing",
        /// Paid, verified and fulfilled, once.
        Paid => "paid",
        /// The payment failed.
        Failed => "failed",
        /// Nobody paid in time.
        Expired => "expired",
        /// Paid, but not as ordered: a person has to look.
        Held => "held",
    }
}

words! {
    /// What Stripe shows of an order's checkout.
    Payable {
        /// The customer may pay.
        Open => "open",
        /// The money is under way.
        Processing => "processing",
        /// The money is there.
        Paid => "paid",
        /// It will not come.
        Failed => "failed",
        /// The session is over, unpaid.
        Expired => "expired",
    }
}

/// What follows for an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderEffect {
    /// Nothing.
    Nothing,
    /// It is verified, and a pack becomes a lot.
    Fulfil,
    /// The same, and an operator is told that money came for an order that was given up.
    FulfilLate,
}

/// A row of [`ORDERS`].
pub type OrderRow = ((OrderState, Payable), (OrderState, OrderEffect));

/// Orders: (our state, what Stripe shows) → (our state, what follows).
///
/// Paid is for good: what happens to the money afterwards is told by refunds and disputes. An order that was
/// given up is taken up again only by money.
pub const ORDERS: &[OrderRow] = {
    use OrderEffect::{Fulfil, FulfilLate, Nothing};
    use OrderState as O;
    use Payable as P;
    &[
        ((O::New, P::Open), (O::Open, Nothing)),
        ((O::New, P::Processing), (O::Processing, Nothing)),
        ((O::New, P::Paid), (O::Paid, Fulfil)),
        ((O::New, P::Failed), (O::Failed, Nothing)),
        ((O::New, P::Expired), (O::Expired, Nothing)),
        ((O::Open, P::Open), (O::Open, Nothing)),
        ((O::Open, P::Processing), (O::Processing, Nothing)),
        ((O::Open, P::Paid), (O::Paid, Fulfil)),
        ((O::Open, P::Failed), (O::Failed, Nothing)),
        ((O::Open, P::Expired), (O::Expired, Nothing)),
        ((O::Processing, P::Open), (O::Processing, Nothing)),
        ((O::Processing, P::Processing), (O::Processing, Nothing)),
        ((O::Processing, P::Paid), (O::Paid, Fulfil)),
        ((O::Processing, P::Failed), (O::Failed, Nothing)),
        ((O::Processing, P::Expired), (O::Expired, Nothing)),
        ((O::Paid, P::Open), (O::Paid, Nothing)),
        ((O::Paid, P::Processing), (O::Paid, Nothing)),
        ((O::Paid, P::Paid), (O::Paid, Nothing)),
        ((O::Paid, P::Failed), (O::Paid, Nothing)),
        ((O::Paid, P::Expired), (O::Paid, Nothing)),
        ((O::Failed, P::Open), (O::Failed, Nothing)),
        ((O::Failed, P::Processing), (O::Failed, Nothing)),
        ((O::Failed, P::Paid), (O::Paid, FulfilLate)),
        ((O::Failed, P::Failed), (O::Failed, Nothing)),
        ((O::Failed, P::Expired), (O::Failed, Nothing)),
        ((O::Expired, P::Open), (O::Expired, Nothing)),
        ((O::Expired, P::Processing), (O::Expired, Nothing)),
        ((O::Expired, P::Paid), (O::Paid, FulfilLate)),
        ((O::Expired, P::Failed), (O::Failed, Nothing)),
        ((O::Expired, P::Expired), (O::Expired, Nothing)),
        ((O::Held, P::Open), (O::Held, Nothing)),
        ((O::Held, P::Processing), (O::Held, Nothing)),
        ((O::Held, P::Paid), (O::Held, Nothing)),
        ((O::Held, P::Failed), (O::Failed, Nothing)),
        ((O::Held, P::Expired), (O::Expired, Nothing)),
    ]
};

words! {
    /// A subscription's status at Stripe.
    Status {
        /// The first payment is not made yet.
        Incomplete => "incomplete",
        /// It never was.
        IncompleteExpired => "incomplete_expired",
        /// Free for now.
        Trialing => "trialing",
        /// In force.
        Active => "active",
        /// A later payment failed and is tried again.
        PastDue => "past_due",
        /// Stripe has given up.
        Unpaid => "unpaid",
        /// It is over.
        Canceled => "canceled",
        /// It rests.
        Paused => "paused",
        /// A status of a later API.
        Unknown => "unknown",
    }
}

/// What follows for a project's plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing: nobody has paid yet.
    Unchanged,
    /// The plan of the subscription's price.
    Subscribed,
    /// The same, with the grace running.
    PastDue,
    /// The subscription gives nothing any more.
    Ended,
    /// A person has to look.
    Parked,
}

/// Subscriptions: (status, whether any of its invoices was ever paid) → what follows.
///
/// A status alone never gives a plan: while the first SEPA debit is under way Stripe may already say
/// `active`, and the plan begins "once payment confirms".
pub const SUBSCRIPTIONS: &[((Status, bool), Standing)] = &[
    ((Status::Incomplete, false), Standing::Unchanged),
    ((Status::Incomplete, true), Standing::Subscribed),
    ((Status::IncompleteExpired, false), Standing::Ended),
    ((Status::IncompleteExpired, true), Standing::Ended),
    ((Status::Trialing, false), Standing::Unchanged),
    ((Status::Trialing, true), Standing::Subscribed),
    ((Status::Active, false), Standing::Unchanged),
    ((Status::Active, true), Standing::Subscribed),
    ((Status::PastDue, false), Standing::Unchanged),
    ((Status::PastDue, true), Standing::PastDue),
    ((Status::Unpaid, false), Standing::Ended),
    ((Status::Unpaid, true), Standing::Ended),
    ((Status::Canceled, false), Standing::Ended),
    ((Status::Canceled, true), Standing::Ended),
    ((Status::Paused, false), Standing::Ended),
    ((Status::Paused, true), Standing::Ended),
    ((Status::Unknown, false), Standing::Parked),
    ((Status::Unknown, true), Standing::Parked),
];

words! {
    /// How far one of our bills has come.
    BillStep {
        /// Stripe may or may not know of it.
        Due => "due",
        /// There is an invoice without its lines.
        Drafted => "drafted",
        /// The lines are on it.
        Lined => "lined",
        /// Stripe collects.
        Collecting => "collecting",
        /// It is paid.
        Paid => "paid",
        /// A payment failed; Stripe tries again.
        Overdue => "overdue",
        /// Somebody cancelled it at Stripe.
        Void => "void",
        /// Somebody gave it up at Stripe.
        Uncollectible => "uncollectible",
        /// It cannot be collected as it is: a person has to look.
        Held => "held",
    }
}

words! {
    /// What Stripe shows of an invoice.
    InvoiceState {
        /// It may still change.
        Draft => "draft",
        /// It is to be paid.
        Open => "open",
        /// It is to be paid, and a payment failed.
        Failed => "failed",
        /// It is paid.
        Paid => "paid",
        /// It is cancelled.
        Void => "void",
        /// It is given up.
        Uncollectible => "uncollectible",
    }
}

/// Bills once their invoice is final: what Stripe shows → how far the bill has come, and whether the
/// project is past due for it. Drafts are ours and move only by our own calls.
pub const INVOICES: &[(InvoiceState, BillStep, bool)] = &[
    (InvoiceState::Open, BillStep::Collecting, false),
    (InvoiceState::Failed, BillStep::Overdue, true),
    (InvoiceState::Paid, BillStep::Paid, false),
    (InvoiceState::Void, BillStep::Void, false),
    (InvoiceState::Uncollectible, BillStep::Uncollectible, true),
];

/// Refunds: status → whether the money counts as given back. One that fails later counts no more.
pub const REFUNDS: &[(&str, bool)] = &[
    ("pending", true),
    ("requires_action", true),
    ("succeeded", true),
    ("failed", false),
    ("canceled", false),
];

/// What a dispute does to a lot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DisputeEffect {
    /// Nothing: no money was taken, or it came back.
    None,
    /// What is left of the lot is frozen.
    Frozen,
    /// The disputed part is taken back.
    Lost,
}

/// Disputes: status → what it does. Warnings take no money.
pub const DISPUTES: &[(&str, DisputeEffect)] = &[
    ("warning_needs_response", DisputeEffect::None),
    ("warning_under_review", DisputeEffect::None),
    ("warning_closed", DisputeEffect::None),
    ("needs_response", DisputeEffect::Frozen),
    ("under_review", DisputeEffect::Frozen),
    ("won", DisputeEffect::None),
    ("prevented", DisputeEffect::None),
    ("lost", DisputeEffect::Lost),
];

/// The row of a table; every key that there can be is in each, which a test checks.
#[must_use]
pub fn row<K: PartialEq + Copy, V: Copy>(table: &[(K, V)], key: K) -> Option<V> {
    table.iter().find(|(of, _)| *of == key).map(|(_, value)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_has_exactly_one_row() {
        for state in OrderState::ALL {
            for seen in Payable::ALL {
                assert_eq!(
                    ORDERS.iter().filter(|(key, _)| *key == (*state, *seen)).count(),
                    1,
                    "{state:?} {seen:?}"
                );
            }
        }
        for status in Status::ALL {
            for paid in [false, true] {
                let rows = SUBSCRIPTIONS.iter().filter(|(key, _)| *key == (*status, paid)).count();
                assert_eq!(rows, 1, "{status:?} {paid}");
            }
        }
        for state in InvoiceState::ALL {
            let rows = INVOICES.iter().filter(|(key, _, _)| key == state).count();
            assert_eq!(rows, usize::from(*state != InvoiceState::Draft), "{state:?}");
        }
    }

    #[test]
    fn applying_a_row_again_changes_nothing_more() {
        for ((_, seen), (after, _)) in ORDERS {
            let again = row(ORDERS, (*after, *seen)).unwrap();
            assert_eq!(again, (*after, OrderEffect::Nothing), "{after:?} {seen:?}");
        }
    }

    #[test]
    fn words_read_back() {
        for state in OrderState::ALL {
            assert_eq!(OrderState::parse(state.as_str()), Some(*state));
        }
        for step in BillStep::ALL {
            assert_eq!(BillStep::parse(step.as_str()), Some(*step));
        }
        for (index, (name, _)) in EVENTS.iter().enumerate() {
            assert!(EVENTS.iter().skip(index + 1).all(|(other, _)| other != name), "{name} twice");
        }
        assert_eq!(concern("customer.created"), Concern::Nothing);
    }
}
