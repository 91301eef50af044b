//! What this process has done so far, as numbers. They begin at zero with the process and are never read
//! by anything that decides.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};
use shared::denials::{DenialReason, Denials};

/// Up to how many seconds a request is counted as so fast: most calls are one read or one durable write, and ten
/// seconds are what a body may take to arrive.
const REQUEST_SECONDS: [f64; 10] = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0];

/// The numbers of a process; clones are the same.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Numbers>);

struct Numbers {
    registry: Registry,
    ingested_cells: Counter,
    quarantined_cells: Counter,
    crossings: Counter,
    denials: Family<Denied, Counter>,
    pushes: Counter,
    pushes_failed: Counter,
    closed_periods: Counter,
    deliveries: Counter,
    deliveries_failed: Counter,
    webhooks_disabled: Counter,
    ledger_imbalance: Gauge,
    stripe_deliveries: Counter,
    stripe_alarms: Counter,
    stripe_pending: Gauge,
    stripe_parked: Gauge,
    stripe_drift: Gauge,
    live_streams: Gauge,
    redis_lives: Family<Began, Counter>,
    redis_write_seconds: Histogram,
    redis_write_conflicts: Counter,
    redis_behind_seconds: Gauge<f64, AtomicU64>,
    reporters: Family<Standing, Gauge>,
    requests: Family<Answered, Counter>,
    request_seconds: Family<Answering, Histogram>,
}

/// Which requests were refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Denied {
    reason: &'static str,
}

/// Which reporters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Standing {
    state: &'static str,
}

/// Which lives of homes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Began {
    cause: &'static str,
}

/// Which requests were answered how.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    route: String,
    status: u16,
}

/// Which requests took so long.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answering {
    method: &'static str,
    route: String,
}

impl Default for Numbers {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("meter");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Which release this process is", build);
        let all = &mut registry;
        let numbers = Self {
            ingested_cells: new(all, "ingested_cells", "Cells that were merged"),
            quarantined_cells: new(all, "quarantined_cells", "Cells that were set aside"),
            crossings: new(all, "crossings", "Thresholds that were crossed"),
            denials: new(all, "denied_requests", "Requests that edges refused, as they told"),
            pushes: new(all, "policy_pushes", "Policies that the edge took"),
            pushes_failed: new(all, "policy_push_failures", "Pushes that did not arrive"),
            closed_periods: new(all, "closed_periods", "Periods that were closed"),
            deliveries: new(all, "webhook_deliveries", "Events that a receiver took"),
            deliveries_failed: new(all, "webhook_failures", "Attempts to deliver an event that failed"),
            webhooks_disabled: new(
                all,
                "webhooks_disabled",
                "Webhooks that were disabled because nothing arrived",
            ),
            ledger_imbalance: new(all, "ledger_imbalance", "Findings of the last audit of all ledgers"),
            stripe_deliveries: new(all, "stripe_deliveries", "Deliveries of Stripe that were taken in"),
            stripe_alarms: new(all, "stripe_alarms", "Payments that needed a person"),
            stripe_pending: new(all, "stripe_events_pending", "Events of Stripe that wait"),
            stripe_parked: new(all, "stripe_events_parked", "Events that need a person"),
            stripe_drift: new(all, "stripe_drift", "Where Stripe's books differ from ours"),
            live_streams: new(all, "live_streams", "Live streams that are open"),
            redis_lives: new(all, "redis_lives", "Lives that homes in a Redis have begun, by why"),
            redis_write_seconds: registered(
                all,
                "redis_write_seconds",
                "How long writes of homes to a Redis took until they were on its disk",
                Histogram::new(REQUEST_SECONDS),
            ),
            redis_write_conflicts: new(
                all,
                "redis_write_conflicts",
                "Writes of homes to a Redis that were decided anew because others came first",
            ),
            redis_behind_seconds: new(
                all,
                "redis_behind_seconds",
                "For how long a home in a Redis is due that was not looked after, or it is not known which are",
            ),
            reporters: new(all, "reporters", "On-premise reporters that are not retired, by how they stand"),
            requests: new(all, "http_requests", "Requests that were answered"),
            request_seconds: registered(
                all,
                "http_request_seconds",
                "How long requests took, from their head to the head of their answer",
                Family::new_with_constructor(|| Histogram::new(REQUEST_SECONDS)),
            ),
            registry: Registry::default(),
        };
        for reason in DenialReason::ALL {
            // A reason that nobody was refused for is shown too, so that an alarm can be made of it.
            drop(numbers.denials.get_or_create(&Denied { reason: reason.as_str() }));
        }
        for cause in LifeCause::ALL {
            drop(numbers.redis_lives.get_or_create(&Began { cause: cause.as_str() }));
        }
        Self { registry, ..numbers }
    }
}

/// A number from zero, shown under that name.
fn new<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    registered(registry, name, help, M::default())
}

fn registered<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// Notes a merged flush.
    pub fn ingested(&self, cells: usize, quarantined: usize) {
        self.0.ingested_cells.inc_by(wide(cells));
        self.0.quarantined_cells.inc_by(wide(quarantined));
    }

    /// Notes requests that edges refused, as flushes tell of them.
    pub fn denied(&self, denials: &Denials) {
        for reason in DenialReason::ALL {
            let count = denials.get(reason);
            self.0.denials.get_or_create(&Denied { reason: reason.as_str() }).inc_by(count);
        }
    }

    /// Notes crossings that fired.
    pub fn crossed(&self, crossings: usize) {
        self.0.crossings.inc_by(wide(crossings));
    }

    /// Notes a policy push that arrived or did not.
    pub fn pushed(&self, outcome: Pushed) {
        match outcome {
            Pushed::Arrived => self.0.pushes.inc(),
            Pushed::Failed => self.0.pushes_failed.inc(),
        };
    }

    /// Notes an attempt to deliver an event, or what came of many.
    pub fn delivered(&self, outcome: Delivered) {
        match outcome {
            Delivered::Arrived => self.0.deliveries.inc(),
            Delivered::Failed => self.0.deliveries_failed.inc(),
            Delivered::Disabled => self.0.webhooks_disabled.inc(),
        };
    }

    /// Notes periods that were closed.
    pub fn closed(&self, periods: usize) {
        self.0.closed_periods.inc_by(wide(periods));
    }

    /// Sets what the last audit found.
    pub fn audited(&self, findings: usize) {
        self.0.ledger_imbalance.set(level(findings));
    }

    /// Notes a delivery of Stripe that was taken in.
    pub fn stripe_delivered(&self) {
        self.0.stripe_deliveries.inc();
    }

    /// Notes something about a payment that a person has to look at.
    pub fn stripe_alarm(&self) {
        self.0.stripe_alarms.inc();
    }

    /// Sets how many events of Stripe wait and are parked.
    pub fn stripe_waiting(&self, pending: u64, parked: u64) {
        self.0.stripe_pending.set(level(pending));
        self.0.stripe_parked.set(level(parked));
    }

    /// Sets in how many places Stripe's books differ from ours.
    pub fn stripe_drift(&self, findings: usize) {
        self.0.stripe_drift.set(level(findings));
    }

    /// Sets how many live streams are open.
    pub fn streaming(&self, streams: usize) {
        self.0.live_streams.set(level(streams));
    }

    /// Notes that a home in a Redis has begun a life.
    pub fn life_began(&self, cause: LifeCause) {
        self.0.redis_lives.get_or_create(&Began { cause: cause.as_str() }).inc();
    }

    /// Notes a write to a Redis that was on its disk after so long.
    pub fn wrote(&self, took: Duration) {
        self.0.redis_write_seconds.observe(took.as_secs_f64());
    }

    /// Notes a write to a Redis before which another one came.
    pub fn outrun(&self) {
        self.0.redis_write_conflicts.inc();
    }

    /// Sets for how long homes in a Redis wait.
    pub fn behind(&self, time: Duration) {
        self.0.redis_behind_seconds.set(time.as_secs_f64());
    }

    /// Sets how many reporters stand how.
    pub fn reporters(&self, states: impl IntoIterator<Item = (&'static str, usize)>) {
        for (state, count) in states {
            self.0.reporters.get_or_create(&Standing { state }).set(level(count));
        }
    }

    /// Notes a request that was answered with that status after so many seconds. A route is an endpoint, never what a
    /// client wrote: there would be as many numbers as clients like.
    pub fn answered(&self, (method, route): (&'static str, &str), status: u16, seconds: f64) {
        let route = route.to_owned();
        let answered = Answered { method, route: route.clone(), status };
        self.0.requests.get_or_create(&answered).inc();
        self.0.request_seconds.get_or_create(&Answering { method, route }).observe(seconds);
    }

    /// The numbers in the text format of OpenMetrics.
    ///
    /// # Errors
    /// When a number cannot be written, which a text never refuses.
    pub fn to_text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.0.registry)?;
        Ok(text)
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

/// Why a home in a Redis has begun a life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LifeCause {
    /// There were no rows: its project is new, or the server was emptied.
    Made,
    /// The server was restarted or restored, has failed over, or has the home of another server.
    AnotherServer,
    /// The books have more than its rows know of.
    RolledBack,
    /// The project's homes have moved here, or came back.
    Arrived,
}

impl LifeCause {
    const ALL: [Self; 4] = [Self::Made, Self::AnotherServer, Self::RolledBack, Self::Arrived];

    fn as_str(self) -> &'static str {
        match self {
            Self::Made => "made",
            Self::AnotherServer => "another_server",
            Self::RolledBack => "rolled_back",
            Self::Arrived => "arrived",
        }
    }
}

/// What became of telling a customer something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    /// The receiver took it.
    Arrived,
    /// It did not.
    Failed,
    /// It never will: its webhook was disabled.
    Disabled,
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn level(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}
