//! Labelled recordings of a simulated scene, for `fresnel evaluate`.
//!
//! Each receiver becomes a capture in the format of ESP32 boards. The labels are the times at which somebody in
//! the scene moves.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use schemas::{CsiBatch, Record, TimeSpan};
use serde::Serialize;
use sources::SourceError;
use sources::simulate::Scene;

use crate::simulate::esp32_lines::LineWriter;
use crate::simulate::simulated;

/// The name of the file of labels.
const LABELS: &str = "labels.toml";
/// The time at the beginning that is not evaluated: the calibration.
const SKIP: TimeSpan = TimeSpan::from_s(7);
/// The most senders, whose addresses end with their number.
const MAX_SENDERS: usize = 255;

/// A failure of a simulation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimulateError {
    /// The scene cannot be read.
    #[error("could not read the scene {path:?}")]
    Scene {
        /// The scene file.
        path: PathBuf,
        /// The cause.
        source: SourceError,
    },
    /// ESP32 boards have one antenna and a channel of 20 MHz.
    #[error("{path:?} has no ESP32 boards: their receivers have n_rx = 1 and bandwidth_mhz = 20")]
    Boards {
        /// The scene file.
        path: PathBuf,
    },
    /// A file cannot be written.
    #[error("could not write {path:?}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
}

/// The options of labelled recordings.
#[derive(Clone, Debug)]
pub struct RecordingsPlan {
    /// The scene file.
    pub scene: PathBuf,
    /// The folder for the captures and the labels.
    pub folder: PathBuf,
    /// The length of the recordings.
    pub duration: TimeSpan,
    /// Seed of the noise and the disturbances; that of the scene by default.
    pub seed: Option<u64>,
}

/// Simulates a scene, and writes a capture for each receiver and the labels. Returns the path of the labels.
///
/// # Errors
///
/// [`SimulateError`] if the scene cannot be read or is not of ESP32 boards, or a file cannot be written.
pub fn simulate_recordings(plan: &RecordingsPlan) -> Result<PathBuf, SimulateError> {
    let mut scene = Scene::load(&plan.scene)
        .map_err(|source| SimulateError::Scene { path: plan.scene.clone(), source })?;
    scene.seed = plan.seed.unwrap_or(scene.seed);
    let failed = |path: &Path, source| SimulateError::Write { path: path.to_owned(), source };
    fs::create_dir_all(&plan.folder).map_err(|source| failed(&plan.folder, source))?;
    let mut captures = Captures { folder: &plan.folder, by_receiver: BTreeMap::new() };
    let mut senders = Vec::new();
    for record in simulated(&scene, plan.duration) {
        let Record::Csi(batch) = record else { continue };
        if batch.layout.n_rx > 1 || batch.layout.bandwidth_mhz != 20 {
            return Err(SimulateError::Boards { path: plan.scene.clone() });
        }
        captures.write(&batch, &address(&mut senders, &batch.link.transmitter))?;
    }
    let labels = Labels::new(&scene, plan.duration, captures.finish()?);
    let path = plan.folder.join(LABELS);
    let text = toml::to_string(&labels).expect("labels are a table");
    fs::write(&path, text).map_err(|source| failed(&path, source))?;
    Ok(path)
}

/// Returns the address of a sender, in the order of their first frames.
fn address(senders: &mut Vec<String>, sender: &str) -> String {
    let known = senders.iter().position(|known| known == sender);
    let number = known.unwrap_or_else(|| {
        senders.push(sender.to_owned());
        senders.len() - 1
    });
    format!("02:00:00:00:00:{:02x}", number.min(MAX_SENDERS))
}

/// The open captures, by receiver.
struct Captures<'a> {
    folder: &'a Path,
    by_receiver: BTreeMap<String, (PathBuf, LineWriter<BufWriter<File>>)>,
}

impl Captures<'_> {
    fn write(&mut self, batch: &CsiBatch, address: &str) -> Result<(), SimulateError> {
        let receiver = &batch.link.receiver;
        if !self.by_receiver.contains_key(receiver) {
            let path = self.folder.join(file_name(receiver));
            let file = File::create(&path)
                .map_err(|source| SimulateError::Write { path: path.clone(), source })?;
            let writer = LineWriter::new(BufWriter::new(file));
            self.by_receiver.insert(receiver.clone(), (path, writer));
        }
        let (path, writer) = self.by_receiver.get_mut(receiver).expect("it was inserted");
        (0..batch.len())
            .try_for_each(|frame_idx| writer.write(batch, frame_idx, address))
            .map_err(|source| SimulateError::Write { path: path.clone(), source })
    }

    /// Writes what is buffered. Returns the receivers.
    fn finish(self) -> Result<Vec<String>, SimulateError> {
        let finish = |(receiver, (path, writer)): (String, (PathBuf, LineWriter<_>))| {
            writer.finish().map_err(|source| SimulateError::Write { path, source })?;
            Ok(receiver)
        };
        self.by_receiver.into_iter().map(finish).collect()
    }
}

fn file_name(receiver: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
    let plain = receiver.chars().map(|letter| if is_plain(letter) { letter } else { '_' });
    plain.collect::<String>() + ".csv"
}

/// The file of labels, as `fresnel evaluate motion` reads it.
#[derive(Debug, Serialize)]
struct Labels {
    recordings: Vec<Recording>,
}

#[derive(Debug, Serialize)]
struct Recording {
    file: String,
    format: &'static str,
    session: String,
    device: String,
    skip: TimeSpan,
    moving: Vec<[TimeSpan; 2]>,
}

impl Labels {
    fn new(scene: &Scene, duration: TimeSpan, receivers: Vec<String>) -> Self {
        let moving = scene.movements(duration);
        let recordings = receivers.into_iter().map(|receiver| Recording {
            file: file_name(&receiver),
            format: "esp32",
            session: format!("seed {}", scene.seed),
            device: receiver,
            skip: SKIP,
            moving: moving.clone(),
        });
        Self { recordings: recordings.collect() }
    }
}
