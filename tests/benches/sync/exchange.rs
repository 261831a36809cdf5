//! Exchange, online and on premises: the first synchronization of a mailbox and idle checks after it, with the test server in
//! the same process, so that only requests and time are of account.

use std::{error::Error, time::Instant};

use end_to_end::{letter::Letter, on_premises::OnPremises, online::Online, world::World};
use mailrail_domain::words::{delivery::Delivery, id::MailboxId};
use serde_json::{Value, json};

/// The mailbox.
const NAME: &str = "ada";
/// Idle checks after the first synchronization.
const IDLE_CHECKS: u32 = 5;

/// Does both with Exchange Online and with Exchange Server, and says what they took.
pub(crate) fn measure(messages: usize) -> Result<Value, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(async { json!({ "online": online(messages).await, "server": server(messages).await }) }))
}

fn letters(messages: usize) -> impl Iterator<Item = Letter> {
    let body = "A line of some length, as people write them.\r\n".repeat(200);
    (0..messages).map(move |n| Letter::new(&n.to_string()).body(body.clone()))
}

async fn online(messages: usize) -> Value {
    let online = Online::new().await;
    let mailbox = online.mailbox(NAME).await;
    for letter in letters(messages) {
        online.deliver(NAME, &letter);
    }
    let mut measured = synchronize(&online.world, &mailbox, messages, || online.requests(NAME)).await;
    measured["sign_ins"] = json!(online.server.tenant().sign_ins);
    measured
}

async fn server(messages: usize) -> Value {
    let there = OnPremises::new().await;
    let mailbox = there.mailbox(NAME).await;
    for letter in letters(messages) {
        there.deliver(NAME, &letter);
    }
    synchronize(&there.world, &mailbox, messages, || there.requests()).await
}

async fn synchronize(world: &World, mailbox: &MailboxId, messages: usize, requests: impl Fn() -> usize) -> Value {
    let began = Instant::now();
    // In several runs, as the queue brings them.
    while world.emails(mailbox).await.len() < messages {
        world.run(mailbox, Delivery::IncomingEmail).await;
    }
    let first = (began.elapsed().as_secs_f64(), requests());
    let began = Instant::now();
    for _ in 0..IDLE_CHECKS {
        world.receive(mailbox).await;
    }
    let idle = (began.elapsed().as_secs_f64(), requests() - first.1);
    json!({
        "first": { "seconds": first.0, "requests": first.1 },
        "idle": { "checks": IDLE_CHECKS, "seconds": idle.0, "requests": idle.1 },
    })
}
