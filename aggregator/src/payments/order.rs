//! Orders: what was bought at Checkout or by itself, verified against our own row before it counts.
//!
//! An order is settled with the present state of everything that Stripe has about it, so the result is the
//! same whatever order the events came in, and settling again changes nothing (I5). Units and price are the
//! order row's own, never what a session says.

use shared::ids::ProjectId;
use shared::time::Timestamp;
use shared::units::Units;

use super::goods::Good;
use super::seen::{DisputeSeen, Payment, Reference, Refund, Session, SessionLine};
use super::table::{DISPUTES, DisputeEffect, ORDERS, OrderEffect, OrderState, Payable, REFUNDS, Status, row};
use crate::ledger::entry::{Dispute, LotId};
use crate::ledger::lots::{self, Purchase};
use crate::ledger::money::Money;
use crate::ledger::refusal::Refusal;
use crate::projects::book::Book;

/// The form fields of a call, in the order in which they are sent every time.
pub type Form = Vec<(String, String)>;

/// What marks the invoices of automatic top-ups; those of Checkout are only receipts.
pub const AUTO_TOP_UP: &str = "auto_top_up";

/// One order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Its id, which Stripe's objects carry as `palveron_order`.
    pub id: String,
    /// Whose.
    pub project: ProjectId,
    /// What.
    pub good: Good,
    /// The units of a pack as they were sold; zero for plans.
    pub units: Units,
    /// What it costs before taxes.
    pub price: Money,
    /// The price at Stripe.
    pub price_id: String,
    /// The customer at Stripe, once it is known.
    pub customer: Option<String>,
    /// Which key the session is made with; raised only when it is proved that the last one made nothing.
    pub attempt: u32,
    /// What is sent to make the session; empty until it is known.
    pub form: Form,
    /// Where it stands.
    pub state: OrderState,
    /// The Checkout session, or the invoice of an automatic top-up.
    pub session: Option<String>,
    /// Where the customer pays.
    pub url: Option<String>,
    /// Whether it is an automatic top-up, whose session is an invoice.
    pub automatic: bool,
    /// The payment.
    pub payment: Option<String>,
    /// When it was made.
    pub created: Timestamp,
    /// When the session ends unless it is paid.
    pub expires: Timestamp,
    /// Why it is held, or what else an operator should know.
    pub note: Option<String>,
}

/// Everything that Stripe has about an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderSeen {
    /// The Checkout session, or the invoice of an automatic top-up, read as one.
    pub session: Session,
    /// Its lines, once it is paid.
    pub lines: Vec<SessionLine>,
    /// The payment, of packs.
    pub payment: Option<Payment>,
    /// The refunds of the payment.
    pub refunds: Vec<Refund>,
    /// The disputes of the payment.
    pub disputes: Vec<DisputeSeen>,
    /// The status of the subscription, of plans.
    pub subscription: Option<Status>,
    /// When it was paid, where Stripe says so.
    pub paid_at: Option<Timestamp>,
}

/// What is known about our side beside the order.
#[derive(Debug, Clone, Copy)]
pub struct Ours<'a> {
    /// Whether our key moves real money.
    pub livemode: bool,
    /// The project's customer at Stripe.
    pub customer: &'a str,
    /// The present instant.
    pub now: Timestamp,
}

/// An order that was settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettledOrder {
    /// The book with what follows.
    pub book: Book,
    /// The order as it stands now.
    pub order: Order,
    /// What an operator has to be told.
    pub alarm: Option<String>,
}

impl Order {
    /// What every object at Stripe that is made for the order carries.
    #[must_use]
    pub fn metadata(&self) -> Vec<(&'static str, String)> {
        let kind = match self.good {
            _ if self.automatic => AUTO_TOP_UP,
            Good::Plan(..) => "plan",
            Good::Pack(_) => "topup",
        };
        vec![
            ("palveron_project", self.project.to_string()),
            ("palveron_order", self.id.clone()),
            ("palveron_kind", kind.to_owned()),
        ]
    }
}

impl OrderSeen {
    /// How the checkout stands.
    #[must_use]
    pub fn payable(&self) -> Payable {
        match (self.session.status.as_deref(), self.session.payment_status.as_str()) {
            (Some("expired"), _) => Payable::Expired,
            (Some(Session::VOID), _) => Payable::Failed,
            (Some(Session::PROCESSING), _) => Payable::Processing,
            (_, "paid" | "no_payment_required") => Payable::Paid,
            (Some("complete"), _) if self.has_failed() => Payable::Failed,
            (Some("complete"), _) => Payable::Processing,
            _ => Payable::Open,
        }
    }

    /// Whether the agreed payment will not come any more.
    fn has_failed(&self) -> bool {
        let payment = self.payment.as_ref().map(|payment| payment.status.as_str());
        let subscription = self.subscription;
        // While nothing is paid, past due means that the first payment came back.
        matches!(payment, Some("requires_payment_method" | "canceled"))
            || matches!(
                subscription,
                Some(Status::IncompleteExpired | Status::Canceled | Status::Unpaid | Status::PastDue)
            )
    }

    /// Checks everything that was paid against what was ordered, and says how much money came.
    ///
    /// # Errors
    /// Which field, what it is, what it has to be.
    pub fn verify(&self, order: &Order, ours: Ours<'_>) -> Result<Money, String> {
        let session = &self.session;
        let currency = order.price.currency();
        same("livemode", &session.livemode, &ours.livemode)?;
        if let Some(own) = &order.session {
            same("session", session.id.as_str(), own.as_str())?;
        }
        same("client_reference_id", &session.client_reference_id.as_deref(), &Some(order.id.as_str()))?;
        same("customer", &session.customer.as_ref().map(Reference::id), &Some(ours.customer))?;
        same("currency", &session.currency.as_deref(), &Some(currency.to_string().as_str()))?;
        same("amount_subtotal", &session.amount_subtotal.map(i128::from), &Some(order.price.minor()))?;
        let lines: Vec<_> =
            self.lines.iter().map(|line| (line.price.as_ref().map(Reference::id), line.quantity)).collect();
        same("lines", &lines, &vec![(Some(order.price_id.as_str()), Some(1))])?;
        let total = session.amount_total.map_or(0, i128::from);
        if total < order.price.minor() {
            return Err(format!("amount_total: got {total}, accepted is {} or more", order.price.minor()));
        }
        if let Good::Plan(..) = order.good {
            return Ok(Money::new(total, currency));
        }
        // What a balance at Stripe does not pay of an invoice.
        let money = session.due.map_or(total, i128::from);
        if money == 0 {
            return Ok(Money::new(total, currency));
        }
        let payment =
            self.payment.as_ref().ok_or("payment_intent: got none, accepted is that of the session")?;
        same("payment.livemode", &payment.livemode, &ours.livemode)?;
        same("payment.status", payment.status.as_str(), "succeeded")?;
        same("payment.customer", &payment.customer.as_ref().map(Reference::id), &Some(ours.customer))?;
        same("payment.currency", payment.currency.as_str(), currency.to_string().as_str())?;
        same("payment.amount_received", &i128::from(payment.amount_received), &money)?;
        Ok(Money::new(total, currency))
    }

    /// All live refunds together.
    fn refunded(&self) -> i128 {
        let counts = |refund: &&Refund| {
            let status = refund.status.as_deref().unwrap_or("pending");
            REFUNDS.iter().any(|(of, live)| *of == status && *live)
        };
        self.refunds.iter().filter(counts).map(|refund| i128::from(refund.amount)).sum()
    }

    /// What the disputes come to: open ones freeze, lost ones take their amounts together.
    fn disputed(&self, paid: Money) -> Dispute {
        let effect = |dispute: &DisputeSeen| {
            // A status that we do not know freezes nothing and takes nothing; it is seen again.
            row(DISPUTES, dispute.status.as_str()).unwrap_or(DisputeEffect::None)
        };
        if self.disputes.iter().any(|dispute| effect(dispute) == DisputeEffect::Frozen) {
            return Dispute::Open;
        }
        let lost = self.disputes.iter().filter(|dispute| effect(dispute) == DisputeEffect::Lost);
        let lost: i128 = lost.map(|dispute| i128::from(dispute.amount)).sum();
        if lost > 0 {
            Dispute::Lost(Money::new(lost.min(paid.minor()), paid.currency()))
        } else {
            Dispute::None
        }
    }
}

fn same<T: PartialEq + std::fmt::Debug + ?Sized>(field: &str, got: &T, accepted: &T) -> Result<(), String> {
    if got == accepted { Ok(()) } else { Err(format!("{field}: got {got:?}, accepted is {accepted:?}")) }
}

impl Order {
    /// Brings the order, and the book with it, to what Stripe shows.
    ///
    /// # Errors
    /// When the ledger refuses what is verified; then nothing may be written.
    pub fn settle(self, book: Book, seen: &OrderSeen, ours: Ours<'_>) -> Result<SettledOrder, Refusal> {
        let (state, effect) =
            row(ORDERS, (self.state, seen.payable())).unwrap_or((self.state, OrderEffect::Nothing));
        let mut order = Self {
            session: Some(seen.session.id.clone()),
            payment: seen
                .session
                .payment_intent
                .as_ref()
                .map(|payment| payment.id().to_owned())
                .or_else(|| self.payment.clone()),
            url: (state == OrderState::Open)
                .then(|| seen.session.url.clone().or_else(|| self.url.clone()))
                .flatten(),
            state,
            // Which session it is was ours to say; another one is a mismatch that is told below.
            ..self.clone()
        };
        let mut settled = SettledOrder { book, order: order.clone(), alarm: None };
        if effect != OrderEffect::Nothing {
            match seen.verify(&self, ours) {
                Ok(paid) => settled.book = order.fulfil(settled.book, paid, seen.paid_at, ours.now)?,
                Err(mismatch) => {
                    order.state = OrderState::Held;
                    order.note = Some(mismatch.clone());
                    settled.alarm = Some(format!("a payment is not what was ordered: {mismatch}"));
                }
            }
            if effect == OrderEffect::FulfilLate && settled.alarm.is_none() {
                settled.alarm = Some(format!("money came for an order that was {}", self.state.as_str()));
            }
        }
        if let Some(lot) = order.lot(&settled.book) {
            let outcome = restate(settled.book, lot, seen, ours.now)?;
            settled.book = outcome.0;
            settled.alarm = settled.alarm.or(outcome.1);
        }
        settled.order = order;
        Ok(settled)
    }

    /// A pack becomes a lot; a plan follows from its subscription.
    fn fulfil(
        &self,
        book: Book,
        paid: Money,
        paid_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Book, Refusal> {
        match self.good {
            Good::Plan(..) => Ok(book),
            Good::Pack(_) => {
                let purchase = Purchase { order: self.id.clone(), units: self.units, paid, paid_at };
                let postings = lots::buy(&book.ledger, purchase)?;
                book.append(now, postings)
            }
        }
    }

    /// The lot that the order became.
    #[must_use]
    pub fn lot(&self, book: &Book) -> Option<LotId> {
        let mut lots = book.ledger.lots().iter();
        lots.find(|(_, lot)| lot.order.as_ref() == Some(&self.id)).map(|(id, _)| *id)
    }
}

/// Brings a lot to what refunds and disputes of its payment come to.
fn restate(
    book: Book,
    id: LotId,
    seen: &OrderSeen,
    now: Timestamp,
) -> Result<(Book, Option<String>), Refusal> {
    let paid = book.ledger.lot(id)?.paid.ok_or(Refusal::NotPaid(id))?;
    let refunded = seen.refunded();
    let more = refunded > paid.minor();
    let alarm = more.then(|| format!("refunds of {refunded} are more than the {paid} that were paid"));
    let refunded = Money::new(refunded.min(paid.minor()), paid.currency());
    let postings = lots::refund(&book.ledger, book.seen(now), id, refunded)?;
    let book = book.append(now, postings)?;
    let postings = lots::dispute(&book.ledger, book.seen(now), id, seen.disputed(paid))?;
    Ok((book.append(now, postings)?, alarm))
}
