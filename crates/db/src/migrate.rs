//! Versioned, forward-only migrations; every crate with tables has a history of its own.

use std::borrow::Cow;
use std::sync::Arc;

use crate::backend::Dialect;
use crate::error::MigrationError;

/// One step of a schema, applied once, in one transaction with the note that it was.
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

    fn text(&self, dialect: Dialect) -> Cow<'static, str> {
        match dialect {
            Dialect::Sqlite => Cow::Borrowed(self.sqlite),
            Dialect::Postgres => Cow::Owned(by_bytes(self.postgres)),
        }
    }
}

/// Whether a start changes tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MigrateOnStart {
    /// Tables are brought up to date.
    #[default]
    Auto,
    /// A database that is not up to date is refused: somebody else brings it there beforehand.
    Never,
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

    /// What brings tables of version `found` up to date: a runner per migration, to be run one after the
    /// other, so that what one locks is free before the next, and what was done before a crash is not done again.
    /// Where nothing is there nobody waits, and one transaction does it all.
    pub(crate) fn steps(
        &self,
        dialect: Dialect,
        found: i64,
    ) -> Result<Vec<refinery::Runner>, MigrationError> {
        if found == 0 {
            return Ok(vec![self.runner(dialect)?]);
        }
        self.migrations
            .iter()
            .filter(|migration| i64::from(migration.version) > found)
            .map(|migration| {
                let version = i32::try_from(migration.version).unwrap_or(i32::MAX);
                let target = refinery::Target::Version(version);
                Ok(self.runner(dialect)?.set_target(target))
            })
            .chain([self.runner(dialect)])
            .collect()
    }

    /// A runner that has looked at nothing yet.
    pub(crate) fn runner(&self, dialect: Dialect) -> Result<refinery::Runner, MigrationError> {
        let migrations = self
            .migrations
            .iter()
            .map(|migration| {
                let name = format!("V{}__{}", migration.version, migration.name);
                refinery::Migration::unapplied(&name, &migration.text(dialect))
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| self.failed(error))?;
        let mut runner = refinery::Runner::new(&migrations);
        runner.set_migration_table_name(self.history_table());
        // Otherwise a migration and the note that it was made are two transactions, and a crash or a full
        // disk between them leaves tables that no program goes on from.
        runner = runner.set_grouped(true);
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

    /// Refuses a database that lacks something that this program needs.
    pub(crate) fn check_complete(&self, found: i64) -> Result<(), MigrationError> {
        let known = self.known_version();
        if found < known {
            return Err(MigrationError::OlderSchema {
                history: self.name,
                found,
                known,
            });
        }
        Ok(())
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

/// Columns of the type `TEXT` compare by bytes, as they do in SQLite, whatever the language of the
/// PostgreSQL database: its rules change with versions of the system, and indexes with them.
fn by_bytes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut previous = "";
    for part in text.split_inclusive(|c: char| c.is_whitespace() || c == ',' || c == ')') {
        let word = part.trim_end_matches(|c: char| c.is_whitespace() || c == ',' || c == ')');
        out.push_str(word);
        if word == "TEXT" && previous != "AS" {
            out.push_str(" COLLATE \"C\"");
        }
        out.push_str(part.strip_prefix(word).unwrap_or_default());
        if !word.is_empty() {
            previous = word;
        }
    }
    out
}

/// The tables of this crate itself.
pub(crate) const STORAGE: Schema = Schema {
    name: "storage",
    migrations: &[
        Migration {
            version: 1,
            name: "storage",
            sqlite: include_str!("../migrations/V0001__storage.sqlite.sql"),
            postgres: include_str!("../migrations/V0001__storage.postgres.sql"),
        },
        Migration {
            version: 2,
            name: "list_functions",
            // Connections register them.
            sqlite: "SELECT 1;",
            postgres: include_str!("../migrations/V0002__list_functions.postgres.sql"),
        },
        Migration {
            version: 3,
            name: "writer_marks",
            // One writer, and no connection that can break.
            sqlite: "SELECT 1;",
            postgres: include_str!("../migrations/V0003__writer_marks.postgres.sql"),
        },
        Migration {
            version: 4,
            name: "event_bodies",
            // SQLite compresses nothing.
            sqlite: "SELECT 1;",
            postgres: include_str!("../migrations/V0004__event_bodies.postgres.sql"),
        },
        Migration::portable(
            5,
            "audit_refusals",
            include_str!("../migrations/V0005__audit_refusals.sql"),
        ),
        Migration::portable(
            6,
            "audit_also",
            include_str!("../migrations/V0006__audit_also.sql"),
        ),
    ],
};

#[cfg(test)]
mod tests {
    use super::by_bytes;

    #[test]
    fn text_columns_compare_by_bytes() {
        assert_eq!(
            by_bytes("CREATE TABLE t (a TEXT, b TEXT NOT NULL, c  TEXT);"),
            "CREATE TABLE t (a TEXT COLLATE \"C\", b TEXT COLLATE \"C\" NOT NULL, \
             c  TEXT COLLATE \"C\");"
        );
        let view = "SELECT CAST(a AS TEXT), 'TEXT', \"TEXT\"";
        assert_eq!(by_bytes(view), view);
    }
}
