//! A network of addresses.

use std::net::IpAddr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An address, or the addresses with a common prefix, such as "10.0.0.0/8".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Network(IpNet);

impl Network {
    /// True if an address is in the network.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network.map(Self).map_err(|_| {
            format!("{text:?} is no network: expected an address such as \"10.0.0.7\", or \"10.0.0.0/8\"")
        })
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.0.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_addresses() {
        let network = |text: &str| Network::try_from(text.to_owned());
        let private = network("10.0.0.0/8").expect("a network");
        assert!(private.contains([10, 1, 2, 3].into()) && !private.contains([11, 0, 0, 1].into()));
        let one = network("::1").expect("a network");
        assert!(one.contains("::1".parse().expect("an address")));
        assert!(network("10.0.0.0/33").is_err() && network("localhost").is_err());
    }
}
