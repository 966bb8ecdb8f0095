//! Who sends a request.

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap};
use axum::middleware::Next;
use axum::response::Response;
use engine::Network;
use identity::{Principal, PrincipalKind};

/// The address of the client of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientAddress(pub(crate) IpAddr);

impl ClientAddress {
    /// Returns the address of the client of a request.
    pub(crate) fn of(request: &Extensions) -> Self {
        request.get().copied().unwrap_or(Self(Ipv4Addr::UNSPECIFIED.into()))
    }
}

/// Replaces the address of a proxy that is trusted by that of its client.
pub(crate) async fn see_through_proxies(
    State(trusted): State<Arc<[Network]>>,
    mut request: Request,
    next: Next,
) -> Response {
    let peer = ClientAddress::of(request.extensions());
    let client = behind(peer.0, request.headers(), &trusted);
    request.extensions_mut().insert(ClientAddress(client));
    next.run(request).await
}

/// Returns the last address of `X-Forwarded-For` that is not of a trusted proxy: what stands before it may be
/// invented.
fn behind(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let hops = headers.get_all("x-forwarded-for").iter().filter_map(|hops| hops.to_str().ok());
    let hops: Vec<_> = hops.flat_map(|hops| hops.split(',')).collect();
    let mut hops = hops.into_iter().rev().map_while(|hop| hop.trim().parse::<IpAddr>().ok());
    let mut client = peer;
    while trusted.iter().any(|network| network.contains(client)) {
        let Some(hop) = hops.next() else { break };
        client = hop.to_canonical();
    }
    client
}

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
        Ok(Self::of(&parts.extensions))
    }
}

/// Who sends a request, and from where.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) principal: Principal,
    pub(crate) address: ClientAddress,
}

impl Client {
    /// True if nothing but its address is known.
    pub(crate) fn is_address(&self) -> bool {
        self.principal.kind == PrincipalKind::Anybody
    }
}

impl fmt::Display for Client {
    /// Writes the name under which limits count the client: that of its credential, or else its address.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_address() { self.address.fmt(formatter) } else { self.principal.fmt(formatter) }
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

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn only_trusted_proxies_name_their_clients() {
        let trusted = ["10.0.0.0/8", "::1"]
            .map(|text| Network::try_from(text.to_owned()).expect("a network"));
        for (peer, forwarded, expected) in [
            ("192.168.0.9", "1.2.3.4", "192.168.0.9"),
            ("10.0.0.1", "1.2.3.4", "1.2.3.4"),
            ("10.0.0.1", "6.6.6.6, 1.2.3.4, 10.0.0.2", "1.2.3.4"),
            ("10.0.0.1", "6.6.6.6, rubbish, 10.0.0.2", "10.0.0.2"),
            ("10.0.0.1", "", "10.0.0.1"),
            ("::1", "::ffff:1.2.3.4", "1.2.3.4"),
        ] {
            let value = HeaderValue::from_str(forwarded).expect("a header");
            let headers =
                HeaderMap::from_iter([(HeaderName::from_static("x-forwarded-for"), value)]);
            let client = behind(peer.parse().expect("an address"), &headers, &trusted);
            assert_eq!(client.to_string(), expected, "{peer} {forwarded}");
        }
    }

    #[test]
    fn a_client_is_its_credential_or_else_its_address() {
        let address = |text: &str| ClientAddress(text.parse().expect("an address"));
        let ann =
            Principal { kind: PrincipalKind::User, name: "ann".to_owned(), ..Principal::nobody() };
        let anybody = |text| Client { principal: Principal::anybody(), address: address(text) };
        assert_eq!(Client { principal: ann, address: address("::1") }.to_string(), "user:ann");
        assert_eq!(anybody("10.0.0.1").to_string(), "10.0.0.1");
        assert_eq!(anybody("2001:db8::1").to_string(), anybody("2001:db8::2:1").to_string());
        assert_ne!(anybody("2001:db8::1").to_string(), anybody("2001:db8:0:1::1").to_string());
    }
}
