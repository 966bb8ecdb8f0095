//! Segments: the files that contain the entries, one after the other.
//!
//! A disk may damage entries in the middle. Each entry has a checksum, so reading continues at the next
//! intact one.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::journal::header::{HEADER_BYTES, Header};

/// The file of the segment that begins at an offset.
pub(super) fn segment_path(folder: &Path, start: u64) -> PathBuf {
    folder.join(format!("{start:020}.journal"))
}

/// The offset at which each segment of a folder begins.
pub(super) fn segments(folder: &Path) -> io::Result<VecDeque<u64>> {
    let mut starts = Vec::new();
    for file in fs::read_dir(folder)? {
        let name = file?.file_name();
        let start: Option<u64> =
            name.to_str().and_then(|name| name.strip_suffix(".journal")?.parse().ok());
        starts.extend(start);
    }
    starts.sort_unstable();
    Ok(starts.into())
}

/// Removes a segment, if it is there.
pub(super) fn remove_segment(folder: &Path, start: u64) -> io::Result<()> {
    match fs::remove_file(segment_path(folder, start)) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// The end of a segment's last intact entry, and that entry's header.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tail {
    pub(super) n_bytes: u64,
    pub(super) last: Option<Header>,
}

/// Reads a segment to its last intact entry. Bytes after it were not written completely.
pub(super) fn scan(path: &Path) -> io::Result<Tail> {
    let mut tail = Tail::default();
    for_each_entry(path, |at, header, message| {
        tail.n_bytes = at + (HEADER_BYTES + message.len()) as u64;
        tail.last = Some(*header);
    })?;
    Ok(tail)
}

/// Passes each intact entry of a segment to `visit`, with its offset within the segment.
pub(super) fn for_each_entry(
    path: &Path,
    mut visit: impl FnMut(u64, &Header, &[u8]),
) -> io::Result<()> {
    let mut bytes = Vec::new();
    File::open(path)?.read_to_end(&mut bytes)?;
    let mut from = 0;
    while let Some(at) = find_entry(&bytes, from) {
        let Some((header, message)) = Header::decode(&bytes[at..]) else { break };
        visit(at as u64, &header, message);
        from = at + HEADER_BYTES + message.len();
    }
    Ok(())
}

/// Returns the offset of the first intact entry at or after `from`.
pub(super) fn find_entry(bytes: &[u8], from: usize) -> Option<usize> {
    let behind = (bytes.len() + 1).saturating_sub(HEADER_BYTES);
    (from..behind).find(|at| Header::decode(&bytes[*at..]).is_some())
}

/// Fills `buffer` from an offset of a file; truncates it at the end of the file.
pub(crate) fn read_at(file: &File, buffer: &mut Vec<u8>, offset: u64) -> io::Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(n_bytes) => filled += n_bytes,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(filled);
    Ok(())
}
