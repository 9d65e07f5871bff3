//! PEM, and base64 of PEM.
#![no_main]

use lamassu_crypto::pem::{PemLabel, blocks};
use lamassu_x509::pem::{base64_pem_to_der, certificate_ders, der_to_pem, pem_to_der};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(der) = pem_to_der(bytes) {
        let pem = der_to_pem(PemLabel::Certificate, &der);
        assert_eq!(pem_to_der(pem.as_bytes()).as_ref(), Ok(&der));
    }
    assert!(certificate_ders(bytes).count() <= blocks(bytes).count());
    if let Ok(text) = std::str::from_utf8(bytes) {
        std::hint::black_box(base64_pem_to_der(text)).ok();
    }
});
