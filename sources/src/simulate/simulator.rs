//! The simulator as a source: it steps through time, and sends CSI and ground truth.

use std::iter;
use std::sync::Arc;

use num_complex::Complex32;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use schemas::{
    BoundingBox, CsiLayout, Estimator, EstimatorKind, KEYPOINT_NAMES, Keypoint, Person, PoseFrame,
    Record, SitePosition, SourceKind, TimeSpan,
};
use serde::{Deserialize, Serialize};

use crate::simulate::body::BodyState;
use crate::simulate::disturbances::Disturbances;
use crate::simulate::impairments::Impairments;
use crate::simulate::radio::Channel;
use crate::simulate::scene::{ACCESS_POINT, Room, Scene};
use crate::simulate::script::Timeline;
use crate::{
    Collector, Counter, DeviceFrame, DeviceTime, LinkNames, Poll, Source, SourceContext,
    SourceError,
};

const NS_PER_S: f64 = 1e9;
/// The approximate rate of the ground truth, which is sent with every n-th frame.
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
    links: Vec<SimulatedLink>,
    n_senders: usize,
    n_receivers: usize,
    seed: u64,
    impairments: Impairments,
    disturbances: Disturbances,
    collector: Collector,
}

/// The position of a simulator: the step, and the random numbers that each link has used.
#[derive(Debug, Serialize, Deserialize)]
struct Place {
    next_step: u64,
    random_words: Vec<u128>,
}

/// One link: its channel and its noise.
#[derive(Debug)]
struct SimulatedLink {
    receiver: String,
    transmitter: String,
    layout: Arc<CsiLayout>,
    channel: Channel,
    mean_amplitude: f32,
    random: ChaCha8Rng,
    response: Vec<Complex32>,
}

impl Simulator {
    /// Returns a simulator of `scene`. Its time starts at `starts_at_ns`; it ends after `duration`.
    pub fn new(
        scene: &Scene,
        context: &SourceContext<'_>,
        starts_at_ns: i64,
        duration: Option<TimeSpan>,
        steps_per_poll: usize,
    ) -> Self {
        let ap = (ACCESS_POINT, scene.access_point.position_m);
        let others = scene.senders.iter().map(|sender| (sender.name.as_str(), sender.position_m));
        let receivers = scene.geometry().receivers;
        let ends = iter::once(ap)
            .chain(others)
            .flat_map(|sender| receivers.iter().map(move |receiver| (sender, receiver)));
        let links = ends.zip(0_u64..).map(|(((transmitter, transmitter_m), receiver), index)| {
            let layout = Arc::new(CsiLayout {
                // A scene has at most 16 antennas.
                n_rx: receiver.antennas_m.len() as u16,
                n_tx: 1,
                subcarriers: scene.subcarriers(),
                bandwidth_mhz: scene.radio.bandwidth_mhz,
                centre_mhz: scene.radio.centre_mhz,
                ..CsiLayout::default()
            });
            let channel = Channel::new(scene, transmitter_m, receiver.antennas_m.clone());
            let mean_amplitude = channel.mean_amplitude();
            let mut random = ChaCha8Rng::seed_from_u64(scene.seed);
            random.set_stream(index);
            SimulatedLink {
                receiver: receiver.name.clone(),
                transmitter: transmitter.to_owned(),
                layout,
                channel,
                mean_amplitude,
                random,
                response: Vec::new(),
            }
        });
        let links = links.collect();
        let names = LinkNames {
            site: scene.site.clone(),
            receiver: String::new(),
            transmitter: ACCESS_POINT.to_owned(),
        };
        Self {
            seed: scene.seed,
            n_senders: 1 + scene.senders.len(),
            n_receivers: receivers.len(),
            site: scene.site.clone(),
            name: context.name.to_owned(),
            room: scene.room,
            rate_hz: scene.rate_hz,
            starts_at_ns,
            n_steps: duration.map_or(u64::MAX, |it| (it.as_s() * scene.rate_hz) as u64),
            next_step: 0,
            steps_per_poll,
            steps_per_truth: (scene.rate_hz / TRUTH_RATE_HZ).round().max(1.0) as u64,
            timelines: scene.people.iter().map(Timeline::new).collect(),
            links,
            impairments: scene.impairments,
            disturbances: scene.disturbances,
            collector: Collector::new(names, SourceKind::Simulated, context),
        }
    }

    /// Continues at the position of an earlier run.
    ///
    /// # Errors
    ///
    /// [`SourceError::Position`] if the saved position is not a simulator's.
    pub fn resume(mut self, context: &SourceContext<'_>) -> Result<Self, SourceError> {
        if let Some(place) = self.collector.restore::<Place>(context, "")? {
            self.next_step = place.next_step;
            for (link, word) in self.links.iter_mut().zip(place.random_words) {
                link.random.set_word_pos(word);
            }
        }
        Ok(self)
    }

    /// Returns the position of the next step.
    fn place(&self) -> Place {
        let random_words = self.links.iter().map(|link| link.random.get_word_pos());
        Place { next_step: self.next_step, random_words: random_words.collect() }
    }

    /// Simulates one moment.
    fn step(&mut self) {
        let time_s = self.next_step as f64 / self.rate_hz;
        let captured_at_ns = self.starts_at_ns + (time_s * NS_PER_S) as i64;
        let place = self.collector.leaves_granule(captured_at_ns).then(|| self.place());
        let states: Vec<_> = self.timelines.iter().map(|timeline| timeline.at(time_s)).collect();
        let bodies: Vec<_> = states.iter().map(BodyState::joints_m).collect();
        self.collector.commit();
        for (index, link) in self.links.iter_mut().enumerate() {
            let (sender, receiver) = (index / self.n_receivers, index % self.n_receivers);
            let disturbance = self.disturbances.at(time_s, self.seed, receiver as u64);
            link.channel.respond(&bodies, &mut link.response);
            let gain_db = self.impairments.apply(
                time_s,
                disturbance,
                link.mean_amplitude,
                &link.layout.subcarriers,
                &mut link.response,
                &mut link.random,
            );
            let Some(agc_db) = gain_db else { continue };
            let count = self.next_step * self.n_senders as u64 + sender as u64;
            self.collector.push(&DeviceFrame {
                receiver: Some(&link.receiver),
                transmitter: Some(&link.transmitter),
                layout: &link.layout,
                time: DeviceTime::Ns(captured_at_ns),
                // Wraps as a device's counter does.
                counter: Counter::OfReceiver { count: count as u32, bits: 32 },
                rssi_dbm: RSSI_AT_ONE_DBM + 20.0 * link.mean_amplitude.log10(),
                noise_dbm: -92.0,
                agc_db,
                scale: 10_f32.powf(-agc_db / 20.0),
                values: &link.response,
            });
        }
        if self.next_step.is_multiple_of(self.steps_per_truth) {
            let places = states.iter().map(|state| state.place_m);
            let persons = places.zip(&bodies).enumerate().map(|(index, (place_m, joints_m))| {
                self.room.person(format!("{index}"), place_m, joints_m)
            });
            let persons = persons.collect();
            let truth = self.truth(captured_at_ns, persons);
            self.collector.push_record(captured_at_ns, Record::Pose(truth));
        }
        if let Some(place) = place {
            self.collector.record_position(&place);
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
    /// Projects a person onto the room's elevation.
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
        if self.next_step >= self.n_steps {
            let place = self.place();
            return Ok(self.collector.finish(&place));
        }
        Ok(self.collector.take())
    }
}

#[cfg(test)]
mod tests {
    use schemas::{CsiBatch, Tick};

    use super::*;
    use crate::{PartitionPosition, PollState};

    const SCENE: &str = include_str!("../../../pipelines/scenes/flat.toml");

    /// The records of a scene in two seconds.
    fn records(scene: &Scene) -> Vec<Record> {
        let (records, _) = read_on(scene, &SourceContext::detached("room"));
        records.into_iter().map(|(_, record)| record).collect()
    }

    /// The records of a scene from a position on, with their positions.
    fn read_on(
        scene: &Scene,
        context: &SourceContext<'_>,
    ) -> (Vec<(Tick, Record)>, Vec<PartitionPosition>) {
        let simulator = Simulator::new(scene, context, 0, Some(TimeSpan::from_s(2)), 7);
        let mut simulator = simulator.resume(context).expect("its own position");
        let (mut records, mut positions, mut ended) = (Vec::new(), Vec::new(), false);
        while !ended {
            let poll = simulator.poll().expect("simulation does not fail");
            records.extend(poll.records);
            positions.extend(poll.positions);
            ended = poll.state == PollState::End;
        }
        (records, positions)
    }

    #[test]
    fn it_goes_on_where_it_was() {
        let scene = Scene::parse(SCENE).expect("the example is a scene");
        let context = SourceContext::detached("room");
        let (all, positions) = read_on(&scene, &context);
        let PartitionPosition { tick, position, .. } = &positions[0];
        let positions = [(Vec::new(), position.clone().expect("it is there"))];
        let (rest, _) = read_on(&scene, &SourceContext { positions: &positions, ..context });
        let expected: Vec<_> = all.into_iter().filter(|(at, _)| at >= tick).collect();
        assert_eq!(*tick, 1000);
        assert!(rest == expected, "{} records, not {}", rest.len(), expected.len());
    }

    fn csi(records: &[Record]) -> Vec<&CsiBatch> {
        let csi = records.iter().filter_map(|record| match record {
            Record::Csi(batch) => Some(batch),
            _ => None,
        });
        csi.collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_records() {
        let scene = Scene::parse(SCENE).expect("the example is a scene");
        let other = Scene { seed: scene.seed + 1, ..scene.clone() };
        assert_eq!(records(&scene), records(&scene));
        assert_ne!(records(&scene), records(&other));
    }

    #[test]
    fn everything_says_that_it_is_simulated() {
        let scene = Scene::parse(SCENE).expect("the example is a scene");
        let records = records(&scene);
        let truths = records.iter().filter_map(|record| match record {
            Record::Pose(truth) => Some(truth),
            _ => None,
        });
        let truths: Vec<_> = truths.collect();
        assert_eq!(truths.len(), 20, "ten a second");
        assert!(truths.iter().all(|truth| truth.source_kind == SourceKind::Simulated));
        assert!(truths.iter().all(|truth| truth.persons.len() == 2));
        let batches = csi(&records);
        assert!(batches.iter().all(|batch| batch.source_kind == SourceKind::Simulated));
        let n_frames: usize = batches.iter().map(|batch| batch.len()).sum();
        assert!((380..400).contains(&n_frames), "{n_frames} of 400, some packets are lost");
    }

    #[test]
    fn only_people_move_the_channel() {
        let scene = Scene::parse(SCENE).expect("the example is a scene");
        let clean = Impairments {
            snr_db: 200.0,
            sto_ns: 0.0,
            sfo_ns_s: 0.0,
            cfo_hz: 0.0,
            agc_step_db: 0.0,
            packet_loss: 0.0,
        };
        let amplitudes = |people: bool| {
            let people = if people { scene.people.clone() } else { Vec::new() };
            let records = records(&Scene { people, impairments: clean, ..scene.clone() });
            csi(&records).iter().map(|batch| batch.values(0)[0].norm()).collect::<Vec<_>>()
        };
        let spread = |amplitudes: &[f32]| {
            // Every fourth is of the same receiver.
            let same: Vec<_> = amplitudes.iter().step_by(4).copied().collect();
            same.iter().copied().fold(f32::MIN, f32::max)
                - same.iter().copied().fold(f32::MAX, f32::min)
        };
        assert!(spread(&amplitudes(false)) < 1e-5);
        assert!(spread(&amplitudes(true)) > 1e-3);
    }

    #[test]
    fn what_is_no_scene_is_refused() {
        for (change, to) in [
            ("rate_hz = 50", "rate_hz = 0"),
            ("rate_hz = 50", "rate_hzz = 50"),
            ("width_m = 6.0", "width_m = -1.0"),
            ("wall_reflection = 0.35", "wall_reflection = 2.0"),
            ("subcarrier_step = 4", "subcarrier_step = 0"),
            ("n_rx = 4", "n_rx = 0"),
            ("packet_loss = 0.01", "packet_loss = 1.0"),
            ("speed_m_s = 1.0", "speed_m_s = 0.0"),
        ] {
            assert!(Scene::parse(&SCENE.replacen(change, to, 1)).is_err(), "{to}");
        }
    }
}
