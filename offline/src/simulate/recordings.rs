//! Labelled recordings of a simulated scene, for `fresnel evaluate`.
//!
//! Each receiver becomes a capture in the format of ESP32 boards. The labels are the times at which somebody in
//! the scene moves.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
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
    /// A receiver of the scene is not an ESP32 board, which has one antenna and a channel of 20 MHz.
    #[error(
        "{path:?}: receiver {receiver:?} has n_rx = {n_rx} and bandwidth_mhz = {bandwidth_mhz}; an ESP32 \
         board has 1 and 20"
    )]
    Board {
        /// The scene file.
        path: PathBuf,
        /// The receiver.
        receiver: String,
        /// Its antennas.
        n_rx: u16,
        /// The bandwidth of the scene, in MHz.
        bandwidth_mhz: u16,
    },
    /// The recordings would have no frame.
    #[error("the recordings would be empty: their length is {duration}")]
    Empty {
        /// The length.
        duration: TimeSpan,
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
    check_boards(&scene, plan)?;
    fs::create_dir_all(&plan.folder).map_err(|source| failed(&plan.folder, source))?;
    let path = plan.folder.join(LABELS);
    // The labels of other recordings are not overwritten.
    let mut labels = File::create_new(&path).map_err(|source| failed(&path, source))?;
    let mut captures = Captures { folder: &plan.folder, by_receiver: BTreeMap::new() };
    let mut senders = Vec::new();
    for record in simulated(&scene, plan.duration) {
        let Record::Csi(batch) = record else { continue };
        captures.write(&batch, &address(&mut senders, &batch.link.transmitter))?;
    }
    let text = Labels::new(&scene, plan.duration, captures.finish()?).text();
    labels.write_all(text.as_bytes()).map_err(|source| failed(&path, source))?;
    Ok(path)
}

/// # Errors
///
/// [`SimulateError`] if a receiver is not a board, or there would be no frame.
fn check_boards(scene: &Scene, plan: &RecordingsPlan) -> Result<(), SimulateError> {
    let bandwidth_mhz = scene.bandwidth_mhz();
    for receiver in scene.geometry().receivers {
        // A scene has at most 16 antennas.
        let n_rx = receiver.antennas_m.len() as u16;
        if n_rx > 1 || bandwidth_mhz != 20 {
            let (path, receiver) = (plan.scene.clone(), receiver.name);
            return Err(SimulateError::Board { path, receiver, n_rx, bandwidth_mhz });
        }
    }
    let is_empty = plan.duration.as_s() * scene.rate_hz < 1.0;
    if is_empty { Err(SimulateError::Empty { duration: plan.duration }) } else { Ok(()) }
}

/// Returns the address of a sender, in the order of their first frames.
fn address(senders: &mut Vec<String>, sender: &str) -> String {
    let known = senders.iter().position(|known| known == sender);
    let number = known.unwrap_or_else(|| {
        senders.push(sender.to_owned());
        senders.len() - 1
    });
    let [.., high, low] = number.to_be_bytes();
    format!("02:00:00:00:{high:02x}:{low:02x}")
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

    /// Flushes all captures. Returns the receivers.
    fn finish(self) -> Result<Vec<String>, SimulateError> {
        let finish = |(receiver, (path, writer)): (String, (PathBuf, LineWriter<_>))| {
            writer.finish().map_err(|source| SimulateError::Write { path, source })?;
            Ok(receiver)
        };
        self.by_receiver.into_iter().map(finish).collect()
    }
}

/// Returns the name of a receiver's capture: other letters than plain ones become their code, so that no two
/// receivers have the same.
fn file_name(receiver: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
    let plain = |letter: char| {
        if is_plain(letter) { letter.to_string() } else { format!("_{:x}", u32::from(letter)) }
    };
    receiver.chars().map(plain).collect::<String>() + ".csv"
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

    fn text(&self) -> String {
        toml::to_string(self).expect("labels are a table")
    }
}
