//! Test & Enable: ask for it, for mailboxes or a whole profile, and follow it.

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use chrono::{DateTime, Utc};
use mailrail_domain::words::{invalid::Invalid, trial};
use mailrail_engine::ports::Ports;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::words::{Cause, Delivery, EvidenceView, Stage, TestStatus, api_enum};
use crate::{app::App, auth::Caller, body::Body, bulk::Done, problem::Problem};

api_enum! {
    /// How far a test is.
    TestPhase of trial::TestPhase { Waiting, Running, Finished }
}

/// What is to be tested: some mailboxes, or all of a profile.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TestInput {
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
pub(crate) enum Accepted {
    /// Of mailboxes: those that will be tested, and the others with the reason.
    Mailboxes(Done),
    /// Of a profile: its mailboxes are tested page by page.
    Profile {
        /// The profile.
        profile_id: String,
    },
}

/// What a stage came to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StageView {
    /// The stage.
    stage: Stage,
    /// Whether it went through.
    status: TestStatus,
    /// How long it took.
    milliseconds: u64,
    /// What was seen, where it failed or there is something to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<EvidenceView>,
}

impl From<trial::StageReport> for StageView {
    fn from(report: trial::StageReport) -> Self {
        let trial::StageReport { stage, status, milliseconds, evidence } = report;
        Self { stage: stage.into(), status: status.into(), milliseconds, evidence: evidence.map(Into::into) }
    }
}

/// What the test of one delivery came to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeliveryTestView {
    /// The delivery.
    delivery: Delivery,
    /// `not-run` while it is under way.
    status: TestStatus,
    /// The stages so far, in order.
    stages: Vec<StageView>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<Cause>,
}

impl From<trial::DeliveryTest> for DeliveryTestView {
    fn from(test: trial::DeliveryTest) -> Self {
        let trial::DeliveryTest { delivery, status, stages, cause } = test;
        let stages = stages.into_iter().map(Into::into).collect();
        Self { delivery: delivery.into(), status: status.into(), stages, cause: cause.map(Into::into) }
    }
}

/// The last test of a mailbox.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MailboxTestView {
    /// Its identifier.
    id: String,
    /// The mailbox.
    mailbox_id: String,
    /// How far it is.
    phase: TestPhase,
    /// Name of the API token with which it was asked for.
    requested_by: String,
    /// When it was asked for.
    requested_at: DateTime<Utc>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<DateTime<Utc>>,
    /// Sync items with this organization only, even if the mailbox is set to another.
    items_with_this_organization_only: bool,
    /// The deliveries that somebody moves.
    deliveries: Vec<DeliveryTestView>,
}

impl From<trial::MailboxTest> for MailboxTestView {
    fn from(test: trial::MailboxTest) -> Self {
        Self {
            id: test.id,
            mailbox_id: test.mailbox_id.into(),
            phase: test.phase.into(),
            requested_by: test.requested_by,
            requested_at: test.requested_at,
            finished_at: test.finished_at,
            items_with_this_organization_only: test.items_with_this_organization_only,
            deliveries: test.deliveries.into_iter().map(Into::into).collect(),
        }
    }
}

/// Tests mailboxes, and enables each delivery that passes. Follow it at `/v1/mailboxes/{id}/test`.
#[utoipa::path(post, path = "/v1/mailboxes/test", request_body = TestInput, responses((status = 202, body = Accepted), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn ask<P: Ports>(
    State(app): State<App<P>>,
    Caller(by): Caller,
    Body(input): Body<TestInput>,
) -> Result<(StatusCode, Json<Accepted>), Problem> {
    let only = input.items_with_this_organization_only;
    let accepted = match (input.mailbox_ids, input.profile_id) {
        (Some(ids), None) => Accepted::Mailboxes(app.engine.ask_for_tests(&by, &ids, only).await?.into()),
        (None, Some(id)) => {
            let profile = app.engine.ask_for_tests_of_profile(&by, &id, only).await?;
            Accepted::Profile { profile_id: profile.into() }
        }
        (Some(_), Some(_)) | (None, None) => {
            let problem = "either mailboxes or a profile can be tested";
            return Err(Invalid::new("mailbox_ids", problem, "Give mailbox_ids or profile_id, and not both").into());
        }
    };
    Ok((StatusCode::ACCEPTED, Json(accepted)))
}

/// Reads the last test of a mailbox, while it runs and afterwards.
#[utoipa::path(get, path = "/v1/mailboxes/{id}/test", params(("id" = String, Path, description = "Identifier of the mailbox")), responses((status = 200, body = MailboxTestView), (status = 404, body = Problem)))]
pub(crate) async fn read<P: Ports>(
    State(app): State<App<P>>,
    Path(id): Path<String>,
) -> Result<Json<MailboxTestView>, Problem> {
    Ok(Json(app.engine.last_test(&id).await?.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_the_rules() {
        TestPhase::check_values();
    }
}
