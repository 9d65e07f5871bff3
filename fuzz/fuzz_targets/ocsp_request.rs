//! OCSP requests, which anybody may send.
#![no_main]

use lamassu_x509::ocsp::OcspRequest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = OcspRequest::from_der(bytes.to_vec()) {
        assert!(!request.requests().is_empty());
        assert!(request.requests().len() <= OcspRequest::MAX_REQUESTS);
        assert!(request.preferred_schemes().len() <= 16);
        std::hint::black_box(request.accepts_basic_response());
    }
});
