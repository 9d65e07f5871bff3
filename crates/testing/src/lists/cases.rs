//! Filters on a field, and which items they must select: every operand, by all of its names, on
//! values that the items show.

use std::collections::{BTreeMap, BTreeSet};

use lamassu_core::query::{Field, FieldKind, fold, parse_instant};
use serde_json::Value;

/// How many different values of a field are asked for.
const N_SAMPLES: usize = 3;

/// Whether an item's value fulfils a filter.
type Holds = Box<dyn Fn(&Value) -> bool>;

/// A filter without its field.
pub(super) struct Case {
    /// All names of the operand.
    pub(super) operands: &'static [&'static str],
    /// The value as it is sent.
    pub(super) value: String,
    /// Whether an item with this value is selected.
    pub(super) holds: Holds,
}

/// The operands that fields of each kind have.
pub(super) fn operands(kind: FieldKind) -> &'static [&'static str] {
    match kind {
        FieldKind::String => &[
            "eq",
            "equal",
            "eq_ic",
            "equal_ignorecase",
            "ne",
            "notequal",
            "ne_ic",
            "notequal_ignorecase",
            "ct",
            "contains",
            "ct_ic",
            "contains_ignorecase",
            "contains_ic",
            "nc",
            "notcontains",
            "nc_ic",
            "notcontains_ignorecase",
            "in",
            "in_ic",
            "nin",
            "nin_ic",
        ],
        FieldKind::StringArray => &[
            "ct",
            "contains",
            "ct_ic",
            "contains_ignorecase",
            "contains_ic",
        ],
        FieldKind::Date => &["eq", "equal", "bf", "before", "af", "after"],
        FieldKind::Number => &[
            "eq",
            "equal",
            "ne",
            "notequal",
            "lt",
            "lessthan",
            "le",
            "lessequal",
            "lessorequal",
            "gt",
            "greaterthan",
            "ge",
            "greaterequal",
            "greaterorequal",
        ],
        FieldKind::Enum | FieldKind::Boolean => &["eq", "equal", "ne", "notequal", "in"],
        FieldKind::Json => &["jsonpath"],
    }
}

/// What to ask about a field whose items show these values.
pub(super) fn cases(field: &Field, values: &[Value]) -> Vec<Case> {
    let mut cases = Vec::new();
    match field.kind {
        FieldKind::StringArray => {
            let elements = values.iter().filter_map(Value::as_array).flatten();
            for element in samples(elements) {
                cases.extend(element_cases(&element));
            }
        }
        FieldKind::Json => cases.extend(member_cases(values)),
        FieldKind::Boolean => cases.extend(flag_cases()),
        kind => {
            let shown = values.iter().filter(|value| !value.is_null());
            for sample in samples(shown) {
                cases.extend(match kind {
                    FieldKind::Date => instant_cases(&sample),
                    FieldKind::Number => number_cases(&sample),
                    FieldKind::Enum => word_cases(field, &sample),
                    _ => text_cases(&sample),
                });
            }
        }
    }
    cases
}

/// Some different texts or numbers, as text.
fn samples<'v>(values: impl Iterator<Item = &'v Value>) -> Vec<String> {
    let different: BTreeSet<String> = values
        .map(|value| {
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned)
        })
        .collect();
    different.into_iter().take(N_SAMPLES).collect()
}

fn text(
    operands: &'static [&'static str],
    value: String,
    holds: impl Fn(&str) -> bool + 'static,
) -> Case {
    Case {
        operands,
        // A first `=` or `:` is taken for the separator.
        value: if value.starts_with(['=', ':']) {
            format!("={value}")
        } else {
            value
        },
        holds: Box::new(move |value| value.as_str().is_some_and(&holds)),
    }
}

/// Two cases: what equals or contains, and what does not.
fn text_cases(sample: &str) -> Vec<Case> {
    let whole = || sample.to_owned();
    let part = middle(sample);
    let (other, other_part) = (other_case(sample), other_case(&part));
    let (folded, folded_part) = (fold(sample), fold(&part));
    let equal = {
        let whole = whole();
        move |value: &str| value == whole
    };
    let equal_folded = move |value: &str| fold(value) == folded;
    let holds = {
        let part = part.clone();
        move |value: &str| value.contains(&part)
    };
    let holds_folded = move |value: &str| fold(value).contains(&folded_part);
    let mut cases = vec![
        text(&["eq", "equal"], whole(), equal.clone()),
        text(
            &["eq_ic", "equal_ignorecase"],
            other.clone(),
            equal_folded.clone(),
        ),
        text(&["ct", "contains"], part.clone(), holds.clone()),
        text(
            &["ct_ic", "contains_ignorecase", "contains_ic"],
            other_part.clone(),
            holds_folded.clone(),
        ),
        text(&["ne", "notequal"], whole(), negated(equal.clone())),
        text(
            &["ne_ic", "notequal_ignorecase"],
            other.clone(),
            negated(equal_folded.clone()),
        ),
        text(&["nc", "notcontains"], part, negated(holds)),
        text(
            &["nc_ic", "notcontains_ignorecase"],
            other_part,
            negated(holds_folded),
        ),
        // Nothing in a value is a wildcard.
        text(&["ct", "ct_ic"], "%".to_owned(), |value| {
            value.contains('%')
        }),
        text(&["eq_ic"], "%".to_owned(), |value| value == "%"),
        // A list without elements restricts nothing.
        Case {
            operands: &["in", "nin", "in_ic", "nin_ic"],
            value: ",,".to_owned(),
            holds: Box::new(|_| true),
        },
    ];
    if !sample.contains(',') && !sample.is_empty() {
        cases.extend([
            text(&["in"], format!("nobody,,{sample}"), equal.clone()),
            text(&["in_ic"], format!("{other},nobody"), equal_folded.clone()),
            text(&["nin"], format!("nobody,{sample},"), negated(equal)),
            text(
                &["nin_ic"],
                format!("{other},nobody"),
                negated(equal_folded),
            ),
        ]);
    }
    cases
}

fn negated(holds: impl Fn(&str) -> bool) -> impl Fn(&str) -> bool {
    move |value| !holds(value)
}

/// All but the first and the last character, where there are enough.
fn middle(text: &str) -> String {
    let n = text.chars().count();
    if n < 4 {
        return text.to_owned();
    }
    text.chars().skip(1).take(n.saturating_sub(2)).collect()
}

/// The text in other letters that fold to the same.
fn other_case(text: &str) -> String {
    text.chars()
        .map(|character| {
            let changed: String = if character.is_uppercase() {
                character.to_lowercase().collect()
            } else {
                character.to_uppercase().collect()
            };
            let same = fold(&changed) == fold(&character.to_string());
            if same { changed } else { character.to_string() }
        })
        .collect()
}

fn element_cases(element: &str) -> Vec<Case> {
    let any = |holds: Box<dyn Fn(&str) -> bool>| -> Holds {
        Box::new(move |value| {
            let mut elements = value.as_array().into_iter().flatten();
            elements.any(|element| element.as_str().is_some_and(&holds))
        })
    };
    let (exact, folded, part) = (element.to_owned(), fold(element), middle(element));
    let wanted = part.clone();
    vec![
        Case {
            operands: &["ct", "contains"],
            value: element.to_owned(),
            holds: any(Box::new(move |value| value == exact)),
        },
        Case {
            operands: &["ct_ic", "contains_ignorecase", "contains_ic"],
            value: other_case(element),
            holds: any(Box::new(move |value| fold(value) == folded)),
        },
        // A part of an element is no element.
        Case {
            operands: &["ct"],
            value: part,
            holds: any(Box::new(move |value| value == wanted)),
        },
    ]
}

fn instant_cases(sample: &str) -> Vec<Case> {
    let case = |operands, holds: fn(std::cmp::Ordering) -> bool| {
        let wanted = parse_instant(sample);
        Case {
            operands,
            value: sample.to_owned(),
            holds: Box::new(move |value| {
                let found = value.as_str().and_then(parse_instant);
                found
                    .zip(wanted)
                    .is_some_and(|(found, wanted)| holds(found.cmp(&wanted)))
            }),
        }
    };
    vec![
        case(&["eq", "equal"], std::cmp::Ordering::is_eq),
        case(&["bf", "before"], std::cmp::Ordering::is_lt),
        case(&["af", "after"], std::cmp::Ordering::is_gt),
    ]
}

fn number_cases(sample: &str) -> Vec<Case> {
    let case = |operands, holds: fn(std::cmp::Ordering) -> bool| {
        let wanted = sample.parse::<i64>().ok();
        Case {
            operands,
            value: sample.to_owned(),
            holds: Box::new(move |value| {
                let found = value.as_i64();
                found
                    .zip(wanted)
                    .is_some_and(|(found, wanted)| holds(found.cmp(&wanted)))
            }),
        }
    };
    vec![
        case(&["eq", "equal"], std::cmp::Ordering::is_eq),
        case(&["ne", "notequal"], std::cmp::Ordering::is_ne),
        case(&["lt", "lessthan"], std::cmp::Ordering::is_lt),
        case(
            &["le", "lessequal", "lessorequal"],
            std::cmp::Ordering::is_le,
        ),
        case(&["gt", "greaterthan"], std::cmp::Ordering::is_gt),
        case(
            &["ge", "greaterequal", "greaterorequal"],
            std::cmp::Ordering::is_ge,
        ),
    ]
}

fn word_cases(field: &Field, sample: &str) -> Vec<Case> {
    let equal = || {
        let wanted = sample.to_owned();
        move |value: &str| value == wanted
    };
    let mut cases = vec![
        text(&["eq", "equal"], sample.to_owned(), equal()),
        text(&["ne", "notequal"], sample.to_owned(), negated(equal())),
        text(&["in"], format!("nothing,{sample},"), equal()),
        text(&["in"], ",".to_owned(), |_| true),
        text(&["eq"], "nothing".to_owned(), |_| false),
        text(&["eq"], other_case(sample), |_| false),
    ];
    for (word, stored) in field.words {
        let stored = (*stored).to_owned();
        cases.push(text(&["eq", "in"], (*word).to_owned(), move |value| {
            value == stored
        }));
    }
    cases
}

fn flag_cases() -> Vec<Case> {
    let case = |operands, value: &str, holds: fn(bool) -> bool| Case {
        operands,
        value: value.to_owned(),
        holds: Box::new(move |value| value.as_bool().is_some_and(holds)),
    };
    let mut cases = vec![
        case(&["in"], "", |_| true),
        case(&["in"], "off,ON", |_| true),
        case(&["in"], "no,", |flag| !flag),
        case(&["ne", "notequal"], "F", |flag| flag),
    ];
    for word in ["true", "T", "1", "yes", "y", "On"] {
        cases.push(case(&["eq", "equal"], word, |flag| flag));
    }
    for word in ["FALSE", "f", "0", "No", "n", "off"] {
        cases.push(case(&["eq", "equal"], word, |flag| !flag));
    }
    cases
}

/// Whether a document has a member, and has it with this value; the language is in
/// [`PREDICATES`](super::PREDICATES).
fn member_cases(values: &[Value]) -> Vec<Case> {
    let members: BTreeMap<(&str, String), &Value> = values
        .iter()
        .filter_map(Value::as_object)
        .flatten()
        .filter(|(_, value)| !value.is_array() && !value.is_object())
        .map(|(name, value)| ((name.as_str(), value.to_string()), value))
        .collect();
    let mut cases = Vec::new();
    for ((name, text), value) in members.into_iter().take(2 * N_SAMPLES) {
        let path = format!("$.{}", Value::from(name));
        let (name, value) = (name.to_owned(), value.clone());
        let has = name.clone();
        cases.push(Case {
            operands: &["jsonpath", "JSONPath"],
            value: format!("exists({path})"),
            holds: Box::new(move |document| document.get(&has).is_some()),
        });
        cases.push(Case {
            operands: &["jsonpath"],
            value: format!("{path} == {text}"),
            holds: Box::new(move |document| match document.get(&name) {
                // A comparison looks into arrays.
                Some(Value::Array(items)) => items.contains(&value),
                found => found == Some(&value),
            }),
        });
    }
    cases
}
