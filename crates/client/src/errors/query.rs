use http::StatusCode;
use lamassu_core::query::{QueryError, QueryLimit};

use crate::refusal::Refusal;

const INVALID: StatusCode = StatusCode::BAD_REQUEST;

/// The list parameter that was refused, if one was.
pub(super) fn read(refusal: &Refusal) -> Option<QueryError> {
    by_text(refusal).filter(|error| refusal.is(error))
}

/// The same in v2, where one code is another.
pub(super) fn read_in_v2(refusal: &Refusal) -> Option<QueryError> {
    let code = refusal.code.as_deref();
    by_text(refusal).filter(|error| code == Some(error.code_in_v2()))
}

/// Texts of clients stand last, so they are cut
/// off what the service wrote and never the other way round.
fn by_text(refusal: &Refusal) -> Option<QueryError> {
    let limits = [
        QueryLimit::Filters,
        QueryLimit::FilterBytes,
        QueryLimit::ListElements,
    ];
    refusal
        .one_of(
            [QueryError::InvalidBookmark]
                .into_iter()
                .chain(limits.map(QueryError::LimitExceeded)),
        )
        .or_else(|| operand(refusal))
        .or_else(|| {
            let rest = refusal.after(INVALID, "invalid value for field '")?;
            let (field, reason) = rest.split_once("': ")?;
            Some(QueryError::InvalidValue {
                field: field.to_owned(),
                reason: reason.to_owned(),
            })
        })
        .or_else(|| {
            let rest = refusal.after(INVALID, "invalid JSONPath expression: ")?;
            Some(QueryError::InvalidJsonPath(rest.to_owned()))
        })
        .or_else(|| quoted(refusal, "unknown filter field '").map(QueryError::UnknownField))
        .or_else(|| quoted(refusal, "malformed filter '").map(QueryError::MalformedFilter))
        .or_else(|| quoted(refusal, "invalid sort '").map(QueryError::InvalidSort))
        .or_else(|| quoted(refusal, "unknown query parameter '").map(QueryError::UnknownParameter))
        .or_else(|| {
            let rest = refusal.after(INVALID, "invalid query parameter '")?;
            let (name, reason) = rest.split_once("': ")?;
            Some(QueryError::InvalidParameter {
                name: name.to_owned(),
                reason: reason.to_owned(),
            })
        })
}

fn operand(refusal: &Refusal) -> Option<QueryError> {
    let rest = refusal.after(INVALID, "invalid filter operand '")?;
    let (rest, type_code) = rest.rsplit_once("' of type ")?;
    let (operand, field) = rest.rsplit_once("' for field '")?;
    Some(QueryError::InvalidOperand {
        operand: operand.to_owned(),
        field: field.to_owned(),
        type_code: type_code.parse().ok()?,
    })
}

fn quoted(refusal: &Refusal, prefix: &str) -> Option<String> {
    let rest = refusal.after(INVALID, prefix)?;
    rest.strip_suffix('\'').map(str::to_owned)
}
