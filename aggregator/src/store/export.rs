//! The rows of a report, handed over in pieces as they are read: nothing of it is ever whole in memory.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use shared::ids::{Mode, ProjectId};
use tokio::sync::mpsc;

use super::agent_sums::{self, AgentsPage};
use super::rollups::{self, Range};
use super::{ACQUIRE_TIMEOUT, DbQuery, DbRow, Store, StoreError, stream};
use crate::metering::usage::page::{Order, UsageLine};
use crate::metering::usage::parts::Known;
use crate::metering::usage::{Span, UsageAgent};

/// Rows of a piece: some 40 KB as text.
const PIECE_ROWS: usize = 1_000;

/// How long a reader may take no piece: its connection to the database is one of few.
const STALL_MAX: Duration = Duration::from_secs(10);

/// The longest time that one export takes.
const EXPORT_MAX: Duration = Duration::from_secs(120);

/// How a row is read.
type Read<T> = fn(&DbRow) -> Result<T, StoreError>;

/// A piece of an export. Where the pieces end without [`Piece::End`] some are missing.
#[derive(Debug)]
pub enum Piece<T> {
    /// The first piece: the number of the last event of the live stream that all rows include.
    AsOf(u64),
    /// Some rows, in order.
    Rows(Vec<T>),
    /// That was all.
    End,
    /// The books failed; nothing follows.
    Failed(StoreError),
}

/// What is exported: whose, of which keys and days.
#[derive(Debug, Clone)]
pub struct Exported {
    /// The project.
    pub project: ProjectId,
    /// Of which keys.
    pub mode: Mode,
    /// Of which days.
    pub span: Span,
}

impl Exported {
    pub(super) fn range(&self) -> Range<'_> {
        Range {
            project: self.project.as_str(),
            mode: self.mode.as_str(),
            from: self.span.from(),
            to: self.span.to(),
        }
    }
}

impl Store {
    /// Hands over every agent with its units, all of one state of the books. Whoever takes no piece for 10 s gets no more.
    pub async fn export_agents(&self, of: Exported, order: Order, to: mpsc::Sender<Piece<UsageAgent>>) {
        let known = match self.known(&of).await {
            Ok(known) => known,
            Err(error) => {
                send(&to, Piece::Failed(error)).await;
                return;
            }
        };
        let query = agent_sums::agents_query(of.range(), &known, (order, &AgentsPage::whole()), |rows| rows);
        self.export(&of.project, query, agent_sums::agent, &to).await;
    }

    /// Hands over what was counted by day, agent and kind, in that order; see [`Store::export_agents`].
    pub async fn export_lines(&self, of: Exported, to: mpsc::Sender<Piece<UsageLine>>) {
        let query = rollups::lines_query(of.range(), (None, usize::MAX));
        self.export(&of.project, query, rollups::line, &to).await;
    }

    async fn known(&self, of: &Exported) -> Result<Known, StoreError> {
        agent_sums::known(&mut *self.readers.acquire().await?, of.range()).await
    }

    async fn export<T>(
        &self,
        project: &ProjectId,
        query: DbQuery<'_>,
        read: Read<T>,
        to: &mpsc::Sender<Piece<T>>,
    ) {
        // Exports leave connections to those who read little.
        let place = tokio::time::timeout(ACQUIRE_TIMEOUT, self.exports.acquire()).await;
        let end = match place {
            Ok(Ok(_place)) => {
                let handed_over = self.hand_over(project, query, read, to);
                match tokio::time::timeout(EXPORT_MAX, handed_over).await {
                    Ok(Ok(true)) => Piece::End,
                    // Whoever stopped reading is told nothing more, and not that this was all.
                    Ok(Ok(false)) | Err(_) => return,
                    Ok(Err(error)) => Piece::Failed(error),
                }
            }
            Ok(Err(_)) | Err(_) => Piece::Failed(StoreError::Database(sqlx::Error::PoolTimedOut)),
        };
        send(to, end).await;
    }

    /// Hands rows over in pieces as they are read; false if nobody takes them any more.
    async fn hand_over<T>(
        &self,
        project: &ProjectId,
        query: DbQuery<'_>,
        read: Read<T>,
        to: &mpsc::Sender<Piece<T>>,
    ) -> Result<bool, StoreError> {
        let mut tx = self.read().await?;
        let watermark = stream::newest(&mut tx, project).await?;
        if !send(to, Piece::AsOf(watermark)).await {
            return Ok(false);
        }
        let mut rows = query.fetch(&mut *tx);
        let mut piece = Vec::with_capacity(PIECE_ROWS);
        while let Some(row) = rows.try_next().await? {
            piece.push(read(&row)?);
            if piece.len() >= PIECE_ROWS && !send(to, Piece::Rows(std::mem::take(&mut piece))).await {
                return Ok(false);
            }
        }
        Ok(piece.is_empty() || send(to, Piece::Rows(piece)).await)
    }
}

async fn send<T>(to: &mpsc::Sender<Piece<T>>, piece: Piece<T>) -> bool {
    to.send_timeout(piece, STALL_MAX).await.is_ok()
}
