//! The health of a running pipeline.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::client::{Client, NeedsCredentials};
use crate::print::print;

/// Prints the status of health that the API of a pipeline reports; without a credential, only whether the
/// pipeline is running.
pub(crate) fn health(address: &str) -> Result<()> {
    let client = Client::new(address);
    let health = match client.get("/api/v1/system/health") {
        Ok(health) => health,
        Err(error) if error.is::<NeedsCredentials>() => {
            client.get("/health/ready")?;
            return print("ready (without an API key, the health is not shown)\n");
        }
        Err(error) => return Err(error),
    };
    let health: Value =
        serde_json::from_reader(health).context("expected the API of a pipeline")?;
    let status = health["status"].as_str().context("expected the API of a pipeline")?;
    print(&format!("{status}\n"))
}
