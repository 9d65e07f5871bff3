//! Objects out of a file and flags; a flag wins.
//!
//! Both say members of the API's JSON, so that what was printed with `--json` is a file for another one.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use figment::Figment;
use figment::providers::{Format as _, Yaml};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::files;

/// `stored` with what the file and the members say.
///
/// # Errors
/// A member is none, or has a value that it cannot have.
pub(super) fn applied<T: Serialize + DeserializeOwned>(
    what: &str,
    stored: &T,
    file: Option<&Path>,
    Members(members): Members,
) -> Result<T> {
    let mut object = serde_json::to_value(stored)?;
    if let Some(path) = file {
        merge(&mut object, Value::Object(read(what, path)?));
    }
    merge(&mut object, Value::Object(members));
    let mut unknown = Vec::new();
    let read = serde_ignored::deserialize(&object, |path| unknown.push(path.to_string()));
    if let [first, ..] = unknown.as_slice() {
        bail!("a {what} has no member {first:?}");
    }
    read.with_context(|| format!("the {what} cannot be used"))
}

/// The members in a file; JSON is YAML.
pub(super) fn read(what: &str, path: &Path) -> Result<Map<String, Value>> {
    let text = String::from_utf8(files::read(path)?)?;
    Figment::from(Yaml::string(&text))
        .extract()
        .with_context(|| format!("{} is no {what}", path.display()))
}

/// Members to set.
#[derive(Debug, Default)]
pub(super) struct Members(pub(super) Map<String, Value>);

impl Members {
    /// Sets a member where its flag was given.
    pub(super) fn put<T: Serialize>(&mut self, name: &str, value: Option<T>) {
        self.put_in(&[], name, value);
    }

    /// The same in an object in an object.
    pub(super) fn put_in<T: Serialize>(&mut self, path: &[&str], name: &str, value: Option<T>) {
        let Some(value) = value.and_then(|value| serde_json::to_value(value).ok()) else {
            return;
        };
        let mut object = &mut self.0;
        for part in path {
            let entry = object.entry(*part);
            let inner = entry.or_insert_with(|| Value::Object(Map::new()));
            match inner {
                Value::Object(inner) => object = inner,
                // Nothing else is ever put at the name of an object.
                _ => return,
            }
        }
        object.insert(name.to_owned(), value);
    }
}

/// Puts the members of one object into another, those of objects in it one by one.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Members, merge};

    #[test]
    fn members_are_put_where_they_belong() {
        let mut members = Members::default();
        members.put("name", Some("a"));
        members.put_in(&["settings", "keys"], "bits", Some(256));
        members.put_in(&["settings", "keys"], "type", Some("ECDSA"));
        members.put_in(&["settings"], "absent", None::<bool>);
        let mut object = json!({"settings": {"keys": {"bits": 0}, "kept": true}});
        merge(&mut object, Value::Object(members.0));
        let expected = json!({"name": "a",
            "settings": {"keys": {"bits": 256, "type": "ECDSA"}, "kept": true}});
        assert_eq!(object, expected);
    }
}
