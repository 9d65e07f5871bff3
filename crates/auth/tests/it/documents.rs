//! The public documents, and "who am I".

use http::StatusCode;
use lamassu_core::permission::Role;
use serde_json::json;

use crate::support::{Forge, IDP, Installation};

#[tokio::test]
async fn the_key_set_is_public_and_holds_public_keys_only() {
    let installation = Installation::trusting(&Forge::new()).await;
    let answer = installation.get("/api/.well-known/jwks.json", &[]).await;
    assert_eq!(answer.status, StatusCode::OK);
    let set = answer.json();
    let key = &set["keys"][0];
    let mut members: Vec<&String> = key.as_object().unwrap().keys().collect();
    members.sort();
    assert_eq!(members, ["alg", "crv", "kid", "kty", "use", "x", "y"]);
    assert_eq!(
        (&key["kty"], &key["crv"], &key["alg"]),
        (&json!("EC"), &json!("P-256"), &json!("ES256"))
    );
}

#[tokio::test]
async fn clients_find_out_how_to_sign_in() {
    let installation = Installation::trusting(&Forge::new()).await;
    let answer = installation.get("/api/.well-known/lamassu-auth", &[]).await;
    let local = installation.auth.issuer().name();
    assert_eq!(
        answer.json(),
        json!({
            "mode": "enforce",
            "issuers": [local, IDP],
            "client_id": "frontend",
            "audiences": ["lamassu", "lamassu-api"],
        })
    );
}

#[tokio::test]
async fn a_caller_is_told_who_it_is_and_what_it_may_do() {
    let installation = Installation::trusting(&Forge::new()).await;
    let bearer = format!("Bearer {}", installation.mint(Role::KmsManager).await);
    let answer = installation
        .get("/api/auth/v1/me", &[("authorization", &bearer)])
        .await;
    assert_eq!(
        answer.json(),
        json!({
            "subject": "alice",
            "type": "jwt",
            "provider": "local",
            "roles": ["kms-manager"],
            "permissions": ["ca:read", "kms:*"],
            "expires_at": "2026-01-01T13:00:00Z",
        })
    );
    let nobody = installation.get("/api/auth/v1/me", &[]).await;
    assert_eq!(nobody.status, StatusCode::UNAUTHORIZED);
}
