//! The doctor in a client's place: what it says of a server, in a network with routers between the ends.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::Stdio;

use pasarela_testkit::lab::{ClientSide, Lab, Role};
use pasarela_testkit::pasarela_binary;
use serde_json::Value;

/// Who is between any two sites on the internet.
const INTERNET: Ipv4Addr = Ipv4Addr::new(11, 9, 0, 1);

/// What the doctor said.
#[derive(Debug)]
pub struct Visit {
    /// The last object: the verdict.
    pub verdict: Value,
    /// All of what it said.
    pub lines: String,
    /// What it ended with.
    pub exit_code: i32,
}

impl Visit {
    /// The named cause, or `-`.
    #[must_use]
    pub fn id(&self) -> &str {
        self.verdict["id"].as_str().unwrap_or("-")
    }

    /// The evidence of the named cause, a line each, without what is up to chance.
    #[must_use]
    pub fn evidence(&self) -> Vec<String> {
        let mut objects = self.objects();
        let culprit =
            objects.find(|object| object["type"] == "finding" && object["id"] == self.verdict["id"]);
        let lines = culprit.map(|culprit| culprit["evidence"].clone());
        let lines = lines.as_ref().and_then(Value::as_array).into_iter().flatten();
        lines.filter_map(Value::as_str).map(without_chance).collect()
    }

    fn objects(&self) -> impl Iterator<Item = Value> {
        self.lines.lines().map(|line| serde_json::from_str(line).unwrap())
    }

    /// Whether something of this kind was found.
    #[must_use]
    pub fn has(&self, id: &str) -> bool {
        self.objects()
            .any(|object| object["type"] == "finding" && object["id"] == id)
    }

    /// Whether the cause was said to be certain.
    #[must_use]
    pub fn is_certain(&self) -> bool {
        self.verdict["certainty"] == "certain"
    }

    /// One line that is the same whenever the network is: severity, certainty, cause, exit code, sentence. Ports and
    /// numbers that are up to chance are `#`.
    #[must_use]
    pub fn line(&self) -> String {
        let word = |name: &str| self.verdict[name].as_str().unwrap_or("-").to_owned();
        let or_else: Vec<_> = self.verdict["or_else"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let or_else = match or_else.is_empty() {
            true => String::new(),
            false => format!(" (or else {})", or_else.join(", ")),
        };
        format!(
            "{} {} {} exit {}: {}{or_else}",
            word("severity"),
            word("certainty"),
            word("id"),
            self.exit_code,
            without_chance(&word("says")),
        )
    }
}

/// Without ports and times: numbers of four and more digits, the last two of a 227, and how long something took.
fn without_chance(text: &str) -> String {
    let mut words = Vec::new();
    for word in text.split(' ') {
        let inner = word.trim_matches(|c| "().".contains(c));
        let octets: Vec<_> = inner.split(',').collect();
        words.push(match &octets[..] {
            [a, b, c, d, _, _] => word.replace(inner, &format!("{a},{b},{c},{d},#,#")),
            _ => without_long_numbers(word),
        });
        if word.starts_with("ms") || word == "s)" {
            let number = words.len().checked_sub(2).and_then(|at| words.get_mut(at));
            if let Some(number) = number {
                *number = number.replace(|c: char| c.is_ascii_digit(), "") + "#";
            }
        }
    }
    words.join(" ")
}

fn without_long_numbers(text: &str) -> String {
    let mut out = String::new();
    let mut digits = String::new();
    for character in text.chars().chain(['\0']) {
        if character.is_ascii_digit() {
            digits.push(character);
            continue;
        }
        out.push_str(if digits.len() >= 4 { "#" } else { &digits });
        digits.clear();
        out.extend((character != '\0').then_some(character));
    }
    out
}

/// Puts a router between the ends: the lab's internet is one link, and real ones are many.
///
/// # Panics
/// When the lab refuses.
pub fn put_a_router_between(lab: &Lab) {
    let role = match lab.topology().client {
        ClientSide::SameLan | ClientSide::Public6 => return,
        ClientSide::Public | ClientSide::DualStack => Role::Client,
        ClientSide::Home(_) | ClientSide::Strict => Role::ClientRouter,
    };
    // It would tell the client that there is a shorter way.
    lab.within(Role::Internet, || {
        for interface in ["all", "segment"] {
            fs::write(format!("/proc/sys/net/ipv4/conf/{interface}/send_redirects"), "0").unwrap();
        }
    });
    if let IpAddr::V4(public) = lab.addresses().public {
        let mut ip = lab.command(role, "ip");
        ip.args([
            "route",
            "replace",
            &format!("{public}/32"),
            "via",
            &INTERNET.to_string(),
        ]);
        assert!(ip.status().unwrap().success());
    }
}

/// A name for addresses, inside one node; gone with the value.
#[derive(Debug)]
pub struct Name {
    folder: PathBuf,
}

impl Name {
    /// Programs in that node resolve `host` to these addresses.
    ///
    /// # Panics
    /// When the folder cannot be written.
    #[must_use]
    pub fn give(lab: &Lab, role: Role, host: &str, addresses: &[IpAddr]) -> Self {
        // `ip netns exec` puts what is here over /etc.
        let folder = PathBuf::from("/etc/netns").join(lab.namespace(role));
        fs::create_dir_all(&folder).unwrap();
        let text: String = addresses
            .iter()
            .map(|address| format!("{address} {host}\n"))
            .collect();
        fs::write(folder.join("hosts"), text).unwrap();
        Self { folder }
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Runs `pasarela doctor` with these words in a node.
///
/// # Panics
/// When it says nothing that can be read.
#[must_use]
pub fn examine(lab: &Lab, role: Role, words: &[&str]) -> Visit {
    let home = tempfile::tempdir().unwrap();
    let mut command = lab.command(role, pasarela_binary());
    command
        .args(["doctor", "--json", "--accept-new"])
        .args(words)
        .env("STATE_DIRECTORY", home.path())
        .stdin(Stdio::null());
    let output = command.output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let last = lines
        .lines()
        .last()
        .and_then(|line| serde_json::from_str(line).ok());
    let verdict = last.unwrap_or_else(|| panic!("{lines}{}", String::from_utf8_lossy(&output.stderr)));
    Visit {
        verdict,
        exit_code: output.status.code().unwrap(),
        lines,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_left_out_and_addresses_are_not() {
        assert_eq!(
            without_chance("data port 50007 of 11.9.0.20 is silent for 4 s"),
            "data port # of 11.9.0.20 is silent for 4 s"
        );
        assert_eq!(
            without_chance("PASV: 227 Entering Passive Mode (192,168,1,10,195,89)."),
            "PASV: 227 Entering Passive Mode (192,168,1,10,#,#)."
        );
        assert_eq!(
            without_chance("11.9.0.20:50001 answers (12 ms)"),
            "11.9.0.20:# answers (# ms)"
        );
        assert_eq!(
            without_chance("11.9.0.20:50001 does not answer (4 s)"),
            "11.9.0.20:# does not answer (# s)"
        );
    }
}
