//! What is not supported of profiles of Exchange, online and on premises.

use crate::{
    rules::support::MIXED,
    settings::{
        organization::Organization,
        profile::{Authentication, EmailServerProfile, Security, ServerLocation},
    },
    words::{
        cause::CredentialSource,
        guid::validate_guid,
        invalid::{Invalid, excerpt},
    },
};

/// Longest location of Exchange web services, in bytes (source system: 2084).
const LOCATION_BYTES_MAX: usize = 2_084;

fn refuse_mixed(profile: &EmailServerProfile) -> Result<(), Invalid> {
    let incoming = profile.incoming.as_ref().map(|_| "incoming");
    let remedy = "Leave incoming and outgoing out: Exchange is used for both directions";
    match incoming.or(profile.outgoing.as_ref().map(|_| "outgoing")) {
        Some(field) => Err(Invalid::new(field, MIXED, remedy)),
        None => Ok(()),
    }
}

pub(super) fn refuse_exchange_online(profile: &EmailServerProfile, organization: &Organization) -> Result<(), Invalid> {
    refuse_mixed(profile)?;
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
    if profile.use_impersonation {
        let problem = "impersonation is not supported with Exchange Online";
        return Err(Invalid::new("use_impersonation", problem, "Set it to false"));
    }
    if !profile.autodiscover || profile.location.is_some() {
        let problem = "Exchange Online is found by itself; autodiscover cannot be off, nor a location be given";
        return Err(Invalid::new("autodiscover", problem, "Set it to true and leave the location out"));
    }
    if !matches!(profile.authentication, Authentication::ClientSecret | Authentication::ClientCertificate) {
        let problem = "an application signs in to Exchange Online with a client secret or a certificate";
        return Err(Invalid::new("authentication", problem, "Use client-secret or client-certificate"));
    }
    let Some(tenant) = &profile.tenant_id else {
        let problem = "neither the profile nor the organization names the tenant of Exchange Online";
        return Err(Invalid::new("tenant_id", problem, "Set tenant_id in the organization's settings, or here"));
    };
    validate_guid("tenant_id", tenant)?;
    let Some(client) = &profile.client_id else {
        let problem = "the application that the tenant has granted its mailboxes to is missing";
        return Err(Invalid::new("client_id", problem, "Give the application (client) ID of its registration"));
    };
    validate_guid("client_id", client)?;
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

pub(super) fn refuse_exchange_server(profile: &EmailServerProfile, fips: bool) -> Result<(), Invalid> {
    refuse_mixed(profile)?;
    refuse_sign_in_to_exchange_server(profile, fips)?;
    match (&profile.location, profile.autodiscover) {
        (Some(_), true) => {
            let problem = "a location is given and autodiscover is on";
            Err(Invalid::new("location", problem, "Leave the location out, or set autodiscover to false"))
        }
        (None, false) => {
            let problem = "the location of the Exchange web services is missing";
            let remedy = "Give it, such as https://mail.example.com/EWS/Exchange.asmx, or set autodiscover to true";
            Err(Invalid::new("location", problem, remedy))
        }
        (Some(location), false) if !is_ews(location) => {
            let problem = format!("\"{}\" is not the location of Exchange web services", excerpt(location));
            Err(Invalid::new("location", problem, "Give an address such as https://mail.example.com/EWS/Exchange.asmx"))
        }
        (Some(_), false) | (None, true) => Ok(()),
    }
}

/// Exchange Server is signed in to with a user name and a password, by Basic or by NTLM; or, where it trusts Entra ID
/// (hybrid modern authentication), by an application, which acts for the user of each mailbox.
fn refuse_sign_in_to_exchange_server(profile: &EmailServerProfile, fips: bool) -> Result<(), Invalid> {
    let by_application =
        matches!(profile.authentication, Authentication::ClientSecret | Authentication::ClientCertificate);
    if by_application != (profile.credentials == CredentialSource::ServerToServer) {
        let problem = "an application signs in server to server, and nobody else does";
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
        if !profile.use_impersonation {
            let problem = "an application has no mailbox of its own, and acts for the user of each";
            return Err(Invalid::new("use_impersonation", problem, "Set it to true"));
        }
        for (field, id) in [("tenant_id", &profile.tenant_id), ("client_id", &profile.client_id)] {
            let Some(id) = id else {
                let problem = "the application that signs in to Exchange Server is not named";
                return Err(Invalid::new(field, problem, "Give the tenant's and the application's identifiers"));
            };
            validate_guid(field, id)?;
        }
        return Ok(());
    }
    match &profile.username {
        // NTLM knows accounts by their domain too.
        Some(name) if !name.contains('@') && profile.authentication != Authentication::Ntlm => {
            let problem = "the user name of an account of Exchange has the form of an address";
            Err(Invalid::new("username", problem, "Give user@example.com rather than DOMAIN\\user"))
        }
        Some(name) if !name.contains(['@', '\\']) => {
            let problem = "the user name does not say of which domain it is";
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
