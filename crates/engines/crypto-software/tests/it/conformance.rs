//! What every crypto engine must do, whatever is behind it. The tests of each engine include
//! this file and call [`all`] on an engine without keys.

use std::sync::Arc;

use lamassu_core::crypto_engine::{CryptoEngine, EngineError, KeyHandle, Unsupported};
use lamassu_crypto::{Curve, KeySpec, Message, PrivateKey};

/// Runs the whole suite. The engine is without keys again afterwards.
pub(crate) async fn all(engine: &dyn CryptoEngine) {
    a_fresh_engine_has_no_keys(engine).await;
    every_supported_kind_signs(engine).await;
    imported_keys_sign(engine).await;
    a_handle_is_used_once(engine).await;
    what_is_not_supported_is_refused_by_type(engine).await;
    concurrent_generation_for_one_handle_has_one_winner(engine).await;
    listing_pages_in_order(engine).await;
    deleting_is_idempotent(engine).await;
    a_fresh_engine_has_no_keys(engine).await;
}

pub(crate) fn handle(text: &str) -> KeyHandle {
    KeyHandle::try_new(text).unwrap()
}

async fn a_fresh_engine_has_no_keys(engine: &dyn CryptoEngine) {
    assert_eq!(engine.list(None, 10).await.unwrap(), []);
    let missing = engine.signer(&handle("unknown")).await;
    assert!(matches!(missing, Err(EngineError::KeyNotFound)));
}

async fn every_supported_kind_signs(engine: &dyn CryptoEngine) {
    // RSA above 2048 bits is left out for time only.
    let quick = |spec: &&KeySpec| !matches!(spec, KeySpec::Rsa(bits) if *bits > 2048);
    let key = handle("kind");
    for spec in engine.info().supported.iter().filter(quick) {
        let public = engine.generate(&key, *spec).await.unwrap();
        assert_eq!(public.spec(), *spec);
        let signer = engine.signer(&key).await.unwrap();
        assert_eq!(signer.public_key(), &public);
        let scheme = public.default_scheme();
        let signature = signer
            .sign(scheme, Message::Raw(b"to be signed"))
            .await
            .unwrap();
        public
            .verify(scheme, Message::Raw(b"to be signed"), &signature)
            .unwrap();
        engine.delete(&key).await.unwrap();
    }
}

async fn imported_keys_sign(engine: &dyn CryptoEngine) {
    let key = handle("imported");
    let private = PrivateKey::generate(KeySpec::Ec(Curve::P521)).unwrap();
    let expected = private.public_key().clone();
    let public = engine.import(&key, private).await.unwrap();
    assert_eq!(public, expected);
    let signer = engine.signer(&key).await.unwrap();
    let scheme = public.default_scheme();
    let digest = scheme.hash().unwrap().digest(b"to be signed");
    let signature = signer.sign(scheme, Message::Digest(&digest)).await.unwrap();
    public
        .verify(scheme, Message::Raw(b"to be signed"), &signature)
        .unwrap();
    engine.delete(&key).await.unwrap();
}

async fn a_handle_is_used_once(engine: &dyn CryptoEngine) {
    let key = handle("once");
    let first = engine
        .generate(&key, KeySpec::Ec(Curve::P256))
        .await
        .unwrap();
    let again = engine.generate(&key, KeySpec::Ec(Curve::P384)).await;
    assert!(matches!(again, Err(EngineError::KeyExists)));
    let foreign = PrivateKey::generate(KeySpec::Ec(Curve::P256)).unwrap();
    let imported = engine.import(&key, foreign).await;
    assert!(matches!(imported, Err(EngineError::KeyExists)));
    let signer = engine.signer(&key).await.unwrap();
    assert_eq!(signer.public_key(), &first);
    engine.delete(&key).await.unwrap();
}

async fn what_is_not_supported_is_refused_by_type(engine: &dyn CryptoEngine) {
    let spec = KeySpec::Rsa(512);
    let refused = engine.generate(&handle("weak"), spec).await;
    let Err(EngineError::Unsupported(Unsupported::KeySpec(named))) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(named, spec);
}

async fn concurrent_generation_for_one_handle_has_one_winner(engine: &dyn CryptoEngine) {
    let key = handle("raced");
    let attempts = (0..8).map(|_| engine.generate(&key, KeySpec::Ec(Curve::P256)));
    let results = futures_util::future::join_all(attempts).await;
    let winners: Vec<_> = results.iter().flatten().collect();
    assert_eq!(winners.len(), 1);
    let signer = engine.signer(&key).await.unwrap();
    assert_eq!(signer.public_key(), winners[0]);
    engine.delete(&key).await.unwrap();
}

async fn listing_pages_in_order(engine: &dyn CryptoEngine) {
    let handles: Vec<_> = ["a", "b-1", "b_2", "c", "d"].map(handle).into();
    for key in handles.iter().rev() {
        engine.generate(key, KeySpec::Ed25519).await.unwrap();
    }
    let first = engine.list(None, 2).await.unwrap();
    assert_eq!(first, &handles[..2]);
    let rest = engine.list(first.last(), 100).await.unwrap();
    assert_eq!(rest, &handles[2..]);
    for key in &handles {
        engine.delete(key).await.unwrap();
    }
}

async fn deleting_is_idempotent(engine: &dyn CryptoEngine) {
    let key = handle("deleted");
    engine
        .generate(&key, KeySpec::Ec(Curve::P224))
        .await
        .unwrap();
    let held: Arc<_> = engine.signer(&key).await.unwrap();
    engine.delete(&key).await.unwrap();
    engine.delete(&key).await.unwrap();
    let gone = engine.signer(&key).await;
    assert!(matches!(gone, Err(EngineError::KeyNotFound)));
    // Who is signing at that moment may finish.
    let scheme = held.public_key().default_scheme();
    held.sign(scheme, Message::Raw(b"last")).await.unwrap();
}
