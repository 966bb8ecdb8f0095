//! The properties that all processes of a run must share. Processes compare them before their workers
//! communicate: mismatched workers would wait for each other or misread messages.

use std::fmt::Debug;
use std::io::{self, Read, Write};
use std::net::TcpStream;

use serde::{Deserialize, Serialize};

use crate::{Plan, RunError};

/// Limit of an encoded identity, which has an entry for each component. A larger message is from
/// another program.
const MAX_BYTES: u32 = 16 * 1024 * 1024;

/// The identity of a process's plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    version: String,
    pipeline: String,
    n_processes: usize,
    /// Workers of each process.
    n_workers: usize,
    /// The checksum of all settings outside components.
    settings: u32,
    /// Name and checksum of each component, by its number.
    components: Vec<(String, u32)>,
}

impl Identity {
    pub(super) fn new(plan: &Plan, n_workers: usize, n_processes: usize) -> Self {
        let Plan { name, checkpoint, sources, operators, sinks, .. } = plan;
        // The addresses of the API and the store may differ on each host.
        let settings = (plan.tick_length, plan.max_lead_ms, plan.max_in_flight_mib);
        let settings = (settings, checkpoint.interval, checkpoint.granule, checkpoint.retention);
        let sources = sources.iter().map(|source| checksum(&source.config));
        let operators = operators.iter().map(|it| checksum(&(&it.inputs, &it.config)));
        let sinks = sinks.iter().map(|sink| checksum(&(&sink.inputs, &sink.config)));
        let configs = sources.chain(operators).chain(sinks);
        let components = plan.components().into_iter().zip(configs);
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pipeline: name.clone(),
            n_processes,
            n_workers,
            settings: checksum(&settings),
            components: components
                .map(|((name, shape), config)| (name.to_owned(), checksum(&(shape, config))))
                .collect(),
        }
    }

    /// Compares the identities of all processes. `sockets` has a connection to each other process, and
    /// none for this one.
    ///
    /// # Errors
    ///
    /// [`RunError::Different`] for the first process that differs from process 0, [`RunError::Workers`]
    /// if a connection is lost.
    pub(super) fn compare(&self, sockets: &[Option<TcpStream>]) -> Result<(), RunError> {
        let lost = |error: io::Error| RunError::Workers {
            reason: format!("another process of this run was lost: {error}"),
        };
        // Each process sends before it receives, and receives all identities before it fails.
        for socket in sockets.iter().flatten() {
            self.send(socket).map_err(lost)?;
        }
        let heard = sockets.iter().map(|socket| match socket {
            Some(socket) => Self::receive(socket),
            None => Ok(self.clone()),
        });
        let heard = heard.collect::<io::Result<Vec<_>>>().map_err(lost)?;
        let Some((first, others)) = heard.split_first() else { return Ok(()) };
        for (other, process) in others.iter().zip(1..) {
            if let Some(difference) = other.difference(first) {
                return Err(RunError::Different { process, difference });
            }
        }
        Ok(())
    }

    fn send(&self, mut socket: &TcpStream) -> io::Result<()> {
        let bytes = serde_json::to_vec(self)?;
        let n_bytes = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        socket.write_all(&n_bytes.to_be_bytes())?;
        socket.write_all(&bytes)
    }

    fn receive(mut socket: &TcpStream) -> io::Result<Self> {
        let mut n_bytes = [0; 4];
        socket.read_exact(&mut n_bytes)?;
        let n_bytes = u32::from_be_bytes(n_bytes);
        if n_bytes > MAX_BYTES {
            return Err(io::Error::other("it is not a process of this program"));
        }
        let mut bytes = Vec::new();
        socket.take(n_bytes.into()).read_to_end(&mut bytes)?;
        Ok(serde_json::from_slice(&bytes)?)
    }

    /// Describes the difference between this process and the first one, and the remedy.
    fn difference(&self, first: &Self) -> Option<String> {
        const SAME_FILE: &str = "give all processes the same pipeline file";
        if self.version != first.version {
            let (own, of_first) = (&self.version, &first.version);
            return Some(format!("it is version {own} of the program, not {of_first}"));
        }
        for (own, of_first, what, option) in [
            (self.n_processes, first.n_processes, "processes", "the same --hosts"),
            (self.n_workers, first.n_workers, "workers", "the same --workers"),
        ] {
            if own != of_first {
                return Some(format!("it has {own} {what}, not {of_first}; give all {option}"));
            }
        }
        if self.pipeline != first.pipeline {
            let (own, of_first) = (&self.pipeline, &first.pipeline);
            return Some(format!("its pipeline is {own:?}, not {of_first:?}; {SAME_FILE}"));
        }
        if self.settings != first.settings {
            return Some(format!("its pipeline has other settings; {SAME_FILE}"));
        }
        let unlike = |(one, other): &(&(String, u32), &(String, u32))| one != other;
        let name = match self.components.iter().zip(&first.components).find(unlike) {
            Some(((own, _), (of_first, _))) if own == of_first => {
                return Some(format!("its component {own:?} has other settings; {SAME_FILE}"));
            }
            Some(((own, _), _)) => Some(own),
            None => {
                let n_common = self.components.len().min(first.components.len());
                let more = self.components.iter().skip(n_common);
                more.chain(first.components.iter().skip(n_common)).map(|(name, _)| name).next()
            }
        };
        name.map(|name| format!("not both have the component {name:?} there; {SAME_FILE}"))
    }
}

/// The checksum of all fields of the settings.
fn checksum(settings: &impl Debug) -> u32 {
    crc32fast::hash(format!("{settings:?}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            version: "1".to_owned(),
            pipeline: "flat".to_owned(),
            n_processes: 2,
            n_workers: 2,
            settings: 1,
            components: vec![("boards".to_owned(), 1), ("lines".to_owned(), 2)],
        }
    }

    #[test]
    fn a_difference_is_named() {
        let first = identity();
        assert_eq!(identity().difference(&first), None);
        let other = |change: fn(&mut Identity)| {
            let mut other = identity();
            change(&mut other);
            other.difference(&first).expect("they differ")
        };
        for (difference, expected) in [
            (other(|it| it.n_workers = 3), "it has 3 workers, not 2; give all the same --workers"),
            (other(|it| it.n_processes = 3), "it has 3 processes, not 2"),
            (other(|it| it.version = "2".to_owned()), "it is version 2 of the program, not 1"),
            (other(|it| it.pipeline = "hall".to_owned()), "its pipeline is \"hall\", not \"flat\""),
            (other(|it| it.settings = 2), "its pipeline has other settings"),
            (other(|it| it.components[1].1 = 3), "its component \"lines\" has other settings"),
            (other(|it| it.components[0].0 = "hall".to_owned()), "component \"hall\""),
            (other(|it| drop(it.components.pop())), "component \"lines\""),
        ] {
            assert!(difference.contains(expected), "{difference}");
        }
    }
}
