//! What every function does before its handler: configuration, telemetry, clients, and the choice of servers.

mod clients;
mod configuration;
mod event;
mod servers;
mod tls;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
pub use configuration::{Configuration, Deployment};
pub use event::{BatchResponse, answer};
use mailrail_connect::Connector;
use mailrail_domain::Timestamp;
pub use mailrail_engine::ports::QueueName;
use mailrail_engine::{Deadline, Engine, ports::Ports};
use mailrail_queue::Queue;
use mailrail_records_dynamodb::DynamoRecords;
use mailrail_store::{Bodies, KmsVault, Store};
use mailrail_table::Table;
pub use servers::{IncomingMail, OutgoingMail, Servers};
pub use tls::is_client_certificate;
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// Longest time that Lambda lets a function run.
const INVOCATION_MAX: Duration = Duration::from_secs(900);

/// Everything outside, for real.
#[derive(Debug)]
pub struct Outside {
    store: Store,
    records: DynamoRecords,
    bodies: Bodies,
    vault: KmsVault,
    queue: Queue,
    servers: Servers,
}

impl Ports for Outside {
    type Mailboxes = Store;
    type Records = DynamoRecords;
    type Bodies = Bodies;
    type Vault = KmsVault;
    type Queue = Queue;
    type Incoming = Servers;
    type Finder = Servers;
    type Outgoing = Servers;

    fn mailboxes(&self) -> &Store {
        &self.store
    }
    fn records(&self) -> &DynamoRecords {
        &self.records
    }
    fn bodies(&self) -> &Bodies {
        &self.bodies
    }
    fn vault(&self) -> &KmsVault {
        &self.vault
    }
    fn queue(&self) -> &Queue {
        &self.queue
    }
    fn incoming(&self) -> &Servers {
        &self.servers
    }
    fn finder(&self) -> &Servers {
        &self.servers
    }
    fn outgoing(&self) -> &Servers {
        &self.servers
    }
}

/// The use cases of a function: configuration from the environment, logging as JSON lines, clients for its services.
pub fn engine() -> Result<(Engine<Outside>, Configuration)> {
    telemetry();
    let configuration = Configuration::from_environment()?;
    let engine = engine_of(&configuration)?;
    Ok((engine, configuration))
}

/// The use cases under a configuration, with clients as the environment names them.
pub fn engine_of(configuration: &Configuration) -> Result<Engine<Outside>> {
    let aws = clients::config()?;
    let connector = Connector::new(tls::client(&configuration.extra_ca_pem)?, configuration.internal_hosts);
    let table = Table::new(aws_sdk_dynamodb::Client::new(&aws), configuration.table_name.clone());
    let outside = Outside {
        store: Store::new(table.clone()),
        records: DynamoRecords::new(table),
        bodies: Bodies::new(clients::s3(&aws), configuration.bucket_name.clone()),
        vault: KmsVault::new(aws_sdk_kms::Client::new(&aws), configuration.kms_key_id.clone()),
        queue: Queue::new(aws_sdk_sqs::Client::new(&aws), configuration.queues.clone()),
        servers: Servers::new(connector, configuration.exchange_online.clone(), now)?,
    };
    Ok(Engine::new(outside, configuration.settings, now))
}

/// The deadline of an invocation.
#[must_use]
pub fn deadline(context: &lambda_runtime::Context) -> Deadline {
    Deadline::after(left(context, system_time()))
}

/// What is left of an invocation. Lambda names a moment; `cargo lambda watch` names a time to run, from 1970 on.
fn left(context: &lambda_runtime::Context, now: SystemTime) -> Duration {
    let since_1970 = context.deadline().duration_since(UNIX_EPOCH).unwrap_or_default();
    if since_1970 <= INVOCATION_MAX {
        return since_1970;
    }
    context.deadline().duration_since(now).unwrap_or_default()
}

/// The clock of the functions: the one place where time is read.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "every other place is given the time")]
pub fn now() -> Timestamp {
    chrono::Utc::now()
}

#[expect(clippy::disallowed_methods, reason = "Lambda names its deadline by this clock")]
fn system_time() -> SystemTime {
    SystemTime::now()
}

/// Log lines as JSON on standard output, at the levels of `RUST_LOG` (default: info, the AWS SDK's from warn on). Levels
/// by target are all that it takes: filters by span and field would bring in regular expressions, a tenth of a function.
fn telemetry() {
    let given = std::env::var("RUST_LOG").ok().and_then(|levels| levels.parse::<Targets>().ok());
    let levels = given.unwrap_or_else(|| {
        Targets::new()
            .with_default(LevelFilter::INFO)
            .with_targets([("aws", LevelFilter::WARN), ("hyper", LevelFilter::WARN)])
    });
    let lines = tracing_subscriber::fmt::layer().json().with_current_span(false).without_time();
    // A second function in one process, as in a test, keeps the first one's subscriber.
    let _ = tracing_subscriber::registry().with(lines).with(levels).try_init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invocation_has_what_is_left_until_its_deadline() {
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        for (deadline, seconds) in [(1_800_000_120_000, 120), (1_799_999_999_000, 0), (600_000, 600)] {
            let mut context = lambda_runtime::Context::default();
            context.deadline = deadline;
            assert_eq!(left(&context, now), Duration::from_secs(seconds), "{deadline}");
        }
    }
}
