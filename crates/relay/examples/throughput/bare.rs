//! What a relay cannot do without: a process that does nothing but splice one connection to another.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

use crate::client::HERE;
use crate::process::cpu_seconds;

/// The word by which this program becomes that process.
pub(crate) const WORD: &str = "bare-splice-loop";
/// As ours.
const PIPE: usize = 256 * 1024;

/// A process that leads to another address.
pub(crate) struct Bare {
    pub(crate) address: SocketAddr,
    child: Child,
}

impl Bare {
    /// Starts one in front of `to`.
    pub(crate) fn start(to: SocketAddr) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let mut child = command
            .args([WORD, &to.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        Self {
            address: line.trim().parse().unwrap(),
            child,
        }
    }

    /// What it has used until now.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        cpu_seconds(self.child.id())
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What that process does.
pub(crate) fn run(to: &str) {
    let listener = TcpListener::bind((HERE, 0)).unwrap();
    println!("{}", listener.local_addr().unwrap());
    loop {
        let (client, _) = listener.accept().unwrap();
        let server = TcpStream::connect(to).unwrap();
        let (client_too, server_too) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        thread::spawn(move || carry(&client, &server));
        thread::spawn(move || carry(&server_too, &client_too));
    }
}

fn carry(from: &TcpStream, to: &TcpStream) {
    let (out_of, into) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    fcntl_setpipe_size(&into, PIPE).unwrap();
    while let Ok(mut left @ 1..) = splice(from, None, &into, None, PIPE, SpliceFlags::MOVE) {
        while left > 0 {
            match splice(&out_of, None, to, None, left, SpliceFlags::MOVE) {
                Ok(given @ 1..) => left -= given,
                _ => return,
            }
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Write);
}
