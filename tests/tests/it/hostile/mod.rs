//! Servers that break their protocol, or use what of it is rare: each time a cause, and never a panic.

mod imap;
mod pop3;
mod smtp;

use end_to_end::{
    scripted::{Script, Scripted, authorities},
    stack::Account,
    world::{Outbound, World, incoming_at, outgoing_at, trusting},
};
use mailrail_domain::{
    email::{
        quarantine::QuarantineReason,
        record::{EmailStatus, RecipientStatus},
    },
    rules::classification::{Permanence, classify},
    settings::profile::{Authentication, EmailServerProfile, IncomingProtocol},
    words::{
        cause::{Cause, CredentialSource},
        delivery::Delivery,
        evidence::{Evidence, Stage},
        id::{EmailId, MailboxId},
        notice::NoticeStatus,
    },
};

/// More than any line that is read.
const ENDLESS: usize = 17 * 1024 * 1024;
const OUTGOING: Delivery = Delivery::OutgoingEmail;

/// An account that no real server has.
fn account() -> Account {
    let maildir = std::path::PathBuf::new();
    Account { address: "user@example.test".to_owned(), password: "secret".to_owned(), maildir }
}

/// What a run at a scripted server came to.
struct Met {
    world: World,
    mailbox: MailboxId,
    delivery: Delivery,
    server: Scripted,
    /// The email that was to be sent.
    email: Option<EmailId>,
}

impl Met {
    async fn run(server: Scripted, profile: EmailServerProfile) -> Self {
        let world = World::with_tls(trusting(authorities()));
        let profile = EmailServerProfile { connection_timeout_seconds: 5, ..profile };
        let mailbox = world.mailbox(&account(), &profile).await;
        let (delivery, email) = match profile.endpoint(OUTGOING) {
            None => (Delivery::IncomingEmail, None),
            Some(_) => {
                let outbound = Outbound { to: &["to@example.test"], ..Outbound::default() };
                (OUTGOING, Some(world.pend(&mailbox, &outbound).await))
            }
        };
        world.run(&mailbox, delivery).await;
        assert_eq!(server.connections(), 1);
        Self { world, mailbox, delivery, server, email }
    }

    async fn imap(script: Script) -> Self {
        Self::receiving(IncomingProtocol::Imap, Scripted::start(script).await).await
    }

    async fn pop3(script: Script) -> Self {
        Self::receiving(IncomingProtocol::Pop3, Scripted::start(script).await).await
    }

    async fn smtp(script: Script) -> Self {
        Self::sending(Scripted::start(script).await).await
    }

    async fn receiving(protocol: IncomingProtocol, server: Scripted) -> Self {
        let profile = incoming_at(protocol, server.location(), &account());
        Self::run(server, profile).await
    }

    async fn sending(server: Scripted) -> Self {
        let profile = outgoing_at(server.location(), &account());
        Self::run(server, profile).await
    }

    /// The run failed with this cause, and the mailbox is disabled if, and only if, that is permanent.
    async fn check_failed(self, cause: Cause) -> Evidence {
        self.server.check_as_scripted();
        let alerts = self.world.alerts(&self.mailbox).await;
        assert_eq!(alerts.iter().map(|alert| alert.cause).collect::<Vec<_>>(), [Some(cause)], "{alerts:#?}");
        let is_permanent = classify(cause, CredentialSource::Mailbox).permanence == Permanence::Permanent;
        let state = self.world.state(&self.mailbox, self.delivery).await;
        assert_eq!((state.enabled, state.transient_failure_count), (!is_permanent, u32::from(!is_permanent)));
        assert_eq!(self.world.notices(NoticeStatus::Pending).await.len(), usize::from(is_permanent));
        if let Some(email) = &self.email {
            assert_eq!(self.world.email(email).await.status, EmailStatus::PendingSend);
        }
        alerts.into_iter().next().and_then(|alert| alert.evidence).expect("what was seen")
    }

    /// The run went well and left these records.
    async fn check_received(self, subjects: &[&str]) -> Self {
        self.server.check_as_scripted();
        let state = self.world.state(&self.mailbox, self.delivery).await;
        let seen = self.world.evidence(&self.mailbox).await;
        assert!(state.enabled && state.transient_failure_count == 0 && state.last_success.is_some(), "{seen:?}");
        assert_eq!(self.world.subjects(&self.mailbox).await, subjects);
        self
    }

    /// One message is in quarantine, because the server did not hand it out.
    async fn check_not_handed_out(&self, words: &str) {
        let quarantined = self.world.quarantined(&self.mailbox).await;
        assert_eq!(quarantined.len(), 1);
        assert_eq!(quarantined[0].reason, QuarantineReason::NotHandedOut);
        assert!(quarantined[0].detail.contains(words), "{}", quarantined[0].detail);
    }
}

fn message(number: u32) -> String {
    format!(
        "From: Sender <sender@sender.test>\r\nSubject: Message {number}\r\nDate: Wed, 17 Jul 2024 02:44:25 +0000\r\n\
         Message-ID: <{number}@sender.test>\r\n\r\nText of {number}.\r\n"
    )
}
