//! Receipts: whether the aggregator has signed one, and what it says about this folder.

use shared::ids::{Incarnation, SourceId};
use shared::json;
use shared::report::ReportReceipt;
use shared::sign::{Purpose, Signed, SigningKeys, fingerprint};
use shared::time::Timestamp;
use shared::wire::INGEST_PATH;

/// What a receipt is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoReceipt {
    /// It is none of this folder's.
    #[error("{0}")]
    Foreign(String),
    /// It knows of reports that this folder has not made.
    #[error(
        "the aggregator has report {watermark} of this folder's life, and the last one here is {last}: it was restored from a copy, or copied"
    )]
    Forked {
        /// The last report that it knows.
        watermark: u64,
        /// The last report that was made here.
        last: u64,
    },
}

/// Reads a receipt that came at `now`; one that was carried came when it was signed.
///
/// # Errors
/// When nobody who may has signed it.
pub fn open(
    keys: &SigningKeys,
    signature: &str,
    body: &[u8],
    now: Option<Timestamp>,
) -> Result<ReportReceipt, NoReceipt> {
    let signed = Signed { method: "POST", path: INGEST_PATH, body };
    let signed_at =
        || fingerprint(signature).map(|(seconds, _)| Timestamp::from_ms(seconds.saturating_mul(1_000)));
    let now = now.or_else(signed_at).unwrap_or_default();
    signed.verify(signature, keys, Purpose::Reporter, now).map_err(|error| {
        NoReceipt::Foreign(format!(
            "the receipt is not signed by the aggregator ({error}): something between answers in its place"
        ))
    })?;
    let text = str::from_utf8(body).unwrap_or_default();
    json::read(text).map_err(|error| NoReceipt::Foreign(format!("the receipt cannot be read: {error}")))
}

/// Whether a receipt is of that life of this reporter, whose last report is `last`.
///
/// # Errors
/// When it is another's, or another folder reports as this one.
pub fn judge(
    receipt: &ReportReceipt,
    source: &SourceId,
    (life, last): (&Incarnation, u64),
) -> Result<(), NoReceipt> {
    if receipt.source != *source || receipt.incarnation != *life {
        return Err(NoReceipt::Foreign("the receipt is another reporter's, or of another life".to_owned()));
    }
    let watermark = receipt.watermark;
    if watermark > last { Err(NoReceipt::Forked { watermark, last }) } else { Ok(()) }
}
