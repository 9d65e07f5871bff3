//! `csrattrs` (RFC 7030 §4.5): what the issuance profile wants to see in a request.

use lamassu_core::ca::{CryptoEnforcement, IssuanceProfile};
use lamassu_crypto::{Curve, ObjectIdentifier};
use lamassu_x509::{CsrAttribute, csr_attrs, oids};

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const SHA256_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ECDSA_WITH_SHA224: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.1");
const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const ECDSA_WITH_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const ML_DSA_65: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.18");

/// The DER of CsrAttrs for this profile; an empty SEQUENCE when it wants nothing in particular.
///
/// The key is the first that the profile allows. Its size comes with it, so that a client need
/// not guess; for a profile that takes any size, only the kind is named.
pub(crate) fn for_profile(profile: &IssuanceProfile) -> Vec<u8> {
    let mut wishes = key(&profile.crypto_enforcement);
    if profile.honor_extensions || profile.honor_key_usage || profile.honor_extended_key_usages {
        wishes.push(CsrAttribute::Oid(oids::EXTENSION_REQUEST));
    }
    csr_attrs(&wishes)
}

/// Key and signature of the first kind that is allowed; nothing where any key is.
fn key(enforcement: &CryptoEnforcement) -> Vec<CsrAttribute> {
    if !enforcement.enabled {
        return Vec::new();
    }
    if enforcement.allow_rsa_keys
        && let Some(key) = rsa(enforcement.allowed_rsa_key_sizes.as_deref())
    {
        return vec![key, CsrAttribute::Oid(SHA256_WITH_RSA)];
    }
    if enforcement.allow_ecdsa_keys
        && let Some(key) = ecdsa(enforcement.allowed_ecdsa_key_sizes.as_deref())
    {
        return key;
    }
    if enforcement.allow_ed25519_keys.is_allowed() {
        return vec![CsrAttribute::Oid(ED25519)];
    }
    if enforcement.allow_mldsa_keys.is_allowed() {
        return vec![CsrAttribute::Oid(ML_DSA_65)];
    }
    Vec::new()
}

fn rsa(sizes: Option<&[u32]>) -> Option<CsrAttribute> {
    match sizes {
        None => Some(CsrAttribute::Oid(RSA_ENCRYPTION)),
        Some(sizes) => sizes.first().map(|bits| CsrAttribute::WithNumber {
            attribute_type: RSA_ENCRYPTION,
            value: *bits,
        }),
    }
}

fn ecdsa(sizes: Option<&[u32]>) -> Option<Vec<CsrAttribute>> {
    let Some(sizes) = sizes else {
        return Some(vec![CsrAttribute::Oid(EC_PUBLIC_KEY)]);
    };
    let mut curves = sizes
        .iter()
        .filter_map(|bits| Curve::ALL.into_iter().find(|curve| curve.bits() == *bits));
    curves.next().map(|curve| {
        vec![
            CsrAttribute::WithOid {
                attribute_type: EC_PUBLIC_KEY,
                value: curve.oid(),
            },
            CsrAttribute::Oid(signature_with(curve)),
        ]
    })
}

/// The signature algorithm whose digest is as strong as the curve.
const fn signature_with(curve: Curve) -> ObjectIdentifier {
    match curve {
        Curve::P224 => ECDSA_WITH_SHA224,
        Curve::P256 => ECDSA_WITH_SHA256,
        Curve::P384 => ECDSA_WITH_SHA384,
        Curve::P521 => ECDSA_WITH_SHA512,
    }
}

#[cfg(test)]
mod tests {
    use lamassu_core::ca::{CryptoEnforcement, IssuanceProfile};

    use super::for_profile;

    fn der(enforcement: CryptoEnforcement, honor_extensions: bool) -> String {
        let profile = IssuanceProfile {
            crypto_enforcement: enforcement,
            honor_extensions,
            ..IssuanceProfile::default()
        };
        hex::encode(for_profile(&profile))
    }

    #[test]
    fn nothing_in_particular_is_an_empty_sequence() {
        assert_eq!(der(CryptoEnforcement::default(), false), "3000");
    }

    #[test]
    fn the_first_allowed_key_and_its_signature_are_named() {
        let ecdsa = CryptoEnforcement {
            enabled: true,
            allow_ecdsa_keys: true,
            allowed_ecdsa_key_sizes: Some(vec![384, 256]),
            ..CryptoEnforcement::default()
        };
        // id-ecPublicKey with secp384r1, ecdsa-with-SHA384, extensionRequest
        let expected = "3029301206072a8648ce3d0201310706052b8104002206082a8648ce3d04030306092a864886f70d01090e";
        assert_eq!(der(ecdsa, true), expected);
        let rsa = CryptoEnforcement {
            enabled: true,
            allow_rsa_keys: true,
            allowed_rsa_key_sizes: Some(vec![3072]),
            ..CryptoEnforcement::default()
        };
        // rsaEncryption with 3072, sha256WithRSAEncryption
        let expected = "301e301106092a864886f70d010101310402020c0006092a864886f70d01010b";
        assert_eq!(der(rsa, false), expected);
    }
}
