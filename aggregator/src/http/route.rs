//! One row of the interface: what is called, by whom, with what, and what it answers.
//!
//! The router, the OpenAPI document and the tests of who may do what are all made from these rows, so that
//! none of them can know of an endpoint that the others do not.

use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{self, MethodRouter};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use shared::problem::ErrorCode;

use super::field::Field;
use super::site::Site;
use crate::access::{Permission, Role};

/// Who may call an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Anybody.
    Anyone,
    /// Anybody who proves by the call itself who it is.
    SigningIn,
    /// People who signed in, for what concerns themselves.
    Person,
    /// Machines that sign with a shared key.
    Signed,
    /// Stripe, which signs its deliveries.
    Stripe,
    /// Programs that report units of a project, by a token made for that, and operators.
    Emitter,
    /// Operators, be it by a token or by a session, for what concerns no single project.
    Operator,
    /// Tokens and people that have this permission in the project that the call names.
    InProject(Permission),
}

impl Who {
    /// The roles of a project's members that may call it, beside operators.
    #[must_use]
    pub fn roles(self) -> &'static [Role] {
        match self {
            Self::Anyone
            | Self::SigningIn
            | Self::Person
            | Self::Signed
            | Self::Stripe
            | Self::Emitter
            | Self::Operator => &[],
            Self::InProject(permission) => permission.roles(),
        }
    }

    /// Whether a token or a session is needed, whichever it is.
    #[must_use]
    pub fn needs_token(self) -> bool {
        match self {
            Self::Anyone | Self::SigningIn | Self::Person | Self::Signed | Self::Stripe | Self::Emitter => {
                false
            }
            Self::Operator | Self::InProject(_) => true,
        }
    }
}

/// What one answer carries.
#[derive(Debug, Clone, Copy)]
pub enum Content {
    /// JSON of this schema.
    Json(fn(&mut SchemaGenerator) -> Schema),
    /// Text of this media type.
    Text(&'static str),
    /// Nothing.
    Empty,
}

/// An answer that is no problem.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// What it says, in a sentence.
    pub says: &'static str,
    /// What it carries; several where the caller chooses.
    pub content: Content,
}

/// One endpoint.
#[derive(Debug, Clone)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path, with `{project}` and other names where it varies.
    pub path: &'static str,
    /// Who may call it.
    pub who: Who,
    /// What it does, in a few words; unique.
    pub summary: &'static str,
    /// What the query may have.
    pub query: &'static [Field],
    /// The body's fields; `None` where no body is read.
    pub body: Option<&'static [Field]>,
    /// What is answered when all goes well, the usual answer first.
    pub answers: Vec<Answer>,
    /// Whether it only asks, although it is posted, because the question is too long for an address.
    pub asks: bool,
    /// Refusals beyond those that follow from the rest of the row.
    pub refusals: Vec<ErrorCode>,
    handler: MethodRouter<Site>,
}

impl Route {
    fn new(
        (method, path, who): (Method, &'static str, Who),
        summary: &'static str,
        handler: MethodRouter<Site>,
    ) -> Self {
        Self {
            method,
            path,
            who,
            summary,
            handler,
            query: &[],
            body: None,
            answers: Vec::new(),
            asks: false,
            refusals: Vec::new(),
        }
    }

    /// An endpoint that shows something and changes nothing.
    pub(super) fn get<H: Handler<T, Site>, T: 'static>(
        path: &'static str,
        who: Who,
        summary: &'static str,
        handler: H,
    ) -> Self {
        Self::new((Method::GET, path, who), summary, routing::get(handler))
    }

    /// An endpoint that makes or does something.
    pub(super) fn post<H: Handler<T, Site>, T: 'static>(
        path: &'static str,
        who: Who,
        summary: &'static str,
        handler: H,
    ) -> Self {
        Self::new((Method::POST, path, who), summary, routing::post(handler))
    }

    /// An endpoint that sets something.
    pub(super) fn put<H: Handler<T, Site>, T: 'static>(
        path: &'static str,
        who: Who,
        summary: &'static str,
        handler: H,
    ) -> Self {
        Self::new((Method::PUT, path, who), summary, routing::put(handler))
    }

    /// An endpoint that changes parts of something.
    pub(super) fn patch<H: Handler<T, Site>, T: 'static>(
        path: &'static str,
        who: Who,
        summary: &'static str,
        handler: H,
    ) -> Self {
        Self::new((Method::PATCH, path, who), summary, routing::patch(handler))
    }

    /// An endpoint that ends something.
    pub(super) fn delete<H: Handler<T, Site>, T: 'static>(
        path: &'static str,
        who: Who,
        summary: &'static str,
        handler: H,
    ) -> Self {
        Self::new((Method::DELETE, path, who), summary, routing::delete(handler))
    }

    /// Only asks, and changes nothing.
    pub(super) fn asking(self) -> Self {
        Self { asks: true, ..self }
    }

    /// What the query may have.
    pub(super) fn query(self, query: &'static [Field]) -> Self {
        Self { query, ..self }
    }

    /// What the body's fields are.
    pub(super) fn body(self, body: &'static [Field]) -> Self {
        Self { body: Some(body), ..self }
    }

    /// Answers `T` as JSON.
    pub(super) fn answers<T: JsonSchema>(self, status: u16, says: &'static str) -> Self {
        self.answer(status, says, Content::Json(|schemas| schemas.subschema_for::<T>()))
    }

    /// Answers a text.
    pub(super) fn answers_text(self, status: u16, says: &'static str, media_type: &'static str) -> Self {
        self.answer(status, says, Content::Text(media_type))
    }

    fn answer(mut self, status: u16, says: &'static str, content: Content) -> Self {
        self.answers.push(Answer { status, says, content });
        self
    }

    /// May be refused with these codes too.
    pub(super) fn refuses(mut self, codes: &[ErrorCode]) -> Self {
        self.refusals.extend(codes);
        self
    }

    /// The handler, for the router.
    pub(super) fn handler(&self) -> MethodRouter<Site> {
        self.handler.clone()
    }

    /// Whether it changes something on behalf of a token or a session that stands for one; such calls may be named (`Idempotency-Key`).
    #[must_use]
    pub fn changes(&self) -> bool {
        self.who.needs_token() && self.method != Method::GET && !self.asks
    }

    /// The names that vary in the path.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }

    /// Every code that it may be refused with, sorted.
    #[must_use]
    pub fn codes(&self) -> Vec<ErrorCode> {
        use ErrorCode::{
            BadRequest, BodyTooLarge, CsrfRejected, FieldRejected, Forbidden, HeadersTooLarge, Internal,
            MalformedJson, NotReady, ProjectUnknown, RequestTimeout, Unauthorized, UnsupportedMediaType,
            UriTooLong,
        };
        let mut codes = vec![BadRequest, UriTooLong, HeadersTooLarge, Internal, NotReady];
        match self.who {
            Who::Anyone => {}
            Who::SigningIn => codes.push(CsrfRejected),
            Who::Person => {
                codes.push(Unauthorized);
                if self.method != Method::GET {
                    codes.push(CsrfRejected);
                }
            }
            Who::Signed => codes.extend([ErrorCode::SignatureRejected, ErrorCode::SignatureExpired]),
            Who::Stripe => codes.extend([ErrorCode::DeliveryUnverified, ErrorCode::PaymentsUnavailable]),
            Who::Operator => codes.extend([Unauthorized, Forbidden]),
            Who::Emitter | Who::InProject(_) => codes.extend([Unauthorized, Forbidden, ProjectUnknown]),
        }
        if self.body.is_some() {
            codes.extend([MalformedJson, BodyTooLarge, UnsupportedMediaType, FieldRejected, RequestTimeout]);
        }
        if !self.query.is_empty() {
            codes.push(FieldRejected);
        }
        if self.asks {
            codes.push(CsrfRejected);
        }
        if self.changes() {
            codes.extend([
                FieldRejected,
                BodyTooLarge,
                RequestTimeout,
                CsrfRejected,
                ErrorCode::IdempotencyKeyReused,
            ]);
        }
        codes.extend(&self.refusals);
        codes.sort();
        codes.dedup();
        codes
    }
}
