//! Tables of the validation authority: SQL and rows, nothing else.

pub(crate) mod delta;
pub(crate) mod responder_key;
pub(crate) mod revoked;
pub(crate) mod role;
pub(crate) mod shard;

use lamassu_db::{Migration, Schema};

pub use self::role::ROLE_FIELDS;

/// The tables of this crate.
pub const SCHEMA: Schema = Schema {
    name: "va",
    migrations: &[
        Migration::portable(1, "roles", include_str!("../migrations/V0001__roles.sql")),
        Migration::portable(
            2,
            "role_by_ca",
            include_str!("../migrations/V0002__role_by_ca.sql"),
        ),
        Migration::portable(
            3,
            "delta_crls",
            include_str!("../migrations/V0003__delta_crls.sql"),
        ),
        Migration {
            version: 13,
            name: "crl_shards",
            sqlite: include_str!("../migrations/V0013__crl_shards.sqlite.sql"),
            postgres: include_str!("../migrations/V0013__crl_shards.postgres.sql"),
        },
        Migration::portable(
            14,
            "responder_keys",
            include_str!("../migrations/V0014__responder_keys.sql"),
        ),
        Migration::portable(
            15,
            "responder_certificates",
            include_str!("../migrations/V0015__responder_certificates.sql"),
        ),
        Migration::portable(
            16,
            "imported_crls",
            include_str!("../migrations/V0016__imported_crls.sql"),
        ),
        Migration::portable(
            17,
            "shard_expiry",
            include_str!("../migrations/V0017__shard_expiry.sql"),
        ),
        Migration::portable(
            18,
            "shard_entries",
            include_str!("../migrations/V0018__shard_entries.sql"),
        ),
    ],
};
