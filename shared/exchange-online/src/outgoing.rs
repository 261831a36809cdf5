//! Outgoing email in two steps: first a draft with the message's own Message-ID, which sends nothing, and then the
//! sending. So a crash between the two steps leaves a draft that the next run finds and finishes. A message that was
//! sent is in Sent Items.
//!
//! Source: Microsoft Graph, "Create message" in MIME format, "message: send", "attachment: createUploadSession".

use base64::{Engine, engine::general_purpose::STANDARD};
use mailrail_connect::{Failure, broken};
use mailrail_domain::{
    email::sending::ContentReply,
    words::{
        address::EmailAddress,
        cause::{Cause, DeliveryError},
        evidence::{Evidence, Stage},
    },
};
use mailrail_engine::{
    mime::{Apart, Attached, message_id, with_blind_copies},
    ports::{EnvelopeReply, OutgoingSession},
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    call::Mailbox,
    cause::{GONE_CODES, MESSAGE_CODES},
};

/// Largest message that goes in one request: its base64 stays below the 4 MB of a request (Microsoft Graph, "Create
/// message").
const ONE_REQUEST_BYTES_MAX: usize = 2_900_000;
/// Attachments from this size on are uploaded in pieces (Microsoft Graph: 3 MB).
const UPLOAD_BYTES_MIN: usize = 3_000_000;
/// Bytes of one piece, a multiple of 320 KiB and below 4 MB.
const PIECE_BYTES: usize = 10 * 320 * 1024;
/// Most attachments of a draft that are listed.
const ATTACHMENTS_MAX: usize = 999;

/// A session that sends for one mailbox.
#[derive(Debug)]
pub struct Session {
    mailbox: Mailbox,
    recipients: Vec<EmailAddress>,
}

/// How handing over a message ended without sending it.
enum NotSent {
    /// The message is refused or is to be tried later.
    Message(ContentReply),
    /// The mailbox or the server failed.
    Failed(DeliveryError),
}

impl Session {
    pub(crate) const fn new(mailbox: Mailbox) -> Self {
        Self { mailbox, recipients: Vec::new() }
    }

    /// The draft of a message: the one that an earlier run left, or a new one.
    async fn draft(&self, message: &[u8]) -> Result<String, NotSent> {
        let refused = |words: &str| {
            let evidence = Evidence::new(Stage::Data, words);
            NotSent::Message(ContentReply::Refused(evidence))
        };
        let message_id = message_id(message).ok_or_else(|| refused("the message has no Message-ID"))?;
        let left = self.mailbox.find("drafts", &message_id).await.map_err(NotSent::Failed)?;
        if message.len() <= ONE_REQUEST_BYTES_MAX
            && let Some(mime) = with_blind_copies(message, &self.recipients)
        {
            // Such a draft is made in one request, so a draft that is there is whole.
            return match left {
                Some(id) => Ok(id),
                None => self.create(&mime).await.map_err(not_sent),
            };
        }
        let draft = Apart::of(message, &self.recipients).ok_or_else(|| refused("the message cannot be read"))?;
        let id = match left {
            Some(id) => id,
            None if draft.mime.len() > ONE_REQUEST_BYTES_MAX => {
                return Err(refused("the text of the message is larger than Exchange Online takes in one request"));
            }
            None => self.create(&draft.mime).await.map_err(not_sent)?,
        };
        self.attach(&id, &draft.attachments).await.map_err(not_sent)?;
        Ok(id)
    }

    async fn create(&self, mime: &[u8]) -> Result<String, Failure> {
        let request = self.mailbox.request(Method::POST, &self.mailbox.path(&["messages"]));
        let request = request.header("Content-Type", "text/plain").body(STANDARD.encode(mime));
        id_of(&self.mailbox.json(request, Stage::Data).await?)
    }

    /// Attaches what the draft does not have yet. They are attached in order, each whole or not at all, so their number
    /// tells where an earlier run ended.
    async fn attach(&self, id: &str, attachments: &[Attached]) -> Result<(), Failure> {
        let path = self.mailbox.path(&["messages", id, "attachments"]);
        let top = ATTACHMENTS_MAX.to_string();
        let listing = self.mailbox.get(&path).query(&[("$select", "id"), ("$top", top.as_str())]);
        let listed: Value = self.mailbox.json(listing, Stage::Data).await?;
        let there = listed.get("value").and_then(Value::as_array).map_or(0, Vec::len);
        for attached in attachments.iter().skip(there) {
            if attached.content.len() < UPLOAD_BYTES_MIN {
                let request = self.mailbox.request(Method::POST, &path).json(&whole(attached));
                self.mailbox.done(request, Stage::Data).await?;
            } else {
                self.upload(id, attached).await?;
            }
        }
        Ok(())
    }

    async fn upload(&self, id: &str, attached: &Attached) -> Result<(), Failure> {
        let path = self.mailbox.path(&["messages", id, "attachments", "createUploadSession"]);
        let request = self.mailbox.request(Method::POST, &path);
        let begun: Value = self.mailbox.json(request.json(&announced(attached)), Stage::Data).await?;
        let url = begun.get("uploadUrl").and_then(Value::as_str).filter(|url| url.starts_with("https://"));
        let url = url.ok_or_else(|| broken(Stage::Data, "an upload session has no address"))?;
        let total = attached.content.len();
        for (n, piece) in attached.content.chunks(PIECE_BYTES).enumerate() {
            let first = n * PIECE_BYTES;
            let range = format!("bytes {first}-{}/{total}", first + piece.len() - 1);
            let request = self.mailbox.outside(Method::PUT, url);
            let request = request.header("Content-Range", range).header("Content-Type", "application/octet-stream");
            self.mailbox.put_piece(request.body(piece.to_vec()), Stage::Data).await?;
        }
        Ok(())
    }

    async fn hand_over(&self, message: &[u8]) -> Result<ContentReply, DeliveryError> {
        let id = match self.draft(message).await {
            Ok(id) => id,
            Err(NotSent::Message(reply)) => return Ok(reply),
            Err(NotSent::Failed(error)) => return Err(error),
        };
        let request = self.mailbox.request(Method::POST, &self.mailbox.path(&["messages", &id, "send"]));
        match self.mailbox.done(request, Stage::Data).await {
            Ok(()) => Ok(ContentReply::Accepted),
            // Another run may have sent it.
            Err(failure) if failure.is(&GONE_CODES) => Ok(ContentReply::Unknown(failure.evidence(Stage::Data))),
            Err(Failure::Broken(error)) => Ok(ContentReply::Unknown(error.evidence)),
            // A gateway that gave up waiting does not know whether the message was sent.
            Err(failure) if is_servers(&failure) => Ok(ContentReply::Unknown(failure.evidence(Stage::Data))),
            Err(refused) => match not_sent(refused) {
                NotSent::Message(reply) => {
                    if matches!(reply, ContentReply::Refused(_)) {
                        self.discard(&id).await;
                    }
                    Ok(reply)
                }
                NotSent::Failed(error) => Err(error),
            },
        }
    }

    /// Deletes the draft of a message that will not be sent. A draft that stays does no harm.
    async fn discard(&self, id: &str) {
        let request = self.mailbox.request(Method::DELETE, &self.mailbox.path(&["messages", id]));
        if let Err(failure) = self.mailbox.done(request, Stage::Data).await {
            tracing::warn!(cause = ?failure.into_error(Stage::Data).cause, "a refused message stays among the drafts");
        }
    }
}

/// An attachment as one request takes it.
fn whole(attached: &Attached) -> Value {
    json!({
        "@odata.type": "#microsoft.graph.fileAttachment",
        "name": attached.name,
        "contentType": attached.media_type,
        "isInline": attached.is_inline,
        "contentId": attached.content_id,
        "contentBytes": STANDARD.encode(&attached.content),
    })
}

/// An attachment as its upload in pieces is announced.
fn announced(attached: &Attached) -> Value {
    json!({ "AttachmentItem": {
        "attachmentType": "file",
        "name": attached.name,
        "contentType": attached.media_type,
        "isInline": attached.is_inline,
        "contentId": attached.content_id,
        "size": attached.content.len(),
    } })
}

/// Whether the server failed during the request, so that nobody knows how far it came.
fn is_servers(failure: &Failure) -> bool {
    matches!(failure, Failure::Refused(refusal) if refusal.status >= 500)
}

fn id_of(created: &Value) -> Result<String, Failure> {
    let id = created["id"].as_str().filter(|id| !id.is_empty()).map(str::to_owned);
    id.ok_or_else(|| broken(Stage::Data, "the draft that was made has no identifier"))
}

/// What a failure before the sending means: a failure of the message, or of the mailbox or the server.
fn not_sent(failure: Failure) -> NotSent {
    if failure.is(&MESSAGE_CODES) || failure.has_status(413) {
        return NotSent::Message(ContentReply::Refused(failure.evidence(Stage::Data)));
    }
    let error = failure.into_error(Stage::Data);
    if error.cause == Cause::Unknown || error.cause == Cause::ProtocolViolation {
        // The message may be the reason, so it must not stop the messages behind it.
        return NotSent::Message(ContentReply::Deferred(error.evidence));
    }
    NotSent::Failed(error)
}

impl OutgoingSession for Session {
    /// Recipients are checked with the message; see [`OutgoingSession::content`].
    async fn envelope(
        &mut self,
        _: &EmailAddress,
        recipients: &[EmailAddress],
    ) -> Result<EnvelopeReply, DeliveryError> {
        self.recipients = recipients.to_vec();
        Ok(EnvelopeReply::accepted(recipients))
    }

    async fn content(&mut self, message: &[u8]) -> Result<ContentReply, DeliveryError> {
        self.hand_over(message).await
    }

    async fn reset(&mut self) -> Result<(), DeliveryError> {
        self.recipients.clear();
        Ok(())
    }

    async fn close(self) {}
}
