//! Criteria: from the wire to the filters that lists are made of, and back. Pure.

use lamassu_core::device_group::{Criterion, DeviceGroupError, OperandName};
use lamassu_core::query::{Field, FieldKind, Filter, Operand, QueryError, QueryLimit, find_field};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::store::CRITERIA_FIELDS;

/// A criterion that is understood.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rule {
    /// The field, by the one of its names that was sent.
    name: String,
    /// The value as it was sent.
    value: String,
    /// What it meant when it was read.
    filter: Filter,
}

/// A criterion as it is stored and as events carry it: the operand by its number.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct CodedCriterion {
    field: String,
    operand: u8,
    value: String,
}

impl From<&Rule> for CodedCriterion {
    fn from(rule: &Rule) -> Self {
        Self {
            field: rule.name.clone(),
            operand: rule.filter.operand.code(),
            value: rule.value.clone(),
        }
    }
}

impl CodedCriterion {
    /// The rule; `None` where this program knows no such field, operand or value.
    pub(crate) fn rule(self) -> Option<Rule> {
        let field = find_field(CRITERIA_FIELDS, &self.field)?;
        let operand = Operand::from_code(field.kind, self.operand)?;
        // Whatever is relative to now is read again when it is asked for.
        let now = OffsetDateTime::UNIX_EPOCH;
        let filter = Filter::parse_in_v2(field, operand.name(), &self.value, now).ok()?;
        Some(Rule {
            name: self.field,
            value: self.value,
            filter,
        })
    }
}

impl Rule {
    /// What it means at this moment.
    pub(crate) fn filter(&self, now: OffsetDateTime) -> Filter {
        let Filter { field, operand, .. } = self.filter;
        let is_relative = field.kind == FieldKind::Date && self.value.trim().starts_with("now");
        if is_relative
            && let Ok(filter) = Filter::parse_in_v2(field, operand.name(), &self.value, now)
        {
            return filter;
        }
        self.filter.clone()
    }

    /// The criterion on the wire.
    pub(crate) fn shown(&self) -> Criterion {
        Criterion {
            field: self.name.clone(),
            operand: self.filter.operand.name().into(),
            value: self.value.clone(),
        }
    }
}

/// The rules that criteria stand for.
///
/// # Errors
/// [`DeviceGroupError`] names the first criterion that is none; there are at most as many, and as long
/// ones, as a list has filters.
pub(crate) fn parse(
    criteria: &[Criterion],
    now: OffsetDateTime,
) -> Result<Vec<Rule>, DeviceGroupError> {
    let limits = [
        (QueryLimit::Filters, criteria.len()),
        (
            QueryLimit::FilterBytes,
            criteria.iter().map(|criterion| criterion.value.len()).sum(),
        ),
    ];
    if let Some((limit, _)) = limits.into_iter().find(|(limit, n)| *n > limit.max()) {
        return Err(QueryError::LimitExceeded(limit).into());
    }
    let criteria = criteria.iter().enumerate();
    criteria
        .map(|(index, criterion)| parse_one(index, criterion, now))
        .collect()
}

fn parse_one(
    index: usize,
    criterion: &Criterion,
    now: OffsetDateTime,
) -> Result<Rule, DeviceGroupError> {
    let Criterion {
        field: name,
        operand: OperandName(operand),
        value,
    } = criterion;
    let field =
        find_field(CRITERIA_FIELDS, name).ok_or_else(|| DeviceGroupError::CriterionField {
            field: name.clone(),
            index,
        })?;
    let known = find_operand(field, operand).ok_or_else(|| DeviceGroupError::CriterionOperand {
        operand: operand.clone(),
        field: name.clone(),
        index,
    })?;
    // A word that there is not would make a group that is empty for ever.
    let filter =
        Filter::parse_in_v2(field, known.name(), value, now).and_then(Filter::only_known_words);
    let filter = filter.map_err(|cause| DeviceGroupError::CriterionValue { index, cause })?;
    Ok(Rule {
        name: name.clone(),
        value: value.clone(),
        filter,
    })
}

/// By name or, as stored criteria of other programs have it, by number.
fn find_operand(field: &Field, name: &str) -> Option<Operand> {
    let by_number = name.parse().ok();
    let by_number = by_number.and_then(|code| Operand::from_code(field.kind, code));
    match by_number {
        Some(operand) => Operand::from_name_in_v2(field, operand.name()),
        None => Operand::from_name_in_v2(field, name),
    }
}

#[cfg(test)]
mod tests {
    use lamassu_core::device_group::Criterion;
    use lamassu_core::query::{Condition, Operand};
    use time::OffsetDateTime;
    use time::macros::datetime;

    use super::{CodedCriterion, parse};
    use crate::store::CRITERIA_FIELDS;

    const NOW: OffsetDateTime = datetime!(2026-03-01 09:00 UTC);

    fn criterion(field: &str, operand: &str, value: &str) -> Criterion {
        Criterion {
            field: field.to_owned(),
            operand: operand.into(),
            value: value.to_owned(),
        }
    }

    #[test]
    fn what_is_stored_is_what_was_meant() {
        for field in CRITERIA_FIELDS {
            for name in Operand::names_in_v2(field) {
                let value = match name {
                    "jsonpath" => "$.a == 1",
                    "is_null" => "true",
                    _ if field.name.ends_with("status") => "ACTIVE",
                    _ if field.name.ends_with("secret_type") => "x509",
                    _ if field.kind.code() == 2 => "2026-01-01",
                    _ => "1",
                };
                for name_of_field in [Some(field.name), field.alias].into_iter().flatten() {
                    let sent = criterion(name_of_field, name, value);
                    let rules = parse(std::slice::from_ref(&sent), NOW).unwrap();
                    assert_eq!(rules[0].shown(), sent);
                    let stored = CodedCriterion::from(&rules[0]);
                    assert_eq!(stored.rule().as_ref(), rules.first());
                }
            }
        }
    }

    #[test]
    fn operands_have_numbers_too() {
        let rules = parse(
            &[criterion("tags", "9", "x"), criterion("id", "EQUAL", "x")],
            NOW,
        );
        let rules = rules.unwrap();
        let names: Vec<_> = rules.iter().map(|rule| rule.shown().operand.0).collect();
        assert_eq!(names, ["contains", "eq"]);
    }

    #[test]
    fn dates_relative_to_now_move_on() {
        let rules = parse(&[criterion("updated_at", "bf", "now-1d")], NOW).unwrap();
        let rule = CodedCriterion::from(&rules[0]).rule().unwrap();
        let later = datetime!(2026-04-02 12:00 UTC);
        let Condition::Instant(_, at) = rule.filter(later).condition else {
            panic!("an instant is compared");
        };
        assert_eq!(at, datetime!(2026-04-01 12:00 UTC));
        assert_eq!(rule.shown().value, "now-1d");
    }

    #[test]
    fn refusals_name_the_criterion() {
        let cases = [
            (
                criterion("nope", "eq", "x"),
                "invalid filter field 'nope' at criteria index 1",
            ),
            (
                criterion("group", "eq", "x"),
                "invalid filter field 'group' at criteria index 1",
            ),
            (
                criterion("id", "9", "x"),
                "invalid operand '9' for field 'id' at criteria index 1",
            ),
            (
                criterion("id", "is_null", "true"),
                "invalid operand 'is_null' for field 'id' at criteria index 1",
            ),
            (
                criterion("creation_timestamp", "bf", "soon"),
                "invalid criteria index 1: invalid value for field 'creation_timestamp': not a date",
            ),
            (
                criterion("status", "in", "ACTIVE,GONE"),
                "invalid criteria index 1: invalid value for field 'status': there is no \"GONE\", only NO_IDENTITY, \
                 ACTIVE, RENEWAL_PENDING, EXPIRING_SOON, EXPIRED, REVOKED, DECOMMISSIONED",
            ),
            (
                criterion("id", "in", ",,"),
                "invalid criteria index 1: invalid value for field 'id': the list is empty",
            ),
        ];
        for (bad, text) in cases {
            let error = parse(&[criterion("id", "eq", "x"), bad], NOW).unwrap_err();
            assert_eq!(error.to_string(), text);
        }
    }
}
