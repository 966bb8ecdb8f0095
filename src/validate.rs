//! `fresnel validate`: checks pipeline files without running them.

use std::path::{Path, PathBuf};

use anyhow::Result;
use engine::Plan;

use crate::print::print;

/// Checks all files, also those after an invalid file.
pub(crate) fn validate(pipelines: &[PathBuf], directory: &Path) -> Result<()> {
    let mut failure = None;
    for pipeline in pipelines {
        match Plan::validate(pipeline, directory) {
            Ok(plan) => {
                print(&format!("{}: valid\n", pipeline.display()))?;
                for name in plan.unread() {
                    eprintln!("warning: {}: nothing reads \"{name}\"", pipeline.display());
                }
            }
            Err(error) => {
                if let Some(error) = failure.replace(error) {
                    eprintln!("error: {error}");
                }
            }
        }
    }
    failure.map_or(Ok(()), |error| Err(error.into()))
}
