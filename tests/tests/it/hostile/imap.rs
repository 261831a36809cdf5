//! IMAP servers that say what no real one does.

use mailrail_domain::email::imap::ImapPosition;

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

/// The only message of the inbox, from opening the inbox to the end of its content.
fn one_message() -> Script {
    opened(1).then(listed(1)).hear("BODY.PEEK[]").then(body(1)).say("$ OK done")
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
    for line in ["220 mail.example.test ESMTP", "+OK POP3 ready", "SSH-2.0-server", "HTTP/1.1 400 Bad Request", ""] {
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
        ("NO Login failed", Cause::SignInFailed),
        ("BAD Unknown command", Cause::ProtocolViolation),
    ] {
        let greeting = "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN LOGINDISABLED] ready";
        let script = Script::new().say(greeting).hear("AUTHENTICATE PLAIN ").say(format!("$ {words}"));
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
        .then(one_message());
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

/// Up to which message the inbox counts as read.
async fn uid_done(met: &Met) -> Option<u32> {
    let position = met.world.row(&met.mailbox, met.delivery).await.position;
    position.and_then(|position| position.read::<ImapPosition>("imap")).map(|position| position.uid_done)
}

#[tokio::test]
async fn messages_in_another_order_are_all_taken() {
    let script = found(3).hear("BODY.PEEK[]").then(body(3)).then(body(1)).then(body(2)).say("$ OK done");
    let met = Met::imap(script).await.check_received(&["Message 1", "Message 2", "Message 3"]).await;
    assert_eq!(uid_done(&met).await, Some(3));
}

#[tokio::test]
async fn a_message_out_of_order_is_not_passed_when_the_connection_ends() {
    let met = Met::imap(found(3).hear("BODY.PEEK[]").then(body(3)).then(body(1))).await;
    assert_eq!(met.world.subjects(&met.mailbox).await, ["Message 1", "Message 3"]);
    assert_eq!(uid_done(&met).await, Some(1));
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
    assert_eq!(uid_done(&met).await, Some(2));
}

#[tokio::test]
async fn a_server_without_uidvalidity_is_left_for_good() {
    let script = signed_in().then(looked("UIDNEXT 3")).hear("SELECT INBOX").say("* 0 EXISTS").say("$ OK done");
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
        .say([b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN LOGINDISABLED] ", garbage.as_slice()].concat())
        .hear("AUTHENTICATE")
        .say([b"$ NO ", garbage.as_slice()].concat());
    let evidence = Met::imap(script).await.check_failed(Cause::SignInFailed).await;
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

#[tokio::test]
async fn an_inbox_whose_status_tells_nothing_is_opened_to_learn_its_uidvalidity() {
    for status in ["* STATUS \"INBOX\" ()", "* STATUS INBOX (MESSAGES 1 UIDNEXT 2)", "* OK nothing to say"] {
        let select = Script::new().hear("SELECT INBOX").say("* 1 EXISTS").say("* OK [UIDVALIDITY 7] valid");
        let script = signed_in()
            .hear("STATUS INBOX")
            .say(status)
            .say("$ OK STATUS completed")
            .then(select)
            .say("$ OK selected")
            .then(one_message());
        Met::imap(script).await.check_received(&["Message 1"]).await;
    }
}

#[tokio::test]
async fn a_server_that_wants_to_know_who_we_are_is_told() {
    let script = Script::new()
        .say("* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN ID] ready")
        .hear("AUTHENTICATE PLAIN ")
        .say("$ OK [CAPABILITY IMAP4rev1 ID] welcome")
        .hear("ID (\"name\" \"Mailrail\"")
        .say("$ BAD nobody cares")
        .then(looked("UIDNEXT 2 UIDVALIDITY 7"))
        .then(one_message());
    Met::imap(script).await.check_received(&["Message 1"]).await;
}

#[tokio::test]
async fn where_authenticate_is_refused_without_a_reason_login_is_the_last_resort() {
    for refusal in ["NO AUTHENTICATE failed.", "BAD Unknown mechanism", "NO [CANNOT] Not with PLAIN"] {
        let script = greeted()
            .hear("AUTHENTICATE PLAIN ")
            .say(format!("$ {refusal}"))
            .hear("LOGIN \"user@example.test\" \"secret\"")
            .say("$ OK [CAPABILITY IMAP4rev1] welcome")
            .then(looked("UIDNEXT 1 UIDVALIDITY 7"))
            .then(opened(0));
        Met::imap(script).await.check_received(&[]).await;
    }
}

#[tokio::test]
async fn an_account_without_a_mailbox_is_no_fault_of_the_protocol() {
    let script = signed_in().hear("STATUS INBOX").say("$ BAD User is authenticated but not connected.");
    Met::imap(script).await.check_failed(Cause::SignInFailed).await;
}

/// The inbox of a mailbox with a start date, which is listed by SEARCH in these lines.
fn searched(lines: &[&str], before: &str) -> Script {
    let mut script = signed_in()
        .then(looked("UIDNEXT 5 UIDVALIDITY 7"))
        .hear("SELECT INBOX")
        .say("* 4 EXISTS")
        .say("* OK [UIDVALIDITY 7] valid")
        .say("$ OK selected")
        .hear("UID SEARCH SINCE 13-Nov-2023");
    for line in lines {
        script = script.say(*line);
    }
    script.say("$ OK done").hear("UID SEARCH BEFORE 13-Nov-2023").say(before).say("$ OK done")
}

fn bodies(count: u32) -> Script {
    (1..=count).fold(Script::new().hear("BODY.PEEK[]"), |script, uid| script.then(body(uid))).say("$ OK done")
}

async fn met_since_november(script: Script) -> Met {
    let server = Scripted::start(script).await;
    let date = "2023-11-14T00:00:00Z".parse().expect("a date");
    let profile = incoming_at(IncomingProtocol::Imap, server.location(), &account());
    let profile = EmailServerProfile { process_emails_received_after: Some(date), ..profile };
    Met::run(server, profile).await
}

const ALL_FOUR: [&str; 4] = ["Message 1", "Message 2", "Message 3", "Message 4"];

#[tokio::test]
async fn the_lines_of_a_search_add_up() {
    let script = searched(&["* SEARCH 1 2", "* SEARCH 3 4"], "* SEARCH").then(listed(4)).then(bodies(4));
    met_since_november(script).await.check_received(&ALL_FOUR).await;
}

/// The inbox is listed again by numbers, in these lines.
fn by_numbers(lines: &[u32], exists: u32) -> Script {
    let mut script = Script::new().hear(&format!("FETCH 1:{exists} (UID)"));
    for uid in lines {
        script = script.say(format!("* {uid} FETCH (UID {uid})"));
    }
    script.say("$ OK done")
}

#[tokio::test]
async fn a_search_that_leaves_messages_out_is_made_up_for_by_numbers() {
    let script = searched(&["* SEARCH 3 4"], "* SEARCH").then(by_numbers(&[1, 2, 3, 4], 4)).then(listed(4));
    met_since_november(script.then(bodies(4))).await.check_received(&ALL_FOUR).await;
}

/// Five messages, of which the server lists two, with ESEARCH and without it.
fn capped() -> [Script; 2] {
    let select = |extended: bool| {
        let welcome = if extended {
            "$ OK [CAPABILITY IMAP4rev1 ESEARCH] welcome"
        } else {
            "$ OK [CAPABILITY IMAP4rev1] welcome"
        };
        let select = Script::new().hear("SELECT INBOX").say("* 5 EXISTS").say("* OK [UIDVALIDITY 7] valid");
        let signed_in = greeted().hear("AUTHENTICATE PLAIN ").say(welcome);
        signed_in.then(looked("UIDNEXT 6 UIDVALIDITY 7")).then(select).say("$ OK selected")
    };
    let extended = select(true).hear("UID SEARCH RETURN (ALL) UID 1:*").say("* ESEARCH (TAG \"x\") UID ALL 4:5");
    let fetched = select(false).hear("UID FETCH 1:* (UID)").say("* 4 FETCH (UID 4)").say("* 5 FETCH (UID 5)");
    [extended.say("$ OK done"), fetched.say("$ OK done")]
}

#[tokio::test]
async fn a_capped_listing_is_made_up_for_by_numbers() {
    for script in capped() {
        let script = script.then(by_numbers(&[1, 2, 3, 4, 5], 5)).then(listed(5)).then(bodies(5));
        let subjects = ["Message 1", "Message 2", "Message 3", "Message 4", "Message 5"];
        let met = Met::imap(script).await.check_received(&subjects).await;
        assert_eq!(uid_done(&met).await, Some(5));
    }
}

#[tokio::test]
async fn a_server_that_lists_fewer_than_it_has_is_told_of_and_no_message_is_passed() {
    for script in capped() {
        let script = script.then(by_numbers(&[1, 2, 4, 5], 5)).then(listed(2)).then(bodies(2));
        let met = Met::imap(script).await;
        assert_eq!(met.world.subjects(&met.mailbox).await, ["Message 1", "Message 2"]);
        assert_eq!(uid_done(&met).await, Some(2));
        let evidence = met.check_failed(Cause::ProtocolViolation).await;
        assert_eq!(evidence.words, "the inbox has 5 messages, and the server lists 4 of them");
    }
}

#[tokio::test]
async fn an_inbox_that_says_to_have_four_thousand_million_messages_is_given_up_soon() {
    let mut script = signed_in()
        .then(looked("UIDNEXT 4294967295 UIDVALIDITY 7"))
        .hear("SELECT INBOX")
        .say("* 4294967295 EXISTS")
        .say("* OK [UIDVALIDITY 7] valid")
        .say("$ OK [READ-WRITE] selected")
        .hear("UID FETCH 1:* (UID)")
        .say("$ OK done");
    for _ in 0..2_000 {
        script = script.hear("FETCH ").say("$ OK done");
    }
    Met::imap(script).await.check_failed(Cause::ProtocolViolation).await;
}

#[tokio::test]
async fn messages_whose_sizes_are_left_out_are_asked_for_once_more() {
    let size = |uid: u32| format!("* {uid} FETCH (UID {uid} RFC822.SIZE {})", message(uid).len());
    let script = signed_in()
        .then(looked("UIDNEXT 4 UIDVALIDITY 7"))
        .then(opened(3))
        .hear("UID FETCH 1:3 (UID INTERNALDATE RFC822.SIZE)")
        .say(size(2))
        .say("$ OK done")
        .hear("UID FETCH 1,3 (UID INTERNALDATE RFC822.SIZE)")
        .say(size(3))
        .say(size(1))
        .say("$ OK done")
        .then(bodies(3));
    Met::imap(script).await.check_received(&["Message 1", "Message 2", "Message 3"]).await;
}

#[tokio::test]
async fn a_server_that_refuses_every_message_is_an_outage_and_no_message_is_passed() {
    for refusal in
        ["NO [UNAVAILABLE] Mail store is offline", "NO [SERVERBUG] try again later", "NO Server Unavailable. 15"]
    {
        let alone = |uid: u32| {
            Script::new()
                .hear(&format!("UID FETCH {uid} (UID BODY.PEEK[])"))
                .say(format!("$ {refusal}"))
                .hear(&format!("UID FETCH {uid} (UID)"))
                .say(format!("* {uid} FETCH (UID {uid})"))
                .say("$ OK done")
        };
        let script = found(3).hear("UID FETCH 1:3 (UID BODY.PEEK[])").say(format!("$ {refusal}"));
        let met = Met::imap(script.then(alone(1)).then(alone(2)).then(alone(3))).await;
        assert_eq!(uid_done(&met).await, None);
        assert!(met.world.quarantined(&met.mailbox).await.is_empty());
        let cause = if refusal.contains('[') { Cause::ServerUnavailable } else { Cause::Unknown };
        met.check_failed(cause).await;
    }
}

#[tokio::test]
async fn a_message_that_somebody_else_deletes_is_gone_and_in_no_quarantine() {
    let script = found(2)
        .hear("BODY.PEEK[]")
        .then(body(1))
        .say("$ NO [EXPUNGEISSUED] some are gone")
        .hear("UID FETCH 2 (UID BODY.PEEK[])")
        .say("$ OK done")
        .hear("UID FETCH 2 (UID)")
        .say("* 1 FETCH (UID 1 FLAGS (\\Seen))")
        .say("$ OK done");
    let met = Met::imap(script).await.check_received(&["Message 1"]).await;
    assert!(met.world.quarantined(&met.mailbox).await.is_empty());
}
