//! `pasarela trust`: which servers are known, by which key, and that they had TLS.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use pasarela_client::{Known, KnownServers, Pin, Url};
use serde_json::json;

use super::open::{book, known_servers};
use super::operand::is_url;
use super::places;
use super::usage;
use crate::cli::print;
use crate::failure::{Failure, Kind, Problem};

/// Examples, for the help.
pub(crate) const EXAMPLES: &str = "\
A server is known once a login there was protected: either an authority vouched for it, or its key was believed, with \
`trust add`, --accept-new, or an answer at the first meeting. A known server that shows another key is refused, and one \
that had TLS gets no password in the clear any more, whatever it says.

Examples:
  Who is known:
      pasarela trust list

  A self-signed server, by the key that its operator tells you (`pasarela serve` prints it):
      pasarela trust add ftp.example.org sha256//…

  A server that has a new key, once its operator has said so; the next meeting counts as the first:
      pasarela trust remove ftp.example.org

SERVER is HOST, HOST:PORT, a URL, or a saved place (NAME:).

Exit codes:
  0    done
  2    a flag or an operand, or the file of known servers
  7    no such server is known";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show every server that is known
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Show what is known of a server
    Show {
        /// HOST, HOST:PORT, a URL, or NAME:; without a port, all its ports
        server: String,

        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Believe a server that has this key, instead of what is known of it
    Add(Add),
    /// Forget a server: its key, and that it had TLS
    #[command(visible_alias = "rm")]
    Remove {
        /// HOST, HOST:PORT, a URL, or NAME:; without a port, all its ports
        server: String,
    },
}

/// The flags of `trust add`.
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// HOST (port 21), HOST:PORT, a URL, or NAME:
    server: String,

    /// The server's key, or its certificate: sha256//BASE64, or 64 hexadecimal digits
    #[arg(value_name = "PIN", value_parser = super::open::pin)]
    pin: Pin,
}

/// Shows or changes which servers are known.
pub(crate) fn run_trust(command: &Command) -> Result<ExitCode, Failure> {
    let servers = known_servers().ok_or_else(|| usage("there is no home to keep known servers in"))?;
    let done = match command {
        Command::List { json } => print(&shown(&all(&servers)?, *json)),
        Command::Show { server, json } => print(&shown(&found(&servers, server)?, *json)),
        Command::Add(add) => {
            let (host, port) = server_of(&add.server)?;
            let known = Known { key: Some(add.pin) };
            written(&servers, servers.remember(&host, port.unwrap_or(21), known))
        }
        Command::Remove { server } => {
            let mut gone = found(&servers, server)?.into_iter();
            gone.try_for_each(|(host, port, _)| written(&servers, servers.forget(&host, port)))
        }
    };
    done.map(|()| ExitCode::SUCCESS)
}

type Line = (String, u16, Known);

fn written(servers: &KnownServers, result: std::io::Result<()>) -> Result<(), Failure> {
    result.map_err(|error| usage(format!("{}: {error}", servers.path().display())))
}

fn all(servers: &KnownServers) -> Result<Vec<Line>, Failure> {
    let all = servers.all();
    all.map_err(|error| usage(format!("{}: {error}", servers.path().display())))
}

/// What is known of a server, or that nothing is.
fn found(servers: &KnownServers, server: &str) -> Result<Vec<Line>, Failure> {
    let (host, port) = server_of(server)?;
    let mut found = all(servers)?;
    found.retain(|(known, at, _)| known.eq_ignore_ascii_case(&host) && port.is_none_or(|port| port == *at));
    match found.is_empty() {
        false => Ok(found),
        true => Err(Problem::new(format!("{server}: nothing is known of it"))
            .hint("pasarela trust list shows who is known")
            .fails(Kind::Code(7))),
    }
}

fn shown(lines: &[Line], as_json: bool) -> String {
    let mut text = String::new();
    for (host, port, known) in lines {
        let key = known.key.map(|key| key.to_string());
        if as_json {
            let object = json!({ "host": host, "port": port, "key": key, "had_tls": true });
            text.push_str(&format!("{object}\n"));
            continue;
        }
        let place = written_out(host, *port);
        let what = key.unwrap_or_else(|| "had TLS; an authority vouches for it".to_owned());
        text.push_str(&format!("{place:<32} {what}\n"));
    }
    text
}

/// A server as the commands take it.
pub(super) fn written_out(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

/// Host and port of what names a server.
fn server_of(text: &str) -> Result<(String, Option<u16>), Failure> {
    let of_url = |url: Url| (url.host, Some(url.port));
    if is_url(text) {
        return text
            .parse()
            .map(of_url)
            .map_err(|error| usage(format!("{error}")));
    }
    if let Some((name, "")) = places::split(text) {
        let saved = book().map(|book| book.find(name)).transpose();
        let saved = saved
            .map_err(|problem| problem.fails(Kind::Configuration))?
            .flatten();
        let unknown = || usage(format!("nothing is saved as `{name}`"));
        return saved.map(|saved| of_url(saved.url)).ok_or_else(unknown);
    }
    let is_bare_ipv6 = text.parse::<std::net::Ipv6Addr>().is_ok();
    let authority = match is_bare_ipv6 {
        true => format!("[{text}]"),
        false => text.to_owned(),
    };
    let has_port = !is_bare_ipv6
        && authority
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()) && !port.is_empty());
    let url: Result<Url, _> = format!("ftp://{authority}/").parse();
    match url {
        Ok(url) if url.user.is_none() && url.path.is_empty() => Ok((url.host, has_port.then_some(url.port))),
        _ => Err(Problem::new(format!("{text:?} names no server"))
            .hint("HOST, HOST:PORT, [IPV6]:PORT, a URL, or NAME:")
            .fails(Kind::Configuration)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_in_the_ways_people_have() {
        let server = |text| server_of(text).map_err(|failure| failure.to_string());
        let named = |host: &str, port| Ok((host.to_owned(), port));
        assert_eq!(server("h.example"), named("h.example", None));
        assert_eq!(server("h.example:2121"), named("h.example", Some(2121)));
        assert_eq!(server("ftps://anna@h/x"), named("h", Some(990)));
        assert_eq!(server("::1"), named("::1", None));
        assert_eq!(server("[::1]"), named("::1", None));
        assert_eq!(server("[::1]:21"), named("::1", Some(21)));
        for bad in ["", "a b", "h:x", "h:0", "h/x", "anna@h"] {
            assert!(server(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_known_is_shown_for_people_and_programs() {
        let lines = [
            (
                "::1".to_owned(),
                21,
                Known {
                    key: Some(Pin([0; 32])),
                },
            ),
            ("h".to_owned(), 990, Known { key: None }),
        ];
        let text = shown(&lines, false);
        assert!(
            text.starts_with("[::1]:21 ") && text.contains("sha256//AAAA"),
            "{text}"
        );
        assert!(text.contains("h:990 ") && text.contains("had TLS"), "{text}");
        let first = shown(&lines, true);
        let first: serde_json::Value = serde_json::from_str(first.lines().next().unwrap()).unwrap();
        assert_eq!((&first["host"], &first["port"]), (&"::1".into(), &21.into()));
    }
}
