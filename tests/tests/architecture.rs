//! The map of `ARCHITECTURE.md`, read from `cargo metadata`: which crate may depend on which.

#![allow(clippy::expect_used)] // a test that cannot be set up has failed

use std::{collections::BTreeMap, process::Command};

use serde_json::Value;

/// The workspace's crates, each with the crates of the workspace that it may use outside its tests.
const ALLOWED: [(&str, &[&str]); 17] = [
    ("mailrail-domain", &[]),
    ("mailrail-engine", &["mailrail-domain"]),
    ("mailrail-connect", &["mailrail-domain", "mailrail-engine"]),
    ("mailrail-internet-mail", &["mailrail-connect", "mailrail-domain", "mailrail-engine"]),
    ("mailrail-exchange-online", &["mailrail-connect", "mailrail-domain", "mailrail-engine"]),
    ("mailrail-exchange-server", &["mailrail-connect", "mailrail-domain", "mailrail-engine"]),
    ("mailrail-store", &["mailrail-domain", "mailrail-engine"]),
    ("mailrail-queue", &["mailrail-domain", "mailrail-engine"]),
    (
        "mailrail-boot",
        &[
            "mailrail-connect",
            "mailrail-domain",
            "mailrail-engine",
            "mailrail-exchange-online",
            "mailrail-exchange-server",
            "mailrail-internet-mail",
            "mailrail-store",
            "mailrail-queue",
        ],
    ),
    ("mailrail-test-support", &["mailrail-domain", "mailrail-engine"]),
    ("enqueue-mailboxes", &["mailrail-boot"]),
    ("receive-email", &["mailrail-boot", "mailrail-domain"]),
    ("test-mailboxes", &["mailrail-boot"]),
    ("send-email", &["mailrail-boot", "mailrail-domain"]),
    ("notify-owners", &["mailrail-boot"]),
    ("console", &["mailrail-boot", "mailrail-domain", "mailrail-engine"]),
    ("end-to-end", &[]),
];

/// Where outside crates may be used.
const OUTSIDE: [(&str, &[&str]); 11] = [
    ("aws-sdk-dynamodb", &["mailrail-store", "mailrail-boot"]),
    ("aws-sdk-s3", &["mailrail-store", "mailrail-boot"]),
    ("aws-sdk-kms", &["mailrail-store", "mailrail-boot"]),
    ("aws-sdk-sqs", &["mailrail-queue", "mailrail-boot"]),
    ("lambda_http", &["console"]),
    ("lettre", &["mailrail-internet-mail"]),
    ("reqwest", &["mailrail-connect", "mailrail-exchange-online", "mailrail-exchange-server"]),
    ("md4", &["mailrail-exchange-server"]),
    ("md-5", &["mailrail-exchange-server"]),
    ("mail-parser", &["mailrail-engine", "mailrail-test-support"]),
    ("ammonia", &["mailrail-engine"]),
];

/// What the rules may use: dates, digests, and how values are written down.
const OF_DOMAIN: [&str; 4] = ["chrono", "serde", "sha2", "thiserror"];

fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    metadata["packages"].as_array().expect("packages").clone()
}

fn name(value: &Value) -> &str {
    value["name"].as_str().expect("a name")
}

/// Dependencies of a package outside its tests.
fn uses(package: &Value) -> Vec<&str> {
    let all = package["dependencies"].as_array().expect("dependencies").iter();
    all.filter(|dependency| dependency["kind"] != "dev").map(name).collect()
}

#[test]
fn arrows_between_crates_are_those_of_the_map() {
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.into();
    let packages = packages();
    for package in packages.iter().filter(|package| name(package) != "end-to-end") {
        let may = allowed.get(name(package)).unwrap_or_else(|| panic!("{} is not on the map", name(package)));
        for used in uses(package).into_iter().filter(|used| allowed.contains_key(used)) {
            assert!(may.contains(&used), "{} uses {used}", name(package));
        }
    }
    assert_eq!(packages.len(), ALLOWED.len());
}

#[test]
fn outside_crates_are_used_where_they_belong() {
    for package in packages().iter().filter(|package| name(package) != "end-to-end") {
        for used in uses(package) {
            for (outside, places) in OUTSIDE {
                assert!(used != outside || places.contains(&name(package)), "{} uses {used}", name(package));
            }
            assert!(name(package) != "mailrail-domain" || OF_DOMAIN.contains(&used), "the rules use {used}");
        }
    }
}

#[test]
fn every_binary_is_a_function_named_as_its_directory() {
    for package in packages() {
        let manifest = package["manifest_path"].as_str().expect("a path").to_owned();
        for target in package["targets"].as_array().expect("targets") {
            if target["kind"] == serde_json::json!(["bin"]) {
                let place = format!("functions/{}/Cargo.toml", name(target));
                assert!(manifest.ends_with(&place), "{} is a binary outside functions/", name(target));
            }
        }
    }
}
