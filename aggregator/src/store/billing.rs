//! What customers, operators and the calendar write into ledgers, each in one transaction.

use std::collections::BTreeMap;

use serde_json::json;
use shared::ids::ProjectId;
use shared::plan::Plan;
use shared::time::{Period, Timestamp};
use shared::units::Units;

use super::rows::{id, int};
use super::{Connection, Store, StoreError, Work, again, catalogues, denials, ledger, projects, rollups};
use crate::access::trail::{Action, Deed, ProjectNote};
use crate::ledger::audit::audit;
use crate::ledger::close::{self, CLOSE_WITHIN_MS};
use crate::ledger::entry::{Dispute, LotId, OverageSetting, Posting};
use crate::ledger::lots::{self, Purchase};
use crate::ledger::money::Money;
use crate::ledger::plan;
use crate::ledger::refusal::Refusal;
use crate::ledger::terms::PlanTerms;
use crate::projects::book::Book;

const MS_PER_DAY: u64 = 24 * 60 * 60 * 1_000;

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

/// What a write to a ledger came to; `None` if there is no such project.
type Outcome = Result<Option<Result<Posted, Refusal>>, StoreError>;

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
    ) -> Outcome {
        let Some(book) = ledger::load(&mut self.tx, project).await? else { return Ok(None) };
        match decide(&book) {
            Ok(postings) => Ok(Some(Ok(self.keep_postings(book, postings, now).await?))),
            Err(refusal) => Ok(Some(Err(refusal))),
        }
    }

    /// Changes the plan: at once if it is an upgrade, else when the paid time ends. The terms are those of the
    /// newest catalogue.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn subscribe(
        &mut self,
        project: &ProjectId,
        plan: Plan,
        paid_until: Option<Timestamp>,
        now: Timestamp,
    ) -> Outcome {
        let catalogue = catalogues::newest(&mut self.tx).await?;
        self.post(project, now, |book| {
            let terms = book.terms(&catalogue, plan)?;
            plan::change(&book.ledger, now, terms, paid_until)
        })
        .await
    }

    /// Notes that a payment failed at `since`; only the first failure begins a grace.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn past_due(&mut self, project: &ProjectId, since: Timestamp, now: Timestamp) -> Outcome {
        let catalogue = catalogues::newest(&mut self.tx).await?;
        let grace_ms = u64::from(catalogue.grace_days).saturating_mul(MS_PER_DAY);
        self.post(project, now, |book| {
            let fallback = PlanTerms::of(&catalogue, Plan::Community)?;
            Ok(plan::past_due(&book.ledger, now, since, fallback, grace_ms))
        })
        .await
    }

    /// Notes that what was overdue is paid.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn recovered(&mut self, project: &ProjectId, now: Timestamp) -> Outcome {
        self.post(project, now, |book| Ok(plan::recovered(&book.ledger, now, None))).await
    }

    /// Credits a paid order as a lot, once over all projects (I5).
    ///
    /// # Errors
    /// When the store fails.
    pub async fn buy_lot(&mut self, project: &ProjectId, purchase: Purchase, now: Timestamp) -> Outcome {
        let order = purchase.order.clone();
        if credited_to(&mut self.tx, &order).await?.is_some_and(|other| other != *project) {
            return Ok(Some(Err(Refusal::OrderDiffers)));
        }
        let mut lot = None;
        let outcome = self
            .post(project, now, |book| {
                lot = Some(LotId(book.next_number()));
                lots::buy(&book.ledger, purchase)
            })
            .await?;
        if let (Some(Ok(posted)), Some(lot)) = (&outcome, lot)
            && posted.differs
        {
            note_order(&mut self.tx, project, &order, lot).await?;
        }
        Ok(outcome)
    }

    /// States how much of a lot's payment is refunded in all.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn refund_lot(
        &mut self,
        project: &ProjectId,
        lot: LotId,
        refunded: Money,
        now: Timestamp,
    ) -> Outcome {
        self.post(project, now, |book| lots::refund(&book.ledger, book.seen(now), lot, refunded)).await
    }

    /// States how the dispute of a lot's payment stands.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn dispute_lot(
        &mut self,
        project: &ProjectId,
        lot: LotId,
        dispute: Dispute,
        now: Timestamp,
    ) -> Outcome {
        self.post(project, now, |book| lots::dispute(&book.ledger, book.seen(now), lot, dispute)).await
    }

    /// Brings a project to the newest version of the catalogue.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn migrate_project(&mut self, project: &ProjectId, now: Timestamp) -> Outcome {
        let catalogue = catalogues::newest(&mut self.tx).await?;
        let mut was = None;
        let outcome = self
            .post(project, now, |book| {
                was = Some(ProjectNote::from(&book.project));
                book.migration(&catalogue, now)
            })
            .await?;
        if let Some(Ok(posted)) = &outcome
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
        (period, units, reason): (Period, Units, String),
        now: Timestamp,
    ) -> Result<Corrected, StoreError> {
        let became = json!({ "units": units, "reason": reason });
        let book = match self
            .post(project, now, |book| close::correct(&book.ledger, period, units, reason))
            .await?
        {
            Some(Ok(posted)) => posted.book,
            Some(Err(refusal)) => return Ok(Corrected::Refused(refusal)),
            None => return Ok(Corrected::ProjectUnknown),
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
    ) -> Outcome {
        let mut was = None;
        let outcome = self
            .post(project, now, |book| {
                was = Some(book.ledger.timeline().setting_at(now));
                plan::set_overage(&book.ledger, now, setting)
            })
            .await?;
        let Some(Ok(mut posted)) = outcome else { return Ok(outcome) };
        if posted.differs {
            posted.book.project.auto_overage = setting != OverageSetting::Off;
            projects::set_auto_overage(&mut self.tx, project, posted.book.project.auto_overage).await?;
            let deed = Deed::new(project, Action::OverageSet, "overage").was(&was).became(&setting);
            self.note(&deed, now).await?;
        }
        Ok(Some(Ok(posted)))
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
        let became = json!({ "units": units, "reason": reason });
        let mut lot = None;
        let outcome = self
            .post(project, now, |book| {
                lot = Some(LotId(book.next_number()));
                lots::credit(&book.ledger, units, reason)
            })
            .await?;
        Ok(match (outcome, lot) {
            (Some(Ok(posted)), Some(lot)) => {
                let target = lot.to_string();
                let deed = Deed::new(project, Action::CreditGiven, &target).became(&became);
                self.note(&deed, now).await?;
                Credited::Lot(Box::new(posted.book), lot)
            }
            (Some(Err(refusal)), _) => Credited::Refused(refusal),
            (None, _) | (_, None) => Credited::ProjectUnknown,
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
        self.change_in(project, async |work| work.correct(project, correction.clone(), now).await).await
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
        findings.extend(denials::findings(&mut tx, project).await?);
        Ok(Some(findings))
    }
}

/// The project that an order was credited to.
async fn credited_to(tx: &mut Connection, order: &str) -> Result<Option<ProjectId>, StoreError> {
    let row = sqlx::query("SELECT project FROM lot_order WHERE order_id = $1")
        .bind(order)
        .fetch_optional(tx)
        .await?;
    row.map(|row| id(&row, "project", ProjectId::parse)).transpose()
}

async fn note_order(
    tx: &mut Connection,
    project: &ProjectId,
    order: &str,
    lot: LotId,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO lot_order (order_id, project, lot_number) VALUES ($1, $2, $3)")
        .bind(order)
        .bind(project.as_str())
        .bind(int(lot.0.0))
        .execute(tx)
        .await?;
    Ok(())
}
