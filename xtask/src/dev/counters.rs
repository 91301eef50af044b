//! What holds the homes of the demo: objects of the edge, or a Redis that is started beside it.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Result, anyhow, ensure};
use clap::ValueEnum;

use super::services::Services;
use super::settings::Settings;
use crate::clock::{Stopwatch, pause};
use crate::python;

/// What holds the homes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Counters {
    /// Objects of the edge
    #[value(name = "durable_object")]
    DurableObject,
    /// A Redis: Valkey's server, installed below target/tools and started on a free port
    #[value(name = "redis")]
    Redis,
}

impl Counters {
    /// Starts what is needed, and tells the programs.
    pub(super) fn start(self, services: &mut Services, settings: &mut Settings, folder: &Path) -> Result<()> {
        if self == Self::DurableObject {
            // An object knows only what it has issued itself.
            ensure!(
                !settings.has("REDIS_URL"),
                "the homes of target/dev are in a Redis: add `--counters redis`, or start over with `--fresh`"
            );
            return Ok(());
        }
        let address = kit::ports::free()?;
        let data = folder.join("redis");
        fs::create_dir_all(&data)?;
        let mut command = kit::redis::command(&python::valkey()?, &data, address);
        services.start("redis", command.args(kit::redis::LASTING), &folder.join("logs"))?;
        wait(services, address)?;
        settings.set("COUNTERS", "redis".to_owned());
        settings.set("REDIS_URL", format!("redis://{address}"));
        Ok(())
    }
}

fn wait(services: &mut Services, address: SocketAddr) -> Result<()> {
    let watch = Stopwatch::start();
    while !kit::redis::answers(address).is_ok_and(|ready| ready) {
        services.check_alive()?;
        if watch.passed(super::services::READY_MAX) {
            return Err(anyhow!("the Redis does not answer on {address}; see target/dev/logs/redis.log"));
        }
        pause();
    }
    Ok(())
}
