//! A server in clear that keeps to RFC 959 except where its script says otherwise.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What it does.
#[derive(Default)]
pub struct Script {
    /// The one file that there is, `a`, as RETR sends it.
    pub content: Vec<u8>,
    /// What SIZE and MLST say of it, where that is not its length.
    pub told: Option<u64>,
    /// After so many bytes of the file it sends nothing more and waits for the client to go.
    pub stalls_after: Option<usize>,
    /// Replies instead of the usual ones, by verb; an empty one is never sent. `GREETING` is one of the verbs, and `END`
    /// stands for the reply after a transfer.
    pub instead: HashMap<&'static str, String>,
}

impl Script {
    pub fn file(content: &[u8]) -> Self {
        Self {
            content: content.to_vec(),
            ..Self::default()
        }
    }

    pub fn saying(mut self, verb: &'static str, reply: &str) -> Self {
        self.instead.insert(verb, reply.to_owned());
        self
    }
}

/// A server that runs until the test ends.
pub struct Server {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    script: Script,
    heard: Mutex<Vec<String>>,
}

impl Server {
    pub fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script,
            heard: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            while let Ok((tcp, _)) = listener.accept() {
                let shared = Arc::clone(&serving);
                // Clients may leave at any time.
                thread::spawn(move || drop(serve(&shared, tcp)));
            }
        });
        Self { address, shared }
    }

    pub fn url(&self, path: &str) -> String {
        format!("ftp://{}/{path}", self.address)
    }

    /// What clients said, all connections together.
    pub fn heard(&self) -> Vec<String> {
        self.shared.heard.lock().unwrap().clone()
    }
}

fn serve(shared: &Shared, mut control: TcpStream) -> std::io::Result<()> {
    let script = &shared.script;
    let mut data: Option<TcpListener> = None;
    let mut restart = 0;
    let instead = |verb: &str| script.instead.get(verb).cloned();
    let lines = BufReader::new(control.try_clone()?).lines();
    let greeting = instead("GREETING").unwrap_or_else(|| "220 Ready".to_owned());
    if !greeting.is_empty() {
        write!(control, "{greeting}\r\n")?;
    }
    if greeting.starts_with("421") {
        return Ok(());
    }
    for line in lines {
        let line = line?;
        shared.heard.lock().unwrap().push(line.clone());
        let (verb, argument) = line.split_once(' ').unwrap_or((&line, ""));
        if let Some(reply) = instead(verb) {
            if !reply.is_empty() {
                write!(control, "{reply}\r\n")?;
            }
            continue;
        }
        let size = script.told.unwrap_or(script.content.len() as u64);
        let is_there = argument.rsplit('/').next() == Some("a");
        let reply = match verb {
            "AUTH" => "502 No TLS".to_owned(),
            "USER" => "331 Password".to_owned(),
            "PASS" => "230 In".to_owned(),
            "FEAT" => {
                "211-Features\r\n SIZE\r\n REST STREAM\r\n MLST type*;size*;modify*;\r\n211 End".to_owned()
            }
            "PWD" => "257 \"/\"".to_owned(),
            "SIZE" if is_there => format!("213 {size}"),
            "MLST" if is_there => {
                format!("250-Listing\r\n type=file;size={size};modify=20260101000000; {argument}\r\n250 End")
            }
            "MLST" if argument == "/folder" => {
                "250-Listing\r\n type=dir;modify=20260101000000; /folder\r\n250 End".to_owned()
            }
            "MLST" | "SIZE" => "550 No such file".to_owned(),
            "EPSV" => {
                let listener = TcpListener::bind("127.0.0.1:0")?;
                let port = listener.local_addr()?.port();
                data = Some(listener);
                format!("229 Waiting (|||{port}|)")
            }
            "PASV" => {
                let listener = TcpListener::bind("127.0.0.1:0")?;
                let [high, low] = listener.local_addr()?.port().to_be_bytes();
                data = Some(listener);
                format!("227 Waiting (127,0,0,1,{high},{low})")
            }
            "REST" => {
                restart = argument.parse().unwrap_or(0);
                "350 Ready".to_owned()
            }
            "RETR" | "STOR" => {
                write!(control, "150 Here\r\n")?;
                let (mut tcp, _) = data.take().unwrap().accept()?;
                if verb == "RETR" {
                    let end = script.stalls_after.unwrap_or(script.content.len());
                    tcp.write_all(&script.content[std::mem::take(&mut restart).min(end)..end])?;
                    if script.stalls_after.is_some() {
                        tcp.read_to_end(&mut Vec::new())?;
                    }
                } else {
                    tcp.read_to_end(&mut Vec::new())?;
                }
                drop(tcp);
                instead("END").unwrap_or_else(|| "226 Done".to_owned())
            }
            _ => "200 Fine".to_owned(),
        };
        write!(control, "{reply}\r\n")?;
    }
    Ok(())
}
