//! Clients under load, each with a journal of what it was told: the oracle of the crash tests.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use shared::kind::Kind;
use tokio::task::JoinSet;

use crate::client::Connection;
use crate::project::governed;
use crate::usage::Totals;

/// How many agents the clients act for.
const AGENTS: usize = 5;

/// What the clients were told, by kind and agent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Journal {
    /// Answered with 200.
    pub acked: BTreeMap<(Kind, String), u64>,
    /// Sent, and never answered: served or not, nobody can say.
    pub unanswered: BTreeMap<(Kind, String), u64>,
    /// Any other answer, by status.
    pub others: BTreeMap<u16, u64>,
}

impl Journal {
    fn add(&mut self, other: Self) {
        for (mine, theirs) in [(&mut self.acked, other.acked), (&mut self.unanswered, other.unanswered)] {
            for (key, count) in theirs {
                bump(mine.entry(key).or_default(), count);
            }
        }
        for (status, count) in other.others {
            bump(self.others.entry(status).or_default(), count);
        }
    }
}

/// The sum of all counts.
#[must_use]
pub fn total(counts: &BTreeMap<(Kind, String), u64>) -> u64 {
    counts.values().sum()
}

/// The counts by the name of their kind.
#[must_use]
pub fn by_kind(counts: &BTreeMap<(Kind, String), u64>) -> Totals {
    margin(counts, |(kind, _)| kind.as_str().to_owned())
}

/// The counts by agent.
#[must_use]
pub fn by_agent(counts: &BTreeMap<(Kind, String), u64>) -> Totals {
    margin(counts, |(_, agent)| agent.clone())
}

fn margin(counts: &BTreeMap<(Kind, String), u64>, name: fn(&(Kind, String)) -> String) -> Totals {
    let mut totals = Totals::new();
    for (key, count) in counts {
        bump(totals.entry(name(key)).or_default(), *count);
    }
    totals
}

fn bump(slot: &mut u64, by: u64) {
    *slot = slot.saturating_add(by);
}

/// Clients that send one request after the other, of mixed kinds and agents, until they are stopped.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    acked: Arc<AtomicU64>,
    stopped: Arc<AtomicU64>,
    answered: Arc<AtomicU64>,
    clients: JoinSet<Journal>,
}

impl Load {
    /// Starts that many clients, each on a connection of its own.
    #[must_use]
    pub fn start(edge: SocketAddr, key: &str, clients: usize) -> Self {
        let mut load = Self {
            stop: Arc::default(),
            acked: Arc::default(),
            stopped: Arc::default(),
            answered: Arc::default(),
            clients: JoinSet::new(),
        };
        for number in 0..clients {
            let (stop, key) = (Arc::clone(&load.stop), key.to_owned());
            let (acked, stopped) = (Arc::clone(&load.acked), Arc::clone(&load.stopped));
            let answered = Arc::clone(&load.answered);
            load.clients
                .spawn(async move { client(edge, &key, number, &stop, [&acked, &stopped, &answered]).await });
        }
        load
    }

    /// How many requests were answered with 200 so far.
    #[must_use]
    pub fn acked(&self) -> u64 {
        self.acked.load(Ordering::Relaxed)
    }

    /// How many requests were answered at all so far.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// How many requests were answered with 402 so far.
    #[must_use]
    pub fn stopped_hard(&self) -> u64 {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Lets every client finish its request, and returns their journals as one.
    ///
    /// # Errors
    /// When a client has panicked.
    pub async fn stop(mut self) -> Result<Journal> {
        self.stop.store(true, Ordering::Relaxed);
        let mut journal = Journal::default();
        while let Some(client) = self.clients.join_next().await {
            journal.add(client.context("a client has panicked")?);
        }
        Ok(journal)
    }
}

async fn client(
    edge: SocketAddr,
    key: &str,
    number: usize,
    stop: &AtomicBool,
    [acked, stopped, answered]: [&AtomicU64; 3],
) -> Journal {
    // While nobody listens: long enough to leave the restarting part the processor.
    const RECONNECT: Duration = Duration::from_millis(10);
    let mut journal = Journal::default();
    let mut connection = None;
    for (kind, turn) in Kind::ALL.into_iter().cycle().zip(number..) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let agent = format!("agent-{}", turn.rem_euclid(AGENTS));
        let mut open = match connection.take() {
            Some(open) => open,
            None => match Connection::open(edge).await {
                Ok(open) => open,
                Err(_) => {
                    tokio::time::sleep(RECONNECT).await;
                    continue;
                }
            },
        };
        let sent = open.send(&governed(key, kind, &agent)).await;
        answered.fetch_add(u64::from(sent.is_ok()), Ordering::Relaxed);
        match sent {
            Ok(answer) if answer.status == 200 => {
                bump(journal.acked.entry((kind, agent)).or_default(), 1);
                acked.fetch_add(1, Ordering::Relaxed);
                connection = Some(open);
            }
            Ok(answer) => {
                stopped.fetch_add(u64::from(answer.status == 402), Ordering::Relaxed);
                bump(journal.others.entry(answer.status).or_default(), 1);
                connection = Some(open);
            }
            // The connection is not used again: what comes late on it must not be taken for another answer.
            Err(_) => bump(journal.unanswered.entry((kind, agent)).or_default(), 1),
        }
    }
    journal
}
