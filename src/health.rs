//! The health of a running pipeline.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::client::Client;
use crate::print::print;

/// Prints the status of health that the API of a pipeline reports.
pub(crate) fn health(address: &str) -> Result<()> {
    let health = Client::new(address).get("/api/v1/system/health")?;
    let health: Value =
        serde_json::from_reader(health).context("expected the API of a pipeline")?;
    let status = health["status"].as_str().context("expected the API of a pipeline")?;
    print(&format!("{status}\n"))
}
