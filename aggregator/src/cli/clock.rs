//! `meter clock advance`: time for demonstrations and tests. Refused unless METER_TEST=1.

use anyhow::bail;
use clap::Args;
use serde::Serialize;

use super::Context;
use super::print::{self, Format};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Move the aggregator's clock forward; it never goes back
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

pub(super) async fn run(Command::Advance(advance): Command, context: Context) -> anyhow::Result<()> {
    if !context.config.test {
        bail!("the clock moves only with METER_TEST=1, which no real meter has");
    }
    let offset_ms = context.store.advance_clock(advance.duration).await?;
    context.clock.shift(offset_ms);
    let moved = Moved { offset_ms, now: context.clock.now().to_string() };
    print::result(advance.format, &moved, |moved| format!("It is {} now.", moved.now))
}

/// Reads numbers with units, the larger first or not: `1d12h`.
fn duration_ms(text: &str) -> Result<u64, String> {
    let refused = || "accepted are durations such as 3d, 12h, 30m, 10s and 1d12h".to_owned();
    let (mut sum, mut digits) = (0_u64, String::new());
    for letter in text.chars() {
        if letter.is_ascii_digit() {
            digits.push(letter);
            continue;
        }
        let unit_ms = match letter {
            'd' => 86_400_000,
            'h' => 3_600_000,
            'm' => 60_000,
            's' => 1_000,
            _ => return Err(refused()),
        };
        let part: u64 = digits.parse().map_err(|_| refused())?;
        digits.clear();
        sum = part.checked_mul(unit_ms).and_then(|part| sum.checked_add(part)).ok_or_else(refused)?;
    }
    if sum == 0 || !digits.is_empty() { Err(refused()) } else { Ok(sum) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_units() {
        for (text, ms) in [("3d", 259_200_000), ("1d12h", 129_600_000), ("30m", 1_800_000), ("90s", 90_000)] {
            assert_eq!(duration_ms(text), Ok(ms), "{text}");
        }
        for bad in ["", "3", "d", "3x", "-1d", "0s", "1.5h", "1d2", "99999999999999999999d"] {
            assert!(duration_ms(bad).is_err(), "{bad}");
        }
    }
}
