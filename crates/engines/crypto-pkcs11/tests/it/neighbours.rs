//! Two tokens behind one module, and one of them is away.

use std::time::{Duration, Instant};

use cryptoki::context::Pkcs11;
use cryptoki::session::Session;
use lamassu_core::crypto_engine::{CryptoEngine as _, EngineError};
use lamassu_crypto::{Curve, KeySpec, Message};
use lamassu_crypto_pkcs11::{Modules, Pkcs11Config, Pkcs11Engine};
use lamassu_testing::SoftHsm;
use lamassu_testing::conformance::handle;

use crate::config;

const SECOND: &str = "second";

/// How long one signs while the other is away.
const AWAY: Duration = Duration::from_secs(4);

/// The longest that a token which came back may not be found.
const FOUND: Duration = Duration::from_secs(30);

/// An engine over each token, with a key called `kept`.
async fn engines(hsm: &SoftHsm) -> [Pkcs11Engine; 2] {
    hsm.add_token(SECOND).unwrap();
    let modules = Modules::default();
    let engines = [SoftHsm::TOKEN, SECOND].map(|token| {
        let config = Pkcs11Config {
            token: token.to_owned(),
            ..config()
        };
        Pkcs11Engine::connect(config, &modules, &|_| None).unwrap()
    });
    for engine in &engines {
        let spec = KeySpec::Ec(Curve::P256);
        engine.generate(&handle("kept"), spec).await.unwrap();
    }
    engines
}

async fn signs(engine: &Pkcs11Engine) -> Result<(), EngineError> {
    let signer = engine.signer(&handle("kept")).await?;
    let scheme = signer.public_key().default_scheme();
    let message = Message::Raw(b"to be signed");
    let signature = signer.sign(scheme, message).await?;
    let verified = signer.public_key().verify(scheme, message, &signature);
    assert_eq!(verified, Ok(()));
    Ok(())
}

fn is_away(outcome: Result<(), EngineError>) -> bool {
    match outcome {
        Ok(()) => false,
        Err(EngineError::Unavailable(_)) => true,
        Err(other) => panic!("{other:?}"),
    }
}

/// A session of nobody's with the token: it ends when the module is finalized.
fn session_beside(label: &str) -> Session {
    let library = Pkcs11::new(SoftHsm::module()).unwrap();
    let slots = library.get_slots_with_initialized_token().unwrap();
    let is_it = |slot: &_| library.get_token_info(*slot).unwrap().label() == label;
    let slot = slots.into_iter().find(is_it).unwrap();
    library.open_ro_session(slot).unwrap()
}

#[test]
fn a_token_that_is_away_disturbs_no_other_behind_its_module() {
    SoftHsm::with_token(
        "neighbours::a_token_that_is_away_disturbs_no_other_behind_its_module",
        async |hsm| {
            let [one, two] = engines(&hsm).await;
            let beside = session_beside(SoftHsm::TOKEN);
            hsm.take_away(SECOND).unwrap();
            let begun = Instant::now();
            let mut slowest = Duration::ZERO;
            while begun.elapsed() < AWAY {
                let begun = Instant::now();
                signs(&one).await.unwrap();
                slowest = slowest.max(begun.elapsed());
                assert!(is_away(signs(&two).await));
            }
            // Nothing of it is taken for a token without keys.
            assert!(is_away(two.health().await));
            assert!(is_away(two.list(None, 10).await.map(drop)));
            let kept = vec![handle("kept")];
            assert!(is_away(two.missing(kept).await.map(drop)));
            assert!(is_away(two.delete(&handle("kept")).await));
            assert!(slowest < Duration::from_secs(1), "{slowest:?}");
            // The module is as it was: it was not initialised again.
            beside.get_session_info().unwrap();

            // It is found again once the other has nothing to do.
            hsm.bring_back(SECOND).unwrap();
            let begun = Instant::now();
            while is_away(signs(&two).await) {
                assert!(begun.elapsed() < FOUND);
                tokio::task::yield_now().await;
            }
            signs(&one).await.unwrap();
        },
    );
}

#[test]
fn tokens_that_were_away_together_are_found_under_load() {
    SoftHsm::with_token(
        "neighbours::tokens_that_were_away_together_are_found_under_load",
        async |hsm| {
            let engines = engines(&hsm).await;
            for token in [SoftHsm::TOKEN, SECOND] {
                hsm.take_away(token).unwrap();
            }
            for engine in &engines {
                assert!(is_away(signs(engine).await));
            }
            for token in [SoftHsm::TOKEN, SECOND] {
                hsm.bring_back(token).unwrap();
            }
            let begun = Instant::now();
            loop {
                let [one, two] = engines.each_ref().map(signs);
                let (one, two) = tokio::join!(one, two);
                // Both are asked, whatever the first one says.
                let (one, two) = (is_away(one), is_away(two));
                if !one && !two {
                    break;
                }
                assert!(begun.elapsed() < FOUND);
            }
        },
    );
}
