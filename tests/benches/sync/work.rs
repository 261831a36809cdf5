//! Mailrail itself: one process, as a function is one, that works off rounds of its schedule.

use std::{
    error::Error,
    fs,
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, Instant},
};

use end_to_end::world::trusting;
use mailrail_boot::{Configuration, engine_of};
use mailrail_connect::{Connector, InternalHosts};
use mailrail_domain::{
    Timestamp,
    rules::run::end::GO_ON_SECONDS,
    settings::profile::{IncomingProtocol, Security},
    words::{delivery::Delivery, id::MailboxId},
};
use mailrail_engine::{
    Deadline, Engine, Settings,
    access::mailbox_owner,
    batch::Handled,
    ports::{
        Directory, EmailRecords, JobQueue, MailboxStore, PageRequest, Ports, Secret, StoredMailbox, StoredProfile,
        Vault,
    },
};
use mailrail_internet_mail::InternetMail;
use mailrail_test_support::{build, fakes::MemoryPorts};
use rustix::time::{ClockId, clock_gettime};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use serde_json::{Value, json};

/// The longest that a function may run.
const INVOCATION: Duration = Duration::from_secs(900);
/// Entries of a list that are read at once.
const LIST_PAGE: usize = 100;

/// The clock, which is turned by hand: how long a round takes must not change which mailboxes are due in the next.
static PASSED_SECONDS: AtomicI64 = AtomicI64::new(0);

fn now() -> Timestamp {
    build::moment(PASSED_SECONDS.load(Ordering::Relaxed))
}

/// Which mailboxes there are, and where.
pub(crate) struct Mailboxes {
    pub protocol: IncomingProtocol,
    pub port: u16,
    /// Addresses with their passwords.
    pub accounts: Vec<(String, String)>,
}

/// Where records, state and queue are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stores {
    /// In the fakes of the ports.
    Memory,
    /// In AWS, as the environment names it.
    Aws,
}

/// Does what `commands` say, line by line, and answers each with a line of JSON.
pub(crate) fn work(
    stores: Stores,
    mailboxes: &Mailboxes,
    commands: impl Iterator<Item = String>,
) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match stores {
        Stores::Memory => {
            let authority = CertificateDer::from_pem_slice(std::env::var("EXTRA_CA_PEM")?.as_bytes())?;
            let servers = InternetMail::new(Connector::new(trusting([authority]), InternalHosts::Allow));
            let engine = Engine::new(MemoryPorts::new(servers), Settings::default(), now);
            // A delay of the queue in memory passes when it is told to.
            let go_on = || engine.ports.queue.pass(GO_ON_SECONDS);
            runtime.block_on(obey(&engine, mailboxes, commands, go_on))
        }
        Stores::Aws => {
            let engine = Engine { clock: now, ..engine_of(&Configuration::from_environment()?)? };
            runtime.block_on(obey(&engine, mailboxes, commands, || ()))
        }
    }
}

async fn obey<P: Ports>(
    engine: &Engine<P>,
    mailboxes: &Mailboxes,
    commands: impl Iterator<Item = String>,
    go_on: impl Fn(),
) -> Result<(), Box<dyn Error>> {
    let ids = set_up(engine, mailboxes).await?;
    println!("{}", json!({ "mailboxes": ids.len() }));
    for command in commands {
        let answer = match command.as_str() {
            "enqueue" => enqueue(engine).await?,
            "run" => run(engine, &go_on).await?,
            "check" => check(engine, &ids).await?,
            other => return Err(format!("no such command: {other}").into()),
        };
        println!("{answer}");
    }
    Ok(())
}

async fn set_up<P: Ports>(engine: &Engine<P>, mailboxes: &Mailboxes) -> Result<Vec<MailboxId>, Box<dyn Error>> {
    let location = build::location("localhost", mailboxes.port, Security::Tls);
    let profile = build::profile("bench", Some((mailboxes.protocol, location)), None);
    let stored = StoredProfile { profile: profile.clone(), credentials: None, revision: 0 };
    engine.ports.mailboxes().put_profile(&stored, &build::audit()).await?;
    let mut ids = Vec::new();
    for (address, password) in &mailboxes.accounts {
        let mailbox = build::mailbox(&address.replace(['@', '.'], "-"), address, &profile);
        let owner = mailbox_owner(&mailbox.id);
        let sealed = engine.ports.vault().seal(&owner, profile.id.as_str(), &Secret::new(password)).await?;
        let id = mailbox.id.clone();
        let stored = StoredMailbox { mailbox, credentials: Some(sealed), revision: 0 };
        let directory = engine.ports.mailboxes();
        directory.create_mailbox(&stored, &build::audit()).await?;
        let interval = engine.settings.polling_interval_minutes;
        directory.enable(&id, Delivery::IncomingEmail, interval, &build::audit()).await?;
        ids.push(id);
    }
    Ok(ids)
}

/// A round of the schedule: every minute of a polling interval passes, each with its tick.
async fn enqueue<P: Ports>(engine: &Engine<P>) -> Result<Value, Box<dyn Error>> {
    let (started, processor) = (Instant::now(), processor_time());
    let (mut wakes, ticks) = (0, engine.settings.polling_interval_minutes);
    for _ in 0..ticks {
        PASSED_SECONDS.fetch_add(60, Ordering::Relaxed);
        wakes += engine.enqueue_due(Deadline::after(INVOCATION)).await?.wakes;
    }
    Ok(json!({
        "ticks": ticks,
        "wakes": wakes,
        "wall": started.elapsed().as_secs_f64(),
        "processor": (processor_time() - processor).as_secs_f64(),
    }))
}

/// Works off the queue as the mapping of the function would have it, batch by batch.
async fn run<P: Ports>(engine: &Engine<P>, go_on: impl Fn()) -> Result<Value, Box<dyn Error>> {
    let (started, processor) = (Instant::now(), processor_time());
    let (mut ended, mut spent) = (started, processor);
    let (mut runs, mut again) = (0, 0);
    loop {
        let mut received = engine.ports.queue().receive(Delivery::IncomingEmail.into()).await?;
        if received.is_empty() {
            // A run that goes on in the next one is put back for so long.
            tokio::time::sleep(Duration::from_secs(GO_ON_SECONDS.into())).await;
            go_on();
            received = engine.ports.queue().receive(Delivery::IncomingEmail.into()).await?;
        }
        if received.is_empty() {
            break;
        }
        let batch = received.iter().map(|message| message.job.clone()).collect::<Result<Vec<_>, _>>()?;
        let handled = engine.run_batch(&batch, Deadline::after(INVOCATION)).await;
        again += handled.iter().filter(|handled| matches!(handled, Handled::Again)).count();
        runs += handled.len();
        let receipts: Vec<String> = received.into_iter().map(|message| message.receipt).collect();
        engine.ports.queue().delete(Delivery::IncomingEmail.into(), &receipts).await?;
        // Not the last look at the queue, which waits for what might still come.
        (ended, spent) = (Instant::now(), processor_time());
    }
    Ok(json!({
        "runs": runs,
        "again": again,
        "wall": (ended - started).as_secs_f64(),
        "processor": (spent - processor).as_secs_f64(),
        "peak_kilobytes": peak_kilobytes(),
    }))
}

/// Whether every mailbox has been received without failure, and how many records there are.
async fn check<P: Ports>(engine: &Engine<P>, ids: &[MailboxId]) -> Result<Value, Box<dyn Error>> {
    let (mut records, mut failed) = (0, Vec::new());
    for id in ids {
        let row = engine.ports.mailboxes().load(id, Delivery::IncomingEmail).await?;
        let row = row.ok_or("a mailbox is gone")?;
        if row.state.last_success.is_none() || row.state.transient_failure_count > 0 || !row.state.enabled {
            failed.push(id.to_string());
        }
        let mut page = PageRequest { limit: LIST_PAGE, cursor: None };
        loop {
            let listed = engine.ports.records().emails(id, &page).await?;
            records += listed.items.len();
            page.cursor = listed.cursor;
            if page.cursor.is_none() {
                break;
            }
        }
    }
    Ok(json!({ "records": records, "failed": failed }))
}

/// What this process has computed, over all its threads.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let part = |number: i64| u64::try_from(number).unwrap_or(0);
    Duration::from_secs(part(time.tv_sec)) + Duration::from_nanos(part(time.tv_nsec))
}

/// The most memory that this process has had at once.
fn peak_kilobytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}
