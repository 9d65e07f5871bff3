//! The API description as a client reads it, and calls that are held against it.

use std::cell::RefCell;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail, ensure};
use jsonschema::Validator;
use serde_json::{Map, Value, json};

use crate::support::api::Api;
use crate::support::command;
use crate::support::program::Program;

/// The document at `/openapi.json`.
#[derive(Debug)]
pub(crate) struct Description {
    document: Value,
    /// Its components, but objects have no members that are not described.
    strict: Value,
    /// By schema.
    validators: RefCell<BTreeMap<String, Validator>>,
}

impl Description {
    /// The document of a running program, read without a token.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn of(program: &Program) -> Result<Self> {
        let anchor = program.anchor().to_string_lossy().into_owned();
        let url = format!("{}/openapi.json", program.https());
        let arguments = ["-sS", "--fail-with-body", "--cacert", &anchor, &url];
        let text = command::run(&program.scratch(), "curl", &arguments)?;
        let document: Value = serde_json::from_str(&text)?;
        let mut strict = document["components"].clone();
        forbid_further_members(&mut strict);
        Ok(Self {
            document,
            strict,
            validators: RefCell::default(),
        })
    }

    /// Every operation: method, path, what is said of it.
    pub(crate) fn operations(&self) -> impl Iterator<Item = (&str, &str, &Value)> {
        let paths = self.document["paths"].as_object();
        paths.into_iter().flatten().flat_map(|(path, operations)| {
            let operations = operations.as_object();
            operations
                .into_iter()
                .flatten()
                .map(|(method, operation)| (method.as_str(), path.as_str(), operation))
        })
    }

    /// One operation.
    ///
    /// # Errors
    /// It is not described.
    pub(crate) fn operation(&self, method: &str, path: &str) -> Result<&Value> {
        self.operations()
            .find(|(known, at, _)| *known == method && *at == path)
            .map(|(_, _, operation)| operation)
            .with_context(|| format!("{method} {path} is not described"))
    }

    /// What an operation says of a status; references are followed.
    ///
    /// # Errors
    /// The status is not described.
    pub(crate) fn response<'a>(&'a self, operation: &'a Value, status: u16) -> Result<&'a Value> {
        let response = operation["responses"].get(status.to_string());
        let response = response.with_context(|| format!("status {status} is not described"))?;
        match response["$ref"].as_str() {
            Some(reference) => {
                let pointer = reference.trim_start_matches('#');
                let target = self.document.pointer(pointer);
                target.with_context(|| format!("{reference} points nowhere"))
            }
            None => Ok(response),
        }
    }

    /// Holds a value against a schema, whose objects have no members that are not described.
    ///
    /// # Errors
    /// Every way in which it does not fit.
    pub(crate) fn check(&self, schema: &Value, value: &Value) -> Result<()> {
        let mut validators = self.validators.borrow_mut();
        let validator = match validators.entry(schema.to_string()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(self.validator(schema)?),
        };
        let wrong: Vec<String> = validator
            .iter_errors(value)
            .map(|error| format!("{error} at {}", error.instance_path()))
            .collect();
        ensure!(wrong.is_empty(), "{}\nin {value}", wrong.join("\n"));
        Ok(())
    }

    fn validator(&self, schema: &Value) -> Result<Validator> {
        let mut root = schema.clone();
        root.as_object_mut()
            .context("a schema is an object")?
            .insert("components".to_owned(), self.strict.clone());
        let options = jsonschema::options().should_validate_formats(true);
        Ok(options.build(&root)?)
    }
}

/// Every schema of an object with members says that there are no others.
fn forbid_further_members(value: &mut Value) {
    match value {
        Value::Object(members) => {
            let is_object = members.get("properties").is_some_and(Value::is_object);
            if is_object && !members.contains_key("additionalProperties") {
                members.insert("additionalProperties".to_owned(), json!(false));
            }
            for member in members.values_mut() {
                forbid_further_members(member);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(forbid_further_members),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Calls operations, and holds what is sent and answered against their description.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    description: &'a Description,
    api: &'a Api,
    performed: BTreeSet<(String, String)>,
}

impl<'a> Walk<'a> {
    /// A walk that has not begun.
    pub(crate) fn new(description: &'a Description, api: &'a Api) -> Self {
        Self {
            description,
            api,
            performed: BTreeSet::new(),
        }
    }

    /// Performs an operation, which must succeed; gives its answer. `names` are the parameters of
    /// the path in their order, the last of which may have a query string behind it.
    ///
    /// # Errors
    /// It is refused, or request or answer are not as described.
    pub(crate) fn call(
        &mut self,
        method: &str,
        template: &str,
        names: &[&str],
        body: Option<&Value>,
    ) -> Result<Value> {
        let (template, query) = template.split_once('?').unwrap_or((template, ""));
        let template = format!("/api/{template}");
        let method = method.to_ascii_lowercase();
        self.perform(&method, &template, query, names, body)
            .with_context(|| format!("{method} {template} {names:?}"))
    }

    fn perform(
        &mut self,
        method: &str,
        template: &str,
        query: &str,
        names: &[&str],
        body: Option<&Value>,
    ) -> Result<Value> {
        let operation = self.description.operation(method, template)?;
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        match body {
            Some(body) => self.description.check(schema, body)?,
            None => ensure!(schema.is_null(), "a body is wanted"),
        }
        let mut path = filled(template, names)?;
        if !query.is_empty() {
            path = format!("{path}?{query}");
        }
        let path = path.trim_start_matches("/api/");
        let answer = self.api.call(&method.to_ascii_uppercase(), path, body)?;
        if answer.status > 299 {
            bail!("{} {}", answer.status, answer.body);
        }
        let response = self.description.response(operation, answer.status)?;
        if let Some(json) = response["content"].get("application/json") {
            let value: Value = serde_json::from_str(&answer.body)?;
            self.description.check(&json["schema"], &value)?;
        }
        self.performed
            .insert((method.to_owned(), template.to_owned()));
        Ok(answer.json())
    }

    /// The operations that read or write JSON and were not performed.
    pub(crate) fn left(&self) -> Vec<String> {
        self.description
            .operations()
            .filter(|(method, _, operation)| *method != "head" && speaks_json(operation))
            .filter(|(method, path, _)| {
                let key = ((*method).to_owned(), (*path).to_owned());
                !self.performed.contains(&key)
            })
            .map(|(method, path, _)| format!("{method} {path}"))
            .collect()
    }
}

/// Whether a request or a success of an operation is JSON, or it has no body at all.
fn speaks_json(operation: &Value) -> bool {
    let is_json = |content: &Value| content.is_null() || content.get("application/json").is_some();
    let empty = Map::new();
    let responses = operation["responses"].as_object().unwrap_or(&empty);
    let mut successes = responses
        .iter()
        .filter(|(status, _)| status.starts_with('2'));
    is_json(&operation["requestBody"]["content"])
        && successes.any(|(_, response)| is_json(&response["content"]))
}

/// The path with these names in the place of its parameters.
fn filled(template: &str, names: &[&str]) -> Result<String> {
    let mut names = names.iter();
    let mut path = String::new();
    let mut rest = template;
    while let Some((before, from)) = rest.split_once('{') {
        let (_, after) = from.split_once('}').context("a parameter ends")?;
        path.push_str(before);
        path.push_str(names.next().context("too few names")?);
        rest = after;
    }
    path.push_str(rest);
    ensure!(names.next().is_none(), "too many names");
    Ok(path)
}
