//! Parsers and writers of lines, in instructions a line as callgrind counts them: the same on a busy machine.

use std::hint::black_box;
use std::process::Command;
use std::time::SystemTime;

use pasarela_ftp_proto::codec::LineDecoder;
use pasarela_ftp_proto::command;
use pasarela_ftp_proto::listing::facts::{FactSet, push_facts};
use pasarela_ftp_proto::listing::read::{Kind, Reader};
use pasarela_ftp_proto::listing::{Item, ItemKind, Rights, unix};

use crate::failed::{During as _, Failed};
use crate::measure::{LINE_COMMAND, LINE_LIST, LINE_MLSD, LINE_READ_LIST, LINE_READ_MLSD, Sample};
use crate::tree::Tree;

/// The hidden subcommand that makes this program do that and nothing else.
pub(crate) const PARSE: &str = "parse-lines";

/// So many lines, and once more as many: the difference is without what starting the program takes.
const LINES: u64 = 2000;
/// What a client says in a session of its day.
const COMMANDS: [&[u8]; 6] = [
    b"TYPE I\r\n",
    b"PASV\r\n",
    b"CWD /photos/2026\r\n",
    b"MLSD\r\n",
    b"RETR a file with a name.dat\r\n",
    b"STOR another-file.dat\r\n",
];

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Lines {
    /// The server reads commands.
    Command,
    /// The server writes LIST.
    List,
    /// The server writes MLSD.
    Mlsd,
    /// The client reads LIST.
    ReadList,
    /// The client reads MLSD.
    ReadMlsd,
}

/// Counts each of them.
pub(super) fn sample(tree: &Tree) -> Result<Sample, Failed> {
    Ok(Sample::default()
        .with(&LINE_COMMAND, instructions("command", tree)?)
        .with(&LINE_LIST, instructions("list", tree)?)
        .with(&LINE_MLSD, instructions("mlsd", tree)?)
        .with(&LINE_READ_LIST, instructions("read-list", tree)?)
        .with(&LINE_READ_MLSD, instructions("read-mlsd", tree)?))
}

/// Instructions a line.
fn instructions(what: &str, tree: &Tree) -> Result<f64, Failed> {
    let once = collected(what, LINES, tree)?;
    let twice = collected(what, 2 * LINES, tree)?;
    Ok((twice - once) / LINES as f64)
}

fn collected(what: &str, lines: u64, tree: &Tree) -> Result<f64, Failed> {
    let own = std::env::current_exe().during("this program")?;
    let output = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(format!(
            "--callgrind-out-file={}",
            tree.scratch().join("callgrind").display()
        ))
        .arg(own)
        .arg(PARSE)
        .arg(what)
        .arg(lines.to_string())
        .output()
        .during("valgrind")?;
    let said = String::from_utf8_lossy(&output.stderr);
    let count = said
        .lines()
        .find_map(|line| line.split_once("Collected : ")?.1.parse().ok());
    count.ok_or_else(|| Failed::Missing(format!("a count of callgrind; it said: {said}")))
}

/// Does so many lines of it.
pub(crate) fn run(what: Lines, count: u64) {
    match what {
        Lines::Command => commands(count),
        Lines::List | Lines::Mlsd => {
            black_box(listing(what == Lines::Mlsd, count));
        }
        Lines::ReadList => read(Kind::List, &listing(false, 1), count),
        Lines::ReadMlsd => read(Kind::Mlsd, &listing(true, 1), count),
    }
}

fn commands(count: u64) {
    let mut decoder = LineDecoder::default();
    for mut input in COMMANDS.iter().cycle().copied().take(count as usize) {
        while let Some(decoded) = decoder.decode(&mut input, 4096) {
            if let pasarela_ftp_proto::codec::Decoded::Line(line) = decoded {
                let _ = black_box(command::parse(&line));
            }
        }
    }
}

fn listing(facts: bool, count: u64) -> Vec<u8> {
    let modified = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_790_000_000);
    let now = modified + std::time::Duration::from_secs(86_400);
    let all = FactSet::default();
    let mut out = Vec::new();
    for number in 0..count {
        let name = format!("a-file-with-a-name-{number:06}.dat");
        let item = Item {
            name: name.as_bytes(),
            kind: ItemKind::File,
            size: 12_345,
            modified,
            mode: 0o644,
            uid: 1000,
            gid: 1000,
            links: 1,
            unique: (26, 1_000_000 + number),
            rights: Rights {
                read: true,
                ..Rights::default()
            },
        };
        if facts {
            push_facts(&mut out, &item, all);
            out.extend_from_slice(b"\r\n");
        } else {
            unix::push_line(&mut out, &item, now);
        }
    }
    out
}

fn read(kind: Kind, line: &[u8], count: u64) {
    let mut reader = Reader::new(kind, SystemTime::UNIX_EPOCH);
    let take = |reader: &mut Reader| {
        while let Some(entry) = reader.poll_entry() {
            black_box(entry);
        }
    };
    for _ in 0..count {
        reader.handle_input(line);
        take(&mut reader);
    }
    reader.handle_end();
    take(&mut reader);
}
