//! Lists of v2: nothing is ignored, ties can be ordered, dates may be relative to now.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::error::{QueryError, QueryLimit};
use super::field::{Field, find_field};
use super::filter::{Filter, invalid, split};
use super::instant::parse_instant;
use super::operand::Operand;
use super::request::{DEFAULT_PAGE_SIZE, ListRequest};
use super::sort::{Sort, SortMode};
use crate::duration::WireDuration;

/// Larger pages are cut to this size silently.
pub const MAX_PAGE_SIZE: u32 = 1_000;

/// Most sorts of one request.
const MAX_SORTS: usize = 8;

impl Filter {
    /// A filter by operand name as v2 has them: also `is_null`, `nct` and dates relative to `now`
    /// (`now`, `now+30d`, `now-12h`), which become the date that they are now. A list without elements
    /// is refused.
    ///
    /// # Errors
    ///
    /// [`QueryError`].
    pub fn parse_in_v2(
        field: &'static Field,
        operand: &str,
        value: &str,
        now: OffsetDateTime,
    ) -> Result<Self, QueryError> {
        let known = Operand::from_name_in_v2(field, operand);
        let known = known.ok_or_else(|| QueryError::InvalidOperand {
            operand: operand.to_owned(),
            field: field.name.to_owned(),
            type_code: field.kind.code(),
        })?;
        match known {
            Operand::DateEqual | Operand::DateBefore | Operand::DateAfter => {
                let at = relative(value, now).or_else(|| parse_instant(value));
                let at = at.ok_or_else(|| invalid(field, "not a date"))?;
                let text = at.format(&Rfc3339);
                Self::new(
                    field,
                    known,
                    &text.map_err(|_| invalid(field, "not a date"))?,
                )
            }
            Operand::StringIn
            | Operand::StringInIgnoreCase
            | Operand::StringNotIn
            | Operand::StringNotInIgnoreCase
            | Operand::EnumIn
                if value.split(',').all(str::is_empty) =>
            {
                Err(invalid(field, "the list is empty"))
            }
            _ => Self::new(field, known, value),
        }
    }

    /// A filter as the value of a query parameter of v2, `field[operand]value`.
    ///
    /// # Errors
    ///
    /// [`QueryError`].
    pub fn read_in_v2(
        fields: &'static [Field],
        text: &str,
        now: OffsetDateTime,
    ) -> Result<Self, QueryError> {
        let parts = split(text).ok_or_else(|| QueryError::MalformedFilter(text.to_owned()))?;
        let field = find_field(fields, parts.field);
        let field = field.ok_or_else(|| QueryError::UnknownField(parts.field.to_owned()))?;
        Self::parse_in_v2(field, parts.operand, parts.value, now)?.only_known_words()
    }
}

impl ListRequest {
    /// Reads the decoded query of a list of v2. `others` names the parameters that the list has
    /// beside those of every list; any further one is refused.
    ///
    /// # Errors
    ///
    /// [`QueryError`].
    pub fn from_pairs_in_v2(
        pairs: &[(String, String)],
        fields: &'static [Field],
        others: &[&str],
        now: OffsetDateTime,
    ) -> Result<Self, QueryError> {
        let mut request = Self {
            filters: filters(pairs, fields, now)?,
            ..Self::default()
        };
        let (mut sorts, mut modes) = (Vec::new(), Vec::new());
        for (name, value) in pairs {
            match name.as_str() {
                "filter" => {}
                "page_size" => request.page_size = page_size(value)?,
                "bookmark" => request.bookmark = Some(value.clone()),
                "sort_by" => sorts.push(value.as_str()),
                "sort_mode" => modes.push(mode(value)?),
                other if others.contains(&other) => {}
                other => return Err(QueryError::UnknownParameter(other.to_owned())),
            }
        }
        request.bookmark = request.bookmark.filter(|bookmark| !bookmark.is_empty());
        if sorts.len() > MAX_SORTS {
            return Err(parameter("sort_by", "there are too many"));
        }
        let mut modes = modes.into_iter();
        let sorts = sorts.into_iter().map(|text| {
            let mode = modes.next().unwrap_or(SortMode::Ascending);
            let sort = Sort::parse(fields, text, mode);
            sort.ok_or_else(|| QueryError::InvalidSort(text.to_owned()))
        });
        let mut sorts = sorts.collect::<Result<Vec<_>, _>>()?.into_iter();
        request.sort = sorts.next();
        request.then = sorts.collect();
        Ok(request)
    }
}

/// The value of a parameter that is `true` or `false`, `false` where it is absent.
///
/// # Errors
///
/// [`QueryError::InvalidParameter`].
pub fn take_flag(pairs: &[(String, String)], name: &str) -> Result<bool, QueryError> {
    match pairs.iter().rfind(|(known, _)| known == name) {
        None => Ok(false),
        Some((_, value)) => match value.as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(parameter(name, "neither true nor false")),
        },
    }
}

fn filters(
    pairs: &[(String, String)],
    fields: &'static [Field],
    now: OffsetDateTime,
) -> Result<Vec<Filter>, QueryError> {
    let texts = || pairs.iter().filter(|(name, _)| name == "filter");
    QueryLimit::Filters.check(texts().count())?;
    QueryLimit::FilterBytes.check(texts().map(|(_, text)| text.len()).sum())?;
    texts()
        .map(|(_, text)| Filter::read_in_v2(fields, text, now))
        .collect()
}

fn page_size(text: &str) -> Result<u32, QueryError> {
    if text.is_empty() {
        return Ok(DEFAULT_PAGE_SIZE);
    }
    match text.parse::<u64>() {
        Ok(size) if size > 0 => Ok(u32::try_from(size)
            .unwrap_or(MAX_PAGE_SIZE)
            .min(MAX_PAGE_SIZE)),
        _ => Err(parameter("page_size", "not a positive integer")),
    }
}

fn mode(text: &str) -> Result<SortMode, QueryError> {
    match text {
        "asc" | "desc" => Ok(SortMode::from_text(text)),
        _ => Err(parameter("sort_mode", "neither asc nor desc")),
    }
}

fn parameter(name: &str, reason: &str) -> QueryError {
    QueryError::InvalidParameter {
        name: name.to_owned(),
        reason: reason.to_owned(),
    }
}

/// `now`, `now+<duration>` or `now-<duration>`. A raw `+` of a query string arrives as a space.
fn relative(text: &str, now: OffsetDateTime) -> Option<OffsetDateTime> {
    let rest = text.trim().strip_prefix("now")?;
    if rest.is_empty() {
        return Some(now);
    }
    let duration = |text: &str| -> Option<time::Duration> {
        let unsigned = !text.starts_with(['+', '-']);
        let duration: WireDuration = text.parse().ok()?;
        unsigned.then(|| duration.into())
    };
    match rest.strip_prefix(['+', ' ']) {
        Some(after) => now.checked_add(duration(after)?),
        None => now.checked_sub(duration(rest.strip_prefix('-')?)?),
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::query::{Comparison, Condition, decode_form};

    static FIELDS: &[Field] = &[
        Field::string("id", "id"),
        Field::string_array("tags", "tags"),
        Field::date("ended_at", "ended_at").nullable(),
        Field::enumeration("status", "status"),
    ];

    fn read(query: &str) -> Result<ListRequest, QueryError> {
        let now = datetime!(2026-03-01 09:00 UTC);
        ListRequest::from_pairs_in_v2(&decode_form(query)?, FIELDS, &["count"], now)
    }

    #[test]
    fn dates_may_be_relative_to_now() {
        let cases = [
            ("now", datetime!(2026-03-01 09:00 UTC)),
            ("now%2B30d", datetime!(2026-03-31 09:00 UTC)),
            ("now+1h", datetime!(2026-03-01 10:00 UTC)),
            ("now-12h", datetime!(2026-02-28 21:00 UTC)),
        ];
        for (value, at) in cases {
            let request = read(&format!("filter=ended_at[bf]{value}")).unwrap();
            let condition = &request.filters[0].condition;
            assert_eq!(condition, &Condition::Instant(Comparison::Less, at));
            // A later page means the same time.
            let again = read(&request.to_query()).unwrap();
            assert_eq!(&again.filters[0].condition, condition);
        }
        for value in ["now+-1h", "now30d", "now+x", "later"] {
            let refused = read(&format!("filter=ended_at[bf]{value}")).unwrap_err();
            assert_eq!(refused.code_in_v2(), "invalid_filter", "{value}");
        }
    }

    #[test]
    fn what_there_is_not_is_refused() {
        for (query, code) in [
            ("page=2", "unknown_field"),
            ("filter=nothing[eq]1", "invalid_filter"),
            ("filter=id", "invalid_filter"),
            ("filter=id[is_null]true", "invalid_filter"),
            ("filter=ended_at[is_null]maybe", "invalid_filter"),
            ("filter=status[in],", "invalid_filter"),
            ("sort_by=nothing", "invalid_sort"),
            ("sort_mode=up", "validation_failed"),
            ("page_size=0", "validation_failed"),
            ("page_size=x", "validation_failed"),
        ] {
            assert_eq!(read(query).unwrap_err().code_in_v2(), code, "{query}");
        }
        let request = read("count=true&page_size=5000").unwrap();
        assert_eq!(request.page_size, MAX_PAGE_SIZE);
    }

    #[test]
    fn sorts_belong_to_their_modes() {
        let request = read("sort_by=status&sort_by=id&sort_mode=desc").unwrap();
        assert_eq!(request.sort.as_ref().unwrap().mode, SortMode::Descending);
        assert_eq!(request.then[0].field.name, "id");
        assert_eq!(request.then[0].mode, SortMode::Ascending);
        assert_eq!(read(&request.to_query()), Ok(request));
    }
}
