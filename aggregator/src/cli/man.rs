//! `meter man`: the manual pages of this command line, made from what `--help` says.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, CommandFactory as _};

use super::Cli;

#[derive(Debug, Args)]
pub(super) struct Man {
    /// The folder, which is made where there is none
    folder: PathBuf,
}

pub(super) fn run(Man { folder }: &Man) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let command = Cli::command().disable_help_subcommand(true);
    clap_mangen::generate_to(command, folder)
        .with_context(|| format!("{} cannot be written", folder.display()))
}
