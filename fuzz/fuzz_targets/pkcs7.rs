//! PKCS#7 with certificates; what is read is written and read again.
#![no_main]

use lamassu_x509::pkcs7::{certificates, certs_only};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(list) = certificates(bytes.to_vec()) {
        let der = certs_only(list.iter().map(|certificate| certificate.as_der().as_ref()));
        assert_eq!(certificates(der).as_ref(), Ok(&list));
    }
});
