//! Configurations that are not supported, each refused when it is saved, with the reason and what to do instead.
//!
//! Source page, "Unsupported email service configurations" and "Using Dynamics 365 (online) with Exchange Online", and
//! the validation errors of the source system that can be met here.

mod exchange;

use self::exchange::{refuse_exchange_online, refuse_exchange_server};
use crate::{
    settings::{
        mailbox::{Mailbox, MailboxKind},
        organization::Organization,
        profile::{Authentication, EmailServerProfile, ExchangeVersion, ServerType},
    },
    words::{
        cause::CredentialSource,
        delivery::{Delivery, SynchronizationMethod},
        invalid::{Invalid, excerpt},
    },
};

/// Hosts of Exchange Online for protocols other than its own.
const EXCHANGE_ONLINE_HOSTS: [&str; 3] = ["office365.com", "partner.outlook.cn", "mail.protection.outlook.com"];

/// Domains of servers that are not FIPS 140-2 compliant: MSN, Outlook.com, Windows Live Mail (source page).
const NOT_FIPS_HOSTS: [&str; 5] = ["msn.com", "outlook.com", "hotmail.com", "live.com", "passport.com"];

/// A value that is known, and deliberately not accepted: field, value, what is wrong with it, what to do.
pub type RefusedValue = (&'static str, &'static str, &'static str, &'static str);

/// Values that other systems know for these fields, each refused with its reason rather than as unknown.
pub const REFUSED_VALUES: [RefusedValue; 14] = [
    ("incoming.security", "none", TLS_OFF, "Use tls or starttls"),
    ("outgoing.security", "none", TLS_OFF, "Use tls or starttls"),
    (
        "incoming.protocol",
        "exchange",
        MIXED,
        "Use a profile of the server type exchange-online or exchange-server for both directions",
    ),
    (
        "incoming.protocol",
        "ews",
        MIXED,
        "Use a profile of the server type exchange-online or exchange-server for both directions",
    ),
    ("incoming.protocol", "graph", MIXED, "Use a profile of the server type exchange-online for both directions"),
    (
        "credentials",
        "windows-integrated",
        "Windows integrated authentication cannot cross the network to the email server",
        "Use mailbox or profile",
    ),
    ("credentials", "anonymous", "an email server cannot be used without credentials", "Use mailbox or profile"),
    (
        "authentication",
        "negotiate",
        "Negotiate needs an Active Directory that both sides belong to",
        "Use password or xoauth2, or ntlm with Exchange Server",
    ),
    (
        "server_type",
        "custom",
        "custom email providers cannot be added",
        "Use internet-mail, exchange-online or exchange-server",
    ),
    (
        "incoming_email",
        "forward-mailbox",
        "forward mailboxes are not supported: one mailbox would be the single point of failure of all",
        "Synchronize each mailbox by itself",
    ),
    ("incoming_email", "email-router", "the Email Router is no longer made", "Use server-side-synchronization"),
    ("outgoing_email", "email-router", "the Email Router is no longer made", "Use server-side-synchronization"),
    (
        "incoming_email",
        "outlook",
        "email of a mailbox that Outlook moves needs no mailbox here",
        "Use server-side-synchronization or none",
    ),
    (
        "outgoing_email",
        "outlook",
        "email of a mailbox that Outlook moves needs no mailbox here",
        "Use server-side-synchronization or none",
    ),
];

const TLS_OFF: &str = "TLS may not be off: credentials would cross the network in the clear";

const MIXED: &str = "Exchange for one direction and SMTP, POP3 or IMAP for the other is not supported";

/// The refusal of a value that is known and not accepted.
#[must_use]
pub fn refused_value(field: &str, value: &str) -> Option<Invalid> {
    let known = REFUSED_VALUES.iter().find(|(f, v, ..)| *f == field && v.eq_ignore_ascii_case(value));
    known.map(|(field, _, problem, remedy)| Invalid::new(*field, *problem, *remedy))
}

/// Refuses a profile whose fields are each right and together not supported. `fips` tells whether the deployment uses
/// validated cryptography alone.
pub fn refuse_profile(profile: &EmailServerProfile, organization: &Organization, fips: bool) -> Result<(), Invalid> {
    refuse_old_exchange(profile)?;
    if profile.move_undeliverable && profile.server_type != ServerType::ExchangeServer {
        let problem = "messages that cannot be processed are moved to a folder on Exchange Server alone";
        return Err(Invalid::new(
            "move_undeliverable",
            problem,
            "Set it to false: they are in quarantine all the same",
        ));
    }
    match profile.server_type {
        ServerType::InternetMail => refuse_internet_mail(profile, fips),
        ServerType::ExchangeOnline => refuse_exchange_online(profile, organization),
        ServerType::ExchangeServer => refuse_exchange_server(profile, fips),
    }
}

fn refuse_old_exchange(profile: &EmailServerProfile) -> Result<(), Invalid> {
    let Some(version) = profile.exchange_version else {
        return Ok(());
    };
    if profile.server_type == ServerType::InternetMail {
        let problem = "only a profile of Exchange has a version of Exchange";
        return Err(Invalid::new("exchange_version", problem, "Leave it out, or change the server type"));
    }
    match version {
        ExchangeVersion::Exchange2003 | ExchangeVersion::Exchange2007 | ExchangeVersion::Exchange2010 => {
            let problem = "Exchange Server 2003, 2007 and 2010 are not supported";
            Err(Invalid::new("exchange_version", problem, "Upgrade to Exchange Server 2013 SP1 or later"))
        }
        ExchangeVersion::Exchange2013
        | ExchangeVersion::Exchange2016
        | ExchangeVersion::Exchange2019
        | ExchangeVersion::ExchangeSe => Ok(()),
    }
}

fn refuse_internet_mail(profile: &EmailServerProfile, fips: bool) -> Result<(), Invalid> {
    if profile.autodiscover {
        let problem = "only Exchange can be found by autodiscover";
        return Err(Invalid::new("autodiscover", problem, "Give host and port, and set autodiscover to false"));
    }
    if profile.use_impersonation {
        let problem = "only Exchange knows impersonation";
        return Err(Invalid::new("use_impersonation", problem, "Set it to false"));
    }
    if profile.location.is_some() {
        let problem = "only a profile of Exchange Server has a location of web services";
        return Err(Invalid::new("location", problem, "Give incoming and outgoing instead"));
    }
    if profile.credentials == CredentialSource::ServerToServer {
        let problem = "server-to-server authentication is for Exchange Online alone";
        return Err(Invalid::new("credentials", problem, "Use mailbox or profile"));
    }
    match profile.authentication {
        Authentication::Password | Authentication::Xoauth2 => {}
        Authentication::ClientSecret | Authentication::ClientCertificate => {
            let problem = "only an application signs in with a client secret or a certificate, and only to Exchange";
            return Err(Invalid::new("authentication", problem, "Use password or xoauth2"));
        }
        Authentication::Ntlm => {
            let problem = "NTLM is a way to sign in to Exchange Server alone";
            return Err(Invalid::new("authentication", problem, "Use password or xoauth2"));
        }
    }
    if !profile.tracked_folders.is_empty() {
        let problem = "folders besides the inbox are read of Exchange alone";
        return Err(Invalid::new("tracked_folders", problem, "Leave them out"));
    }
    let incoming = profile.incoming.as_ref().map(|incoming| ("incoming.host", &incoming.location.host));
    let outgoing = profile.outgoing.as_ref().map(|location| ("outgoing.host", &location.host));
    for (field, host) in incoming.into_iter().chain(outgoing) {
        if is_of(host, &EXCHANGE_ONLINE_HOSTS) {
            let problem = "mailboxes of Exchange Online are supported by a profile of Exchange Online alone";
            return Err(Invalid::new(field, problem, "Set the server type to exchange-online"));
        }
        if fips && is_of(host, &NOT_FIPS_HOSTS) {
            let problem = format!("{} is not FIPS 140-2 compliant, which this deployment demands", excerpt(host));
            return Err(Invalid::new(field, problem, "Use a server that is, or a deployment without FIPS"));
        }
    }
    Ok(())
}

/// Checks a mailbox by itself, against the servers of its profile, and for what its profile does not support.
pub fn check_mailbox(mailbox: &Mailbox, profile: &EmailServerProfile) -> Result<(), Invalid> {
    mailbox.validate(profile)?;
    refuse_mailbox(mailbox, profile)
}

/// Refuses a mailbox that its profile does not support.
pub fn refuse_mailbox(mailbox: &Mailbox, profile: &EmailServerProfile) -> Result<(), Invalid> {
    let synchronized = SynchronizationMethod::ServerSideSynchronization;
    if profile.delete_after_processing && mailbox.kind == MailboxKind::User {
        let problem = format!(
            "the email server profile {} deletes email after processing, which is not allowed for a user's mailbox",
            profile.name
        );
        return Err(Invalid::new(
            "profile_id",
            problem,
            "Use a profile that leaves email, or make it a queue's mailbox",
        ));
    }
    if mailbox.method(Delivery::AppointmentsContactsTasks) != synchronized {
        return Ok(());
    }
    if mailbox.kind == MailboxKind::Queue {
        let problem = "a queue's mailbox has no appointments, contacts, and tasks";
        return Err(Invalid::new("appointments_contacts_tasks", problem, "Set it to none"));
    }
    match profile.server_type {
        ServerType::ExchangeOnline | ServerType::ExchangeServer => Ok(()),
        ServerType::InternetMail => {
            let problem = "appointments, contacts, and tasks cannot be synchronized over POP3, IMAP and SMTP";
            Err(Invalid::new("appointments_contacts_tasks", problem, "Set it to none, or use a profile of Exchange"))
        }
    }
}

/// What to say of a mailbox whose items are moved otherwise than `others`, those of other mailboxes of the organization.
#[must_use]
pub fn mixing_warning(own: SynchronizationMethod, others: SynchronizationMethod) -> Option<&'static str> {
    use SynchronizationMethod::{None as Nobody, Outlook, ServerSideSynchronization};
    match (own, others) {
        (Outlook, ServerSideSynchronization) | (ServerSideSynchronization, Outlook) => Some(
            "The organization has mailboxes whose appointments, contacts, and tasks are moved by Outlook, and others \
             whose are moved by server-side synchronization. Updates may not reach all attendees: use one of the two \
             for all mailboxes.",
        ),
        (Nobody | Outlook | ServerSideSynchronization, _) => Option::None,
    }
}

fn is_of(host: &str, domains: &[&str]) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    domains.iter().any(|domain| host == *domain || host.ends_with(&format!(".{domain}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::profile::ServerLocation;

    fn of(server_type: ServerType) -> EmailServerProfile {
        let (mut profile, _) = crate::sample::sample();
        profile.server_type = server_type;
        if server_type != ServerType::InternetMail {
            (profile.incoming, profile.outgoing) = (None, None);
            profile.autodiscover = true;
        }
        if server_type == ServerType::ExchangeOnline {
            profile.credentials = CredentialSource::ServerToServer;
            profile.authentication = Authentication::ClientSecret;
            profile.tenant_id = Some("11111111-2222-3333-4444-555555555555".into());
            profile.client_id = Some("aaaaaaaa-2222-3333-4444-555555555555".into());
        }
        profile
    }

    fn by_application(profile: &mut EmailServerProfile) {
        profile.credentials = CredentialSource::ServerToServer;
        profile.authentication = Authentication::ClientCertificate;
        profile.use_impersonation = true;
        profile.tenant_id = Some("11111111-2222-3333-4444-555555555555".into());
        profile.client_id = Some("aaaaaaaa-2222-3333-4444-555555555555".into());
    }

    fn refusal(server_type: ServerType, fips: bool, change: impl FnOnce(&mut EmailServerProfile)) -> String {
        let organization =
            Organization { tenant_id: Some("11111111-2222-3333-4444-555555555555".into()), ..Organization::default() };
        let mut profile = of(server_type);
        change(&mut profile);
        refuse_profile(&profile, &organization, fips).unwrap_err().to_string()
    }

    #[test]
    fn what_is_supported_is_accepted() {
        for server_type in [ServerType::InternetMail, ServerType::ExchangeOnline, ServerType::ExchangeServer] {
            let profile = of(server_type);
            assert_eq!(refuse_profile(&profile, &Organization::default(), true), Ok(()), "{server_type:?}");
            assert_eq!(profile.validate(), Ok(()), "{server_type:?}");
        }
    }

    #[test]
    fn each_way_to_sign_in_to_exchange_server_is_accepted() {
        for change in [
            |p: &mut EmailServerProfile| p.authentication = Authentication::Ntlm,
            |p: &mut EmailServerProfile| {
                p.authentication = Authentication::Ntlm;
                (p.credentials, p.username) = (CredentialSource::Profile, Some("EXAMPLE\\service".into()));
            },
            |p: &mut EmailServerProfile| {
                (p.credentials, p.username) = (CredentialSource::Profile, Some("service@example.org".into()));
                (p.use_impersonation, p.move_undeliverable) = (true, true);
            },
            by_application,
        ] {
            let mut profile = of(ServerType::ExchangeServer);
            change(&mut profile);
            assert_eq!(refuse_profile(&profile, &Organization::default(), false), Ok(()), "{profile:?}");
        }
    }

    /// Each rule once; the snapshot shows field, reason and remedy of all of them.
    #[test]
    fn every_unsupported_configuration_is_refused_with_its_reason_and_what_to_do() {
        use ServerType::{ExchangeOnline, ExchangeServer, InternetMail};
        let host = |profile: &mut EmailServerProfile, host: &str| {
            profile.incoming.as_mut().unwrap().location.host = host.to_owned();
        };
        let server = |profile: &EmailServerProfile| -> ServerLocation {
            let _ = profile;
            crate::sample::sample().0.outgoing.unwrap()
        };
        let refusals = [
            refusal(InternetMail, false, |p| p.autodiscover = true),
            refusal(InternetMail, false, |p| p.use_impersonation = true),
            refusal(InternetMail, false, |p| p.location = Some("https://x.example/EWS/Exchange.asmx".into())),
            refusal(InternetMail, false, |p| p.credentials = CredentialSource::ServerToServer),
            refusal(InternetMail, false, |p| p.authentication = Authentication::ClientCertificate),
            refusal(InternetMail, false, |p| p.tracked_folders = vec!["Projects".into()]),
            refusal(InternetMail, false, |p| p.exchange_version = Some(ExchangeVersion::Exchange2016)),
            refusal(InternetMail, false, |p| host(p, "outlook.office365.com")),
            refusal(InternetMail, false, |p| p.outgoing.as_mut().unwrap().host = "SMTP.Office365.com.".into()),
            refusal(InternetMail, true, |p| host(p, "imap-mail.outlook.com")),
            refusal(InternetMail, true, |p| host(p, "pop3.live.com")),
            refusal(InternetMail, true, |p| host(p, "secure.smtp.email.msn.com")),
            refusal(ExchangeOnline, false, |p| p.credentials = CredentialSource::Mailbox),
            refusal(ExchangeOnline, false, |p| p.credentials = CredentialSource::Profile),
            refusal(ExchangeOnline, false, |p| p.use_impersonation = true),
            refusal(ExchangeOnline, false, |p| p.autodiscover = false),
            refusal(ExchangeOnline, false, |p| p.authentication = Authentication::Password),
            refusal(ExchangeOnline, false, |p| p.tenant_id = None),
            refusal(ExchangeOnline, false, |p| p.client_id = None),
            refusal(ExchangeOnline, false, |p| p.client_id = Some("x".into())),
            refusal(ExchangeOnline, false, |p| p.tenant_id = Some("x".into())),
            refusal(ExchangeOnline, false, |p| p.tenant_id = Some("99999999-2222-3333-4444-555555555555".into())),
            refusal(ExchangeOnline, false, |p| p.incoming = crate::sample::sample().0.incoming),
            refusal(ExchangeServer, false, |p| p.outgoing = Some(server(p))),
            refusal(ExchangeServer, false, |p| p.exchange_version = Some(ExchangeVersion::Exchange2003)),
            refusal(ExchangeServer, false, |p| p.exchange_version = Some(ExchangeVersion::Exchange2007)),
            refusal(ExchangeServer, false, |p| p.exchange_version = Some(ExchangeVersion::Exchange2010)),
            refusal(ExchangeServer, false, |p| p.location = Some("https://x.example/EWS/Exchange.asmx".into())),
            refusal(ExchangeServer, false, |p| p.autodiscover = false),
            refusal(ExchangeServer, false, |p| {
                p.autodiscover = false;
                p.location = Some("http://x.example/EWS/Exchange.asmx".into());
            }),
            refusal(ExchangeServer, false, |p| p.username = Some("DOMAIN\\service".into())),
            refusal(ExchangeServer, false, |p| p.credentials = CredentialSource::ServerToServer),
            refusal(ExchangeServer, false, |p| p.authentication = Authentication::ClientCertificate),
            refusal(ExchangeServer, false, |p| p.authentication = Authentication::Xoauth2),
            refusal(ExchangeServer, true, |p| p.authentication = Authentication::Ntlm),
            refusal(ExchangeServer, false, |p| {
                (p.authentication, p.username) = (Authentication::Ntlm, Some("service".into()));
            }),
            refusal(ExchangeServer, false, |p| {
                by_application(p);
                p.use_impersonation = false;
            }),
            refusal(ExchangeServer, false, |p| {
                by_application(p);
                p.client_id = None;
            }),
            refusal(InternetMail, false, |p| p.authentication = Authentication::Ntlm),
            refusal(ExchangeOnline, false, |p| p.move_undeliverable = true),
        ];
        let values = REFUSED_VALUES.map(|(field, value, ..)| {
            let refusal = refused_value(field, &value.to_uppercase()).unwrap();
            format!("{refusal} [{value}]")
        });
        insta::assert_snapshot!(refusals.into_iter().chain(values).collect::<Vec<_>>().join("\n"));
        assert_eq!(refused_value("incoming.security", "tls"), None);
    }

    #[test]
    fn another_tenant_is_supported_with_the_application_that_may_cross() {
        let mut profile = of(ServerType::ExchangeOnline);
        profile.tenant_id = Some("99999999-2222-3333-4444-555555555555".into());
        let organization = Organization {
            tenant_id: Some("11111111-2222-3333-4444-555555555555".into()),
            cross_tenant_client_id: profile.client_id.clone(),
            ..Organization::default()
        };
        assert_eq!(refuse_profile(&profile, &organization, false), Ok(()));
        profile.client_id = Some("bbbbbbbb-2222-3333-4444-555555555555".into());
        assert_eq!(refuse_profile(&profile, &organization, false).unwrap_err().field, "tenant_id");
    }

    #[test]
    fn servers_that_are_not_compliant_are_refused_under_fips_alone() {
        let (mut profile, _) = crate::sample::sample();
        profile.incoming.as_mut().unwrap().location.host = "imap-mail.outlook.com".into();
        assert_eq!(refuse_profile(&profile, &Organization::default(), false), Ok(()));
        profile.incoming.as_mut().unwrap().location.host = "notoutlook.com".into();
        assert_eq!(refuse_profile(&profile, &Organization::default(), true), Ok(()));
    }

    #[test]
    fn a_mailbox_that_its_profile_does_not_support_is_refused() {
        let (mut profile, mut mailbox) = crate::sample::sample();
        assert_eq!(refuse_mailbox(&mailbox, &profile), Ok(()));
        profile.delete_after_processing = true;
        assert_eq!(refuse_mailbox(&mailbox, &profile).unwrap_err().field, "profile_id");
        mailbox.kind = MailboxKind::Queue;
        assert_eq!(refuse_mailbox(&mailbox, &profile), Ok(()));
        mailbox.appointments_contacts_tasks = SynchronizationMethod::ServerSideSynchronization;
        let refusal = refuse_mailbox(&mailbox, &profile).unwrap_err();
        assert!(refusal.problem.contains("queue"), "{refusal}");
        (mailbox.kind, profile.delete_after_processing) = (MailboxKind::User, false);
        assert!(refuse_mailbox(&mailbox, &profile).unwrap_err().problem.contains("POP3"));
        assert_eq!(refuse_mailbox(&mailbox, &of(ServerType::ExchangeServer)), Ok(()));
    }

    #[test]
    fn outlook_beside_server_side_synchronization_is_a_warning() {
        use SynchronizationMethod::{None as Nobody, Outlook, ServerSideSynchronization};
        assert!(mixing_warning(Outlook, ServerSideSynchronization).is_some());
        assert!(mixing_warning(ServerSideSynchronization, Outlook).is_some());
        for same in [Nobody, Outlook, ServerSideSynchronization] {
            assert_eq!(mixing_warning(same, same), Option::None);
            assert_eq!(mixing_warning(Nobody, same), Option::None);
        }
    }
}
