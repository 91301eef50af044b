//! How long after its start workerd gives the first answer of the bundle: what whoever needs a new isolate waits.
//!
//! It measures only; a slow machine is no error.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, ensure};

use super::Bundle;
use crate::clock::{Stopwatch, pause_briefly};
use crate::process::{spawn_in_group, stop};

/// How often it is started; the middle one is told.
const STARTS: usize = 5;
/// Who has not answered by then will not.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// The median over some starts.
pub(super) fn measure(workerd: &Path, bundle: &Bundle) -> Result<Duration> {
    let homes = bundle.folder.join("first-answer");
    fs::create_dir_all(&homes)?;
    let mut times = (0..STARTS).map(|_| once(workerd, bundle, &homes)).collect::<Result<Vec<_>>>()?;
    fs::remove_dir_all(&homes)?;
    times.sort_unstable();
    Ok(times.get(STARTS.div_euclid(2)).copied().unwrap_or_default())
}

fn once(workerd: &Path, bundle: &Bundle, homes: &Path) -> Result<Duration> {
    let address = kit::ports::free()?;
    let mut command = Command::new(workerd);
    command.arg("serve").arg(bundle.workerd_config());
    command.arg("--socket-addr").arg(format!("edge={address}"));
    command.arg("--directory-path").arg(format!("homes={}", homes.display()));
    super::give_secrets(&mut command);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let watch = Stopwatch::start();
    let mut child = spawn_in_group(&mut command)?;
    let mut answered = false;
    while !answered && !watch.passed(ANSWER_MAX) && child.try_wait()?.is_none() {
        answered = answers(address).is_ok_and(|good| good);
        if !answered {
            pause_briefly();
        }
    }
    let time = watch.elapsed();
    stop(&mut child, Duration::ZERO)?;
    ensure!(answered, "workerd has not answered with the bundle within {ANSWER_MAX:?}");
    Ok(time)
}

fn answers(address: SocketAddr) -> Result<bool> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.starts_with("HTTP/1.1 200"))
}
