//! What a request that is allowed here is answered with, but for the numbers that change from one to the next.
//!
//! `again.js` keeps it, and puts the numbers in. Together they must say exactly what [`conclude`](crate::conclude) would.

use serde::Serialize;
use shared::decision::{Numbers, Verdict};
use shared::source::{Paid, Source};
use shared::time::Timestamp;

use crate::conclude::{self, Decided};
use crate::config::Config;
use crate::step::{Deciding, Step, Then};

/// A known answer, but for the numbers that change: permits, seconds of the minute, units and seconds of the month that are
/// left. Each stands between two of the pieces.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Form {
    /// The header `RateLimit`.
    pub(crate) limit: Vec<String>,
    /// The body of a check; its only number is the units that are left.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) body: Vec<String>,
}

/// A request that is allowed, and what it is answered with.
#[derive(Debug, Clone)]
pub(crate) struct Allowed {
    pub(crate) deciding: Deciding,
    pub(crate) numbers: Numbers,
    pub(crate) now: Timestamp,
    pub(crate) decided: Decided,
    pub(crate) paid: Option<Paid>,
}

impl Allowed {
    /// As a step.
    pub(crate) fn into_step(self, config: &Config) -> Step {
        let Self { deciding, numbers, now, decided, paid } = self;
        conclude::decided(config, deciding, &Verdict { denial: None, numbers, paid }, now, decided)
    }

    /// As a step, while it is needed again.
    pub(crate) fn step(&self, config: &Config) -> Step {
        self.clone().into_step(config)
    }

    /// What of its answer is the same when it is asked again. `None` where it is different each time.
    pub(crate) fn form(&self, step: &Step) -> Option<Form> {
        let Self { deciding: Deciding { ask, then, .. }, numbers, decided, paid, .. } = self;
        // What is counted later has a token of its own, and hardly anything is paid by more than one.
        if *decided != Decided::Lease || ask.held || *then == Then::Quota || paid.is_some_and(Paid::is_mixed)
        {
            return None;
        }
        let month: &[&str] = if numbers.allowance.is_some() { &[", \"month\";r=", ";t="] } else { &[] };
        let limit = ["\"rpm\";r=", ";t="].iter().chain(month).chain(&[""]).map(ToString::to_string).collect();
        let body = if let Step::Answer(answer) = step { parted(&answer.body) } else { Vec::new() };
        Some(Form { limit, body })
    }

    /// What pays for it; of several the dearest.
    pub(crate) fn source(&self) -> Option<Source> {
        self.paid.and_then(Paid::source)
    }
}

/// A check's body, without the units that are left.
fn parted(body: &str) -> Vec<String> {
    const LEFT: &str = "\"remaining\":";
    let found = body.find(LEFT).map(|at| body.split_at(at.saturating_add(LEFT.len())));
    let Some((before, rest)) =
        found.filter(|(_, rest)| rest.starts_with(|first: char| first.is_ascii_digit()))
    else {
        return vec![body.to_owned()];
    };
    vec![before.to_owned(), rest.trim_start_matches(|digit: char| digit.is_ascii_digit()).to_owned()]
}

#[cfg(test)]
mod tests {
    use shared::decision::Ask;
    use shared::home::HomeName;
    use shared::ids::{AgentId, KeyId};
    use shared::kind::Kind;
    use shared::plan::Plan;
    use shared::units::Units;

    use super::*;
    use crate::step::Answer;

    const NOW: Timestamp = Timestamp::from_ms(1_795_435_200_123);

    fn config() -> Config {
        let key = |purpose: &str, byte: &str| format!("{purpose}:k1:{}", byte.repeat(32));
        let keys = [key("edge", "11"), key("policy", "22"), key("upstream", "33")].join(",");
        Config::read(&format!("1:{}", "44".repeat(32)), &keys, "").unwrap()
    }

    fn deciding(then: Then, kind: Kind) -> Deciding {
        let agent = AgentId::parse("bot%22").unwrap();
        let ask =
            Ask { key: KeyId::parse("k001").unwrap(), kind, agent, cost: 12, dry_run: false, held: false };
        Deciding { token: 7, ..Deciding::new(HomeName::parse("demo/live").unwrap(), ask, then) }
    }

    fn numbers(now: Timestamp, allowance: Option<u64>) -> Numbers {
        Numbers {
            now,
            period: now.period(),
            plan: Plan::Pro,
            included: Units::new(10_000),
            allowance: allowance.map(Units::new),
            used: Units::new(17),
            forfeited: Units::ZERO,
            rpm: 600,
            rpm_remaining: 599,
            agents_max: None,
            upgrade_url: String::new(),
        }
    }

    /// As `again.js` puts the numbers in.
    fn filled(pieces: &[String], numbers: &[u64]) -> String {
        let numbers = numbers.iter().map(ToString::to_string).chain([String::new()]);
        pieces.iter().cloned().zip(numbers).map(|(piece, number)| piece + &number).collect()
    }

    #[test]
    fn it_is_what_the_long_way_says() {
        let config = config();
        let forward = || Then::Forward { method: "POST".to_owned(), path: "/v1/verify?x=1".to_owned() };
        for month in 0..14 {
            let now = NOW.plus_ms(month * 30 * 86_400_000);
            for allowance in [None, Some(0), Some(1_000_000)] {
                for (kind, then) in
                    Kind::ALL.into_iter().flat_map(|kind| [(kind, Then::Check), (kind, forward())])
                {
                    let (deciding, numbers) = (deciding(then, kind), numbers(now, allowance));
                    let paid = match month.rem_euclid(4) {
                        0 => None,
                        1 => Some(Paid { included: 12, ..Paid::default() }),
                        2 => Some(Paid { lot: 12, ..Paid::default() }),
                        _ => Some(Paid { overage: 12, ..Paid::default() }),
                    };
                    let ends = [now.minute().end(), now.period().end()];
                    let [minute_s, month_s] = ends.map(|end| end.ms_since(now).div_ceil(1_000));
                    let units = numbers.remaining().unwrap_or_default().get();
                    let allowed = Allowed { deciding, numbers, now, decided: Decided::Lease, paid };
                    let step = allowed.step(&config);
                    let form = allowed.form(&step).unwrap();
                    let (Step::Answer(Answer { headers, .. }) | Step::Forward { headers, .. }) = &step else {
                        panic!("{step:?}")
                    };
                    let limit = headers.iter().find(|(name, _)| name == "RateLimit").unwrap();
                    let all = [599, minute_s, units, month_s];
                    assert_eq!(form.limit.len(), if allowance.is_some() { 5 } else { 3 });
                    assert_eq!(filled(&form.limit, &all[..form.limit.len() - 1]), limit.1);
                    let Step::Answer(answer) = &step else {
                        assert!(form.body.is_empty());
                        continue;
                    };
                    assert_eq!(form.body.len(), if allowance.is_some() { 2 } else { 1 });
                    assert_eq!(filled(&form.body, &[units][..form.body.len() - 1]), answer.body);
                }
            }
        }
    }

    #[test]
    fn what_is_counted_later_or_asked_of_the_home_or_paid_by_two_is_answered_at_length() {
        let mixed = Some(Paid { included: 11, lot: 1, overage: 0 });
        for (held, decided, paid) in
            [(true, Decided::Lease, None), (false, Decided::Home, None), (false, Decided::Lease, mixed)]
        {
            let mut deciding = deciding(Then::Check, Kind::Verify);
            deciding.ask.held = held;
            let allowed = Allowed { deciding, numbers: numbers(NOW, None), now: NOW, decided, paid };
            assert_eq!(allowed.form(&allowed.step(&config())), None);
        }
    }
}
