//! Denials: how many requests were refused and why, told with the cells. They never decide anything, and no bill reads
//! them: they stand beside what is counted, not in it.
//!
//! Beside them stands what shadow mode let through, by the reason that it would have been refused for.

use alloc::collections::BTreeMap;
use alloc::string::String;
use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::problem::ErrorCode;
use crate::units::Units;

/// Why a request was refused, as the code of its answer says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DenialReason {
    /// The key is revoked.
    Unauthorized,
    /// The period's allowance is spent.
    QuotaExhausted,
    /// The project is suspended.
    ProjectSuspended,
    /// No further agent is admitted, or the agent's own limit is reached.
    AgentLimit,
    /// The minute's permits are used up.
    RateLimited,
    /// What is left of the allowance is held elsewhere for a moment.
    QuotaContended,
    /// The home could not be asked in time.
    HomeUnavailable,
}

/// How many reasons there are.
const REASONS: usize = DenialReason::ALL.len();

impl DenialReason {
    /// Every reason, in the order of their statuses.
    pub const ALL: [Self; 7] = [
        Self::Unauthorized,
        Self::QuotaExhausted,
        Self::ProjectSuspended,
        Self::AgentLimit,
        Self::RateLimited,
        Self::QuotaContended,
        Self::HomeUnavailable,
    ];

    /// Those that shadow mode lets through: limits, and a home that cannot be asked.
    pub const SHADOWED: [Self; 5] = [
        Self::QuotaExhausted,
        Self::AgentLimit,
        Self::RateLimited,
        Self::QuotaContended,
        Self::HomeUnavailable,
    ];

    /// The code of the answer that refuses for it.
    #[must_use]
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::Unauthorized => ErrorCode::Unauthorized,
            Self::ProjectSuspended => ErrorCode::ProjectSuspended,
            Self::AgentLimit => ErrorCode::AgentLimit,
            Self::RateLimited => ErrorCode::RateLimited,
            Self::QuotaExhausted => ErrorCode::QuotaExhausted,
            Self::QuotaContended => ErrorCode::QuotaContended,
            Self::HomeUnavailable => ErrorCode::HomeUnavailable,
        }
    }

    /// The reason's name on the wire and in storage: its code.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.code().as_str()
    }

    /// The reason of that name, if there is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }

    const fn place(self) -> usize {
        match self {
            Self::Unauthorized => 0,
            Self::QuotaExhausted => 1,
            Self::ProjectSuspended => 2,
            Self::AgentLimit => 3,
            Self::RateLimited => 4,
            Self::QuotaContended => 5,
            Self::HomeUnavailable => 6,
        }
    }
}

impl fmt::Display for DenialReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What stands before a reason's name where shadow mode let the requests through.
const SHADOW: &str = "shadow_";

/// Requests that were refused, by reason, and those that shadow mode let through. Each is one request, whatever it would
/// have cost.
///
/// Its JSON has a field for each reason that has any, named `shadow_…` for what was let through; names of later releases
/// are skipped, as earlier ones skip the `shadow_…` of this.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Denials {
    refused: [Units; REASONS],
    let_through: [Units; REASONS],
}

impl Denials {
    /// Nothing was refused, and nothing let through.
    pub const NONE: Self = Self { refused: [Units::ZERO; REASONS], let_through: [Units::ZERO; REASONS] };

    /// `count` requests that were refused for one reason.
    #[must_use]
    pub fn of(reason: DenialReason, count: u64) -> Self {
        let mut denials = Self::NONE;
        denials.add(reason, count);
        denials
    }

    /// `count` requests that shadow mode let through, which would have been refused for one reason.
    #[must_use]
    pub fn shadowed(reason: DenialReason, count: u64) -> Self {
        let Self { refused, let_through } = Self::of(reason, count);
        Self { refused: let_through, let_through: refused }
    }

    /// What was refused, alone.
    #[must_use]
    pub fn refused(self) -> Self {
        Self { let_through: Self::NONE.let_through, ..self }
    }

    /// What shadow mode let through, as if it had been refused.
    #[must_use]
    pub fn let_through(self) -> Self {
        Self { refused: self.let_through, let_through: Self::NONE.let_through }
    }

    /// Whether nothing was refused, and nothing let through.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::NONE
    }

    /// How many were refused for that reason.
    #[must_use]
    pub fn get(&self, reason: DenialReason) -> u64 {
        self.refused.get(reason.place()).map_or(0, |count| count.get())
    }

    /// Every reason that has any, with how many.
    pub fn each(&self) -> impl Iterator<Item = (DenialReason, u64)> {
        DenialReason::ALL.into_iter().map(|reason| (reason, self.get(reason))).filter(|(_, count)| *count > 0)
    }

    /// All that were refused.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.refused.into_iter().fold(Units::ZERO, Units::saturating_add).get()
    }

    /// Counts further ones that were refused.
    pub fn add(&mut self, reason: DenialReason, count: u64) {
        if let Some(slot) = self.refused.get_mut(reason.place()) {
            *slot = slot.saturating_add(Units::new(count));
        }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.with(other, Units::saturating_add)
    }

    /// The merge of two reports of the same cell: the larger of each count.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        self.with(other, Units::max)
    }

    /// What these are beyond others.
    #[must_use]
    pub fn beyond(self, other: Self) -> Self {
        self.with(other, Units::saturating_sub)
    }

    fn with(mut self, other: Self, of: fn(Units, Units) -> Units) -> Self {
        let Self { refused, let_through } = other;
        let mine = self.refused.iter_mut().chain(&mut self.let_through);
        for (count, other) in mine.zip(refused.into_iter().chain(let_through)) {
            *count = of(*count, other);
        }
        self
    }
}

impl Serialize for Denials {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let named = |(reason, count): (DenialReason, u64)| (String::from(reason.as_str()), count);
        let shadowed = |(reason, count): (DenialReason, u64)| (alloc::format!("{SHADOW}{reason}"), count);
        let let_through = self.let_through();
        serializer.collect_map(self.each().map(named).chain(let_through.each().map(shadowed)))
    }
}

impl<'de> Deserialize<'de> for Denials {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let named = BTreeMap::<String, Units>::deserialize(deserializer)?;
        let mut denials = Self::NONE;
        for (name, count) in &named {
            if let Some(reason) = DenialReason::parse(name) {
                denials.add(reason, count.get());
            } else if let Some(reason) = name.strip_prefix(SHADOW).and_then(DenialReason::parse) {
                denials = denials.plus(Self::shadowed(reason, count.get()));
            }
        }
        Ok(denials)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn every_reason_has_a_place_and_a_name_of_its_own() {
        for (at, reason) in DenialReason::ALL.into_iter().enumerate() {
            assert_eq!(reason.place(), at, "{reason}");
            assert_eq!(DenialReason::parse(reason.as_str()), Some(reason));
            assert_eq!(serde_json::to_string(&reason).unwrap(), format!("\"{reason}\""));
            let denials = Denials::of(reason, 3);
            assert_eq!((denials.get(reason), denials.total()), (3, 3));
            assert_eq!(denials.each().collect::<alloc::vec::Vec<_>>(), [(reason, 3)]);
        }
    }

    #[test]
    fn merging_takes_the_larger_of_each_and_changes_nothing_twice() {
        let (rate, quota) = (DenialReason::RateLimited, DenialReason::QuotaExhausted);
        let (a, b) = (Denials::of(rate, 3).plus(Denials::of(quota, 1)), Denials::of(rate, 2));
        assert_eq!(a.merge(b), a);
        assert_eq!(b.merge(a), a);
        assert_eq!(a.merge(a), a);
        assert_eq!(a.beyond(b), Denials::of(rate, 1).plus(Denials::of(quota, 1)));
        assert_eq!(b.beyond(a), Denials::NONE);
    }

    #[test]
    fn their_json_has_what_there_is_and_reasons_of_later_releases_are_skipped() {
        let denials =
            Denials::of(DenialReason::RateLimited, 3).plus(Denials::of(DenialReason::Unauthorized, 1));
        let text = r#"{"unauthorized":1,"rate_limited":3}"#;
        assert_eq!(json::write(&denials), text);
        for text in [text, r#"{"rate_limited":3,"unauthorized":1,"shut_out":9}"#] {
            assert_eq!(json::read::<Denials>(text).unwrap(), denials, "{text}");
        }
        for bad in
            [r#"{"rate_limited":-1}"#, r#"{"rate_limited":9007199254740992}"#, r#"{"rate_limited":"1"}"#, "3"]
        {
            assert!(json::read::<Denials>(bad).is_err(), "{bad}");
        }
        assert!(Denials::NONE.is_empty() && !denials.is_empty());
    }

    #[test]
    fn what_was_let_through_is_told_beside_what_was_refused_and_never_as_that() {
        let rate = DenialReason::RateLimited;
        let both = Denials::of(rate, 3).plus(Denials::shadowed(rate, 5));
        let text = r#"{"rate_limited":3,"shadow_rate_limited":5}"#;
        assert_eq!(json::write(&both), text);
        assert_eq!(json::read::<Denials>(text).unwrap(), both);
        assert_eq!((both.total(), both.get(rate), both.let_through().get(rate)), (3, 3, 5));
        assert_eq!((both.refused(), both.let_through()), (Denials::of(rate, 3), Denials::of(rate, 5)));
        assert!(!Denials::shadowed(rate, 1).is_empty() && Denials::shadowed(rate, 1).refused().is_empty());
        let more = Denials::shadowed(rate, 7);
        assert_eq!(both.merge(more), Denials::of(rate, 3).plus(more));
        assert_eq!(both.merge(more).beyond(both), Denials::shadowed(rate, 2));
        for reason in DenialReason::SHADOWED {
            let denials = Denials::shadowed(reason, 1);
            assert_eq!(json::write(&denials), format!(r#"{{"shadow_{reason}":1}}"#));
            assert_eq!(json::read::<Denials>(&json::write(&denials)).unwrap(), denials);
        }
    }
}
