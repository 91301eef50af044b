//! The closed loop: each connection sends its next request when it has the last one's answer, as fast as it goes.
//!
//! One thread serves all connections, so that the generator takes little from the two cores it shares.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::clock;
use crate::response::parse;
use crate::target::{Tally, Target};

/// Who has not answered that long after the window's end has failed.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Long enough that a server which refuses connections is not asked in a busy loop.
const RECONNECT_PAUSE: Duration = Duration::from_millis(5);
const READ_BYTES: usize = 4 * 1024;

/// Keeps `connections` busy for that long, then lets each finish its last request.
pub(crate) fn run(target: &Target, connections: usize, window: Duration) -> Result<Tally> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let target = Arc::new(target.clone());
    runtime.block_on(async {
        let end = clock::now().checked_add(window).context("the window ends beyond time")?;
        let mut tasks = JoinSet::new();
        for _ in 0..connections {
            tasks.spawn(connection(Arc::clone(&target), end));
        }
        let mut all = Tally::default();
        let finish = async {
            while let Some(finished) = tasks.join_next().await {
                match finished {
                    Ok(tally) => all.add(tally),
                    Err(error) => all.fail(|| format!("the load generator failed: {error}")),
                }
            }
        };
        if timeout(window.saturating_add(ANSWER_MAX), finish).await.is_err() {
            // What these connections had counted is lost with them; the round is marked as failed anyway.
            for _ in 0..tasks.len() {
                all.fail(|| format!("no answer within {ANSWER_MAX:?}"));
            }
        }
        Ok(all)
    })
}

/// One connection until the window's end, opened again whenever it breaks.
async fn connection(target: Arc<Target>, end: Instant) -> Tally {
    let mut tally = Tally::default();
    loop {
        match talk(&target, end, &mut tally).await {
            Ok(()) => {}
            Err(error) => tally.fail(|| error.to_string()),
        }
        if clock::now() >= end {
            return tally;
        }
        sleep(RECONNECT_PAUSE).await;
    }
}

/// Requests over one connection, until it closes or the window ends.
async fn talk(target: &Target, end: Instant, tally: &mut Tally) -> Result<()> {
    let mut stream = TcpStream::connect(target.address).await?;
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(READ_BYTES);
    let mut sent = clock::now();
    while sent < end {
        stream.write_all(&target.request()).await?;
        let closes = loop {
            let read = stream.read_buf(&mut buffer).await?;
            anyhow::ensure!(read > 0, "the connection was closed before the answer");
            let Some(response) = parse(&buffer).map_err(|error| anyhow::anyhow!(error.0))? else { continue };
            let now = clock::now();
            if target.judge(&response, tally) {
                tally.latencies_us.push(clock::micros_between(sent, now));
                tally.in_time = tally.in_time.saturating_add(u64::from(now <= end));
            }
            sent = now;
            break response.closes;
        };
        buffer.clear();
        if closes {
            return Ok(());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stand_in::{FAILED, LAST, OK, serve};

    fn load(answer: fn(u64) -> &'static str) -> Tally {
        run(&Target::new(serve(answer), ["/", "{}"], "k", "ok"), 4, Duration::from_millis(400)).unwrap()
    }

    #[test]
    fn every_answer_is_counted_as_what_it_is() {
        let tally = load(|number| if number == 3 { FAILED } else { OK });
        assert_eq!(tally.failures, 1);
        assert_eq!(tally.first_failure.as_deref(), Some("500 no"));
        assert!(tally.good >= 4 && tally.in_time <= tally.good);
        assert_eq!(u64::try_from(tally.latencies_us.len()).unwrap(), tally.good);
    }

    #[test]
    fn a_closed_connection_is_opened_again_and_is_no_failure() {
        let tally = load(|_| LAST);
        assert!(tally.good > 4 && tally.failures == 0, "{tally:?}");
    }

    #[test]
    fn nobody_there_is_a_failure() {
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let tally = run(&Target::new(address, ["/", "{}"], "k", "ok"), 2, Duration::from_millis(20)).unwrap();
        assert!(tally.good == 0 && tally.failures >= 2, "{tally:?}");
    }
}
