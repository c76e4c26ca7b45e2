//! Verbs that touch files but are no transfer.

use pasarela_ftp_proto::ascii;
use pasarela_ftp_proto::listing::facts::push_facts;
use pasarela_ftp_proto::server_pi::{FileAnswer, FileOp, Pending, Refusal};
use pasarela_session::Session;
use pasarela_store::{Kind, Open, VirtualPath};
use tracing::debug;

use super::{Context, Keep, Outcome};
use crate::ftp::{list, refusal};
use crate::hash;

/// The largest file that SIZE counts through in TYPE A.
const MAX_COUNTED: u64 = 16 * 1024 * 1024;

/// Every verb that touches files but is no transfer.
pub(super) async fn file(
    context: Context,
    slip: Pending<Result<FileAnswer, Refusal>>,
    op: FileOp,
) -> Outcome {
    match file_op(&context, &op).await {
        Ok((answer, keep)) => Outcome::Answer(slip.answer(Ok(answer)), keep),
        Err(refused) => {
            debug!(?op, ?refused, "refused");
            Outcome::Answer(slip.answer(Err(refused)), Keep::Nothing)
        }
    }
}

async fn file_op(context: &Context, op: &FileOp) -> Result<(FileAnswer, Keep), Refusal> {
    let session = context.session()?;
    let of_session = |error: pasarela_session::Error| refusal::of_session(&error);
    let answer = match op {
        FileOp::ChangeDirectory(path) => return change_directory(session, context.resolve(path)?).await,
        FileOp::ChangeToParent => return change_directory(session, context.resolve(b"..")?).await,
        FileOp::MakeDirectory(path) => {
            let path = context.resolve(path)?;
            session.make_dir(&path).await.map_err(of_session)?;
            FileAnswer::At(path.to_bytes())
        }
        FileOp::RemoveDirectory(path) => {
            session
                .remove_dir(&context.resolve(path)?)
                .await
                .map_err(of_session)?;
            FileAnswer::Done
        }
        FileOp::Delete(path) => {
            session
                .remove_file(&context.resolve(path)?)
                .await
                .map_err(of_session)?;
            FileAnswer::Done
        }
        FileOp::RenameFrom(path) => {
            let path = context.resolve(path)?;
            if path.is_root() {
                return Err(Refusal::PermissionDenied);
            }
            session.stat_entry(&path).await.map_err(of_session)?;
            FileAnswer::Done
        }
        FileOp::Rename { from, to } => {
            let (from, to) = (context.resolve(from)?, context.resolve(to)?);
            session.rename(&from, &to).await.map_err(of_session)?;
            FileAnswer::Done
        }
        FileOp::Size { path, ascii } => size(session, &context.resolve(path)?, *ascii).await?,
        FileOp::Modified(path) => {
            let found = session.stat(&context.resolve(path)?).await.map_err(of_session)?;
            if found.kind != Kind::File {
                return Err(Refusal::NotAFile);
            }
            FileAnswer::Time(found.modified)
        }
        FileOp::SetModified { path, modified } => {
            session
                .set_modified(&context.resolve(path)?, *modified)
                .await
                .map_err(of_session)?;
            FileAnswer::Done
        }
        FileOp::SetFacts { path, modified, mode } => {
            let path = context.resolve(path)?;
            if let Some(mode) = mode {
                session.set_mode(&path, *mode).await.map_err(of_session)?;
            }
            if let Some(modified) = modified {
                session.set_modified(&path, *modified).await.map_err(of_session)?;
            }
            FileAnswer::Done
        }
        FileOp::SetMode { path, mode } => {
            session
                .set_mode(&context.resolve(path)?, *mode)
                .await
                .map_err(of_session)?;
            FileAnswer::Done
        }
        FileOp::MakeLink { target, link } => {
            session
                .make_link(target, &context.resolve(link)?)
                .await
                .map_err(of_session)?;
            FileAnswer::Done
        }
        FileOp::Facts { path, facts } => {
            let path = path
                .as_deref()
                .map_or_else(|| Ok(context.cwd.clone()), |path| context.resolve(path))?;
            let found = session.stat(&path).await.map_err(of_session)?;
            let name = path.to_bytes();
            let mut line = Vec::new();
            let item = list::item(&name, &found, None, list::rights(session.account().may));
            push_facts(&mut line, &item, *facts);
            FileAnswer::Facts(line)
        }
        FileOp::Space(path) => {
            let path = path
                .as_deref()
                .map_or_else(|| Ok(context.cwd.clone()), |path| context.resolve(path))?;
            FileAnswer::Number(
                session
                    .space(&path)
                    .await
                    .map_err(of_session)?
                    .ok_or(Refusal::Unsupported)?,
            )
        }
        FileOp::Allocate(bytes) => {
            // An account that may not upload learns nothing about the disk, and will be told at STOR.
            match session.space(&context.cwd).await {
                Ok(Some(left)) if left < *bytes => return Err(Refusal::NoSpace),
                _ => FileAnswer::Done,
            }
        }
        FileOp::Hash {
            path,
            algorithm,
            span,
            part,
            ..
        } => {
            let whole = session.open(&context.resolve(path)?, Open::Read).await;
            let (file, path, first, end) = match (whole, part) {
                (Ok(file), _) => (file, path, span.first, span.end),
                (Err(_), Some(part)) => {
                    let file = session
                        .open(&context.resolve(&part.path)?, Open::Read)
                        .await
                        .map_err(of_session)?;
                    (file, &part.path, part.start, part.end)
                }
                (Err(error), None) => return Err(refusal::of_session(&error)),
            };
            let size = file.size().await.map_err(|error| refusal::of_store(&error))?;
            let end = end.map_or(size, |end| end.min(size));
            if first > end {
                return Err(Refusal::PastEnd);
            }
            let digest = hash::digest(&*file, *algorithm, first, end)
                .await
                .map_err(refusal::of_digest)?;
            FileAnswer::Hash {
                digest: hex::encode(digest),
                span: (first, end),
                path: path.clone(),
            }
        }
    };
    Ok((answer, Keep::Nothing))
}

async fn change_directory(session: &Session, path: VirtualPath) -> Result<(FileAnswer, Keep), Refusal> {
    let found = session
        .stat(&path)
        .await
        .map_err(|error| refusal::of_session(&error))?;
    if found.kind != Kind::Directory {
        return Err(Refusal::NotADirectory);
    }
    Ok((FileAnswer::At(path.to_bytes()), Keep::Directory(path)))
}

/// RFC 3659 §4. Of an upload that was cut it is the size of the part, from which the client can go on.
async fn size(session: &Session, path: &VirtualPath, is_ascii: bool) -> Result<FileAnswer, Refusal> {
    let found = match session.stat(path).await {
        Ok(found) => found,
        Err(error) => {
            let refused = refusal::of_session(&error);
            return match session.part(path).await {
                Ok(Some(length)) if refused == Refusal::NotFound && !is_ascii => {
                    Ok(FileAnswer::Number(length))
                }
                _ => Err(refused),
            };
        }
    };
    if found.kind != Kind::File {
        return Err(Refusal::NotAFile);
    }
    if !is_ascii {
        return Ok(FileAnswer::Number(found.size));
    }
    if found.size > MAX_COUNTED {
        return Err(Refusal::TooLargeForAscii);
    }
    let file = session
        .open(path, Open::Read)
        .await
        .map_err(|error| refusal::of_session(&error))?;
    let (mut at, mut count) = (0, 0);
    let mut counter = ascii::Counter::default();
    loop {
        let block = file
            .read_at(at, pasarela_dtp::BLOCK)
            .await
            .map_err(|error| refusal::of_store(&error))?;
        if block.is_empty() {
            return Ok(FileAnswer::Number(count));
        }
        at += block.len() as u64;
        count += counter.encoded_len(&block);
    }
}
