//! The operator: it collects the CSI of a site, and infers people at regular intervals.

use std::sync::Arc;

use schemas::{CsiBatch, PoseFrame, SourceKind, Tick, TimeSpan, stable_hash};
use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;

use crate::infer::features::RecentFrames;
use crate::infer::receiver::SLOW_NS;
use crate::infer::{Features, Model};
use crate::keyed::{HOUR_MS, SiteName, StateLimits};
use crate::stateful::{Stateful, Work, stateful};
use crate::{Component, Context};

/// Pose inference on streams of CSI.
pub trait InferPoses<'scope> {
    /// Infers people at the end of every period `every` of event time.
    ///
    /// The operator drops and counts frames of receivers or layouts that are not in the model. It sends
    /// nothing until more than half of the model's receivers have a window of frames. State: two seconds of
    /// frames of each receiver, on the worker that the site hashes to. A site expires after an hour without
    /// frames. People have no identity yet.
    ///
    /// ```
    /// use std::path::Path;
    /// use std::sync::Arc;
    ///
    /// use num_complex::Complex32;
    /// use operators::{Context, InferPoses, Model};
    /// use schemas::{CsiBatch, CsiFrame, CsiLayout, Link, SourceKind, TimeSpan};
    /// use timely::dataflow::operators::{Inspect, ToStream};
    ///
    /// let model = Arc::new(Model::load(Path::new("../models/flat.safetensors"))?);
    /// let geometry = model.card().layout.geometry.clone();
    /// let mut batches = Vec::new();
    /// for receiver in &geometry.receivers {
    ///     let n_rx = receiver.antennas_m.len() as u16;
    ///     let subcarriers = geometry.subcarriers.clone();
    ///     let layout = CsiLayout { n_rx, n_tx: 1, subcarriers, ..CsiLayout::default() };
    ///     let link = Link { receiver: receiver.name.clone(), ..Link::default() };
    ///     let n_values = layout.n_values();
    ///     let mut batch = CsiBatch::new(link, layout.into(), SourceKind::Live);
    ///     // Three seconds of an empty room at 50 frames a second.
    ///     for nth in 0..150 {
    ///         batch.iq.extend(vec![Complex32::new(1.0, 0.0); n_values]);
    ///         let captured_at_ns = nth * 20_000_000;
    ///         batch.push_scalars(CsiFrame { captured_at_ns, ..CsiFrame::default() })?;
    ///     }
    ///     batches.push(batch);
    /// }
    /// let (to, times_ns) = std::sync::mpsc::channel();
    /// timely::example(move |scope| {
    ///     let batches = batches.to_stream(scope).container::<Vec<_>>();
    ///     let every = TimeSpan::from_ms(100);
    ///     let poses = batches.infer_poses(model, every, Context::detached("infer"));
    ///     poses.inspect(move |frame| to.send(frame.captured_at_ns).unwrap());
    /// });
    /// assert_eq!(times_ns.iter().collect::<Vec<_>>(), [2_980_000_000]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn infer_poses(
        self,
        model: Arc<Model>,
        every: TimeSpan,
        context: Context<'scope>,
    ) -> StreamVec<'scope, Tick, PoseFrame>;
}

impl<'scope> InferPoses<'scope> for StreamVec<'scope, Tick, CsiBatch> {
    fn infer_poses(
        self,
        model: Arc<Model>,
        every: TimeSpan,
        context: Context<'scope>,
    ) -> StreamVec<'scope, Tick, PoseFrame> {
        let component = context.component.clone();
        let features = model.features();
        let every_ns = every.as_ns();
        stateful(self, &context, Infers { model, features, every_ns, component })
    }
}

struct Infers {
    model: Arc<Model>,
    features: Features,
    every_ns: i64,
    component: Component,
}

/// The state of a site.
#[derive(Debug, Serialize, Deserialize)]
struct Site {
    frames: RecentFrames,
    source_kind: SourceKind,
    due_ns: Option<i64>,
    n_frames: u64,
}

impl Stateful for Infers {
    type Input = CsiBatch;
    type Output = PoseFrame;
    type Key = SiteName;
    type State = Site;

    /// Only two seconds of frames matter, and they are large. A model covers few sites.
    const LIMITS: StateLimits =
        StateLimits { time_to_live_ms: Some(HOUR_MS), max_keys_per_group: 8 };

    fn route(batch: &CsiBatch) -> u64 {
        stable_hash(&[&batch.link.site])
    }

    fn on_tick(&mut self, _tick: Tick, mut batches: Vec<CsiBatch>, work: &mut Work<'_, Self>) {
        // A site without usable frames has no state.
        batches.retain(|batch| self.knows(batch));
        // Stable, so that the batches of a site stay in order.
        batches.sort_by(|a, b| a.link.site.cmp(&b.link.site));
        for of_site in batches.chunk_by(|a, b| a.link.site == b.link.site) {
            let name = &of_site[0].link.site;
            let site = work.state.change(&SiteName(name.clone()), || Site {
                frames: self.features.no_frames(),
                source_kind: SourceKind::Live,
                due_ns: None,
                n_frames: 0,
            });
            work.outputs.extend(self.observe(of_site, site));
        }
    }
}

impl Infers {
    /// True if the model can use a batch; counts it as dropped otherwise.
    fn knows(&self, batch: &CsiBatch) -> bool {
        let knows = self.features.knows(batch);
        if !knows {
            (self.component.dropped)("not the model's layout", batch.len() as u64);
        }
        knows
    }

    /// Adds the batches of a tick, and infers people if that is due.
    fn observe(&self, batches: &[CsiBatch], site: &mut Site) -> Option<PoseFrame> {
        let mut newest_ns = None;
        for batch in batches {
            if self.features.push(batch, &mut site.frames) {
                site.source_kind = batch.source_kind;
                newest_ns = newest_ns.max(batch.captured_at_ns.iter().max().copied());
            }
        }
        let now_ns = newest_ns?;
        if site.due_ns.is_some_and(|due_ns| self.is_early(now_ns, due_ns)) {
            return None;
        }
        site.due_ns = Some(now_ns.saturating_add(self.every_ns));
        let detections = self.model.detect(self.features.pictures(now_ns, &site.frames)?);
        let layout = &self.model.card().layout;
        let persons = detections.iter().enumerate();
        let frame = PoseFrame {
            site: batches[0].link.site.clone(),
            source: self.component.name.to_string(),
            captured_at_ns: now_ns,
            frame_id: site.n_frames,
            persons: persons.map(|(index, found)| found.person(index, layout)).collect(),
            processing_time_ms: None,
            source_kind: site.source_kind,
            estimator: self.model.estimator(),
        };
        site.n_frames = site.n_frames.saturating_add(1);
        Some(frame)
    }

    /// True if the next inference is not due yet. A due time too far in the future does not count: the clock
    /// has stepped back since.
    fn is_early(&self, now_ns: i64, due_ns: i64) -> bool {
        let latest_ns = now_ns.saturating_add(self.every_ns).saturating_add(SLOW_NS);
        now_ns < due_ns && due_ns <= latest_ns
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use num_complex::Complex32;
    use schemas::{CsiFrame, CsiLayout, Link};

    use super::*;
    use crate::keyed::N_KEY_GROUPS;
    use crate::testing::remember;

    fn model() -> Arc<Model> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/flat.safetensors");
        Arc::new(Model::load(&path).expect("the model is there"))
    }

    /// A frame of the model's first receiver at a site.
    fn batch(model: &Model, site: &str, captured_at_ns: i64) -> CsiBatch {
        let geometry = &model.card().layout.geometry;
        let receiver = &geometry.receivers[0];
        let n_rx = u16::try_from(receiver.antennas_m.len()).expect("few");
        let subcarriers = geometry.subcarriers.clone();
        let layout = CsiLayout { n_rx, n_tx: 1, subcarriers, ..CsiLayout::default() };
        let (site, receiver) = (site.to_owned(), receiver.name.clone());
        let link = Link { site, receiver, ..Link::default() };
        let n_values = layout.n_values();
        let mut batch = CsiBatch::new(link, layout.into(), SourceKind::Simulated);
        batch.iq.resize(n_values, Complex32::new(1.0, 0.0));
        let frame = CsiFrame { captured_at_ns, ..CsiFrame::default() };
        batch.push_scalars(frame).expect("the frame is full");
        batch
    }

    fn infers() -> Infers {
        let model = model();
        let features = model.features();
        let component = Context::detached("infer").component;
        Infers { model, features, every_ns: 100_000_000, component }
    }

    #[test]
    fn made_up_sites_are_forgotten() {
        let model = model();
        let of_tick = |nth: u64| {
            let sites = (0..100).map(|mth| format!("site {}", nth * 100 + mth));
            let mut batches: Vec<_> = sites.map(|site| batch(&model, &site, 0)).collect();
            let mut unknown = batch(&model, &format!("other site {nth}"), 0);
            unknown.link.receiver = "unknown".to_owned();
            batches.push(unknown);
            (nth * 100, batches)
        };
        let inputs: Vec<_> = (0..20).map(of_tick).collect();
        let model = Arc::clone(&model);
        let found = remember(inputs, |batches, context| {
            batches.infer_poses(model, TimeSpan::from_ms(100), context)
        });
        let max_keys = Infers::LIMITS.max_keys_per_group * N_KEY_GROUPS;
        assert!(found.most_keys <= max_keys, "{} sites are saved", found.most_keys);
        assert_eq!(found.dropped["not the model's layout"], 20);
        assert_eq!(found.dropped["too many keys"] + found.n_keys as u64, 20 * 100);
    }

    #[test]
    fn any_time_will_do() {
        let infers = infers();
        let mut site = Site {
            frames: infers.features.no_frames(),
            source_kind: SourceKind::Live,
            due_ns: None,
            n_frames: u64::MAX,
        };
        for before_ns in [i64::MIN, -1, 0, i64::MAX] {
            for after_ns in [i64::MIN, -1, 0, i64::MAX] {
                for time_ns in [before_ns, after_ns] {
                    let batch = batch(&infers.model, "flat", time_ns);
                    let seen = infers.observe(&[batch], &mut site);
                    assert!(seen.is_none(), "other receivers are missing");
                }
            }
        }
    }

    #[test]
    fn a_clock_that_was_far_ahead_once_is_not_waited_for() {
        let infers = infers();
        for (name, now_ns, due_ns, expected) in [
            ("due", 100, 100, false),
            ("next", 100, 100_000_000, true),
            ("late", 0, 600_000_000, true),
            ("ahead", 0, i64::MAX, false),
            ("the end of time", i64::MAX, i64::MAX, false),
            ("before all time", i64::MIN, i64::MAX, false),
        ] {
            assert_eq!(infers.is_early(now_ns, due_ns), expected, "{name}");
        }
    }
}
