//! No private key leaves by a side door: not in logs at their loudest, events, audit records,
//! answers, refusals or what `Debug` prints.

use http::StatusCode;
use lamassu_core::ids::EngineId;
use lamassu_core::kms::{ImportKey, PrivateKeyBytes};
use lamassu_crypto::pem::{PemLabel, der_to_pem};
use lamassu_crypto::{Curve, KeySpec, PrivateKey};
use lamassu_db::sql;
use serde_json::{Value, json};
use time::Duration;

use crate::faulty::Fault;
use crate::log::Log;
use crate::support::{FAULTY, FILESYSTEM, SOFTWARE, base64, fixture};

/// What would give a key away: its secret in the spellings that programs print.
fn traces(private: &PrivateKey) -> Vec<String> {
    let der = private.to_pkcs8_der().unwrap();
    // The scalar of P-256 in PKCS#8 (RFC 5915): 32 octets behind this head.
    let secret = &der[36..68];
    let pem = der_to_pem(PemLabel::PrivateKey, &der);
    let middle = |text: &str| text.get(text.len() / 4..text.len() / 2).unwrap().to_owned();
    let hex: String = secret.iter().map(|octet| format!("{octet:02x}")).collect();
    let octets = |open: &str| {
        let list: Vec<_> = secret[..8].iter().map(u8::to_string).collect();
        format!("{open}{}", list.join(", "))
    };
    vec![
        pem.lines().nth(1).unwrap().to_owned(),
        middle(&base64(&der)),
        middle(&base64(pem.as_bytes())),
        base64(secret).trim_end_matches('=').to_owned(),
        hex.to_uppercase(),
        hex,
        octets(""),
        "BEGIN PRIVATE KEY".to_owned(),
    ]
}

#[tokio::test]
async fn private_keys_are_in_no_log_event_record_or_answer() {
    let (log, _guard) = Log::begin();
    let private = PrivateKey::generate(KeySpec::Ec(Curve::P256)).unwrap();
    let der = private.to_pkcs8_der().unwrap();
    let pem = der_to_pem(PemLabel::PrivateKey, &der);
    let kms = fixture().await;
    let mut answers = String::new();
    let mut asked = async |path: &str, body: Value| {
        let (status, answer) = kms.post(path, body).await;
        answers.push_str(&answer.to_string());
        (status, answer)
    };

    // Refused for every reason, taken, known already, used, moved.
    let import =
        |sent: &[u8], engine: &str| json!({"private_key": base64(sent), "engine_id": engine});
    asked("/v1/keys/import", import(&der, "nope")).await;
    asked("/v1/keys/import", import(&der[..100], FILESYSTEM)).await;
    let broken = json!({"private_key": format!("{}*", base64(&der))});
    asked("/v1/keys/import", broken).await;
    asked("/v1/keys/import", json!({"private_key": [base64(&der)]})).await;
    kms.faulty.set(Fault::Failing);
    asked("/v1/keys/import", import(pem.as_bytes(), FAULTY)).await;
    kms.faulty.set(Fault::None);
    kms.reap_after(Duration::minutes(10)).await;
    let (status, key) = asked("/v1/keys/import", import(pem.as_bytes(), FILESYSTEM)).await;
    assert_eq!(status, StatusCode::CREATED);
    asked("/v1/keys/import", import(&der, SOFTWARE)).await;
    let path = format!("/v1/keys/{}", key["key_id"].as_str().unwrap());
    let sign = json!({"algorithm": "ECDSA_SHA_256", "message": "AAAA", "message_type": "raw"});
    asked(&format!("{path}/sign"), sign).await;
    for engine in [SOFTWARE, FILESYSTEM, FAULTY] {
        let (status, _) = asked(&format!("{path}/move"), json!({"engine_id": engine})).await;
        assert_eq!(status, StatusCode::OK);
    }
    asked(&format!("{path}/move"), json!({"engine_id": FILESYSTEM})).await;

    let request = ImportKey {
        private_key: PrivateKeyBytes::new(der.to_vec()),
        engine_id: EngineId::from(FILESYSTEM),
        ..ImportKey::default()
    };
    let printed = format!("{request:?} {private:?} {:?}", kms.kms);
    let mut records = String::new();
    for table in [
        "SELECT * FROM event_log",
        "SELECT * FROM audit_log",
        "SELECT * FROM kms_key",
    ] {
        let column = match table {
            "SELECT * FROM event_log" => "SELECT body AS text FROM event_log",
            "SELECT * FROM audit_log" => {
                "SELECT reason AS text FROM audit_log WHERE reason IS NOT NULL"
            }
            _ => "SELECT public_key AS text FROM kms_key",
        };
        for row in kms.db.rows(sql(column, vec![])).await.unwrap() {
            records.push_str(&row.get::<String>("text").unwrap());
        }
    }
    let logged = log.text();
    assert!(
        logged.contains("unsettled key removed"),
        "nothing was logged"
    );
    for trace in traces(&private) {
        for (place, text) in [
            ("log", &logged),
            ("answers", &answers),
            ("records", &records),
            ("Debug", &printed),
        ] {
            assert!(!text.contains(&trace), "{trace} in {place}");
        }
    }
}
