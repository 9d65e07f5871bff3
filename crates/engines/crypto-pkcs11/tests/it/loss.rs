//! A token that goes away: its server is stopped, or killed, and comes back.

use std::time::{Duration, Instant};

use lamassu_core::crypto_engine::{CryptoEngine, EngineError, Signer};
use lamassu_core::duration::WireDuration;
use lamassu_crypto::{Curve, KeySpec, Message};
use lamassu_crypto_pkcs11::{ConnectError, Pkcs11Config, Pkcs11Engine, Pkcs11Error};
use lamassu_testing::conformance::handle;
use lamassu_testing::{SoftHsm, TokenServer};

use crate::{config, connect};

/// Through a server. Its client hangs when several sessions are used at once.
fn over_a_server() -> Pkcs11Config {
    Pkcs11Config {
        module_path: TokenServer::module().unwrap(),
        sessions: 1,
        call_timeout: WireDuration::from_secs(2),
        ..config()
    }
}

async fn signs(signer: &dyn Signer) -> Result<(), EngineError> {
    let scheme = signer.public_key().default_scheme();
    let message = Message::Raw(b"to be signed");
    let signature = signer.sign(scheme, message).await?;
    let verified = signer.public_key().verify(scheme, message, &signature);
    assert_eq!(verified, Ok(()));
    Ok(())
}

/// Signs until it works, for the longest time that it may take.
async fn signs_again(signer: &dyn Signer) {
    let begun = Instant::now();
    while let Err(error) = signs(signer).await {
        assert!(matches!(error, EngineError::Unavailable(_)), "{error:?}");
        assert!(begun.elapsed() < Duration::from_secs(30), "{error:?}");
        tokio::task::yield_now().await;
    }
}

/// The cause of an engine that is unavailable.
fn cause(outcome: Result<(), EngineError>) -> Pkcs11Error {
    match outcome {
        Err(EngineError::Unavailable(cause)) => *cause.downcast().unwrap(),
        other => panic!("{other:?}"),
    }
}

async fn engine_with_a_key() -> Pkcs11Engine {
    let engine = connect(over_a_server()).unwrap();
    let spec = KeySpec::Ec(Curve::P256);
    engine.generate(&handle("kept"), spec).await.unwrap();
    engine
}

#[test]
fn a_killed_server_is_found_again() {
    SoftHsm::with_token("loss::a_killed_server_is_found_again", async |hsm| {
        let mut server = TokenServer::start(&hsm, SoftHsm::TOKEN).unwrap();
        let engine = engine_with_a_key().await;
        let signer = engine.signer(&handle("kept")).await.unwrap();
        signs(signer.as_ref()).await.unwrap();
        for _ in 0..2 {
            server.kill().unwrap();
            for _ in 0..5 {
                cause(signs(signer.as_ref()).await);
            }
            cause(engine.health().await);
            // Nothing of it may be taken for a token without keys.
            cause(engine.delete(&handle("kept")).await);
            cause(engine.list(None, 10).await.map(drop));
            server.resume().unwrap();
            signs_again(signer.as_ref()).await;
            engine.health().await.unwrap();
            assert_eq!(engine.list(None, 10).await.unwrap(), [handle("kept")]);
        }
    });
}

#[test]
fn a_server_that_stands_still_costs_no_caller_more_than_the_deadline() {
    SoftHsm::with_token(
        "loss::a_server_that_stands_still_costs_no_caller_more_than_the_deadline",
        async |hsm| {
            let server = TokenServer::start(&hsm, SoftHsm::TOKEN).unwrap();
            let engine = engine_with_a_key().await;
            let signer = engine.signer(&handle("kept")).await.unwrap();
            server.signal("STOP").unwrap();
            let begun = Instant::now();
            let all = (0..1100).map(|_| signs(signer.as_ref()));
            let outcomes = futures_util::future::join_all(all).await;
            assert!(
                begun.elapsed() < Duration::from_secs(10),
                "{:?}",
                begun.elapsed()
            );
            let causes: Vec<_> = outcomes.into_iter().map(cause).collect();
            let is_late = |cause: &&Pkcs11Error| matches!(cause, Pkcs11Error::Timeout);
            let n_late = causes.iter().filter(is_late).count();
            let is_too_much = |cause: &&Pkcs11Error| matches!(cause, Pkcs11Error::Overloaded);
            let n_too_much = causes.iter().filter(is_too_much).count();
            assert_eq!(n_late + n_too_much, causes.len(), "{causes:?}");
            assert!(n_late > 1000 && n_too_much > 0, "{n_late}, {n_too_much}");
            server.signal("CONT").unwrap();
            signs_again(signer.as_ref()).await;
        },
    );
}

#[test]
fn a_key_that_is_still_being_made_is_not_taken_for_deleted() {
    SoftHsm::with_token(
        "loss::a_key_that_is_still_being_made_is_not_taken_for_deleted",
        async |hsm| {
            let server = TokenServer::start(&hsm, SoftHsm::TOKEN).unwrap();
            let engine = engine_with_a_key().await;
            server.signal("STOP").unwrap();
            let spec = KeySpec::Ec(Curve::P256);
            let made = engine.generate(&handle("late"), spec).await.map(drop);
            assert!(matches!(cause(made), Pkcs11Error::Timeout));
            let deleted = cause(engine.delete(&handle("late")).await);
            assert!(matches!(deleted, Pkcs11Error::BeingMade), "{deleted:?}");
            server.signal("CONT").unwrap();
            // Once the token has finished, it is deleted as any other.
            let begun = Instant::now();
            while engine.delete(&handle("late")).await.is_err() {
                assert!(begun.elapsed() < Duration::from_secs(30));
                tokio::task::yield_now().await;
            }
            assert_eq!(engine.list(None, 10).await.unwrap(), [handle("kept")]);
        },
    );
}

#[test]
fn an_engine_whose_token_is_away_does_not_hang_the_start() {
    SoftHsm::with_token(
        "loss::an_engine_whose_token_is_away_does_not_hang_the_start",
        async |hsm| {
            let begun = Instant::now();
            let nobody = connect(over_a_server()).unwrap_err();
            assert!(matches!(nobody, ConnectError::Token(_)), "{nobody:?}");
            let server = TokenServer::start(&hsm, SoftHsm::TOKEN).unwrap();
            server.signal("STOP").unwrap();
            let silent = connect(over_a_server()).unwrap_err();
            assert!(
                matches!(silent, ConnectError::Token(Pkcs11Error::Timeout)),
                "{silent:?}"
            );
            assert!(begun.elapsed() < Duration::from_secs(20));
            server.signal("CONT").unwrap();
        },
    );
}
