//! How a key made here gets to its device: clear within TLS, or encrypted for a key that the device
//! has already (RFC 7030 §4.4.1.2, §4.4.2).
//!
//! The key to encrypt for is that of the certificate that the device authenticated with, or that
//! of its request, which then has to prove possession of it. An identifier of either is its subject
//! key identifier, or SHA-1 or SHA-256 of the public key, as common software makes them.

use bytes::Bytes;
use lamassu_core::ca::RawMessage;
use lamassu_core::caller::{Caller, ClientCertificateChain};
use lamassu_core::dms::{DeliveredKey, Dms, DmsError, KeygenRefusal};
use lamassu_core::error::StorageFailure;
use lamassu_core::kms::PrivateKeyBytes;
use lamassu_core::kms::algorithm::name_of;
use lamassu_crypto::{
    ContentCipher, Curve, KeyManagement, KeySpec, PrivateKey, PublicKey, SealError,
};
use lamassu_x509::Certificate;
use lamassu_x509::cms::{Capabilities, KeyPackage, enveloped_data, key_identifiers};
use zeroize::Zeroizing;

use crate::request::{DeviceRequest, Possession};
use crate::service::DmsManager;

/// How the device wants its key.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// As it is.
    Clear,
    /// Encrypted for this key.
    Enveloped(Recipient),
}

/// A key of the device's, by the name that the device has for it.
#[derive(Debug)]
pub(crate) struct Recipient {
    key: PublicKey,
    identifier: Bytes,
    algorithms: (ContentCipher, KeyManagement),
}

impl Delivery {
    /// What the request asks for. Where that is impossible it is refused: a key that shall be
    /// encrypted never goes out in clear.
    pub(crate) fn asked_for(
        request: &DeviceRequest,
        chain: Option<&ClientCertificateChain>,
    ) -> Result<Self, DmsError> {
        let wish = request.csr.key_delivery();
        let Some(identifier) = &wish.asymmetric_decrypt_key_identifier else {
            return match wish.decrypt_key_identifier {
                Some(_) => Err(KeygenRefusal::SymmetricKey.into()),
                None => Ok(Self::Clear),
            };
        };
        let key = named_key(request, chain, identifier)?;
        if !fits(key.spec()) {
            return Err(KeygenRefusal::UnfitKey.into());
        }
        let offered = wish.capabilities.as_ref();
        let offered = offered.ok_or(KeygenRefusal::NoCapabilities)?;
        let offered = Capabilities::from_der(offered).ok();
        let algorithms = offered.and_then(|offered| offered.choose(key.spec()));
        Ok(Self::Enveloped(Recipient {
            key,
            identifier: identifier.clone(),
            algorithms: algorithms.ok_or(KeygenRefusal::NoCipher)?,
        }))
    }
}

/// The key with this identifier, among those that the device has shown.
fn named_key(
    request: &DeviceRequest,
    chain: Option<&ClientCertificateChain>,
    identifier: &Bytes,
) -> Result<PublicKey, DmsError> {
    let presented = chain
        .and_then(ClientCertificateChain::end_entity)
        .and_then(|der| Certificate::from_der(der.clone()).ok());
    if let Some(certificate) = presented {
        let is_named = certificate.subject_key_identifier().as_ref() == Some(identifier)
            || is_identifier_of(identifier, certificate.spki_der());
        if is_named {
            let key = certificate.public_key();
            return key.map_err(|_| KeygenRefusal::UnfitKey.into());
        }
    }
    if is_identifier_of(identifier, request.csr.spki_der()) {
        let csr = request.decide_possession(Possession::Required)?;
        return Ok(csr.public_key().clone());
    }
    Err(KeygenRefusal::UnknownKey.into())
}

/// Whether something can be encrypted for such a key: RSA takes keys along, and curves agree on them.
const fn fits(spec: KeySpec) -> bool {
    match spec {
        KeySpec::Rsa(_) | KeySpec::Ec(Curve::P256 | Curve::P384 | Curve::P521) => true,
        KeySpec::Ec(Curve::P224)
        | KeySpec::Ed25519
        | KeySpec::MlDsa44
        | KeySpec::MlDsa65
        | KeySpec::MlDsa87 => false,
    }
}

fn is_identifier_of(identifier: &Bytes, spki: &[u8]) -> bool {
    key_identifiers(spki).any(|known| known == *identifier)
}

impl DmsManager {
    /// The key in the form that the device wants. An encrypted one is signed by the enrollment CA,
    /// which the device knows: RFC 7030 asks for a signature by whoever made the key.
    pub(crate) async fn deliver(
        &self,
        caller: &Caller,
        dms: &Dms,
        delivery: Delivery,
        key: &PrivateKey,
    ) -> Result<DeliveredKey, DmsError> {
        let internal = |error| StorageFailure::Internal(error);
        let mut pkcs8 = key
            .to_pkcs8_der()
            .map_err(|error| internal(Box::new(error)))?;
        let recipient = match delivery {
            // Moved, not copied: what is left behind is empty.
            Delivery::Clear => {
                let octets = std::mem::take(&mut *pkcs8);
                return Ok(DeliveredKey::Clear(PrivateKeyBytes::new(octets)));
            }
            Delivery::Enveloped(recipient) => recipient,
        };
        let signed_data = self.signed_package(caller, dms, &pkcs8).await?;
        let Recipient {
            key,
            identifier,
            algorithms,
        } = recipient;
        let sealed = enveloped_data(&signed_data, &key, &identifier, algorithms);
        let sealed = sealed.map_err(|error| match error {
            SealError::Recipient => DmsError::from(KeygenRefusal::UnfitKey),
            SealError::Library => internal(Box::new(error)).into(),
        })?;
        Ok(DeliveredKey::Enveloped(sealed.into()))
    }

    async fn signed_package(
        &self,
        caller: &Caller,
        dms: &Dms,
        pkcs8: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, DmsError> {
        let internal = |error| StorageFailure::Internal(error);
        let id = &dms.settings.enrollment_settings.enrollment_ca;
        let ca = self.directory.authority(caller, id).await?;
        let scheme = ca
            .certificate
            .public_key()
            .map_err(|error| internal(Box::new(error)))?
            .default_scheme();
        let package = KeyPackage::new(pkcs8, scheme).map_err(|error| internal(Box::new(error)))?;
        let message = RawMessage {
            algorithm: name_of(scheme).unwrap_or_default().to_owned(),
            message: Bytes::copy_from_slice(package.to_be_signed()),
            message_type: "raw".to_owned(),
        };
        let signature = self.ca.sign_with_ca(caller, id, message).await?;
        Ok(package.assemble(&ca.certificate, &signature))
    }
}
