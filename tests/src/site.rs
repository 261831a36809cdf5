//! A mail server of whichever kind with the organization that reads from it, for scenarios that all of them pass alike.

use mailrail_domain::{Timestamp, settings::profile::EmailServerProfile, words::id::MailboxId};
use mailrail_test_support::build;

use crate::{
    letter::{Letter, with_crlf, with_lf},
    on_premises::{self, OnPremises},
    online::{self, Online},
    stack::{Account, Server, eventually},
    world::{World, incoming},
};

/// The kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// IMAP or POP3, in one of its ways.
    Internet(Server),
    /// Exchange Online.
    ExchangeOnline,
    /// Exchange Server, whose mailboxes sign in for themselves.
    ExchangeServer,
    /// Exchange Server, with a service account that impersonates.
    Impersonated,
}

impl Kind {
    /// Whether it is GNU imap4d.
    #[must_use]
    pub fn is_old(self) -> bool {
        matches!(self, Self::Internet(server) if server.is_old())
    }
}

/// An organization and its mail server.
#[derive(Debug)]
pub enum Site {
    /// With IMAP or POP3.
    Internet(Server, Box<World>),
    /// With Exchange Online.
    Online(Box<Online>),
    /// With Exchange Server.
    Premises(Box<OnPremises>),
}

/// Somebody's account on the server.
#[derive(Debug, Clone)]
pub struct Person {
    /// The address.
    pub address: String,
    password: String,
    account: Option<Account>,
}

impl Site {
    /// An organization without mailboxes.
    pub async fn of(kind: Kind) -> Self {
        match kind {
            Kind::Internet(server) => Self::Internet(server, Box::default()),
            Kind::ExchangeOnline => Self::Online(Box::new(Online::new().await)),
            Kind::ExchangeServer => Self::Premises(Box::new(OnPremises::new().await)),
            Kind::Impersonated => Self::Premises(Box::new(OnPremises::with(on_premises::impersonating()).await)),
        }
    }

    /// The organization.
    #[must_use]
    pub fn world(&self) -> &World {
        match self {
            Self::Internet(_, world) => world,
            Self::Online(online) => &online.world,
            Self::Premises(there) => &there.world,
        }
    }

    /// Somebody who has an empty mailbox on the server.
    pub fn person(&self, name: &str) -> Person {
        let of = |address, password: &str| Person { address, password: password.to_owned(), account: None };
        match self {
            Self::Internet(server, _) => {
                let account = server.account();
                Person { account: Some(account.clone()), ..of(account.address, &account.password) }
            }
            Self::Online(online) => {
                online.server.tenant().mailbox(&online::address(name));
                of(online::address(name), "")
            }
            Self::Premises(there) => {
                there.account(name);
                of(on_premises::address(name), on_premises::PASSWORD)
            }
        }
    }

    /// A profile for a mailbox of somebody's.
    #[must_use]
    pub fn profile(&self, person: &Person) -> EmailServerProfile {
        match self {
            Self::Internet(server, _) => incoming(*server, person.account()),
            Self::Online(online) => online.profile.clone(),
            Self::Premises(there) => there.profile.clone(),
        }
    }

    /// A mailbox of somebody's under this profile, whose deliveries run.
    pub async fn mailbox(
        &self,
        person: &Person,
        profile: &EmailServerProfile,
        start_date: Option<Timestamp>,
    ) -> MailboxId {
        let mut mailbox = build::mailbox(&person.address.replace(['@', '.'], "-"), &person.address, profile);
        mailbox.process_emails_received_after = start_date;
        if matches!(self, Self::Online(_)) {
            mailbox.approval.tenant = Some(online::approved());
        }
        self.world().add(&mailbox, profile, &person.password).await
    }

    /// The same under the profile that such a mailbox has.
    pub async fn reader(&self, person: &Person) -> MailboxId {
        self.mailbox(person, &self.profile(person), None).await
    }

    /// Delivers a message, received when it was sent.
    pub fn deliver(&self, person: &Person, letter: &Letter) {
        self.deliver_raw(person, &letter.raw(), letter.at);
    }

    /// Delivers these very bytes, whose lines end in CRLF.
    pub fn deliver_raw(&self, person: &Person, raw: &[u8], at: Timestamp) {
        match self {
            Self::Internet(..) => drop(person.account().deliver_raw(&with_lf(raw), at)),
            Self::Online(online) => {
                let received = at.format("%Y-%m-%dT%H:%M:%SZ").to_string();
                online.server.tenant().mailbox(&person.address).deliver("inbox", raw, Some(received));
            }
            Self::Premises(there) => {
                there.server.exchange().mailbox(&person.address).deliver("inbox", raw, at);
            }
        }
    }

    /// The messages of the inbox once there are `count` of them, with lines that end in CRLF.
    pub async fn held(&self, person: &Person, count: usize) -> Vec<Vec<u8>> {
        let held: Vec<Vec<u8>> = match self {
            Self::Internet(..) => {
                // A session that is just ending may be moving messages from one folder to the other.
                let read = || {
                    let files = person.account().files();
                    let read: Option<Vec<_>> = files.iter().map(|file| std::fs::read(file).ok()).collect();
                    read.filter(|read| read.len() == count)
                };
                let read = eventually("the mail in the inbox", read).await;
                read.iter().map(|message| with_crlf(message)).collect()
            }
            Self::Online(online) => {
                let mut tenant = online.server.tenant();
                let messages = tenant.mailbox(&person.address).of_folder("inbox");
                messages.into_iter().map(|message| message.mime.clone()).collect()
            }
            Self::Premises(there) => {
                let mut exchange = there.server.exchange();
                let messages = exchange.mailbox(&person.address).of_folder("inbox");
                messages.into_iter().map(|message| message.mime.clone()).collect()
            }
        };
        assert_eq!(held.len(), count);
        held
    }

    /// Removes every message, as another program would; the inbox stays the same inbox.
    pub async fn remove_all(&self, person: &Person) {
        match self {
            Self::Internet(..) => person.account().remove_all().await,
            Self::Online(online) => {
                let mut tenant = online.server.tenant();
                let inside = tenant.mailbox(&person.address);
                let ids: Vec<String> = inside.of_folder("inbox").into_iter().map(|one| one.id.clone()).collect();
                for id in ids {
                    inside.delete(&id);
                }
            }
            Self::Premises(there) => {
                let mut exchange = there.server.exchange();
                let inside = exchange.mailbox(&person.address);
                let numbers: Vec<usize> = inside.of_folder("inbox").into_iter().map(|one| one.number).collect();
                for number in numbers {
                    inside.delete(number);
                }
            }
        }
    }

    /// Has the server forget what our positions mean: other UIDs, or states that are not known any more.
    pub fn forget_positions(&self, person: &Person) {
        match self {
            Self::Internet(..) => person.account().renumber(),
            Self::Online(online) => online.server.tenant().mailbox(&person.address).generation += 1,
            Self::Premises(there) => there.server.exchange().mailbox(&person.address).generation += 1,
        }
    }

    /// Somebody whose password the server does not take.
    #[must_use]
    pub fn with_wrong_password(&self, person: &Person) -> Person {
        Person { password: "wrong".to_owned(), ..person.clone() }
    }
}

impl Person {
    fn account(&self) -> &Account {
        self.account.as_ref().expect("an account on a server of internet mail")
    }
}
