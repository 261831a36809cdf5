//! The bearer token: the deployment knows its SHA-256, and nobody but its holder knows the token.

use axum::{
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::Next,
    response::Response,
};
use mailrail_domain::position::hex;
use sha2::{Digest, Sha256};

use crate::{App, problem::Problem};

/// Lets a request pass that carries the token.
pub async fn require_token(State(app): State<App>, request: Request, next: Next) -> Result<Response, Problem> {
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = given.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    if is_token(token, &app.token_sha256) {
        return Ok(next.run(request).await);
    }
    let remedy = "Send the header \"Authorization: Bearer TOKEN\" with the token of this deployment.".to_owned();
    let detail = "The request carries no valid token.";
    Err(Problem { remedy: Some(remedy), ..Problem::new(StatusCode::UNAUTHORIZED, "Not signed in", detail) })
}

/// Compares in the same time wherever the difference is. A deployment without a token lets nobody in.
fn is_token(token: &str, sha256: &str) -> bool {
    let given = hex(&Sha256::digest(token.as_bytes()));
    let differences = given.bytes().zip(sha256.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
    given.len() == sha256.len() && differences == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_opens() {
        let sha256 = hex(&Sha256::digest(b"secret"));
        assert!(is_token("secret", &sha256));
        assert!(!is_token("Secret", &sha256));
        assert!(!is_token("", &sha256));
        assert!(!is_token("", ""), "a deployment without a token lets nobody in");
    }
}
