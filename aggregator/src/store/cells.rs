//! Cells in the books, as they are read; `merge` writes them.

use shared::ids::ProjectId;
use shared::time::Timestamp;
use shared::wire::Flush;
use sqlx::Row;

use super::rows::{instant, number, of_life};
use super::{DbRow, Store, StoreError};

/// What is known of a source's storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceState {
    /// The highest `seq` that was merged.
    pub watermark: u64,
    /// When it last flushed, by our clock.
    pub last_seen: Timestamp,
}

impl Store {
    /// What is known of the storage that a flush came from.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn source(&self, flush: &Flush) -> Result<Option<SourceState>, StoreError> {
        let row = of_life(
            sqlx::query(
                "SELECT watermark, last_seen_ms FROM source
             WHERE project = $1 AND mode = $2 AND source = $3 AND incarnation = $4",
            ),
            flush,
        )
        .fetch_optional(&self.readers)
        .await?;
        row.map(|row| {
            Ok(SourceState {
                watermark: number(&row, "watermark")?,
                last_seen: instant(&row, "last_seen_ms")?,
            })
        })
        .transpose()
    }

    /// How many cells of the project are set aside.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn quarantined(&self, project: &ProjectId) -> Result<u64, StoreError> {
        let row = sqlx::query("SELECT COUNT(*) AS cells FROM quarantine WHERE project = $1")
            .bind(project.as_str())
            .fetch_one(&self.readers)
            .await?;
        number(&row, "cells")
    }

    /// Every cell of a project as one line of text each, in order: the books' exact state, for audits.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn cells_as_text(&self, project: &ProjectId) -> Result<Vec<String>, StoreError> {
        let rows = sqlx::query(
            "SELECT mode, day, agent, kind, source, incarnation, units, tokens_in, tokens_out, anchors
             FROM cell WHERE project = $1
             ORDER BY mode, day, agent, kind, source, incarnation",
        )
        .bind(project.as_str())
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(as_text).collect()
    }
}

fn as_text(row: &DbRow) -> Result<String, StoreError> {
    let text = |column| row.try_get::<String, _>(column);
    Ok(format!(
        "{} {} {} {} {} {} units={} tokens_in={} tokens_out={} anchors={}",
        text("mode")?,
        super::rows::day(row, "day")?,
        text("agent")?,
        text("kind")?,
        text("source")?,
        text("incarnation")?,
        number(row, "units")?,
        number(row, "tokens_in")?,
        number(row, "tokens_out")?,
        number(row, "anchors")?,
    ))
}
