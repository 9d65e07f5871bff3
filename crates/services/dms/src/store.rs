//! The tables `dms` and `approval`.

pub(crate) mod approval;
mod dms;
pub(crate) mod password;
pub(crate) mod refused;
pub(crate) mod repeat;

pub use approval::APPROVAL_FIELDS;
pub use dms::FIELDS;
pub(crate) use dms::{
    NEW_ID, REVISION, StoredDms, TABLE, by_id, delete, insert, update, with_clear_secrets,
};
pub use password::FIELDS as PASSWORD_FIELDS;
pub use refused::FIELDS as REFUSED_FIELDS;

use lamassu_db::{Migration, Schema};

/// The tables of this crate.
pub const SCHEMA: Schema = Schema {
    name: "dms",
    migrations: &[
        Migration::portable(1, "dms", include_str!("../migrations/V0001__dms.sql")),
        Migration::portable(
            2,
            "secrets",
            include_str!("../migrations/V0002__secrets.sql"),
        ),
        Migration::portable(
            3,
            "enrollment_passwords",
            include_str!("../migrations/V0003__enrollment_passwords.sql"),
        ),
        Migration::portable(
            4,
            "refused_enrollments",
            include_str!("../migrations/V0004__refused_enrollments.sql"),
        ),
        Migration::portable(
            5,
            "repeats",
            include_str!("../migrations/V0005__repeats.sql"),
        ),
        Migration::portable(
            10,
            "approvals",
            include_str!("../migrations/V0010__approvals.sql"),
        ),
        Migration::portable(
            11,
            "repeats_before_issuing",
            include_str!("../migrations/V0011__repeats_before_issuing.sql"),
        ),
        Migration::portable(
            12,
            "approvals_bound",
            include_str!("../migrations/V0012__approvals_bound.sql"),
        ),
        Migration::portable(
            13,
            "passwords_by_digest",
            include_str!("../migrations/V0013__passwords_by_digest.sql"),
        ),
        Migration::portable(
            14,
            "approvals_pending",
            include_str!("../migrations/V0014__approvals_pending.sql"),
        ),
    ],
};
