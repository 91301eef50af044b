//! Several workerd processes at one address, as isolates of one edge whose homes another process has.
//!
//! The kernel spreads connections over them (SO_REUSEPORT). Each can be killed and started again.

use std::fs;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::net::TcpSocket;

use crate::client::Call;
use crate::poll::eventually;
use crate::program::Program;
use crate::stack::Stack;

const READY_MAX: Duration = Duration::from_secs(30);
/// Connections that wait to be taken, in one process.
const BACKLOG: u32 = 1_024;

/// The processes.
#[derive(Debug)]
pub struct Fleet {
    address: SocketAddr,
    processes: Vec<Option<Program>>,
}

impl Fleet {
    /// Starts that many beside a stack whose edge serves its homes (`METER_HOMES=serve`).
    ///
    /// # Errors
    /// When one does not start.
    pub async fn start(stack: &Stack, count: usize) -> Result<Self> {
        let mut fleet = Self { address: kit::ports::free()?, processes: Vec::new() };
        for number in 0..count {
            fleet.processes.push(None);
            fleet.begin(stack, number)?;
        }
        eventually("the fleet", READY_MAX, async || {
            Ok((Call::get("/healthz").send(fleet.address).await?.status == 200).then_some(()))
        })
        .await?;
        Ok(fleet)
    }

    /// Where all of them listen.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts one of them again.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn begin(&mut self, stack: &Stack, number: usize) -> Result<()> {
        let folder = stack.folder(&format!("isolate-{number}"))?;
        let mut command = stack.isolate_command(&folder);
        let socket = listening(self.address)?;
        let program = Program::start_with_socket(&mut command, &log_of(&folder), socket)?;
        *self.processes.get_mut(number).context("there is no such process")? = Some(program);
        Ok(())
    }

    /// `kill -9` of one of them.
    ///
    /// # Errors
    /// When it is not running.
    pub fn kill(&mut self, number: usize) -> Result<()> {
        let process = self.processes.get_mut(number).and_then(Option::take);
        process.context("it is not running")?.kill()
    }

    /// Ends a passed test: none of them may have panicked.
    ///
    /// # Errors
    /// When a log speaks of a panic.
    pub fn finish(self, stack: &Stack) -> Result<()> {
        let count = self.processes.len();
        drop(self);
        for number in 0..count {
            let log = fs::read_to_string(log_of(&stack.folder(&format!("isolate-{number}"))?))?;
            let told = ["panicked", "RuntimeError"].iter().find(|word| log.contains(**word));
            ensure!(told.is_none(), "isolate {number} has written {told:?}");
        }
        Ok(())
    }
}

fn log_of(folder: &std::path::Path) -> PathBuf {
    folder.join("edge.log")
}

/// A socket of its own at an address that others listen on too.
fn listening(address: SocketAddr) -> Result<OwnedFd> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    Ok(socket.listen(BACKLOG)?.into_std()?.into())
}
