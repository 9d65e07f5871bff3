//! What happens to a request between the connection and the services.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::header::{HOST, STRICT_TRANSPORT_SECURITY};
use http::uri::Authority;
use http::{HeaderValue, Method, Request, Response};
use lamassu_http::{ConnectionInfo, PeerAddress, ProvenCertificate, Scheme};
use tower::ServiceExt;

use crate::health::Readiness;
use crate::hygiene::ForwardedClientCertificateConfig;
use crate::plain_http::PlainHttpPolicy;
use crate::status_page::StatusPage;
use crate::tls::handshake::Identity;

/// One year, the usual value for HSTS.
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Where a request came from.
#[derive(Debug)]
pub(crate) struct Origin {
    /// The other end of the TCP connection; IPv4 is never written as mapped IPv6.
    pub(crate) peer: SocketAddr,
    pub(crate) info: ConnectionInfo,
    /// What the TLS handshake proved; `None` on plain HTTP.
    pub(crate) identity: Option<Identity>,
}

impl Origin {
    /// A client on the plain HTTP listener.
    pub(crate) fn plain(peer: SocketAddr) -> Self {
        let info = ConnectionInfo {
            scheme: Scheme::Http,
            server_name: None,
        };
        Self {
            peer,
            info,
            identity: None,
        }
    }

    /// A client whose TLS handshake is complete.
    pub(crate) fn tls(peer: SocketAddr, server_name: Option<Arc<str>>, identity: Identity) -> Self {
        let info = ConnectionInfo {
            scheme: Scheme::Https,
            server_name,
        };
        Self {
            peer,
            info,
            identity: Some(identity),
        }
    }
}

/// Whether answers over HTTPS carry `Strict-Transport-Security`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hsts {
    Send,
    Omit,
}

/// The gateway's own part in every request.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) services: Router,
    pub(crate) forwarded: ForwardedClientCertificateConfig,
    pub(crate) plain_http: PlainHttpPolicy,
    pub(crate) hsts: Hsts,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) status_page: StatusPage,
}

impl Front {
    /// Answers one request. The target is passed on exactly as it came.
    pub(crate) async fn handle(
        &self,
        origin: &Origin,
        mut request: Request<Body>,
    ) -> Response<Body> {
        name_host(&mut request);
        let peer = origin.peer.ip();
        let client = self
            .forwarded
            .client_address(request.headers(), origin.peer);
        let forwarded = self.forwarded.clean(request.headers_mut(), peer);
        // Behind a proxy the TLS connection is the proxy's, with its certificate and its channel
        // binding: there the header counts alone.
        let direct = !self.forwarded.trusts(peer);
        let identity = origin.identity.as_ref().filter(|_| direct);
        let proven = identity.and_then(|identity| identity.chain.clone());
        let chain = forwarded.or_else(|| proven.clone());
        let extensions = request.extensions_mut();
        if let Some(proven) = proven {
            extensions.insert(ProvenCertificate(proven));
        }
        extensions.insert(PeerAddress(client));
        extensions.insert(origin.info.clone());
        if let Some(chain) = chain {
            extensions.insert(chain);
        }
        if let Some(exporter) = identity.and_then(|identity| identity.exporter) {
            extensions.insert(exporter);
        }
        match origin.info.scheme {
            Scheme::Http => {
                let (method, uri) = (request.method(), request.uri());
                match self.plain_http.refuse(method, uri, request.headers()) {
                    Some(refusal) => refusal,
                    None => self.route(request).await,
                }
            }
            Scheme::Https => {
                let mut reply = self.route(request).await;
                if self.hsts == Hsts::Send {
                    reply.headers_mut().insert(STRICT_TRANSPORT_SECURITY, HSTS);
                }
                reply
            }
        }
    }

    /// The gateway's own addresses, else the services.
    async fn route(&self, request: Request<Body>) -> Response<Body> {
        if matches!(*request.method(), Method::GET | Method::HEAD) {
            match request.uri().path() {
                "/livez" | "/healthz" => return Response::new(Body::from("ok\n")),
                "/readyz" => return self.readiness.reply().await,
                "/" => return self.status_page.reply(self.readiness.report().await.ready),
                _ => {}
            }
        }
        match self.services.clone().oneshot(request).await {
            Ok(reply) => reply,
            Err(never) => match never {},
        }
    }
}

/// Puts the authority of the target into `Host`, where services look for it: HTTP/2 sends it in
/// `:authority` (RFC 9113 8.3.1), and in HTTP/1.1 it outranks the header (RFC 9112 3.2.2).
fn name_host(request: &mut Request<Body>) {
    let authority = request.uri().authority().map(Authority::as_str);
    if let Some(Ok(host)) = authority.map(HeaderValue::from_str) {
        request.headers_mut().insert(HOST, host);
    }
}
