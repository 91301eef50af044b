//! What customers, operators and the calendar write into ledgers, each in one transaction.

use std::collections::BTreeMap;

use serde_json::json;
use shared::ids::ProjectId;
use shared::time::{Period, Timestamp};
use shared::units::Units;

use super::rows::id;
use super::{Store, StoreError, Work, ledger, projects, rollups};
use crate::book::Book;
use crate::ledger::audit::audit;
use crate::ledger::close::{self, CLOSE_WITHIN_MS};
use crate::ledger::entry::{LotId, OverageSetting, Posting};
use crate::ledger::lots;
use crate::ledger::plan;
use crate::ledger::refusal::Refusal;
use crate::trail::{Action, Deed};

/// What came of giving a credit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credited {
    /// The lot.
    Lot(Box<Book>, LotId),
    /// There is no such project.
    ProjectUnknown,
    /// The ledger refuses it.
    Refused(Refusal),
}

/// What came of correcting a closed month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Corrected {
    /// The book as it is now.
    Book(Box<Book>),
    /// There is no such project.
    ProjectUnknown,
    /// The ledger refuses it.
    Refused(Refusal),
}

impl Work {
    /// Takes units of a closed month back, for a reason; what they cost is taken off the bill.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn correct(
        &mut self,
        project: &ProjectId,
        (period, units, reason): (Period, Units, String),
        now: Timestamp,
    ) -> Result<Corrected, StoreError> {
        let Some(book) = ledger::load(&mut self.tx, project).await? else {
            return Ok(Corrected::ProjectUnknown);
        };
        let became = json!({ "units": units, "reason": reason });
        let postings = match close::correct(&book.ledger, period, units, reason) {
            Ok(postings) => postings,
            Err(refusal) => return Ok(Corrected::Refused(refusal)),
        };
        let book = self.keep_postings(book, postings, now).await?;
        let target = period.to_string();
        self.note(&Deed::new(project, Action::BillCorrected, &target).became(&became), now).await?;
        Ok(Corrected::Book(Box::new(book)))
    }

    /// Sets auto-overage and its cap; `None` if there is no such project.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn set_overage(
        &mut self,
        project: &ProjectId,
        setting: OverageSetting,
        now: Timestamp,
    ) -> Result<Option<Result<Book, Refusal>>, StoreError> {
        let Some(mut book) = ledger::load(&mut self.tx, project).await? else { return Ok(None) };
        let postings = match plan::set_overage(&book.ledger, now, setting) {
            Ok(postings) if postings.is_empty() => return Ok(Some(Ok(book))),
            Ok(postings) => postings,
            Err(refusal) => return Ok(Some(Err(refusal))),
        };
        book.project.auto_overage = setting != OverageSetting::Off;
        projects::set_auto_overage(&mut self.tx, project, book.project.auto_overage).await?;
        let was = book.ledger.timeline().setting_at(now);
        let book = self.keep_postings(book, postings, now).await?;
        let deed = Deed::new(project, Action::OverageSet, "overage").was(&was).became(&setting);
        self.note(&deed, now).await?;
        Ok(Some(Ok(book)))
    }

    /// Gives a project units as a lot that cost nothing.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn give_credit(
        &mut self,
        project: &ProjectId,
        (units, reason): (Units, String),
        now: Timestamp,
    ) -> Result<Credited, StoreError> {
        let Some(book) = ledger::load(&mut self.tx, project).await? else {
            return Ok(Credited::ProjectUnknown);
        };
        let lot = LotId(book.next_number());
        let became = json!({ "units": units, "reason": reason });
        let postings = match lots::credit(&book.ledger, units, reason) {
            Ok(postings) => postings,
            Err(refusal) => return Ok(Credited::Refused(refusal)),
        };
        let book = self.keep_postings(book, postings, now).await?;
        let target = lot.to_string();
        self.note(&Deed::new(project, Action::CreditGiven, &target).became(&became), now).await?;
        Ok(Credited::Lot(Box::new(book), lot))
    }

    /// Appends postings to a book that was loaded in this change, and raises the policy's version.
    pub(super) async fn keep_postings(
        &mut self,
        book: Book,
        postings: Vec<Posting>,
        now: Timestamp,
    ) -> Result<Book, StoreError> {
        let stored = book.next_number();
        let book = book.append(now, postings).map_err(StoreError::Refused)?;
        let (mut book, _) =
            ledger::keep(&mut self.tx, book, stored, &BTreeMap::from([(now.period(), None)]), now).await?;
        book.project.policy_version = self.raise_policy(&book.project.id.clone(), now).await?;
        Ok(book)
    }
}

impl Store {
    /// As [`Work::correct`], committed.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn correct(
        &self,
        project: &ProjectId,
        correction: (Period, Units, String),
        now: Timestamp,
    ) -> Result<Corrected, StoreError> {
        let mut work = self.begin_in(project).await?;
        let corrected = work.correct(project, correction, now).await?;
        work.commit().await?;
        Ok(corrected)
    }

    /// At most `limit` projects that have a period to close.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn due_closes(&self, now: Timestamp, limit: u32) -> Result<Vec<ProjectId>, StoreError> {
        // A period is over for more than 72 h exactly when it is before the one of 72 h ago.
        let before = Timestamp::from_ms(now.as_ms().saturating_sub(CLOSE_WITHIN_MS)).period();
        let rows =
            sqlx::query("SELECT id FROM project WHERE first_open < $1 ORDER BY first_open, id LIMIT $2")
                .bind(before.to_string())
                .bind(i64::from(limit))
                .fetch_all(&self.readers)
                .await?;
        rows.iter().map(|row| id(row, "id", ProjectId::parse)).collect()
    }

    /// Closes every period of a project that is due, and says which; again it closes nothing.
    ///
    /// # Errors
    /// When the store fails or the ledger refuses.
    pub async fn close_periods(
        &self,
        project: &ProjectId,
        now: Timestamp,
    ) -> Result<Vec<Period>, StoreError> {
        let mut work = self.begin_in(project).await?;
        let Some(book) = ledger::load(&mut work.tx, project).await? else { return Ok(vec![]) };
        let (stored, first) = (book.next_number(), book.ledger.first_open());
        let book = book.closed(now).map_err(StoreError::Refused)?;
        let open = book.ledger.first_open();
        let closed: Vec<Period> = std::iter::successors(Some(first), |period| Some(period.next()))
            .take_while(|period| *period < open)
            .collect();
        if closed.is_empty() {
            return Ok(closed);
        }
        ledger::keep(&mut work.tx, book, stored, &BTreeMap::new(), now).await?;
        work.raise_policy(project, now).await?;
        work.note(&Deed::new(project, Action::PeriodsClosed, "periods").became(&closed), now).await?;
        work.commit().await?;
        Ok(closed)
    }

    /// Replays a project's entries and cells, and says what does not fit together; nothing is a clean
    /// ledger. `None` if there is no such project.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn audit(&self, project: &ProjectId) -> Result<Option<Vec<String>>, StoreError> {
        let mut tx = self.read().await?;
        let book = match ledger::load(&mut tx, project).await {
            Ok(Some(book)) => book,
            Ok(None) => return Ok(None),
            // Entries that cannot be replayed are what an audit is for.
            Err(StoreError::Refused(refusal)) => return Ok(Some(vec![refusal.to_string()])),
            Err(error) => return Err(error),
        };
        let cells = ledger::sums_of_cells(&mut tx, project).await?;
        let findings = audit(book.ledger.entries(), book.ledger.balances(), &cells);
        let mut findings: Vec<String> = findings.iter().map(|finding| format!("{finding:?}")).collect();
        if cells != book.totals {
            findings.push(format!("the sums are {:?} and their cells {cells:?}", book.totals));
        }
        findings.extend(rollups::findings(&mut tx, project).await?);
        Ok(Some(findings))
    }
}
