//! The validation authority of another process.

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{EXPIRES, LAST_MODIFIED};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use lamassu_core::ca::Member;
use lamassu_core::caller::Caller;
use lamassu_core::page::Page;
use lamassu_core::percent::encode;
use lamassu_core::query::ListRequest;
use lamassu_core::timestamp::Timestamp;
use lamassu_core::va::{
    Crl, CrlOptions, CrlShard, OcspAnswer, OcspLifetime, VaError, VaRole, VaService,
};
use lamassu_crypto::HashAlgorithm;
use lamassu_x509::crl::CertificateList;
use serde_json::Value;

use crate::peer::{Call, Peer, Service};
use crate::refusal::Reported;
use crate::retry::{Repeat, http_date};

/// `OCSPResponse` with status `tryLater` and nothing else (RFC 6960 section 4.2.1).
const TRY_LATER: [u8; 5] = [0x30, 0x03, 0x0a, 0x01, 0x03];

/// Longest OCSP request that goes into a path, where the answer may be cached.
const MAX_PATH_REQUEST_BYTES: usize = 4 * 1024;

const PKIX_CRL: HeaderValue = HeaderValue::from_static("application/pkix-crl");

const OCSP_REQUEST: HeaderValue = HeaderValue::from_static("application/ocsp-request");

/// The validation authority of another process, by its public routes and those of roles. All but
/// an import may be repeated. Times of answers have whole seconds.
#[derive(Clone, Debug)]
pub struct VaClient(Service);

impl VaClient {
    /// The service at this peer.
    pub fn new(peer: &Peer) -> Self {
        Self(peer.service("va"))
    }

    async fn bytes(&self, caller: &Caller, path: String) -> Result<Bytes, VaError> {
        let answer = self.0.answer::<VaError>(caller, Call::get(path)).await?;
        Ok(answer.body)
    }
}

/// By GET as long as it fits, since only answers to GET tell how long they may be kept.
fn ocsp_call(request: Bytes) -> Call {
    if !request.is_empty() && request.len() <= MAX_PATH_REQUEST_BYTES {
        return Call::get(format!("/v1/ocsp/{}", encode(&STANDARD.encode(&request))));
    }
    Call {
        method: Method::POST,
        path: "/v1/ocsp".to_owned(),
        body: Some((request, OCSP_REQUEST)),
        headers: http::HeaderMap::new(),
        repeat: Repeat::Safe,
        extra_time: Duration::ZERO,
    }
}

fn lifetime(headers: &HeaderMap) -> Option<OcspLifetime> {
    let date = |name: HeaderName| http_date(headers, &name).map(Timestamp);
    Some(OcspLifetime {
        this_update: date(LAST_MODIFIED)?,
        next_update: date(EXPIRES)?,
    })
}

fn unreadable(cause: impl std::error::Error + Send + Sync + 'static) -> VaError {
    VaError::CrlFailed(Box::new(cause))
}

fn read_crl(der: Bytes) -> Result<Crl, VaError> {
    let list = CertificateList::from_der(der.clone()).map_err(unreadable)?;
    let number = list.number().map_err(unreadable)?.map(|number| number.0);
    Ok(Crl {
        digest: hex::encode(HashAlgorithm::Sha256.digest(&der)),
        der,
        number: number.ok_or_else(|| unreadable(Reported))?,
        this_update: Timestamp(list.this_update()),
        next_update: Timestamp(list.next_update().ok_or_else(|| unreadable(Reported))?),
    })
}

/// The options with what was cleared written out: left away it would be kept.
fn explicit(options: &CrlOptions) -> Result<Value, serde_json::Error> {
    let mut value = serde_json::to_value(options)?;
    if options.delta_validity == Member::Cleared
        && let Some(members) = value.as_object_mut()
    {
        members.insert("delta_validity".to_owned(), Value::Null);
    }
    Ok(value)
}

#[async_trait]
impl VaService for VaClient {
    async fn ocsp(&self, caller: &Caller, request: Bytes) -> OcspAnswer {
        match self.0.answer::<VaError>(caller, ocsp_call(request)).await {
            Ok(answer) => OcspAnswer {
                cache: lifetime(&answer.headers),
                der: answer.body,
            },
            Err(error) => {
                tracing::warn!(error = %error, "validation authority did not answer");
                OcspAnswer {
                    der: Bytes::from_static(&TRY_LATER),
                    cache: None,
                }
            }
        }
    }

    async fn crl(&self, caller: &Caller, ca_ski: &str) -> Result<Crl, VaError> {
        if ca_ski.is_empty() {
            return Err(VaError::CaNotFound);
        }
        let path = format!("/v1/crl/{}", encode(ca_ski));
        read_crl(self.bytes(caller, path).await?)
    }

    async fn delta_crl(&self, caller: &Caller, ca_ski: &str) -> Result<Crl, VaError> {
        if ca_ski.is_empty() {
            return Err(VaError::CaNotFound);
        }
        let path = format!("/v1/crl/{}/delta", encode(ca_ski));
        read_crl(self.bytes(caller, path).await?)
    }

    async fn shard_crl(
        &self,
        caller: &Caller,
        ca_ski: &str,
        shard: CrlShard,
    ) -> Result<Crl, VaError> {
        if ca_ski.is_empty() {
            return Err(VaError::CaNotFound);
        }
        let path = format!("/v1/crl/{}/{shard}", encode(ca_ski));
        read_crl(self.bytes(caller, path).await?)
    }

    async fn import_crl(
        &self,
        caller: &Caller,
        ca_ski: &str,
        crl: Bytes,
    ) -> Result<VaRole, VaError> {
        if ca_ski.is_empty() {
            return Err(VaError::CaNotFound);
        }
        let call = Call {
            method: Method::PUT,
            path: format!("/v1/crl/{}", encode(ca_ski)),
            headers: HeaderMap::new(),
            body: Some((crl, PKIX_CRL)),
            repeat: Repeat::Once,
            extra_time: Duration::ZERO,
        };
        self.0.read(caller, call).await
    }

    async fn ca_certificate(&self, caller: &Caller, ca_ski: &str) -> Result<Bytes, VaError> {
        if ca_ski.is_empty() {
            return Err(VaError::CaNotFound);
        }
        let path = format!("/v1/ca/{}", encode(ca_ski));
        self.bytes(caller, path).await
    }

    async fn role(&self, caller: &Caller, ca_ski: &str) -> Result<VaRole, VaError> {
        if ca_ski.is_empty() {
            return Err(VaError::RoleNotFound);
        }
        let path = format!("/v1/roles/{}", encode(ca_ski));
        self.0.read(caller, Call::get(path)).await
    }

    async fn set_role_options(
        &self,
        caller: &Caller,
        ca_ski: &str,
        options: CrlOptions,
    ) -> Result<VaRole, VaError> {
        if ca_ski.is_empty() {
            return Err(VaError::RoleNotFound);
        }
        let path = format!("/v1/roles/{}", encode(ca_ski));
        let body = explicit(&options).map_err(unreadable)?;
        let call = Call::json(Method::PUT, path, &body, Repeat::Safe)?;
        self.0.read(caller, call).await
    }

    async fn roles(&self, caller: &Caller, request: &ListRequest) -> Result<Page<VaRole>, VaError> {
        let path = format!("/v1/roles?{}", request.to_query());
        self.0.read(caller, Call::get(path)).await
    }
}
