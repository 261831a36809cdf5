//! Mailboxes of Exchange Online, against the test server of a tenant.

mod connection;
mod contract;
mod errors;
mod incoming;
mod independent;
mod outgoing;
mod sign_in;

use std::sync::OnceLock;

use base64::{Engine, engine::general_purpose::STANDARD};
use mailrail_domain::words::delivery::Delivery;
use mailrail_test_support::graph::Registration;
use rcgen::{Certificate, CertificateParams, KeyPair, PKCS_RSA_SHA256, PublicKeyData};
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject};

const INCOMING: Delivery = Delivery::IncomingEmail;
const OUTGOING: Delivery = Delivery::OutgoingEmail;

/// A private key, made once by a tool because nothing here makes RSA keys. It opens nothing.
const RSA_KEY: &str = include_str!("rsa-key.pem");

/// A certificate of that key, the same all along.
fn certified() -> &'static (Certificate, KeyPair) {
    static CERTIFIED: OnceLock<(Certificate, KeyPair)> = OnceLock::new();
    CERTIFIED.get_or_init(|| {
        let der = PrivatePkcs8KeyDer::from_pem_slice(RSA_KEY.as_bytes()).expect("a key");
        let pair = KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_RSA_SHA256).expect("an RSA key");
        let params = CertificateParams::new(vec!["mailrail.test".to_owned()]).expect("a name");
        (params.self_signed(&pair).expect("a certificate"), pair)
    })
}

/// A certificate with its RSA key: as PEM, and as the tenant registers it.
pub(super) fn registered() -> (String, Registration) {
    let (made, pair) = certified();
    let public = pair.der_bytes().to_vec();
    let roles = ["Mail.ReadWrite", "Mail.Send"].map(str::to_owned).to_vec();
    let registration =
        Registration { certificate: Some((made.der().to_vec(), public)), roles, ..Registration::default() };
    (format!("{}{RSA_KEY}", certificate_pem()), registration)
}

/// The certificate as PEM.
pub(super) fn certificate_pem() -> String {
    let encoded = STANDARD.encode(certified().0.der());
    format!("-----BEGIN CERTIFICATE-----\n{encoded}\n-----END CERTIFICATE-----\n")
}
