//! Two backends: one that has its rows to itself, and one that compares and swaps.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use shared::home::Row;
use shared::home::storage::{Commit, Stored};
use shared::random::Stream;

use crate::{Backend, Written};

#[derive(Debug, Default)]
struct Rows {
    version: u64,
    rows: BTreeMap<String, String>,
}

impl Rows {
    fn stored(&self) -> Stored {
        let rows = self.rows.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        Stored { version: self.version, rows }
    }

    fn write(&mut self, rows: &[Row]) {
        self.version += u64::from(!rows.is_empty());
        for Row { key, value } in rows {
            match value {
                Some(value) => self.rows.insert(key.clone(), value.clone()),
                None => self.rows.remove(key),
            };
        }
    }
}

/// Rows that only one process writes, as a Durable Object's SQLite has them.
#[derive(Debug, Default)]
pub struct Alone(Rows);

impl Backend for Alone {
    fn load(&mut self) -> Stored {
        self.0.stored()
    }

    fn commit(&mut self, commit: &Commit) -> Written {
        assert_eq!(commit.expected, self.0.version, "there is nobody else who writes");
        self.0.write(&commit.rows);
        Written::Accepted
    }
}

/// Rows that several processes write by comparing and swapping, as Redis has them. Answers are lost now and then.
#[derive(Debug, Clone)]
pub struct Shared {
    rows: Arc<Mutex<Rows>>,
    random: Stream,
}

impl Shared {
    /// As many ways to the same rows.
    #[must_use]
    pub fn processes(count: u64) -> Vec<Self> {
        let rows = Arc::new(Mutex::new(Rows::default()));
        (1..=count).map(|seed| Self { rows: Arc::clone(&rows), random: Stream::new(seed) }).collect()
    }
}

impl Backend for Shared {
    fn load(&mut self) -> Stored {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner).stored()
    }

    fn commit(&mut self, commit: &Commit) -> Written {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let draw = self.random.between(0, 19);
        if draw == 0 {
            return Written::Unknown;
        }
        if commit.expected != rows.version {
            return Written::Moved;
        }
        rows.write(&commit.rows);
        if draw == 1 { Written::Unknown } else { Written::Accepted }
    }
}
