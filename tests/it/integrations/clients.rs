//! The packages of `clients/`: built by their own commands from our documents, then their own tests before real servers.

use std::process::Command;

use anyhow::{Result, ensure};
use tests::config;
use tests::stack::Stack;

use super::{copy, repository, run, with_stack};

#[tokio::test(flavor = "multi_thread")]
async fn the_typescript_package_calls_both_servers_and_guards_express_and_hono() -> Result<()> {
    let stack = Stack::start_leasing().await?;
    let folder = stack.scratch().join("clients/typescript");
    copy(&repository("clients/typescript"), &folder)?;
    let link = std::os::unix::fs::symlink::<std::path::PathBuf, _>;
    link(repository("docs").canonicalize()?, stack.scratch().join("docs"))?;
    link(config::typescript_client_packages()?.canonicalize()?, folder.join("node_modules"))?;
    run(Command::new("npm").args(["run", "build"]).current_dir(&folder))?;
    let mut suite = Command::new("npm");
    suite.arg("test").current_dir(&folder);
    let said = run(with_stack(&mut suite, &stack)?)?;
    // A folder without tests passes too.
    ensure!(said.contains("fail 0") && said.contains("pass 14"), "the suite is not whole: {said}");
    stack.finish()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_package_is_installed_calls_both_servers_and_guards_fastapi() -> Result<()> {
    let stack = Stack::start_leasing().await?;
    let folder = stack.scratch().join("clients/python");
    copy(&repository("clients/python"), &folder)?;
    std::os::unix::fs::symlink(repository("docs").canonicalize()?, stack.scratch().join("docs"))?;
    let python = config::openapi_python()?;
    run(Command::new(&python).arg("generate.py").current_dir(&folder))?;
    run(Command::new(&python).args(["-m", "mypy", "src", "tests"]).current_dir(&folder))?;
    let site = stack.scratch().join("site");
    let mut install = Command::new(&python);
    install.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-index",
        "--no-deps",
    ]);
    run(install.args(["--no-build-isolation", "--target"]).arg(&site).arg(&folder))?;
    let mut suite = Command::new(&python);
    suite.args(["-m", "unittest", "discover", "--start-directory", "tests"]).current_dir(&folder);
    let said = run(with_stack(suite.env("PYTHONPATH", &site), &stack)?)?;
    ensure!(said.contains("Ran 10 tests"), "the suite is not whole: {said}");
    stack.finish()
}
