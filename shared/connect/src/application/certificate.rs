//! The certificate of an application, and the assertion that its private key signs instead of a secret.
//!
//! Source: Microsoft identity platform, "Application authentication certificate credentials"; RFC 7523; RFC 7518
//! section 3.5 for PS256. The cryptography of the TLS stack makes the signature, because its RSA-PSS with SHA-256 has
//! the salt that PS256 needs. So no second cryptography library is needed.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use mailrail_domain::{
    Timestamp,
    words::{
        cause::{Cause, DeliveryError},
        evidence::{Evidence, Stage},
    },
};
use rustls::{SignatureScheme, crypto::CryptoProvider, sign::Signer};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::json;
use sha2::{Digest, Sha256};

/// How long an assertion is valid, in seconds.
const ASSERTION_SECONDS: i64 = 600;

/// Whether this PEM holds a certificate and its RSA key with which an application can sign in.
#[must_use]
pub fn is_client_certificate(pem: &str, crypto: &CryptoProvider) -> bool {
    parse(pem, crypto).is_some()
}

/// The SHA-256 thumbprint of the certificate, and the signer with its key.
fn parse(pem: &str, crypto: &CryptoProvider) -> Option<(String, Box<dyn Signer>)> {
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).ok()?;
    let key = crypto.key_provider.load_private_key(key).ok()?;
    let signer = key.choose_scheme(&[SignatureScheme::RSA_PSS_SHA256])?;
    Some((URL_SAFE_NO_PAD.encode(Sha256::digest(&certificate)), signer))
}

/// The assertion with which `client_id` proves its identity, to `audience` only.
pub(super) fn assertion(
    pem: &str,
    crypto: &CryptoProvider,
    client_id: &str,
    audience: &str,
    now: Timestamp,
) -> Result<String, DeliveryError> {
    let unusable = || {
        let evidence = Evidence::new(Stage::SignIn, "the stored certificate or its private key cannot be used");
        DeliveryError::new(Cause::CredentialsUnreadable, evidence)
    };
    let (thumbprint, signer) = parse(pem, crypto).ok_or_else(unusable)?;
    let now = now.timestamp();
    let header = json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": thumbprint });
    let claims = json!({
        "aud": audience,
        "iss": client_id,
        "sub": client_id,
        "jti": uuid::Uuid::new_v4().to_string(),
        "nbf": now,
        "iat": now,
        "exp": now + ASSERTION_SECONDS,
    });
    let signed = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
    let signature = signer.sign(signed.as_bytes()).map_err(|_| unusable())?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}
