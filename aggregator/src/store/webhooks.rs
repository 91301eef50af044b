//! Endpoints and their sealed secrets on disk.

use serde_json::json;
use shared::ids::ProjectId;
use shared::time::Timestamp;
use sqlx::Row;

use super::rows::{id, instant, int, ms, name, number, optional};
use super::{Connection, DbRow, Store, StoreError, Work, again, events, projects};
use crate::access::trail::{Action, Deed};
use crate::random;
use crate::webhooks::endpoint::{
    ENDPOINTS_MAX, Endpoint, EndpointChange, EndpointNote, Filter, Format, SECRETS_MAX,
};
use crate::webhooks::event::{Event, WebhookTest};
use crate::webhooks::health::{DisabledBecause, Health};
use crate::webhooks::seal::{SealKeys, Sealed};
use crate::webhooks::sign::{OVERLAP_MS, Secret};

/// What a new endpoint begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEndpoint {
    /// Where deliveries go; judged by the caller.
    pub url: String,
    /// Which events it gets.
    pub events: Filter,
    /// What they look like.
    pub format: Format,
    /// What it is for.
    pub description: String,
}

/// What came of making an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointCreated {
    /// The endpoint, and the secret that is shown this once.
    Endpoint(Endpoint, Secret),
    /// There is no such project.
    ProjectUnknown,
    /// The project has [`ENDPOINTS_MAX`].
    TooMany,
    /// There is no key to seal secrets with.
    NoSealKey,
}

/// What came of asking for a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked<T> {
    /// It is under way.
    Done(T),
    /// The project has no such endpoint or delivery.
    Unknown,
    /// The endpoint is disabled.
    Disabled,
}

impl Work {
    /// Makes an endpoint with a first secret.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn create_webhook(
        &mut self,
        project: &ProjectId,
        new: NewEndpoint,
        keys: &SealKeys,
        now: Timestamp,
    ) -> Result<EndpointCreated, StoreError> {
        if projects::find(&mut self.tx, project).await?.is_none() {
            return Ok(EndpointCreated::ProjectUnknown);
        }
        if of_project(&mut self.tx, project).await?.len() >= ENDPOINTS_MAX {
            return Ok(EndpointCreated::TooMany);
        }
        let NewEndpoint { url, events, format, description } = new;
        let endpoint = Endpoint {
            id: format!("wh_{}", random::id()?),
            project: project.clone(),
            url,
            events,
            format,
            description,
            health: Health::Well,
            created: now,
        };
        let secret = Secret::new(random::bytes()?);
        let Some(sealed) = keys.seal(&secret, &endpoint.id, random::bytes()?) else {
            return Ok(EndpointCreated::NoSealKey);
        };
        insert(&mut self.tx, &endpoint).await?;
        insert_secret(&mut self.tx, &endpoint.id, &sealed).await?;
        let deed =
            Deed::new(project, Action::WebhookCreated, &endpoint.id).became(&EndpointNote::from(&endpoint));
        self.note(&deed, now).await?;
        Ok(EndpointCreated::Endpoint(endpoint, secret))
    }

    /// Changes an endpoint; `None` if the project has none such. Turned on again, what waited for it goes on.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn change_webhook(
        &mut self,
        project: &ProjectId,
        id: &str,
        change: EndpointChange,
        now: Timestamp,
    ) -> Result<Option<Endpoint>, StoreError> {
        let Some(found) = find(&mut self.tx, project, id).await? else { return Ok(None) };
        let health = match (change.disabled, found.health) {
            (None, health) | (Some(true), health @ Health::Disabled { .. }) => health,
            (Some(false), health @ (Health::Well | Health::Failing { .. })) => health,
            (Some(true), Health::Well | Health::Failing { .. }) => {
                Health::Disabled { at: now, because: DisabledBecause::ByHand }
            }
            (Some(false), Health::Disabled { .. }) => Health::Well,
        };
        let was = EndpointNote::from(&found);
        let next = Endpoint {
            url: change.url.unwrap_or(found.url),
            events: change.events.unwrap_or(found.events),
            description: change.description.unwrap_or(found.description),
            health,
            ..found
        };
        update(&mut self.tx, &next).await?;
        events::set_due(&mut self.tx, id).await?;
        let deed =
            Deed::new(project, Action::WebhookChanged, id).was(&was).became(&EndpointNote::from(&next));
        self.note(&deed, now).await?;
        Ok(Some(next))
    }

    /// Removes an endpoint with its secrets and its log, and says what it was; `None` if the project has none such.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn delete_webhook(
        &mut self,
        project: &ProjectId,
        id: &str,
        now: Timestamp,
    ) -> Result<Option<Endpoint>, StoreError> {
        let Some(endpoint) = find(&mut self.tx, project, id).await? else { return Ok(None) };
        sqlx::query("DELETE FROM webhook WHERE id = $1").bind(id).execute(&mut *self.tx).await?;
        let deed = Deed::new(project, Action::WebhookDeleted, id).was(&EndpointNote::from(&endpoint));
        self.note(&deed, now).await?;
        Ok(Some(endpoint))
    }

    /// Gives an endpoint a new secret; the one before goes on signing for [`OVERLAP_MS`].
    ///
    /// # Errors
    /// When the store fails.
    pub async fn rotate_webhook(
        &mut self,
        project: &ProjectId,
        id: &str,
        keys: &SealKeys,
        now: Timestamp,
    ) -> Result<Option<(Endpoint, Secret)>, StoreError> {
        let Some(endpoint) = find(&mut self.tx, project, id).await? else { return Ok(None) };
        let secret = Secret::new(random::bytes()?);
        let sealed = keys
            .seal(&secret, id, random::bytes()?)
            .ok_or_else(|| StoreError::Unwritable("there is no key to seal secrets with".to_owned()))?;
        retire_secrets(&mut self.tx, id, now).await?;
        insert_secret(&mut self.tx, id, &sealed).await?;
        let until = json!({ "previous_until": now.plus_ms(OVERLAP_MS).to_string() });
        self.note(&Deed::new(project, Action::WebhookRotated, id).became(&until), now).await?;
        Ok(Some((endpoint, secret)))
    }

    /// Sends an endpoint an event that says only that it is a test, and says which delivery that is.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn test_webhook(
        &mut self,
        project: &ProjectId,
        id: &str,
        now: Timestamp,
    ) -> Result<Asked<String>, StoreError> {
        let Some(endpoint) = find(&mut self.tx, project, id).await? else { return Ok(Asked::Unknown) };
        if matches!(endpoint.health, Health::Disabled { .. }) {
            return Ok(Asked::Disabled);
        }
        let event = Event::WebhookTest(WebhookTest { endpoint: endpoint.id, nonce: random::id()? });
        let Some(delivery) = events::announce_to(&mut self.tx, project, id, &event, now).await? else {
            return Ok(Asked::Unknown);
        };
        let begun = json!({ "delivery": delivery });
        self.note(&Deed::new(project, Action::WebhookTested, id).became(&begun), now).await?;
        Ok(Asked::Done(delivery))
    }
}

impl Store {
    /// All endpoints of a project, the oldest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn webhooks(&self, project: &ProjectId) -> Result<Vec<Endpoint>, StoreError> {
        of_project(&mut *self.readers.acquire().await?, project).await
    }

    /// An endpoint of a project.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn webhook(&self, project: &ProjectId, id: &str) -> Result<Option<Endpoint>, StoreError> {
        find(&mut *self.readers.acquire().await?, project, id).await
    }

    /// Seals anew what was sealed by another key than the newest, where it can be opened; says how many.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn reseal_webhooks(&self, keys: &SealKeys) -> Result<u64, StoreError> {
        again(|| self.reseal_webhooks_once(keys)).await
    }

    async fn reseal_webhooks_once(&self, keys: &SealKeys) -> Result<u64, StoreError> {
        let mut tx = self.write().await?;
        let rows =
            sqlx::query("SELECT webhook, number, seal_key, sealed FROM webhook_secret WHERE seal_key <> $1")
                .bind(keys.newest())
                .fetch_all(&mut *tx)
                .await?;
        let mut count = 0_u64;
        for row in &rows {
            let webhook: String = row.try_get("webhook")?;
            let opened = keys.open(&sealed(row)?, &webhook);
            let Some(sealed) =
                opened.map(|secret| Ok::<_, StoreError>(keys.seal(&secret, &webhook, random::bytes()?)))
            else {
                continue;
            };
            let Some(sealed) = sealed? else { continue };
            reseal(&mut tx, &webhook, number(row, "number")?, &sealed).await?;
            count = count.saturating_add(1);
        }
        tx.commit().await?;
        Ok(count)
    }
}

pub(super) async fn of_project(
    connection: &mut Connection,
    project: &ProjectId,
) -> Result<Vec<Endpoint>, StoreError> {
    let rows = sqlx::query(
        "SELECT id, project, url, events, format, description, failing_ms, disabled_ms, disabled_because, created_ms
         FROM webhook WHERE project = $1 ORDER BY created_ms, id",
    )
    .bind(project.as_str())
    .fetch_all(connection)
    .await?;
    rows.iter().map(read).collect()
}

pub(super) async fn find(
    connection: &mut Connection,
    project: &ProjectId,
    id: &str,
) -> Result<Option<Endpoint>, StoreError> {
    let row = sqlx::query(
        "SELECT id, project, url, events, format, description, failing_ms, disabled_ms, disabled_because, created_ms
         FROM webhook WHERE project = $1 AND id = $2",
    )
    .bind(project.as_str())
    .bind(id)
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(read).transpose()
}

/// The secrets that are in force, the newest first.
pub(super) async fn secrets(
    connection: &mut Connection,
    id: &str,
    now: Timestamp,
) -> Result<Vec<Sealed>, StoreError> {
    let rows = sqlx::query(
        "SELECT seal_key, sealed FROM webhook_secret
         WHERE webhook = $1 AND (expires_ms IS NULL OR expires_ms > $2) ORDER BY number DESC",
    )
    .bind(id)
    .bind(ms(now))
    .fetch_all(connection)
    .await?;
    rows.iter().map(sealed).collect()
}

fn sealed(row: &DbRow) -> Result<Sealed, StoreError> {
    Ok(Sealed { key: row.try_get("seal_key")?, bytes: row.try_get("sealed")? })
}

async fn insert(tx: &mut Connection, endpoint: &Endpoint) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO webhook (id, project, url, events, format, description, created_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(&endpoint.id)
    .bind(endpoint.project.as_str())
    .bind(&endpoint.url)
    .bind(endpoint.events.to_string())
    .bind(endpoint.format.as_str())
    .bind(&endpoint.description)
    .bind(ms(endpoint.created))
    .execute(tx)
    .await?;
    Ok(())
}

async fn update(tx: &mut Connection, endpoint: &Endpoint) -> Result<(), StoreError> {
    sqlx::query("UPDATE webhook SET url = $1, events = $2, description = $3 WHERE id = $4")
        .bind(&endpoint.url)
        .bind(endpoint.events.to_string())
        .bind(&endpoint.description)
        .bind(&endpoint.id)
        .execute(&mut *tx)
        .await?;
    set_health(tx, &endpoint.id, endpoint.health).await
}

pub(super) async fn set_health(tx: &mut Connection, id: &str, health: Health) -> Result<(), StoreError> {
    let (failing, disabled) = match health {
        Health::Well => (None, None),
        Health::Failing { since } => (Some(ms(since)), None),
        Health::Disabled { at, because } => (None, Some((ms(at), because.as_str()))),
    };
    sqlx::query("UPDATE webhook SET failing_ms = $1, disabled_ms = $2, disabled_because = $3 WHERE id = $4")
        .bind(failing)
        .bind(disabled.map(|(at, _)| at))
        .bind(disabled.map(|(_, because)| because))
        .bind(id)
        .execute(tx)
        .await?;
    Ok(())
}

async fn insert_secret(tx: &mut Connection, id: &str, sealed: &Sealed) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO webhook_secret (webhook, number, seal_key, sealed)
         SELECT $1, (SELECT COALESCE(MAX(number), 0) + 1 FROM webhook_secret WHERE webhook = $1), $2, $3",
    )
    .bind(id)
    .bind(&sealed.key)
    .bind(sealed.bytes.as_slice())
    .execute(tx)
    .await?;
    Ok(())
}

/// Lets the newest secret expire after the overlap, and forgets those that have, or are too many.
async fn retire_secrets(tx: &mut Connection, id: &str, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query("UPDATE webhook_secret SET expires_ms = $1 WHERE webhook = $2 AND expires_ms IS NULL")
        .bind(ms(now.plus_ms(OVERLAP_MS)))
        .bind(id)
        .execute(&mut *tx)
        .await?;
    // The newest but one of SECRETS_MAX stay, to which the new one comes.
    let kept = i64::try_from(SECRETS_MAX).unwrap_or(i64::MAX).saturating_sub(1);
    sqlx::query(
        "DELETE FROM webhook_secret WHERE webhook = $1 AND (expires_ms <= $2 OR number <=
             (SELECT MAX(number) FROM webhook_secret WHERE webhook = $1) - $3)",
    )
    .bind(id)
    .bind(ms(now))
    .bind(kept)
    .execute(tx)
    .await?;
    Ok(())
}

async fn reseal(tx: &mut Connection, id: &str, secret: u64, sealed: &Sealed) -> Result<(), StoreError> {
    sqlx::query("UPDATE webhook_secret SET seal_key = $1, sealed = $2 WHERE webhook = $3 AND number = $4")
        .bind(&sealed.key)
        .bind(sealed.bytes.as_slice())
        .bind(id)
        .bind(int(secret))
        .execute(tx)
        .await?;
    Ok(())
}

pub(super) fn read(row: &DbRow) -> Result<Endpoint, StoreError> {
    let health = match (optional(row, "failing_ms", instant)?, optional(row, "disabled_ms", instant)?) {
        (_, Some(at)) => {
            Health::Disabled { at, because: name(row, "disabled_because", DisabledBecause::parse)? }
        }
        (Some(since), None) => Health::Failing { since },
        (None, None) => Health::Well,
    };
    Ok(Endpoint {
        id: row.try_get("id")?,
        project: id(row, "project", ProjectId::parse)?,
        url: row.try_get("url")?,
        events: name(row, "events", |text| Filter::parse(text.split(' ')).ok())?,
        format: name(row, "format", Format::parse)?,
        description: row.try_get("description")?,
        health,
        created: instant(row, "created_ms")?,
    })
}
