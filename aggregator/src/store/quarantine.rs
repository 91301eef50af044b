//! Cells that could not be true, and what people decide of them: merge them after all, or throw them away.

use serde_json::json;
use sha2::{Digest, Sha256};
use shared::cell::{Cell, CellKey, Counts};
use shared::denials::Denials;
use shared::ids::{AgentId, Incarnation, Mode, ProjectId, SourceId};
use shared::kind::Kind;
use shared::time::Timestamp;
use shared::wire::Flush;
use sqlx::Row;

use super::rows::{day, id, instant, name, units};
use super::{Connection, DbRow, Store, StoreError, Work, merge};
use crate::access::trail::{Action, Deed};
use crate::metering::batch::Doubt;

/// A cell that was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Names it; it follows from what the cell is a count of.
    pub id: String,
    /// Of which keys.
    pub mode: Mode,
    /// Who reported it.
    pub source: SourceId,
    /// In which life of its storage.
    pub incarnation: Incarnation,
    /// What was reported, the largest of it.
    pub cell: Cell,
    /// Why it was not believed.
    pub reason: Doubt,
    /// When it was reported first.
    pub first_seen: Timestamp,
}

/// What came of a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decided {
    /// The cell that it was about, and how many crossings it made due.
    Cell(Box<Quarantined>, usize),
    /// There is no such cell.
    Unknown,
}

impl Work {
    /// Merges a cell that was set aside, as if it had been believed at once.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn accept_quarantined(
        &mut self,
        project: &ProjectId,
        id: &str,
        now: Timestamp,
    ) -> Result<Decided, StoreError> {
        let Some(found) = find(&mut self.tx, project, id).await? else { return Ok(Decided::Unknown) };
        remove(&mut self.tx, project, &found).await?;
        let life = (found.source.clone(), found.incarnation.clone());
        // It is no message of the source's, so its watermark stays.
        let empty = Flush::new((project.clone(), found.mode), life, 0);
        let flush = Flush { cells: vec![found.cell.clone()], ..empty };
        let (crossings, raised) = merge::merge_believed(&mut self.tx, &flush, now).await?;
        if raised {
            self.note_push();
        }
        let deed = Deed::new(project, Action::QuarantineAccepted, id).became(&told(&found));
        self.note(&deed, now).await?;
        Ok(Decided::Cell(Box::new(found), crossings))
    }

    /// Throws a cell away that was set aside.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn drop_quarantined(
        &mut self,
        project: &ProjectId,
        id: &str,
        now: Timestamp,
    ) -> Result<Decided, StoreError> {
        let Some(found) = find(&mut self.tx, project, id).await? else { return Ok(Decided::Unknown) };
        remove(&mut self.tx, project, &found).await?;
        self.note(&Deed::new(project, Action::QuarantineDropped, id).was(&told(&found)), now).await?;
        Ok(Decided::Cell(Box::new(found), 0))
    }
}

impl Store {
    /// The project's cells that are set aside, those that were reported first before the others.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn quarantine(&self, project: &ProjectId) -> Result<Vec<Quarantined>, StoreError> {
        all(&mut *self.readers.acquire().await?, project).await
    }
}

/// What the audit log says of a cell.
fn told(found: &Quarantined) -> serde_json::Value {
    let Quarantined { mode, source, cell, reason, .. } = found;
    json!({
        "mode": mode, "source": source, "day": cell.key.day, "kind": cell.key.kind, "agent": cell.key.agent,
        "units": cell.counts.units, "reason": reason.as_str(),
    })
}

async fn find(tx: &mut Connection, project: &ProjectId, id: &str) -> Result<Option<Quarantined>, StoreError> {
    Ok(all(tx, project).await?.into_iter().find(|found| found.id == id))
}

async fn all(connection: &mut Connection, project: &ProjectId) -> Result<Vec<Quarantined>, StoreError> {
    let rows = sqlx::query(
        "SELECT mode, day, agent, kind, source, incarnation, reason, units, tokens_in, tokens_out, anchors, first_seen_ms
         FROM quarantine WHERE project = $1
         ORDER BY first_seen_ms, mode, day, agent, kind, source, incarnation, reason",
    )
    .bind(project.as_str())
    .fetch_all(connection)
    .await?;
    rows.iter().map(read).collect()
}

async fn remove(tx: &mut Connection, project: &ProjectId, found: &Quarantined) -> Result<(), StoreError> {
    let CellKey { day, kind, agent } = &found.cell.key;
    sqlx::query(
        "DELETE FROM quarantine WHERE project = $1 AND mode = $2 AND day = $3 AND agent = $4 AND kind = $5
         AND source = $6 AND incarnation = $7 AND reason = $8",
    )
    .bind(project.as_str())
    .bind(found.mode.as_str())
    .bind(i64::from(day.number()))
    .bind(agent.as_str())
    .bind(kind.as_str())
    .bind(found.source.as_str())
    .bind(found.incarnation.as_str())
    .bind(found.reason.as_str())
    .execute(tx)
    .await?;
    Ok(())
}

fn read(row: &DbRow) -> Result<Quarantined, StoreError> {
    let text = |column| row.try_get::<String, _>(column);
    let names = [
        text("mode")?,
        text("agent")?,
        text("kind")?,
        text("source")?,
        text("incarnation")?,
        text("reason")?,
    ];
    let day = day(row, "day")?;
    // 96 bits of what it is a count of; two of them would have to be the same cell.
    const ID_DIGITS: usize = 24;
    let digest = base16ct::lower::encode_string(&Sha256::digest(format!("{}\n{day}", names.join("\n"))));
    Ok(Quarantined {
        id: digest.get(..ID_DIGITS).unwrap_or(&digest).to_owned(),
        mode: id(row, "mode", Mode::parse)?,
        source: id(row, "source", SourceId::parse)?,
        incarnation: id(row, "incarnation", Incarnation::parse)?,
        cell: Cell {
            key: CellKey {
                day,
                kind: name(row, "kind", Kind::parse)?,
                agent: id(row, "agent", AgentId::parse)?,
            },
            counts: Counts {
                units: units(row, "units")?,
                tokens_in: units(row, "tokens_in")?,
                tokens_out: units(row, "tokens_out")?,
                anchors: units(row, "anchors")?,
            },
            // What such a cell said of denials is not kept: nothing is billed by it.
            denials: Denials::NONE,
        },
        reason: name(row, "reason", Doubt::parse)?,
        first_seen: instant(row, "first_seen_ms")?,
    })
}
