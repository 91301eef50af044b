//! What is forwarded: as it came, without the key, with the caller's signed identity, piece by piece.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use shared::kind::Kind;
use shared::problem::ErrorCode;
use shared::sign::{Purpose, SIGNATURE_HEADER, Signed};
use tests::client::Call;
use tests::clock;
use tests::project::{Limits, Project};
use tests::raw::{Wire, exchange};
use tests::stack::{Options, Stack};
use tests::stand_in::StandIn;

const PIECE_MAX: Duration = Duration::from_secs(10);

#[tokio::test]
async fn the_upstream_gets_the_request_and_its_answer_comes_back() -> Result<()> {
    let stack = Stack::start().await?;
    let project = Project::ready(&stack, "through", Limits::WIDE).await?;
    let body = "x".repeat(3_000_000);
    let call = Call::post("/v1/mcp/tools/a%20b?q=%C3%A4&stream=0", body).bearer(&project.key).agent("bot");
    // The demo upstream refuses whatever the edge has not signed, so this answer shows the signature too.
    let got: Value = call.send(stack.edge()).await?.ok()?;
    let expected = json!({"decision": "allow", "project": "through", "agent": "bot",
        "path": "/v1/mcp/tools/a%20b?q=%C3%A4&stream=0", "bytes": 3_000_000});
    assert_eq!(got, expected);
    let unsigned = Call::post("/v1/verify", "{}").send(stack.upstream()).await?;
    unsigned.problem(ErrorCode::SignatureRejected)?;
    stack.finish()
}

#[tokio::test]
async fn the_upstream_sees_who_asks_and_neither_the_key_nor_what_a_client_made_up() -> Result<()> {
    let upstream = StandIn::start().await?;
    let stack =
        Stack::start_with(Options { upstream: Some(upstream.address()), ..Options::default() }).await?;
    let project = Project::ready(&stack, "seen", Limits::WIDE).await?;
    let call = project
        .call(Kind::Verify, "bot")
        .header("palveron-project", "other")
        .header("Palveron-Key-Id", "k9999")
        .header("palveron-signature", "t=1,k=u1,v1=00")
        .header("PALVERON-Role", "owner")
        .header("palveron_project", "other")
        .header("x-request-id", "kept");
    let answer = call.send(stack.edge()).await?;
    assert_eq!((answer.status, answer.text().as_str()), (200, "seen"));
    assert_eq!(answer.header("x-governance"), Some("kept"));
    assert_eq!(answer.header("palveron-tokens-in"), None, "the upstream's own headers stay inside");

    let seen = upstream.seen();
    let head = seen.first().context("the upstream has seen nothing")?;
    let named = |name: &str| -> Vec<_> {
        head.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect()
    };
    assert_eq!(named("authorization"), Vec::<&str>::new());
    assert_eq!(named("palveron-role"), Vec::<&str>::new());
    assert_eq!(named("palveron_project"), Vec::<&str>::new());
    assert_eq!(named("x-request-id"), ["kept"]);
    assert_eq!(named("palveron-project"), ["seen"]);
    assert_eq!(named("palveron-agent"), ["bot"]);
    assert_eq!(named("palveron-key-id"), [project.key_id.as_str()]);
    let who = format!("seen\nbot\n{}", project.key_id);
    let signed = Signed { method: "POST", path: "/v1/verify", body: who.as_bytes() };
    let signatures = named(SIGNATURE_HEADER);
    assert_eq!(signatures.len(), 1);
    signed.verify(signatures[0], &stack.signing_keys()?, Purpose::Upstream, clock::now())?;
    let text = format!("{head:?}");
    assert!(!text.contains(&project.key), "the key has gone through");
    stack.finish()
}

#[tokio::test]
async fn bodies_stream_through_in_both_directions() -> Result<()> {
    let stack = Stack::start().await?;
    let project = Project::ready(&stack, "stream", Limits::WIDE).await?;
    let mut wire = Wire::open(stack.edge()).await?;
    let head = format!(
        "POST /v1/verify?stream=1 HTTP/1.1\r\nHost: edge\r\nAuthorization: Bearer {}\r\nTransfer-Encoding: chunked\r\n\r\n",
        project.key
    );
    wire.write(head).await;
    // Each piece is answered before the next is sent: nothing on the way can have waited for the whole.
    for piece in ["first-piece", "second-piece", "third-piece"] {
        wire.write(format!("{:x}\r\n{piece}\r\n", piece.len())).await;
        wire.read_until(piece, PIECE_MAX).await?;
    }
    wire.write("0\r\n\r\n").await;
    let answer = wire.answer(PIECE_MAX).await?;
    assert_eq!(answer.status(), Some(200), "{}", answer.text());
    assert!(answer.header("ratelimit").is_some() && answer.header("transfer-encoding").is_some());
    project.reports(&stack, 1).await?;
    stack.finish()
}

#[tokio::test]
async fn the_prefix_table_is_configuration() -> Result<()> {
    let routes = json!([{"prefix": "/govern", "kind": "verify"}, {"prefix": "/govern/tools", "kind": "mcp_tool_call"}]);
    let stack = Stack::start_with(Options { routes: Some(routes.to_string()), ..Options::default() }).await?;
    let project = Project::ready(&stack, "routes", Limits::WIDE).await?;
    let post = |path: &str| Call::post(path, "{}").bearer(&project.key);
    for path in ["/govern", "/govern/x", "/govern/tools", "/govern/tools/y"] {
        assert_eq!(post(path).send(stack.edge()).await?.status, 200, "{path}");
    }
    for path in ["/v1/verify", "/governance", "/"] {
        post(path).send(stack.edge()).await?.problem(ErrorCode::NotFound)?;
    }
    let usage = project.reports(&stack, 4).await?;
    let expected = [("verify".to_owned(), 2), ("mcp_tool_call".to_owned(), 2)];
    assert_eq!(usage.by_kind(), expected.into());
    stack.finish()
}

#[tokio::test]
async fn a_path_is_counted_and_forwarded_as_one_and_the_same() -> Result<()> {
    let upstream = StandIn::start().await?;
    let stack =
        Stack::start_with(Options { upstream: Some(upstream.address()), ..Options::default() }).await?;
    let project = Project::ready(&stack, "paths", Limits::WIDE).await?;
    let send = async |path: &str| {
        let head = format!("POST {path} HTTP/1.1\r\nHost: edge\r\nAuthorization: Bearer {}\r\n", project.key);
        exchange(stack.edge(), format!("{head}Content-Length: 0\r\n\r\n")).await
    };
    // Whoever climbs out of a prefix is judged by where the path leads.
    for path in
        ["/v1/verify/../../admin", "/v1/verify/..", "/v1/mcp/%2e%2e/admin", "/v1/verify/%2E%2e/%2e./x"]
    {
        let answer = send(path).await?;
        assert_eq!(answer.status(), Some(404), "{path}: {}", answer.text());
    }
    // What the service may resolve after us is no path of ours.
    for path in ["/v1/mcp/a%2fb", "/v1/mcp/..%2f..%2fadmin", "/v1/mcp/..%5cadmin", "/v1/mcp/a%00b"] {
        let answer = send(path).await?;
        assert_eq!(answer.status(), Some(400), "{path}: {}", answer.text());
    }
    assert_eq!(upstream.seen().len(), 0);
    let kept = [
        ("/v1/extension/../mcp/x", "/v1/mcp/x"),
        ("/v1/mcp/a%20b", "/v1/mcp/a%20b"),
        ("/v1/mcp/a%252fb", "/v1/mcp/a%252fb"),
        ("/v1/mcp/x?a=/../..&b=%20", "/v1/mcp/x?a=/../..&b=%20"),
    ];
    for (path, forwarded) in kept {
        assert_eq!(send(path).await?.status(), Some(200), "{path}");
        let seen = upstream.seen();
        let got = seen.last().and_then(|head| head.uri.path_and_query()).map(ToString::to_string);
        assert_eq!(got.as_deref(), Some(forwarded), "{path}");
    }
    let usage = project.reports(&stack, 4).await?;
    assert_eq!(usage.by_kind(), [("mcp_tool_call".to_owned(), 4)].into());
    stack.finish()
}
