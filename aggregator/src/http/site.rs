//! What every handler is given: the [`App`], and what belongs to answering requests alone.

use std::sync::Arc;

use axum::extract::FromRef;
use shared::key::MetricsToken;

use super::health::Readiness;
use super::server::Timeouts;
use super::streams::Streams;
use crate::app::App;

/// The state of the HTTP interface; clones are the same.
#[derive(Debug, Clone)]
pub struct Site {
    pub(super) app: App,
    pub(super) timeouts: Timeouts,
    pub(super) readiness: Arc<Readiness>,
    pub(super) streams: Streams,
    pub(super) metrics_token: Option<MetricsToken>,
}

impl Site {
    /// The interface to these parts, whose requests may take so long to arrive.
    #[must_use]
    pub fn new(app: App, timeouts: Timeouts) -> Self {
        Self { app, timeouts, readiness: Arc::default(), streams: Streams::default(), metrics_token: None }
    }

    /// The same, whose numbers are for those alone who show that token, where there is one.
    #[must_use]
    pub fn with_metrics_token(self, token: Option<MetricsToken>) -> Self {
        Self { metrics_token: token, ..self }
    }

    /// How many live streams are open.
    #[must_use]
    pub fn open_streams(&self) -> usize {
        self.streams.open()
    }

    /// Ends every live stream, and those that begin later: they have no end of their own.
    pub fn end_streams(&self) {
        self.streams.end();
    }
}

/// Most handlers need nothing else.
impl FromRef<Site> for App {
    fn from_ref(site: &Site) -> Self {
        site.app.clone()
    }
}
