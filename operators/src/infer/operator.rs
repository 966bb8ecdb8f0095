//! The operator: gathers the CSI of a site and looks for people at regular times.

use std::collections::HashMap;
use std::sync::Arc;

use schemas::{CsiBatch, PoseFrame, SourceKind, Tick, stable_hash};
use timely::dataflow::StreamVec;

use crate::Context;
use crate::closed_ticks::on_closed_ticks;
use crate::infer::{Features, Model};

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
        context: Context,
    ) -> StreamVec<'scope, Tick, PoseFrame>;
}

impl<'scope> InferPoses<'scope> for StreamVec<'scope, Tick, CsiBatch> {
    fn infer_poses(
        self,
        model: Arc<Model>,
        every_s: f64,
        context: Context,
    ) -> StreamVec<'scope, Tick, PoseFrame> {
        let every_ns = (every_s * NS_PER_S) as i64;
        let mut sites = HashMap::<String, Site>::new();
        let key = |batch: &CsiBatch| stable_hash(&[&batch.link.site]);
        on_closed_ticks(self, "Infer", key, move |_tick, batches: Vec<CsiBatch>, frames| {
            for by_site in batches.chunk_by(|a, b| a.link.site == b.link.site) {
                let name = &by_site[0].link.site;
                let site = sites.entry(name.clone()).or_insert_with(|| Site::new(&model));
                frames.extend(site.observe(by_site, &model, every_ns, &context));
            }
        })
    }
}

/// What is kept of a site.
struct Site {
    features: Features,
    source_kind: SourceKind,
    due_ns: Option<i64>,
    n_frames: u64,
}

impl Site {
    fn new(model: &Model) -> Self {
        let features = Features::new(model.card().layout.clone());
        Self { features, source_kind: SourceKind::Live, due_ns: None, n_frames: 0 }
    }

    /// Takes the batches of a tick in, and looks if it is time.
    fn observe(
        &mut self,
        batches: &[CsiBatch],
        model: &Model,
        every_ns: i64,
        context: &Context,
    ) -> Option<PoseFrame> {
        let mut newest_ns = None;
        for batch in batches {
            if self.features.push(batch) {
                self.source_kind = batch.source_kind;
                newest_ns = newest_ns.max(batch.captured_at_ns.iter().max().copied());
            } else {
                (context.dropped)("not the model's layout", batch.len() as u64);
            }
        }
        let now_ns = newest_ns?;
        if now_ns < *self.due_ns.get_or_insert(now_ns) {
            return None;
        }
        self.due_ns = Some(now_ns.saturating_add(every_ns));
        let detections = model.detect(self.features.pictures(now_ns)?);
        let layout = &model.card().layout;
        let persons = detections.iter().enumerate();
        let frame = PoseFrame {
            site: batches[0].link.site.clone(),
            source: context.name.to_string(),
            captured_at_ns: now_ns,
            frame_id: self.n_frames,
            persons: persons.map(|(index, found)| found.person(index, layout)).collect(),
            processing_time_ms: None,
            source_kind: self.source_kind,
            estimator: model.estimator(),
        };
        self.n_frames += 1;
        Some(frame)
    }
}
