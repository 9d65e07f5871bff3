//! SQL and rows, one file per noun. Row types and statement texts stay here.

pub(crate) mod authority;
pub(crate) mod ca_request;
pub(crate) mod cascade;
pub(crate) mod certificate;
pub(crate) mod intent;
pub(crate) mod job;
pub(crate) mod operation;
pub(crate) mod profile;

use lamassu_db::{DbError, Migration, Row, Schema};

/// The tables of this service.
pub const SCHEMA: Schema = Schema {
    name: "ca",
    migrations: &[
        Migration::portable(1, "ca", include_str!("../migrations/V0001__ca.sql")),
        Migration::portable(
            2,
            "certificate_serial",
            include_str!("../migrations/V0002__certificate_serial.sql"),
        ),
        Migration::portable(
            3,
            "enrollment_intents",
            include_str!("../migrations/V0003__enrollment_intents.sql"),
        ),
        Migration::portable(
            4,
            "ca_requests",
            include_str!("../migrations/V0004__ca_requests.sql"),
        ),
        Migration::portable(5, "jobs", include_str!("../migrations/V0005__jobs.sql")),
        Migration::portable(
            6,
            "certificate_index",
            include_str!("../migrations/V0006__certificate_index.sql"),
        ),
        Migration::portable(
            7,
            "ca_windows",
            include_str!("../migrations/V0007__ca_windows.sql"),
        ),
        Migration::portable(
            8,
            "cascades",
            include_str!("../migrations/V0008__cascades.sql"),
        ),
        Migration::portable(
            9,
            "list_indexes",
            include_str!("../migrations/V0009__list_indexes.sql"),
        ),
        Migration {
            version: 10,
            name: "certificate_counts",
            sqlite: include_str!("../migrations/V0010__certificate_counts.sqlite.sql"),
            postgres: include_str!("../migrations/V0010__certificate_counts.postgres.sql"),
        },
        Migration {
            version: 11,
            name: "certificate_text",
            sqlite: include_str!("../migrations/V0011__certificate_text.sqlite.sql"),
            postgres: include_str!("../migrations/V0011__certificate_text.postgres.sql"),
        },
        Migration {
            version: 12,
            name: "authority_entry",
            sqlite: include_str!("../migrations/V0012__authority_entry.sqlite.sql"),
            postgres: include_str!("../migrations/V0012__authority_entry.postgres.sql"),
        },
        Migration {
            version: 13,
            name: "certificate_serial_text",
            sqlite: include_str!("../migrations/V0013__certificate_serial_text.sqlite.sql"),
            postgres: include_str!("../migrations/V0013__certificate_serial_text.postgres.sql"),
        },
        Migration {
            version: 14,
            name: "crl_shards",
            sqlite: include_str!("../migrations/V0014__crl_shards.sqlite.sql"),
            postgres: include_str!("../migrations/V0014__crl_shards.postgres.sql"),
        },
    ],
};

/// A column that holds the name of one of a few values.
fn named<T>(
    row: &Row,
    column: &'static str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<T, DbError> {
    let name: String = row.get(column)?;
    read(&name).ok_or_else(|| DbError::corrupt(column, "unknown name"))
}
