//! Clients of AWS, configured from the variables that Lambda sets, over our one TLS stack.
//!
//! The SDK's own loader of configuration would look into files, profiles and the metadata service as well, none of
//! which a function has; leaving it out makes each function smaller and quicker to start.

use anyhow::{Context, Result};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_smithy_http_client::{
    Builder,
    tls::{self, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::{
    http::{HttpClient, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector},
    runtime_components::RuntimeComponents,
};
use aws_types::{SdkConfig, region::Region};

#[cfg(not(feature = "fips"))]
const CRYPTO: CryptoMode = CryptoMode::Ring;
#[cfg(feature = "fips")]
const CRYPTO: CryptoMode = CryptoMode::AwsLcFips;

/// The shared configuration of all clients.
pub(crate) fn config() -> Result<SdkConfig> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let needed = |name: &str| variable(name).with_context(|| format!("{name} is not set; Lambda sets it"));
    let region = variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION")).context("AWS_REGION is not set")?;
    let credentials = Credentials::new(
        needed("AWS_ACCESS_KEY_ID")?,
        needed("AWS_SECRET_ACCESS_KEY")?,
        variable("AWS_SESSION_TOKEN"),
        None,
        "environment",
    );
    let tls = tls::Provider::Rustls(CRYPTO);
    let http = SharedHttpClient::new(Unprepared(Builder::new().tls_provider(tls).build_https()));
    let mut config = SdkConfig::builder()
        .behavior_version(aws_sdk_dynamodb::config::BehaviorVersion::latest())
        .region(Region::new(region))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(http);
    if let Some(endpoint) = variable("AWS_ENDPOINT_URL") {
        config = config.endpoint_url(endpoint);
    }
    Ok(config.build())
}

/// A client that reads the system's authorities when it first connects. Left to itself it reads them at its making, once
/// for each of the SDK's clients, which took a third of a function's start.
#[derive(Debug)]
struct Unprepared(SharedHttpClient);

impl HttpClient for Unprepared {
    fn http_connector(&self, settings: &HttpConnectorSettings, parts: &RuntimeComponents) -> SharedHttpConnector {
        self.0.http_connector(settings, parts)
    }
}

/// The client of the bucket. The emulator of the local stack has no host name per bucket, so buckets are named in the
/// path wherever an endpoint is given.
pub(crate) fn s3(config: &SdkConfig) -> aws_sdk_s3::Client {
    let settings = aws_sdk_s3::config::Builder::from(config)
        .force_path_style(config.endpoint_url().is_some())
        // The connection is secured; a second sum over every message would cost as much as reading it.
        .request_checksum_calculation(aws_sdk_s3::config::RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(aws_sdk_s3::config::ResponseChecksumValidation::WhenRequired);
    aws_sdk_s3::Client::from_conf(settings.build())
}
