//! What this process has done so far, as numbers for Prometheus. They are never read by anything that decides, and
//! nothing that strangers send makes them more.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use meter_edge::remote::Answer;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// Up to where decisions are told apart, in seconds: by a lease, by a home near by, by one that is far, and late.
const SECONDS: [f64; 10] = [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 2.0];

/// The numbers of a process; clones are the same.
#[derive(Clone)]
pub struct Metrics(Arc<Numbers>);

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// What was decided: `ok`, or the code of the denial.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Decided {
    code: String,
}

/// A call of the homes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Called {
    call: &'static str,
    outcome: &'static str,
}

/// What became of units that were with Envoy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfQuotas {
    /// They are assigned to it.
    Assigned,
    /// It has served them.
    Served,
    /// It has not, and will not.
    Returned,
    /// Nobody will ever know.
    Forfeited,
    /// It has served them, and nobody knows who assigned them.
    Unassigned,
    /// It has denied as many.
    Denied,
}

impl OfQuotas {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Assigned => "assigned",
            Self::Served => "served",
            Self::Returned => "returned",
            Self::Forfeited => "forfeited",
            Self::Unassigned => "unassigned",
            Self::Denied => "denied",
        }
    }
}

/// The same.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Became {
    what: &'static str,
}

struct Numbers {
    decisions: Family<Decided, Counter>,
    units: Counter,
    calls: Family<Called, Counter>,
    seconds: Histogram,
    quotas: Family<Became, Counter>,
    assignments: Family<Decided, Counter>,
    streams: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self(Arc::new(Numbers {
            decisions: Family::default(),
            units: Counter::default(),
            calls: Family::default(),
            seconds: Histogram::new(SECONDS),
            quotas: Family::default(),
            assignments: Family::default(),
            streams: Gauge::default(),
        }))
    }
}

impl Metrics {
    /// A question was decided, which took that long.
    pub(crate) fn decided(&self, answer: &Answer, cost: u32, took: Duration) {
        self.0.decisions.get_or_create(&Decided { code: answer.code.clone() }).inc();
        if answer.allowed && answer.would_deny.is_empty() {
            self.0.units.inc_by(cost.into());
        }
        self.0.seconds.observe(took.as_secs_f64());
    }

    /// That became of units of assignments.
    pub(crate) fn quotas(&self, what: OfQuotas, units: u64) {
        if what == OfQuotas::Served {
            self.0.units.inc_by(units);
        }
        self.0.quotas.get_or_create(&Became { what: what.as_str() }).inc_by(units);
    }

    /// An assignment of that many units was made, or refused with that code.
    pub(crate) fn assigned(&self, code: &str, units: u64) {
        self.0.assignments.get_or_create(&Decided { code: code.to_owned() }).inc();
        self.quotas(OfQuotas::Assigned, units);
    }

    /// A stream of Envoy has begun, or ended.
    pub(crate) fn streams(&self, more: i64) {
        self.0.streams.inc_by(more);
    }

    /// A home was called.
    pub(crate) fn called(&self, call: &'static str, is_answered: bool) {
        let outcome = if is_answered { "answered" } else { "failed" };
        self.0.calls.get_or_create(&Called { call, outcome }).inc();
    }

    /// All numbers, in the form that Prometheus reads.
    ///
    /// # Errors
    /// When a number cannot be written.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let numbers = &self.0;
        let mut registry = Registry::with_prefix("meter_envoy");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Which release this process is", build);
        let decisions = numbers.decisions.clone();
        registry.register("decisions", "Questions of Envoy, by ok or the code of the denial", decisions);
        registry.register("units", "Units that were allowed here", numbers.units.clone());
        registry.register("home_calls", "Calls of the homes", numbers.calls.clone());
        registry.register("decision_seconds", "How long questions took", numbers.seconds.clone());
        let what =
            "Units of assignments: assigned, served, returned, forfeited; and requests unassigned and denied";
        registry.register("quota_units", what, numbers.quotas.clone());
        let what = "Assignments, by ok or the code of the denial";
        registry.register("assignments", what, numbers.assignments.clone());
        registry.register("streams", "Streams of Envoys that get assignments", numbers.streams.clone());
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_those_that_were_allowed() {
        let metrics = Metrics::default();
        let refused = Answer::unavailable();
        let allowed = Answer { allowed: true, code: "ok".to_owned(), ..refused.clone() };
        let shadowed = Answer { would_deny: "quota_exhausted".to_owned(), ..allowed.clone() };
        for answer in [&refused, &allowed, &shadowed] {
            metrics.decided(answer, 7, Duration::from_micros(50));
        }
        metrics.called("contact", false);
        metrics.assigned("ok", 30);
        metrics.assigned("quota_exhausted", 0);
        metrics.quotas(OfQuotas::Served, 5);
        metrics.streams(1);
        let text = metrics.text().unwrap();
        for line in [
            "meter_envoy_units_total 12\n",
            "meter_envoy_quota_units_total{what=\"assigned\"} 30\n",
            "meter_envoy_assignments_total{code=\"quota_exhausted\"} 1\n",
            "meter_envoy_streams 1\n",
            "meter_envoy_decisions_total{code=\"ok\"} 2\n",
            "meter_envoy_decisions_total{code=\"home_unavailable\"} 1\n",
            "meter_envoy_home_calls_total{call=\"contact\",outcome=\"failed\"} 1\n",
            "meter_envoy_decision_seconds_count 3\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
