//! Keys as bytes.

use lamassu_crypto::{KeyError, KeySpec, Message, PrivateKey, PublicKey};

use crate::quick_specs;

/// A P-256 key with its id, fixed for all time.
const PKCS8_PEM: &[u8] = b"-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgsvGH3m8eUqOONu18
9dKfDXNTkYAYaE7aAU/6FQ9k7eChRANCAAR5Ju5uBQeOYRCD/cq1ADTz7Vy7DZz6
ZIXAT/8opqZqnWn6YNVi9dxQTFOTpfOvv/qN4p5Qtj8KZ1v+wnuvBivS
-----END PRIVATE KEY-----
";
const KEY_ID: &str = "c9fa3229a38567d5d9386d9853fc0808c931787fed148bad99411a0e2e008186";

#[test]
fn the_key_id_is_the_digest_of_the_spki() {
    let key = PrivateKey::from_pem(PKCS8_PEM).unwrap();
    assert_eq!(key.public_key().key_id_sha256_hex(), KEY_ID);
}

#[test]
fn written_keys_are_read_back() {
    for spec in quick_specs() {
        let key = PrivateKey::generate(spec).unwrap();
        let der = key.to_pkcs8_der().unwrap();
        for read in [PrivateKey::from_pkcs8_der(&der), PrivateKey::from_der(&der)] {
            let read = read.unwrap();
            assert_eq!(read.public_key(), key.public_key());
            assert_eq!(*read.to_pkcs8_der().unwrap(), *der);
            let scheme = read.default_scheme();
            let signature = read.sign(scheme, Message::Raw(b"message")).unwrap();
            key.public_key()
                .verify(scheme, Message::Raw(b"message"), &signature)
                .unwrap();
        }
        let public = PublicKey::from_spki_der(key.public_key().spki_der()).unwrap();
        assert_eq!(&public, key.public_key());
    }
}

#[test]
fn debug_shows_the_key_id_and_nothing_private() {
    let key = PrivateKey::from_pem(PKCS8_PEM).unwrap();
    let printed = format!("{key:?}");
    assert!(printed.contains(KEY_ID), "{printed}");
    assert!(printed.len() < 200, "{printed}");
}

#[test]
fn a_foreign_public_half_is_refused() {
    let key = PrivateKey::from_pem(PKCS8_PEM).unwrap();
    let mut der = key.to_pkcs8_der().unwrap().to_vec();
    let other = PrivateKey::generate(key.public_key().spec()).unwrap();
    let other = other.to_pkcs8_der().unwrap();
    let n = der.len() - 64;
    der[n..].copy_from_slice(&other[other.len() - 64..]);
    assert_eq!(
        PrivateKey::from_pkcs8_der(&der).unwrap_err(),
        KeyError::Invalid
    );
}

#[test]
fn points_off_the_curve_are_refused() {
    for spec in quick_specs().filter(|spec| matches!(spec, KeySpec::Ec(_))) {
        let key = PrivateKey::generate(spec).unwrap();
        let mut der = key.public_key().spki_der().to_vec();
        *der.last_mut().unwrap() ^= 1;
        assert_eq!(
            PublicKey::from_spki_der(&der).unwrap_err(),
            KeyError::Invalid
        );
    }
}

/// SubjectPublicKeyInfo of RSA with this modulus and exponent, both without leading zeros.
fn rsa_spki(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let key = tlv(0x30, &[integer(modulus), integer(exponent)].concat());
    let algorithm = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
    let bits = tlv(0x03, &[&[0], key.as_slice()].concat());
    tlv(0x30, &[algorithm.as_slice(), &bits].concat())
}

fn integer(magnitude: &[u8]) -> Vec<u8> {
    tlv(
        0x02,
        &[&[0], magnitude].concat()[usize::from(magnitude[0] < 0x80)..],
    )
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let [.., high, low] = content.len().to_be_bytes();
    let header = match content.len() {
        0..0x80 => vec![tag, low],
        0x80..0x100 => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [&header, content].concat()
}

#[test]
fn rsa_that_would_cost_or_prove_nothing_is_refused() {
    let spec = |modulus: &[u8], exponent: &[u8]| {
        PublicKey::from_spki_der(&rsa_spki(modulus, exponent)).map(|key| key.spec())
    };
    let (f4, largest) = ([1, 0, 1], [1, 0xff, 0xff, 0xff, 0xff]);
    assert_eq!(spec(&[0xff; 128], &f4), Ok(KeySpec::Rsa(1024)));
    assert_eq!(spec(&[0xff; 2048], &[3]), Ok(KeySpec::Rsa(16_384)));
    assert_eq!(spec(&[0xff; 256], &largest), Ok(KeySpec::Rsa(2048)));

    let size = |bits| Err(KeyError::RsaSize { bits });
    assert_eq!(spec(&[0x7f; 128], &f4), size(1023));
    assert_eq!(spec(&[0xff; 2049], &f4), size(16_392));
    let even = [[0xff; 127].as_slice(), &[0xfe]].concat();
    for (modulus, exponent) in [
        (&even, &f4[..]),
        (&vec![0xff; 128], &[1][..]),
        (&vec![0xff; 128], &[4]),
        (&vec![0xff; 128], &[2, 0, 0, 0, 1]),
    ] {
        assert_eq!(spec(modulus, exponent), Err(KeyError::RsaComponents));
    }
}

#[test]
fn the_largest_rsa_key_verifies_in_bounded_time() {
    let spki = rsa_spki(&[0xff; 2048], &[1, 0xff, 0xff, 0xff, 0xff]);
    let key = PublicKey::from_spki_der(&spki).unwrap();
    let scheme = key.default_scheme();
    let answer = key.verify(scheme, Message::Raw(b"message"), &[0x7f; 2048]);
    assert_eq!(answer, Err(lamassu_crypto::VerifyError::Mismatch));
}
