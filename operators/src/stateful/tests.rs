//! The output and the state of an operator depend neither on workers nor on the order of arrival.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use num_complex::Complex32;
use schemas::{
    CsiBatch, CsiFrame, CsiLayout, Link, Presence, SourceKind, TimeSpan, stable_hash,
    stable_hash_bytes,
};
use serde::Deserialize;
use timely::dataflow::operators::{Concat, Input, Inspect};

use super::*;
use crate::testing::nothing;
use crate::{DetectMotion, MotionConfig};

const TIME_TO_LIVE_MS: u64 = 1000;
const MAX_KEYS: usize = 2;

/// A list that workers append to.
type Shared<T> = Arc<Mutex<Vec<T>>>;

fn push<T>(shared: &Shared<T>, item: T) {
    shared.lock().unwrap_or_else(PoisonError::into_inner).push(item);
}

fn take<T>(shared: &Shared<T>) -> Vec<T> {
    std::mem::take(&mut *shared.lock().unwrap_or_else(PoisonError::into_inner))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Device(u16);

impl StateKey for Device {
    fn route(&self) -> u64 {
        stable_hash_bytes(&self.0.to_le_bytes())
    }
}

impl Ordered for Device {
    fn compare(&self, other: &Self) -> Ordering {
        self.cmp(other)
    }
}

/// A device's number of records; 0 when it is evicted.
type Count = (Tick, Device, u32);

/// Counts the records of each device; also sends evicted devices if it is `LOUD`.
struct Counts<const LOUD: bool>;

impl<const LOUD: bool> Stateful for Counts<LOUD> {
    type Input = Device;
    type Output = (Device, u32);
    type Key = Device;
    type State = u32;

    const LIMITS: StateLimits =
        StateLimits { time_to_live_ms: Some(TIME_TO_LIVE_MS), max_keys_per_group: MAX_KEYS };
    const EMITS_ON_EVICT: bool = LOUD;

    fn route(device: &Device) -> u64 {
        StateKey::route(device)
    }

    fn on_tick(&mut self, _tick: Tick, devices: Vec<Device>, work: &mut Work<'_, Self>) {
        for device in devices {
            let count = work.state.change(&device, || 0);
            *count += 1;
            work.outputs.push((device, *count));
        }
    }

    fn on_evict(&mut self, _: Tick, device: &Device, _: &u32, work: &mut Work<'_, Self>) {
        if LOUD {
            work.outputs.push((*device, 0));
        }
    }
}

/// A few frequent devices among many rare ones, and idle periods.
fn inputs() -> Vec<(Tick, Device)> {
    let (mut seed, mut tick) = (7_u64, 0);
    let inputs = (0..20_000_u64).map(|nth| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let n_devices = if nth.is_multiple_of(3) { 40 } else { 3000 };
        tick += match nth {
            nth if nth.is_multiple_of(4000) => 1500,
            nth if nth.is_multiple_of(20) => 10,
            _ => 0,
        };
        (tick, Device((seed >> 33) as u16 % n_devices))
    });
    inputs.collect()
}

/// The output of `Counts` in order, by a direct implementation of the rules.
fn expected(inputs: &[(Tick, Device)], loud: bool) -> Vec<Count> {
    let group = |device: &Device| key_group(device.route());
    let mut known = BTreeMap::<Device, (Tick, u32)>::new();
    let mut counts = Vec::new();
    for of_tick in inputs.chunk_by(|(a, _), (b, _)| a == b) {
        let tick = of_tick[0].0;
        let groups: BTreeSet<_> = of_tick.iter().map(|(_, device)| group(device)).collect();
        let mut forgotten: Vec<_> = known
            .iter()
            .filter(|(device, (used_at, _))| {
                used_at + TIME_TO_LIVE_MS <= tick && (!loud || groups.contains(&group(device)))
            })
            .map(|(device, _)| *device)
            .collect();
        known.retain(|device, _| !forgotten.contains(device));
        for (_, device) in of_tick {
            let (used_at, count) = known.entry(*device).or_default();
            (*used_at, *count) = (tick, *count + 1);
            counts.push((tick, *device, *count));
        }
        for of_group in groups {
            let members = known.iter().filter(|(device, _)| group(device) == of_group);
            let mut by_use: Vec<_> =
                members.map(|(device, (used_at, _))| (*used_at, *device)).collect();
            by_use.sort_unstable();
            let n_excess = by_use.len().saturating_sub(MAX_KEYS);
            let excess: Vec<_> = by_use[..n_excess].iter().map(|(_, device)| *device).collect();
            known.retain(|device, _| !excess.contains(device));
            forgotten.extend(excess);
        }
        if loud {
            counts.extend(forgotten.into_iter().map(|device| (tick, device, 0)));
        }
    }
    counts.sort_unstable();
    counts
}

/// Keys and their saved states.
type SavedState = BTreeMap<Vec<u8>, Vec<u8>>;

/// The output of `Counts` without earlier state, in order, and the saved state at the end.
fn counted<const LOUD: bool>(
    inputs: &[(Tick, Device)],
    n_workers: usize,
) -> (Vec<Count>, SavedState) {
    counted_from::<LOUD>(0, SavedState::new(), inputs, n_workers)
}

/// The output of `Counts` for inputs from a tick on, with the saved state of that tick.
fn counted_from<const LOUD: bool>(
    starts_at: Tick,
    restored: SavedState,
    inputs: &[(Tick, Device)],
    n_workers: usize,
) -> (Vec<Count>, SavedState) {
    let mut saved = restored.clone();
    let restored = Arc::new(restored.into_iter().collect::<Vec<_>>());
    let (counts, changes) = (Shared::default(), Shared::default());
    let (to_counts, to_changes) = (Arc::clone(&counts), Arc::clone(&changes));
    let inputs = inputs.to_vec();
    let guards = timely::execute(timely::Config::process(n_workers), move |worker| {
        let (to_counts, to_changes) = (Arc::clone(&to_counts), Arc::clone(&to_changes));
        let mut input = worker.dataflow::<Tick, _, _>(|scope| {
            let (input, devices) = scope.new_input::<Vec<Device>>();
            let mut context = Context::detached("counts");
            context.state.starts_at = starts_at;
            context.state.restored = Arc::clone(&restored);
            stateful(devices, &context, Counts::<LOUD>)
                .inspect_time(move |tick, count| push(&to_counts, (*tick, count.0, count.1)));
            let changes = context.state.changes.take().pop().expect("what it remembers is saved");
            changes.inspect_time(move |tick, change| push(&to_changes, (*tick, change.clone())));
            input
        });
        for (nth, (tick, device)) in inputs.iter().enumerate() {
            if *tick > *input.time() {
                input.advance_to(*tick);
            }
            if nth % worker.peers() == worker.index() {
                input.send(*device);
            }
            if nth.is_multiple_of(7) {
                worker.step();
            }
        }
    });
    guards.expect("workers start").join().into_iter().for_each(|worker| worker.expect("no panic"));
    let (mut counts, mut changes) = (take(&counts), take(&changes));
    counts.sort_unstable();
    changes.sort_by_key(|(tick, _): &(Tick, Change)| *tick);
    for (_, Change { key, value, .. }) in changes {
        match value {
            Some(value) => saved.insert(key, value),
            None => saved.remove(&key),
        };
    }
    (counts, saved)
}

#[test]
fn what_is_forgotten_does_not_depend_on_workers() {
    let inputs = inputs();
    let (quiet, loud) = (expected(&inputs, false), expected(&inputs, true));
    assert!(quiet.iter().any(|(_, _, count)| *count > 10), "some are remembered");
    assert!(loud.iter().filter(|(_, _, count)| *count == 0).count() > 1000, "many are forgotten");
    let (_, saved) = counted::<true>(&inputs, 1);
    for n_workers in [1, 2, 4] {
        let (counts, saved_quietly) = counted::<false>(&inputs, n_workers);
        assert!(counts == quiet, "with {n_workers} workers");
        let found = counted::<true>(&inputs, n_workers);
        assert!(found.0 == loud, "with {n_workers} workers that tell what is forgotten");
        assert_eq!(found.1, saved, "with {n_workers} workers");
        for saved in [saved_quietly, found.1] {
            assert!(saved.len() <= N_KEY_GROUPS * MAX_KEYS, "{} keys are saved", saved.len());
        }
    }
}

/// A run from saved state continues as if the earlier run had not ended.
#[test]
fn what_is_forgotten_does_not_depend_on_restarts() {
    fn restarted<const LOUD: bool>(inputs: &[(Tick, Device)]) -> Vec<Count> {
        let starts_at = inputs[inputs.len() / 2].0;
        let split = inputs.partition_point(|(tick, _)| *tick < starts_at);
        let (mut counts, saved) = counted::<LOUD>(&inputs[..split], 3);
        let (more, _) = counted_from::<LOUD>(starts_at, saved, &inputs[split..], 2);
        counts.extend(more);
        counts
    }
    let inputs = inputs();
    assert!(restarted::<false>(&inputs) == expected(&inputs, false));
    assert!(restarted::<true>(&inputs) == expected(&inputs, true));
}

/// Passes presences on in order.
struct Collects;

impl Stateful for Collects {
    type Input = Presence;
    type Output = Presence;
    type Key = Device;
    type State = ();

    const LIMITS: StateLimits = StateLimits::NO_STATE;

    fn route(_: &Presence) -> u64 {
        0
    }

    fn on_tick(&mut self, _: Tick, presences: Vec<Presence>, work: &mut Work<'_, Self>) {
        work.outputs.extend(presences);
    }
}

/// A frame of a link that has the same name at each site.
fn frame(tick: Tick, site: &str) -> CsiBatch {
    let layout = CsiLayout { n_rx: 1, n_tx: 1, subcarriers: vec![-1, 1], ..CsiLayout::default() };
    let link = Link { site: site.to_owned(), ..Link::default() };
    let mut batch = CsiBatch::new(link, layout.into(), SourceKind::Simulated);
    let spread = (stable_hash(&[site]) % 7) as f32 * (tick % 3) as f32;
    batch.iq.extend([Complex32::new(1.0, 0.0), Complex32::new(1.0 + spread, 0.0)]);
    let captured_at_ns = i64::try_from(tick).expect("small") * 1_000_000;
    batch.push_scalars(CsiFrame { captured_at_ns, ..CsiFrame::default() }).expect("it is full");
    batch
}

/// The reports of two operators with different settings, in the order of one collector; `turned` is another
/// order of arrival.
fn reported(n_workers: usize, turned: bool) -> Vec<Presence> {
    let reports = Shared::default();
    let to = Arc::clone(&reports);
    let guards = timely::execute(timely::Config::process(n_workers), move |worker| {
        let to = Arc::clone(&to);
        let mut input = worker.dataflow::<Tick, _, _>(|scope| {
            let (input, frames) = scope.new_input::<Vec<CsiBatch>>();
            let [one, other] = [0.5, 1.5].map(|threshold| {
                let config = MotionConfig {
                    window_frames: NonZeroUsize::MIN,
                    subcarriers: vec![0, 1],
                    calibration: TimeSpan::ZERO,
                    threshold: Some(threshold),
                    report_every: TimeSpan::ZERO,
                    hold: TimeSpan::ZERO,
                    ..MotionConfig::default()
                };
                let requests = nothing(frames.scope());
                frames.clone().detect_motion(requests, config, Context::detached("motion"))
            });
            let both = if turned { other.concat(one) } else { one.concat(other) };
            stateful(both, &Context::detached("collects"), Collects)
                .inspect(move |report| push(&to, report.clone()));
            input
        });
        for tick in 1..50 {
            input.advance_to(tick);
            let mut sites = ["attic", "cellar", "flat"];
            if turned {
                sites.reverse();
            }
            for (nth, site) in sites.into_iter().enumerate() {
                if nth % worker.peers() == worker.index() {
                    input.send(frame(tick, site));
                }
            }
            worker.step();
        }
    });
    guards.expect("workers start").join().into_iter().for_each(|worker| worker.expect("no panic"));
    take(&reports)
}

#[test]
fn records_of_two_operators_that_tie_have_an_order() {
    let expected = reported(1, false);
    assert_eq!(expected.len(), 49 * 3 * 2);
    for n_workers in [1, 2, 4] {
        for turned in [false, true] {
            let found = reported(n_workers, turned);
            assert!(found == expected, "with {n_workers} workers, turned: {turned}");
        }
    }
}
