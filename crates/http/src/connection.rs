//! What the listener knows about a connection and hands to every request on it.
//!
//! These types and `lamassu_core::caller::ClientCertificateChain` are request extensions. They
//! come from the socket and the handshake, never from a header; only a configured trusted proxy
//! may replace the client's certificate and address.

use std::fmt;
use std::sync::Arc;

use lamassu_core::caller::ClientCertificateChain;

/// How the client reached us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

/// Facts about the connection under a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// With or without TLS.
    pub scheme: Scheme,
    /// The name that the client asked for in the handshake (RFC 6066 3), lower case.
    pub server_name: Option<Arc<str>>,
}

/// The certificates that the client of this very connection presented, whose key it proved to us.
///
/// Never what a proxy says in a header, and never the proxy's own: it is what a client certificate
/// has to be that is a credential by itself. Where devices enroll, a trusted proxy's word counts as
/// well, and `ClientCertificateChain` holds either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenCertificate(pub ClientCertificateChain);

/// The channel binding `tls-exporter` (RFC 9266): keying material exported under the label
/// `EXPORTER-Channel-Binding` with an empty context.
///
/// It is what the channel binding of an EST request (RFC 7030 §3.5) has to equal.
///
/// Present under TLS 1.3 only. Under TLS 1.2 the value is unique only with the extended master
/// secret (RFC 7627), which the TLS library does not report.
#[derive(Clone, Copy)]
pub struct TlsExporter(pub [u8; 32]);

impl fmt::Debug for TlsExporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsExporter(..)")
    }
}
