//! Who sends a request.

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use identity::{Principal, PrincipalKind};

/// The address of the client of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientAddress(pub(crate) IpAddr);

impl fmt::Display for ClientAddress {
    /// Writes the network of 64 bits for IPv6: a host there has as many addresses as it wants.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => address.fmt(formatter),
            IpAddr::V6(address) => {
                let network = Ipv6Addr::from_bits(address.to_bits() >> 64 << 64);
                write!(formatter, "{network}/64")
            }
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let address = parts.extensions.get().copied();
        Ok(address.unwrap_or(Self(Ipv4Addr::UNSPECIFIED.into())))
    }
}

/// Who sends a request, and from where.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) principal: Principal,
    address: ClientAddress,
}

impl fmt::Display for Client {
    /// Writes the name under which limits count the client: that of its credential, or else its address.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.principal.kind {
            PrincipalKind::Anybody => self.address.fmt(formatter),
            _ => self.principal.fmt(formatter),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Client {
    type Rejection = Infallible;

    /// Without the middleware that checks credentials, the client may do nothing.
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let principal = parts.extensions.get::<Principal>().cloned();
        let address = ClientAddress::from_request_parts(parts, state).await?;
        Ok(Self { principal: principal.unwrap_or_else(Principal::nobody), address })
    }
}
