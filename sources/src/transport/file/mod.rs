//! Files: reads bytes in pieces and hands them to a decoder.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::SystemTime;

use schemas::SourceKind;
use serde::{Deserialize, Serialize};

use crate::transport::host_times::HostTimes;
use crate::transport::{Clock, Ingress, unix_ns};
use crate::{DecodeError, Decoder, DecoderMemory, Intake, Poll, Source, SourceError, Step};

/// Read at once, and given as one poll: what becomes of it stays in the processor's caches.
const READ_BYTES: usize = 64 * 1024;
/// When a piece is decoded that holds as many records as this, they are given before the next one is read.
const ENOUGH_RECORDS: usize = 16;
/// No record of any format is longer; a decoder that asks for more has lost its way.
const LONGEST_RECORD: usize = 1024 * 1024;

/// A capture file that is being read.
pub(crate) struct Capture<R = File> {
    path: PathBuf,
    reader: R,
    decoder: Box<dyn Decoder>,
    intake: Intake,
    /// When frames came in, if the host noted it.
    host_times: Option<HostTimes>,
    n_frames: u64,
    /// True if records are stamped with the time they are read.
    arrival: bool,
    records_per_poll: usize,
    /// Bytes that were read; those before `decoded` are done with.
    buffer: Vec<u8>,
    decoded: usize,
    /// Offset of `buffer` in the file.
    offset: u64,
    ended: bool,
}

impl Capture {
    /// Opens a capture.
    pub(crate) fn open(
        path: PathBuf,
        ingress: &Ingress<'_>,
        records_per_poll: usize,
    ) -> Result<Self, SourceError> {
        let mut intake = ingress.intake(SourceKind::Replay, "", Clock::Device);
        let place: Place = intake.restore(ingress.context, "")?.unwrap_or_default();
        let open = || {
            let mut file = File::open(&path)?;
            let n_bytes = file.metadata()?.len();
            file.seek(SeekFrom::Start(place.offset))?;
            Ok((file, n_bytes, HostTimes::beside(&path)?))
        };
        let (file, n_bytes, host_times) = match open() {
            Ok(opened) => opened,
            Err(source) => return Err(SourceError::Read { path, source }),
        };
        if n_bytes < place.offset {
            return Err(SourceError::Shorter { path, offset: place.offset });
        }
        let mut capture = Self::new(path, file, (ingress.decoder)(), intake, records_per_poll);
        capture.arrival = ingress.clock == Some(Clock::Arrival) && host_times.is_none();
        capture.host_times = host_times;
        (capture.offset, capture.n_frames) = (place.offset, place.n_frames);
        capture.decoder.recall(place.memory);
        Ok(capture)
    }
}

/// Where to read on in a capture.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Place {
    offset: u64,
    /// Before it.
    n_frames: u64,
    memory: DecoderMemory,
}

impl<R: Read> Capture<R> {
    fn new(
        path: PathBuf,
        reader: R,
        decoder: Box<dyn Decoder>,
        intake: Intake,
        records_per_poll: usize,
    ) -> Self {
        Self {
            path,
            reader,
            decoder,
            intake,
            host_times: None,
            n_frames: 0,
            arrival: false,
            records_per_poll,
            buffer: Vec::new(),
            decoded: 0,
            offset: 0,
            ended: false,
        }
    }

    /// Reads the next piece of the file behind what is not decoded yet.
    fn fill(&mut self) -> io::Result<()> {
        self.buffer.drain(..self.decoded);
        self.offset += self.decoded as u64;
        self.decoded = 0;
        let mut piece = self.reader.by_ref().take(READ_BYTES as u64);
        self.ended = piece.read_to_end(&mut self.buffer)? == 0;
        Ok(())
    }

    /// Where the next record is.
    fn place(&self) -> Place {
        let offset = self.offset + self.decoded as u64;
        Place { offset, n_frames: self.n_frames, memory: self.decoder.memory() }
    }

    /// Decodes one record; false when more bytes are needed.
    fn step(&mut self) -> bool {
        let place = self.place();
        let bytes = &self.buffer[self.decoded..];
        if bytes.is_empty() {
            return false;
        }
        let complete = self.ended || bytes.len() > LONGEST_RECORD;
        let came_in = self.host_times.as_ref().and_then(|times| times.at_ns(self.n_frames));
        if let Some(came_in_ns) = came_in {
            self.intake.set_arrival(came_in_ns);
        }
        let n_before = self.intake.len();
        match self.decoder.decode(bytes, complete, &mut self.intake) {
            Step::Used(used) => {
                self.n_frames += (self.intake.len() - n_before) as u64;
                self.decoded += used;
            }
            Step::Bad(used, error) => {
                self.intake.drop_record(error.reason(), place.offset);
                self.decoded += used;
            }
            Step::NeedsMore => return false,
            // Files have no registry that tells it.
            Step::NeedsSchema(_) => {
                self.intake.drop_record(DecodeError::Schema.reason(), place.offset);
                self.decoded = self.buffer.len();
            }
        }
        self.intake.mark(&place);
        true
    }
}

impl<R: Read + Send> Source for Capture<R> {
    #[expect(clippy::disallowed_methods, reason = "sources read the clock")]
    fn poll(&mut self) -> Result<Poll, SourceError> {
        if self.arrival {
            self.intake.set_arrival(unix_ns(SystemTime::now()));
        }
        while self.intake.len() < self.records_per_poll {
            if self.step() {
                continue;
            }
            if self.ended {
                let place = self.place();
                return Ok(self.intake.finish(&place));
            }
            if self.intake.len() >= self.records_per_poll.min(ENOUGH_RECORDS) {
                break;
            }
            self.fill().map_err(|source| SourceError::Read { path: self.path.clone(), source })?;
        }
        Ok(self.intake.take())
    }
}

impl<R> fmt::Debug for Capture<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Capture").field("path", &self.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::Record;

    use crate::{CsiFormat, Dropped, LinkNames, PollState, SourceContext};

    const LINE: &str =
        "CSI_DATA,9,94:d9:b3:80:8c:81,-30,11,-93,7,24,6,2751923,67,0,4,1,\"[1,-2]\"\n";

    /// Gives one byte at a time, as a slow disk might.
    struct ByteByByte<'a>(&'a [u8]);

    impl Read for ByteByByte<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(&mut buffer[..1])
        }
    }

    fn read_all(text: &str) -> (Vec<Record>, Vec<Dropped>) {
        let reader = ByteByByte(text.as_bytes());
        let context = SourceContext::detached("test");
        let intake = Intake::new(LinkNames::default(), SourceKind::Replay, &context);
        let mut capture =
            Capture::new(PathBuf::from("test"), reader, CsiFormat::Esp32.decoder(), intake, 2);
        let (mut records, mut dropped) = (Vec::new(), Vec::new());
        loop {
            let poll = capture.poll().expect("memory can be read");
            records.extend(poll.records.into_iter().map(|(_, record)| record));
            dropped.extend(poll.dropped);
            if poll.state == PollState::End {
                return (records, dropped);
            }
        }
    }

    #[test]
    fn every_line_is_a_frame_or_a_counted_drop() {
        let text = format!("{LINE}{LINE}CSI_DATA,broken\n{LINE}");
        let (records, dropped) = read_all(&text);
        let (mut n_frames, mut n_errors) = (0, 0);
        for record in &records {
            match record {
                Record::Csi(batch) => n_frames += batch.len(),
                Record::Rows(rows) if rows.stream == "test.errors" => n_errors += rows.len(),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((n_frames, n_errors), (3, 1));
        let offset = 2 * LINE.len() as u64;
        assert_eq!(dropped, [Dropped { reason: "no list of values", n_records: 1, offset }]);
    }
}
