//! The form of a queue message: ids and a version, so that messages of the day before an upgrade can be read.

use mailrail_domain::words::{delivery::Delivery, id::MailboxId, trial::TestRequest};
use mailrail_engine::ports::Wake;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Version of the form.
const VERSION: u16 = 1;
/// Longest body that is looked at, in bytes.
const BODY_BYTES_MAX: usize = 1_024;

#[derive(Debug, Serialize, Deserialize)]
struct Message {
    version: u16,
    mailbox: MailboxId,
    delivery: Delivery,
}

/// The body of a wake's message.
#[must_use]
pub fn encode(wake: &Wake) -> String {
    let message = Message { version: VERSION, mailbox: wake.mailbox.clone(), delivery: wake.delivery };
    // Two identifiers and a number always serialize.
    serde_json::to_string(&message).unwrap_or_default()
}

/// The wake of a body, or what is wrong with it. The body itself is not repeated: it is somebody else's.
pub fn decode(body: &str) -> Result<Wake, String> {
    let message: Message = read(body, "wake")?;
    check_version(message.version)?;
    Ok(Wake { mailbox: message.mailbox, delivery: message.delivery })
}

#[derive(Debug, Serialize, Deserialize)]
struct TestMessage {
    version: u16,
    #[serde(flatten)]
    request: TestRequest,
}

/// The body of a message that asks for tests.
#[must_use]
pub fn encode_test(request: &TestRequest) -> String {
    serde_json::to_string(&TestMessage { version: VERSION, request: request.clone() }).unwrap_or_default()
}

/// The request of a body, or what is wrong with it.
pub fn decode_test(body: &str) -> Result<TestRequest, String> {
    let message: TestMessage = read(body, "request for a test")?;
    check_version(message.version)?;
    Ok(message.request)
}

fn read<T: DeserializeOwned>(body: &str, what: &str) -> Result<T, String> {
    if body.len() > BODY_BYTES_MAX {
        return Err(format!("the message has {} bytes; a {what} has at most {BODY_BYTES_MAX}", body.len()));
    }
    serde_json::from_str(body).map_err(|error| format!("the message is no {what}: {error}"))
}

fn check_version(version: u16) -> Result<(), String> {
    if version == VERSION {
        return Ok(());
    }
    Err(format!("the message has version {version}; this function reads {VERSION}"))
}

#[cfg(test)]
mod tests {
    use mailrail_domain::words::{id::ProfileId, trial::ProfileTest};

    use super::*;

    #[test]
    fn a_wake_survives_the_queue() {
        let wake = Wake { mailbox: MailboxId::parse("m-1").unwrap(), delivery: Delivery::OutgoingEmail };
        assert_eq!(encode(&wake), r#"{"version":1,"mailbox":"m-1","delivery":"outgoing-email"}"#);
        assert_eq!(decode(&encode(&wake)), Ok(wake));
    }

    #[test]
    fn a_request_for_a_test_survives_the_queue() {
        let mailbox = TestRequest::Mailbox(MailboxId::parse("m-1").unwrap());
        assert_eq!(encode_test(&mailbox), r#"{"version":1,"mailbox":"m-1"}"#);
        let profile = TestRequest::Profile(ProfileTest {
            profile: ProfileId::parse("p-1").unwrap(),
            requested_by: "ann".to_owned(),
            items_with_this_organization_only: true,
            cursor: Some("m-9".to_owned()),
        });
        for request in [mailbox, profile] {
            assert_eq!(decode_test(&encode_test(&request)), Ok(request));
        }
        for body in ["", "{}", r#"{"version":2,"mailbox":"m"}"#, r#"{"version":1,"mailbox":"a/b"}"#] {
            assert!(decode_test(body).unwrap_err().starts_with("the message"), "{body}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_said_without_repeating_it() {
        let long = "x".repeat(5_000);
        let newer = r#"{"version":9,"mailbox":"m","delivery":"incoming-email"}"#;
        let foreign = r#"{"version":1,"mailbox":"a/../b","delivery":"incoming-email"}"#;
        for body in ["", "{", "null", "secret words", newer, foreign, &long] {
            let problem = decode(body).unwrap_err();
            assert!(problem.starts_with("the message") && !problem.contains("secret"), "{problem}");
        }
    }
}
