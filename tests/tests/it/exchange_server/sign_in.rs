//! Signing in to Exchange Server in each way, acting for users, and what the server may say to that.

use end_to_end::{
    letter::Letter,
    on_premises::{OnPremises, PASSWORD, SERVICE, address, impersonating, profile, with},
    online::{CLIENT, SECRET, application},
};
use mailrail_domain::{
    settings::profile::{Authentication, EmailServerProfile},
    words::{
        alert::{Alert, AlertKind},
        cause::{Cause, CredentialSource},
        delivery::{Delivery, TestStatus},
        evidence::Stage,
        id::MailboxId,
        trial::MailboxTest,
    },
};
use mailrail_engine::ports::Directory;
use mailrail_test_support::{
    build,
    ews::{Answer, Call, Fault},
};

use super::{INCOMING, OUTGOING, outgoing::delegated};

/// The only alert of a mailbox after one run.
async fn failed(there: &OnPremises, mailbox: &MailboxId) -> Alert {
    there.world.run(mailbox, INCOMING).await;
    let mut alerts = there.open_alerts(mailbox).await;
    assert_eq!(alerts.len(), 1, "{alerts:#?}");
    alerts.remove(0)
}

/// A profile whose application signs in.
fn by_application() -> EmailServerProfile {
    let profile = with(profile(), |server| {
        (server.application, server.use_impersonation) = (Some(application()), true);
    });
    EmailServerProfile {
        credentials: CredentialSource::ServerToServer,
        authentication: Authentication::ClientSecret,
        ..profile
    }
}

fn last_call(there: &OnPremises) -> Call {
    there.server.exchange().calls.last().cloned().expect("a call")
}

#[tokio::test]
async fn a_mailbox_signs_in_for_itself_or_a_service_account_for_all() {
    let own = OnPremises::new().await;
    let mailbox = own.mailbox("ada").await;
    own.deliver("ada", &Letter::new("read"));
    assert_eq!(own.received(&mailbox).await.len(), 1);
    let call = last_call(&own);
    assert_eq!((call.account, call.impersonated, call.anchor), (address("ada"), None, Some(address("ada"))));

    let service = OnPremises::with(impersonating()).await;
    for name in ["ada", "bob"] {
        let mailbox = service.mailbox(name).await;
        service.deliver(name, &Letter::new(name));
        assert_eq!(service.received(&mailbox).await[0].subject, name);
        let call = last_call(&service);
        let whose = Some(address(name));
        assert_eq!((call.account.as_str(), call.impersonated, call.anchor), (SERVICE, whose.clone(), whose));
    }

    let delegate = OnPremises::with(delegated()).await;
    let mailbox = delegate.mailbox("ada").await;
    delegate.server.exchange().mailbox(&address("ada")).full_access.insert(SERVICE.to_owned());
    delegate.deliver("ada", &Letter::new("read"));
    assert_eq!(delegate.received(&mailbox).await.len(), 1);
    let call = last_call(&delegate);
    assert_eq!((call.account.as_str(), call.impersonated), (SERVICE, None));
}

#[tokio::test]
async fn a_wrong_password_is_permanent_and_whose_it_is_is_told() {
    for (profile, kind) in
        [(profile(), AlertKind::MailboxCredentialsIncorrect), (impersonating(), AlertKind::ProfileCredentialsIncorrect)]
    {
        let there = OnPremises::with(profile).await;
        let mailbox = there.mailbox("ada").await;
        there.server.exchange().accounts.values_mut().for_each(|account| account.password = "another".to_owned());
        let alert = failed(&there, &mailbox).await;
        assert_eq!((alert.cause, alert.kind), (Some(Cause::CredentialsRefused), kind));
        let evidence = alert.evidence.expect("evidence");
        assert_eq!((evidence.stage, evidence.code.as_deref()), (Stage::SignIn, Some("401")));
        assert!(!there.world.state(&mailbox, INCOMING).await.enabled);
        assert_eq!(there.requests(), 0);
    }
}

#[tokio::test]
async fn a_server_that_does_not_offer_the_profiles_way_is_told_apart_from_a_wrong_password() {
    let there = OnPremises::new().await;
    there.server.exchange().offers = vec!["Negotiate", "NTLM"];
    let mailbox = there.mailbox("ada").await;
    let alert = failed(&there, &mailbox).await;
    assert_eq!((alert.cause, alert.kind), (Some(Cause::AuthenticationNotOffered), AlertKind::AuthenticationNotOffered));
    let words = alert.evidence.expect("evidence").words;
    assert!(words.contains("Basic") && words.contains("Negotiate, NTLM"), "{words}");
    assert!(alert.resolution.join(" ").contains("ntlm"), "{:?}", alert.resolution);

    let there = OnPremises::with(EmailServerProfile { authentication: Authentication::Ntlm, ..profile() }).await;
    let mailbox = there.mailbox("ada").await;
    assert_eq!(failed(&there, &mailbox).await.cause, Some(Cause::AuthenticationNotOffered));
    assert_eq!(there.requests(), 0);
}

#[tokio::test]
async fn messages_of_ntlm_that_are_none_are_transient() {
    for challenge in ["NTLM", "NTLM %%%", "NTLM AAAA", "NTLM TlRMTVNTUAACAAAA"] {
        let there = OnPremises::with(EmailServerProfile { authentication: Authentication::Ntlm, ..profile() }).await;
        there.server.exchange().offers = vec![challenge];
        let mailbox = there.mailbox("ada").await;
        let cause = failed(&there, &mailbox).await.cause;
        let expected = if challenge.len() < 9 { Cause::AuthenticationNotOffered } else { Cause::ProtocolViolation };
        assert_eq!(cause, Some(expected), "{challenge}");
    }
}

#[tokio::test]
async fn rights_that_a_service_account_lacks_are_the_seeds_insufficient_permissions() {
    for (profile, impersonates) in [(impersonating(), true), (delegated(), false)] {
        let there = OnPremises::with(profile).await;
        let mailbox = there.mailbox("ada").await;
        there.server.exchange().accounts.get_mut(SERVICE).expect("the account").may_impersonate = false;
        let alert = failed(&there, &mailbox).await;
        assert_eq!((alert.cause, alert.kind), (Some(Cause::AccessDenied), AlertKind::ProfileCredentialsIncorrect));
        let evidence = alert.evidence.expect("evidence");
        let (stage, code) = if impersonates {
            (Stage::Impersonate, "ErrorImpersonateUserDenied")
        } else {
            (Stage::Open, "ErrorItemNotFound")
        };
        assert_eq!((evidence.stage, evidence.detail.as_deref()), (stage, Some(code)));
        assert!(alert.resolution.join(" ").contains("ApplicationImpersonation"), "{:?}", alert.resolution);
    }
}

#[tokio::test]
async fn an_application_signs_in_where_the_server_trusts_entra_id() {
    let there = OnPremises::with(by_application()).await;
    there.put_profile(SECRET).await;
    there.server.exchange().offers = vec!["Bearer"];
    let mailbox = there.mailbox("ada").await;
    there.deliver("ada", &Letter::new("read"));
    assert_eq!(there.received(&mailbox).await.len(), 1);
    let call = last_call(&there);
    assert_eq!((call.account.as_str(), call.impersonated), (CLIENT, Some(address("ada"))));
    assert_eq!(there.entra.tenant().sign_ins, 1);
    // A token that was taken back is got again in the same run.
    there.entra.tenant().tokens.clear();
    there.receive(&mailbox).await;
    assert_eq!(there.entra.tenant().sign_ins, 2);

    // A server that does not trust it.
    let there = OnPremises::with(by_application()).await;
    there.put_profile(SECRET).await;
    let mailbox = there.mailbox("ada").await;
    assert_eq!(failed(&there, &mailbox).await.cause, Some(Cause::AuthenticationNotOffered));
    // A wrong secret is Entra ID's to refuse.
    let there = OnPremises::with(by_application()).await;
    there.put_profile("wrong").await;
    let mailbox = there.mailbox("ada").await;
    assert_eq!(failed(&there, &mailbox).await.cause, Some(Cause::CredentialsRefused));
}

#[tokio::test]
async fn an_application_signs_in_with_its_certificate() {
    let (pem, registration) = crate::exchange_online::registered();
    let there =
        OnPremises::with(EmailServerProfile { authentication: Authentication::ClientCertificate, ..by_application() })
            .await;
    there.put_profile(&pem).await;
    there.entra.tenant().applications.insert(CLIENT.to_owned(), registration);
    there.server.exchange().offers = vec!["Bearer"];
    let mailbox = there.mailbox("ada").await;
    there.deliver("ada", &Letter::new("read"));
    assert_eq!(there.received(&mailbox).await.len(), 1);
}

#[tokio::test]
async fn a_test_shows_securing_signing_in_acting_reading_and_sending_one_by_one() {
    use Stage::{Arrive, Data, Envelope, Impersonate, List, Open, SignIn, Tls};
    let stages = |test: &MailboxTest, delivery: Delivery| -> Vec<(Stage, TestStatus)> {
        let part = test.deliveries.iter().find(|part| part.delivery == delivery).expect("a part");
        part.stages.iter().map(|report| (report.stage, report.status)).collect()
    };
    let passed = |stages: &[Stage]| stages.iter().map(|stage| (*stage, TestStatus::Success)).collect::<Vec<_>>();
    let failing = |stages: &[Stage]| {
        let mut stages = passed(stages);
        stages.last_mut().expect("a stage").1 = TestStatus::Failure;
        stages
    };
    let there = OnPremises::with(impersonating()).await;
    let mailbox = there.untested("ada").await;
    let test = there.world.tested(&mailbox).await;
    assert_eq!(stages(&test, INCOMING), passed(&[Tls, SignIn, Impersonate, Open, List]), "{test:#?}");
    let sending = passed(&[Tls, SignIn, Impersonate, Open, Envelope, Data, Arrive]);
    assert_eq!(stages(&test, OUTGOING), sending, "{test:#?}");
    assert!(there.world.state(&mailbox, INCOMING).await.enabled);

    let own = OnPremises::new().await;
    let mailbox = own.untested("ada").await;
    let test = own.world.tested(&mailbox).await;
    assert_eq!(stages(&test, INCOMING), passed(&[Tls, SignIn, Open, List]), "{test:#?}");

    own.server.exchange().accounts.clear();
    let state = &own.world.engine.ports.state;
    assert!(state.enable(&mailbox, INCOMING, 5, &build::audit()).await.expect("a store that works"));
    end_to_end::world::pass(10);
    let test = own.world.tested(&mailbox).await;
    assert_eq!(stages(&test, INCOMING), failing(&[Tls, SignIn]), "{test:#?}");

    let denied = OnPremises::with(impersonating()).await;
    let mailbox = denied.untested("ada").await;
    denied.server.exchange().accounts.get_mut(SERVICE).expect("the account").may_impersonate = false;
    let test = denied.world.tested(&mailbox).await;
    assert_eq!(stages(&test, INCOMING), failing(&[Tls, SignIn, Impersonate]), "{test:#?}");

    let missing = OnPremises::with(impersonating()).await;
    let mailbox = missing.untested("ada").await;
    missing.server.exchange().mailboxes.clear();
    let test = missing.world.tested(&mailbox).await;
    assert_eq!(stages(&test, INCOMING), failing(&[Tls, SignIn, Impersonate, Open]), "{test:#?}");
    assert_eq!(test.deliveries[0].cause, Some(Cause::MailboxNotFound));
}

#[tokio::test]
async fn a_password_is_in_no_alert_and_no_request_but_the_sign_in() {
    let there = OnPremises::new().await;
    let mailbox = there.mailbox("ada").await;
    there.deliver("ada", &Letter::new("read"));
    there.receive(&mailbox).await;
    there.fault(Fault::of("SyncFolderItems", Answer::Fault("ErrorAccessDenied", None)));
    let alert = failed(&there, &mailbox).await;
    assert!(!format!("{alert:?}").contains(PASSWORD));
    assert!(there.server.exchange().calls.iter().all(|call| !call.body.contains("p@ss")));
}
