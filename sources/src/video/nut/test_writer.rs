//! Writes NUT for the tests: streams that `ffmpeg` does not write, right and wrong ones.

use super::checksum::crc32;
use super::frame_flags;
use super::packets::{FILE_ID, MAIN_STARTCODE, STREAM_STARTCODE, SYNCPOINT_STARTCODE};
use super::stream_header::{RGB24, VIDEO};

/// The bytes of a stream with one frame code, 1, for frames that state all their fields.
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    /// Writes the file identifier and both headers, for pictures of 2x1 pixels.
    pub(super) fn new(time_bases: &[u64], time_base_id: u64, elision_header: &[u8]) -> Self {
        let mut writer = Self(FILE_ID.to_vec());
        writer.main(time_bases, elision_header);
        writer.stream(time_base_id, 2, 1);
        writer
    }

    /// Writes a main header with time bases, two numbers each, and an elision header.
    pub(super) fn main(&mut self, time_bases: &[u64], elision_header: &[u8]) {
        let mut body = Self::numbers(&[3, 1, 32_767, time_bases.len() as u64 / 2]);
        body.extend(Self::numbers(time_bases));
        // Code 0 is invalid; the second run is code 1, the third the other codes without 'N'.
        body.extend(Self::numbers(&[frame_flags::INVALID, 6, 0, 1, 0, 0, 0, 1]));
        body.extend(Self::numbers(&[frame_flags::CODED, 6, 0, 1, 0, 0, 0, 1]));
        body.extend(Self::numbers(&[frame_flags::INVALID, 6, 0, 1, 0, 0, 0, 253]));
        body.extend(Self::numbers(&[1, elision_header.len() as u64]));
        body.extend(elision_header);
        self.packet(MAIN_STARTCODE, &body);
    }

    /// Writes a stream header.
    pub(super) fn stream(&mut self, time_base_id: u64, width: u64, height: u64) {
        let mut body = Self::numbers(&[0, VIDEO, 4]);
        body.extend(RGB24[1]);
        body.extend(Self::numbers(&[time_base_id, 7, 1, 0, 0, 0, width, height, 0, 0, 0]));
        self.packet(STREAM_STARTCODE, &body);
    }

    /// Writes a syncpoint.
    pub(super) fn syncpoint(&mut self, global_key_pts: u64) {
        self.packet(SYNCPOINT_STARTCODE, &Self::numbers(&[global_key_pts, 0]));
    }

    /// Writes a frame with a checksum.
    pub(super) fn frame(&mut self, coded_pts: u64, n_bytes: u64, header_idx: u64, data: &[u8]) {
        let flags = frame_flags::CODED_PTS
            | frame_flags::SIZE_MSB
            | frame_flags::HEADER_IDX
            | frame_flags::CHECKSUM
            | frame_flags::CODED;
        let mut head = vec![1];
        head.extend(Self::numbers(&[flags ^ frame_flags::CODED, coded_pts, n_bytes, header_idx]));
        let checksum = crc32(&head);
        head.extend(checksum.to_be_bytes());
        self.0.extend(head);
        self.0.extend(data);
    }

    /// Writes a packet with its checksums.
    pub(super) fn packet(&mut self, startcode: u64, body: &[u8]) {
        let mut head = startcode.to_be_bytes().to_vec();
        head.extend(Self::number(body.len() as u64 + 4));
        if body.len() + 4 > 4096 {
            let checksum = crc32(&head);
            head.extend(checksum.to_be_bytes());
        }
        self.0.extend(head);
        self.0.extend(body);
        self.0.extend(crc32(body).to_be_bytes());
    }

    fn numbers(values: &[u64]) -> Vec<u8> {
        values.iter().flat_map(|&value| Self::number(value)).collect()
    }

    /// Returns a number of variable length.
    fn number(mut value: u64) -> Vec<u8> {
        let mut bytes = vec![u8::try_from(value & 0x7F).unwrap()];
        while value > 0x7F {
            value >>= 7;
            bytes.insert(0, u8::try_from(value & 0x7F).unwrap() | 0x80);
        }
        bytes
    }
}
