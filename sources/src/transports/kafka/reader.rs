//! Reads a partition of a topic, and partitions that are added to the topic later.

use std::collections::VecDeque;
use std::fmt;

use schemas::{Record, Tick};

use crate::partitions::ingress::Ingress;
use crate::partitions::partition_decoder::Decoding;
use crate::transports::kafka::discovery::Discovery;
use crate::transports::kafka::partition_reader::PartitionReader;
use crate::{Poll, Source, SourceError};

/// Reads a partition. With discovery, it also reads new partitions until the next start.
pub(super) struct Reader {
    decoding: Decoding,
    /// The first is the partition that the reader was opened for.
    partitions: Vec<Reading>,
    discovery: Option<Discovery>,
    /// Partitions that are found and not open yet.
    found: VecDeque<i32>,
}

/// An open partition.
struct Reading {
    reader: PartitionReader,
    /// Records beyond the clock of the slowest partition.
    waiting: VecDeque<(Tick, Record)>,
}

impl Reading {
    fn poll(&mut self, decoding: &mut Decoding) -> Result<Poll, SourceError> {
        let poll = self.reader.poll(decoding)?;
        self.reader.publish_clock();
        Ok(poll)
    }
}

impl Reader {
    pub(super) fn new(
        reader: PartitionReader,
        discovery: Option<Discovery>,
        ingress: &Ingress<'_>,
    ) -> Self {
        let partitions = vec![Reading { reader, waiting: VecDeque::new() }];
        let decoding = Decoding::open(ingress);
        Self { decoding, partitions, discovery, found: VecDeque::new() }
    }

    /// Opens new partitions. If one of them cannot be opened, nothing is read: its start may or may not be
    /// durable, and the clocks of the others must not pass it.
    fn discover(&mut self) -> Result<(), SourceError> {
        let Some(discovery) = &mut self.discovery else { return Ok(()) };
        if self.found.is_empty() {
            self.found.extend(discovery.find(self.partitions[0].reader.consumer()));
        }
        while let Some(partition) = self.found.front() {
            let reader =
                self.partitions[0].reader.for_partition(*partition, discovery.begins_at)?;
            tracing::info!(reader = ?reader, tick = reader.clock(), "the topic has a new partition");
            self.partitions.push(Reading { reader, waiting: VecDeque::new() });
            self.found.pop_front();
        }
        Ok(())
    }

    /// Polls the slowest partition, then the next one, until one has something. Records wait until no other
    /// partition is behind them. Except for the slowest, a partition is not polled while its records wait.
    fn poll_in_turn(&mut self) -> Result<Poll, SourceError> {
        let (mut polled, others) = self.slowest_first();
        let mut poll = self.partitions[polled].poll(&mut self.decoding)?;
        for idx in others {
            if !poll.is_empty() {
                break;
            }
            if self.partitions[idx].waiting.is_empty() {
                polled = idx;
                poll = self.partitions[polled].poll(&mut self.decoding)?;
            }
        }
        self.partitions[polled].waiting.extend(poll.records.drain(..));
        poll.clock = self.clock();
        for Reading { waiting, .. } in &mut self.partitions {
            while let Some(record) = waiting.pop_front_if(|(tick, _)| *tick <= poll.clock) {
                poll.records.push(record);
            }
        }
        poll.records.sort_by_key(|(tick, _)| *tick);
        Ok(poll)
    }

    /// Returns the slowest partition, and the others in the order of their clocks.
    fn slowest_first(&self) -> (usize, Vec<usize>) {
        let mut order: Vec<_> = (0..self.partitions.len()).collect();
        order.sort_by_key(|idx| self.partitions[*idx].reader.clock());
        let others = order.split_off(1);
        (order[0], others)
    }

    /// The clock of the slowest partition.
    fn clock(&self) -> Tick {
        let clocks = self.partitions.iter().map(|it| it.reader.clock());
        clocks.min().unwrap_or_default()
    }
}

impl Source for Reader {
    fn poll(&mut self) -> Result<Poll, SourceError> {
        self.discover()?;
        match &mut self.partitions[..] {
            [Reading { reader, .. }] => reader.poll(&mut self.decoding),
            _ => self.poll_in_turn(),
        }
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let partitions = self.partitions.iter().map(|it| &it.reader);
        formatter.debug_list().entries(partitions).finish()
    }
}
