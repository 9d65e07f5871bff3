use std::collections::BTreeSet;

use serde_json::Value;

use super::{document, is_internal, open_api_path};
use crate::assembly;

#[tokio::test(flavor = "multi_thread")]
async fn every_route_is_described_and_nothing_else() {
    let table = assembly::route_table().await.unwrap();
    let document = document(&table);
    let mut described = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            described.insert((method.to_uppercase(), path.clone()));
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} twice");
            assert_parameters(path, operation);
            let answers = operation["responses"].as_object().unwrap();
            let is_not_offered = path.ends_with("{operation}");
            assert!(
                is_not_offered || answers.keys().any(|status| status.starts_with('2')),
                "{method} {path} never succeeds"
            );
            assert!(
                answers.contains_key("503") || path.ends_with("/health"),
                "{method} {path}"
            );
            // A limit of the DMS, and a webhook that is asked.
            if path.contains("/est/") && method == "post" && !is_not_offered {
                for status in ["429", "502", "504"] {
                    assert!(answers.contains_key(status), "{path} {status}");
                }
            }
        }
    }
    let declared: BTreeSet<_> = table
        .iter()
        .filter(|route| !is_internal(route))
        .map(|route| (route.info.method.to_string(), open_api_path(&route.path)))
        .collect();
    assert_eq!(described, declared);
}

/// Every parameter of a path has a description and an example.
fn assert_parameters(path: &str, operation: &Value) {
    let empty = Vec::new();
    let parameters = operation["parameters"].as_array().unwrap_or(&empty);
    let in_path: Vec<_> = parameters
        .iter()
        .filter(|one| one["in"] == "path")
        .collect();
    assert_eq!(in_path.len(), path.matches('{').count(), "{path}");
    for parameter in in_path {
        assert_ne!(parameter["description"], "", "{path}: {parameter}");
        assert_ne!(parameter["example"], "", "{path}: {parameter}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_has_a_name_of_its_own_and_a_readable_description() {
    let table = assembly::route_table().await.unwrap();
    let document = document(&table);
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        // A generator that meets a name twice puts a number behind it.
        let unversioned = name.trim_end_matches("V2");
        assert!(
            !unversioned.ends_with(|last: char| last.is_ascii_digit()),
            "{name}"
        );
        assert!(!schema.to_string().contains("[`"), "{name}: {schema}");
    }
}
