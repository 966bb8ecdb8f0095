//! Capture files: reads bytes in chunks, and passes them to a decoder.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;

use schemas::SourceKind;
use serde::{Deserialize, Serialize};

use crate::Clock;
use crate::arrival_clock::{ArrivalClock, unix_ns};
use crate::partitions::ingress::Ingress;
use crate::partitions::position::place_of;
use crate::transports::fingerprint::Fingerprint;
use crate::transports::host_times::HostTimes;
use crate::{Collector, DecodeError, Decoder, DecoderMemory, Poll, Source, SourceError, Step};

/// Bytes of one read. One poll returns their records, so that they stay in the processor's caches.
const READ_BYTES: usize = 64 * 1024;
/// After a chunk with this many records, the poll returns them before the next chunk is read.
const ENOUGH_RECORDS: usize = 16;
/// Longest record of any format. A decoder that needs more bytes has lost the bounds of records.
const LONGEST_RECORD: usize = 1024 * 1024;

/// An open capture file.
pub(crate) struct Capture<R = File> {
    path: PathBuf,
    reader: R,
    decoder: Box<dyn Decoder>,
    collector: Collector,
    /// Arrival times of frames, if the host recorded them.
    host_times: Option<HostTimes>,
    n_frames: u64,
    /// The clock at reading, for records without another time.
    arrival: Option<ArrivalClock>,
    fingerprint: Fingerprint,
    /// True if an earlier run read another file.
    replaced: bool,
    records_per_poll: usize,
    /// Bytes that were read; those before `decoded` are decoded.
    buffer: Vec<u8>,
    decoded: usize,
    /// Offset of `buffer` in the file.
    offset: u64,
    ended: bool,
}

impl Capture {
    /// Opens a capture at the saved position, or at its beginning if the file was replaced.
    pub(crate) fn open(
        path: PathBuf,
        ingress: &Ingress<'_>,
        records_per_poll: usize,
    ) -> Result<Self, SourceError> {
        let failed = |source| SourceError::Read { path: path.clone(), source };
        let mut file = File::open(&path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        let host_times = HostTimes::beside(&path).map_err(failed)?;
        let saved: Option<Place> = place_of(ingress.context, "")?;
        let same = match &saved {
            Some(place) => place.fingerprint.is_of(&file).map_err(failed)?,
            None => true,
        };
        let place = saved.filter(|_| same).unwrap_or_default();
        if metadata.len() < place.offset {
            return Err(SourceError::Shorter { path, offset: place.offset });
        }
        file.seek(SeekFrom::Start(place.offset)).map_err(failed)?;
        let fingerprint = Fingerprint::of(&file).map_err(failed)?;
        let mut collector = ingress.collector(SourceKind::Replay, "", Clock::Device);
        if same {
            collector.restore::<Place>(ingress.context, "")?;
        } else {
            tracing::warn!(
                source = ingress.context.name, path = %path.display(),
                "the file was replaced since it was read; it is read from its beginning"
            );
        }
        if ingress.calendar {
            // A copy may have any modification time, but no record has a time in the future.
            let written_at_ns = metadata.modified().map(unix_ns).map_err(failed)?;
            let now_ns = ArrivalClock::after(i64::MIN).now_ns();
            collector.set_written_at(written_at_ns.max(now_ns));
        }
        let arrival = ingress.clock == Some(Clock::Arrival) && host_times.is_none();
        let mut capture = Self::new(path, file, (ingress.decoder)(), collector, records_per_poll);
        capture.arrival = arrival.then(|| ArrivalClock::after(i64::MIN));
        (capture.host_times, capture.fingerprint, capture.replaced) =
            (host_times, fingerprint, !same);
        (capture.offset, capture.n_frames) = (place.offset, place.n_frames);
        capture.decoder.recall(place.memory);
        Ok(capture)
    }
}

/// The position to continue at in a capture.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Place {
    offset: u64,
    /// Number of frames before the offset.
    n_frames: u64,
    memory: DecoderMemory,
    fingerprint: Fingerprint,
}

impl<R: Read> Capture<R> {
    fn new(
        path: PathBuf,
        reader: R,
        decoder: Box<dyn Decoder>,
        collector: Collector,
        records_per_poll: usize,
    ) -> Self {
        Self {
            path,
            reader,
            decoder,
            collector,
            host_times: None,
            n_frames: 0,
            arrival: None,
            fingerprint: Fingerprint::default(),
            replaced: false,
            records_per_poll,
            buffer: Vec::new(),
            decoded: 0,
            offset: 0,
            ended: false,
        }
    }

    /// Reads the next chunk of the file, after the bytes that are not decoded yet.
    fn fill(&mut self) -> io::Result<()> {
        self.buffer.drain(..self.decoded);
        self.offset += self.decoded as u64;
        self.decoded = 0;
        let mut piece = self.reader.by_ref().take(READ_BYTES as u64);
        self.ended = piece.read_to_end(&mut self.buffer)? == 0;
        Ok(())
    }

    /// The place of the next record.
    fn place(&self) -> Place {
        let offset = self.offset + self.decoded as u64;
        let (n_frames, memory) = (self.n_frames, self.decoder.memory());
        Place { offset, n_frames, memory, fingerprint: self.fingerprint }
    }

    /// Decodes one record; returns false if more bytes are needed.
    fn step(&mut self) -> bool {
        let place = self.place();
        let bytes = &self.buffer[self.decoded..];
        if bytes.is_empty() {
            return false;
        }
        let complete = self.ended || bytes.len() > LONGEST_RECORD;
        let came_in = self.host_times.as_ref().and_then(|times| times.at_ns(self.n_frames));
        if let Some(came_in_ns) = came_in {
            self.collector.set_arrival(came_in_ns);
        }
        let n_before = self.collector.len();
        match self.collector.decode(&mut *self.decoder, bytes, complete) {
            Step::Used(used) => {
                self.n_frames += (self.collector.len() - n_before) as u64;
                self.decoded += used;
            }
            Step::Bad(used, error) => {
                self.collector.drop_record(error.reason(), place.offset);
                self.decoded += used;
            }
            Step::NeedsMore => return false,
            // Files have no schema registry.
            Step::NeedsSchema(_) => {
                self.collector.drop_record(DecodeError::Schema.reason(), place.offset);
                self.decoded = self.buffer.len();
            }
        }
        self.collector.drop_ahead(place.offset);
        self.collector.record_position(&place);
        true
    }
}

impl<R: Read + Send> Source for Capture<R> {
    fn begins_anew(&self) -> bool {
        self.replaced
    }

    fn poll(&mut self) -> Result<Poll, SourceError> {
        if let Some(clock) = &mut self.arrival {
            self.collector.set_arrival(clock.now_ns());
        }
        while self.collector.len() < self.records_per_poll {
            if self.step() {
                continue;
            }
            if self.ended {
                let place = self.place();
                return Ok(self.collector.finish(&place));
            }
            if self.collector.len() >= self.records_per_poll.min(ENOUGH_RECORDS) {
                break;
            }
            self.fill().map_err(|source| SourceError::Read { path: self.path.clone(), source })?;
        }
        Ok(self.collector.take())
    }
}

impl<R> fmt::Debug for Capture<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Capture").field("path", &self.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
