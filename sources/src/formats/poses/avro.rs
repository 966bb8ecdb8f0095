//! Pose frames as Avro, each after a zero byte and the number of its schema.
//!
//! Source: Confluent Schema Registry, wire format.

use std::collections::BTreeMap;

use arrow_avro::reader::{Decoder as Reader, ReaderBuilder};
use arrow_avro::schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, SchemaStore};
use schemas::{PoseFrame, from_batch};

use crate::{Content, DecodeError, Decoded, Decoder, DecoderMemory, Split};

/// Zero byte and number.
const PREFIX_BYTES: usize = 5;

/// Reads frames, one per message. Its only state is schemas, which it can request again.
#[derive(Debug, Default)]
pub(crate) struct AvroPoses {
    /// Schemas and their readers, by number.
    readers: BTreeMap<u32, (String, Reader)>,
}

impl AvroPoses {
    /// Reads the frames of a message whose schema is known. None if the message contains anything else.
    fn read(reader: &mut Reader, message: &[u8]) -> Option<Vec<PoseFrame>> {
        let used = reader.decode(message).ok()?;
        let batch = reader.flush().ok()??;
        from_batch(&batch).ok().filter(|_| used == message.len())
    }
}

impl Decoder for AvroPoses {
    fn split(&self, bytes: &[u8], complete: bool) -> Split {
        if complete { Split::Record(bytes.len()) } else { Split::NeedsMore }
    }

    fn decode<'a>(&'a mut self, bytes: &'a [u8], _complete: bool) -> Decoded<'a> {
        let bad = Decoded::Bad(bytes.len(), DecodeError::NoPose);
        let Some([0, number @ ..]) = bytes.first_chunk::<PREFIX_BYTES>() else { return bad };
        let number = u32::from_be_bytes(*number);
        let Some((schema, reader)) = self.readers.get_mut(&number) else {
            return Decoded::NeedsSchema(number);
        };
        let Some(frames) = Self::read(reader, bytes) else {
            // A reader that stopped within a message would continue there, so it is replaced.
            let schema = schema.clone();
            return self.learn(number, &schema).map_or(Decoded::NeedsSchema(number), |()| bad);
        };
        Decoded::Record(bytes.len(), Content::Poses(frames))
    }

    fn learn(&mut self, number: u32, schema: &str) -> Result<(), DecodeError> {
        let fingerprint = Fingerprint::Id(number);
        let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
        let avro = AvroSchema::new(schema.to_owned());
        store.set(fingerprint, avro).map_err(|_| DecodeError::Schema)?;
        let reader = ReaderBuilder::new().with_writer_schema_store(store);
        let reader = reader.with_active_fingerprint(fingerprint).build_decoder();
        let reader = reader.map_err(|_| DecodeError::Schema)?;
        self.readers.insert(number, (schema.to_owned(), reader));
        Ok(())
    }

    fn memory(&self) -> DecoderMemory {
        DecoderMemory::default()
    }

    fn recall(&mut self, _: DecoderMemory) {}
}

#[cfg(test)]
mod tests {
    use arrow_avro::schema::FingerprintStrategy;
    use arrow_avro::writer::WriterBuilder;
    use arrow_avro::writer::format::AvroSoeFormat;
    use proptest::prelude::*;
    use schemas::{Person, Record, SourceKind, to_batch};

    use super::*;
    use crate::{Collector, LinkNames, SourceContext, Step};

    /// A frame with its prefix, and its schema.
    fn message() -> (Vec<u8>, String) {
        let person = Person { id: "p1".to_owned(), ..Person::default() };
        let frame =
            PoseFrame { captured_at_ns: 5_000_000, persons: vec![person], ..PoseFrame::default() };
        let batch = to_batch(&[frame]).expect("it has the columns");
        let schema = batch.schema();
        let avro = AvroSchema::try_from(&*schema).expect("columns have a form in avro");
        let encoder = WriterBuilder::new((*schema).clone());
        let encoder = encoder.with_fingerprint_strategy(FingerprintStrategy::Id(7));
        let mut encoder = encoder.build_encoder::<AvroSoeFormat>().expect("the same");
        encoder.encode(&batch).expect("the same");
        (encoder.flush().row(0).expect("one").to_vec(), avro.json_string)
    }

    fn collector() -> Collector {
        Collector::new(LinkNames::default(), SourceKind::Live, &SourceContext::detached("test"))
    }

    #[test]
    fn a_frame_is_read_when_its_schema_is_known() {
        let (message, schema) = message();
        let (mut decoder, mut collector) = (AvroPoses::default(), collector());
        let bad = |length| Step::Bad(length, DecodeError::NoPose);
        assert_eq!(collector.decode(&mut decoder, &message, true), Step::NeedsSchema(7));
        assert_eq!(decoder.learn(7, "no schema"), Err(DecodeError::Schema));
        decoder.learn(7, &schema).expect("it is one");
        for end in 0..message.len() {
            assert_eq!(collector.decode(&mut decoder, &message[..end], true), bad(end), "{end}");
        }
        let longer = [&message[..], &[0]].concat();
        assert_eq!(collector.decode(&mut decoder, &longer, true), bad(longer.len()));
        assert!(collector.drain().records.is_empty());
        assert_eq!(collector.decode(&mut decoder, &message, true), Step::Used(message.len()));
        let poll = collector.drain();
        let [(0, Record::Pose(frame))] = &poll.records[..] else { panic!("{poll:?}") };
        assert_eq!((frame.captured_at_ns, frame.persons[0].id.as_str()), (5_000_000, "p1"));
    }

    proptest! {
        /// Any bytes after a known schema number are used or bad, and nothing panics.
        #[test]
        fn survives_garbage(garbage in prop::collection::vec(any::<u8>(), 0..300)) {
            let (mut message, schema) = message();
            let mut decoder = AvroPoses::default();
            decoder.learn(7, &schema).expect("it is one");
            message.truncate(PREFIX_BYTES);
            message.extend(garbage);
            let step = collector().decode(&mut decoder, &message, true);
            prop_assert!(matches!(step, Step::Used(_) | Step::Bad(..)));
        }
    }
}
