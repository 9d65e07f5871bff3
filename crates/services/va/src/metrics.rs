//! Metrics of the validation authority.

use ::metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use lamassu_core::va::CrlShard;
use lamassu_x509::ocsp::{CertStatus, OcspResponseStatus};
use time::Duration;

/// OCSP responses, by their status.
const OCSP_RESPONSES: &str = "lamassu_ocsp_responses_total";
/// Certificates that OCSP answers were about, by their status.
const OCSP_CERTIFICATES: &str = "lamassu_ocsp_certificates_total";
/// Whether an answer that others could have asked for was signed before.
const OCSP_PRESIGNED: &str = "lamassu_ocsp_presigned_total";
/// CRLs made.
const CRLS_MADE: &str = "lamassu_crl_made_total";
/// CRLs that could not be made.
const CRLS_FAILED: &str = "lamassu_crl_failed_total";
/// Entries of the CRLs made.
const CRL_ENTRIES: &str = "lamassu_crl_entries";
/// Time from the first entry of a CRL to its signature, in seconds.
const CRL_SECONDS: &str = "lamassu_crl_build_seconds";
/// Size of the CRLs made, in bytes.
const CRL_BYTES: &str = "lamassu_crl_size_bytes";
/// Revoked entries that the comparison with the CA service had to repair.
const ENTRIES_REPAIRED: &str = "lamassu_va_entries_repaired_total";
/// Age of the CA's newest CRL that is the oldest, in seconds.
const CRL_OLDEST_AGE: &str = "lamassu_crl_oldest_age_seconds";
/// Time until the first of the newest CRLs expires, in seconds; negative when one has.
const CRL_FIRST_EXPIRY: &str = "lamassu_crl_first_expiry_seconds";

/// Shards that have a CRL.
const CRL_SHARDS: &str = "lamassu_crl_shards";
/// Time until the first of the newest CRLs of shards expires, in seconds; negative when one has.
const SHARD_FIRST_EXPIRY: &str = "lamassu_crl_shard_first_expiry_seconds";

/// Which kind of CRL was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CrlKind {
    /// A complete one.
    Complete,
    /// What changed since a complete one.
    Delta,
    /// One that was made elsewhere.
    Imported,
    /// One of a shard.
    Shard(CrlShard),
}

/// Tells the recorder what the metrics mean; call once after installing it.
pub fn describe_metrics() {
    describe_counter!(OCSP_RESPONSES, "OCSP responses by status");
    describe_counter!(
        OCSP_CERTIFICATES,
        "Certificates that OCSP answers were about by status"
    );
    describe_counter!(
        OCSP_PRESIGNED,
        "OCSP questions without nonce by whether the answer was signed before"
    );
    describe_counter!(CRLS_MADE, "CRLs published by kind");
    describe_counter!(CRLS_FAILED, "CRLs that could not be made");
    describe_histogram!(CRL_ENTRIES, "Entries of the CRLs made");
    describe_histogram!(
        CRL_SECONDS,
        "Time from the first entry of a CRL to its signature in seconds"
    );
    describe_histogram!(CRL_BYTES, "Size of the CRLs made in bytes");
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
    describe_gauge!(CRL_SHARDS, "Shards that have a CRL");
    describe_gauge!(
        SHARD_FIRST_EXPIRY,
        "Time until the first of the newest CRLs of shards expires in seconds"
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

/// Whether an answer was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It was signed before.
    Found,
    /// It had to be made.
    Missing,
}

pub(crate) fn ocsp_presigned(presence: Presence) {
    let presence = match presence {
        Presence::Found => "found",
        Presence::Missing => "missing",
    };
    counter!(OCSP_PRESIGNED, "answer" => presence).increment(1);
}

/// A list was built and signed, which does not mean yet that it is published.
pub(crate) fn crl_built(n_entries: u64, n_bytes: usize, elapsed: std::time::Duration) {
    // A histogram takes floating point numbers; a count of entries fits one exactly.
    histogram!(CRL_ENTRIES).record(f64::from(u32::try_from(n_entries).unwrap_or(u32::MAX)));
    histogram!(CRL_BYTES).record(f64::from(u32::try_from(n_bytes).unwrap_or(u32::MAX)));
    histogram!(CRL_SECONDS).record(elapsed.as_secs_f64());
}

/// A CRL was published.
pub(crate) fn crl_made(kind: CrlKind) {
    let kind = match kind {
        CrlKind::Complete => "complete",
        CrlKind::Delta => "delta",
        CrlKind::Imported => "imported",
        CrlKind::Shard(_) => "shard",
    };
    counter!(CRLS_MADE, "kind" => kind).increment(1);
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

pub(crate) fn shard_overview(count: u64, until_first_expiry: Option<Duration>) {
    gauge!(CRL_SHARDS).set(f64::from(u32::try_from(count).unwrap_or(u32::MAX)));
    if let Some(left) = until_first_expiry {
        gauge!(SHARD_FIRST_EXPIRY).set(left.as_seconds_f64());
    }
}
