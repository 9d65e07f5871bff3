//! Certificate revocation lists.
#![no_main]

use lamassu_x509::crl::CertificateList;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(list) = CertificateList::from_der(bytes.to_vec()) {
        let _answers =
            std::hint::black_box((list.entries().count(), list.number(), list.base_number()));
    }
});
