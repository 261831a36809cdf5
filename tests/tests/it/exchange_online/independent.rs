//! The test server is plain enough to be believed: an independent client of Microsoft Graph, `io-msgraph`, lists, reads,
//! moves, deletes and sends with it. That library makes bytes of requests and reads bytes of replies; the connection is
//! ours, since it knows Microsoft's host alone.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use end_to_end::{
    letter::Letter,
    online::{CLIENT, address, tenant},
};
use io_http::rfc6750::bearer::HttpAuthBearer;
use io_msgraph::{
    coroutine::{MsgraphCoroutine, MsgraphCoroutineState, MsgraphYield},
    v1::{
        rest::users::messages::{
            create_mime::MsgraphMessageCreateMime, delete::MsgraphMessageDelete, delta::MsgraphMessagesDelta,
            get_raw::MsgraphMessageGetRaw, r#move::MsgraphMessageMove, send::MsgraphMessageSend,
        },
        send::{MsgraphSendError, MsgraphSendOutput},
    },
};
use mailrail_test_support::graph::GraphServer;

/// Runs one exchange over a connection of its own.
fn exchange<T>(
    port: u16,
    made: Result<
        impl MsgraphCoroutine<Yield = MsgraphYield, Return = Result<MsgraphSendOutput<T>, MsgraphSendError>>,
        MsgraphSendError,
    >,
) -> Result<T, MsgraphSendError> {
    let mut exchange = made?;
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
    let mut buffer = vec![0; 64 * 1024];
    let mut read = None;
    loop {
        match exchange.resume(read.map(|count| &buffer[..count])) {
            MsgraphCoroutineState::Complete(reply) => return reply.map(|output| output.response),
            MsgraphCoroutineState::Yielded(MsgraphYield::WantsWrite(bytes)) => {
                stream.write_all(&bytes).expect("the server hears");
                read = None;
            }
            MsgraphCoroutineState::Yielded(MsgraphYield::WantsRead) => {
                read = Some(stream.read(&mut buffer).expect("the server answers"));
            }
        }
    }
}

fn use_it(port: u16, letters: &[Letter]) {
    let (ada, auth) = (address("ada"), HttpAuthBearer::new("a-token"));
    let mut ids = Vec::new();
    let mut page = exchange(port, MsgraphMessagesDelta::new(&auth, &ada, Some("inbox"), Some("id"))).expect("a page");
    let delta = loop {
        ids.extend(page.value.into_iter().map(|entry| entry.message.id));
        match (page.next_link, page.delta_link) {
            (Some(next), _) => page = exchange(port, MsgraphMessagesDelta::from_link(&auth, &next)).expect("a page"),
            (None, delta) => break delta.expect("a delta link"),
        }
    };
    assert_eq!(ids.len(), letters.len());
    let raw = exchange(port, MsgraphMessageGetRaw::new(&auth, &ada, &ids[0])).expect("a message");
    assert_eq!(raw, letters[0].raw());

    let moved = exchange(port, MsgraphMessageMove::new(&auth, &ada, &ids[0], "deleteditems")).expect("a moved message");
    assert_ne!(moved.id, ids[0], "without a preference, an identifier changes with the folder");
    exchange(port, MsgraphMessageDelete::new(&auth, &ada, &ids[1])).expect("a deletion");
    let changes = exchange(port, MsgraphMessagesDelta::from_link(&auth, &delta)).expect("the changes");
    assert_eq!(changes.value.iter().filter(|entry| entry.removed.is_some()).count(), 2);

    let bob = address("bob");
    let mime =
        format!("From: {ada}\r\nTo: {bob}\r\nSubject: From another client\r\nMessage-ID: <m@other.test>\r\n\r\nHi\r\n");
    let draft = exchange(port, MsgraphMessageCreateMime::new(&auth, &ada, None, mime.as_bytes())).expect("a draft");
    assert_eq!((draft.is_draft, draft.internet_message_id.as_deref()), (Some(true), Some("<m@other.test>")));
    exchange(port, MsgraphMessageSend::new(&auth, &ada, &draft.id)).expect("a sending");

    let refused = exchange(port, MsgraphMessageGetRaw::new(&auth, &ada, "AAkALg-nothing"));
    assert!(matches!(refused, Err(MsgraphSendError::Api { status: 404, ref code, .. }) if code == "ErrorItemNotFound"));
    let stranger = exchange(port, MsgraphMessageGetRaw::new(&HttpAuthBearer::new("another"), &ada, &ids[2]));
    assert!(matches!(stranger, Err(MsgraphSendError::Api { status: 401, .. })));
}

#[tokio::test]
async fn an_independent_client_lists_reads_moves_deletes_and_sends() {
    let mut known = tenant();
    known.tokens.insert("a-token".to_owned(), CLIENT.to_owned());
    let letters: Vec<Letter> = (0..25).map(|n| Letter::new(&n.to_string())).collect();
    for letter in &letters {
        known.mailbox(&address("ada")).deliver("inbox", &letter.raw(), Some("2026-01-01T00:00:00Z".to_owned()));
    }
    known.mailbox(&address("bob"));
    let server = GraphServer::start(known, None, "localhost").await;
    let port = server.origin().rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    tokio::task::spawn_blocking(move || use_it(port, &letters)).await.expect("nothing against it");
    let mut tenant = server.tenant();
    assert_eq!(tenant.mailbox(&address("bob")).of_folder("inbox").len(), 1);
    assert_eq!(tenant.mailbox(&address("ada")).of_folder("sentitems").len(), 1);
}
