//! Certificates from devices, operators and foreign CAs, and all that is asked of one.
#![no_main]

use lamassu_x509::{Certificate, ocsp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(certificate) = Certificate::from_der(bytes.to_vec()) else {
        return;
    };
    assert_eq!(certificate.as_der().as_ref(), bytes);
    let (issuer, subject) = (certificate.issuer(), certificate.subject());
    assert!(subject.matches(subject));
    if let Ok(issuable) = subject.issuable() {
        assert_eq!(issuable.issuable().as_ref(), Ok(&issuable));
    }
    let extensions = certificate.extensions();
    let _answers = std::hint::black_box((
        issuer.subject_fields(),
        extensions.key_usage(),
        extensions.extended_key_usage(),
        extensions.basic_constraints(),
        extensions.subject_alt_names(),
        extensions.access_locations(),
        certificate.key_identifier(),
        certificate.serial().to_hex(),
        certificate.unreadable_by_go(),
        certificate.is_self_signed(),
        ocsp::issuer_keys(&certificate),
    ));
});
