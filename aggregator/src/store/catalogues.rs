//! The versions of the plan catalogue. A version that projects are on is never changed.

use std::collections::BTreeMap;

use shared::plan::Catalogue;
use shared::time::Timestamp;
use sqlx::Row;

use super::rows::{instant, ms, number, small};
use crate::access::trail::{Action, Deed};

use super::{Connection, DbRow, Store, StoreError, Work};

/// What came of applying a catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It is the newest now; new projects and changes of plan get its terms.
    Now,
    /// It was applied before.
    Before,
    /// Its version is there with other contents, or a higher one is.
    Outrun(u32),
}

impl Store {
    /// The newest version.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn newest_catalogue(&self) -> Result<Catalogue, StoreError> {
        newest(&mut *self.readers.acquire().await?).await
    }

    /// The version of that number, or the newest where it is not there.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn catalogue(&self, version: u32) -> Result<Catalogue, StoreError> {
        of_version(&mut *self.readers.acquire().await?, version).await
    }

    /// Every version with when it was applied, the oldest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn catalogues(&self) -> Result<Vec<(Catalogue, Timestamp)>, StoreError> {
        let rows = sqlx::query("SELECT document, applied_ms FROM catalogue ORDER BY version")
            .fetch_all(&self.readers)
            .await?;
        rows.iter().map(|row| Ok((read(row)?, instant(row, "applied_ms")?))).collect()
    }

    /// How many projects are on each version.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn projects_by_catalogue(&self) -> Result<BTreeMap<u32, u64>, StoreError> {
        let rows = sqlx::query("SELECT catalogue, COUNT(*) AS projects FROM project GROUP BY catalogue")
            .fetch_all(&self.readers)
            .await?;
        rows.iter().map(|row| Ok((small(row, "catalogue")?, number(row, "projects")?))).collect()
    }

    /// As [`Work::apply_catalogue`], committed.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn apply_catalogue(
        &self,
        catalogue: &Catalogue,
        now: Timestamp,
    ) -> Result<Applied, StoreError> {
        self.change(async |work| work.apply_catalogue(catalogue, now).await).await
    }
}

impl Work {
    /// Makes a catalogue the newest. While there are no projects, it replaces what the meter began with.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn apply_catalogue(
        &mut self,
        catalogue: &Catalogue,
        now: Timestamp,
    ) -> Result<Applied, StoreError> {
        let newest = newest(&mut self.tx).await?;
        if newest == *catalogue {
            return Ok(Applied::Before);
        }
        if catalogue.version <= newest.version {
            if has_projects(&mut self.tx).await? {
                return Ok(Applied::Outrun(newest.version));
            }
            clear(&mut self.tx).await?;
        }
        insert(&mut self.tx, catalogue, now).await?;
        let deed = Deed::apart(Action::CatalogueApplied, "plans");
        self.note(&deed.was(&newest.version).became(&catalogue.version), now).await?;
        Ok(Applied::Now)
    }
}

/// Stores the compiled-in catalogue where there is none yet.
pub(super) async fn seed(tx: &mut Connection) -> Result<(), StoreError> {
    if sqlx::query("SELECT version FROM catalogue LIMIT 1").fetch_optional(&mut *tx).await?.is_none() {
        let default = Catalogue::from_json(Catalogue::DEFAULT_JSON).map_err(StoreError::Migration)?;
        insert(tx, &default, Timestamp::from_ms(0)).await?;
    }
    Ok(())
}

pub(super) async fn newest(connection: &mut Connection) -> Result<Catalogue, StoreError> {
    let row = sqlx::query("SELECT document FROM catalogue ORDER BY version DESC LIMIT 1")
        .fetch_one(connection)
        .await?;
    read(&row)
}

pub(super) async fn of_version(connection: &mut Connection, version: u32) -> Result<Catalogue, StoreError> {
    let row = sqlx::query("SELECT document FROM catalogue WHERE version = $1")
        .bind(i64::from(version))
        .fetch_optional(&mut *connection)
        .await?;
    match row {
        Some(row) => read(&row),
        None => newest(connection).await,
    }
}

async fn has_projects(connection: &mut Connection) -> Result<bool, StoreError> {
    Ok(sqlx::query("SELECT id FROM project LIMIT 1").fetch_optional(connection).await?.is_some())
}

async fn clear(tx: &mut Connection) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM catalogue").execute(tx).await?;
    Ok(())
}

async fn insert(tx: &mut Connection, catalogue: &Catalogue, now: Timestamp) -> Result<(), StoreError> {
    let document =
        serde_json::to_string(catalogue).map_err(|error| StoreError::Unwritable(error.to_string()))?;
    sqlx::query("INSERT INTO catalogue (version, document, applied_ms) VALUES ($1, $2, $3)")
        .bind(i64::from(catalogue.version))
        .bind(document)
        .bind(ms(now))
        .execute(tx)
        .await?;
    Ok(())
}

fn read(row: &DbRow) -> Result<Catalogue, StoreError> {
    let stored: String = row.try_get("document")?;
    Catalogue::from_json(&stored).map_err(|_| StoreError::Unreadable { column: "document", got: stored })
}
