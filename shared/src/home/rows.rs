//! The home's durable form: named rows of JSON text, which SQLite and Redis can both hold.
//!
//! | row | holds |
//! |---|---|
//! | `meta` | name, incarnation, clock, the minute's window, flush numbers |
//! | `policy` | the installed policy |
//! | `account/<period>` | what was issued in the period, its agents |
//! | `holder/<id>` | its last batch, its outstanding units |
//! | `lane/<id>/<n>` | the last nonce and what was answered |
//! | `call/<id>/<n>` | a call of that holder which was allowed, and not concluded yet |
//! | `cell/<day>/<kind>/<agent>` | a cumulative cell |

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::account::Account;
use super::call::CallId;
use super::crowd::SEEN_MS;
use super::{Home, OpenCell};
use crate::cell::CellKey;
use crate::ids::AgentId;
use crate::json;
use crate::kind::Kind;
use crate::policy::Policy;
use crate::time::{Day, Period, Timestamp};

/// Reports are taken for so long after what they are of: a period is final 72 hours after its end.
const LATE_MS_MAX: u64 = 72 * 3_600_000;
/// The same in days, for cells: a day that has ended within it can still be reported.
const CELL_DAYS_KEPT: u32 = 3;

const META: &str = "meta";
const POLICY: &str = "policy";

/// One change of the durable form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The row's name.
    pub key: String,
    /// Its new text; `None` deletes it.
    pub value: Option<String>,
}

/// A stored row is not what this release writes. The home refuses to decide from it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("stored row {key:?} cannot be read: {why}")]
pub struct CorruptRow {
    /// The row's name.
    pub key: String,
    /// What is wrong with it.
    pub why: String,
}

/// Rows that changed and were not handed over yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Writes(BTreeMap<String, Option<String>>);

impl Writes {
    /// Notes a row's new value; `None` deletes it.
    pub(crate) fn put<T: Serialize>(&mut self, key: String, value: Option<&T>) {
        self.0.insert(key, value.map(json::write));
    }

    /// Hands everything over.
    pub(crate) fn take(&mut self) -> Vec<Row> {
        core::mem::take(&mut self.0).into_iter().map(|(key, value)| Row { key, value }).collect()
    }
}

impl Home {
    /// Reads a home back from its rows; `None` if nothing was ever stored.
    ///
    /// # Errors
    /// When a row is not one that a home has written.
    pub fn load(
        rows: impl IntoIterator<Item = (String, String)>,
        now: Timestamp,
    ) -> Result<Option<Self>, CorruptRow> {
        let mut rows: Vec<_> = rows.into_iter().collect();
        let Some(meta) = rows.iter().position(|(key, _)| key == META) else {
            return match rows.into_iter().next() {
                None => Ok(None),
                Some((key, _)) => Err(CorruptRow { key, why: "there is no meta row beside it".to_owned() }),
            };
        };
        let (key, value) = rows.remove(meta);
        let mut home = Self::of(read(&key, &value)?);
        rows.iter().try_for_each(|(key, value)| home.load_row(key, value, now))?;
        // Who was here before the restart still is, and what it holds is not spent.
        for (holder, at) in home.desk.heard(now, SEEN_MS) {
            home.crowd.presume(holder, at);
        }
        if home.has_unflushed() || home.has_to_end() {
            home.pace.counted(now, true);
        }
        Ok(Some(home))
    }

    /// Takes the rows that changed since the last call. They must be written in one durable write
    /// before any answer of those changes leaves.
    #[must_use]
    pub fn take_writes(&mut self) -> Vec<Row> {
        self.writes.take()
    }

    fn load_row(&mut self, key: &str, value: &str, now: Timestamp) -> Result<(), CorruptRow> {
        let corrupt = |why: &str| CorruptRow { key: key.to_owned(), why: why.to_owned() };
        let mut fields = key.splitn(4, '/');
        match (fields.next(), fields.next(), fields.next(), fields.next()) {
            (Some(POLICY), None, None, None) => self.policy = Some(read(key, value)?),
            (Some("account"), Some(period), None, None) => {
                let period = Period::parse(period).ok_or_else(|| corrupt("its period is no month"))?;
                self.accounts.insert(period, read(key, value)?);
            }
            (Some("cell"), Some(day), Some(kind), Some(agent)) => {
                let day = Day::parse(day).ok_or_else(|| corrupt("its day is no date"))?;
                let kind = Kind::parse(kind).ok_or_else(|| corrupt("its kind is unknown"))?;
                let agent = AgentId::parse(agent).map_err(|error| corrupt(&error.to_string()))?;
                self.cells.insert(CellKey { day, kind, agent }, read(key, value)?);
            }
            (Some("call"), Some(_), Some(_), None) => {
                let id = key.split_once('/').and_then(|(_, id)| CallId::parse(id));
                let id = id.ok_or_else(|| corrupt("its call has no such name"))?;
                self.calls.insert(now, id, read(key, value)?);
            }
            _ => self.desk.load_row(key, value)?,
        }
        Ok(())
    }

    /// The oldest period that reports are still taken of.
    pub(super) fn oldest_open(&self, now: Timestamp) -> Period {
        Timestamp::from_ms(now.as_ms().saturating_sub(LATE_MS_MAX)).period()
    }

    /// The oldest day that reports are still taken of.
    pub(super) fn oldest_day(&self, now: Timestamp) -> u32 {
        now.day().number().saturating_sub(CELL_DAYS_KEPT)
    }

    pub(super) fn write_meta(&mut self) {
        self.writes.put(META.to_owned(), Some(&self.meta));
    }

    pub(super) fn write_policy(&mut self, policy: &Policy) {
        self.writes.put(POLICY.to_owned(), Some(policy));
    }

    pub(super) fn write_account(&mut self, period: Period) {
        self.writes.put(account_key(period), self.accounts.get(&period));
    }

    pub(super) fn write_cell(&mut self, key: &CellKey) {
        self.writes.put(cell_key(key), self.cells.get(key));
    }

    /// Deletes what nothing will need again: flushed cells of days that no report can still be of,
    /// and accounts of periods that are final and that the policy does not refer to.
    pub(super) fn forget(&mut self, now: Timestamp) {
        let (today, acked) = (now.day().number(), self.meta.acked);
        let old = |key: &CellKey| key.day.number().saturating_add(CELL_DAYS_KEPT) < today;
        let flushed = |cells: &BTreeMap<CellKey, OpenCell>| {
            let mut oldest = cells.iter().take_while(|(key, _)| old(key));
            oldest.find(|(_, cell)| cell.epoch <= acked).map(|(key, _)| key.clone())
        };
        while let Some(key) = flushed(&self.cells) {
            self.cells.remove(&key);
            self.write_cell(&key);
        }
        let stated = self.policy.as_ref().map_or(now.period(), |policy| policy.allowance.period);
        let keep_from = stated.min(self.oldest_open(now));
        let before = self.accounts.len();
        self.accounts.retain(|period, _| {
            let keep = *period >= keep_from;
            if !keep {
                self.writes.put::<Account>(account_key(*period), None);
            }
            keep
        });
        if self.accounts.len() < before {
            self.desk.forget(keep_from, &mut self.writes);
        }
    }
}

fn account_key(period: Period) -> String {
    format!("account/{period}")
}

/// The row of a cell.
pub(super) fn cell_key(key: &CellKey) -> String {
    format!("cell/{}/{}/{}", key.day, key.kind, key.agent)
}

/// Reads one row's text.
pub(crate) fn read<T: for<'de> Deserialize<'de>>(key: &str, value: &str) -> Result<T, CorruptRow> {
    json::read(value).map_err(|error| CorruptRow { key: key.to_owned(), why: error.to_string() })
}
