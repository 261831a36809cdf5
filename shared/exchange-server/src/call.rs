//! Requests for one mailbox: to its web services, for its user, and with a cause for every failure.

use mailrail_connect::{Failure, Refusal, broken};
use mailrail_domain::{
    settings::endpoint::WebServices,
    words::{
        cause::{Cause, DeliveryError},
        evidence::{Evidence, Stage},
    },
};
use mailrail_engine::ports::{Access, Ledger};
use reqwest::{Response, Url, header::CONTENT_TYPE};

use crate::{
    ExchangeServer,
    autodiscover::{discover, may_have_moved},
    carrier::{Carrier, Letter, Repeat},
    reply::{check_version, of_fault, of_message},
    request::{FolderRef, envelope, find_folder, find_message, get_folder},
    xml::{Document, Element, Token},
};

/// The folder of incoming email.
pub(crate) const INBOX: &str = "inbox";
/// The folder of what is to be sent.
pub(crate) const OUTBOX: &str = "outbox";
/// The folder of what is being written.
pub(crate) const DRAFTS: &str = "drafts";
/// The folder of what was sent.
pub(crate) const SENT_ITEMS: &str = "sentitems";
/// Most times that a request is sent whose connection is lost, because servers close a connection after a large
/// request.
const SENDS_MAX: usize = 2;

/// One mailbox of an Exchange Server.
#[derive(Debug)]
pub(crate) struct Mailbox {
    carrier: Carrier,
    services: WebServices,
    address: mailrail_domain::words::address::EmailAddress,
    /// Where the web services are, once it is known.
    location: Option<Url>,
    /// Whether an earlier run found them there, so that they may have moved since.
    is_remembered: bool,
}

impl Mailbox {
    pub(crate) fn new(server: &ExchangeServer, services: &WebServices, access: &Access) -> Result<Self, DeliveryError> {
        let unusable = |words| DeliveryError::new(Cause::HostNotFound, Evidence::new(Stage::Prepare, words));
        let address = access.address.clone().ok_or_else(|| unusable("the mailbox has no address"))?;
        let remembered = access.ledger.learned().location.filter(|_| services.location.is_none());
        let location = match services.location.as_ref().or(remembered.as_ref()) {
            Some(location) => {
                Some(location.parse::<Url>().map_err(|_| unusable("the location of the web services is no address"))?)
            }
            None => None,
        };
        let carrier = Carrier::new(server, access, services);
        let is_remembered = remembered.is_some();
        // The profile's account may have changed since the location was found.
        let location = location.filter(|location| !is_remembered || carrier.may_tell(location));
        Ok(Self { carrier, services: services.clone(), address, is_remembered, location })
    }

    /// For a test that is followed: finds the server, secures a connection, signs in, and acts for the user, each as a
    /// stage. Otherwise does nothing, because the first request shows all of it.
    pub(crate) async fn open(&mut self, access: &Access) -> Result<(), DeliveryError> {
        if !access.progress.is_noted() {
            return Ok(());
        }
        if self.services.location.is_none() {
            access.progress.reach(Stage::Discover);
        }
        let location = self.location().await?;
        access.progress.reach(Stage::Tls);
        self.carrier.knock(&location, Stage::Tls).await?;
        access.progress.reach(Stage::SignIn);
        let opened = self.ask(&get_folder(&self.known(INBOX)), Stage::Open).await;
        let opened = opened.and_then(|answers| one(answers, Stage::Open)?.done().map_err(Failure::Refused));
        // One reply tells about three stages; the stages before the failed stage succeeded.
        let error = opened.err().map(|failure| failure.into_error(Stage::Open));
        let last = error.as_ref().map_or(Stage::Open, |error| error.evidence.stage);
        let acting = Some(Stage::Impersonate).filter(|_| self.services.use_impersonation);
        for reached in acting.into_iter().chain([Stage::Open]).filter(|stage| *stage <= last) {
            access.progress.reach(reached);
        }
        error.map_or(Ok(()), Err)
    }

    /// Whether a reply has to be read before the next request.
    pub(crate) const fn is_one_line(&self) -> bool {
        self.carrier.is_one_line()
    }

    /// Whether the account is a shared account that impersonates nobody. If it may not see a folder or a message, the
    /// server says that the folder or message is not there (EWS, "Handling delegation-related errors in EWS in
    /// Exchange").
    pub(crate) const fn is_delegate(&self) -> bool {
        self.services.is_shared_account && !self.services.use_impersonation
    }

    /// What is noted about the server.
    pub(crate) const fn ledger(&self) -> &Ledger {
        self.carrier.ledger()
    }

    /// A folder that every mailbox has. The request says whose folder it is, because the account that signs in may be
    /// another's and would otherwise get its own folder. An impersonated user is named by the impersonation.
    pub(crate) fn known(&self, name: &'static str) -> FolderRef {
        let is_named = !self.services.use_impersonation;
        FolderRef::Known(name, is_named.then(|| self.address.as_str().to_owned()))
    }

    /// Where the web services are: as the profile says, as was found before, or by autodiscover.
    async fn location(&mut self) -> Result<Url, DeliveryError> {
        if let Some(location) = &self.location {
            return Ok(location.clone());
        }
        let found = discover(&self.carrier, &self.address).await?;
        self.ledger().learn(|learned| learned.location = Some(found.to_string()));
        self.location = Some(found.clone());
        Ok(found)
    }

    /// Sends an operation and gives its reply, whose header has been read.
    pub(crate) async fn post(&mut self, operation: &str, stage: Stage, repeat: Repeat) -> Result<Document, Failure> {
        let impersonated = self.services.use_impersonation.then(|| self.address.as_str());
        let body = envelope(impersonated, operation);
        let mut sends = 0;
        loop {
            let url = self.location().await.map_err(Failure::Broken)?;
            sends += 1;
            let failure = match self.post_once(&url, &body, stage, repeat).await {
                Ok(document) => {
                    self.is_remembered = false;
                    return Ok(document);
                }
                Err(failure) => failure,
            };
            if self.is_remembered && may_have_moved(&failure) {
                // The web services stopped answering where an earlier run found them, so they are looked for once more.
                self.is_remembered = false;
                self.location = None;
                match self.location().await {
                    Ok(found) if found != url => {
                        tracing::info!("the web services have moved");
                        continue;
                    }
                    Ok(_) => return Err(failure),
                    Err(error) if error.cause == Cause::CredentialsRefused => return Err(Failure::Broken(error)),
                    // The search failed too, so the failure at the known location is reported.
                    Err(_) => return Err(failure),
                }
            }
            let is_lost = matches!(&failure, Failure::Broken(error) if error.cause == Cause::ConnectionLost);
            if !is_lost || repeat == Repeat::Never || sends >= SENDS_MAX {
                return Err(failure);
            }
        }
    }

    async fn post_once(&self, url: &Url, body: &str, stage: Stage, repeat: Repeat) -> Result<Document, Failure> {
        // The server of the mailbox's own site answers soonest, and keeps its throttling for this mailbox ("How to:
        // Maintain affinity between a group of subscriptions and the Mailbox server").
        let anchor = [("X-AnchorMailbox", self.address.as_str())];
        // A header cannot hold an address with characters outside ASCII (RFC 6531).
        let headers = if self.address.as_str().is_ascii() { &anchor[..] } else { &[] };
        let response = self.carrier.post(Letter { url, headers, body, stage, repeat }).await?;
        let status = response.status();
        let is_xml = is_xml(&response);
        if (status.is_client_error() || status.is_server_error()) && is_xml {
            let refusal = self.carrier.refusal(&response);
            let fault = Document::of(response, stage, self.carrier.wait()).whole().await.map_err(Failure::Broken)?;
            let fault = fault.find("Fault").map(|fault| of_fault(fault, status.as_u16()));
            return Err(Failure::Refused(fault.unwrap_or(refusal)));
        }
        if !status.is_success() {
            return Err(Failure::Refused(self.carrier.refusal(&response)));
        }
        if !is_xml {
            return Err(broken(stage, "the server answers with something other than a reply of web services"));
        }
        self.opened(Document::of(response, stage, self.carrier.wait()), stage).await
    }

    /// Reads a reply up to the content of its body.
    async fn opened(&self, mut document: Document, stage: Stage) -> Result<Document, Failure> {
        let no_reply = || broken(stage, "the server answers with XML that is no reply of web services");
        loop {
            match document.next().await.map_err(Failure::Broken)? {
                Token::Start(element) if element.name == "Envelope" => {}
                Token::Start(element) if element.name == "Header" => {
                    let header = document.rest_of(element).await.map_err(Failure::Broken)?;
                    check_version(&header, stage)?;
                }
                Token::Start(element) if element.name == "Body" => return Ok(document),
                Token::Text(text) if text.trim().is_empty() => {}
                Token::Start(_) | Token::Text(_) | Token::End | Token::Over => return Err(no_reply()),
            }
        }
    }

    /// Sends an operation that may be repeated, and gives its response messages, one for each thing that was asked for.
    pub(crate) async fn ask(&mut self, operation: &str, stage: Stage) -> Result<Vec<Answer>, Failure> {
        self.ask_with(operation, stage, Repeat::Freely).await
    }

    /// The same, where `repeat` says whether the operation may be repeated.
    pub(crate) async fn ask_with(
        &mut self,
        operation: &str,
        stage: Stage,
        repeat: Repeat,
    ) -> Result<Vec<Answer>, Failure> {
        let mut document = self.post(operation, stage, repeat).await?;
        let reply = document.whole().await.map_err(Failure::Broken)?;
        document.finish().await;
        if reply.name == "Fault" {
            return Err(Failure::Refused(of_fault(&reply, 200)));
        }
        let messages = reply.children.into_iter().find(|child| child.name == "ResponseMessages");
        let messages = messages.ok_or_else(|| broken(stage, "the reply has no response messages"))?;
        Ok(messages.children.into_iter().map(Answer).collect())
    }

    /// The identifier of the message with this Message-ID in a folder.
    pub(crate) async fn find(
        &mut self,
        folder: &'static str,
        message_id: &str,
    ) -> Result<Option<String>, DeliveryError> {
        let asked = find_message(&self.known(folder), message_id);
        let found = self.ask(&asked, Stage::Open).await.and_then(|answers| one(answers, Stage::Open));
        let found = found.and_then(|answer| answer.done().map_err(Failure::Refused));
        let found = found.map_err(|failure| failure.into_error(Stage::Open))?;
        Ok(found.find("ItemId").and_then(|id| id.attribute("Id")).map(str::to_owned))
    }

    /// The identifier of the folder with this name in another folder.
    pub(crate) async fn child_folder(&mut self, parent: &FolderRef, name: &str) -> Result<Option<String>, Failure> {
        let answer = one(self.ask(&find_folder(parent, name), Stage::Open).await?, Stage::Open)?;
        let found = answer.done().map_err(Failure::Refused)?;
        Ok(found.find("FolderId").and_then(|id| id.attribute("Id")).map(str::to_owned))
    }
}

/// A response message.
#[derive(Debug)]
pub(crate) struct Answer(Element);

impl Answer {
    /// The content of the response message, if it is a success.
    pub(crate) fn done(self) -> Result<Element, Refusal> {
        of_message(&self.0).map(|()| self.0)
    }
}

/// The one response message of a request for one thing.
pub(crate) fn one(answers: Vec<Answer>, stage: Stage) -> Result<Answer, Failure> {
    answers.into_iter().next().ok_or_else(|| broken(stage, "the reply has no response message"))
}

fn is_xml(response: &Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.to_ascii_lowercase().contains("xml")
}
