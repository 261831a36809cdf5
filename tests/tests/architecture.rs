//! The map of `ARCHITECTURE.md`, read from `cargo metadata`: which crate may depend on which.

#![expect(clippy::expect_used, reason = "a test that cannot be set up has failed")]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

use serde_json::Value;

/// The workspace's crates, each with the crates of the workspace that it may use outside its tests.
const ALLOWED: [(&str, &[&str]); 19] = [
    ("mailrail-domain", &[]),
    ("mailrail-engine", &["mailrail-domain"]),
    ("mailrail-connect", &["mailrail-domain", "mailrail-engine"]),
    ("mailrail-internet-mail", &["mailrail-connect", "mailrail-domain", "mailrail-engine"]),
    ("mailrail-exchange-online", &["mailrail-connect", "mailrail-domain", "mailrail-engine"]),
    ("mailrail-exchange-server", &["mailrail-connect", "mailrail-domain", "mailrail-engine"]),
    ("mailrail-table", &["mailrail-domain", "mailrail-engine"]),
    ("mailrail-store", &["mailrail-domain", "mailrail-engine", "mailrail-table"]),
    ("mailrail-records-dynamodb", &["mailrail-domain", "mailrail-engine", "mailrail-table"]),
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
            "mailrail-records-dynamodb",
            "mailrail-store",
            "mailrail-queue",
            "mailrail-table",
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
    ("aws-sdk-dynamodb", &["mailrail-table", "mailrail-store", "mailrail-test-support", "mailrail-boot"]),
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
const OF_DOMAIN: [&str; 5] = ["chrono", "serde", "serde_json", "sha2", "thiserror"];

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

/// The adapters, each with the endpoints that it serves.
const ADAPTERS: [(&str, &[&str]); 3] =
    [("internet-mail", &["Imap", "Pop3", "Smtp"]), ("exchange-online", &["Graph"]), ("exchange-server", &["Ews"])];

#[test]
fn no_adapter_names_the_endpoint_of_another() {
    for (adapter, own) in ADAPTERS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared").join(adapter).join("src");
        let named: BTreeSet<String> = modules(&folder)
            .values()
            .flat_map(|code| code.split("Endpoint::").skip(1))
            .map(|rest| rest.chars().take_while(char::is_ascii_alphanumeric).collect())
            .collect();
        assert_eq!(named.iter().map(String::as_str).collect::<Vec<_>>(), own, "{adapter}");
    }
}

/// The layers of the rules' crate, each with those that it may name.
const LAYERS: [(&str, &[&str]); 5] = [
    ("words", &[]),
    ("settings", &["words"]),
    ("rules", &["settings", "words"]),
    ("texts", &["rules", "settings", "words"]),
    ("email", &["words"]),
];

/// The files of a folder and those below it, as paths of modules, each with its code outside tests.
fn modules(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).expect("a folder of the source") {
            let path = entry.expect("an entry of a folder").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source file");
                let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().to_owned();
                let name = path.strip_prefix(folder).expect("a path below it").with_extension("");
                let name = name.to_string_lossy().replace('/', "::");
                found.insert(name.strip_suffix("::mod").unwrap_or(&name).to_owned(), code);
            }
        }
    }
    found
}

/// What a file's `use` declarations name that begin with `crate`, `self` or `super`.
fn named(way: &str, code: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for tree in code.split(&format!("use {way}::")).skip(1).filter_map(|rest| rest.split(';').next()) {
        leaves(String::new(), tree, &mut named);
    }
    named
}

/// The paths of a tree of names such as `{a, b::{c, d}}`.
fn leaves(before: String, tree: &str, paths: &mut BTreeSet<String>) {
    let tree = tree.trim();
    let Some((prefix, rest)) = tree.split_once('{') else {
        if !tree.is_empty() {
            paths.insert(before + tree);
        }
        return;
    };
    let inside = rest.strip_suffix('}').expect("a brace that is closed");
    let (mut depth, mut part) = (0_usize, String::new());
    for letter in inside.chars() {
        match letter {
            ',' if depth == 0 => leaves(format!("{before}{prefix}"), &std::mem::take(&mut part), paths),
            _ => {
                depth = if letter == '{' { depth + 1 } else { depth - usize::from(letter == '}') };
                part.push(letter);
            }
        }
    }
    leaves(format!("{before}{prefix}"), &part, paths);
}

/// The module among `modules` that a path leads into.
fn module_of<'a>(path: &str, modules: &'a BTreeMap<String, String>) -> Option<&'a str> {
    let leads = |module: &&String| path == module.as_str() || path.starts_with(&format!("{module}::"));
    modules.keys().filter(leads).max_by_key(|module| module.len()).map(String::as_str)
}

#[test]
fn arrows_between_the_layers_of_the_rules_run_one_way() {
    let modules = modules(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/domain/src"));
    let layers: BTreeMap<&str, &[&str]> = LAYERS.into();
    for (module, code) in &modules {
        let layer = module.split("::").next().unwrap_or_default();
        let Some(may) = layers.get(layer) else {
            assert!(["lib", "sample"].contains(&layer), "{module} stands in no layer");
            continue;
        };
        assert!(!code.contains("super::super::"), "{module} names its layer by `super`, which nobody checks");
        for path in named("crate", code) {
            let Some(to) = module_of(&path, &modules) else { continue };
            let other = to.split("::").next().unwrap_or_default();
            // The sample is there in tests alone, so that only tests can name it.
            let is_allowed = other == layer || may.contains(&other) || other == "sample";
            assert!(is_allowed, "{module} of {layer} names {path} of {other}");
        }
    }
}

/// The files that a file names, by `crate`, `self` or `super`.
fn arrows_of(name: &str, code: &str, modules: &BTreeMap<String, String>) -> BTreeSet<String> {
    let own = if name == "lib" || name == "main" { "" } else { name };
    let above = own.rsplit_once("::").map_or("", |(above, _)| above);
    let mut paths = BTreeSet::new();
    for (way, from) in [("crate", ""), ("self", own), ("super", above)] {
        let beneath = named(way, code).into_iter();
        paths.extend(beneath.map(|path| if from.is_empty() { path } else { format!("{from}::{path}") }));
    }
    let to = paths.iter().filter_map(|path| module_of(path, modules)).filter(|to| *to != name);
    // A file tells of the files below it, which may use what it has.
    to.filter(|to| !to.starts_with(&format!("{own}::")) && !own.is_empty()).map(str::to_owned).collect()
}

#[test]
fn no_file_of_a_crate_leads_back_to_itself() {
    for package in packages().iter().filter(|package| name(package) != "end-to-end") {
        let manifest = Path::new(package["manifest_path"].as_str().expect("a path"));
        let modules = modules(&manifest.with_file_name("src"));
        let mut arrows: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for (module, code) in &modules {
            arrows.insert(module, arrows_of(module, code, &modules));
        }
        // Take away, again and again, what leads nowhere: what is left leads back.
        while let Some(end) =
            arrows.iter().find(|(_, to)| to.iter().all(|to| !arrows.contains_key(to.as_str()))).map(|(from, _)| *from)
        {
            arrows.remove(end);
        }
        assert!(arrows.is_empty(), "in {} these files name each other in a circle: {arrows:?}", name(package));
    }
}

#[test]
fn names_in_a_tree_are_found() {
    let code =
        "use crate::{\n    Timestamp,\n    rules::{hold::can_hold, retry},\n};\nuse crate::words::id::MailboxId;\n";
    let expected = ["Timestamp", "rules::hold::can_hold", "rules::retry", "words::id::MailboxId"];
    assert_eq!(named("crate", code).into_iter().collect::<Vec<_>>(), expected);
}
