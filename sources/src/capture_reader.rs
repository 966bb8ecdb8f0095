//! Reads captures record by record, in their own order. A source instead emits batches, which combine the
//! frames of a link.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use schemas::{CsiBatch, Record, SourceKind, TickLength};

use crate::formats::csi::CsiFormat;
use crate::journal::{self, Reader};
use crate::{Clock, Collector, Decoder, DecoderMemory, LinkNames, SourceContext, Step};

/// Bytes of one read from a file.
const READ_BYTES: u64 = 64 * 1024;
/// Longest record of any format. A decoder that needs more bytes has lost the bounds of records.
const LONGEST_RECORD: usize = 1024 * 1024;
/// Drop reason of messages that a journal has lost.
const LOST: &str = "lost before it was read";

/// Reads a capture file, or a folder that `fresnel record` has written, in its own order.
///
/// Frames of a file have the time of their device; frames of a folder have their arrival time.
pub struct CaptureReader {
    input: Input,
    decoder: Box<dyn Decoder>,
    collector: Collector,
    /// Bytes that were read; those before `decoded` are decoded.
    bytes: Vec<u8>,
    decoded: usize,
    /// True if `bytes` is complete: no following bytes belong to it.
    complete: bool,
    dropped: BTreeMap<&'static str, u64>,
}

enum Input {
    File(File),
    Recording(Reader),
}

impl CaptureReader {
    /// Opens a file, or a folder of a recording, with bytes of this format.
    ///
    /// # Errors
    ///
    /// The operating system's error, if it cannot be read.
    pub fn open(path: &Path, format: CsiFormat) -> io::Result<Self> {
        // All records are in one tick, so that none stays pending.
        let tick_length = TickLength::from_ms(u64::MAX);
        let context = SourceContext { tick_length, ..SourceContext::detached("capture") };
        let (site, receiver) = (context.site.to_owned(), context.name.to_owned());
        let names = LinkNames { site, receiver, transmitter: "ap".to_owned() };
        let collector = Collector::new(names, SourceKind::Replay, &context).with_senders(true);
        let (input, clock) = if path.is_dir() {
            let mut reader = journal::open_recording(path)?;
            reader.sync(Duration::ZERO)?;
            (Input::Recording(reader), Clock::Arrival)
        } else {
            (Input::File(File::open(path)?), Clock::Device)
        };
        Ok(Self {
            input,
            decoder: format.decoder(),
            collector: collector.with_clock(clock),
            bytes: Vec::new(),
            decoded: 0,
            complete: false,
            dropped: BTreeMap::new(),
        })
    }

    /// Returns the frames of the next record that has any, a batch for each link and layout; none at the
    /// end.
    ///
    /// # Errors
    ///
    /// The operating system's error, if the next bytes cannot be read.
    pub fn next_frames(&mut self) -> io::Result<Option<Vec<CsiBatch>>> {
        loop {
            if !self.step() && !self.fill()? {
                return Ok(None);
            }
            let records = self.collector.drain().records.into_iter();
            let batches = records.filter_map(|(_, record)| match record {
                Record::Csi(batch) => Some(batch),
                _ => None,
            });
            let batches: Vec<_> = batches.collect();
            if !batches.is_empty() {
                return Ok(Some(batches));
            }
        }
    }

    /// Dropped records so far, by reason.
    pub fn dropped(&self) -> &BTreeMap<&'static str, u64> {
        &self.dropped
    }

    /// Decodes one record; returns false if more bytes are needed.
    fn step(&mut self) -> bool {
        let bytes = &self.bytes[self.decoded..];
        if bytes.is_empty() {
            return false;
        }
        let complete = self.complete || bytes.len() > LONGEST_RECORD;
        self.decoded += match self.collector.decode(&mut *self.decoder, bytes, complete) {
            Step::Used(used) => used,
            Step::Bad(used, error) => {
                *self.dropped.entry(error.reason()).or_default() += 1;
                used
            }
            Step::NeedsMore if !complete => return false,
            // No more bytes belong to the record.
            Step::NeedsMore | Step::NeedsSchema(_) => bytes.len(),
        };
        self.collector.commit();
        true
    }

    /// Reads the following bytes; returns false at the end.
    fn fill(&mut self) -> io::Result<bool> {
        match &mut self.input {
            Input::File(_) if self.complete => return Ok(false),
            Input::File(file) => {
                self.bytes.drain(..self.decoded);
                let n_read = file.by_ref().take(READ_BYTES).read_to_end(&mut self.bytes)?;
                self.complete = n_read == 0;
            }
            Input::Recording(reader) => {
                let Some(entry) = reader.next()? else { return Ok(false) };
                if entry.n_lost > 0 {
                    *self.dropped.entry(LOST).or_default() += entry.n_lost;
                }
                self.collector.set_arrival(entry.arrived_at_ns);
                self.collector.set_sender(entry.origin.sender);
                // Messages are independent, so the decoder has no memory of the one before.
                self.decoder.recall(DecoderMemory::default());
                self.bytes.clear();
                self.bytes.extend_from_slice(entry.message);
                self.complete = true;
            }
        }
        self.decoded = 0;
        Ok(true)
    }
}

impl fmt::Debug for CaptureReader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { collector, dropped, .. } = self;
        formatter
            .debug_struct("CaptureReader")
            .field("collector", collector)
            .field("dropped", dropped)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::journal::{Backlog, Origin};

    const N_LINES: u32 = 3000;

    /// A line of one of two boards, with frames of two sizes; one line in 500 is broken.
    fn line(nth: u32) -> String {
        let (board, n_numbers) = (nth % 2, if nth.is_multiple_of(3) { 256 } else { 128 });
        let list = if nth % 500 == 7 { "x".to_owned() } else { vec!["1"; n_numbers].join(",") };
        let time_us = 1000 * nth;
        format!(
            "CSI_DATA,{nth},94:d9:b3:80:8c:8{board},-30,11,-93,7,24,6,{time_us},67,0,4,1,\"[{list}]\"\n"
        )
    }

    /// Numbers and times of the frames in a capture, and its dropped records.
    fn read(path: &Path) -> (Vec<(u32, i64)>, BTreeMap<&'static str, u64>) {
        let mut reader = CaptureReader::open(path, CsiFormat::Esp32).expect("it is there");
        let mut frames = Vec::new();
        while let Some(batches) = reader.next_frames().expect("it can be read") {
            for batch in batches {
                frames.extend(batch.sequence.into_iter().zip(batch.captured_at_ns));
            }
        }
        (frames, reader.dropped().clone())
    }

    #[test]
    fn frames_are_in_the_order_of_the_capture() {
        let folder = tempfile::tempdir().expect("room");
        let (file, recording) = (folder.path().join("file"), folder.path().join("recording"));
        let lines: Vec<_> = (0..N_LINES).map(line).collect();
        fs::write(&file, lines.concat()).expect("room");
        let (mut journal, _) = journal::open(&recording, 0).expect("room");
        for (line, came_in_ns) in lines.iter().zip(5..) {
            journal.append_at(came_in_ns, Origin::default(), line.as_bytes());
        }
        journal.write(0, Backlog::More).expect("room");
        drop(journal);
        let good = || (0..N_LINES).filter(|nth| nth % 500 != 7);
        let dropped = BTreeMap::from([("unreadable number", 6)]);
        let by_device: Vec<_> = good().map(|nth| (nth, i64::from(nth) * 1_000_000)).collect();
        assert_eq!(read(&file), (by_device, dropped.clone()));
        let by_arrival: Vec<_> = good().map(|nth| (nth, i64::from(nth) + 5)).collect();
        assert_eq!(read(&recording), (by_arrival, dropped));
    }

    #[test]
    fn what_is_cut_off_is_dropped() {
        let folder = tempfile::tempdir().expect("room");
        let file = folder.path().join("file");
        let line = line(1);
        fs::write(&file, format!("{line}{}", &line[..100])).expect("room");
        let (frames, dropped) = read(&file);
        assert_eq!((frames, dropped), (vec![(1, 1_000_000)], [("truncated record", 1)].into()));
        fs::write(&file, "").expect("room");
        assert_eq!(read(&file), (Vec::new(), BTreeMap::new()));
        let nowhere = CaptureReader::open(&folder.path().join("nowhere"), CsiFormat::Esp32);
        assert_eq!(nowhere.expect_err("it is not there").kind(), io::ErrorKind::NotFound);
    }
}
