//! The ledger: who may spend what, and who owes what. Pure: it must never do I/O, read a clock, draw a
//! random number or touch a float.
//!
//! There are two kinds of truth. **Cells** are cumulative counts, merged by `max` ([`cells`]).
//! **Entries** are the append-only lines of a project ([`entry`]): plan changes, lots, closes,
//! adjustments, corrections, each with the units that it moved between accounts. Everything else is
//! derived: balances and lots ([`state`]), what was in force when ([`timeline`]), a month's figures
//! ([`month`]), what a home may spend ([`parts`]), crossings ([`crossing`]), statements, explanations
//! and the forecast. A month is computed the same way while it is provisional and when it closes
//! ([`close`]); [`audit`] replays all of it and compares.
//!
//! # How a store keeps it
//!
//! ```text
//! entry     (project, number, at_ms, fact JSON, movements JSON)   primary key (project, number)
//! lot_order (order_id, project, lot_number)                       primary key (order_id): I5 over replicas
//! crossing  (project, period, quota_version, percent)             primary key (all four): I6
//! cell      (project, mode, source, incarnation, day, kind, agent, counts…)         as it is today
//! usage     (project, mode, period, units, anchors)               primary key (project, mode, period):
//!           the sums of the cells, moved by the same transaction that merges them
//! ```
//! An `Entry` is stored as it is: `fact` and `movements` as serde_json writes them. `usage` and every
//! derived figure may be rebuilt at any time; `entry`, `lot_order`, `crossing` and `cell` may not.
//!
//! Every write is one transaction of this shape: read the project's entries and `usage` rows,
//! [`Ledger::replay`](state::Ledger::replay), decide, [`Ledger::append`](state::Ledger::append),
//! [`lots::reclaim`], insert the entries from the old `next_number` on, raise the policy version where [`parts`] or the
//! status changed, insert the outbox rows. Two writers that meet collide on the primary key; the loser
//! reads again. A replayed ledger may be kept in memory, keyed by (project, last number).
//!
//! | when | call | also in that transaction |
//! |---|---|---|
//! | project created | `Ledger::open` | project row |
//! | flush of live cells | none; then `crossing::crossings` on the moved `usage` row and on `timeline().quota(…)` | `cell`, `usage`, `crossing` and an outbox row each |
//! | flush into a closed period | `close::adjust` | `cell`, `usage`, an invoice intent keyed (project, period, number) |
//! | quota denial flagged by a home | `crossing::crossings` with `denied` | `crossing`, outbox |
//! | plan bought, changed, cancelled | `plan::change`, then `crossing::crossings`: a new quota version arms anew | policy push, `crossing`, outbox |
//! | overage toggle or cap | `plan::set_overage` | policy push |
//! | payment failed, recovered | `plan::past_due`, `plan::recovered` | policy push |
//! | suspended, resumed | `plan::suspend`, `plan::resume` | policy push |
//! | pack paid | `lots::buy` | `lot_order`, policy push |
//! | refund or dispute fetched from Stripe | `lots::refund`, `lots::dispute` | policy push |
//! | every home final, or `close::closes_by` reached | `close::close` | invoice intent keyed (project, period), policy push |
//! | `timeline().next_change(now)` reached | none: compile the policy anew | policy version, policy push |
//! | waiver, operator's correction | `close::correct` | credit note intent, audit log |
//!
//! The invoice intents are the `bill` of `PeriodClosed` (one, I7) and of each `Adjustment`; an empty
//! bill makes none. The 72-hour rule gives no floor here: the minimum is a contract's over all its projects, and what
//! its months come to is in `contracts::month`.
//!
//! Test mode has cells and `usage` rows of its own and nothing else; its home takes from the policy what
//! `AllowanceParts::for_tests` leaves.

pub mod allocation;
pub mod audit;
pub mod bill;
pub mod catalogue;
pub mod cells;
pub mod close;
pub mod contract;
pub mod crossing;
pub mod entry;
pub mod explain;
pub mod forecast;
pub mod lots;
pub mod money;
pub mod month;
pub mod parts;
pub mod payer;
pub mod plan;
pub mod rate;
pub mod refusal;
pub mod rerate;
pub mod silence;
pub mod state;
pub mod statement;
pub mod terms;
pub mod timeline;
pub mod what_if;

#[cfg(test)]
mod tests;
