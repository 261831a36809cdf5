//! Test & Enable: ask for it, for mailboxes or a whole profile, and follow it.

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use mailrail_domain::words::{
    audit::{AuditAction, AuditSubject},
    delivery::{Delivery, SynchronizationMethod},
    invalid::Invalid,
    trial::{MailboxTest, ProfileTest},
};
use mailrail_engine::{
    ports::{Job, JobQueue, Ports, TestStore},
    trial::Asked,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    App,
    auth::Caller,
    body::Body,
    bulk::{self, Done},
    mailboxes::find,
    problem::Problem,
    profiles::find as find_profile,
};

/// What is to be tested: some mailboxes, or all of a profile.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TestInput {
    /// The mailboxes, 1 to 1000.
    #[serde(default)]
    mailbox_ids: Option<Vec<String>>,
    /// The profile, all of whose mailboxes are tested.
    #[serde(default)]
    profile_id: Option<String>,
    /// Sync items with this organization only, even if the mailbox is set to another.
    #[serde(default)]
    items_with_this_organization_only: bool,
}

/// What came of asking.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Accepted {
    /// Of mailboxes: those that will be tested, and the others with the reason.
    Mailboxes(Done),
    /// Of a profile: its mailboxes are tested page by page.
    Profile {
        /// The profile.
        profile_id: String,
    },
}

/// Tests mailboxes, and enables each delivery that passes. Follow it at `/v1/mailboxes/{id}/test`.
#[utoipa::path(post, path = "/v1/mailboxes/test", request_body = TestInput, responses((status = 202, body = Accepted), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub async fn test(
    State(app): State<App>,
    caller: Caller,
    Body(input): Body<TestInput>,
) -> Result<(StatusCode, Json<Accepted>), Problem> {
    let items_with_this_organization_only = input.items_with_this_organization_only;
    let accepted = match (input.mailbox_ids, input.profile_id) {
        (Some(ids), None) => {
            let asked = Asked { by: caller.name.clone(), items_with_this_organization_only };
            let (app, caller, asked) = (&app, &caller, &asked);
            let ask = |id: String| async move { ask(app, caller, asked, &id).await };
            Accepted::Mailboxes(bulk::each(&ids, ask).await?)
        }
        (None, Some(id)) => {
            let profile = find_profile(&app, &id).await?.profile;
            let tests = ProfileTest {
                profile: profile.id.clone(),
                requested_by: caller.name.clone(),
                items_with_this_organization_only,
                cursor: None,
            };
            app.engine.ports.queue().send(&[Job::TrialsOfProfile(tests)], 0).await?;
            Accepted::Profile { profile_id: profile.id.to_string() }
        }
        (Some(_), Some(_)) | (None, None) => {
            let problem = "either mailboxes or a profile can be tested";
            return Err(Invalid::new("mailbox_ids", problem, "Give mailbox_ids or profile_id, and not both").into());
        }
    };
    Ok((StatusCode::ACCEPTED, Json(accepted)))
}

async fn ask(app: &App, caller: &Caller, asked: &Asked, id: &str) -> Result<(), Problem> {
    let mailbox = find(app, id).await?.stored.mailbox;
    let moved = |delivery| mailbox.method(delivery) == SynchronizationMethod::ServerSideSynchronization;
    if !Delivery::ALL.into_iter().any(moved) {
        let detail =
            format!("The mailbox {} has no delivery to test: every synchronization method is none.", mailbox.name);
        return Err(Problem::conflict(detail, "Set a method to server-side-synchronization first."));
    }
    let audit = caller.audit(AuditAction::Tested, AuditSubject::Mailbox, id, vec![]);
    if app.engine.request_test(&mailbox.id, asked, &audit).await? {
        return Ok(());
    }
    let detail = format!("The mailbox {} is being tested already.", mailbox.name);
    Err(Problem::conflict(detail, "Follow that test at /v1/mailboxes/{id}/test."))
}

/// Reads the last test of a mailbox, while it runs and afterwards.
#[utoipa::path(get, path = "/v1/mailboxes/{id}/test", responses((status = 200, body = Object), (status = 404, body = Problem)))]
pub async fn read(State(app): State<App>, Path(id): Path<String>) -> Result<Json<MailboxTest>, Problem> {
    let mailbox = find(&app, &id).await?.stored.mailbox;
    let test = app.engine.ports.mailboxes().test(&mailbox.id).await?;
    test.map(Json).ok_or_else(|| Problem::not_found("test of the mailbox", &id))
}
