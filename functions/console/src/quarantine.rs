//! The quarantine: list it, try its messages again, and say why a message was not synchronized.

use axum::{
    Json,
    extract::{Path, State},
};
use futures_util::{StreamExt, stream};
use mailrail_domain::{
    email::quarantine::{QuarantineReason, Quarantined, Wanted},
    words::{
        audit::{AuditAction, AuditSubject},
        id::MailboxId,
        invalid::Invalid,
    },
};
use mailrail_engine::{
    ports::{AccessStore, PageRequest, Ports, RecordStore},
    quarantine::{Finding, Replayed},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use crate::{
    App,
    auth::Caller,
    body::{Body, Parameters},
    mailboxes::find,
    page::{Listing, PageQuery},
    problem::Problem,
};

/// Messages that one call tries again; it is answered within the 30 seconds that the gateway allows.
const REPLAYS_MAX: usize = 100;
/// Messages that are tried at once.
const AT_ONCE: usize = 4;

/// Which messages are wanted.
#[derive(Debug, Deserialize, IntoParams)]
pub struct QuarantineQuery {
    /// `not-a-message`, `unreadable`, `too-large` or `not-handed-out`.
    #[param(value_type = Option<String>)]
    reason: Option<QuarantineReason>,
    /// Most entries of the page, 1 to 100.
    limit: Option<usize>,
    /// Where the page begins.
    cursor: Option<String>,
}

/// Which messages are to be tried again: those that are named, or all, or all of a mailbox or a reason.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayInput {
    /// Those of this mailbox.
    #[serde(default)]
    mailbox_id: Option<String>,
    /// Those in quarantine for this reason.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    reason: Option<QuarantineReason>,
    /// These of the mailbox, as `remote_id` names them.
    #[serde(default)]
    remote_ids: Option<Vec<String>>,
}

/// What came of trying again.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct ReplayResult {
    /// Messages that a record has now.
    #[schema(value_type = Vec<Object>)]
    recorded: Vec<Value>,
    /// Messages that are in quarantine still, each with the reason.
    #[schema(value_type = Vec<Object>)]
    refused: Vec<Value>,
    /// Whether there are more that match; call again for them.
    more: bool,
}

/// What somebody misses.
#[derive(Debug, Deserialize, IntoParams)]
pub struct WantedQuery {
    /// Message-ID, with or without angle brackets.
    message_id: Option<String>,
    /// A part of the subject.
    subject: Option<String>,
    /// A part of the sender's address.
    sender: Option<String>,
}

fn show(message: Quarantined) -> Value {
    let mut value = serde_json::to_value(&message).unwrap_or_default();
    value["explanation"] = Value::from(message.reason.sentence());
    value
}

/// Lists a mailbox's quarantine: messages that could not become records, and why.
#[utoipa::path(get, path = "/v1/mailboxes/{id}/quarantine", params(PageQuery), responses((status = 200, body = Listing<Object>), (status = 422, body = Problem)))]
pub async fn of_mailbox(
    State(app): State<App>,
    Path(id): Path<String>,
    Parameters(page): Parameters<PageQuery>,
) -> Result<Json<Listing<Value>>, Problem> {
    let id = MailboxId::parse(id)?;
    let messages = app.engine.ports.records().quarantined(&id, &page.request()?).await?;
    Ok(Json(Listing::of(messages, show)))
}

/// Lists the quarantine of all mailboxes, the newest first.
#[utoipa::path(get, path = "/v1/quarantine", params(QuarantineQuery), responses((status = 200, body = Listing<Object>), (status = 422, body = Problem)))]
pub async fn list(
    State(app): State<App>,
    Parameters(query): Parameters<QuarantineQuery>,
) -> Result<Json<Listing<Value>>, Problem> {
    let page = PageQuery { limit: query.limit, cursor: query.cursor }.request()?;
    let messages = app.engine.ports.records().quarantined_anywhere(query.reason, &page).await?;
    Ok(Json(Listing::of(messages, show)))
}

/// Tries messages in quarantine again, at most a hundred in one call. What was synchronized meanwhile is not doubled.
#[utoipa::path(post, path = "/v1/quarantine/replay", request_body = ReplayInput, responses((status = 200, body = ReplayResult), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub async fn replay(
    State(app): State<App>,
    caller: Caller,
    Body(input): Body<ReplayInput>,
) -> Result<Json<ReplayResult>, Problem> {
    let (wanted, more) = wanted(&app, input).await?;
    let (app, caller) = (&app, &caller);
    let results = stream::iter(wanted).map(|(mailbox, remote_id)| async move {
        let replayed = app.engine.replay(&mailbox, &remote_id).await?;
        if matches!(replayed, Replayed::Recorded(_)) {
            let fields = vec![remote_id.clone()];
            let audit = caller.audit(AuditAction::Replayed, AuditSubject::Mailbox, mailbox.as_str(), fields);
            app.engine.ports.mailboxes().record(&audit).await?;
        }
        Ok::<_, Problem>((mailbox, remote_id, replayed))
    });
    let results: Vec<_> = results.buffered(AT_ONCE).collect().await;
    let mut result = ReplayResult { more, ..ReplayResult::default() };
    for outcome in results {
        let (mailbox, remote_id, replayed) = outcome?;
        let named = json!({ "mailbox_id": mailbox.as_str(), "remote_id": remote_id });
        let with = |field: &str, value: String| {
            let mut entry = named.clone();
            entry[field] = Value::from(value);
            entry
        };
        match replayed {
            Replayed::Recorded(id) => result.recorded.push(with("email_id", id.to_string())),
            Replayed::Refused(why) => result.refused.push(with("detail", why)),
            Replayed::Gone => result.refused.push(with("detail", "It is in no quarantine any more.".to_owned())),
        }
    }
    Ok(Json(result))
}

async fn wanted(app: &App, input: ReplayInput) -> Result<(Vec<(MailboxId, String)>, bool), Problem> {
    let records = app.engine.ports.records();
    let page = PageRequest { limit: REPLAYS_MAX, cursor: None };
    let found = match (input.mailbox_id, input.remote_ids) {
        (Some(id), Some(remote_ids)) => {
            let mailbox = find(app, &id).await?.stored.mailbox.id;
            if remote_ids.is_empty() || remote_ids.len() > REPLAYS_MAX {
                let problem = format!("it has {} names", remote_ids.len());
                return Err(Invalid::new("remote_ids", problem, format!("Give 1 to {REPLAYS_MAX}")).into());
            }
            return Ok((remote_ids.into_iter().map(|remote| (mailbox.clone(), remote)).collect(), false));
        }
        (None, Some(_)) => {
            let problem = "names of messages are those of one mailbox";
            return Err(Invalid::new("mailbox_id", problem, "Give the mailbox too").into());
        }
        (Some(id), None) => records.quarantined(&find(app, &id).await?.stored.mailbox.id, &page).await?,
        (None, None) => records.quarantined_anywhere(input.reason, &page).await?,
    };
    let more = found.cursor.is_some();
    let of_reason = found.items.into_iter().filter(|m| input.reason.is_none_or(|reason| m.reason == reason));
    Ok((of_reason.map(|message| (message.mailbox_id, message.remote_id)).collect(), more))
}

/// Says why a message was not synchronized: it is a record, it is in quarantine, or it never came.
#[utoipa::path(get, path = "/v1/mailboxes/{id}/why", params(WantedQuery), responses((status = 200, body = Vec<Object>), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub async fn why(
    State(app): State<App>,
    Path(id): Path<String>,
    Parameters(query): Parameters<WantedQuery>,
) -> Result<Json<Vec<Value>>, Problem> {
    let mailbox = find(&app, &id).await?.stored.mailbox.id;
    let wanted = Wanted { message_id: query.message_id, subject: query.subject, sender: query.sender };
    if wanted.is_empty() {
        let problem = "nothing is given to look for";
        return Err(Invalid::new("message_id", problem, "Give message_id, subject or sender").into());
    }
    let findings = app.engine.why_not_synchronized(&mailbox, &wanted).await?;
    let shown = findings.into_iter().map(|finding| match finding {
        Finding::Recorded(email) => json!({
            "finding": "recorded",
            "email_id": email.id.as_str(),
            "subject": email.subject,
            "received_at": email.received_at,
        }),
        Finding::Quarantined(message) => {
            let mut value = show(*message);
            value["finding"] = Value::from("quarantined");
            value
        }
        Finding::NotHere(explanation) => json!({ "finding": "not-here", "explanation": explanation }),
    });
    Ok(Json(shown.collect()))
}
