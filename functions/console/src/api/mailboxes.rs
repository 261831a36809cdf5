//! Mailboxes: create, read, change, delete, import, enable a delivery, run it now.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
};
use chrono::{DateTime, Utc};
use mailrail_domain::{
    settings::{approval, mailbox},
    words::{
        delivery,
        id::{MailboxId, ProfileId},
        invalid::Invalid,
        state::DeliveryState,
    },
};
use mailrail_engine::{
    administration::{
        By, SecretChange,
        mailboxes::{KnownMailbox, MailboxChange, MailboxOverview, no_such_profile},
    },
    ports::{Ports, Secret, StoredMailbox},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::{
    approval::ApprovalView,
    profiles::parse_address,
    words::{TestStatus, api_enum, default_of_the_rules},
};
use crate::{
    app::App,
    auth::Caller,
    body::{Body, Content, Parameters, Revised, Tagged, expected_revision, merged, names, never_shown, removes},
    import::{self, Imported},
    page::{Listing, PageQuery},
    problem::Problem,
};

api_enum! {
    /// Whose mailbox it is.
    MailboxKind of mailbox::MailboxKind { User, Queue }
}

api_enum! {
    /// Who moves the items of a delivery.
    SynchronizationMethod of delivery::SynchronizationMethod { None, Outlook, ServerSideSynchronization }
}

default_of_the_rules!(
    MailboxKind of mailbox::MailboxKind,
    SynchronizationMethod of delivery::SynchronizationMethod,
);

/// A mailbox, as it is given.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MailboxInput {
    /// Its name, 1 to 100 characters.
    name: String,
    /// Whose it is: `user` (default) or `queue`.
    #[serde(default)]
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
    #[serde(default, skip_serializing_if = "never_shown")]
    #[schema(write_only)]
    password: Option<String>,
    /// Earlier messages are left alone; the later of this and the profile's counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    process_emails_received_after: Option<DateTime<Utc>>,
    /// `server-side-synchronization` (default) or `none`.
    #[serde(default = "synchronized")]
    incoming_email: SynchronizationMethod,
    /// `server-side-synchronization` (default) or `none`.
    #[serde(default = "synchronized")]
    outgoing_email: SynchronizationMethod,
    /// `none` (default), `outlook` or, on a profile of Exchange, `server-side-synchronization`.
    #[serde(default)]
    appointments_contacts_tasks: SynchronizationMethod,
}

const fn synchronized() -> SynchronizationMethod {
    SynchronizationMethod::ServerSideSynchronization
}

/// A delivery, as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeliveryView {
    /// Whether it runs.
    enabled: bool,
    /// `not-run`, `success` or `failure`.
    status: TestStatus,
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
    /// Of an outbox: since when its oldest email waits. Of an inbox: when the last message that is done was received,
    /// because the messages that wait are younger.
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
            status: state.status.into(),
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
pub(crate) struct MailboxView {
    /// Its identifier.
    id: String,
    /// When it was created.
    created_at: DateTime<Utc>,
    /// How often it has been written; a change may be conditional on it, by `If-Match`.
    revision: u64,
    /// Whether a password is stored.
    has_password: bool,
    /// Whether its address is approved, who decided and when.
    approval: ApprovalView,
    /// Everything that was given.
    #[serde(flatten)]
    settings: MailboxInput,
    /// What is allowed and not advisable; absent in a list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    warnings: Vec<&'static str>,
    /// Its deliveries by name; absent in a list.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(required = false)]
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
            approval: mailbox.approval.into(),
            settings: MailboxInput {
                name: mailbox.name,
                kind: mailbox.kind.into(),
                address: mailbox.address.map(String::from),
                profile_id: mailbox.profile_id.to_string(),
                username: mailbox.username,
                password: None,
                process_emails_received_after: mailbox.process_emails_received_after,
                incoming_email: mailbox.incoming_email.into(),
                outgoing_email: mailbox.outgoing_email.into(),
                appointments_contacts_tasks: mailbox.appointments_contacts_tasks.into(),
            },
            warnings: Vec::new(),
            deliveries: BTreeMap::new(),
        }
    }
}

impl Revised for MailboxView {
    fn revision(&self) -> u64 {
        self.revision
    }
}

impl From<MailboxOverview> for MailboxView {
    fn from(overview: MailboxOverview) -> Self {
        let MailboxOverview { details, warnings, next_due, outbox } = overview;
        let shown = |(of, state): (delivery::Delivery, DeliveryState)| {
            let view = DeliveryView { next_due: next_due.get(&of).copied(), ..state.into() };
            let view = match of {
                delivery::Delivery::OutgoingEmail => {
                    DeliveryView { backlog: outbox.emails, oldest_waiting: outbox.oldest, ..view }
                }
                delivery::Delivery::IncomingEmail | delivery::Delivery::AppointmentsContactsTasks => view,
            };
            (of.as_str(), view)
        };
        let deliveries = details.deliveries.into_iter().map(shown).collect();
        Self { warnings, deliveries, ..details.stored.into() }
    }
}

impl MailboxInput {
    /// The mailbox, and its password if one was given. Its approval is the use case's.
    fn into_parts(
        self,
        id: MailboxId,
        created_at: DateTime<Utc>,
    ) -> Result<(mailbox::Mailbox, Option<Secret>), Invalid> {
        let address = self.address.map(|address| parse_address("address", &address)).transpose()?;
        let mailbox = mailbox::Mailbox {
            id,
            name: self.name,
            kind: self.kind.into(),
            approval: approval::Approval::undecided(address.is_some()),
            address,
            profile_id: ProfileId::parse(self.profile_id).map_err(|_| no_such_profile())?,
            username: self.username,
            process_emails_received_after: self.process_emails_received_after,
            incoming_email: self.incoming_email.into(),
            outgoing_email: self.outgoing_email.into(),
            appointments_contacts_tasks: self.appointments_contacts_tasks.into(),
            created_at,
        };
        Ok((mailbox, self.password.map(Secret::new)))
    }
}

/// Which mailboxes are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct MailboxQuery {
    /// Those of this profile alone.
    profile_id: Option<String>,
    /// Most entries of the page, 1 to 100.
    limit: Option<usize>,
    /// Where the page begins.
    cursor: Option<String>,
}

async fn create_mailbox<P: Ports>(app: &App<P>, by: &By, input: MailboxInput) -> Result<KnownMailbox, Problem> {
    let (mailbox, password) = input.into_parts(MailboxId::parse((by.new_id)())?, (app.engine.clock)())?;
    Ok(app.engine.create_mailbox(by, mailbox, password).await?)
}

/// A mailbox as it is shown by itself.
async fn view<P: Ports>(app: &App<P>, known: KnownMailbox) -> Result<Tagged<MailboxView>, Problem> {
    Ok(Tagged(app.engine.overview(known).await?.into()))
}

/// Lists mailboxes.
#[utoipa::path(get, path = "/v1/mailboxes", params(MailboxQuery), responses((status = 200, body = Listing<MailboxView>), (status = 401, body = Problem)))]
pub(crate) async fn list<P: Ports>(
    State(app): State<App<P>>,
    Parameters(query): Parameters<MailboxQuery>,
) -> Result<Json<Listing<MailboxView>>, Problem> {
    let profile = match query.profile_id {
        Some(id) => Some(app.engine.find_profile(&id).await?.profile.id),
        None => None,
    };
    let page = PageQuery { limit: query.limit, cursor: query.cursor }.request()?;
    let mailboxes = app.engine.list_mailboxes(profile.as_ref(), &page).await?;
    Ok(Json(Listing::of(mailboxes, MailboxView::from)))
}

/// Creates a mailbox. Its address waits for approval, and its deliveries run once they are enabled.
#[utoipa::path(post, path = "/v1/mailboxes", request_body = MailboxInput, responses((status = 201, body = MailboxView), (status = 422, body = Problem)))]
pub(crate) async fn create<P: Ports>(
    State(app): State<App<P>>,
    Caller(by): Caller,
    Body(input): Body<MailboxInput>,
) -> Result<(StatusCode, Tagged<MailboxView>), Problem> {
    let known = create_mailbox(&app, &by, input).await?;
    Ok((StatusCode::CREATED, view(&app, known).await?))
}

/// Imports mailboxes from CSV (`text/csv`) or JSON lines (`application/jsonl`).
#[utoipa::path(post, path = "/v1/mailboxes/import", request_body(content = String, content_type = "text/csv"), responses((status = 200, body = Imported), (status = 415, body = Problem)))]
pub(crate) async fn import<P: Ports>(
    State(app): State<App<P>>,
    Caller(by): Caller,
    headers: HeaderMap,
    Content(body): Content,
) -> Result<Json<Imported>, Problem> {
    let create = |input| async { create_mailbox(&app, &by, input).await.map(|_| ()) };
    Ok(Json(import::import(&headers, &body, create).await?))
}

/// Reads a mailbox with its deliveries.
#[utoipa::path(get, path = "/v1/mailboxes/{id}", params(("id" = String, Path, description = "Identifier of the mailbox")), responses((status = 200, body = MailboxView), (status = 404, body = Problem)))]
pub(crate) async fn read<P: Ports>(
    State(app): State<App<P>>,
    Path(id): Path<String>,
) -> Result<Tagged<MailboxView>, Problem> {
    view(&app, app.engine.know_mailbox(&id).await?).await
}

/// Changes a mailbox by a merge patch (RFC 7396). A delivery whose method changes begins anew; with another address all
/// do, and the address waits for approval.
#[utoipa::path(patch, path = "/v1/mailboxes/{id}", params(("id" = String, Path, description = "Identifier of the mailbox")), request_body = MailboxInput, responses((status = 200, body = MailboxView), (status = 404, body = Problem), (status = 409, body = Problem), (status = 412, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn change<P: Ports>(
    State(app): State<App<P>>,
    Caller(by): Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    Body(patch): Body<Value>,
) -> Result<Tagged<MailboxView>, Problem> {
    let before = app.engine.mailbox_to_change(&id, &expected_revision(&headers)?).await?;
    let (fields, removed) = (names(&patch), removes(&patch, "password"));
    let input = merged(&MailboxView::from(before.stored.clone()).settings, patch)?;
    let old = &before.stored.mailbox;
    let (after, password) = input.into_parts(old.id.clone(), old.created_at)?;
    let password = SecretChange::requested(password, removed);
    view(&app, app.engine.change_mailbox(&by, MailboxChange { before, after, password, fields }).await?).await
}

/// Deletes a mailbox. Its email records stay.
#[utoipa::path(delete, path = "/v1/mailboxes/{id}", params(("id" = String, Path, description = "Identifier of the mailbox")), responses((status = 204), (status = 404, body = Problem), (status = 412, body = Problem)))]
pub(crate) async fn delete<P: Ports>(
    State(app): State<App<P>>,
    Caller(by): Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    app.engine.delete_mailbox(&by, &id, &expected_revision(&headers)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The delivery of a path.
fn delivery_of(name: &str) -> Result<delivery::Delivery, Invalid> {
    delivery::Delivery::from_name(name).ok_or_else(|| {
        let names = delivery::Delivery::ALL.map(delivery::Delivery::as_str).join(", ");
        Invalid::new("delivery", "there is no such delivery", format!("Give one of {names}"))
    })
}

/// Enables a delivery again: its failures are forgotten, its alerts closed, and it runs at once.
#[utoipa::path(post, path = "/v1/mailboxes/{id}/deliveries/{delivery}/enable", params(("id" = String, Path, description = "Identifier of the mailbox"), ("delivery" = inline(super::words::Delivery), Path, description = "The delivery")), responses((status = 200, body = MailboxView), (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem), (status = 412, body = Problem)))]
pub(crate) async fn enable<P: Ports>(
    State(app): State<App<P>>,
    Caller(by): Caller,
    Path((id, delivery)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Tagged<MailboxView>, Problem> {
    let expected = expected_revision(&headers)?;
    view(&app, app.engine.enable_delivery(&by, &id, delivery_of(&delivery)?, &expected).await?).await
}

/// Runs a delivery now, whatever its polling interval; a gap between two tries stays.
#[utoipa::path(post, path = "/v1/mailboxes/{id}/deliveries/{delivery}/run", params(("id" = String, Path, description = "Identifier of the mailbox"), ("delivery" = inline(super::words::Delivery), Path, description = "The delivery")), responses((status = 202), (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem), (status = 412, body = Problem)))]
pub(crate) async fn run<P: Ports>(
    State(app): State<App<P>>,
    Caller(by): Caller,
    Path((id, delivery)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    app.engine.run_now(&by, &id, delivery_of(&delivery)?, &expected_revision(&headers)?).await?;
    Ok(StatusCode::ACCEPTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_the_rules() {
        MailboxKind::check_values();
        SynchronizationMethod::check_values();
    }
}
