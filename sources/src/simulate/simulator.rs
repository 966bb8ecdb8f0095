//! The simulator as a source: steps through time and gives CSI and ground truth.

use num_complex::Complex32;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use schemas::{
    BoundingBox, CsiFrame, CsiLayout, Estimator, EstimatorKind, KEYPOINT_NAMES, Keypoint, Person,
    PoseFrame, Record, SitePosition, SourceKind,
};

use crate::simulate::body::BodyState;
use crate::simulate::impairments::Impairments;
use crate::simulate::radio::Channel;
use crate::simulate::scene::{Room, Scene};
use crate::simulate::script::Timeline;
use crate::{Intake, LinkNames, Poll, PollState, Source, SourceContext, SourceError};

const NS_PER_S: f64 = 1e9;
/// The ground truth comes at every n-th frame, so that it is about ten times a second.
const TRUTH_RATE_HZ: f64 = 10.0;
/// Signal strength of an amplitude of one.
const RSSI_AT_ONE_DBM: f32 = -40.0;

/// A simulated room that is stepped through time.
#[derive(Debug)]
pub struct Simulator {
    site: String,
    name: String,
    room: Room,
    rate_hz: f64,
    starts_at_ns: i64,
    n_steps: u64,
    next_step: u64,
    steps_per_poll: usize,
    steps_per_truth: u64,
    timelines: Vec<Timeline>,
    receivers: Vec<Receiver>,
    impairments: Impairments,
    intake: Intake,
}

/// One receiver: its channel and its noise.
#[derive(Debug)]
struct Receiver {
    name: String,
    layout: CsiLayout,
    channel: Channel,
    mean_amplitude: f32,
    random: ChaCha8Rng,
    response: Vec<Complex32>,
}

impl Simulator {
    /// A simulator of `scene` whose time starts at `starts_at_ns`; it ends after `duration_s`.
    pub fn new(
        scene: &Scene,
        context: &SourceContext<'_>,
        starts_at_ns: i64,
        duration_s: Option<f64>,
        steps_per_poll: usize,
    ) -> Self {
        let geometry = scene.geometry();
        let receivers = geometry.receivers.into_iter().zip(0_u64..).map(|(receiver, index)| {
            let layout = CsiLayout {
                // A scene has at most 16 antennas.
                n_rx: receiver.antennas_m.len() as u16,
                n_tx: 1,
                subcarriers: scene.subcarriers(),
                bandwidth_mhz: scene.radio.bandwidth_mhz,
                centre_mhz: scene.radio.centre_mhz,
            };
            let channel = Channel::new(scene, receiver.antennas_m);
            let mean_amplitude = channel.mean_amplitude();
            let mut random = ChaCha8Rng::seed_from_u64(scene.seed);
            random.set_stream(index);
            Receiver {
                name: receiver.name,
                layout,
                channel,
                mean_amplitude,
                random,
                response: Vec::new(),
            }
        });
        let names = LinkNames {
            site: scene.site.clone(),
            receiver: String::new(),
            transmitter: "ap".to_owned(),
        };
        Self {
            site: scene.site.clone(),
            name: context.name.to_owned(),
            room: scene.room,
            rate_hz: scene.rate_hz,
            starts_at_ns,
            n_steps: duration_s.map_or(u64::MAX, |duration_s| (duration_s * scene.rate_hz) as u64),
            next_step: 0,
            steps_per_poll,
            steps_per_truth: (scene.rate_hz / TRUTH_RATE_HZ).round().max(1.0) as u64,
            timelines: scene.people.iter().map(Timeline::new).collect(),
            receivers: receivers.collect(),
            impairments: scene.impairments,
            intake: Intake::new(names, SourceKind::Simulated, context.tick_length),
        }
    }

    /// Simulates one moment.
    fn step(&mut self) {
        let time_s = self.next_step as f64 / self.rate_hz;
        let captured_at_ns = self.starts_at_ns + (time_s * NS_PER_S) as i64;
        let states: Vec<_> = self.timelines.iter().map(|timeline| timeline.at(time_s)).collect();
        let bodies: Vec<_> = states.iter().map(BodyState::joints_m).collect();
        for receiver in &mut self.receivers {
            receiver.channel.respond(&bodies, &mut receiver.response);
            let gain_db = self.impairments.apply(
                time_s,
                receiver.mean_amplitude,
                &receiver.layout.subcarriers,
                &mut receiver.response,
                &mut receiver.random,
            );
            let Some(agc_db) = gain_db else { continue };
            let frame = CsiFrame {
                captured_at_ns,
                // Wraps as a device's counter does.
                sequence: self.next_step as u32,
                rssi_dbm: RSSI_AT_ONE_DBM + 20.0 * receiver.mean_amplitude.log10(),
                noise_dbm: -92.0,
                agc_db,
            };
            let (name, response) = (Some(receiver.name.as_str()), &receiver.response);
            self.intake.push_from(name, None, &receiver.layout, frame, response);
        }
        if self.next_step.is_multiple_of(self.steps_per_truth) {
            let places = states.iter().map(|state| state.place_m);
            let persons = places.zip(&bodies).enumerate().map(|(index, (place_m, joints_m))| {
                self.room.person(format!("{index}"), place_m, joints_m)
            });
            let persons = persons.collect();
            let truth = self.truth(captured_at_ns, persons);
            self.intake.push_record(captured_at_ns, Record::Pose(truth));
        }
        self.next_step += 1;
    }

    fn truth(&self, captured_at_ns: i64, persons: Vec<Person>) -> PoseFrame {
        PoseFrame {
            site: self.site.clone(),
            source: format!("{}.truth", self.name),
            captured_at_ns,
            frame_id: self.next_step / self.steps_per_truth,
            persons,
            processing_time_ms: None,
            source_kind: SourceKind::Simulated,
            estimator: Estimator {
                kind: EstimatorKind::GroundTruth,
                name: "simulator".to_owned(),
                hash: None,
            },
        }
    }
}

impl Room {
    /// A person in the room's elevation.
    fn person(&self, id: String, [x_m, y_m]: [f32; 2], joints_m: &[[f32; 3]]) -> Person {
        let keypoints =
            (0_u8..).zip(KEYPOINT_NAMES).zip(joints_m).map(|((id, name), joint_m)| Keypoint {
                id,
                name: name.to_owned(),
                x: joint_m[0] / self.width_m,
                y: 1.0 - joint_m[2] / self.height_m,
                confidence: 1.0,
            });
        let keypoints: Vec<_> = keypoints.collect();
        Person {
            id,
            bounding_box: BoundingBox::around(&keypoints),
            keypoints,
            confidence: 1.0,
            position: Some(SitePosition { x_m, y_m }),
            zone: None,
            activity: None,
        }
    }
}

impl Source for Simulator {
    fn poll(&mut self) -> Result<Poll, SourceError> {
        for _ in 0..self.steps_per_poll {
            if self.next_step >= self.n_steps {
                break;
            }
            self.step();
        }
        let ended = self.next_step >= self.n_steps;
        let state = if ended { PollState::End } else { PollState::Ready };
        Ok(self.intake.take(state))
    }
}
