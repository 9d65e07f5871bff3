//! What lists can be filtered and sorted by.

use lamassu_core::ca::{CaRequestStatus, CertificateStatus, CertificateType, JobKind, JobStatus};
use lamassu_core::query::{ElementTable, Field, Hex};
use lamassu_core::usage::RevocationReason;
use lamassu_http::Listing;

/// The fields that certificates have, with those of the list itself behind.
macro_rules! certificate_fields {
    ($($own:expr),+ $(,)?) => {
        &[
            Field::enumeration("type", "certificate_type").choices(CertificateType::NAMES),
            Field::string("subject_key_id", "subject_key_id")
                .folded("subject_key_id")
                .hex(Hex::Octets),
            Field::string("issuer_meta.id", "issuer_ca_id").alias("issuer_metadata.id"),
            Field::enumeration("status", "status").choices(CertificateStatus::NAMES),
            Field::string("engine_id", "engine_id"),
            Field::date("valid_to", "valid_to"),
            Field::date("valid_from", "valid_from"),
            Field::date("revocation_timestamp", "revocation_timestamp"),
            Field::enumeration("revocation_reason", "revocation_reason")
                .usual("Unspecified")
                .choices(RevocationReason::NAMES),
            Field::string_array("extensions.key_usage", "key_usage"),
            Field::string_array("extensions.extended_key_usage", "extended_key_usage"),
            Field::boolean("is_ca", "is_ca"),
            // Lower-case as it is stored, so that the column is its own folded text.
            Field::string("fingerprint", "fingerprint")
                .folded("fingerprint")
                .nullable()
                .hex(Hex::Octets),
            Field::string_array("san", "id").elements_in(ALTERNATIVE_NAMES),
            $($own),+
        ]
    };
}

/// Hexadecimal in lower case, so that the column is its own folded text.
const fn serial_number() -> Field {
    Field::string("serial_number", "serial_number")
        .folded("serial_number")
        .hex(Hex::Number)
}

/// Fields of certificate lists.
pub const CERTIFICATE_FIELDS: &[Field] = certificate_fields![
    serial_number().searched_in("certificate_serial_text"),
    Field::string("subject.common_name", "subject_common_name")
        .folded("subject_common_name_folded")
        .searched_in("certificate_text"),
    Field::json("metadata", "metadata").nullable(),
];

/// Where the subject alternative names of certificates are found.
const ALTERNATIVE_NAMES: ElementTable = ElementTable {
    table: "certificate_san",
    owner: "certificate_id",
};

/// Fields of CA lists: those of the CA's certificate and its own. `metadata` is the CA's.
pub const AUTHORITY_FIELDS: &[Field] = certificate_fields![
    serial_number(),
    Field::string("subject.common_name", "subject_common_name")
        .folded("subject_common_name_folded"),
    Field::json("metadata", "ca_metadata"),
    Field::string("id", "ca_id"),
    Field::string("profile_id", "ca_profile_id"),
    Field::date("creation_ts", "ca_created_at"),
    Field::number("level", "ca_level"),
];

/// Fields of lists of requests for CAs.
pub const REQUEST_FIELDS: &[Field] = &[
    Field::string("id", "id"),
    Field::string("key_id", "key_id").hex(Hex::Octets),
    Field::string("engine_id", "engine_id"),
    Field::string("subject.common_name", "subject_common_name")
        .folded("subject_common_name_folded"),
    Field::enumeration("status", "status").choices(CaRequestStatus::NAMES),
    Field::string("fingerprint", "fingerprint").hex(Hex::Octets),
    Field::date("creation_ts", "created_at"),
    Field::json("metadata", "metadata"),
];

/// Fields of lists of jobs.
pub const JOB_FIELDS: &[Field] = &[
    Field::string("id", "id"),
    Field::enumeration("kind", "kind").choices(JobKind::NAMES),
    Field::enumeration("status", "status").choices(JobStatus::NAMES),
    Field::date("creation_ts", "created_at"),
];

/// Fields of profile lists.
pub const PROFILE_FIELDS: &[Field] = &[
    Field::string("id", "id"),
    Field::string("name", "name").folded("name_folded"),
];

/// Ties lists to their fields, for the HTTP layer.
macro_rules! listings {
    ($($name:ident = $fields:ident),+ $(,)?) => {$(
        /// A resource that has lists.
        #[derive(Clone, Copy, Debug)]
        pub(crate) struct $name;

        impl Listing for $name {
            const FIELDS: &'static [Field] = $fields;
        }
    )+};
}

listings! {
    Certificates = CERTIFICATE_FIELDS,
    Authorities = AUTHORITY_FIELDS,
    Requests = REQUEST_FIELDS,
    Jobs = JOB_FIELDS,
    Profiles = PROFILE_FIELDS,
}
