//! An in-memory source: the rows of a script, in polls of random size.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use schemas::{Record, Rows, SourceKind, TimeSpan};
use sources::{Collector, LinkNames, Poll, Source, SourceContext, SourceError};

use crate::run::simulation::chance::Chance;

const ROWS: i64 = 300;
const DEVICES: [&str; 3] = ["x", "y", "z"];
const NS_PER_MS: i64 = 1_000_000;
/// One hour: the lag of a source that is added late.
const BEHIND_MS: i64 = 3_600_000;
const STARTS_AT_MS: i64 = 1_767_225_600_000;

/// The input of a source: the time of each row, and its device.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) rows: Vec<(i64, &'static str)>,
}

impl Script {
    /// Generates rows whose times mostly increase, and sometimes step back, leave a gap, or jump as
    /// after a clock adjustment.
    pub(super) fn new(seed: u64, is_behind: bool) -> Self {
        let mut chance = Chance::new(seed);
        let mut now_ms = STARTS_AT_MS - if is_behind { BEHIND_MS } else { 0 };
        let rows = (0..ROWS).map(|_| {
            now_ms += match chance.below(20) {
                0 => -(chance.below(120).cast_signed()),
                1 => chance.below(400).cast_signed(),
                // A clock adjustment.
                2 if chance.below(10) == 0 => -(chance.below(5000).cast_signed()),
                3 if chance.below(10) == 0 => chance.below(5000).cast_signed(),
                _ => chance.below(12).cast_signed(),
            };
            (now_ms, DEVICES[chance.below(3) as usize])
        });
        Self { rows: rows.collect() }
    }
}

/// Reads a script.
pub(super) struct SimulatedSource {
    script: Arc<Script>,
    stream: String,
    collector: Collector,
    /// The next row.
    next: usize,
    chance: Chance,
    n_polls: u64,
    fails_at: Option<u64>,
}

impl SimulatedSource {
    pub(super) fn open(
        script: Arc<Script>,
        context: &SourceContext<'_>,
        chance: Chance,
        fails_at: Option<u64>,
    ) -> Result<Self, SourceError> {
        let mut collector = Collector::new(LinkNames::default(), SourceKind::Simulated, context)
            .with_max_delay(TimeSpan::from_ms(if context.name == "b" { 30 } else { 0 }));
        let next: u64 = collector.restore(context, "")?.unwrap_or_default();
        let (stream, n_polls) = (context.name.to_owned(), 0);
        Ok(Self { script, stream, collector, next: next as usize, chance, n_polls, fails_at })
    }

    fn step(&mut self) {
        let (at_ms, device) = self.script.rows[self.next];
        let row = rows(&self.stream, self.next as u64, at_ms, device);
        self.collector.push_record(at_ms * NS_PER_MS, row);
        self.collector.record_position(&(self.next as u64));
        self.next += 1;
    }
}

impl Source for SimulatedSource {
    fn poll(&mut self) -> Result<Poll, SourceError> {
        self.n_polls += 1;
        if self.fails_at == Some(self.n_polls) {
            return Err(SourceError::Shorter { path: self.stream.clone().into(), offset: 0 });
        }
        for _ in 0..self.chance.below(12) {
            if self.next == self.script.rows.len() {
                return Ok(self.collector.finish(&(self.next as u64)));
            }
            self.step();
        }
        Ok(self.collector.take())
    }
}

fn rows(stream: &str, number: u64, at_ms: i64, device: &str) -> Record {
    let fields = [("device", DataType::Utf8), ("n", DataType::Int64)];
    let fields = fields.map(|(name, data_type)| Field::new(name, data_type, true));
    let device: ArrayRef = Arc::new(StringArray::from(vec![device]));
    let n: ArrayRef = Arc::new(Int64Array::from(vec![number.cast_signed()]));
    let schema = Arc::new(Schema::new(fields.to_vec()));
    let batch =
        RecordBatch::try_new_with_options(schema, vec![device, n], &RecordBatchOptions::default());
    Record::Rows(Rows {
        stream: stream.to_owned(),
        partition: String::new(),
        sequence: number,
        times_ns: vec![at_ms * NS_PER_MS],
        batch: batch.expect("columns of the schema"),
    })
}
