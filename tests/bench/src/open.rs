//! The open loop: requests are due at fixed times, whether or not the earlier ones have been answered, and each
//! latency counts from when the request was due. So a server that stalls cannot slow the questions down.
//!
//! Each connection has a thread that sleeps between its requests: only so are they sent to the tenth of a
//! millisecond.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};

use crate::clock;
use crate::response::{Response, parse};
use crate::target::{Tally, Target};

/// So many requests may be unanswered before one has to wait for another; its latency counts from its due time.
const CONNECTIONS: u32 = 16;
/// Who has not answered after that long has failed.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Time for all threads to connect before the first request is due.
const HEAD_START: Duration = Duration::from_millis(20);
const READ_BYTES: usize = 4 * 1024;

/// Sends `rate` requests a second for that long.
pub(crate) fn run(target: &Target, rate: u32, window: Duration) -> Result<Tally> {
    let period = Duration::from_secs(1).checked_div(rate).ok_or_else(|| anyhow!("a rate of 0 is no rate"))?;
    let start = clock::now().checked_add(HEAD_START).ok_or_else(|| anyhow!("the start is beyond time"))?;
    let mut all = Tally::default();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..CONNECTIONS)
            .map(|first| {
                let dues = (first..)
                    .step_by(usize::try_from(CONNECTIONS).unwrap_or(1))
                    .map_while(move |index| period.checked_mul(index).filter(|offset| *offset < window))
                    .filter_map(move |offset| start.checked_add(offset));
                scope.spawn(|| connection(target, dues))
            })
            .collect();
        for thread in threads {
            match thread.join() {
                Ok(tally) => all.add(tally),
                Err(_) => all.fail(|| "a thread of the load generator has panicked".to_owned()),
            }
        }
    });
    Ok(all)
}

/// Sends each request when it is due, over one connection that is opened again when it breaks.
fn connection(target: &Target, dues: impl Iterator<Item = Instant>) -> Tally {
    let mut tally = Tally::default();
    let mut line = Line::connect(target.address).ok();
    for due in dues {
        clock::sleep_until(due);
        let answered = match line.take() {
            Some(line) => Ok(line),
            None => Line::connect(target.address),
        };
        let answered = answered.and_then(|mut line| {
            let keeps = line.send(&target.request(), |response| {
                let now = clock::now();
                if target.judge(response, &mut tally) {
                    tally.latencies_us.push(clock::micros_between(due, now));
                }
                !response.closes
            })?;
            Ok(keeps.then_some(line))
        });
        match answered {
            Ok(kept) => line = kept,
            Err(error) => tally.fail(|| error.to_string()),
        }
    }
    tally
}

/// A connection that blocks.
#[derive(Debug)]
pub(crate) struct Line {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Line {
    /// Connects.
    pub(crate) fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, ANSWER_MAX)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        Ok(Self { stream, buffer: Vec::with_capacity(READ_BYTES) })
    }

    /// Sends a request and hands over its complete answer.
    pub(crate) fn send<T>(&mut self, request: &[u8], read: impl FnOnce(&Response<'_>) -> T) -> Result<T> {
        self.buffer.clear();
        self.stream.write_all(request)?;
        let mut piece = [0; READ_BYTES];
        loop {
            let length = self.stream.read(&mut piece)?;
            ensure!(length > 0, "the connection was closed before the answer");
            self.buffer.extend_from_slice(piece.get(..length).unwrap_or_default());
            if let Some(response) = parse(&self.buffer).map_err(|error| anyhow!(error.0))? {
                return Ok(read(&response));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::*;
    use crate::stand_in::{FAILED, OK, serve};

    const STALL: Duration = Duration::from_millis(300);
    static STALLED: Mutex<()> = Mutex::new(());

    #[test]
    fn latencies_count_from_when_requests_were_due() {
        // One request holds the whole server up: everything that falls due meanwhile has to be seen waiting.
        let address = serve(|number| {
            let _turn = STALLED.lock().unwrap_or_else(PoisonError::into_inner);
            if number == 10 {
                thread::sleep(STALL);
            }
            OK
        });
        let tally =
            run(&Target::new(address, ["/", "{}"], "k", "ok"), 200, Duration::from_millis(500)).unwrap();
        assert_eq!((tally.good, tally.failures), (100, 0));
        let late = tally.latencies_us.iter().filter(|latency| **latency > 100_000).count();
        // Of the 60 that fall due in 300 ms, those of the first 200 ms wait for more than 100 ms: 40. A generator
        // that waits for answers would have sent, and seen, only one for each of its 16 connections.
        assert!(late > 30, "{late}");
    }

    #[test]
    fn failures_have_no_latency() {
        let address = serve(|number| if number == 0 { FAILED } else { OK });
        let tally =
            run(&Target::new(address, ["/", "{}"], "k", "ok"), 200, Duration::from_millis(100)).unwrap();
        assert_eq!((tally.good, tally.failures, tally.latencies_us.len()), (19, 1, 19));
    }
}
