//! Changes that are made only to be looked at: in one transaction, on a connection of its own, that is never committed.
//!
//! What a rehearsal gives is a store like any other: the same functions run the same statements, and each sees what those
//! before it wrote. Their transactions are parts of the rehearsal's, which is taken back when it ends, however it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use shared::ids::ProjectId;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::pool::PoolConnection;
use sqlx::{Column as _, Connection as _, Row};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::dialect::Dialect;
use super::memory::Memory;
use super::{ACQUIRE_TIMEOUT, Db, DbPool, DbRow, Store, StoreError, postgres};

/// How many rehearsals run at once: on Postgres each is a connection more.
pub(super) const REHEARSALS_MAX: usize = 1;

/// The projects that a rehearsal concerns.
pub(super) type Concerned = Arc<Mutex<BTreeSet<ProjectId>>>;

/// A transaction that ends by being taken back.
#[derive(Debug)]
pub struct Rehearsal {
    store: Store,
    concerned: Concerned,
    connection: DbPool,
    /// In a lock, because a connection must not be looked at by two threads.
    _turn: Mutex<Option<PoolConnection<Db>>>,
    _place: Option<OwnedSemaphorePermit>,
}

/// A row's columns.
pub type Columns = BTreeMap<String, Value>;

/// What of some projects a change might move, as it is at an instant of a rehearsal.
#[derive(Debug)]
pub struct Glance {
    rows: BTreeMap<(ProjectId, usize, String), Columns>,
    /// The last number of each list that only grows.
    last: BTreeMap<(ProjectId, usize), i64>,
}

/// A row that would come, go or be another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Change {
    /// What the row is, such as `ledger entry`, `order`, `subscription`, `bill`, `lot`.
    pub what: &'static str,
    /// Whose.
    pub project: ProjectId,
    /// Which of them.
    pub key: String,
    /// The columns that would change, as they are; `null` where there is no such row.
    pub was: Option<Columns>,
    /// The same columns, as they would be; `null` where the row would be gone.
    pub becomes: Option<Columns>,
    /// The change in words.
    pub says: String,
}

/// What is looked at of a project.
struct Looked {
    what: &'static str,
    key: &'static [&'static str],
    /// `$1` is the project; `$2`, of what only grows, the last number that was there before.
    rows: &'static str,
    last: Option<&'static str>,
}

const LOOKED: &[Looked] = &[
    Looked {
        what: "ledger entry",
        key: &["number"],
        rows: "SELECT number, fact, movements FROM entry WHERE project = $1 AND number > $2",
        last: Some("SELECT COALESCE(MAX(number), 0) FROM entry WHERE project = $1"),
    },
    Looked {
        what: "lot",
        key: &["order_id"],
        rows: "SELECT order_id, lot_number FROM lot_order WHERE project = $1",
        last: None,
    },
    Looked {
        what: "order",
        key: &["id"],
        rows: "SELECT id, good, units, price, currency, price_id, customer, attempt, state, session, url, payment, note
               FROM stripe_order WHERE project = $1",
        last: None,
    },
    Looked {
        what: "subscription",
        key: &["project"],
        rows: "SELECT project, subscription, item, status, plan, pays, until_ms, ends_ms, overdue_ms, waiting
               FROM stripe_subscription WHERE project = $1",
        last: None,
    },
    Looked {
        what: "bill",
        key: &["period", "number"],
        rows: "SELECT period, number, amount, currency, step, attempt, customer, invoice, overdue_ms, note
               FROM stripe_bill WHERE project = $1",
        last: None,
    },
    Looked {
        what: "overdue invoice",
        key: &["invoice"],
        rows: "SELECT invoice, period, amount, currency, since_ms, pay_at FROM stripe_overdue WHERE project = $1",
        last: None,
    },
    Looked {
        what: "customer",
        key: &["project"],
        rows: "SELECT project, customer, attempt, deleted, paid_with, charged, default_method
               FROM stripe_customer WHERE project = $1",
        last: None,
    },
    Looked {
        what: "automatic top-up",
        key: &["project"],
        rows: "SELECT project, pack, below, monthly_limit, failures, stopped, failed_with, reason, wait_ms
               FROM auto_top_up WHERE project = $1",
        last: None,
    },
    Looked {
        what: "project",
        key: &["id"],
        rows: "SELECT id, plan, rpm, included, suspended, auto_overage, catalogue, policy_version, first_open
               FROM project WHERE id = $1",
        last: None,
    },
    Looked {
        what: "crossing",
        key: &["period", "quota_version", "percent"],
        rows: "SELECT period, quota_version, percent, quota, used FROM crossing_event WHERE project = $1",
        last: None,
    },
    Looked {
        what: "event to webhooks",
        key: &["number"],
        rows: "SELECT number, type FROM event WHERE project = $1 AND number > $2",
        last: Some("SELECT COALESCE(MAX(number), 0) FROM event WHERE project = $1"),
    },
    Looked {
        what: "audit line",
        key: &["number"],
        rows: "SELECT number, actor_kind, actor, action, target, was, became FROM trail WHERE project = $1 AND number > $2",
        last: Some("SELECT COALESCE(MAX(number), 0) FROM trail WHERE project = $1"),
    },
];

impl Store {
    /// Begins a rehearsal. No network call may be made in it: it keeps every other writer waiting.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn rehearse(&self) -> Result<Rehearsal, StoreError> {
        let place = Arc::clone(&self.rehearsals).acquire_owned().await.ok();
        // SQLite has one writer at a time. Who waits for it waits for the pool's connection and not for the file.
        let turn = match self.dialect {
            Dialect::Sqlite => Some(self.writer.acquire().await?),
            Dialect::Postgres => None,
        };
        let options = AnyConnectOptions::clone(&self.writer.connect_options());
        let pool = AnyPoolOptions::new().max_connections(1).acquire_timeout(ACQUIRE_TIMEOUT);
        let only = pool.test_before_acquire(false).connect_with(options).await?;
        let mut connection = only.acquire().await?;
        if self.dialect == Dialect::Postgres {
            postgres::prepare(&mut connection).await?;
        }
        let whole = connection.begin_with(self.dialect.begin_write()).await?;
        // It stays open while the connection comes and goes; the driver begins savepoints in it.
        std::mem::forget(whole);
        drop(connection);
        let concerned = Concerned::default();
        let store = Self {
            writer: only.clone(),
            readers: only.clone(),
            policy_changed: Arc::default(),
            deliveries_due: Arc::default(),
            exports: Arc::new(Semaphore::new(1)),
            memory: Memory::default(),
            rehearsed: Some(Arc::clone(&concerned)),
            ..self.clone()
        };
        Ok(Rehearsal { store, concerned, connection: only, _turn: Mutex::new(turn), _place: place })
    }

    /// Notes that what follows is about a project.
    pub(super) fn concerns(&self, project: &ProjectId) {
        if let Some(concerned) = &self.rehearsed {
            concerned.lock().unwrap_or_else(PoisonError::into_inner).insert(project.clone());
        }
    }
}

impl Rehearsal {
    /// The store as it would be.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The projects that were looked at to be changed.
    #[must_use]
    pub fn concerned(&self) -> BTreeSet<ProjectId> {
        self.concerned.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What of these projects a change might move. After a change `before` says since when lists are read that only grow.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn glance(
        &self,
        projects: &BTreeSet<ProjectId>,
        before: Option<&Glance>,
    ) -> Result<Glance, StoreError> {
        let mut connection = self.connection.acquire().await?;
        let mut glance = Glance { rows: BTreeMap::new(), last: BTreeMap::new() };
        for project in projects {
            for (at, looked) in LOOKED.iter().enumerate() {
                let mut rows = sqlx::query(looked.rows).bind(project.as_str());
                match (looked.last, before) {
                    (Some(last), None) => {
                        let row =
                            sqlx::query(last).bind(project.as_str()).fetch_one(&mut *connection).await?;
                        glance.last.insert((project.clone(), at), row.try_get(0)?);
                        continue;
                    }
                    (Some(_), Some(before)) => {
                        rows =
                            rows.bind(before.last.get(&(project.clone(), at)).copied().unwrap_or_default());
                    }
                    (None, _) => {}
                }
                for row in rows.fetch_all(&mut *connection).await? {
                    let columns = columns(&row)?;
                    let key: Vec<String> =
                        looked.key.iter().filter_map(|name| columns.get(*name)).map(word).collect();
                    glance.rows.insert((project.clone(), at, key.join(" ")), columns);
                }
            }
        }
        Ok(glance)
    }

    /// Takes everything back.
    pub async fn end(self) {
        self.connection.close().await;
    }
}

impl Glance {
    /// What is otherwise in `after`, the ledger first.
    #[must_use]
    pub fn changes(&self, after: &Self) -> Vec<Change> {
        let keys: BTreeSet<_> = self.rows.keys().chain(after.rows.keys()).collect();
        let change = |of: &(ProjectId, usize, String)| {
            let (project, at, key) = of;
            let what = LOOKED.get(*at)?.what;
            let (was, becomes) = differing(self.rows.get(of), after.rows.get(of))?;
            let says = says((what, key), was.as_ref(), becomes.as_ref());
            Some(Change { what, project: project.clone(), key: key.clone(), was, becomes, says })
        };
        keys.into_iter().filter_map(change).collect()
    }
}

/// The columns that differ, on both sides; all of a row that is on one side only.
fn differing(was: Option<&Columns>, becomes: Option<&Columns>) -> Option<(Option<Columns>, Option<Columns>)> {
    let (Some(before), Some(after)) = (was, becomes) else { return Some((was.cloned(), becomes.cloned())) };
    let only = |of: &Columns| {
        let differs = |name: &String| before.get(name) != after.get(name);
        of.iter()
            .filter(|(name, _)| differs(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    };
    (before != after).then(|| (Some(only(before)), Some(only(after))))
}

/// A change in words.
fn says((what, key): (&str, &str), was: Option<&Columns>, becomes: Option<&Columns>) -> String {
    let all = |of: &Columns| {
        let known = of.iter().filter(|(_, value)| !value.is_null());
        known.map(|(name, value)| format!("{name} {}", word(value))).collect::<Vec<_>>().join(", ")
    };
    match (was, becomes) {
        (None, Some(new)) => format!("new {what} {key}: {}", all(new)),
        (Some(old), None) => format!("{what} {key} goes: {}", all(old)),
        (Some(old), Some(new)) => {
            let turns = old.iter().map(|(name, value)| {
                format!("{name} {} → {}", word(value), word(new.get(name).unwrap_or(&Value::Null)))
            });
            format!("{what} {key}: {}", turns.collect::<Vec<_>>().join(", "))
        }
        (None, None) => String::new(),
    }
}

fn word(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// A row of whole numbers and texts; a text that is JSON is what it says.
fn columns(row: &DbRow) -> Result<Columns, StoreError> {
    let value = |at: usize| -> Result<Value, StoreError> {
        if let Ok(number) = row.try_get::<Option<i64>, _>(at) {
            return Ok(number.map_or(Value::Null, Value::from));
        }
        let text: Option<String> = row.try_get(at)?;
        Ok(text.map_or(Value::Null, |text| {
            let json = text.starts_with(['{', '[']).then(|| serde_json::from_str(&text).ok()).flatten();
            json.unwrap_or(Value::String(text))
        }))
    };
    row.columns().iter().enumerate().map(|(at, column)| Ok((column.name().to_owned(), value(at)?))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn columns(value: &Value) -> Columns {
        serde_json::from_value(value.clone()).unwrap()
    }

    #[test]
    fn only_what_differs_is_said() {
        let order = |state: &str| columns(&json!({ "id": "o", "state": state, "payment": null }));
        assert_eq!(differing(Some(&order("open")), Some(&order("open"))), None);
        let (was, becomes) = differing(Some(&order("open")), Some(&order("paid"))).unwrap();
        assert_eq!(becomes, Some(columns(&json!({ "state": "paid" }))));
        assert_eq!(says(("order", "o"), was.as_ref(), becomes.as_ref()), "order o: state open → paid");
        let (was, becomes) = differing(None, Some(&order("paid"))).unwrap();
        assert_eq!(says(("order", "o"), was.as_ref(), becomes.as_ref()), "new order o: id o, state paid");
        let (was, becomes) = differing(Some(&order("paid")), None).unwrap();
        assert_eq!(says(("order", "o"), was.as_ref(), becomes.as_ref()), "order o goes: id o, state paid");
    }
}
