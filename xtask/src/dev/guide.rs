//! What `dev` prints when everything runs: where things are, and lines to paste into another terminal.
//!
//! It must never print a line that would not work as it stands.
#![expect(clippy::print_stdout, reason = "this text is the command's result")]

use serde_json::Value;

use super::settings::Settings;
use crate::clock::this_month;

/// Prints the guide, and `ready` on a line of its own.
pub(super) fn print(
    settings: &Settings,
    (project, sign_in): (&Value, &[(&'static str, String)]),
    lines: &[(&'static str, String)],
    took: &str,
) {
    let get = |name: &str| settings.get(name).unwrap_or_default();
    println!();
    println!("edge        {}", get("EDGE_URL"));
    println!("aggregator  {}", get("AGGREGATOR_URL"));
    println!("upstream    {}   (a demo: it allows everything)", get("UPSTREAM_URL"));
    if let Ok(redis) = settings.get("REDIS_URL") {
        println!("redis       {redis}   (it has the homes)");
    }
    match settings.get("FAKE_STRIPE_LISTEN") {
        Ok(_) => println!("stripe      {}   (simulated: no money moves)", get("STRIPE_API_BASE")),
        Err(_) => println!("stripe      your account: STRIPE_SECRET_KEY is set"),
    }
    println!("settings    target/dev/env   (keys and tokens; `source` it)");
    println!("logs        target/dev/logs");
    let say =
        |field: &str| project.get(field).map(|value| value.to_string().replace('"', "")).unwrap_or_default();
    println!(
        "project     {}: plan {}, {} requests a minute, {} units a month",
        say("id"),
        say("plan"),
        say("rpm"),
        say("included")
    );
    for (whom, url) in sign_in {
        println!("sign in     {url}   ({whom}; once, within an hour)");
    }
    for (title, line) in lines {
        println!();
        println!("# {title}");
        println!("{line}");
    }
    println!();
    println!("started in {took}; Ctrl-C stops everything");
    println!("ready");
}

/// Titles and lines.
pub(super) fn curl_lines(settings: &Settings) -> Vec<(&'static str, String)> {
    let get = |name: &str| settings.get(name).unwrap_or_default();
    let (edge, aggregator, key) = (get("EDGE_URL"), get("AGGREGATOR_URL"), get("PROJECT_KEY"));
    let (first_day, last_day) = this_month();
    let request = |path: &str, agent: &str, body: &str| {
        format!(
            "curl -i {edge}{path} -H 'Authorization: Bearer {key}' -H 'Palveron-Agent: {agent}' \
             -H 'Content-Type: application/json' -d '{body}'"
        )
    };
    let mut lines = vec![
        ("a verification", request("/v1/verify", "support-bot", r#"{"prompt":"May I refund this order?"}"#)),
        ("a tool call over MCP", request("/v1/mcp/tools/call", "release-bot", r#"{"tool":"deploy"}"#)),
        (
            "an event of the browser extension",
            request("/v1/extension/events", "browser", r#"{"event":"paste"}"#),
        ),
        (
            "this month's usage, by day and by agent",
            format!(
                "curl -s '{aggregator}/api/v1/usage?from={first_day}&to={last_day}' -H 'Authorization: Bearer {}'",
                get("ADMIN_TOKEN")
            ),
        ),
        (
            "what is left; asking counts nothing",
            format!("curl -s {edge}/v1/quota -H 'Authorization: Bearer {key}'"),
        ),
        ("without a key: 401", format!("curl -i {edge}/v1/verify -d '{{}}'")),
        (
            "what happens, as it happens",
            format!("curl -sN {aggregator}/api/v1/events -H 'Authorization: Bearer {}'", get("ADMIN_TOKEN")),
        ),
    ];
    if settings.has("FAKE_STRIPE_LISTEN") {
        lines.push((
            "upgrade to pro: open the url that this answers and pay there",
            format!(
                "curl -s {aggregator}/api/v1/stripe/checkout -H 'Authorization: Bearer {}' \
                 -H 'Content-Type: application/json' -d '{{\"plan\":\"pro\",\"interval\":\"month\"}}'",
                get("ADMIN_TOKEN")
            ),
        ));
    }
    lines
}
