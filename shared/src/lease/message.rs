//! The messages between a holder and its home.
//!
//! A contact reports, returns and asks; a reply acknowledges and issues. Either may come twice, late
//! or never. Unknown fields are tolerated, so that releases can differ; amounts are below 2^53.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::cell::{CellKey, Observed};
use crate::decision::Denial;
use crate::denials::Denials;
use crate::ids::{AgentId, Incarnation, KeyId};
use crate::lease::math::times;
use crate::plan::Plan;
use crate::policy::Status;
use crate::source::Beyond;
use crate::time::{Minute, Period, Timestamp};

/// One instance that holds leases: random, and never used again after its memory is gone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HolderId(u128);

impl HolderId {
    /// An id from 128 random bits.
    #[must_use]
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// Which of `count` sub-homes of its region this holder belongs to.
    #[must_use]
    pub fn sub_home(self, count: u32) -> u32 {
        let high = u64::try_from(self.0 >> 64).unwrap_or(0);
        u32::try_from(high.rem_euclid(u64::from(count.max(1)))).unwrap_or(0)
    }

    /// Reads 32 hex digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        hex.then(|| u128::from_str_radix(text, 16).ok().map(Self)).flatten()
    }
}

impl fmt::Display for HolderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for HolderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0 >> 96)
    }
}

impl Serialize for HolderId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HolderId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("holder: accepted are 32 hex digits"))
    }
}

/// Units served of one cell, as a batch reports them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Which cell; its day is the permit's.
    #[serde(flatten)]
    pub key: CellKey,
    /// How many more.
    pub units: u64,
}

/// What was observed and refused of one cell, as a batch reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sight {
    /// Which cell.
    #[serde(flatten)]
    pub key: CellKey,
    /// How much more.
    #[serde(flatten)]
    pub observed: Observed,
    /// How many more were refused.
    #[serde(default, skip_serializing_if = "Denials::is_empty")]
    pub denials: Denials,
}

/// What was served, frozen under a number until it is acknowledged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Rises by one with each batch of a holder; zero is no batch.
    pub seq: u64,
    /// What was served; a cell may have several lines.
    #[serde(default)]
    pub lines: Vec<Line>,
    /// What was observed beside it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sights: Vec<Sight>,
    /// How many of those units came without a lease, from the reserve of an overage without a cap.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reserve: BTreeMap<Period, u64>,
    /// How many of them an earlier life of the sub-home's storage had issued: they are not of what it has now.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub earlier: BTreeMap<Period, u64>,
    /// Units that holders had in hand of an earlier life of the home or the sub-home, and have let go: nobody will ever
    /// spend them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub let_go: BTreeMap<Period, u64>,
    /// Calls that the home decided, by their numbers, whose answers have left. The home knows what they were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<u64>,
}

/// What goes back unused. It left the holder's hands before this was written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Returns {
    /// Units of each period.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub units: BTreeMap<Period, u64>,
    /// What of those is beyond the plan's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub beyond: BTreeMap<Period, Beyond>,
    /// Permits of each minute.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub permits: BTreeMap<Minute, u64>,
    /// Units of limited agents.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<AgentReturn>,
    /// Calls that the home may have decided, by their numbers, whose answers will never leave.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<u64>,
}

/// Units of a limited agent that go back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentReturn {
    /// Of which period.
    pub period: Period,
    /// Of which agent.
    pub agent: AgentId,
    /// How many.
    pub units: u64,
}

impl Returns {
    /// Whether nothing goes back.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.units.is_empty() && self.permits.is_empty() && self.agents.is_empty() && self.calls.is_empty()
    }

    /// What of the units of that period is beyond the plan's.
    pub(crate) fn beyond_of(&self, period: Period) -> Beyond {
        self.beyond.get(&period).copied().unwrap_or_default()
    }

    pub(crate) fn add_units(&mut self, period: Period, units: u64, beyond: Beyond) {
        if units > 0 {
            let sum = self.units.entry(period).or_insert(0);
            *sum = sum.saturating_add(units);
        }
        if !beyond.is_none() {
            self.beyond.entry(period).or_default().add(beyond);
        }
    }

    pub(crate) fn add_permits(&mut self, minute: Minute, permits: u64) {
        if permits > 0 {
            let sum = self.permits.entry(minute).or_insert(0);
            *sum = sum.saturating_add(permits);
        }
    }

    pub(crate) fn add_agent(&mut self, period: Period, agent: &AgentId, units: u64) {
        if units > 0 {
            self.agents.push(AgentReturn { period, agent: agent.clone(), units });
        }
    }
}

/// Waiting requests that are alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// For which agent, where the policy has limits for agents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// What each of them costs; each is admitted whole or not at all.
    pub cost: u32,
    /// How many of them wait.
    pub count: u32,
}

impl Need {
    /// What all of them cost.
    #[must_use]
    pub fn total(&self) -> u64 {
        times(u64::from(self.cost), u64::from(self.count))
    }
}

/// What a holder has in hand as it writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Units of the current period.
    pub units: u64,
    /// Permits of the current minute.
    pub permits: u64,
    /// Permits of the next minute.
    pub next: u64,
}

/// From a holder to its home. The same bytes are sent until they are answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// Who writes.
    pub holder: HolderId,
    /// Whether it is a sub-home, whose storage outlives its process.
    #[serde(default)]
    pub child: bool,
    /// Each lane of a holder is strictly sequential.
    pub lane: u8,
    /// Rises by one with each contact of the lane, from one.
    pub nonce: u64,
    /// The life of the home that the leases are of; `None` until the first reply, and until then nothing is reported.
    #[serde(default)]
    pub incarnation: Option<Incarnation>,
    /// What was served.
    #[serde(default)]
    pub batch: Batch,
    /// What goes back.
    #[serde(default)]
    pub returns: Returns,
    /// The waiting requests, in the order of their arrival.
    #[serde(default)]
    pub needs: Vec<Need>,
    /// Whether more than the need is welcome.
    #[serde(default)]
    pub renew: bool,
    /// Whether this holder has had no reply yet.
    #[serde(default)]
    pub first: bool,
    /// Requests in a thousand seconds.
    #[serde(default)]
    pub rate: u64,
    /// What is in hand.
    #[serde(default)]
    pub held: Held,
    /// Units out with isolates that a sub-home has not heard of lately: nobody is spending them.
    #[serde(default)]
    pub stranded: u64,
    /// Units of the current period that were served and are in no batch yet: nobody has them in hand any more.
    #[serde(default)]
    pub unreported: u64,
    /// How many batches this holder had frozen when this was written: what is unreported is in a later one. It may have
    /// arrived by another lane before this does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batches: Option<u64>,
    /// The version of the terms that the holder knows; zero is none.
    #[serde(default)]
    pub terms: u64,
    /// Keys of waiting requests that those terms do not have: the answer's terms have them, or it says that they are
    /// revoked, or nobody can tell yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<KeyId>,
}

impl Contact {
    /// A contact on a holder's first lane that reports nothing and asks for nothing; `nonce` counts from one.
    #[must_use]
    pub fn bare(holder: HolderId, nonce: u64) -> Self {
        Self {
            holder,
            child: false,
            lane: 0,
            nonce,
            incarnation: None,
            batch: Batch::default(),
            returns: Returns::default(),
            needs: Vec::new(),
            renew: false,
            first: false,
            rate: 0,
            held: Held::default(),
            stranded: 0,
            unreported: 0,
            batches: None,
            terms: 0,
            keys: Vec::new(),
        }
    }
}

/// The part of the policy that a holder enforces by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The policy's version.
    pub version: u64,
    /// Whether requests are served at all.
    pub status: Status,
    /// The plan, for answers that name it.
    pub plan: Plan,
    /// The keys that are not revoked.
    pub keys: Vec<KeyId>,
    /// Requests per minute.
    pub rpm: u32,
    /// How many distinct agents may be used in a period; `None` is unlimited.
    pub agents_max: Option<u32>,
    /// Where a customer who ran out can upgrade.
    pub upgrade_url: String,
    /// Whether each request is decided by the home.
    pub strict: bool,
    /// Whether an agent must be admitted before it is served.
    pub agents_limited: bool,
    /// The agents with a limit of their own.
    pub capped: Vec<AgentId>,
    /// How many sub-homes stand between isolates and the home; zero is none.
    pub sub_homes: u32,
    /// Whether leases say what of their units is beyond the plan's; homes of releases before do not.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub tells_sources: bool,
}

/// A denial that holds for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Why.
    pub denial: Denial,
    /// For which agent; `None` for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// For requests of this cost or more.
    pub cost: u32,
    /// For how long from the contact's first sending.
    pub for_ms: u64,
}

/// Permits of the minute after the current one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextPermits {
    /// Of which minute.
    pub minute: Minute,
    /// How many.
    pub count: u64,
    /// How long after the reply was written they may be spent.
    pub from_ms: u64,
    /// How long after the contact was sent they may no longer be spent.
    pub until_ms: u64,
}

/// An agent that the home knows, with units of its own where it is limited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentGrant {
    /// Which agent.
    pub agent: AgentId,
    /// Units under its limit; zero where it has none.
    pub units: u64,
}

/// What a home issues, and how to go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The home's life.
    pub incarnation: Incarnation,
    /// The issuer's own clock when this was written: of two replies the later one knows better.
    #[serde(default)]
    pub written: Timestamp,
    /// The version of the terms that this was issued under; the terms below may be newer, where a stored reply
    /// is sent again.
    #[serde(default)]
    pub version: u64,
    /// The home's time when this was written, or a little earlier.
    pub now: Timestamp,
    /// How much earlier it may be, in milliseconds: a sub-home knows the home's time by hearsay.
    #[serde(default)]
    pub now_slack_ms: u64,
    /// The units' period.
    pub period: Period,
    /// Units issued.
    pub units: u64,
    /// What of them is beyond the plan's.
    #[serde(default, skip_serializing_if = "Beyond::is_none")]
    pub beyond: Beyond,
    /// For how long the units may be spent, from the first sending.
    pub valid_ms: u64,
    /// The permits' minute.
    pub minute: Minute,
    /// Permits issued.
    pub permits: u64,
    /// For how long the permits may be spent, from the first sending.
    pub minute_ms: u64,
    /// Permits of the next minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<NextPermits>,
    /// Agents admitted, and units of limited ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<AgentGrant>,
    /// For how long everything held may be spent without a further contact, from the first sending.
    pub fresh_ms: u64,
    /// What was denied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refusals: Vec<Refusal>,
    /// All agents that have a place in the period, where somebody was refused one: whoever else is named is refused as
    /// well, while that refusal holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub admitted: Vec<AgentId>,
    /// Those of the keys asked for that nobody knows. Whatever else the terms do not have may be newer than they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoked: Vec<KeyId>,
    /// For how long to stay away; zero is not at all.
    #[serde(default)]
    pub hold_ms: u64,
    /// How often to report.
    pub report_ms: u64,
    /// How many lanes may be used.
    pub lanes: u8,
    /// After how long without requests everything goes back.
    pub idle_ms: u64,
    /// Everything must go back: the allowance was cut below what is issued.
    #[serde(default)]
    pub recall: bool,
    /// Whether much is left.
    #[serde(default)]
    pub ample: bool,
    /// Whether overage is open: units are unlimited, and there is a reserve for when no home answers.
    #[serde(default)]
    pub open: bool,
    /// The period's allowance; zero where it is open.
    pub allowance: u64,
    /// Units that the project has left after this, with the issuer or with other holders, as far as it knows; for answers
    /// that show it.
    #[serde(default)]
    pub left: u64,
    /// Units that were served of the period, as far as the issuer knows, without what its own holders have served and
    /// not reported to it; for answers that show it.
    #[serde(default)]
    pub used: u64,
    /// Permits of the minute that the project has left after this.
    #[serde(default)]
    pub permits_left: u64,
    /// Units that may be at risk in isolates under one issuer.
    pub risk: u64,
    /// The highest batch of this holder that is durable.
    pub ack: u64,
    /// The terms, where the holder's are older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<Terms>,
}

impl Lease {
    /// The version of the terms that its refusals rest on; issuers that do not say so know no older ones.
    pub(crate) fn rests_on(&self, known: &Terms) -> u64 {
        if self.version == 0 { known.version } else { self.version }
    }

    /// The same answer, given once more: what it refused for a while is not refused for that while again. A month or a
    /// minute that was spent when it was written may be over by now.
    pub(crate) fn told_again(&mut self, now: Timestamp) {
        let age_ms = now.ms_since(self.written);
        self.refusals.retain_mut(|refusal| {
            refusal.for_ms = refusal.for_ms.saturating_sub(age_ms);
            refusal.for_ms > 0 || age_ms == 0
        });
        self.hold_ms = self.hold_ms.saturating_sub(age_ms);
    }

    /// What it refuses. The quota is not spent while units are `stuck` with the holder: they go back and are asked for
    /// again.
    pub(crate) fn refused(&self, stuck: bool) -> impl Iterator<Item = &Refusal> {
        self.refusals.iter().filter(move |refusal| !(stuck && refusal.denial.is_spent()))
    }
}

/// What a home answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// Too busy: send the same contact again after that many milliseconds. Nothing was changed.
    Shed {
        /// How long to wait.
        hold_ms: u64,
    },
    /// The home does not know this holder's leases: they are void.
    Resync {
        /// The home's present life.
        incarnation: Incarnation,
    },
    /// The contact was taken.
    Lease(Box<Lease>),
}

/// From a home to a holder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// To whom.
    pub holder: HolderId,
    /// On which lane.
    pub lane: u8,
    /// To which contact.
    pub nonce: u64,
    /// What.
    pub body: Body,
}
