//! Metrics of the validation authority.

use ::metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use lamassu_x509::ocsp::{CertStatus, OcspResponseStatus};
use time::Duration;

/// OCSP responses, by their status.
const OCSP_RESPONSES: &str = "lamassu_ocsp_responses_total";
/// Certificates that OCSP answers were about, by their status.
const OCSP_CERTIFICATES: &str = "lamassu_ocsp_certificates_total";
/// CRLs made.
const CRLS_MADE: &str = "lamassu_crl_made_total";
/// CRLs that could not be made.
const CRLS_FAILED: &str = "lamassu_crl_failed_total";
/// Entries of the CRLs made.
const CRL_ENTRIES: &str = "lamassu_crl_entries";
/// Revoked entries that the comparison with the CA service had to repair.
const ENTRIES_REPAIRED: &str = "lamassu_va_entries_repaired_total";
/// Age of the CA's newest CRL that is the oldest, in seconds.
const CRL_OLDEST_AGE: &str = "lamassu_crl_oldest_age_seconds";
/// Time until the first of the newest CRLs expires, in seconds; negative when one has.
const CRL_FIRST_EXPIRY: &str = "lamassu_crl_first_expiry_seconds";

/// Tells the recorder what the metrics mean; call once after installing it.
pub fn describe_metrics() {
    describe_counter!(OCSP_RESPONSES, "OCSP responses by status");
    describe_counter!(
        OCSP_CERTIFICATES,
        "Certificates that OCSP answers were about by status"
    );
    describe_counter!(CRLS_MADE, "CRLs made");
    describe_counter!(CRLS_FAILED, "CRLs that could not be made");
    describe_histogram!(CRL_ENTRIES, "Entries of the CRLs made");
    describe_counter!(
        ENTRIES_REPAIRED,
        "Revoked entries that the comparison with the CA service had to repair"
    );
    counter!(ENTRIES_REPAIRED).absolute(0);
    describe_gauge!(
        CRL_OLDEST_AGE,
        "Age of the oldest among the newest CRLs of all CAs in seconds"
    );
    describe_gauge!(
        CRL_FIRST_EXPIRY,
        "Time until the first of the newest CRLs expires in seconds"
    );
}

pub(crate) fn ocsp_response(status: OcspResponseStatus) {
    let status = match status {
        OcspResponseStatus::Successful => "successful",
        OcspResponseStatus::MalformedRequest => "malformed_request",
        OcspResponseStatus::InternalError => "internal_error",
        OcspResponseStatus::TryLater => "try_later",
        OcspResponseStatus::SigRequired => "sig_required",
        OcspResponseStatus::Unauthorized => "unauthorized",
    };
    counter!(OCSP_RESPONSES, "status" => status).increment(1);
}

pub(crate) fn ocsp_certificate(status: CertStatus) {
    let status = match status {
        CertStatus::Good => "good",
        CertStatus::Revoked { .. } => "revoked",
        CertStatus::Unknown => "unknown",
    };
    counter!(OCSP_CERTIFICATES, "status" => status).increment(1);
}

pub(crate) fn crl_made(n_entries: u64) {
    counter!(CRLS_MADE).increment(1);
    // A histogram takes floating point numbers; a count of entries fits one exactly.
    histogram!(CRL_ENTRIES).record(f64::from(u32::try_from(n_entries).unwrap_or(u32::MAX)));
}

pub(crate) fn crl_failed() {
    counter!(CRLS_FAILED).increment(1);
}

pub(crate) fn entries_repaired(n: usize) {
    counter!(ENTRIES_REPAIRED).increment(u64::try_from(n).unwrap_or(u64::MAX));
}

pub(crate) fn crl_overview(oldest_age: Duration, until_first_expiry: Duration) {
    gauge!(CRL_OLDEST_AGE).set(oldest_age.as_seconds_f64());
    gauge!(CRL_FIRST_EXPIRY).set(until_first_expiry.as_seconds_f64());
}
