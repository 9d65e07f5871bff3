//! Every way in which a token can be refused, with the complete reply.

use http::StatusCode;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use time::Duration;

use crate::support::{AUDIENCE, Forge, IDP, Installation, NOW, encode, good_claims, good_header};

/// Code, status, text, and whether the challenge is that of an invalid token.
const TABLE: [(&str, u16, &str); 11] = [
    ("token_missing", 401, "authentication required"),
    (
        "unsupported_scheme",
        401,
        "unsupported authorization scheme",
    ),
    ("token_malformed", 401, "malformed token"),
    ("token_algorithm", 401, "token algorithm not allowed"),
    ("token_issuer", 401, "token issuer not trusted"),
    ("token_key", 401, "token signed with unknown key"),
    ("token_signature", 401, "invalid token signature"),
    ("token_expired", 401, "token expired"),
    ("token_not_yet_valid", 401, "token not yet valid"),
    ("token_audience", 401, "token audience not allowed"),
    (
        "multiple_authorization_headers",
        400,
        "multiple authorization headers",
    ),
];

fn challenge(code: &str, text: &str) -> String {
    match code {
        "token_missing" | "unsupported_scheme" => "Bearer realm=\"lamassu\"".to_owned(),
        "multiple_authorization_headers" => {
            "Bearer realm=\"lamassu\", error=\"invalid_request\"".to_owned()
        }
        _ => format!(
            "Bearer realm=\"lamassu\", error=\"invalid_token\", error_description=\"{text}\""
        ),
    }
}

async fn check(installation: &Installation, what: &str, headers: &[(&str, &str)], expected: &str) {
    let answer = installation.get("/api/sample/v1/cas", headers).await;
    assert_eq!(answer.code(), expected, "{what}");
    if expected == "admitted" {
        return;
    }
    let (_, status, text) = TABLE
        .into_iter()
        .find(|(code, ..)| *code == expected)
        .unwrap();
    assert_eq!(answer.status, status, "{what}");
    assert_eq!(answer.json()["err"], text, "{what}");
    let id = answer.headers["x-request-id"].to_str().unwrap();
    assert_eq!(answer.json()["request_id"], id, "{what}");
    let expected_challenge = challenge(expected, text);
    assert_eq!(
        answer.challenge(),
        Some(expected_challenge.as_str()),
        "{what}"
    );
}

async fn check_token(installation: &Installation, what: &str, token: &str, expected: &str) {
    let bearer = format!("Bearer {token}");
    check(installation, what, &[("authorization", &bearer)], expected).await;
}

#[tokio::test]
async fn the_header_is_read_leniently_and_never_ambiguously() {
    let forge = Forge::new();
    let installation = Installation::trusting(&forge).await;
    let good = forge.good();
    let cases = [
        ("no header", vec![], "token_missing"),
        ("as usual", vec![format!("Bearer {good}")], "admitted"),
        ("lower case", vec![format!("bearer {good}")], "admitted"),
        (
            "upper case, three spaces",
            vec![format!("BEARER   {good}")],
            "admitted",
        ),
        ("scheme alone", vec!["Bearer".to_owned()], "token_missing"),
        (
            "spaces alone",
            vec!["Bearer   ".to_owned()],
            "token_missing",
        ),
        ("basic", vec!["Basic YTpi".to_owned()], "unsupported_scheme"),
        ("no scheme", vec![good.clone()], "unsupported_scheme"),
        (
            "two tokens",
            vec![format!("Bearer {good} {good}")],
            "token_malformed",
        ),
        (
            "twice",
            vec![format!("Bearer {good}"), format!("Bearer {good}")],
            "multiple_authorization_headers",
        ),
    ];
    for (what, values, expected) in cases {
        let headers: Vec<(&str, &str)> = values
            .iter()
            .map(|value| ("authorization", value.as_str()))
            .collect();
        check(&installation, what, &headers, expected).await;
    }
}

#[tokio::test]
async fn a_token_in_the_query_or_a_cookie_is_no_credential() {
    let forge = Forge::new();
    let installation = Installation::trusting(&forge).await;
    let path = format!("/api/sample/v1/cas?access_token={}", forge.good());
    let cookie = format!("access_token={}", forge.good());
    let answer = installation.get(&path, &[("cookie", &cookie)]).await;
    assert_eq!(answer.code(), "token_missing");
}

#[tokio::test]
async fn malformed_tokens_are_refused() {
    let forge = Forge::new();
    let installation = Installation::trusting(&forge).await;
    let good = forge.good();
    let list = encode(&json!([]));
    let cases = [
        ("one part", "abc".to_owned()),
        ("two parts", "a.b".to_owned()),
        ("four parts", format!("{good}.x")),
        ("empty parts", "..".to_owned()),
        ("padding", format!("{good}=")),
        ("standard base64", "e+/=.e30.e30".to_owned()),
        (
            "claims that are no object",
            format!("{}.{list}.e30", encode(&good_header())),
        ),
        (
            "header that is no JSON",
            format!("e30x.{}.e30", encode(&good_claims())),
        ),
        (
            "too long",
            forge.with_claim("filler", json!("x".repeat(17_000))),
        ),
    ];
    for (what, token) in cases {
        check_token(&installation, what, &token, "token_malformed").await;
    }
}

#[tokio::test]
async fn only_listed_algorithms_of_access_tokens_are_read() {
    let forge = Forge::new();
    let installation = Installation::trusting(&forge).await;
    let with_header = |name: &str, value: Value| forge.with(|header, _| header[name] = value);
    let cases = [
        ("none", with_header("alg", json!("none")), "token_algorithm"),
        ("None", with_header("alg", json!("None")), "token_algorithm"),
        ("a number", with_header("alg", json!(5)), "token_algorithm"),
        ("absent", with_header("alg", Value::Null), "token_algorithm"),
        (
            "HMAC",
            with_header("alg", json!("HS256")),
            "token_algorithm",
        ),
        (
            "another curve's",
            with_header("alg", json!("ES384")),
            "token_signature",
        ),
        (
            "another family's",
            with_header("alg", json!("RS256")),
            "token_signature",
        ),
        (
            "critical extension",
            with_header("crit", json!(["exp"])),
            "token_algorithm",
        ),
        (
            "foreign type",
            with_header("typ", json!("dpop+jwt")),
            "token_algorithm",
        ),
        (
            "access token",
            with_header("typ", json!("at+JWT")),
            "admitted",
        ),
        (
            "media type",
            with_header("typ", json!("application/at+jwt")),
            "admitted",
        ),
    ];
    for (what, token, expected) in cases {
        check_token(&installation, what, &token, expected).await;
    }
}

#[tokio::test]
async fn a_public_key_is_never_a_shared_secret() {
    let forge = Forge::new();
    let installation = Installation::trusting(&forge).await;
    let header = json!({"alg": "HS256", "typ": "JWT", "kid": "k1"});
    let input = format!("{}.{}", encode(&header), encode(&good_claims()));
    let secret = EncodingKey::from_secret(forge.jwks().as_bytes());
    let mac = jsonwebtoken::crypto::sign(input.as_bytes(), &secret, Algorithm::HS256).unwrap();
    check_token(
        &installation,
        "HS256",
        &format!("{input}.{mac}"),
        "token_algorithm",
    )
    .await;
    let none = json!({"alg": "none"});
    let unsigned = format!("{}.{}.", encode(&none), encode(&good_claims()));
    check_token(&installation, "unsigned", &unsigned, "token_algorithm").await;
}

#[tokio::test]
async fn issuer_key_and_signature_are_checked_in_this_order() {
    let forge = Forge::new();
    let installation = Installation::trusting(&forge).await;
    let (signed, _) = {
        let good = forge.good();
        let (signed, signature) = good.rsplit_once('.').unwrap();
        (signed.to_owned(), signature.to_owned())
    };
    let other = Forge::new();
    let tampered = {
        let good = forge.good();
        let mut parts = good.split('.');
        let (header, _, signature) = (parts.next(), parts.next(), parts.next());
        let mut claims = good_claims();
        claims["sub"] = json!("mallory");
        format!(
            "{}.{}.{}",
            header.unwrap(),
            encode(&claims),
            signature.unwrap()
        )
    };
    let cases = [
        (
            "other issuer",
            forge.with_claim("iss", json!("https://evil.example")),
            "token_issuer",
        ),
        (
            "slash added",
            forge.with_claim("iss", json!(format!("{IDP}/"))),
            "token_issuer",
        ),
        (
            "no issuer",
            forge.with_claim("iss", Value::Null),
            "token_issuer",
        ),
        (
            "issuer in a list",
            forge.with_claim("iss", json!([IDP])),
            "token_issuer",
        ),
        (
            "unknown key",
            forge.with(|header, _| header["kid"] = json!("k9")),
            "token_key",
        ),
        (
            "key for encryption",
            forge.with(|header, _| header["kid"] = json!("k2")),
            "token_key",
        ),
        (
            "no key id",
            forge.with(|header, _| header["kid"] = Value::Null),
            "admitted",
        ),
        ("another's key", other.good(), "token_signature"),
        ("no signature", format!("{signed}."), "token_signature"),
        (
            "short signature",
            format!("{signed}.AAAA"),
            "token_signature",
        ),
        ("tampered claims", tampered, "token_signature"),
    ];
    for (what, token, expected) in cases {
        check_token(&installation, what, &token, expected).await;
    }
}

#[tokio::test]
async fn required_claims_are_named_when_they_lack() {
    let forge = Forge::new();
    let installation = Installation::trusting(&forge).await;
    for (claim, value) in [
        ("sub", Value::Null),
        ("sub", json!("")),
        ("sub", json!(7)),
        ("exp", Value::Null),
        ("exp", json!("2030-01-01")),
        ("iat", Value::Null),
        ("iat", json!(true)),
        ("nbf", json!("soon")),
    ] {
        let answer = installation
            .list(&forge.with_claim(claim, value.clone()))
            .await;
        let text = format!("token lacks required claim: {claim}");
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{claim} {value}");
        assert_eq!(answer.code(), "token_claim", "{claim} {value}");
        assert_eq!(answer.json()["err"], text, "{claim} {value}");
        assert_eq!(
            answer.challenge(),
            Some(challenge("token_claim", &text).as_str())
        );
    }
}

#[tokio::test]
async fn times_are_judged_with_a_minute_of_skew() {
    let forge = Forge::new();
    let installation = Installation::trusting(&forge).await;
    let now = NOW.unix_timestamp();
    let cases = [
        ("exp", json!(now - 59), "admitted"),
        ("exp", json!(now - 60), "token_expired"),
        ("exp", json!(0), "token_expired"),
        ("exp", json!(-1), "token_expired"),
        ("exp", json!(1e300), "admitted"),
        ("exp", json!(now as f64 - 59.5), "admitted"),
        ("nbf", json!(now + 60), "admitted"),
        ("nbf", json!(now + 61), "token_not_yet_valid"),
        ("iat", json!(now + 60), "admitted"),
        ("iat", json!(now + 61), "token_not_yet_valid"),
        ("iat", json!(now - 100_000), "admitted"),
    ];
    for (claim, value, expected) in cases {
        let what = format!("{claim} {value}");
        check_token(
            &installation,
            &what,
            &forge.with_claim(claim, value),
            expected,
        )
        .await;
    }
}

#[tokio::test]
async fn the_age_of_a_token_can_be_limited() {
    let forge = Forge::new();
    let mut config = crate::support::trusting(&forge);
    config.jwt.max_token_age = "1h".parse().unwrap();
    let installation = Installation::open(&config).await;
    let now = NOW.unix_timestamp();
    for (issued, expected) in [
        (now - 3600, "admitted"),
        (now - 3601, "token_not_yet_valid"),
    ] {
        let token = forge.with_claim("iat", json!(issued));
        check_token(&installation, "age", &token, expected).await;
    }
}

#[tokio::test]
async fn the_audience_must_be_ours() {
    let forge = Forge::new();
    let installation = Installation::trusting(&forge).await;
    let cases = [
        (json!([AUDIENCE]), "admitted"),
        (json!(["account", AUDIENCE]), "admitted"),
        (json!("account"), "token_audience"),
        (json!(["account"]), "token_audience"),
        (json!([]), "token_audience"),
        (json!([7]), "token_audience"),
        (json!({}), "token_audience"),
        (Value::Null, "token_audience"),
    ];
    for (audience, expected) in cases {
        let token = forge.with_claim("aud", audience.clone());
        check_token(&installation, &audience.to_string(), &token, expected).await;
    }
}

#[tokio::test]
async fn a_remembered_token_still_expires() {
    let forge = Forge::new();
    let installation = Installation::trusting(&forge).await;
    let token = forge.good();
    check_token(&installation, "fresh", &token, "admitted").await;
    installation.clock.advance(Duration::seconds(300 + 59));
    check_token(&installation, "within the skew", &token, "admitted").await;
    installation.clock.advance(Duration::seconds(1));
    check_token(&installation, "too late", &token, "token_expired").await;
}

#[tokio::test]
async fn a_bad_token_does_not_matter_on_a_public_route() {
    let installation = Installation::trusting(&Forge::new()).await;
    let bad = [("authorization", "Bearer nonsense")];
    let answer = installation.get("/api/sample/crl/ab", &bad).await;
    assert_eq!(answer.status, StatusCode::OK);
}
