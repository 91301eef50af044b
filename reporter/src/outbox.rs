//! Reports: made of what the home has not seen acknowledged, chained by the hashes of their bodies, and never changed.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use shared::cell::Cell;
use shared::home::FlushRound;
use shared::ids::{Incarnation, SourceId};
use shared::json;
use shared::report::{Environment, REPORT_SCHEMA, Report};
use shared::sign::{Purpose, Signed, SigningKeys};
use shared::time::Timestamp;
use shared::wire::INGEST_PATH;

use crate::store::Frozen;

/// What the first report of a life names as the one before it.
pub const NO_BODY: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Who reports.
#[derive(Debug, Clone)]
pub struct Reporting {
    /// Which reporter.
    pub source: SourceId,
    /// What the deployment is for.
    pub environment: Environment,
}

/// Where the chain of a life's reports ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// The number of the last report; zero where there is none.
    pub seq: u64,
    /// The hash of its body.
    pub hash: String,
}

impl Default for Chain {
    fn default() -> Self {
        Self { seq: 0, hash: NO_BODY.to_owned() }
    }
}

impl Chain {
    /// Where it ends after that report.
    #[must_use]
    pub fn after(last: &Frozen) -> Self {
        Self { seq: last.seq, hash: hash(&last.body) }
    }

    /// Makes the reports of a round, one after the other; a round that is none is a report without cells.
    pub fn freeze(
        &mut self,
        who: &Reporting,
        incarnation: &Incarnation,
        round: Option<FlushRound>,
        now: Timestamp,
    ) -> Vec<Frozen> {
        let (home_seq, parts) = match round {
            Some(round) => (round.seq, round.messages.into_iter().map(|message| message.cells).collect()),
            None => (0, vec![Vec::new()]),
        };
        parts.into_iter().map(|cells| self.report(who, incarnation, (home_seq, cells), now)).collect()
    }

    fn report(
        &mut self,
        who: &Reporting,
        incarnation: &Incarnation,
        (home_seq, cells): (u64, Vec<Cell>),
        now: Timestamp,
    ) -> Frozen {
        let seq = self.seq.saturating_add(1);
        let report = Report {
            schema: REPORT_SCHEMA,
            source: who.source.clone(),
            incarnation: incarnation.clone(),
            seq,
            previous: self.hash.clone(),
            environment: who.environment,
            cells,
        };
        let body = json::write(&report);
        *self = Self { seq, hash: hash(&body) };
        Frozen {
            incarnation: incarnation.to_string(),
            seq,
            home_seq,
            body,
            built_ms: now.as_ms(),
            signature: None,
            sent_ms: None,
            attempts: 0,
            acked_ms: None,
        }
    }
}

/// SHA-256 of a body in lowercase hex.
#[must_use]
pub fn hash(body: &str) -> String {
    base16ct::lower::encode_string(&Sha256::digest(body.as_bytes()))
}

/// Signs a report as it is posted.
///
/// # Errors
/// When there is no key.
pub fn sign(body: &str, keys: &SigningKeys, now: Timestamp) -> Result<String, String> {
    let key = keys.current(Purpose::Reporter).ok_or("there is no key to sign with")?;
    Ok(Signed { method: "POST", path: INGEST_PATH, body: body.as_bytes() }.sign(key, now))
}

/// A report as it was sent: what a line of an exported file is, and what is posted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sent {
    /// The path that it was posted to.
    pub path: String,
    /// The `Palveron-Signature` header.
    pub signature: String,
    /// The exact body.
    pub body: String,
}

/// Whether a report follows the one before it in its life; says what is wrong.
///
/// # Errors
/// When the chain is broken there: a body was changed, removed or added.
pub fn follows(chain: &Chain, frozen: &Frozen) -> Result<Chain, String> {
    let told = |what: &str| format!("report {} of {}: {what}", frozen.seq, frozen.incarnation);
    let report: Report =
        json::read(&frozen.body).map_err(|error| told(&format!("its body is none: {error}")))?;
    if report.seq != frozen.seq || report.incarnation.as_str() != frozen.incarnation {
        return Err(told("its body says another number"));
    }
    if report.seq != chain.seq.saturating_add(1) {
        return Err(told(&format!("it follows report {}", chain.seq)));
    }
    if report.previous != chain.hash {
        return Err(told("the body before it is not the one that it names"));
    }
    Ok(Chain::after(frozen))
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::wire::Flush;

    fn who() -> Reporting {
        Reporting { source: SourceId::parse("plant-7").unwrap(), environment: Environment::Production }
    }

    fn life() -> Incarnation {
        Incarnation::parse("abcdefgh").unwrap()
    }

    fn cell(agent: usize) -> Cell {
        let text = format!(r#"{{"day":"2026-11-23","kind":"verify","agent":"bot-{agent}","units":3}}"#);
        json::read(&text).unwrap()
    }

    fn round(messages: &[usize]) -> FlushRound {
        let flush = |cells: usize| {
            let text = format!(
                r#"{{"project":"x","mode":"live","source":"x","incarnation":"abcdefgh","seq":7,"cells":{}}}"#,
                json::write(&(0..cells).map(cell).collect::<Vec<_>>())
            );
            json::read::<Flush>(&text).unwrap()
        };
        FlushRound { seq: 7, messages: messages.iter().map(|cells| flush(*cells)).collect() }
    }

    #[test]
    fn each_report_names_the_body_before_it_and_a_broken_chain_is_told() {
        let mut chain = Chain::default();
        let mut all = chain.freeze(&who(), &life(), Some(round(&[2, 1])), Timestamp::from_ms(5));
        all.extend(chain.freeze(&who(), &life(), None, Timestamp::from_ms(6)));
        assert_eq!(
            all.iter().map(|frozen| (frozen.seq, frozen.home_seq)).collect::<Vec<_>>(),
            [(1, 7), (2, 7), (3, 0)]
        );
        assert!(all[0].body.contains(NO_BODY) && all[1].body.contains(&hash(&all[0].body)));
        let walk =
            |all: &[Frozen]| all.iter().try_fold(Chain::default(), |chain, frozen| follows(&chain, frozen));
        assert_eq!(walk(&all).unwrap(), chain);
        let mut changed = all.clone();
        changed[0].body = changed[0].body.replace("\"units\":3", "\"units\":2");
        assert!(walk(&changed).unwrap_err().contains("report 2 of abcdefgh"));
        assert!(walk(&[all[0].clone(), all[2].clone()]).unwrap_err().contains("follows report 1"));
        changed[0].body.insert_str(1, r#""note":"free text","#);
        assert!(walk(&changed).unwrap_err().contains("its body is none"));
    }
}
