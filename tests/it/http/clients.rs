//! What others make of our OpenAPI documents: a linter reads them, and clients that common makers of clients make from
//! them call the real servers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::client::Call;
use tests::config;
use tests::stack::Stack;

/// The documents, and what clients of them are called.
const DOCUMENTS: [(&str, &str); 2] = [("/openapi.json", "aggregator"), ("/openapi-edge.json", "edge")];

#[test]
fn redocly_finds_no_error_in_the_documents() -> Result<()> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let mut redocly = program(&config::openapi_tools()?, "redocly");
    // It would tell its makers of each run, and ask them for newer releases.
    redocly.env("REDOCLY_TELEMETRY", "off").env("REDOCLY_SUPPRESS_UPDATE_NOTICE", "true");
    redocly.arg("lint").args(["openapi.json", "openapi-edge.json"].map(|name| docs.join(name)));
    run(&mut redocly)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_was_made_in_python_calls_both_servers() -> Result<()> {
    let stack = Stack::start().await?;
    let folder = folder(&stack, "python").await?;
    let python = config::openapi_python()?;
    // It would run formatters over what it makes, and knows metrics and XML as text alone.
    fs::write(
        folder.join("settings.yml"),
        "post_hooks: []\ncontent_type_overrides: \
         {application/openmetrics-text: text/plain, application/xml: text/plain}\n",
    )?;
    for (_, name) in DOCUMENTS {
        let mut make = Command::new(&python);
        make.args(["-m", "openapi_python_client", "generate", "--meta", "none", "--config", "settings.yml"])
            .args(["--fail-on-warning", "--path", &format!("{name}.json")])
            .args(["--output-path", &format!("{name}_client")])
            .current_dir(&folder);
        run(&mut make)?;
    }
    call_with(&stack, &folder, Command::new(python).arg("calls.py")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_was_made_in_typescript_calls_both_servers() -> Result<()> {
    let stack = Stack::start().await?;
    let (folder, tools) = (folder(&stack, "typescript").await?, config::openapi_tools()?);
    std::os::unix::fs::symlink(tools.join("node_modules").canonicalize()?, folder.join("node_modules"))?;
    fs::write(folder.join("package.json"), r#"{"type":"module"}"#)?;
    for (_, name) in DOCUMENTS {
        let mut make = program(&tools, "openapi-typescript");
        run(make.current_dir(&folder).args([&format!("{name}.json"), "--output", &format!("{name}.d.ts")]))?;
    }
    let mut compile = program(&tools, "tsc");
    compile.args(["--strict", "--target", "es2022", "--module", "nodenext", "--skipLibCheck", "calls.ts"]);
    run(compile.current_dir(&folder))?;
    call_with(&stack, &folder, Command::new("node").arg("calls.js")).await
}

/// A folder with both documents as they are served, and the calls that clients of a language make.
async fn folder(stack: &Stack, language: &str) -> Result<PathBuf> {
    let folder = stack.scratch().join(language);
    fs::create_dir(&folder)?;
    for (path, name) in DOCUMENTS {
        let answer = Call::get(path).send(stack.aggregator()).await?;
        ensure!(answer.status == 200, "{path}: {}", answer.status);
        fs::write(folder.join(format!("{name}.json")), &answer.body)?;
    }
    let (tools, calls) = match language {
        "python" => ("openapi-python", "calls.py"),
        _ => ("openapi", "calls.ts"),
    };
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools").join(tools).join(calls);
    fs::copy(&source, folder.join(calls)).with_context(|| source.display().to_string())?;
    Ok(folder)
}

/// Runs calls on this stack; they tell themselves what was not as it had to be.
async fn call_with(stack: &Stack, folder: &Path, calls: &mut Command) -> Result<()> {
    let made: Value = serde_json::from_str(&stack.meter(&["token", "create", "--operator", "--json"])?)?;
    let token = made.get("token").and_then(Value::as_str).context("a token")?;
    calls
        .current_dir(folder)
        .env("METER_TOKEN", token)
        .env("METER_URL", format!("http://{}", stack.aggregator()))
        .env("METER_EDGE", format!("http://{}", stack.edge()));
    run(calls)?;
    Ok(())
}

fn program(tools: &Path, name: &str) -> Command {
    Command::new(tools.join("node_modules/.bin").join(name))
}

/// Runs it to its end, and tells all it said if it fails.
fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let said =
        [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    ensure!(output.status.success(), "{command:?}: {said}");
    Ok(())
}
