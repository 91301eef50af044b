//! What this process has done so far, as numbers. They begin at zero with the process and are never read
//! by anything that decides.

use std::sync::atomic::{AtomicU64, Ordering};

use shared::denials::{DenialReason, Denials};

/// The numbers of a process.
#[derive(Debug, Default)]
pub struct Metrics {
    ingested_cells: AtomicU64,
    quarantined_cells: AtomicU64,
    crossings: AtomicU64,
    /// In the order of the reasons.
    denials: [AtomicU64; DenialReason::ALL.len()],
    pushes: AtomicU64,
    pushes_failed: AtomicU64,
    closed_periods: AtomicU64,
    deliveries: AtomicU64,
    deliveries_failed: AtomicU64,
    webhooks_disabled: AtomicU64,
    ledger_imbalance: AtomicU64,
    stripe_deliveries: AtomicU64,
    stripe_alarms: AtomicU64,
    stripe_pending: AtomicU64,
    stripe_parked: AtomicU64,
    stripe_drift: AtomicU64,
}

impl Metrics {
    /// Notes a merged flush.
    pub fn ingested(&self, cells: usize, quarantined: usize) {
        add(&self.ingested_cells, cells);
        add(&self.quarantined_cells, quarantined);
    }

    /// Notes requests that edges refused, as flushes tell of them.
    pub fn denied(&self, denials: &Denials) {
        for (counter, reason) in self.denials.iter().zip(DenialReason::ALL) {
            counter.fetch_add(denials.get(reason), Ordering::Relaxed);
        }
    }

    /// Notes crossings that fired.
    pub fn crossed(&self, crossings: usize) {
        add(&self.crossings, crossings);
    }

    /// Notes a policy push that arrived or did not.
    pub fn pushed(&self, outcome: Pushed) {
        match outcome {
            Pushed::Arrived => add(&self.pushes, 1),
            Pushed::Failed => add(&self.pushes_failed, 1),
        }
    }

    /// Notes an attempt to deliver an event, or what came of many.
    pub fn told(&self, outcome: Told) {
        match outcome {
            Told::Arrived => add(&self.deliveries, 1),
            Told::Failed => add(&self.deliveries_failed, 1),
            Told::Disabled => add(&self.webhooks_disabled, 1),
        }
    }

    /// Notes periods that were closed.
    pub fn closed(&self, periods: usize) {
        add(&self.closed_periods, periods);
    }

    /// Sets what the last audit found.
    pub fn audited(&self, findings: usize) {
        self.ledger_imbalance.store(u64::try_from(findings).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Notes a delivery of Stripe that was taken in.
    pub fn stripe_delivered(&self) {
        add(&self.stripe_deliveries, 1);
    }

    /// Notes something about a payment that a person has to look at.
    pub fn stripe_alarm(&self) {
        add(&self.stripe_alarms, 1);
    }

    /// Sets how many events of Stripe wait and are parked.
    pub fn stripe_waiting(&self, pending: u64, parked: u64) {
        self.stripe_pending.store(pending, Ordering::Relaxed);
        self.stripe_parked.store(parked, Ordering::Relaxed);
    }

    /// Sets in how many places Stripe's books differ from ours.
    pub fn stripe_drift(&self, findings: usize) {
        self.stripe_drift.store(u64::try_from(findings).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The numbers in the text format of Prometheus.
    #[must_use]
    pub fn to_text(&self) -> String {
        let values = [
            ("meter_ingested_cells_total", "Cells that were merged.", "counter", &self.ingested_cells),
            (
                "meter_quarantined_cells_total",
                "Cells that were set aside.",
                "counter",
                &self.quarantined_cells,
            ),
            ("meter_crossings_total", "Thresholds that were crossed.", "counter", &self.crossings),
            ("meter_policy_pushes_total", "Policies that the edge took.", "counter", &self.pushes),
            (
                "meter_policy_push_failures_total",
                "Pushes that did not arrive.",
                "counter",
                &self.pushes_failed,
            ),
            ("meter_closed_periods_total", "Periods that were closed.", "counter", &self.closed_periods),
            ("meter_webhook_deliveries_total", "Events that a receiver took.", "counter", &self.deliveries),
            (
                "meter_webhook_failures_total",
                "Attempts to deliver an event that failed.",
                "counter",
                &self.deliveries_failed,
            ),
            (
                "meter_webhooks_disabled_total",
                "Webhooks that were disabled because nothing arrived.",
                "counter",
                &self.webhooks_disabled,
            ),
            (
                "meter_ledger_imbalance",
                "Findings of the last audit of all ledgers.",
                "gauge",
                &self.ledger_imbalance,
            ),
            (
                "meter_stripe_deliveries_total",
                "Deliveries of Stripe that were taken in.",
                "counter",
                &self.stripe_deliveries,
            ),
            ("meter_stripe_alarms_total", "Payments that needed a person.", "counter", &self.stripe_alarms),
            ("meter_stripe_events_pending", "Events of Stripe that wait.", "gauge", &self.stripe_pending),
            ("meter_stripe_events_parked", "Events that need a person.", "gauge", &self.stripe_parked),
            ("meter_stripe_drift", "Where Stripe's books differ from ours.", "gauge", &self.stripe_drift),
        ];
        let line = |(name, help, kind, value): (&str, &str, &str, &AtomicU64)| {
            let value = value.load(Ordering::Relaxed);
            format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n")
        };
        values.map(line).concat() + &self.denials_text()
    }

    fn denials_text(&self) -> String {
        let name = "meter_denied_requests_total";
        let head =
            format!("# HELP {name} Requests that edges refused, as they told.\n# TYPE {name} counter\n");
        let line = |(counter, reason): (&AtomicU64, DenialReason)| {
            format!("{name}{{reason=\"{reason}\"}} {}\n", counter.load(Ordering::Relaxed))
        };
        self.denials.iter().zip(DenialReason::ALL).map(line).fold(head, |text, line| text + &line)
    }
}

/// What became of a policy push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// The edge has it.
    Arrived,
    /// It will be sent again.
    Failed,
}

/// What became of telling a customer something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// The receiver took it.
    Arrived,
    /// It did not.
    Failed,
    /// It never will: its webhook was disabled.
    Disabled,
}

fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
}
