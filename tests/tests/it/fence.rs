//! The fence of a batch: a panic, or a server that never answers, costs no other job, whether jobs synchronize or test.

use std::time::{Duration, Instant};

use end_to_end::world::now;
use mailrail_domain::{
    settings::profile::{IncomingProtocol, Security},
    words::{
        delivery::{Delivery, SynchronizationMethod},
        id::MailboxId,
        trial::TestPhase,
    },
};
use mailrail_engine::{
    Deadline, Engine, Settings,
    access::mailbox_owner,
    batch::Handled,
    limits::{DEADLINE_MARGIN, GIVE_UP_MARGIN},
    ports::{Directory, Job, MailboxStore, Secret, StoredMailbox, StoredProfile, TestStore, Vault, Wake},
    trial::Asked,
};
use mailrail_test_support::{
    build,
    fakes::{Affliction, MemoryPorts, MemoryServers},
};

const INCOMING: Delivery = Delivery::IncomingEmail;
/// What is left of the invocation: just enough for jobs to be begun.
const LEFT: Duration = DEADLINE_MARGIN.saturating_add(Duration::from_millis(500));

/// An engine with mailboxes of these names under one profile.
async fn engine(names: &[&str]) -> Engine<MemoryPorts<MemoryServers>> {
    let engine = Engine::new(MemoryPorts::new(MemoryServers::default()), Settings::default(), now);
    let incoming = Some((IncomingProtocol::Imap, build::location("mail.example.test", 993, Security::Tls)));
    let profile = build::profile("fenced", incoming, None);
    let stored = StoredProfile { profile: profile.clone(), credentials: None, revision: 0 };
    engine.ports.state.put_profile(&stored, &build::audit()).await.expect("a store that works");
    for name in names {
        let mut mailbox = build::mailbox(name, &format!("{name}@example.test"), &profile);
        mailbox.outgoing_email = SynchronizationMethod::None;
        let owner = mailbox_owner(&mailbox.id);
        let sealed = engine.ports.vault.seal(&owner, &owner, &Secret::new("secret")).await;
        let credentials = Some(sealed.expect("a vault that works"));
        let id = mailbox.id.clone();
        let stored = StoredMailbox { mailbox, credentials, revision: 0 };
        engine.ports.state.create_mailbox(&stored, &build::audit()).await.expect("a store that works");
        engine.ports.state.enable(&id, INCOMING, 5, &build::audit_at(now())).await.expect("a store that works");
    }
    engine.ports.servers.afflict("panics@example.test", Affliction::Panic);
    engine.ports.servers.afflict("is-silent@example.test", Affliction::Silence);
    engine
}

const NAMES: [&str; 4] = ["works", "panics", "is-silent", "works-too"];

fn ids() -> Vec<MailboxId> {
    NAMES.into_iter().map(build::mailbox_id).collect()
}

/// Does the jobs, and checks that those of the two good mailboxes are done and the others come again, in time.
async fn check_fenced(engine: &Engine<MemoryPorts<MemoryServers>>, jobs: &[Job]) {
    let began = Instant::now();
    let handled = engine.run_batch(jobs, Deadline::after(LEFT)).await;
    assert!(began.elapsed() < LEFT - GIVE_UP_MARGIN + Duration::from_secs(1), "given up in time");
    let done: Vec<bool> = handled.iter().map(|handled| matches!(handled, Handled::Done(_))).collect();
    assert_eq!(done, [true, false, false, true], "{handled:?}");
    for id in ids() {
        let row = engine.ports.state.load(&id, INCOMING).await.expect("a store that works").expect("a delivery");
        assert_eq!((row.state.enabled, row.state.transient_failure_count), (true, 0), "{id}: it counts against nobody");
    }
}

#[tokio::test]
async fn a_panic_or_a_silent_server_costs_no_other_synchronization() {
    let engine = engine(&NAMES).await;
    let jobs: Vec<Job> = ids().into_iter().map(|mailbox| Wake { mailbox, delivery: INCOMING }.into()).collect();
    check_fenced(&engine, &jobs).await;
}

#[tokio::test]
async fn a_panic_or_a_silent_server_costs_no_other_test() {
    let engine = engine(&NAMES).await;
    let asked = Asked { by: "ann".to_owned(), items_with_this_organization_only: false };
    for id in ids() {
        assert!(engine.request_test(&id, &asked, &build::audit_at(now())).await.expect("no outage"));
    }
    let jobs: Vec<Job> = ids().into_iter().map(Job::Trial).collect();
    check_fenced(&engine, &jobs).await;
    for (id, phase) in
        ids().iter().zip([TestPhase::Finished, TestPhase::Running, TestPhase::Running, TestPhase::Finished])
    {
        let test = engine.ports.state.test(id).await.expect("a store that works").expect("a test");
        assert_eq!(test.phase, phase, "{id}");
    }
}

#[tokio::test]
async fn no_job_is_begun_within_the_margin_of_the_deadline() {
    let engine = engine(&["works"]).await;
    let id = build::mailbox_id("works");
    let jobs = [Job::Wake(Wake { mailbox: id.clone(), delivery: INCOMING }), Job::Trial(id)];
    let handled = engine.run_batch(&jobs, Deadline::after(DEADLINE_MARGIN - Duration::from_millis(10))).await;
    assert!(matches!(handled[..], [Handled::Again, Handled::Again]), "{handled:?}");
    assert_eq!(engine.ports.servers.connections(), 0);
}
