//! Signatures made by the `openssl` program.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use lamassu_crypto::{
    Curve, HashAlgorithm, KeySpec, Message, PrivateKey, PublicKey, RsaPssParams, SignatureScheme,
    VerifyError,
};

/// A directory with one private key, made by openssl.
pub(crate) struct OpensslKey {
    directory: tempfile::TempDir,
}

/// Runs `openssl`, giving its standard output.
pub(crate) fn openssl<S: AsRef<std::ffi::OsStr>>(
    arguments: impl IntoIterator<Item = S>,
) -> Vec<u8> {
    let output = Command::new("openssl").args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    output.stdout
}

impl OpensslKey {
    /// `arguments` are those of `openssl genpkey`.
    pub(crate) fn generate(arguments: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let key = Self { directory };
        let out = key.path("key.pem");
        let arguments = format!("genpkey -out {} {arguments}", out.display());
        openssl(arguments.split_whitespace());
        key
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn pem(&self) -> Vec<u8> {
        fs::read(self.path("key.pem")).unwrap()
    }

    pub(crate) fn public(&self) -> PublicKey {
        let arguments = format!(
            "pkey -pubout -outform DER -in {}",
            self.path("key.pem").display()
        );
        let der = openssl(arguments.split_whitespace());
        PublicKey::from_spki_der(&der).unwrap()
    }

    /// Signs with `openssl dgst`, or `openssl pkeyutl -rawin` when `options` are none.
    fn sign(&self, message: &[u8], options: &str) -> Vec<u8> {
        let (key, input) = (self.path("key.pem"), self.path("message"));
        fs::write(&input, message).unwrap();
        let (key, input) = (key.display(), input.display());
        let arguments = if options.is_empty() {
            format!("pkeyutl -sign -rawin -inkey {key} -in {input}")
        } else {
            format!("dgst {options} -sign {key} {input}")
        };
        openssl(arguments.split_whitespace())
    }
}

fn flag(hash: HashAlgorithm) -> &'static str {
    match hash {
        HashAlgorithm::Sha1 => "-sha1",
        HashAlgorithm::Sha224 => "-sha224",
        HashAlgorithm::Sha256 => "-sha256",
        HashAlgorithm::Sha384 => "-sha384",
        HashAlgorithm::Sha512 => "-sha512",
    }
}

/// The signature verifies over the message and its digest, and over nothing else.
fn check(public: &PublicKey, scheme: SignatureScheme, message: &[u8], signature: &[u8]) {
    let verify = |message| public.verify(scheme, message, signature);
    assert_eq!(
        verify(Message::Raw(message)),
        Ok(()),
        "{public:?} {scheme:?}"
    );
    assert_eq!(verify(Message::Raw(b"another")), Err(VerifyError::Mismatch));
    if let Some(hash) = scheme.hash() {
        assert_eq!(verify(Message::Digest(&hash.digest(message))), Ok(()));
    }
    for n in [0, 1, signature.len() / 2, signature.len() - 1] {
        let mut changed = signature.to_vec();
        changed[n] ^= 0x10;
        let answer = public.verify(scheme, Message::Raw(message), &changed);
        assert_eq!(answer, Err(VerifyError::Mismatch), "{scheme:?} byte {n}");
    }
    for cut in [&signature[1..], &signature[..signature.len() - 1], &[]] {
        let answer = public.verify(scheme, Message::Raw(message), cut);
        assert_eq!(answer, Err(VerifyError::Mismatch), "{scheme:?}");
    }
}

#[test]
fn ecdsa_with_every_curve_and_hash() {
    for (curve, name) in [
        (Curve::P224, "secp224r1"),
        (Curve::P256, "prime256v1"),
        (Curve::P384, "secp384r1"),
        (Curve::P521, "secp521r1"),
    ] {
        let key = OpensslKey::generate(&format!("-algorithm EC -pkeyopt ec_paramgen_curve:{name}"));
        let public = key.public();
        assert_eq!(public.spec(), KeySpec::Ec(curve));
        for hash in HashAlgorithm::ALL {
            let signature = key.sign(b"message", flag(hash));
            check(
                &public,
                SignatureScheme::Ecdsa(hash),
                b"message",
                &signature,
            );
        }
    }
}

#[test]
fn rsa_pkcs1_with_every_hash_and_unusual_sizes() {
    for bits in [1024, 1031, 2048, 3072] {
        let key = OpensslKey::generate(&format!("-algorithm RSA -pkeyopt rsa_keygen_bits:{bits}"));
        let public = key.public();
        assert_eq!(public.spec(), KeySpec::Rsa(bits));
        for hash in HashAlgorithm::ALL {
            let signature = key.sign(b"message", flag(hash));
            check(
                &public,
                SignatureScheme::RsaPkcs1(hash),
                b"message",
                &signature,
            );
        }
    }
}

#[test]
fn rsa_pss_with_other_salts_and_mask_hashes() {
    // 1025 and 2041 bits: the padded message is a byte shorter than the modulus.
    for bits in [1024, 1025, 2041, 2048] {
        let key = OpensslKey::generate(&format!("-algorithm RSA -pkeyopt rsa_keygen_bits:{bits}"));
        let public = key.public();
        let cases = [
            (HashAlgorithm::Sha1, HashAlgorithm::Sha1, 20),
            (HashAlgorithm::Sha1, HashAlgorithm::Sha1, 0),
            (HashAlgorithm::Sha224, HashAlgorithm::Sha224, 28),
            (HashAlgorithm::Sha256, HashAlgorithm::Sha256, 32),
            (HashAlgorithm::Sha256, HashAlgorithm::Sha256, 0),
            (HashAlgorithm::Sha256, HashAlgorithm::Sha256, 20),
            (HashAlgorithm::Sha256, HashAlgorithm::Sha1, 32),
            (HashAlgorithm::Sha384, HashAlgorithm::Sha512, 11),
            (HashAlgorithm::Sha512, HashAlgorithm::Sha256, 61),
        ];
        for (hash, mgf_hash, salt_len) in cases {
            let options = format!(
                "{} -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:{salt_len} \
                 -sigopt rsa_mgf1_md:{}",
                flag(hash),
                flag(mgf_hash).trim_start_matches('-'),
            );
            let signature = key.sign(b"message", &options);
            let params = RsaPssParams {
                hash,
                mgf_hash,
                salt_len,
            };
            check(
                &public,
                SignatureScheme::RsaPssWith(params),
                b"message",
                &signature,
            );
            if params == RsaPssParams::matching(hash) {
                check(
                    &public,
                    SignatureScheme::RsaPss(hash),
                    b"message",
                    &signature,
                );
            } else {
                let usual = SignatureScheme::RsaPss(hash);
                let answer = public.verify(usual, Message::Raw(b"message"), &signature);
                assert_eq!(answer, Err(VerifyError::Mismatch), "{params:?}");
            }
        }
    }
}

#[test]
fn ed25519() {
    let key = OpensslKey::generate("-algorithm ED25519");
    let signature = key.sign(b"message", "");
    check(
        &key.public(),
        SignatureScheme::Ed25519,
        b"message",
        &signature,
    );
}

/// The other direction: openssl accepts what is signed here.
#[test]
fn openssl_verifies_what_is_signed_here() {
    for spec in [
        KeySpec::Rsa(2048),
        KeySpec::Ec(Curve::P224),
        KeySpec::Ec(Curve::P256),
        KeySpec::Ec(Curve::P384),
        KeySpec::Ec(Curve::P521),
    ] {
        let key = PrivateKey::generate(spec).unwrap();
        for hash in [
            HashAlgorithm::Sha256,
            HashAlgorithm::Sha384,
            HashAlgorithm::Sha512,
        ] {
            if let KeySpec::Rsa(_) = spec {
                let pss = "-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest";
                verify_by_openssl(&key, SignatureScheme::RsaPkcs1(hash), "");
                verify_by_openssl(&key, SignatureScheme::RsaPss(hash), pss);
            } else {
                verify_by_openssl(&key, SignatureScheme::Ecdsa(hash), "");
            }
        }
    }
}

fn verify_by_openssl(key: &PrivateKey, scheme: SignatureScheme, options: &str) {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| {
        let path = directory.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let der = write("key.der", key.public_key().spki_der());
    let signature = key.sign(scheme, Message::Raw(b"message")).unwrap();
    let arguments = format!(
        "dgst {} {options} -keyform DER -verify {} -signature {} {}",
        flag(scheme.hash().unwrap()),
        der.display(),
        write("signature", &signature).display(),
        write("message", b"message").display(),
    );
    openssl(arguments.split_whitespace());
}
