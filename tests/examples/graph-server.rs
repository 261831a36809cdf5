//! The test server of a tenant of Exchange Online as a process of its own, for the deployed functions and for other
//! people's clients: `graph-server PORT CERTIFICATE.pem KEY.pem`.

#![allow(clippy::expect_used)] // a server that cannot be set up has failed

use std::{env, future::pending, sync::Arc};

use end_to_end::online::tenant;
use mailrail_test_support::graph::GraphServer;
use rustls::{ServerConfig, crypto::ring::default_provider};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [port, certificate, key] = &arguments[..] else {
        panic!("usage: graph-server PORT CERTIFICATE.pem KEY.pem");
    };
    let chain = CertificateDer::pem_file_iter(certificate).expect("a certificate");
    let chain = chain.collect::<Result<_, _>>().expect("certificates");
    let key = PrivateKeyDer::from_pem_file(key).expect("a key");
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
    let versions = builder.with_safe_default_protocol_versions().expect("versions that the provider has");
    let tls = versions.with_no_client_auth().with_single_cert(chain, key).expect("a certificate with its key");
    let port = port.parse().expect("a port");
    let server = GraphServer::start_at(tenant(), Some(Arc::new(tls)), "localhost", port).await;
    println!("listening at {}", server.origin());
    pending::<()>().await;
}
