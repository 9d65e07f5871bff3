//! The bounds on slow keys.

use futures_util::FutureExt as _;
use lamassu_core::crypto_engine::EngineError;
use lamassu_crypto::KeySpec;
use lamassu_crypto_software::{KeyGenerator, SlowKeys};

#[tokio::test]
async fn more_slow_keys_than_places_are_refused_and_fast_ones_are_not() {
    let generator = KeyGenerator::new(1);
    let mut asked: Vec<_> = (0..SlowKeys::PLACES)
        .map(|_| Box::pin(generator.generate(KeySpec::Rsa(2048))))
        .collect();
    for request in &mut asked {
        assert!(request.now_or_never().is_none(), "made within one poll");
    }
    let refused = generator.generate(KeySpec::Rsa(2048)).await;
    assert!(matches!(refused, Err(EngineError::Busy)), "{refused:?}");
    generator.generate(KeySpec::Ed25519).await.unwrap();

    // Who goes away frees the place.
    asked.pop();
    let again = Box::pin(generator.generate(KeySpec::Rsa(2048))).now_or_never();
    assert!(again.is_none(), "{again:?}");
}
