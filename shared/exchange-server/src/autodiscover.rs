//! Autodiscover: finds the address of the web services from the address of a mailbox, by SOAP and by plain XML.
//!
//! Sources: "Autodiscover for Exchange" (the order of places, and what a client must check before it goes on);
//! MS-OXWSADISC (SOAP); MS-OXDSCLI (plain XML). The place in Active Directory is left out, because it is for computers
//! of a domain.
//!
//! A server is told nothing but the address until it asks for credentials, over a connection whose certificate is valid
//! for its name. Anybody on the way can change a redirection by plain HTTP or a record of the name service, so a server
//! that is named there is asked only if it belongs to the mailbox's own domain. The password of an account that serves
//! many mailboxes goes only to hosts of the account's own domain.

use std::time::Duration;

use mailrail_connect::{Failure, Refusal, redirection};
use mailrail_domain::words::{
    address::EmailAddress,
    cause::{Cause, DeliveryError},
    evidence::{Evidence, Stage},
};
use reqwest::{Response, StatusCode, Url, header::LOCATION};
use tokio::time::timeout;

use crate::{
    carrier::{Carrier, Letter, Repeat},
    host::is_within,
    xml::{Document, Element, escaped},
};

/// Redirections that are followed from one place ("Autodiscover for Exchange": ten), and other addresses in one search.
const REDIRECTIONS_MAX: usize = 10;
/// Longest search, because the rest of an invocation has to be enough for the mailbox.
const SEARCH: Duration = Duration::from_secs(60);
/// Most hosts of a record of the name service that are asked.
const SERVICE_HOSTS_MAX: usize = 2;
/// The form of plain XML that is asked for.
const RESPONSE_SCHEMA: &str = "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a";

/// What a place said.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    /// Where the web services are.
    Location(String),
    /// Ask again for another address.
    Address(String),
    /// Ask at this URL.
    Elsewhere(String),
    /// It knows nothing about the mailbox.
    Nothing(String),
}

/// A search, with what was seen at each place.
struct Search<'a> {
    carrier: &'a Carrier,
    address: EmailAddress,
    /// Times that a place has led to another address.
    readdressed: usize,
    seen: Vec<String>,
    /// The failure of the last place that asked for credentials. It matters more than other places that know nothing.
    refused: Option<DeliveryError>,
}

/// Finds the web services of a mailbox.
///
/// # Errors
///
/// [`Cause::HostNotFound`] with what was seen at each place, if no place knows them; the failure of a place that asked
/// for credentials, if there is one.
pub(crate) async fn discover(carrier: &Carrier, address: &EmailAddress) -> Result<Url, DeliveryError> {
    let mut search = Search { carrier, address: address.clone(), readdressed: 0, seen: Vec::new(), refused: None };
    match timeout(SEARCH, search.all()).await {
        Ok(Some(found)) => return Ok(found),
        Ok(None) => {}
        Err(_) => search.seen.push(format!("not all were asked in {} s", SEARCH.as_secs())),
    }
    if let Some(refused) = search.refused {
        return Err(refused);
    }
    let words = format!("autodiscover knows no web services: {}", search.seen.join("; "));
    Err(DeliveryError::new(Cause::HostNotFound, Evidence::new(Stage::Discover, &words)))
}

impl Search<'_> {
    /// Asks the places of the address's domain, and of every other address that they lead to.
    async fn all(&mut self) -> Option<Url> {
        loop {
            let before = self.address.clone();
            if let Some(found) = self.places().await {
                return Some(found);
            }
            // A redirection to another address begins anew with that address's domain.
            if self.address == before {
                return None;
            }
        }
    }

    /// Asks every place of the address's domain in the documented order, until one knows the web services or names
    /// another address.
    async fn places(&mut self) -> Option<Url> {
        let domain = self.address.domain().to_ascii_lowercase();
        let before = self.address.clone();
        for host in [domain.clone(), format!("autodiscover.{domain}")] {
            if let Some(found) = self.ask_host(&host, None).await {
                return Some(found);
            }
            if self.address != before {
                return None;
            }
            // A website at the domain may ask for passwords of its own. Its refusal says nothing of the mailbox.
            if host == domain
                && let Some(refused) = &mut self.refused
                && refused.cause == Cause::CredentialsRefused
            {
                refused.cause = Cause::SignInFailed;
            }
        }
        if self.refused.as_ref().is_some_and(|refused| refused.cause == Cause::CredentialsRefused) {
            return None;
        }
        let plain = format!("http://autodiscover.{domain}/autodiscover/autodiscover.xml");
        let (connector, wait) = (&self.carrier.server().connector, self.carrier.wait());
        match redirection(connector, &plain, Stage::Discover, wait).await {
            Ok(Some(location)) => {
                if let Some(url) = self.trusted(&location, &domain)
                    && let Some(found) = self.ask(url).await
                {
                    return Some(found);
                }
            }
            Ok(None) => self.seen.push(format!("http://autodiscover.{domain}: no redirection")),
            Err(error) => self.seen.push(format!("http://autodiscover.{domain}: {}", error.evidence.words)),
        }
        let record = format!("_autodiscover._tcp.{domain}");
        let hosts = connector.names().services(&record, wait).await;
        if hosts.is_empty() {
            self.seen.push(format!("{record}: no record"));
        }
        for found in hosts.into_iter().take(SERVICE_HOSTS_MAX) {
            if !is_within(&found.host, &domain) {
                self.seen.push(not_own(&found.host));
            } else if let Some(found) = self.ask_host(&found.host, Some(found.port)).await {
                return Some(found);
            }
        }
        None
    }

    /// An address over HTTPS at a host of the mailbox's own domain.
    fn trusted(&mut self, location: &str, domain: &str) -> Option<Url> {
        let url = location.parse::<Url>().ok().filter(|url| url.scheme() == "https");
        let url = url.filter(|url| url.host_str().is_some_and(|host| is_within(host, domain)));
        if url.is_none() {
            self.seen.push(not_own(location));
        }
        url
    }

    /// Asks a host, first by SOAP and then by plain XML.
    async fn ask_host(&mut self, host: &str, port: Option<u16>) -> Option<Url> {
        let port = port.filter(|port| *port != 443).map_or(String::new(), |port| format!(":{port}"));
        for page in ["svc", "xml"] {
            let url = format!("https://{host}{port}/autodiscover/autodiscover.{page}").parse().ok()?;
            let (before, seen, refused) = (self.address.clone(), self.seen.len(), self.refused.clone());
            if let Some(found) = self.ask(url).await {
                return Some(found);
            }
            let is_there = self.seen.iter().skip(seen).any(|words| !words.ends_with(UNREACHABLE));
            // A password that is refused here is not tried on the other page, because repeated refusals can lock an
            // account.
            if self.address != before || !is_there || self.refused != refused {
                return None;
            }
        }
        None
    }

    /// Asks at a URL, and at every URL that it leads to.
    async fn ask(&mut self, first: Url) -> Option<Url> {
        let mut url = first;
        for _ in 0..=REDIRECTIONS_MAX {
            let place = place(&url);
            let said = match self.said(&url).await {
                Ok(said) => said,
                Err(words) => {
                    self.seen.push(format!("{place}: {words}"));
                    return None;
                }
            };
            match said {
                Said::Location(location) => match location.parse::<Url>() {
                    // The server that is found is told the password.
                    Ok(found) if !self.carrier.may_tell(&found) => self.seen.push(not_told(&location)),
                    Ok(found) if found.scheme() == "https" && found.has_host() => return Some(found),
                    _ => self.seen.push(format!("{place}: it names {location}, which is no address over HTTPS")),
                },
                Said::Address(address) => match EmailAddress::parse(&address) {
                    Ok(other) if other != self.address && self.readdressed < REDIRECTIONS_MAX => {
                        self.readdressed += 1;
                        self.address = other;
                    }
                    _ => self.seen.push(format!("{place}: it leads to the address {address}, which is not followed")),
                },
                Said::Elsewhere(elsewhere) => match url.join(&elsewhere) {
                    Ok(other) if other.scheme() == "https" && other.has_host() => {
                        url = other;
                        continue;
                    }
                    _ => self.seen.push(format!("{place}: it leads to {elsewhere}, which is no address over HTTPS")),
                },
                Said::Nothing(words) => self.seen.push(format!("{place}: {words}")),
            }
            return None;
        }
        self.seen.push(format!("{}: more than {REDIRECTIONS_MAX} redirections", place(&url)));
        None
    }

    /// What the server at a URL says. Credentials are sent only if it asks for them and offers the profile's way to
    /// sign in.
    async fn said(&mut self, url: &Url) -> Result<Said, String> {
        let by_soap = url.path().ends_with(".svc");
        let body = if by_soap { by_soap_request(&self.address, url) } else { by_xml_request(&self.address) };
        let letter = Letter { url, headers: &[], body: &body, stage: Stage::Discover, repeat: Repeat::Freely };
        let mut response = self.carrier.post_unsigned(letter).await.map_err(|error| unreachable(&error))?;
        if response.status() == StatusCode::UNAUTHORIZED {
            if !self.carrier.is_offered(&response) {
                return Err("it does not offer the profile's way to sign in".to_owned());
            }
            if !self.carrier.may_tell(url) {
                return Err(NOT_TOLD.to_owned());
            }
            drop(response);
            response = match self.carrier.post(letter).await {
                Ok(response) => response,
                Err(failure) => {
                    let error = failure.into_error(Stage::Discover);
                    let words = error.evidence.words.clone();
                    self.refused = Some(error);
                    return Err(words);
                }
            };
        }
        self.read(response, by_soap).await
    }

    async fn read(&self, response: Response, by_soap: bool) -> Result<Said, String> {
        let status = response.status();
        if status.is_redirection() {
            let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
            return location.map(|to| Said::Elsewhere(to.to_owned())).ok_or_else(|| format!("{status} to nowhere"));
        }
        if !status.is_success() {
            return Err(status.to_string());
        }
        let mut document = Document::of(response, Stage::Discover, self.carrier.wait());
        let read = document.whole().await.map_err(|error| error.evidence.words)?;
        Ok(if by_soap { of_soap(&read) } else { of_xml(&read) })
    }
}

/// A place in few words, because the words about all places are kept together.
fn place(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.path() {
        "/autodiscover/autodiscover.svc" => format!("{host} by SOAP"),
        "/autodiscover/autodiscover.xml" => host.to_owned(),
        _ => url.to_string(),
    }
}

/// The end of the words about a host that cannot be reached. Such a host need not be asked in another way.
const UNREACHABLE: &str = "(not reached)";

fn unreachable(error: &DeliveryError) -> String {
    format!("{} {UNREACHABLE}", error.evidence.words)
}

/// Why a server outside the account's domain is not used.
const NOT_TOLD: &str = "it is outside the account's domain, so it is not told the password; give the location instead";

fn not_told(location: &str) -> String {
    format!("{location}: {NOT_TOLD}")
}

fn not_own(location: &str) -> String {
    format!("{location}: it is outside the mailbox's own domain, so it is not asked; give the location instead")
}

/// MS-OXWSADISC section 3.1.4.2, GetUserSettings.
fn by_soap_request(address: &EmailAddress, url: &Url) -> String {
    let (address, to) = (escaped(address.as_str()), escaped(url.as_str()));
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\
         <s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:a=\"http://schemas.microsoft.com/exchange/2010/Autodiscover\" \
         xmlns:w=\"http://www.w3.org/2005/08/addressing\">\
         <s:Header><a:RequestedServerVersion>Exchange2013_SP1</a:RequestedServerVersion>\
         <w:Action>http://schemas.microsoft.com/exchange/2010/Autodiscover/Autodiscover/GetUserSettings</w:Action>\
         <w:To>{to}</w:To></s:Header>\
         <s:Body><a:GetUserSettingsRequestMessage><a:Request><a:Users><a:User><a:Mailbox>{address}</a:Mailbox></a:User>\
         </a:Users><a:RequestedSettings><a:Setting>ExternalEwsUrl</a:Setting><a:Setting>InternalEwsUrl</a:Setting>\
         </a:RequestedSettings></a:Request></a:GetUserSettingsRequestMessage></s:Body></s:Envelope>"
    )
}

/// MS-OXDSCLI section 2.2.3.
fn by_xml_request(address: &EmailAddress) -> String {
    let address = escaped(address.as_str());
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\
         <Autodiscover xmlns=\"http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006\"><Request>\
         <EMailAddress>{address}</EMailAddress><AcceptableResponseSchema>{RESPONSE_SCHEMA}</AcceptableResponseSchema>\
         </Request></Autodiscover>"
    )
}

fn of_soap(document: &Element) -> Said {
    let nothing = |words: &str| Said::Nothing(words.to_owned());
    let Some(response) = document.find("UserResponse") else {
        return nothing("the reply has no answer for the mailbox");
    };
    let code = response.text_at(&["ErrorCode"]).unwrap_or("NoError");
    let target = response.text_at(&["RedirectTarget"]).map(str::to_owned);
    match (code, target) {
        ("RedirectAddress", Some(target)) => return Said::Address(target),
        ("RedirectUrl", Some(target)) => return Said::Elsewhere(target),
        ("NoError", _) => {}
        (code, _) => return nothing(&format!("it says {code}")),
    }
    let setting = |name: &str| {
        let settings = response.child("UserSettings")?;
        let of_name = settings.all("UserSetting").find(|setting| setting.text_at(&["Name"]) == Some(name))?;
        of_name.text_at(&["Value"]).map(str::to_owned)
    };
    let found = setting("ExternalEwsUrl").or_else(|| setting("InternalEwsUrl"));
    found.map_or_else(|| nothing("the reply names no web services"), Said::Location)
}

fn of_xml(document: &Element) -> Said {
    let Some(account) = document.at(&["Response", "Account"]) else {
        let words = document.find("Message").map(|message| message.text.trim()).filter(|words| !words.is_empty());
        return Said::Nothing(words.unwrap_or("the reply has no answer for the mailbox").to_owned());
    };
    if let Some(address) = account.text_at(&["RedirectAddr"]) {
        return Said::Address(address.to_owned());
    }
    if let Some(url) = account.text_at(&["RedirectUrl"]) {
        return Said::Elsewhere(url.to_owned());
    }
    // The address for use from outside goes first, then the one from inside (MS-OXDSCLI section 2.2.4.1.1.2.6).
    let of_kind = |kind: &str| {
        let mut protocols = account.all("Protocol");
        protocols
            .find_map(|protocol| protocol.text_at(&["EwsUrl"]).filter(|_| protocol.text_at(&["Type"]) == Some(kind)))
    };
    let found = ["EXPR", "EXCH", "EXHTTP"].into_iter().find_map(of_kind);
    found.map_or_else(
        || Said::Nothing("the reply names no web services".to_owned()),
        |url| Said::Location(url.to_owned()),
    )
}

/// Failures that say that no web services are at a place.
const NOT_THERE: [Cause; 4] =
    [Cause::HostNotFound, Cause::ConnectionRefused, Cause::CertificateRefused, Cause::HandshakeFailed];

/// Whether a failure of a request means that the web services may have moved.
pub(crate) fn may_have_moved(failure: &Failure) -> bool {
    match failure {
        Failure::Broken(error) => {
            NOT_THERE.contains(&error.cause)
                || (error.cause == Cause::TimedOut && error.evidence.stage == Stage::Connect)
        }
        Failure::Refused(Refusal { code: None, status, .. }) => {
            [301, 302, 307, 308, 404, 405, 410, 421].contains(status)
        }
        Failure::Refused(_) => failure.is(&["ErrorNonExistentMailbox"]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(name: &str, text: &str, children: Vec<Element>) -> Element {
        Element { name: name.to_owned(), text: text.to_owned(), attributes: vec![], children }
    }

    fn protocol(kind: &str, url: &str) -> Element {
        element("Protocol", "", vec![element("Type", kind, vec![]), element("EwsUrl", url, vec![])])
    }

    fn plain(parts: Vec<Element>) -> Said {
        let account = element("Account", "", parts);
        of_xml(&element("Autodiscover", "", vec![element("Response", "", vec![account])]))
    }

    #[test]
    fn the_address_from_outside_goes_before_the_one_from_inside() {
        let both = vec![protocol("EXCH", "https://inside/"), protocol("EXPR", "https://outside/")];
        assert_eq!(plain(both), Said::Location("https://outside/".to_owned()));
        assert_eq!(plain(vec![protocol("EXCH", "https://inside/")]), Said::Location("https://inside/".to_owned()));
        assert!(matches!(plain(vec![protocol("WEB", "https://web/")]), Said::Nothing(_)));
        assert_eq!(plain(vec![element("RedirectAddr", "a@b.c", vec![])]), Said::Address("a@b.c".to_owned()));
        assert!(matches!(of_xml(&element("html", "", vec![])), Said::Nothing(_)));
        assert!(matches!(of_soap(&element("html", "", vec![])), Said::Nothing(_)));
    }
}
