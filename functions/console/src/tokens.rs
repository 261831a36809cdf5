//! API tokens: make, list, delete; and the audit.

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use mailrail_boot::now;
use mailrail_domain::{
    settings::profile::validate_name,
    words::{
        audit::{AuditAction, AuditEntry, AuditSubject},
        invalid::Invalid,
        role::{ApiToken, Role},
    },
};
use mailrail_engine::ports::{AccessStore, Ports};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    App,
    auth::{Caller, digest},
    body::{Body, Parameters},
    page::{Listing, PageQuery},
    problem::Problem,
};

/// Random bytes of a token.
const TOKEN_BYTES: usize = 32;

/// A token to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenInput {
    /// Its name, which stands in the audit, 1 to 100 characters.
    name: String,
    /// `reader`, `administrator` or `tenant-administrator`; at most the role of who makes it.
    #[schema(value_type = String)]
    role: Role,
}

/// A token that was made. It is shown this once.
#[derive(Debug, Serialize, ToSchema)]
pub struct NewToken {
    /// What its holder sends.
    token: String,
    /// What is kept of it.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    kept: ApiToken,
}

/// Which part of the audit is wanted.
#[derive(Debug, Deserialize, IntoParams)]
pub struct AuditQuery {
    /// `mailbox`, `profile`, `organization` or `api-token`; with `subject_id`.
    #[param(value_type = Option<String>)]
    subject: Option<AuditSubject>,
    /// The subject's id.
    subject_id: Option<String>,
    /// Most entries of the page, 1 to 100.
    limit: Option<usize>,
    /// Where the page begins.
    cursor: Option<String>,
}

/// Lists API tokens, without the tokens themselves.
#[utoipa::path(get, path = "/v1/api-tokens", params(PageQuery), responses((status = 200, body = Listing<Object>)))]
pub async fn list(
    State(app): State<App>,
    Parameters(page): Parameters<PageQuery>,
) -> Result<Json<Listing<ApiToken>>, Problem> {
    let tokens = app.engine.ports.mailboxes().tokens(&page.request()?).await?;
    Ok(Json(Listing::of(tokens, |token| token)))
}

/// Makes an API token and shows it this once.
#[utoipa::path(post, path = "/v1/api-tokens", request_body = TokenInput, responses((status = 201, body = NewToken), (status = 403, body = Problem), (status = 422, body = Problem)))]
pub async fn create(
    State(app): State<App>,
    caller: Caller,
    Body(input): Body<TokenInput>,
) -> Result<(StatusCode, Json<NewToken>), Problem> {
    validate_name(&input.name)?;
    caller.needs(input.role, "Making a token of this role")?;
    // Two random identifiers of the operating system's generator: 244 random bits.
    let random = [uuid::Uuid::new_v4().into_bytes(), uuid::Uuid::new_v4().into_bytes()].concat();
    let token = URL_SAFE_NO_PAD.encode(random.get(..TOKEN_BYTES).unwrap_or_default());
    let kept = ApiToken {
        id: uuid::Uuid::now_v7().to_string(),
        name: input.name,
        role: input.role,
        created_by: caller.name.clone(),
        created_at: now(),
    };
    let audit = caller.audit(AuditAction::Created, AuditSubject::ApiToken, &kept.id, vec![]);
    app.engine.ports.mailboxes().put_token(&kept, &digest(&token), &audit).await?;
    Ok((StatusCode::CREATED, Json(NewToken { token, kept })))
}

/// Deletes an API token; from then on it opens nothing.
#[utoipa::path(delete, path = "/v1/api-tokens/{id}", responses((status = 204), (status = 404, body = Problem)))]
pub async fn delete(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    let audit = caller.audit(AuditAction::Deleted, AuditSubject::ApiToken, &id, vec![]);
    if app.engine.ports.mailboxes().delete_token(&id, &audit).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Problem::not_found("API token", &id))
}

/// Lists who did what and when, the newest first: of everything, or of one subject.
#[utoipa::path(get, path = "/v1/audit", params(AuditQuery), responses((status = 200, body = Listing<Object>), (status = 422, body = Problem)))]
pub async fn audit(
    State(app): State<App>,
    Parameters(query): Parameters<AuditQuery>,
) -> Result<Json<Listing<AuditEntry>>, Problem> {
    let page = PageQuery { limit: query.limit, cursor: query.cursor }.request()?;
    let subject = match (query.subject, query.subject_id.as_deref()) {
        (Some(subject), Some(id)) => Some((subject, id)),
        (None, None) => None,
        (Some(_), None) => return Err(together("subject_id").into()),
        (None, Some(_)) => return Err(together("subject").into()),
    };
    let entries = app.engine.ports.mailboxes().audit(subject, &page).await?;
    Ok(Json(Listing::of(entries, |entry| entry)))
}

fn together(missing: &str) -> Invalid {
    Invalid::new(missing, "it is missing", "Give subject and subject_id together, or neither")
}
