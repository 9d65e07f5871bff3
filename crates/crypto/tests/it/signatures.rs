//! Every kind of key with every scheme.

use lamassu_crypto::{
    HashAlgorithm, KeySpec, Message, PrivateKey, RsaPssParams, SignError, SignatureScheme,
    VerifyError,
};

use crate::{quick_specs, schemes};

/// What signing with `scheme` must say for a key of `spec`.
fn expected(spec: KeySpec, scheme: SignatureScheme) -> Result<(), SignError> {
    let belongs = match scheme {
        SignatureScheme::RsaPkcs1(_)
        | SignatureScheme::RsaPss(_)
        | SignatureScheme::RsaPssWith(_) => {
            matches!(spec, KeySpec::Rsa(_))
        }
        SignatureScheme::Ecdsa(_) => matches!(spec, KeySpec::Ec(_)),
        SignatureScheme::Ed25519 => spec == KeySpec::Ed25519,
        SignatureScheme::MlDsa44 => spec == KeySpec::MlDsa44,
        SignatureScheme::MlDsa65 => spec == KeySpec::MlDsa65,
        SignatureScheme::MlDsa87 => spec == KeySpec::MlDsa87,
    };
    let is_rsa = matches!(spec, KeySpec::Rsa(_));
    match scheme.hash() {
        _ if !belongs => Err(SignError::WrongKey),
        Some(HashAlgorithm::Sha1) => Err(SignError::VerifyOnly),
        Some(HashAlgorithm::Sha224) if is_rsa => Err(SignError::VerifyOnly),
        _ => Ok(()),
    }
}

#[test]
fn what_is_signed_verifies_and_what_is_changed_does_not() {
    for spec in quick_specs() {
        let key = PrivateKey::generate(spec).unwrap();
        assert_eq!(key.public_key().spec(), spec);
        for scheme in schemes() {
            let signed = key.sign(scheme, Message::Raw(b"message"));
            let expected = expected(spec, scheme);
            assert_eq!(signed.as_ref().map(|_| ()), expected.as_ref().copied());
            if let Ok(signature) = signed {
                check(&key, scheme, &signature);
            }
        }
    }
}

fn check(key: &PrivateKey, scheme: SignatureScheme, signature: &[u8]) {
    let public = key.public_key();
    let verify = |message| public.verify(scheme, message, signature);
    assert_eq!(verify(Message::Raw(b"message")), Ok(()), "{scheme:?}");
    assert_eq!(verify(Message::Raw(b"massage")), Err(VerifyError::Mismatch));
    let mut changed = signature.to_vec();
    *changed.last_mut().unwrap() ^= 1;
    let refused = public.verify(scheme, Message::Raw(b"message"), &changed);
    assert_eq!(refused, Err(VerifyError::Mismatch));

    let Some(hash) = scheme.hash() else {
        assert_eq!(verify(Message::Digest(&[0; 32])), Err(VerifyError::RawOnly));
        let signed = key.sign(scheme, Message::Digest(&[0; 32]));
        assert_eq!(signed, Err(SignError::RawOnly));
        return;
    };
    let digest = hash.digest(b"message");
    assert_eq!(verify(Message::Digest(&digest)), Ok(()));
    let over_digest = key.sign(scheme, Message::Digest(&digest)).unwrap();
    assert_eq!(
        public.verify(scheme, Message::Raw(b"message"), &over_digest),
        Ok(())
    );

    let (expected, actual) = (hash.output_len(), 16);
    assert_eq!(
        verify(Message::Digest(&[0; 16])),
        Err(VerifyError::DigestLength { expected, actual })
    );
    assert_eq!(
        key.sign(scheme, Message::Digest(&[0; 16])),
        Err(SignError::DigestLength { expected, actual })
    );
}

#[test]
fn schemes_of_other_keys_are_no_mismatch() {
    for spec in quick_specs() {
        let key = PrivateKey::generate(spec).unwrap();
        for scheme in schemes() {
            if expected(spec, scheme) == Err(SignError::WrongKey) {
                let answer = key.public_key().verify(scheme, Message::Raw(b""), b"");
                assert_eq!(answer, Err(VerifyError::WrongKey), "{spec:?} {scheme:?}");
            }
        }
    }
}

#[test]
fn empty_messages_are_signed() {
    for spec in quick_specs() {
        let key = PrivateKey::generate(spec).unwrap();
        let scheme = key.default_scheme();
        let signature = key.sign(scheme, Message::Raw(b"")).unwrap();
        let verified = key
            .public_key()
            .verify(scheme, Message::Raw(b""), &signature);
        assert_eq!(verified, Ok(()));
    }
}

#[test]
fn pss_with_parameters_of_its_own_is_not_signed_with() {
    let key = PrivateKey::generate(KeySpec::Rsa(2048)).unwrap();
    let params = RsaPssParams {
        salt_len: 20,
        ..RsaPssParams::matching(HashAlgorithm::Sha256)
    };
    let signed = key.sign(
        SignatureScheme::RsaPssWith(params),
        Message::Raw(b"message"),
    );
    assert_eq!(signed, Err(SignError::VerifyOnly));
    // Written-out usual parameters are the usual scheme.
    let usual = SignatureScheme::RsaPssWith(RsaPssParams::matching(HashAlgorithm::Sha256));
    let signature = key
        .sign(
            SignatureScheme::RsaPss(HashAlgorithm::Sha256),
            Message::Raw(b"message"),
        )
        .unwrap();
    let verified = key
        .public_key()
        .verify(usual, Message::Raw(b"message"), &signature);
    assert_eq!(verified, Ok(()));
}

#[test]
fn sizes_that_are_not_offered_are_not_generated() {
    for bits in [0, 512, 1024, 2047, 7680, 16_384] {
        let refused = PrivateKey::generate(KeySpec::Rsa(bits)).unwrap_err();
        assert_eq!(
            refused,
            lamassu_crypto::KeyError::NotGenerated(KeySpec::Rsa(bits))
        );
    }
}

#[test]
fn digests_are_those_of_fips_180() {
    let cases = [
        (
            HashAlgorithm::Sha1,
            "a9993e364706816aba3e25717850c26c9cd0d89d",
        ),
        (
            HashAlgorithm::Sha224,
            "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7",
        ),
        (
            HashAlgorithm::Sha256,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ),
    ];
    for (hash, expected) in cases {
        assert_eq!(hex::encode(hash.digest(b"abc")), expected);
        assert_eq!(hash.output_len() * 2, expected.len());
    }
}
