//! SMTP servers that say what no real one does.

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
    ] {
        let evidence = Met::smtp(Script::new().say(line)).await.check_failed(cause).await;
        assert_eq!(evidence.stage, Stage::Greeting);
    }
}

/// Everything before the content of one email, whose texts are in no character set.
fn in_no_character_set() -> Script {
    Script::new()
        .say(b"220 mail \xbb\xb6\xd3\xad")
        .hear("EHLO")
        .say(b"250-mail \xbb\xb6\xd3\xad")
        .say("250 AUTH PLAIN")
        .hear("AUTH PLAIN ")
        .say(b"235 \xff\xfe\x80")
        .hear("MAIL FROM:")
        .say(b"250 \xff")
}

#[tokio::test]
async fn the_code_of_a_reply_decides_whatever_its_text_is() {
    let script = greeted("AUTH PLAIN").hear("AUTH PLAIN ").say(b"535 \xd3\xc3\xbb\xa7");
    Met::smtp(script).await.check_failed(Cause::CredentialsRefused).await;
    let sent = in_no_character_set()
        .hear("RCPT TO:")
        .say(b"250 \xff")
        .hear("DATA")
        .say(b"354 \xff")
        .hear_to(".")
        .say(b"250 \xb7\xa2\xcb\xcd");
    let met = Met::smtp(sent).await;
    assert_eq!(met.world.email(met.email.as_ref().expect("an email")).await.status, EmailStatus::Sent);
    let refused = in_no_character_set().hear("RCPT TO:").say(b"550 5.1.1 \xd3\xc3\xbb\xa7").hear("RSET").say("250 Ok");
    let met = Met::smtp(refused).await;
    assert_eq!(met.world.email(met.email.as_ref().expect("an email")).await.status, EmailStatus::Failed);
    assert!(met.world.state(&met.mailbox, OUTGOING).await.enabled);
}

#[tokio::test]
async fn keywords_and_mechanisms_are_read_in_any_case() {
    for keyword in ["auth plain login", "AUTH Plain Login", "Auth PLAIN", "AUTH=PLAIN LOGIN"] {
        let script = greeted(keyword).hear("AUTH PLAIN ").say("535 5.7.8 Authentication failed");
        Met::smtp(script).await.check_failed(Cause::CredentialsRefused).await;
    }
}

#[tokio::test]
async fn a_keyword_line_without_a_word_is_passed_over() {
    let script = Script::new()
        .say("220 mail.example.test ESMTP")
        .hear("EHLO")
        .say("250-")
        .say("250-    ")
        .say("250 AUTH PLAIN")
        .hear("AUTH PLAIN ")
        .say("535 5.7.8 Authentication failed");
    Met::smtp(script).await.check_failed(Cause::CredentialsRefused).await;
}

#[tokio::test]
async fn a_recipient_too_many_is_put_off() {
    let script = signed_in()
        .hear("MAIL FROM:")
        .say("250 Ok")
        .hear("RCPT TO:")
        .say("552 Too many recipients")
        .hear("RSET")
        .say("250 Ok");
    let met = Met::smtp(script).await;
    let email = met.world.email(met.email.as_ref().expect("an email")).await;
    assert_eq!(email.status, EmailStatus::PendingSend, "{email:?}");
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
