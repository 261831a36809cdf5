//! Connections to Exchange Online that fail: each with its own cause, and nothing lost or doubled.

use std::{sync::Arc, time::Duration};

use end_to_end::{
    letter::Letter,
    online::{Online, SECRET, profile, tenant},
    scripted::{Named, authorities, server_config},
    world::{World, pass, trusting},
};
use mailrail_domain::words::{cause::Cause, evidence::Stage, policy::GAP_SECONDS};
use mailrail_exchange_online::Hosts;
use mailrail_test_support::{
    graph::GraphServer,
    proxy::{Mischief, Proxy},
};

use super::INCOMING;

/// An organization that looks for Exchange Online at this port, where a server is or is not.
async fn looking_at(port: u16, server: GraphServer) -> Online {
    let at = format!("https://localhost:{port}");
    let world = World::with_exchange_online(trusting(authorities()), Hosts::At { login: at.clone(), graph: at });
    let online = Online { world, server, profile: profile() };
    online.put_profile(SECRET).await;
    online
}

async fn server(named: Named) -> GraphServer {
    GraphServer::start(tenant(), Some(Arc::new(server_config(named))), "localhost").await
}

fn port(server: &GraphServer) -> u16 {
    server.origin().rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
}

#[tokio::test]
async fn a_server_that_is_not_there_and_one_with_another_name_each_have_their_cause() {
    let wrong = server(Named::Wrongly).await;
    for (port, cause, stage, enabled) in [
        (1, Cause::ConnectionRefused, Stage::Connect, true),
        (port(&wrong), Cause::CertificateRefused, Stage::Tls, false),
    ] {
        let online = looking_at(port, server(Named::Rightly).await).await;
        let mailbox = online.mailbox("ada").await;
        online.world.run(&mailbox, INCOMING).await;
        let alerts = online.open_alerts(&mailbox).await;
        let evidence = alerts[0].evidence.as_ref().expect("evidence");
        assert_eq!((alerts[0].cause, evidence.stage), (Some(cause), stage), "{evidence:?}");
        assert_eq!(online.world.state(&mailbox, INCOMING).await.enabled, enabled);
    }
}

#[tokio::test]
async fn a_connection_that_is_cut_anywhere_loses_and_doubles_nothing() {
    const MESSAGES: usize = 20;
    for cut in (1..=10).map(|n| n * 4_000) {
        let server = server(Named::Rightly).await;
        let proxy = Proxy::start(port(&server), Mischief::CutAfter(cut)).await;
        server.tenant().behind = Some(format!("https://localhost:{}", proxy.port()));
        let online = looking_at(proxy.port(), server).await;
        let mailbox = online.mailbox("ada").await;
        for n in 0..MESSAGES {
            online.deliver("ada", &Letter::new(&format!("{n:02}")).body("A line.\r\n".repeat(200)));
        }
        let mut failures = 0;
        for _ in 0..9 {
            online.world.run(&mailbox, INCOMING).await;
            failures += usize::from(online.world.state(&mailbox, INCOMING).await.transient_failure_count > 0);
            pass(GAP_SECONDS.into());
        }
        assert!(failures > 0, "nothing was cut after {cut}");
        proxy.turn_to(Mischief::Delay(Duration::ZERO));
        online.world.run(&mailbox, INCOMING).await;
        pass(GAP_SECONDS.into());
        online.receive(&mailbox).await;
        let subjects = online.world.subjects(&mailbox).await;
        assert_eq!(subjects.len(), MESSAGES, "cut after {cut}: {subjects:?}");
        assert_eq!(online.world.quarantined(&mailbox).await, [], "cut after {cut}");
    }
}
