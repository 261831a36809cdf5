//! The operations of web services that the test server knows.

use std::collections::BTreeSet;

use axum::{
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use mail_parser::{Address, MessageParser};
use roxmltree::{Document, Node};

use super::{Answer, Call, Exchange, Kind, Message, Sent, state::Change};
use crate::build::clock;

type Element<'a> = Node<'a, 'a>;
/// What is said of one thing that was asked for, or the code that refuses it.
type Part = Result<String, &'static str>;

const XML: &str = "text/xml; charset=utf-8";

/// Answers a request.
pub(super) fn answer(exchange: &mut Exchange, account: &str, headers: &HeaderMap, body: &[u8]) -> Response {
    let version = exchange.version;
    let Some(text) = std::str::from_utf8(body).ok() else {
        return fault(version, "ErrorSchemaValidation", None);
    };
    let Ok(document) = Document::parse(text) else {
        return fault(version, "ErrorSchemaValidation", None);
    };
    let find = |name: &str| document.descendants().find(|node| node.tag_name().name() == name);
    let Some(asked) = find("Body").and_then(|body| body.children().find(Node::is_element)) else {
        return fault(version, "ErrorSchemaValidation", None);
    };
    let operation = asked.tag_name().name().to_owned();
    let impersonated = find("ConnectingSID").and_then(|sid| sid.children().find(Node::is_element));
    let impersonated = impersonated.and_then(|sid| sid.text()).map(str::to_ascii_lowercase);
    let anchor = headers.get("x-anchormailbox").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (name, account) = (operation.clone(), account.to_owned());
    exchange.calls.push(Call {
        operation: name,
        account: account.clone(),
        impersonated: impersonated.clone(),
        anchor,
        body: text.to_owned(),
    });
    let due = exchange.due(&operation);
    if let Some(fault) = &due
        && !fault.takes_effect
        && !matches!(fault.answer, Answer::Part(..) | Answer::Stopped(..))
    {
        return said(version, &fault.answer);
    }
    let acting = match acting(exchange, &account, impersonated) {
        Ok(acting) => acting,
        Err(code) => return fault(version, code, None),
    };
    let mut server = Server { exchange, account, acting };
    let Some(parts) = server.parts(&operation, asked) else {
        return fault(version, "ErrorInvalidOperation", None);
    };
    let of_part = |(n, part): (usize, Part)| match (&due, part) {
        (Some(super::Fault { answer: Answer::Part(at, code, wait), .. }), _) if *at == n => {
            message(&operation, Err((code, *wait)))
        }
        (Some(super::Fault { answer: Answer::Stopped(at, code), .. }), _) if *at == n => {
            message(&operation, Err((code, None)))
        }
        (Some(super::Fault { answer: Answer::Stopped(at, _), .. }), _) if *at < n => {
            message(&operation, Err(("ErrorBatchProcessingStopped", None))).replacen("\"Error\"", "\"Warning\"", 1)
        }
        (_, Ok(part)) => message(&operation, Ok(part)),
        (_, Err(code)) => message(&operation, Err((code, None))),
    };
    let messages: String = parts.into_iter().enumerate().map(of_part).collect();
    if let Some(fault) = &due
        && !matches!(fault.answer, Answer::Part(..) | Answer::Stopped(..))
    {
        return said(version, &fault.answer);
    }
    let body =
        format!("<m:{operation}Response><m:ResponseMessages>{messages}</m:ResponseMessages></m:{operation}Response>");
    (StatusCode::OK, [(header::CONTENT_TYPE, XML)], enveloped(version, &body)).into_response()
}

/// Whose rights a request has.
fn acting(exchange: &Exchange, account: &str, impersonated: Option<String>) -> Result<Option<String>, &'static str> {
    let known = exchange.accounts.get(account);
    match impersonated {
        None => Ok(known.and_then(|known| known.address.clone()).map(|address| address.to_ascii_lowercase())),
        // An application has no account and may act for everybody.
        Some(_) if known.is_some_and(|known| !known.may_impersonate) => Err("ErrorImpersonateUserDenied"),
        Some(address) if !exchange.mailboxes.contains_key(&address) => Err("ErrorNonExistentMailbox"),
        Some(address) => Ok(Some(address)),
    }
}

fn enveloped(version: Option<(u32, u32, u32)>, body: &str) -> String {
    let header = version.map_or(String::new(), |(major, minor, build)| {
        format!(
            "<s:Header><h:ServerVersionInfo MajorVersion=\"{major}\" MinorVersion=\"{minor}\" \
             MajorBuildNumber=\"{build}\" MinorBuildNumber=\"4\" \
             xmlns:h=\"http://schemas.microsoft.com/exchange/services/2006/types\"/></s:Header>"
        )
    });
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:m=\"http://schemas.microsoft.com/exchange/services/2006/messages\" \
         xmlns:t=\"http://schemas.microsoft.com/exchange/services/2006/types\">{header}<s:Body>{body}</s:Body>\
         </s:Envelope>"
    )
}

fn said(version: Option<(u32, u32, u32)>, answer: &Answer) -> Response {
    match answer {
        Answer::Http(status, kind, body, headers) => {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_REQUEST);
            let mut reply = (status, [(header::CONTENT_TYPE, *kind)], body.clone()).into_response();
            for (name, value) in headers {
                reply.headers_mut().insert(*name, value.parse().expect("a header"));
            }
            reply
        }
        Answer::Fault(code, wait) | Answer::Part(_, code, wait) => fault(version, code, *wait),
        Answer::Stopped(_, code) => fault(version, code, None),
    }
}

/// HTTP 500 with a SOAP fault.
fn fault(version: Option<(u32, u32, u32)>, code: &str, wait: Option<u64>) -> Response {
    let body = format!(
        "<s:Fault><faultcode xmlns:a=\"http://schemas.microsoft.com/exchange/services/2006/types\">a:{code}</faultcode>\
         <faultstring xml:lang=\"en-US\">The server says {code}.</faultstring><detail>\
         <e:ResponseCode xmlns:e=\"http://schemas.microsoft.com/exchange/services/2006/errors\">{code}</e:ResponseCode>\
         <e:Message xmlns:e=\"http://schemas.microsoft.com/exchange/services/2006/errors\">It says {code}.</e:Message>{}\
         </detail></s:Fault>",
        back_off(wait)
    );
    (StatusCode::INTERNAL_SERVER_ERROR, [(header::CONTENT_TYPE, XML)], enveloped(version, &body)).into_response()
}

fn back_off(milliseconds: Option<u64>) -> String {
    milliseconds.map_or(String::new(), |wait| {
        format!("<t:MessageXml><t:Value Name=\"BackOffMilliseconds\">{wait}</t:Value></t:MessageXml>")
    })
}

fn message(operation: &str, part: Result<String, (&str, Option<u64>)>) -> String {
    match part {
        Ok(part) => format!(
            "<m:{operation}ResponseMessage ResponseClass=\"Success\"><m:ResponseCode>NoError</m:ResponseCode>{part}\
             </m:{operation}ResponseMessage>"
        ),
        Err((code, wait)) => {
            // Other people's clients look for these before they look for the code.
            let state = if operation == "SyncFolderItems" {
                "<m:SyncState/><m:IncludesLastItemInRange>true</m:IncludesLastItemInRange>"
            } else {
                ""
            };
            format!(
                "<m:{operation}ResponseMessage ResponseClass=\"Error\"><m:MessageText>The server says {code}.\
                 </m:MessageText><m:ResponseCode>{code}</m:ResponseCode><m:DescriptiveLinkKey>0</m:DescriptiveLinkKey>{}\
                 {state}</m:{operation}ResponseMessage>",
                back_off(wait)
            )
        }
    }
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    // Control characters are sent as references, which XML does not allow either.
    text.chars().map(|c| if c.is_control() { format!("&#x{:X};", u32::from(c)) } else { c.to_string() }).collect()
}

fn child<'a>(node: Element<'a>, name: &str) -> Option<Element<'a>> {
    node.children().find(|child| child.tag_name().name() == name)
}

fn below<'a>(node: Element<'a>, name: &str) -> Option<Element<'a>> {
    node.descendants().find(|below| below.tag_name().name() == name)
}

fn text_below<'a>(node: Element<'a>, name: &str) -> Option<&'a str> {
    below(node, name).and_then(|node| node.text())
}

fn number_of(node: Option<Element<'_>>, name: &str) -> Option<usize> {
    node?.attribute(name)?.parse().ok()
}

/// Identifiers hold what they name, so that they are known wherever they come from.
fn identifier(kind: char, mailbox: &str, key: &str) -> String {
    STANDARD.encode(format!("{kind}|{mailbox}|{key}"))
}

fn identified(kind: char, id: &str) -> Option<(String, String)> {
    let text = String::from_utf8(STANDARD.decode(id).ok()?).ok()?;
    let mut parts = text.splitn(3, '|');
    (parts.next() == Some(kind.to_string().as_str())).then_some(())?;
    Some((parts.next()?.to_owned(), parts.next()?.to_owned()))
}

/// The server for one request.
struct Server<'s> {
    exchange: &'s mut Exchange,
    account: String,
    acting: Option<String>,
}

impl Server<'_> {
    fn parts(&mut self, operation: &str, asked: Element<'_>) -> Option<Vec<Part>> {
        Some(match operation {
            "GetFolder" => self.each(child(asked, "FolderIds"), Self::get_folder),
            "FindFolder" => {
                self.each(child(asked, "ParentFolderIds"), |server, parent| server.find_folder(asked, parent))
            }
            "CreateFolder" => vec![self.create_folder(asked)],
            "SyncFolderItems" => vec![self.sync(asked)],
            "GetItem" => self.each(child(asked, "ItemIds"), |server, id| server.get_item(asked, id)),
            "FindItem" => self.each(child(asked, "ParentFolderIds"), |server, parent| server.find_item(asked, parent)),
            "CreateItem" => vec![self.create_item(asked)],
            "MoveItem" => self.each(child(asked, "ItemIds"), |server, id| server.move_item(asked, id)),
            "DeleteItem" => self.each(child(asked, "ItemIds"), Self::delete_item),
            // A probe of other people's clients, which only want the header.
            "ConvertId" => vec![Err("ErrorInvalidIdMalformed")],
            _ => return None,
        })
    }

    fn each(&mut self, list: Option<Element<'_>>, part: impl Fn(&mut Self, Element<'_>) -> Part) -> Vec<Part> {
        list.into_iter().flat_map(|list| list.children()).filter(Node::is_element).map(|one| part(self, one)).collect()
    }

    /// The mailbox, if the request may use it.
    fn allowed(&self, mailbox: &str) -> Result<(), &'static str> {
        let there = self.exchange.mailboxes.get(mailbox).ok_or("ErrorNonExistentMailbox")?;
        let is_own = self.acting.as_deref() == Some(mailbox);
        let is_allowed = is_own || there.full_access.contains(&self.account);
        // Real servers tell a delegate that what it may not see is not there.
        if is_allowed { Ok(()) } else { Err("ErrorItemNotFound") }
    }

    /// The mailbox and the key of a folder that is named in one way or the other.
    fn folder(&self, named: Element<'_>) -> Result<(String, String), &'static str> {
        let id = named.attribute("Id").unwrap_or_default();
        let (mailbox, key) = if named.tag_name().name() == "FolderId" {
            identified('F', id).ok_or("ErrorInvalidIdMalformed")?
        } else {
            let whose = text_below(named, "EmailAddress").map(str::to_ascii_lowercase).or_else(|| self.acting.clone());
            (whose.ok_or("ErrorMissingEmailAddress")?, id.to_owned())
        };
        self.allowed(&mailbox)?;
        let is_there = self.exchange.mailboxes[&mailbox].folders.contains_key(&key);
        if is_there { Ok((mailbox, key)) } else { Err("ErrorFolderNotFound") }
    }

    fn folder_xml(&self, mailbox: &str, key: &str) -> String {
        let there = &self.exchange.mailboxes[mailbox];
        let (name, parent) = &there.folders[key];
        let children = there.folders.values().filter(|(_, parent)| parent == key).count();
        let known = if key.contains('/') {
            String::new()
        } else {
            format!("<t:DistinguishedFolderId>{key}</t:DistinguishedFolderId>")
        };
        format!(
            "<t:Folder><t:FolderId Id=\"{}\" ChangeKey=\"AQ==\"/><t:ParentFolderId Id=\"{}\" ChangeKey=\"AQ==\"/>\
             <t:FolderClass>IPF.Note</t:FolderClass><t:DisplayName>{}</t:DisplayName><t:TotalCount>{}</t:TotalCount>\
             <t:ChildFolderCount>{children}</t:ChildFolderCount><t:UnreadCount>0</t:UnreadCount>{known}</t:Folder>",
            identifier('F', mailbox, key),
            identifier('F', mailbox, parent),
            escaped(name),
            there.of_folder(key).len(),
        )
    }

    fn get_folder(&mut self, named: Element<'_>) -> Part {
        let (mailbox, key) = self.folder(named)?;
        Ok(format!("<m:Folders>{}</m:Folders>", self.folder_xml(&mailbox, &key)))
    }

    fn find_folder(&mut self, asked: Element<'_>, parent: Element<'_>) -> Part {
        let (mailbox, key) = self.folder(parent)?;
        let is_deep = asked.attribute("Traversal") == Some("Deep");
        let wanted = below(asked, "Constant").and_then(|constant| constant.attribute("Value"));
        let folders = self.exchange.mailboxes[&mailbox].folders.iter();
        let found: Vec<String> = folders
            .filter(|(own, (name, parent))| {
                *own != "root" && (is_deep || *parent == key) && wanted.is_none_or(|wanted| wanted == name)
            })
            .map(|(own, _)| own.clone())
            .collect();
        let list: String = found.iter().map(|own| self.folder_xml(&mailbox, own)).collect();
        Ok(format!(
            "<m:RootFolder IndexedPagingOffset=\"{0}\" TotalItemsInView=\"{0}\" IncludesLastItemInRange=\"true\">\
             <t:Folders>{list}</t:Folders></m:RootFolder>",
            found.len()
        ))
    }

    fn create_folder(&mut self, asked: Element<'_>) -> Part {
        let parent = child(asked, "ParentFolderId").and_then(|parent| parent.first_element_child());
        let (mailbox, key) = self.folder(parent.ok_or("ErrorSchemaValidation")?)?;
        let name = text_below(asked, "DisplayName").unwrap_or_default().to_owned();
        let there = self.exchange.mailbox(&mailbox);
        if there.folders.values().any(|(known, parent)| *known == name && *parent == key) {
            return Err("ErrorFolderExists");
        }
        let made = there.add_folder(&name, &key);
        Ok(format!("<m:Folders>{}</m:Folders>", self.folder_xml(&mailbox, &made)))
    }

    fn item_xml(&mut self, mailbox: &str, number: usize, with_mime: bool) -> Option<String> {
        let (remakes, has_fractions) = (self.exchange.remakes_mime, self.exchange.has_fractions);
        let calls = self.exchange.calls.len();
        let message = self.exchange.mailboxes.get(mailbox)?.messages.get(&number)?;
        let (element, class) = match message.kind {
            Kind::Message | Kind::Unconvertible | Kind::Empty | Kind::Failing => ("Message", "IPM.Note"),
            Kind::MeetingRequest => ("MeetingRequest", "IPM.Schedule.Meeting.Request"),
            Kind::Report => ("Item", "REPORT.IPM.Note.NDR"),
            Kind::Other => ("HologramOfTomorrow", "IPM.Hologram"),
        };
        let mime = if with_mime && message.kind != Kind::Empty {
            let made_anew = if remakes { format!("X-MS-Exchange-Made: {calls}\r\n") } else { String::new() };
            let mime = [made_anew.as_bytes(), &message.mime].concat();
            format!("<t:MimeContent CharacterSet=\"UTF-8\">{}</t:MimeContent>", STANDARD.encode(mime))
        } else {
            String::new()
        };
        let fraction = match number % 3 {
            _ if !has_fractions => "",
            0 => ".1234567",
            1 => ".5",
            _ => "",
        };
        let message_id = message
            .message_id()
            .map_or(String::new(), |id| format!("<t:InternetMessageId>{}</t:InternetMessageId>", escaped(&id)));
        Some(format!(
            "<t:{element}>{mime}<t:ItemId Id=\"{}\" ChangeKey=\"CQ==\"/><t:ItemClass>{class}</t:ItemClass>\
             <t:Subject>{}</t:Subject><t:DateTimeReceived>{}{fraction}Z</t:DateTimeReceived><t:Size>{}</t:Size>\
             {message_id}</t:{element}>",
            identifier('I', mailbox, &number.to_string()),
            escaped(&message.subject()),
            message.received.format("%Y-%m-%dT%H:%M:%S"),
            message.mime.len(),
        ))
    }

    fn sync(&mut self, asked: Element<'_>) -> Part {
        let named = child(asked, "SyncFolderId").and_then(|named| named.first_element_child());
        let (mailbox, key) = self.folder(named.ok_or("ErrorSchemaValidation")?)?;
        let generation = self.exchange.mailboxes[&mailbox].generation;
        let prefix = format!("{generation}|{key}|");
        let from = match text_below(asked, "SyncState") {
            None => 0,
            Some(state) => {
                let state = STANDARD.decode(state.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
                let place = state.and_then(|state| state.strip_prefix(&prefix)?.parse().ok());
                place.ok_or("ErrorInvalidSyncStateData")?
            }
        };
        let most = text_below(asked, "MaxChangesReturned").and_then(|most| most.parse::<usize>().ok());
        let most = most.unwrap_or(512).min(self.exchange.page_changes);
        let log: Vec<(usize, usize, Change)> = {
            let log = self.exchange.mailboxes[&mailbox].log.iter().enumerate().skip(from);
            log.filter(|(_, (folder, ..))| *folder == key)
                .map(|(at, (_, number, change))| (at, *number, *change))
                .collect()
        };
        let page = &log[..log.len().min(most)];
        let mut changes = String::new();
        for (_, number, change) in page {
            let id = identifier('I', &mailbox, &number.to_string());
            match (change, self.item_xml(&mailbox, *number, false)) {
                (Change::Created, Some(item)) => changes.push_str(&format!("<t:Create>{item}</t:Create>")),
                (Change::Updated, Some(item)) => changes.push_str(&format!("<t:Update>{item}</t:Update>")),
                (Change::Deleted, _) => changes.push_str(&format!("<t:Delete><t:ItemId Id=\"{id}\"/></t:Delete>")),
                (Change::Created | Change::Updated, None) => {}
            }
        }
        let is_last = page.len() == log.len();
        let next = page.last().map_or(from, |(at, ..)| at + 1);
        Ok(format!(
            "<m:SyncState>{}</m:SyncState><m:IncludesLastItemInRange>{is_last}</m:IncludesLastItemInRange>\
             <m:Changes>{changes}</m:Changes>",
            STANDARD.encode(format!("{prefix}{next}"))
        ))
    }

    /// The mailbox and the number of an item.
    fn item(&self, named: Element<'_>) -> Result<(String, usize), &'static str> {
        let id = named.attribute("Id").unwrap_or_default();
        let (mailbox, number) = identified('I', id).ok_or("ErrorInvalidIdMalformed")?;
        self.allowed(&mailbox)?;
        let number = number.parse().map_err(|_| "ErrorInvalidIdMalformed")?;
        let is_there = self.exchange.mailboxes[&mailbox].messages.contains_key(&number);
        if is_there { Ok((mailbox, number)) } else { Err("ErrorItemNotFound") }
    }

    fn get_item(&mut self, asked: Element<'_>, id: Element<'_>) -> Part {
        let (mailbox, number) = self.item(id)?;
        let by_field = asked.descendants().any(|node| node.attribute("FieldURI") == Some("item:MimeContent"));
        let with_mime = by_field || text_below(asked, "IncludeMimeContent") == Some("true");
        match self.exchange.mailboxes[&mailbox].messages[&number].kind {
            Kind::Unconvertible if with_mime => return Err("ErrorContentConversionFailed"),
            Kind::Failing if with_mime => return Err("ErrorInternalServerError"),
            _ => {}
        }
        let item = self.item_xml(&mailbox, number, with_mime).ok_or("ErrorItemNotFound")?;
        Ok(format!("<m:Items>{item}</m:Items>"))
    }

    fn find_item(&mut self, asked: Element<'_>, parent: Element<'_>) -> Part {
        let (mailbox, key) = self.folder(parent)?;
        let restriction = child(asked, "Restriction");
        let value = restriction.and_then(|all| below(all, "Constant")).and_then(|one| one.attribute("Value"));
        let by_message_id = restriction
            .is_some_and(|all| all.descendants().any(|node| node.attribute("PropertyTag") == Some("0x1035")));
        let matches = |message: &Message| match value {
            None => true,
            Some(value) if by_message_id => message.message_id().as_deref() == Some(value),
            Some(value) => message.subject() == value,
        };
        let all: Vec<usize> = {
            let there = self.exchange.mailboxes[&mailbox].of_folder(&key);
            there.into_iter().filter(|message| matches(message)).map(|message| message.number).collect()
        };
        let view = child(asked, "IndexedPageItemView");
        let offset = number_of(view, "Offset").unwrap_or(0).min(all.len());
        let most = number_of(view, "MaxEntriesReturned").unwrap_or(1_000);
        let page = &all[offset..all.len().min(offset + most)];
        let list: String = page.iter().filter_map(|number| self.item_xml(&mailbox, *number, false)).collect();
        let next = offset + page.len();
        Ok(format!(
            "<m:RootFolder IndexedPagingOffset=\"{next}\" TotalItemsInView=\"{}\" IncludesLastItemInRange=\"{}\">\
             <t:Items>{list}</t:Items></m:RootFolder>",
            all.len(),
            next == all.len()
        ))
    }

    fn create_item(&mut self, asked: Element<'_>) -> Part {
        let item = below(asked, "Message").ok_or("ErrorSchemaValidation")?;
        let saved = child(asked, "SavedItemFolderId").and_then(|saved| saved.first_element_child());
        let (mailbox, key) = match saved {
            Some(saved) => self.folder(saved)?,
            None => (self.acting.clone().ok_or("ErrorMissingEmailAddress")?, "sentitems".to_owned()),
        };
        let mime = match text_below(item, "MimeContent") {
            Some(mime) => STANDARD.decode(mime.trim()).map_err(|_| "ErrorMimeContentInvalidBase64String")?,
            None => composed(item, &mailbox),
        };
        let disposition = asked.attribute("MessageDisposition").unwrap_or_default();
        if self.exchange.holds_sent && disposition.starts_with("Send") {
            self.exchange.mailbox(&mailbox).deliver("drafts", &mime, clock());
            return Ok("<m:Items/>".to_owned());
        }
        if disposition.starts_with("Send") {
            self.send(&mailbox, &mime)?;
        }
        if disposition == "SendOnly" {
            return Ok("<m:Items/>".to_owned());
        }
        let number = self.exchange.mailbox(&mailbox).deliver(&key, &mime, clock());
        let id = identifier('I', &mailbox, &number.to_string());
        Ok(match disposition {
            "SaveOnly" => {
                format!("<m:Items><t:Message><t:ItemId Id=\"{id}\" ChangeKey=\"CQ==\"/></t:Message></m:Items>")
            }
            _ => "<m:Items/>".to_owned(),
        })
    }

    /// Hands a message to everybody whom it names; those of the organization have it in their inbox.
    fn send(&mut self, mailbox: &str, mime: &[u8]) -> Result<(), &'static str> {
        let parsed = MessageParser::default().parse(mime).ok_or("ErrorMimeContentInvalid")?;
        let addresses = |list: Option<&Address<'_>>| -> Vec<String> {
            let list = list.into_iter().flat_map(Address::iter);
            list.filter_map(|one| one.address().map(str::to_ascii_lowercase)).collect()
        };
        let from = addresses(parsed.from()).into_iter().next().unwrap_or_else(|| mailbox.to_owned());
        let there = self.exchange.mailbox(mailbox);
        let is_own = from == mailbox || there.may_send_as.contains(&from);
        // Full access to a mailbox is no right to send as it.
        let is_user = self.acting.as_deref() == Some(mailbox) || there.send_as.contains(&self.account);
        let on_behalf = !is_user && there.send_on_behalf.contains(&self.account);
        if !is_own || !(is_user || on_behalf) {
            return Err("ErrorSendAsDenied");
        }
        let lists = [parsed.to(), parsed.cc(), parsed.bcc()];
        let recipients: BTreeSet<String> = lists.into_iter().flat_map(addresses).collect();
        if recipients.is_empty() {
            return Err("ErrorInvalidRecipients");
        }
        let mut visible = without_blind_copies(mime);
        if on_behalf {
            visible.splice(0..0, format!("Sender: {}\r\n", self.account).into_bytes());
        }
        for recipient in &recipients {
            if self.exchange.mailboxes.contains_key(recipient) {
                self.exchange.mailbox(recipient).deliver("inbox", &visible, clock());
            }
        }
        self.exchange.sent.push(Sent { account: self.account.clone(), from, recipients });
        Ok(())
    }

    fn move_item(&mut self, asked: Element<'_>, id: Element<'_>) -> Part {
        let to = child(asked, "ToFolderId").and_then(|to| to.first_element_child()).ok_or("ErrorSchemaValidation")?;
        let (_, key) = self
            .folder(to)
            .map_err(|code| if code == "ErrorFolderNotFound" { "ErrorToFolderNotFound" } else { code })?;
        let (mailbox, number) = self.item(id)?;
        let moved = self.exchange.mailbox(&mailbox).move_to(number, &key).ok_or("ErrorItemNotFound")?;
        let id = identifier('I', &mailbox, &moved.to_string());
        Ok(format!("<m:Items><t:Message><t:ItemId Id=\"{id}\" ChangeKey=\"CQ==\"/></t:Message></m:Items>"))
    }

    fn delete_item(&mut self, id: Element<'_>) -> Part {
        let (mailbox, number) = self.item(id)?;
        self.exchange.mailbox(&mailbox).delete(number).ok_or("ErrorItemNotFound")?;
        Ok(String::new())
    }
}

/// A message from fields, as clients send one that make no MIME.
fn composed(item: Element<'_>, from: &str) -> Vec<u8> {
    let to: Vec<&str> = child(item, "ToRecipients")
        .into_iter()
        .flat_map(|to| to.descendants())
        .filter(|node| node.tag_name().name() == "EmailAddress")
        .filter_map(|node| node.text())
        .collect();
    let now = clock();
    format!(
        "From: {from}\r\nTo: {}\r\nSubject: {}\r\nDate: {}\r\nMessage-ID: <made-{}@exchange.test>\r\n\r\n{}\r\n",
        to.join(", "),
        text_below(item, "Subject").unwrap_or_default(),
        now.to_rfc2822(),
        now.timestamp_micros(),
        text_below(item, "Body").unwrap_or_default(),
    )
    .into_bytes()
}

/// The message without its Bcc field, folded lines included.
fn without_blind_copies(mime: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(mime.len());
    let (mut is_head, mut is_blind) = (true, false);
    for line in mime.split_inclusive(|byte| *byte == b'\n') {
        is_head &= line != b"\r\n";
        is_blind = is_head && if line.starts_with(b" ") { is_blind } else { line.starts_with(b"Bcc:") };
        if !is_blind {
            kept.extend_from_slice(line);
        }
    }
    kept
}
