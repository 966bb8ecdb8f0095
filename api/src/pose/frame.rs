//! Frames of people in the form of the API.

use chrono::{DateTime, Utc};
use schemas::{Activity, BoundingBox, Estimator, Keypoint, PoseFrame, SitePosition, SourceKind};
use serde::Serialize;
use utoipa::ToSchema;

use crate::time::timestamp;

/// The people that one estimator detected at one moment.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PoseFrame)]
pub(crate) struct PeopleFrame {
    /// Capture time of the newest measurement; null if the device's clock counts from its start.
    timestamp: Option<DateTime<Utc>>,
    /// Number of the frame within its source, from 0.
    frame_id: u64,
    /// The detected people, ordered by id.
    pub(super) persons: Vec<PersonInFrame>,
    /// Time from capture to the live hub in milliseconds; null in history.
    processing_time_ms: Option<f32>,
    /// Where the frame comes from.
    metadata: Metadata,
    /// The observed place.
    site: String,
    /// The component that produced the frame.
    source: String,
    /// Capture time in nanoseconds since the Unix epoch, or since the start of the device.
    pub(super) captured_at_ns: i64,
    /// The kind of source of the measurements.
    source_kind: SourceKind,
    /// The method that computed people from measurements.
    estimator: Estimator,
}

/// Where a frame comes from.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Metadata {
    site: String,
    source: String,
    source_kind: SourceKind,
}

/// A person of a frame.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Person)]
pub(crate) struct PersonInFrame {
    /// The id is stable over the life of a track; before tracking, it is the index in the frame.
    pub(super) id: String,
    /// 17 COCO keypoints.
    keypoints: Vec<Keypoint>,
    /// Confidence from 0 to 1.
    pub(super) confidence: f32,
    /// Smallest box around the keypoints.
    bounding_box: BoundingBox,
    /// The activity of the person.
    activity: Option<Activity>,
    /// The zone of the person.
    pub(super) zone_id: Option<String>,
    /// The zone of the person: the name of `zone_id` in records.
    zone: Option<String>,
    /// The position of the person on the site plan, if known.
    position: Option<SitePosition>,
}

impl PeopleFrame {
    /// Returns what orders the frames of one time.
    pub(super) fn key(&self) -> String {
        format!("{}/{}/{:020}", self.site, self.source, self.frame_id)
    }
}

impl From<PoseFrame> for PeopleFrame {
    fn from(frame: PoseFrame) -> Self {
        let (site, source, source_kind) = (frame.site, frame.source, frame.source_kind);
        let metadata = Metadata { site: site.clone(), source: source.clone(), source_kind };
        Self {
            timestamp: timestamp(frame.captured_at_ns),
            frame_id: frame.frame_id,
            persons: frame.persons.into_iter().map(PersonInFrame::from).collect(),
            processing_time_ms: frame.processing_time_ms,
            metadata,
            site,
            source,
            captured_at_ns: frame.captured_at_ns,
            source_kind,
            estimator: frame.estimator,
        }
    }
}

impl From<schemas::Person> for PersonInFrame {
    fn from(person: schemas::Person) -> Self {
        Self {
            id: person.id,
            keypoints: person.keypoints,
            confidence: person.confidence,
            bounding_box: person.bounding_box,
            activity: person.activity,
            zone_id: person.zone.clone(),
            zone: person.zone,
            position: person.position,
        }
    }
}
