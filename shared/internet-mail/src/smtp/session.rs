//! One signed-in submission session.

use std::time::Duration;

use lettre::{
    Address,
    transport::smtp::{
        Error,
        authentication::{Credentials, Mechanism},
        client::AsyncSmtpConnection,
        commands::{Data, Mail, Rcpt, Rset},
        extension::{ClientId, Extension, MailParameter},
        response::Response,
    },
};
use mailrail_connect::{Connector, timed_out};
use mailrail_domain::{
    email::sending::{ContentReply, RecipientReply},
    settings::profile::{Authentication, Security, ServerLocation},
    words::{
        address::EmailAddress,
        cause::{Cause, DeliveryError},
        evidence::{Evidence, Stage},
    },
};
use mailrail_engine::{
    mime::wire_form,
    ports::{Access, EnvelopeReply, OutgoingSession},
};
use tokio::{net::TcpStream, time::timeout};

use super::{
    cause::{Refusal, failure, refused},
    stream::SmtpStream,
};
use crate::{sasl, wire::Wire};

/// Lines of one reply.
const REPLY_LINES_MAX: usize = 100;
/// Longest line of a reply (RFC 5321 section 4.5.3.1.5 says 512).
const LINE_BYTES_MAX: usize = 8_192;
/// The answer to the content may take this many times as long as another answer, because the server scans and stores
/// the content first. RFC 5321 section 4.5.3.2.6 asks for ten minutes, which an invocation does not have.
const CONTENT_PATIENCE: u32 = 4;

/// A signed-in session.
pub struct Session {
    connection: AsyncSmtpConnection,
    wait: Duration,
    stage: Stage,
}

impl Session {
    /// Connects, secures the connection and signs in.
    pub(crate) async fn open(
        connector: &Connector,
        access: &Access,
        location: &ServerLocation,
    ) -> Result<Self, DeliveryError> {
        let tcp = connector.tcp(access, location).await?;
        let hello = hello_name();
        let stream = match location.security {
            Security::Tls => SmtpStream::ungreeted(connector.tls(tcp, access, location).await?),
            Security::Starttls => {
                let plain = start_tls(tcp, &hello, access.timeout).await?;
                SmtpStream::greeted(connector.tls(plain, access, location).await?)
            }
        };
        access.progress.reach(Stage::Greeting);
        let connecting = AsyncSmtpConnection::connect_with_transport(Box::new(stream), &hello);
        let connection = match timeout(access.timeout, connecting).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return Err(failure(Stage::Greeting, &error)),
            Err(_) => return Err(timed_out(Stage::Greeting)),
        };
        let mut session = Self { connection, wait: access.timeout, stage: Stage::SignIn };
        access.progress.reach(Stage::SignIn);
        session.sign_in(access).await?;
        session.stage = Stage::Envelope;
        Ok(session)
    }

    async fn sign_in(&mut self, access: &Access) -> Result<(), DeliveryError> {
        let offers = |mechanism| self.connection.server_info().supports_auth_mechanism(mechanism);
        match access.authentication {
            Authentication::Xoauth2 if offers(Mechanism::Xoauth2) => self.xoauth2(access).await,
            Authentication::Password if offers(Mechanism::Plain) || offers(Mechanism::Login) => {
                let credentials = Credentials::new(access.username.clone(), access.secret.expose().to_owned());
                let signing_in = self.connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials);
                match timeout(self.wait, signing_in).await {
                    Ok(Ok(_)) => Ok(()),
                    Ok(Err(error)) => Err(failure(Stage::SignIn, &error)),
                    Err(_) => Err(timed_out(Stage::SignIn)),
                }
            }
            // The other ways to sign in are not SASL, and no profile of internet mail has them.
            Authentication::Password
            | Authentication::Xoauth2
            | Authentication::Ntlm
            | Authentication::ClientSecret
            | Authentication::ClientCertificate => {
                let words = format!("the server offers {}", self.connection.server_info());
                let evidence = Evidence::new(Stage::SignIn, &words);
                Err(DeliveryError::new(Cause::AuthenticationNotOffered, evidence))
            }
        }
    }

    /// The server answers a refused token with a challenge that carries the error, and says 535 only after an empty
    /// answer. lettre takes that challenge for a fault of the client and loses the 535, so the exchange is done here.
    async fn xoauth2(&mut self, access: &Access) -> Result<(), DeliveryError> {
        let command = format!("AUTH XOAUTH2 {}\r\n", sasl::xoauth2(access).expose());
        let mut reply = self.command(command).await?;
        if matches!(&reply, Ok(response) if response.has_code(334)) {
            reply = self.command("\r\n".to_owned()).await?;
        }
        match reply {
            Ok(response) if response.has_code(235) => Ok(()),
            Ok(response) => {
                let refusal = Refusal::new(u16::from(response.code()), response.first_line().unwrap_or_default());
                Err(refused(Stage::SignIn, &refusal))
            }
            Err(refusal) => Err(refused(Stage::SignIn, &refusal)),
        }
    }

    /// Gives a command. The outer error ends the session; the inner one is the server's reply.
    async fn command(&mut self, command: impl std::fmt::Display) -> Result<Result<Response, Refusal>, DeliveryError> {
        let result = timeout(self.wait, self.connection.command(command)).await;
        self.answer(result.map_err(|_| timed_out(self.stage))?)
    }

    fn answer(&self, result: Result<Response, Error>) -> Result<Result<Response, Refusal>, DeliveryError> {
        match result {
            Ok(response) => Ok(Ok(response)),
            Err(error) => match Refusal::of(&error) {
                // After 421 the server closes the connection, whatever the command was.
                Some(refusal) if refusal.code == 421 => Err(refused(self.stage, &refusal)),
                Some(refusal) => Ok(Err(refusal)),
                None => Err(failure(self.stage, &error)),
            },
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("stage", &self.stage).finish_non_exhaustive()
    }
}

impl Session {
    async fn hand_over(&mut self, message: &[u8]) -> ContentReply {
        self.stage = Stage::Data;
        match self.command(Data).await {
            Ok(Ok(_)) => {}
            Ok(Err(refusal)) => return content_reply(&refusal),
            // The content was not sent, so nobody has the email; the connection is gone all the same.
            Err(error) => return ContentReply::Deferred(error.evidence),
        }
        let handing_over = timeout(self.wait * CONTENT_PATIENCE, self.connection.message(message)).await;
        match handing_over {
            Ok(Ok(_)) => ContentReply::Accepted,
            Ok(Err(error)) => match Refusal::of(&error) {
                Some(refusal) => content_reply(&refusal),
                None => ContentReply::Unknown(failure(Stage::Data, &error).evidence),
            },
            Err(_) => ContentReply::Unknown(timed_out(Stage::Data).evidence),
        }
    }
}

impl OutgoingSession for Session {
    async fn envelope(
        &mut self,
        from: &EmailAddress,
        recipients: &[EmailAddress],
    ) -> Result<EnvelopeReply, DeliveryError> {
        self.stage = Stage::Envelope;
        let takes_utf8 = self.connection.server_info().supports_feature(Extension::SmtpUtfEight);
        let Some(sender) = smtp_address(from, takes_utf8) else {
            let evidence = Evidence::new(Stage::Envelope, &unsendable("the mailbox's address"));
            return Ok(EnvelopeReply::EmailRefused(evidence));
        };
        let addresses: Vec<Option<Address>> = recipients.iter().map(|to| smtp_address(to, takes_utf8)).collect();
        let is_ascii = |address: &Address| AsRef::<str>::as_ref(address).is_ascii();
        let parameters = match addresses.iter().flatten().chain([&sender]).all(is_ascii) {
            true => Vec::new(),
            false => vec![MailParameter::SmtpUtfEight],
        };
        if let Err(refusal) = self.command(Mail::new(Some(sender), parameters)).await? {
            if refusal.concerns_email() {
                return Ok(EnvelopeReply::EmailRefused(refusal.evidence(Stage::Envelope)));
            }
            return Err(refused(Stage::Envelope, &refusal));
        }
        let mut replies = Vec::with_capacity(recipients.len());
        for (recipient, address) in recipients.iter().zip(addresses) {
            let reply = match address {
                None => RecipientReply::Refused(Evidence::new(Stage::Envelope, &unsendable("the address"))),
                Some(address) => match self.command(Rcpt::new(address, Vec::new())).await? {
                    Ok(_) => RecipientReply::Accepted,
                    Err(refusal) if refusal.is_permanent() && !refusal.is_too_many() => {
                        RecipientReply::Refused(refusal.evidence(Stage::Envelope))
                    }
                    Err(refusal) => RecipientReply::Deferred(refusal.evidence(Stage::Envelope)),
                },
            };
            replies.push((recipient.clone(), reply));
        }
        Ok(EnvelopeReply::Recipients(replies))
    }

    async fn content(&mut self, message: &[u8]) -> Result<ContentReply, DeliveryError> {
        Ok(self.hand_over(message).await)
    }

    async fn reset(&mut self) -> Result<(), DeliveryError> {
        match self.command(Rset).await? {
            Ok(_) => Ok(()),
            Err(refusal) => Err(refused(self.stage, &refusal)),
        }
    }

    async fn close(mut self) {
        // The server keeps what it has accepted, whether or not it receives the goodbye.
        let _ = timeout(self.wait, self.connection.quit()).await;
    }
}

fn content_reply(refusal: &Refusal) -> ContentReply {
    let evidence = refusal.evidence(Stage::Data);
    if refusal.is_permanent() { ContentReply::Refused(evidence) } else { ContentReply::Deferred(evidence) }
}

/// An address as this server can be told it: its domain in ASCII where its name is (RFC 5890), and otherwise as it is, if
/// the server takes that (RFC 6531).
fn smtp_address(address: &EmailAddress, takes_utf8: bool) -> Option<Address> {
    let told = wire_form(address);
    if told.is_ascii() || takes_utf8 { told.parse().ok() } else { None }
}

fn unsendable(whose: &str) -> String {
    format!("{whose} has letters that the server does not take (SMTPUTF8), or cannot be used in SMTP")
}

/// The name that we introduce ourselves by. A function has no name of its own (RFC 5321 section 4.1.1.1 wants an
/// address literal then).
fn hello_name() -> ClientId {
    ClientId::Ipv4(std::net::Ipv4Addr::LOCALHOST)
}

/// Asks for TLS on a plain connection. Nothing that the server says before TLS is believed afterwards.
async fn start_tls(stream: TcpStream, hello: &ClientId, wait: Duration) -> Result<TcpStream, DeliveryError> {
    let mut plain = Wire::new(stream, wait);
    let (code, words) = plain_reply(&mut plain).await?;
    if code != 220 {
        return Err(refused(Stage::Greeting, &Refusal::new(code, &words)));
    }
    plain.write(format!("EHLO {hello}\r\n").as_bytes()).await?;
    let (code, words) = plain_reply(&mut plain).await?;
    if code != 250 {
        return Err(refused(Stage::Greeting, &Refusal::new(code, &words)));
    }
    plain.stage = Stage::Tls;
    if !words.lines().any(|line| line.trim().eq_ignore_ascii_case("STARTTLS")) {
        let evidence = Evidence::new(Stage::Tls, "the server does not offer STARTTLS");
        return Err(DeliveryError::new(Cause::TlsNotOffered, evidence));
    }
    plain.write(b"STARTTLS\r\n").await?;
    let (code, words) = plain_reply(&mut plain).await?;
    if code != 220 {
        return Err(refused(Stage::Tls, &Refusal::new(code, &words)));
    }
    plain.into_plain()
}

/// One reply on the plain connection: its code and its lines.
async fn plain_reply(wire: &mut Wire<TcpStream>) -> Result<(u16, String), DeliveryError> {
    let mut words = String::new();
    for _ in 0..REPLY_LINES_MAX {
        let line = wire.line(LINE_BYTES_MAX).await?;
        let text = String::from_utf8_lossy(&line);
        let code = text.get(..3).and_then(|digits| digits.parse::<u16>().ok()).filter(|code| (200..600).contains(code));
        let Some(code) = code else {
            return Err(wire.violation(&format!("not a reply of an SMTP server: {text}")));
        };
        words.push_str(text.get(4..).unwrap_or_default());
        words.push('\n');
        if text.as_bytes().get(3) != Some(&b'-') {
            return Ok((code, words));
        }
    }
    Err(wire.violation("the server's reply does not end"))
}
