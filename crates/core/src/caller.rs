//! Who asks: the context that every service call carries.
//!
//! The HTTP layer builds a [`Caller`] once per request from *verified* credentials; services
//! pass it on and never look at headers. It feeds events (`authtype`, `authid`, source), audit
//! records and logs. What a principal may do is decided before the service is called
//! (`lamassu-http` and `lamassu-auth`), so no permission check lives here.

use std::sync::Arc;

use bytes::Bytes;

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
    /// Another service of this installation.
    Service {
        /// The service's name, for example `dms-manager`.
        name: Arc<str>,
    },
    /// A job or an event handler of this process.
    System,
}

impl Principal {
    /// The CloudEvents extension `authtype`, absent for the anonymous.
    pub fn auth_type(&self) -> Option<&'static str> {
        match self {
            Self::Anonymous => None,
            Self::Token { .. } => Some("jwt"),
            Self::Certificate { .. } => Some("crt"),
            Self::Service { .. } => Some("internal"),
            Self::System => Some("system"),
        }
    }

    /// The CloudEvents extension `authid`, absent for the anonymous and for jobs.
    pub fn auth_id(&self) -> Option<&str> {
        match self {
            Self::Anonymous | Self::System => None,
            Self::Token { subject, .. } => Some(subject),
            Self::Certificate { common_name } => Some(common_name),
            Self::Service { name } => Some(name),
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
            source: None,
            request_id: Arc::from(name),
            trace,
        }
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
