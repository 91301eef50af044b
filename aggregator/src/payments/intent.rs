//! Invoice intents: what a closed month costs, on its way to one invoice at Stripe (I7).
//!
//! A row is written in the transaction that closes the month, before anything is sent. From then on it moves
//! by keyed calls, one step at a time, each remembered before the next: an invoice of its own, its lines, its
//! finalization. When Stripe may have forgotten a key, what is there is looked up before another is used.

use shared::ids::ProjectId;
use shared::time::{Period, Timestamp};

use super::order::Form;
use super::seen::{Invoice, InvoiceItem, Reference};
use super::table::{BillStep, INVOICES, InvoiceState};
use crate::ledger::bill::{Bill, Line, LineKind};
use crate::ledger::entry::Fact;
use crate::ledger::money::Money;
use crate::ledger::refusal::Refusal;
use crate::ledger::state::Ledger;

/// How long Stripe certainly remembers a key ("at least 24 hours"), with room for our own delays.
pub const KEY_STANDS_MS: u64 = 20 * 60 * 60 * 1_000;

/// The bill of a closed month, or of an adjustment to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// Whose.
    pub project: ProjectId,
    /// Of which month.
    pub period: Period,
    /// 0 is the close, others are the month's adjustments.
    pub number: u32,
    /// The lines.
    pub bill: Bill,
    /// Their sum.
    pub amount: Money,
    /// How far it has come.
    pub step: BillStep,
    /// Which key the calls of this step are made with.
    pub attempt: u32,
    /// The customer at Stripe that it was begun with.
    pub customer: Option<String>,
    /// The invoice.
    pub invoice: Option<String>,
    /// When a call of this step and attempt was first sent.
    pub first_sent: Option<Timestamp>,
    /// Since when it is overdue.
    pub overdue_since: Option<Timestamp>,
    /// When it was written.
    pub created: Timestamp,
    /// Why it is held, or what went wrong last.
    pub note: Option<String>,
}

/// What an entry of the ledger makes us collect.
#[must_use]
pub fn of_fact(fact: &Fact) -> Option<(Period, u32, &Bill)> {
    let (period, number, bill) = match fact {
        Fact::PeriodClosed { period, bill, .. } => (*period, 0, bill),
        Fact::Adjustment { period, number, bill, .. } => (*period, *number, bill),
        Fact::Opened(_)
        | Fact::PlanChanged { .. }
        | Fact::OverageChanged(_)
        | Fact::PastDue { .. }
        | Fact::Recovered
        | Fact::RecoveredAt { .. }
        | Fact::Suspended { .. }
        | Fact::Resumed
        | Fact::LotBought { .. }
        | Fact::CreditGiven { .. }
        | Fact::LotRefunded { .. }
        | Fact::LotDisputed { .. }
        | Fact::Shortfall { .. }
        | Fact::ShortfallCovered { .. }
        | Fact::ForfeitReleased { .. }
        | Fact::Corrected { .. } => return None,
    };
    bill.lines.iter().any(|line| line.amount.minor() > 0).then_some((period, number, bill))
}

/// What corrections have taken off the bills of a month, in minor units: at Stripe a credit note has to say so.
///
/// # Errors
/// When an amount is too large.
pub fn taken_off(ledger: &Ledger, of: Period) -> Result<i128, Refusal> {
    let mut off = 0_i128;
    for entry in ledger.entries() {
        if let Fact::Corrected { period, bill, .. } = &entry.fact
            && *period == of
        {
            off = off.checked_sub(bill.total(ledger.currency())?.minor()).ok_or(Refusal::TooLarge)?;
        }
    }
    Ok(off)
}

impl Intent {
    /// The lines that cost something.
    pub fn lines(&self) -> impl Iterator<Item = &Line> {
        self.bill.lines.iter().filter(|line| line.amount.minor() > 0)
    }

    /// The key of a call of this intent.
    #[must_use]
    pub fn key(&self, call: &str) -> String {
        let Self { project, period, number, attempt, .. } = self;
        format!("pm:bill:{project}:{period}:{number}:{call}:{attempt}")
    }

    /// What every object of this intent carries.
    #[must_use]
    pub fn metadata(&self) -> Vec<(&'static str, String)> {
        vec![
            ("palveron_project", self.project.to_string()),
            ("palveron_period", self.period.to_string()),
            ("palveron_number", self.number.to_string()),
            ("palveron_kind", "overage".to_owned()),
        ]
    }

    /// The form that makes the invoice.
    #[must_use]
    pub fn invoice_form(&self, customer: &str, automatic_tax: bool) -> Form {
        let mut form = fields(&[
            ("customer", customer),
            ("auto_advance", "false"),
            ("collection_method", "charge_automatically"),
            ("pending_invoice_items_behavior", "exclude"),
            ("currency", &self.amount.currency().to_string()),
            ("description", &format!("Usage of {} beyond the plan", self.period)),
            ("automatic_tax[enabled]", if automatic_tax { "true" } else { "false" }),
        ]);
        form.extend(metadata_fields(&self.metadata()));
        form
    }

    /// The form that puts a line on the invoice.
    #[must_use]
    pub fn line_form(&self, line: &Line, customer: &str, invoice: &str) -> Form {
        let (start, end) = (self.period.start().as_seconds(), self.period.end().as_seconds());
        let mut form = fields(&[
            ("customer", customer),
            ("invoice", invoice),
            ("amount", &line.amount.minor().to_string()),
            ("currency", &line.amount.currency().to_string()),
            ("description", &self.description(line)),
            ("tax_behavior", super::goods::TAX_BEHAVIOR),
            ("period[start]", &start.to_string()),
            ("period[end]", &end.to_string()),
        ]);
        let mut metadata = self.metadata();
        metadata.push(("palveron_line", line_name(line).to_owned()));
        form.extend(metadata_fields(&metadata));
        form
    }

    fn description(&self, line: &Line) -> String {
        let what = match &line.kind {
            LineKind::Overage(_) => "requests beyond the included quota and top-ups",
            LineKind::Anchors(_) => "blockchain anchors",
        };
        let again = if self.number == 0 { String::new() } else { format!(", adjustment {}", self.number) };
        format!("{}: {} {what}{again}", self.period, line.quantity)
    }

    /// Whether an invoice is this intent's.
    #[must_use]
    pub fn is_of(&self, invoice: &Invoice) -> bool {
        self.metadata().iter().all(|(name, value)| invoice.metadata.get(*name) == Some(value))
    }

    /// The lines that are not on the invoice yet.
    pub fn missing<'a>(&'a self, items: &'a [InvoiceItem]) -> impl Iterator<Item = &'a Line> {
        let is_there = |line: &Line| {
            items
                .iter()
                .any(|item| item.metadata.get("palveron_line").map(String::as_str) == Some(line_name(line)))
        };
        self.lines().filter(move |line| !is_there(line))
    }

    /// Whether a call of this step may have been forgotten by Stripe.
    #[must_use]
    pub fn may_be_forgotten(&self, now: Timestamp) -> bool {
        self.first_sent.is_some_and(|sent| now.ms_since(sent) >= KEY_STANDS_MS)
    }

    /// The intent at its next step, where keys are counted anew.
    #[must_use]
    pub fn at(self, step: BillStep) -> Self {
        Self { step, attempt: 1, first_sent: None, note: None, ..self }
    }

    /// Brings the intent to what Stripe shows of its invoice. Drafts move by our own calls alone.
    #[must_use]
    pub fn settle(self, invoice: &Invoice, livemode: bool) -> Self {
        let state = invoice_state(invoice);
        let Some((_, step, overdue)) = INVOICES.iter().find(|(of, _, _)| Some(*of) == state) else {
            return self;
        };
        if let Err(mismatch) = self.verify(invoice, livemode) {
            return Self { step: BillStep::Held, note: Some(mismatch), ..self };
        }
        let since = Timestamp::from_ms(invoice.due_since().saturating_mul(1_000));
        Self {
            step: *step,
            invoice: Some(invoice.id.clone()),
            overdue_since: overdue.then_some(since),
            ..self
        }
    }

    /// What an operator has to be told of an intent that has just come to this step.
    #[must_use]
    pub fn alarm(&self) -> Option<String> {
        let Self { period, number, note, .. } = self;
        let why = match self.step {
            BillStep::Held => note.clone().unwrap_or_default(),
            BillStep::Void => "its invoice was voided at Stripe".to_owned(),
            BillStep::Uncollectible => "its invoice was given up at Stripe".to_owned(),
            BillStep::Due
            | BillStep::Drafted
            | BillStep::Lined
            | BillStep::Collecting
            | BillStep::Paid
            | BillStep::Overdue => return None,
        };
        Some(format!("the bill {period}/{number} is not collected: {why}"))
    }

    /// Checks a final invoice against the bill.
    fn verify(&self, invoice: &Invoice, livemode: bool) -> Result<(), String> {
        let customer = invoice.customer.as_ref().map(Reference::id);
        if invoice.livemode != livemode {
            return Err(format!("livemode: got {}, accepted is {livemode}", invoice.livemode));
        }
        if customer != self.customer.as_deref() {
            return Err(format!("customer: got {customer:?}, accepted is {:?}", self.customer));
        }
        if invoice.currency != self.amount.currency().to_string() {
            return Err(format!(
                "currency: got {:?}, accepted is {}",
                invoice.currency,
                self.amount.currency()
            ));
        }
        if i128::from(invoice.subtotal) != self.amount.minor() {
            return Err(format!("subtotal: got {}, accepted is {}", invoice.subtotal, self.amount.minor()));
        }
        Ok(())
    }
}

/// How an invoice stands; `None` where this release does not know its status.
#[must_use]
pub fn invoice_state(invoice: &Invoice) -> Option<InvoiceState> {
    let state = InvoiceState::parse(invoice.status.as_deref()?)?;
    let failed = state == InvoiceState::Open && invoice.attempt_count > 0 && !invoice.is_processing();
    Some(if failed { InvoiceState::Failed } else { state })
}

/// The name of a line among those of one bill, which has one of each kind.
#[must_use]
pub fn line_name(line: &Line) -> &'static str {
    match line.kind {
        LineKind::Overage(_) => "overage",
        LineKind::Anchors(_) => "anchors",
    }
}

/// Form fields from pairs.
#[must_use]
pub fn fields(pairs: &[(&str, &str)]) -> Form {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Form fields of an object's metadata.
pub fn metadata_fields(metadata: &[(&'static str, String)]) -> Form {
    metadata.iter().map(|(name, value)| (format!("metadata[{name}]"), value.clone())).collect()
}
