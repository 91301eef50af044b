//! What a request that is allowed here is answered with, but for the numbers that change from one to the next.
//!
//! `entry.js` keeps it, and puts the numbers in. Together they must say exactly what [`conclude`](crate::conclude) and
//! [`Step::to_text`](crate::step::Step::to_text) would.

use shared::decision::{Ask, Numbers, Verdict};
use shared::home::HomeName;
use shared::sign::{Purpose, Signed};
use shared::source::{Paid, Source};
use shared::time::Timestamp;

use crate::conclude::{self, Decided, ticket};
use crate::config::Config;
use crate::internal::wall;
use crate::step::{Deciding, Step, Then};

/// As long as such a text usually is.
const USUAL_BYTES: usize = 768;

/// A request that is allowed, and what it is answered with.
#[derive(Debug)]
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

    /// Its lines, with a tab in the place of each number that changes: permits, seconds of the minute, units and seconds
    /// of the month that are left. `None` where they are different each time.
    pub(crate) fn form(&self, config: &Config) -> Option<String> {
        let Self { deciding: Deciding { home, ask, then, token, .. }, numbers, now, decided, paid } = self;
        // What is counted later has a token of its own, and hardly anything is paid by more than one.
        if *decided != Decided::Lease || ask.held || paid.is_some_and(Paid::is_mixed) {
            return None;
        }
        let source = self.source().map_or("", Source::as_str);
        let mut text = String::with_capacity(USUAL_BYTES);
        match then {
            Then::Check => {
                text.push_str("c\napplication/json");
                push_headers(&mut text, numbers);
                if !source.is_empty() {
                    text.push('\n');
                    text.push_str(source);
                }
                push_check(&mut text, numbers, ask, source);
            }
            Then::Forward { method, path } => {
                text.push('f');
                push_headers(&mut text, numbers);
                push_identity(config, &mut text, (home, ask), [method, path], *now);
                text.push('\n');
                text.push_str(&ticket(home, ask, *token));
                // Nothing that would have been denied.
                text.push_str("\n\n");
                text.push_str(source);
            }
            Then::Quota => return None,
        }
        Some(text)
    }

    /// What pays for it; of several the dearest.
    pub(crate) fn source(&self) -> Option<Source> {
        self.paid.and_then(Paid::source)
    }
}

fn push_headers(text: &mut String, numbers: &Numbers) {
    text.push('\n');
    numbers.push_policy(text);
    text.push_str("\n\"rpm\";r=\t;t=\t");
    if numbers.allowance.is_some() {
        text.push_str(", \"month\";r=\t;t=\t");
    }
    text.push('\n');
    text.push_str(Decided::Lease.timing());
}

fn push_check(text: &mut String, numbers: &Numbers, ask: &Ask, source: &str) {
    text.push_str("\n{\"allowed\":true,\"code\":\"ok\",\"kind\":\"");
    text.push_str(ask.kind.as_str());
    push_number(text, "\",\"cost\":", Some(ask.cost.into()));
    text.push_str(if numbers.allowance.is_some() { ",\"remaining\":\t" } else { ",\"remaining\":null" });
    push_number(text, ",\"limit\":", numbers.allowance.map(|units| units.get()));
    text.push_str(",\"resets_at\":\"");
    text.push_str(&numbers.period.end().to_string());
    text.push_str("\",\"retry_after_ms\":null");
    if !source.is_empty() {
        text.push_str(",\"source\":\"");
        text.push_str(source);
        text.push('"');
    }
    text.push('}');
}

fn push_number(text: &mut String, label: &str, number: Option<u64>) {
    text.push_str(label);
    match number {
        Some(number) => text.push_str(&number.to_string()),
        None => text.push_str("null"),
    }
}

fn push_identity(
    config: &Config,
    text: &mut String,
    (home, ask): (&HomeName, &Ask),
    [method, path]: [&str; 2],
    now: Timestamp,
) {
    let start = text.len().saturating_add(1);
    for line in [home.project.as_str(), ask.agent.as_str(), ask.key.as_str()] {
        text.push('\n');
        text.push_str(line);
    }
    let who = text.get(start..).unwrap_or_default();
    let signed = Signed { method, path, body: who.as_bytes() };
    let signature = config.signing_keys.current(Purpose::Upstream).map(|key| signed.sign(key, wall(now)));
    if let Some(signature) = signature {
        text.push('\n');
        text.push_str(&signature);
    }
}

#[cfg(test)]
mod tests {
    use shared::ids::{AgentId, KeyId};
    use shared::kind::Kind;
    use shared::plan::Plan;
    use shared::units::Units;

    use super::*;

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

    /// As `entry.js` puts the numbers in: those of the limits in their order, and the units once more.
    fn filled(form: &str, [permits, minute_s, units, month_s]: [u64; 4]) -> String {
        let mut numbers = [permits, minute_s, units, month_s, units].into_iter();
        form.split_inclusive('\t')
            .map(|piece| match piece.strip_suffix('\t') {
                Some(piece) => format!("{piece}{}", numbers.next().unwrap()),
                None => piece.to_owned(),
            })
            .collect()
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
                    let form = allowed.form(&config).unwrap();
                    let text = filled(&form, [599, minute_s, units, month_s]);
                    assert_eq!(text, allowed.into_step(&config).to_text());
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
            assert_eq!(allowed.form(&config()), None);
        }
    }
}
