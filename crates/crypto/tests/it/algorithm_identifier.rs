//! Signature schemes as AlgorithmIdentifier.

use der::{Decode as _, Encode as _};
use lamassu_crypto::{HashAlgorithm, ObjectIdentifier, RsaPssParams, SchemeError, SignatureScheme};
use proptest::prelude::{Strategy, any, prop_oneof, proptest};
use proptest::sample::select;
use spki::AlgorithmIdentifierOwned;

use crate::schemes;

const PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");

fn read(der: &[u8]) -> Result<SignatureScheme, SchemeError> {
    let identifier = AlgorithmIdentifierOwned::from_der(der).unwrap();
    let parameters = identifier.parameters.map(|any| any.to_der().unwrap());
    SignatureScheme::from_algorithm_identifier(identifier.oid, parameters.as_deref())
}

fn any_pss() -> impl Strategy<Value = SignatureScheme> {
    let hash = || select(HashAlgorithm::ALL.to_vec());
    (hash(), hash(), any::<u32>()).prop_map(|(hash, mgf_hash, salt_len)| {
        let params = RsaPssParams {
            hash,
            mgf_hash,
            salt_len,
        };
        if params == RsaPssParams::matching(hash) {
            SignatureScheme::RsaPss(hash)
        } else {
            SignatureScheme::RsaPssWith(params)
        }
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(scheme in prop_oneof![select(schemes()), any_pss()]) {
        let der = scheme.to_algorithm_identifier_der().unwrap();
        proptest::prop_assert_eq!(read(&der), Ok(scheme));
    }

    #[test]
    fn no_parameters_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        for scheme in schemes() {
            let _read = SignatureScheme::from_algorithm_identifier(scheme.oid(), Some(&bytes));
        }
    }
}

#[test]
fn the_bytes_are_those_of_the_rfcs() {
    let cases = [
        (
            SignatureScheme::RsaPkcs1(HashAlgorithm::Sha256),
            "300d06092a864886f70d01010b0500",
        ),
        (
            SignatureScheme::Ecdsa(HashAlgorithm::Sha384),
            "300a06082a8648ce3d040303",
        ),
        (SignatureScheme::Ed25519, "300506032b6570"),
        (SignatureScheme::MlDsa65, "300b0609608648016503040312"),
        // RFC 4055 §6, rSASSA-PSS-SHA256-Identifier with the salt of its hash.
        (
            SignatureScheme::RsaPss(HashAlgorithm::Sha256),
            "304106092a864886f70d01010a3034a00f300d06096086480165030402010500\
             a11c301a06092a864886f70d010108300d06096086480165030402010500a203020120",
        ),
        (
            SignatureScheme::RsaPss(HashAlgorithm::Sha1),
            "300d06092a864886f70d01010a3000",
        ),
    ];
    for (scheme, expected) in cases {
        let der = scheme.to_algorithm_identifier_der().unwrap();
        assert_eq!(hex::encode(der), expected, "{scheme:?}");
    }
}

#[test]
fn null_and_absent_parameters_are_the_same() {
    for scheme in schemes() {
        if scheme.oid() == PSS {
            continue;
        }
        for parameters in [None, Some(&b"\x05\x00"[..])] {
            let read = SignatureScheme::from_algorithm_identifier(scheme.oid(), parameters);
            assert_eq!(read, Ok(scheme));
        }
        let other = SignatureScheme::from_algorithm_identifier(scheme.oid(), Some(b"\x30\x00"));
        assert_eq!(other, Err(SchemeError::Parameters(scheme.oid())));
    }
}

#[test]
fn absent_pss_parameters_are_the_defaults() {
    for parameters in [None, Some(&b"\x30\x00"[..])] {
        let read = SignatureScheme::from_algorithm_identifier(PSS, parameters);
        assert_eq!(read, Ok(SignatureScheme::RsaPss(HashAlgorithm::Sha1)));
    }
}

#[test]
fn other_algorithms_and_trailers_are_refused() {
    let md5_with_rsa = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.4");
    let read = SignatureScheme::from_algorithm_identifier(md5_with_rsa, None);
    assert_eq!(read, Err(SchemeError::Unknown(md5_with_rsa)));
    // [3] INTEGER 2
    let trailer = b"\x30\x05\xa3\x03\x02\x01\x02";
    let read = SignatureScheme::from_algorithm_identifier(PSS, Some(trailer));
    assert_eq!(read, Err(SchemeError::Parameters(PSS)));
}
