//! Headers that only a trusted peer may send.
//!
//! Inside the process identity travels in memory (request extensions). A header that claims one
//! is removed from every request; from a configured trusted proxy the certificate in it is read
//! first. It stands instead of the certificate of the connection, which is the proxy's own and
//! never counts as the client's. So a header with somebody's public certificate in it proves
//! nothing.
//!
//! Where next: [`ForwardedClientCertificateConfig`] for the settings, `forwarded.rs` for formats,
//! `envoy.rs` for the one format with a grammar, [`Cidr`] for who is trusted.

mod address;
mod envoy;
mod forwarded;

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use lamassu_core::caller::ClientCertificateChain;
use serde::{Deserialize, Serialize};
use tracing::debug;

pub use forwarded::HeaderFormat;
pub use lamassu_core::network::{Cidr, CidrError};

use crate::error::GatewayError;
use crate::metrics::{Refusal, count_refusal};

/// Every format in which a proxy hands over the client's certificate.
const ALL_FORMATS: [HeaderFormat; 3] = [
    HeaderFormat::Envoy,
    HeaderFormat::Nginx,
    HeaderFormat::AwsAlb,
];

/// Headers in which services tell each other about the caller.
const CALLER_HEADERS: [&str; 2] = ["x-lms-source", "x-lms-principal"];

/// Whose client-certificate headers, and `X-Forwarded-For`, are believed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct ForwardedClientCertificateConfig {
    /// Whether the certificate header is read; true by default, and without effect while no proxy
    /// is trusted. Off, clients behind a proxy have no certificate.
    pub enabled: bool,
    /// Networks of the direct TCP peers that are believed; none by default.
    pub trusted_proxies: Vec<Cidr>,
    /// The format that the proxies write, exactly one where a proxy is trusted and `enabled` is
    /// on; none by default. A proxy passes on the headers of the other formats as its client
    /// wrote them, so they are never read.
    pub formats: Vec<HeaderFormat>,
    /// Whether services call here, so that what they say about the caller is passed on; the guard
    /// believes it from their role only. Not a setting: the listener of services has it.
    #[serde(skip)]
    pub from_services: bool,
    /// How many trusted Envoy proxies stand in a row; 1 by default. The element that many places
    /// from the right is the client's.
    pub hops: usize,
}

impl Default for ForwardedClientCertificateConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            trusted_proxies: Vec::new(),
            formats: Vec::new(),
            from_services: false,
            hops: 1,
        }
    }
}

impl ForwardedClientCertificateConfig {
    /// Checks the values.
    ///
    /// # Errors
    ///
    /// [`GatewayError::Config`] when `hops` is 0, or when proxies are trusted and `formats` does
    /// not name the one format that they write.
    pub fn validate(&self) -> Result<(), GatewayError> {
        if self.hops == 0 {
            let reason = "the nearest proxy is hop 1".to_owned();
            return Err(GatewayError::Config {
                key: "forwarded_client_certificate.hops",
                reason,
            });
        }
        if self.enabled && !self.trusted_proxies.is_empty() && self.formats.len() != 1 {
            let reason =
                "it must name the one format that the trusted proxies write: they pass on \
                          the headers of every other format as their clients wrote them"
                    .to_owned();
            return Err(GatewayError::Config {
                key: "forwarded_client_certificate.formats",
                reason,
            });
        }
        Ok(())
    }

    /// Whether the TCP peer is a configured proxy.
    pub(crate) fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted_proxies
            .iter()
            .any(|network| network.contains(peer))
    }

    /// The client's address: `peer`, or what a trusted peer says in `X-Forwarded-For`, then with
    /// port 0.
    pub(crate) fn client_address(&self, headers: &HeaderMap, peer: SocketAddr) -> SocketAddr {
        if !self.trusts(peer.ip()) {
            return peer;
        }
        let told = address::forwarded_for(headers, |address| self.trusts(address));
        told.map_or(peer, |address| SocketAddr::new(address, 0))
    }

    /// The chain that a trusted proxy hands over.
    fn forwarded(&self, headers: &HeaderMap) -> Option<ClientCertificateChain> {
        match self.formats.as_slice() {
            [format] if self.enabled => format.read(headers, self.hops),
            _ => None,
        }
    }

    /// Removes from `headers` what `peer` must not claim. For a trusted peer returns the
    /// certificate chain that it hands over, if any, and leaves the caller headers in place.
    pub(crate) fn clean(
        &self,
        headers: &mut HeaderMap,
        peer: IpAddr,
    ) -> Option<ClientCertificateChain> {
        let trusted = self.trusts(peer);
        let believed = if trusted {
            self.forwarded(headers)
        } else {
            None
        };
        let mut claimed = false;
        for format in ALL_FORMATS {
            claimed |= remove(headers, format.header());
        }
        if trusted {
            return believed;
        }
        if !self.from_services {
            for name in CALLER_HEADERS {
                claimed |= remove(headers, name);
            }
        }
        remove_envoy_internals(headers);
        if claimed {
            count_refusal(Refusal::ForgedHeader);
            debug!(%peer, "identity headers of an untrusted peer were removed");
        }
        None
    }
}

fn remove(headers: &mut HeaderMap, name: &str) -> bool {
    // `remove` takes all values of the name.
    headers.remove(name).is_some()
}

fn remove_envoy_internals(headers: &mut HeaderMap) {
    let internal: Vec<_> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("x-envoy-"))
        .cloned()
        .collect();
    for name in internal {
        headers.remove(name);
    }
}
