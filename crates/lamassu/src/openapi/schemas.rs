//! The schemas of the types that requests and answers are made of.
//!
//! One type may read more than it writes (members with a default, for example), so there are two
//! sets of schemas. Where both agree on a type it stands in the document once; otherwise what is
//! read has `Input` behind its name.

use std::collections::BTreeSet;

use lamassu_http::{ErrorBody, SchemaOf, schema_of};
use schemars::SchemaGenerator;
use schemars::generate::{Contract, SchemaSettings};
use serde_json::{Map, Value};

/// Where references point.
const COMPONENTS: &str = "#/components/schemas/";

/// Where references to schemas of requests point until it is known which of them stand apart.
const INPUTS: &str = "#/components/inputs/";

/// Behind the name of a type that is read otherwise than it is written.
const INPUT: &str = "Input";

/// Which way a body goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// From the client.
    In,
    /// To the client.
    Out,
}

/// Collects schemas.
#[derive(Debug)]
pub(super) struct Schemas {
    read: SchemaGenerator,
    written: SchemaGenerator,
}

impl Schemas {
    pub(super) fn new() -> Self {
        let generator = |contract: Contract, path: &'static str| {
            let settings = SchemaSettings::draft2020_12().with(|settings| {
                settings.contract = contract;
                settings.definitions_path = path.into();
                settings.meta_schema = None;
            });
            settings.into_generator()
        };
        Self {
            read: generator(Contract::Deserialize, "/components/inputs"),
            written: generator(Contract::Serialize, "/components/schemas"),
        }
    }

    /// The schema of a body, or a reference to it.
    pub(super) fn of(&mut self, schema: SchemaOf, direction: Direction) -> Value {
        let generator = match direction {
            Direction::In => &mut self.read,
            Direction::Out => &mut self.written,
        };
        schema(generator).to_value()
    }

    /// The schema of the error body.
    pub(super) fn error(&mut self) -> Value {
        self.of(schema_of::<ErrorBody<'_>>, Direction::Out)
    }

    /// All schemas by name; references in `document` are made to point at them.
    pub(super) fn finish(mut self, document: &mut Value) -> Map<String, Value> {
        let mut written = self.written.take_definitions(true);
        let mut read = self.read.take_definitions(true);
        let apart = read_otherwise(&read, &written);
        for schema in read.values_mut() {
            resolve(schema, &apart);
        }
        resolve(document, &apart);
        for name in &apart {
            if let Some(Value::Object(schema)) = written.get_mut(name) {
                // It shows what clients send; what they get has more members.
                schema.remove("examples");
            }
        }
        for (name, schema) in read {
            if apart.contains(&name) {
                written.insert(format!("{name}{INPUT}"), schema);
            } else {
                written.insert(name, schema);
            }
        }
        let mut schemas = Value::Object(written);
        walk(&mut schemas, &mut without_links);
        match schemas {
            Value::Object(schemas) => schemas,
            _ => Map::new(),
        }
    }
}

/// The types that are read and written, and not alike: in themselves or in what they refer to.
fn read_otherwise(read: &Map<String, Value>, written: &Map<String, Value>) -> BTreeSet<String> {
    let mut apart = BTreeSet::new();
    loop {
        let before = apart.len();
        for (name, schema) in read {
            let mut resolved = schema.clone();
            resolve(&mut resolved, &apart);
            if written.get(name).is_some_and(|other| *other != resolved) {
                apart.insert(name.clone());
            }
        }
        if apart.len() == before {
            return apart;
        }
    }
}

/// Makes references to schemas of requests point at where these stand.
fn resolve(value: &mut Value, apart: &BTreeSet<String>) {
    walk(value, &mut |members| {
        let Some(Value::String(target)) = members.get_mut("$ref") else {
            return;
        };
        let Some(name) = target.strip_prefix(INPUTS) else {
            return;
        };
        let suffix = if apart.contains(name) { INPUT } else { "" };
        *target = format!("{COMPONENTS}{name}{suffix}");
    });
}

/// Descriptions come from the code, where names are links.
fn without_links(members: &mut Map<String, Value>) {
    if let Some(Value::String(text)) = members.get_mut("description") {
        *text = text
            .replace("[`", "`")
            .replace("`]", "`")
            .replace('\n', " ");
    }
}

/// Calls `change` with every object within `value`.
fn walk(value: &mut Value, change: &mut dyn FnMut(&mut Map<String, Value>)) {
    match value {
        Value::Object(members) => {
            change(members);
            for member in members.values_mut() {
                walk(member, change);
            }
        }
        Value::Array(items) => {
            for item in items {
                walk(item, change);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
