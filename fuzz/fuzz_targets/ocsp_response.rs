//! OCSP responses of other responders.
#![no_main]

use lamassu_x509::ocsp::OcspResponse;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(response) = OcspResponse::from_der(bytes.to_vec()) {
        std::hint::black_box(response.basic.map(|basic| basic.certificates()).transpose()).ok();
    }
});
