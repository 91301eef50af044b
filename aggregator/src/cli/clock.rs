//! `meter clock advance`: time for demonstrations and tests. Refused unless METER_TEST=1.

use anyhow::bail;
use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::call::Call;
use super::place::Place;
use super::print::{self, Format, cell};
use crate::clock::duration_ms;
use crate::edge::followers;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Move the clock forward, with the edge's and the simulated Stripe's; it never goes back
    Advance(Advance),
}

#[derive(Debug, Args)]
pub(super) struct Advance {
    /// Such as 3d, 12h, 30m, 10s or 1d12h
    #[arg(value_parser = duration_ms)]
    duration: u64,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Serialize)]
struct Moved {
    offset_ms: u64,
    now: String,
}

pub(super) async fn run(Command::Advance(advance): Command, place: Place) -> anyhow::Result<()> {
    let context = match &place {
        Place::Books(books) => &books.context,
        Place::Server(_) => {
            let seconds = advance.duration.div_euclid(1_000);
            let call = Call::post(&["api", "v1", "admin", "clock"]).field("advance", format!("{seconds}s"));
            let moved = place.ask(&call).await?;
            return print::result(advance.format, &moved, |moved| {
                format!("It is {} now.", cell(moved.get("now").unwrap_or(&Value::Null)))
            });
        }
    };
    if !context.config.test {
        bail!("the clock moves only with METER_TEST=1, which no real meter has");
    }
    let offset_ms = context.store.advance_clock(advance.duration, context.clock.now()).await?;
    context.clock.shift(offset_ms);
    // What is called next finds every server at the new time.
    for failure in followers::wait(&context.store, offset_ms).await? {
        print::remark(advance.format, &failure);
    }
    // Told here too, so that all clocks agree when the command ends; a running server tells who was not reached.
    for failure in context.config.clock_peers().map_err(anyhow::Error::msg)?.tell(offset_ms).await {
        print::remark(advance.format, &failure);
    }
    let moved = Moved { offset_ms, now: context.clock.now().to_string() };
    print::result(advance.format, &moved, |moved| format!("It is {} now.", moved.now))
}
