//! Who is calling: the holder of an API token.
//!
//! The deployment itself has one token, with every right, whose SHA-256 it knows; the others are made over the API. Of
//! none is the token itself kept.

use axum::{
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::Response,
};
use mailrail_domain::words::{hex::hex, role::Role};
use mailrail_engine::{administration::By, ports::Ports};
use sha2::{Digest, Sha256};

use crate::{app::App, problem::Problem};

/// Name of the token that the deployment was given.
const DEPLOYMENT: &str = "deployment";

/// Who is calling.
#[derive(Debug, Clone)]
pub(crate) struct Caller(pub By);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(not_signed_in)
    }
}

/// Lets a request pass that carries a token whose role permits the method: reading is for everybody who has one, all
/// else for administrators, so that nothing is read of a body whose sender may not act. What each use case needs, it
/// says itself.
pub(crate) async fn require_token<P: Ports>(
    State(app): State<App<P>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let digest = token(request.headers()).map(digest).ok_or_else(not_signed_in)?;
    let caller = caller(&app, &digest).await?;
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let action = format!("{} {}", request.method(), request.uri().path());
        caller.needs(Role::Administrator, &action)?;
    }
    request.extensions_mut().insert(Caller(caller));
    Ok(next.run(request).await)
}

async fn caller<P: Ports>(app: &App<P>, digest: &str) -> Result<By, Problem> {
    let by = |name, role| By { name, role, new_id: || uuid::Uuid::now_v7().to_string() };
    if is_same(digest, &app.token_sha256) {
        return Ok(by(DEPLOYMENT.to_owned(), Role::TenantAdministrator));
    }
    let token = app.engine.token_of(digest).await?.ok_or_else(not_signed_in)?;
    Ok(by(token.name, token.role))
}

fn token(headers: &HeaderMap) -> Option<&str> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    // The name of a scheme is read in any case (RFC 9110 section 11.1).
    let (scheme, token) = given?.split_once(' ')?;
    Some(token.trim()).filter(|token| scheme.eq_ignore_ascii_case("Bearer") && !token.is_empty())
}

/// What is kept of a token.
pub(crate) fn digest(token: &str) -> String {
    hex(&Sha256::digest(token.as_bytes()))
}

fn not_signed_in() -> Problem {
    let remedy = Some("Send the header \"Authorization: Bearer TOKEN\" with a valid API token.".to_owned());
    let detail = "The request carries no valid token.";
    Problem { remedy, ..Problem::new(StatusCode::UNAUTHORIZED, "Not signed in", detail) }
}

/// Compares in the same time wherever the difference is. A deployment without a token lets nobody in.
fn is_same(given: &str, sha256: &str) -> bool {
    let differences = given.bytes().zip(sha256.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
    given.len() == sha256.len() && differences == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_opens() {
        let sha256 = digest("secret");
        assert!(is_same(&digest("secret"), &sha256));
        assert!(!is_same(&digest("Secret"), &sha256));
        assert!(!is_same(&digest(""), &sha256));
        assert!(!is_same(&digest(""), ""), "a deployment without a token lets nobody in");
    }
}
