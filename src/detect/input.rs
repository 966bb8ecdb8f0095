//! The input of `fresnel detect`.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use sources::{count_pictures, describe_video};

use crate::secrets::without_secrets;

/// The input: exactly one of the options.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Input {
    /// A video file.
    #[arg(long)]
    pub(super) video: Option<PathBuf>,
    /// A folder of pictures.
    #[arg(long, visible_alias = "indir")]
    pub(super) image_dir: Option<PathBuf>,
    /// The URL of a video.
    #[arg(long)]
    pub(super) url: Option<String>,
}

impl Input {
    pub(super) fn path(&self) -> Option<&PathBuf> {
        self.video.as_ref().or(self.image_dir.as_ref())
    }

    /// Returns the path, or the URL without secrets, for messages and files.
    pub(super) fn text(&self) -> String {
        let url = || without_secrets(self.url.as_deref().unwrap_or_default());
        self.path().map_or_else(url, |path| path.display().to_string())
    }

    /// Checks that the option fits the path: a file or a folder. With `thoroughly`, also checks that the path has
    /// pictures. A URL is not opened.
    pub(super) fn check(&self, thoroughly: bool) -> Result<()> {
        let Some(path) = self.path() else {
            let url = self.text();
            ensure!(url.contains("://"), "{url} is not a URL: use --video for a file");
            return Ok(());
        };
        let is_folder = path.is_dir();
        let shown = path.display();
        path.metadata().with_context(|| format!("could not read {shown}"))?;
        match (self.video.is_some(), is_folder) {
            (true, true) => bail!("{shown} is a folder: use --image-dir for a folder of pictures"),
            (false, false) => bail!("{shown} is not a folder: use --video for a video"),
            (true, false) => ensure!(
                !thoroughly || describe_video(path).is_some(),
                "{shown} is not a video that ffmpeg can read"
            ),
            (false, true) => ensure!(
                !thoroughly || count_pictures(path)? > 0,
                "{shown} has no pictures: no .jpg, .jpeg, .png or .webp file"
            ),
        }
        Ok(())
    }
}
