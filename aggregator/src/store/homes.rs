//! Where projects' homes are, which of their lives have ended in order, and moves between places.

use std::collections::BTreeMap;

use serde::Serialize;
use shared::ids::{Mode, ProjectId};
use shared::policy::Place;
use shared::time::Timestamp;
use shared::window::Window;
use shared::wire::{Flush, Retired};
use sqlx::Row as _;

use super::rows::{id, int, name, number, of_life};
use super::{Connection, DbRow, Store, StoreError, Work, again, projects};
use crate::access::trail::{Action, Deed};
use crate::projects::stay::Stay;

/// The setting that says where homes are of projects that never moved.
const FIRST_PLACE: &str = "homes_at";

/// What a move is, as the audit log has it.
#[derive(Debug, Serialize)]
struct StayNote {
    place: Place,
    moving_to: Option<Place>,
    term: u64,
}

impl From<Stay> for StayNote {
    fn from(stay: Stay) -> Self {
        Self { place: stay.place, moving_to: stay.moving_to, term: stay.term }
    }
}

impl Work {
    /// Has a project's homes leave for a place, if they are not there or on their way; `first` is where they are that
    /// never moved. Says where they are then; `None` if there is no such project.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn move_homes(
        &mut self,
        project: &ProjectId,
        (first, to): (Place, Place),
        now: Timestamp,
    ) -> Result<Option<Stay>, StoreError> {
        let Some(known) = projects::find(&mut self.tx, project).await? else { return Ok(None) };
        let before = known.homes.unwrap_or(Stay::first(first));
        let stay = before.leaving_for(to);
        if stay != before {
            let deed = Deed::new(project, Action::HomesLeave, project.as_str()).was(&StayNote::from(before));
            self.set_stay(project, stay, (deed, now)).await?;
        }
        Ok(Some(stay))
    }

    /// Notes that a project's homes have arrived, once all of them have ended where they were. Says whether they have.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn arrive_homes(&mut self, project: &ProjectId, now: Timestamp) -> Result<bool, StoreError> {
        let Some(known) = projects::find(&mut self.tx, project).await? else { return Ok(false) };
        let Some(before) = known.homes else { return Ok(false) };
        let all_ended = ended(&mut self.tx, project, before).await?.values().all(|ended| *ended);
        let Some(stay) = before.arrived().filter(|_| all_ended) else { return Ok(false) };
        let deed = Deed::new(project, Action::HomesArrived, project.as_str()).was(&StayNote::from(before));
        self.set_stay(project, stay, (deed, now)).await?;
        Ok(true)
    }

    async fn set_stay(
        &mut self,
        project: &ProjectId,
        stay: Stay,
        (deed, now): (Deed<'_>, Timestamp),
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE project SET homes_at = $1, homes_term = $2, homes_to = $3 WHERE id = $4")
            .bind(stay.place.as_str())
            .bind(int(stay.term))
            .bind(stay.moving_to.map(Place::as_str))
            .bind(project.as_str())
            .execute(&mut *self.tx)
            .await?;
        self.raise_policy(project, now).await?;
        self.note(&deed.became(&StayNote::from(stay)), now).await
    }
}

impl Store {
    /// As [`Work::arrive_homes`], committed.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn arrive_homes(&self, project: &ProjectId, now: Timestamp) -> Result<bool, StoreError> {
        again(|| async {
            let mut work = self.begin_in(project).await?;
            let arrived = work.arrive_homes(project, now).await?;
            work.commit().await?;
            Ok(arrived)
        })
        .await
    }

    /// Projects whose homes are leaving, and from where, in the order of their ids.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn moving_homes(&self, limit: u32) -> Result<Vec<(ProjectId, Place)>, StoreError> {
        let rows =
            sqlx::query("SELECT id, homes_at FROM project WHERE homes_to IS NOT NULL ORDER BY id LIMIT $1")
                .bind(i64::from(limit))
                .fetch_all(&self.readers)
                .await?;
        let read = |row: &DbRow| Ok((id(row, "id", ProjectId::parse)?, name(row, "homes_at", Place::parse)?));
        rows.iter().map(read).collect()
    }

    /// Which of a project's homes have ended for the term that it is in.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn ended_homes(
        &self,
        project: &ProjectId,
        stay: Stay,
    ) -> Result<BTreeMap<Mode, bool>, StoreError> {
        ended(&mut *self.readers.acquire().await?, project, stay).await
    }

    /// Where homes are of projects that never moved, as the last server has noted it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn homes_begin(&self) -> Result<Option<Place>, StoreError> {
        let row = sqlx::query("SELECT value FROM setting WHERE name = $1")
            .bind(FIRST_PLACE)
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref().map(|row| name(row, "value", Place::parse)).transpose()
    }

    /// Notes where homes are of projects that never moved. Where that was another place, and there are such projects, it
    /// is left as it was and told: they would be at both.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn homes_begin_at(&self, place: Place) -> Result<Option<Place>, StoreError> {
        let mut tx = self.write().await?;
        let row = sqlx::query("SELECT value FROM setting WHERE name = $1")
            .bind(FIRST_PLACE)
            .fetch_optional(&mut *tx)
            .await?;
        let known = row.as_ref().map(|row| name(row, "value", Place::parse)).transpose()?;
        if let Some(known) = known.filter(|known| *known != place) {
            let there =
                sqlx::query("SELECT 1 FROM project WHERE homes_at IS NULL LIMIT 1").fetch_optional(&mut *tx);
            if there.await?.is_some() {
                return Ok(Some(known));
            }
        }
        sqlx::query("INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value")
            .bind(FIRST_PLACE)
            .bind(place.as_str())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(None)
    }
}

async fn ended(
    tx: &mut Connection,
    project: &ProjectId,
    stay: Stay,
) -> Result<BTreeMap<Mode, bool>, StoreError> {
    let rows =
        sqlx::query("SELECT DISTINCT mode FROM retired WHERE project = $1 AND place = $2 AND term = $3")
            .bind(project.as_str())
            .bind(stay.place.as_str())
            .bind(int(stay.term))
            .fetch_all(tx)
            .await?;
    let mut ended: BTreeMap<Mode, bool> = Mode::ALL.into_iter().map(|mode| (mode, false)).collect();
    for row in &rows {
        ended.insert(id(row, "mode", Mode::parse)?, true);
    }
    Ok(ended)
}

/// Where a project's homes are, as its row has it.
pub(super) fn stay(row: &DbRow) -> Result<Option<Stay>, StoreError> {
    let place = |column: &'static str| -> Result<Option<Place>, StoreError> {
        let stored: Option<String> = row.try_get(column)?;
        let read =
            |stored: String| Place::parse(&stored).ok_or(StoreError::Unreadable { column, got: stored });
        stored.map(read).transpose()
    };
    let Some(at) = place("homes_at")? else { return Ok(None) };
    Ok(Some(Stay { place: at, term: number(row, "homes_term")?, moving_to: place("homes_to")? }))
}

/// Notes that a life has ended in order; one that has ended never goes on.
pub(super) async fn note_retired(tx: &mut Connection, flush: &Flush) -> Result<(), StoreError> {
    let Some(Retired { place, term, window }) = flush.retired else { return Ok(()) };
    let permits = written_window(&window)?;
    of_life(
        sqlx::query(
            "INSERT INTO retired (project, mode, source, incarnation, place, term, permits)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (project, mode, source, incarnation) DO UPDATE SET
             place = excluded.place, term = excluded.term, permits = excluded.permits
         WHERE excluded.term >= retired.term",
        ),
        flush,
    )
    .bind(place.as_str())
    .bind(int(term))
    .bind(permits)
    .execute(tx)
    .await?;
    Ok(())
}

/// Permits of minutes as they are stored.
pub(super) fn written_window(window: &Window) -> Result<String, StoreError> {
    serde_json::to_string(window).map_err(|error| StoreError::Unwritable(error.to_string()))
}

/// What a life has told of its permits, if anything.
pub(super) fn read_window(row: &DbRow, column: &'static str) -> Result<Option<Window>, StoreError> {
    let stored: Option<String> = row.try_get(column)?;
    let Some(stored) = stored else { return Ok(None) };
    let window = serde_json::from_str(&stored);
    window.map(Some).map_err(|_| StoreError::Unreadable { column, got: stored })
}
