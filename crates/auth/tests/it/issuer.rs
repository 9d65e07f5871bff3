//! The local issuer: its tokens, and how its keys come and go.

use std::sync::Arc;

use lamassu_auth::{IssuerError, KeyRotation, LocalIssuer, MAX_TOKEN_TTL};
use lamassu_core::clock::{ManualClock, SharedClock};
use lamassu_core::permission::Role;
use lamassu_db::{Job, NextRun, system_caller};
use secrecy::ExposeSecret;
use serde_json::Value;
use time::Duration;

use crate::support::{Forge, Installation, NOW, mint, open_db};

async fn published(installation: &Installation) -> Vec<Value> {
    let answer = installation.get("/api/.well-known/jwks.json", &[]).await;
    answer.json()["keys"].as_array().unwrap().clone()
}

fn key_id(token: &str) -> String {
    jsonwebtoken::decode_header(token).unwrap().kid.unwrap()
}

#[tokio::test]
async fn a_minted_token_is_accepted_until_it_expires() {
    let installation = Installation::trusting(&Forge::new()).await;
    let token = installation.mint(Role::Admin).await;
    assert_eq!(installation.list(&token).await.code(), "admitted");
    installation.clock.advance(Duration::minutes(61));
    assert_eq!(installation.list(&token).await.code(), "token_expired");
}

#[tokio::test]
async fn a_token_says_who_issued_it_for_whom() {
    let installation = Installation::trusting(&Forge::new()).await;
    let issuer = installation.auth.issuer();
    let minted = issuer
        .mint("ci", &[Role::Auditor, Role::KmsManager], Duration::HOUR)
        .await
        .unwrap();
    assert_eq!(minted.expires_at, NOW + Duration::HOUR);
    let claims: Value =
        jsonwebtoken::dangerous::insecure_decode_claims(minted.token.expose_secret()).unwrap();
    assert_eq!(claims["iss"], issuer.name());
    assert!(
        issuer.name().starts_with("urn:lamassu:"),
        "{}",
        issuer.name()
    );
    assert_eq!(claims["aud"], "lamassu");
    assert_eq!(claims["sub"], "ci");
    assert_eq!(
        claims["roles"],
        serde_json::json!(["auditor", "kms-manager"])
    );
    assert_eq!(claims["exp"], NOW.unix_timestamp() + 3600);
    assert!(!format!("{minted:?}").contains(minted.token.expose_secret()));
}

#[tokio::test]
async fn a_life_longer_than_keys_are_kept_is_refused() {
    let installation = Installation::trusting(&Forge::new()).await;
    for ttl in [
        Duration::ZERO,
        -Duration::HOUR,
        MAX_TOKEN_TTL + Duration::SECOND,
    ] {
        let minted = installation.auth.issuer().mint("a", &[], ttl).await;
        assert!(matches!(minted, Err(IssuerError::Ttl)), "{ttl}");
    }
}

#[tokio::test]
async fn keys_rotate_with_overlap() {
    let installation = Installation::trusting(&Forge::new()).await;
    let issuer = installation.auth.issuer();
    let long = issuer
        .mint("alice", &[Role::Admin], MAX_TOKEN_TTL)
        .await
        .unwrap();
    let long = long.token.expose_secret();
    issuer.rotate().await.unwrap();
    assert_eq!(published(&installation).await.len(), 1);

    // Made ahead of time, published, not yet used.
    installation
        .clock
        .advance(Duration::days(90) - Duration::minutes(10));
    issuer.rotate().await.unwrap();
    assert_eq!(published(&installation).await.len(), 2);
    assert_eq!(key_id(&installation.mint(Role::Admin).await), key_id(long));
    assert_eq!(installation.list(long).await.code(), "admitted");

    installation.clock.advance(Duration::minutes(10));
    let next = installation.mint(Role::Admin).await;
    assert_ne!(key_id(&next), key_id(long));
    assert_eq!(installation.list(&next).await.code(), "admitted");

    // When nothing that the first key signed can be alive, it is forgotten.
    installation
        .clock
        .advance(MAX_TOKEN_TTL + Duration::minutes(11));
    issuer.rotate().await.unwrap();
    let kept = published(&installation).await;
    assert!(
        kept.iter().all(|key| key["kid"] != key_id(long)),
        "{kept:?}"
    );
}

#[tokio::test]
async fn the_rotation_job_wakes_when_a_key_is_due() {
    let installation = Installation::trusting(&Forge::new()).await;
    let job = KeyRotation(Arc::clone(installation.auth.issuer()));
    assert_eq!(
        job.run(&system_caller("test"), NOW).await.unwrap(),
        NextRun::At(NOW + Duration::DAY)
    );

    let due = NOW + Duration::days(90) - Duration::minutes(10);
    installation
        .clock
        .advance(Duration::days(89) + Duration::hours(23));
    let last_look = NOW + Duration::days(89) + Duration::hours(23);
    assert_eq!(
        job.run(&system_caller("test"), last_look).await.unwrap(),
        NextRun::At(due)
    );

    installation.clock.advance(Duration::minutes(50));
    job.run(&system_caller("test"), due).await.unwrap();
    assert_eq!(published(&installation).await.len(), 2);
}

#[tokio::test]
async fn replacing_the_keys_ends_every_token_at_once() {
    let installation = Installation::trusting(&Forge::new()).await;
    let old = installation.mint(Role::Admin).await;
    assert_eq!(installation.list(&old).await.code(), "admitted");
    installation.auth.issuer().replace_keys().await.unwrap();
    assert_eq!(installation.list(&old).await.code(), "token_key");
    let new = installation.mint(Role::Admin).await;
    assert_eq!(installation.list(&new).await.code(), "admitted");
}

#[tokio::test]
async fn a_replica_learns_a_new_key_from_the_first_token_signed_with_it() {
    let installation = Installation::trusting(&Forge::new()).await;
    let clock: SharedClock = Arc::<ManualClock>::clone(&installation.clock);
    let replica = LocalIssuer::open(&installation.db, clock).await.unwrap();
    assert_eq!(replica.name(), installation.auth.issuer().name());
    installation.clock.advance(Duration::seconds(2));
    replica.replace_keys().await.unwrap();
    let token = mint(&replica, Role::Admin).await;
    assert_eq!(installation.list(&token).await.code(), "admitted");
}

#[tokio::test]
async fn the_issuer_keeps_its_name_and_keys_over_restarts() {
    let clock: SharedClock = Arc::new(ManualClock::at(NOW));
    let (db, _dir) = open_db(Arc::clone(&clock)).await;
    let first = LocalIssuer::open(&db, Arc::clone(&clock)).await.unwrap();
    let again = LocalIssuer::open(&db, Arc::clone(&clock)).await.unwrap();
    let beside = LocalIssuer::open_existing(&db, clock).await.unwrap();
    let key = key_id(&mint(&first, Role::Admin).await);
    for other in [again, beside] {
        assert_eq!(other.name(), first.name());
        assert_eq!(key_id(&mint(&other, Role::Admin).await), key);
    }
}

#[tokio::test]
async fn a_token_of_another_installation_is_not_trusted() {
    let ours = Installation::trusting(&Forge::new()).await;
    let theirs = Installation::trusting(&Forge::new()).await;
    let token = theirs.mint(Role::Admin).await;
    assert_eq!(ours.list(&token).await.code(), "token_issuer");
}
