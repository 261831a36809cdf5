//! Email records: list, read, create one, send it.

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use mailrail_boot::now;
use mailrail_domain::{
    email::{
        identity::sent_email_id,
        record::{
            Correspondent, Direction, Email, EmailStatus, HTML_PREVIEW_BYTES_MAX, Outgoing, RECIPIENTS_MAX,
            REFERENCES_MAX, Recipient, SUBJECT_CHARS_MAX, TEXT_PREVIEW_BYTES_MAX,
        },
    },
    words::{
        address::EmailAddress,
        delivery::Delivery,
        id::{EmailId, MailboxId},
        invalid::Invalid,
    },
};
use mailrail_engine::{
    mime::{Composition, beginning, clean_html, compose},
    ports::{BodyStore, Directory, JobQueue, Ports, RecordStore, StoredEmail, Wake},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    App,
    body::{Body, Parameters},
    page::{Listing, PageQuery},
    problem::Problem,
    profiles::parse_address,
};

/// Largest raw message that is handed out in one answer (Lambda: 6 MB, of which base64 takes a quarter).
const RAW_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Media type of a raw message.
const MESSAGE_TYPE: &str = "message/rfc822";

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

/// An email record in a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct EmailSummary {
    id: String,
    subject: String,
    /// Address of the sender.
    from: Option<String>,
    received_at: DateTime<Utc>,
    /// `draft`, `pending-send`, `sending`, `sent`, `failed` or `received`.
    #[schema(value_type = String)]
    status: EmailStatus,
    /// `incoming` or `outgoing`.
    #[schema(value_type = String)]
    direction: Direction,
    size: u64,
    attachments: usize,
}

impl From<Email> for EmailSummary {
    fn from(email: Email) -> Self {
        Self {
            id: email.id.to_string(),
            subject: email.subject,
            from: email.from.into_iter().next().map(|from| from.address),
            received_at: email.received_at,
            status: email.status,
            direction: email.direction,
            size: email.size,
            attachments: email.attachments.len(),
        }
    }
}

/// An email record with everything that is known of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct EmailView {
    /// The record: addresses, subject, headers, text, cleaned HTML, attachments; recipients and their results.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    email: Email,
    /// The record that it answers, if that is here.
    answers: Option<String>,
    /// The records that answer it.
    replies: Vec<String>,
}

async fn mailbox(app: &App, id: &str) -> Result<mailrail_engine::ports::MailboxDetails, Problem> {
    let unknown = || Invalid::new("mailbox_id", "there is no mailbox with this id", "Give the id of a mailbox");
    let id = MailboxId::parse(id).map_err(|_| unknown())?;
    Ok(app.engine.ports.mailboxes().mailbox(&id).await?.ok_or_else(unknown)?)
}

async fn find(app: &App, id: &str) -> Result<StoredEmail, Problem> {
    let not_found = || Problem::not_found("email", id);
    let id = EmailId::parse(id).map_err(|_| not_found())?;
    app.engine.ports.records().email(&id).await?.ok_or_else(not_found)
}

/// Lists a mailbox's email records, the newest first.
#[utoipa::path(get, path = "/v1/mailboxes/{id}/emails", params(PageQuery), responses((status = 200, body = Listing<EmailSummary>), (status = 422, body = Problem)))]
pub async fn list(
    State(app): State<App>,
    Path(id): Path<String>,
    Parameters(page): Parameters<PageQuery>,
) -> Result<Json<Listing<EmailSummary>>, Problem> {
    let id = MailboxId::parse(id)?;
    let emails = app.engine.ports.records().emails(&id, &page.request()?).await?;
    Ok(Json(Listing::of(emails, EmailSummary::from)))
}

/// Reads an email record.
#[utoipa::path(get, path = "/v1/emails/{id}", responses((status = 200, body = EmailView), (status = 404, body = Problem)))]
pub async fn read(State(app): State<App>, Path(id): Path<String>) -> Result<Json<EmailView>, Problem> {
    let email = find(&app, &id).await?.email;
    let records = app.engine.ports.records();
    let answers = match email.answers() {
        Some(message_id) => records.with_message_id(message_id).await?.into_iter().next(),
        None => None,
    };
    let replies = match &email.message_id {
        Some(message_id) => records.replies(message_id).await?,
        None => Vec::new(),
    };
    Ok(Json(EmailView {
        email,
        answers: answers.map(|email| email.id.to_string()),
        replies: replies.into_iter().map(String::from).collect(),
    }))
}

/// Hands out the raw message.
#[utoipa::path(get, path = "/v1/emails/{id}/raw", responses((status = 200, content_type = "message/rfc822"), (status = 404, body = Problem), (status = 413, body = Problem)))]
pub async fn raw(State(app): State<App>, Path(id): Path<String>) -> Result<Response, Problem> {
    let email = find(&app, &id).await?.email;
    if email.size > RAW_BYTES_MAX {
        let detail = format!("The message has {} bytes; at most {RAW_BYTES_MAX} are handed out here.", email.size);
        let remedy = Some(format!("Read the object {} of the deployment's bucket.", email.raw_key));
        let problem = Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "Too large", detail);
        return Err(Problem { remedy, ..problem });
    }
    let content = app.engine.ports.bodies().get(&email.raw_key, RAW_BYTES_MAX).await?;
    let content = content.ok_or_else(|| Problem::not_found("raw message of", &id))?;
    // A message may carry HTML; a browser that is pointed here is to save it, not to run it.
    let headers = [
        (header::CONTENT_TYPE, MESSAGE_TYPE),
        (header::CONTENT_DISPOSITION, "attachment"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, content).into_response())
}

/// Writes an email as a draft.
#[utoipa::path(post, path = "/v1/emails", request_body = EmailInput, responses((status = 201, body = EmailSummary), (status = 422, body = Problem)))]
pub async fn create(
    State(app): State<App>,
    Body(input): Body<EmailInput>,
) -> Result<(StatusCode, Json<EmailSummary>), Problem> {
    let sender = mailbox(&app, &input.mailbox_id).await?.stored.mailbox;
    let Some(from) = &sender.address else {
        let problem = "the mailbox has no address";
        return Err(Invalid::new("mailbox_id", problem, "Give it an address, or choose another mailbox").into());
    };
    let to = addresses("to", &input.to)?;
    let cc = addresses("cc", &input.cc)?;
    let bcc = addresses("bcc", &input.bcc)?;
    let recipients = recipients(&[&to, &cc, &bcc])?;
    if input.subject.chars().count() > SUBJECT_CHARS_MAX {
        let remedy = format!("Give at most {SUBJECT_CHARS_MAX} characters");
        return Err(Invalid::new("subject", "it is too long", remedy).into());
    }
    let answered = match &input.answers {
        Some(id) => Some(find(&app, id).await.map_err(|p| Problem { field: Some("answers".to_owned()), ..p })?.email),
        None => None,
    };
    let references = answered.as_ref().map_or(Vec::new(), references);
    let message_id = format!("{}@{}", uuid::Uuid::now_v7(), from.domain());
    let raw = compose(&Composition {
        from: Some((&sender.name, from)),
        to: &to,
        cc: &cc,
        subject: &input.subject,
        text: &input.text,
        html: input.html.as_deref(),
        message_id: &message_id,
        references: &references,
    });
    let id = sent_email_id(&message_id);
    let (html, cut) = clean_html(input.html.as_deref().unwrap_or_default(), HTML_PREVIEW_BYTES_MAX);
    let text = beginning(&input.text, TEXT_PREVIEW_BYTES_MAX);
    let email = Email {
        raw_key: format!("emails/{id}/raw"),
        id,
        mailbox_id: sender.id.clone(),
        direction: Direction::Outgoing,
        status: EmailStatus::Draft,
        message_id: Some(message_id),
        in_reply_to: references.last().cloned(),
        references,
        from: vec![Correspondent { name: Some(sender.name.clone()), address: from.as_str().to_owned() }],
        to: correspondents(&to),
        cc: correspondents(&cc),
        bcc: correspondents(&bcc),
        subject: input.subject,
        date: None,
        received_at: now(),
        size: raw.len() as u64,
        headers: String::new(),
        truncated: cut || text.len() < input.text.len(),
        text: text.to_owned(),
        html,
        attachments: Vec::new(),
        outgoing: Some(Outgoing { recipients, ..Outgoing::default() }),
    };
    app.engine.ports.bodies().put(&email.raw_key, Bytes::from(raw), MESSAGE_TYPE).await?;
    app.engine.ports.records().insert_draft(&email).await?;
    Ok((StatusCode::CREATED, Json(email.into())))
}

/// Sends a draft: it becomes Pending Send, and its mailbox is woken.
#[utoipa::path(post, path = "/v1/emails/{id}/send", responses((status = 202, body = EmailSummary), (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem), (status = 429, body = Problem)))]
pub async fn send(State(app): State<App>, Path(id): Path<String>) -> Result<(StatusCode, Json<EmailSummary>), Problem> {
    let StoredEmail { mut email, revision } = find(&app, &id).await?;
    if email.status != EmailStatus::Draft {
        let detail = format!("The email is not a draft; its status is {:?}.", email.status);
        return Err(Problem::conflict(detail, "Create another email."));
    }
    if email.outgoing.as_ref().is_none_or(|outgoing| outgoing.recipients.is_empty()) {
        return Err(Invalid::new("to", "the email has no recipient", "Give at least one in to, cc or bcc").into());
    }
    let now = now();
    let count = email.outgoing.as_ref().map_or(0, |outgoing| outgoing.recipients.len());
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    let most = app.engine.ports.mailboxes().organization().await?.organization.recipients_per_hour;
    if !app.engine.ports.records().count_recipients(&email.mailbox_id, now, count, most).await? {
        let detail = format!(
            "The mailbox would send to more than {most} recipients in this hour, and mass email is not supported."
        );
        let remedy = "Send it in another hour, use a service for bulk email, or raise recipients_per_hour.".to_owned();
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "Bulk limit", detail);
        return Err(Problem { remedy: Some(remedy), ..problem });
    }
    email.status = EmailStatus::PendingSend;
    // Row first, message second: should the message be lost, the schedule finds the row.
    let Some(stored) = app.engine.ports.records().update_outgoing(&email, revision).await? else {
        return Err(Problem::conflict("The email was changed at the same moment.", "Look at it again."));
    };
    let delivery = Delivery::OutgoingEmail;
    let wake = Wake { mailbox: stored.email.mailbox_id.clone(), delivery };
    app.engine.ports.queue().send(&[wake.into()], 0).await?;
    Ok((StatusCode::ACCEPTED, Json(stored.email.into())))
}

fn addresses(field: &str, given: &[String]) -> Result<Vec<EmailAddress>, Problem> {
    (0..).zip(given).map(|(n, address): (usize, _)| parse_address(&format!("{field}[{n}]"), address)).collect()
}

/// Every recipient once, in the order in which they were given.
fn recipients(lists: &[&[EmailAddress]]) -> Result<Vec<Recipient>, Problem> {
    let mut seen = std::collections::BTreeSet::new();
    let all = lists.iter().flat_map(|list| list.iter()).filter(|address| seen.insert(address.normalized()));
    let recipients: Vec<Recipient> = all.cloned().map(Recipient::new).collect();
    if recipients.len() > RECIPIENTS_MAX {
        let problem = format!("the email has {} recipients", recipients.len());
        return Err(Invalid::new("to", problem, format!("Give at most {RECIPIENTS_MAX} in to, cc and bcc")).into());
    }
    Ok(recipients)
}

fn correspondents(addresses: &[EmailAddress]) -> Vec<Correspondent> {
    addresses.iter().map(|a| Correspondent { name: None, address: a.as_str().to_owned() }).collect()
}

/// References of an answer: those of the answered email and its own Message-ID (RFC 5322 section 3.6.4).
fn references(answered: &Email) -> Vec<String> {
    let mut references = answered.references.clone();
    references.extend(answered.message_id.clone());
    references.drain(..references.len().saturating_sub(REFERENCES_MAX));
    references
}
