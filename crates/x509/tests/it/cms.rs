//! Envelopes with private keys, opened and verified by openssl.

use lamassu_crypto::{ContentCipher, Curve, KeySpec, KeyTransport, SealError};
use lamassu_x509::cms::{Capabilities, KeyPackage, enveloped_data, key_identifiers};
use lamassu_x509::pem::PemLabel;
use lamassu_x509::{ParseError, oids};

use crate::openssl::{Files, openssl, text};
use crate::support::{Ca, element, key, sign};

/// openssl opens what is for `recipient`, and believes that `signer` made it.
fn opens(signer: KeySpec, cipher: ContentCipher, transport: KeyTransport) {
    let (ca, recipient) = (Ca::root(signer), key(KeySpec::Rsa(2048)));
    let made = key(KeySpec::Ec(Curve::P256)).to_pkcs8_der().unwrap();
    let package = KeyPackage::new(&made, ca.key.default_scheme()).unwrap();
    let signature = sign(&ca.key, ca.key.default_scheme(), package.to_be_signed());
    let signed = package.assemble(&ca.certificate, &signature);
    let algorithms = (cipher, transport);
    let envelope = enveloped_data(&signed, recipient.public_key(), b"mine", algorithms).unwrap();

    let files = Files::new();
    let envelope = files.der("envelope", &envelope);
    let pkcs8 = recipient.to_pkcs8_der().unwrap();
    let pkcs8 = files.pem("key", PemLabel::PrivateKey, &pkcs8);
    let opened = files.path("opened");
    let decrypt = ["cms", "-decrypt", "-inform", "DER", "-in", text(&envelope)];
    let decrypt = [
        &decrypt[..],
        &["-inkey", text(&pkcs8), "-out", text(&opened)],
    ]
    .concat();
    openssl(&decrypt);
    let opened = std::fs::read(opened).unwrap();
    assert_eq!(opened, signed.as_slice());
    // A ContentInfo around it is what openssl verifies.
    let oid = element(6, &[oids::PKCS7_SIGNED_DATA.as_bytes()]);
    let info = element(0x30, &[&oid, &element(0xa0, &[&opened])]);
    let info = files.der("signed", &info);
    let anchor = files.pem("ca", PemLabel::Certificate, ca.certificate.as_der());
    let content = files.path("content");
    let verify = ["cms", "-verify", "-inform", "DER", "-in", text(&info)];
    let verify = [
        &verify[..],
        &["-CAfile", text(&anchor), "-purpose", "any", "-attime"],
        &["1780000000", "-out", text(&content)],
    ]
    .concat();
    openssl(&verify);
    let content = std::fs::read(content).unwrap();
    assert_eq!(content, element(0x30, &[&made]));
}

#[test]
fn openssl_opens_envelopes_of_every_cipher_and_signer() {
    use KeyTransport::{OaepSha1, OaepSha256, Pkcs1};
    for (signer, cipher, transport) in [
        (KeySpec::Rsa(2048), ContentCipher::Aes128Cbc, Pkcs1),
        (KeySpec::Ec(Curve::P256), ContentCipher::Aes192Cbc, OaepSha1),
        (
            KeySpec::Ec(Curve::P384),
            ContentCipher::Aes256Cbc,
            OaepSha256,
        ),
        (KeySpec::Ec(Curve::P521), ContentCipher::Aes256Cbc, Pkcs1),
    ] {
        opens(signer, cipher, transport);
    }
}

#[test]
fn only_rsa_keys_are_recipients() {
    let elliptic = key(KeySpec::Ec(Curve::P256));
    let algorithms = (ContentCipher::Aes256Cbc, KeyTransport::Pkcs1);
    let refused = enveloped_data(b"", elliptic.public_key(), b"mine", algorithms);
    assert_eq!(refused, Err(SealError::Recipient));
}

/// `SMIMECapabilities` of these: an algorithm's name and its parameters.
fn capabilities(list: &[(lamassu_x509::ObjectIdentifier, &[u8])]) -> Vec<u8> {
    let entries: Vec<u8> = list
        .iter()
        .flat_map(|(oid, parameters)| element(0x30, &[&element(6, &[oid.as_bytes()]), parameters]))
        .collect();
    element(0x30, &[&entries])
}

#[test]
fn the_first_algorithms_of_the_recipient_are_chosen() -> Result<(), ParseError> {
    let (aes_128, aes_256) = (
        ContentCipher::Aes128Cbc.oid(),
        ContentCipher::Aes256Cbc.oid(),
    );
    let sha256: &[&[u8]] = &[&[6, 9], oids::SHA256.as_bytes(), &[5, 0]];
    let hash = element(0x30, sha256);
    let mgf = element(0x30, &[&element(6, &[oids::MGF1.as_bytes()]), &hash]);
    let oaep = element(0x30, &[&element(0xa0, &[&hash]), &element(0xa1, &[&mgf])]);
    let chosen = |list: &[(lamassu_x509::ObjectIdentifier, &[u8])]| {
        Capabilities::from_der(&capabilities(list)).map(|capabilities| capabilities.choose())
    };
    let triple_des = lamassu_x509::ObjectIdentifier::new_unwrap("1.2.840.113549.3.7");
    assert_eq!(
        chosen(&[(triple_des, &[]), (aes_128, &[]), (aes_256, &[])])?,
        Some((ContentCipher::Aes128Cbc, KeyTransport::Pkcs1))
    );
    assert_eq!(
        chosen(&[
            (oids::RSAES_OAEP, &oaep),
            (oids::RSA_ENCRYPTION, &[]),
            (aes_256, &[])
        ])?,
        Some((ContentCipher::Aes256Cbc, KeyTransport::OaepSha256))
    );
    assert_eq!(
        chosen(&[(oids::RSAES_OAEP, &[0x30, 0]), (aes_256, &[])])?,
        Some((ContentCipher::Aes256Cbc, KeyTransport::OaepSha1))
    );
    // Parameters that are not known: another transport is used.
    assert_eq!(
        chosen(&[(oids::RSAES_OAEP, &[5, 0]), (aes_256, &[])])?,
        Some((ContentCipher::Aes256Cbc, KeyTransport::Pkcs1))
    );
    assert_eq!(chosen(&[(triple_des, &[])])?, None);
    Capabilities::from_der(&[0x30, 2, 5, 0]).unwrap_err();
    Ok(())
}

#[test]
fn openssl_names_keys_as_we_do() {
    let ca = Ca::root(KeySpec::Rsa(2048));
    let names: Vec<String> = key_identifiers(ca.certificate.spki_der())
        .map(hex::encode)
        .collect();
    // OpenSSL's extension `subjectKeyIdentifier=hash` is SHA-1 of the key.
    let files = Files::new();
    let pkcs8 = ca.key.to_pkcs8_der().unwrap();
    let pkcs8 = files.pem("key", PemLabel::PrivateKey, &pkcs8);
    let self_signed = [
        "req",
        "-new",
        "-x509",
        "-key",
        text(&pkcs8),
        "-subj",
        "/CN=a",
        "-text",
    ];
    let printed = openssl(&self_signed);
    let mut lines = printed.lines();
    lines.find(|line| line.contains("X509v3 Subject Key Identifier"));
    let identifier = lines.next().unwrap().trim().replace(':', "");
    assert_eq!(names[0], identifier.to_lowercase());
    assert_eq!(names[2], ca.key.public_key().key_id_sha256_hex());
}
