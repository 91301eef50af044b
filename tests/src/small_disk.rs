//! A small disk of a part's own, which a test fills and makes room on. Only the part sees it: it is mounted in a
//! namespace that ends with the part's process, and nobody needs to be root for it.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Room for the tables and some rows of ours.
pub(crate) const BYTES: &str = "12m";

/// Mounts, and becomes the part's program.
const SCRIPT: &str = r#"mount -t tmpfs -o "size=$1" none "$2" && shift 2 && exec "$@""#;

/// Is nobody special again: some programs refuse to run as root, and whoever mounts is root in its namespace.
const AS_OTHER: [&str; 4] = ["unshare", "--user", "--map-user=1000", "--map-group=1000"];

/// The same program with the same arguments and settings, which sees a disk of so many `bytes` at `folder`. `is_root` says
/// whether it takes itself for root.
pub(crate) fn on_small_disk(command: &Command, folder: &Path, bytes: &str, is_root: bool) -> Command {
    let mut wrapped = Command::new("unshare");
    wrapped.args(["--user", "--map-root-user", "--mount", "sh", "-c", SCRIPT, "sh", bytes]).arg(folder);
    wrapped.args(if is_root { &[][..] } else { &AS_OTHER });
    wrapped.arg(command.get_program()).args(command.get_args());
    wrapped.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    wrapped
}

/// A command that sees what that process sees.
pub(crate) fn beside(process: u32, command: &Command) -> Command {
    let mut wrapped = Command::new("nsenter");
    wrapped.args(["--target", &process.to_string(), "--user", "--mount", "--preserve-credentials", "--"]);
    wrapped.arg(command.get_program()).args(command.get_args());
    wrapped
}

/// The way to what that process sees at `folder`.
pub(crate) fn as_seen_by(process: u32, folder: &Path) -> Result<PathBuf> {
    let folder = folder.strip_prefix("/").with_context(|| folder.display().to_string())?;
    Ok(Path::new("/proc").join(process.to_string()).join("root").join(folder))
}

/// The file that takes the room of a disk that this process sees at `folder`.
fn filler(process: u32, folder: &Path) -> Result<PathBuf> {
    Ok(as_seen_by(process, folder)?.join("filler"))
}

/// Takes all the room that is left, to the last byte.
pub(crate) fn fill(process: u32, folder: &Path) -> Result<()> {
    let mut file = File::options().append(true).create(true).open(filler(process, folder)?)?;
    let mut piece = vec![b'x'; 64 * 1024];
    while !piece.is_empty() {
        match file.write(&piece) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::StorageFull => piece.truncate(piece.len().div_euclid(2)),
            Err(error) => return Err(error.into()),
        }
        let length = file.metadata()?.len();
        ensure!(length < 1 << 30, "{length} bytes are written, and the disk is no small one");
    }
    Ok(())
}

/// Gives back what [`fill`] took.
pub(crate) fn make_room(process: u32, folder: &Path) -> Result<()> {
    Ok(fs::remove_file(filler(process, folder)?)?)
}
