//! Versioned, forward-only migrations; every crate with tables has a history of its own.

use std::sync::Arc;

use crate::backend::Dialect;
use crate::error::MigrationError;

/// One step of a schema, applied once, in its own transaction.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// From 1, without gaps.
    pub version: u32,
    /// Lower-case words joined by `_`, for example `keys`.
    pub name: &'static str,
    /// The text for SQLite.
    pub sqlite: &'static str,
    /// The text for PostgreSQL.
    pub postgres: &'static str,
}

impl Migration {
    /// A migration whose text both databases take: `TEXT`, `BIGINT`, `BOOLEAN`, `BYTEA` and
    /// `JSONB` are type names that SQLite accepts as well.
    ///
    /// A `JSONB` column holds objects or arrays only: SQLite would store a bare number as one.
    pub const fn portable(version: u32, name: &'static str, text: &'static str) -> Self {
        Self {
            version,
            name,
            sqlite: text,
            postgres: text,
        }
    }

    const fn text(&self, dialect: Dialect) -> &'static str {
        match dialect {
            Dialect::Sqlite => self.sqlite,
            Dialect::Postgres => self.postgres,
        }
    }
}

/// The schema of one crate.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// Names the history table (`schema_history_<name>`): lower-case letters and `_`.
    pub name: &'static str,
    /// All its migrations, oldest first.
    pub migrations: &'static [Migration],
}

impl Schema {
    pub(crate) fn history_table(&self) -> String {
        format!("schema_history_{}", self.name)
    }

    /// The newest version that this program knows, 0 for none.
    pub(crate) fn known_version(&self) -> i64 {
        let newest = self
            .migrations
            .iter()
            .map(|migration| migration.version)
            .max();
        i64::from(newest.unwrap_or_default())
    }

    /// A runner that has looked at nothing yet.
    pub(crate) fn runner(&self, dialect: Dialect) -> Result<refinery::Runner, MigrationError> {
        let migrations = self
            .migrations
            .iter()
            .map(|migration| {
                let name = format!("V{}__{}", migration.version, migration.name);
                refinery::Migration::unapplied(&name, migration.text(dialect))
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| self.failed(error))?;
        let mut runner = refinery::Runner::new(&migrations);
        runner.set_migration_table_name(self.history_table());
        Ok(runner)
    }

    pub(crate) fn failed(
        &self,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> MigrationError {
        MigrationError::Failed {
            history: self.name,
            source: Arc::new(source),
        }
    }

    /// Refuses a database that a newer program has already changed.
    pub(crate) fn check_found(&self, found: i64) -> Result<(), MigrationError> {
        let known = self.known_version();
        if found > known {
            return Err(MigrationError::NewerSchema {
                history: self.name,
                found,
                known,
            });
        }
        Ok(())
    }
}

/// The tables of this crate itself.
pub(crate) const STORAGE: Schema = Schema {
    name: "storage",
    migrations: &[Migration {
        version: 1,
        name: "storage",
        sqlite: include_str!("../migrations/V0001__storage.sqlite.sql"),
        postgres: include_str!("../migrations/V0001__storage.postgres.sql"),
    }],
};
