//! The journal: what came over a transport that cannot be asked again, kept on disk until it is not
//! needed any more, so that it can be read again.
//!
//! An entry is a message with its number, the time it came in, which never goes back, and who sent it. Entries are
//! appended to segments, files that are named by the offset they begin at. Receiving only writes;
//! reading first makes durable what it is about to read. A journal that has grown too large loses its
//! oldest segment, which whoever reads it is told.

mod reader;
mod writer;

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read};
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

pub(crate) use crate::journal::reader::Reader;
pub(crate) use crate::journal::writer::Writer;

/// Length, checksum, number, time and sender of an entry, before its message.
const HEADER_BYTES: usize = 40;
const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;
/// Bound of what is kept: minutes of a building full of devices.
const JOURNAL_BYTES: u64 = 1024 * 1024 * 1024;
/// No message is longer; a larger length is damage.
const LONGEST_MESSAGE: usize = 1024 * 1024;

/// Opens the journal in a folder, which is made if need be. What was not written as a whole when a
/// run was killed is cut off.
pub(crate) fn open(folder: &Path) -> io::Result<(Writer, Reader)> {
    fs::create_dir_all(folder)?;
    let writer = Writer::open(folder)?;
    let reader = Reader::new(Arc::clone(writer.shared()));
    Ok((writer, reader))
}

/// Opens a journal that nobody writes to.
pub(crate) fn open_recording(folder: &Path) -> io::Result<Reader> {
    let segments = segments(folder)?;
    let Some(last) = segments.back().copied() else { return Err(io::ErrorKind::NotFound.into()) };
    let path = segment_path(folder, last);
    let tail = scan(&path)?;
    let file = Arc::new(File::open(&path)?);
    let state = State { segments, end: last + tail.n_bytes, clock_ns: i64::MIN, away: false, file };
    let (state, changed) = (Mutex::new(state), Condvar::new());
    Ok(Reader::new(Arc::new(Shared { folder: folder.to_owned(), state, changed })))
}

/// What writer and reader both know.
#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// Where each segment begins, in order; never empty.
    segments: VecDeque<u64>,
    /// Where the next entry will be.
    end: u64,
    /// Whatever is beyond the end came in at this time or later.
    clock_ns: i64,
    /// True while whoever sends cannot be reached.
    away: bool,
    /// The last segment.
    file: Arc<File>,
}

/// What a receiver knows of messages that it has not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beyond {
    /// There may be more that have come in.
    More,
    /// There were none.
    Nothing,
    /// There were none, but whoever sends cannot be reached.
    Away,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn segment_path(folder: &Path, start: u64) -> PathBuf {
    folder.join(format!("{start:020}.journal"))
}

/// Where each segment of a folder begins.
fn segments(folder: &Path) -> io::Result<VecDeque<u64>> {
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

/// What an entry's header tells.
#[derive(Clone, Copy, Debug)]
struct Header {
    n_bytes: usize,
    checksum: u32,
    number: u64,
    arrived_at_ns: i64,
    /// Unspecified where there is none; version 4 as it is mapped into version 6.
    sender: Ipv6Addr,
}

impl Header {
    fn of(number: u64, arrived_at_ns: i64, sender: Option<IpAddr>, message: &[u8]) -> Self {
        let sender = match sender {
            Some(IpAddr::V4(address)) => address.to_ipv6_mapped(),
            Some(IpAddr::V6(address)) => address,
            None => Ipv6Addr::UNSPECIFIED,
        };
        let mut header =
            Self { n_bytes: message.len(), checksum: 0, number, arrived_at_ns, sender };
        header.checksum = header.sum(message);
        header
    }

    fn sum(&self, message: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.number.to_le_bytes());
        hasher.update(&self.arrived_at_ns.to_le_bytes());
        hasher.update(&self.sender.octets());
        hasher.update(message);
        hasher.finalize()
    }

    fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&(self.n_bytes as u32).to_le_bytes());
        bytes[4..8].copy_from_slice(&self.checksum.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.number.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.arrived_at_ns.to_le_bytes());
        bytes[24..].copy_from_slice(&self.sender.octets());
        bytes
    }

    /// The entry that `bytes` begin with, if it is all there and intact.
    fn decode(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (n_bytes, rest) = bytes.split_first_chunk()?;
        let (checksum, rest) = rest.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (arrived_at_ns, rest) = rest.split_first_chunk()?;
        let (sender, rest) = rest.split_first_chunk::<16>()?;
        let header = Self {
            n_bytes: u32::from_le_bytes(*n_bytes) as usize,
            checksum: u32::from_le_bytes(*checksum),
            number: u64::from_le_bytes(*number),
            arrived_at_ns: i64::from_le_bytes(*arrived_at_ns),
            sender: Ipv6Addr::from(*sender),
        };
        let message = rest.get(..header.n_bytes).filter(|it| it.len() <= LONGEST_MESSAGE)?;
        (header.checksum == header.sum(message)).then_some((header, message))
    }

    fn sender(&self) -> Option<IpAddr> {
        let sender = IpAddr::from(self.sender).to_canonical();
        (!sender.is_unspecified()).then_some(sender)
    }
}

/// What of a segment is intact.
#[derive(Clone, Copy, Debug, Default)]
struct Tail {
    n_bytes: u64,
    last: Option<Header>,
}

/// Reads a segment to its end, or to where it is torn.
fn scan(path: &Path) -> io::Result<Tail> {
    let mut bytes = Vec::new();
    File::open(path)?.read_to_end(&mut bytes)?;
    let mut tail = Tail::default();
    while let Some((header, message)) = Header::decode(&bytes[tail.n_bytes as usize..]) {
        tail.n_bytes += (HEADER_BYTES + message.len()) as u64;
        tail.last = Some(header);
    }
    Ok(tail)
}

#[cfg(test)]
mod tests;
