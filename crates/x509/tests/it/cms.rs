//! Envelopes with private keys, opened and verified by openssl.

use lamassu_crypto::{
    AgreementDigest, ContentCipher, Curve, KeyAgreement, KeyManagement, KeySpec, KeyTransport,
    KeyWrap, SealError,
};
use lamassu_x509::cms::{Capabilities, KeyPackage, enveloped_data, key_identifiers};
use lamassu_x509::pem::PemLabel;
use lamassu_x509::{ParseError, oids};

use crate::openssl::{Files, openssl, text};
use crate::support::{Ca, element, key, sign};

/// openssl opens what is for `recipient`, and believes that `signer` made it.
fn opens(signer: KeySpec, recipient: KeySpec, algorithms: (ContentCipher, KeyManagement)) {
    let (ca, recipient) = (Ca::root(signer), key(recipient));
    let made = key(KeySpec::Ec(Curve::P256)).to_pkcs8_der().unwrap();
    let package = KeyPackage::new(&made, ca.key.default_scheme()).unwrap();
    let signature = sign(&ca.key, ca.key.default_scheme(), package.to_be_signed());
    let signed = package.assemble(&ca.certificate, &signature);
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

const P256: KeySpec = KeySpec::Ec(Curve::P256);
const P384: KeySpec = KeySpec::Ec(Curve::P384);
const P521: KeySpec = KeySpec::Ec(Curve::P521);

#[test]
fn openssl_opens_envelopes_of_every_cipher_and_signer() {
    use KeyTransport::{OaepSha1, OaepSha256, Pkcs1};
    for (signer, cipher, transport) in [
        (KeySpec::Rsa(2048), ContentCipher::Aes128Cbc, Pkcs1),
        (P256, ContentCipher::Aes192Cbc, OaepSha1),
        (P384, ContentCipher::Aes256Cbc, OaepSha256),
        (P521, ContentCipher::Aes128Gcm, Pkcs1),
        (P256, ContentCipher::Aes192Gcm, OaepSha1),
        (P256, ContentCipher::Aes256Gcm, OaepSha256),
    ] {
        let algorithms = (cipher, KeyManagement::Transport(transport));
        opens(signer, KeySpec::Rsa(2048), algorithms);
    }
}

#[test]
fn openssl_opens_envelopes_for_keys_of_every_curve() {
    use AgreementDigest::{Sha256, Sha384, Sha512};
    for (recipient, cipher, digest, wrap) in [
        (P256, ContentCipher::Aes128Cbc, Sha256, KeyWrap::Aes128),
        (P256, ContentCipher::Aes256Gcm, Sha256, KeyWrap::Aes256),
        (P384, ContentCipher::Aes192Gcm, Sha384, KeyWrap::Aes256),
        (P521, ContentCipher::Aes256Cbc, Sha512, KeyWrap::Aes256),
    ] {
        let agreement = KeyManagement::Agreement(KeyAgreement { digest, wrap });
        opens(P256, recipient, (cipher, agreement));
    }
}

#[test]
fn keys_that_do_not_fit_are_no_recipients() {
    let transport = KeyManagement::Transport(KeyTransport::Pkcs1);
    let agreement = KeyManagement::Agreement(KeyAgreement {
        digest: AgreementDigest::Sha256,
        wrap: KeyWrap::Aes128,
    });
    for (recipient, management) in [
        (P256, transport),
        (KeySpec::Rsa(2048), agreement),
        (KeySpec::Ec(Curve::P224), agreement),
        (KeySpec::Ed25519, agreement),
        (KeySpec::MlDsa44, transport),
    ] {
        let algorithms = (ContentCipher::Aes256Cbc, management);
        let refused = enveloped_data(b"", key(recipient).public_key(), b"mine", algorithms);
        assert_eq!(refused, Err(SealError::Recipient), "{recipient:?}");
    }
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
        let read = Capabilities::from_der(&capabilities(list))?;
        Ok(read
            .choose(KeySpec::Rsa(2048))
            .map(|(cipher, management)| match management {
                KeyManagement::Transport(transport) => (cipher, transport),
                KeyManagement::Agreement(_) => panic!("RSA keys transport"),
            }))
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
fn the_first_key_agreement_of_the_recipient_is_chosen() {
    let (aes_128, aes_256) = (
        ContentCipher::Aes128Gcm.oid(),
        ContentCipher::Aes256Gcm.oid(),
    );
    let chosen = |list: &[(lamassu_x509::ObjectIdentifier, &[u8])]| {
        let read = Capabilities::from_der(&capabilities(list)).unwrap();
        read.choose(P256).map(|(_, management)| management)
    };
    let agreement = |digest, wrap| Some(KeyManagement::Agreement(KeyAgreement { digest, wrap }));
    let (sha256, sha384) = (AgreementDigest::Sha256, AgreementDigest::Sha384);
    let wrap = element(0x30, &[&element(6, &[KeyWrap::Aes128.oid().as_bytes()])]);
    let of_sha1 = lamassu_x509::ObjectIdentifier::new_unwrap("1.3.133.16.840.63.0.2");
    for (list, expected) in [
        (
            &[(aes_128, &[][..])][..],
            agreement(sha256, KeyWrap::Aes128),
        ),
        (&[(aes_256, &[])], agreement(sha256, KeyWrap::Aes256)),
        (
            &[
                (of_sha1, &wrap),
                (sha384.scheme_oid(), &wrap),
                (aes_256, &[]),
            ],
            agreement(sha384, KeyWrap::Aes128),
        ),
        // A wrapping cipher that is not known: one as strong as the cipher.
        (
            &[(sha384.scheme_oid(), &[5, 0]), (aes_256, &[])],
            agreement(sha384, KeyWrap::Aes256),
        ),
        (&[(sha384.scheme_oid(), &wrap)], None),
    ] {
        assert_eq!(chosen(list), expected);
    }
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
