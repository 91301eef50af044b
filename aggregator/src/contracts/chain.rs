//! Whether a report continues what a reporter sent before, or comes from another data folder under the same name.
//!
//! A report names the hash of the one before it. Two folders that were once one send different bodies under one number,
//! and a folder that was lost, restored or cloned has another incarnation: neither must ever be counted beside the other.

use shared::ids::Incarnation;
use shared::report::Report;

/// What `previous` of the first report of a life is.
const NOTHING_BEFORE: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What is known of a reporter when a report comes.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The life of its data folder that reports; `None` before the first report.
    pub living: Option<Incarnation>,
    /// The hash of the report that came under the same life and number.
    pub same: Option<String>,
    /// The hash of the report before it.
    pub before: Option<String>,
    /// What the report after it says was before: reports that people carry may come in any order.
    pub after: Option<String>,
}

/// What a report is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It was not known, and continues what is.
    New,
    /// It came before, byte for byte.
    Again,
    /// It is of another data folder.
    Forked(Fork),
}

/// How it is known that there is another data folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fork {
    /// It is of another life than the one that reports.
    OtherLife,
    /// Another report came under its number.
    OtherBody,
    /// It does not follow the report before it, or that after it does not follow it.
    NotFollowing,
}

/// Judges a report whose body has this hash.
#[must_use]
pub fn judge(report: &Report, hash: &str, known: &Known) -> Verdict {
    if let Some(same) = &known.same {
        return if same == hash { Verdict::Again } else { Verdict::Forked(Fork::OtherBody) };
    }
    if known.living.as_ref().is_some_and(|living| *living != report.incarnation) {
        return Verdict::Forked(Fork::OtherLife);
    }
    let before = if report.seq == 1 { Some(NOTHING_BEFORE) } else { known.before.as_deref() };
    let follows = before.is_none_or(|before| before == report.previous);
    let is_followed = known.after.as_ref().is_none_or(|after| after == hash);
    if follows && is_followed { Verdict::New } else { Verdict::Forked(Fork::NotFollowing) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::ids::SourceId;
    use shared::report::{Environment, REPORT_SCHEMA};

    fn report(incarnation: &str, seq: u64, previous: &str) -> Report {
        Report {
            schema: REPORT_SCHEMA,
            source: SourceId::parse("berlin").unwrap(),
            incarnation: Incarnation::parse(incarnation).unwrap(),
            seq,
            previous: previous.to_owned(),
            environment: Environment::Production,
            cells: vec![],
        }
    }

    fn known(living: &str, same: &str, before: &str, after: &str) -> Known {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Known {
            living: some(living).map(|text| Incarnation::parse(&text).unwrap()),
            same: some(same),
            before: some(before),
            after: some(after),
        }
    }

    #[test]
    fn a_report_is_new_known_or_of_another_folder() {
        let (a, b, zeros) = ("aaaaaaaa", "bbbbbbbb", NOTHING_BEFORE);
        let forked = Verdict::Forked;
        for (report, known, verdict) in [
            (report(a, 1, zeros), known("", "", "", ""), Verdict::New),
            (report(a, 1, "h0"), known("", "", "", ""), forked(Fork::NotFollowing)),
            (report(a, 2, "h1"), known(a, "", "h1", ""), Verdict::New),
            (report(a, 2, "h1"), known(a, "me", "h1", ""), Verdict::Again),
            (report(a, 2, "h1"), known(a, "other", "h1", ""), forked(Fork::OtherBody)),
            (report(a, 2, "hx"), known(a, "", "h1", ""), forked(Fork::NotFollowing)),
            // The one before has not come yet: people carry files in any order.
            (report(a, 9, "h8"), known(a, "", "", ""), Verdict::New),
            (report(a, 2, "h1"), known(a, "", "h1", "me"), Verdict::New),
            (report(a, 2, "h1"), known(a, "", "h1", "other"), forked(Fork::NotFollowing)),
            (report(b, 1, zeros), known(a, "", "", ""), forked(Fork::OtherLife)),
            // What an earlier life sent is still known.
            (report(a, 2, "h1"), known(b, "me", "h1", ""), Verdict::Again),
        ] {
            assert_eq!(judge(&report, "me", &known), verdict, "{report:?} {known:?}");
        }
    }
}
