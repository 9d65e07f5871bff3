//! Public keys and certificates of SSH, in one line, that devices keep in slots.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ssh_key::{Certificate, HashAlg, PublicKey};

fuzz_target!(|line: &str| {
    let line = line.trim();
    if let Ok(certificate) = Certificate::from_openssh(line) {
        let key = PublicKey::from(certificate.public_key().clone());
        std::hint::black_box((certificate.valid_before(), key.fingerprint(HashAlg::Sha256)));
    }
    if let Ok(key) = PublicKey::from_openssh(line) {
        let fingerprint = key.fingerprint(HashAlg::Sha256);
        let written = key.to_openssh().expect("what was read can be written");
        let again = PublicKey::from_openssh(&written).expect("what was written can be read");
        assert_eq!(again.fingerprint(HashAlg::Sha256), fingerprint);
    }
});
