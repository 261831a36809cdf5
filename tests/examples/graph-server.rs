//! The test server of a tenant of Exchange Online as a process of its own, for the deployed functions and for other
//! people's clients: `graph-server PORT CERTIFICATE.pem KEY.pem`.

use std::future::pending;

use end_to_end::{online::tenant, scripted::arguments};
use mailrail_test_support::graph::GraphServer;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (port, tls) = arguments();
    let server = GraphServer::start_at(tenant(), Some(tls), "localhost", port).await;
    println!("listening at {}", server.origin());
    pending::<()>().await;
}
