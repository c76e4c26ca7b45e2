//! `pasarela completions` and `pasarela man`: what is made from the definitions of flags and keys.

use clap::CommandFactory as _;

use super::{Cli, EXIT_CODES, print};
use crate::config::keys::{self, Initial, KEYS};
use crate::failure::{Failure, Kind, Problem};

/// Prints the completion script of a shell.
pub(crate) fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "pasarela", &mut script);
    print(&String::from_utf8_lossy(&script))
}

/// Prints a manual page.
pub(crate) fn man(page: &str) -> Result<(), Failure> {
    if page == "pasarela.toml" {
        return print(&keys_page());
    }
    let mut root = Cli::command();
    root.build();
    let command = match page {
        "pasarela" => Some(&root),
        command => root.find_subcommand(command),
    };
    let Some(command) = command else {
        let commands: Vec<_> = root.get_subcommands().map(clap::Command::get_name).collect();
        return Err(Problem::new(format!("there is no manual page `{page}`"))
            .hint(format!("pages: pasarela, pasarela.toml, {}", commands.join(", ")))
            .fails(Kind::Configuration));
    };
    let title = command
        .get_display_name()
        .unwrap_or(command.get_name())
        .to_owned();
    let mut roff = Vec::new();
    clap_mangen::Man::new(command.clone())
        .title(title)
        .render(&mut roff)
        .map_err(|error| Problem::new(error.to_string()).fails(Kind::Other))?;
    print(&String::from_utf8_lossy(&roff))
}

/// pasarela.toml(5), from the table of keys.
fn keys_page() -> String {
    let mut page = String::from(
        ".TH pasarela.toml 5\n.SH NAME\npasarela.toml \\- the configuration of pasarela(1)\n.SH DESCRIPTION\n\
         Every key is optional; flags override keys. An unknown key is an error.\n",
    );
    let mut section = "";
    for key in KEYS {
        if key.section() != section {
            section = key.section();
            let heading = if section == "user" {
                "[[user]]".into()
            } else {
                format!("[{section}]")
            };
            page.push_str(&format!(".SH \"{heading}\"\n"));
        }
        page.push_str(&format!(
            ".TP\n\\fB{}\\fR\n{}\n",
            roff(key.name()),
            roff(key.help)
        ));
        page.push_str(&format!(".br\nIs {}.\n", roff(&key.kind.describe())));
        page.push_str(&match key.default {
            Initial::Value(value) => format!(".br\nDefault: {}\n", roff(value)),
            Initial::Example(value) => format!(".br\nFor example: {}\n", roff(value)),
        });
        if let Some(flag) = key.flag {
            page.push_str(&format!(".br\nFlag: {}\n", roff(&keys::flag_name(flag))));
        }
        if !key.live {
            page.push_str(".br\nRead at start only.\n");
        }
    }
    page.push_str(".SH \"EXIT CODES\"\n.nf\n");
    for line in EXIT_CODES.lines().skip(1) {
        page.push_str(&format!("{}\n", roff(line)));
    }
    page.push_str(".fi\n");
    page
}

/// `text` with nothing in it that roff would take for its own (groff_char(7), "escape character").
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) {
        format!("\\&{text}")
    } else {
        text
    }
}
