//! From the descriptors of a request of Envoy to the meter's one question.
//!
//! All descriptors are read together and must hold together: whatever they say is of one request, which costs once or
//! not at all. Entries of other names are other limits' and are skipped.

use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use meter_edge::remote::Check;
use shared::excerpt::beginning;
use shared::key::bearer;
use shared::kind::Kind;
use shared::problem::Problem;

/// The entries that are read.
pub const API_KEY: &str = "api_key";
/// For whom it is counted.
pub const AGENT: &str = "agent";
/// What it is counted as.
pub const KIND: &str = "kind";

const KINDS: &str = "verify, mcp_tool_call or extension_event";
const ONE_VALUE: &str = "one value in all descriptors of a request";
const COSTS: &str = "a whole number from 1 to 1000";

/// What is wrong with descriptors.
pub type Refused = Box<Problem>;

/// A question as Envoy asks it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The project key; empty where there is none.
    pub key: String,
    /// The agent, if one is named.
    pub agent: Option<String>,
    /// What it is counted as.
    pub kind: Kind,
    /// How many units it costs.
    pub cost: u32,
}

impl Question {
    /// Reads the descriptors of one request, and how many hits it adds.
    ///
    /// # Errors
    /// What is wrong with them; never repeats a key.
    pub fn of(descriptors: &[RateLimitDescriptor], hits_addend: u32) -> Result<Self, Refused> {
        let mut asked = Asked::default();
        for descriptor in descriptors {
            let own = descriptor.hits_addend.as_ref().map(|addend| addend.value);
            asked.costs(own.unwrap_or_else(|| u64::from(hits_addend.max(1))), descriptor.is_negative_hits)?;
            for entry in &descriptor.entries {
                asked.says(&entry.key, &entry.value)?;
            }
        }
        asked.question()
    }

    /// Reads what a bucket is built of: each of its requests costs one.
    ///
    /// # Errors
    /// What is wrong with it; never repeats a key.
    pub fn of_entries<'a>(entries: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Self, Refused> {
        let mut asked = Asked::default();
        for (name, value) in entries {
            asked.says(name, value)?;
        }
        asked.question()
    }

    /// The same as the meter reads it.
    #[must_use]
    pub fn check(&self) -> Check<'_> {
        let Self { key, agent, kind, cost } = self;
        Check { key, kind: *kind, agent: agent.as_deref(), cost: *cost, dry_run: false }
    }
}

/// What was said so far.
#[derive(Debug, Default)]
struct Asked<'a> {
    key: Option<&'a str>,
    agent: Option<&'a str>,
    kind: Option<&'a str>,
    cost: Option<u64>,
}

impl<'a> Asked<'a> {
    fn says(&mut self, name: &str, value: &'a str) -> Result<(), Refused> {
        let place = match name {
            API_KEY => &mut self.key,
            AGENT => &mut self.agent,
            KIND => &mut self.kind,
            _ => return Ok(()),
        };
        match place.replace(value) {
            Some(before) if before != value => {
                let got = if name == API_KEY { "two of them" } else { value };
                Err(refused(name, beginning(got, 40), ONE_VALUE))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn costs(&mut self, hits: u64, is_negative: bool) -> Result<(), Refused> {
        if is_negative {
            return Err(refused("is_negative_hits", "true", "false: what was served stays counted"));
        }
        match self.cost.replace(hits) {
            Some(before) if before != hits => Err(refused("hits_addend", &hits.to_string(), ONE_VALUE)),
            Some(_) | None => Ok(()),
        }
    }

    fn question(self) -> Result<Question, Refused> {
        let Self { key, agent, kind, cost } = self;
        let hits = cost.unwrap_or(1);
        let cost = u32::try_from(hits).ok().filter(|cost| (1..=1_000).contains(cost));
        let cost = cost.ok_or_else(|| refused("hits_addend", &hits.to_string(), COSTS))?;
        let kind = match kind {
            Some(text) => Kind::parse(text).ok_or_else(|| refused(KIND, beginning(text, 40), KINDS))?,
            None => Kind::Verify,
        };
        let key = key.unwrap_or_default();
        // A whole `Authorization` header is a key too, so that Envoy can pass it as it is.
        let key = bearer(key).unwrap_or(key).to_owned();
        let agent = agent.filter(|text| !text.is_empty()).map(str::to_owned);
        Ok(Question { key, agent, kind, cost })
    }
}

fn refused(field: &str, got: &str, accepts: &str) -> Refused {
    Box::new(Problem::field(field, got, accepts))
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
    use envoy_types::pb::google::protobuf::UInt64Value;

    use super::*;

    fn descriptor(entries: &str) -> RateLimitDescriptor {
        let entry = |pair: &str| {
            let (key, value) = pair.split_once('=').unwrap();
            Entry { key: key.to_owned(), value: value.replace('_', " ").replace("pk live ", "pk_live_") }
        };
        RateLimitDescriptor {
            entries: entries.split_whitespace().map(entry).collect(),
            ..RateLimitDescriptor::default()
        }
    }

    fn check(descriptors: &[&str], hits: u32, expected: &str) {
        let all: Vec<_> = descriptors.iter().map(|text| descriptor(text)).collect();
        let told = match Question::of(&all, hits) {
            Ok(Question { key, agent, kind, cost }) => {
                format!("{key} {} {kind} {cost}", agent.unwrap_or_default())
            }
            Err(problem) => problem.field.unwrap_or_default(),
        };
        assert_eq!(told, expected, "{descriptors:?} {hits}");
    }

    #[test]
    fn descriptors_are_one_question() {
        check(&["api_key=pk_live_a"], 0, "pk_live_a  verify 1");
        check(&["api_key=Bearer_pk_live_a agent=bot"], 7, "pk_live_a bot verify 7");
        check(
            &["api_key=pk_live_a", "agent=bot generic=x", "api_key=pk_live_a"],
            1,
            "pk_live_a bot verify 1",
        );
        check(&["remote_address=10.0.0.1"], 0, "  verify 1");
        check(&[], 1_000, "  verify 1");
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused_by_its_name() {
        check(&["api_key=pk_live_a", "api_key=pk_live_b"], 0, "api_key");
        check(&["agent=a", "agent=b"], 0, "agent");
        check(&["kind=verification"], 0, "kind");
        check(&["api_key=pk_live_a"], 1_001, "hits_addend");
        let costs = |value| RateLimitDescriptor {
            hits_addend: Some(UInt64Value { value }),
            ..descriptor("api_key=pk_live_a")
        };
        assert_eq!(Question::of(&[costs(5), costs(5)], 1).unwrap().cost, 5);
        for refused in [vec![costs(0)], vec![costs(5), costs(6)], vec![costs(5), descriptor("agent=a")]] {
            assert_eq!(Question::of(&refused, 1).unwrap_err().field.as_deref(), Some("hits_addend"));
        }
        let back = RateLimitDescriptor { is_negative_hits: true, ..descriptor("api_key=pk_live_a") };
        assert_eq!(Question::of(&[back], 1).unwrap_err().field.as_deref(), Some("is_negative_hits"));
    }

    #[test]
    fn a_bucket_is_a_question_too() {
        let entries =
            [("gateway", "envoy"), ("agent", "bot"), ("api_key", "Bearer pk_live_a"), ("kind", "verify")];
        let Question { key, agent, kind, cost } = Question::of_entries(entries.into_iter()).unwrap();
        assert_eq!((key.as_str(), agent.as_deref(), kind, cost), ("pk_live_a", Some("bot"), Kind::Verify, 1));
        let refused = Question::of_entries([("kind", "verification")].into_iter()).unwrap_err();
        assert_eq!(refused.field.as_deref(), Some("kind"));
    }

    #[test]
    fn a_key_is_never_repeated() {
        let two = [descriptor("api_key=pk_live_secretone"), descriptor("api_key=pk_live_secrettwo")];
        assert!(!Question::of(&two, 0).unwrap_err().to_json().contains("secret"));
    }
}
