//! The address of a peer, as the name of a receiver.

use std::fmt::Write as _;
use std::net::IpAddr;

/// The sender of the frames that follow, if known.
#[derive(Debug, Default)]
pub(crate) struct PeerAddress {
    /// True if the address names the receiver, unless frames contain the receiver.
    is_receiver: bool,
    address: Option<IpAddr>,
    name: String,
}

impl PeerAddress {
    pub(crate) fn new(is_receiver: bool) -> Self {
        Self { is_receiver, ..Self::default() }
    }

    /// No address so far, for another partition.
    pub(crate) fn for_partition(&self) -> Self {
        Self::new(self.is_receiver)
    }

    pub(crate) fn set(&mut self, address: Option<IpAddr>) {
        if self.address == address {
            return;
        }
        self.address = address;
        // Reuses the buffer, since the device may change with every frame.
        self.name.clear();
        if let Some(address) = address {
            // Writing to a string does not fail.
            let _ = write!(self.name, "{address}");
        }
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.address.map(|_| self.name.as_str())
    }

    /// Returns the name, if it names the receiver.
    pub(crate) fn receiver(&self) -> Option<&str> {
        self.name().filter(|_| self.is_receiver)
    }
}
