//! Schemathesis against the running aggregator: it makes calls from `/openapi.json` alone, sensible and senseless
//! ones, and compares every answer with what the document says.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::Value;
use tests::config;
use tests::stack::{Options, Part, Stack};

/// What the aggregator may wait for; beside it only the simulated Stripe runs.
const NOT_STARTED: [Part; 2] = [Part::Edge, Part::Upstream];

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_finds_nothing_that_the_document_does_not_say() -> Result<()> {
    examine(&["token", "create", "--operator", "--json"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_finds_nothing_that_the_document_does_not_say() -> Result<()> {
    examine(&["token", "create", "--project", "demo", "--role", "owner", "--json"]).await
}

async fn examine(token: &[&str]) -> Result<()> {
    let stack =
        Stack::start_with(Options { later: NOT_STARTED.to_vec(), stripe: true, ..Options::default() })
            .await?;
    stack.meter(&["project", "create", "demo", "--plan", "business"])?;
    let token = field(&stack.meter(token)?, "token")?;
    let (program, examples) = (config::schemathesis()?, config::examples()?);
    let settings = settings(&stack)?;
    let mut command = Command::new(program);
    // What it finds is shown whole: tokens of this stack die with it.
    command
        .current_dir(&settings)
        .args(["--config-file", "schemathesis.toml", "run"])
        .arg(format!("http://{}/openapi.json", stack.aggregator()))
        .args(["--header", &format!("Authorization: Bearer {token}")])
        // A live stream has no end that it could wait for.
        .args(["--exclude-path", "/api/v1/events"])
        .args(["--max-examples", &examples.count.to_string(), "--continue-on-failure"])
        .args(["--generation-database", "none", "--no-color", "--output-sanitize", "false"]);
    if let Some(seed) = examples.seed {
        command.args(["--seed", &seed.to_string()]);
    }
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    // A run that made no calls would have found nothing either.
    ensure!(told.contains(" passed"), "{told}");
    stack.finish()
}

/// A folder with Schemathesis' settings, to which names are added that there are.
fn settings(stack: &Stack) -> Result<std::path::PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/schemathesis");
    let folder = stack.scratch().join("schemathesis");
    std::fs::create_dir(&folder)?;
    std::fs::copy(source.join("hooks.py"), folder.join("hooks.py"))?;
    let mut text = std::fs::read_to_string(source.join("schemathesis.toml"))?;
    let key = field(&stack.meter(&["key", "create", "--project", "demo", "--json"])?, "id")?;
    let token = stack.meter(&["token", "create", "--project", "demo", "--role", "viewer", "--json"])?;
    let member = ["member", "add", "--project", "demo", "--name", "ada", "--role", "viewer", "--json"];
    let names = [
        ("keys/{name}", key),
        ("tokens/{name}", field(&token, "id")?),
        ("members/{name}", field(&stack.meter(&member)?, "id")?),
    ];
    for (path, name) in names {
        writeln!(
            text,
            "\n[[operations]]\ninclude-path-regex = '{}'\nparameters.name = \"{name}\"",
            path.replace('{', "\\{").replace('}', "\\}")
        )?;
    }
    std::fs::write(folder.join("schemathesis.toml"), text)?;
    Ok(folder)
}

fn field(json: &str, name: &str) -> Result<String> {
    let value: Value = serde_json::from_str(json)?;
    let field = value.get(name).and_then(Value::as_str);
    field.map(str::to_owned).ok_or_else(|| anyhow::anyhow!("{json} has no {name}"))
}
