//! Errors as users meet them: problem details (RFC 9457) with a stable code.
//!
//! Each code has a status, a title, and a page in `docs/errors/`. Codes are never reused.

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};

use serde::{Deserialize, Serialize};

use crate::excerpt::beginning;
use crate::time::Timestamp;

/// The media type of a problem's body.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// Where the pages about errors are published; the code is appended.
const TYPE_BASE: &str = "https://docs.palveron.com/errors/";

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident => $code:literal, $status:literal, $title:literal;)*) => {
        /// What went wrong, in one word that programs can branch on.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
        }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code as it is written in answers and in `docs/errors/`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// The HTTP status it is answered with.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// A short summary that is the same for every occurrence (RFC 9457 §3.1.3).
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }

            /// The code's page, as `docs/errors/` has it: when it happens and what to do.
            #[must_use]
            pub const fn page(self) -> &'static str {
                // A code without a page does not compile.
                match self {
                    $(Self::$name => include_str!(concat!("../../docs/errors/", $code, ".md")),)*
                }
            }
        }
    };
}

codes! {
    /// A body is not JSON.
    MalformedJson => "malformed_json", 400, "The body is not JSON";
    /// The request itself is not HTTP as we accept it.
    BadRequest => "bad_request", 400, "The request cannot be read";
    /// No key or token, or one that is unknown or revoked.
    Unauthorized => "unauthorized", 401, "A known key is needed";
    /// A signature between machines is missing or wrong.
    SignatureRejected => "signature_rejected", 401, "The signature is not by a known key";
    /// A signature between machines is too old or from the future.
    SignatureExpired => "signature_expired", 401, "The signature's time is too far away";
    /// The period's allowance is spent.
    QuotaExhausted => "quota_exhausted", 402, "The monthly quota is used up";
    /// The project does not serve requests at present.
    ProjectSuspended => "project_suspended", 403, "The project is suspended";
    /// The plan permits no further agent in this period.
    AgentLimit => "agent_limit", 403, "The plan's agents are all in use";
    /// The token is known but its role does not permit this.
    Forbidden => "forbidden", 403, "This role may not do that";
    /// There is nothing at this path.
    NotFound => "not_found", 404, "There is nothing here";
    /// There is no such project, or it is not yours.
    ProjectUnknown => "project_unknown", 404, "There is no such project";
    /// There is no such key.
    KeyUnknown => "key_unknown", 404, "There is no such key";
    /// The path exists but not with this method.
    MethodNotAllowed => "method_not_allowed", 405, "This method is not accepted here";
    /// The client took too long to send its request.
    RequestTimeout => "request_timeout", 408, "The request took too long to arrive";
    /// There is already a project of that id.
    ProjectExists => "project_exists", 409, "There is already such a project";
    /// The body is larger than accepted.
    BodyTooLarge => "body_too_large", 413, "The body is too large";
    /// The path and query are longer than accepted.
    UriTooLong => "uri_too_long", 414, "The address is too long";
    /// The body is not of the accepted media type.
    UnsupportedMediaType => "unsupported_media_type", 415, "The body's media type is not accepted";
    /// A field's value is not accepted.
    FieldRejected => "field_rejected", 422, "A field is not accepted";
    /// The minute's requests are used up.
    RateLimited => "rate_limited", 429, "Too many requests in this minute";
    /// What is left of the quota is held elsewhere for a moment.
    QuotaContended => "quota_contended", 429, "The rest of the quota is in use elsewhere";
    /// The headers are larger than accepted.
    HeadersTooLarge => "headers_too_large", 431, "The headers are too large";
    /// Something broke on our side.
    Internal => "internal", 500, "Something broke on our side";
    /// The governance service did not answer.
    UpstreamUnavailable => "upstream_unavailable", 502, "The governance service did not answer";
    /// The project's home cannot decide at present.
    HomeUnavailable => "home_unavailable", 503, "The limits cannot be checked at present";
    /// The service is starting or its store cannot be reached.
    NotReady => "not_ready", 503, "The service is not ready";
    /// The plan permits no further member.
    MemberLimit => "member_limit", 403, "The plan's members are all in use";
    /// The project has a member of that name.
    MemberExists => "member_exists", 409, "There is already such a member";
    /// The project would be left without an owner.
    LastOwner => "last_owner", 409, "A project keeps an owner";
    /// A month cannot be corrected as asked.
    CorrectionRefused => "correction_refused", 409, "The month cannot be corrected so";
    /// The process shows as many live streams as it can.
    TooManyStreams => "too_many_streams", 429, "Too many live streams are open";
    /// A delivery that is said to be Stripe's is not signed by it.
    DeliveryUnverified => "delivery_unverified", 400, "The delivery is not signed by Stripe";
    /// The project cannot buy this now.
    NotBillable => "not_billable", 409, "The project cannot buy this";
    /// Payments are not set up, or Stripe cannot be reached.
    PaymentsUnavailable => "payments_unavailable", 503, "Payments are not available at present";
    /// The plan has no overage to turn on.
    OverageNotOffered => "overage_not_offered", 409, "The plan has no overage";
    /// An Idempotency-Key came again with another body.
    IdempotencyKeyReused => "idempotency_key_reused", 409, "The Idempotency-Key was used for another request";
    /// An e-mail address and a password that do not sign in.
    SignInRejected => "sign_in_rejected", 401, "E-mail address and password do not sign in";
    /// A sign-in link or an invitation that is unknown, used or too old.
    LinkRejected => "link_rejected", 401, "The link is used, withdrawn or too old";
    /// A sign-in that comes back from an identity provider and was not begun in this browser, too long ago, or came back before.
    ErrandRejected => "errand_rejected", 401, "This sign-in was not begun here, or is over";
    /// What an identity provider answers is not accepted.
    IdentityRejected => "identity_rejected", 401, "The identity provider's answer is not accepted";
    /// An identity provider has not verified the person's address.
    EmailUnverified => "email_unverified", 403, "The e-mail address is not verified";
    /// Somebody whom an identity provider has proven, and who has neither account nor invitation.
    AccountUnknown => "account_unknown", 403, "Nobody of that address may sign in here";
    /// The identity provider cannot be reached or understood.
    ProviderFailed => "provider_failed", 502, "The identity provider fails at present";
    /// Too many attempts to sign in failed.
    TooManyAttempts => "too_many_attempts", 429, "Too many attempts to sign in failed";
    /// A call with a session's cookie that no page of ours sent.
    CsrfRejected => "csrf_rejected", 403, "The call was not sent by our own page";
    /// There is already an account of that address.
    AccountExists => "account_exists", 409, "There is already such an account";
    /// There is already a contract of that id.
    ContractExists => "contract_exists", 409, "There is already such a contract";
    /// A contract cannot be made or changed as asked.
    ContractRefused => "contract_refused", 409, "The contract cannot be so";
    /// The term of a reporter's contract is over, and so is the time for its last reports.
    ContractEnded => "contract_ended", 403, "The contract has ended";
    /// There is already a reporter of that id.
    ReporterExists => "reporter_exists", 409, "There is already such a reporter";
    /// Two data folders report under the name of one reporter.
    ReporterForked => "reporter_forked", 409, "Another data folder reports under this name";
}

impl ErrorCode {
    /// The code of that name, if there is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text)
    }
}

/// A problem's body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Problem {
    /// The page about this code.
    #[serde(rename = "type")]
    pub type_url: String,
    /// The code's summary.
    pub title: String,
    /// The HTTP status again, for bodies that travel alone.
    pub status: u16,
    /// The code.
    pub code: String,
    /// What happened this time and what to do next.
    pub detail: String,
    /// Which field, header or parameter was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// When the limit that denied the request begins anew, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resets_at: Option<String>,
    /// Where to get more quota.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade_url: Option<String>,
}

impl Problem {
    /// A problem; `detail` says what happened and what to do next.
    #[must_use]
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self::of(code, detail.into())
    }

    fn of(code: ErrorCode, detail: String) -> Self {
        Self {
            type_url: format!("{TYPE_BASE}{}", code.as_str()),
            title: code.title().to_owned(),
            status: code.status(),
            code: code.as_str().to_owned(),
            detail,
            field: None,
            resets_at: None,
            upgrade_url: None,
        }
    }

    /// A refused field: which, what was got, what is accepted.
    #[must_use]
    pub fn field(field: &str, got: &str, accepts: &str) -> Self {
        // Enough to recognise the value, too little to be a vehicle for it.
        const GOT_CHARS_MAX: usize = 40;
        let got = beginning(got, GOT_CHARS_MAX);
        let detail = format!("{field}: got {got:?}, accepted is {accepts}");
        Self::of_field(field, detail)
    }

    /// A refused field that is not there: which, and what is accepted.
    #[must_use]
    pub fn missing(field: &str, accepts: &str) -> Self {
        Self::of_field(field, format!("{field} is missing, accepted is {accepts}"))
    }

    fn of_field(field: &str, detail: String) -> Self {
        let mut problem = Self::of(ErrorCode::FieldRejected, detail);
        problem.field = Some(field.to_owned());
        problem
    }

    /// Adds when the limit begins anew.
    #[must_use]
    pub fn resets_at(mut self, at: Timestamp) -> Self {
        self.resets_at = Some(at.to_string());
        self
    }

    /// Adds where to get more quota.
    #[must_use]
    pub fn upgrade_url(mut self, url: &str) -> Self {
        self.upgrade_url = Some(url.to_owned());
        self
    }

    /// The body's text.
    #[must_use]
    pub fn to_json(&self) -> String {
        crate::json::write(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_read_back() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::parse(code.as_str()), Some(*code));
            assert!((400..=599).contains(&code.status()), "{code:?}");
        }
    }

    #[test]
    fn a_problem_is_written_as_rfc_9457_shows_it() {
        let problem = Problem::field("from", "2026-02-30", "a date such as 2026-05-01");
        assert_eq!(
            problem.to_json(),
            concat!(
                r#"{"type":"https://docs.palveron.com/errors/field_rejected","title":"A field is not accepted","#,
                r#""status":422,"code":"field_rejected","#,
                r#""detail":"from: got \"2026-02-30\", accepted is a date such as 2026-05-01","field":"from"}"#
            )
        );
    }
}
