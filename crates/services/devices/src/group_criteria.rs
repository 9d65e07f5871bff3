//! Criteria: from the wire to the filters that lists are made of, and back. Pure.

use lamassu_core::device::DeviceStatus;
use lamassu_core::device_group::{Criterion, DeviceGroupError, OperandName};
use lamassu_core::query::{
    Condition, Field, FieldKind, Filter, Operand, QueryError, QueryLimit, find_field,
};
use serde::{Deserialize, Serialize};

use crate::store::{CRITERIA_FIELDS, STATUS_FIELD};

/// A criterion as it is stored and as events carry it: the operand by its number.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct CodedCriterion {
    field: String,
    operand: u8,
    value: String,
}

impl From<&Filter> for CodedCriterion {
    fn from(filter: &Filter) -> Self {
        Self {
            field: filter.field.name.to_owned(),
            operand: filter.operand.code(),
            value: filter.value.clone(),
        }
    }
}

impl CodedCriterion {
    /// The filter; `None` where this program knows no such field or operand.
    pub(crate) fn filter(&self) -> Option<Filter> {
        let field = find_field(CRITERIA_FIELDS, &self.field)?;
        let operand = Operand::from_code(field.kind, self.operand)?;
        Filter::new(field, operand, &self.value).ok()
    }
}

/// The filters that criteria stand for.
///
/// # Errors
/// [`DeviceGroupError`] names the first criterion that is none; there are at most as many, and as long
/// ones, as a list has filters.
pub(crate) fn parse(criteria: &[Criterion]) -> Result<Vec<Filter>, DeviceGroupError> {
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
        .map(|(index, criterion)| parse_one(index, criterion))
        .collect()
}

fn parse_one(index: usize, criterion: &Criterion) -> Result<Filter, DeviceGroupError> {
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
    let known =
        find_operand(field.kind, operand).ok_or_else(|| DeviceGroupError::CriterionOperand {
            operand: operand.clone(),
            field: name.clone(),
            index,
        })?;
    let filter = Filter::new(field, known, value).and_then(only_known_words);
    filter.map_err(|cause| DeviceGroupError::CriterionValue { index, cause })
}

/// By name or, as stored criteria of other programs have it, by number.
fn find_operand(kind: FieldKind, name: &str) -> Option<Operand> {
    match name.parse() {
        Ok(code) => Operand::from_code(kind, code),
        Err(_) => Operand::from_name(kind, name),
    }
}

/// A status that there is not would make a group that is empty for ever.
fn only_known_words(filter: Filter) -> Result<Filter, QueryError> {
    let Filter {
        field, condition, ..
    } = &filter;
    let unknown = match condition {
        Condition::OneOf { values, .. } if is_status(field) => values
            .iter()
            .any(|value| value.parse::<DeviceStatus>().is_err()),
        _ => false,
    };
    if unknown {
        return Err(QueryError::InvalidValue {
            field: field.name.to_owned(),
            reason: "not a status".to_owned(),
        });
    }
    Ok(filter)
}

fn is_status(field: &Field) -> bool {
    field.name == STATUS_FIELD
}

/// The criterion on the wire.
pub(crate) fn shown(filter: &Filter) -> Criterion {
    Criterion {
        field: filter.field.name.to_owned(),
        operand: filter.operand.name().into(),
        value: filter.value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use lamassu_core::device_group::Criterion;
    use lamassu_core::query::Operand;

    use super::{CodedCriterion, parse, shown};
    use crate::store::CRITERIA_FIELDS;

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
            for name in Operand::names(field.kind) {
                let value = match name {
                    "jsonpath" => "$.a == 1",
                    _ if field.name == "status" => "ACTIVE",
                    _ if field.kind.code() == 2 => "2026-01-01T00:00:00Z",
                    _ => "1",
                };
                let sent = criterion(field.name, name, value);
                let filters = parse(std::slice::from_ref(&sent)).unwrap();
                assert_eq!(shown(&filters[0]), sent);
                let stored = CodedCriterion::from(&filters[0]);
                assert_eq!(stored.filter().as_ref(), filters.first());
            }
        }
    }

    #[test]
    fn operands_have_numbers_too() {
        let filters = parse(&[criterion("tags", "9", "x"), criterion("id", "EQUAL", "x")]);
        let filters = filters.unwrap();
        let names: Vec<_> = filters.iter().map(|filter| filter.operand.name()).collect();
        assert_eq!(names, ["contains", "eq"]);
    }

    #[test]
    fn refusals_name_the_criterion() {
        let cases = [
            (
                criterion("nope", "eq", "x"),
                "invalid filter field 'nope' at criteria index 1",
            ),
            (
                criterion("id", "9", "x"),
                "invalid operand '9' for field 'id' at criteria index 1",
            ),
            (
                criterion("creation_timestamp", "bf", "soon"),
                "invalid criteria index 1: invalid value for field 'creation_timestamp': not a date",
            ),
            (
                criterion("status", "in", "ACTIVE,GONE"),
                "invalid criteria index 1: invalid value for field 'status': not a status",
            ),
        ];
        for (bad, text) in cases {
            let error = parse(&[criterion("id", "eq", "x"), bad]).unwrap_err();
            assert_eq!(error.to_string(), text);
        }
    }
}
