//! Free metadata on the command line: members to set and to remove, as a JSON Patch.

use std::str::FromStr;

use clap::Args;
use lamassu_core::patch::PatchOperation;
use serde_json::{Map, Value};

/// A member and its value.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    name: String,
    value: Value,
}

impl FromStr for Member {
    type Err = String;

    /// `NAME=VALUE`; a value that is no JSON is a text.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("it is written NAME=VALUE")?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        if value.is_null() {
            return Err("null is no value; --unset removes a member".to_owned());
        }
        Ok(Self {
            name: name.to_owned(),
            value,
        })
    }
}

/// Metadata of something new.
#[derive(Clone, Debug, Args)]
pub(crate) struct NewMetadata {
    /// Member of the metadata, for example plant=A or limits='{"n": 3}'; repeatable.
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

    use super::{Member, pointer};

    #[test]
    fn values_are_json_or_text() {
        let read = |text: &str| text.parse::<Member>().map(|member| member.value);
        assert_eq!(read("plant=A"), Ok(json!("A")));
        assert_eq!(read("n=3"), Ok(json!(3)));
        assert_eq!(read("a={\"b\": [1]}"), Ok(json!({"b": [1]})));
        assert_eq!(read("a=b=c"), Ok(json!("b=c")));
        assert!(read("a").is_err() && read("a=null").is_err());
    }

    #[test]
    fn names_are_escaped() {
        assert_eq!(pointer("lamassu.io/a~b"), "/lamassu.io~1a~0b");
    }
}
