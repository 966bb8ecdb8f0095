//! `fresnel checkpoint`: lists checkpoints and their content.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Result, bail};
use engine::{ComponentState, Store};

use crate::print::print;

/// Prints one line for each checkpoint of a store, oldest first.
pub(crate) fn list(location: &str) -> Result<()> {
    let mut text = format!(
        "{:<20} {:>20} {:>5} {:>6} {:>8} {:>10}\n",
        "pipeline", "tick", "run", "kind", "changes", "bytes"
    );
    let store = open(location)?;
    let listed = store.list();
    store.close();
    for checkpoint in listed? {
        let kind = if checkpoint.whole { "whole" } else { "adds" };
        writeln!(
            text,
            "{:<20} {:>20} {:>5} {kind:>6} {:>8} {:>10}",
            checkpoint.pipeline,
            checkpoint.progress,
            checkpoint.generation,
            checkpoint.n_changes,
            checkpoint.n_bytes
        )?;
    }
    print(&text)
}

/// Prints one line for each component of a checkpoint, with the number and the total size of its keys. With
/// `component`, prints one line for each key of that component.
pub(crate) fn inspect(
    location: &str,
    pipeline: &str,
    tick: Option<u64>,
    component: Option<&str>,
) -> Result<()> {
    let store = open(location)?;
    let checkpoint = store.inspect(pipeline, tick);
    store.close();
    let Some(checkpoint) = checkpoint? else {
        bail!(
            "no such checkpoint of pipeline {pipeline:?} in {location:?}: `fresnel checkpoint ls` lists them"
        );
    };
    let components = &checkpoint.state.components;
    let lines = match component {
        None => all(components)?,
        Some(name) => match components.get(name) {
            Some(component) => keys(component)?,
            None => bail!("component {name:?} of pipeline {pipeline:?} has no saved state"),
        },
    };
    print(&format!("tick {}\n{lines}", checkpoint.progress))
}

fn all(components: &BTreeMap<String, ComponentState>) -> Result<String> {
    let mut text = format!("{:<20} {:>8} {:>10}  shape\n", "component", "keys", "bytes");
    for (component, state) in components {
        let entries = state.entries.iter();
        let n_bytes: usize =
            entries.map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len)).sum();
        let (n_keys, shape) = (state.entries.len(), &state.shape);
        writeln!(text, "{component:<20} {n_keys:>8} {n_bytes:>10}  {shape}")?;
    }
    Ok(text)
}

/// Returns one line for each key, with the size of its value. Bytes that are not printable ASCII are
/// escaped.
fn keys(component: &ComponentState) -> Result<String> {
    let mut text = format!("{:<40} {:>10}\n", "key", "bytes");
    for (key, value) in &component.entries {
        let key = format!("\"{}\"", key.escape_ascii());
        writeln!(text, "{key:<40} {:>10}", value.as_ref().map_or(0, Vec::len))?;
    }
    Ok(text)
}

/// Opens an existing store; an error if its file is missing.
pub(crate) fn open(location: &str) -> Result<Store> {
    if !location.contains("://") && !Path::new(location).exists() {
        bail!(
            "store {location:?} not found: run the command in the folder of the pipeline, or name its store"
        );
    }
    Ok(Store::open(Path::new("."), location)?)
}
