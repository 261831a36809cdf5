//! API tokens: make, list, delete.

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use mailrail_domain::words::role;
use mailrail_engine::{administration::access, ports::Ports};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::words::api_enum;
use crate::{
    app::App,
    auth::{Caller, digest},
    body::{Body, Parameters},
    page::{Listing, PageQuery},
    problem::Problem,
};

/// Random bytes of a token.
const TOKEN_BYTES: usize = 32;

api_enum! {
    /// What the holder of an API token may do; each role may do what the one before it may.
    Role of role::Role { Reader, Administrator, TenantAdministrator }
}

/// A token to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenInput {
    /// Its name, which stands in the audit, 1 to 100 characters.
    name: String,
    /// At most the role of who makes it.
    role: Role,
}

/// A token, without the token itself, which only its holder has.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ApiTokenView {
    /// Its identifier.
    id: String,
    /// Its name, which stands in the audit for whoever holds it.
    name: String,
    /// What its holder may do.
    role: Role,
    /// Who made it.
    created_by: String,
    /// When it was made.
    created_at: DateTime<Utc>,
}

impl From<role::ApiToken> for ApiTokenView {
    fn from(token: role::ApiToken) -> Self {
        let role::ApiToken { id, name, role, created_by, created_at } = token;
        Self { id, name, role: role.into(), created_by, created_at }
    }
}

/// A token that was made. It is shown this once.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NewToken {
    /// What its holder sends.
    token: String,
    /// What is kept of it.
    #[serde(flatten)]
    kept: ApiTokenView,
}

/// Lists API tokens, without the tokens themselves.
#[utoipa::path(get, path = "/v1/api-tokens", params(PageQuery), responses((status = 200, body = Listing<ApiTokenView>), (status = 422, body = Problem)))]
pub(crate) async fn list<P: Ports>(
    State(app): State<App<P>>,
    Parameters(page): Parameters<PageQuery>,
) -> Result<Json<Listing<ApiTokenView>>, Problem> {
    Ok(Json(Listing::of(app.engine.list_tokens(&page.request()?).await?, ApiTokenView::from)))
}

/// Makes an API token and shows it this once.
#[utoipa::path(post, path = "/v1/api-tokens", request_body = TokenInput, responses((status = 201, body = NewToken), (status = 403, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn create<P: Ports>(
    State(app): State<App<P>>,
    Caller(by): Caller,
    Body(input): Body<TokenInput>,
) -> Result<(StatusCode, Json<NewToken>), Problem> {
    // Two random identifiers of the operating system's generator: 244 random bits.
    let random = [uuid::Uuid::new_v4().into_bytes(), uuid::Uuid::new_v4().into_bytes()].concat();
    let token = URL_SAFE_NO_PAD.encode(random.get(..TOKEN_BYTES).unwrap_or_default());
    let new = access::NewToken { name: input.name, role: input.role.into(), sha256: digest(&token) };
    let kept = app.engine.create_token(&by, new).await?.into();
    Ok((StatusCode::CREATED, Json(NewToken { token, kept })))
}

/// Deletes an API token; from then on it opens nothing.
#[utoipa::path(delete, path = "/v1/api-tokens/{id}", params(("id" = String, Path, description = "Identifier of the API token")), responses((status = 204), (status = 404, body = Problem)))]
pub(crate) async fn delete<P: Ports>(
    State(app): State<App<P>>,
    Caller(by): Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    app.engine.delete_token(&by, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_the_rules() {
        Role::check_values();
    }
}
