//! Where the real implementations find AWS, and an account of it for each test.

use std::hash::{BuildHasher, Hasher, RandomState};

use serde::Deserialize;

/// The variable that names the description of the running servers.
const VARIABLE: &str = "MAILRAIL_TEST_STACK";

/// The emulator of AWS.
#[derive(Debug, Clone, Deserialize)]
pub struct Emulator {
    /// Address of every service.
    pub url: String,
    /// Its region.
    pub region: String,
}

#[derive(Deserialize)]
struct Description {
    aws: Emulator,
}

/// The running emulator.
///
/// # Panics
///
/// If it is not running: a test that needs it fails, and says how to start it.
#[must_use]
pub fn emulator() -> Emulator {
    let start = "run `infra/local/test --up` in another terminal and the `export` that it prints in this one, or run \
                 every test with `infra/local/test`";
    let path = std::env::var(VARIABLE).unwrap_or_else(|_| panic!("{VARIABLE} is not set: {start}"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path} cannot be read ({e}): {start}"));
    let description: Description =
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path} does not describe the servers ({e}): {start}"));
    description.aws
}

/// An account that no other test has. Its twelve digits are its access key.
#[must_use]
pub fn fresh_account() -> String {
    format!("{:012}", RandomState::new().build_hasher().finish() % 1_000_000_000_000)
}
