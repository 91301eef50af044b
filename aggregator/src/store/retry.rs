//! What the database took back, so that another transaction could go on, is done again: writes lock first and read
//! then, so that this hardly ever happens, but a database may always do it.

use super::{Store, StoreError, Work};

use shared::ids::ProjectId;

/// How often a change is tried in all.
pub const TRIES_MAX: usize = 5;

/// Makes a change, again while the database takes it back for the sake of another one.
///
/// # Errors
/// As the change; also when it was taken back [`TRIES_MAX`] times, which [`StoreError::is_passing`] says.
pub(super) async fn again<T, F>(mut change: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    for _ in 1..TRIES_MAX {
        match change().await {
            Err(error) if error.is_taken_back() => note(&error),
            done => return done,
        }
    }
    change().await
}

fn note(error: &StoreError) {
    tracing::debug!(error = %error, "a change was taken back and is made again");
}

impl Store {
    /// Makes a change to one project and commits it, again while the database takes it back for the sake of another
    /// one. It must write nothing of other projects.
    ///
    /// # Errors
    /// When the store fails or `change` does.
    pub async fn change_in<T>(
        &self,
        project: &ProjectId,
        change: impl AsyncFnMut(&mut Work) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.make(Some(project), change).await
    }

    /// As [`Store::change_in`], for a change that may concern several projects.
    ///
    /// # Errors
    /// As [`Store::change_in`].
    pub async fn change<T>(
        &self,
        change: impl AsyncFnMut(&mut Work) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.make(None, change).await
    }

    async fn make<T>(
        &self,
        project: Option<&ProjectId>,
        mut change: impl AsyncFnMut(&mut Work) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        // Not by `again`: what it would be given borrows `change` anew at each try, and the compiler cannot tell of such
        // a future that it may move between threads.
        for _ in 1..TRIES_MAX {
            match self.make_once(project, &mut change).await {
                Err(error) if error.is_taken_back() => note(&error),
                done => return done,
            }
        }
        self.make_once(project, &mut change).await
    }

    async fn make_once<T>(
        &self,
        project: Option<&ProjectId>,
        change: &mut impl AsyncFnMut(&mut Work) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut work = match project {
            Some(project) => self.begin_in(project).await?,
            None => self.begin().await?,
        };
        let done = change(&mut work).await?;
        work.commit().await?;
        Ok(done)
    }
}
