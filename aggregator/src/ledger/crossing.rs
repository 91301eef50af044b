//! Crossings: the first passing of a percentage of the included quota.
//!
//! A level fires once per (period, quota version) (I6). An upgrade makes a new version and so arms the
//! levels anew; a top-up does not, because thresholds are percentages of the included quota (design
//! §5). A crossing carries neither time nor total: those belong to its outbox row, or no permutation
//! of batches could leave the same bytes (I8).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use shared::time::Period;
use shared::units::Units;

/// A crossing; also the unique key of its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Crossing {
    /// In which period.
    pub period: Period,
    /// Of which version of its quota.
    pub quota_version: u32,
    /// Which level, in percent.
    pub percent: u8,
}

/// The levels of a project, in percent of the included quota, rising.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct Levels(BTreeSet<u8>);

impl Default for Levels {
    /// 80 % and 100 % (seed: "`usage.threshold_reached` fires at 80% and 100% of monthly quota").
    fn default() -> Self {
        Self(BTreeSet::from([80, Self::FULL]))
    }
}

impl Levels {
    /// The whole quota; a quota denial counts as its crossing.
    pub const FULL: u8 = 100;
    /// The most levels of a project; each is an event a month.
    pub const LEVELS_MAX: usize = 10;

    /// Levels of 1 to 100 percent.
    ///
    /// # Errors
    /// When there are none, too many, or one is out of range.
    pub fn new(percents: impl IntoIterator<Item = u8>) -> Result<Self, String> {
        let levels: BTreeSet<u8> = percents.into_iter().collect();
        if levels.is_empty() || levels.len() > Self::LEVELS_MAX {
            return Err(format!("levels: got {}, accepted are 1 to {}", levels.len(), Self::LEVELS_MAX));
        }
        match levels.iter().find(|percent| !(1..=Self::FULL).contains(*percent)) {
            Some(percent) => Err(format!("levels: got {percent}, accepted are 1 to {} percent", Self::FULL)),
            None => Ok(Self(levels)),
        }
    }
}

impl TryFrom<Vec<u8>> for Levels {
    type Error = String;
    fn try_from(percents: Vec<u8>) -> Result<Self, String> {
        Self::new(percents)
    }
}

impl From<Levels> for Vec<u8> {
    fn from(levels: Levels) -> Self {
        levels.0.into_iter().collect()
    }
}

/// Where a period stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Which period.
    pub period: Period,
    /// The version of its quota.
    pub quota_version: u32,
    /// Its quota; without one nothing is crossed.
    pub quota: Units,
    /// Settled units.
    pub used: Units,
    /// Whether the home has denied for lack of quota: that counts as the 100 % crossing, because
    /// forfeits may keep settled units below it (design §3).
    pub denied: bool,
}

/// The crossings that are due, in rising order; a jump emits each level that it passes.
///
/// It looks at where the total is, not at where it came from: a level that was reached is due until it
/// has fired. So a crossing cannot be lost between two totals, 80 always comes before 100, and a
/// version that begins above a level fires it at once.
#[must_use]
pub fn crossings(at: Position, levels: &Levels, fired: &BTreeSet<Crossing>) -> Vec<Crossing> {
    if at.quota == Units::ZERO {
        return vec![];
    }
    let due = |percent: &u8| at.denied || at.used.reaches(*percent, at.quota);
    let crossing =
        |percent: &u8| Crossing { period: at.period, quota_version: at.quota_version, percent: *percent };
    levels.0.iter().filter(|percent| due(percent)).map(crossing).filter(|new| !fired.contains(new)).collect()
}
