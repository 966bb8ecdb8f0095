//! Frames in contiguous batches: one for each link, layout and tick.

use std::sync::Arc;

use schemas::{CsiBatch, CsiLayout, Link, Record, SourceKind, Tick};

/// Names for the devices of a link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkNames {
    /// The observed place.
    pub site: String,
    /// The receiving device.
    pub receiver: String,
    /// The sending device, if frames do not contain it.
    pub transmitter: String,
}

impl LinkNames {
    /// Returns the receiver and the transmitter of a frame; the names here are the defaults.
    pub(crate) fn of<'a>(
        &'a self,
        receiver: Option<&'a str>,
        transmitter: Option<&'a str>,
    ) -> (&'a str, &'a str) {
        (receiver.unwrap_or(&self.receiver), transmitter.unwrap_or(&self.transmitter))
    }
}

/// A batch with this many bytes of values is full. A larger one exceeds the processor's cache and grows by
/// copies.
pub(crate) const FULL_BATCH_BYTES: usize = 128 * 1024;

/// Returns the index of the batch of this tick, link and layout in `records`, which are ordered by tick. A
/// new layout of the same antennas and streams ends the batch before. A new batch follows `n_before` frames
/// of the tick, and has room for as many frames as the full batch before it.
pub(crate) fn open_batch(
    records: &mut Vec<(Tick, Record)>,
    (tick, n_before): (Tick, u64),
    site: &str,
    (receiver, transmitter): (&str, &str),
    layout: &Arc<CsiLayout>,
    source_kind: SourceKind,
    full_bytes: usize,
) -> usize {
    let is_batch_full = |batch: &CsiBatch| is_batch_full(batch, full_bytes);
    let behind = records.len() - records.iter().rev().take_while(|(at, _)| *at > tick).count();
    let of_tick = records[..behind].iter().rev().take_while(|(at, _)| *at == tick);
    let latest = of_tick.zip(1..).find_map(|((_, record), from_end)| match record {
        Record::Csi(batch)
            if batch.link.transmitter == transmitter
                && batch.link.receiver == receiver
                && (Arc::ptr_eq(&batch.layout, layout) || batch.layout.is_of_same_ends(layout)) =>
        {
            Some((batch, behind - from_end))
        }
        _ => None,
    });
    let same = latest.filter(|(batch, _)| is_same(&batch.layout, layout));
    let n_frames =
        same.filter(|(batch, _)| is_batch_full(batch)).map_or(0, |(batch, _)| batch.len());
    let open = same.filter(|(batch, _)| !is_batch_full(batch));
    let batch_idx = open.map_or(behind, |(_, batch_idx)| batch_idx);
    if open.is_none() {
        let link = Link {
            site: site.to_owned(),
            receiver: receiver.to_owned(),
            transmitter: transmitter.to_owned(),
        };
        let mut batch = CsiBatch::new(link, Arc::clone(layout), source_kind).behind(n_before);
        batch.reserve(n_frames);
        records.insert(batch_idx, (tick, Record::Csi(batch)));
    }
    batch_idx
}

/// True if a record is a batch of this link.
pub(crate) fn is_of(
    record: Option<&(Tick, Record)>,
    (receiver, transmitter): (&str, &str),
) -> bool {
    let Some((_, Record::Csi(CsiBatch { link, .. }))) = record else { return false };
    link.receiver == receiver && link.transmitter == transmitter
}

/// True if a record is a batch of this tick and layout that is not full.
pub(crate) fn is_open(
    record: Option<&(Tick, Record)>,
    tick: Tick,
    layout: &Arc<CsiLayout>,
    full_bytes: usize,
) -> bool {
    let Some((at, Record::Csi(batch))) = record else { return false };
    *at == tick && Arc::ptr_eq(&batch.layout, layout) && !is_batch_full(batch, full_bytes)
}

fn is_batch_full(batch: &CsiBatch, full_bytes: usize) -> bool {
    size_of_val(batch.iq.as_slice()) >= full_bytes
}

/// Removes the full batches of a tick, and the batches before them of the same link, antennas and streams: no more
/// frames are added to those.
pub(crate) fn take_full(
    records: &mut Vec<(Tick, Record)>,
    tick: Tick,
    full_bytes: usize,
) -> Vec<(Tick, Record)> {
    let is_full =
        |record: &Record| matches!(record, Record::Csi(it) if is_batch_full(it, full_bytes));
    if !records.iter().any(|(at, record)| *at == tick && is_full(record)) {
        return Vec::new();
    }
    let mut full = Vec::<(Link, Arc<CsiLayout>)>::new();
    let mut leaves = vec![false; records.len()];
    for (leaves, (at, record)) in leaves.iter_mut().zip(records.iter()).rev() {
        let Record::Csi(batch) = record else { continue };
        let is_same = |(link, layout): &(Link, Arc<CsiLayout>)| {
            *link == batch.link && layout.is_of_same_ends(&batch.layout)
        };
        *leaves = *at == tick && (is_full(record) || full.iter().any(is_same));
        if *leaves {
            full.push((batch.link.clone(), Arc::clone(&batch.layout)));
        }
    }
    let mut leaves = leaves.into_iter();
    records.extract_if(.., |_| leaves.next().unwrap_or(false)).collect()
}

/// Compares the contents of layouts only if they are not the same object.
fn is_same(a: &Arc<CsiLayout>, b: &Arc<CsiLayout>) -> bool {
    Arc::ptr_eq(a, b) || a == b
}

/// Sorts the frames of a batch by capture time.
pub(crate) fn sort_frames(record: &mut Record) {
    let Record::Csi(batch) = record else { return };
    if batch.captured_at_ns.is_sorted() {
        return;
    }
    let mut order: Vec<_> = (0..batch.len()).collect();
    order.sort_by_key(|frame_idx| batch.captured_at_ns[*frame_idx]);
    let sorted = CsiBatch::new(batch.link.clone(), Arc::clone(&batch.layout), batch.source_kind);
    let mut sorted = sorted.behind(batch.n_before);
    for frame_idx in order {
        sorted.push_from(batch, frame_idx);
    }
    *batch = sorted;
}
