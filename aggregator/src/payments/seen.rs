//! Stripe's objects, as far as we look at them: what a `GET` answers, read tolerantly.
//!
//! Only what is decided by is here, so that a new field, type or enumeration value of a later API never
//! breaks a reading (a client that insists on all of them fails after the money moved). Nothing here decides.

use std::collections::BTreeMap;

use serde::Deserialize;
use shared::time::Timestamp;

/// What we wrote into an object's metadata.
pub type Metadata = BTreeMap<String, String>;

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Page<T> {
    /// The objects, the newest first.
    pub data: Vec<T>,
    /// Whether there are older ones.
    #[serde(default)]
    pub has_more: bool,
}

/// A reference that may come as an id or, where it was asked for, as the object itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Reference {
    /// The id.
    Id(String),
    /// The object; only its id counts here.
    Object {
        /// Its id.
        id: String,
    },
}

impl Reference {
    /// The id.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Id(id) | Self::Object { id } => id,
        }
    }
}

/// A Checkout session.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Session {
    /// Its id.
    pub id: String,
    /// `open`, `complete` or `expired`.
    pub status: Option<String>,
    /// `paid`, `unpaid` or `no_payment_required`.
    pub payment_status: String,
    /// Where the customer pays; only while it is open.
    pub url: Option<String>,
    /// Whether real money moves.
    pub livemode: bool,
    /// Our order.
    pub client_reference_id: Option<String>,
    /// Whose.
    pub customer: Option<Reference>,
    /// The sum before taxes and discounts, in minor units.
    pub amount_subtotal: Option<i64>,
    /// What the customer pays, in minor units.
    pub amount_total: Option<i64>,
    /// Lowercase.
    pub currency: Option<String>,
    /// One-off payments have one.
    pub payment_intent: Option<Reference>,
    /// Subscriptions have one.
    pub subscription: Option<Reference>,
    /// The receipt of a pack, once it is paid.
    pub invoice: Option<Reference>,
    /// What we wrote into it.
    #[serde(default)]
    pub metadata: Metadata,
    /// What is paid by money where a balance at Stripe pays the rest, in minor units: of invoices only.
    #[serde(skip)]
    pub due: Option<i64>,
}

impl Session {
    /// The status of an invoice that nobody will pay.
    pub const VOID: &str = "void";

    /// The status of an invoice whose payment is under way.
    pub const PROCESSING: &str = "processing";

    /// The invoice of an automatic top-up, which has no page, read as the session that somebody would have
    /// paid.
    #[must_use]
    pub fn of_invoice(invoice: &Invoice) -> Self {
        let (status, payment_status) = match invoice.status.as_deref() {
            Some("paid") => ("complete", "paid"),
            Some("void" | "uncollectible") => (Self::VOID, "unpaid"),
            Some("open") if invoice.is_processing() => (Self::PROCESSING, "unpaid"),
            Some(_) | None => ("open", "unpaid"),
        };
        Self {
            id: invoice.id.clone(),
            status: Some(status.to_owned()),
            payment_status: payment_status.to_owned(),
            url: None,
            livemode: invoice.livemode,
            client_reference_id: invoice.metadata.get("palveron_order").cloned(),
            customer: invoice.customer.clone(),
            amount_subtotal: Some(invoice.subtotal),
            amount_total: Some(invoice.total),
            currency: Some(invoice.currency.clone()),
            payment_intent: invoice.payment_intent().map(|id| Reference::Id(id.to_owned())),
            subscription: None,
            invoice: None,
            metadata: invoice.metadata.clone(),
            due: Some(invoice.amount_due),
        }
    }
}

/// A line of a Checkout session.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SessionLine {
    /// Which price.
    pub price: Option<Reference>,
    /// How many.
    pub quantity: Option<i64>,
}

/// A payment.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Payment {
    /// Its id.
    pub id: String,
    /// `succeeded`, `processing`, `requires_payment_method`, `canceled`, …
    pub status: String,
    /// What arrived, in minor units.
    #[serde(default)]
    pub amount_received: i64,
    /// Lowercase.
    pub currency: String,
    /// Whose.
    pub customer: Option<Reference>,
    /// What it was paid with.
    pub payment_method: Option<Reference>,
    /// Whether real money moved.
    pub livemode: bool,
    /// What we wrote into it.
    #[serde(default)]
    pub metadata: Metadata,
}

/// A refund of a payment.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Refund {
    /// Its id.
    pub id: String,
    /// `pending`, `requires_action`, `succeeded`, `failed` or `canceled`.
    pub status: Option<String>,
    /// In minor units.
    pub amount: i64,
    /// Of which payment.
    pub payment_intent: Option<Reference>,
}

/// A dispute of a payment.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DisputeSeen {
    /// Its id.
    pub id: String,
    /// `needs_response`, `won`, `lost`, …
    pub status: String,
    /// In minor units.
    pub amount: i64,
    /// Of which payment.
    pub payment_intent: Option<Reference>,
}

/// A charge, as far as its payment is found by it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Charge {
    /// Its id.
    pub id: String,
    /// Of which payment.
    pub payment_intent: Option<Reference>,
}

/// A subscription.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Subscription {
    /// Its id.
    pub id: String,
    /// `active`, `past_due`, …
    pub status: String,
    /// Whose.
    pub customer: Reference,
    /// When it was made, in seconds.
    #[serde(default)]
    pub created: u64,
    /// Whether it ends with the paid time.
    #[serde(default)]
    pub cancel_at_period_end: bool,
    /// When it ends, in seconds, where that is set.
    pub cancel_at: Option<u64>,
    /// What it is for; the paid time ends with the item.
    pub items: Page<SubscriptionItem>,
    /// What says how it will change by itself.
    pub schedule: Option<Reference>,
    /// What it is paid with.
    pub default_payment_method: Option<Reference>,
    /// Whether real money moves.
    pub livemode: bool,
    /// What we wrote into it.
    #[serde(default)]
    pub metadata: Metadata,
}

/// What a subscription is for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SubscriptionItem {
    /// Its id.
    pub id: String,
    /// Which price.
    pub price: PriceReference,
    /// How many; one.
    pub quantity: Option<u64>,
    /// When the paid time ends, in seconds.
    pub current_period_end: Option<u64>,
}

/// A price, as a subscription's item shows it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PriceReference {
    /// Its id.
    pub id: String,
}

/// An invoice.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Invoice {
    /// Its id.
    pub id: String,
    /// `draft`, `open`, `paid`, `void` or `uncollectible`.
    pub status: Option<String>,
    /// Whose.
    pub customer: Option<Reference>,
    /// The sum before taxes and discounts, in minor units.
    #[serde(default)]
    pub subtotal: i64,
    /// The sum with taxes, in minor units.
    #[serde(default)]
    pub total: i64,
    /// What a balance at Stripe does not pay of it, in minor units.
    #[serde(default)]
    pub amount_due: i64,
    /// What is still to be paid of it, in minor units.
    #[serde(default)]
    pub amount_remaining: i64,
    /// The page where it is paid, once it is final; it needs no account.
    pub hosted_invoice_url: Option<String>,
    /// What credit notes took off before it was paid, taxes included, in minor units.
    #[serde(default)]
    pub pre_payment_credit_notes_amount: i64,
    /// What credit notes gave back after it was paid, taxes included, in minor units.
    #[serde(default)]
    pub post_payment_credit_notes_amount: i64,
    /// Lowercase.
    pub currency: String,
    /// When it was made, in seconds.
    #[serde(default)]
    pub created: u64,
    /// How often its payment was tried.
    #[serde(default)]
    pub attempt_count: u64,
    /// When it reached its states.
    #[serde(default)]
    pub status_transitions: Transitions,
    /// What it is for.
    pub parent: Option<Parent>,
    /// Its lines.
    pub lines: Option<Page<InvoiceLine>>,
    /// Its payments, where they were asked for.
    pub payments: Option<Page<InvoicePayment>>,
    /// Whether real money moves.
    pub livemode: bool,
    /// What we wrote into it.
    #[serde(default)]
    pub metadata: Metadata,
}

/// A line of an invoice, as far as it names a price.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct InvoiceLine {
    /// How many.
    pub quantity: Option<i64>,
    /// By what it is priced.
    pub pricing: Option<Pricing>,
}

/// By what a line is priced.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Pricing {
    /// A price.
    pub price_details: Option<PriceDetails>,
}

/// The price of a line.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PriceDetails {
    /// Which.
    pub price: Option<Reference>,
}

/// A payment of an invoice.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct InvoicePayment {
    /// By what.
    pub payment: Option<PaidBy>,
}

/// What an invoice is paid by.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PaidBy {
    /// A payment, with its status where that was asked for.
    pub payment_intent: Option<PaymentStatus>,
}

/// A payment's id, or the payment with its status.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum PaymentStatus {
    /// The id alone.
    Id(String),
    /// With its status.
    Seen {
        /// Its id.
        id: String,
        /// `processing` while a debit is under way.
        status: String,
    },
}

/// When an invoice reached its states, in seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Transitions {
    /// When it could be paid.
    pub finalized_at: Option<u64>,
    /// When it was paid.
    pub paid_at: Option<u64>,
}

/// What an invoice is for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Parent {
    /// A subscription.
    pub subscription_details: Option<SubscriptionDetails>,
}

/// The subscription that an invoice is for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SubscriptionDetails {
    /// Which.
    pub subscription: Option<Reference>,
}

impl Invoice {
    /// The subscription that it is for, if it is for one.
    #[must_use]
    pub fn subscription(&self) -> Option<&str> {
        self.parent.as_ref()?.subscription_details.as_ref()?.subscription.as_ref().map(Reference::id)
    }

    /// Whether a payment of it is under way; a debit takes days and has not failed.
    #[must_use]
    pub fn is_processing(&self) -> bool {
        let by = |payment: &InvoicePayment| payment.payment.as_ref()?.payment_intent.clone();
        let mut statuses = self.payments.iter().flat_map(|page| &page.data).filter_map(by);
        statuses
            .any(|payment| matches!(payment, PaymentStatus::Seen { status, .. } if status == "processing"))
    }

    /// The payment that paid it, or the last that was to.
    #[must_use]
    pub fn payment_intent(&self) -> Option<&str> {
        let mut last = None;
        for payment in self.payments.iter().flat_map(|page| &page.data) {
            match payment.payment.as_ref().and_then(|by| by.payment_intent.as_ref()) {
                Some(PaymentStatus::Seen { id, status }) if status == "succeeded" => return Some(id),
                Some(PaymentStatus::Seen { id, .. } | PaymentStatus::Id(id)) => last = Some(id.as_str()),
                None => {}
            }
        }
        last
    }

    /// Its lines, as those of a session.
    #[must_use]
    pub fn session_lines(&self) -> Vec<SessionLine> {
        let price = |line: &InvoiceLine| line.pricing.as_ref()?.price_details.as_ref()?.price.clone();
        let lines = self.lines.iter().flat_map(|page| &page.data);
        lines.map(|line| SessionLine { price: price(line), quantity: line.quantity }).collect()
    }

    /// When it was paid, if it is.
    #[must_use]
    pub fn paid_at(&self) -> Option<Timestamp> {
        let seconds = self.status_transitions.paid_at?;
        Some(Timestamp::from_ms(seconds.saturating_mul(1_000)))
    }

    /// Whether one of its lines is of that price.
    #[must_use]
    pub fn names(&self, price: &str) -> bool {
        self.session_lines().iter().any(|line| line.price.as_ref().map(Reference::id) == Some(price))
    }

    /// When its payment began to be due, in seconds.
    #[must_use]
    pub fn due_since(&self) -> u64 {
        self.status_transitions.finalized_at.unwrap_or(self.created)
    }
}

/// A line that waits for, or is on, an invoice.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct InvoiceItem {
    /// Its id.
    pub id: String,
    /// In minor units.
    pub amount: i64,
    /// What we wrote into it.
    #[serde(default)]
    pub metadata: Metadata,
}

/// A customer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Customer {
    /// Its id.
    pub id: String,
    /// Whether it was deleted; then nothing else is there.
    #[serde(default)]
    pub deleted: bool,
    /// How its invoices are paid.
    #[serde(default)]
    pub invoice_settings: InvoiceSettings,
    /// What we wrote into it.
    #[serde(default)]
    pub metadata: Metadata,
}

impl Customer {
    /// What its invoices are paid with.
    #[must_use]
    pub fn default_method(&self) -> Option<&str> {
        self.invoice_settings.default_payment_method.as_ref().map(Reference::id)
    }
}

/// How a customer's invoices are paid.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct InvoiceSettings {
    /// With what.
    pub default_payment_method: Option<Reference>,
}

/// A price of our catalogue at Stripe.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Price {
    /// Its id.
    pub id: String,
    /// Whether it may be bought.
    pub active: bool,
    /// Lowercase.
    pub currency: String,
    /// In minor units.
    pub unit_amount: Option<i64>,
    /// Our name for it.
    pub lookup_key: Option<String>,
    /// Of which product.
    pub product: Reference,
    /// How often it is paid; `None` is once.
    pub recurring: Option<Recurring>,
    /// Whether taxes come on top.
    pub tax_behavior: Option<String>,
    /// Whether real money moves.
    pub livemode: bool,
    /// What we wrote into it.
    #[serde(default)]
    pub metadata: Metadata,
}

/// How often a price is paid.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Recurring {
    /// `month` or `year`.
    pub interval: String,
    /// Every how many of them.
    #[serde(default = "one")]
    pub interval_count: u64,
}

fn one() -> u64 {
    1
}
