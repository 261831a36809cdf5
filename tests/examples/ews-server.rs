//! The test server of an organization's Exchange Server as a process of its own, for the deployed functions:
//! `ews-server PORT CERTIFICATE.pem KEY.pem`.

use std::future::pending;

use end_to_end::{on_premises::exchange, scripted::arguments};
use mailrail_test_support::ews::EwsServer;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (port, tls) = arguments();
    let server = EwsServer::start(exchange(), tls, port, None).await;
    println!("listening at port {}", server.port());
    pending::<()>().await;
}
