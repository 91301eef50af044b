//! What this process has done so far, as numbers for Prometheus. They are never read by anything that decides.

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::standing::{Standing, State};

/// The numbers of a process; clones are the same.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Numbers>);

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Which state.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct In {
    state: &'static str,
}

#[derive(Default)]
struct Numbers {
    /// Requests that were counted here, by `POST /count` or by a decision.
    units: Counter,
    /// Requests that were refused here.
    denials: Counter,
    /// Reports that a receipt came for.
    reports: Counter,
    /// Attempts to send one that failed.
    failures: Counter,
    offline_seconds: Gauge,
    left_seconds: Gauge,
    states: Family<In, Gauge>,
}

impl Metrics {
    /// Units were counted.
    pub fn counted(&self, units: u64) {
        self.0.units.inc_by(units);
    }

    /// A request was refused.
    pub fn denied(&self) {
        self.0.denials.inc();
    }

    /// A receipt came.
    pub fn acknowledged(&self) {
        self.0.reports.inc();
    }

    /// An attempt failed.
    pub fn failed(&self) {
        self.0.failures.inc();
    }

    /// All numbers, in the form that Prometheus reads.
    ///
    /// # Errors
    /// When a number cannot be written.
    pub fn text(&self, standing: &Standing) -> Result<String, fmt::Error> {
        let numbers = &self.0;
        let seconds = |ms: Option<u64>| i64::try_from(ms.unwrap_or(0).div_euclid(1_000)).unwrap_or(i64::MAX);
        numbers.offline_seconds.set(seconds(standing.offline_ms));
        numbers.left_seconds.set(seconds(standing.left_ms));
        for state in State::ALL {
            let is_it = i64::from(state == standing.state);
            numbers.states.get_or_create(&In { state: state.as_str() }).set(is_it);
        }
        let mut registry = Registry::with_prefix("meter_reporter");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Which release this process is", build);
        registry.register("units", "Requests that were counted here", numbers.units.clone());
        registry.register("denials", "Requests that were refused here", numbers.denials.clone());
        registry.register("reports", "Reports that a receipt came for", numbers.reports.clone());
        registry.register(
            "report_failures",
            "Attempts to send a report that failed",
            numbers.failures.clone(),
        );
        registry.register("offline_seconds", "Since the last receipt", numbers.offline_seconds.clone());
        registry.register(
            "left_seconds",
            "Until the contracted minimum is billed at least",
            numbers.left_seconds.clone(),
        );
        registry.register("state", "1 for the state that the reporter is in", numbers.states.clone());
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::time::Timestamp;

    #[test]
    fn one_state_is_the_one_that_it_is_in() {
        let metrics = Metrics::default();
        metrics.counted(5);
        let text = metrics.text(&Standing::of(true, None, None, Timestamp::from_ms(5))).unwrap();
        assert!(text.contains("meter_reporter_units_total 5\n"), "{text}");
        assert!(text.contains("meter_reporter_state{state=\"air_gap\"} 1\n"), "{text}");
        assert!(text.contains("meter_reporter_state{state=\"ok\"} 0\n"), "{text}");
    }
}
