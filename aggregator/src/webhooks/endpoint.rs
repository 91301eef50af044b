//! Endpoints: where a project wants to be told what.

use std::collections::BTreeSet;
use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;
use shared::ids::ProjectId;
use shared::time::Timestamp;

use super::event::EventType;
use super::health::Health;
use super::target::origin;

/// The most endpoints of a project; each event may go to every one of them.
pub const ENDPOINTS_MAX: usize = 10;

/// The longest description: one line.
pub const DESCRIPTION_CHARS_MAX: usize = 200;

/// The most secrets that sign at once: rotating more often than that in a day is an accident.
pub const SECRETS_MAX: usize = 5;

/// What deliveries look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub enum Format {
    /// Our bodies, signed.
    Standard,
    /// A sentence, as Slack's incoming webhooks take it.
    Slack,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 2] = [Self::Standard, Self::Slack];

    /// The format's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Slack => "slack",
        }
    }

    /// The format of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.as_str() == text)
    }
}

/// Which events an endpoint gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// All, also types that are yet to come.
    All,
    /// These.
    Only(BTreeSet<EventType>),
}

/// How all events are written.
const ALL: &str = "*";

impl Filter {
    /// What is accepted as a list of events.
    #[must_use]
    pub fn accepted() -> String {
        let names = EventType::ALL.iter().filter(|kind| kind.is_subscribable()).map(|kind| kind.as_str());
        format!("a list of {}, or [\"*\"] for all", names.collect::<Vec<_>>().join(", "))
    }

    /// Reads a list of names; the name that is refused otherwise, empty for an empty list.
    ///
    /// # Errors
    /// With what is not accepted.
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut kinds = BTreeSet::new();
        let mut all = false;
        for name in names {
            match EventType::parse(name).filter(|kind| kind.is_subscribable()) {
                Some(kind) => {
                    kinds.insert(kind);
                }
                None if name == ALL => all = true,
                None => return Err(name.to_owned()),
            }
        }
        match (all, kinds.is_empty()) {
            (true, _) => Ok(Self::All),
            (false, true) => Err(String::new()),
            (false, false) => Ok(Self::Only(kinds)),
        }
    }

    /// The names that it is written as.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        match self {
            Self::All => vec![ALL],
            Self::Only(kinds) => kinds.iter().map(|kind| kind.as_str()).collect(),
        }
    }

    /// Whether it lets an event through.
    #[must_use]
    pub fn takes(&self, kind: EventType) -> bool {
        match self {
            Self::All => kind.is_subscribable(),
            Self::Only(kinds) => kinds.contains(&kind),
        }
    }
}

/// As it is stored: names with spaces between.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().join(" "))
    }
}

/// An endpoint; its secrets are elsewhere, sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub project: ProjectId,
    /// Where deliveries go. Judged when it was set, and again at each attempt.
    pub url: String,
    /// Which events it gets.
    pub events: Filter,
    /// What they look like.
    pub format: Format,
    /// What it is for, in its owner's words.
    pub description: String,
    /// Whether it gets anything.
    pub health: Health,
    /// When it was made.
    pub created: Timestamp,
}

/// An endpoint as the audit log shows it: what can be changed about it.
#[derive(Debug, Serialize)]
pub struct EndpointNote {
    url: String,
    events: Vec<&'static str>,
    format: &'static str,
    description: String,
    disabled: bool,
}

impl From<&Endpoint> for EndpointNote {
    fn from(endpoint: &Endpoint) -> Self {
        Self {
            url: endpoint.shown_url(),
            events: endpoint.events.names(),
            format: endpoint.format.as_str(),
            description: endpoint.description.clone(),
            disabled: matches!(endpoint.health, Health::Disabled { .. }),
        }
    }
}

impl Endpoint {
    /// The URL as it may be shown: whoever knows all of a Slack URL may post to its channel.
    #[must_use]
    pub fn shown_url(&self) -> String {
        match self.format {
            Format::Standard => self.url.clone(),
            Format::Slack => origin(&self.url),
        }
    }
}

/// What to change about an endpoint; `None` leaves it as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndpointChange {
    /// Where deliveries go.
    pub url: Option<String>,
    /// Which events it gets.
    pub events: Option<Filter>,
    /// What it is for.
    pub description: Option<String>,
    /// Whether it is to be disabled; `false` turns it on again, whyever it was disabled.
    pub disabled: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_read_back_and_take_what_they_name() {
        let parse = |text: &str| Filter::parse(text.split_whitespace());
        let some = parse("topup.credited usage.threshold_reached").unwrap();
        assert_eq!(some.to_string(), "usage.threshold_reached topup.credited");
        assert_eq!(parse(&some.to_string()), Ok(some.clone()));
        assert!(some.takes(EventType::TopupCredited) && !some.takes(EventType::PlanChanged));
        let all = parse("key.revoked *").unwrap();
        assert_eq!(all.to_string(), "*");
        assert!(EventType::ALL.iter().all(|kind| all.takes(*kind) == kind.is_subscribable()));
        assert_eq!(parse("usage.treshold"), Err("usage.treshold".to_owned()));
        assert_eq!(parse("webhook.test"), Err("webhook.test".to_owned()), "only what happens by itself");
        assert_eq!(parse(""), Err(String::new()));
    }
}
