//! workerd with a baseline, or with our bundle.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::program::Program;
use super::{Places, Redis};
use crate::processors;

/// The baselines are part of this program, so that what is measured is what was built with it.
const FILES: [(&str, &str); 13] = [
    ("answer.js", include_str!("../../baselines/answer.js")),
    ("baselines.capnp", include_str!("../../baselines/baselines.capnp")),
    ("body.js", include_str!("../../baselines/body.js")),
    ("forward.js", include_str!("../../baselines/forward.js")),
    ("headers.js", include_str!("../../baselines/headers.js")),
    ("meter.capnp", include_str!("../../baselines/meter.capnp")),
    ("object_memory.js", include_str!("../../baselines/object_memory.js")),
    ("object_sql.js", include_str!("../../baselines/object_sql.js")),
    ("ok.js", include_str!("../../baselines/ok.js")),
    ("redis.js", include_str!("../../baselines/redis.js")),
    ("redis_connect.js", include_str!("../../baselines/redis_connect.js")),
    ("redis_object.js", include_str!("../../baselines/redis_object.js")),
    ("upstream.js", include_str!("../../baselines/upstream.js")),
];

/// Writes the baselines' files.
pub(super) fn write_files(folder: &Path) -> Result<()> {
    for (name, text) in FILES {
        let file = folder.join(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// `workerd serve` with one of a file's configurations, listening there.
pub(super) fn command(places: &Places, file: &Path, config: &str, address: SocketAddr) -> Command {
    let mut command = processors::on(places.processor.as_deref(), &places.workerd);
    command.arg("serve").arg(file).arg(config).arg("--socket-addr").arg(format!("http={address}"));
    command
}

/// `name=folder`, and makes the folder.
pub(super) fn directory(command: &mut Command, name: &str, folder: &Path) -> Result<()> {
    let path = folder.join(name);
    fs::create_dir_all(&path)?;
    let mut argument = OsString::from(format!("{name}="));
    argument.push(path);
    command.arg("--directory-path").arg(argument);
    Ok(())
}

/// Starts a baseline.
pub(super) fn baseline(
    places: &Places,
    folder: &Path,
    config: &str,
    address: SocketAddr,
    delay_and_redis: (u32, Option<&Redis>),
) -> Result<Program> {
    let (home_delay_ms, redis) = delay_and_redis;
    write_files(folder)?;
    let mut command = command(places, &folder.join("baselines.capnp"), config, address);
    // workerd refuses a folder that the configuration has no use for.
    if config.starts_with("object") || config == "redisObject" {
        directory(&mut command, "objects", folder)?;
    }
    command.env("HOME_DELAY_MS", home_delay_ms.to_string());
    if let Some(redis) = redis {
        command.env("REDIS_ADDRESS", redis.address().to_string());
    }
    Program::start(command, &folder.join("workerd.log"))
}
