//! Keys made for devices: what is answered, byte for byte, and what is refused.

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use lamassu_crypto::{Curve, HashAlgorithm, KeySpec, ObjectIdentifier, PrivateKey};
use lamassu_x509::pem::{PemLabel, der_to_pem};
use lamassu_x509::{Certificate, oids, pkcs7};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::device::{Answer, Device, element};
use crate::support::{World, caller, dms};

/// CAs `boot` and `fleet`, and the DMS `made`, which makes such keys for whoever asks.
async fn world_making(key: &Value) -> World {
    let world = World::new().await;
    world.root("boot").await;
    world.root("fleet").await;
    let enrollment = json!({"est_rfc7030_settings": {"auth_mode": "NONE"}});
    let mut made = dms("made", &enrollment, &json!({}));
    made["settings"]["server_keygen_settings"] = json!({"enabled": true, "key": key});
    world.created(made).await;
    world
}

async fn generate(world: &World, csr: &[u8]) -> Answer {
    world.est("serverkeygen", "made", csr, None).await
}

/// The parts of an answer, after its exact form was checked: media type and content.
fn parts(answer: &Answer) -> Vec<(String, Vec<u8>)> {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let boundary = "multipart/mixed; boundary=estServerLamassuBoundary";
    assert_eq!(answer.header("content-type"), boundary);
    assert_eq!(answer.header("content-transfer-encoding"), "");
    let length = answer.body.len().to_string();
    assert_eq!(answer.header("content-length"), length);
    let text = answer.text();
    let inner = text.strip_suffix("--estServerLamassuBoundary--\r\n");
    let mut parts = Vec::new();
    for part in inner
        .unwrap()
        .split("--estServerLamassuBoundary\r\n")
        .skip(1)
    {
        let part = part.strip_prefix("Content-Transfer-Encoding: base64\r\nContent-Type: ");
        let (media_type, content) = part.unwrap().split_once("\r\n\r\n").unwrap();
        let content = STANDARD.decode(content.strip_suffix("\r\n").unwrap());
        parts.push((media_type.to_owned(), content.unwrap()));
    }
    assert!(text.starts_with("--estServerLamassuBoundary\r\n"), "{text}");
    assert_eq!(parts.len(), 2, "{text}");
    assert_eq!(parts[1].0, "application/pkcs7-mime; smime-type=certs-only");
    parts
}

fn certificate(parts: &[(String, Vec<u8>)]) -> Certificate {
    let mut certificates = pkcs7::certificates(parts[1].1.clone()).unwrap();
    assert_eq!(certificates.len(), 1);
    certificates.remove(0)
}

#[tokio::test]
async fn a_device_gets_a_key_of_the_configured_kind_and_its_certificate() {
    for (key, spec) in [
        (json!({"type": "RSA", "bits": 2048}), KeySpec::Rsa(2048)),
        (
            json!({"type": "ECDSA", "bits": 384}),
            KeySpec::Ec(Curve::P384),
        ),
        (json!({"type": "Ed25519", "bits": 256}), KeySpec::Ed25519),
    ] {
        let world = world_making(&key).await;
        let device = Device::new("d");
        // The request's own signature says nothing here.
        let parts = parts(&generate(&world, &device.broken_csr()).await);
        assert_eq!(parts[0].0, "application/pkcs8");
        let made = PrivateKey::from_pkcs8_der(&parts[0].1).unwrap();
        assert_eq!(made.public_key().spec(), spec);
        assert_ne!(made.public_key(), device.key().public_key());
        let certificate = certificate(&parts);
        assert_eq!(certificate.spki_der(), made.public_key().spki_der());
        assert_eq!(certificate.subject().common_name().as_deref(), Some("d"));
        // Told as the reference does: the binding, and no event of enrollment.
        let told = world.event_types().await;
        assert!(told.contains(&"dms.bind-device-id".to_owned()), "{told:?}");
        assert!(!told.contains(&"dms.enroll".to_owned()), "{told:?}");
    }
}

#[tokio::test]
async fn what_the_device_asks_for_beside_the_key_is_asked_for_with_the_new_key() {
    let world = world_making(&json!({"type": "ECDSA", "bits": 256})).await;
    let names = element(0x30, &[&element(0x82, &[b"d.example"])]);
    let san = element(
        0x30,
        &[&[6, 3, 0x55, 0x1d, 0x11], &element(0x04, &[&names])],
    );
    let asked = (oids::EXTENSION_REQUEST, element(0x30, &[&san]));
    let profile = json!({"validity": {"type": "Duration", "duration": "1d"},
        "honor_subject": true, "honor_extensions": true});
    let (_, mut made) = world.call("GET", "/v1/dms/made", Value::Null).await;
    made["settings"]["issuance_profile"] = profile;
    world.call("PUT", "/v1/dms/made", made).await;
    let answer = generate(&world, &Device::new("d").csr_with(&[asked])).await;
    let issued = certificate(&parts(&answer));
    assert_eq!(
        format!("{:?}", issued.extensions().subject_alt_names().unwrap()),
        "[Dns(\"d.example\")]"
    );
}

#[tokio::test]
async fn who_may_not_enroll_gets_no_key() {
    let world = world_making(&json!({"type": "RSA", "bits": 2048})).await;
    let mut body = dms("made", &json!({}), &json!({}));
    body["settings"]["server_keygen_settings"] =
        json!({"enabled": true, "key": {"type": "RSA", "bits": 2048}});
    world.call("PUT", "/v1/dms/made", body.clone()).await;
    let anonymous = generate(&world, &Device::new("d").csr()).await.refusal();
    assert_eq!(anonymous.0, 401);
    assert_eq!(anonymous.2, "client_certificate_missing");

    body["settings"]["server_keygen_settings"]["enabled"] = json!(false);
    world.call("PUT", "/v1/dms/made", body.clone()).await;
    let refused = |status: u16, text: &str, code: &str| (status, text.to_owned(), code.to_owned());
    assert_eq!(
        generate(&world, &Device::new("d").csr()).await.refusal(),
        refused(
            403,
            "server key generation not enabled",
            "server_keygen_disabled"
        )
    );
    body["settings"]["server_keygen_settings"] =
        json!({"enabled": true, "key": {"type": "DSA", "bits": 2048}});
    world.call("PUT", "/v1/dms/made", body).await;
    assert_eq!(
        generate(&world, &Device::new("d").csr()).await.refusal(),
        refused(500, "unsupported key type DSA", "dms_misconfigured")
    );
}

/// `SMIMECapabilities` of these algorithms, without parameters.
fn capabilities(algorithms: &[&str]) -> (ObjectIdentifier, Vec<u8>) {
    let list: Vec<u8> = algorithms
        .iter()
        .flat_map(|dotted| {
            let oid = ObjectIdentifier::new_unwrap(dotted);
            element(0x30, &[&element(0x06, &[oid.as_bytes()])])
        })
        .collect();
    (oids::SMIME_CAPABILITIES, element(0x30, &[&list]))
}

/// Asks for encryption for the key of this name.
fn for_key(identifier: &[u8]) -> (ObjectIdentifier, Vec<u8>) {
    (
        oids::ASYMMETRIC_DECRYPT_KEY_IDENTIFIER,
        element(0x04, &[identifier]),
    )
}

fn key_identifier(device: &Device) -> Vec<u8> {
    HashAlgorithm::Sha256.digest(device.key().public_key().spki_der())
}

const AES_128_CBC: &str = "2.16.840.1.101.3.4.1.2";
const AES_256_CBC: &str = "2.16.840.1.101.3.4.1.42";
const AES_256_GCM: &str = "2.16.840.1.101.3.4.1.46";
const TRIPLE_DES: &str = "1.2.840.113549.3.7";
const SHA512_KDF: &str = "1.3.132.1.11.3";
const RSAES_OAEP: &str = "1.2.840.113549.1.1.7";

/// What is inside an envelope for this device: opened, and its signature by the CA verified, both by
/// openssl. Also what openssl shows of the envelope.
async fn opened(world: &World, device: &Device, envelope: &[u8]) -> (Vec<u8>, String) {
    let dir = TempDir::new().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_string_lossy().into_owned()
    };
    let openssl = |arguments: &[&str]| {
        let output = Command::new("openssl").args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}");
        output.stdout
    };
    let key = device.key().to_pkcs8_der().unwrap();
    let key = file("key", der_to_pem(PemLabel::PrivateKey, &key).as_bytes());
    let envelope = file("envelope", envelope);
    let shown = openssl(&[
        "cms", "-cmsout", "-print", "-inform", "DER", "-in", &envelope,
    ]);
    let decrypt = ["cms", "-decrypt", "-inform", "DER", "-in", &envelope];
    let decrypt = [&decrypt[..], &["-inkey", &key]].concat();
    let signed_data = openssl(&decrypt);
    // What openssl gives is the SignedData alone.
    let oid = element(0x06, &[oids::PKCS7_SIGNED_DATA.as_bytes()]);
    let wrapped = element(0x30, &[&oid, &element(0xa0, &[&signed_data])]);
    let wrapped = file("signed", &wrapped);
    let ca = world.ca.ca(&caller(), &"fleet".into()).await.unwrap();
    let ca = file("ca", ca.certificate.certificate.to_pem().as_bytes());
    let at = crate::support::START.unix_timestamp().to_string();
    let verify = [
        "cms", "-verify", "-inform", "DER", "-in", &wrapped, "-CAfile", &ca, "-purpose", "any",
        "-attime", &at,
    ];
    (openssl(&verify), String::from_utf8(shown).unwrap())
}

#[tokio::test]
async fn a_key_is_encrypted_for_the_key_that_the_request_names() {
    let world = world_making(&json!({"type": "ECDSA", "bits": 256})).await;
    let rsa = KeySpec::Rsa(2048);
    let (p256, p521) = (KeySpec::Ec(Curve::P256), KeySpec::Ec(Curve::P521));
    for (name, spec, algorithms, shows) in [
        (
            "a",
            rsa,
            &[TRIPLE_DES, AES_128_CBC][..],
            ["aes-128-cbc", "rsaEncryption"],
        ),
        (
            "b",
            rsa,
            &[RSAES_OAEP, AES_256_CBC],
            ["aes-256-cbc", "rsaesOaep"],
        ),
        (
            "c",
            rsa,
            &[AES_256_GCM, AES_128_CBC],
            ["aes-256-gcm", "rsaEncryption"],
        ),
        ("d", p256, &[AES_128_CBC], ["aes-128-cbc", "id-aes128-wrap"]),
        (
            "e",
            p521,
            &[SHA512_KDF, AES_256_GCM],
            ["aes-256-gcm", "dhSinglePass-stdDH-sha512kdf"],
        ),
    ] {
        let device = Device::with_key(name, spec);
        let wishes = [for_key(&key_identifier(&device)), capabilities(algorithms)];
        let parts = parts(&generate(&world, &device.csr_with(&wishes)).await);
        assert_eq!(
            parts[0].0,
            "application/pkcs7-mime; smime-type=server-generated-key"
        );
        let (package, shown) = opened(&world, &device, &parts[0].1).await;
        assert!(shows.iter().all(|what| shown.contains(what)), "{shown}");
        // The only element of an AsymmetricKeyPackage.
        let made = PrivateKey::from_pkcs8_der(&package[if package[1] < 0x80 { 2 } else { 3 }..]);
        let spki = made.unwrap().public_key().spki_der().to_vec();
        assert_eq!(certificate(&parts).spki_der().as_ref(), spki);
    }
}

/// What `docs/est.md` says to do with such an answer.
#[tokio::test]
async fn an_encrypted_key_is_opened_by_openssl_as_documented() {
    let document = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/est.md");
    let document = std::fs::read_to_string(document).unwrap();
    let (_, commands) = document.split_once("\n    tr -d").unwrap();
    let (commands, _) = commands.split_once("\n\n").unwrap();
    let commands = format!("set -e; tr -d{commands}");
    for (kind, bits, spec) in [
        ("RSA", 2048, KeySpec::Ec(Curve::P256)),
        ("ECDSA", 256, KeySpec::Rsa(2048)),
    ] {
        let world = world_making(&json!({"type": kind, "bits": bits})).await;
        let device = Device::with_key("d", spec);
        let wishes = [
            for_key(&key_identifier(&device)),
            capabilities(&[AES_256_GCM]),
        ];
        let answer = generate(&world, &device.csr_with(&wishes)).await;
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join("answer"), &answer.body).unwrap();
        let key = device.key().to_pkcs8_der().unwrap();
        let key = der_to_pem(PemLabel::PrivateKey, &key);
        std::fs::write(dir.path().join("device.key"), key).unwrap();
        let mut shell = Command::new("sh");
        let output = shell
            .args(["-c", &commands])
            .current_dir(dir.path())
            .output();
        let output = output.unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let made = std::fs::read(dir.path().join("made.key")).unwrap();
        let made = PrivateKey::from_pem(&made).unwrap();
        let certified = certificate(&parts(&answer));
        assert_eq!(certified.spki_der().as_ref(), made.public_key().spki_der());
    }
}

#[tokio::test]
async fn a_key_is_encrypted_for_the_key_of_the_client_certificate() {
    let world = world_making(&json!({"type": "ECDSA", "bits": 256})).await;
    let holder = Device::with_key("bootstrap", KeySpec::Rsa(2048));
    let shown = world.issue("boot", &holder).await;
    let parsed = Certificate::from_der(shown.der().clone()).unwrap();
    let wishes = [
        for_key(&parsed.subject_key_identifier().unwrap()),
        capabilities(&[AES_256_CBC]),
    ];
    // The request's own key is another one.
    let csr = Device::new("d").csr_with(&wishes);
    let answer = world
        .est("serverkeygen", "made", &csr, Some(&[&shown]))
        .await;
    let parts = parts(&answer);
    opened(&world, &holder, &parts[0].1).await;
}

#[tokio::test]
async fn a_key_that_cannot_be_encrypted_as_asked_is_not_made() {
    let world = world_making(&json!({"type": "ECDSA", "bits": 256})).await;
    let rsa = Device::with_key("d", KeySpec::Rsa(2048));
    let own = for_key(&key_identifier(&rsa));
    let elliptic = Device::with_key("d", KeySpec::Ec(Curve::P224));
    let symmetric = (oids::DECRYPT_KEY_IDENTIFIER, element(0x04, &[b"shared"]));
    let cases = [
        (
            rsa.csr_with(&[symmetric]),
            "no symmetric key is shared with this server",
        ),
        (
            rsa.csr_with(&[for_key(b"unknown"), capabilities(&[AES_256_CBC])]),
            "AsymmetricDecryptKeyIdentifier names neither the key of the client certificate nor that \
             of the request",
        ),
        (
            elliptic.csr_with(&[
                for_key(&key_identifier(&elliptic)),
                capabilities(&[AES_256_CBC]),
            ]),
            "the named key is none of RSA, P-256, P-384 and P-521",
        ),
        (
            rsa.csr_with(std::slice::from_ref(&own)),
            "SMIMECapabilities are missing, which name the ciphers that the device can open",
        ),
        (
            rsa.csr_with(&[own.clone(), capabilities(&[RSAES_OAEP, TRIPLE_DES])]),
            "SMIMECapabilities name neither AES-CBC nor AES-GCM",
        ),
    ];
    for (csr, why) in cases {
        let expected = (
            400,
            format!("private key cannot be encrypted: {why}"),
            "key_encryption_impossible".to_owned(),
        );
        assert_eq!(generate(&world, &csr).await.refusal(), expected);
    }
    // Whoever names its own key proves that it has it.
    let mut unproven = rsa.csr_with(&[own, capabilities(&[AES_256_CBC])]);
    *unproven.last_mut().unwrap() ^= 1;
    let refused = generate(&world, &unproven).await.refusal();
    assert_eq!((refused.0, &*refused.1), (400, "invalid CSR signature"));
    assert_eq!(world.issued_for("d").await, []);
}

#[tokio::test]
async fn as_many_keys_as_the_process_takes_on_are_made_at_a_time() {
    const ASKED: usize = 100;
    let world = world_making(&json!({"type": "RSA", "bits": 2048})).await;
    let csrs: Vec<_> = (0..ASKED)
        .map(|n| Device::new(&format!("d{n}")).csr())
        .collect();
    let world = &world;
    let asked = csrs.iter().map(|csr| generate(world, csr));
    let mut busy = 0;
    for answer in futures(asked.collect()).await {
        if answer.status == StatusCode::SERVICE_UNAVAILABLE {
            assert_eq!(answer.refusal().1, "server key generation is busy");
            assert_eq!(answer.header("retry-after"), "2");
            busy += 1;
        } else {
            assert_eq!(answer.status, StatusCode::OK);
        }
    }
    // A key that is made before all have asked leaves its place to another; on a slow machine some of
    // those that wait are told to come again, too.
    assert!((1..ASKED).contains(&busy), "{busy}");
}

/// All of them at the same time.
async fn futures<F: Future<Output = Answer>>(all: Vec<F>) -> Vec<Answer> {
    let mut pending: Vec<_> = all.into_iter().map(Box::pin).collect();
    let mut done = Vec::new();
    std::future::poll_fn(|context| {
        pending.retain_mut(|future| match future.as_mut().poll(context) {
            std::task::Poll::Ready(answer) => {
                done.push(answer);
                false
            }
            std::task::Poll::Pending => true,
        });
        if pending.is_empty() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    done
}
