//! The edge beside the reporter: the real bundle in workerd, deciding from a lease, with an aggregator behind it.

use std::net::SocketAddr;

use anyhow::Result;
use tests::stack::{Options, Part, Stack};

use crate::generator::Load;
use crate::{AGENTS, CHECK};

/// The project's limits, which no load reaches.
const LIMITS: [&str; 6] = ["--plan", "enterprise", "--rpm", "1000000", "--included", "1000000000"];

/// A running edge.
pub(crate) struct Edge {
    stack: Stack,
    key: String,
}

impl Edge {
    /// Starts it, with a project and its key.
    pub(crate) async fn start() -> Result<Self> {
        let stack = Stack::start_with(Options { leases: true, ..Options::default() }).await?;
        stack.meter(&[&["project", "create", "bench"][..], &LIMITS].concat())?;
        let key = stack.meter(&["key", "create", "--project", "bench"])?;
        Ok(Self { stack, key })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.stack.edge()
    }

    /// workerd's process.
    pub(crate) fn process(&self) -> Result<u32> {
        self.stack.process(Part::Edge)
    }

    /// The reporter's question, with the key that an edge wants.
    pub(crate) fn load(&self, connections: usize) -> Load {
        let body = |agent: usize| format!(r#"{{"kind":"verify","agent":"bot-{agent}"}}"#);
        let bodies: Vec<String> = (0..AGENTS).map(body).collect();
        Load::new(CHECK, &bodies, connections, Some(&self.key))
    }

    /// Ends it.
    pub(crate) fn finish(self) -> Result<()> {
        self.stack.finish()
    }
}
