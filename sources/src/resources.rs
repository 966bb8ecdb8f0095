//! External resources of a source: the files that it reads, and the addresses that only it can listen to.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::{NetworkInterface, SourceConfig, Transport};

impl SourceConfig {
    /// The files and folders that the source reads, as the pipeline has them.
    pub fn files(&self) -> Vec<PathBuf> {
        if let Self::Simulate(config) = self {
            return vec![config.scene.clone()];
        }
        match self.settings().transport() {
            Some(Transport::File(path)) => vec![path.clone(), host_times(path)],
            Some(Transport::Follow(path) | Transport::Journal(path)) => vec![path.clone()],
            _ => Vec::new(),
        }
    }

    /// The address that only this source can listen to.
    pub fn endpoint(&self) -> Option<Endpoint<'_>> {
        match self.settings().transport()? {
            Transport::Udp(address) => Some(Endpoint::Udp(*address)),
            Transport::Tcp(address) => Some(Endpoint::Tcp(*address)),
            Transport::Interface(interface) => Some(Endpoint::Interface(interface)),
            Transport::Serial(line) => Some(Endpoint::Serial(&line.path)),
            _ => None,
        }
    }
}

/// The file beside a capture that contains the arrival times of its frames.
fn host_times(capture: &Path) -> PathBuf {
    let mut path = capture.as_os_str().to_owned();
    path.push("stp");
    path.into()
}

/// An endpoint that only one source can listen to at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint<'a> {
    /// Datagrams to an address.
    Udp(SocketAddr),
    /// Connections to an address.
    Tcp(SocketAddr),
    /// Datagrams to a port over a network interface.
    Interface(&'a NetworkInterface),
    /// A serial port.
    Serial(&'a Path),
}

impl Endpoint<'_> {
    /// True if only one of the two can be open.
    pub fn overlaps(&self, other: &Endpoint<'_>) -> bool {
        match (self, other) {
            (Self::Udp(a), Endpoint::Udp(b)) | (Self::Tcp(a), Endpoint::Tcp(b)) => overlap(*a, *b),
            _ => self == other,
        }
    }
}

impl fmt::Display for Endpoint<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(address) => write!(formatter, "udp {address}"),
            Self::Tcp(address) => write!(formatter, "tcp {address}"),
            Self::Interface(NetworkInterface { name, port }) => {
                write!(formatter, "port {port} of interface {name}")
            }
            Self::Serial(path) => write!(formatter, "serial port {}", path.display()),
        }
    }
}

fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    // For port 0 the system chooses a free one.
    let same_port = a.port() == b.port() && a.port() != 0;
    let (a, b) = (a.ip(), b.ip());
    same_port && (a == b || includes(a, b) || includes(b, a))
}

/// True if a listener at `any` occupies the port at `other` as well; `[::]` includes IPv4.
fn includes(any: IpAddr, other: IpAddr) -> bool {
    any.is_unspecified() && (any.is_ipv6() || other.is_ipv4())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_can_be_listened_to_once() {
        for (a, b, expected) in [
            ("127.0.0.1:5566", "127.0.0.1:5566", true),
            ("127.0.0.1:5566", "127.0.0.1:5567", false),
            ("127.0.0.1:5566", "127.0.0.2:5566", false),
            ("127.0.0.1:5566", "0.0.0.0:5566", true),
            ("127.0.0.1:5566", "[::]:5566", true),
            ("0.0.0.0:5566", "[::]:5566", true),
            ("0.0.0.0:5566", "[::1]:5566", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
        ] {
            let (at_a, at_b) = (a.parse().expect("an address"), b.parse().expect("an address"));
            assert_eq!(Endpoint::Udp(at_a).overlaps(&Endpoint::Udp(at_b)), expected, "{a} {b}");
            assert_eq!(Endpoint::Tcp(at_b).overlaps(&Endpoint::Tcp(at_a)), expected, "{b} {a}");
            assert!(!Endpoint::Tcp(at_a).overlaps(&Endpoint::Udp(at_b)), "{a} {b}");
        }
    }
}
