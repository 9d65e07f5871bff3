//! What the plain HTTP listener serves.
//!
//! Relying parties fetch OCSP answers, CRLs and CA certificates over plain HTTP, since checking
//! the TLS certificate of the server might need just these (RFC 5280 8, RFC 5019 5). All three
//! are signed. Health is there for load balancers. Everything else may carry credentials.

use std::net::Ipv6Addr;

use axum::body::Body;
use http::header::{CONTENT_TYPE, HOST, LOCATION};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri};

use crate::config::PlainHttpMode;
use crate::metrics::{Refusal, count_refusal};

/// Paths served as they are, each with everything below it.
const SERVED: [&str; 6] = [
    "/api/va/ocsp",
    "/api/va/v1/ocsp",
    "/api/va/crl/",
    "/api/va/v1/crl/",
    "/api/va/ca/",
    "/api/va/v1/ca/",
];

/// The gateway's own health addresses.
const HEALTH: [&str; 3] = ["/livez", "/readyz", "/healthz"];

/// The rule of one plain HTTP listener.
#[derive(Clone, Debug)]
pub struct PlainHttpPolicy {
    mode: PlainHttpMode,
    /// Port that clients reach HTTPS under; `None` when HTTPS is off.
    https_port: Option<u16>,
    /// Where to send a client that names no host, as it stands in a URI.
    default_host: Option<String>,
}

impl PlainHttpPolicy {
    /// A rule; `https_port` and `default_host` say where other requests are sent to.
    pub fn new(mode: PlainHttpMode, https_port: Option<u16>, default_host: Option<String>) -> Self {
        Self {
            mode,
            https_port,
            default_host: default_host.map(in_uri),
        }
    }

    /// `None` when the request may be served over plain HTTP, else the answer: 308 to HTTPS for a
    /// GET, 403 for the rest.
    pub fn refuse(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Option<Response<Body>> {
        if self.mode == PlainHttpMode::Everything || is_served(uri.path()) {
            return None;
        }
        count_refusal(Refusal::PlainHttp);
        let target = (method == Method::GET)
            .then(|| self.target(uri, headers))
            .flatten();
        Some(target.map_or_else(refusal, redirect))
    }

    fn target(&self, uri: &Uri, headers: &HeaderMap) -> Option<HeaderValue> {
        let port = self.https_port?;
        let host = requested_host(uri, headers).or_else(|| self.default_host.clone())?;
        let port = if port == 443 {
            String::new()
        } else {
            format!(":{port}")
        };
        // The path goes back as it came, undecoded.
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        HeaderValue::try_from(format!("https://{host}{port}{path}")).ok()
    }
}

/// Whether `path`, as it came, belongs to what everybody may fetch. A path with `/../` or `%2e`
/// in it must not lead elsewhere under such a prefix; no route of ours does, and none is decoded.
fn is_served(path: &str) -> bool {
    let below = |prefix: &str| {
        path.strip_prefix(prefix)
            .is_some_and(|rest| prefix.ends_with('/') || rest.is_empty() || rest.starts_with('/'))
    };
    let health = path
        .strip_prefix("/api/")
        .and_then(|rest| rest.strip_suffix("/health"))
        .is_some_and(|service| !service.is_empty() && !service.contains('/'));
    health || HEALTH.contains(&path) || SERVED.into_iter().any(below)
}

/// The host that the client asked for, without port. Only what parses as a host comes back, so
/// nothing else can end up in the answer.
fn requested_host(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    if let Some(authority) = uri.authority() {
        return Some(authority.host().to_owned());
    }
    let authority: Authority = headers.get(HOST)?.to_str().ok()?.parse().ok()?;
    (!authority.host().is_empty()).then(|| authority.host().to_owned())
}

/// A host as a URI names it: an IPv6 address in brackets (RFC 3986 3.2.2).
fn in_uri(host: String) -> String {
    if host.parse::<Ipv6Addr>().is_ok() {
        format!("[{host}]")
    } else {
        host
    }
}

fn redirect(location: HeaderValue) -> Response<Body> {
    let mut reply = Response::new(Body::empty());
    *reply.status_mut() = StatusCode::PERMANENT_REDIRECT;
    reply.headers_mut().insert(LOCATION, location);
    reply
}

fn refusal() -> Response<Body> {
    let body = r#"{"err":"this address is served over HTTPS only"}"#;
    let mut reply = Response::new(Body::from(body));
    *reply.status_mut() = StatusCode::FORBIDDEN;
    let json = HeaderValue::from_static("application/json; charset=utf-8");
    reply.headers_mut().insert(CONTENT_TYPE, json);
    reply
}

#[cfg(test)]
mod tests {
    use http::header::{HOST, LOCATION};
    use http::{HeaderMap, HeaderValue, Method, Uri};

    use super::PlainHttpPolicy;
    use crate::config::PlainHttpMode;

    fn ask(method: &Method, target: &str, host: Option<&str>) -> Option<(u16, Option<String>)> {
        let policy = PlainHttpPolicy::new(PlainHttpMode::Validation, Some(8443), None);
        let mut headers = HeaderMap::new();
        if let Some(host) = host {
            headers.insert(HOST, HeaderValue::from_str(host).unwrap());
        }
        let uri: Uri = target.parse().unwrap();
        policy.refuse(method, &uri, &headers).map(|reply| {
            let location = reply
                .headers()
                .get(LOCATION)
                .map(|l| l.to_str().unwrap().to_owned());
            (reply.status().as_u16(), location)
        })
    }

    #[test]
    fn what_relying_parties_fetch_is_served() {
        for path in [
            "/api/va/ocsp",
            "/api/va/ocsp/MEUw%2FQ//a/",
            "/api/va/v1/ocsp",
            "/api/va/crl/0a0b",
            "/api/va/v1/crl/0a0b",
            "/api/va/ca/0a0b",
            "/api/ca/health",
            "/livez",
            "/readyz",
            "/healthz",
        ] {
            assert_eq!(ask(&Method::GET, path, Some("pki.example")), None, "{path}");
        }
        assert_eq!(
            ask(&Method::POST, "/api/va/ocsp", Some("pki.example")),
            None
        );
    }

    #[test]
    fn other_gets_are_sent_to_https_with_path_and_query_as_they_came() {
        let cases = [
            ("/", "pki.example", "https://pki.example:8443/"),
            (
                "/api/ca/v1/cas?filter=a%5Beq%5Db",
                "pki.example:8080",
                "https://pki.example:8443/api/ca/v1/cas?filter=a%5Beq%5Db",
            ),
            (
                "/api/va/ocspx",
                "10.0.0.1",
                "https://10.0.0.1:8443/api/va/ocspx",
            ),
            ("/a//b/%2F", "[::1]:8080", "https://[::1]:8443/a//b/%2F"),
        ];
        for (path, host, expected) in cases {
            let expected = Some((308, Some(expected.to_owned())));
            assert_eq!(ask(&Method::GET, path, Some(host)), expected);
        }
    }

    #[test]
    fn everything_else_is_refused() {
        let refused = Some((403, None));
        assert_eq!(
            ask(&Method::POST, "/api/ca/v1/cas", Some("pki.example")),
            refused
        );
        assert_eq!(ask(&Method::GET, "/", None), refused);
        assert_eq!(ask(&Method::GET, "/", Some("a b")), refused);
        assert_eq!(ask(&Method::GET, "/", Some("evil.example/x")), refused);
        assert_eq!(ask(&Method::GET, "/api/a/b/health", None), refused);
    }

    #[test]
    fn a_client_without_host_is_sent_to_the_configured_domain() {
        let cases = [
            ("pki.example", 443, "https://pki.example/x"),
            ("192.0.2.1", 443, "https://192.0.2.1/x"),
            ("2001:db8::1", 443, "https://[2001:db8::1]/x"),
            ("2001:db8::1", 8443, "https://[2001:db8::1]:8443/x"),
        ];
        for (host, port, expected) in cases {
            let host = Some(host.to_owned());
            let policy = PlainHttpPolicy::new(PlainHttpMode::Validation, Some(port), host);
            let uri = Uri::from_static("/x");
            let reply = policy.refuse(&Method::GET, &uri, &HeaderMap::new());
            assert_eq!(reply.unwrap().headers()[LOCATION], expected);
        }
    }

    #[test]
    fn development_serves_everything() {
        let policy = PlainHttpPolicy::new(PlainHttpMode::Everything, None, None);
        let uri = Uri::from_static("/api/ca/v1/cas");
        assert!(
            policy
                .refuse(&Method::POST, &uri, &HeaderMap::new())
                .is_none()
        );
    }
}
