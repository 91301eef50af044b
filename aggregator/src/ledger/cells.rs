//! Cells merged in memory: the reference for what the store does in SQL, and what audits replay.
//!
//! Merging is `max` (design §4), so batches may come twice, in any order and in any pieces (I8). A cell
//! beyond what the rate limit admits in a day is kept apart: it must never be billed silently.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shared::cell::{Cell, CellKey, Counts};
use shared::ids::{Incarnation, Mode, SourceId};
use shared::time::Period;
use shared::units::Units;

use super::entry::Usage;
use super::refusal::Refusal;

/// Minutes of a day; a cell-day holds at most this many times the requests per minute (design §4).
const MINUTES_PER_DAY: u64 = 24 * 60;

/// A batch of one source's cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Whether its units are billed at all.
    pub mode: Mode,
    /// Who counted.
    pub source: SourceId,
    /// Which life of its storage.
    pub incarnation: Incarnation,
    /// What was counted so far.
    pub cells: Vec<Cell>,
}

/// The cells of a project's live mode.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cells(Vec<Row>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Row {
    source: SourceId,
    incarnation: Incarnation,
    #[serde(flatten)]
    key: CellKey,
    counts: Counts,
    quarantined: Counts,
}

/// Whether a cell is more than a day of the rate limit can hold.
#[must_use]
pub fn is_implausible(counts: Counts, rpm: u32) -> bool {
    counts.units.get() > u64::from(rpm).saturating_mul(MINUTES_PER_DAY)
}

impl Cells {
    /// Merges a batch; test mode is never billed and stays out. `rpm` is the largest rate limit that
    /// was in force on the cells' days.
    #[must_use]
    pub fn merge(mut self, batch: &Batch, rpm: u32) -> Self {
        if batch.mode == Mode::Test {
            return self;
        }
        for cell in &batch.cells {
            let wanted = (&batch.source, &batch.incarnation, &cell.key);
            let place = self.0.binary_search_by(|row| (&row.source, &row.incarnation, &row.key).cmp(&wanted));
            let index = place.unwrap_or_else(|index| {
                let row = Row {
                    source: batch.source.clone(),
                    incarnation: batch.incarnation.clone(),
                    key: cell.key.clone(),
                    counts: Counts::default(),
                    quarantined: Counts::default(),
                };
                self.0.insert(index, row);
                index
            });
            if let Some(row) = self.0.get_mut(index) {
                let counts =
                    if is_implausible(cell.counts, rpm) { &mut row.quarantined } else { &mut row.counts };
                *counts = counts.merge(cell.counts);
            }
        }
        self
    }

    /// Every cell that is not quarantined: who counted, in which life, which cell, and what.
    pub fn rows(&self) -> impl Iterator<Item = (&SourceId, &Incarnation, &CellKey, Counts)> {
        self.0.iter().map(|row| (&row.source, &row.incarnation, &row.key, row.counts))
    }

    /// The usage of each period: the sums of its cells.
    ///
    /// # Errors
    /// When a sum is too large.
    pub fn totals(&self) -> Result<BTreeMap<Period, Usage>, Refusal> {
        let mut totals: BTreeMap<Period, Usage> = BTreeMap::new();
        for row in &self.0 {
            let usage = totals.entry(row.key.day.period()).or_default();
            usage.units = usage.units.checked_add(row.counts.units).ok_or(Refusal::TooLarge)?;
            usage.anchors = usage.anchors.checked_add(row.counts.anchors).ok_or(Refusal::TooLarge)?;
        }
        Ok(totals)
    }

    /// Cells that were reported beyond what the rate limit can hold, with what they claimed.
    pub fn quarantined(&self) -> impl Iterator<Item = (&SourceId, &CellKey, Units)> {
        let claimed = |row: &&Row| row.quarantined.units > Units::ZERO;
        self.0.iter().filter(claimed).map(|row| (&row.source, &row.key, row.quarantined.units))
    }
}
