//! The form of a queue message: ids and a version, so that messages of the day before an upgrade can be read.

use mailrail_domain::{delivery::Delivery, id::MailboxId};
use mailrail_engine::ports::Wake;
use serde::{Deserialize, Serialize};

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
    if body.len() > BODY_BYTES_MAX {
        return Err(format!("the message has {} bytes; a wake has at most {BODY_BYTES_MAX}", body.len()));
    }
    let message: Message = serde_json::from_str(body).map_err(|error| format!("the message is no wake: {error}"))?;
    if message.version != VERSION {
        return Err(format!("the message has version {}; this function reads {VERSION}", message.version));
    }
    Ok(Wake { mailbox: message.mailbox, delivery: message.delivery })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_survives_the_queue() {
        let wake = Wake { mailbox: MailboxId::parse("m-1").unwrap(), delivery: Delivery::OutgoingEmail };
        assert_eq!(encode(&wake), r#"{"version":1,"mailbox":"m-1","delivery":"outgoing-email"}"#);
        assert_eq!(decode(&encode(&wake)), Ok(wake));
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
