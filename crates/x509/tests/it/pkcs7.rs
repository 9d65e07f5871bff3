use base64::Engine as _;
use lamassu_x509::pem::PemLabel;
use lamassu_x509::pkcs7::{certificates, certs_only};

use crate::openssl::{Files, openssl, text};
use crate::support::{Conditions, ROOT, device_subject, device_template, honouring_profile};

#[test]
fn no_certificates_give_the_known_bytes() {
    let empty = base64::engine::general_purpose::STANDARD.encode(certs_only([]));
    assert_eq!(
        empty,
        "MCcGCSqGSIb3DQEHAqAaMBgCAQExADALBgkqhkiG9w0BBwGgAKEAMQA="
    );
}

#[test]
fn certificates_keep_their_order() {
    let device = ROOT.issue(
        &device_subject(&device_template("d")),
        &Conditions::new(honouring_profile()),
    );
    let ders = [device.as_der().as_ref(), ROOT.certificate.as_der().as_ref()];

    let der = certs_only(ders);

    assert_eq!(
        certificates(der.clone()).unwrap(),
        [device, ROOT.certificate.clone()]
    );
    let files = Files::new();
    let path = files.pem("chain.p7b", PemLabel::Pkcs7, &der);
    let said = openssl(&["pkcs7", "-in", text(&path), "-print_certs", "-noout"]);
    let (device, root) = (
        said.find("CN = d").unwrap(),
        said.find("subject=CN = Root").unwrap(),
    );
    assert!(device < root);
}

#[test]
fn other_content_is_refused() {
    let error = certificates(vec![0x30, 0x05, 0x06, 0x01, 0x2a, 0x05, 0x00]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "malformed PKCS#7 structure: unsupported content type"
    );
}
