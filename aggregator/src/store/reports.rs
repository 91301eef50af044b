//! What reporters send, in one transaction each: whether it continues what came before, its cells, and when it was heard.

use std::collections::BTreeMap;

use serde_json::json;
use shared::cell::Cell;
use shared::ids::{Incarnation, KeyId, Mode, SourceId};
use shared::policy::Status;
use shared::report::Report;
use shared::time::Timestamp;
use shared::wire::Flush;
use sqlx::{AssertSqlSafe, Row};

use super::dialect::Dialect;
use super::rows::{instant, int, ms, number, optional};
use super::{
    Connection, DbRow, ReporterKept, Store, StoreError, Work, again, contracts, keys, merge, projects,
    reporters, silences,
};
use crate::access::trail::{Action, Deed};
use crate::contracts::agreement::Agreement;
use crate::contracts::chain::{Fork, Known, Verdict, judge};
use crate::contracts::reporter::Reporter;
use crate::contracts::standing::Refused;

/// How many reports of other data folders are kept of one reporter: enough to see what happened.
const FORKS_MAX: i64 = 100;

/// A report as it arrived.
#[derive(Debug, Clone, Copy)]
pub struct Arrived<'a> {
    /// What it says.
    pub report: &'a Report,
    /// Its bytes.
    pub body: &'a str,
    /// Their SHA-256 in lowercase hex.
    pub hash: &'a str,
    /// Whether the reporter has just sent it: then it lives, even if this report came before.
    pub is_fresh: bool,
}

/// What became of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// Its cells are durable.
    Taken(Box<Receipt>),
    /// It is of another data folder, and nothing of it was counted.
    Forked(Fork, Option<Incarnation>),
    /// Its contract is over.
    Ended(Box<Agreement>),
    /// The reporter was made for the other environment.
    OtherEnvironment,
    /// There is no such reporter.
    Unknown,
}

/// What a receipt is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The reporter, as it is now.
    pub reporter: Reporter,
    /// Its contract.
    pub agreement: Agreement,
    /// Up to which number none of its reports is missing.
    pub watermark: u64,
    /// The version of its project's policy.
    pub project_version: u64,
    /// Whether its project is served.
    pub status: Status,
    /// The keys of its project that are not revoked.
    pub keys: Vec<KeyId>,
    /// How many cells were merged, how many were set aside, and how many crossings fired.
    pub counts: [usize; 3],
}

/// Why what was signed by a reporter's key is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedBecause {
    /// The key was revoked.
    Key,
    /// The time of the signature is too far from ours.
    Clock,
}

impl Store {
    /// Takes a report.
    ///
    /// # Errors
    /// When the store fails; then nothing of it was taken.
    pub async fn take_report(&self, arrived: Arrived<'_>, now: Timestamp) -> Result<Taken, StoreError> {
        again(|| self.take_report_once(arrived, now)).await
    }

    async fn take_report_once(&self, arrived: Arrived<'_>, now: Timestamp) -> Result<Taken, StoreError> {
        let report = arrived.report;
        let Some(reporter) = self.reporter(&report.source).await? else { return Ok(Taken::Unknown) };
        // A reporter's project never changes, so that it may be read before the lock.
        let mut tx = self.write_project(&reporter.project).await?;
        let Some(reporter) = reporters::find(&mut tx, &report.source).await? else {
            return Ok(Taken::Unknown);
        };
        let Some(agreement) = contracts::find(&mut tx, &reporter.contract).await? else {
            return Ok(Taken::Unknown);
        };
        if reporter.retired.is_some() || agreement.hears_until().is_some_and(|until| until <= now) {
            return Ok(Taken::Ended(Box::new(agreement)));
        }
        if report.environment != reporter.environment {
            return Ok(Taken::OtherEnvironment);
        }
        let known = known(&mut tx, report, reporter.living.clone()).await?;
        let verdict = judge(report, arrived.hash, &known);
        if let Verdict::Forked(fork) = verdict {
            keep_fork(&mut tx, arrived, now).await?;
            tx.commit().await?;
            return Ok(Taken::Forked(fork, reporter.living));
        }
        let mut session = self.memory.session();
        let is_new = verdict == Verdict::New;
        let (mut raised, mut counts) = (false, [0; 3]);
        if is_new {
            for flush in flushes(report, &reporter, &agreement) {
                let Some(merged) = merge::merge_one(&mut tx, &flush, &mut session, now).await? else {
                    continue;
                };
                raised |= merged.raised;
                let these = [merged.cells, merged.doubted, merged.crossings];
                counts.iter_mut().zip(these).for_each(|(all, these)| *all = these.saturating_add(*all));
            }
            keep_report(&mut tx, arrived, now).await?;
        }
        let watermark = watermark(&mut tx, report).await?;
        let is_living = reporter.living.as_ref().is_none_or(|living| *living == report.incarnation);
        let reporter = if is_new || (arrived.is_fresh && is_living && watermark <= report.seq) {
            silences::hear(&mut tx, reporter, &agreement, (&report.incarnation, now)).await?
        } else {
            reporter
        };
        let Some(project) = projects::find(&mut tx, &reporter.project).await? else {
            return Ok(Taken::Unknown);
        };
        let keys = keys::active(&mut tx, &reporter.project).await?;
        if raised {
            self.commit_policy_change(tx).await?
        } else {
            tx.commit().await?
        }
        session.keep();
        if counts[2] > 0 {
            self.deliveries_due.notify_one();
        }
        let (project_version, status) = (project.policy_version, project.status);
        Ok(Taken::Taken(Box::new(Receipt {
            reporter,
            agreement,
            watermark,
            project_version,
            status,
            keys,
            counts,
        })))
    }

    /// Notes that something that a reporter's key signed was refused, for those who look why it is silent.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn note_refused(
        &self,
        reporter: &SourceId,
        because: RefusedBecause,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let statement = match because {
            RefusedBecause::Key => "UPDATE reporter SET key_refused_ms = $1 WHERE id = $2",
            RefusedBecause::Clock => "UPDATE reporter SET clock_refused_ms = $1 WHERE id = $2",
        };
        sqlx::query(statement).bind(ms(now)).bind(reporter.as_str()).execute(&self.writer).await?;
        Ok(())
    }

    /// When what was sent in a reporter's name was refused, since it was heard.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn refused(&self, reporter: &SourceId) -> Result<Refused, StoreError> {
        let row =
            sqlx::query("SELECT key_refused_ms, clock_refused_ms, forked_ms FROM reporter WHERE id = $1")
                .bind(reporter.as_str())
                .fetch_optional(&self.readers)
                .await?;
        row.as_ref().map_or_else(|| Ok(Refused::default()), refused_of)
    }

    /// The lives that reported under a reporter's name and were refused, the latest last.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn forks(&self, reporter: &SourceId) -> Result<Vec<(String, u64, Timestamp)>, StoreError> {
        let rows = sqlx::query(
            "SELECT incarnation, seq, at_ms FROM reporter_fork WHERE reporter = $1 ORDER BY at_ms, incarnation, seq",
        )
        .bind(reporter.as_str())
        .fetch_all(&self.readers)
        .await?;
        let of = |row| Ok((Row::try_get(row, "incarnation")?, number(row, "seq")?, instant(row, "at_ms")?));
        rows.iter().map(of).collect()
    }
}

impl Work {
    /// Lets a life of a reporter's data folder report from now on, instead of the one that did.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn promote_reporter(
        &mut self,
        id: &SourceId,
        incarnation: &Incarnation,
        now: Timestamp,
    ) -> Result<ReporterKept, StoreError> {
        let found = reporters::find(&mut self.tx, id).await?.filter(|found| found.retired.is_none());
        let Some(found) = found else { return Ok(ReporterKept::Unknown) };
        sqlx::query("UPDATE reporter SET living = $1, forked_ms = NULL WHERE id = $2")
            .bind(incarnation.as_str())
            .bind(id.as_str())
            .execute(&mut *self.tx)
            .await?;
        let deed = Deed::new(&found.project, Action::ReporterPromoted, id.as_str())
            .was(&json!({ "incarnation": found.living }))
            .became(&json!({ "incarnation": incarnation }));
        self.note(&deed, now).await?;
        Ok(ReporterKept::Reporter(Box::new(Reporter { living: Some(incarnation.clone()), ..found })))
    }
}

/// What a reporter's row says of what was refused.
pub(super) fn refused_of(row: &DbRow) -> Result<Refused, StoreError> {
    Ok(Refused {
        key: optional(row, "key_refused_ms", instant)?,
        clock: optional(row, "clock_refused_ms", instant)?,
        forked: optional(row, "forked_ms", instant)?,
    })
}

/// A report as the flushes that its cells are merged by: one, unless some of its days are before the term.
fn flushes(report: &Report, reporter: &Reporter, agreement: &Agreement) -> Vec<Flush> {
    let mut by_mode: BTreeMap<Mode, Vec<Cell>> = BTreeMap::new();
    for cell in &report.cells {
        let mode = reporter.mode_on(agreement, cell.key.day);
        by_mode.entry(mode).or_default().push(cell.clone());
    }
    if by_mode.is_empty() {
        // That it lives is noted too.
        by_mode.insert(reporter.mode(agreement), vec![]);
    }
    let flush = |(mode, cells)| {
        let life = (report.source.clone(), report.incarnation.clone());
        Flush { cells, ..Flush::new((reporter.project.clone(), mode), life, report.seq) }
    };
    by_mode.into_iter().map(flush).collect()
}

async fn known(
    tx: &mut Connection,
    report: &Report,
    living: Option<Incarnation>,
) -> Result<Known, StoreError> {
    let mut known = Known { living, ..Known::default() };
    let rows = sqlx::query(
        "SELECT seq, hash, previous FROM reporter_report
         WHERE reporter = $1 AND incarnation = $2 AND seq BETWEEN $3 AND $4",
    )
    .bind(report.source.as_str())
    .bind(report.incarnation.as_str())
    .bind(int(report.seq.saturating_sub(1)))
    .bind(int(report.seq.saturating_add(1)))
    .fetch_all(tx)
    .await?;
    for row in rows {
        let (seq, hash) = (number(&row, "seq")?, row.try_get("hash")?);
        if seq < report.seq {
            known.before = Some(hash);
        } else if seq == report.seq {
            known.same = Some(hash);
        } else {
            known.after = Some(row.try_get("previous")?);
        }
    }
    Ok(known)
}

async fn keep_report(tx: &mut Connection, arrived: Arrived<'_>, now: Timestamp) -> Result<(), StoreError> {
    let report = arrived.report;
    sqlx::query(
        "INSERT INTO reporter_report (reporter, incarnation, seq, hash, previous, at_ms)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(report.source.as_str())
    .bind(report.incarnation.as_str())
    .bind(int(report.seq))
    .bind(arrived.hash)
    .bind(&report.previous)
    .bind(ms(now))
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "INSERT INTO reporter_life (reporter, incarnation, watermark) VALUES ($1, $2, 0)
         ON CONFLICT (reporter, incarnation) DO NOTHING",
    )
    .bind(report.source.as_str())
    .bind(report.incarnation.as_str())
    .execute(tx)
    .await?;
    Ok(())
}

/// Up to which number no report of a life is missing; a hole that was filled moves it to the next one.
async fn watermark(tx: &mut Connection, report: &Report) -> Result<u64, StoreError> {
    let row = sqlx::query("SELECT watermark FROM reporter_life WHERE reporter = $1 AND incarnation = $2")
        .bind(report.source.as_str())
        .bind(report.incarnation.as_str())
        .fetch_optional(&mut *tx)
        .await?;
    let before = row.as_ref().map(|row| number(row, "watermark")).transpose()?.unwrap_or(0);
    // The last one before the first hole: it has no successor, and what is known has no hole up to the watermark.
    let row = sqlx::query(
        "SELECT MIN(r.seq) AS last FROM reporter_report AS r
         WHERE r.reporter = $1 AND r.incarnation = $2 AND r.seq > $3 AND NOT EXISTS (
             SELECT 1 FROM reporter_report AS s
             WHERE s.reporter = $1 AND s.incarnation = $2 AND s.seq = r.seq + 1)
         AND EXISTS (
             SELECT 1 FROM reporter_report AS s
             WHERE s.reporter = $1 AND s.incarnation = $2 AND s.seq = $3 + 1)",
    )
    .bind(report.source.as_str())
    .bind(report.incarnation.as_str())
    .bind(int(before))
    .fetch_one(&mut *tx)
    .await?;
    let last = optional(&row, "last", number)?.unwrap_or(before);
    if last > before {
        sqlx::query("UPDATE reporter_life SET watermark = $1 WHERE reporter = $2 AND incarnation = $3")
            .bind(int(last))
            .bind(report.source.as_str())
            .bind(report.incarnation.as_str())
            .execute(tx)
            .await?;
    }
    Ok(last)
}

/// Keeps a report of another data folder for people to look at, and notes when that was.
async fn keep_fork(tx: &mut Connection, arrived: Arrived<'_>, now: Timestamp) -> Result<(), StoreError> {
    let report = arrived.report;
    let greatest = Dialect::of(tx).greatest();
    let sql = format!(
        "INSERT INTO reporter_fork (reporter, incarnation, seq, hash, body, at_ms)
         SELECT $1, $2, $3, $4, $5, $6 WHERE (SELECT COUNT(*) FROM reporter_fork WHERE reporter = $1) < $7
         ON CONFLICT (reporter, incarnation, seq, hash) DO UPDATE SET
             at_ms = {greatest}(reporter_fork.at_ms, excluded.at_ms)"
    );
    sqlx::query(AssertSqlSafe(sql))
        .bind(report.source.as_str())
        .bind(report.incarnation.as_str())
        .bind(int(report.seq))
        .bind(arrived.hash)
        .bind(arrived.body)
        .bind(ms(now))
        .bind(FORKS_MAX)
        .execute(&mut *tx)
        .await?;
    sqlx::query("UPDATE reporter SET forked_ms = $1 WHERE id = $2")
        .bind(ms(now))
        .bind(report.source.as_str())
        .execute(tx)
        .await?;
    Ok(())
}
