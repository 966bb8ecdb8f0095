//! Scene files: a room, its radios, and the scripts of the people in it.

use std::collections::BTreeSet;
use std::f32::consts::TAU;
use std::fs;
use std::path::Path;

use rand::RngExt;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use schemars::{JsonSchema, Schema, schema_for};
use schemas::{ReceiverGeometry, SPEED_OF_LIGHT_M_S, SiteGeometry, TimeSpan};
use serde::Deserialize;

use crate::SourceError;
use crate::simulate::disturbances::Disturbances;
use crate::simulate::impairments::Impairments;
use crate::simulate::script::{Person, Step, Timeline, default_breaths_per_minute};

/// A room, its radios and its people.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scene {
    /// Name of the place.
    pub site: String,
    /// Seed of all random numbers.
    #[serde(default)]
    pub seed: u64,
    /// Frames a second on each link: above 0, at most 10000.
    pub rate_hz: f64,
    /// The room.
    pub(super) room: Room,
    /// The channel of all devices.
    pub(super) radio: Radio,
    /// The device that sends, as "ap".
    pub(super) access_point: AccessPoint,
    /// The devices that receive.
    pub(super) receivers: Vec<Receiver>,
    /// Further devices that send, to all receivers.
    #[serde(default)]
    pub(super) senders: Vec<Sender>,
    /// Large things outside of the room, whose late echoes make a channel differ between subcarriers.
    #[serde(default)]
    pub(super) reflectors: Vec<Reflector>,
    /// What each receiver does to every frame.
    #[serde(default)]
    pub(super) impairments: Impairments,
    /// Rare events that disturb receivers.
    #[serde(default)]
    pub(super) disturbances: Disturbances,
    /// The people in the room.
    #[serde(default)]
    pub(super) people: Vec<Person>,
}

/// A box with reflecting walls; the corner at the origin is on the floor.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Room {
    /// Along x, at most 1000 m.
    pub(super) width_m: f32,
    /// Along y, at most 1000 m.
    pub(super) depth_m: f32,
    /// At most 1000 m.
    pub(super) height_m: f32,
    /// Share of the amplitude that a wall reflects, from 0 to 1.
    pub(super) wall_reflection: f32,
}

/// Shared by all radios.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Radio {
    /// Centre frequency.
    pub(super) centre_mhz: u16,
    /// Bandwidth, from 20 to 160.
    pub(super) bandwidth_mhz: u16,
    /// Distance of reported subcarriers in 802.11 indices: 1 reports all.
    pub(super) subcarrier_step: u16,
    /// Share of the amplitude on the direct path that passes what stands between the devices.
    #[serde(default = "default_line_of_sight")]
    pub(super) line_of_sight: f32,
}

fn default_line_of_sight() -> f32 {
    1.0
}

/// The device that sends.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AccessPoint {
    /// Place: x, y and height.
    pub(super) position_m: [f32; 3],
}

/// A thing that reflects, such as a wall of another room.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Reflector {
    /// Place: x, y and height.
    pub(super) position_m: [f32; 3],
    /// Share of the amplitude that it reflects, from 0 to 1.
    pub(super) reflection: f32,
}

/// A device that sends.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Sender {
    /// The transmitter of its links.
    pub(super) name: String,
    /// Place: x, y and height.
    pub(super) position_m: [f32; 3],
}

/// A receiver with a row of antennas, half a wavelength apart, across the direction it faces.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Receiver {
    /// The receiver of its links.
    pub(super) name: String,
    /// Place: x, y and height.
    pub(super) position_m: [f32; 3],
    /// Direction it faces on the plan, in degrees from the x axis.
    pub(super) facing_deg: f32,
    /// Antennas, from 1 to 16.
    pub(super) n_rx: u16,
}

/// The largest valid rate and sizes; larger ones are errors of the scene.
const MAX_RATE_HZ: f64 = 10_000.0;
const MAX_EXTENT_M: f32 = 1_000.0;
const MAX_ANTENNAS: u16 = 16;

/// The name of the access point.
pub(super) const ACCESS_POINT: &str = "ap";

/// The resolution of movements.
const MOVEMENT_STEP_MS: u64 = 10;

/// Distance that random people keep from the walls.
const MARGIN_M: f32 = 0.6;

fn are_distinct<'a>(names: impl Iterator<Item = &'a str>) -> bool {
    let mut known = BTreeSet::new();
    names.into_iter().all(|name| known.insert(name))
}

/// Returns the JSON Schema of scene files.
pub fn scene_schema() -> Schema {
    schema_for!(Scene)
}

impl Scene {
    /// Reads a scene file.
    ///
    /// # Errors
    ///
    /// [`SourceError::Read`] if it cannot be read, [`SourceError::Scene`] if it is not a scene.
    pub fn load(path: &Path) -> Result<Self, SourceError> {
        let text = fs::read_to_string(path)
            .map_err(|source| SourceError::Read { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|reason| SourceError::Scene { path: path.to_owned(), reason })
    }

    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let scene: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        scene.validate()?;
        Ok(scene)
    }

    fn validate(&self) -> Result<(), String> {
        let Room { width_m, depth_m, height_m, wall_reflection } = self.room;
        let extent = |extent_m: f32| extent_m > 0.0 && extent_m <= MAX_EXTENT_M;
        let checks = [
            (
                self.rate_hz > 0.0 && self.rate_hz <= MAX_RATE_HZ,
                "rate_hz must be above 0, at most 10000",
            ),
            (
                extent(width_m) && extent(depth_m) && extent(height_m),
                "room must be above 0 m, at most 1000 m",
            ),
            ((0.0..=1.0).contains(&wall_reflection), "wall_reflection must be from 0 to 1"),
            (self.radio.centre_mhz > 0, "centre_mhz must be above 0"),
            (self.radio.subcarrier_step > 0, "subcarrier_step must be above 0"),
            (
                (20..=160).contains(&self.radio.bandwidth_mhz),
                "bandwidth_mhz must be from 20 to 160",
            ),
            ((0.0..=1.0).contains(&self.radio.line_of_sight), "line_of_sight must be from 0 to 1"),
            (
                self.reflectors.iter().all(|it| (0.0..=1.0).contains(&it.reflection)),
                "reflection must be from 0 to 1",
            ),
            (!self.receivers.is_empty(), "there must be a receiver"),
            (
                are_distinct(self.receivers.iter().map(|receiver| receiver.name.as_str())),
                "receivers must have different names",
            ),
            (
                are_distinct(self.senders.iter().map(|it| it.name.as_str()).chain([ACCESS_POINT])),
                "senders must have different names, other than \"ap\"",
            ),
            (
                self.receivers.iter().all(|receiver| (1..=MAX_ANTENNAS).contains(&receiver.n_rx)),
                "n_rx must be from 1 to 16",
            ),
            (
                self.people.iter().all(Person::valid),
                "a person needs a height, a speed and a script that takes time",
            ),
            (
                self.impairments.valid(),
                "impairments must be finite and not negative, packet_loss below 1",
            ),
            (
                self.disturbances.valid(),
                "disturbances must be finite and not negative, at most 6000 a minute and 3600 s",
            ),
        ];
        match checks.into_iter().find(|(holds, _)| !holds) {
            Some((_, complaint)) => Err(complaint.to_owned()),
            None => Ok(()),
        }
    }

    /// Returns the same room with `n_people` other people, who follow random scripts.
    #[must_use]
    pub fn with_random_people(&self, seed: u64, n_people: usize) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let people = (0..n_people).map(|_| self.random_person(&mut random)).collect();
        Self { seed, people, ..self.clone() }
    }

    /// Returns when somebody walks or changes posture, in the time from the start: from one time to another.
    pub fn movements(&self, duration: TimeSpan) -> Vec<[TimeSpan; 2]> {
        let timelines: Vec<_> = self.people.iter().map(Timeline::new).collect();
        let mut movements: Vec<[TimeSpan; 2]> = Vec::new();
        let steps = (0..duration.as_ms()).step_by(MOVEMENT_STEP_MS as usize);
        for at_ms in steps.filter(|at_ms| {
            let at_s = *at_ms as f64 / 1000.0;
            timelines.iter().any(|timeline| timeline.at(at_s).is_moving())
        }) {
            let (from, to) =
                (TimeSpan::from_ms(at_ms), TimeSpan::from_ms(at_ms + MOVEMENT_STEP_MS));
            match movements.last_mut().filter(|[_, end]| *end == from) {
                Some([_, end]) => *end = to,
                None => movements.push([from, to]),
            }
        }
        movements
    }

    /// Returns the bandwidth of the channel.
    pub fn bandwidth_mhz(&self) -> u16 {
        self.radio.bandwidth_mhz
    }

    /// Returns the scene at another signal-to-noise ratio.
    #[must_use]
    pub fn with_snr_db(mut self, snr_db: f32) -> Self {
        self.impairments.snr_db = snr_db;
        self
    }

    /// Returns the scene without one of its receivers, which is `index` modulo their number.
    #[must_use]
    pub fn without_receiver(mut self, index: u64) -> Self {
        if !self.receivers.is_empty() {
            self.receivers.remove((index % self.receivers.len() as u64) as usize);
        }
        self
    }

    fn random_person(&self, random: &mut ChaCha8Rng) -> Person {
        const N_STEPS: usize = 16;
        let mut place = || {
            let x_m = random.random_range(MARGIN_M..self.room.width_m - MARGIN_M);
            [x_m, random.random_range(MARGIN_M..self.room.depth_m - MARGIN_M)]
        };
        let starts_at_m = place();
        let places: Vec<_> = (0..N_STEPS).map(|_| place()).collect();
        let script = places.into_iter().flat_map(|place| {
            let stays_s = random.random_range(1.0..5.0);
            let stays = match random.random_range(0..8) {
                0..3 => Step::StandS(stays_s),
                3..5 => Step::SitS(stays_s),
                5 => Step::LieS(stays_s),
                6 => Step::FallS(stays_s),
                _ => Step::StandS(0.2),
            };
            [Step::WalkTo(place), stays]
        });
        let script = script.collect();
        let height_m = random.random_range(1.55..1.9);
        let speed_m_s = random.random_range(0.6..1.4);
        let breaths_per_minute = default_breaths_per_minute();
        Person { starts_at_m, height_m, speed_m_s, breaths_per_minute, script }
    }

    /// Returns the positions of the radios, for models that use them.
    pub fn geometry(&self) -> SiteGeometry {
        let receivers = self.receivers.iter().map(|receiver| ReceiverGeometry {
            name: receiver.name.clone(),
            antennas_m: self.antennas_m(receiver),
        });
        SiteGeometry {
            width_m: self.room.width_m,
            depth_m: self.room.depth_m,
            height_m: self.room.height_m,
            transmitter_m: self.access_point.position_m,
            receivers: receivers.collect(),
            centre_mhz: f32::from(self.radio.centre_mhz),
            subcarriers: self.subcarriers(),
        }
    }

    /// Returns the antennas of a receiver, `[n_rx]`, in site coordinates.
    fn antennas_m(&self, receiver: &Receiver) -> Vec<[f32; 3]> {
        let wavelength_m = SPEED_OF_LIGHT_M_S / (f64::from(self.radio.centre_mhz) * 1e6);
        let spacing_m = wavelength_m as f32 / 2.0;
        let (sin, cos) = (receiver.facing_deg / 360.0 * TAU).sin_cos();
        let [x, y, z] = receiver.position_m;
        let middle = f32::from(receiver.n_rx - 1) / 2.0;
        let offsets = (0..receiver.n_rx).map(|rx| (f32::from(rx) - middle) * spacing_m);
        offsets.map(|offset_m| [x - sin * offset_m, y + cos * offset_m, z]).collect()
    }

    /// Returns every `subcarrier_step`-th occupied subcarrier of an 802.11ac channel of this bandwidth.
    pub(super) fn subcarriers(&self) -> Vec<i16> {
        let edge: i16 = match self.radio.bandwidth_mhz {
            ..40 => 28,
            40..80 => 58,
            80..160 => 122,
            160.. => 250,
        };
        let step = usize::from(self.radio.subcarrier_step);
        (-edge..=edge).filter(|index| index.abs() >= 2).step_by(step).collect()
    }
}
