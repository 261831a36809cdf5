//! The one TLS stack: rustls with ring, or with AWS-LC's validated module where the feature `fips` is on, trusting the public authorities and those that the deployment adds.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use rustls::{ClientConfig, RootCertStore, crypto::CryptoProvider};
use rustls_pki_types::{CertificateDer, pem::PemObject};

/// Certificate authorities that a deployment may add.
const EXTRA_AUTHORITIES_MAX: usize = 20;

/// The configuration of connections to mail servers.
pub(crate) fn client(extra_ca_pem: &str) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let given = !extra_ca_pem.trim().is_empty();
    let mut added = 0;
    for certificate in CertificateDer::pem_slice_iter(extra_ca_pem.as_bytes()).take(EXTRA_AUTHORITIES_MAX) {
        let certificate = certificate.context("EXTRA_CA_PEM is not PEM")?;
        roots.add(certificate).context("EXTRA_CA_PEM has a certificate that is no authority")?;
        added += 1;
    }
    ensure!(
        added > 0 || !given,
        "EXTRA_CA_PEM has no certificate; give PEM that begins with -----BEGIN CERTIFICATE-----"
    );
    let config = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Whether this is a certificate with its RSA key, as PEM, with which an application can sign in to Exchange Online.
#[must_use]
pub fn is_client_certificate(pem: &str) -> bool {
    mailrail_connect::application::is_client_certificate(pem, &provider())
}

/// The cryptography of every TLS connection.
#[cfg(not(feature = "fips"))]
fn provider() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

/// The cryptography of every TLS connection: AWS-LC's validated module, and nothing that it has not.
#[cfg(feature = "fips")]
fn provider() -> CryptoProvider {
    rustls::crypto::default_fips_provider()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_refused_by_name() {
        for pem in ["nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"] {
            assert!(format!("{:#}", client(pem).unwrap_err()).contains("EXTRA_CA_PEM"));
        }
        assert!(client("").is_ok());
    }
}
