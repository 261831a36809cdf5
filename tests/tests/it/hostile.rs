//! Servers that break their protocol, or use what of it is rare: each time a cause, and never a panic.

use end_to_end::{
    scripted::{Script, Scripted, authorities},
    stack::Account,
    world::{Outbound, World, incoming_at, outgoing_at, trusting},
};
use mailrail_domain::{
    cause::{Cause, CredentialSource},
    classification::{Permanence, classify},
    delivery::Delivery,
    email::{EmailStatus, RecipientStatus},
    evidence::{Evidence, Stage},
    id::{EmailId, MailboxId},
    notice::NoticeStatus,
    position::Position,
    profile::{Authentication, EmailServerProfile, IncomingProtocol},
    quarantine::QuarantineReason,
};

/// More than any line that is read.
const ENDLESS: usize = 17 * 1024 * 1024;
const OUTGOING: Delivery = Delivery::OutgoingEmail;

/// An account that no real server has.
fn account() -> Account {
    let maildir = std::path::PathBuf::new();
    Account { address: "user@example.test".to_owned(), password: "secret".to_owned(), maildir }
}

/// What a run at a scripted server came to.
struct Met {
    world: World,
    mailbox: MailboxId,
    delivery: Delivery,
    server: Scripted,
    /// The email that was to be sent.
    email: Option<EmailId>,
}

impl Met {
    async fn run(server: Scripted, profile: EmailServerProfile) -> Self {
        let world = World::with_tls(trusting(authorities()));
        let profile = EmailServerProfile { connection_timeout_seconds: 5, ..profile };
        let mailbox = world.mailbox(&account(), &profile).await;
        let (delivery, email) = match &profile.outgoing {
            None => (Delivery::IncomingEmail, None),
            Some(_) => {
                let outbound = Outbound { to: &["to@example.test"], ..Outbound::default() };
                (OUTGOING, Some(world.pend(&mailbox, &outbound).await))
            }
        };
        world.run(&mailbox, delivery).await;
        assert_eq!(server.connections(), 1);
        Self { world, mailbox, delivery, server, email }
    }

    async fn imap(script: Script) -> Self {
        Self::receiving(IncomingProtocol::Imap, Scripted::start(script).await).await
    }

    async fn pop3(script: Script) -> Self {
        Self::receiving(IncomingProtocol::Pop3, Scripted::start(script).await).await
    }

    async fn smtp(script: Script) -> Self {
        Self::sending(Scripted::start(script).await).await
    }

    async fn receiving(protocol: IncomingProtocol, server: Scripted) -> Self {
        let profile = incoming_at(protocol, server.location(), &account());
        Self::run(server, profile).await
    }

    async fn sending(server: Scripted) -> Self {
        let profile = outgoing_at(server.location(), &account());
        Self::run(server, profile).await
    }

    /// The run failed with this cause, and the mailbox is disabled if, and only if, that is permanent.
    async fn check_failed(self, cause: Cause) -> Evidence {
        self.server.check_as_scripted();
        let alerts = self.world.alerts(&self.mailbox).await;
        assert_eq!(alerts.iter().map(|alert| alert.cause).collect::<Vec<_>>(), [Some(cause)], "{alerts:#?}");
        let is_permanent = classify(cause, CredentialSource::Mailbox).permanence == Permanence::Permanent;
        let state = self.world.state(&self.mailbox, self.delivery).await;
        assert_eq!((state.enabled, state.transient_failure_count), (!is_permanent, u32::from(!is_permanent)));
        assert_eq!(self.world.notices(NoticeStatus::Pending).await.len(), usize::from(is_permanent));
        if let Some(email) = &self.email {
            assert_eq!(self.world.email(email).await.status, EmailStatus::PendingSend);
        }
        alerts.into_iter().next().and_then(|alert| alert.evidence).expect("what was seen")
    }

    /// The run went well and left these records.
    async fn check_received(self, subjects: &[&str]) -> Self {
        self.server.check_as_scripted();
        let state = self.world.state(&self.mailbox, self.delivery).await;
        let seen = self.world.evidence(&self.mailbox).await;
        assert!(state.enabled && state.transient_failure_count == 0 && state.last_success.is_some(), "{seen:?}");
        assert_eq!(self.world.subjects(&self.mailbox).await, subjects);
        self
    }

    /// One message is in quarantine, because the server did not hand it out.
    async fn check_not_handed_out(&self, words: &str) {
        let quarantined = self.world.quarantined(&self.mailbox).await;
        assert_eq!(quarantined.len(), 1);
        assert_eq!(quarantined[0].reason, QuarantineReason::NotHandedOut);
        assert!(quarantined[0].detail.contains(words), "{}", quarantined[0].detail);
    }
}

fn message(number: u32) -> String {
    format!(
        "From: Sender <sender@sender.test>\r\nSubject: Message {number}\r\nDate: Wed, 17 Jul 2024 02:44:25 +0000\r\n\
         Message-ID: <{number}@sender.test>\r\n\r\nText of {number}.\r\n"
    )
}

mod imap {
    use super::*;

    const GREETING: &str = "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready";

    fn greeted() -> Script {
        Script::new().say(GREETING)
    }

    fn signed_in() -> Script {
        greeted().hear("AUTHENTICATE PLAIN ").say("$ OK [CAPABILITY IMAP4rev1] welcome")
    }

    fn looked(status: &str) -> Script {
        Script::new().hear("STATUS INBOX").say(format!("* STATUS INBOX ({status})")).say("$ OK done")
    }

    fn opened(messages: u32) -> Script {
        let mut script = Script::new()
            .hear("SELECT INBOX")
            .say(format!("* {messages} EXISTS"))
            .say("* OK [UIDVALIDITY 7] valid")
            .say("$ OK [READ-WRITE] selected")
            .hear("UID FETCH 1:* (UID)");
        for uid in 1..=messages {
            script = script.say(format!("* {uid} FETCH (UID {uid})"));
        }
        script.say("$ OK done")
    }

    fn listed(messages: u32) -> Script {
        let mut script = Script::new().hear("RFC822.SIZE");
        for uid in 1..=messages {
            let size = message(uid).len();
            let date = "\"17-Jul-2024 02:44:25 +0000\"";
            script = script.say(format!("* {uid} FETCH (UID {uid} RFC822.SIZE {size} INTERNALDATE {date})"));
        }
        script.say("$ OK done")
    }

    /// Everything before the contents of so many messages.
    fn found(messages: u32) -> Script {
        let status = looked(&format!("UIDNEXT {} UIDVALIDITY 7", messages + 1));
        signed_in().then(status).then(opened(messages)).then(listed(messages))
    }

    fn body(uid: u32) -> Script {
        let text = message(uid);
        Script::new().say(format!("* {uid} FETCH (UID {uid} BODY[] {{{}}}\r\n{text})", text.len()))
    }

    #[tokio::test]
    async fn a_goodbye_as_a_greeting_is_an_unavailable_server() {
        for line in ["* BYE too many connections", "* BYE [UNAVAILABLE] Maintenance until five", "* BYE"] {
            Met::imap(Script::new().say(line)).await.check_failed(Cause::ServerUnavailable).await;
        }
    }

    #[tokio::test]
    async fn a_goodbye_in_the_middle_is_an_unavailable_server_with_its_words() {
        let script = signed_in().hear("STATUS").say("* BYE Going down for a restart");
        let evidence = Met::imap(script).await.check_failed(Cause::ServerUnavailable).await;
        assert_eq!((evidence.stage, evidence.words.as_str()), (Stage::Open, "Going down for a restart"));
        let script = found(2).hear("BODY.PEEK[]").then(body(1)).say("* BYE Shutting down");
        let met = Met::imap(script).await;
        assert_eq!(met.world.subjects(&met.mailbox).await, ["Message 1"]);
        met.check_failed(Cause::ServerUnavailable).await;
    }

    #[tokio::test]
    async fn a_greeting_of_another_protocol_is_a_violation_with_its_words() {
        for line in ["220 mail.example.test ESMTP", "+OK POP3 ready", "SSH-2.0-server", "HTTP/1.1 400 Bad Request", ""]
        {
            let evidence = Met::imap(Script::new().say(line)).await.check_failed(Cause::ProtocolViolation).await;
            assert!(evidence.stage == Stage::Greeting && evidence.words.contains(line), "{evidence:?}");
        }
    }

    #[tokio::test]
    async fn a_refused_sign_in_means_what_its_code_says() {
        for (words, cause) in [
            ("NO [UNAVAILABLE] Backend is away", Cause::ServerUnavailable),
            ("NO [ALERT] Too many simultaneous connections", Cause::SignInFailed),
            ("NO [EXPIRED] Password has expired", Cause::CredentialsExpired),
            ("NO [LIMIT] Too many sessions", Cause::ServerBusy),
            ("NO [AUTHENTICATIONFAILED] Invalid credentials", Cause::CredentialsRefused),
            ("NO [AUTHORIZATIONFAILED] Not yours", Cause::AccessDenied),
            ("NO [PRIVACYREQUIRED] Not in the clear", Cause::TlsNotOffered),
            ("NO [SOMETHINGNEW] Nobody knows", Cause::SignInFailed),
            ("NO Login failed", Cause::CredentialsRefused),
            ("BAD Unknown command", Cause::ProtocolViolation),
        ] {
            let script = greeted().hear("AUTHENTICATE PLAIN ").say(format!("$ {words}"));
            let evidence = Met::imap(script).await.check_failed(cause).await;
            assert_eq!(evidence.stage, Stage::SignIn);
            assert!(words.ends_with(&evidence.words), "{evidence:?}");
        }
    }

    #[tokio::test]
    async fn a_server_that_tells_nothing_unasked_is_asked() {
        let script = Script::new()
            .say("* OK ready")
            .hear("CAPABILITY")
            .say("* CAPABILITY IMAP4rev1 AUTH=PLAIN")
            .say("$ OK done")
            .hear("AUTHENTICATE PLAIN")
            .say("+ ")
            .hear("AHVzZXJAZXhhbXBsZS50ZXN0AHNlY3JldA==")
            .say("$ OK welcome")
            .hear("CAPABILITY")
            .say("* CAPABILITY IMAP4rev1")
            .say("$ OK done")
            .then(looked("UIDNEXT 2 UIDVALIDITY 7"))
            .then(opened(1))
            .then(listed(1))
            .hear("BODY.PEEK[]")
            .then(body(1))
            .say("$ OK done");
        Met::imap(script).await.check_received(&["Message 1"]).await;
    }

    #[tokio::test]
    async fn a_server_that_knows_login_alone_gets_login() {
        let script = Script::new()
            .say("* OK [CAPABILITY IMAP4rev1] ready")
            .hear("LOGIN \"user@example.test\" \"secret\"")
            .say("$ OK [CAPABILITY IMAP4rev1] welcome")
            .then(looked("UIDNEXT 1 UIDVALIDITY 7"))
            .then(opened(0));
        Met::imap(script).await.check_received(&[]).await;
    }

    #[tokio::test]
    async fn a_server_that_disables_login_and_offers_nothing_else_is_left_for_good() {
        let script = Script::new().say("* OK [CAPABILITY IMAP4rev1 LOGINDISABLED AUTH=GSSAPI] ready");
        let evidence = Met::imap(script).await.check_failed(Cause::AuthenticationNotOffered).await;
        assert!(evidence.words.contains("AUTH=GSSAPI"), "{evidence:?}");
    }

    #[tokio::test]
    async fn an_endless_line_is_cut_off() {
        for script in [Script::new(), signed_in().hear("STATUS")] {
            Met::imap(script.raw(vec![b'x'; ENDLESS])).await.check_failed(Cause::ProtocolViolation).await;
        }
    }

    #[tokio::test]
    async fn a_literal_beyond_all_measure_is_refused_before_it_is_read() {
        for length in ["4294967295", "18446744073709551615"] {
            let script = found(1).hear("BODY.PEEK[]").say(format!("* 1 FETCH (UID 1 BODY[] {{{length}}}")).say("abc");
            Met::imap(script).await.check_failed(Cause::ProtocolViolation).await;
        }
    }

    #[tokio::test]
    async fn a_literal_that_is_cut_short_is_a_lost_connection_and_stores_nothing() {
        let script = found(1).hear("BODY.PEEK[]").say("* 1 FETCH (UID 1 BODY[] {5000}").say(message(1));
        let met = Met::imap(script).await;
        assert!(met.world.subjects(&met.mailbox).await.is_empty());
        met.check_failed(Cause::ConnectionLost).await;
    }

    #[tokio::test]
    async fn replies_that_nobody_asked_for_are_passed_over() {
        let noise = || {
            Script::new()
                .say("* 5 EXISTS")
                .say("* 1 RECENT")
                .say("* 2 FETCH (FLAGS (\\Seen))")
                .say("* FLAGS (\\Answered)")
                .say("* OK Still here")
                .say("* NO Disk is nearly full")
                .say("* 4 EXPUNGE")
                .say("* VANISHED 9:12")
                .say("*")
                .say("")
        };
        let script = signed_in()
            .hear("STATUS")
            .then(noise())
            .say("* STATUS INBOX (UIDNEXT 3 UIDVALIDITY 7)")
            .say("$ OK done")
            .then(opened(2))
            .then(listed(2))
            .hear("BODY.PEEK[]")
            .then(noise())
            .then(body(1))
            .then(noise())
            .then(body(2))
            .then(noise())
            .say("$ OK done");
        Met::imap(script).await.check_received(&["Message 1", "Message 2"]).await;
    }

    #[tokio::test]
    async fn messages_in_another_order_are_all_taken() {
        let script = found(3).hear("BODY.PEEK[]").then(body(3)).then(body(1)).then(body(2)).say("$ OK done");
        let met = Met::imap(script).await.check_received(&["Message 1", "Message 2", "Message 3"]).await;
        let position = met.world.row(&met.mailbox, met.delivery).await.position;
        assert!(matches!(position, Some(Position::Imap(position)) if position.uid_done == 3), "{position:?}");
    }

    #[tokio::test]
    async fn a_message_out_of_order_is_not_passed_when_the_connection_ends() {
        let met = Met::imap(found(3).hear("BODY.PEEK[]").then(body(3)).then(body(1))).await;
        assert_eq!(met.world.subjects(&met.mailbox).await, ["Message 1", "Message 3"]);
        let position = met.world.row(&met.mailbox, met.delivery).await.position;
        assert!(matches!(position, Some(Position::Imap(position)) if position.uid_done == 1), "{position:?}");
    }

    #[tokio::test]
    async fn nothing_where_a_message_should_be_goes_to_quarantine() {
        let script = found(2).hear("BODY.PEEK[]").say("* 1 FETCH (UID 1 BODY[] NIL)").then(body(2)).say("$ OK done");
        Met::imap(script).await.check_received(&["Message 2"]).await.check_not_handed_out("NIL").await;
    }

    #[tokio::test]
    async fn one_message_that_cannot_be_read_does_not_keep_the_others() {
        for refusal in ["$ NO Message is damaged", "$ NO [SERVERBUG] Message is damaged"] {
            let script = found(3)
                .hear("UID FETCH 1:3 (UID BODY.PEEK[])")
                .say(refusal)
                .hear("UID FETCH 1 (UID BODY.PEEK[])")
                .then(body(1))
                .say("$ OK done")
                .hear("UID FETCH 2 (UID BODY.PEEK[])")
                .say(refusal)
                .hear("UID FETCH 2 (UID)")
                .say("* 2 FETCH (UID 2)")
                .say("$ OK done")
                .hear("UID FETCH 3 (UID BODY.PEEK[])")
                .then(body(3))
                .say("$ OK done");
            let met = Met::imap(script).await.check_received(&["Message 1", "Message 3"]).await;
            met.check_not_handed_out("damaged").await;
        }
    }

    #[tokio::test]
    async fn a_server_without_uidnext_is_read_to_what_it_lists() {
        let script = signed_in()
            .then(looked("UIDVALIDITY 7"))
            .then(opened(2))
            .then(listed(2))
            .hear("BODY.PEEK[]")
            .then(body(1))
            .then(body(2))
            .say("$ OK done");
        let met = Met::imap(script).await.check_received(&["Message 1", "Message 2"]).await;
        let position = met.world.row(&met.mailbox, met.delivery).await.position;
        assert!(matches!(position, Some(Position::Imap(position)) if position.uid_done == 2), "{position:?}");
    }

    #[tokio::test]
    async fn a_server_without_uidvalidity_is_left_for_good() {
        let script = signed_in().then(looked("UIDNEXT 3"));
        Met::imap(script).await.check_failed(Cause::CapabilityMissing).await;
    }

    #[tokio::test]
    async fn parentheses_a_million_deep_are_passed_over() {
        let deep = format!("* 1 FETCH {}{}", "(".repeat(1_000_000), ")".repeat(1_000_000));
        let script = found(1).hear("BODY.PEEK[]").say(&deep).then(body(1)).say("$ OK done");
        Met::imap(script).await.check_received(&["Message 1"]).await;
    }

    #[tokio::test]
    async fn status_texts_of_garbage_are_taken_as_they_are() {
        let garbage = b"\xff\xfe\x80 [\x00\x01] {12} \xc3\x28";
        let script = Script::new()
            .say([b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ", garbage.as_slice()].concat())
            .hear("AUTHENTICATE")
            .say([b"$ NO ", garbage.as_slice()].concat());
        let evidence = Met::imap(script).await.check_failed(Cause::CredentialsRefused).await;
        assert!(!evidence.words.is_empty() && !evidence.words.contains('\0'), "{evidence:?}");
    }

    #[tokio::test]
    async fn what_comes_before_the_handshake_is_not_believed() {
        let script = Script::new().say("* OK ready").hear("STARTTLS").raw("s1 OK go\r\n* PREAUTH injected\r\n");
        let met = Met::receiving(IncomingProtocol::Imap, Scripted::plain(script).await).await;
        met.check_failed(Cause::ProtocolViolation).await;
    }

    #[tokio::test]
    async fn a_server_that_refuses_tls_is_left_for_good() {
        let script = Script::new().say("* OK ready").hear("STARTTLS").say("$ BAD Unknown command");
        let met = Met::receiving(IncomingProtocol::Imap, Scripted::plain(script).await).await;
        met.check_failed(Cause::TlsNotOffered).await;
    }

    #[tokio::test]
    async fn flags_that_change_while_messages_are_fetched_are_no_answer() {
        let flags = |uid: u32| format!("* {uid} FETCH (UID {uid} FLAGS (\\Seen))");
        let script = signed_in()
            .then(looked("UIDNEXT 3 UIDVALIDITY 7"))
            .then(opened(2))
            .hear("RFC822.SIZE")
            .say(flags(1))
            .say(flags(2))
            .say("* 1 FETCH (UID 1 RFC822.SIZE 200 INTERNALDATE \"17-Jul-2020 02:44:25 +0000\")")
            .say("* 2 FETCH (UID 2 RFC822.SIZE 200 INTERNALDATE \"17-Jul-2020 02:44:25 +0000\")")
            .say("$ OK done")
            .hear("BODY.PEEK[]")
            .say(flags(2))
            .then(body(1))
            .then(body(2))
            .say("$ OK done");
        let met = Met::imap(script).await.check_received(&["Message 1", "Message 2"]).await;
        let received = met.world.emails(&met.mailbox).await.into_iter().map(|email| email.received_at.to_rfc3339());
        assert_eq!(received.collect::<Vec<_>>(), ["2020-07-17T02:44:25+00:00"; 2]);
    }
}

mod pop3 {
    use super::*;

    fn without_capa() -> Script {
        Script::new()
            .say("+OK ready")
            .hear("CAPA")
            .say("-ERR unknown command")
            .hear("USER user@example.test")
            .say("+OK")
    }

    fn signed_in() -> Script {
        without_capa().hear("PASS secret").say("+OK welcome")
    }

    fn list(command: &str, lines: &[impl AsRef<[u8]>]) -> Script {
        lines.iter().fold(Script::new().hear(command).say("+OK"), Script::say).say(".")
    }

    fn retrieved(number: u32, text: &str) -> Script {
        Script::new().hear(&format!("RETR {number}")).say("+OK").raw(text).say(".")
    }

    #[tokio::test]
    async fn a_refused_sign_in_means_what_its_code_says() {
        for (words, cause) in [
            ("-ERR invalid user name or password", Cause::SignInFailed),
            ("-ERR", Cause::SignInFailed),
            ("-ERR [IN-USE] The maildrop is locked", Cause::MailboxInUse),
            ("-ERR [SYS/TEMP] Try again later", Cause::ServerUnavailable),
            ("-ERR [SYS/PERM] This account is suspended", Cause::AccessDenied),
            ("-ERR [LOGIN-DELAY] Not so soon", Cause::ServerBusy),
            ("-ERR [AUTH] Wrong password", Cause::CredentialsRefused),
            ("garbage", Cause::ProtocolViolation),
        ] {
            let met = Met::pop3(without_capa().hear("PASS secret").say(words)).await;
            assert_eq!(met.check_failed(cause).await.stage, Stage::SignIn, "{words}");
        }
    }

    #[tokio::test]
    async fn a_greeting_of_another_protocol_is_a_violation() {
        for line in ["* OK IMAP4rev1", "220 mail.example.test ESMTP", "SSH-2.0-server"] {
            Met::pop3(Script::new().say(line)).await.check_failed(Cause::ProtocolViolation).await;
        }
        let refusing = Script::new().say("-ERR too many connections");
        Met::pop3(refusing).await.check_failed(Cause::ServerUnavailable).await;
    }

    #[tokio::test]
    async fn a_server_without_capa_is_read() {
        let text = message(1);
        let script = signed_in()
            .then(list("UIDL", &["1 one"]))
            .then(list("LIST", &[format!("1 {}", text.len())]))
            .then(retrieved(1, &text));
        let met = Met::pop3(script).await.check_received(&["Message 1"]).await;
        let email = met.world.only_email(&met.mailbox).await;
        assert!(met.world.object(&email.raw_key).await == text.as_bytes());
    }

    #[tokio::test]
    async fn a_server_without_uidl_is_left_for_good() {
        let script = signed_in().hear("UIDL").say("-ERR unknown command");
        Met::pop3(script).await.check_failed(Cause::CapabilityMissing).await;
    }

    #[tokio::test]
    async fn dots_are_taken_out_where_they_were_put_in_and_nowhere_else() {
        let sent = format!("{}..\r\n...\r\n..one\r\na.b\r\n\r\n..\r\n", message(1));
        let meant = format!("{}.\r\n..\r\n.one\r\na.b\r\n\r\n.\r\n", message(1));
        let script =
            signed_in().then(list("UIDL", &["1 one"])).then(list("LIST", &["1 300"])).then(retrieved(1, &sent));
        let met = Met::pop3(script).await.check_received(&["Message 1"]).await;
        let email = met.world.only_email(&met.mailbox).await;
        let stored = met.world.object(&email.raw_key).await;
        assert_eq!(String::from_utf8_lossy(&stored), meant);
    }

    #[tokio::test]
    async fn a_message_that_is_larger_than_listed_is_taken_whole() {
        let text = format!("{}{}", message(1), "A line more than was said.\r\n".repeat(400));
        for size in ["1 10", "1 0", "1 nonsense"] {
            let script =
                signed_in().then(list("UIDL", &["1 one"])).then(list("LIST", &[size])).then(retrieved(1, &text));
            let met = Met::pop3(script).await.check_received(&["Message 1"]).await;
            let email = met.world.only_email(&met.mailbox).await;
            assert!(met.world.object(&email.raw_key).await == text.as_bytes(), "{size}");
        }
    }

    #[tokio::test]
    async fn a_message_that_does_not_end_is_cut_off() {
        let text = format!("{}{}", message(1), "A line without end to come.\r\n".repeat(10_000));
        let script =
            signed_in().then(list("UIDL", &["1 one"])).then(list("LIST", &["1 100"])).then(retrieved(1, &text));
        Met::pop3(script).await.check_failed(Cause::ProtocolViolation).await;
    }

    #[tokio::test]
    async fn a_message_that_is_cut_short_is_a_lost_connection_and_stores_nothing() {
        let script = signed_in()
            .then(list("UIDL", &["1 one"]))
            .then(list("LIST", &["1 300"]))
            .hear("RETR 1")
            .say("+OK")
            .raw(message(1));
        let met = Met::pop3(script).await;
        assert!(met.world.subjects(&met.mailbox).await.is_empty());
        met.check_failed(Cause::ConnectionLost).await;
    }

    #[tokio::test]
    async fn a_listing_of_garbage_is_a_violation() {
        for line in ["garbage", "x one", "1", "-1 one", "99999999999 one", ""] {
            let script = signed_in().then(list("UIDL", &[line]));
            Met::pop3(script).await.check_failed(Cause::ProtocolViolation).await;
        }
        let long = format!("1 {}", "u".repeat(600));
        Met::pop3(signed_in().then(list("UIDL", &[long]))).await.check_failed(Cause::ProtocolViolation).await;
    }

    #[tokio::test]
    async fn an_endless_line_is_cut_off() {
        for script in [Script::new(), signed_in().hear("UIDL")] {
            Met::pop3(script.raw(vec![b'x'; 100_000])).await.check_failed(Cause::ProtocolViolation).await;
        }
    }

    #[tokio::test]
    async fn one_message_that_cannot_be_read_does_not_keep_the_others() {
        let script = signed_in()
            .then(list("UIDL", &["1 one", "2 two", "3 three"]))
            .then(list("LIST", &["1 200", "2 200", "3 200"]))
            .then(retrieved(1, &message(1)))
            .hear("RETR 2")
            .say("-ERR message is damaged")
            .then(retrieved(3, &message(3)));
        let met = Met::pop3(script).await.check_received(&["Message 1", "Message 3"]).await;
        met.check_not_handed_out("damaged").await;
    }

    #[tokio::test]
    async fn what_comes_before_the_handshake_is_not_believed() {
        let script = Script::new().say("+OK ready").hear("STLS").raw("+OK go\r\n+OK injected\r\n");
        let met = Met::receiving(IncomingProtocol::Pop3, Scripted::plain(script).await).await;
        met.check_failed(Cause::ProtocolViolation).await;
    }

    #[tokio::test]
    async fn an_answer_to_stls_that_is_none_is_no_refusal_of_tls() {
        let script = Script::new().say("+OK ready").hear("STLS").say("garbage");
        let met = Met::receiving(IncomingProtocol::Pop3, Scripted::plain(script).await).await;
        met.check_failed(Cause::ProtocolViolation).await;
    }
}

mod smtp {
    use super::*;

    fn greeted(last: &str) -> Script {
        Script::new()
            .say("220 mail.example.test ESMTP")
            .hear("EHLO")
            .say("250-mail.example.test")
            .say(format!("250 {last}"))
    }

    fn signed_in() -> Script {
        greeted("AUTH PLAIN").hear("AUTH PLAIN ").say("235 2.7.0 Welcome")
    }

    #[tokio::test]
    async fn a_greeting_that_refuses_is_told_apart_by_its_code() {
        for (line, cause) in [
            (b"421 4.3.2 Shutting down".as_slice(), Cause::ServerUnavailable),
            (b"421 4.7.0 Too many connections", Cause::ServerBusy),
            (b"554 5.7.1 Not from you", Cause::ProtocolViolation),
            (b"* OK IMAP4rev1 ready", Cause::ProtocolViolation),
            (b"220 \xff\xfe\x80", Cause::ProtocolViolation),
        ] {
            let evidence = Met::smtp(Script::new().say(line)).await.check_failed(cause).await;
            assert_eq!(evidence.stage, Stage::Greeting);
        }
    }

    #[tokio::test]
    async fn a_reply_that_is_no_text_is_a_violation() {
        let script = greeted("AUTH PLAIN").hear("AUTH PLAIN ").say(b"235 \xff\xfe\x80");
        Met::smtp(script).await.check_failed(Cause::ProtocolViolation).await;
    }

    #[tokio::test]
    async fn a_refused_sign_in_means_what_its_code_says() {
        for (words, cause) in [
            ("454 4.7.0 Temporary authentication failure", Cause::ServerUnavailable),
            ("535 5.7.8 Authentication failed", Cause::CredentialsRefused),
            ("534 5.7.9 Another mechanism is required", Cause::AuthenticationNotOffered),
            ("432 4.7.12 Password has to be changed", Cause::CredentialsExpired),
            ("421 4.3.2 Shutting down", Cause::ServerUnavailable),
        ] {
            let script = greeted("AUTH PLAIN").hear("AUTH PLAIN ").say(words);
            let evidence = Met::smtp(script).await.check_failed(cause).await;
            assert_eq!((evidence.stage, evidence.code.as_deref()), (Stage::SignIn, words.get(..3)));
        }
    }

    #[tokio::test]
    async fn a_refused_token_is_refused_after_its_challenge() {
        let script = greeted("AUTH XOAUTH2 PLAIN")
            .hear("AUTH XOAUTH2 ")
            .say("334 eyJzdGF0dXMiOiI0MDEifQ==")
            .hear("")
            .say("535 5.7.8 Token has expired");
        let server = Scripted::start(script).await;
        let profile = outgoing_at(server.location(), &account());
        let profile = EmailServerProfile { authentication: Authentication::Xoauth2, ..profile };
        let evidence = Met::run(server, profile).await.check_failed(Cause::CredentialsRefused).await;
        assert!(evidence.words.contains("Token has expired"), "{evidence:?}");
    }

    #[tokio::test]
    async fn a_server_without_sign_in_is_left_for_good() {
        Met::smtp(greeted("SIZE 1000")).await.check_failed(Cause::AuthenticationNotOffered).await;
    }

    #[tokio::test]
    async fn an_email_that_is_too_large_fails_and_its_mailbox_does_not() {
        for words in ["552 5.3.4 Message size exceeds fixed limit", "552 Too large"] {
            let met = Met::smtp(signed_in().hear("MAIL FROM:").say(words).hear("").say("250 2.0.0 Ok")).await;
            met.server.check_as_scripted();
            let email = met.world.email(met.email.as_ref().expect("an email")).await;
            assert_eq!(email.status, EmailStatus::Failed);
            let outgoing = email.outgoing.expect("an outgoing email");
            let RecipientStatus::Refused { evidence } = &outgoing.recipients[0].status else { panic!("{outgoing:?}") };
            assert!(words.ends_with(&evidence.words), "{evidence:?}");
            let state = met.world.state(&met.mailbox, OUTGOING).await;
            assert!(state.enabled && state.transient_failure_count == 0);
            assert!(met.world.alerts(&met.mailbox).await.is_empty());
        }
    }

    #[tokio::test]
    async fn what_comes_before_the_handshake_is_not_believed() {
        let script = greeted("STARTTLS").hear("STARTTLS").raw("220 go\r\n250 injected\r\n");
        Met::sending(Scripted::plain(script).await).await.check_failed(Cause::ProtocolViolation).await;
    }

    #[tokio::test]
    async fn a_server_that_offers_no_tls_is_left_for_good() {
        let met = Met::sending(Scripted::plain(greeted("AUTH PLAIN")).await).await;
        met.check_failed(Cause::TlsNotOffered).await;
    }

    #[tokio::test]
    async fn a_reply_that_does_not_end_is_cut_off() {
        for reply in [vec![b'x'; 2_000_000], b"220-again\r\n".repeat(20_000)] {
            let script = Script::new().raw(reply);
            let before_tls = Met::sending(Scripted::plain(script.clone()).await).await;
            before_tls.check_failed(Cause::ProtocolViolation).await;
            let evidence = Met::smtp(script).await.check_failed(Cause::ProtocolViolation).await;
            assert!(evidence.words.contains("a reply of more than"), "{evidence:?}");
        }
    }

    #[tokio::test]
    async fn a_reply_that_is_cut_off_is_a_lost_connection() {
        for script in [Script::new(), Script::new().raw("220 mail"), greeted("AUTH PLAIN").hear("AUTH PLAIN ")] {
            Met::smtp(script).await.check_failed(Cause::ConnectionLost).await;
        }
    }
}
