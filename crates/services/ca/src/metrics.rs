//! What the service counts. Names and help texts; labels come from closed sets.

use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};

const ISSUED: &str = "lamassu_ca_certificates_issued_total";
const ISSUE_SECONDS: &str = "lamassu_ca_issue_duration_seconds";
const REVOKED: &str = "lamassu_ca_certificates_revoked_total";
const EXPIRED: &str = "lamassu_ca_certificates_expired_total";
const AUTHORITIES: &str = "lamassu_ca_authorities_created_total";
const AUTHORITIES_IMPORTED: &str = "lamassu_ca_authorities_imported_total";
const AUTHORITIES_REISSUED: &str = "lamassu_ca_authorities_reissued_total";
const IMPORTED: &str = "lamassu_ca_certificates_imported_total";
const RAW_SIGNATURES: &str = "lamassu_ca_raw_signatures_total";

/// Gives every metric of this service its help text; called once by the binary.
pub fn describe_metrics() {
    describe_counter!(ISSUED, "Certificates issued from requests");
    describe_histogram!(
        ISSUE_SECONDS,
        Unit::Seconds,
        "Time from a checked request to a stored certificate"
    );
    describe_counter!(REVOKED, "Certificates revoked or put on hold");
    describe_counter!(EXPIRED, "Certificates that reached their end");
    describe_counter!(AUTHORITIES, "CAs created");
    describe_counter!(AUTHORITIES_IMPORTED, "CAs imported");
    describe_counter!(AUTHORITIES_REISSUED, "CAs that got a new certificate");
    describe_counter!(IMPORTED, "Certificates imported");
    describe_counter!(
        RAW_SIGNATURES,
        "Messages signed with the keys of CAs for clients"
    );
}

pub(crate) fn issued(seconds: f64) {
    counter!(ISSUED).increment(1);
    histogram!(ISSUE_SECONDS).record(seconds);
}

pub(crate) fn revoked() {
    counter!(REVOKED).increment(1);
}

pub(crate) fn revoked_many(n: u64) {
    counter!(REVOKED).increment(n);
}

pub(crate) fn expired(n: u64) {
    counter!(EXPIRED).increment(n);
}

pub(crate) fn authority_created() {
    counter!(AUTHORITIES).increment(1);
}

pub(crate) fn authority_imported() {
    counter!(AUTHORITIES_IMPORTED).increment(1);
}

pub(crate) fn authority_reissued() {
    counter!(AUTHORITIES_REISSUED).increment(1);
}

pub(crate) fn certificate_imported() {
    counter!(IMPORTED).increment(1);
}

pub(crate) fn raw_signature() {
    counter!(RAW_SIGNATURES).increment(1);
}
