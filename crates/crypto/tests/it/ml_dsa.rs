//! ML-DSA against another implementation: keys made of the seed `00 01 … 1f`, and deterministic
//! signatures (FIPS 204 §3.4) over `message` with an empty context, by dilithium-py 1.5.

use lamassu_crypto::{HashAlgorithm, Message, PrivateKey, SignatureScheme};

struct Vector {
    scheme: SignatureScheme,
    /// Last arc of the algorithm's OID (RFC 9881 §3).
    arc: u8,
    /// SHA-256 of the raw public key.
    public_key_sha256: &'static str,
    signature: &'static [u8],
}

const VECTORS: [Vector; 3] = [
    Vector {
        scheme: SignatureScheme::MlDsa44,
        arc: 17,
        public_key_sha256: "9f107644c1084526af3bc8098680b05499a2325a644e388fb4f970e058d19d46",
        signature: include_bytes!("testdata/ml_dsa_44.sig"),
    },
    Vector {
        scheme: SignatureScheme::MlDsa65,
        arc: 18,
        public_key_sha256: "d666806e11cee19a7c989f7445f90dd419cf4d2d51db8c0fdb4c0f0a542238c9",
        signature: include_bytes!("testdata/ml_dsa_65.sig"),
    },
    Vector {
        scheme: SignatureScheme::MlDsa87,
        arc: 19,
        public_key_sha256: "91dc389cfaa01470b7f66eee45a4ae9026d154817c754dfe22298b3fa241ffcd",
        signature: include_bytes!("testdata/ml_dsa_87.sig"),
    },
];

/// `PrivateKeyInfo` that holds the seed alone (RFC 9881 §6).
fn pkcs8_of_seed(arc: u8) -> Vec<u8> {
    let header = b"\x30\x34\x02\x01\x00\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03";
    let seed: Vec<u8> = (0..32).collect();
    [&header[..], &[arc], b"\x04\x22\x80\x20", &seed].concat()
}

#[test]
fn agrees_with_another_implementation() {
    for vector in VECTORS {
        let der = pkcs8_of_seed(vector.arc);
        let key = PrivateKey::from_pkcs8_der(&der).unwrap();
        assert_eq!(key.default_scheme(), vector.scheme);
        assert_eq!(*key.to_pkcs8_der().unwrap(), der);

        // The raw key stands at the end of the SubjectPublicKeyInfo, behind 22 bytes.
        let raw = &key.public_key().spki_der()[22..];
        let digest = HashAlgorithm::Sha256.digest(raw);
        assert_eq!(hex::encode(digest), vector.public_key_sha256);

        let verify = |message| {
            key.public_key()
                .verify(vector.scheme, Message::Raw(message), vector.signature)
        };
        verify(b"message").unwrap();
        verify(b"massage").unwrap_err();
    }
}
