//! What a STATUS means for the caller (filexfer-02 §7).

use pasarela_sftp_proto::{Response, Status, StatusCode};

use crate::{Failure, FailureKind};

/// Codes of later versions of the protocol (filexfer-13 §9.1), which some servers send in the third too.
fn kind_of(status: &Status) -> FailureKind {
    use FailureKind as K;
    match status.code {
        StatusCode::NoSuchFile | StatusCode::Other(10) => K::NotFound,
        StatusCode::PermissionDenied | StatusCode::Other(12) => K::Permission,
        StatusCode::OpUnsupported => K::Unsupported,
        StatusCode::NoConnection | StatusCode::ConnectionLost => K::Lost,
        StatusCode::Other(11) => K::Exists,
        StatusCode::Other(14 | 15) => K::Space,
        StatusCode::Other(17) => K::Busy,
        StatusCode::Other(18) => K::NotEmpty,
        StatusCode::Other(19) => K::NotADirectory,
        StatusCode::Other(20) => K::BadName,
        StatusCode::Other(24) => K::IsDirectory,
        StatusCode::Failure | StatusCode::BadMessage => by_words(&status.message),
        StatusCode::Ok | StatusCode::Eof => K::Protocol,
        StatusCode::Other(_) => K::Other,
    }
}

/// The third version has one code for most of what goes wrong, so the words have to tell. Wherever it matters the
/// caller looks for itself instead.
fn by_words(message: &[u8]) -> FailureKind {
    use FailureKind as K;
    let text = String::from_utf8_lossy(message).to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    match () {
        () if says(&["no space", "quota", "disk full"]) => K::Space,
        () if says(&["not empty"]) => K::NotEmpty,
        () if says(&["exists"]) => K::Exists,
        () if says(&["not a directory"]) => K::NotADirectory,
        () if says(&["is a directory"]) => K::IsDirectory,
        () if says(&["name too long"]) => K::BadName,
        () if says(&["in use", "busy"]) => K::Busy,
        () => K::Other,
    }
}

/// What a refusal means; `doing` completes "the server refused to …".
pub(super) fn refused(doing: &str, status: &Status) -> Failure {
    let kind = kind_of(status);
    let said = status.message.trim_ascii();
    let said = match said.is_empty() {
        true => status.code.to_string(),
        false => String::from_utf8_lossy(said).escape_debug().take(300).collect(),
    };
    let mut failure = Failure::new(kind, format!("the server refused to {doing}: {said}"));
    failure.status = Some(status.code.number());
    if kind == FailureKind::NotFound {
        failure = failure.hint(
            "look what there is in the folder; a path begins at the top, with /~/ at the folder after login",
        );
    }
    failure
}

/// An answer of a kind that the request does not have.
pub(super) fn misplaced(doing: &str, response: &Response) -> Failure {
    if let Response::Status(status) = response
        && !matches!(status.code, StatusCode::Ok | StatusCode::Eof)
    {
        return refused(doing, status);
    }
    Failure::new(
        FailureKind::Protocol,
        format!("the server was asked to {doing} and gave an answer to something else"),
    )
}

/// Whether it was done.
pub(super) fn done(doing: &str, response: &Response) -> Result<(), Failure> {
    match response {
        Response::Status(status) if status.code == StatusCode::Ok => Ok(()),
        other => Err(misplaced(doing, other)),
    }
}

/// Whether it is the end of a file or of a directory.
pub(super) fn is_end(response: &Response) -> bool {
    matches!(response, Response::Status(status) if status.code == StatusCode::Eof)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_before_words_and_words_before_nothing() {
        for (code, words, kind) in [
            (2, "anything exists", FailureKind::NotFound),
            (3, "", FailureKind::Permission),
            (4, "Failure", FailureKind::Other),
            (4, "Directory not empty", FailureKind::NotEmpty),
            (4, "write: No space left on device", FailureKind::Space),
            (8, "", FailureKind::Unsupported),
            (11, "", FailureKind::Exists),
            (99, "", FailureKind::Other),
        ] {
            let status = Status::new(StatusCode::from(code), words);
            assert_eq!(refused("do it", &status).kind, kind, "{code} {words}");
        }
    }

    #[test]
    fn the_servers_words_cannot_speak_to_the_terminal() {
        let status = Status::new(StatusCode::Failure, "\x1b[2Jok\r\ndone");
        assert!(!refused("do it", &status).sentence.contains(['\x1b', '\n']));
    }
}
