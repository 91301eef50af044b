//! What pays for each project's units, as far as it was told: the events of one payer that follows another are written
//! by the transaction that makes it so.

use std::collections::BTreeMap;

use shared::ids::ProjectId;
use shared::source::Source;
use shared::time::{Period, Timestamp};
use shared::units::Units;
use sqlx::Row as _;

use super::rows::{int, name, number};
use super::{Connection, StoreError, events};
use crate::ledger::crossing::Levels;
use crate::ledger::month::month;
use crate::ledger::payer::{Turn, turns};
use crate::projects::book::Book;
use crate::webhooks::event::{Event, SourceChanged};

/// What was told of a month.
#[derive(Debug, Clone, Copy)]
struct Told {
    source: Source,
    /// The number of the last event, of all months together.
    number: u64,
}

/// Tells of each payer that has followed another since this was told last.
pub(super) async fn tell(tx: &mut Connection, book: &Book, now: Timestamp) -> Result<(), StoreError> {
    // Before any quota was used up the plan pays for everything; that spares most flushes the question.
    let open = open_with_units(book, now);
    if !may_differ(book, &open, now) {
        return Ok(());
    }
    let id = &book.project.id;
    let mut told = told(tx, id).await?;
    let mut newest = told.values().map(|told| told.number).max().unwrap_or_default();
    for period in open {
        let allocation = month(&book.ledger, book.seen(now), period).map_err(StoreError::Refused)?.allocation;
        let known = told.get(&period).copied();
        let before = known.or_else(|| told.range(..period).next_back().map(|(_, told)| *told));
        let before = before.map_or(Source::Included, |told| told.source);
        let turns = turns(before, known.is_none(), &allocation);
        let source = turns.last().map_or(before, |turn| turn.after);
        for Turn { before, after, units } in turns {
            newest = newest.saturating_add(1);
            let lot = allocation.lots.last().map(|(lot, _)| *lot).filter(|_| after == Source::Lot);
            let changed = SourceChanged { number: newest, period, before, after, units, lot };
            events::announce(tx, id, &Event::SourceChanged(changed), now).await?;
        }
        let now_told = Told { source, number: newest };
        if known.is_none_or(|known| known.number != newest || known.source != source) {
            write(tx, id, period, now_told).await?;
        }
        told.insert(period, now_told);
    }
    Ok(())
}

/// The open months that anything was counted of, the oldest first.
fn open_with_units(book: &Book, now: Timestamp) -> Vec<Period> {
    let open = book.totals.range(book.ledger.first_open()..=now.period().max(book.ledger.first_open()));
    open.filter(|(_, usage)| usage.units > Units::ZERO).map(|(period, _)| *period).collect()
}

/// Whether anything but the plan may pay, or may have paid before.
fn may_differ(book: &Book, open: &[Period], now: Timestamp) -> bool {
    let timeline = book.ledger.timeline();
    let is_beyond =
        |period: &Period| book.seen(now).usage(*period).units > timeline.quota(*period, now).included();
    book.fired.iter().any(|crossing| crossing.percent == Levels::FULL) || open.iter().any(is_beyond)
}

async fn told(tx: &mut Connection, id: &ProjectId) -> Result<BTreeMap<Period, Told>, StoreError> {
    let rows = sqlx::query("SELECT period, source, number FROM payer WHERE project = $1")
        .bind(id.as_str())
        .fetch_all(tx)
        .await?;
    let read = |row: &super::DbRow| {
        let stored: String = row.try_get("source")?;
        let source = Source::ALL.into_iter().find(|source| source.as_str() == stored);
        let source = source.ok_or(StoreError::Unreadable { column: "source", got: stored })?;
        Ok((name(row, "period", Period::parse)?, Told { source, number: number(row, "number")? }))
    };
    rows.iter().map(read).collect()
}

async fn write(tx: &mut Connection, id: &ProjectId, period: Period, told: Told) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO payer (project, period, source, number) VALUES ($1, $2, $3, $4)
         ON CONFLICT (project, period) DO UPDATE SET source = excluded.source, number = excluded.number",
    )
    .bind(id.as_str())
    .bind(period.to_string())
    .bind(told.source.as_str())
    .bind(int(told.number))
    .execute(tx)
    .await?;
    Ok(())
}
