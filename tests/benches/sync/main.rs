//! The bench of synchronization, part by part. `infra/local/bench` starts the servers, runs the parts beside `mbsync`
//! and `mpop`, and prints the table.
//!
//! Each part is a process of its own, so that what one of them computes counts for nobody else. A part that stays reads
//! commands from its standard input, answers each with a line of JSON, and ends with that input.

mod counter;
mod exchange;
mod letters;
mod proxy;
mod work;

use std::{error::Error, io::BufRead, path::Path, process::ExitCode, sync::Arc, time::Duration};

use end_to_end::world::trusting;
use mailrail_domain::settings::profile::IncomingProtocol;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use self::work::{Mailboxes, Stores};

const USAGE: &str = "this is a part of `infra/local/bench`; run that";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match part(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut words = error.to_string();
            let mut cause = error.source();
            while let Some(next) = cause {
                words = format!("{words}: {next}");
                cause = next.source();
            }
            eprintln!("error: {words}");
            ExitCode::FAILURE
        }
    }
}

fn part(arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    match arguments {
        ["deliver", store, address, first, count, state] => {
            let first: u32 = first.parse()?;
            let numbers = first..first + count.parse::<u32>()?;
            let bytes = letters::deliver(Path::new(store), address, numbers, *state == "new")?;
            println!("{}", json!({ "bytes": bytes }));
            Ok(())
        }
        ["deliver-large", store, address, bytes] => {
            let bytes = letters::deliver_large(Path::new(store), address, bytes.parse()?)?;
            println!("{}", json!({ "bytes": bytes }));
            Ok(())
        }
        ["sizes", address, count] => {
            let (mean, median, p95) = letters::sizes(address, count.parse()?);
            println!("{}", json!({ "mean": mean, "median": median, "p95": p95 }));
            Ok(())
        }
        ["proxy", target, one_way_milliseconds] => {
            mail_proxy(target.parse()?, Duration::from_millis(one_way_milliseconds.parse()?), None)
        }
        ["reveal", target, authority, certificate, key] => {
            mail_proxy(target.parse()?, Duration::ZERO, Some(reveal(authority, certificate, key)?))
        }
        ["count", target] => {
            let (target, calls) = (target.parse()?, Arc::new(counter::Calls::default()));
            let counted = Arc::clone(&calls);
            stay(move |listener| counter::serve(listener, target, counted), || calls.take())
        }
        ["exchange", messages] => {
            println!("{}", exchange::measure(messages.parse()?)?);
            Ok(())
        }
        ["work", stores, protocol, port, accounts @ ..] => {
            let stores = if *stores == "aws" { Stores::Aws } else { Stores::Memory };
            let protocol = if *protocol == "pop3" { IncomingProtocol::Pop3 } else { IncomingProtocol::Imap };
            let pair = |account: &&str| account.split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned()));
            let accounts = accounts.iter().filter_map(pair).collect();
            work::work(stores, &Mailboxes { protocol, port: port.parse()?, accounts }, lines())
        }
        _ => Err(USAGE.into()),
    }
}

fn lines() -> impl Iterator<Item = String> {
    std::io::stdin().lock().lines().map_while(Result::ok)
}

fn mail_proxy(target: u16, one_way: Duration, reveal: Option<proxy::Reveal>) -> Result<(), Box<dyn Error>> {
    let counts = Arc::new(proxy::Counts::default());
    let counted = Arc::clone(&counts);
    stay(move |listener| proxy::serve(listener, target, one_way, reveal, counted), || counts.take())
}

/// Serves on a free port, which is the first answer, and answers every line with what was counted since the last.
fn stay<F>(serve: impl FnOnce(TcpListener) -> F, counted: impl Fn() -> Value) -> Result<(), Box<dyn Error>>
where
    F: Future<Output = std::io::Result<()>> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    println!("{}", json!({ "port": listener.local_addr()?.port() }));
    let serving = serve(listener);
    std::thread::spawn(move || runtime.block_on(serving));
    for _ in lines() {
        println!("{}", counted());
    }
    Ok(())
}

fn reveal(authority: &str, certificate: &str, key: &str) -> Result<proxy::Reveal, Box<dyn Error>> {
    let authority = CertificateDer::from_pem_file(authority)?;
    let chain = vec![CertificateDer::from_pem_file(certificate)?];
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    Ok(proxy::Reveal {
        server: tokio_rustls::TlsAcceptor::from(Arc::new(server)),
        client: tokio_rustls::TlsConnector::from(trusting([authority])),
    })
}
