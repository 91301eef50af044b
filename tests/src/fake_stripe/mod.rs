//! A stateful stand-in for Stripe, with a clock that can be moved and webhooks signed as Stripe signs them.
//!
//! It knows customers, prices, Checkout, the portal, subscriptions and their schedules, invoices, refunds and disputes. It listens on loopback, takes keys of test mode only, and moves no money. It must never know anything of
//! the meter: what it does follows from Stripe's documentation alone. What it cannot do is answered 404.
#![expect(
    clippy::indexing_slicing,
    reason = "a JSON object that lacks a field answers null, it does not panic"
)]

mod api;
mod catalogue;
mod checkout;
mod control;
mod customers;
mod delivery;
mod faults;
mod form;
mod idempotency;
mod invoices;
mod pages;
mod payments;
mod portal;
mod refused;
mod schedules;
mod server;
mod subscriptions;
#[cfg(test)]
mod tests;
mod world;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::clock;
use world::{Due, World, amount, word};

pub use server::serve;

/// How the fake is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it listens; loopback only.
    pub listen: SocketAddr,
    /// Where events are delivered; `None` delivers nothing.
    pub webhook: Option<Receiver>,
    /// What deliveries are signed with: each secret makes one `v1`.
    pub secrets: Vec<String>,
    /// The file that keeps the state between runs; `None` forgets it.
    pub state: Option<PathBuf>,
}

/// Where events are delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receiver {
    /// The host's address.
    pub address: SocketAddr,
    /// The path, with its slash.
    pub path: String,
}

impl Receiver {
    /// Reads `http://127.0.0.1:8080/api/v1/stripe/webhook`.
    ///
    /// # Errors
    /// When it is no such URL.
    pub fn parse(url: &str) -> Result<Self> {
        let told = || format!("got {url:?}, accepted is http://<address>:<port>/<path>");
        let rest = url.strip_prefix("http://").with_context(told)?;
        let (address, path) = rest.split_once('/').with_context(told)?;
        Ok(Self { address: address.parse().with_context(told)?, path: format!("/{path}") })
    }
}

/// The running fake; clones are the same one.
#[derive(Debug, Clone)]
struct Fake {
    world: Arc<Mutex<World>>,
    settings: Arc<Settings>,
}

impl Fake {
    fn new(settings: Settings) -> Result<Self> {
        let now_ms = clock::now().as_ms();
        let kept = settings.state.as_ref().filter(|file| file.exists());
        let mut world = match kept {
            Some(file) => serde_json::from_slice(&std::fs::read(file)?)
                .with_context(|| format!("{} cannot be read; remove it to start anew", file.display()))?,
            None => World::new(&life()?, now_ms),
        };
        world.public_url = format!("http://{}", settings.listen);
        Ok(Self { world: Arc::new(Mutex::new(world)), settings: Arc::new(settings) })
    }

    /// Looks at the world as it is now.
    fn with<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        let now_ms = clock::now().as_ms().saturating_add(world.offset_ms);
        advance(&mut world, now_ms);
        look(&mut world)
    }

    /// Changes the world and keeps what it has become.
    fn change<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        self.with(|world| {
            let result = act(world);
            if let Some(file) = &self.settings.state
                && let Err(error) = keep(world, file)
            {
                eprintln!("fake-stripe: the state cannot be kept in {}: {error:#}", file.display());
            }
            result
        })
    }
}

fn keep(world: &World, file: &std::path::Path) -> Result<()> {
    let draft = file.with_extension("draft");
    std::fs::write(&draft, serde_json::to_vec(world)?)?;
    std::fs::rename(&draft, file)?;
    Ok(())
}

/// A short random text, so that the ids of two lives never meet.
fn life() -> Result<String> {
    let mut bytes = [0_u8; 5];
    getrandom::fill(&mut bytes).context("the system has no randomness")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Lets everything happen that is due until then, each thing at its own time.
fn advance(world: &mut World, until_ms: u64) {
    while let Some(due) = world.take_due(until_ms) {
        // What was overtaken by something else, such as a canceled subscription's renewal, does not happen.
        let happened = match &due {
            Due::ExpireSession(id) => checkout::expire(world, id).map(drop),
            Due::SettleDebit { intent, arrives } => payments::settle_debit(world, intent, *arrives),
            Due::EndOfPaidTime(id) => subscriptions::paid_time_ended(world, id),
            Due::RetryInvoice { invoice, attempt } => invoices::attempt(world, invoice, *attempt),
        };
        if let Err(refused) = happened {
            eprintln!("fake-stripe: {due:?} did not happen: {}", refused.body());
        }
    }
    world.now_ms = world.now_ms.max(until_ms);
}

/// A line of a price, as Checkout and invoices show it.
fn catalogue_line(world: &mut World, price: &Value, quantity: i64) -> Value {
    let name = world.any(&word(price, "product")).map_or(Value::Null, |product| product["name"].clone());
    let total = amount(price, "unit_amount").saturating_mul(quantity);
    json!({
        "id": world.new_id("li"), "object": "item", "price": price, "quantity": quantity, "description": name,
        "currency": price["currency"], "amount_subtotal": total, "amount_total": total, "amount_tax": 0,
        "amount_discount": 0,
    })
}
