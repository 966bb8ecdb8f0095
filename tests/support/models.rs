//! The models of networks, which `make test` fetches.

use std::path::PathBuf;

/// Returns the folder of models.
pub(crate) fn folder() -> PathBuf {
    std::env::var_os("FRESNEL_MODELS")
        .map_or_else(|| PathBuf::from("models-of-tests"), PathBuf::from)
}

/// Returns true if the models are there.
pub(crate) fn there() -> bool {
    ["nanodet-g", "movenet-thunder", "movenet-lightning"]
        .iter()
        .all(|name| folder().join(name).with_added_extension("safetensors").exists())
}
