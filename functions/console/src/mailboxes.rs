//! Mailboxes: create, read, change, delete, import, enable a delivery, run it now.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
};
use chrono::{DateTime, Utc};
use mailrail_boot::now;
use mailrail_domain::{
    rules::{
        admission,
        schedule::{Slot, interval_of as interval},
        support::{check_mailbox, mixing_warning},
    },
    settings::{
        approval::Approval,
        mailbox::{Mailbox, MailboxKind},
    },
    words::{
        address::EmailAddress,
        audit::{AuditAction, AuditSubject},
        delivery::{Delivery, SynchronizationMethod},
        id::{MailboxId, ProfileId},
        invalid::Invalid,
        state::DeliveryState,
    },
};
use mailrail_engine::{
    access::mailbox_owner,
    ports::{
        Directory, JobQueue, MailboxDetails, PageRequest, Ports, RecordStore, Sealed, Secret, StoredMailbox, Vault,
        Wake, Written,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::{
    App,
    auth::Caller,
    body::{Body, Content, Parameters, from_value, merge, names, removes, require_revision},
    import::{self, Imported},
    page::{Listing, PageQuery},
    problem::Problem,
    profiles::{check_credential, find as find_profile, parse_address},
};

/// A wake after a change waits this long, so that the run reads the table as it was changed.
const WAKE_DELAY_SECONDS: u32 = 1;
/// Emails of an outbox that are counted for a view.
const BACKLOG_MAX: usize = 100;

/// A mailbox, as it is given.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MailboxInput {
    /// Its name, 1 to 100 characters.
    name: String,
    /// Whose it is: `user` (default) or `queue`.
    #[serde(default)]
    #[schema(value_type = String)]
    kind: MailboxKind,
    /// Its address; one mailbox per address. Without one, nothing can be synchronized.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    /// The email server profile that says where it lives.
    profile_id: String,
    /// User name, where it is not the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    /// Password or access token. Written and never shown.
    #[serde(default, skip_serializing)]
    #[schema(write_only)]
    password: Option<String>,
    /// Earlier messages are left alone; the later of this and the profile's counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    process_emails_received_after: Option<DateTime<Utc>>,
    /// `server-side-synchronization` (default) or `none`.
    #[serde(default = "synchronized")]
    #[schema(value_type = String)]
    incoming_email: SynchronizationMethod,
    /// `server-side-synchronization` (default) or `none`.
    #[serde(default = "synchronized")]
    #[schema(value_type = String)]
    outgoing_email: SynchronizationMethod,
    /// `none` (default), `outlook` or, on a profile of Exchange, `server-side-synchronization`.
    #[serde(default)]
    #[schema(value_type = String)]
    appointments_contacts_tasks: SynchronizationMethod,
}

const fn synchronized() -> SynchronizationMethod {
    SynchronizationMethod::ServerSideSynchronization
}

/// A delivery, as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeliveryView {
    /// Whether it runs.
    enabled: bool,
    /// `not-run`, `success` or `failure`.
    #[schema(value_type = String)]
    status: mailrail_domain::words::delivery::TestStatus,
    /// Transient failures in a row.
    transient_failure_count: u32,
    /// When the present row of failures began.
    failing_since: Option<DateTime<Utc>>,
    /// Not before this moment.
    postponed_until: Option<DateTime<Utc>>,
    /// When the last run began.
    last_run: Option<DateTime<Utc>>,
    /// When it last worked.
    last_success: Option<DateTime<Utc>>,
    /// When it is next due; absent where it does not run.
    next_due: Option<DateTime<Utc>>,
    /// Messages that wait: found at the last run and left to the next, or in the outbox, as far as 100.
    backlog: u32,
    /// Since when the oldest of an outbox waits. Of an inbox it is when the last message that is done was received: what
    /// waits is younger.
    oldest_waiting: Option<DateTime<Utc>>,
    /// Where autodiscover found the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    /// The identifier of the folder to which messages are moved that cannot be processed.
    #[serde(skip_serializing_if = "Option::is_none")]
    undeliverable_folder: Option<String>,
}

impl From<DeliveryState> for DeliveryView {
    fn from(state: DeliveryState) -> Self {
        Self {
            enabled: state.enabled,
            status: state.status,
            transient_failure_count: state.transient_failure_count,
            failing_since: state.failing_since,
            postponed_until: state.postponed_until,
            last_run: state.last_run,
            last_success: state.last_success,
            next_due: None,
            backlog: state.backlog,
            oldest_waiting: state.done_until,
            location: state.learned.location,
            undeliverable_folder: state.learned.undeliverable_folder,
        }
    }
}

/// A mailbox, as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct MailboxView {
    /// Its identifier.
    id: String,
    /// When it was created.
    created_at: DateTime<Utc>,
    /// How often it has been written; a change may be conditional on it, by `If-Match`.
    revision: u64,
    /// Whether a password is stored.
    has_password: bool,
    /// Whether its address is approved, who decided and when.
    #[schema(value_type = Object)]
    approval: Approval,
    /// Everything that was given.
    #[serde(flatten)]
    settings: MailboxInput,
    /// What is allowed and not advisable; absent in a list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<&'static str>,
    /// Its deliveries by name; absent in a list.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    deliveries: BTreeMap<&'static str, DeliveryView>,
}

impl From<StoredMailbox> for MailboxView {
    fn from(stored: StoredMailbox) -> Self {
        let StoredMailbox { mailbox, credentials, revision } = stored;
        Self {
            id: mailbox.id.to_string(),
            created_at: mailbox.created_at,
            revision,
            has_password: credentials.is_some(),
            approval: mailbox.approval,
            settings: MailboxInput {
                name: mailbox.name,
                kind: mailbox.kind,
                address: mailbox.address.map(String::from),
                profile_id: mailbox.profile_id.to_string(),
                username: mailbox.username,
                password: None,
                process_emails_received_after: mailbox.process_emails_received_after,
                incoming_email: mailbox.incoming_email,
                outgoing_email: mailbox.outgoing_email,
                appointments_contacts_tasks: mailbox.appointments_contacts_tasks,
            },
            warnings: Vec::new(),
            deliveries: BTreeMap::new(),
        }
    }
}

impl From<MailboxDetails> for MailboxView {
    fn from(details: MailboxDetails) -> Self {
        let deliveries = details.deliveries.into_iter().map(|(d, state)| (d.as_str(), state.into())).collect();
        Self { deliveries, ..details.stored.into() }
    }
}

/// Which mailboxes are wanted.
#[derive(Debug, Deserialize, IntoParams)]
pub struct MailboxQuery {
    /// Those of this profile alone.
    profile_id: Option<String>,
    /// Most entries of the page, 1 to 100.
    limit: Option<usize>,
    /// Where the page begins.
    cursor: Option<String>,
}

async fn checked(
    app: &App,
    input: &MailboxInput,
    id: MailboxId,
    created_at: DateTime<Utc>,
) -> Result<Mailbox, Problem> {
    let no_profile = || {
        let problem = "there is no email server profile with this id";
        Problem::from(Invalid::new("profile_id", problem, "Give the id of a profile, see /v1/profiles"))
    };
    let profile_id = ProfileId::parse(input.profile_id.clone()).map_err(|_| no_profile())?;
    let profile = app.engine.ports.mailboxes().profile(&profile_id).await?.ok_or_else(no_profile)?.profile;
    let mailbox = Mailbox {
        id,
        name: input.name.clone(),
        kind: input.kind,
        address: input.address.as_deref().map(|address| parse_address("address", address)).transpose()?,
        approval: Approval::undecided(input.address.is_some()),
        profile_id,
        username: input.username.clone(),
        process_emails_received_after: input.process_emails_received_after,
        incoming_email: input.incoming_email,
        outgoing_email: input.outgoing_email,
        appointments_contacts_tasks: input.appointments_contacts_tasks,
        created_at,
    };
    check_mailbox(&mailbox, &profile)?;
    check_credential("username", input.username.as_deref())?;
    check_credential("password", input.password.as_deref())?;
    Ok(mailbox)
}

async fn seal(app: &App, mailbox: &Mailbox, password: Option<String>) -> Result<Option<Sealed>, Problem> {
    match password {
        None => Ok(None),
        Some(password) => {
            let owner = mailbox_owner(&mailbox.id);
            let secret = Secret::new(password);
            Ok(Some(app.engine.ports.vault().seal(&owner, mailbox.profile_id.as_str(), &secret).await?))
        }
    }
}

async fn create_mailbox(app: &App, caller: &Caller, input: MailboxInput) -> Result<StoredMailbox, Problem> {
    let id = MailboxId::parse(uuid::Uuid::now_v7().to_string())?;
    let mailbox = checked(app, &input, id, now()).await?;
    let stored = StoredMailbox { credentials: seal(app, &mailbox, input.password).await?, mailbox, revision: 0 };
    let audit = caller.audit(AuditAction::Created, AuditSubject::Mailbox, stored.mailbox.id.as_str(), vec![]);
    written(app.engine.ports.mailboxes().create_mailbox(&stored, &audit).await?)?;
    Ok(stored)
}

fn written(written: Written) -> Result<(), Problem> {
    match written {
        Written::Done => Ok(()),
        Written::AddressTaken(owner) => {
            let problem = format!("the address belongs to the mailbox {owner}");
            Err(Invalid::new("address", problem, "Give another address, or change that mailbox").into())
        }
        Written::Superseded => Err(Problem::superseded()),
    }
}

/// The mailbox with this id, or the problem that there is none.
pub async fn find(app: &App, id: &str) -> Result<MailboxDetails, Problem> {
    let not_found = || Problem::not_found("mailbox", id);
    let id = MailboxId::parse(id).map_err(|_| not_found())?;
    app.engine.ports.mailboxes().mailbox(&id).await?.ok_or_else(not_found)
}

/// A mailbox as it is shown by itself.
async fn view(app: &App, id: &str) -> Result<MailboxView, Problem> {
    let details = find(app, id).await?;
    let own = details.stored.mailbox.appointments_contacts_tasks;
    let mut warnings = Vec::new();
    for others in [SynchronizationMethod::Outlook, SynchronizationMethod::ServerSideSynchronization] {
        if let Some(warning) = mixing_warning(own, others)
            && app.engine.ports.mailboxes().moves_items(others).await?
        {
            warnings.push(warning);
        }
    }
    let mailbox = details.stored.mailbox.clone();
    let profile = app.engine.ports.mailboxes().profile(&mailbox.profile_id).await?.map(|stored| stored.profile);
    let states = details.deliveries.clone();
    let mut view = MailboxView { warnings, ..details.into() };
    for (delivery, state) in states {
        let Some(shown) = view.deliveries.get_mut(delivery.as_str()) else { continue };
        if let Some(profile) = &profile
            && let Some(minutes) =
                state.scheduled(interval(app.engine.settings.polling_interval_minutes, delivery, profile))
        {
            let next = Slot::of(&mailbox.id, delivery, minutes).next(now());
            shown.next_due = Some(state.postponed_until.map_or(next, |until| until.max(now())));
        }
        if delivery == Delivery::OutgoingEmail {
            let page = PageRequest { limit: BACKLOG_MAX, cursor: None };
            let outbox = app.engine.ports.records().outbox(&mailbox.id, &page).await?.items;
            shown.backlog = u32::try_from(outbox.len()).unwrap_or(u32::MAX);
            shown.oldest_waiting = outbox.first().map(|stored| stored.email.received_at);
        }
    }
    Ok(view)
}

/// Lists mailboxes.
#[utoipa::path(get, path = "/v1/mailboxes", params(MailboxQuery), responses((status = 200, body = Listing<MailboxView>), (status = 401, body = Problem)))]
pub async fn list(
    State(app): State<App>,
    Parameters(query): Parameters<MailboxQuery>,
) -> Result<Json<Listing<MailboxView>>, Problem> {
    let profile = query.profile_id.as_deref().map(ProfileId::parse).transpose()?;
    let page = PageQuery { limit: query.limit, cursor: query.cursor }.request()?;
    let mailboxes = app.engine.ports.mailboxes().mailboxes(profile.as_ref(), &page).await?;
    Ok(Json(Listing::of(mailboxes, MailboxView::from)))
}

/// Creates a mailbox. Its address waits for approval, and its deliveries run once they are enabled.
#[utoipa::path(post, path = "/v1/mailboxes", request_body = MailboxInput, responses((status = 201, body = MailboxView), (status = 422, body = Problem)))]
pub async fn create(
    State(app): State<App>,
    caller: Caller,
    Body(input): Body<MailboxInput>,
) -> Result<(StatusCode, Json<MailboxView>), Problem> {
    let stored = create_mailbox(&app, &caller, input).await?;
    Ok((StatusCode::CREATED, Json(view(&app, stored.mailbox.id.as_str()).await?)))
}

/// Imports mailboxes from CSV (`text/csv`) or JSON lines (`application/jsonl`).
#[utoipa::path(post, path = "/v1/mailboxes/import", request_body(content = String, content_type = "text/csv"), responses((status = 200, body = Imported), (status = 415, body = Problem)))]
pub async fn import(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    Content(body): Content,
) -> Result<Json<Imported>, Problem> {
    let create = |value: Value| async { create_mailbox(&app, &caller, from_value(value)?).await.map(|_| ()) };
    Ok(Json(import::import(&headers, &body, create).await?))
}

/// Reads a mailbox with its deliveries.
#[utoipa::path(get, path = "/v1/mailboxes/{id}", responses((status = 200, body = MailboxView), (status = 404, body = Problem)))]
pub async fn read(State(app): State<App>, Path(id): Path<String>) -> Result<Json<MailboxView>, Problem> {
    Ok(Json(view(&app, &id).await?))
}

/// Changes a mailbox by a merge patch (RFC 7396). A delivery whose method changes begins anew; with another address all
/// do, and the address waits for approval.
#[utoipa::path(patch, path = "/v1/mailboxes/{id}", request_body = MailboxInput, responses((status = 200, body = MailboxView), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub async fn change(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    Body(patch): Body<Value>,
) -> Result<Json<MailboxView>, Problem> {
    let before = find(&app, &id).await?;
    require_revision(&headers, before.stored.revision)?;
    let mut settings = serde_json::to_value(MailboxView::from(before.stored.clone()).settings).unwrap_or_default();
    let kept = before.stored.credentials.clone().filter(|_| !removes(&patch, "password"));
    let fields = names(&patch);
    merge(&mut settings, patch);
    let input: MailboxInput = from_value(settings)?;
    let old = &before.stored.mailbox;
    let mut mailbox = checked(&app, &input, old.id.clone(), old.created_at).await?;
    let same = |address: &Option<EmailAddress>| address.as_ref().map(EmailAddress::normalized);
    if same(&mailbox.address) == same(&old.address) {
        mailbox.approval = old.approval.clone();
    }
    let sealed = seal(&app, &mailbox, input.password).await?;
    let after = StoredMailbox { credentials: sealed.or(kept), mailbox, revision: before.stored.revision };
    let audit = caller.audit(AuditAction::Changed, AuditSubject::Mailbox, after.mailbox.id.as_str(), fields);
    written(app.engine.ports.mailboxes().change_mailbox(&before, &after, &audit).await?)?;
    app.engine.unshare_all(&before).await?;
    Ok(Json(view(&app, &id).await?))
}

/// Deletes a mailbox. Its email records stay.
#[utoipa::path(delete, path = "/v1/mailboxes/{id}", responses((status = 204), (status = 404, body = Problem)))]
pub async fn delete(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    let details = find(&app, &id).await?;
    let audit = caller.audit(AuditAction::Deleted, AuditSubject::Mailbox, &id, vec![]);
    app.engine.ports.mailboxes().delete_mailbox(&details, &audit).await?;
    app.engine.unshare_all(&details).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn delivery_of(app: &App, id: &str, delivery: &str) -> Result<(MailboxDetails, Delivery), Problem> {
    let details = find(app, id).await?;
    let found = Delivery::from_name(delivery).ok_or_else(|| {
        let names = Delivery::ALL.map(Delivery::as_str).join(", ");
        Problem::from(Invalid::new("delivery", "there is no such delivery", format!("Give one of {names}")))
    })?;
    if details.stored.mailbox.method(found) == SynchronizationMethod::None {
        let detail = format!("The synchronization method of {} is none.", found.as_str());
        return Err(Problem::conflict(detail, "Set it to server-side-synchronization first."));
    }
    Ok((details, found))
}

async fn wake(app: &App, mailbox: MailboxId, delivery: Delivery) -> Result<(), Problem> {
    let wake = Wake { mailbox, delivery };
    Ok(app.engine.ports.queue().send(&[wake.into()], WAKE_DELAY_SECONDS).await?)
}

/// Enables a delivery again: its failures are forgotten, its alerts closed, and it runs at once.
#[utoipa::path(post, path = "/v1/mailboxes/{id}/deliveries/{delivery}/enable", responses((status = 200, body = MailboxView), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub async fn enable(
    State(app): State<App>,
    caller: Caller,
    Path((id, delivery)): Path<(String, String)>,
) -> Result<Json<MailboxView>, Problem> {
    let (details, delivery) = delivery_of(&app, &id, &delivery).await?;
    let mailbox = details.stored.mailbox.clone();
    let profile = find_profile(&app, mailbox.profile_id.as_str()).await?.profile;
    let organization = app.engine.ports.mailboxes().organization().await?.organization;
    if admission::lacking(&mailbox, &profile, &organization).is_some() {
        let detail = format!("The email address of the mailbox {} is not approved.", mailbox.name);
        return Err(Problem::conflict(detail, "Approve it first: POST /v1/mailboxes/approval."));
    }
    let minutes = interval(app.engine.settings.polling_interval_minutes, delivery, &profile);
    let fields = vec![delivery.as_str().to_owned()];
    let audit = caller.audit(AuditAction::Enabled, AuditSubject::Mailbox, mailbox.id.as_str(), fields);
    app.engine.ports.mailboxes().enable(&mailbox.id, delivery, minutes, &audit).await?;
    app.engine.unshare_all(&details).await?;
    wake(&app, mailbox.id, delivery).await?;
    Ok(Json(view(&app, &id).await?))
}

/// Runs a delivery now, whatever its polling interval; a gap between two tries stays.
#[utoipa::path(post, path = "/v1/mailboxes/{id}/deliveries/{delivery}/run", responses((status = 202), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub async fn run(State(app): State<App>, Path((id, delivery)): Path<(String, String)>) -> Result<StatusCode, Problem> {
    let (details, delivery) = delivery_of(&app, &id, &delivery).await?;
    let mailbox = details.stored.mailbox.id;
    app.engine.ports.mailboxes().hurry(&mailbox, delivery).await?;
    wake(&app, mailbox, delivery).await?;
    Ok(StatusCode::ACCEPTED)
}
