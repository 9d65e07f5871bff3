//! The operands of filters: names on the wire and the numbers that stored criteria use.

use super::field::{Field, FieldKind, Nulls};

/// What a filter does with its field and its value.
///
/// The discriminants are on the wire (stored criteria of device groups, their events) and never
/// change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "the table below says what each one means")]
pub enum Operand {
    StringEqual = 1,
    StringEqualIgnoreCase = 2,
    StringNotEqual = 3,
    StringNotEqualIgnoreCase = 4,
    StringContains = 5,
    StringContainsIgnoreCase = 6,
    StringNotContains = 7,
    StringNotContainsIgnoreCase = 8,
    ArrayContains = 9,
    ArrayContainsIgnoreCase = 10,
    DateEqual = 11,
    DateBefore = 12,
    DateAfter = 13,
    NumberEqual = 14,
    NumberNotEqual = 15,
    NumberLessThan = 16,
    NumberLessOrEqual = 17,
    NumberGreaterThan = 18,
    NumberGreaterOrEqual = 19,
    EnumEqual = 20,
    EnumNotEqual = 21,
    EnumIn = 22,
    StringIn = 23,
    StringInIgnoreCase = 24,
    StringNotIn = 25,
    StringNotInIgnoreCase = 26,
    JsonPath = 27,
    /// v2 only.
    ArrayNotContains = 28,
    /// v2 only, for every field that may have no value.
    IsNull = 29,
}

struct Entry {
    operand: Operand,
    type_code: u8,
    /// Accepted names; the first is the one that is written.
    names: &'static [&'static str],
}

const fn entry(operand: Operand, type_code: u8, names: &'static [&'static str]) -> Entry {
    Entry {
        operand,
        type_code,
        names,
    }
}

const TABLE: &[Entry] = &[
    entry(Operand::StringEqual, 0, &["eq", "equal"]),
    entry(
        Operand::StringEqualIgnoreCase,
        0,
        &["eq_ic", "equal_ignorecase"],
    ),
    entry(Operand::StringNotEqual, 0, &["ne", "notequal"]),
    entry(
        Operand::StringNotEqualIgnoreCase,
        0,
        &["ne_ic", "notequal_ignorecase"],
    ),
    entry(Operand::StringContains, 0, &["ct", "contains"]),
    entry(
        Operand::StringContainsIgnoreCase,
        0,
        &["ct_ic", "contains_ignorecase", "contains_ic"],
    ),
    entry(Operand::StringNotContains, 0, &["nc", "notcontains"]),
    entry(
        Operand::StringNotContainsIgnoreCase,
        0,
        &["nc_ic", "notcontains_ignorecase"],
    ),
    entry(Operand::StringIn, 0, &["in"]),
    entry(Operand::StringInIgnoreCase, 0, &["in_ic"]),
    entry(Operand::StringNotIn, 0, &["nin"]),
    entry(Operand::StringNotInIgnoreCase, 0, &["nin_ic"]),
    entry(Operand::ArrayContains, 1, &["contains", "ct"]),
    entry(
        Operand::ArrayContainsIgnoreCase,
        1,
        &["contains_ignorecase", "ct_ic", "contains_ic"],
    ),
    entry(Operand::DateEqual, 2, &["eq", "equal"]),
    entry(Operand::DateBefore, 2, &["bf", "before"]),
    entry(Operand::DateAfter, 2, &["af", "after"]),
    entry(Operand::NumberEqual, 3, &["eq", "equal"]),
    entry(Operand::NumberNotEqual, 3, &["ne", "notequal"]),
    entry(Operand::NumberLessThan, 3, &["lt", "lessthan"]),
    entry(
        Operand::NumberLessOrEqual,
        3,
        &["le", "lessequal", "lessorequal"],
    ),
    entry(Operand::NumberGreaterThan, 3, &["gt", "greaterthan"]),
    entry(
        Operand::NumberGreaterOrEqual,
        3,
        &["ge", "greaterequal", "greaterorequal"],
    ),
    entry(Operand::EnumEqual, 4, &["eq", "equal"]),
    entry(Operand::EnumNotEqual, 4, &["ne", "notequal"]),
    entry(Operand::EnumIn, 4, &["in"]),
    entry(Operand::JsonPath, 5, &["jsonpath"]),
];

/// What only v2 has, beside [`IS_NULL`].
const TABLE_OF_V2: &[Entry] = &[entry(Operand::ArrayNotContains, 1, &["nct", "notcontains"])];

/// The operand of fields of every kind that may have no value, in v2.
const IS_NULL: &str = "is_null";

impl Operand {
    /// The operand of this name for fields of this kind; letter case does not matter.
    pub fn from_name(kind: FieldKind, name: &str) -> Option<Self> {
        TABLE
            .iter()
            .filter(|entry| entry.type_code == kind.code())
            .find(|entry| {
                entry
                    .names
                    .iter()
                    .any(|known| known.eq_ignore_ascii_case(name))
            })
            .map(|entry| entry.operand)
    }

    /// The operand of this name in v2.
    pub fn from_name_in_v2(field: &Field, name: &str) -> Option<Self> {
        if field.nulls == Nulls::Possible && name.eq_ignore_ascii_case(IS_NULL) {
            return Some(Self::IsNull);
        }
        let known = |entry: &&Entry| {
            entry.type_code == field.kind.code()
                && entry
                    .names
                    .iter()
                    .any(|known| known.eq_ignore_ascii_case(name))
        };
        let found = TABLE_OF_V2.iter().find(known).map(|entry| entry.operand);
        found.or_else(|| Self::from_name(field.kind, name))
    }

    /// The names that are written in v2, of all operands that the field has.
    pub fn names_in_v2(field: &Field) -> impl Iterator<Item = &'static str> {
        let code = field.kind.code();
        let more = TABLE_OF_V2
            .iter()
            .filter(move |entry| entry.type_code == code)
            .filter_map(|entry| entry.names.first().copied());
        let is_null = (field.nulls == Nulls::Possible).then_some(IS_NULL);
        Self::names(field.kind).chain(more).chain(is_null)
    }

    /// The names that are written, of all operands that fields of this kind have.
    pub fn names(kind: FieldKind) -> impl Iterator<Item = &'static str> {
        TABLE
            .iter()
            .filter(move |entry| entry.type_code == kind.code())
            .filter_map(|entry| entry.names.first().copied())
    }

    /// The operand with this number, for fields of this kind.
    pub fn from_code(kind: FieldKind, code: u8) -> Option<Self> {
        if code == Self::IsNull.code() {
            return Some(Self::IsNull);
        }
        TABLE
            .iter()
            .chain(TABLE_OF_V2)
            .find(|entry| entry.operand.code() == code && entry.type_code == kind.code())
            .map(|entry| entry.operand)
    }

    /// The operand's number, 1 to 29.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The name that is written: the short one, except for arrays.
    pub fn name(self) -> &'static str {
        if self == Self::IsNull {
            return IS_NULL;
        }
        TABLE
            .iter()
            .chain(TABLE_OF_V2)
            .find(|entry| entry.operand == self)
            .and_then(|entry| entry.names.first())
            .copied()
            .unwrap_or("unknown")
    }
}
