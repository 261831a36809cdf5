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
        profile::{Authentication, EmailServerProfile, InternetMail, MIXED, ServerType, Servers},
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
        "Outlook would move the email, and Mailrail moves nothing then",
        "Use server-side-synchronization or none",
    ),
    (
        "outgoing_email",
        "outlook",
        "Outlook would move the email, and Mailrail moves nothing then",
        "Use server-side-synchronization or none",
    ),
];

const TLS_OFF: &str = "TLS may not be off: credentials would cross the network in the clear";

/// The refusal of a value that is known and not accepted.
#[must_use]
pub fn refused_value(field: &str, value: &str) -> Option<Invalid> {
    let known = REFUSED_VALUES.iter().find(|(f, v, ..)| *f == field && v.eq_ignore_ascii_case(value));
    known.map(|(field, _, problem, remedy)| Invalid::new(*field, *problem, *remedy))
}

/// Refuses a profile whose fields are each right and together not supported. `fips` tells whether the deployment uses
/// validated cryptography alone.
pub fn refuse_profile(profile: &EmailServerProfile, organization: &Organization, fips: bool) -> Result<(), Invalid> {
    match &profile.servers {
        Servers::InternetMail(servers) => {
            refuse_sign_in_to_internet_mail(profile)?;
            refuse_hosts(servers, fips)
        }
        Servers::ExchangeOnline(online) => refuse_exchange_online(profile, online, organization),
        Servers::ExchangeServer(server) => refuse_exchange_server(profile, server, fips),
    }
}

fn refuse_sign_in_to_internet_mail(profile: &EmailServerProfile) -> Result<(), Invalid> {
    if profile.credentials == CredentialSource::ServerToServer {
        let problem = "server-to-server authentication is for Exchange Online alone";
        return Err(Invalid::new("credentials", problem, "Use mailbox or profile"));
    }
    match profile.authentication {
        Authentication::Password | Authentication::Xoauth2 => Ok(()),
        Authentication::ClientSecret | Authentication::ClientCertificate => {
            let problem = "only an application signs in with a client secret or a certificate, and only to Exchange";
            Err(Invalid::new("authentication", problem, "Use password or xoauth2"))
        }
        Authentication::Ntlm => {
            let problem = "NTLM is a way to sign in to Exchange Server alone";
            Err(Invalid::new("authentication", problem, "Use password or xoauth2"))
        }
    }
}

fn refuse_hosts(servers: &InternetMail, fips: bool) -> Result<(), Invalid> {
    let incoming = servers.incoming.as_ref().map(|incoming| ("incoming.host", &incoming.location.host));
    let outgoing = servers.outgoing.as_ref().map(|location| ("outgoing.host", &location.host));
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
    match profile.server_type() {
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
    use crate::settings::profile::{ExchangeVersion, ServerFields, ServerLocation};

    /// A profile as somebody gives it.
    type Given = EmailServerProfile<ServerFields>;

    fn of(server_type: ServerType) -> Given {
        let mut profile = crate::sample::sample().0.into_fields();
        profile.servers.server_type = server_type;
        if server_type != ServerType::InternetMail {
            (profile.servers.incoming, profile.servers.outgoing) = (None, None);
            profile.servers.autodiscover = true;
        }
        if server_type == ServerType::ExchangeOnline {
            profile.credentials = CredentialSource::ServerToServer;
            profile.authentication = Authentication::ClientSecret;
            profile.servers.tenant_id = Some("11111111-2222-3333-4444-555555555555".into());
            profile.servers.client_id = Some("aaaaaaaa-2222-3333-4444-555555555555".into());
        }
        profile
    }

    /// What a profile is refused for when somebody gives it.
    fn supported(profile: Given, organization: &Organization, fips: bool) -> Result<(), Invalid> {
        let profile = profile.parse(organization)?;
        refuse_profile(&profile, organization, fips)
    }

    fn by_application(profile: &mut Given) {
        profile.credentials = CredentialSource::ServerToServer;
        profile.authentication = Authentication::ClientCertificate;
        profile.servers.use_impersonation = true;
        profile.servers.tenant_id = Some("11111111-2222-3333-4444-555555555555".into());
        profile.servers.client_id = Some("aaaaaaaa-2222-3333-4444-555555555555".into());
    }

    fn refusal(server_type: ServerType, fips: bool, change: impl FnOnce(&mut Given)) -> String {
        let tenant_id = Some("11111111-2222-3333-4444-555555555555".into());
        refusal_in(&Organization { tenant_id, ..Organization::default() }, server_type, fips, change)
    }

    fn refusal_in(
        organization: &Organization,
        server_type: ServerType,
        fips: bool,
        change: impl FnOnce(&mut Given),
    ) -> String {
        let mut profile = of(server_type);
        change(&mut profile);
        supported(profile, organization, fips).unwrap_err().to_string()
    }

    #[test]
    fn what_is_supported_is_accepted() {
        for server_type in [ServerType::InternetMail, ServerType::ExchangeOnline, ServerType::ExchangeServer] {
            let profile = of(server_type);
            assert_eq!(supported(profile.clone(), &Organization::default(), true), Ok(()), "{server_type:?}");
            let parsed = profile.parse(&Organization::default()).unwrap();
            assert_eq!(parsed.validate(), Ok(()), "{server_type:?}");
        }
    }

    #[test]
    fn each_way_to_sign_in_to_exchange_server_is_accepted() {
        for change in [
            |p: &mut Given| p.authentication = Authentication::Ntlm,
            |p: &mut Given| {
                p.authentication = Authentication::Ntlm;
                (p.credentials, p.username) = (CredentialSource::Profile, Some("EXAMPLE\\service".into()));
            },
            |p: &mut Given| {
                (p.credentials, p.username) = (CredentialSource::Profile, Some("service@example.org".into()));
                (p.servers.use_impersonation, p.servers.move_undeliverable) = (true, true);
            },
            by_application,
        ] {
            let mut profile = of(ServerType::ExchangeServer);
            change(&mut profile);
            assert_eq!(supported(profile.clone(), &Organization::default(), false), Ok(()), "{profile:?}");
        }
    }

    /// Each rule once; the snapshot shows field, reason and remedy of all of them.
    #[test]
    fn every_unsupported_configuration_is_refused_with_its_reason_and_what_to_do() {
        use ServerType::{ExchangeOnline, ExchangeServer, InternetMail};
        let host = |profile: &mut Given, host: &str| {
            profile.servers.incoming.as_mut().unwrap().location.host = host.to_owned();
        };
        let server = |profile: &Given| -> ServerLocation {
            let _ = profile;
            crate::sample::sample().0.into_fields().servers.outgoing.unwrap()
        };
        let refusals = [
            refusal(InternetMail, false, |p| p.servers.autodiscover = true),
            refusal(InternetMail, false, |p| p.servers.use_impersonation = true),
            refusal(InternetMail, false, |p| p.servers.location = Some("https://x.example/EWS/Exchange.asmx".into())),
            refusal(InternetMail, false, |p| p.credentials = CredentialSource::ServerToServer),
            refusal(InternetMail, false, |p| p.authentication = Authentication::ClientCertificate),
            refusal(InternetMail, false, |p| p.servers.tracked_folders = vec!["Projects".into()]),
            refusal(InternetMail, false, |p| p.servers.exchange_version = Some(ExchangeVersion::Exchange2016)),
            refusal(InternetMail, false, |p| host(p, "outlook.office365.com")),
            refusal(InternetMail, false, |p| p.servers.outgoing.as_mut().unwrap().host = "SMTP.Office365.com.".into()),
            refusal(InternetMail, true, |p| host(p, "imap-mail.outlook.com")),
            refusal(InternetMail, true, |p| host(p, "pop3.live.com")),
            refusal(InternetMail, true, |p| host(p, "secure.smtp.email.msn.com")),
            refusal(ExchangeOnline, false, |p| p.credentials = CredentialSource::Mailbox),
            refusal(ExchangeOnline, false, |p| p.credentials = CredentialSource::Profile),
            refusal(ExchangeOnline, false, |p| p.servers.use_impersonation = true),
            refusal(ExchangeOnline, false, |p| p.servers.autodiscover = false),
            refusal(ExchangeOnline, false, |p| p.authentication = Authentication::Password),
            refusal_in(&Organization::default(), ExchangeOnline, false, |p| p.servers.tenant_id = None),
            refusal(ExchangeOnline, false, |p| p.servers.client_id = None),
            refusal(ExchangeOnline, false, |p| p.servers.client_id = Some("x".into())),
            refusal(ExchangeOnline, false, |p| p.servers.tenant_id = Some("x".into())),
            refusal(ExchangeOnline, false, |p| {
                p.servers.tenant_id = Some("99999999-2222-3333-4444-555555555555".into())
            }),
            refusal(ExchangeOnline, false, |p| {
                p.servers.incoming = crate::sample::sample().0.into_fields().servers.incoming
            }),
            refusal(ExchangeServer, false, |p| p.servers.outgoing = Some(server(p))),
            refusal(ExchangeServer, false, |p| p.servers.exchange_version = Some(ExchangeVersion::Exchange2003)),
            refusal(ExchangeServer, false, |p| p.servers.exchange_version = Some(ExchangeVersion::Exchange2007)),
            refusal(ExchangeServer, false, |p| p.servers.exchange_version = Some(ExchangeVersion::Exchange2010)),
            refusal(ExchangeServer, false, |p| p.servers.location = Some("https://x.example/EWS/Exchange.asmx".into())),
            refusal(ExchangeServer, false, |p| p.servers.autodiscover = false),
            refusal(ExchangeServer, false, |p| {
                p.servers.autodiscover = false;
                p.servers.location = Some("http://x.example/EWS/Exchange.asmx".into());
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
                p.servers.use_impersonation = false;
            }),
            refusal(ExchangeServer, false, |p| {
                by_application(p);
                p.servers.client_id = None;
            }),
            refusal(InternetMail, false, |p| p.authentication = Authentication::Ntlm),
            refusal(ExchangeOnline, false, |p| p.servers.move_undeliverable = true),
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
        profile.servers.tenant_id = Some("99999999-2222-3333-4444-555555555555".into());
        let organization = Organization {
            tenant_id: Some("11111111-2222-3333-4444-555555555555".into()),
            cross_tenant_client_id: profile.servers.client_id.clone(),
            ..Organization::default()
        };
        assert_eq!(supported(profile.clone(), &organization, false), Ok(()));
        profile.servers.client_id = Some("bbbbbbbb-2222-3333-4444-555555555555".into());
        assert_eq!(supported(profile.clone(), &organization, false).unwrap_err().field, "tenant_id");
    }

    #[test]
    fn servers_that_are_not_compliant_are_refused_under_fips_alone() {
        let mut profile = of(ServerType::InternetMail);
        profile.servers.incoming.as_mut().unwrap().location.host = "imap-mail.outlook.com".into();
        assert_eq!(supported(profile.clone(), &Organization::default(), false), Ok(()));
        profile.servers.incoming.as_mut().unwrap().location.host = "notoutlook.com".into();
        assert_eq!(supported(profile.clone(), &Organization::default(), true), Ok(()));
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
        assert_eq!(
            refuse_mailbox(&mailbox, &of(ServerType::ExchangeServer).parse(&Organization::default()).unwrap()),
            Ok(())
        );
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
