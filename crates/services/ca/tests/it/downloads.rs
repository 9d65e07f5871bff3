use http::StatusCode;
use lamassu_ca::CaConfig;
use lamassu_x509::{Certificate, pem, pkcs7};
use serde_json::{Value, json};

use crate::support::{World, root_body, x509};

/// A device below two CAs.
async fn three_levels(world: &World) -> [Value; 3] {
    let root = world.root("root-a").await;
    let mut body = root_body("sub-a", root["profile_id"].as_str().unwrap());
    body["parent_id"] = json!("root-a");
    let sub = world.post("/v1/cas", body).await.with(StatusCode::CREATED);
    let device = world.issue("sub-a", "device-1").await;
    [
        device,
        sub["certificate"].clone(),
        root["certificate"].clone(),
    ]
}

fn ders(certificates: &[Value]) -> Vec<Vec<u8>> {
    let der = |certificate: &Value| x509(certificate).as_der().to_vec();
    certificates.iter().map(der).collect()
}

#[tokio::test]
async fn a_chain_goes_up_to_the_root_in_every_format() {
    let world = World::new().await;
    let chain = three_levels(&world).await;
    let serial = chain[0]["serial_number"].as_str().unwrap();
    let of_device = format!("/v1/certificates/{serial}/download?chain=true");
    for (path, expected) in [
        (of_device, ders(&chain)),
        ("/v1/cas/sub-a/chain?".to_owned(), ders(&chain[1..])),
        ("/v1/cas/root-a/chain?".to_owned(), ders(&chain[2..])),
    ] {
        let (status, media_type, text) = world.octets(&path).await;
        assert_eq!(
            (status, media_type.as_str()),
            (StatusCode::OK, "application/pem-certificate-chain")
        );
        let read: Result<Vec<Vec<u8>>, _> = pem::certificate_ders(&text).collect();
        assert_eq!(read.unwrap(), expected);
        let (_, media_type, der) = world.octets(&format!("{path}&format=der")).await;
        assert_eq!(media_type, "application/pkix-cert");
        assert_eq!(der, expected.concat());
        let (_, media_type, der) = world.octets(&format!("{path}&format=pkcs7")).await;
        assert_eq!(media_type, "application/pkcs7-mime; smime-type=certs-only");
        let read = pkcs7::certificates(der).unwrap();
        let read: Vec<Vec<u8>> = read.iter().map(|one| one.as_der().to_vec()).collect();
        assert_eq!(read, expected);
    }
}

#[tokio::test]
async fn without_chain_a_download_is_one_certificate() {
    let world = World::new().await;
    let [device, ..] = three_levels(&world).await;
    let serial = device["serial_number"].as_str().unwrap();
    let path = format!("/v1/certificates/{serial}/download");
    let (_, _, text) = world.octets(&path).await;
    assert_eq!(pem::certificate_ders(&text).count(), 1);
    let (_, _, der) = world.octets(&format!("{path}?format=der&chain=no")).await;
    assert_eq!(Certificate::from_der(der).unwrap(), x509(&device));
    let unknown = world.get(&format!("{path}?format=jks")).await;
    assert_eq!(unknown.status, StatusCode::BAD_REQUEST);
    assert!(unknown.refusal().1.contains("not one of pem, der, pkcs7"));
    assert_eq!(
        world.get("/v1/certificates/0102/download").await.refusal(),
        (404, "certificate not found")
    );
    assert_eq!(
        world.get("/v1/cas/nobody/chain").await.refusal(),
        (404, "CA not found")
    );
}

#[tokio::test]
async fn certificates_say_where_their_status_and_their_issuer_are() {
    let config = CaConfig {
        va_server_domains: vec!["va.example/api/va".to_owned()],
        ..CaConfig::default()
    };
    let world = World::with_config(config).await;
    let [device, sub, root] = three_levels(&world).await;
    let locations =
        |certificate: &Value| x509(certificate).extensions().access_locations().unwrap();
    for (certificate, issuer) in [(&device, &sub), (&sub, &root)] {
        let key_id = issuer["subject_key_id"].as_str().unwrap();
        let told = locations(certificate);
        assert_eq!(told.ocsp, ["http://va.example/api/va/ocsp"]);
        assert_eq!(
            told.ca_issuers,
            [format!("http://va.example/api/va/ca/{key_id}")]
        );
        assert_eq!(told.crl, [format!("http://va.example/api/va/crl/{key_id}")]);
    }
    assert_eq!(locations(&root).ca_issuers, [""; 0]);
}
