//! `meter-reporter renew`: a new life of the data folder, begun by a person who knows why.
//!
//! It never happens by itself: a folder that was copied must be told from one that was not.

use std::process::ExitCode;

use anyhow::bail;

use super::{folder, print};
use crate::clock::Clock;
use crate::config::Config;
use crate::meter::Meter;
use crate::random;

pub(super) async fn run(config: &Config, yes: bool) -> anyhow::Result<ExitCode> {
    let Some(_lock) = folder::take(&config.data)? else {
        bail!("the reporter runs: stop it first, so that nothing is counted meanwhile");
    };
    let meter = Meter::open(&config.data, &config.source, &Clock::default()).await?;
    let (old, cells) = meter.look(|core, now| {
        let cells = core.home.clone().flush(now).map_or(0, |round| {
            round.messages.iter().map(|message| message.cells.len()).fold(0, usize::saturating_add)
        });
        (core.home.incarnation().clone(), cells)
    });
    print(&format!(
        "This folder's life {old} ends, and a new one begins. {cells} cells have changed since its last receipt, and what \
         they have counted since then is not carried over: whoever reports as {old} reports it."
    ))?;
    if !yes {
        print("Nothing was done. Say --yes to do it.")?;
        return Ok(ExitCode::SUCCESS);
    }
    let new = random::incarnation()?;
    let life = new.clone();
    meter.act(|core, now| core.renew(life, now)).await?;
    print(&format!(
        "The new life is {new}. Start the reporter, and have the aggregator's operator run `meter reporter promote {} {new}`.",
        config.source
    ))?;
    Ok(ExitCode::SUCCESS)
}
