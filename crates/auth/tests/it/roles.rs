//! What tokens may do, and who they make of their bearer.

use http::StatusCode;
use lamassu_auth::{Mappings, OneOrMany, ProviderConfig};
use lamassu_core::permission::Role;
use lamassu_http::route_audit;
use serde_json::{Value, json};

use crate::support::{Forge, IDP, Installation, provider, trusting};

#[tokio::test]
async fn a_missing_permission_is_named_in_the_challenge() {
    let installation = Installation::trusting(&Forge::new()).await;
    let token = installation.mint(Role::KmsManager).await;
    let bearer = format!("Bearer {token}");
    let request = http::Request::post("/api/sample/v1/cas")
        .header("authorization", bearer)
        .body(axum::body::Body::empty())
        .unwrap();
    let answer = installation.send(request).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(answer.code(), "insufficient_permissions");
    assert_eq!(answer.json()["err"], "insufficient permissions");
    assert_eq!(
        answer.challenge(),
        Some("Bearer realm=\"lamassu\", error=\"insufficient_scope\", scope=\"ca:create\"")
    );
}

#[tokio::test]
async fn every_route_refuses_nobody_and_every_role_that_lacks_its_permission() {
    let installation = Installation::trusting(&Forge::new()).await;
    let mut tokens = Vec::new();
    for role in Role::ALL {
        tokens.push((role, installation.mint(role).await));
    }
    let token = |wanted: Role| {
        let found = tokens.iter().find(|(role, _)| *role == wanted);
        found.unwrap().1.clone()
    };
    let table = installation.stack.route_table();
    assert!(table.len() > 5);
    let open = route_audit::audit(&installation.router, &table, token).await;
    assert_eq!(open, []);
}

/// The status of a GET with a token of the foreign provider.
async fn listed(installation: &Installation, forge: &Forge, claim: &str, value: Value) -> u16 {
    let token = forge.with(|_, claims| {
        claims["realm_access"] = Value::Null;
        claims[claim] = value;
    });
    installation.list(&token).await.status.as_u16()
}

#[tokio::test]
async fn foreign_roles_mean_what_they_are_mapped_to_and_nothing_else() {
    let forge = Forge::new();
    let mut config = trusting(&forge);
    let mapping = &mut config.authorization;
    mapping
        .subject_mappings
        .insert("root".to_owned(), vec!["admin".to_owned()]);
    mapping
        .client_mappings
        .insert("robot".to_owned(), vec!["auditor".to_owned()]);
    let installation = Installation::open(&config).await;
    let cases = [
        ("realm_access", json!({"roles": ["pki-admin"]}), 200),
        ("realm_access", json!({"roles": ["admin"]}), 403),
        ("realm_access", json!({"roles": ["service"]}), 403),
        ("realm_access", json!({"roles": "pki-admin"}), 200),
        ("realm_access", json!(["pki-admin"]), 403),
        ("realm_access.roles", json!(["pki-admin"]), 200),
        ("roles", json!(["pki-admin"]), 403),
        ("sub", json!("root"), 200),
        ("azp", json!("robot"), 200),
        ("client_id", json!("robot"), 200),
        ("client_id", json!("alice"), 403),
        ("scope", json!("openid lamassu:ca:read"), 200),
        ("scp", json!(["lamassu:*:read"]), 200),
        ("scope", json!("ca:read"), 403),
        ("scope", json!("lamassu:ca:write lamassu:kms:read"), 403),
        ("scope", json!("lamassu:ca"), 403),
    ];
    for (claim, value, expected) in cases {
        let status = listed(&installation, &forge, claim, value.clone()).await;
        assert_eq!(status, expected, "{claim} = {value}");
    }
}

#[tokio::test]
async fn of_several_providers_each_has_its_own_mappings() {
    const OTHER: &str = "https://other.example";
    let (forge, other) = (Forge::new(), Forge::new());
    let mut config = trusting(&forge);
    let admin = || vec!["admin".to_owned()];
    let subjects = |name: &str| Mappings {
        subjects: [(name.to_owned(), admin())].into(),
        ..Mappings::default()
    };
    config.jwt.providers[0].mappings = Some(subjects("root"));
    config.jwt.providers.push(ProviderConfig {
        name: "other".to_owned(),
        issuer: OneOrMany::One(OTHER.to_owned()),
        mappings: Some(subjects("robot")),
        ..provider(&other)
    });
    // What is written for an only provider holds for none of several.
    let mapping = &mut config.authorization.subject_mappings;
    mapping.insert("alice".to_owned(), admin());
    let installation = Installation::open(&config).await;
    let listed = async |forge: &Forge, issuer: &str, subject: &str| {
        let token = forge.with(|_, claims| {
            claims["iss"] = json!(issuer);
            claims["sub"] = json!(subject);
        });
        installation.list(&token).await.status.as_u16()
    };
    for (subject, by_first, by_other) in
        [("root", 200, 403), ("robot", 403, 200), ("alice", 403, 403)]
    {
        assert_eq!(listed(&forge, IDP, subject).await, by_first, "{subject}");
        assert_eq!(listed(&other, OTHER, subject).await, by_other, "{subject}");
    }
}

#[tokio::test]
async fn a_scope_never_opens_what_services_need_of_each_other() {
    let forge = Forge::new();
    let installation = Installation::trusting(&forge).await;
    let token = forge.with_claim("scope", json!("lamassu:internal:ca lamassu:*:*"));
    let request = http::Request::post("/api/sample/internal/v1/intents")
        .header("authorization", format!("Bearer {token}"))
        .body(axum::body::Body::empty())
        .unwrap();
    assert_eq!(
        installation.send(request).await.status,
        StatusCode::FORBIDDEN
    );
}

#[tokio::test]
async fn events_learn_who_the_bearer_is() {
    let forge = Forge::new();
    let installation = Installation::trusting(&forge).await;
    let service = installation.mint(Role::Service).await;
    let person = installation.mint(Role::Auditor).await;
    for (token, expected) in [
        (forge.good(), "jwt:alice"),
        (person, "jwt:alice"),
        (service, "internal:alice"),
    ] {
        assert_eq!(installation.list(&token).await.json(), expected);
    }
}
