//! Who asks: the context that every service call carries.
//!
//! The HTTP layer builds a [`Caller`] once per request from *verified* credentials; services
//! pass it on and never look at headers. It feeds events (`authtype`, `authid`, source), audit
//! records and logs. What a principal may do is decided before the service is called
//! (`lamassu-http` and `lamassu-auth`), so no permission check lives here.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Who is behind a request, established by a verified credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// Nothing was presented, or the route needs nothing.
    Anonymous,
    /// A verified bearer token; the subject is claim `sub`.
    Token {
        /// Claim `sub`.
        subject: String,
        /// Name of the token provider that verified it.
        provider: Arc<str>,
    },
    /// A client certificate whose key the TLS layer saw proven; the name is the leaf's last CN.
    Certificate {
        /// Subject common name of the end-entity certificate, `""` when it has none.
        common_name: String,
    },
    /// A fixed key of the configuration.
    ApiKey {
        /// Who its holder is, by the configuration.
        subject: String,
    },
    /// Another service of this installation.
    Service {
        /// The service's name, for example `dms-manager`.
        name: Arc<str>,
    },
    /// A job or an event handler of this process.
    System,
}

impl Principal {
    /// Whoever holds a certificate with this common name. U+0000, which no record can hold, becomes
    /// U+FFFD: the name comes from outside and may be anything.
    pub fn certificate(common_name: &str) -> Self {
        Self::Certificate {
            common_name: common_name.replace('\0', "\u{fffd}"),
        }
    }

    /// The CloudEvents extension `authtype`, absent for the anonymous.
    pub fn auth_type(&self) -> Option<&'static str> {
        match self {
            Self::Anonymous => None,
            Self::Token { .. } => Some("jwt"),
            Self::Certificate { .. } => Some("crt"),
            Self::ApiKey { .. } => Some("apikey"),
            Self::Service { .. } => Some("internal"),
            Self::System => Some("system"),
        }
    }

    /// The CloudEvents extension `authid`, absent for the anonymous and for jobs.
    pub fn auth_id(&self) -> Option<&str> {
        match self {
            Self::Anonymous | Self::System => None,
            Self::Token { subject, .. } | Self::ApiKey { subject } => Some(subject),
            Self::Certificate { common_name } => Some(common_name),
            Self::Service { name } => Some(name),
        }
    }
}

/// [`Principal`] as one service tells it to another: `x-lms-principal`, base64url of this JSON.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct WirePrincipal {
    #[serde(rename = "type")]
    kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    subject: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    provider: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    also: Option<Arc<str>>,
}

/// What the anonymous are called in `x-lms-principal`.
const ANONYMOUS: &str = "anonymous";

impl Principal {
    /// The value of `x-lms-principal`; `None` only if it cannot be written as JSON.
    pub fn to_header(&self) -> Option<String> {
        self.to_header_with(None)
    }

    fn to_header_with(&self, also: Option<&Arc<str>>) -> Option<String> {
        let provider = match self {
            Self::Token { provider, .. } => provider.to_string(),
            Self::Anonymous
            | Self::Certificate { .. }
            | Self::ApiKey { .. }
            | Self::Service { .. }
            | Self::System => String::new(),
        };
        let wire = WirePrincipal {
            kind: self.auth_type().unwrap_or(ANONYMOUS).to_owned(),
            subject: self.auth_id().unwrap_or_default().to_owned(),
            provider,
            also: also.cloned(),
        };
        let json = serde_json::to_vec(&wire).ok()?;
        Some(URL_SAFE_NO_PAD.encode(json))
    }

    /// Reads the value of `x-lms-principal`. Whether its sender may be believed is not decided
    /// here.
    pub fn from_header(value: &str) -> Option<Self> {
        Self::from_header_with_also(value).map(|(principal, _)| principal)
    }

    /// The same with [`Caller::also`].
    pub fn from_header_with_also(value: &str) -> Option<(Self, Option<Arc<str>>)> {
        let json = URL_SAFE_NO_PAD.decode(value).ok()?;
        let mut wire: WirePrincipal = serde_json::from_slice(&json).ok()?;
        let also = wire.also.take();
        Self::from_wire(wire).map(|principal| (principal, also))
    }

    fn from_wire(wire: WirePrincipal) -> Option<Self> {
        match wire.kind.as_str() {
            ANONYMOUS => Some(Self::Anonymous),
            "jwt" => Some(Self::Token {
                subject: wire.subject,
                provider: wire.provider.into(),
            }),
            "crt" => Some(Self::Certificate {
                common_name: wire.subject,
            }),
            "apikey" => Some(Self::ApiKey {
                subject: wire.subject,
            }),
            "internal" => Some(Self::Service {
                name: wire.subject.into(),
            }),
            "system" => Some(Self::System),
            _ => None,
        }
    }
}

/// The certificate chain that a TLS client presented, DER, end entity first.
///
/// It exists only where the handshake proved possession of the first certificate's key (or where
/// a configured trusted proxy says so), and is put into the request's extensions by the listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificateChain(pub Arc<[Bytes]>);

impl ClientCertificateChain {
    /// The end-entity certificate, DER.
    pub fn end_entity(&self) -> Option<&Bytes> {
        self.0.first()
    }
}

/// The context of one call of a service: who, through what, under which request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who asks.
    pub principal: Principal,
    /// Whose further credential came beside and decided nothing, for example `jwt:jane`; the
    /// CloudEvents extension `authalso`.
    pub also: Option<Arc<str>>,
    /// Event source asked for by a trusted peer (`x-lms-source`), for example `service/ra`.
    pub source: Option<Arc<str>>,
    /// Correlation id, also returned to the client in `X-Request-Id`.
    pub request_id: Arc<str>,
    /// W3C trace context; events take their id from it.
    pub trace: TraceContext,
}

impl Caller {
    /// The context of a job or an event handler, named after it.
    pub fn system(name: &str, trace: TraceContext) -> Self {
        Self {
            principal: Principal::System,
            also: None,
            source: None,
            request_id: Arc::from(name),
            trace,
        }
    }

    /// Who is behind the call, as one service tells it to another: the value of `x-lms-principal`; `None`
    /// only if it cannot be written as JSON.
    pub fn principal_header(&self) -> Option<String> {
        self.principal.to_header_with(self.also.as_ref())
    }

    /// The same call made on behalf of `source`, for example by the DMS manager at the CA.
    #[must_use]
    pub fn from_source(&self, source: &'static str) -> Self {
        Self {
            source: Some(Arc::from(source)),
            ..self.clone()
        }
    }
}

/// Trace id (16 bytes) and span id (8 bytes) of W3C trace context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// `trace-id` of `traceparent`.
    pub trace_id: u128,
    /// `parent-id` of `traceparent`: the span in which the request is handled.
    pub span_id: u64,
}

impl TraceContext {
    /// The trace id as 32 lower-case hex digits.
    pub fn trace_id_hex(self) -> String {
        format!("{:032x}", self.trace_id)
    }

    /// The span id as 16 lower-case hex digits.
    pub fn span_id_hex(self) -> String {
        format!("{:016x}", self.span_id)
    }

    /// The `traceparent` header (version 00) for calls made in this span.
    pub fn to_traceparent(self) -> String {
        format!("00-{}-{}-01", self.trace_id_hex(), self.span_id_hex())
    }

    /// Reads a `traceparent` header (version 00); `None` when it is not one.
    pub fn parse(traceparent: &str) -> Option<Self> {
        let mut parts = traceparent.split('-');
        let (version, trace, span, _flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if version.len() != 2 || version == "ff" || trace.len() != 32 || span.len() != 16 {
            return None;
        }
        let trace_id = u128::from_str_radix(trace, 16).ok()?;
        let span_id = u64::from_str_radix(span, 16).ok()?;
        (trace_id != 0 && span_id != 0).then_some(Self { trace_id, span_id })
    }
}

#[cfg(test)]
mod tests {
    use super::{Caller, Principal, TraceContext};

    #[test]
    fn every_principal_survives_the_header() {
        let principals = [
            Principal::Anonymous,
            Principal::Token {
                subject: "jane \u{e4}".to_owned(),
                provider: "local".into(),
            },
            Principal::Certificate {
                common_name: "operator".to_owned(),
            },
            Principal::ApiKey {
                subject: "importer".to_owned(),
            },
            Principal::Service { name: "ca".into() },
            Principal::System,
        ];
        for principal in principals {
            let header = principal.to_header().unwrap();
            assert_eq!(Principal::from_header(&header), Some(principal));
        }
        for broken in ["", "****", "e30", "eyJ0eXBlIjoicm9vdCJ9"] {
            assert_eq!(Principal::from_header(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_credential_beside_survives_the_header() {
        let trace = TraceContext {
            trace_id: 7,
            span_id: 9,
        };
        let mut caller = Caller::system("job", trace);
        assert_eq!(caller.principal_header(), Principal::System.to_header());
        caller.also = Some("jwt:jane".into());
        let header = caller.principal_header().unwrap();
        assert_eq!(
            Principal::from_header_with_also(&header),
            Some((Principal::System, caller.also))
        );
        assert_eq!(Principal::from_header(&header), Some(Principal::System));
    }

    #[test]
    fn a_trace_survives_the_header() {
        let trace = TraceContext {
            trace_id: 7,
            span_id: 9,
        };
        assert_eq!(TraceContext::parse(&trace.to_traceparent()), Some(trace));
    }
}
