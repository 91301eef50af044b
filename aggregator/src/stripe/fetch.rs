//! Fetches everything that Stripe has about an order, a customer's subscriptions or an invoice.

use std::collections::BTreeMap;

use shared::time::Timestamp;

use super::client::{CallError, Stripe};
use crate::payments::goods::Good;
use crate::payments::order::OrderSeen;
use crate::payments::paying::{Overdue, Source};
use crate::payments::schedule::Schedule;
use crate::payments::seen::{Invoice, Page, Payment, Price, Reference, Session, SessionLine, Subscription};
use crate::payments::subscription::SubscriptionSeen;
use crate::payments::table::{Payable, Status};

/// Asks for the payments of an invoice, which say whether a debit is under way.
const WITH_PAYMENTS: (&str, &str) = ("expand[]", "payments.data.payment.payment_intent");

impl Stripe {
    /// Everything about the order of a Checkout session.
    ///
    /// # Errors
    /// When something cannot be read.
    pub async fn order_seen(&self, session: &str) -> Result<OrderSeen, CallError> {
        let session: Session = self.get(&format!("/checkout/sessions/{session}"), &[]).await?;
        let mut seen = OrderSeen {
            session,
            lines: Vec::new(),
            payment: None,
            refunds: Vec::new(),
            disputes: Vec::new(),
            subscription: None,
            paid_at: None,
        };
        if seen.session.status.as_deref() == Some("complete") {
            self.complete(&mut seen).await?;
        }
        Ok(seen)
    }

    /// Everything about the order of an automatic top-up, by its invoice.
    ///
    /// # Errors
    /// When something cannot be read.
    pub async fn top_up_seen(&self, invoice: &str) -> Result<OrderSeen, CallError> {
        let invoice = self.invoice(invoice).await?;
        let mut seen = OrderSeen {
            session: Session::of_invoice(&invoice),
            lines: invoice.session_lines(),
            payment: None,
            refunds: Vec::new(),
            disputes: Vec::new(),
            subscription: None,
            paid_at: invoice.paid_at(),
        };
        self.paid(&mut seen).await?;
        Ok(seen)
    }

    async fn paid(&self, seen: &mut OrderSeen) -> Result<(), CallError> {
        if let Some(payment) = seen.session.payment_intent.as_ref().map(Reference::id) {
            let payment: Payment = self.get(&format!("/payment_intents/{payment}"), &[]).await?;
            seen.refunds = self.list("/refunds", &[("payment_intent", &payment.id)]).await?;
            seen.disputes = self.list("/disputes", &[("payment_intent", &payment.id)]).await?;
            seen.payment = Some(payment);
        }
        Ok(())
    }

    async fn complete(&self, seen: &mut OrderSeen) -> Result<(), CallError> {
        self.paid(seen).await?;
        if let Some(subscription) = seen.session.subscription.as_ref().map(Reference::id) {
            let subscription: Subscription = self.get(&format!("/subscriptions/{subscription}"), &[]).await?;
            seen.subscription = Some(Status::parse(&subscription.status).unwrap_or(Status::Unknown));
        }
        if seen.payable() == Payable::Paid {
            let path = format!("/checkout/sessions/{}/line_items", seen.session.id);
            let lines: Page<SessionLine> = self.get(&path, &[]).await?;
            seen.lines = lines.data;
            if let Some(receipt) = seen.session.invoice.as_ref().map(Reference::id) {
                seen.paid_at = self.invoice(receipt).await?.paid_at();
            }
        }
        Ok(())
    }

    /// All subscriptions of a customer, each with its schedule where it has one.
    ///
    /// # Errors
    /// When something cannot be read.
    pub async fn subscriptions_of(
        &self,
        customer: &str,
    ) -> Result<Vec<(Subscription, Option<Schedule>)>, CallError> {
        let subscriptions: Vec<Subscription> =
            self.list("/subscriptions", &[("customer", customer), ("status", "all")]).await?;
        let mut found = Vec::new();
        for subscription in subscriptions {
            let schedule = match &subscription.schedule {
                Some(schedule) => Some(self.schedule(schedule.id()).await?),
                None => None,
            };
            found.push((subscription, schedule));
        }
        Ok(found)
    }

    /// What the invoices of subscriptions say, beside the subscriptions. `goods` are the prices that we know.
    ///
    /// # Errors
    /// When something cannot be read.
    pub async fn subscriptions_seen(
        &self,
        subscriptions: Vec<(Subscription, Option<Schedule>)>,
        goods: &BTreeMap<String, Good>,
    ) -> Result<Vec<SubscriptionSeen>, CallError> {
        let mut seen = Vec::new();
        for (subscription, schedule) in subscriptions {
            let of = ("subscription", subscription.id.as_str());
            let paid: Page<Invoice> =
                self.get("/invoices", &[of, ("status", "paid"), ("limit", "1")]).await?;
            let open: Vec<Invoice> = self.list("/invoices", &[of, ("status", "open")]).await?;
            let price = subscription.items.data.first().map(|item| item.price.id.clone());
            // The newest one pays for the present price only if it names it; else it paid for what was before.
            let newest = paid.data.first();
            let of_price = newest.filter(|invoice| price.as_ref().is_some_and(|price| invoice.names(price)));
            seen.push(SubscriptionSeen {
                paid: newest.is_some(),
                paid_at: of_price.and_then(Invoice::paid_at),
                last_paid_at: newest.and_then(Invoice::paid_at),
                due: open.iter().filter_map(|open| Overdue::of(open, Source::Subscription)).collect(),
                good: price.and_then(|price| goods.get(&price).copied()),
                coming: coming(schedule.as_ref(), goods),
                schedule_ends: schedule.as_ref().and_then(Schedule::ends),
                subscription,
            });
        }
        Ok(seen)
    }

    /// An invoice with its payments.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn invoice(&self, id: &str) -> Result<Invoice, CallError> {
        self.get(&format!("/invoices/{id}"), &[WITH_PAYMENTS]).await
    }

    /// A subscription's schedule.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn schedule(&self, id: &str) -> Result<Schedule, CallError> {
        self.get(&format!("/subscription_schedules/{id}"), &[]).await
    }

    /// A price.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn price(&self, id: &str) -> Result<Price, CallError> {
        self.get(&format!("/prices/{id}"), &[]).await
    }
}

/// When a schedule changes what is paid for, and to which good; `None` where we do not know the price.
fn coming(schedule: Option<&Schedule>, goods: &BTreeMap<String, Good>) -> Vec<(Timestamp, Option<Good>)> {
    let phases = schedule.into_iter().flat_map(Schedule::to_come);
    phases.map(|(at, price)| (at, goods.get(price).copied())).collect()
}
