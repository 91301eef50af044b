//! Faults that a test asks for: calls that fail, hang or lose their answer, and deliveries that come
//! late, twice, in another order, or not at all.

use serde::Deserialize;

/// A fault of the next calls that match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct CallFault {
    /// The beginning of `METHOD /path`; empty matches every call.
    matches: String,
    /// How many calls it meets; 0 is one.
    times: u32,
    /// Answered instead of acting.
    pub(super) status: Option<u16>,
    /// Answered instead of acting, with a page as proxies make them.
    pub(super) page: Option<u16>,
    /// Waited before acting.
    pub(super) delay_ms: u64,
    /// The connection ends before the call is acted on.
    pub(super) drop: bool,
    /// The call is acted on, and its answer is lost.
    pub(super) drop_after: bool,
}

/// How deliveries go wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct DeliveryFaults {
    /// Nothing is delivered until this is taken back.
    pub(super) hold: bool,
    /// Each delivery is sent this many times more.
    pub(super) duplicates: u32,
    /// What waits is sent in an order drawn from this seed.
    pub(super) shuffle_seed: Option<u64>,
    /// Every so many-th delivery is lost, and counts as failed.
    pub(super) lose_every: u64,
}

/// All faults that are asked for.
#[derive(Debug, Default)]
pub(super) struct Faults {
    calls: Vec<CallFault>,
    pub(super) deliveries: DeliveryFaults,
}

impl Faults {
    /// Adds a fault of calls.
    pub(super) fn add(&mut self, fault: CallFault) {
        self.calls.push(CallFault { times: fault.times.max(1), ..fault });
    }

    /// The fault of this call, used up once.
    pub(super) fn of(&mut self, call: &str) -> Option<CallFault> {
        let place = self.calls.iter().position(|fault| call.starts_with(&fault.matches))?;
        let fault = self.calls.get_mut(place)?;
        fault.times = fault.times.saturating_sub(1);
        let met = fault.clone();
        if met.times == 0 {
            self.calls.remove(place);
        }
        Some(met)
    }

    /// Takes all faults back.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
