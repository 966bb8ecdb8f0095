//! Streams of bytes, cut into records before they go to a journal.

use crate::{Decoder, Split};

/// What is longer is cut, whatever it is: no record of a device is.
const LONGEST_RECORD: usize = 512 * 1024;

/// Cuts one stream.
#[derive(Debug, Default)]
pub(super) struct Cutter {
    /// The beginning of a record.
    begun: Vec<u8>,
}

impl Cutter {
    /// Takes the bytes that come next, and tells each record that is whole with where it ends, counted
    /// from the end of these bytes. What is between records is told as well.
    pub(super) fn take(
        &mut self,
        decoder: &dyn Decoder,
        bytes: &[u8],
        tell: impl FnMut(&[u8], u64),
    ) {
        self.begun.extend_from_slice(bytes);
        self.cut(decoder, false, tell);
    }

    /// Tells what has begun, when no more comes.
    pub(super) fn end(&mut self, decoder: &dyn Decoder, tell: impl FnMut(&[u8], u64)) {
        self.cut(decoder, true, tell);
    }

    fn cut(&mut self, decoder: &dyn Decoder, ended: bool, mut tell: impl FnMut(&[u8], u64)) {
        let mut at = 0;
        while at < self.begun.len() {
            let rest = &self.begun[at..self.begun.len().min(at + LONGEST_RECORD)];
            let complete = ended || rest.len() == LONGEST_RECORD;
            let n_bytes = match decoder.split(rest, complete) {
                Split::Record(n_bytes) | Split::Other(n_bytes) | Split::Bad(n_bytes, _) => n_bytes,
                Split::NeedsMore if complete => rest.len(),
                Split::NeedsMore => break,
            };
            at += n_bytes;
            tell(&rest[..n_bytes], (self.begun.len() - at) as u64);
        }
        self.begun.drain(..at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CsiFormat;

    fn cut(pieces: &[&[u8]]) -> Vec<(Vec<u8>, u64)> {
        let decoder = CsiFormat::Esp32.decoder();
        let (mut cutter, mut records) = (Cutter::default(), Vec::new());
        for piece in pieces {
            cutter.take(&*decoder, piece, |record, behind| records.push((record.to_vec(), behind)));
        }
        cutter.end(&*decoder, |record, behind| records.push((record.to_vec(), behind)));
        records
    }

    #[test]
    fn records_are_whole_however_they_come() {
        let (first, second, last) = (&b"CSI_DATA,1\n"[..], &b"boot\n"[..], &b"CSI_DA"[..]);
        let all = [first, second, last].concat();
        let expected = [first, second, last].map(<[u8]>::to_vec);
        for cut_at in 0..all.len() {
            let records = cut(&[&all[..cut_at], &all[cut_at..]]);
            let records: Vec<_> = records.into_iter().map(|(record, _)| record).collect();
            assert_eq!(records, expected, "cut at {cut_at}");
        }
        let behind: Vec<_> = cut(&[&all]).into_iter().map(|(_, behind)| behind).collect();
        assert_eq!(behind, [11, 6, 0]);
    }

    #[test]
    fn what_never_ends_is_cut() {
        let noise = vec![b'x'; 2 * LONGEST_RECORD + 5];
        let lengths: Vec<_> = cut(&[&noise]).into_iter().map(|(record, _)| record.len()).collect();
        assert_eq!(lengths.iter().sum::<usize>(), noise.len());
        assert!(lengths.iter().all(|n_bytes| *n_bytes <= LONGEST_RECORD), "{lengths:?}");
    }
}
