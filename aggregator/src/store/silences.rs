//! When reporters were heard and when they were silent, and when nobody could be heard because no aggregator ran.
//!
//! Only silences of a day and more are kept as rows: no shorter one is told of, or can make a month fall.

use shared::ids::{Incarnation, SourceId};
use shared::time::Timestamp;
use sqlx::Row;

use super::rows::{int, ms, number, small};
use super::{Connection, Store, StoreError, again, contracts, events, reporters};
use crate::contracts::agreement::Agreement;
use crate::contracts::reporter::Reporter;
use crate::contracts::standing::{KEPT_FROM_MS, present_silence, to_be_told};
use crate::ledger::silence::{Silence, Span, too_long_at};
use crate::webhooks::event::{Event, ReporterSilent};

/// Notes that a reporter was heard: a silence of a day and more is kept, and what was refused before is forgotten.
pub(super) async fn hear(
    tx: &mut Connection,
    reporter: Reporter,
    agreement: &Agreement,
    (incarnation, now): (&Incarnation, Timestamp),
) -> Result<Reporter, StoreError> {
    let Silence { from, .. } = present_silence(&reporter, agreement, now);
    if now.ms_since(from) >= KEPT_FROM_MS {
        sqlx::query(
            "INSERT INTO reporter_silence (reporter, from_ms, until_ms) VALUES ($1, $2, $3)
             ON CONFLICT (reporter, from_ms) DO NOTHING",
        )
        .bind(reporter.id.as_str())
        .bind(ms(from))
        .bind(ms(now))
        .execute(&mut *tx)
        .await?;
    }
    // Whoever waits to be told of this silence must not miss it because it ended first.
    tell(tx, &reporter, agreement, now).await?;
    // A clock that was set back must not make it heard earlier than it was.
    let heard = reporter.heard.map_or(now, |before| before.max(now));
    sqlx::query(
        "UPDATE reporter SET heard_ms = $1, told_hours = 0, key_refused_ms = NULL, clock_refused_ms = NULL,
             living = COALESCE(living, $2) WHERE id = $3",
    )
    .bind(ms(heard))
    .bind(incarnation.as_str())
    .bind(reporter.id.as_str())
    .execute(tx)
    .await?;
    let living = reporter.living.clone().or_else(|| Some(incarnation.clone()));
    Ok(Reporter { heard: Some(heard), living, ..reporter })
}

/// The silences of a reporter that are over, the first one first.
pub(super) async fn past(tx: &mut Connection, reporter: &SourceId) -> Result<Vec<Silence>, StoreError> {
    let rows =
        sqlx::query("SELECT from_ms, until_ms FROM reporter_silence WHERE reporter = $1 ORDER BY from_ms")
            .bind(reporter.as_str())
            .fetch_all(tx)
            .await?;
    let span = |row| {
        let (from, until) = (number(row, "from_ms")?, number(row, "until_ms")?);
        Ok(Silence { from: Timestamp::from_ms(from), until: Some(Timestamp::from_ms(until)) })
    };
    rows.iter().map(span).collect()
}

/// When no aggregator ran, rising and without overlap.
pub(super) async fn downtime(connection: &mut Connection) -> Result<Vec<Span>, StoreError> {
    let rows =
        sqlx::query("SELECT from_ms, until_ms FROM downtime ORDER BY from_ms").fetch_all(connection).await?;
    let span = |row| {
        let (from, until) = (number(row, "from_ms")?, number(row, "until_ms")?);
        Ok(Span { from: Timestamp::from_ms(from), until: Timestamp::from_ms(until) })
    };
    rows.iter().map(span).collect()
}

impl Store {
    /// When no aggregator ran.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn downtime(&self) -> Result<Vec<Span>, StoreError> {
        downtime(&mut *self.readers.acquire().await?).await
    }

    /// Notes that an aggregator begins: since one ran last, nobody could be heard. Short breaks count as well.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn note_start(&self, now: Timestamp) -> Result<Option<Span>, StoreError> {
        again(|| self.note_start_once(now)).await
    }

    async fn note_start_once(&self, now: Timestamp) -> Result<Option<Span>, StoreError> {
        let mut tx = self.write().await?;
        let row =
            sqlx::query("SELECT value FROM setting WHERE name = 'alive_ms'").fetch_optional(&mut *tx).await?;
        let before: Option<String> = row.map(|row| row.try_get("value")).transpose()?;
        let before = before.and_then(|text| text.parse().ok()).map(Timestamp::from_ms);
        let down = before.filter(|before| *before < now).map(|from| Span { from, until: now });
        if let Some(Span { from, until }) = down {
            sqlx::query(
                "INSERT INTO downtime (from_ms, until_ms) VALUES ($1, $2) ON CONFLICT (from_ms) DO NOTHING",
            )
            .bind(ms(from))
            .bind(ms(until))
            .execute(&mut *tx)
            .await?;
        }
        alive(&mut tx, now).await?;
        tx.commit().await?;
        Ok(down)
    }

    /// Notes that an aggregator runs.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn note_alive(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        alive(&mut tx, now).await?;
        Ok(tx.commit().await?)
    }

    /// At most `limit` reporters that have not been heard for a day or more and of which more may have to be told.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn quiet_reporters(&self, now: Timestamp, limit: u32) -> Result<Vec<SourceId>, StoreError> {
        let rows = sqlx::query(
            "SELECT id FROM reporter
             WHERE retired_ms IS NULL AND told_hours < 72 AND COALESCE(heard_ms, created_ms) <= $1
             ORDER BY id LIMIT $2",
        )
        .bind(int(now.as_ms().saturating_sub(KEPT_FROM_MS)))
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(|row| super::rows::id(row, "id", SourceId::parse)).collect()
    }

    /// Tells the customer how long a reporter has been silent: each rung once in a silence. Says which it told.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn tell_silence(&self, reporter: &SourceId, now: Timestamp) -> Result<Vec<u32>, StoreError> {
        again(|| self.tell_silence_once(reporter, now)).await
    }

    async fn tell_silence_once(&self, id: &SourceId, now: Timestamp) -> Result<Vec<u32>, StoreError> {
        let Some(found) = self.reporter(id).await? else { return Ok(vec![]) };
        let mut work = self.begin_in(&found.project).await?;
        let Some(found) = reporters::find(&mut work.tx, id).await? else { return Ok(vec![]) };
        let Some(agreement) = contracts::find(&mut work.tx, &found.contract).await? else {
            return Ok(vec![]);
        };
        let told = tell(&mut work.tx, &found, &agreement, now).await?;
        work.commit().await?;
        Ok(told)
    }
}

/// Announces the hours of the present silence that have not been told of, and says which.
async fn tell(
    tx: &mut Connection,
    reporter: &Reporter,
    agreement: &Agreement,
    now: Timestamp,
) -> Result<Vec<u32>, StoreError> {
    let row = sqlx::query("SELECT told_hours FROM reporter WHERE id = $1")
        .bind(reporter.id.as_str())
        .fetch_one(&mut *tx)
        .await?;
    let (silence, downtime) = (present_silence(reporter, agreement, now), downtime(tx).await?);
    let rungs = to_be_told(silence, small(&row, "told_hours")?, &downtime, now);
    for hours in &rungs {
        let event = Event::ReporterSilent(ReporterSilent {
            reporter: reporter.id.to_string(),
            last_heard: silence.from,
            hours: *hours,
            falls_at: too_long_at(silence.from, &downtime),
        });
        events::announce(tx, &reporter.project, &event, now).await?;
    }
    // Of one that is no longer expected to report, nothing is left to tell.
    let told = silence.until.map(|_| 72).or(rungs.last().copied());
    if let Some(hours) = told {
        sqlx::query("UPDATE reporter SET told_hours = $1 WHERE id = $2")
            .bind(i64::from(hours))
            .bind(reporter.id.as_str())
            .execute(tx)
            .await?;
    }
    Ok(rungs)
}

async fn alive(tx: &mut Connection, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO setting (name, value) VALUES ('alive_ms', $1)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )
    .bind(now.as_ms().to_string())
    .execute(tx)
    .await?;
    Ok(())
}
