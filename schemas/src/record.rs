//! The closed list of record types.

use std::cmp::Ordering;

use arrow::datatypes::Field;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::table::columns::Columns;
use crate::{
    ActivityWindow, CsiBatch, Event, Link, PoseFrame, Presence, Rows, VideoFrame, ZoneOccupancy,
};

/// Calls the macro `$list` with the kinds of records that have a table of their own, in the order of the
/// tables: the variant, the type, the name in messages, the name of the table, and the name in topics and in
/// the types of events.
///
/// [`Rows`] and [`VideoFrame`] are the remaining kinds: a table and a topic of rows have the name of their stream, and
/// pictures have neither.
#[macro_export]
macro_rules! record_kinds {
    ($list:ident) => {
        $list! {
            /// Frames of one link.
            Csi($crate::CsiBatch) => "csi", "csi", "csi.frames";
            /// People at one moment.
            Pose($crate::PoseFrame) => "pose", "poses", "pose.frames";
            /// Motion on a link.
            Presence($crate::Presence) => "presence", "presence", "presence";
            /// The people in a zone.
            Occupancy($crate::ZoneOccupancy) => "occupancy", "occupancy", "zones.occupancy";
            /// One window of one person.
            Activity($crate::ActivityWindow) => "activity", "activities", "activity.windows";
            /// An event of a person or of a device.
            Event($crate::Event) => "event", "events", "events";
        }
    };
}

macro_rules! define_records {
    ($(
        $(#[$doc:meta])*
        $kind:ident($record:ty) => $name:literal, $table:literal, $topic:literal;
    )*) => {
        /// Any record. Readable formats contain its kind as `"record"`, compact formats as a number.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(remote = "Self", tag = "record", rename_all = "snake_case")]
        pub enum Record {
            $($(#[$doc])* $kind($record),)*
            /// Rows with columns of their own.
            Rows(Rows),
            /// A picture.
            Video(VideoFrame),
        }

        /// The form of a [`Record`] between processes: compact formats cannot look ahead for a tag.
        #[derive(Serialize, Deserialize)]
        #[serde(remote = "Record")]
        enum Numbered {
            $($kind($record),)*
            Rows(Rows),
            Video(VideoFrame),
        }

        /// The type of a stream: the kind of its [`Record`]s.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum RecordKind {
            $($(#[$doc])* $kind,)*
            /// Rows with columns of their own.
            Rows,
            /// A picture; pictures have no table and no messages.
            Video,
        }

        impl RecordKind {
            /// Every kind with a table of its own, in the order of the tables.
            pub const ALL: [Self; [$($table),*].len()] = [$(Self::$kind),*];

            /// Returns the name in messages.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                    Self::Rows => "rows",
                    Self::Video => "video",
                }
            }

            /// Returns the name of the table of these records.
            pub fn table(self) -> &'static str {
                match self {
                    $(Self::$kind => $table,)*
                    Self::Rows => "rows",
                    Self::Video => "video",
                }
            }

            /// Returns the name in topics and in the types of events; None for rows, which have the name of
            /// their stream, and for pictures.
            pub fn topic(self) -> Option<&'static str> {
                match self {
                    $(Self::$kind => Some($topic),)*
                    Self::Rows | Self::Video => None,
                }
            }

            /// Returns the columns of the table; none for rows, because each stream has its own.
            pub(crate) fn columns(self) -> Vec<Field> {
                match self {
                    $(Self::$kind => <$record>::columns(),)*
                    Self::Rows | Self::Video => Vec::new(),
                }
            }
        }

        impl Record {
            /// Returns the kind of the record.
            pub fn kind(&self) -> RecordKind {
                match self {
                    $(Self::$kind(_) => RecordKind::$kind,)*
                    Self::Rows(_) => RecordKind::Rows,
                    Self::Video(_) => RecordKind::Video,
                }
            }

            /// Returns the approximate size in bytes, including text. Queues are bounded by it.
            pub fn size_bytes(&self) -> usize {
                let more = match self {
                    $(Self::$kind(record) => record.size_bytes(),)*
                    Self::Rows(rows) => rows.size_bytes(),
                    Self::Video(frame) => frame.size_bytes(),
                };
                size_of::<Self>() + more
            }

            /// Returns [`RecordType::order_key`], and the kind for records with the same key.
            pub fn order_key(&self) -> (OrderKey<'_>, RecordKind) {
                let key = match self {
                    $(Self::$kind(record) => record.order_key(),)*
                    Self::Rows(rows) => rows.order_key(),
                    Self::Video(frame) => frame.order_key(),
                };
                (key, self.kind())
            }
        }
    };
}

record_kinds!(define_records);

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            Self::serialize(self, serializer)
        } else {
            Numbered::serialize(self, serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            Self::deserialize(deserializer)
        } else {
            Numbered::deserialize(deserializer)
        }
    }
}

impl std::fmt::Display for RecordKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl Record {
    /// Returns the number of frames or rows; 1 for other records.
    pub fn len(&self) -> usize {
        match self {
            Self::Csi(batch) => batch.len(),
            Self::Rows(rows) => rows.len(),
            _ => 1,
        }
    }

    /// True if it has no frames or rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends a line of JSON; [`Rows`] append one line per row.
    ///
    /// # Errors
    ///
    /// [`serde_json::Error`] if JSON cannot represent it; `lines` may then contain part of a line.
    pub fn write_json_lines(&self, lines: &mut Vec<u8>) -> serde_json::Result<()> {
        if let Self::Rows(rows) = self {
            return rows.write_json_lines(lines).map_err(serde::ser::Error::custom);
        }
        serde_json::to_writer(&mut *lines, self)?;
        lines.push(b'\n');
        Ok(())
    }

    /// Orders the records of one tick independently of their order of arrival, as [`RecordType::total_cmp`]
    /// does: by key, then by kind, then by content.
    pub fn total_cmp(&self, other: &Self) -> Ordering {
        let by_key = self.order_key().cmp(&other.order_key());
        by_key.then_with(|| content(self).cmp(&content(other)))
    }
}

/// The key of the order: a time or position, up to three names of the subject, and a number.
pub type OrderKey<'a> = (i64, &'a str, &'a str, &'a str, u64);

/// Encodes the content of a record, for comparisons.
fn content(record: &impl Serialize) -> Vec<u8> {
    // Rows that cannot be encoded compare as equal.
    postcard::to_allocvec(record).unwrap_or_default()
}

/// A type of record, with its kind and the order of its records.
pub trait RecordType: Serialize + DeserializeOwned + Clone + Send + 'static {
    /// The kind of the records.
    const KIND: RecordKind;

    /// Returns the first key of the order within a tick. Records of two operators may have the same key.
    fn order_key(&self) -> OrderKey<'_>;

    /// Orders the records of one tick independently of their batches and order of arrival: by
    /// [`RecordType::order_key`], then by content. Only identical records are equal.
    fn total_cmp(&self, other: &Self) -> Ordering {
        // The content needs an allocation, so only ties compare it.
        let by_key = self.order_key().cmp(&other.order_key());
        by_key.then_with(|| content(self).cmp(&content(other)))
    }

    /// Extracts a record of this type; None for other types.
    fn from_record(record: Record) -> Option<Self>;

    /// Converts it to a [`Record`].
    fn into_record(self) -> Record;
}

macro_rules! record_type {
    ($variant:ident, $record:ty, $self:ident => $key:expr) => {
        impl RecordType for $record {
            const KIND: RecordKind = RecordKind::$variant;

            fn order_key(&$self) -> OrderKey<'_> {
                $key
            }

            fn from_record(record: Record) -> Option<Self> {
                if let Record::$variant(record) = record { Some(record) } else { None }
            }

            fn into_record(self) -> Record {
                Record::$variant(self)
            }
        }
    };
}

// In the order of the partition, from which capture times may differ.
record_type!(Csi, CsiBatch, self => {
    let n_before = i64::try_from(self.n_before).unwrap_or(i64::MAX);
    let sequence = self.sequence.first().copied().unwrap_or_default();
    let Link { site, receiver, transmitter } = &self.link;
    (n_before, receiver, transmitter, site, sequence.into())
});
record_type!(Pose, PoseFrame, self => {
    (self.captured_at_ns, &self.site, &self.source, "", self.frame_id)
});
record_type!(Presence, Presence, self => (self.captured_at_ns, &self.site, &self.link, "", 0));
record_type!(Occupancy, ZoneOccupancy, self => (self.since_ns, &self.site, &self.zone, "", 0));
record_type!(Activity, ActivityWindow, self => {
    (self.starts_at_ns, &self.site, &self.subject, "", 0)
});
record_type!(Event, Event, self => {
    (self.occurred_at_ns, &self.subject, &self.id.0, &self.site, 0)
});
// Batch boundaries are arbitrary: only the position in the partition orders batches.
record_type!(Video, VideoFrame, self => {
    (self.captured_at_ns, &self.site, &self.source, "", self.frame_id)
});
record_type!(Rows, Rows, self => (0, &self.stream, &self.partition, "", self.sequence));

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use proptest::prelude::*;

    use super::*;
    use crate::{
        Activity, CsiFrame, CsiLayout, EventId, EventType, Keypoint, Motion, Person, SourceKind,
    };

    fn csi(site: &str, sequence: u32, value: f32) -> Record {
        let layout = CsiLayout { n_rx: 1, n_tx: 1, subcarriers: vec![1], ..CsiLayout::default() };
        let link = Link { site: site.to_owned(), ..Link::default() };
        let mut batch = CsiBatch::new(link, layout.into(), SourceKind::Live);
        batch.iq.push(num_complex::Complex32::new(value, 0.0));
        let frame = CsiFrame { sequence, ..CsiFrame::default() };
        batch.push_scalars(frame).expect("the frame fills its layout");
        Record::Csi(batch)
    }

    fn rows(partition: &str, sequence: u64, value: i64) -> Record {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![value]));
        Record::Rows(Rows {
            stream: "events".to_owned(),
            partition: partition.to_owned(),
            sequence,
            times_ns: vec![0],
            batch: RecordBatch::try_from_iter([("n", column)]).expect("one column"),
        })
    }

    /// Records of one moment; the neighbours of a kind differ in one thing.
    fn different() -> Vec<Record> {
        let pose = |frame_id, confidence| {
            let persons = vec![Person { confidence, ..Person::default() }];
            Record::Pose(PoseFrame { frame_id, persons, ..PoseFrame::default() })
        };
        let presence = |motion, threshold| {
            Record::Presence(Presence { motion, threshold, ..Presence::default() })
        };
        let occupancy =
            |count| Record::Occupancy(ZoneOccupancy { count, ..ZoneOccupancy::default() });
        let activity = |activity, confidence| {
            Record::Activity(ActivityWindow { activity, confidence, ..ActivityWindow::default() })
        };
        let event = |id: &str, site: &str, event_type| {
            let (id, site) = (EventId(id.to_owned()), site.to_owned());
            Record::Event(Event { id, event_type, site, ..Event::default() })
        };
        vec![
            csi("attic", 0, 1.0),
            csi("flat", 0, 1.0),
            csi("flat", 1, 1.0),
            csi("flat", 1, f32::NAN),
            pose(0, 0.5),
            pose(u64::MAX, 0.5),
            pose(u64::MAX, f32::NAN),
            presence(Motion::Still, None),
            presence(Motion::Moving, None),
            presence(Motion::Moving, Some(0.5)),
            presence(Motion::Moving, Some(f32::INFINITY)),
            occupancy(0),
            occupancy(1),
            activity(Activity::Sitting, 0.5),
            activity(Activity::Lying, 0.5),
            activity(Activity::Lying, 0.75),
            event("a", "flat", EventType::EnteredZone),
            event("a", "flat", EventType::LeftZone),
            event("a", "attic", EventType::LeftZone),
            event("b", "attic", EventType::LeftZone),
            rows("0", 0, 7),
            rows("1", 0, 7),
            rows("1", 1, 7),
            rows("1", 1, 8),
        ]
    }

    #[test]
    fn only_the_same_records_are_equal_in_the_order() {
        let records = different();
        for (nth, one) in records.iter().enumerate() {
            for (mth, other) in records.iter().enumerate() {
                let order = one.total_cmp(other);
                assert_eq!(order.is_eq(), nth == mth, "{one:?} and {other:?}");
                assert_eq!(order, other.total_cmp(one).reverse(), "{one:?} and {other:?}");
            }
        }
    }

    /// All text from outside counts.
    #[test]
    fn text_takes_bytes() {
        let text = || "x".repeat(1000);
        let person = Person { id: text(), zone: Some(text()), ..Person::default() };
        let keypoint = Keypoint { name: text(), ..Keypoint::default() };
        let named = Person { keypoints: vec![keypoint], ..Person::default() };
        let pose = |persons| PoseFrame { persons, ..PoseFrame::default() };
        for (name, record, expected) in [
            ("link", Record::Presence(Presence { link: text(), ..Presence::default() }), 1000),
            ("ids", Record::Pose(pose(vec![person])), 2000),
            ("keypoint", Record::Pose(pose(vec![named])), 1000),
            ("source", Record::Pose(PoseFrame { source: text(), ..PoseFrame::default() }), 1000),
            (
                "persons",
                Record::Occupancy(ZoneOccupancy {
                    persons: vec![text(); 2],
                    ..ZoneOccupancy::default()
                }),
                2000,
            ),
            ("subject", Record::Event(Event { subject: text(), ..Event::default() }), 1000),
            (
                "zone",
                Record::Activity(ActivityWindow {
                    zone: Some(text()),
                    ..ActivityWindow::default()
                }),
                1000,
            ),
        ] {
            assert!(record.size_bytes() >= size_of::<Record>() + expected, "{name}");
        }
    }

    proptest! {
        #[test]
        fn the_order_of_arrival_does_not_matter(
            shuffled in Just((0..different().len()).collect::<Vec<_>>()).prop_shuffle(),
        ) {
            let records = different();
            let sorted = |mut order: Vec<usize>| {
                order.sort_by(|a, b| records[*a].total_cmp(&records[*b]));
                order
            };
            prop_assert_eq!(sorted(shuffled), sorted((0..records.len()).collect()));
        }
    }
}
