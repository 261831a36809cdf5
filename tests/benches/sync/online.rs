//! Exchange Online: the first synchronization of a mailbox and idle checks after it, with the tenant's test server in the
//! same process, so that only requests and time are of account.

use std::{error::Error, time::Instant};

use end_to_end::{letter::Letter, online::Online};
use mailrail_domain::delivery::Delivery;
use serde_json::{Value, json};

/// The mailbox.
const NAME: &str = "ada";
/// Idle checks after the first synchronization.
const IDLE_CHECKS: u32 = 5;

/// Does both, and says what they took.
pub fn measure(messages: usize) -> Result<Value, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(measured(messages)))
}

async fn measured(messages: usize) -> Value {
    let online = Online::new().await;
    let mailbox = online.mailbox(NAME).await;
    for n in 0..messages {
        online.deliver(
            NAME,
            &Letter::new(&n.to_string()).body("A line of some length, as people write them.\r\n".repeat(200)),
        );
    }
    let began = Instant::now();
    // In several runs, as the queue brings them.
    while online.world.emails(&mailbox).await.len() < messages {
        online.world.run(&mailbox, Delivery::IncomingEmail).await;
    }
    let first = (began.elapsed().as_secs_f64(), online.requests(NAME));
    let began = Instant::now();
    for _ in 0..IDLE_CHECKS {
        online.receive(&mailbox).await;
    }
    let idle = (began.elapsed().as_secs_f64(), online.requests(NAME) - first.1);
    let sign_ins = online.server.tenant().sign_ins;
    json!({
        "messages": messages,
        "first": { "seconds": first.0, "requests": first.1 },
        "idle": { "checks": IDLE_CHECKS, "seconds": idle.0, "requests": idle.1 },
        "sign_ins": sign_ins,
    })
}
