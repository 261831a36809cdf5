//! The sign-in of the test server: client credentials with a secret or with an assertion that it verifies.

use axum::{
    Form, Json,
    extract::{Path, State},
    http::StatusCode,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{GraphServer, Registration};

/// What a client sends.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    grant_type: String,
    client_id: String,
    scope: String,
    client_secret: Option<String>,
    client_assertion_type: Option<String>,
    client_assertion: Option<String>,
}

/// Gives out a token, or refuses as Entra ID does.
pub(super) async fn token(
    State(server): State<GraphServer>,
    Path(tenant_id): Path<String>,
    Form(asked): Form<Asked>,
) -> (StatusCode, Json<Value>) {
    let origin = server.origin();
    let mut tenant = server.tenant();
    tenant.sign_ins += 1;
    let refuse = |status: u16, error: &str, number: u64, words: &str| {
        let reply = json!({
            "error": error,
            "error_description": format!("AADSTS{number}: {words}"),
            "error_codes": [number],
            "correlation_id": "00000000-0000-0000-0000-000000000000",
        });
        (StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST), Json(reply))
    };
    if tenant_id != tenant.id {
        return refuse(400, "invalid_request", 90_002, "Tenant not found.");
    }
    let Some(application) = tenant.applications.get(&asked.client_id) else {
        return refuse(400, "unauthorized_client", 700_016, "Application was not found in the directory.");
    };
    let is_resource = |resource: &String| asked.scope == format!("{resource}/.default");
    let is_known = is_resource(&origin) || tenant.resources.iter().any(is_resource);
    if asked.grant_type != "client_credentials" || !is_known {
        return refuse(400, "invalid_scope", 70_011, "The provided value for the input parameter scope is not valid.");
    }
    let by_secret = asked.client_secret.is_some() && asked.client_secret == application.secret;
    let is_assertion =
        asked.client_assertion_type.as_deref() == Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    let audience = format!("{origin}/{tenant_id}/oauth2/v2.0/token");
    let by_certificate = is_assertion
        && asked.client_assertion.is_some_and(|jwt| verifies(&jwt, application, &asked.client_id, &audience).is_some());
    if !by_secret && !by_certificate {
        let number = if is_assertion { 700_027 } else { 7_000_215 };
        return refuse(401, "invalid_client", number, "Invalid client credentials provided.");
    }
    let token = format!("token-{}-of-{}", tenant.sign_ins, asked.client_id);
    tenant.tokens.insert(token.clone(), asked.client_id);
    let seconds = tenant.token_seconds;
    (StatusCode::OK, Json(json!({ "token_type": "Bearer", "expires_in": seconds, "access_token": token })))
}

/// Checks an assertion as RFC 7523 section 3 says, and that the certificate is the application's.
fn verifies(jwt: &str, application: &Registration, client_id: &str, audience: &str) -> Option<()> {
    let (certificate, key) = application.certificate.as_ref()?;
    let (signed, signature) = jwt.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let read = |part: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
    let (header, claims) = (read(header)?, read(claims)?);
    let thumbprint = URL_SAFE_NO_PAD.encode(Sha256::digest(certificate));
    let now = crate::build::clock().timestamp();
    let is_ours = header["alg"] == "PS256"
        && header["x5t#S256"] == thumbprint
        && claims["aud"] == audience
        && claims["iss"] == client_id
        && claims["sub"] == client_id
        && claims["jti"].as_str().is_some_and(|id| !id.is_empty())
        && claims["exp"].as_i64().is_some_and(|until| until > now);
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    let verified = UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, key).verify(signed.as_bytes(), &signature);
    (is_ours && verified.is_ok()).then_some(())
}
