//! The kinds of governance request, and which paths mean which.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::json;

/// What a unit was: the three things that Palveron bills (seed, first sentence).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A verify call.
    Verify,
    /// A tool call over MCP.
    McpToolCall,
    /// An event of an extension.
    ExtensionEvent,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Verify, Self::McpToolCall, Self::ExtensionEvent];

    /// The kind's name on the wire and in storage.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::McpToolCall => "mcp_tool_call",
            Self::ExtensionEvent => "extension_event",
        }
    }

    /// The kind of that name, if there is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One row of the prefix table: a request whose path is under `prefix` is a unit of `kind`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// A path without a trailing slash; it matches itself and everything below it.
    pub prefix: String,
    /// What such a request is counted as.
    pub kind: Kind,
    /// When it is counted; where nothing is said, as the deployment says.
    #[serde(default)]
    pub bill: Option<Bill>,
}

/// When a request is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bill {
    /// When it is allowed, before it is forwarded.
    #[default]
    Allowed,
    /// When the governance service has answered it, with a status below 500.
    Answered,
}

/// Which paths the gateway forwards and what they are counted as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routes(Vec<Route>);

impl Default for Routes {
    fn default() -> Self {
        let route = |prefix: &str, kind| Route { prefix: prefix.to_owned(), kind, bill: None };
        Self(vec![
            route("/v1/verify", Kind::Verify),
            route("/v1/mcp", Kind::McpToolCall),
            route("/v1/extension", Kind::ExtensionEvent),
        ])
    }
}

impl Routes {
    /// The most rows a table may have; each is looked at for every request.
    pub const ROUTES_MAX: usize = 32;

    /// Reads a table from JSON: `[{"prefix":"/v1/verify","kind":"verify"}, …]`.
    ///
    /// # Errors
    /// When it is not such a list, is empty or too long, or a prefix is not a plain path.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let told = |error| format!("routes: {error}");
        // serde would also take a row's fields in a list.
        let _: Vec<Map<String, Value>> = json::read(text).map_err(told)?;
        let routes: Vec<Route> = json::read(text).map_err(told)?;
        if routes.is_empty() || routes.len() > Self::ROUTES_MAX {
            return Err(format!("routes: got {} rows, accepted are 1 to {}", routes.len(), Self::ROUTES_MAX));
        }
        for route in &routes {
            let path = &route.prefix;
            if !path.starts_with('/') || path.ends_with('/') || path.contains(['?', '#', '%', ' ']) {
                return Err(format!(
                    "routes: got prefix {path:?}, accepted is a path such as \"/v1/verify\""
                ));
            }
        }
        Ok(Self(routes))
    }

    /// The paths that are forwarded, each with everything below it.
    pub fn prefixes(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|route| route.prefix.as_str())
    }

    /// The kind of a request to `path` (without its query); the longest matching prefix decides.
    #[must_use]
    pub fn kind_of(&self, path: &str) -> Option<Kind> {
        self.route_of(path).map(|route| route.kind)
    }

    /// The row of a request to `path` (without its query); the longest matching prefix decides.
    #[must_use]
    pub fn route_of(&self, path: &str) -> Option<&Route> {
        let matching = self.0.iter().filter(|route| is_under(path, &route.prefix));
        matching.max_by_key(|route| route.prefix.len())
    }
}

fn is_under(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_map_to_kinds_at_segment_boundaries() {
        let routes = Routes::default();
        let cases = [
            ("/v1/verify", Some(Kind::Verify)),
            ("/v1/verify/batch", Some(Kind::Verify)),
            ("/v1/verifyx", None),
            ("/v1/mcp/tools/call", Some(Kind::McpToolCall)),
            ("/v1/extension/events", Some(Kind::ExtensionEvent)),
            ("/", None),
            ("/v1", None),
        ];
        for (path, kind) in cases {
            assert_eq!(routes.kind_of(path), kind, "{path}");
        }
    }

    #[test]
    fn the_longest_prefix_decides() {
        let table = r#"[{"prefix":"/g","kind":"verify"},{"prefix":"/g/tools","kind":"mcp_tool_call"}]"#;
        let routes = Routes::from_json(table).unwrap();
        assert_eq!(routes.kind_of("/g/tools/x"), Some(Kind::McpToolCall));
        assert_eq!(routes.kind_of("/g/other"), Some(Kind::Verify));
    }

    #[test]
    fn tables_that_cannot_be_meant_are_refused() {
        for bad in [
            "",
            "[]",
            "{}",
            r#"[["/v1","verify"]]"#,
            r#"[{"prefix":"/v1","prefix":"/v2","kind":"verify"}]"#,
            r#"[{"prefix":"v1","kind":"verify"}]"#,
            r#"[{"prefix":"/v1/","kind":"verify"}]"#,
        ] {
            assert!(Routes::from_json(bad).is_err(), "{bad}");
        }
    }
}
