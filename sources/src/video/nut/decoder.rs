//! The decoder: takes bytes as they come, and returns the header and the pictures.
//!
//! The decoder buffers a header until it is complete. The bytes of a picture go straight into the
//! frame that it returns.

use std::mem;

use super::fault::{Fault, NutError};
use super::fields::{FieldError, Fields};
use super::frame_header::FrameHeader;
use super::headers::Headers;
use super::packets::{
    FILE_ID, INDEX_STARTCODE, MAIN_STARTCODE, PacketHeader, STARTCODE_BYTE, STREAM_STARTCODE,
    checked_fields,
};
use super::syncpoint::read_global_key_pts;
use super::{Event, Frame, Progress};

/// Maximum size of the fields before the data of a packet or frame; `ffmpeg` writes about 15 bytes.
const MAX_START_BYTES: usize = 256;

/// A decoder of one stream. State: a header of at most 16 KiB, and one picture.
///
/// - the events do not depend on how the bytes are cut into calls
/// - no call allocates more than one picture of `max_picture_bytes`, which is checked first
/// - after an error, each call returns the same error
#[derive(Debug)]
pub(crate) struct NutDecoder {
    max_picture_bytes: usize,
    state: State,
    /// Bytes of an element whose length is not known yet, or of a header.
    pending: Vec<u8>,
    /// Number of bytes used.
    offset: u64,
    /// Offset of the packet or frame that is being read.
    start_offset: u64,
    headers: Headers,
    /// The presentation time of the last frame or syncpoint, in ticks.
    last_pts: u64,
    has_index: bool,
}

#[derive(Debug)]
enum State {
    /// Within the first bytes of the file.
    FileId,
    /// At the start of a packet or frame, or within the fields before its data.
    Start,
    /// Within a packet that is read when it is complete.
    Packet { startcode: u64, n_bytes: usize },
    /// Within a packet that is not read.
    Skip { n_bytes: u64 },
    /// Within the data of a frame, which has `n_bytes` when it is complete.
    Pixels { frame: Frame, n_bytes: usize },
    /// After the first error.
    Failed(NutError),
}

impl NutDecoder {
    /// Starts at the first byte of a stream.
    ///
    /// Pictures of more than `max_picture_bytes` are an error.
    pub(crate) fn new(max_picture_bytes: usize) -> Self {
        Self {
            max_picture_bytes,
            state: State::FileId,
            pending: Vec::new(),
            offset: 0,
            start_offset: 0,
            headers: Headers::default(),
            last_pts: 0,
            has_index: false,
        }
    }

    /// Decodes bytes up to the end of the next header or frame.
    ///
    /// # Errors
    ///
    /// [`NutError`] if the bytes are not NUT as this decoder reads it.
    pub(crate) fn decode(&mut self, input: &[u8]) -> Result<Progress, NutError> {
        let mut n_used = 0;
        while let Some(rest) = input.get(n_used..).filter(|rest| !rest.is_empty()) {
            let n_taken = self.take(rest);
            self.offset += n_taken as u64;
            n_used += n_taken;
            let event = self.advance().map_err(|fault| self.fail(fault))?;
            if event.is_some() {
                return Ok(Progress { n_used, event });
            }
        }
        match self.state {
            State::Failed(error) => Err(error),
            _ => Ok(Progress { n_used, event: None }),
        }
    }

    /// Checks that the stream ends here.
    ///
    /// A stream whose writer was killed between two frames passes this check. A complete
    /// one ends with an index: see [`NutDecoder::has_index`].
    ///
    /// # Errors
    ///
    /// [`Fault::Truncated`] if the headers, a packet or a frame are not complete, or an earlier
    /// error.
    pub(crate) fn finish(&mut self) -> Result<(), NutError> {
        match self.state {
            State::Start if self.pending.is_empty() && self.headers.is_complete() => Ok(()),
            _ => Err(self.fail(Fault::Truncated)),
        }
    }

    /// Returns true after the index, which `ffmpeg` writes last, at the end of a complete stream.
    pub(crate) fn has_index(&self) -> bool {
        self.has_index
    }

    /// Keeps the first error.
    fn fail(&mut self, fault: Fault) -> NutError {
        if let State::Failed(error) = self.state {
            return error;
        }
        let error = NutError { offset: self.start_offset, fault };
        self.state = State::Failed(error);
        self.pending = Vec::new();
        error
    }

    /// Takes the bytes that the state asks for; returns how many, at least one unless it failed.
    fn take(&mut self, rest: &[u8]) -> usize {
        match &mut self.state {
            State::FileId => fill(&mut self.pending, rest, FILE_ID.len()),
            State::Start => {
                let n_pending = self.pending.len();
                fill(&mut self.pending, rest, n_pending + 1)
            }
            State::Packet { n_bytes, .. } => fill(&mut self.pending, rest, *n_bytes),
            State::Skip { n_bytes } => {
                let n_taken = usize::try_from(*n_bytes).unwrap_or(usize::MAX).min(rest.len());
                *n_bytes -= n_taken as u64;
                n_taken
            }
            State::Pixels { frame, n_bytes } => fill(&mut frame.pixels, rest, *n_bytes),
            State::Failed(_) => 0,
        }
    }

    /// Reads the bytes that were taken, if there are enough of them.
    fn advance(&mut self) -> Result<Option<Event>, Fault> {
        match self.state {
            State::FileId => self.check_file_id().map(|()| None),
            State::Start => self.read_start(),
            State::Packet { startcode, n_bytes } if self.pending.len() == n_bytes => {
                self.read_packet(startcode)
            }
            State::Skip { n_bytes: 0 } => {
                self.begin();
                Ok(None)
            }
            State::Packet { .. } | State::Skip { .. } => Ok(None),
            State::Pixels { .. } => Ok(self.complete_frame()),
            State::Failed(error) => Err(error.fault),
        }
    }

    /// Notes that a packet or frame begins at the next byte.
    fn begin(&mut self) {
        self.state = State::Start;
        self.pending.clear();
        self.start_offset = self.offset;
    }

    fn check_file_id(&mut self) -> Result<(), Fault> {
        if !FILE_ID.starts_with(&self.pending) {
            return Err(Fault::FileId);
        }
        if self.pending.len() == FILE_ID.len() {
            self.begin();
        }
        Ok(())
    }

    /// Reads the fields before the data of a packet or frame, if they are complete.
    fn read_start(&mut self) -> Result<Option<Event>, Fault> {
        let pending = mem::take(&mut self.pending);
        let mut fields = Fields::new(&pending);
        let event = match pending.first() {
            Some(&STARTCODE_BYTE) => self.read_packet_header(&mut fields).map(|()| None),
            _ => self.read_frame_header(&mut fields),
        };
        match event {
            Err(FieldError::Incomplete) if pending.len() < MAX_START_BYTES => {
                self.pending = pending;
                Ok(None)
            }
            Err(FieldError::Incomplete) => Err(Fault::Field),
            Err(FieldError::Fault(fault)) => Err(fault),
            Ok(event) => Ok(event),
        }
    }

    fn read_packet_header(&mut self, fields: &mut Fields<'_>) -> Result<(), FieldError> {
        let header = PacketHeader::read(fields)?;
        let startcode = header.startcode;
        self.state = match header.n_buffered()? {
            Some(n_bytes) => State::Packet { startcode, n_bytes },
            None => State::Skip { n_bytes: header.forward_ptr },
        };
        self.has_index |= startcode == INDEX_STARTCODE;
        Ok(())
    }

    /// Reads a packet that is complete and begins the next.
    fn read_packet(&mut self, startcode: u64) -> Result<Option<Event>, Fault> {
        let pending = mem::take(&mut self.pending);
        let event = self.read_body(startcode, &mut checked_fields(&pending)?);
        let event = event.map_err(|error| match error {
            FieldError::Incomplete => Fault::HeaderLength,
            FieldError::Fault(fault) => fault,
        })?;
        self.begin();
        Ok(event)
    }

    fn read_body(
        &mut self,
        startcode: u64,
        fields: &mut Fields<'_>,
    ) -> Result<Option<Event>, FieldError> {
        match startcode {
            MAIN_STARTCODE => self.headers.read_main(fields).map(|()| None),
            STREAM_STARTCODE => {
                let header = self.headers.read_stream(fields, self.max_picture_bytes)?;
                Ok(header.map(Event::Header))
            }
            _ => {
                let (main, stream) = self.headers.both()?;
                let time_base = stream.header.time_base;
                self.last_pts = read_global_key_pts(fields, &main.time_bases, time_base)?;
                Ok(None)
            }
        }
    }

    /// Reads the fields of a frame and makes room for its pixels.
    fn read_frame_header(&mut self, fields: &mut Fields<'_>) -> Result<Option<Event>, FieldError> {
        let (main, stream) = self.headers.both()?;
        let header = FrameHeader::read(fields, &main.frame_codes)?;
        let last_pts = header.pts(self.last_pts, stream.msb_pts_shift).ok_or(Fault::Time)?;
        let pts = i64::try_from(last_pts).map_err(|_| Fault::Time)?;
        if header.is_end_of_relevance() {
            self.last_pts = last_pts;
            self.begin();
            return Ok(None);
        }
        let (found, expected) = (header.data_size, stream.picture_bytes as u64);
        if found != expected {
            return Err(Fault::FrameSize { found, expected }.into());
        }
        let elision_header = main.elision_header(header.header_idx, header.data_size)?;
        let mut pixels = Vec::with_capacity(stream.picture_bytes);
        pixels.extend_from_slice(elision_header);
        self.last_pts = last_pts;
        self.state = State::Pixels { frame: Frame { pts, pixels }, n_bytes: stream.picture_bytes };
        // The elision header may be the whole frame.
        Ok(self.complete_frame())
    }

    /// Returns the frame if it has all its pixels.
    fn complete_frame(&mut self) -> Option<Event> {
        let State::Pixels { frame, n_bytes } = &mut self.state else { return None };
        if frame.pixels.len() < *n_bytes {
            return None;
        }
        let frame = Frame { pts: frame.pts, pixels: mem::take(&mut frame.pixels) };
        self.begin();
        Some(Event::Frame(frame))
    }
}

/// Appends bytes of `rest` until `buffer` has `n_bytes`; returns how many.
fn fill(buffer: &mut Vec<u8>, rest: &[u8], n_bytes: usize) -> usize {
    let n_missing = n_bytes.saturating_sub(buffer.len());
    let taken = rest.get(..n_missing).unwrap_or(rest);
    buffer.extend_from_slice(taken);
    taken.len()
}
