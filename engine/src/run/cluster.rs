//! The processes of a run, and the placement of sources and sinks on their workers.

use std::any::Any;
use std::path::Path;

use sources::Share;
use timely::CommunicationConfig;
use timely::communication::Hooks;
use timely::communication::allocator::zero_copy::initialize::initialize_networking_from_sockets;
use timely::communication::allocator::{AllocatorBuilder, ProcessBuilder};
use timely::communication::networking::create_sockets;

use crate::run::identity::Identity;
use crate::{Plan, RunError};

/// The communication of this process's workers, and a guard that must outlive them.
pub(super) type Connected = (Vec<AllocatorBuilder>, Box<dyn Any + Send>);

/// The processes of a run; a single process by default. All processes have the same pipeline, the same
/// number of workers and access to the same store.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// The number of this process, from 0.
    process: usize,
    /// The address of each process for the others, as `host:port`; empty for a single process.
    addresses: Vec<String>,
}

impl Cluster {
    /// Reads the addresses of all processes from a file, one `host:port` a line. `process` is the
    /// number of this process, from 0.
    ///
    /// # Errors
    ///
    /// [`RunError::Hosts`] if the file cannot be read, or has no line for this process.
    pub fn of_hosts(process: usize, file: &Path) -> Result<Self, RunError> {
        let failed = |reason: String| RunError::Hosts { file: file.to_owned(), reason };
        let text = std::fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
        let lines = text.lines().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let addresses: Vec<_> = lines.map(str::to_owned).collect();
        if process >= addresses.len() {
            let n_processes = addresses.len();
            return Err(failed(format!("it has {n_processes} lines, and none for {process}")));
        }
        Ok(Self { process, addresses })
    }

    /// True for the process that commits checkpoints, and serves the history and live views.
    pub fn is_first(&self) -> bool {
        self.process == 0
    }

    /// True if the run has other processes.
    pub fn has_others(&self) -> bool {
        self.addresses.len() > 1
    }

    /// Connects the workers of this process with each other and with those of the other processes. All
    /// processes must run the same plan.
    ///
    /// # Errors
    ///
    /// [`RunError::Different`] if a process differs, [`RunError::Workers`] if a connection is lost.
    pub(super) fn connect(&self, plan: &Plan, n_workers: usize) -> Result<Connected, RunError> {
        let n_workers = n_workers.max(1);
        let communication = match n_workers {
            _ if self.has_others() => return self.connect_processes(plan, n_workers),
            1 => CommunicationConfig::Thread,
            _ => CommunicationConfig::Process(n_workers),
        };
        communication.try_build().map_err(|reason| RunError::Workers { reason })
    }

    fn connect_processes(&self, plan: &Plan, n_workers: usize) -> Result<Connected, RunError> {
        let lost = |error: std::io::Error| RunError::Workers {
            reason: format!("the other processes could not be reached: {error}"),
        };
        let sockets = create_sockets(self.addresses.clone(), self.process, false).map_err(lost)?;
        let identity = Identity::new(plan, n_workers, sockets.len());
        identity.compare(&sockets)?;
        let hooks = Hooks::default();
        let (refill, spill) = (hooks.refill.clone(), hooks.spill.clone());
        let local = ProcessBuilder::new_typed_vector(n_workers, refill, spill);
        let (builders, guard) =
            initialize_networking_from_sockets(local, sockets, self.process, n_workers, hooks)
                .map_err(lost)?;
        Ok((builders.into_iter().map(AllocatorBuilder::Tcp).collect(), Box::new(guard)))
    }

    pub(super) fn placement(&self, n_workers: usize) -> Placement {
        let (n_processes, n_workers) = (self.addresses.len().max(1), n_workers.max(1));
        Placement { n_processes, process: self.process, n_workers }
    }
}

/// The workers of partitions and sinks. Components are spread by their number, over processes first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placement {
    n_processes: usize,
    process: usize,
    /// Workers of each process.
    n_workers: usize,
}

impl Placement {
    /// The worker of a source's partition.
    pub(crate) fn of_partition(&self, component: u32, partition: usize) -> usize {
        let number = component as usize + partition;
        let process = number % self.n_processes;
        process * self.n_workers + number / self.n_processes % self.n_workers
    }

    /// The worker of a sink. A sink that the API reads from is in the first process.
    pub(crate) fn of_sink(&self, component: u32, in_first: bool) -> usize {
        if in_first { component as usize % self.n_workers } else { self.of_partition(component, 0) }
    }

    pub(crate) fn is_here(&self, worker: usize) -> bool {
        worker / self.n_workers == self.process
    }

    /// The partitions of a source that this process reads.
    pub(crate) fn share(&self, component: u32) -> Share {
        let first = component as usize % self.n_processes;
        Share {
            nth: (self.process + self.n_processes - first) % self.n_processes,
            of: self.n_processes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_partition_is_on_one_worker_of_the_process_that_opens_it() {
        for (n_processes, n_workers) in [(1, 1), (1, 3), (2, 1), (3, 2)] {
            for (component, partition) in [(0, 0), (0, 5), (1, 1), (4, 7)] {
                let here: Vec<_> = (0..n_processes)
                    .map(|process| Placement { n_processes, process, n_workers })
                    .filter(|placement| placement.share(component).has(partition))
                    .collect();
                assert_eq!(here.len(), 1, "partition {partition} of {component}");
                assert!(here[0].is_here(here[0].of_partition(component, partition)));
            }
        }
    }
}
