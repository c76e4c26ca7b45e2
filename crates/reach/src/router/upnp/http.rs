//! As much HTTP/1.1 as a router's description and its services need (RFC 9112): one request a connection, bounded
//! answers, no redirects.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::timeout;

use super::super::{Refusal, exchange};

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// The longest answer, head and chunk sizes included.
const LONGEST: usize = 256 * 1024;

const TOO_LONG: Refusal = Refusal::Malformed("it is longer than 256 KiB");
const CUT: Refusal = Refusal::Malformed("it ends too early");
const NO_HTTP: Refusal = Refusal::Malformed("no HTTP");

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Target {
    pub(super) address: SocketAddr,
    pub(super) path: String,
}

impl Target {
    /// An `http` URL whose host is an address. A link-local one is on our own link, which `local` names.
    pub(super) fn parse(url: &str, local: SocketAddr) -> Result<Self, Refusal> {
        let foreign = || Refusal::foreign(url);
        let (scheme, rest) = url.split_once("://").ok_or_else(foreign)?;
        if !scheme.eq_ignore_ascii_case("http") {
            return Err(foreign());
        }
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let address = authority.parse().or_else(|_| {
            let host = authority.trim_start_matches('[').trim_end_matches(']');
            host.parse().map(|host: IpAddr| SocketAddr::new(host, 80))
        });
        let address = match (address.map_err(|_| foreign())?, local) {
            (SocketAddr::V6(address), SocketAddr::V6(local)) if address.ip().is_unicast_link_local() => {
                SocketAddrV6::new(*address.ip(), address.port(), 0, local.scope_id()).into()
            }
            (address, _) => address,
        };
        if address.port() == 0 || !is_path(path) {
            return Err(foreign());
        }
        Ok(Self {
            address,
            path: path.into(),
        })
    }

    /// A path at the same place (RFC 3986 §5.2), absolute or beside this one.
    pub(super) fn join(&self, reference: &str) -> Result<Self, Refusal> {
        let path = match reference.strip_prefix('/') {
            Some(_) => reference.to_owned(),
            None => {
                let folder = self.path.rfind('/').map_or("/", |at| &self.path[..=at]);
                format!("{folder}{reference}")
            }
        };
        if reference.is_empty() || path.starts_with("//") || !is_path(&path) {
            return Err(Refusal::foreign(reference));
        }
        Ok(Self {
            address: self.address,
            path,
        })
    }
}

/// Nothing in it can end the request line.
fn is_path(path: &str) -> bool {
    path.starts_with('/') && path.len() <= 1024 && path.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The body of a document.
pub(super) async fn get(from: IpAddr, target: &Target) -> Result<String, Refusal> {
    match exchange_one(from, target, "GET", "", "").await? {
        (200, body) => Ok(body),
        (status, _) => Err(Refusal::Code(status)),
    }
}

/// Status and body of what is answered to a SOAP request.
pub(super) async fn post(
    from: IpAddr,
    target: &Target,
    action: &str,
    body: &str,
) -> Result<(u16, String), Refusal> {
    let headers = format!("Content-Type: text/xml; charset=\"utf-8\"\r\nSOAPAction: {action}\r\n");
    exchange_one(from, target, "POST", &headers, body).await
}

async fn exchange_one(
    from: IpAddr,
    target: &Target,
    method: &str,
    headers: &str,
    body: &str,
) -> Result<(u16, String), Refusal> {
    // A path may have come from a file.
    if !is_path(&target.path) {
        return Err(Refusal::foreign(&target.path));
    }
    let host = match target.address {
        SocketAddr::V4(address) => address.to_string(),
        SocketAddr::V6(address) => format!("[{}]:{}", address.ip(), address.port()),
    };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}",
        path = target.path,
        length = body.len(),
    );
    let exchange = async {
        let socket = match target.address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }
        .map_err(|error| Refusal::from_io(&error))?;
        socket
            .bind(exchange::local(from, target.address))
            .map_err(|error| exchange::not_ours(from, &error))?;
        let mut stream = socket
            .connect(target.address)
            .await
            .map_err(|error| Refusal::from_io(&error))?;
        stream.write_all(request.as_bytes()).await.map_err(|_| CUT)?;
        read(&mut stream).await
    };
    timeout(PATIENCE, exchange)
        .await
        .unwrap_or(Err(Refusal::NoAnswer))
}

/// Reads one answer, as far as it says or until the end, and never more than it may be long.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<(u16, String), Refusal> {
    let mut received = Vec::new();
    let mut buffer = [0; 8192];
    loop {
        let ended = match stream.read(&mut buffer).await {
            Ok(0) => true,
            Ok(length) => {
                received.extend_from_slice(&buffer[..length]);
                false
            }
            // Some routers reset a connection whose request they have not read to the end.
            Err(_) => true,
        };
        if let Some((status, body)) = whole(&received, ended)? {
            return Ok((status, String::from_utf8_lossy(&body).into_owned()));
        }
        if received.len() > LONGEST {
            return Err(TOO_LONG);
        }
        if ended {
            return Err(CUT);
        }
    }
}

/// Status and body, once everything is there (RFC 9112 §6.3).
fn whole(received: &[u8], ended: bool) -> Result<Option<(u16, Vec<u8>)>, Refusal> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let head = match response.parse(received) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(NO_HTTP),
    };
    let status = response.code.ok_or(NO_HTTP)?;
    let header = |name| {
        let header = response
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(header.value).ok().map(str::trim)
    };
    let rest = &received[head..];
    let body = if header("Transfer-Encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        chunks(rest)?
    } else if let Some(length) = header("Content-Length") {
        let length: usize = length.parse().map_err(|_| NO_HTTP)?;
        if length > LONGEST {
            return Err(TOO_LONG);
        }
        rest.get(..length).map(<[u8]>::to_vec)
    } else {
        ended.then(|| rest.to_vec())
    };
    Ok(body.map(|body| (status, body)))
}

/// The content of a chunked body (RFC 9112 §7.1), once it is all there.
fn chunks(mut rest: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
    let mut body = Vec::new();
    loop {
        let (line, size) = match httparse::parse_chunk_size(rest) {
            Ok(httparse::Status::Complete(chunk)) => chunk,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(NO_HTTP),
        };
        if size == 0 {
            return Ok(Some(body));
        }
        let size = usize::try_from(size)
            .ok()
            .filter(|size| *size <= LONGEST)
            .ok_or(TOO_LONG)?;
        // Each chunk ends with a line end of its own.
        let Some(next) = rest.get(line + size + 2..) else {
            return Ok(None);
        };
        body.extend_from_slice(&rest[line..line + size]);
        rest = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answer(text: &[u8]) -> Result<(u16, String), Refusal> {
        read(&mut &*text).await
    }

    fn ok(body: &str) -> Result<(u16, String), Refusal> {
        Ok((200, body.into()))
    }

    #[tokio::test]
    async fn a_body_ends_where_it_says() {
        assert_eq!(
            answer(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabcdef").await,
            ok("abc")
        );
        assert_eq!(answer(b"HTTP/1.0 200 OK\r\n\r\nabc").await, ok("abc"));
        assert_eq!(
            answer(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n"
            )
            .await,
            ok("abc")
        );
    }

    #[tokio::test]
    async fn a_body_that_ends_too_early_is_none() {
        for text in [
            "",
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
        ] {
            assert_eq!(answer(text.as_bytes()).await, Err(CUT), "{text}");
        }
    }

    #[tokio::test]
    async fn no_more_is_read_than_an_answer_may_be_long() {
        /// A peer that talks for as long as it is listened to.
        struct Endless(usize);
        impl AsyncRead for Endless {
            fn poll_read(
                mut self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
                buffer: &mut tokio::io::ReadBuf<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                let text = if self.0 == 0 {
                    "HTTP/1.1 200 OK\r\n\r\n"
                } else {
                    "aaaaaaaaaaaaaaaa"
                };
                self.0 += text.len();
                buffer.put_slice(text.as_bytes());
                std::task::Poll::Ready(Ok(()))
            }
        }
        let mut endless = Endless(0);
        assert_eq!(read(&mut endless).await, Err(TOO_LONG));
        assert!(endless.0 < LONGEST + 1024, "{}", endless.0);
        for head in [
            "HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffff\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        ] {
            assert_eq!(answer(head.as_bytes()).await, Err(TOO_LONG), "{head}");
        }
    }

    #[tokio::test]
    async fn what_is_no_http_is_refused() {
        for text in [
            "SSH-2.0-x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        ] {
            assert_eq!(answer(text.as_bytes()).await, Err(NO_HTTP), "{text}");
        }
    }

    #[test]
    fn a_reference_stays_at_the_same_place() {
        let local = "192.168.1.10:0".parse().unwrap();
        let base = Target::parse("http://192.168.1.1:5000/igd/root.xml", local).unwrap();
        let joined = |reference| base.join(reference).map(|target| target.path);
        assert_eq!(joined("/ctl/IPConn"), Ok("/ctl/IPConn".into()));
        assert_eq!(joined("ctl/IPConn"), Ok("/igd/ctl/IPConn".into()));
        for reference in ["", "//10.0.0.1/", "/a b", "/a\r\nX: y", "/\u{e9}"] {
            assert!(joined(reference).is_err(), "{reference}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_answer_is_too_strange(bytes: Vec<u8>, text in "[0-9a-fF;\\r\\n]{0,40}", ended: bool) {
            let _ = (whole(&bytes, ended), chunks(&bytes), chunks(text.as_bytes()));
            let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: {text}\r\n\r\n{text}");
            let _ = whole(answer.as_bytes(), ended);
        }

        #[test]
        fn no_url_is_too_strange(text in "(http://)?[0-9.:/@%a-f\\[\\]]{0,40}", any: String) {
            let local = "[fe80::2%2]:0".parse().unwrap();
            for url in [&text, &any] {
                if let Ok(target) = Target::parse(url, local) {
                    proptest::prop_assert!(is_path(&target.path) && target.address.port() > 0);
                    if let Ok(joined) = target.join(&any) {
                        proptest::prop_assert!(is_path(&joined.path) && joined.address == target.address);
                    }
                }
            }
        }
    }
}
