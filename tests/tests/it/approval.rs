//! Approval of addresses: who is let through to the server, and what is said of who is not.

use end_to_end::{
    letter::Letter,
    stack::{Account, Server},
    world::{World, incoming, now},
};
use mailrail_domain::{
    settings::{
        approval::{Approval, Decision, Verdict},
        mailbox::{Mailbox, MailboxKind},
        organization::Organization,
        profile::EmailServerProfile,
    },
    words::{
        alert::AlertKind,
        cause::Cause,
        delivery::{Delivery, SynchronizationMethod},
        id::MailboxId,
        notice::NoticeStatus,
    },
};
use mailrail_engine::ports::{Directory, StoredOrganization, Written};
use mailrail_test_support::build;

const INCOMING: Delivery = Delivery::IncomingEmail;

/// A mailbox with one message, whose approval is as `set` leaves it.
async fn waiting(world: &World, set: impl FnOnce(&mut Mailbox, &mut EmailServerProfile)) -> MailboxId {
    let account: Account = Server::Imaps.account();
    account.deliver(&Letter::new("waiting"));
    let mut profile = incoming(Server::Imaps, &account);
    let mut mailbox = build::mailbox(&account.address.replace(['@', '.'], "-"), &account.address, &profile);
    set(&mut mailbox, &mut profile);
    let id = world.add(&mailbox, &profile, &account.password).await;
    world.run(&id, INCOMING).await;
    id
}

async fn switch(world: &World, users: bool, queues: bool) {
    let organization = Organization {
        process_emails_only_for_approved_users: users,
        process_emails_only_for_approved_queues: queues,
        ..Organization::default()
    };
    let stored = StoredOrganization { organization, revision: 0 };
    let written = world.engine.ports.state.put_organization(&stored, &build::audit()).await;
    assert_eq!(written.expect("a store that works"), Written::Done);
}

async fn check_disabled(world: &World, mailbox: &MailboxId, kind: AlertKind, cause: Cause, words: &str) {
    assert_eq!(world.emails(mailbox).await.len(), 0);
    let state = world.state(mailbox, INCOMING).await;
    assert_eq!((state.enabled, state.transient_failure_count), (false, 0));
    let alerts = world.alerts(mailbox).await;
    assert_eq!(alerts.iter().map(|alert| (alert.kind, alert.cause)).collect::<Vec<_>>(), [(kind, Some(cause))]);
    assert!(alerts[0].text.contains(words), "{}", alerts[0].text);
    let notices = world.notices(NoticeStatus::Pending).await;
    assert_eq!(
        notices.iter().filter(|notice| notice.mailbox_id.as_ref() == Some(mailbox)).count(),
        1,
        "the owner is told"
    );
}

fn decision() -> Decision {
    Decision { by: "ann".to_owned(), at: now() }
}

#[tokio::test]
async fn an_address_that_waits_for_approval_is_not_looked_into() {
    let world = World::new();
    let mailbox = waiting(&world, |mailbox, _| mailbox.approval = Approval::undecided(true)).await;
    check_disabled(&world, &mailbox, AlertKind::AddressNotApproved, Cause::AddressNotApproved, "is not approved").await;
}

#[tokio::test]
async fn each_switch_lets_its_own_kind_of_mailbox_through_unapproved() {
    for (users, queues, kind) in [(false, true, MailboxKind::User), (true, false, MailboxKind::Queue)] {
        let world = World::new();
        switch(&world, users, queues).await;
        let mailbox = waiting(&world, |mailbox, _| {
            mailbox.kind = kind;
            mailbox.approval = Approval::undecided(true);
        })
        .await;
        assert_eq!(world.emails(&mailbox).await.len(), 1, "{kind:?}");
        let other = if kind == MailboxKind::User { MailboxKind::Queue } else { MailboxKind::User };
        let refused = waiting(&world, |mailbox, _| {
            mailbox.kind = other;
            mailbox.approval = Approval::undecided(true);
        })
        .await;
        let cause = Cause::AddressNotApproved;
        check_disabled(&world, &refused, AlertKind::AddressNotApproved, cause, "is not approved").await;
    }
}

#[tokio::test]
async fn a_rejected_address_is_refused_with_both_switches_off() {
    let world = World::new();
    switch(&world, false, false).await;
    let reject = |mailbox: &mut Mailbox, _: &mut EmailServerProfile| {
        mailbox.approval = Approval::undecided(true).decided(Verdict::Reject, decision());
    };
    let mailbox = waiting(&world, reject).await;
    check_disabled(&world, &mailbox, AlertKind::AddressNotApproved, Cause::AddressNotApproved, "is not approved").await;
}

#[tokio::test]
async fn a_mailbox_on_exchange_online_needs_the_tenants_administrator_whatever_the_switches_say() {
    let world = World::new();
    switch(&world, false, false).await;
    let mailbox = waiting(&world, |mailbox, profile| {
        profile.servers = end_to_end::online::profile().servers;
        mailbox.approval = Approval::undecided(true).decided(Verdict::Approve, decision());
        mailbox.outgoing_email = SynchronizationMethod::None;
    })
    .await;
    let (kind, cause) = (AlertKind::TenantApprovalRequired, Cause::TenantApprovalMissing);
    check_disabled(&world, &mailbox, kind, cause, "requires an approval by the tenant's administrator").await;
}
