//! What the wire shows of a certificate, read from its DER.

use lamassu_core::ca::{KeyMetadata, KeyStrength};
use lamassu_core::ids::SerialNumber;
use lamassu_core::kms::KeyType;
use lamassu_core::subject::Subject;
use lamassu_core::usage::{CertificateExtensions, ExtendedKeyUsage, KeyUsage};
use lamassu_crypto::KeySpec;
use lamassu_x509::{Extensions, Name, Serial, TbsCertificate};

/// Names and usages, which the store does not repeat beside the DER.
#[derive(Debug)]
pub(crate) struct Description {
    pub(crate) subject: Subject,
    pub(crate) issuer: Subject,
    pub(crate) extensions: CertificateExtensions,
}

impl Description {
    pub(crate) fn of(certificate: &TbsCertificate) -> Self {
        Self {
            subject: subject(certificate.subject()),
            issuer: subject(certificate.issuer()),
            extensions: usages(certificate.extensions()),
        }
    }
}

/// The six attributes of a name that the wire knows.
pub(crate) fn subject(name: &Name) -> Subject {
    let fields = name.subject_fields();
    Subject {
        common_name: fields.common_name,
        organization: fields.organization,
        organization_unit: fields.organizational_unit,
        country: fields.country,
        state: fields.state,
        locality: fields.locality,
    }
}

/// Both usage extensions. What does not decode counts as absent, as does a purpose without name.
fn usages(extensions: &Extensions) -> CertificateExtensions {
    let key_usage = extensions.key_usage().ok().flatten().unwrap_or_default();
    let purposes = extensions
        .extended_key_usage()
        .ok()
        .flatten()
        .unwrap_or_default();
    CertificateExtensions {
        key_usage: key_usage.iter().fold(KeyUsage::NONE, |all, bit| {
            all.union(KeyUsage(1 << (bit as u8)))
        }),
        extended_key_usage: purposes
            .iter()
            .filter_map(|purpose| ExtendedKeyUsage::from_oid(&purpose.to_string()))
            .collect(),
    }
}

/// The serial number as the wire writes it.
pub(crate) fn serial_number(serial: &Serial) -> SerialNumber {
    SerialNumber::parse(&serial.to_hex()).unwrap_or_else(|| SerialNumber::from_bytes(&[]))
}

/// Type, size and strength of a key; `None` for one that cannot be read.
pub(crate) fn key_metadata(key: Option<KeySpec>) -> KeyMetadata {
    let strength = match key {
        Some(KeySpec::Rsa(bits)) => stepped(bits, 2048, 3072),
        Some(KeySpec::Ec(curve)) => stepped(curve.bits(), 129, 256),
        Some(KeySpec::Ed25519 | KeySpec::MlDsa44 | KeySpec::MlDsa65 | KeySpec::MlDsa87) => {
            KeyStrength::High
        }
        None => KeyStrength::Low,
    };
    KeyMetadata {
        key_type: key.map_or("0", |key| KeyType::of(key).as_str()).to_owned(),
        bits: key.map_or(0, KeySpec::bits),
        strength,
    }
}

fn stepped(bits: u32, medium_from: u32, high_from: u32) -> KeyStrength {
    if bits < medium_from {
        KeyStrength::Low
    } else if bits < high_from {
        KeyStrength::Medium
    } else {
        KeyStrength::High
    }
}

#[cfg(test)]
mod tests {
    use lamassu_crypto::Curve;

    use super::{KeySpec, KeyStrength, KeyType, key_metadata};

    #[test]
    fn strength_follows_kind_and_size() {
        let cases = [
            (Some(KeySpec::Rsa(1024)), "RSA", 1024, KeyStrength::Low),
            (Some(KeySpec::Rsa(2048)), "RSA", 2048, KeyStrength::Medium),
            (Some(KeySpec::Rsa(3072)), "RSA", 3072, KeyStrength::High),
            (
                Some(KeySpec::Ec(Curve::P224)),
                "ECDSA",
                224,
                KeyStrength::Medium,
            ),
            (
                Some(KeySpec::Ec(Curve::P256)),
                "ECDSA",
                256,
                KeyStrength::High,
            ),
            (Some(KeySpec::Ed25519), "Ed25519", 256, KeyStrength::High),
            (None, "0", 0, KeyStrength::Low),
        ];
        for (key, key_type, bits, strength) in cases {
            let shown = key_metadata(key);
            assert_eq!(
                (shown.key_type.as_str(), shown.bits, shown.strength),
                (key_type, bits, strength)
            );
            let named = KeyType::from_name(key_type);
            assert_eq!(named.and_then(|named| named.with_size(bits)), key);
        }
    }
}
