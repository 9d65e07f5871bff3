//! What is asked of many rows.

/// A list or statistics.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    /// What is asked for: path and query. `{column}` is the value of some certificate in the
    /// middle, `{soon}` and `{later}` are a month apart.
    pub(crate) ask: &'static str,
    /// Where the rows are, the condition on them, and the order of the list, for a bookmark in the
    /// middle; the parts of the order without their directions.
    pub(crate) rows: Option<Rows>,
}

/// The rows of a list in SQL.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows {
    pub(crate) table: &'static str,
    pub(crate) condition: &'static str,
    /// Columns, each perhaps with `DESC`.
    pub(crate) order: &'static [&'static str],
}

const fn case(ask: &'static str, condition: &'static str, order: &'static [&'static str]) -> Case {
    Case {
        ask,
        rows: Some(Rows {
            table: "certificate",
            condition,
            order,
        }),
    }
}

const fn few(ask: &'static str) -> Case {
    Case { ask, rows: None }
}

const CREATED: &[&str] = &["created_at", "id"];

/// Lists of certificates, statistics, lists of keys.
pub(crate) const CASES: &[Case] = &[
    case("ca/v1/certificates?", "1 = 1", CREATED),
    case(
        "ca/v1/certificates?filter=status[equal]ACTIVE",
        "status = 'ACTIVE'",
        CREATED,
    ),
    case(
        "ca/v1/certificates?filter=status[equal]REVOKED",
        "status = 'REVOKED'",
        CREATED,
    ),
    few("ca/v1/certificates?filter=status[equal]INACTIVE"),
    case(
        "ca/v1/certificates/status/EXPIRED?",
        "status = 'EXPIRED'",
        CREATED,
    ),
    case(
        "ca/v1/certificates?filter=issuer_metadata.id[equal]{issuer_ca_id}",
        "issuer_ca_id = '{issuer_ca_id}'",
        CREATED,
    ),
    case(
        "ca/v1/cas/{issuer_ca_id}/certificates?",
        "issuer_ca_id = '{issuer_ca_id}'",
        CREATED,
    ),
    case(
        "ca/v1/cas/bench/certificates/status/REVOKED?",
        "issuer_ca_id = 'bench' AND status = 'REVOKED'",
        CREATED,
    ),
    case(
        "ca/v1/certificates?filter=type[equal]IMPORTED_WITHOUT_KEY",
        "certificate_type = 'IMPORTED_WITHOUT_KEY'",
        CREATED,
    ),
    case(
        "ca/v1/certificates?filter=is_ca[equal]true",
        "is_ca",
        CREATED,
    ),
    case(
        "ca/v1/certificates?filter=revocation_reason[equal]KeyCompromise",
        "revocation_reason = 'KeyCompromise'",
        CREATED,
    ),
    few("ca/v1/certificates?filter=revocation_reason[equal]Superseded"),
    few("ca/v1/certificates?filter=subject.common_name[equal]{subject_common_name}"),
    few("ca/v1/certificates?filter=subject.common_name[equal_ignorecase]{subject_common_name}"),
    few("ca/v1/certificates?filter=serial_number[equal]{serial_number}"),
    few("ca/v1/certificates?filter=serial_number[equal_ignorecase]{serial_number}"),
    few("ca/v1/certificates?filter=fingerprint[equal]{fingerprint}"),
    few("ca/v1/certificates?filter=subject_key_id[equal]{subject_key_id}"),
    few("ca/v1/certificates?filter=san[contains]Gateway-10123455.example"),
    few("ca/v1/certificates?filter=subject.common_name[contains]{subject_common_name}"),
    few("ca/v1/certificates?filter=subject.common_name[contains_ignorecase]pump-10077"),
    few("ca/v1/certificates?filter=subject.common_name[contains_ignorecase]nowhere"),
    case(
        "ca/v1/certificates?filter=subject.common_name[contains_ignorecase]meter",
        "subject_common_name_folded LIKE '%meter%'",
        CREATED,
    ),
    few("ca/v1/certificates?filter=serial_number[contains]{serial_number}"),
    few(
        "ca/v1/certificates?filter=subject.common_name[contains_ignorecase]pump-10077\
         &sort_by=valid_from&sort_mode=desc",
    ),
    case(
        "ca/v1/certificates/expiration?expires_after={soon}&expires_before={later}&\
         sort_by=valid_to",
        "valid_to > {soon_micros} AND valid_to < {later_micros} \
         AND status NOT IN ('EXPIRED', 'REVOKED')",
        &["valid_to", "id"],
    ),
    case(
        "ca/v1/certificates/expiration?expires_after={soon}&expires_before={later}&",
        "valid_to > {soon_micros} AND valid_to < {later_micros} \
         AND status NOT IN ('EXPIRED', 'REVOKED')",
        CREATED,
    ),
    case(
        "ca/v1/certificates?sort_by=valid_from",
        "1 = 1",
        &["valid_from", "id"],
    ),
    case(
        "ca/v1/certificates?sort_by=valid_from&sort_mode=desc",
        "1 = 1",
        &["valid_from DESC", "id"],
    ),
    case(
        "ca/v1/certificates?sort_by=valid_to",
        "1 = 1",
        &["valid_to", "id"],
    ),
    case(
        "ca/v1/certificates?sort_by=valid_to&sort_mode=desc",
        "1 = 1",
        &["valid_to DESC", "id"],
    ),
    case(
        "ca/v1/certificates?sort_by=revocation_timestamp",
        "1 = 1",
        &["revocation_timestamp", "id"],
    ),
    case(
        "ca/v1/certificates?sort_by=revocation_timestamp&sort_mode=desc",
        "1 = 1",
        &["revocation_timestamp DESC", "id"],
    ),
    case(
        "ca/v1/certificates?sort_by=subject.common_name",
        "1 = 1",
        &["subject_common_name_folded", "subject_common_name", "id"],
    ),
    case(
        "ca/v1/certificates?sort_by=serial_number",
        "1 = 1",
        &["serial_number", "serial_number", "id"],
    ),
    case(
        "ca/v1/certificates?sort_by=valid_from&sort_mode=desc&filter=status[equal]ACTIVE",
        "status = 'ACTIVE'",
        &["valid_from DESC", "id"],
    ),
    case(
        "ca/v1/cas/{issuer_ca_id}/certificates?sort_by=valid_from&sort_mode=desc",
        "issuer_ca_id = '{issuer_ca_id}'",
        &["valid_from DESC", "id"],
    ),
    few("ca/v1/cas?"),
    few("ca/v1/stats?"),
    few("ca/v1/stats/{issuer_ca_id}?"),
    few("ca/v1/stats/bench?"),
    Case {
        ask: "kms/v1/keys?",
        rows: Some(Rows {
            table: "kms_key",
            condition: "state = 'ready'",
            order: &["created_at", "handle"],
        }),
    },
    Case {
        ask: "kms/v1/keys?sort_by=name",
        rows: Some(Rows {
            table: "kms_key",
            condition: "state = 'ready'",
            order: &["name_folded", "name", "handle"],
        }),
    },
    few("kms/v1/keys?filter=name[contains_ignorecase]key-10077"),
    few("kms/v1/stats?"),
];
