//! What customers, operators and the calendar write into ledgers, each in one transaction.

use std::collections::BTreeMap;

use serde_json::json;
use shared::ids::ProjectId;
use shared::time::{Period, Timestamp};
use shared::units::Units;

use super::rows::id;
use super::{Store, StoreError, Work, again, agent_sums, catalogues, denials, ledger, projects, rollups};
use crate::access::trail::{Action, Deed, ProjectNote};
use crate::ledger::audit::audit;
use crate::ledger::close::{self, CLOSE_WITHIN_MS};
use crate::ledger::entry::{LotId, OverageSetting, Posting};
use crate::ledger::lots;
use crate::ledger::plan;
use crate::ledger::refusal::Refusal;
use crate::projects::book::Book;

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

/// What a write to a ledger came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    /// The book as it is now.
    pub book: Book,
    /// How many crossings it made due.
    pub crossings: usize,
    /// Whether anything was written.
    pub differs: bool,
}

/// What became of a write to a project's ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Post {
    /// It is written.
    Posted(Box<Posted>),
    /// There is no such project.
    ProjectUnknown,
    /// The ledger refuses it.
    Refused(Refusal),
}

/// Units of a closed month that are taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correction {
    /// The month.
    pub period: Period,
    /// How many.
    pub units: Units,
    /// Why, as the customer may read it.
    pub reason: String,
}

/// Units that are given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credit {
    /// How many.
    pub units: Units,
    /// Why, as the customer may read it.
    pub reason: String,
}

impl Work {
    /// Writes what `decide` says of a project's book into its ledger: with the crossings that this makes due, and
    /// a new version of the policy where anything is written.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn post(
        &mut self,
        project: &ProjectId,
        now: Timestamp,
        decide: impl FnOnce(&Book) -> Result<Vec<Posting>, Refusal>,
    ) -> Result<Post, StoreError> {
        let Some(book) = ledger::load(&mut self.tx, project).await? else { return Ok(Post::ProjectUnknown) };
        match decide(&book) {
            Ok(postings) => Ok(Post::Posted(Box::new(self.keep_postings(book, postings, now).await?))),
            Err(refusal) => Ok(Post::Refused(refusal)),
        }
    }

    /// Brings a project to the newest version of the catalogue.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn migrate_project(&mut self, project: &ProjectId, now: Timestamp) -> Result<Post, StoreError> {
        let catalogue = catalogues::newest(&mut self.tx).await?;
        let mut was = None;
        let outcome = self
            .post(project, now, |book| {
                was = Some(ProjectNote::from(&book.project));
                book.migration(&catalogue, now)
            })
            .await?;
        if let Post::Posted(posted) = &outcome
            && posted.differs
        {
            let became = ProjectNote::from(&posted.book.project);
            let deed =
                Deed::new(project, Action::ProjectMigrated, project.as_str()).was(&was).became(&became);
            self.note(&deed, now).await?;
        }
        Ok(outcome)
    }

    /// Takes units of a closed month back, for a reason; what they cost is taken off the bill.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn correct(
        &mut self,
        project: &ProjectId,
        Correction { period, units, reason }: Correction,
        now: Timestamp,
    ) -> Result<Corrected, StoreError> {
        let became = json!({ "units": units, "reason": reason });
        let book = match self
            .post(project, now, |book| close::correct(&book.ledger, period, units, reason))
            .await?
        {
            Post::Posted(posted) => posted.book,
            Post::Refused(refusal) => return Ok(Corrected::Refused(refusal)),
            Post::ProjectUnknown => return Ok(Corrected::ProjectUnknown),
        };
        let target = period.to_string();
        self.note(&Deed::new(project, Action::BillCorrected, &target).became(&became), now).await?;
        Ok(Corrected::Book(Box::new(book)))
    }

    /// Sets auto-overage and its cap.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn set_overage(
        &mut self,
        project: &ProjectId,
        setting: OverageSetting,
        now: Timestamp,
    ) -> Result<Post, StoreError> {
        let mut was = None;
        let outcome = self
            .post(project, now, |book| {
                was = Some(book.ledger.timeline().setting_at(now));
                plan::set_overage(&book.ledger, now, setting)
            })
            .await?;
        let Post::Posted(mut posted) = outcome else { return Ok(outcome) };
        if posted.differs {
            posted.book.project.auto_overage = setting != OverageSetting::Off;
            projects::set_auto_overage(&mut self.tx, project, posted.book.project.auto_overage).await?;
            let deed = Deed::new(project, Action::OverageSet, "overage").was(&was).became(&setting);
            self.note(&deed, now).await?;
        }
        Ok(Post::Posted(posted))
    }

    /// Gives a project units as a lot that cost nothing.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn give_credit(
        &mut self,
        project: &ProjectId,
        Credit { units, reason }: Credit,
        now: Timestamp,
    ) -> Result<Credited, StoreError> {
        let became = json!({ "units": units, "reason": reason });
        let mut lot = None;
        let outcome = self
            .post(project, now, |book| {
                lot = Some(LotId(book.next_number()));
                lots::credit(&book.ledger, units, reason)
            })
            .await?;
        Ok(match (outcome, lot) {
            (Post::Posted(posted), Some(lot)) => {
                let target = lot.to_string();
                let deed = Deed::new(project, Action::CreditGiven, &target).became(&became);
                self.note(&deed, now).await?;
                Credited::Lot(Box::new(posted.book), lot)
            }
            (Post::Refused(refusal), _) => Credited::Refused(refusal),
            (Post::ProjectUnknown, _) | (Post::Posted(_), None) => Credited::ProjectUnknown,
        })
    }

    /// Appends postings to a book that was loaded in this change, and raises the policy's version.
    async fn keep_postings(
        &mut self,
        book: Book,
        postings: Vec<Posting>,
        now: Timestamp,
    ) -> Result<Posted, StoreError> {
        if postings.is_empty() {
            return Ok(Posted { book, crossings: 0, differs: false });
        }
        let (stored, before) = (book.next_number(), book.project.clone());
        let book = book.append(now, postings).map_err(StoreError::Refused)?.following(now);
        if book.project != before {
            projects::update(&mut self.tx, &book.project).await?;
        }
        let looks = BTreeMap::from([(now.period(), None)]);
        let (mut book, crossings) = ledger::keep(&mut self.tx, book, stored, &looks, now).await?;
        book.project.policy_version = self.raise_policy(&book.project.id.clone(), now).await?;
        Ok(Posted { book, crossings, differs: true })
    }
}

impl Store {
    /// As [`Work::migrate_project`], committed.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn migrate_project(&self, project: &ProjectId, now: Timestamp) -> Result<Post, StoreError> {
        again(|| self.migrate_project_once(project, now)).await
    }

    async fn migrate_project_once(&self, project: &ProjectId, now: Timestamp) -> Result<Post, StoreError> {
        let mut work = self.begin_in(project).await?;
        let outcome = work.migrate_project(project, now).await?;
        work.commit().await?;
        Ok(outcome)
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
        again(|| self.close_periods_once(project, now)).await
    }

    async fn close_periods_once(
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
        findings.extend(agent_sums::findings(&mut tx, project).await?);
        findings.extend(denials::findings(&mut tx, project).await?);
        Ok(Some(findings))
    }
}
