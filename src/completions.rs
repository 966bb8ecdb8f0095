//! Completions for shells and manual pages, generated from the arguments of the program.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::Shell;

use crate::commands::Arguments;
use crate::print::print;

/// Prints the completions for a shell.
pub(crate) fn completions(shell: Shell) -> Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "fresnel", &mut text);
    print(&String::from_utf8(text)?)
}

/// Writes the manual pages of all commands to a folder.
pub(crate) fn manual(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(Arguments::command(), folder))
        .with_context(|| format!("could not write {}", folder.display()))
}
