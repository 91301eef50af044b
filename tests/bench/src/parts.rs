//! The programs that are measured, each on a loopback port of its own, in a folder of its own.
//!
//! They must never outlive the benchmark: whoever starts one holds it, and dropping it ends it.

mod meter;
mod program;
mod redis;
mod scratch;
mod workerd;

pub(crate) use redis::{Redis, find_or_install as find_redis};
pub(crate) use scratch::Scratch;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::open::Line;
use crate::target::{Tally, Target};
use crate::variant::{Serve, Variant};
pub(crate) use meter::Meter;
use program::Program;

/// The key that baselines are sent: as long as ours, and never looked into.
const KEY: &str = "pk_live_bench_k0000000000000001_1_00000000000000000000000000000000";

/// Where the measured programs are.
#[derive(Debug)]
pub(crate) struct Places {
    /// workerd.
    pub(crate) workerd: PathBuf,
    /// The processor that is its own.
    pub(crate) processor: Option<String>,
    /// The bundle's folder, and the aggregator; only needed where ours is measured.
    pub(crate) ours: Option<(PathBuf, PathBuf)>,
}

/// A running workerd and what stands behind it.
#[derive(Debug)]
pub(crate) struct Server {
    serve: Serve,
    home_delay_ms: u32,
    target: Target,
    workerd: Program,
    /// The aggregator, where this one is ours; it ends after workerd.
    meter: Option<Meter>,
    /// Redis' process, where it is used.
    redis_pid: Option<u32>,
}

impl Server {
    /// Starts what answers a variant, and waits until it answers well.
    pub(crate) fn start(
        variant: &Variant,
        places: &Places,
        scratch: &Scratch,
        redis: Option<&Redis>,
    ) -> Result<Self> {
        let folder = scratch.subfolder(variant.name)?;
        let address = kit::ports::free()?;
        let (workerd, meter, key) = match variant.serve {
            Serve::Baseline(config) => (
                workerd::baseline(places, &folder, config, address, (variant.home_delay_ms, None))?,
                None,
                KEY.to_owned(),
            ),
            Serve::BaselineWithRedis(config) => {
                let redis = redis.context("there is no Redis")?;
                (workerd::baseline(places, &folder, config, address, (0, Some(redis)))?, None, KEY.to_owned())
            }
            Serve::Meter | Serve::MeterOnRedis => {
                let (bundle, program) = places.ours.as_ref().context("our parts were not looked for")?;
                let file = match variant.serve {
                    Serve::MeterOnRedis => Some(redis.context("there is no Redis")?.file()),
                    Serve::Meter | Serve::Baseline(_) | Serve::BaselineWithRedis(_) => None,
                };
                let meter = Meter::start(program, &folder, address, file)?;
                let workerd = meter.edge(places, [bundle, &folder], address, variant.home_delay_ms)?;
                let key = meter.key_for(variant.crowd).to_owned();
                (workerd, Some(meter), key)
            }
        };
        let target = Target {
            tells_hops: variant.serve.is_ours(),
            ..Target::new(address, [variant.path, variant.body], &key, variant.expected)
        };
        let redis_pid =
            redis.filter(|_| matches!(variant.serve, Serve::BaselineWithRedis(_))).map(Redis::pid);
        let (serve, home_delay_ms) = (variant.serve, variant.home_delay_ms);
        let mut server = Self { serve, home_delay_ms, target, workerd, meter, redis_pid };
        let target = server.target.clone();
        server.workerd.wait_until(variant.name, || answers_well(&target))?;
        Ok(server)
    }

    /// Whether this one answers that variant too.
    pub(crate) fn answers(&self, variant: &Variant) -> bool {
        self.serve == variant.serve && self.home_delay_ms == variant.home_delay_ms
    }

    /// The variant's request to this server; variants of one server differ by path.
    pub(crate) fn target(&self, variant: &Variant) -> Target {
        let key = self.meter.as_ref().map_or(KEY, |meter| meter.key_for(variant.crowd));
        let target = Target {
            tells_hops: self.target.tells_hops,
            ..Target::new(self.target.address, [variant.path, variant.body], key, variant.expected)
        };
        if variant.crowd { target.by_a_crowd() } else { target }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.target.address
    }

    /// The aggregator, where this one is ours.
    pub(crate) fn meter(&self) -> Option<&Meter> {
        self.meter.as_ref()
    }

    /// Processor time of workerd so far.
    pub(crate) fn workerd_us(&self) -> Result<u64> {
        self.workerd.used_us()
    }

    /// Starts workerd anew. Two processes of it differ by up to a tenth for as long as they live, so that what one of
    /// them shows is partly luck.
    pub(crate) fn renew(&mut self) -> Result<()> {
        self.workerd.restart()?;
        let target = self.target.clone();
        self.workerd.wait_until("workerd", || answers_well(&target))
    }

    /// The process behind workerd: the aggregator, or Redis.
    pub(crate) fn beside_pid(&self) -> Option<u32> {
        self.meter.as_ref().map(Meter::pid).or(self.redis_pid)
    }

    /// Fails once a program has ended by itself.
    pub(crate) fn check_alive(&mut self) -> Result<()> {
        self.workerd.check_alive()
    }
}

/// One request, of which anything but a good answer is a reason to ask again.
fn answers_well(target: &Target) -> Result<()> {
    let mut tally = Tally::default();
    let good = Line::connect(target.address)?
        .send(&target.request(), |response| target.judge(response, &mut tally))?;
    if good { Ok(()) } else { Err(anyhow::anyhow!(tally.first_failure.unwrap_or_default())) }
}
