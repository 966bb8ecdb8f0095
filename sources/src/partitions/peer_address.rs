//! The address of a peer, as the name of a receiver.

use std::fmt::Write as _;
use std::net::IpAddr;

/// The sender of the frames that follow, if it is known.
#[derive(Debug, Default)]
pub(crate) struct PeerAddress {
    /// True if who sends names the receiver, where frames do not tell.
    is_receiver: bool,
    address: Option<IpAddr>,
    name: String,
}

impl PeerAddress {
    pub(crate) fn new(is_receiver: bool) -> Self {
        Self { is_receiver, ..Self::default() }
    }

    /// Nobody yet, in another partition.
    pub(crate) fn for_partition(&self) -> Self {
        Self::new(self.is_receiver)
    }

    pub(crate) fn set(&mut self, address: Option<IpAddr>) {
        if self.address == address {
            return;
        }
        self.address = address;
        // Into the same room: devices take turns with every frame.
        self.name.clear();
        if let Some(address) = address {
            // There is no text that a string refuses.
            let _ = write!(self.name, "{address}");
        }
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.address.map(|_| self.name.as_str())
    }

    /// The name, if it is that of the receiver.
    pub(crate) fn receiver(&self) -> Option<&str> {
        self.name().filter(|_| self.is_receiver)
    }
}
