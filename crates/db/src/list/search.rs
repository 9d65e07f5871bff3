//! Finding texts by what they contain, with an index of their trigrams: three letters in a row.
//!
//! The index only preselects: what is compared in the end is the text itself, by case as the
//! operand says. Of arrays it is the elements that are compared. On PostgreSQL it is an index of `pg_trgm` over the folded column, which the
//! planner takes where it helps; on SQLite it is a table that is asked beforehand: a text that
//! thousands of rows contain is found sooner by going through the list in its order.
//! What was stored after the last row that is in the table (`n` of the table `<its name>_end`) is read
//! in any case. A text of less than three letters has no trigram.

use lamassu_core::query::{Condition as Wanted, Field, Filter, Membership, fold};
use sea_query::{Alias, Expr, ExprTrait};

use crate::backend::Dialect;
use crate::db::Db;
use crate::error::DbError;
use crate::params;
use crate::statement::sql;

/// From how many rows on the order of the list is gone through instead. About so many rows are
/// looked at either way then, where the list has a million.
const FEW: usize = 4_000;

/// About how many trigrams of a text are looked for: sixteen of them, spread over the text, are in hardly
/// another one, and each costs a look at all rows that have it.
const MAX_TRIGRAMS: usize = 16;

/// Of numbers so many of the last digits are enough, and better: serial numbers that are made at one time
/// begin alike, and what all have is long to read.
const LAST_DIGITS: usize = 12;

/// A run of so many digits is in few rows of a million, even alone.
const TELLING_DIGITS: usize = 5;

/// How an index of trigrams takes part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Preselect {
    /// It is asked within the statement.
    Yes,
    /// This one has been asked, and gave these numbers of rows, a JSON array, for this text.
    Rows {
        table: &'static str,
        value: String,
        rows: String,
    },
    /// It is not asked.
    No,
}

impl Preselect {
    /// How a page is found sooner.
    pub(super) async fn for_page(
        db: &Db,
        owners: &str,
        filters: &[Filter],
    ) -> Result<Self, DbError> {
        if db.dialect() == Dialect::Postgres {
            return Ok(Self::Yes);
        }
        for filter in filters {
            let Some(value) = contained(&filter.condition) else {
                continue;
            };
            let Some(table) = filter.field.search_table else {
                continue;
            };
            let Some(trigrams) = trigrams(filter.field, value) else {
                continue;
            };
            let text = format!(
                "SELECT rowid AS number FROM {table} WHERE {table} MATCH $1 UNION ALL \
                 SELECT rowid FROM {owners} WHERE rowid > (SELECT n FROM {table}_end) LIMIT {FEW}"
            );
            let found = db.rows(sql(text, params![trigrams])).await?;
            if found.len() < FEW {
                let rows = found.iter().map(|row| row.get::<i64>("number"));
                let rows: Vec<String> = rows
                    .map(|number| number.map(|number| number.to_string()))
                    .collect::<Result<_, _>>()?;
                return Ok(Self::Rows {
                    table,
                    value: value.to_owned(),
                    rows: format!("[{}]", rows.join(",")),
                });
            }
        }
        Ok(Self::No)
    }

    /// What every row fulfils whose text contains the value, by letter case or not; `None` where no
    /// index helps.
    pub(super) fn condition(&self, dialect: Dialect, field: &Field, value: &str) -> Option<Expr> {
        if dialect == Dialect::Postgres {
            // Without the index, too, it tells the planner how few rows there are.
            trigrams(field, value)?;
            let column = field.search_column.or(field.folded_column)?;
            let column = Expr::col(Alias::new(column));
            return Some(column.like(pattern(field, value)));
        }
        let table = field.search_table?;
        match self {
            Self::No => None,
            Self::Rows {
                table: of,
                value: text,
                rows,
            } => (*of == table && text == value).then(|| {
                let numbers = "rowid IN (SELECT value FROM json_each(?))";
                Expr::cust_with_values(numbers, [rows.clone()])
            }),
            Self::Yes => {
                let matches = format!(
                    "(rowid IN (SELECT rowid FROM {table} WHERE {table} MATCH ?) \
                     OR rowid > (SELECT n FROM {table}_end))"
                );
                Some(Expr::cust_with_values(matches, [trigrams(field, value)?]))
            }
        }
    }
}

/// The text that every row contains which fulfils the condition.
pub(super) fn contained(condition: &Wanted) -> Option<&str> {
    match condition {
        Wanted::Contains {
            membership: Membership::In,
            value,
            ..
        }
        | Wanted::Element {
            membership: Membership::In,
            value,
            ..
        } => Some(value),
        _ => None,
    }
}

/// Warns where texts are looked through one by one because the database has no index of their
/// trigrams with this name: on a PostgreSQL server without the extension for it.
///
/// # Errors
///
/// [`DbError`].
pub async fn warn_without_search_index(db: &Db, index: &'static str) -> Result<(), DbError> {
    if db.dialect() == Dialect::Sqlite {
        return Ok(());
    }
    let query = sql(
        "SELECT 1 FROM pg_indexes WHERE schemaname = current_schema() AND indexname = $1",
        params![index],
    );
    if db.row_opt(query).await?.is_none() {
        tracing::warn!(
            index,
            "no index for filters by a part of a name: extension pg_trgm was not there"
        );
    }
    Ok(())
}

/// The parts of a text, folded, that tell most, in their order: of numbers their end, of other texts the
/// runs of digits, since names that begin with the same word are told apart by a number. Rows that have
/// the word are many, and an index would go through all of them.
fn telling(field: &Field, value: &str) -> Vec<String> {
    let folded = fold(value);
    if field.hex.is_some() {
        let before = folded.chars().count().saturating_sub(LAST_DIGITS);
        return vec![folded.chars().skip(before).collect()];
    }
    let runs = folded.split(|letter: char| !letter.is_ascii_digit());
    // All of them: one may be a date that every name has.
    let runs: Vec<String> = runs
        .filter(|run| run.len() >= TELLING_DIGITS)
        .map(str::to_owned)
        .collect();
    if runs.is_empty() { vec![folded] } else { runs }
}

/// Trigrams of a text, as FTS5 is asked for them.
fn trigrams(field: &Field, value: &str) -> Option<String> {
    let mut all = Vec::new();
    for part in telling(field, value) {
        let letters: Vec<char> = part.chars().collect();
        all.extend(letters.windows(3).map(|three| {
            let three: String = three.iter().collect();
            format!("\"{}\"", three.replace('"', "\"\""))
        }));
    }
    let every = all.len().div_ceil(MAX_TRIGRAMS).max(1);
    let some: Vec<String> = all.into_iter().step_by(every).collect();
    (!some.is_empty()).then(|| some.join(" AND "))
}

/// The pattern of texts that contain what tells most of a text.
fn pattern(field: &Field, value: &str) -> String {
    let mut pattern = String::from("%");
    for part in telling(field, value) {
        for letter in part.chars() {
            if matches!(letter, '%' | '_' | '\\') {
                pattern.push('\\');
            }
            pattern.push(letter);
        }
        pattern.push('%');
    }
    pattern
}

#[cfg(test)]
mod tests {
    use lamassu_core::query::{Field, Hex};

    use super::{pattern, trigrams};

    #[test]
    fn of_names_with_a_number_the_number_is_looked_for() {
        let name = Field::string("name", "name");
        assert_eq!(
            trigrams(&name, "Pump-10077").unwrap(),
            r#""100" AND "007" AND "077""#
        );
        assert_eq!(pattern(&name, "Pump-10077 12"), "%10077%");
        // A number that every name has does not stand alone.
        let dated = "line-20260101-00042";
        assert_eq!(pattern(&name, dated), "%20260101%00042%");
        assert!(
            trigrams(&name, dated)
                .unwrap()
                .ends_with(r#""004" AND "042""#)
        );
        // Too few digits to be rare.
        assert_eq!(
            trigrams(&name, "P-1007").unwrap(),
            r#""p-1" AND "-10" AND "100" AND "007""#
        );
        assert_eq!(pattern(&name, "P_1007"), r"%p\_1007%");
        assert_eq!(trigrams(&name, "ab"), None);
    }

    #[test]
    fn of_numbers_the_end_is_looked_for() {
        let serial = Field::string("serial", "serial").hex(Hex::Octets);
        let number = "0123456789abcdef0123456789abcdef";
        assert_eq!(pattern(&serial, number), "%456789abcdef%");
    }
}
