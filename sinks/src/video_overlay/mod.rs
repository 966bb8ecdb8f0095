//! The `video_overlay` sink: pictures with the people that were found in them.
//!
//! A picture and the people in it are in the same tick. The files have names that follow from the number of the
//! picture, so a replay writes the same files again.

mod canvas;
mod drawing;

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder};
use schemars::JsonSchema;
use schemas::{PoseFrame, Record, RecordKind, Tick, VideoFrame};
use serde::Deserialize;

use crate::settings::{SinkSettings, path_mistake};
use crate::video_overlay::canvas::Canvas;
use crate::video_overlay::drawing::draw_people;
use crate::{OpenSink, Sink, SinkContext, SinkError};

const COMMIT_INTERVAL: Duration = Duration::from_millis(500);

/// Settings of the `video_overlay` sink. Its inputs are pictures, and the people that were found in them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VideoOverlayConfig {
    /// Folder for the pictures with people, `frame_000000.jpg` and so on; with several cameras, their names come first.
    pub path: PathBuf,
    /// Folder for the pictures without people; by default they are not written.
    pub frames: Option<PathBuf>,
    /// Quality of the JPEG files, from 1 to 100; 90 by default.
    #[serde(default = "default_quality")]
    pub quality: u8,
}

impl SinkSettings for VideoOverlayConfig {
    fn problems(&self) -> Vec<String> {
        let fits = (1..=100).contains(&self.quality);
        let quality =
            (!fits).then(|| format!("quality must be from 1 to 100, not {}", self.quality));
        path_mistake(&self.path).into_iter().chain(quality).collect()
    }

    fn takes_pictures(&self) -> bool {
        true
    }

    fn files(&self) -> Vec<PathBuf> {
        self.frames.iter().chain([&self.path]).cloned().collect()
    }

    fn open_sink(&self, context: &SinkContext<'_>) -> Result<OpenSink, SinkError> {
        let path = context.directory.join(&self.path);
        let frames = self.frames.as_ref().map(|frames| context.directory.join(frames));
        for folder in frames.iter().chain([&path]) {
            fs::create_dir_all(folder)
                .map_err(|source| SinkError::Write { path: folder.clone(), source })?;
        }
        let n_cameras =
            context.inputs.iter().filter(|(_, kind)| *kind == RecordKind::Video).count();
        let (quality, unsynced) = (self.quality, Vec::new());
        let names_cameras = n_cameras > 1;
        Ok(OpenSink::new(VideoOverlay { path, frames, quality, names_cameras, unsynced }))
    }
}

fn default_quality() -> u8 {
    90
}

/// Writes pictures to folders.
#[derive(Debug)]
struct VideoOverlay {
    path: PathBuf,
    frames: Option<PathBuf>,
    quality: u8,
    /// True if the names of the files have those of their cameras.
    names_cameras: bool,
    /// Files that are not durable yet.
    unsynced: Vec<PathBuf>,
}

impl Sink for VideoOverlay {
    fn write(&mut self, _tick: Tick, records: &[Record]) -> Result<usize, SinkError> {
        for record in records {
            let Record::Video(frame) = record else { continue };
            let people = records.iter().filter_map(|record| match record {
                Record::Pose(people) if is_of(people, frame) => Some(people),
                _ => None,
            });
            // Some operators replace the name of the camera by their own.
            let people: Vec<_> = people.collect();
            let of_camera = people.iter().find(|people| people.source == frame.source);
            self.write_picture(frame, of_camera.or(people.first()).copied())?;
        }
        Ok(records.len())
    }

    fn commit(&mut self, _upper: Tick) -> Result<(), SinkError> {
        for path in &self.unsynced {
            let synced = File::open(path).and_then(|file| file.sync_all());
            synced.map_err(|source| SinkError::Write { path: path.clone(), source })?;
        }
        self.unsynced.clear();
        for folder in self.frames.iter().chain([&self.path]) {
            let synced = File::open(folder).and_then(|folder| folder.sync_all());
            synced.map_err(|source| SinkError::Write { path: folder.clone(), source })?;
        }
        Ok(())
    }

    fn upper(&self) -> Option<Tick> {
        None
    }

    fn commit_interval(&self) -> Duration {
        COMMIT_INTERVAL
    }
}

impl VideoOverlay {
    fn write_picture(
        &mut self,
        frame: &VideoFrame,
        people: Option<&PoseFrame>,
    ) -> Result<(), SinkError> {
        let camera = if self.names_cameras { format!("{}_", frame.source) } else { String::new() };
        let name = format!("{camera}frame_{:06}.jpg", frame.frame_id);
        let (width, height) = (frame.width, frame.height);
        if let Some(path) = self.frames.as_ref().map(|frames| frames.join(&name)) {
            self.write_file(path, &frame.pixels, width, height)?;
        }
        let mut canvas = Canvas::new(width, height, frame.pixels.to_vec());
        if let Some(people) = people {
            draw_people(&mut canvas, &people.persons);
        }
        self.write_file(self.path.join(&name), canvas.pixels(), width, height)
    }

    /// Writes a file that is there whole or not at all.
    fn write_file(
        &mut self,
        path: PathBuf,
        pixels: &[u8],
        width: u32,
        height: u32,
    ) -> Result<(), SinkError> {
        let failed = |source| SinkError::Write { path: path.clone(), source };
        let mut bytes = Vec::new();
        JpegEncoder::new_with_quality(&mut bytes, self.quality)
            .write_image(pixels, width, height, ExtendedColorType::Rgb8)
            .map_err(|error| failed(io::Error::other(error)))?;
        let partial = path.with_added_extension("partial");
        fs::write(&partial, bytes).and_then(|()| fs::rename(&partial, &path)).map_err(failed)?;
        self.unsynced.push(path);
        Ok(())
    }
}

/// True for the people of a picture.
fn is_of(people: &PoseFrame, frame: &VideoFrame) -> bool {
    people.site == frame.site
        && people.frame_id == frame.frame_id
        && people.captured_at_ns == frame.captured_at_ns
}
