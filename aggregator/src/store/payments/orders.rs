//! Orders on disk. What is sent to Stripe is in the row before it is sent.

use schemars::JsonSchema;
use serde::Serialize;
use shared::ids::ProjectId;
use shared::time::Timestamp;
use sqlx::Row;

use crate::idempotency::Once;
use crate::ledger::money::{Currency, Money};
use crate::payments::goods::Good;
use crate::payments::order::{Form, Order};
use crate::payments::table::OrderState;
use crate::store::rows::{flag, id, instant, int, ms, name, number, small, units};
use crate::store::{Connection, DbRow, Store, StoreError};

/// How long an order that nobody paid answers the same wish again, where the caller gave it no name.
const SAME_WISH_MS: u64 = 60_000;

/// How soon an order is looked after that was not heard of: its session may have been lost on the way.
const FIRST_LOOK_MS: u64 = 30_000;

/// A wish to buy.
#[derive(Debug)]
pub struct Begin<'a> {
    /// The order as it would be.
    pub order: Order,
    /// The caller's own name for the call.
    pub call: Option<&'a Once>,
}

/// What a wish to buy came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Began {
    /// A new order.
    New(Box<Order>),
    /// The same wish was made before.
    Again(Box<Order>),
    /// The call's name was used for another wish.
    KeyReused,
    /// Another plan is being bought: its session has to end first.
    Other(Box<Order>),
}

/// An order as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ShownOrder {
    id: String,
    project: ProjectId,
    good: String,
    state: &'static str,
    price: Money,
    session: Option<String>,
    payment: Option<String>,
    created: String,
    automatic: bool,
    note: Option<String>,
}

impl From<Order> for ShownOrder {
    fn from(order: Order) -> Self {
        Self {
            id: order.id,
            project: order.project,
            good: order.good.name(),
            state: order.state.as_str(),
            price: order.price,
            session: order.session,
            payment: order.payment,
            created: order.created.to_string(),
            automatic: order.automatic,
            note: order.note,
        }
    }
}

impl Store {
    /// Writes an order, or finds the one that the same wish made before.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn begin_order(&self, wish: Begin<'_>, now: Timestamp) -> Result<Began, StoreError> {
        let Begin { order, call } = wish;
        let mut tx = self.write_project(&order.project).await?;
        if let Some(call) = call
            && let Some((request, before)) = by_call(&mut tx, &order.project, call).await?
        {
            let same = request == call.request();
            return Ok(if same { Began::Again(Box::new(before)) } else { Began::KeyReused });
        }
        if let Good::Plan(..) = order.good {
            if let Some(other) = unfinished_plan(&mut tx, &order.project).await? {
                let same = other.good == order.good && now < other.expires;
                return Ok(if same { Began::Again(Box::new(other)) } else { Began::Other(Box::new(other)) });
            }
        } else if call.is_none()
            && let Some(before) = same_wish(&mut tx, &order, now).await?
        {
            return Ok(Began::Again(Box::new(before)));
        }
        insert(&mut tx, &order, call, now).await?;
        tx.commit().await?;
        Ok(Began::New(Box::new(order)))
    }

    /// The order of that id.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn stripe_order(&self, id: &str) -> Result<Option<Order>, StoreError> {
        find(&mut *self.readers.acquire().await?, id).await
    }

    /// The order that a payment was for.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn order_of_payment(&self, payment: &str) -> Result<Option<Order>, StoreError> {
        let row = sqlx::query(select("payment = $1 ORDER BY id LIMIT 1"))
            .bind(payment)
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref().map(read).transpose()
    }

    /// Notes the session of an order that was only written down.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn order_opened(
        &self,
        id: &str,
        session: &str,
        url: Option<&str>,
    ) -> Result<Option<Order>, StoreError> {
        sqlx::query(
            "UPDATE stripe_order SET state = 'open', session = $1, url = $2
             WHERE id = $3 AND state = 'new' AND session IS NULL",
        )
        .bind(session)
        .bind(url)
        .bind(id)
        .execute(&self.writer)
        .await?;
        self.stripe_order(id).await
    }

    /// Raises the key of an order's session, because the last one is proved to have made nothing.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn order_again(&self, order: &Order) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE stripe_order SET attempt = attempt + 1 WHERE id = $1 AND attempt = $2 AND session IS NULL",
        )
        .bind(&order.id)
        .bind(i64::from(order.attempt))
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Raises the key of an automatic order's calls, because Stripe may have remembered a failure under the last.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn order_renewed(&self, order: &Order) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE stripe_order SET attempt = attempt + 1 WHERE id = $1 AND attempt = $2 AND automatic = 1",
        )
        .bind(&order.id)
        .bind(i64::from(order.attempt))
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Ends an order that has no session.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn order_ended(&self, id: &str, state: OrderState, note: &str) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE stripe_order SET state = $1, note = $2 WHERE id = $3 AND state = 'new' AND session IS NULL",
        )
        .bind(state.as_str())
        .bind(note)
        .bind(id)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// At most `limit` unfinished orders that are to be looked after now.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn due_orders(&self, now: Timestamp, limit: u32) -> Result<Vec<Order>, StoreError> {
        let rows = sqlx::query(select(
            "state IN ('new', 'open', 'processing') AND due_ms <= $1 ORDER BY due_ms, id LIMIT $2",
        ))
        .bind(ms(now))
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(read).collect()
    }

    /// Says when an order is looked after next.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn order_due(&self, id: &str, due: Timestamp) -> Result<(), StoreError> {
        sqlx::query("UPDATE stripe_order SET due_ms = $1 WHERE id = $2")
            .bind(ms(due))
            .bind(id)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Orders for an operator, the newest first; only of one state or one project where that is asked for.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn shown_orders(
        &self,
        state: Option<OrderState>,
        project: Option<&ProjectId>,
        limit: u32,
    ) -> Result<Vec<ShownOrder>, StoreError> {
        let rows = sqlx::query(select(
            "($1 IS NULL OR state = $1) AND ($2 IS NULL OR project = $2) ORDER BY created_ms DESC, id LIMIT $3",
        ))
        .bind(state.map(OrderState::as_str))
        .bind(project.map(ProjectId::as_str))
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(|row| read(row).map(ShownOrder::from)).collect()
    }
}

fn select(condition: &str) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(format!(
        "SELECT id, project, good, units, price, currency, price_id, customer, attempt, form, state, session, url,
                automatic, payment, note, created_ms, expires_ms
         FROM stripe_order WHERE {condition}"
    ))
}

pub(super) async fn find(connection: &mut Connection, id: &str) -> Result<Option<Order>, StoreError> {
    let row = sqlx::query(select("id = $1")).bind(id).fetch_optional(connection).await?;
    row.as_ref().map(read).transpose()
}

/// A project's last automatic orders, the newest first.
pub(super) async fn automatic(
    connection: &mut Connection,
    project: &ProjectId,
    limit: u32,
) -> Result<Vec<Order>, StoreError> {
    let rows = sqlx::query(select("project = $1 AND automatic = 1 ORDER BY created_ms DESC, id LIMIT $2"))
        .bind(project.as_str())
        .bind(i64::from(limit))
        .fetch_all(connection)
        .await?;
    rows.iter().map(read).collect()
}

async fn by_call(
    tx: &mut Connection,
    project: &ProjectId,
    call: &Once,
) -> Result<Option<(Vec<u8>, Order)>, StoreError> {
    let row = sqlx::query("SELECT id, call_request FROM stripe_order WHERE project = $1 AND call_id = $2")
        .bind(project.as_str())
        .bind(call.id().as_slice())
        .fetch_optional(&mut *tx)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let (id, body): (String, Vec<u8>) = (row.try_get("id")?, row.try_get("call_request")?);
    Ok(find(tx, &id).await?.map(|order| (body, order)))
}

async fn unfinished_plan(tx: &mut Connection, project: &ProjectId) -> Result<Option<Order>, StoreError> {
    let row = sqlx::query(select("project = $1 AND is_plan = 1 AND state IN ('new', 'open', 'processing')"))
        .bind(project.as_str())
        .fetch_optional(tx)
        .await?;
    row.as_ref().map(read).transpose()
}

async fn same_wish(tx: &mut Connection, order: &Order, now: Timestamp) -> Result<Option<Order>, StoreError> {
    let row = sqlx::query(select(
        "project = $1 AND good = $2 AND state IN ('new', 'open') AND created_ms > $3 AND call_id IS NULL
         ORDER BY created_ms DESC, id LIMIT 1",
    ))
    .bind(order.project.as_str())
    .bind(order.good.name())
    .bind(int(now.as_ms().saturating_sub(SAME_WISH_MS)))
    .fetch_optional(tx)
    .await?;
    row.as_ref().map(read).transpose()
}

pub(super) async fn insert(
    tx: &mut Connection,
    order: &Order,
    call: Option<&Once>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let form =
        serde_json::to_string(&order.form).map_err(|error| StoreError::Unwritable(error.to_string()))?;
    let is_plan = matches!(order.good, Good::Plan(..));
    sqlx::query(
        "INSERT INTO stripe_order
             (id, project, good, is_plan, units, price, currency, price_id, customer, attempt, form, state,
              automatic, call_id, call_request, created_ms, expires_ms, due_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)",
    )
    .bind(&order.id)
    .bind(order.project.as_str())
    .bind(order.good.name())
    .bind(i64::from(is_plan))
    .bind(int(order.units.get()))
    .bind(minor(order.price)?)
    .bind(order.price.currency().to_string())
    .bind(&order.price_id)
    .bind(&order.customer)
    .bind(i64::from(order.attempt))
    .bind(form)
    .bind(order.state.as_str())
    .bind(i64::from(order.automatic))
    .bind(call.map(|call| call.id().to_vec()))
    .bind(call.map(|call| call.request().to_vec()))
    .bind(ms(order.created))
    .bind(ms(order.expires))
    .bind(ms(if order.automatic { now } else { now.plus_ms(FIRST_LOOK_MS) }))
    .execute(tx)
    .await?;
    Ok(())
}

/// Writes how an order stands.
pub(super) async fn update(tx: &mut Connection, order: &Order) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE stripe_order SET state = $1, session = $2, url = $3, payment = $4, note = $5 WHERE id = $6",
    )
    .bind(order.state.as_str())
    .bind(&order.session)
    .bind(&order.url)
    .bind(&order.payment)
    .bind(&order.note)
    .bind(&order.id)
    .execute(tx)
    .await?;
    Ok(())
}

fn read(row: &DbRow) -> Result<Order, StoreError> {
    let form: String = row.try_get("form")?;
    let form: Form = serde_json::from_str(&form)
        .map_err(|_| StoreError::Unreadable { column: "form", got: "something else".to_owned() })?;
    Ok(Order {
        id: row.try_get("id")?,
        project: id(row, "project", ProjectId::parse)?,
        good: name(row, "good", Good::parse)?,
        units: units(row, "units")?,
        price: Money::new(i128::from(number(row, "price")?), currency(row)?),
        price_id: row.try_get("price_id")?,
        customer: row.try_get("customer")?,
        attempt: small(row, "attempt")?,
        form,
        state: name(row, "state", OrderState::parse)?,
        session: row.try_get("session")?,
        url: row.try_get("url")?,
        automatic: flag(row, "automatic")?,
        payment: row.try_get("payment")?,
        created: instant(row, "created_ms")?,
        expires: instant(row, "expires_ms")?,
        note: row.try_get("note")?,
    })
}

/// Minor units as they are stored.
pub(super) fn minor(money: Money) -> Result<i64, StoreError> {
    i64::try_from(money.minor()).map_err(|_| StoreError::Unwritable(format!("an amount of {money}")))
}

pub(super) fn currency(row: &DbRow) -> Result<Currency, StoreError> {
    name(row, "currency", |text| Currency::parse(text).ok())
}
