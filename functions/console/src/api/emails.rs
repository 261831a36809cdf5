//! Email records: list, read, create one, send it.

use axum::{
    Json,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use mailrail_domain::{
    email::record,
    words::{address::EmailAddress, id::MailboxId, invalid::Invalid},
};
use mailrail_engine::{
    administration::emails::{Draft, InThread},
    mime::MESSAGE_TYPE,
    ports::Ports,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    profiles::parse_address,
    words::{EvidenceView, api_enum},
};
use crate::{
    app::App,
    auth::Caller,
    body::{Body, Parameters},
    page::{Listing, PageQuery},
    problem::Problem,
};

/// Largest raw message that is handed out in one answer (Lambda allows 6 MB, and base64 takes a quarter of it).
const RAW_BYTES_MAX: u64 = 4 * 1024 * 1024;

api_enum! {
    /// Which way an email went.
    Direction of record::Direction { Incoming, Outgoing }
}

api_enum! {
    /// Where an email record stands.
    EmailStatus of record::EmailStatus { Draft, PendingSend, Sending, Sent, Failed, Received }
}

/// An email to be written.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EmailInput {
    /// The mailbox that sends it.
    mailbox_id: String,
    /// To.
    #[serde(default)]
    to: Vec<String>,
    /// Cc.
    #[serde(default)]
    cc: Vec<String>,
    /// Bcc: these recipients get it and stand in no header.
    #[serde(default)]
    bcc: Vec<String>,
    /// Subject, at most 800 characters.
    #[serde(default)]
    subject: String,
    /// Text.
    #[serde(default)]
    text: String,
    /// HTML, where there is any besides the text.
    #[serde(default)]
    html: Option<String>,
    /// The email record that it answers.
    #[serde(default)]
    answers: Option<String>,
}

impl TryFrom<EmailInput> for Draft {
    type Error = Invalid;

    fn try_from(input: EmailInput) -> Result<Self, Invalid> {
        Ok(Self {
            mailbox_id: input.mailbox_id,
            to: addresses("to", &input.to)?,
            cc: addresses("cc", &input.cc)?,
            bcc: addresses("bcc", &input.bcc)?,
            subject: input.subject,
            text: input.text,
            html: input.html,
            answers: input.answers,
        })
    }
}

fn addresses(field: &str, given: &[String]) -> Result<Vec<EmailAddress>, Invalid> {
    (0..).zip(given).map(|(n, address): (usize, _)| parse_address(&format!("{field}[{n}]"), address)).collect()
}

/// An email record in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EmailSummary {
    /// Its identifier.
    id: String,
    /// Subject.
    subject: String,
    /// Address of the sender.
    from: Option<String>,
    /// When the server received it, or the record was written.
    received_at: DateTime<Utc>,
    /// Where it stands.
    status: EmailStatus,
    /// Which way it went.
    direction: Direction,
    /// Size of the raw message in bytes.
    size: u64,
    /// How many attachments it has.
    attachments: usize,
}

impl From<record::Email> for EmailSummary {
    fn from(email: record::Email) -> Self {
        Self {
            id: email.id.into(),
            subject: email.subject,
            from: email.from.into_iter().next().map(|from| from.address),
            received_at: email.received_at,
            status: email.status.into(),
            direction: email.direction.into(),
            size: email.size,
            attachments: email.attachments.len(),
        }
    }
}

/// A name and an address, as a header gave them.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CorrespondentView {
    /// Display name.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Address, as it was written.
    address: String,
}

impl From<record::Correspondent> for CorrespondentView {
    fn from(correspondent: record::Correspondent) -> Self {
        let record::Correspondent { name, address } = correspondent;
        Self { name, address }
    }
}

/// A part of a message that is an object of its own.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AttachmentView {
    /// File name, as the message gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Media type.
    content_type: String,
    /// Content-ID, by which HTML refers to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    content_id: Option<String>,
    /// Decoded size in bytes.
    size: u64,
    /// Key of the object in the deployment's bucket.
    key: String,
}

impl From<record::Attachment> for AttachmentView {
    fn from(attachment: record::Attachment) -> Self {
        let record::Attachment { name, content_type, content_id, size, key } = attachment;
        Self { name, content_type, content_id, size, key }
    }
}

/// How far one recipient of an outgoing email has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RecipientStatus {
    /// Not yet taken.
    Pending,
    /// The server took the email for this recipient.
    Sent,
    /// The server refused it.
    Refused,
}

/// A recipient of an outgoing email.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RecipientView {
    /// Where to.
    address: String,
    /// How far it has come.
    status: RecipientStatus,
    /// The server's words, where it refused the recipient or put it off.
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<EvidenceView>,
}

impl From<record::Recipient> for RecipientView {
    fn from(recipient: record::Recipient) -> Self {
        let (status, evidence) = match recipient.status {
            record::RecipientStatus::Pending { evidence } => (RecipientStatus::Pending, evidence),
            record::RecipientStatus::Sent => (RecipientStatus::Sent, None),
            record::RecipientStatus::Refused { evidence } => (RecipientStatus::Refused, Some(evidence)),
        };
        Self { address: recipient.address.into(), status, evidence: evidence.map(Into::into) }
    }
}

/// What only an outgoing email has.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OutgoingView {
    /// Everybody whom it goes to, each with its own result.
    recipients: Vec<RecipientView>,
    /// Tries in a row that left somebody pending.
    attempts: u32,
    /// Not before this moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt: Option<DateTime<Utc>>,
    /// The recipients of a hand-over whose end nobody saw: the server may have the email for them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    outcome_unknown: Vec<String>,
    /// What is to be said about its fate, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

impl From<record::Outgoing> for OutgoingView {
    fn from(outgoing: record::Outgoing) -> Self {
        Self {
            recipients: outgoing.recipients.into_iter().map(Into::into).collect(),
            attempts: outgoing.attempts,
            next_attempt: outgoing.next_attempt,
            outcome_unknown: outgoing.outcome_unknown.into_iter().map(String::from).collect(),
            note: outgoing.note,
        }
    }
}

/// An email record with everything that is known of it. What is empty is absent.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EmailView {
    /// Its identifier.
    id: String,
    /// The mailbox that received it first, or sends it.
    mailbox_id: String,
    /// Which way it went.
    direction: Direction,
    /// Where it stands.
    status: EmailStatus,
    /// Message-ID without angle brackets.
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    /// The Message-ID that it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    in_reply_to: Option<String>,
    /// References, the oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    references: Vec<String>,
    /// From.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    from: Vec<CorrespondentView>,
    /// To.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    to: Vec<CorrespondentView>,
    /// Cc.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    cc: Vec<CorrespondentView>,
    /// Bcc.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    bcc: Vec<CorrespondentView>,
    /// Subject, decoded.
    subject: String,
    /// Date, as the sender gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    date: Option<DateTime<Utc>>,
    /// When the server received it, or the record was written.
    received_at: DateTime<Utc>,
    /// Size of the raw message in bytes.
    size: u64,
    /// The header block, decoded as far as it is text.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    headers: String,
    /// Beginning of the text.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    text: String,
    /// Beginning of the HTML, cleaned.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    html: String,
    /// Whether text, HTML, headers or address lists were cut; the raw message has everything.
    truncated: bool,
    /// Key of the raw message in the deployment's bucket.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    raw_key: String,
    /// Parts that are objects of their own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    attachments: Vec<AttachmentView>,
    /// What only an outgoing email has.
    #[serde(skip_serializing_if = "Option::is_none")]
    outgoing: Option<OutgoingView>,
    /// The record that it answers, if that is here.
    answers: Option<String>,
    /// The records that answer it.
    replies: Vec<String>,
}

impl From<InThread> for EmailView {
    fn from(thread: InThread) -> Self {
        let InThread { email, answers, replies } = thread;
        let correspondents = |list: Vec<record::Correspondent>| list.into_iter().map(Into::into).collect();
        Self {
            id: email.id.into(),
            mailbox_id: email.mailbox_id.into(),
            direction: email.direction.into(),
            status: email.status.into(),
            message_id: email.message_id,
            in_reply_to: email.in_reply_to,
            references: email.references,
            from: correspondents(email.from),
            to: correspondents(email.to),
            cc: correspondents(email.cc),
            bcc: correspondents(email.bcc),
            subject: email.subject,
            date: email.date,
            received_at: email.received_at,
            size: email.size,
            headers: email.headers,
            text: email.text,
            html: email.html,
            truncated: email.truncated,
            raw_key: email.raw_key,
            attachments: email.attachments.into_iter().map(Into::into).collect(),
            outgoing: email.outgoing.map(Into::into),
            answers: answers.map(String::from),
            replies: replies.into_iter().map(String::from).collect(),
        }
    }
}

/// Lists a mailbox's email records, the newest first.
#[utoipa::path(get, path = "/v1/mailboxes/{id}/emails", params(("id" = String, Path, description = "Identifier of the mailbox"), PageQuery), responses((status = 200, body = Listing<EmailSummary>), (status = 422, body = Problem)))]
pub(crate) async fn list<P: Ports>(
    State(app): State<App<P>>,
    Path(id): Path<String>,
    Parameters(page): Parameters<PageQuery>,
) -> Result<Json<Listing<EmailSummary>>, Problem> {
    let emails = app.engine.list_emails(&MailboxId::parse(id)?, &page.request()?).await?;
    Ok(Json(Listing::of(emails, EmailSummary::from)))
}

/// Reads an email record.
#[utoipa::path(get, path = "/v1/emails/{id}", params(("id" = String, Path, description = "Identifier of the email")), responses((status = 200, body = EmailView), (status = 404, body = Problem)))]
pub(crate) async fn read<P: Ports>(
    State(app): State<App<P>>,
    Path(id): Path<String>,
) -> Result<Json<EmailView>, Problem> {
    Ok(Json(app.engine.email_in_thread(&id).await?.into()))
}

/// Hands out the raw message.
#[utoipa::path(get, path = "/v1/emails/{id}/raw", params(("id" = String, Path, description = "Identifier of the email")), responses((status = 200, body = String, content_type = "message/rfc822"), (status = 404, body = Problem), (status = 413, body = Problem)))]
pub(crate) async fn raw<P: Ports>(State(app): State<App<P>>, Path(id): Path<String>) -> Result<Response, Problem> {
    let email = app.engine.find_email(&id).await?.email;
    if email.size > RAW_BYTES_MAX {
        let detail = format!("The message has {} bytes; at most {RAW_BYTES_MAX} are handed out here.", email.size);
        let problem = Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "Too large", detail);
        return Err(problem.with_remedy(format!("Read the object {} of the deployment's bucket.", email.raw_key)));
    }
    let content = app.engine.raw_message(&email, RAW_BYTES_MAX).await?;
    // A message may carry HTML; a browser that is pointed here is to save it, not to run it.
    let headers = [
        (header::CONTENT_TYPE, MESSAGE_TYPE),
        (header::CONTENT_DISPOSITION, "attachment"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, content).into_response())
}

/// Writes an email as a draft.
#[utoipa::path(post, path = "/v1/emails", request_body = EmailInput, responses((status = 201, body = EmailSummary), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn create<P: Ports>(
    State(app): State<App<P>>,
    Caller(by): Caller,
    Body(input): Body<EmailInput>,
) -> Result<(StatusCode, Json<EmailSummary>), Problem> {
    let email = app.engine.create_draft(&by, input.try_into()?).await?;
    Ok((StatusCode::CREATED, Json(email.into())))
}

/// Sends a draft: it becomes Pending Send, and its mailbox is woken.
#[utoipa::path(post, path = "/v1/emails/{id}/send", params(("id" = String, Path, description = "Identifier of the email")), responses((status = 202, body = EmailSummary), (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem), (status = 429, body = Problem)))]
pub(crate) async fn send<P: Ports>(
    State(app): State<App<P>>,
    Caller(by): Caller,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<EmailSummary>), Problem> {
    let draft = app.engine.find_email(&id).await?;
    let email = app.engine.send_draft(&by, draft).await?;
    Ok((StatusCode::ACCEPTED, Json(email.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_the_rules() {
        Direction::check_values();
        EmailStatus::check_values();
    }
}
