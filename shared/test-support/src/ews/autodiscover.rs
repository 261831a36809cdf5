//! Autodiscover of the test server: by SOAP and by plain XML, for whichever host was asked.

use axum::{
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use roxmltree::Document;

use super::{EwsServer, Place};

const XML: [(header::HeaderName, &str); 1] = [(header::CONTENT_TYPE, "text/xml; charset=utf-8")];

/// Answers a request for a mailbox's settings. Who has not signed in is asked to.
pub(super) async fn answer(
    State(server): State<EwsServer>,
    Path(kind): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    // HTTP/2 has the host in the address, HTTP/1.1 in a header.
    let named = headers.get(header::HOST).and_then(|host| host.to_str().ok()).and_then(|host| host.split(':').next());
    let host = uri.host().or(named).unwrap_or_default().to_owned();
    let has_credentials = headers.contains_key(header::AUTHORIZATION);
    server.exchange().asked.push((host.clone(), kind.clone(), has_credentials));
    let page = if kind == "svc" { "svc" } else { "xml" };
    let Some(place) = server.exchange().places.get(&(host, page)).cloned() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    if let Place::Http(status, location) = &place {
        let mut reply = StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_REQUEST).into_response();
        if let Some(location) = location {
            reply.headers_mut().insert(header::LOCATION, location.parse().expect("a header"));
        }
        return reply;
    }
    if let Place::Body(body) = place {
        return (XML, body).into_response();
    }
    if let Err(reply) = server.account(&headers) {
        return *reply;
    }
    let Ok(text) = std::str::from_utf8(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let Ok(document) = Document::parse(text) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let text_of = |name: &str| {
        let found = document.descendants().find(|node| node.tag_name().name() == name);
        found.and_then(|node| node.text()).unwrap_or_default().to_ascii_lowercase()
    };
    let address = text_of(if page == "svc" { "Mailbox" } else { "EMailAddress" });
    let is_known = server.exchange().mailboxes.contains_key(&address);
    let reply = if page == "svc" { by_soap(&document, &place, &address, is_known) } else { by_xml(&place, is_known) };
    (XML, reply).into_response()
}

fn by_soap(document: &Document<'_>, place: &Place, address: &str, is_known: bool) -> String {
    let asked = |name: &str| document.descendants().any(|node| node.text() == Some(name));
    let setting = |name: &str, value: &str| {
        if asked(name) {
            format!("<UserSetting><Name>{name}</Name><Value>{value}</Value></UserSetting>")
        } else {
            String::new()
        }
    };
    let user = match place {
        _ if !is_known => "<ErrorCode>InvalidUser</ErrorCode><ErrorMessage>Nobody has it.</ErrorMessage>".to_owned(),
        Place::Location(url) => format!(
            "<ErrorCode>NoError</ErrorCode><UserSettings>{}{}</UserSettings>",
            setting("AutoDiscoverSMTPAddress", address),
            setting("ExternalEwsUrl", url)
        ),
        Place::Address(to) => {
            format!("<ErrorCode>RedirectAddress</ErrorCode><RedirectTarget>{to}</RedirectTarget>")
        }
        Place::Url(to) => format!("<ErrorCode>RedirectUrl</ErrorCode><RedirectTarget>{to}</RedirectTarget>"),
        Place::Http(..) | Place::Body(_) => String::new(),
    };
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\">\
         <s:Body><GetUserSettingsResponseMessage xmlns=\"http://schemas.microsoft.com/exchange/2010/Autodiscover\">\
         <Response><ErrorCode>NoError</ErrorCode><ErrorMessage/><UserResponses><UserResponse>{user}</UserResponse>\
         </UserResponses></Response></GetUserSettingsResponseMessage></s:Body></s:Envelope>"
    )
}

fn by_xml(place: &Place, is_known: bool) -> String {
    let account = match place {
        _ if !is_known => {
            return "<?xml version=\"1.0\" encoding=\"utf-8\"?><Autodiscover><Response><Error><ErrorCode>500</ErrorCode>\
                    <Message>The email address can't be found.</Message></Error></Response></Autodiscover>"
                .to_owned();
        }
        Place::Location(url) => format!(
            "<Action>settings</Action><Protocol><Type>EXCH</Type><EwsUrl>https://inside.invalid/EWS</EwsUrl></Protocol>\
             <Protocol><Type>EXPR</Type><EwsUrl>{url}</EwsUrl></Protocol>"
        ),
        Place::Address(to) => format!("<Action>redirectAddr</Action><RedirectAddr>{to}</RedirectAddr>"),
        Place::Url(to) => format!("<Action>redirectUrl</Action><RedirectUrl>{to}</RedirectUrl>"),
        Place::Http(..) | Place::Body(_) => String::new(),
    };
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\
         <Autodiscover xmlns=\"http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006\">\
         <Response xmlns=\"http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a\">\
         <Account>{account}</Account></Response></Autodiscover>"
    )
}
