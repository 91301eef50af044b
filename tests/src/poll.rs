//! Waiting for what can be seen, with a deadline. Nothing here may wait for time alone.

use std::time::Duration;

use anyhow::{Result, bail};

/// Short enough that what is measured is the part under test, long enough to leave it the processor.
const PAUSE: Duration = Duration::from_millis(20);

/// Asks `probe` until it has an answer. A failing probe is asked again too: the last reason is told.
///
/// # Errors
/// When there is no answer `within` that time.
pub async fn eventually<T>(
    what: &str,
    within: Duration,
    mut probe: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let mut last = None;
    let asking = async {
        loop {
            match probe().await {
                Ok(Some(answer)) => return answer,
                Ok(None) => {}
                Err(error) => last = Some(error),
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    if let Ok(answer) = tokio::time::timeout(within, asking).await {
        return Ok(answer);
    }
    match last {
        Some(error) => Err(error.context(format!("{what}: not within {within:?}; the last failure was"))),
        None => bail!("{what}: not within {within:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_answer_is_taken_and_failures_before_it_are_forgotten() {
        let mut asked = 0;
        let answer = eventually("the third", Duration::from_secs(5), async || {
            asked += 1;
            match asked {
                1 => bail!("not there yet"),
                2 => Ok(None),
                _ => Ok(Some(asked)),
            }
        });
        assert_eq!(answer.await.unwrap(), 3);
    }

    #[tokio::test]
    async fn what_never_comes_is_named_with_the_last_failure() {
        let never = eventually::<()>("a miracle", Duration::from_millis(60), async || bail!("no wonder"));
        let error = format!("{:#}", never.await.unwrap_err());
        assert!(error.contains("a miracle") && error.contains("no wonder"), "{error}");
    }
}
