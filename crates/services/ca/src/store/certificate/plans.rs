//! The indexes are there, and the databases use them.

use std::sync::Arc;

use lamassu_core::clock::{ManualClock, SharedClock};
use lamassu_core::query::{ListRequest, QueryLimits};
use lamassu_db::list::explain;
use lamassu_db::{Db, WriteSet, params, sql};
use lamassu_testing::TestDatabase;

use super::TABLE;
use crate::store::SCHEMA;

/// Twenty thousand certificates, each with a number, a key, a fingerprint and a name of its own.
async fn fill(db: &Db) {
    let numbers =
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)";
    let mut set = WriteSet::new();
    set.execute(sql(
        format!(
            "INSERT INTO certificate (id, serial_number, revision, created_at, der, status, \
             certificate_type, engine_id, is_ca, subject_common_name, \
             subject_common_name_folded, subject_key_id, authority_key_id, key_type, key_bits, \
             key_strength, key_usage, extended_key_usage, valid_from, valid_to, issuer_ca_id, \
             issuer_serial_number, issuer_level, revocation_timestamp, revocation_reason, \
             expired_by_job, fingerprint) {numbers} \
             SELECT 'id' || CAST(i AS TEXT), CAST(100000 + i AS TEXT), 1, i, CAST('d' AS BYTEA), \
             'ACTIVE', 'MANAGED', '', $1, 'cn', 'cn', 'key' || CAST(i AS TEXT), '', 'RSA', 1, \
             'LOW', '[]', '[]', 1, 2, 'ca', '00', 0, 0, 'Unspecified', $1, \
             'print' || CAST(i AS TEXT) FROM n"
        ),
        params![false],
    ));
    set.execute(sql(
        format!(
            "INSERT INTO certificate_san (certificate_id, value, value_folded) {numbers} \
             SELECT 'id' || CAST(i AS TEXT), 'Name' || CAST(i AS TEXT), 'name' || CAST(i AS TEXT) \
             FROM n"
        ),
        params![],
    ));
    set.execute(sql("ANALYZE certificate", params![]));
    set.execute(sql("ANALYZE certificate_san", params![]));
    db.commit(set).await.unwrap();
}

#[tokio::test]
async fn certificates_are_found_by_index() {
    let clock = Arc::new(ManualClock::at(time::OffsetDateTime::UNIX_EPOCH));
    let database = TestDatabase::fresh();
    let db = database.open(&(clock as SharedClock)).await;
    db.migrate(SCHEMA).await.unwrap();
    fill(&db).await;
    for (filter, index) in [
        ("serial_number[equal]100777", "certificate_serial"),
        ("subject_key_id[equal]key777", "certificate_subject_key"),
        ("fingerprint[equal]print777", "certificate_fingerprint"),
        ("fingerprint[eq_ic]PRINT777", "certificate_fingerprint"),
        ("san[contains]Name777", "certificate_san_value"),
        ("san[contains_ignorecase]NAME777", "certificate_san_folded"),
    ] {
        let query = format!("filter={filter}");
        let request = ListRequest::parse(&query, TABLE.fields, QueryLimits::default()).unwrap();
        let plan = explain(&db, &TABLE, &request, &[]).await.unwrap();
        assert!(plan.contains(index), "{filter}: {plan}");
        let whole = ["SCAN certificate", "Seq Scan"];
        assert!(
            !whole.iter().any(|scan| plan.contains(scan)),
            "{filter}: {plan}"
        );
    }
}
