//! Autodiscover: the documented places in their order, what they may lead to, and who is told a password.

use std::{net::SocketAddr, str::FromStr};

use domain::{
    base::{
        Message, MessageBuilder, Name, Rtype, Ttl,
        iana::{Class, Rcode},
    },
    rdata::Srv,
};
use end_to_end::{
    letter::Letter,
    on_premises::{DOMAIN, HOST, MISNAMED, OnPremises, SERVICE, discovering, impersonating, web_services, with},
    world::pass,
};
use mailrail_domain::{
    settings::profile::EmailServerProfile,
    words::{alert::AlertKind, cause::Cause, delivery::TestStatus, evidence::Stage, policy::GAP_SECONDS},
};
use mailrail_test_support::ews::Place;
use tokio::net::UdpSocket;

use super::{INCOMING, OUTGOING};

const AUTODISCOVER: &str = "autodiscover.exchange.test";

fn here() -> Place {
    Place::Location(web_services(HOST))
}

/// Places that were asked, without repetitions that only add credentials.
fn asked(there: &OnPremises) -> Vec<(String, String)> {
    let mut asked: Vec<(String, String)> =
        there.server.exchange().asked.iter().map(|(host, page, _)| (host.clone(), page.clone())).collect();
    asked.dedup();
    asked
}

fn places(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(host, page)| ((*host).to_owned(), (*page).to_owned())).collect()
}

/// A name server that knows these hosts of the service of Autodiscover: priority, port, host.
async fn name_server(hosts: Vec<(u16, u16, &'static str)>) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    let at = socket.local_addr().expect("an address");
    tokio::spawn(async move {
        let mut datagram = [0; 1_500];
        while let Ok((length, from)) = socket.recv_from(&mut datagram).await {
            let query = Message::from_octets(&datagram[..length]).expect("a query");
            let question = query.sole_question().expect("a question");
            let mut answer = MessageBuilder::new_vec().start_answer(&query, Rcode::NOERROR).expect("an answer");
            let is_ours = question.qname().to_string() == format!("_autodiscover._tcp.{DOMAIN}");
            for (priority, port, host) in hosts.iter().filter(|_| is_ours && question.qtype() == Rtype::SRV) {
                let host = Name::<Vec<u8>>::from_str(host).expect("a name");
                let record = Srv::new(*priority, 0, *port, host);
                answer.push((question.qname(), Class::IN, Ttl::from_secs(60), record)).expect("room");
            }
            socket.send_to(&answer.finish(), from).await.expect("sent");
        }
    });
    at
}

#[tokio::test]
async fn each_place_is_asked_in_its_turn_and_the_first_that_knows_is_believed() {
    for (host, page, expected) in [
        (DOMAIN, "svc", places(&[(DOMAIN, "svc")])),
        (DOMAIN, "xml", places(&[(DOMAIN, "svc"), (DOMAIN, "xml")])),
        (AUTODISCOVER, "svc", places(&[(DOMAIN, "svc"), (DOMAIN, "xml"), (AUTODISCOVER, "svc")])),
        (
            AUTODISCOVER,
            "xml",
            places(&[(DOMAIN, "svc"), (DOMAIN, "xml"), (AUTODISCOVER, "svc"), (AUTODISCOVER, "xml")]),
        ),
    ] {
        let there = OnPremises::with(discovering()).await;
        there.server.exchange().places.insert((host.to_owned(), page), here());
        let mailbox = there.mailbox("ada").await;
        there.deliver("ada", &Letter::new("read"));
        assert_eq!(there.received(&mailbox).await.len(), 1, "{host} {page}");
        assert_eq!(asked(&there), expected);
    }
}

#[tokio::test]
async fn where_it_was_found_is_remembered_and_looked_for_again_when_it_stops_answering() {
    let there = OnPremises::with(discovering()).await;
    there.place(DOMAIN, &here());
    let mailbox = there.mailbox("ada").await;
    there.receive(&mailbox).await;
    let found = there.server.exchange().asked.len();
    let learned = there.world.state(&mailbox, INCOMING).await.learned;
    assert_eq!(learned.location, Some(web_services(HOST)));
    there.receive(&mailbox).await;
    assert_eq!(there.server.exchange().asked.len(), found, "it is not asked again");
    // It moves: the old place has no such host any more.
    let mut row = there.world.row(&mailbox, INCOMING).await;
    row.state.learned.location = Some(web_services("gone.exchange.test"));
    there.world.write_state(&mailbox, INCOMING, row.state).await;
    there.place(DOMAIN, &Place::Location(web_services("new.exchange.test")));
    there.deliver("ada", &Letter::new("after the move"));
    assert_eq!(there.received(&mailbox).await.len(), 1);
    let learned = there.world.state(&mailbox, INCOMING).await.learned;
    assert_eq!(learned.location, Some(web_services("new.exchange.test")));
}

#[tokio::test]
async fn redirections_to_an_address_to_a_url_and_by_http_are_followed() {
    // To another address, whose domain is asked then.
    let there = OnPremises::with(discovering()).await;
    there.place(DOMAIN, &Place::Address("ada@other.test".to_owned()));
    there.place("other.test", &here());
    there.server.exchange().mailbox("ada@other.test");
    let mailbox = there.mailbox("ada").await;
    there.receive(&mailbox).await;
    // To a URL, as an answer and as a status.
    let elsewhere = "https://other.test/autodiscover/autodiscover.xml".to_owned();
    for says in [Place::Url(elsewhere.clone()), Place::Http(302, Some(elsewhere))] {
        let there = OnPremises::with(discovering()).await;
        there.place(DOMAIN, &says);
        there.place("other.test", &here());
        let mailbox = there.mailbox("ada").await;
        there.receive(&mailbox).await;
    }
}

#[tokio::test]
async fn a_redirection_without_tls_and_a_record_of_the_name_service_lead_to_the_own_domain_alone() {
    for (host, is_followed) in [(HOST, true), ("other.test", false)] {
        let there = OnPremises::with(discovering()).await;
        let to = format!("https://{host}/autodiscover/autodiscover.xml");
        there.server.exchange().redirections.insert(AUTODISCOVER.to_owned(), to);
        there.place(host, &here());
        let mailbox = there.mailbox("ada").await;
        there.world.run(&mailbox, INCOMING).await;
        assert_eq!(there.open_alerts(&mailbox).await.is_empty(), is_followed, "redirection to {host}");
        let told = there.server.exchange().asked.iter().any(|(asked, _, has)| asked == "other.test" && *has);
        assert!(!told, "nobody outside is told a password");

        let server = name_server(vec![(20, 1, "far.exchange.test"), (10, 443, host)]).await;
        let there = OnPremises::named_by(discovering(), Some(server)).await;
        there.place(host, &here());
        let mailbox = there.mailbox("ada").await;
        there.world.run(&mailbox, INCOMING).await;
        assert_eq!(there.open_alerts(&mailbox).await.is_empty(), is_followed, "record of {host}");
        assert!(!there.server.exchange().asked.iter().any(|(asked, ..)| asked == "other.test"));
    }
}

#[tokio::test]
async fn nothing_found_is_the_location_that_could_not_be_determined() {
    let there = OnPremises::with(discovering()).await;
    let mailbox = there.mailbox("ada").await;
    there.world.run(&mailbox, INCOMING).await;
    let alerts = there.open_alerts(&mailbox).await;
    assert_eq!((alerts[0].cause, alerts[0].kind), (Some(Cause::HostNotFound), AlertKind::MailboxLocationNotDetermined));
    let evidence = alerts[0].evidence.as_ref().expect("evidence");
    assert_eq!(evidence.stage, Stage::Discover);
    assert!(
        evidence.words.contains("exchange.test by SOAP: 404") && evidence.words.contains("_autodiscover._tcp"),
        "{}",
        evidence.words
    );
    assert!(alerts[0].resolution.join(" ").contains("set autodiscover"), "{:?}", alerts[0].resolution);
    assert!(there.world.state(&mailbox, INCOMING).await.enabled, "the name service may answer later");
    // It was mended.
    there.place(DOMAIN, &here());
    pass(GAP_SECONDS.into());
    there.receive(&mailbox).await;
}

#[tokio::test]
async fn places_that_lead_nowhere_or_in_circles_are_given_up() {
    let circle = "https://exchange.test/autodiscover/autodiscover.xml".to_owned();
    for says in [
        Place::Http(302, Some(circle.clone())),
        Place::Url(circle),
        Place::Address("bob@exchange.test".to_owned()),
        Place::Http(302, Some("http://exchange.test/plain".to_owned())),
        Place::Http(302, None),
        Place::Url("not a place".to_owned()),
        Place::Address("no address".to_owned()),
        Place::Location("http://mail.exchange.test/EWS/Exchange.asmx".to_owned()),
        Place::Location("file:///etc/passwd".to_owned()),
        Place::Body("<!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>".to_owned()),
        Place::Body("<html>A web site.</html>".to_owned()),
        Place::Body(String::new()),
        Place::Http(500, None),
    ] {
        let there = OnPremises::with(discovering()).await;
        there.place(DOMAIN, &says);
        let mailbox = there.mailbox("ada").await;
        there.server.exchange().mailbox("bob@exchange.test");
        there.world.run(&mailbox, INCOMING).await;
        let alerts = there.open_alerts(&mailbox).await;
        assert_eq!(alerts[0].cause, Some(Cause::HostNotFound), "{says:?}");
        assert!(there.server.exchange().asked.len() < 60, "{says:?}: {}", there.server.exchange().asked.len());
    }
}

#[tokio::test]
async fn a_password_is_sent_to_nobody_who_does_not_ask_for_it_or_whose_certificate_does_not_hold() {
    // A web site that answers everything with a page gets no password.
    let there = OnPremises::with(discovering()).await;
    there.place(DOMAIN, &Place::Body("<html>A web site.</html>".to_owned()));
    let mailbox = there.mailbox("ada").await;
    there.world.run(&mailbox, INCOMING).await;
    assert!(there.server.exchange().asked.iter().all(|(.., has)| !has));
    // Nor does a server that wants to be signed in to in another way.
    let there = OnPremises::with(discovering()).await;
    there.server.exchange().offers = vec!["Negotiate"];
    there.place(DOMAIN, &here());
    let mailbox = there.mailbox("ada").await;
    there.world.run(&mailbox, INCOMING).await;
    assert!(there.server.exchange().asked.iter().all(|(.., has)| !has));
    // Nor one with a certificate for another name.
    let there = OnPremises::with(discovering()).await;
    there.place(DOMAIN, &Place::Http(302, Some(format!("https://{MISNAMED}/autodiscover/autodiscover.xml"))));
    there.place(MISNAMED, &here());
    let mailbox = there.mailbox("ada").await;
    there.world.run(&mailbox, INCOMING).await;
    assert!(there.server.exchange().asked.iter().all(|(host, ..)| host != MISNAMED));
}

#[tokio::test]
async fn a_password_that_a_place_refuses_is_told_as_that() {
    // What the web site of the domain says is no verdict on the mailbox.
    for (host, cause) in [(DOMAIN, Cause::SignInFailed), (AUTODISCOVER, Cause::CredentialsRefused)] {
        let there = OnPremises::with(discovering()).await;
        there.place(host, &here());
        let mailbox = there.mailbox("ada").await;
        there.server.exchange().accounts.clear();
        there.world.run(&mailbox, INCOMING).await;
        assert_eq!(there.open_alerts(&mailbox).await[0].cause, Some(cause), "{host}");
        assert_eq!(there.world.state(&mailbox, INCOMING).await.enabled, host == DOMAIN);
        // Accounts are locked for a few wrong passwords.
        assert_eq!(there.server.exchange().asked.iter().filter(|(.., has)| *has).count(), 1);
    }
}

#[tokio::test]
async fn what_the_web_site_of_the_domain_says_keeps_nobody_from_the_places_behind_it() {
    let circle = Place::Http(302, Some(format!("https://{DOMAIN}/autodiscover/autodiscover.svc")));
    for site in [circle, Place::Body("<html>A web site.</html>".to_owned()), Place::Http(403, None)] {
        for page in ["svc", "xml"] {
            let there = OnPremises::with(discovering()).await;
            there.place(DOMAIN, &site);
            there.server.exchange().places.insert((AUTODISCOVER.to_owned(), page), here());
            let mailbox = there.mailbox("ada").await;
            there.receive(&mailbox).await;
            assert_eq!(there.open_alerts(&mailbox).await, [], "{site:?}");
        }
    }
}

#[tokio::test]
async fn the_password_of_a_service_account_goes_to_hosts_of_its_own_domain_alone() {
    let profile = with(impersonating(), |server| server.location = None);
    let there = OnPremises::with(profile).await;
    there.place("other.test", &here());
    there.server.exchange().mailbox("eve@other.test");
    let mailbox = mailrail_test_support::build::mailbox("eve", "eve@other.test", &there.profile);
    let mailbox = there.world.add(&mailbox, &there.profile, "").await;
    there.world.run(&mailbox, INCOMING).await;
    let alerts = there.open_alerts(&mailbox).await;
    assert_eq!(alerts[0].cause, Some(Cause::HostNotFound));
    assert!(alerts[0].evidence.as_ref().expect("evidence").words.contains("give the location"), "{alerts:?}");
    assert!(there.server.exchange().asked.iter().all(|(.., has)| !has));
    // Nor does it go to where a place that asks for nothing leads.
    let found = "<a><Response><Account><Protocol><Type>EXPR</Type><EwsUrl>https://mail.exchange.test/EWS/Exchange.asmx\
                 </EwsUrl></Protocol></Account></Response></a>";
    for (username, is_told) in [(SERVICE, true), ("service@other.test", false), ("EXAMPLE\\service", false)] {
        let username = Some(username.to_owned());
        let profile = with(impersonating(), |server| server.location = None);
        let profile = EmailServerProfile { username, ..profile };
        let there = OnPremises::with(profile).await;
        there.place(DOMAIN, &Place::Body(found.to_owned()));
        let mailbox = there.mailbox("ada").await;
        there.world.run(&mailbox, INCOMING).await;
        assert_eq!(there.requests() > 0, is_told);
    }
}

#[tokio::test]
async fn a_server_that_is_down_where_it_was_found_is_told_as_that() {
    let there = OnPremises::with(discovering()).await;
    there.place(DOMAIN, &here());
    let mailbox = there.mailbox("ada").await;
    there.receive(&mailbox).await;
    let mut row = there.world.row(&mailbox, INCOMING).await;
    row.state.learned.location = Some("https://127.0.0.1:1/EWS/Exchange.asmx".to_owned());
    there.world.write_state(&mailbox, INCOMING, row.state).await;
    there.server.exchange().places.clear();
    pass(GAP_SECONDS.into());
    there.world.run(&mailbox, INCOMING).await;
    assert_eq!(there.open_alerts(&mailbox).await[0].cause, Some(Cause::ConnectionRefused));
}

#[tokio::test]
async fn a_service_account_finds_and_serves_all_mailboxes_and_a_test_shows_the_finding() {
    let profile = with(impersonating(), |server| server.location = None);
    let there = OnPremises::with(profile).await;
    there.place(AUTODISCOVER, &here());
    let mailbox = there.untested("ada").await;
    let test = there.world.tested(&mailbox).await;
    let part = test.deliveries.iter().find(|part| part.delivery == INCOMING).expect("a part");
    let stages: Vec<Stage> = part.stages.iter().map(|report| report.stage).collect();
    assert_eq!(stages[..4], [Stage::Discover, Stage::Tls, Stage::SignIn, Stage::Impersonate]);
    assert!(part.stages.iter().all(|report| report.status == TestStatus::Success), "{test:#?}");
    assert!(there.world.state(&mailbox, OUTGOING).await.enabled);
    let searches =
        there.server.exchange().asked.iter().filter(|(host, page, _)| host == DOMAIN && page == "svc").count();
    assert_eq!(searches, 2, "each delivery looks for the server once");
    there.server.exchange().places.clear();
    let other = there.untested("bob").await;
    let test = there.world.tested(&other).await;
    let part = test.deliveries.iter().find(|part| part.delivery == INCOMING).expect("a part");
    let stages: Vec<(Stage, TestStatus)> = part.stages.iter().map(|report| (report.stage, report.status)).collect();
    assert_eq!(stages, [(Stage::Discover, TestStatus::Failure)]);
}
