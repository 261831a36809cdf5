//! Signing in as an application, and what its tenant may say to that.

use end_to_end::{
    letter::Letter,
    online::{CLIENT, Online, SECRET, TOKEN_SECONDS, profile},
    world::pass,
};
use mailrail_domain::{
    settings::profile::{Authentication, EmailServerProfile},
    words::{
        alert::{AlertAction, AlertKind},
        cause::Cause,
        delivery::TestStatus,
        evidence::Stage,
        id::MailboxId,
    },
};
use mailrail_engine::ports::Directory;
use mailrail_test_support::{build, graph::Fault};

use super::{INCOMING, OUTGOING, registered};

/// Requests of the sign-in.
const TOKEN: &str = "/oauth2/v2.0/token";

fn with_certificate() -> EmailServerProfile {
    EmailServerProfile { authentication: Authentication::ClientCertificate, ..profile() }
}

/// The only alert of a mailbox after one run.
async fn failed(online: &Online, mailbox: &MailboxId) -> mailrail_domain::words::alert::Alert {
    online.world.run(mailbox, INCOMING).await;
    let mut alerts = online.open_alerts(mailbox).await;
    assert_eq!(alerts.len(), 1, "{alerts:#?}");
    alerts.remove(0)
}

#[tokio::test]
async fn a_certificate_signs_in_instead_of_a_secret() {
    let (pem, registration) = registered();
    let online = Online::with(with_certificate(), &pem).await;
    online.server.tenant().applications.insert(CLIENT.to_owned(), registration);
    let mailbox = online.mailbox("ada").await;
    online.deliver("ada", &Letter::new("read"));
    assert_eq!(online.received(&mailbox).await.len(), 1);
}

#[tokio::test]
async fn a_certificate_that_is_not_registered_is_refused_and_one_that_cannot_be_used_is_not_sent() {
    let (pem, mut registration) = registered();
    registration.certificate = registration.certificate.map(|(_, key)| (b"another".to_vec(), key));
    let online = Online::with(with_certificate(), &pem).await;
    online.server.tenant().applications.insert(CLIENT.to_owned(), registration);
    let mailbox = online.mailbox("ada").await;
    let alert = failed(&online, &mailbox).await;
    assert_eq!((alert.cause, alert.kind), (Some(Cause::CredentialsRefused), AlertKind::ProfileCredentialsIncorrect));
    let words = alert.evidence.expect("evidence").words;
    assert!(words.contains("AADSTS700027"), "{words}");

    let online = Online::with(with_certificate(), "no PEM at all").await;
    let mailbox = online.mailbox("ada").await;
    assert_eq!(failed(&online, &mailbox).await.cause, Some(Cause::CredentialsUnreadable));
    assert_eq!(online.server.tenant().sign_ins, 0);
}

#[tokio::test]
async fn a_wrong_secret_an_unknown_application_and_a_foreign_tenant_are_permanent_and_say_what_to_do() {
    let mut unknown = profile();
    build::exchange_online(&mut unknown).application.client_id = "99999999-bbbb-cccc-dddd-eeeeeeeeeeee".to_owned();
    let mut elsewhere = profile();
    build::exchange_online(&mut elsewhere).application.tenant_id = "99999999-2222-3333-4444-555555555555".to_owned();
    for (profile, secret, cause, action) in [
        (profile(), "wrong", Cause::CredentialsRefused, AlertAction::ReenterCredentials),
        (unknown, SECRET, Cause::ApplicationUnknown, AlertAction::ChangeProfile),
        (elsewhere, SECRET, Cause::ApplicationUnknown, AlertAction::ChangeProfile),
    ] {
        let online = Online::with(profile, secret).await;
        let mailbox = online.mailbox("ada").await;
        let alert = failed(&online, &mailbox).await;
        assert_eq!((alert.cause, alert.action), (Some(cause), Some(action)), "{alert:#?}");
        assert_eq!(alert.mailbox_id, None, "it is the profile's");
        let steps = alert.resolution.join(" ");
        let named = if cause == Cause::CredentialsRefused { "client secret or certificate" } else { "client_id" };
        assert!(steps.contains(named), "{steps}");
        assert!(!online.world.state(&mailbox, INCOMING).await.enabled);
        let evidence = alert.evidence.expect("evidence");
        assert!(evidence.stage == Stage::SignIn && !evidence.words.contains(SECRET), "{evidence:?}");
    }
}

#[tokio::test]
async fn without_consent_or_outside_of_its_scope_the_alert_names_the_permissions_to_grant() {
    for scope in [None, Some(vec!["bob@online.test".to_owned()])] {
        let online = Online::new().await;
        let mailbox = online.mailbox("ada").await;
        {
            let mut tenant = online.server.tenant();
            let application = tenant.applications.get_mut(CLIENT).expect("the application");
            if scope.is_none() {
                application.roles.clear();
            }
            application.scope = scope;
        }
        let alert = failed(&online, &mailbox).await;
        assert_eq!((alert.cause, alert.kind), (Some(Cause::PermissionMissing), AlertKind::PermissionMissing));
        assert_eq!(alert.evidence.expect("evidence").stage, Stage::Consent);
        let steps = alert.resolution.join(" ");
        assert!(
            steps.contains("Mail.ReadWrite and Mail.Send") && steps.contains("application access policy"),
            "{steps}"
        );
    }
}

#[tokio::test]
async fn a_fault_of_the_network_or_of_the_sign_in_service_is_transient() {
    for (status, body, cause) in [
        (503, "<html>down</html>".to_owned(), Cause::ServerUnavailable),
        (429, "{}".to_owned(), Cause::ServerBusy),
        (400, "{\"error\":\"temporarily_unavailable\",\"error_codes\":[90033]}".to_owned(), Cause::ServerUnavailable),
        (200, "{\"token_type\":\"Bearer\"}".to_owned(), Cause::ProtocolViolation),
        (200, "<html>A proxy's page</html>".to_owned(), Cause::ProtocolViolation),
        (200, "{\"access_token\":\"two\\r\\nlines\"}".to_owned(), Cause::ProtocolViolation),
    ] {
        let online = Online::new().await;
        let mailbox = online.mailbox("ada").await;
        let fault = Fault { body, ..Fault::of(TOKEN, status, "") };
        online.server.tenant().faults.push_back(fault);
        let alert = failed(&online, &mailbox).await;
        assert_eq!(alert.cause, Some(cause), "{status}");
        let state = online.world.state(&mailbox, INCOMING).await;
        assert!(state.enabled, "{status}");
    }
}

#[tokio::test]
async fn a_token_is_kept_until_near_its_end_and_got_again_when_it_is_refused() {
    let online = Online::new().await;
    let (ada, bob) = (online.mailbox("ada").await, online.mailbox("bob").await);
    online.receive(&ada).await;
    online.receive(&bob).await;
    assert_eq!(online.server.tenant().sign_ins, 1, "one token for the application, whatever the mailbox");
    pass(i64::try_from(TOKEN_SECONDS).expect("seconds") - 290);
    online.receive(&ada).await;
    assert_eq!(online.server.tenant().sign_ins, 2, "near its end it is got again");
    online.server.tenant().tokens.clear();
    online.receive(&ada).await;
    assert_eq!(online.server.tenant().sign_ins, 3, "a token that was taken back is got again in the same run");
}

#[tokio::test]
async fn a_new_secret_signs_in_anew() {
    let online = Online::with(profile(), "wrong").await;
    let mailbox = online.mailbox("ada").await;
    failed(&online, &mailbox).await;
    online.put_profile(SECRET).await;
    let state = &online.world.engine.ports.state;
    assert!(state.enable(&mailbox, INCOMING, 5, &build::audit()).await.expect("a store that works"));
    online.receive(&mailbox).await;
}

#[tokio::test]
async fn a_test_shows_token_consent_user_mailbox_reading_and_sending_one_by_one() {
    let online = Online::new().await;
    let mailbox = online.untested("ada").await;
    let stages = |test: &mailrail_domain::words::trial::MailboxTest, delivery| -> Vec<(Stage, TestStatus)> {
        let part = test.deliveries.iter().find(|part| part.delivery == delivery).expect("a part");
        part.stages.iter().map(|report| (report.stage, report.status)).collect()
    };
    use Stage::{Arrive, Consent, Data, Envelope, FindUser, List, Open, SignIn};
    let test = online.world.tested(&mailbox).await;
    let passed = |stages: &[Stage]| stages.iter().map(|stage| (*stage, TestStatus::Success)).collect::<Vec<_>>();
    assert_eq!(stages(&test, INCOMING), passed(&[SignIn, Consent, FindUser, Open, List]), "{test:#?}");
    assert_eq!(
        stages(&test, OUTGOING),
        passed(&[SignIn, Consent, FindUser, Open, Envelope, Data, Arrive]),
        "{test:#?}"
    );
    assert!(online.world.state(&mailbox, INCOMING).await.enabled);

    let missing = online.untested("eve").await;
    online.server.tenant().mailboxes.remove("eve@online.test");
    let test = online.world.tested(&missing).await;
    let mut expected = passed(&[SignIn, Consent, FindUser]);
    expected[2].1 = TestStatus::Failure;
    assert_eq!(stages(&test, INCOMING), expected, "{test:#?}");

    let unlicensed = online.untested("uma").await;
    online.server.tenant().mailbox("uma@online.test").is_disabled = true;
    let test = online.world.tested(&unlicensed).await;
    let mut expected = passed(&[SignIn, Consent, FindUser, Open]);
    expected[3].1 = TestStatus::Failure;
    assert_eq!(stages(&test, INCOMING), expected, "{test:#?}");
    assert_eq!(test.deliveries[0].cause, Some(Cause::MailboxNotEnabled));
}

#[tokio::test]
async fn without_the_tenants_approval_nothing_is_asked_of_the_server() {
    let online = Online::new().await;
    let mailbox = online.mailbox("ada").await;
    let state = &online.world.engine.ports.state;
    let before = state.mailbox(&mailbox).await.expect("a store that works").expect("a mailbox");
    let mut after = before.stored.clone();
    after.mailbox.approval.tenant = None;
    state.change_mailbox(&before, &after, &build::audit()).await.expect("a store that works");
    let alert = failed(&online, &mailbox).await;
    assert_eq!(alert.cause, Some(Cause::TenantApprovalMissing));
    assert_eq!(online.server.tenant().sign_ins, 0);
    assert_eq!(online.requests("ada"), 0);
}
