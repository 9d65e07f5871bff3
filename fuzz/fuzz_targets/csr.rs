//! Certification requests, up to the subject that would be issued.
#![no_main]

use lamassu_x509::CertificationRequest;
use lamassu_x509::cms::Capabilities;
use lamassu_x509::issue::Subject;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(request) = CertificationRequest::from_der(bytes.to_vec()) else {
        return;
    };
    assert_eq!(request.as_der().as_ref(), bytes);
    let capabilities = request.key_delivery().capabilities.clone();
    std::hint::black_box(capabilities.map(|der| Capabilities::from_der(&der).ok()));
    let _answers = std::hint::black_box((
        request.subject().issuable(),
        request.requested_extensions().subject_alt_names(),
        request.clone().verify(),
    ));
    if let Ok(waived) = request.waive_possession_by_policy() {
        std::hint::black_box(Subject::of_csr(&waived)).ok();
    }
});
