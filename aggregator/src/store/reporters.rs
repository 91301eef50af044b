//! Reporters and their sealed keys on disk.

use serde_json::json;
use shared::ids::{ContractId, Incarnation, ProjectId, SigningKeyId, SourceId};
use shared::report::Environment;
use shared::sign::{Purpose, SigningKey};
use shared::time::Timestamp;
use sqlx::Row;

use super::rows::{flag, id, instant, int, ms, name, number, optional, small, units};
use super::{Connection, DbRow, Store, StoreError, Work, contracts};
use crate::access::trail::{Action, Deed};
use crate::contracts::reporter::{KEYS_MAX, KeyView, NewReporter, Reporter, ReporterKeyFound};
use crate::random;
use crate::webhooks::seal::{SealKeys, Sealed};
use crate::webhooks::sign::Secret;

/// What came of making a reporter or changing one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReporterKept {
    /// The reporter as it is now.
    Reporter(Box<Reporter>),
    /// There is no such reporter.
    Unknown,
    /// There is already one of that id.
    Exists,
    /// There is no such contract.
    ContractUnknown,
    /// The project that was named is not one of the contract's, or the contract has several and none was named.
    ProjectNotCovered,
}

/// What came of making a reporter's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReporterKeyMade {
    /// The key, and its text, which is shown this once.
    Key(KeyView, String),
    /// There is no such reporter, or it is retired.
    Unknown,
    /// The reporter has [`KEYS_MAX`] keys that are not revoked.
    TooMany,
    /// There is no key to seal secrets with.
    NoSealKey,
}

impl Work {
    /// Makes a reporter under a contract.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn create_reporter(
        &mut self,
        contract: &ContractId,
        new: NewReporter,
        now: Timestamp,
    ) -> Result<ReporterKept, StoreError> {
        let Some(agreement) = contracts::find(&mut self.tx, contract).await? else {
            return Ok(ReporterKept::ContractUnknown);
        };
        let only = agreement.projects.first().filter(|_| agreement.projects.len() == 1);
        let Some(project) = new.project.as_ref().or(only).filter(|id| agreement.projects.contains(*id))
        else {
            return Ok(ReporterKept::ProjectNotCovered);
        };
        // The name of edge homes is theirs: their cells must never be taken for a reporter's.
        if new.id == SourceId::home() || find(&mut self.tx, &new.id).await?.is_some() {
            return Ok(ReporterKept::Exists);
        }
        let reporter = Reporter {
            id: new.id,
            contract: contract.clone(),
            project: project.clone(),
            environment: new.environment,
            rpm: new.rpm,
            units_max: new.units_max,
            air_gap: new.air_gap,
            version: 1,
            created: now,
            retired: None,
            living: None,
            heard: None,
        };
        insert(&mut self.tx, &reporter).await?;
        allow_rate(&mut self.tx, &reporter).await?;
        let became = json!({
            "contract": contract, "environment": reporter.environment, "rpm": reporter.rpm,
            "units_max": reporter.units_max, "air_gap": reporter.air_gap,
        });
        let deed = Deed::new(&reporter.project, Action::ReporterCreated, reporter.id.as_str());
        self.note(&deed.became(&became), now).await?;
        Ok(ReporterKept::Reporter(Box::new(reporter)))
    }

    /// Retires a reporter with all its keys: nothing is expected of it any more. Again changes nothing.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn retire_reporter(
        &mut self,
        id: &SourceId,
        now: Timestamp,
    ) -> Result<ReporterKept, StoreError> {
        let Some(found) = find(&mut self.tx, id).await? else { return Ok(ReporterKept::Unknown) };
        if found.retired.is_some() {
            return Ok(ReporterKept::Reporter(Box::new(found)));
        }
        sqlx::query("UPDATE reporter SET retired_ms = $1, version = version + 1 WHERE id = $2")
            .bind(ms(now))
            .bind(id.as_str())
            .execute(&mut *self.tx)
            .await?;
        sqlx::query("UPDATE reporter_key SET revoked_ms = $1 WHERE reporter = $2 AND revoked_ms IS NULL")
            .bind(ms(now))
            .bind(id.as_str())
            .execute(&mut *self.tx)
            .await?;
        let was = json!({ "heard_at": found.heard.map(|at| at.to_string()) });
        self.note(&Deed::new(&found.project, Action::ReporterRetired, id.as_str()).was(&was), now).await?;
        let version = found.version.saturating_add(1);
        Ok(ReporterKept::Reporter(Box::new(Reporter { retired: Some(now), version, ..found })))
    }

    /// Makes a key for a reporter; two may be in use, so that one takes the other's place without a refused report.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn create_reporter_key(
        &mut self,
        reporter: &SourceId,
        seal: &SealKeys,
        now: Timestamp,
    ) -> Result<ReporterKeyMade, StoreError> {
        let found = find(&mut self.tx, reporter).await?.filter(|found| found.retired.is_none());
        let Some(found) = found else { return Ok(ReporterKeyMade::Unknown) };
        if active_keys(&mut self.tx, reporter).await? >= KEYS_MAX {
            return Ok(ReporterKeyMade::TooMany);
        }
        let key = random::id()?;
        let key = SigningKeyId::parse(&key)
            .map_err(|error| StoreError::Unreadable { column: "id", got: error.got })?;
        let secret: [u8; 32] = random::bytes()?;
        let Some(sealed) = seal.seal(&Secret::new(secret), &bound_to(&key), random::bytes()?) else {
            return Ok(ReporterKeyMade::NoSealKey);
        };
        sqlx::query(
            "INSERT INTO reporter_key (id, reporter, sealed_by, sealed, created_ms) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(key.as_str())
        .bind(reporter.as_str())
        .bind(&sealed.key)
        .bind(sealed.bytes.as_slice())
        .bind(ms(now))
        .execute(&mut *self.tx)
        .await?;
        let deed = Deed::new(&found.project, Action::ReporterKeyCreated, key.as_str());
        self.note(&deed.became(&json!({ "reporter": reporter })), now).await?;
        let text = format!("pvr_{reporter}_{key}_{}", base16ct::lower::encode_string(&secret));
        Ok(ReporterKeyMade::Key(KeyView::new(&key, now, None), text))
    }

    /// Revokes a reporter's key; `None` if it has none such. Again changes nothing.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn revoke_reporter_key(
        &mut self,
        reporter: &SourceId,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<KeyView>, StoreError> {
        let Some(found) = find(&mut self.tx, reporter).await? else { return Ok(None) };
        let keys = keys(&mut self.tx, reporter).await?;
        let Some(view) = keys.into_iter().find(|view| view.id == key) else { return Ok(None) };
        if view.revoked_at.is_some() {
            return Ok(Some(view));
        }
        sqlx::query("UPDATE reporter_key SET revoked_ms = $1 WHERE id = $2")
            .bind(ms(now))
            .bind(key)
            .execute(&mut *self.tx)
            .await?;
        let deed = Deed::new(&found.project, Action::ReporterKeyRevoked, key);
        self.note(&deed.was(&json!({ "reporter": reporter })), now).await?;
        Ok(Some(KeyView { revoked_at: Some(now.to_string()), ..view }))
    }
}

impl Store {
    /// All reporters, or those of one contract, by their ids.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn reporters(&self, contract: Option<&ContractId>) -> Result<Vec<Reporter>, StoreError> {
        let rows = match contract {
            None => sqlx::query("SELECT * FROM reporter ORDER BY id"),
            Some(id) => sqlx::query("SELECT * FROM reporter WHERE contract = $1 ORDER BY id")
                .bind(id.as_str().to_owned()),
        };
        rows.fetch_all(&self.readers).await?.iter().map(read).collect()
    }

    /// The reporter of that id.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn reporter(&self, id: &SourceId) -> Result<Option<Reporter>, StoreError> {
        find(&mut *self.readers.acquire().await?, id).await
    }

    /// All keys that a reporter ever had, the oldest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn reporter_keys(&self, reporter: &SourceId) -> Result<Vec<KeyView>, StoreError> {
        keys(&mut *self.readers.acquire().await?, reporter).await
    }

    /// The reporter's key of that id, opened; `None` where there is none, or it cannot be opened any more.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn reporter_key(
        &self,
        id: &SigningKeyId,
        seal: &SealKeys,
    ) -> Result<Option<ReporterKeyFound>, StoreError> {
        let row =
            sqlx::query("SELECT reporter, sealed_by, sealed, revoked_ms FROM reporter_key WHERE id = $1")
                .bind(id.as_str())
                .fetch_optional(&self.readers)
                .await?;
        let Some(row) = row else { return Ok(None) };
        let sealed = Sealed { key: row.try_get("sealed_by")?, bytes: row.try_get("sealed")? };
        let Some(secret) = seal.open(&sealed, &bound_to(id)) else { return Ok(None) };
        Ok(Some(ReporterKeyFound {
            reporter: super::rows::id(&row, "reporter", SourceId::parse)?,
            key: SigningKey::new(Purpose::Reporter, id.clone(), secret.as_bytes().to_vec()),
            is_revoked: optional(&row, "revoked_ms", instant)?.is_some(),
        }))
    }
}

/// What a sealed secret is bound to, so that it cannot be moved to another key.
fn bound_to(key: &SigningKeyId) -> String {
    format!("reporter key {key}")
}

pub(super) async fn find(connection: &mut Connection, id: &SourceId) -> Result<Option<Reporter>, StoreError> {
    let row = sqlx::query("SELECT * FROM reporter WHERE id = $1")
        .bind(id.as_str())
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(read).transpose()
}

/// The reporters of a contract, retired ones too.
pub(super) async fn of_contract(
    connection: &mut Connection,
    contract: &ContractId,
) -> Result<Vec<Reporter>, StoreError> {
    let rows = sqlx::query("SELECT * FROM reporter WHERE contract = $1 ORDER BY id")
        .bind(contract.as_str())
        .fetch_all(connection)
        .await?;
    rows.iter().map(read).collect()
}

async fn active_keys(connection: &mut Connection, reporter: &SourceId) -> Result<usize, StoreError> {
    let rows = sqlx::query("SELECT id FROM reporter_key WHERE reporter = $1 AND revoked_ms IS NULL")
        .bind(reporter.as_str())
        .fetch_all(connection)
        .await?;
    Ok(rows.len())
}

async fn keys(connection: &mut Connection, reporter: &SourceId) -> Result<Vec<KeyView>, StoreError> {
    let rows = sqlx::query(
        "SELECT id, created_ms, revoked_ms FROM reporter_key WHERE reporter = $1 ORDER BY created_ms, id",
    )
    .bind(reporter.as_str())
    .fetch_all(connection)
    .await?;
    let view = |row| {
        let id = id(row, "id", SigningKeyId::parse)?;
        Ok(KeyView::new(&id, instant(row, "created_ms")?, optional(row, "revoked_ms", instant)?))
    };
    rows.iter().map(view).collect()
}

async fn insert(tx: &mut Connection, reporter: &Reporter) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO reporter (id, contract, project, environment, rpm, units_max, air_gap, version, created_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(reporter.id.as_str())
    .bind(reporter.contract.as_str())
    .bind(reporter.project.as_str())
    .bind(environment_text(reporter.environment))
    .bind(i64::from(reporter.rpm))
    .bind(reporter.units_max.map(|units| int(units.get())))
    .bind(i64::from(reporter.air_gap))
    .bind(int(reporter.version))
    .bind(ms(reporter.created))
    .execute(tx)
    .await?;
    Ok(())
}

/// What a reporter may serve in a day is plausible for its project from now on.
async fn allow_rate(tx: &mut Connection, reporter: &Reporter) -> Result<(), StoreError> {
    sqlx::query("UPDATE project SET rpm_max = $1 WHERE id = $2 AND rpm_max < $1")
        .bind(i64::from(reporter.rpm))
        .bind(reporter.project.as_str())
        .execute(tx)
        .await?;
    Ok(())
}

fn environment_text(environment: Environment) -> &'static str {
    match environment {
        Environment::Production => "production",
        Environment::Development => "development",
    }
}

fn environment(text: &str) -> Option<Environment> {
    [Environment::Production, Environment::Development]
        .into_iter()
        .find(|environment| environment_text(*environment) == text)
}

pub(super) fn read(row: &DbRow) -> Result<Reporter, StoreError> {
    let living: Option<String> = row.try_get("living")?;
    let living = living.map(|text| {
        Incarnation::parse(&text).map_err(|error| StoreError::Unreadable { column: "living", got: error.got })
    });
    Ok(Reporter {
        id: id(row, "id", SourceId::parse)?,
        contract: id(row, "contract", ContractId::parse)?,
        project: id(row, "project", ProjectId::parse)?,
        environment: name(row, "environment", environment)?,
        rpm: small(row, "rpm")?,
        units_max: optional(row, "units_max", units)?,
        air_gap: flag(row, "air_gap")?,
        version: number(row, "version")?,
        created: instant(row, "created_ms")?,
        retired: optional(row, "retired_ms", instant)?,
        living: living.transpose()?,
        heard: optional(row, "heard_ms", instant)?,
    })
}
