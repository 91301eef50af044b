//! Automatic top-ups on disk: what was asked for, how the last payments went, and who is to be looked at.

use serde_json::json;
use shared::ids::ProjectId;
use shared::plan::Pack;
use shared::time::Timestamp;
use shared::units::Units;
use sqlx::Row;

use super::orders;
use crate::access::trail::{Action, Actor, Deed};
use crate::payments::order::Order;
use crate::payments::table::OrderState;
use crate::payments::top_up::{AutoTopUp, AutoTopUpView, Bought, Look, Rule};
use crate::store::rows::{flag, id, instant, int, ms, name, number, small, units};
use crate::store::{Connection, DbRow, Store, StoreError, Tx, Work, events, ledger, trail};
use crate::webhooks::event::{Event, TopupFailed};

/// Who buys by itself, in the audit log.
const JOB: Actor = Actor::Job("auto_top_up");

/// How many of the last are told.
const TRIED: u32 = 5;

impl Work {
    /// Sets, changes or takes away a project's automatic top-ups; what has stopped goes on.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn set_auto_top_up(
        &mut self,
        project: &ProjectId,
        rule: Option<Rule>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let before = find(&mut self.tx, project).await?;
        match rule {
            Some(rule) => keep(&mut self.tx, project, &AutoTopUp::new(rule)).await?,
            None => remove(&mut self.tx, project).await?,
        }
        let (was, stood) = (before.as_ref().map(|one| one.rule), before.is_some_and(|one| one.failures > 0));
        if was != rule || stood {
            let deed = Deed::new(project, Action::AutoTopUpSet, "auto_top_up").was(&was).became(&rule);
            self.note(&deed, now).await?;
        }
        Ok(())
    }

    /// As [`Store::auto_top_up`], this change included.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn auto_top_up(
        &mut self,
        project: &ProjectId,
        now: Timestamp,
    ) -> Result<Option<AutoTopUpView>, StoreError> {
        view(&mut self.tx, project, now).await
    }
}

impl Store {
    /// A project's automatic top-ups; `None` where it has none.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn auto_top_up(
        &self,
        project: &ProjectId,
        now: Timestamp,
    ) -> Result<Option<AutoTopUpView>, StoreError> {
        view(&mut *self.readers.acquire().await?, project, now).await
    }

    /// At most `limit` projects that have moved since the last look at them, or were never looked at.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn due_top_ups(&self, now: Timestamp, limit: u32) -> Result<Vec<ProjectId>, StoreError> {
        let rows = sqlx::query(
            "SELECT t.project FROM auto_top_up t
             JOIN project p ON p.id = t.project
             LEFT JOIN usage u ON u.project = t.project AND u.mode = 'live' AND u.period = $1
             WHERE t.stopped = 0 AND t.wait_ms <= $2
                   AND (t.looked_month IS DISTINCT FROM $3 OR t.looked_policy IS DISTINCT FROM p.policy_version
                        OR COALESCE(u.units, 0) >= t.looked_units)
                   AND NOT EXISTS (SELECT 1 FROM stripe_order o WHERE o.project = t.project AND o.automatic = 1
                                   AND o.state IN ('new', 'open', 'processing', 'held'))
             ORDER BY t.project LIMIT $4",
        )
        .bind(now.period().to_string())
        .bind(ms(now))
        .bind(now.period().to_string())
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(|row| id(row, "project", ProjectId::parse)).collect()
    }

    /// Looks at a project: which pack is to be bought, if one is. What is seen is remembered otherwise.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn look_at_top_up(
        &self,
        project: &ProjectId,
        now: Timestamp,
    ) -> Result<Option<Pack>, StoreError> {
        let mut tx = self.write_project(project).await?;
        let pack = look(&mut tx, project, now).await?;
        tx.commit().await?;
        Ok(pack)
    }

    /// Writes an automatic order, if it is still to be made; nothing was sent for it yet.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn begin_top_up(&self, order: &Order, now: Timestamp) -> Result<bool, StoreError> {
        let mut tx = self.write_project(&order.project).await?;
        let wanted = look(&mut tx, &order.project, now).await?;
        let begins = wanted.is_some_and(|pack| order.good == crate::payments::goods::Good::Pack(pack));
        if begins {
            orders::insert(&mut tx, order, None, now).await?;
            let became = json!({ "order": order.id, "good": order.good.name(), "price": order.price });
            let deed = Deed::new(&order.project, Action::AutoTopUpBegun, &order.id).became(&became);
            trail::insert(&mut tx, &JOB, &deed, now).await?;
        }
        tx.commit().await?;
        Ok(begins)
    }

    /// Whether an automatic order that was not charged yet is still wanted.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn top_up_is_wanted(&self, project: &ProjectId) -> Result<bool, StoreError> {
        let found = find(&mut *self.readers.acquire().await?, project).await?;
        Ok(found.is_some_and(|top_up| !top_up.stopped))
    }

    /// Ends an automatic order that Stripe has not charged, as failed where `failure` says why, else as given up.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn top_up_ended(
        &self,
        order: &Order,
        (state, note): (OrderState, &str),
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.write_project(&order.project).await?;
        let Some(found) = orders::find(&mut tx, &order.id).await? else { return Ok(()) };
        if found.automatic && matches!(found.state, OrderState::New | OrderState::Open) {
            let ended = Order { state, note: Some(note.to_owned()), ..found.clone() };
            orders::update(&mut tx, &ended).await?;
            settled(&mut tx, &found, &ended, now).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Notes why a payment of an automatic order fails, and with which method, before its invoice is voided.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn top_up_declined(
        &self,
        order: &Order,
        reason: &str,
        method: Option<&str>,
    ) -> Result<(), StoreError> {
        let mut tx = self.write_project(&order.project).await?;
        sqlx::query("UPDATE stripe_order SET note = $1 WHERE id = $2 AND automatic = 1 AND state <> 'paid'")
            .bind(reason)
            .bind(&order.id)
            .execute(&mut *tx)
            .await?;
        sqlx::query("UPDATE auto_top_up SET failed_with = $1 WHERE project = $2")
            .bind(method)
            .bind(order.project.as_str())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// The project's customer pays by `method` from now on: what failed with another is tried again. Says
    /// whether anything goes on by that.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn top_up_pays_with(
        &self,
        project: &ProjectId,
        method: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut tx = self.write_project(project).await?;
        let Some(before) = find(&mut tx, project).await? else { return Ok(false) };
        let after = before.clone().pays_with(method);
        let goes_on = after != before;
        if goes_on {
            keep(&mut tx, project, &after).await?;
            let became = json!({ "state": "on", "because": "another payment method" });
            let deed = Deed::new(project, Action::AutoTopUpSet, "auto_top_up").became(&became);
            trail::insert(&mut tx, &JOB, &deed, now).await?;
        }
        tx.commit().await?;
        Ok(goes_on)
    }
}

/// Which pack is to be bought; a look that buys nothing is remembered, so that the next is made only when
/// something has moved.
async fn look(tx: &mut Tx, project: &ProjectId, now: Timestamp) -> Result<Option<Pack>, StoreError> {
    let Some(top_up) = find(tx, project).await? else { return Ok(None) };
    let Some(book) = ledger::load(tx, project).await? else { return Ok(None) };
    let bought = bought(tx, project, now).await?;
    match top_up.look(&book, bought, now).map_err(StoreError::Refused)? {
        Look::Buy(pack) => Ok(Some(pack)),
        Look::Later => Ok(None),
        Look::Wait(until) => {
            looked(tx, project, (book.project.policy_version, until), now).await?;
            Ok(None)
        }
    }
}

async fn looked(
    tx: &mut Connection,
    project: &ProjectId,
    (policy_version, until): (u64, Units),
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE auto_top_up SET looked_month = $1, looked_policy = $2, looked_units = $3 WHERE project = $4",
    )
    .bind(now.period().to_string())
    .bind(int(policy_version))
    .bind(int(until.get()))
    .bind(project.as_str())
    .execute(tx)
    .await?;
    Ok(())
}

/// What an automatic order that has just ended does to those that would follow, and who is told.
pub(super) async fn settled(
    tx: &mut Tx,
    before: &Order,
    after: &Order,
    now: Timestamp,
) -> Result<(), StoreError> {
    if !after.automatic || before.state == after.state {
        return Ok(());
    }
    let project = &after.project;
    match after.state {
        OrderState::Paid => {
            if let Some(top_up) = find(tx, project).await? {
                keep(tx, project, &top_up.paid()).await?;
            }
            Ok(())
        }
        OrderState::Failed => failed(tx, after, now).await,
        OrderState::New
        | OrderState::Open
        | OrderState::Processing
        | OrderState::Expired
        | OrderState::Held => Ok(()),
    }
}

async fn failed(tx: &mut Tx, order: &Order, now: Timestamp) -> Result<(), StoreError> {
    let project = &order.project;
    let reason = order.note.as_deref().unwrap_or("payment_failed").to_owned();
    let Some(top_up) = find(tx, project).await? else { return Ok(()) };
    let top_up = top_up.failed(&reason, now);
    keep(tx, project, &top_up).await?;
    if top_up.stopped {
        let became = json!({ "state": "stopped", "failures": top_up.failures, "reason": reason });
        let deed = Deed::new(project, Action::AutoTopUpStopped, "auto_top_up").became(&became);
        trail::insert(tx, &JOB, &deed, now).await?;
    }
    let told = Event::TopupFailed(TopupFailed {
        order: order.id.clone(),
        units: order.units,
        reason,
        failures: top_up.failures,
        stopped: top_up.stopped,
    });
    events::announce(tx, project, &told, now).await.map(drop)
}

async fn view(
    connection: &mut Connection,
    project: &ProjectId,
    now: Timestamp,
) -> Result<Option<AutoTopUpView>, StoreError> {
    let Some(top_up) = find(connection, project).await? else { return Ok(None) };
    let bought = bought(connection, project, now).await?;
    let tried = orders::automatic(connection, project, TRIED).await?;
    Ok(Some(AutoTopUpView::new(top_up, bought, tried, now)))
}

/// Whether packs are bought by themselves, as of what the connection sees.
pub(in crate::store) async fn is_buying(
    connection: &mut Connection,
    project: &ProjectId,
) -> Result<bool, StoreError> {
    Ok(find(connection, project).await?.is_some_and(|top_up| !top_up.stopped))
}

async fn find(connection: &mut Connection, project: &ProjectId) -> Result<Option<AutoTopUp>, StoreError> {
    let row = sqlx::query(
        "SELECT pack, below, monthly_limit, failures, stopped, failed_with, reason, wait_ms
         FROM auto_top_up WHERE project = $1",
    )
    .bind(project.as_str())
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(read).transpose()
}

fn read(row: &DbRow) -> Result<AutoTopUp, StoreError> {
    Ok(AutoTopUp {
        rule: Rule {
            pack: name(row, "pack", Pack::parse)?,
            below: units(row, "below")?,
            monthly_limit: small(row, "monthly_limit")?,
        },
        failures: small(row, "failures")?,
        stopped: flag(row, "stopped")?,
        failed_with: row.try_get("failed_with")?,
        reason: row.try_get("reason")?,
        not_before: instant(row, "wait_ms")?,
    })
}

/// Writes how a project's automatic top-ups stand; the next look is made in any case.
async fn keep(tx: &mut Connection, project: &ProjectId, top_up: &AutoTopUp) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO auto_top_up
             (project, pack, below, monthly_limit, failures, stopped, failed_with, reason, wait_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (project) DO UPDATE SET
             pack = excluded.pack, below = excluded.below, monthly_limit = excluded.monthly_limit,
             failures = excluded.failures, stopped = excluded.stopped, failed_with = excluded.failed_with,
             reason = excluded.reason, wait_ms = excluded.wait_ms,
             looked_month = NULL, looked_policy = NULL, looked_units = NULL",
    )
    .bind(project.as_str())
    .bind(top_up.rule.pack.as_str())
    .bind(int(top_up.rule.below.get()))
    .bind(i64::from(top_up.rule.monthly_limit))
    .bind(i64::from(top_up.failures))
    .bind(i64::from(top_up.stopped))
    .bind(&top_up.failed_with)
    .bind(&top_up.reason)
    .bind(ms(top_up.not_before))
    .execute(tx)
    .await?;
    Ok(())
}

async fn remove(tx: &mut Connection, project: &ProjectId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM auto_top_up WHERE project = $1").bind(project.as_str()).execute(tx).await?;
    Ok(())
}

/// How many packs were bought by themselves in the present month, and whether one still is.
async fn bought(
    connection: &mut Connection,
    project: &ProjectId,
    now: Timestamp,
) -> Result<Bought, StoreError> {
    let month = now.period();
    let row = sqlx::query(
        "SELECT CAST(COALESCE(SUM(CASE WHEN created_ms >= $1 AND created_ms < $2 THEN 1 ELSE 0 END), 0) AS BIGINT)
                    AS bought,
                CAST(COALESCE(SUM(CASE WHEN state = 'paid' THEN 0 ELSE 1 END), 0) AS BIGINT) AS under_way
         FROM stripe_order
         WHERE project = $3 AND automatic = 1 AND state IN ('new', 'open', 'processing', 'held', 'paid')",
    )
    .bind(ms(month.start()))
    .bind(ms(month.end()))
    .bind(project.as_str())
    .fetch_one(connection)
    .await?;
    Ok(Bought { this_month: small(&row, "bought")?, under_way: number(&row, "under_way")? > 0 })
}
