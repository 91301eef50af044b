//! Who has the data folder: one process, by a lock that the system gives back when it ends, however it ends. Others ask it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use axum::body::Bytes;
use axum::http::{Method, Request};
use http_body_util::Full;
use shared::json;
use shared::problem::Problem;

use crate::config::{Config, Endpoint, TlsFiles};
use crate::transport::Transport;

/// Held for as long as this is.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "it is there to be held")] File);

/// Takes the folder, which is made where there is none; `None` where a reporter has it.
///
/// # Errors
/// When it can be neither made nor locked.
pub(super) fn take(folder: &Path) -> anyhow::Result<Option<Lock>> {
    let private = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    private.with_context(|| format!("METER_REPORTER_DATA: {} cannot be made", folder.display()))?;
    let path = folder.join("reporter.lock");
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    let mut file = file.with_context(|| format!("METER_REPORTER_DATA: {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {
            // Only for people: what counts is the lock.
            file.set_len(0)?;
            writeln!(file, "{}", std::process::id())?;
            Ok(Some(Lock(file)))
        }
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error)
            .with_context(|| format!("{} cannot be locked; keep it on a local disk", path.display())),
    }
}

/// Asks the reporter that has the folder.
///
/// # Errors
/// When it does not answer with 200.
pub(super) async fn ask(config: &Config, method: Method, path: &str) -> anyhow::Result<String> {
    call(config, Request::builder().method(method).uri(path).body(Full::new(Bytes::new()))?).await
}

/// Tells it something.
///
/// # Errors
/// As [`ask`].
pub(super) async fn tell(config: &Config, path: &str, body: String) -> anyhow::Result<String> {
    call(config, Request::builder().method(Method::POST).uri(path).body(Full::new(Bytes::from(body)))?).await
}

async fn call(config: &Config, request: Request<Full<Bytes>>) -> anyhow::Result<String> {
    let address = config.listen;
    let here = Endpoint::parse(&format!("http://{address}"), "").map_err(anyhow::Error::msg);
    let transport = Transport::new(here?, None, &TlsFiles::default()).map_err(anyhow::Error::msg)?;
    let answer = transport.send(request, &mut |_, _| {}).await;
    let answer = answer.with_context(|| {
        format!("a reporter has the folder {}, and does not answer at {address}", config.data.display())
    })?;
    let body = String::from_utf8(answer.body.into()).context("the answer is no text")?;
    if answer.status.is_success() {
        return Ok(body);
    }
    match json::read::<Problem>(&body) {
        Ok(problem) => bail!("{}: {}", problem.code, problem.detail),
        Err(_) => bail!("the reporter answered {}", answer.status),
    }
}
