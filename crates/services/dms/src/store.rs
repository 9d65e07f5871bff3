//! The tables `dms` and `approval`.

pub(crate) mod approval;
mod dms;

pub use approval::APPROVAL_FIELDS;
pub use dms::FIELDS;
pub(crate) use dms::{NEW_ID, REVISION, StoredDms, TABLE, by_id, insert, update};

use lamassu_db::{Migration, Schema};

/// The tables of this crate.
pub const SCHEMA: Schema = Schema {
    name: "dms",
    migrations: &[
        Migration::portable(1, "dms", include_str!("../migrations/V0001__dms.sql")),
        Migration::portable(
            10,
            "approvals",
            include_str!("../migrations/V0010__approvals.sql"),
        ),
    ],
};
