//! Reports that were removed: of each life the last one's number and hash stay, so that the chain of the rest is whole.

use std::collections::BTreeMap;

use shared::time::Timestamp;
use sqlx::{Connection as _, Row as _};

use super::{Store, StoreError, number, unsigned};
use crate::outbox::{Chain, hash};

impl Store {
    /// Counts the reports of before that instant which nobody needs any more, and removes them where `really`: all of a
    /// life up to the first one that has not arrived, is younger, or is its newest.
    ///
    /// # Errors
    /// When the file cannot be written; nothing is removed then.
    pub async fn prune(&mut self, before: Timestamp, really: bool) -> Result<u64, StoreError> {
        let mut tx = self.connection.begin().await?;
        let lives = sqlx::query(
            "SELECT incarnation, MIN(seq) AS kept FROM report AS one WHERE acked_ms IS NULL OR built_ms >= $1 \
             OR seq = (SELECT MAX(seq) FROM report AS other WHERE other.incarnation = one.incarnation) \
             GROUP BY incarnation",
        )
        .bind(number(before.as_ms()))
        .fetch_all(&mut *tx)
        .await?;
        let mut removed = 0_u64;
        for life in lives {
            let (incarnation, kept): (String, u64) = (life.try_get("incarnation")?, unsigned(&life, "kept")?);
            let last = sqlx::query(
                "SELECT seq, body FROM report WHERE incarnation = $1 AND seq < $2 ORDER BY seq DESC LIMIT 1",
            )
            .bind(incarnation.clone())
            .bind(number(kept))
            .fetch_optional(&mut *tx)
            .await?;
            let Some(last) = last else { continue };
            let body: String = last.try_get("body")?;
            sqlx::query(
                "INSERT INTO pruned (incarnation, seq, hash) VALUES ($1, $2, $3) \
                 ON CONFLICT (incarnation) DO UPDATE SET seq = excluded.seq, hash = excluded.hash",
            )
            .bind(incarnation.clone())
            .bind(number(unsigned(&last, "seq")?))
            .bind(hash(&body))
            .execute(&mut *tx)
            .await?;
            let gone = sqlx::query("DELETE FROM report WHERE incarnation = $1 AND seq < $2")
                .bind(incarnation)
                .bind(number(kept))
                .execute(&mut *tx)
                .await?;
            removed = removed.saturating_add(gone.rows_affected());
        }
        if really {
            tx.commit().await?
        } else {
            tx.rollback().await?
        }
        Ok(removed)
    }

    /// Of each life whose first reports were removed: where the chain of the rest begins.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn pruned(&mut self) -> Result<BTreeMap<String, Chain>, StoreError> {
        let rows =
            sqlx::query("SELECT incarnation, seq, hash FROM pruned").fetch_all(&mut self.connection).await?;
        rows.iter()
            .map(|row| {
                let chain = Chain { seq: unsigned(row, "seq")?, hash: row.try_get("hash")? };
                Ok((row.try_get("incarnation")?, chain))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Write;
    use crate::store::tests::{frozen, store};

    #[tokio::test]
    async fn what_has_arrived_long_ago_is_removed_and_the_chain_of_the_rest_has_a_beginning() {
        let mut store = store().await;
        store.commit((1..=4).map(|seq| Write::Freeze(frozen(seq))).collect()).await.unwrap();
        let old = Timestamp::from_ms(6);
        assert_eq!(store.prune(old, true).await.unwrap(), 0, "nothing has arrived");
        let acknowledge = |seq| Write::Acknowledge { incarnation: "abcdefgh".to_owned(), seq, at_ms: 9 };
        store.commit(vec![acknowledge(2)]).await.unwrap();
        assert_eq!(store.prune(Timestamp::from_ms(5), true).await.unwrap(), 0, "none is that old");
        assert_eq!(store.prune(old, false).await.unwrap(), 2);
        assert_eq!(store.reports(0, 10).await.unwrap().len(), 4, "it was only asked");
        assert_eq!(store.prune(old, true).await.unwrap(), 2);
        let chain = store.pruned().await.unwrap().remove("abcdefgh").unwrap();
        assert_eq!(chain, Chain::after(&frozen(2)));
        store.commit(vec![acknowledge(4)]).await.unwrap();
        assert_eq!(store.prune(old, true).await.unwrap(), 1, "the newest stays: the next one names it");
        assert_eq!(store.newest("abcdefgh").await.unwrap().map(|frozen| frozen.seq), Some(4));
        assert_eq!(store.pruned().await.unwrap()["abcdefgh"], Chain::after(&frozen(3)));
        assert_eq!(store.prune(old, true).await.unwrap(), 0, "again nothing");
    }
}
