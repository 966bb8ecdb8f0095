//! The operator: gathers the CSI of a site and looks for people at regular times.

use std::sync::Arc;

use schemas::{CsiBatch, PoseFrame, SourceKind, Tick, stable_hash};
use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;

use crate::infer::features::RecentFrames;
use crate::infer::{Features, Model};
use crate::stateful::{Stateful, Work, stateful};
use crate::{Component, Context, StateKey};

const NS_PER_S: f64 = 1e9;

/// Pose inference on streams of CSI.
pub trait InferPoses<'scope> {
    /// Looks for people every `every_s` of event time.
    ///
    /// Frames of receivers or layouts that the model does not know are dropped and counted. Nothing
    /// comes until every receiver of the model has a window of frames. State: two seconds of frames of
    /// each receiver, on the worker that the site hashes to. People have no identity yet.
    fn infer_poses(
        self,
        model: Arc<Model>,
        every_s: f64,
        context: Context<'scope>,
    ) -> StreamVec<'scope, Tick, PoseFrame>;
}

impl<'scope> InferPoses<'scope> for StreamVec<'scope, Tick, CsiBatch> {
    fn infer_poses(
        self,
        model: Arc<Model>,
        every_s: f64,
        context: Context<'scope>,
    ) -> StreamVec<'scope, Tick, PoseFrame> {
        let component = context.component.clone();
        let features = Features::new(model.card().layout.clone());
        let every_ns = (every_s * NS_PER_S) as i64;
        stateful(self, &context, Infers { model, features, every_ns, component })
    }
}

struct Infers {
    model: Arc<Model>,
    features: Features,
    every_ns: i64,
    component: Component,
}

/// The name of a site.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct SiteName(String);

impl StateKey for SiteName {
    fn route(&self) -> u64 {
        stable_hash(&[&self.0])
    }
}

/// What is kept of a site.
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

    fn route(batch: &CsiBatch) -> u64 {
        stable_hash(&[&batch.link.site])
    }

    fn on_tick(&mut self, _tick: Tick, mut batches: Vec<CsiBatch>, work: &mut Work<'_, Self>) {
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
    /// Takes the batches of a tick in, and looks if it is time.
    fn observe(&self, batches: &[CsiBatch], site: &mut Site) -> Option<PoseFrame> {
        let mut newest_ns = None;
        for batch in batches {
            if self.features.push(batch, &mut site.frames) {
                site.source_kind = batch.source_kind;
                newest_ns = newest_ns.max(batch.captured_at_ns.iter().max().copied());
            } else {
                (self.component.dropped)("not the model's layout", batch.len() as u64);
            }
        }
        let now_ns = newest_ns?;
        if now_ns < *site.due_ns.get_or_insert(now_ns) {
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
        site.n_frames += 1;
        Some(frame)
    }
}
