//! What is not supported of profiles of Exchange, online and on premises.

use crate::{
    settings::{
        organization::Organization,
        profile::{
            APPLICATION_NOT_NAMED, Application, Authentication, EmailServerProfile, ExchangeOnline, ExchangeServer,
            ExchangeVersion, Security, ServerLocation,
        },
    },
    words::{
        cause::CredentialSource,
        guid::validate_guid,
        invalid::{Invalid, excerpt},
    },
};

/// Longest location of Exchange web services, in bytes (source system: 2084).
const LOCATION_BYTES_MAX: usize = 2_084;

pub(super) fn refuse_exchange_online(
    profile: &EmailServerProfile,
    online: &ExchangeOnline,
    organization: &Organization,
) -> Result<(), Invalid> {
    match profile.credentials {
        CredentialSource::ServerToServer => {}
        CredentialSource::Mailbox => {
            let problem = "credentials specified by a user or queue are not supported with Exchange Online";
            return Err(Invalid::new("credentials", problem, "Use server-to-server"));
        }
        CredentialSource::Profile => {
            let problem = "credentials specified in the email server profile are not supported with Exchange Online";
            return Err(Invalid::new("credentials", problem, "Use server-to-server"));
        }
    }
    if !profile.authentication.is_by_application() {
        let problem = "an application signs in to Exchange Online with a client secret or a certificate";
        return Err(Invalid::new("authentication", problem, "Use client-secret or client-certificate"));
    }
    let Application { tenant_id: tenant, client_id: client, .. } = &online.application;
    validate_application(&online.application)?;
    let is_own = organization.tenant_id.as_ref().is_none_or(|own| own.eq_ignore_ascii_case(tenant));
    let crosses = organization.cross_tenant_client_id.as_ref().is_some_and(|id| id.eq_ignore_ascii_case(client));
    if !is_own && !crosses {
        let problem = "Exchange Online of another tenant than the organization's is not supported without the \
                       application that may cross tenants";
        let remedy = "Give the tenant of the organization, or set cross_tenant_client_id in the organization's settings \
                      to this application";
        return Err(Invalid::new("tenant_id", problem, remedy));
    }
    Ok(())
}

fn validate_application(application: &Application) -> Result<(), Invalid> {
    validate_guid("tenant_id", &application.tenant_id)?;
    validate_guid("client_id", &application.client_id)
}

pub(super) fn refuse_exchange_server(
    profile: &EmailServerProfile,
    server: &ExchangeServer,
    fips: bool,
) -> Result<(), Invalid> {
    refuse_old_exchange(server)?;
    refuse_sign_in_to_exchange_server(profile, server, fips)?;
    match &server.location {
        Some(location) if !is_ews(location) => {
            let problem = format!("\"{}\" is not the location of Exchange web services", excerpt(location));
            Err(Invalid::new("location", problem, "Give an address such as https://mail.example.com/EWS/Exchange.asmx"))
        }
        Some(_) | None => Ok(()),
    }
}

fn refuse_old_exchange(server: &ExchangeServer) -> Result<(), Invalid> {
    let Some(version) = server.exchange_version else {
        return Ok(());
    };
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

/// Exchange Server is signed in to with a user name and a password, by Basic or by NTLM; or, where it trusts Entra ID
/// (hybrid modern authentication), by an application, which acts for the user of each mailbox.
fn refuse_sign_in_to_exchange_server(
    profile: &EmailServerProfile,
    server: &ExchangeServer,
    fips: bool,
) -> Result<(), Invalid> {
    let by_application = profile.authentication.is_by_application();
    if by_application != (profile.credentials == CredentialSource::ServerToServer) {
        let problem = "client-certificate and server-to-server need each other";
        let remedy = "Use client-certificate with server-to-server, or password or ntlm with mailbox or profile";
        return Err(Invalid::new("credentials", problem, remedy));
    }
    match profile.authentication {
        Authentication::Xoauth2 => {
            let problem = "XOAUTH2 is a way to sign in of IMAP, POP3 and SMTP";
            return Err(Invalid::new("authentication", problem, "Use password, ntlm or client-certificate"));
        }
        Authentication::Ntlm if fips => {
            let problem = "NTLM is made of MD4 and MD5, which this deployment, that demands FIPS 140, cannot use";
            return Err(Invalid::new("authentication", problem, "Use password or client-certificate"));
        }
        Authentication::Ntlm
        | Authentication::Password
        | Authentication::ClientSecret
        | Authentication::ClientCertificate => {}
    }
    if by_application {
        if !server.use_impersonation {
            let problem = "an application has no mailbox of its own, and acts for the user of each";
            return Err(Invalid::new("use_impersonation", problem, "Set it to true"));
        }
        let Some(application) = &server.application else {
            let remedy = "Give the tenant's and the application's identifiers";
            return Err(Invalid::new("tenant_id", APPLICATION_NOT_NAMED, remedy));
        };
        return validate_application(application);
    }
    match &profile.username {
        // NTLM knows accounts by their domain too.
        Some(name) if !name.contains('@') && profile.authentication != Authentication::Ntlm => {
            let problem = "the user name of an account of Exchange has the form of an address";
            Err(Invalid::new("username", problem, "Give user@example.com rather than DOMAIN\\user"))
        }
        Some(name) if !name.contains(['@', '\\']) => {
            let problem = "the user name has no domain";
            Err(Invalid::new("username", problem, "Give user@example.com or DOMAIN\\user"))
        }
        Some(_) | None => Ok(()),
    }
}

fn is_ews(location: &str) -> bool {
    let server = location.strip_prefix("https://").and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let (host, port) = server.rsplit_once(':').unwrap_or((server, "443"));
    let server = port.parse().map(|port| ServerLocation { host: host.to_owned(), port, security: Security::Tls });
    let is_server = server.is_ok_and(|server| server.validate().is_ok());
    location.len() <= LOCATION_BYTES_MAX && is_server && !location.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_of_web_services_is_an_address_over_https() {
        for location in [
            "https://mail.example.com/EWS/Exchange.asmx",
            "https://exchange01:8443/ews/exchange.asmx",
            "https://192.0.2.1/EWS/Exchange.asmx",
        ] {
            assert!(is_ews(location), "{location}");
        }
        for location in [
            "http://mail.example.com/EWS/Exchange.asmx",
            "https:///EWS/Exchange.asmx",
            "https://user:pw@mail.example.com/EWS",
            "https://mail.example.com:99999/EWS",
            "https://mail.example.com/E WS",
            "mail.example.com",
            "",
        ] {
            assert!(!is_ews(location), "{location}");
        }
    }
}
