//! The messages between an on-premise reporter and the aggregator, and the key that signs them.
//!
//! What leaves a customer's network is closed: a [`Report`] has counts, days, kinds and agents, and a field that is not
//! named here cannot be written. Free text must never find its way in.

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::cell::Cell;
use crate::ids::{Incarnation, ProjectId, SigningKeyId, SourceId};
use crate::policy::Policy;
use crate::sign::{Purpose, SigningKey, SigningKeys, decode_secret};
use crate::time::{Day, Timestamp};
use crate::units::Units;
use crate::wire::FLUSH_CELLS_MAX;

/// The form of a report that this release writes.
pub const REPORT_SCHEMA: u32 = 1;

/// The most cells in one report; a backlog is sent as several.
pub const REPORT_CELLS_MAX: usize = FLUSH_CELLS_MAX;

/// What a deployment is for. Both are counted and shown; the contract says whether development is billed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// It serves the customer's own users.
    Production,
    /// It is a test or a staging system.
    Development,
}

/// Cumulative cells of one reporter. A report without cells says that the reporter lives, and asks for its policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// [`REPORT_SCHEMA`].
    pub schema: u32,
    /// Which reporter.
    pub source: SourceId,
    /// Which life of its data folder.
    pub incarnation: Incarnation,
    /// Rises by one with each report of that incarnation, from 1.
    pub seq: u64,
    /// SHA-256, in lowercase hex, of the body before it in that incarnation; of the first, 64 zeros. Two folders that
    /// were once one send different bodies under one number, and this tells them apart.
    pub previous: String,
    /// What the deployment is for.
    pub environment: Environment,
    /// At most [`REPORT_CELLS_MAX`] cells.
    pub cells: Vec<Cell>,
}

/// The receipt of a report, sent after its cells are durable, and signed with the key that the report was signed with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportReceipt {
    /// Whose report it was.
    pub source: SourceId,
    /// Of which life.
    pub incarnation: Incarnation,
    /// The highest `seq` of that incarnation whose cells are durable.
    pub watermark: u64,
    /// The aggregator's time, by which silence is judged.
    pub received_at: Timestamp,
    /// When the deployment falls back to the contracted minimum unless it is heard before.
    pub silent_at: Timestamp,
    /// What the units are counted for.
    pub project: ProjectId,
    /// What the reporter enforces on premise.
    pub policy: Policy,
    /// The first day whose units are billed, where it is still to come: the contract has not begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub billed_from: Option<Day>,
}

/// A reporter's key, as `TELEMETRY_HMAC_KEY` carries it: `pvr_<source>_<key id>_<secret>`. Its secret is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct ReporterKey {
    source: SourceId,
    signing: SigningKey,
}

impl fmt::Debug for ReporterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReporterKey").field("source", &self.source).field("id", self.signing.id()).finish()
    }
}

impl ReporterKey {
    /// Reads `pvr_<source>_<key id>_<secret>`, whose secret is 64 or more lowercase hex digits.
    ///
    /// # Errors
    /// Says what is not of that form; never repeats the secret.
    pub fn parse(text: &str) -> Result<Self, String> {
        const FORM: &str =
            "accepted is pvr_<source>_<key id>_<secret>, as it was shown when the key was made";
        let mut parts = text.trim_ascii().split('_');
        let (Some("pvr"), Some(source), Some(id), Some(secret), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(FORM.to_owned());
        };
        let source = SourceId::parse(source).map_err(|error| format!("{error}; {FORM}"))?;
        let id = SigningKeyId::parse(id).map_err(|error| format!("{error}; {FORM}"))?;
        let secret = decode_secret(secret).map_err(|error| format!("{error}; {FORM}"))?;
        Ok(Self { source, signing: SigningKey::new(Purpose::Reporter, id, secret) })
    }

    /// The reporter that it belongs to.
    #[must_use]
    pub fn source(&self) -> &SourceId {
        &self.source
    }

    /// The key that signs.
    #[must_use]
    pub fn signing(&self) -> &SigningKey {
        &self.signing
    }

    /// The keys of a list with commas between them, two while rotating: the first signs, every one verifies.
    ///
    /// # Errors
    /// Says what is wrong with which; all must belong to one source.
    pub fn list(text: &str) -> Result<(SourceId, SigningKeys), String> {
        let mut source: Option<SourceId> = None;
        let mut keys = Vec::new();
        crate::sign::for_each_entry(text, "reporter key", &mut |entry| {
            let key = Self::parse(entry)?;
            if source.as_ref().is_some_and(|source| *source != key.source) {
                return Err(format!("it belongs to {}, those before it to another reporter", key.source));
            }
            source = Some(key.source);
            keys.push(key.signing);
            Ok(())
        })?;
        let source =
            source.ok_or("there is none; the owner of the contract makes one with meter reporter key")?;
        Ok((source, SigningKeys::of(keys)))
    }
}

impl Report {
    /// Whether the numbers of it can be: its schema is ours, `seq` counts from 1, `previous` is a hash.
    ///
    /// # Errors
    /// The field, what was got, and what is accepted.
    pub fn check(&self) -> Result<(), (&'static str, String, &'static str)> {
        if self.schema != REPORT_SCHEMA {
            return Err(("schema", self.schema.to_string(), "1; update the older of the two sides"));
        }
        if self.seq == 0 || self.seq > Units::MAX.get() {
            return Err(("seq", self.seq.to_string(), "1 to 2^53 - 1"));
        }
        let is_hash = self.previous.len() == 64
            && self.previous.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !is_hash {
            return Err(("previous", self.previous.len().to_string(), "64 lowercase hex digits"));
        }
        if self.cells.len() > REPORT_CELLS_MAX {
            return Err(("cells", self.cells.len().to_string(), "at most 1,000 cells"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reporters_key_is_read_whole_or_refused_without_its_secret() {
        let secret = "ab".repeat(32);
        let key = ReporterKey::parse(&format!("pvr_plant-7_k1_{secret}")).unwrap();
        assert_eq!((key.source().as_str(), key.signing().id().as_str()), ("plant-7", "k1"));
        assert!(!format!("{key:?}").contains("abab"));
        for wrong in [
            String::new(),
            "pvr_plant-7_k1".to_owned(),
            format!("pk_plant-7_k1_{secret}"),
            format!("pvr_Plant_k1_{secret}"),
            format!("pvr_plant-7_K_{secret}"),
            format!("pvr_plant-7_k1_{secret}_more"),
            "pvr_plant-7_k1_abababab".to_owned(),
        ] {
            let error = ReporterKey::parse(&wrong).unwrap_err();
            assert!(
                error.contains("pvr_<source>_<key id>_<secret>") && !error.contains("abab"),
                "{wrong}: {error}"
            );
        }
    }

    #[test]
    fn two_keys_of_one_reporter_rotate_and_of_two_are_refused() {
        let (one, two) = ("ab".repeat(32), "cd".repeat(32));
        let (source, keys) = ReporterKey::list(&format!("pvr_plant_k1_{one},pvr_plant_k2_{two}")).unwrap();
        assert_eq!(
            (source.as_str(), keys.current(Purpose::Reporter).unwrap().id().as_str()),
            ("plant", "k1")
        );
        assert!(ReporterKey::list(&format!("pvr_plant_k1_{one},pvr_other_k2_{two}")).is_err());
        assert!(ReporterKey::list("").is_err());
    }

    #[test]
    fn a_report_has_no_field_but_those_that_are_named() {
        let text = format!(
            r#"{{"schema":1,"source":"plant","incarnation":"abcdefgh","seq":1,"previous":"{}",
                "environment":"production","cells":[]}}"#,
            "0".repeat(64)
        );
        let report: Report = serde_json::from_str(&text).unwrap();
        assert_eq!(report.check(), Ok(()));
        let more = text.replacen('{', r#"{"note":"hello","#, 1);
        assert!(serde_json::from_str::<Report>(&more).is_err(), "free text cannot travel");
        for wrong in [
            Report { schema: 2, ..report.clone() },
            Report { seq: 0, ..report.clone() },
            Report { previous: "A".repeat(64), ..report.clone() },
        ] {
            assert!(wrong.check().is_err());
        }
    }
}
