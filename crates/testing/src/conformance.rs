//! What every crypto engine must do, whatever is behind it: one suite, which the tests of each engine
//! call with an engine of theirs that has no keys.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests, which end so"
)]

use std::sync::Arc;

use futures_util::future::join_all;
use lamassu_core::crypto_engine::{
    CryptoEngine, EngineError, KeyHandle, KeyLocation, Signer, Unsupported,
};
use lamassu_crypto::{
    Curve, HashAlgorithm, KeySpec, Message, PrivateKey, PublicKey, RsaPssParams, SignError,
    SignatureScheme,
};

/// Making a key of this size takes too long for a test.
const RSA_8192: &[u8] = include_bytes!("../testdata/rsa-8192.pem");

/// What is signed.
const TEXT: &[u8] = b"to be signed";

/// The kind for cases that are not about kinds.
const P256: KeySpec = KeySpec::Ec(Curve::P256);

/// Runs the whole suite. The engine is without keys again afterwards.
///
/// # Panics
///
/// When the engine does not conform.
pub async fn conforms(engine: &dyn CryptoEngine) {
    a_fresh_engine_has_no_keys(engine).await;
    it_works(engine).await;
    every_announced_kind_is_made_and_signs(engine).await;
    every_announced_kind_is_imported_and_signs_in_each_scheme(engine).await;
    what_makes_no_sense_is_refused_by_type(engine).await;
    what_is_not_announced_is_refused_by_type(engine).await;
    a_handle_is_used_once(engine).await;
    concurrent_generation_for_one_handle_has_one_winner(engine).await;
    signatures_at_the_same_time_are_of_their_own_keys(engine).await;
    an_export_is_the_same_key_or_refused(engine).await;
    listing_pages_in_order(engine).await;
    keys_that_are_not_there_are_named_if_any(engine).await;
    deleting_is_idempotent(engine).await;
    a_fresh_engine_has_no_keys(engine).await;
}

/// A handle.
///
/// # Panics
///
/// When no key can be called so.
pub fn handle(text: &str) -> KeyHandle {
    KeyHandle::try_new(text).unwrap()
}

async fn a_fresh_engine_has_no_keys(engine: &dyn CryptoEngine) {
    assert_eq!(engine.list(None, 10).await.unwrap(), []);
    let missing = engine.signer(&handle("unknown")).await;
    assert!(matches!(missing, Err(EngineError::KeyNotFound)));
}

async fn it_works(engine: &dyn CryptoEngine) {
    engine.health().await.unwrap();
}

async fn every_announced_kind_is_made_and_signs(engine: &dyn CryptoEngine) {
    let key = handle("made");
    for spec in &engine.info().supported {
        if *spec == KeySpec::Rsa(8192) {
            continue;
        }
        let public = engine.generate(&key, *spec).await.unwrap();
        assert_eq!(public.spec(), *spec);
        let signer = engine.signer(&key).await.unwrap();
        assert_eq!(signer.public_key(), &public);
        signs(signer.as_ref(), public.default_scheme(), Message::Raw(TEXT)).await;
        engine.delete(&key).await.unwrap();
    }
}

async fn every_announced_kind_is_imported_and_signs_in_each_scheme(engine: &dyn CryptoEngine) {
    let key = handle("imported");
    for spec in &engine.info().supported {
        let private = match spec {
            KeySpec::Rsa(8192) => PrivateKey::from_pem(RSA_8192),
            other => PrivateKey::generate(*other),
        };
        let private = private.unwrap();
        let expected = private.public_key().clone();
        assert_eq!(engine.import(&key, private).await.unwrap(), expected);
        let signer = engine.signer(&key).await.unwrap();
        assert_eq!(signer.public_key(), &expected);
        for scheme in schemes_of(&expected) {
            signs(signer.as_ref(), scheme, Message::Raw(TEXT)).await;
            signs(signer.as_ref(), scheme, Message::Raw(b"")).await;
            if let Some(hash) = scheme.hash() {
                let digest = hash.digest(TEXT);
                signs(signer.as_ref(), scheme, Message::Digest(&digest)).await;
            }
        }
        engine.delete(&key).await.unwrap();
    }
}

/// Every scheme that a key of the platform signs in.
fn schemes_of(key: &PublicKey) -> Vec<SignatureScheme> {
    let hashes = [
        HashAlgorithm::Sha256,
        HashAlgorithm::Sha384,
        HashAlgorithm::Sha512,
    ];
    match key.spec() {
        KeySpec::Rsa(_) => hashes
            .into_iter()
            .flat_map(|hash| {
                [
                    SignatureScheme::RsaPkcs1(hash),
                    SignatureScheme::RsaPss(hash),
                ]
            })
            .collect(),
        KeySpec::Ec(_) => hashes.map(SignatureScheme::Ecdsa).into(),
        KeySpec::Ed25519 | KeySpec::MlDsa44 | KeySpec::MlDsa65 | KeySpec::MlDsa87 => {
            vec![key.default_scheme()]
        }
    }
}

async fn signs(signer: &dyn Signer, scheme: SignatureScheme, message: Message<'_>) {
    let signature = signer.sign(scheme, message).await.unwrap();
    let verified = signer.public_key().verify(scheme, message, &signature);
    assert_eq!(verified, Ok(()), "{scheme:?}, {signer:?}");
}

async fn what_makes_no_sense_is_refused_by_type(engine: &dyn CryptoEngine) {
    let key = handle("refusing");
    for spec in [KeySpec::Rsa(2048), P256, KeySpec::Ed25519] {
        if !engine.info().supports(spec) {
            continue;
        }
        engine.generate(&key, spec).await.unwrap();
        let signer = engine.signer(&key).await.unwrap();
        for (scheme, message, expected) in refusals(spec) {
            let refused = signer.sign(scheme, message).await;
            let Err(EngineError::Sign(error)) = refused else {
                panic!("{spec:?}, {scheme:?}: {refused:?}");
            };
            assert_eq!(error, expected, "{spec:?}, {scheme:?}");
        }
        engine.delete(&key).await.unwrap();
    }
}

fn refusals(spec: KeySpec) -> Vec<(SignatureScheme, Message<'static>, SignError)> {
    use HashAlgorithm::{Sha1, Sha256};
    let raw = Message::Raw(TEXT);
    let short = Message::Digest(&[7; 31]);
    let length = SignError::DigestLength {
        expected: 32,
        actual: 31,
    };
    let (pkcs1, ecdsa) = (SignatureScheme::RsaPkcs1, SignatureScheme::Ecdsa);
    match spec {
        KeySpec::Rsa(_) => vec![
            (ecdsa(Sha256), raw, SignError::WrongKey),
            (SignatureScheme::Ed25519, raw, SignError::WrongKey),
            (pkcs1(Sha1), raw, SignError::VerifyOnly),
            (
                SignatureScheme::RsaPssWith(RsaPssParams::matching(Sha256)),
                raw,
                SignError::VerifyOnly,
            ),
            (pkcs1(Sha256), short, length),
            (SignatureScheme::RsaPss(Sha256), short, length),
        ],
        KeySpec::Ec(_) => vec![
            (pkcs1(Sha256), raw, SignError::WrongKey),
            (ecdsa(Sha1), raw, SignError::VerifyOnly),
            (ecdsa(Sha256), short, length),
        ],
        KeySpec::Ed25519 | KeySpec::MlDsa44 | KeySpec::MlDsa65 | KeySpec::MlDsa87 => vec![
            (ecdsa(Sha256), raw, SignError::WrongKey),
            (SignatureScheme::Ed25519, short, SignError::RawOnly),
        ],
    }
}

async fn what_is_not_announced_is_refused_by_type(engine: &dyn CryptoEngine) {
    let all = KeySpec::GENERATED.into_iter().chain([KeySpec::Rsa(512)]);
    for spec in all.filter(|spec| !engine.info().supports(*spec)) {
        let refused = engine.generate(&handle("unknown-kind"), spec).await;
        let Err(EngineError::Unsupported(Unsupported::KeySpec(named))) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(named, spec);
        if let Ok(foreign) = PrivateKey::generate(spec) {
            let refused = engine.import(&handle("unknown-kind"), foreign).await;
            let Err(EngineError::Unsupported(Unsupported::KeySpec(named))) = refused else {
                panic!("{refused:?}");
            };
            assert_eq!(named, spec);
        }
    }
}

async fn a_handle_is_used_once(engine: &dyn CryptoEngine) {
    let key = handle("once");
    let first = engine.generate(&key, P256).await.unwrap();
    let again = engine.generate(&key, KeySpec::Ec(Curve::P384)).await;
    assert!(matches!(again, Err(EngineError::KeyExists)), "{again:?}");
    let foreign = PrivateKey::generate(P256).unwrap();
    let imported = engine.import(&key, foreign).await;
    assert!(matches!(imported, Err(EngineError::KeyExists)));
    let signer = engine.signer(&key).await.unwrap();
    assert_eq!(signer.public_key(), &first);
    engine.delete(&key).await.unwrap();
}

async fn concurrent_generation_for_one_handle_has_one_winner(engine: &dyn CryptoEngine) {
    let key = handle("raced");
    let attempts = (0..8).map(|_| engine.generate(&key, P256));
    let results = join_all(attempts).await;
    let winners: Vec<_> = results.iter().flatten().collect();
    assert_eq!(winners.len(), 1, "{results:?}");
    let signer = engine.signer(&key).await.unwrap();
    assert_eq!(signer.public_key(), winners[0]);
    engine.delete(&key).await.unwrap();
}

async fn signatures_at_the_same_time_are_of_their_own_keys(engine: &dyn CryptoEngine) {
    let keys = ["one", "two", "three"].map(handle);
    for key in &keys {
        engine.generate(key, P256).await.unwrap();
    }
    let all = (0..60).map(|n| {
        let key = &keys[n % keys.len()];
        async move {
            let signer = engine.signer(key).await.unwrap();
            let text = n.to_string();
            let scheme = signer.public_key().default_scheme();
            signs(signer.as_ref(), scheme, Message::Raw(text.as_bytes())).await;
        }
    });
    join_all(all).await;
    for key in &keys {
        engine.delete(key).await.unwrap();
    }
}

async fn an_export_is_the_same_key_or_refused(engine: &dyn CryptoEngine) {
    let key = handle("exported");
    let public = engine.generate(&key, P256).await.unwrap();
    match engine.export(&key).await {
        Ok(private) => assert_eq!(private.public_key(), &public),
        Err(refused) => assert!(
            matches!(refused, EngineError::Unsupported(Unsupported::Export)),
            "{refused:?}"
        ),
    }
    engine.delete(&key).await.unwrap();
}

async fn listing_pages_in_order(engine: &dyn CryptoEngine) {
    let handles: Vec<_> = ["a", "b-1", "b_2", "c", "d"].map(handle).into();
    for key in handles.iter().rev() {
        engine.generate(key, P256).await.unwrap();
    }
    let first = engine.list(None, 2).await.unwrap();
    assert_eq!(first, &handles[..2]);
    let rest = engine.list(first.last(), 100).await.unwrap();
    assert_eq!(rest, &handles[2..]);
    for key in &handles {
        engine.delete(key).await.unwrap();
    }
}

async fn keys_that_are_not_there_are_named_if_any(engine: &dyn CryptoEngine) {
    let (here, gone) = (handle("here"), handle("gone"));
    engine.generate(&here, P256).await.unwrap();
    let missing = engine.missing(vec![here.clone(), gone.clone()]).await;
    // An engine that cannot tell names none.
    let missing = missing.unwrap();
    assert!(missing.is_empty() || missing == [gone], "{missing:?}");
    engine.delete(&here).await.unwrap();
}

async fn deleting_is_idempotent(engine: &dyn CryptoEngine) {
    let key = handle("deleted");
    engine.generate(&key, P256).await.unwrap();
    let held: Arc<_> = engine.signer(&key).await.unwrap();
    engine.delete(&key).await.unwrap();
    engine.delete(&key).await.unwrap();
    let gone = engine.signer(&key).await;
    assert!(matches!(gone, Err(EngineError::KeyNotFound)), "{gone:?}");
    let scheme = held.public_key().default_scheme();
    match held.location() {
        // Who is signing at that moment may finish.
        KeyLocation::Memory => signs(held.as_ref(), scheme, Message::Raw(TEXT)).await,
        KeyLocation::Elsewhere => {
            let gone = held.sign(scheme, Message::Raw(TEXT)).await;
            assert!(matches!(gone, Err(EngineError::KeyNotFound)), "{gone:?}");
        }
    }
    // The handle is free, and whoever held the signer has not got the new key by that.
    let again = engine.generate(&key, P256).await.unwrap();
    assert_ne!(&again, held.public_key());
    if let Ok(signature) = held.sign(scheme, Message::Raw(TEXT)).await {
        let verified = held
            .public_key()
            .verify(scheme, Message::Raw(TEXT), &signature);
        assert_eq!(verified, Ok(()));
    }
    engine.delete(&key).await.unwrap();
}
