//! The key management service of another process.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::Method;
use lamassu_core::caller::{Caller, Principal, TraceContext};
use lamassu_core::crypto_engine::{EngineError, Signer, Unsupported};
use lamassu_core::error::{ErrorKind, ServiceError as _};
use lamassu_core::ids::{EngineId, KeyRef, OperationId, SerialNumber};
use lamassu_core::internal::Base64;
use lamassu_core::internal::kms::{
    BoundCertificate, MessageType, PlatformSign, PlatformSignature, SignerDescription,
};
use lamassu_core::kms::algorithm::name_of;
use lamassu_core::kms::{
    CreateKey, EngineDescription, GENERATION_DEADLINE, ImportKey, Key, KeyStats, KeyStatus,
    KmsError, KmsService, SignMessage,
};
use lamassu_core::page::Page;
use lamassu_core::patch::PatchOperation;
use lamassu_core::percent::encode;
use lamassu_core::query::ListRequest;
use lamassu_crypto::{Message, PublicKey, SignError, SignatureScheme};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::peer::{Call, Peer, Service};
use crate::retry::Repeat;

/// The key management service of another process.
///
/// Repeated after a doubt: reads, [`signer`](KmsService::signer) and the signatures made with it
/// (they leave no event), [`bind_certificate`](KmsService::bind_certificate) and
/// [`discard`](KmsService::discard). Never repeated: what makes, changes or deletes a key, and signing and
/// verifying for clients, which leave an event each.
#[derive(Clone, Debug)]
pub struct KmsClient(Service);

impl KmsClient {
    /// The service at this peer.
    pub fn new(peer: &Peer) -> Self {
        Self(peer.service("kms"))
    }

    async fn read<T: serde::de::DeserializeOwned>(
        &self,
        caller: &Caller,
        call: Call,
    ) -> Result<T, KmsError> {
        self.0.read(caller, call).await
    }

    /// A change of a key, which leaves an event each time.
    async fn change(
        &self,
        caller: &Caller,
        method: Method,
        path: String,
        body: &serde_json::Value,
    ) -> Result<Key, KmsError> {
        let call = Call::json(method, path, body, Repeat::Once)?;
        self.read(caller, call).await
    }
}

#[derive(Serialize)]
struct SignatureBody<'a> {
    algorithm: &'a str,
    message: Base64,
    message_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<Base64>,
}

impl<'a> SignatureBody<'a> {
    fn new(asked: &'a SignMessage, signature: Option<&[u8]>) -> Self {
        Self {
            algorithm: &asked.algorithm,
            message: Base64(asked.message.clone()),
            message_type: &asked.message_type,
            signature: signature.map(|octets| Base64(Bytes::copy_from_slice(octets))),
        }
    }
}

#[derive(Deserialize)]
struct Signed {
    signature: Base64,
}

#[derive(Deserialize)]
struct Verified {
    valid: bool,
}

/// `/v1/keys/{id}` and what is below it. No route can name the empty key.
fn key_path(version: &str, key: &KeyRef, below: &str) -> Result<String, KmsError> {
    if key.is_empty() {
        return Err(KmsError::KeyNotFound);
    }
    Ok(format!("{version}/keys/{}{below}", encode(key.as_str())))
}

#[async_trait]
impl KmsService for KmsClient {
    async fn engines(&self, caller: &Caller) -> Result<Vec<EngineDescription>, KmsError> {
        self.read(caller, Call::get("/v1/engines".to_owned())).await
    }

    async fn create_key(&self, caller: &Caller, request: CreateKey) -> Result<Key, KmsError> {
        let path = match &request.operation {
            Some(_) => "/internal/v1/keys",
            None => "/v1/keys",
        };
        let call = Call::json(Method::POST, path.to_owned(), &request, Repeat::Once)?;
        self.read(caller, call.taking_longer(GENERATION_DEADLINE))
            .await
    }

    async fn import_key(&self, caller: &Caller, request: ImportKey) -> Result<Key, KmsError> {
        let path = match &request.operation {
            Some(_) => "/internal/v1/keys/import",
            None => "/v1/keys/import",
        };
        let call = Call::json(Method::POST, path.to_owned(), &request, Repeat::Once)?;
        self.read(caller, call).await
    }

    async fn key(&self, caller: &Caller, key: &KeyRef) -> Result<Key, KmsError> {
        self.read(caller, Call::get(key_path("/v1", key, "")?))
            .await
    }

    async fn keys(&self, caller: &Caller, request: &ListRequest) -> Result<Page<Key>, KmsError> {
        let path = format!("/v1/keys?{}", request.to_query());
        self.read(caller, Call::get(path)).await
    }

    async fn stats(&self, caller: &Caller, request: &ListRequest) -> Result<KeyStats, KmsError> {
        let path = format!("/v1/stats?{}", request.to_query());
        self.read(caller, Call::get(path)).await
    }

    async fn set_name(&self, caller: &Caller, key: &KeyRef, name: String) -> Result<Key, KmsError> {
        let body = json!({ "name": name });
        self.change(caller, Method::PUT, key_path("/v1", key, "/name")?, &body)
            .await
    }

    async fn set_tags(
        &self,
        caller: &Caller,
        key: &KeyRef,
        tags: Vec<String>,
    ) -> Result<Key, KmsError> {
        let body = json!({ "tags": tags });
        self.change(caller, Method::PUT, key_path("/v1", key, "/tags")?, &body)
            .await
    }

    async fn patch_metadata(
        &self,
        caller: &Caller,
        key: &KeyRef,
        operations: Vec<PatchOperation>,
    ) -> Result<Key, KmsError> {
        let body = json!({ "patches": operations });
        let path = key_path("/v1", key, "/metadata")?;
        self.change(caller, Method::PUT, path, &body).await
    }

    async fn patch_aliases(
        &self,
        caller: &Caller,
        key: &KeyRef,
        operations: Vec<PatchOperation>,
    ) -> Result<Key, KmsError> {
        let body = json!({ "patches": operations });
        let path = key_path("/v1", key, "/aliases")?;
        self.change(caller, Method::PUT, path, &body).await
    }

    async fn set_status(
        &self,
        caller: &Caller,
        key: &KeyRef,
        status: KeyStatus,
    ) -> Result<Key, KmsError> {
        let body = json!({ "status": status });
        self.change(caller, Method::PUT, key_path("/v1", key, "/status")?, &body)
            .await
    }

    async fn move_key(
        &self,
        caller: &Caller,
        key: &KeyRef,
        engine: &EngineId,
    ) -> Result<Key, KmsError> {
        let body = json!({ "engine_id": engine });
        self.change(caller, Method::POST, key_path("/v1", key, "/move")?, &body)
            .await
    }

    async fn delete_key(&self, caller: &Caller, key: &KeyRef) -> Result<(), KmsError> {
        let path = key_path("/v1", key, "")?;
        let call = Call::bare(Method::DELETE, path, Repeat::Once);
        self.0.done(caller, call).await
    }

    async fn sign(
        &self,
        caller: &Caller,
        key: &KeyRef,
        message: SignMessage,
    ) -> Result<Vec<u8>, KmsError> {
        let path = key_path("/v1", key, "/sign")?;
        let body = SignatureBody::new(&message, None);
        let call = Call::json(Method::POST, path, &body, Repeat::Once)?;
        let Signed { signature } = self.read(caller, call).await?;
        Ok(signature.0.into())
    }

    async fn verify(
        &self,
        caller: &Caller,
        key: &KeyRef,
        message: SignMessage,
        signature: &[u8],
    ) -> Result<bool, KmsError> {
        let path = key_path("/v1", key, "/verify")?;
        let body = SignatureBody::new(&message, Some(signature));
        let call = Call::json(Method::POST, path, &body, Repeat::Once)?;
        let Verified { valid } = self.read(caller, call).await?;
        Ok(valid)
    }

    async fn signer(&self, caller: &Caller, key: &KeyRef) -> Result<Arc<dyn Signer>, KmsError> {
        let call = Call::get(key_path("/internal/v1", key, "/signer")?);
        let described: SignerDescription = self.read(caller, call).await?;
        let public_key = PublicKey::from_spki_der(described.public_key.der())
            .map_err(|error| KmsError::Engine(Box::new(error)))?;
        Ok(Arc::new(RemoteSigner {
            service: self.0.clone(),
            path: key_path("/internal/v1", key, "/sign")?,
            public_key,
        }))
    }

    async fn bind_certificate(
        &self,
        caller: &Caller,
        key: &KeyRef,
        serial: &SerialNumber,
    ) -> Result<(), KmsError> {
        let path = key_path("/internal/v1", key, "/certificates")?;
        let body = BoundCertificate {
            serial_number: serial.clone(),
        };
        let call = Call::json(Method::POST, path, &body, Repeat::Safe)?;
        self.0.done(caller, call).await
    }

    async fn unbind_certificate(
        &self,
        caller: &Caller,
        key: &KeyRef,
        serial: &SerialNumber,
    ) -> Result<(), KmsError> {
        let path = key_path("/internal/v1", key, &format!("/certificates/{serial}"))?;
        let call = Call::bare(Method::DELETE, path, Repeat::Safe);
        self.0.done(caller, call).await
    }

    async fn discard(&self, caller: &Caller, operation: &OperationId) -> Result<(), KmsError> {
        if operation.is_empty() {
            return Ok(());
        }
        let path = format!("/internal/v1/operations/{}", encode(operation.as_str()));
        let call = Call::bare(Method::DELETE, path, Repeat::Safe);
        self.0.done(caller, call).await
    }
}

/// A key over there: one request per signature. It outlives the call that asked for it, so its
/// requests are made by nobody but the platform.
#[derive(Debug)]
struct RemoteSigner {
    service: Service,
    path: String,
    public_key: PublicKey,
}

#[async_trait]
impl Signer for RemoteSigner {
    fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    async fn sign(
        &self,
        scheme: SignatureScheme,
        message: Message<'_>,
    ) -> Result<Vec<u8>, EngineError> {
        let unsupported = EngineError::Unsupported(Unsupported::Scheme(scheme));
        let algorithm = name_of(scheme).ok_or(unsupported)?;
        let (message, message_type) = match message {
            Message::Raw(octets) => (octets, MessageType::Raw),
            Message::Digest(octets) => (octets, MessageType::Digest),
        };
        let body = PlatformSign {
            algorithm: algorithm.to_owned(),
            message: Base64(Bytes::copy_from_slice(message)),
            message_type,
        };
        let signed: Result<PlatformSignature, KmsError> = async {
            let call = Call::json(Method::POST, self.path.clone(), &body, Repeat::Safe)?;
            self.service.read(&platform(), call).await
        }
        .await;
        let PlatformSignature { signature } = signed.map_err(not_signed)?;
        Ok(signature.0.into())
    }
}

fn platform() -> Caller {
    let id = Uuid::new_v4();
    let (_, span_id) = id.as_u64_pair();
    let trace_id = id.as_u128();
    Caller {
        principal: Principal::System,
        also: None,
        source: None,
        request_id: id.to_string().into(),
        trace: TraceContext { trace_id, span_id },
    }
}

fn not_signed(error: KmsError) -> EngineError {
    match error {
        KmsError::KeyNotFound => EngineError::KeyNotFound,
        KmsError::KeyDisabled => EngineError::KeyDisabled,
        KmsError::UnsupportedAlgorithm => EngineError::Sign(SignError::WrongKey),
        other => match other.kind() {
            ErrorKind::Unavailable => EngineError::Unavailable(Box::new(other)),
            _ => EngineError::Failed(Box::new(other)),
        },
    }
}
