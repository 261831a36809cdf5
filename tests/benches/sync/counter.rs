//! Between a client and the emulator of AWS: counts the calls and the units of the table that they consume.
//!
//! What a write consumes is what the emulator answers, which it is asked for in every call. What a read consumes is
//! reckoned by the sizes of the rows, because the emulator answers the same for a small row and a large one.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const READ_UNIT_BYTES: usize = 4_096;
const HEAD_BYTES_MAX: usize = 64 * 1024;
const BODY_BYTES_MAX: usize = 256 * 1024 * 1024;

/// What was asked for since the last look.
#[derive(Debug, Default)]
pub(crate) struct Calls(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    calls: BTreeMap<String, u64>,
    read_units: f64,
    write_units: f64,
}

impl Calls {
    /// The counts, which begin at zero again.
    pub(crate) fn take(&self) -> Value {
        let seen = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        json!({ "calls": seen.calls, "read_units": seen.read_units, "write_units": seen.write_units })
    }

    fn note(&self, call: &str, request: Option<&Value>, reply: &[u8]) {
        let reply: Value = serde_json::from_slice(reply).unwrap_or_default();
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *seen.calls.entry(call.to_owned()).or_default() += 1;
        let Some(request) = request else {
            return;
        };
        match reads(call, request, &reply) {
            Some(units) => seen.read_units += units,
            None => seen.write_units += written(&reply),
        }
    }
}

/// A message of HTTP: its first line and fields, and its body.
struct Message {
    head: String,
    body: Vec<u8>,
}

impl Message {
    fn field(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.split("\r\n").skip(1);
        lines.find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head.clone().into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// The same with another body, whose length is the only thing that changes in its head.
    fn with_body(self, body: Vec<u8>) -> Self {
        let length = format!("content-length: {}", body.len());
        let lines = self.head.split("\r\n").map(|line| {
            let is_length = line.get(..15).is_some_and(|name| name.eq_ignore_ascii_case("content-length:"));
            if is_length { length.as_str() } else { line }
        });
        Self { head: lines.collect::<Vec<_>>().join("\r\n"), body }
    }
}

/// Passes requests on to `target`.
pub(crate) async fn serve(listener: TcpListener, target: u16, calls: Arc<Calls>) -> io::Result<()> {
    loop {
        let (client, _) = listener.accept().await?;
        let calls = Arc::clone(&calls);
        tokio::spawn(async move {
            // A connection that breaks is for its client to notice.
            let _ = pass(client, target, &calls).await;
        });
    }
}

async fn pass(mut client: TcpStream, target: u16, calls: &Calls) -> io::Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", target)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut of_client, mut of_server) = (Vec::new(), Vec::new());
    let mut peeked = [0];
    loop {
        let head = tokio::select! {
            head = read_head(&mut client, &mut of_client) => head?,
            // A connection that the server has given up must not look alive to the client.
            _ = server.peek(&mut peeked) => None,
        };
        let Some(head) = head else {
            return Ok(());
        };
        let mut request = Message { head, body: Vec::new() };
        if request.field("expect").is_some() {
            client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
            let lines = request.head.split("\r\n").filter(|line| !line.to_ascii_lowercase().starts_with("expect:"));
            request.head = lines.collect::<Vec<_>>().join("\r\n");
        }
        request.body = read_body(&request, &mut client, &mut of_client).await?;
        let call = name(&request);
        let mut of_table = None;
        if call.starts_with("DynamoDB")
            && let Ok(Value::Object(mut asked)) = serde_json::from_slice(&request.body)
        {
            asked.insert("ReturnConsumedCapacity".to_owned(), json!("TOTAL"));
            let asked = Value::Object(asked);
            request = request.with_body(asked.to_string().into_bytes());
            of_table = Some(asked);
        }
        server.write_all(&request.bytes()).await?;
        let head = read_head(&mut server, &mut of_server).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut reply = Message { head, body: Vec::new() };
        if !request.head.starts_with("HEAD ") {
            reply.body = read_body(&reply, &mut server, &mut of_server).await?;
        }
        calls.note(&call, of_table.as_ref(), &reply.body);
        client.write_all(&reply.bytes()).await?;
    }
}

/// Service and operation.
fn name(request: &Message) -> String {
    match request.field("x-amz-target").and_then(|target| target.split_once('.')) {
        Some((service, operation)) => {
            let service = service.split('_').next().unwrap_or_default();
            format!("{}.{operation}", service.trim_start_matches("Amazon").replace("TrentService", "KMS"))
        }
        None => format!("S3.{}", request.head.split(' ').next().unwrap_or_default()),
    }
}

/// Everything up to the blank line; `None` where the connection has ended.
async fn read_head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<String>> {
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = buffer.split_off(end + 4);
            let head = std::mem::replace(buffer, rest);
            return String::from_utf8(head).map(Some).map_err(io::Error::other);
        }
        if buffer.len() > HEAD_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

/// The body as it is on the wire, chunks and all.
async fn read_body(message: &Message, stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Vec<u8>> {
    let is_chunked = message.field("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
    let length = message.field("content-length").and_then(|length| length.parse::<usize>().ok()).unwrap_or(0);
    loop {
        let end = if is_chunked { end_of_chunks(buffer) } else { Some(length).filter(|end| buffer.len() >= *end) };
        if let Some(end) = end {
            let rest = buffer.split_off(end);
            return Ok(std::mem::replace(buffer, rest));
        }
        if buffer.len() > BODY_BYTES_MAX || stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn end_of_chunks(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = at + bytes.get(at..)?.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(bytes.get(at..line)?).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        at = line + 2 + size + 2;
        if size == 0 {
            return (bytes.len() >= at).then_some(at);
        }
    }
}

/// Read units of a call; `None` for one that writes.
fn reads(call: &str, request: &Value, reply: &Value) -> Option<f64> {
    let unit = |asked: &Value| if asked["ConsistentRead"].as_bool().unwrap_or(false) { 1.0 } else { 0.5 };
    let units = |bytes: usize| bytes.div_ceil(READ_UNIT_BYTES).max(1) as f64;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    match call {
        "DynamoDB.GetItem" => Some(units(size(&reply["Item"])) * unit(request)),
        "DynamoDB.Query" => Some(units(list(&reply["Items"]).iter().map(size).sum()) * unit(request)),
        "DynamoDB.BatchGetItem" => {
            let asked = request["RequestItems"].as_object().into_iter().flatten();
            let tables = asked.map(|(table, asked)| {
                let found = list(&reply["Responses"][table]);
                let missing = list(&asked["Keys"]).len().saturating_sub(found.len());
                (found.iter().map(|item| units(size(item))).sum::<f64>() + missing as f64) * unit(asked)
            });
            Some(tables.sum())
        }
        _ => None,
    }
}

/// Write units that the emulator says a call consumed. A refused condition costs a unit and is answered without one.
fn written(reply: &Value) -> f64 {
    let of = |consumed: &Value| consumed.get("CapacityUnits").and_then(Value::as_f64).unwrap_or(0.0);
    match reply.get("ConsumedCapacity") {
        Some(Value::Array(tables)) => tables.iter().map(of).sum(),
        Some(table) => of(table),
        None => 1.0,
    }
}

/// Bytes of a row, or of an attribute's value, as DynamoDB counts them.
fn size(item: &Value) -> usize {
    let attributes = item.as_object().into_iter().flatten();
    attributes.map(|(name, value)| name.len() + size_of_value(value)).sum()
}

fn size_of_value(value: &Value) -> usize {
    let Some((kind, content)) = value.as_object().and_then(|typed| typed.iter().next()) else {
        return 0;
    };
    let text = content.as_str().map_or(0, str::len);
    let list = content.as_array().map(Vec::as_slice).unwrap_or_default();
    match kind.as_str() {
        "S" => text,
        "N" => text.div_ceil(2) + 1,
        "B" => text / 4 * 3,
        "SS" | "NS" | "BS" => list.iter().filter_map(Value::as_str).map(str::len).sum(),
        "L" => 3 + list.iter().map(|each| 1 + size_of_value(each)).sum::<usize>(),
        "M" => {
            let entries = content.as_object().into_iter().flatten();
            3 + entries.map(|(name, each)| 1 + name.len() + size_of_value(each)).sum::<usize>()
        }
        _ => 1,
    }
}
