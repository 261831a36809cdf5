//! The description of the API: whole, and without a type that says nothing.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Console;
use crate::openapi::description;

/// The description as it is handed out.
async fn described() -> Value {
    let console = Console::new();
    let request = axum::http::Request::builder().uri("/openapi.json").body(axum::body::Body::empty()).unwrap();
    let document = console.send(request).await.json(200);
    assert_eq!(document, serde_json::to_value(description()).unwrap());
    document
}

/// Every schema in the document with its path: those of the components, of parameters and of bodies.
fn schemas<'a>(path: &str, value: &'a Value, found: &mut Vec<(String, &'a Value)>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let path = format!("{path}/{name}");
                match name.as_str() {
                    "schema" | "items" | "additionalProperties" | "propertyNames" if field.is_object() => {
                        found.push((path.clone(), field));
                    }
                    "schemas" | "properties" => {
                        found.extend(field.as_object().into_iter().flatten().map(|(n, s)| (format!("{path}/{n}"), s)));
                    }
                    "oneOf" | "anyOf" | "allOf" => {
                        found.extend(field.as_array().into_iter().flatten().map(|s| (path.clone(), s)));
                    }
                    _ => {}
                }
                schemas(&path, field, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| schemas(path, value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Whether a schema says what its values are.
fn says_something(schema: &Value) -> bool {
    let is_object = schema["type"] == "object";
    let has = |name: &str| schema.get(name).is_some();
    let composed = ["$ref", "oneOf", "anyOf", "allOf"].into_iter().any(has);
    composed || if is_object { has("properties") || has("additionalProperties") } else { has("type") }
}

#[tokio::test]
async fn no_schema_says_nothing_and_no_reference_leads_nowhere() {
    let document = described().await;
    let mut found = Vec::new();
    schemas("", &document, &mut found);
    assert!(found.len() > 300, "{}", found.len());
    for (path, schema) in found {
        assert!(says_something(schema), "{path}: {schema}");
        if let Some(reference) = schema["$ref"].as_str() {
            let pointer = reference.strip_prefix('#').expect("a reference within the document");
            assert!(document.pointer(pointer).is_some(), "{path}: {reference}");
        }
    }
    assert!(!says_something(&serde_json::json!({ "type": "object" })) && !says_something(&serde_json::json!({})));
}

#[tokio::test]
async fn an_object_that_takes_no_other_fields_is_part_of_no_other() {
    let document = described().await;
    let mut found = Vec::new();
    schemas("", &document, &mut found);
    for (path, schema) in found {
        for part in schema["allOf"].as_array().into_iter().flatten() {
            let part = part["$ref"].as_str().map_or(part, |to| document.pointer(&to[1..]).unwrap());
            assert_ne!(part["additionalProperties"], false, "{path}: no value is all of these");
        }
    }
}

#[tokio::test]
async fn every_route_is_described_with_its_parameters() {
    let document = described().await;
    let paths = document["paths"].as_object().unwrap();
    let routes: BTreeSet<&str> = include_str!("../router.rs")
        .split(".route(")
        .skip(1)
        .filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next())
        .filter(|route| *route != "/openapi.json")
        .collect();
    assert_eq!(routes, paths.keys().map(String::as_str).collect());
    assert!(routes.len() > 20);
    for (path, methods) in paths {
        let named = path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
        let named: BTreeSet<&str> = named.collect();
        for (method, operation) in methods.as_object().unwrap() {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let in_path = parameters.filter(|parameter| parameter["in"] == "path");
            let in_path: BTreeSet<&str> = in_path.map(|parameter| parameter["name"].as_str().unwrap()).collect();
            assert_eq!(in_path, named, "{method} {path}");
        }
    }
}
