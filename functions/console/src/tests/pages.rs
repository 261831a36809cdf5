//! The pages for readers name calls and fields that the API has.

use std::{collections::BTreeSet, path::Path};

use serde_json::Value;

use crate::openapi::description;

/// Pages that tell of the API.
const PAGES: [&str; 3] = ["README.md", "docs/operation.md", "docs/exchange.md"];

fn page(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name)).unwrap()
}

/// What stands between backticks.
fn quoted(page: &str) -> impl Iterator<Item = &str> {
    page.split('`').skip(1).step_by(2)
}

#[test]
fn every_call_that_a_page_names_is_one_of_the_api() {
    let api: Value = serde_json::to_value(description()).unwrap();
    let mut named = BTreeSet::new();
    for text in PAGES.map(page) {
        for call in quoted(&text) {
            let mut words = call.split_whitespace();
            if let (Some(method @ ("GET" | "POST" | "PATCH" | "DELETE")), Some(path)) = (words.next(), words.next()) {
                named.insert((method.to_lowercase(), path.to_owned()));
            }
        }
    }
    assert!(named.len() > 15, "{named:?}");
    for (method, path) in named.iter().filter(|(_, path)| path != "/openapi.json") {
        assert!(api["paths"][path][method].is_object(), "there is no {method} {path}");
    }
}

#[test]
fn every_field_that_a_page_names_is_one_of_the_api() {
    let api = serde_json::to_string(&description()).unwrap();
    let mut fields = 0;
    for text in PAGES.map(page) {
        for word in quoted(&text).flat_map(|words| words.split(|c: char| !(c.is_ascii_lowercase() || c == '_'))) {
            if word.contains('_') && word.split('_').all(|part| !part.is_empty()) {
                assert!(api.contains(&format!("\"{word}\"")), "there is no {word}");
                fields += 1;
            }
        }
    }
    assert!(fields > 20, "{fields}");
}
