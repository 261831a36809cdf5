//! Who is calling: the holder of an API token, and what the token's role lets him do.
//!
//! The deployment itself has one token, with every right, whose SHA-256 it knows; the others are made over the API. Of
//! none is the token itself kept.

use axum::{
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::Response,
};
use mailrail_boot::now;
use mailrail_domain::words::{
    audit::{AuditAction, AuditEntry, AuditSubject},
    hex::hex,
    role::Role,
};
use mailrail_engine::ports::{AccessStore, Ports};
use sha2::{Digest, Sha256};

use crate::{App, problem::Problem};

/// Name of the token that the deployment was given.
const DEPLOYMENT: &str = "deployment";

/// Who is calling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Name of the token.
    pub name: String,
    /// What it opens.
    pub role: Role,
}

impl Caller {
    /// Refuses what needs more than the caller's role; `action` is what he wanted, as the beginning of a sentence.
    pub fn needs(&self, needed: Role, action: &str) -> Result<(), Problem> {
        if self.role.may(needed) {
            return Ok(());
        }
        let (name, has) = (&self.name, self.role.as_str());
        let detail =
            format!("{action} needs the role {}; the API token \"{name}\" has the role {has}.", needed.as_str());
        let remedy = Some(format!("Use an API token with the role {}.", needed.as_str()));
        Err(Problem { remedy, ..Problem::new(StatusCode::FORBIDDEN, "Beyond the role", detail) })
    }

    /// The audit entry of what he does now. `fields` are names of fields or deliveries, never values.
    pub fn audit(&self, action: AuditAction, subject: AuditSubject, id: &str, fields: Vec<String>) -> AuditEntry {
        AuditEntry {
            id: uuid::Uuid::now_v7().to_string(),
            at: now(),
            by: self.name.clone(),
            action,
            subject,
            subject_id: id.to_owned(),
            fields,
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(not_signed_in)
    }
}

/// Lets a request pass that carries a token whose role permits the method: reading is for everybody who has one, all
/// else for administrators. What needs more says so where it is done.
pub async fn require_token(State(app): State<App>, mut request: Request, next: Next) -> Result<Response, Problem> {
    let digest = token(request.headers()).map(digest).ok_or_else(not_signed_in)?;
    let caller = caller(&app, &digest).await?;
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let action = format!("{} {}", request.method(), request.uri().path());
        caller.needs(Role::Administrator, &action)?;
    }
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

async fn caller(app: &App, digest: &str) -> Result<Caller, Problem> {
    if is_same(digest, &app.token_sha256) {
        return Ok(Caller { name: DEPLOYMENT.to_owned(), role: Role::TenantAdministrator });
    }
    let token = app.engine.ports.mailboxes().token(digest).await?.ok_or_else(not_signed_in)?;
    Ok(Caller { name: token.name, role: token.role })
}

fn token(headers: &HeaderMap) -> Option<&str> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    given.and_then(|value| value.strip_prefix("Bearer ")).filter(|token| !token.is_empty())
}

/// What is kept of a token.
pub fn digest(token: &str) -> String {
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

    #[test]
    fn what_is_beyond_a_role_is_refused_and_named() {
        let reader = Caller { name: "audit desk".into(), role: Role::Reader };
        assert!(reader.needs(Role::Reader, "Reading").is_ok());
        let refusal = reader.needs(Role::Administrator, "Deleting a mailbox").unwrap_err();
        assert_eq!(refusal.status, 403);
        assert_eq!(
            refusal.detail,
            "Deleting a mailbox needs the role administrator; the API token \"audit desk\" has the role reader."
        );
    }
}
