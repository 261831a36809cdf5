//! POP3 servers that say what no real one does.

use super::*;

fn without_capa() -> Script {
    Script::new().say("+OK ready").hear("CAPA").say("-ERR unknown command").hear("USER user@example.test").say("+OK")
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
    let capable = Script::new().say("+OK ready").then(list("CAPA", &["TOP", "USER"]));
    let signed_in = capable.hear("USER user@example.test").say("+OK").hear("PASS secret").say("+OK welcome");
    let script = signed_in.hear("UIDL").say("-ERR unknown command");
    Met::pop3(script).await.check_failed(Cause::CapabilityMissing).await;
}

#[tokio::test]
async fn a_listing_that_is_refused_without_a_reason_may_work_later() {
    let capable = Script::new().say("+OK ready").then(list("CAPA", &["TOP", "UIDL", "USER"]));
    let offering = capable.hear("USER user@example.test").say("+OK").hear("PASS secret").say("+OK welcome");
    for signed_in in [offering, signed_in()] {
        let script = signed_in.hear("UIDL").say("-ERR mailbox is busy, try again later").hear("STAT").say("+OK 3 900");
        let evidence = Met::pop3(script).await.check_failed(Cause::Unknown).await;
        assert_eq!(evidence.words, "mailbox is busy, try again later");
    }
}

#[tokio::test]
async fn a_server_that_refuses_to_list_an_empty_maildrop_has_nothing_new() {
    let script = signed_in().hear("UIDL").say("-ERR no messages").hear("STAT").say("+OK 0 0");
    Met::pop3(script).await.check_received(&[]).await;
}

#[tokio::test]
async fn a_line_of_the_listing_that_is_odd_does_not_keep_the_other_messages() {
    for lines in [["1 one", "2", "3 three"], ["1\tone", "2 ", "  3 three"]] {
        let script = signed_in()
            .then(list("UIDL", &lines))
            .then(list("LIST", &["1 200", "2 200", "3 200"]))
            .then(retrieved(1, &message(1)))
            .then(retrieved(3, &message(3)));
        Met::pop3(script).await.check_received(&["Message 1", "Message 3"]).await;
    }
}

#[tokio::test]
async fn messages_that_share_a_unique_id_are_all_read() {
    let script = signed_in()
        .then(list("UIDL", &["1 same", "2 other", "3 same", "4 same"]))
        .then(list("LIST", &["1 200", "2 200", "3 200", "4 200"]))
        .then(retrieved(1, &message(1)))
        .then(retrieved(2, &message(2)))
        .then(retrieved(3, &message(3)))
        .then(retrieved(4, &message(4)));
    Met::pop3(script).await.check_received(&["Message 1", "Message 2", "Message 3", "Message 4"]).await;
}

#[tokio::test]
async fn where_a_mechanism_is_refused_without_a_reason_user_and_pass_are_tried() {
    let script = Script::new()
        .say("+OK ready")
        .then(list("CAPA", &["SASL PLAIN", "UIDL"]))
        .hear("AUTH PLAIN")
        .say("-ERR unknown command")
        .hear("USER user@example.test")
        .say("+OK")
        .hear("PASS secret")
        .say("+OK welcome")
        .then(list("UIDL", &[""; 0]));
    Met::pop3(script).await.check_received(&[]).await;
}

#[tokio::test]
async fn dots_are_taken_out_where_they_were_put_in_and_nowhere_else() {
    let sent = format!("{}..\r\n...\r\n..one\r\na.b\r\n\r\n..\r\n", message(1));
    let meant = format!("{}.\r\n..\r\n.one\r\na.b\r\n\r\n.\r\n", message(1));
    let script = signed_in().then(list("UIDL", &["1 one"])).then(list("LIST", &["1 300"])).then(retrieved(1, &sent));
    let met = Met::pop3(script).await.check_received(&["Message 1"]).await;
    let email = met.world.only_email(&met.mailbox).await;
    let stored = met.world.object(&email.raw_key).await;
    assert_eq!(String::from_utf8_lossy(&stored), meant);
}

#[tokio::test]
async fn a_message_that_is_larger_than_listed_is_taken_whole() {
    let text = format!("{}{}", message(1), "A line more than was said.\r\n".repeat(400));
    for size in ["1 10", "1 0", "1 nonsense"] {
        let script = signed_in().then(list("UIDL", &["1 one"])).then(list("LIST", &[size])).then(retrieved(1, &text));
        let met = Met::pop3(script).await.check_received(&["Message 1"]).await;
        let email = met.world.only_email(&met.mailbox).await;
        assert!(met.world.object(&email.raw_key).await == text.as_bytes(), "{size}");
    }
}

#[tokio::test]
async fn a_message_that_does_not_end_is_cut_off() {
    let text = format!("{}{}", message(1), "A line without end to come.\r\n".repeat(10_000));
    let script = signed_in().then(list("UIDL", &["1 one"])).then(list("LIST", &["1 100"])).then(retrieved(1, &text));
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
