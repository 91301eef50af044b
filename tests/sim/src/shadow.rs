//! The product's store beside a run: real SQL on a real file, which must come to the same as the pure ledger after
//! every flush and every change, and after every crash.

use std::path::PathBuf;

use ::aggregator::ledger::entry::Posting;
use ::aggregator::ledger::refusal::Refusal;
use ::aggregator::projects::book::Book;
use ::aggregator::projects::policy::Basis;
use ::aggregator::projects::project::{NewProject, Project, ProjectChange, Setting};
use ::aggregator::random;
use ::aggregator::store::{Database, Post, Store, StoreError, WhenMissing};
use shared::ids::{Mode, ProjectId};
use shared::plan::{Catalogue, Plan};
use shared::time::Timestamp;
use shared::wire::Flush;
use tokio::runtime::{Builder, Runtime};

/// The store, a runtime with one thread, and the folder of its file.
#[derive(Debug)]
pub struct Shadow {
    runtime: Runtime,
    store: Store,
    project: ProjectId,
    folder: PathBuf,
}

impl Shadow {
    /// A store with that book and nothing else.
    #[must_use]
    pub fn new(book: &Book, catalogue: &Catalogue, basis: &Basis) -> Self {
        let runtime = must(Builder::new_current_thread().enable_all().build());
        let folder = std::env::temp_dir().join(format!("meter-sim-{}", must(random::id())));
        must(std::fs::create_dir(&folder));
        let project = book.project.clone();
        let store = runtime.block_on(async {
            let store = must(open(&folder).await);
            must(fill(&store, book, catalogue).await);
            must(store.rebase_policies(&basis.fingerprint(), project.created).await);
            store
        });
        Self { runtime, store, project: project.id, folder }
    }

    /// Merges a flush.
    ///
    /// # Errors
    /// When the store fails, or comes to another book.
    pub fn merge(&self, flush: &Flush, now: Timestamp, expected: &Book) -> Result<(), String> {
        let merged =
            self.runtime.block_on(self.store.merge(&[flush], now)).map_err(|error| error.to_string())?;
        let merged = merged.into_iter().next().flatten().ok_or("the store has no such project")?;
        same(&merged.book, expected)
    }

    /// Writes into the ledger.
    pub fn post(&self, now: Timestamp, decide: impl FnOnce(&Book) -> Result<Vec<Posting>, Refusal>) {
        self.runtime.block_on(async {
            let mut work = must(self.store.begin_in(&self.project).await);
            posted(must(work.post(&self.project, now, decide).await));
            must(work.commit().await);
        });
    }

    /// Changes the project.
    pub fn change(&self, now: Timestamp, change: ProjectChange) {
        must(self.runtime.block_on(self.store.change_project(&self.project, change, now)));
    }

    /// Makes a key: another policy follows.
    pub fn make_key(&self, now: Timestamp) {
        must(self.runtime.block_on(self.store.create_key(&self.project, Mode::Live, now)));
    }

    /// Compiles policies from something else.
    pub fn rebase(&self, basis: &Basis, now: Timestamp) {
        must(self.runtime.block_on(self.store.rebase_policies(&basis.fingerprint(), now)));
    }

    /// The process dies and comes back: all that is left is on the disk.
    pub fn crash(&mut self) {
        self.store = self.runtime.block_on(async {
            let again = must(open(&self.folder).await);
            self.store.close().await;
            again
        });
    }

    /// Closes every month that is due.
    ///
    /// # Errors
    /// When the store fails, comes to another book, or finds that it does not balance.
    pub fn close(&self, now: Timestamp, expected: &Book) -> Result<(), String> {
        let text = |error: StoreError| error.to_string();
        self.runtime.block_on(async {
            self.store.close_periods(&self.project, now).await.map_err(text)?;
            let findings = self.store.audit(&self.project).await.map_err(text)?.unwrap_or_default();
            if !findings.is_empty() {
                return Err(format!("I12: the store finds {findings:?}"));
            }
            let book = self.store.book(&self.project).await.map_err(text)?;
            same(&book.ok_or("the store has no such project")?, expected)
        })
    }
}

impl Drop for Shadow {
    fn drop(&mut self) {
        self.runtime.block_on(self.store.close());
        // A folder that stays behind fails no run.
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

async fn open(folder: &std::path::Path) -> Result<Store, StoreError> {
    Store::open(&Database::Sqlite(folder.join("meter.db")), WhenMissing::Create).await
}

/// Brings a new store to a book, entry by entry.
async fn fill(store: &Store, book: &Book, catalogue: &Catalogue) -> Result<(), StoreError> {
    let Project { id, rpm_own, created, .. } = book.project.clone();
    store.apply_catalogue(catalogue, created).await?;
    let rpm = rpm_own.map_or(Setting::Plan, Setting::Own);
    let new = NewProject { id: id.clone(), plan: Plan::Business, rpm, included: Setting::Plan };
    store.create_project(new, created).await?;
    for entry in book.ledger.entries().iter().skip(1) {
        let posting = Posting { fact: entry.fact.clone(), movements: entry.movements.clone() };
        let mut work = store.begin_in(&id).await?;
        posted(work.post(&id, entry.at, |_| Ok(vec![posting])).await?);
        work.commit().await?;
    }
    Ok(())
}

/// Whether two books are the same; versions of policies are counted apart.
fn same(stored: &Book, expected: &Book) -> Result<(), String> {
    let project = Project { policy_version: expected.project.policy_version, ..stored.project.clone() };
    if project != expected.project {
        return Err(format!("the store has {project:?}, the ledger {:?}", expected.project));
    }
    if stored.ledger != expected.ledger {
        let (stored, expected) = (stored.ledger.entries(), expected.ledger.entries());
        let first = stored.iter().zip(expected).find(|(one, other)| one != other);
        return Err(format!("{} entries, not {}; {first:?}", stored.len(), expected.len()));
    }
    if stored.totals != expected.totals || stored.fired != expected.fired {
        let (stored, expected) = ((&stored.totals, &stored.fired), (&expected.totals, &expected.fired));
        return Err(format!("the store has {stored:?}, the ledger {expected:?}"));
    }
    Ok(())
}

/// What a shadow cannot do without; a run that cannot have it must stop.
fn posted(post: Post) {
    match post {
        Post::Posted(_) => {}
        Post::ProjectUnknown => unreachable!("the store beside the run has no such project"),
        Post::Refused(refusal) => unreachable!("the store beside the run refuses: {refusal}"),
    }
}

fn must<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| unreachable!("the store beside the run: {error}"))
}
