//! What web services may say or do wrong: each code with what follows from it, and replies that are none.

use end_to_end::{
    letter::Letter,
    on_premises::{MISNAMED, OnPremises, impersonating, profile, web_services, with},
    world::{now, pass},
};
use mailrail_domain::{
    rules::classification::{Permanence, classify},
    words::{
        cause::{Cause, CredentialSource},
        evidence::Stage,
        policy::GAP_SECONDS,
    },
};
use mailrail_test_support::ews::{Answer, Fault};

use super::INCOMING;

#[tokio::test]
async fn each_code_has_its_cause_as_a_fault_and_as_a_response() {
    for (code, cause) in [
        ("ErrorImpersonateUserDenied", Cause::AccessDenied),
        ("ErrorAccessDenied", Cause::AccessDenied),
        ("ErrorNonExistentMailbox", Cause::MailboxNotFound),
        ("ErrorMailboxStoreUnavailable", Cause::ServerUnavailable),
        ("ErrorInternalServerError", Cause::ServerUnavailable),
        ("ErrorQuotaExceeded", Cause::OverQuota),
        ("ErrorInvalidServerVersion", Cause::CapabilityMissing),
        ("ErrorAccountDisabled", Cause::MailboxNotEnabled),
        ("ErrorPasswordExpired", Cause::CredentialsExpired),
        ("ErrorServerBusy", Cause::ServerBusy),
        ("ErrorOfTomorrow", Cause::Unknown),
    ] {
        for answer in [Answer::Fault(code, None), Answer::Part(0, code, None)] {
            let there = OnPremises::new().await;
            let mailbox = there.mailbox("ada").await;
            // Over the first, a smaller page is asked for.
            for _ in 0..2 {
                there.fault(Fault::of("SyncFolderItems", answer.clone()));
            }
            there.world.run(&mailbox, INCOMING).await;
            let alerts = there.open_alerts(&mailbox).await;
            assert_eq!(alerts.iter().map(|alert| alert.cause).collect::<Vec<_>>(), [Some(cause)], "{answer:?}");
            let evidence = alerts[0].evidence.as_ref().expect("evidence");
            assert_eq!(evidence.detail.as_deref(), Some(code), "{answer:?}");
            let permanence = classify(cause, CredentialSource::Mailbox).permanence;
            let state = there.world.state(&mailbox, INCOMING).await;
            assert_eq!(state.enabled, permanence == Permanence::Transient, "{answer:?}");
        }
    }
}

#[tokio::test]
async fn a_status_without_a_code_speaks_as_far_as_it_can() {
    for (status, cause) in [
        (403, Cause::AccessDenied),
        (404, Cause::ProtocolViolation),
        (429, Cause::ServerBusy),
        (440, Cause::Unknown),
        (500, Cause::ServerUnavailable),
        (503, Cause::ServerUnavailable),
    ] {
        let there = OnPremises::new().await;
        let mailbox = there.mailbox("ada").await;
        let page = Answer::Http(status, "text/html", "<html>Outlook</html>".to_owned(), vec![]);
        there.fault(Fault::of("SyncFolderItems", page));
        there.world.run(&mailbox, INCOMING).await;
        let alerts = there.open_alerts(&mailbox).await;
        assert_eq!(alerts.iter().map(|alert| alert.cause).collect::<Vec<_>>(), [Some(cause)], "{status}");
    }
}

#[tokio::test]
async fn a_wait_that_the_server_asks_for_is_the_due_time_and_spends_no_try() {
    let retry_after = |seconds: &str| vec![("retry-after", seconds.to_owned())];
    for (answer, least) in [
        (Answer::Fault("ErrorServerBusy", Some(900_000)), 900),
        (Answer::Part(0, "ErrorServerBusy", Some(178_755)), i64::from(GAP_SECONDS)),
        (Answer::Http(503, "text/html", String::new(), retry_after("1200")), 1_200),
    ] {
        let there = OnPremises::new().await;
        let mailbox = there.mailbox("ada").await;
        there.fault(Fault::of("SyncFolderItems", answer.clone()));
        there.world.run(&mailbox, INCOMING).await;
        let state = there.world.state(&mailbox, INCOMING).await;
        let wait = state.postponed_until.expect("a wait") - state.last_run.expect("a run");
        assert!((least..least + 30).contains(&wait.num_seconds()), "{answer:?}: {wait}");
        assert_eq!(state.transient_failure_count, 0);
    }
}

#[tokio::test]
async fn servers_that_are_too_old_are_refused_with_the_reason() {
    for (version, name) in [((14, 3, 123), "Exchange Server 2010"), ((8, 3, 83), "Exchange Server 2007")] {
        let there = OnPremises::new().await;
        there.server.exchange().version = Some(version);
        let mailbox = there.mailbox("ada").await;
        there.world.run(&mailbox, INCOMING).await;
        let alerts = there.open_alerts(&mailbox).await;
        let words = &alerts[0].evidence.as_ref().expect("evidence").words;
        assert!(alerts[0].cause == Some(Cause::CapabilityMissing) && words.contains(name), "{words}");
        assert!(!there.world.state(&mailbox, INCOMING).await.enabled);
    }
    // A reply without a header says nothing against it.
    let there = OnPremises::new().await;
    there.server.exchange().version = None;
    let mailbox = there.mailbox("ada").await;
    there.deliver("ada", &Letter::new("read"));
    assert_eq!(there.received(&mailbox).await.len(), 1);
}

/// Replies that are none; the message is there all the same, and comes with the next run.
#[tokio::test]
async fn replies_that_are_none_are_transient_and_lose_nothing() {
    let bomb = "<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;'>]><x>&b;</x>";
    let external = "<?xml version='1.0'?><!DOCTYPE x SYSTEM 'file:///etc/passwd'><x/>";
    let encoded = "<?xml version='1.0' encoding='UTF-16'?><x/>";
    let envelope = |body: &str| format!("<s:Envelope xmlns:s='e'><s:Body>{body}</s:Body></s:Envelope>");
    let part = |part: &str| {
        envelope(&format!("<r><ResponseMessages><m ResponseClass='Success'>{part}</m></ResponseMessages></r>"))
    };
    for (kind, body) in [
        ("text/html", "<html><body>Please sign in to the proxy.</body></html>".to_owned()),
        ("text/xml", bomb.to_owned()),
        ("text/xml", external.to_owned()),
        ("text/xml", encoded.to_owned()),
        ("text/xml", "<x>".repeat(10_000)),
        ("text/xml", "\u{0}\u{1}\u{2}".to_owned()),
        ("text/xml", "<html/>".to_owned()),
        ("text/xml", String::new()),
        ("text/xml", envelope("")),
        ("text/xml", envelope("<r/>")),
        ("text/xml", envelope("<r><ResponseMessages/></r>")),
        ("text/xml", part("")),
        ("text/xml", part("<SyncState>x</SyncState>")),
        ("text/xml", part("<SyncState>x</SyncState><IncludesLastItemInRange>perhaps</IncludesLastItemInRange>")),
    ] {
        let there = OnPremises::new().await;
        let mailbox = there.mailbox("ada").await;
        there.deliver("ada", &Letter::new("kept"));
        there.fault(Fault::of("SyncFolderItems", Answer::Http(200, kind, body.clone(), vec![])));
        there.world.run(&mailbox, INCOMING).await;
        let alerts = there.open_alerts(&mailbox).await;
        let causes: Vec<_> = alerts.iter().map(|alert| alert.cause).collect();
        assert_eq!(causes, [Some(Cause::ProtocolViolation)], "{body:.60}");
        assert!(there.world.state(&mailbox, INCOMING).await.enabled, "{body:.60}");
        pass(GAP_SECONDS.into());
        assert_eq!(there.received(&mailbox).await.len(), 1, "{body:.60}");
        assert_eq!(there.open_alerts(&mailbox).await.len(), 0, "{body:.60}");
    }
}

#[tokio::test]
async fn contents_that_are_none_are_transient_and_lose_nothing() {
    let item = |content: &str| {
        format!(
            "<s:Envelope xmlns:s='e'><s:Body><GetItemResponse><ResponseMessages><GetItemResponseMessage \
             ResponseClass='Success'><Items><Message><MimeContent>{content}</MimeContent></Message></Items>\
             </GetItemResponseMessage></ResponseMessages></GetItemResponse></s:Body></s:Envelope>"
        )
    };
    for body in [
        item("%%%"),
        item("&amp;"),
        "<s:Envelope><s:Body>".to_owned(),
        item("").replace("GetItemResponseMessage", "SomethingElse"),
    ] {
        let there = OnPremises::new().await;
        let mailbox = there.mailbox("ada").await;
        there.deliver("ada", &Letter::new("kept"));
        there.fault(Fault::of("GetItem", Answer::Http(200, "text/xml", body.clone(), vec![])));
        there.world.run(&mailbox, INCOMING).await;
        assert!(there.world.state(&mailbox, INCOMING).await.enabled, "{body:.300}");
        pass(GAP_SECONDS.into());
        there.receive(&mailbox).await;
        let subjects = there.world.emails(&mailbox).await;
        assert!(subjects.iter().any(|email| email.subject == "kept"), "{body:.300}");
    }
}

#[tokio::test]
async fn pages_without_end_are_given_up() {
    let there = OnPremises::new().await;
    let mailbox = there.mailbox("ada").await;
    for n in 0..1_000 {
        let body = format!(
            "<s:Envelope xmlns:s='e'><s:Body><r><ResponseMessages><m ResponseClass='Success'><SyncState>{}</SyncState>\
             <IncludesLastItemInRange>false</IncludesLastItemInRange><Changes/></m></ResponseMessages></r></s:Body>\
             </s:Envelope>",
            // The state is another each time, but for the first two.
            n.max(1)
        );
        there.fault(Fault::of("SyncFolderItems", Answer::Http(200, "text/xml", body, vec![])));
    }
    there.world.run(&mailbox, INCOMING).await;
    assert_eq!(there.open_alerts(&mailbox).await[0].cause, Some(Cause::ProtocolViolation));
    let left = there.server.exchange().faults.len();
    assert_eq!(left, 998, "the same state again is no progress");
    pass(GAP_SECONDS.into());
    there.receive(&mailbox).await;
    let read = left - there.server.exchange().faults.len();
    assert!((90..=210).contains(&read), "a bounded number of pages was read: {read}");
}

#[tokio::test]
async fn a_state_that_is_too_long_to_keep_is_told_and_nothing_is_lost() {
    let there = OnPremises::new().await;
    let mailbox = there.mailbox("ada").await;
    let body = format!(
        "<s:Envelope xmlns:s='e'><s:Body><r><ResponseMessages><m ResponseClass='Success'><SyncState>{}</SyncState>\
         <IncludesLastItemInRange>true</IncludesLastItemInRange></m></ResponseMessages></r></s:Body></s:Envelope>",
        "A".repeat(300_000)
    );
    there.fault(Fault::of("SyncFolderItems", Answer::Http(200, "text/xml", body, vec![])));
    there.world.run(&mailbox, INCOMING).await;
    let alerts = there.open_alerts(&mailbox).await;
    assert!(alerts[0].evidence.as_ref().expect("evidence").words.contains("longer than any"), "{alerts:?}");
}

#[tokio::test]
async fn servers_that_are_not_there_or_have_another_name_each_have_their_cause() {
    for (location, cause, stage) in [
        (web_services("nowhere.exchange.test"), Cause::HostNotFound, Stage::Resolve),
        (web_services(MISNAMED), Cause::CertificateRefused, Stage::Tls),
        ("https://127.0.0.1:1/EWS/Exchange.asmx".to_owned(), Cause::ConnectionRefused, Stage::Connect),
    ] {
        let there = OnPremises::with(with(profile(), |server| server.location = Some(location))).await;
        let mailbox = there.mailbox("ada").await;
        there.world.run(&mailbox, INCOMING).await;
        let alerts = there.open_alerts(&mailbox).await;
        let evidence = alerts[0].evidence.as_ref().expect("evidence");
        assert_eq!((alerts[0].cause, evidence.stage), (Some(cause), stage), "{evidence:?}");
    }
    assert_eq!(there_is_no_call_without_a_verified_certificate().await, 0);
}

/// Requests that reach a server whose certificate does not name it.
async fn there_is_no_call_without_a_verified_certificate() -> usize {
    let there = OnPremises::with(with(impersonating(), |server| server.location = Some(web_services(MISNAMED)))).await;
    let mailbox = there.mailbox("ada").await;
    there.world.run(&mailbox, INCOMING).await;
    there.requests()
}

#[tokio::test]
async fn a_busy_server_says_so_in_a_fault_of_any_status_and_how_long_to_wait() {
    let there = OnPremises::new().await;
    let mailbox = there.mailbox("ada").await;
    let fault = "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body><s:Fault>\
                 <faultcode>a:ErrorServerBusy</faultcode><faultstring>busy</faultstring><detail>\
                 <e:ResponseCode xmlns:e=\"e\">ErrorServerBusy</e:ResponseCode><t:MessageXml xmlns:t=\"t\">\
                 <t:Value Name=\"BackOffMilliseconds\">900000</t:Value></t:MessageXml></detail></s:Fault></s:Body>\
                 </s:Envelope>";
    there.fault(Fault::of("SyncFolderItems", Answer::Http(503, "text/xml", fault.to_owned(), vec![])));
    there.world.run(&mailbox, INCOMING).await;
    let state = there.world.state(&mailbox, INCOMING).await;
    assert_eq!(state.transient_failure_count, 0);
    assert!(state.postponed_until.is_some_and(|until| until > now() + chrono::TimeDelta::seconds(890)), "{state:?}");
    assert_eq!(there.open_alerts(&mailbox).await[0].cause, Some(Cause::ServerBusy));
}

#[tokio::test]
async fn a_server_that_fails_over_a_large_page_is_asked_for_a_small_one() {
    let there = OnPremises::new().await;
    let mailbox = there.mailbox("ada").await;
    there.deliver_all("ada", 3);
    there.fault(Fault::of("SyncFolderItems", Answer::Part(0, "ErrorInternalServerError", None)));
    there.receive(&mailbox).await;
    assert_eq!(there.world.emails(&mailbox).await.len(), 3);
    let asked: Vec<String> = there
        .server
        .exchange()
        .calls
        .iter()
        .filter(|call| call.operation == "SyncFolderItems")
        .map(|call| call.body.clone())
        .collect();
    assert!(asked[0].contains(">512<") && asked[1].contains(">32<"), "{asked:?}");
}

#[tokio::test]
async fn one_refusal_of_a_mailbox_that_has_worked_is_looked_at_twice() {
    let fault = |code| Fault::of("SyncFolderItems", Answer::Part(0, code, None));
    let refused = Fault::of("SyncFolderItems", Answer::Http(401, "text/html", String::new(), vec![]));
    for (fault, passing, permanent) in [
        (fault("ErrorNonExistentMailbox"), Cause::ServerUnavailable, Cause::MailboxNotFound),
        (refused, Cause::SignInFailed, Cause::CredentialsRefused),
    ] {
        for times in 1..=2 {
            let there = OnPremises::new().await;
            let mailbox = there.mailbox("ada").await;
            there.receive(&mailbox).await;
            pass(GAP_SECONDS.into());
            for _ in 0..times {
                there.fault(fault.clone());
            }
            there.world.run(&mailbox, INCOMING).await;
            let state = there.world.state(&mailbox, INCOMING).await;
            let cause = if times == 1 { passing } else { permanent };
            assert_eq!(there.open_alerts(&mailbox).await[0].cause, Some(cause));
            assert_eq!((state.enabled, state.transient_failure_count), (times == 1, u32::from(times == 1)));
        }
    }
}
