//! Free metadata on the command line: members to set and to remove, as a JSON Patch.

use std::str::FromStr;

use clap::Args;
use lamassu_core::patch::PatchOperation;
use serde_json::{Map, Number, Value};

/// A member and its value.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    name: String,
    value: Value,
}

impl FromStr for Member {
    type Err = String;

    /// `NAME=VALUE`, and the value as [`value_of`] reads it.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("it is written NAME=VALUE")?;
        let value = value_of(value);
        if value.is_null() {
            return Err("null is no value; --unset removes a member".to_owned());
        }
        Ok(Self {
            name: name.to_owned(),
            value,
        })
    }
}

/// The value that a text stands for: JSON, or else the text itself. A number is one only where it is written again as
/// it was: `1.10`, `3E10` and the twenty digits of a SIM card are texts.
pub(super) fn value_of(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(Value::Number(number)) if !is_written_alike(&number, text) => Value::from(text),
        Ok(value) => value,
        Err(_) => Value::from(text),
    }
}

fn is_written_alike(number: &Number, text: &str) -> bool {
    // Programs that keep all numbers as binary64 know larger integers by neighbours only (RFC 7493 section 2.2).
    const EXACT: u64 = 1 << 53;
    let is_exact = match number.as_i64() {
        Some(integer) => integer.unsigned_abs() <= EXACT,
        None => number.is_f64() && !text.contains('e') && !text.ends_with('0'),
    };
    is_exact && number.to_string() == text
}

/// Metadata of something new.
#[derive(Clone, Debug, Args)]
pub(crate) struct NewMetadata {
    /// Member of the metadata, for example plant=A or limits='{"n": 3}'; repeatable. What is JSON is read as that; a
    /// number only where it would be written again as it is: 1.10 is a text.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    members: Vec<Member>,
}

impl NewMetadata {
    pub(super) fn to_map(&self) -> Map<String, Value> {
        let members = self.members.iter();
        members
            .map(|member| (member.name.clone(), member.value.clone()))
            .collect()
    }
}

/// Changes of metadata.
#[derive(Clone, Debug, Args)]
pub(crate) struct MetadataChanges {
    #[command(flatten)]
    new: NewMetadata,
    /// Remove this member of the metadata; repeatable.
    #[arg(long, value_name = "NAME")]
    unset: Vec<String>,
}

impl MetadataChanges {
    /// The changes; none if there are none.
    pub(super) fn operations(&self) -> Vec<PatchOperation> {
        let set = self.new.members.iter().map(|member| PatchOperation {
            op: "add".to_owned(),
            path: Some(pointer(&member.name)),
            value: Some(member.value.clone()),
            ..PatchOperation::default()
        });
        let unset = self.unset.iter().map(|name| PatchOperation {
            op: "remove".to_owned(),
            path: Some(pointer(name)),
            ..PatchOperation::default()
        });
        set.chain(unset).collect()
    }
}

/// The JSON Pointer of a member (RFC 6901 section 3).
fn pointer(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Member, pointer, value_of};

    #[test]
    fn values_are_json_or_text() {
        let read = |text: &str| text.parse::<Member>().map(|member| member.value);
        assert_eq!(read("plant=A"), Ok(json!("A")));
        assert_eq!(read("n=3"), Ok(json!(3)));
        assert_eq!(read("a={\"b\": [1]}"), Ok(json!({"b": [1]})));
        assert_eq!(read("a=b=c"), Ok(json!("b=c")));
        for (text, value) in [
            ("0", json!(0)),
            ("-17", json!(-17)),
            ("9007199254740992", json!(9_007_199_254_740_992_i64)),
            ("1.5", json!(1.5)),
            ("-0.25", json!(-0.25)),
            ("true", json!(true)),
            ("\"7\"", json!("7")),
            ("[1.10]", json!([1.1])),
        ] {
            assert_eq!(value_of(text), value, "{text}");
        }
        for text in [
            "1.10",
            "3.0",
            "3E10",
            "1e2",
            "7e21",
            "1.5e17",
            "-0",
            "007",
            "1.",
            "12e456",
            "+1",
            "NaN",
            "89490200001234567890",
            "8949020000123456789",
            "9007199254740993",
            "0.1234567890123456789",
            "-9007199254740993",
            "18446744073709551615",
        ] {
            assert_eq!(value_of(text), json!(text), "{text}");
        }
        assert!(read("a").is_err() && read("a=null").is_err());
    }

    #[test]
    fn names_are_escaped() {
        assert_eq!(pointer("lamassu.io/a~b"), "/lamassu.io~1a~0b");
    }
}
