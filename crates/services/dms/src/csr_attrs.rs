//! `csrattrs` (RFC 7030 §4.5): what the issuance profile wants to see in a request.

use lamassu_core::ca::{CryptoEnforcement, IssuanceProfile};
use lamassu_core::dms::settings::ChannelBindingMode;
use lamassu_crypto::{Curve, ObjectIdentifier};
use lamassu_x509::{
    ChallengePassword, CsrAttribute, KeyTemplate, RequestInfoTemplate, csr_attrs, oids,
};

const SHA256_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const ECDSA_WITH_SHA224: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.1");
const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const ECDSA_WITH_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const ML_DSA_65: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.18");

/// Largest size of RSA that a template names: the placeholder for its key is as long, and libest
/// reads 1,024 octets of CsrAttrs.
const MAX_PLACEHOLDER_BITS: u32 = 4096;

/// The DER of CsrAttrs for this profile; an empty SEQUENCE when it wants nothing in particular.
///
/// The key is the first that the profile allows. Its size comes with it, so that a client need
/// not guess; for a profile that takes any size, only the kind is named. The same stands in a template
/// for clients that know RFC 9908, wherever there is something to say.
pub(crate) fn for_profile(profile: &IssuanceProfile, binding: ChannelBindingMode) -> Vec<u8> {
    let challenge_password = if binding == ChannelBindingMode::Required {
        ChallengePassword::Wanted
    } else {
        ChallengePassword::NotWanted
    };
    let mut wishes = Vec::new();
    if challenge_password == ChallengePassword::Wanted {
        wishes.push(CsrAttribute::Oid(oids::CHALLENGE_PASSWORD));
    }
    let Key {
        wishes: key_wishes,
        template: key,
    } = key(&profile.crypto_enforcement);
    wishes.extend(key_wishes);
    if profile.honor_extensions || profile.honor_key_usage || profile.honor_extended_key_usages {
        wishes.push(CsrAttribute::Oid(oids::EXTENSION_REQUEST));
    }
    if key.is_some() || challenge_password == ChallengePassword::Wanted {
        wishes.push(CsrAttribute::Template(RequestInfoTemplate {
            key,
            challenge_password,
        }));
    }
    csr_attrs(&wishes)
}

/// What is wished for of the key, in both forms.
#[derive(Default)]
struct Key {
    wishes: Vec<CsrAttribute>,
    /// Nothing where the template has no words for it.
    template: Option<KeyTemplate>,
}

impl Key {
    fn named(algorithm: ObjectIdentifier) -> Self {
        Self {
            wishes: vec![CsrAttribute::Oid(algorithm)],
            template: Some(KeyTemplate::Named(algorithm)),
        }
    }
}

/// Key and signature of the first kind that is allowed; nothing where any key is.
fn key(enforcement: &CryptoEnforcement) -> Key {
    if !enforcement.enabled {
        return Key::default();
    }
    if enforcement.allow_rsa_keys
        && let Some(key) = rsa(enforcement.allowed_rsa_key_sizes.as_deref())
    {
        return key;
    }
    if enforcement.allow_ecdsa_keys
        && let Some(key) = ecdsa(enforcement.allowed_ecdsa_key_sizes.as_deref())
    {
        return key;
    }
    if enforcement.allow_ed25519_keys.is_allowed() {
        return Key::named(ED25519);
    }
    if enforcement.allow_mldsa_keys.is_allowed() {
        return Key::named(ML_DSA_65);
    }
    Key::default()
}

fn rsa(sizes: Option<&[u32]>) -> Option<Key> {
    let signature = CsrAttribute::Oid(SHA256_WITH_RSA);
    let Some(sizes) = sizes else {
        return Some(Key {
            wishes: vec![CsrAttribute::Oid(oids::RSA_ENCRYPTION), signature],
            template: None,
        });
    };
    sizes.first().map(|bits| Key {
        wishes: vec![
            CsrAttribute::WithNumber {
                attribute_type: oids::RSA_ENCRYPTION,
                value: *bits,
            },
            signature,
        ],
        template: (*bits <= MAX_PLACEHOLDER_BITS).then_some(KeyTemplate::Rsa(*bits)),
    })
}

fn ecdsa(sizes: Option<&[u32]>) -> Option<Key> {
    let Some(sizes) = sizes else {
        return Some(Key {
            wishes: vec![CsrAttribute::Oid(oids::EC_PUBLIC_KEY)],
            template: None,
        });
    };
    let mut curves = sizes
        .iter()
        .filter_map(|bits| Curve::ALL.into_iter().find(|curve| curve.bits() == *bits));
    curves.next().map(|curve| Key {
        wishes: vec![
            CsrAttribute::WithOid {
                attribute_type: oids::EC_PUBLIC_KEY,
                value: curve.oid(),
            },
            CsrAttribute::Oid(signature_with(curve)),
        ],
        template: Some(KeyTemplate::Elliptic(curve.oid())),
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
    use lamassu_core::dms::settings::ChannelBindingMode as Binding;

    use super::for_profile;

    fn der(enforcement: CryptoEnforcement, honor_extensions: bool, binding: Binding) -> String {
        let profile = IssuanceProfile {
            crypto_enforcement: enforcement,
            honor_extensions,
            ..IssuanceProfile::default()
        };
        let der = for_profile(&profile, binding);
        // What libest reads.
        assert!(der.len() <= 1024, "{}", der.len());
        hex::encode(der)
    }

    const TEMPLATE: &str = "060b2a864886f70d010910023d";

    #[test]
    fn nothing_in_particular_is_an_empty_sequence() {
        let nothing = der(CryptoEnforcement::default(), false, Binding::IfPossible);
        assert_eq!(nothing, "3000");
    }

    #[test]
    fn the_first_allowed_key_and_its_signature_are_named() {
        let ecdsa = CryptoEnforcement {
            enabled: true,
            allow_ecdsa_keys: true,
            allowed_ecdsa_key_sizes: Some(vec![384, 256]),
            ..CryptoEnforcement::default()
        };
        // id-ecPublicKey with secp384r1, ecdsa-with-SHA384, extensionRequest, then the template
        let expected =
            "301206072a8648ce3d0201310706052b8104002206082a8648ce3d04030306092a864886f70d01090e30";
        let written = der(ecdsa, true, Binding::IfPossible);
        assert_eq!(written.find(expected), Some(4), "{written}");
        assert!(written.contains(TEMPLATE), "{written}");
        assert!(
            written.contains("a012301006072a8648ce3d020106052b81040022"),
            "{written}"
        );
        let rsa = |sizes| CryptoEnforcement {
            enabled: true,
            allow_rsa_keys: true,
            allowed_rsa_key_sizes: sizes,
            ..CryptoEnforcement::default()
        };
        // rsaEncryption with 3072, sha256WithRSAEncryption
        let expected = "301106092a864886f70d010101310402020c0006092a864886f70d01010b";
        let written = der(rsa(Some(vec![3072])), false, Binding::Off);
        assert!(
            written.contains(expected) && written.contains(TEMPLATE),
            "{written}"
        );
        for sizes in [None, Some(vec![8192])] {
            let written = der(rsa(sizes), false, Binding::Off);
            assert!(!written.contains(TEMPLATE), "{written}");
        }
        der(rsa(Some(vec![4096])), true, Binding::Required);
    }

    #[test]
    fn a_challenge_password_is_asked_for_where_it_is_required() {
        let written = der(CryptoEnforcement::default(), false, Binding::Required);
        assert!(
            written.starts_with("303d06092a864886f70d010907"),
            "{written}"
        );
        assert!(written.contains(TEMPLATE), "{written}");
    }
}
