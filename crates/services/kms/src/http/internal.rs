//! `/internal/v1`: what other services of the installation need.

use axum::extract::State;
use lamassu_core::crypto_engine::EngineError;
use lamassu_core::error::ErrorKind;
use lamassu_core::ids::{KeyRef, OperationId, SerialNumber};
use lamassu_core::internal::Base64;
use lamassu_core::internal::kms::{
    BoundCertificate, PlatformSign, PlatformSignature, SignerDescription,
};
use lamassu_core::kms::algorithm::scheme_of;
use lamassu_core::kms::{CreateKey, ImportKey, Key, KmsError};
use lamassu_core::pem::PublicKeyDer;
use lamassu_core::permission::Permission;
use lamassu_crypto::SignError;
use lamassu_http::{
    AskedBy, GoJson, Json200, Json201, NoContent, PathParams, Reply, RoutesBuilder,
};

use super::Kms;

const INTERNAL: Permission = Permission::new("internal", "kms");

pub(super) fn routes(builder: RoutesBuilder<Kms>) -> RoutesBuilder<Kms> {
    builder
        .post(
            "/internal/v1/keys",
            INTERNAL,
            "Create a key for an operation",
            create,
        )
        .post(
            "/internal/v1/keys/import",
            INTERNAL,
            "Import a private key for an operation",
            import,
        )
        .get(
            "/internal/v1/keys/{id}/signer",
            INTERNAL,
            "Describe the signer of a key",
            signer,
        )
        .post(
            "/internal/v1/keys/{id}/sign",
            INTERNAL,
            "Sign for the platform",
            sign,
        )
        .post(
            "/internal/v1/keys/{id}/certificates",
            INTERNAL,
            "Note that a certificate uses a key",
            bind,
        )
        .delete(
            "/internal/v1/keys/{id}/certificates/{sn}",
            INTERNAL,
            "Note that a certificate uses a key no longer",
            unbind,
        )
        .delete(
            "/internal/v1/operations/{id}",
            INTERNAL,
            "Destroy the key of an abandoned operation",
            discard,
        )
}

async fn create(
    State(kms): State<Kms>,
    AskedBy(caller): AskedBy,
    GoJson(request): GoJson<CreateKey>,
) -> Reply<Json201<Key>> {
    Ok(Json201(kms.service.create_key(&caller, request).await?))
}

async fn import(
    State(kms): State<Kms>,
    AskedBy(caller): AskedBy,
    GoJson(request): GoJson<ImportKey>,
) -> Reply<Json201<Key>> {
    Ok(Json201(kms.service.import_key(&caller, request).await?))
}

async fn signer(
    State(kms): State<Kms>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
) -> Reply<Json200<SignerDescription>> {
    let signer = kms.service.signer(&caller, &KeyRef::from(id)).await?;
    let public_key = signer.public_key().spki_der().to_vec();
    Ok(Json200(SignerDescription {
        public_key: PublicKeyDer::from_der(public_key),
    }))
}

async fn sign(
    State(kms): State<Kms>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
    GoJson(asked): GoJson<PlatformSign>,
) -> Reply<Json200<PlatformSignature>> {
    let scheme = scheme_of(&asked.algorithm).ok_or(KmsError::UnsupportedAlgorithm)?;
    let signer = kms.service.signer(&caller, &KeyRef::from(id)).await?;
    let signature = signer
        .sign(scheme, asked.message())
        .await
        .map_err(not_signed)?;
    Ok(Json200(PlatformSignature {
        signature: Base64(signature.into()),
    }))
}

fn not_signed(error: EngineError) -> KmsError {
    match error {
        EngineError::KeyNotFound => KmsError::KeyNotFound,
        EngineError::KeyDisabled => KmsError::KeyDisabled,
        EngineError::Sign(SignError::DigestLength { .. }) => KmsError::DigestSize,
        _ => match error.kind() {
            ErrorKind::Unavailable => KmsError::EngineUnavailable(Box::new(error)),
            ErrorKind::Invalid => KmsError::UnsupportedAlgorithm,
            _ => KmsError::Engine(Box::new(error)),
        },
    }
}

async fn bind(
    State(kms): State<Kms>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
    GoJson(certificate): GoJson<BoundCertificate>,
) -> Reply<NoContent> {
    kms.service
        .bind_certificate(&caller, &KeyRef::from(id), &certificate.serial_number)
        .await?;
    Ok(NoContent)
}

async fn unbind(
    State(kms): State<Kms>,
    AskedBy(caller): AskedBy,
    PathParams((id, serial)): PathParams<(String, String)>,
) -> Reply<NoContent> {
    let serial = SerialNumber::parse(&serial).ok_or(KmsError::Validation)?;
    kms.service
        .unbind_certificate(&caller, &KeyRef::from(id), &serial)
        .await?;
    Ok(NoContent)
}

async fn discard(
    State(kms): State<Kms>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
) -> Reply<NoContent> {
    kms.service.discard(&caller, &OperationId::from(id)).await?;
    Ok(NoContent)
}
