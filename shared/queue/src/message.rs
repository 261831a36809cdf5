//! The form of a queue message: ids and a version. A function reads messages of the release before its own and of the one
//! after, so that an upgrade in any order loses none.

use mailrail_domain::words::{delivery::Delivery, id::MailboxId, trial::ProfileTest};
use mailrail_engine::ports::{Job, Wake};
use serde::{Deserialize, Serialize};

/// Version of the form that is written.
const VERSION: u16 = 1;
/// Newest version that is read: a release adds fields, and the one before it leaves them aside.
const VERSION_MAX: u16 = VERSION + 1;
/// Longest body that is looked at, in bytes.
const BODY_BYTES_MAX: usize = 1_024;

/// A message: a mailbox with a delivery is a wake, a mailbox by itself is a trial, a profile is trials of its mailboxes.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Message {
    version: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mailbox: Option<MailboxId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delivery: Option<Delivery>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    profile: Option<ProfileTest>,
}

/// The body of a job's message.
#[must_use]
pub fn encode(job: &Job) -> String {
    let blank = Message { version: VERSION, ..Message::default() };
    let message = match job {
        Job::Wake(Wake { mailbox, delivery }) => {
            Message { mailbox: Some(mailbox.clone()), delivery: Some(*delivery), ..blank }
        }
        Job::Trial(mailbox) => Message { mailbox: Some(mailbox.clone()), ..blank },
        Job::TrialsOfProfile(tests) => Message { profile: Some(tests.clone()), ..blank },
    };
    // Identifiers and numbers always serialize.
    serde_json::to_string(&message).unwrap_or_default()
}

/// The job of a body, or what is wrong with it. The body itself is not repeated: it is somebody else's.
pub fn decode(body: &str) -> Result<Job, String> {
    if body.len() > BODY_BYTES_MAX {
        return Err(format!("the message has {} bytes; a job has at most {BODY_BYTES_MAX}", body.len()));
    }
    let message: Message = serde_json::from_str(body).map_err(|error| format!("the message is no job: {error}"))?;
    if message.version > VERSION_MAX {
        let version = message.version;
        return Err(format!("the message has version {version}; this function reads up to {VERSION_MAX}"));
    }
    match message {
        Message { mailbox: Some(mailbox), delivery: Some(delivery), profile: None, .. } => {
            Ok(Job::Wake(Wake { mailbox, delivery }))
        }
        Message { mailbox: Some(mailbox), delivery: None, profile: None, .. } => Ok(Job::Trial(mailbox)),
        Message { profile: Some(tests), mailbox: None, delivery: None, .. } => Ok(Job::TrialsOfProfile(tests)),
        Message { .. } => Err("the message names neither a mailbox nor a profile, or both".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use mailrail_domain::words::id::ProfileId;

    use super::*;

    fn mailbox() -> MailboxId {
        MailboxId::parse("m-1").unwrap()
    }

    #[test]
    fn a_wake_survives_the_queue() {
        let job = Job::Wake(Wake { mailbox: mailbox(), delivery: Delivery::OutgoingEmail });
        assert_eq!(encode(&job), r#"{"version":1,"mailbox":"m-1","delivery":"outgoing-email"}"#);
        assert_eq!(decode(&encode(&job)), Ok(job));
    }

    #[test]
    fn a_request_for_a_test_survives_the_queue() {
        let trial = Job::Trial(mailbox());
        assert_eq!(encode(&trial), r#"{"version":1,"mailbox":"m-1"}"#);
        let profile = Job::TrialsOfProfile(ProfileTest {
            profile: ProfileId::parse("p-1").unwrap(),
            requested_by: "ann".to_owned(),
            items_with_this_organization_only: true,
            cursor: Some("m-9".to_owned()),
        });
        for job in [trial, profile] {
            assert_eq!(decode(&encode(&job)), Ok(job));
        }
        for body in ["", "{}", r#"{"version":9,"mailbox":"m"}"#, r#"{"version":1,"mailbox":"a/b"}"#] {
            assert!(decode(body).unwrap_err().starts_with("the message"), "{body}");
        }
    }

    #[test]
    fn messages_of_the_release_before_and_of_the_one_after_are_read() {
        let wake = Ok(Job::Wake(Wake { mailbox: mailbox(), delivery: Delivery::IncomingEmail }));
        for body in [
            r#"{"version":0,"mailbox":"m-1","delivery":"incoming-email"}"#,
            r#"{"version":2,"mailbox":"m-1","delivery":"incoming-email","trace":"1-abc"}"#,
        ] {
            assert_eq!(decode(body), wake, "{body}");
        }
        assert!(decode(r#"{"version":3,"mailbox":"m-1","delivery":"incoming-email"}"#).is_err());
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
