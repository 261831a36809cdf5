//! An account of the emulator of AWS for one test, and the table of the deployment's template in it.

use std::time::Duration;

use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_sdk_dynamodb::{
    Client,
    config::{
        BehaviorVersion,
        retry::{RetryConfig, RetryPartition, TokenBucket},
    },
    types::{
        AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, Projection, TimeToLiveSpecification,
    },
};
use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
    },
    orchestrator::HttpRequest,
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use aws_types::{SdkConfig, region::Region};
use yaml_rust2::{Yaml, YamlLoader};

use crate::conformance::emulator::{emulator, fresh_account};

/// The description of the table that is deployed.
const TEMPLATE: &str = include_str!("../../../infra/template.yaml");

/// Name of the table.
pub const TABLE: &str = "mailrail";

/// Access to an account in which there is nothing yet, and its number.
#[must_use]
pub fn account() -> (SdkConfig, String) {
    let (emulator, account) = (emulator(), fresh_account());
    let credentials = Credentials::new(&account, "test", None, None, "test");
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(emulator.region))
        .endpoint_url(emulator.url)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        // Its own for each test: a connection ends with the test that opened it.
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    (config, account)
}

/// A client of an account that has the table and nothing else.
pub async fn client_of_fresh_table() -> Client {
    let (config, _) = account();
    let client = Client::new(&config);
    create_table(&client).await;
    client
}

/// The same, but the first answer to every request is lost after the table has carried it out. The client repeats each
/// request, as it does behind a bad network.
pub async fn client_that_loses_first_answers() -> Client {
    let (config, _) = account();
    create_table(&Client::new(&config)).await;
    let losing = LosesFirstAnswers(config.http_client().expect("a client of HTTP"));
    let retries = RetryConfig::standard().with_max_attempts(5).with_initial_backoff(Duration::from_millis(1));
    let config = aws_sdk_dynamodb::config::Builder::from(&config)
        .http_client(losing)
        .retry_config(retries)
        // Otherwise all clients share a budget of retries, which the tests would spend.
        .retry_partition(RetryPartition::custom("no limit").token_bucket(TokenBucket::unlimited()).build());
    Client::from_conf(config.build())
}

/// A client of HTTP that does every request and loses the answer to the first try of each.
#[derive(Debug)]
struct LosesFirstAnswers(SharedHttpClient);

/// A connection of it.
#[derive(Debug)]
struct LosingConnector(SharedHttpConnector);

impl HttpClient for LosesFirstAnswers {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(LosingConnector(self.0.http_connector(settings, components)))
    }
}

impl HttpConnector for LosingConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        // "attempt=1; max=5"
        let attempt = request.headers().get("amz-sdk-request").unwrap_or_default();
        let is_first = attempt.split(';').any(|part| part.trim() == "attempt=1");
        let answer = self.0.call(request);
        HttpConnectorFuture::new(async move {
            let answer = answer.await?;
            if is_first { Err(ConnectorError::io("the answer was lost".into())) } else { Ok(answer) }
        })
    }
}

async fn create_table(client: &Client) {
    let template = YamlLoader::load_from_str(TEMPLATE).unwrap().remove(0);
    let table = &template["Resources"]["Table"]["Properties"];
    client
        .create_table()
        .table_name(TABLE)
        .billing_mode(BillingMode::from(text(&table["BillingMode"])))
        .set_attribute_definitions(Some(list(&table["AttributeDefinitions"], attribute)))
        .set_key_schema(Some(list(&table["KeySchema"], key)))
        .set_global_secondary_indexes(Some(list(&table["GlobalSecondaryIndexes"], index)))
        .send()
        .await
        .unwrap();
    let expiry = &table["TimeToLiveSpecification"];
    let expiry = TimeToLiveSpecification::builder()
        .attribute_name(text(&expiry["AttributeName"]))
        .enabled(expiry["Enabled"].as_bool().unwrap());
    client
        .update_time_to_live()
        .table_name(TABLE)
        .time_to_live_specification(expiry.build().unwrap())
        .send()
        .await
        .unwrap();
}

fn text(value: &Yaml) -> &str {
    value.as_str().expect("a text in the template")
}

fn list<T>(value: &Yaml, read: impl Fn(&Yaml) -> T) -> Vec<T> {
    value.as_vec().expect("a list in the template").iter().map(read).collect()
}

fn attribute(value: &Yaml) -> AttributeDefinition {
    let attribute = AttributeDefinition::builder().attribute_name(text(&value["AttributeName"]));
    attribute.attribute_type(text(&value["AttributeType"]).into()).build().unwrap()
}

fn key(value: &Yaml) -> KeySchemaElement {
    let key = KeySchemaElement::builder().attribute_name(text(&value["AttributeName"]));
    key.key_type(text(&value["KeyType"]).into()).build().unwrap()
}

fn index(value: &Yaml) -> GlobalSecondaryIndex {
    let projection = Projection::builder().projection_type(text(&value["Projection"]["ProjectionType"]).into());
    GlobalSecondaryIndex::builder()
        .index_name(text(&value["IndexName"]))
        .set_key_schema(Some(list(&value["KeySchema"], key)))
        .projection(projection.build())
        .build()
        .unwrap()
}
