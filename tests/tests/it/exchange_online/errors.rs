//! What Graph may say or do wrong: each code with what follows from it, and replies that are none.

use end_to_end::{letter::Letter, online::Online, world::pass};
use mailrail_domain::{
    rules::classification::{Permanence, classify},
    words::{
        cause::{Cause, CredentialSource},
        policy::GAP_SECONDS,
    },
};
use mailrail_test_support::graph::Fault;

use super::INCOMING;

#[tokio::test]
async fn each_code_has_its_cause_whatever_the_status() {
    for (status, code, cause) in [
        (404, "MailboxNotEnabledForRESTAPI", Cause::MailboxNotEnabled),
        (404, "ErrorInvalidUser", Cause::MailboxNotFound),
        (404, "Request_ResourceNotFound", Cause::MailboxNotFound),
        (403, "ErrorAccessDenied", Cause::PermissionMissing),
        (403, "Authorization_RequestDenied", Cause::PermissionMissing),
        (403, "ErrorQuotaExceeded", Cause::OverQuota),
        (503, "MailboxInfoStale", Cause::ServerUnavailable),
        (429, "ApplicationThrottled", Cause::ServerBusy),
        (429, "MailboxConcurrency", Cause::ServerBusy),
        (503, "ErrorServerBusy", Cause::ServerBusy),
        (403, "ErrorOfTomorrow", Cause::Unknown),
        (400, "", Cause::Unknown),
    ] {
        let online = Online::new().await;
        let mailbox = online.mailbox("ada").await;
        online.server.tenant().faults.push_back(Fault::of("/delta", status, code));
        online.world.run(&mailbox, INCOMING).await;
        let alerts = online.open_alerts(&mailbox).await;
        assert_eq!(alerts.iter().map(|alert| alert.cause).collect::<Vec<_>>(), [Some(cause)], "{code}");
        let evidence = alerts[0].evidence.as_ref().expect("evidence");
        assert_eq!(evidence.code, Some(status.to_string()), "{code}");
        assert_eq!(evidence.detail.as_deref(), Some(code), "{code}");
        let permanence = classify(cause, CredentialSource::ServerToServer).permanence;
        let state = online.world.state(&mailbox, INCOMING).await;
        assert_eq!(state.enabled, permanence == Permanence::Transient, "{code}");
    }
}

#[tokio::test]
async fn a_wait_that_the_server_asks_for_is_the_due_time_and_spends_no_try() {
    for (status, asked, least) in [(429, "900", 900), (503, "1200", 1_200), (429, "7", i64::from(GAP_SECONDS))] {
        let online = Online::new().await;
        let mailbox = online.mailbox("ada").await;
        let fault = Fault { retry_after: Some(asked.to_owned()), ..Fault::of("/delta", status, "TooManyRequests") };
        online.server.tenant().faults.push_back(fault);
        online.world.run(&mailbox, INCOMING).await;
        let state = online.world.state(&mailbox, INCOMING).await;
        let wait = state.postponed_until.expect("a wait") - state.last_run.expect("a run");
        assert!((least..least + 30).contains(&wait.num_seconds()), "{asked}: {wait}");
        assert_eq!(state.transient_failure_count, 0);
    }
}

#[tokio::test]
async fn replies_that_are_none_are_transient_and_lose_nothing() {
    for (path, body) in [
        ("/delta", "<html><body>Please sign in to the proxy.</body></html>"),
        ("/delta", "{\"value\": [{\"id\": \"AAk"),
        ("/delta", "{}"),
        ("/delta", "[]"),
        ("/delta", "{\"value\": []}"),
        ("/delta", "{\"value\": \"none\", \"@odata.deltaLink\": \"x\"}"),
        ("/delta", ""),
    ] {
        let online = Online::new().await;
        let mailbox = online.mailbox("ada").await;
        online.deliver("ada", &Letter::new("kept"));
        online.server.tenant().faults.push_back(Fault { body: body.to_owned(), ..Fault::of(path, 200, "") });
        online.world.run(&mailbox, INCOMING).await;
        let alerts = online.open_alerts(&mailbox).await;
        assert_eq!(
            alerts.iter().map(|alert| alert.cause).collect::<Vec<_>>(),
            [Some(Cause::ProtocolViolation)],
            "{body}"
        );
        assert!(online.world.state(&mailbox, INCOMING).await.enabled, "{body}");
        pass(GAP_SECONDS.into());
        assert_eq!(online.received(&mailbox).await.len(), 1, "{body}");
        assert_eq!(online.open_alerts(&mailbox).await.len(), 0, "{body}");
    }
}

#[tokio::test]
async fn a_link_to_another_host_is_not_followed() {
    let other = Online::new().await;
    let foreign =
        format!("{}/v1.0/users/ada@online.test/mailFolders/inbox/messages/delta?$skiptoken=x", other.server.origin());
    for (name, link) in [
        ("@odata.nextLink", foreign.clone()),
        ("@odata.deltaLink", foreign),
        ("@odata.nextLink", "http://localhost/v1.0/next".to_owned()),
        ("@odata.nextLink", "https://graph.example.com@evil.test/next".to_owned()),
        ("@odata.nextLink", "/v1.0/users".to_owned()),
    ] {
        let online = Online::new().await;
        let mailbox = online.mailbox("ada").await;
        let body = serde_json::json!({ "value": [], name: link }).to_string();
        online.server.tenant().faults.push_back(Fault { body, ..Fault::of("/delta", 200, "") });
        online.world.run(&mailbox, INCOMING).await;
        let alerts = online.open_alerts(&mailbox).await;
        let words = alerts[0].evidence.as_ref().expect("evidence").words.clone();
        assert!(words.contains("another host"), "{link}: {words}");
    }
    assert_eq!(other.server.tenant().calls, [], "no token has left");
}

#[tokio::test]
async fn pages_without_end_are_given_up() {
    let online = Online::new().await;
    let mailbox = online.mailbox("ada").await;
    let next = format!(
        "{}/v1.0/users/ada%40online.test/mailFolders/inbox/messages/delta?$skiptoken=x",
        online.server.origin()
    );
    let body = serde_json::json!({ "value": [], "@odata.nextLink": next }).to_string();
    for _ in 0..1_000 {
        online.server.tenant().faults.push_back(Fault { body: body.clone(), ..Fault::of("/delta", 200, "") });
    }
    online.world.run(&mailbox, INCOMING).await;
    assert_eq!(online.open_alerts(&mailbox).await[0].cause, Some(Cause::ProtocolViolation));
    assert!(online.server.tenant().faults.len() > 990, "the same link again is no progress");
}

#[tokio::test]
async fn entries_without_identifier_date_or_size_are_read_as_far_as_they_can_be() {
    let online = Online::new().await;
    let mailbox = online.mailbox("ada").await;
    let id = online.deliver("ada", &Letter::new("bare"));
    let delta = format!(
        "{}/v1.0/users/ada%40online.test/mailFolders/inbox/messages/delta?$deltatoken=0.1.created.none",
        online.server.origin()
    );
    let entries = serde_json::json!([
        { "receivedDateTime": "2026-01-01T00:00:00Z" },
        { "id": 7 },
        { "id": "" },
        null,
        "text",
        { "id": id, "receivedDateTime": "the other day", "importance": "of tomorrow", "singleValueExtendedProperties": "none" },
    ]);
    let body = serde_json::json!({ "value": entries, "@odata.deltaLink": delta }).to_string();
    online.server.tenant().faults.push_back(Fault { body, ..Fault::of("/delta", 200, "") });
    assert_eq!(online.received(&mailbox).await.len(), 1);
}
