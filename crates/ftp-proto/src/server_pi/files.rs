//! Verbs that touch files but are no transfer, and those that tell what this server can do.

use super::ask::{Ask, FileAnswer, FileOp, HashAlgorithm, HashForm, Span};
use super::{Refusal, ServerPi, TlsPolicy, Waiting, replies};
use crate::command::{Command, DigestVerb, Site};
use crate::listing::facts::FactSet;

impl ServerPi {
    pub(super) fn file(&mut self, op: FileOp) {
        let slip = self.slips.issue();
        self.ask(Waiting::File(op.clone()), Ask::File(slip, op));
    }

    /// The verbs that become one [`FileOp`] each.
    pub(super) fn file_command(&mut self, command: Command) {
        let op = match command {
            Command::Cwd(path) => FileOp::ChangeDirectory(path),
            Command::Cdup => FileOp::ChangeToParent,
            Command::Mkd(path) => FileOp::MakeDirectory(path),
            Command::Rmd(path) => FileOp::RemoveDirectory(path),
            Command::Dele(path) => FileOp::Delete(path),
            Command::Size(path) => FileOp::Size {
                path,
                ascii: self.parameters.is_ascii(),
            },
            Command::Mdtm(path) => FileOp::Modified(path),
            Command::Mlst(path) => FileOp::Facts {
                path,
                facts: self.facts,
            },
            Command::Avbl(path) => FileOp::Space(path),
            Command::Mfmt { modified, path } => FileOp::SetModified { path, modified },
            Command::Mff { modified, mode, path } => FileOp::SetFacts { path, modified, mode },
            Command::Hash(path) => FileOp::Hash {
                path,
                algorithm: self.hash,
                span: self.parameters.take_range(),
                part: None,
                form: HashForm::Hash,
            },
            Command::Digest { verb, path, part } => FileOp::Hash {
                path,
                algorithm: match verb {
                    DigestVerb::Md5 | DigestVerb::Xmd5 => HashAlgorithm::Md5,
                    DigestVerb::Xcrc => HashAlgorithm::Crc32,
                    DigestVerb::Xsha | DigestVerb::Xsha1 => HashAlgorithm::Sha1,
                    DigestVerb::Xsha256 => HashAlgorithm::Sha256,
                    DigestVerb::Xsha512 => HashAlgorithm::Sha512,
                },
                span: Span::default(),
                part,
                form: if verb == DigestVerb::Md5 {
                    HashForm::Md5
                } else {
                    HashForm::Bare
                },
            },
            Command::Site(Site::Chmod { mode, path }) => FileOp::SetMode { path, mode },
            Command::Site(Site::Utime { modified, path }) => FileOp::SetModified { path, modified },
            Command::Site(Site::Symlink { target, link }) => FileOp::MakeLink { target, link },
            Command::Site(Site::Help) => return self.reply(replies::site_help()),
            Command::Stat(Some(argument)) => return self.status_of_path(&argument),
            // Every other verb has its own arm in `execute`.
            _ => return self.reply(replies::NOT_IMPLEMENTED),
        };
        self.file(op);
    }

    pub(super) fn file_answered(&mut self, op: FileOp, answer: Result<FileAnswer, Refusal>) {
        let answer = match answer {
            Ok(answer) => answer,
            Err(refusal) => {
                if matches!(op, FileOp::Allocate(_)) {
                    self.forget_announced();
                }
                return self.reply(replies::op_refused(&op, &refusal));
            }
        };
        match (&op, &answer) {
            (FileOp::ChangeDirectory(_) | FileOp::ChangeToParent, FileAnswer::At(path)) => {
                self.cwd.clone_from(path)
            }
            (FileOp::RenameFrom(path), _) => self.rename_from = Some(path.clone()),
            _ => {}
        }
        self.reply(replies::op_done(&op, answer));
    }

    /// RFC 2389 §3.
    pub(super) fn features(&mut self) {
        let with_tls = self.profile.tls != TlsPolicy::Off;
        self.reply(replies::features(
            with_tls,
            self.profile.active,
            &self.facts,
            self.hash,
        ));
    }

    /// RFC 2389 §4.
    pub(super) fn options(&mut self, verb: &[u8], argument: &[u8]) {
        match verb {
            b"UTF8" | b"UTF-8" if argument.is_empty() || argument.eq_ignore_ascii_case(b"ON") => {
                self.reply(replies::OPTS_UTF8);
            }
            b"MLST" => {
                self.facts = FactSet::parse(argument);
                self.reply(replies::opts_mlst(&self.facts));
            }
            b"HASH" => {
                if !argument.is_empty() {
                    let named = |a: &HashAlgorithm| a.name().as_bytes().eq_ignore_ascii_case(argument);
                    let Some(algorithm) = HashAlgorithm::ALL.into_iter().find(named) else {
                        return self.reply(replies::OPTS_VALUE);
                    };
                    self.hash = algorithm;
                }
                self.reply(replies::opts_hash(self.hash));
            }
            b"MODE" => {
                let words: Vec<_> = argument
                    .split(|b| *b == b' ')
                    .map(<[u8]>::to_ascii_uppercase)
                    .collect();
                match words.iter().map(Vec::as_slice).collect::<Vec<_>>()[..] {
                    [b"Z", b"LEVEL", [digit @ b'0'..=b'9']] => {
                        self.parameters.set_level(digit - b'0');
                        self.reply(replies::OPTS_MODE_Z);
                    }
                    _ => self.reply(replies::OPTS_VALUE),
                }
            }
            b"UTF8" | b"UTF-8" => self.reply(replies::OPTS_VALUE),
            _ => self.reply(replies::OPTS_UNKNOWN),
        }
    }

    /// RFC 2640 §4: replies are in English, whatever is asked for.
    pub(super) fn language(&mut self, tag: Option<&[u8]>) {
        let english = tag.is_none_or(|tag| {
            let tag = tag.to_ascii_lowercase();
            tag == b"en" || tag.starts_with(b"en-")
        });
        self.reply(if english {
            replies::LANG
        } else {
            replies::LANG_UNKNOWN
        });
    }
}
